/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/dax-peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"

static void breaks(struct peer *p, const char *what)
{
    if (!p->broken)
        p->broken = what;
}

/* Every message begins so: only one at a time, and those that shall fail do. */
static int enter(struct peer *p)
{
    if (atomic_fetch_add(&p->inside, 1) != 0)
        breaks(p, "two messages at once");
    if (p->slow_us)
        g_usleep(p->slow_us);
    return p->fail_in && --p->fail_in == 0 ? -EIO : 0;
}

static int leave(struct peer *p, int rc)
{
    atomic_fetch_sub(&p->inside, 1);
    return rc;
}

static int refuse(struct peer *p, int rc)
{
    p->refused++;
    return rc;
}

static int map_rules(struct peer *p, int fd, uint64_t pos, uint64_t at, uint64_t len, bool writable)
{
    uint64_t end = pos + len, page = p->granule;
    struct stat st;
    if (len == 0 || at >= p->size || len > p->size - at)
        return refuse(p, -EINVAL);
    if ((pos | at | len) & (page - 1))
        return refuse(p, -EINVAL);
    for (unsigned i = 0; i < p->n_maps; i++)
        if (p->maps[i].at < at + len && at < p->maps[i].at + p->maps[i].len)
            return refuse(p, -EEXIST);
    bool rdwr = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    if (!rdwr && (writable || !p->caps.readonly_fd))
        return refuse(p, -EACCES);
    if (fstat(fd, &st) < 0)
        return refuse(p, -EBADF);
    uint64_t size = (uint64_t)st.st_size;
    if (size == 0)
        breaks(p, "an empty file would have grown");
    if (p->caps.tail)
        size = (size + page - 1) & ~(page - 1);
    return end > size ? refuse(p, -EINVAL) : 0;
}

static int peer_op_map(void *user, int fd, uint64_t pos, uint64_t at, uint64_t len, bool writable)
{
    struct peer *p = user;
    int rc = enter(p);
    p->maps_sent++;
    if (rc == 0)
        rc = map_rules(p, fd, pos, at, len, writable);
    if (rc)
        return leave(p, rc);
    if (p->mem && mmap(p->mem + at, len, PROT_READ | (writable ? PROT_WRITE : 0),
                       MAP_SHARED | MAP_FIXED, fd, (off_t)pos) == MAP_FAILED)
        return leave(p, -errno);
    if (p->n_maps == p->max_maps) {
        p->max_maps = p->max_maps ? 2 * p->max_maps : 64;
        p->maps = g_renew(struct peer_map, p->maps, p->max_maps);
    }
    p->maps[p->n_maps++] = (struct peer_map){at, len};
    p->in_place = false;
    return leave(p, 0);
}

