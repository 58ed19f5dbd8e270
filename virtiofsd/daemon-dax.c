/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/daemon-dax.h"

#include <unistd.h>

#include "dax/dax-vu.h"
#include "dax/dax-window.h"

/* Linux maps 2 MiB at a time. */
#define PIECE (UINT64_C(2) << 20)

/* Mappings at once at least, whatever the size of the window; and files, of which each holds a
 * descriptor: a sixteenth of those that there are, or so many. */
#define SLOTS_MIN 64
#define FILES_MIN 64

/* Seconds that a store of the guest to a page of ours may take to the file at most. */
#define WRITE_BACK_MIN 0.1
#define WRITE_BACK_MAX 1.0

static bool wanted(const struct options *o)
{
    return o->dax.window > 0 && o->fuse.dax.policy != FUSE_DAX_NEVER;
}

static unsigned slots(const struct options *o)
{
    return (unsigned)CLAMP(o->dax.window / PIECE, SLOTS_MIN, G_MAXINT);
}

static unsigned files(const struct options *o, uint64_t nofile)
{
    return (unsigned)CLAMP(nofile / 16, FILES_MIN, slots(o));
}

uint64_t daemon_dax_fds(const struct options *o, uint64_t nofile)
{
    return wanted(o) ? files(o, nofile) + 16 : 0;
}

void daemon_dax_device(const struct options *o, struct vu_config *vc)
{
    if (!wanted(o))
        return;
    vc->shmem_size = o->dax.window;
    vc->shmem_bit = dax_dialect_bit(dax_dialect_of(o->dax.dialect));
    vc->shmem_mem_slots = dax_dialect_mem_slots(dax_dialect_of(o->dax.dialect));
}

void daemon_dax_prepare(struct daemon_dax *x, const struct options *o, struct vu_dev *dev)
{
    if (wanted(o))
        x->vu = dax_vu_new(dax_dialect_of(o->dax.dialect), vu_dev_backend(dev));
}

bool daemon_dax_start(struct daemon_dax *x, const struct options *o, uint64_t nofile,
                      void (*thread_start)(void *user), void *user, GError **err)
{
    if (!wanted(o))
        return true;
    struct dax_config cfg = {
        .ops = &dax_vu_ops,
        .user = x->vu,
        .size = o->dax.window,
        .granule = (uint64_t)sysconf(_SC_PAGESIZE),
        .max_slots = slots(o),
        .max_files = files(o, nofile),
        .timeout = CLAMP(o->fuse.timeout, WRITE_BACK_MIN, WRITE_BACK_MAX),
        .thread_start = thread_start,
        .thread_user = user,
    };
    x->window = x->vu ? dax_window_new(&cfg) : NULL;
    if (!x->window)
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_NOMEM,
                    "--dax-window: no memory files could be made for it");
    return x->window != NULL;
}

void daemon_dax_free(struct daemon_dax *x)
{
    if (x->window)
        dax_window_free(x->window);
    if (x->vu)
        dax_vu_free(x->vu);
    *x = (struct daemon_dax){0};
}
