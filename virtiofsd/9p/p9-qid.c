/* SPDX-License-Identifier: BSD-3-Clause
 * qid.path: one number per file, also when the share spans several file systems. */
#include <dirent.h>

#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/base/auto.h"

/* A path is {0, prefix of the device: 15, inode number: 48}, or, when one of the two is larger,
 * {1, digest of both: 63}. */
#define INO_BITS   48
#define PREFIX_MAX ((1u << 15) - 1)
#define FOLDED     ((uint64_t)1 << 63)

void p9_devs_init(struct p9_devs *devs)
{
    pthread_mutex_init(&devs->lock, NULL);
    devs->seen = g_array_new(FALSE, FALSE, sizeof(dev_t));
}

void p9_devs_fini(struct p9_devs *devs)
{
    g_array_unref(devs->seen);
    pthread_mutex_destroy(&devs->lock);
}

/* The number of a device; PREFIX_MAX: there are too many. */
static unsigned prefix_of(struct p9_devs *devs, dev_t dev)
{
    AUTO_LOCK(&devs->lock);
    unsigned n = devs->seen->len;
    for (unsigned i = 0; i < n; i++) {
        if (g_array_index(devs->seen, dev_t, i) == dev)
            return i;
    }
    if (n < PREFIX_MAX)
        g_array_append_val(devs->seen, dev);
    return n;
}

/* A bijection that spreads every bit over the word. */
static uint64_t mix(uint64_t v)
{
    v ^= v >> 30;
    v *= 0xbf58476d1ce4e5b9u;
    v ^= v >> 27;
    v *= 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

uint64_t p9_qid_path(struct p9_devs *devs, dev_t dev, uint64_t ino)
{
    unsigned prefix = prefix_of(devs, dev);

    if (prefix < PREFIX_MAX && ino >> INO_BITS == 0)
        return (uint64_t)prefix << INO_BITS | ino;
    return FOLDED | mix(ino ^ mix((uint64_t)dev));
}

uint8_t p9_qid_type(mode_t mode)
{
    return S_ISDIR(mode) ? P9_QTDIR : S_ISLNK(mode) ? P9_QTSYMLINK : P9_QTFILE;
}

struct p9_qid p9_qid_of(struct p9_devs *devs, const struct fs_attr *attr)
{
    const struct stat *st = &attr->st;
    uint64_t stamp = (uint64_t)st->st_mtim.tv_sec * 1000000000u + (uint64_t)st->st_mtim.tv_nsec;

    return (struct p9_qid){
        .type = p9_qid_type(st->st_mode),
        .version = (uint32_t)mix(stamp ^ mix((uint64_t)st->st_size)),
        .path = p9_qid_path(devs, st->st_dev, st->st_ino),
    };
}