static void take_back(struct peer *p, const struct peer_map *m)
{
    if (!p->mem)
        return;
    void *at = mmap(p->mem + m->at, m->len, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    assert_true(at != MAP_FAILED);
}

static int peer_op_unmap(void *user, uint64_t at, uint64_t len)
{
    struct peer *p = user;
    int rc = enter(p);
    p->unmaps_sent++;
    for (unsigned i = 0; rc == 0 && i < p->n_maps; i++) {
        if (p->maps[i].at != at || p->maps[i].len != len)
            continue;
        take_back(p, &p->maps[i]);
        p->maps[i] = p->maps[--p->n_maps];
        return leave(p, 0);
    }
    return leave(p, rc ? rc : refuse(p, -ENOENT));
}

static int peer_op_commit(void *user)
{
    struct peer *p = user;
    int rc = enter(p);
    p->commits++;
    if (rc == 0)
        p->in_place = true;
    return leave(p, rc);
}

static int peer_op_probe(void *user, struct dax_caps *caps)
{
    struct peer *p = user;
    int rc = enter(p);
    p->probes++;
    *caps = p->caps;
    return leave(p, rc);
}

static const struct dax_ops peer_ops = {
    .map = peer_op_map,
    .unmap = peer_op_unmap,
    .commit = peer_op_commit,
    .probe = peer_op_probe,
};

void peer_start(struct peer *p, const struct peer_setup *how)
{
    struct dax_caps caps;
    *p = (struct peer){.size = how->size ? how->size : 16ull << 20,
                       .granule = how->granule ? how->granule : 4096,
                       .in_place = true};
    p->caps.tail = how->accepts & TAIL;
    p->caps.readonly_fd = how->accepts & READONLY;
    strcpy(p->dir, "/tmp/dax-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    if (!(how->accepts & BLIND)) {
        p->mem = mmap(NULL, p->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_ptr_not_equal(p->mem, MAP_FAILED);
    }
    struct dax_config cfg = {.ops = &peer_ops,
                             .user = p,
                             .size = p->size,
                             .granule = p->granule,
                             .max_slots = how->max_slots,
                             .timeout = how->timeout};
    p->w = dax_window_new(&cfg);
    assert_non_null(p->w);
    assert_int_equal(dax_window_start(p->w, &caps), 0);
    assert_int_equal(caps.tail, p->caps.tail);
}

static void remove_dir(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    assert_non_null(d);
    while ((e = readdir(d)))
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(path);
}

void peer_stop(struct peer *p)
{
    struct dax_counts c;
    dax_unmap_all(p->w);
    dax_window_counts(p->w, &c);
    assert_int_equal(c.slots, 0);
    assert_int_equal(c.files, 0);
    assert_int_equal(c.private_bytes, 0);
    assert_int_equal(p->n_maps, 0);
    dax_window_free(p->w);
    if (p->broken)
        fail_msg("%s", p->broken);
    if (p->mem)
        munmap(p->mem, p->size);
    g_free(p->maps);
    remove_dir(p->dir);
}

void peer_reset(struct peer *p)
{
    while (p->n_maps)
        take_back(p, &p->maps[--p->n_maps]);
}

int peer_open(struct peer *p, const char *name, int flags)
{
    g_autofree char *path = g_build_filename(p->dir, name, NULL);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

uint8_t peer_byte(uint64_t i)
{
    return (uint8_t)(1 + (i + i / 251 + (i >> 12)) % 255); /* never zero */
}

int peer_file(struct peer *p, const char *name, uint64_t len)
{
    int fd = peer_open(p, name, O_RDWR | O_CREAT | O_TRUNC);
    g_autofree uint8_t *data = g_malloc(len + 1);
    for (uint64_t i = 0; i < len; i++)
        data[i] = peer_byte(i);
    assert_int_equal(pwrite(fd, data, len, 0), len);
    return fd;
}

void peer_host_write(struct peer *p, const char *name, uint64_t at, const char *text)
{
    AUTO_FD int fd = peer_open(p, name, O_WRONLY);
    assert_int_equal(pwrite(fd, text, strlen(text), (off_t)at), strlen(text));
}

void peer_host_size(struct peer *p, const char *name, uint64_t len)
{
    AUTO_FD int fd = peer_open(p, name, O_WRONLY);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
}

void peer_host_shows(struct peer *p, const char *name, uint64_t at, const char *text)
{
    AUTO_FD int fd = peer_open(p, name, O_RDONLY);
    size_t len = strlen(text);
    g_autofree char *got = g_malloc0(len + 1);
    assert_int_equal(pread(fd, got, len, (off_t)at), len);
    assert_string_equal(got, text);
}

uint64_t peer_host_len(struct peer *p, const char *name)
{
    AUTO_FD int fd = peer_open(p, name, O_RDONLY);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_size;
}

int peer_map(struct peer *p, uint64_t file, const char *name, uint64_t foffset, uint64_t moffset,
             uint64_t len, bool write)
{
    struct dax_request rq = {file, foffset, moffset, len, write};
    return dax_map(p->w, &rq, peer_open(p, name, O_RDWR), true);
}

int peer_seen(struct peer *p, uint64_t file, const char *name)
{
    AUTO_FD int fd = peer_open(p, name, O_RDONLY);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    struct dax_stamp stamp = {
        .size = (uint64_t)st.st_size,
        .mtime_ns = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec,
        .ctime_ns = st.st_ctim.tv_sec * 1000000000ll + st.st_ctim.tv_nsec,
    };
    return dax_revalidate(p->w, file, &stamp);
}

bool peer_mapped(const struct peer *p, uint64_t at)
{
    for (unsigned i = 0; i < p->n_maps; i++)
        if (p->maps[i].at <= at && at < p->maps[i].at + p->maps[i].len)
            return true;
    return false;
}

void peer_guest_shows(struct peer *p, uint64_t at, const char *name, uint64_t pos, uint64_t len)
{
    AUTO_FD int fd = peer_open(p, name, O_RDONLY);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = pos + len;
    uint64_t pad = end == peer_host_len(p, name) ? -end & (page - 1) : 0;
    g_autofree uint8_t *want = g_malloc0(len + pad + 1);
    assert_int_equal(pread(fd, want, len, (off_t)pos), len);
    for (uint64_t i = 0; i < len; i += p->granule)
        assert_true(peer_mapped(p, at + i));
    assert_memory_equal(p->mem + at, want, len + pad);
    assert_true(p->in_place);
}

unsigned peer_open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}
