/* SPDX-License-Identifier: BSD-3-Clause
 * Requests of a guest that opens nothing: with --profile=rootfs its first OPEN and OPENDIR are
 * answered with ENOSYS, which Linux takes for "not needed, now and later" (FUSE_NO_OPEN_SUPPORT,
 * FUSE_NO_OPENDIR_SUPPORT). From then on handles are 0 and the node alone says which file is meant;
 * it exists for as long as the guest has it open, because the guest does not forget it before.
 *
 * What goes with that, and why: nothing that a guest is told at OPEN may matter, so there is no
 * ATOMIC_O_TRUNC (Linux would believe that OPEN has cut the file), no ASYNC_DIO where it may write
 * (an O_APPEND write in O_DIRECT pieces would be put together as they arrive: else FOPEN_DIRECT_IO
 * prevents that), and no locks, which end with RELEASE. CREATE and TMPFILE answer with handle 0. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <fcntl.h>

#include "virtiofsd/base/log.h"

/* ---- whether ---- */

/* Why files are opened by messages all the same; NULL: they are not. */
static const char *files_need_open(struct fuse_srv *srv, uint64_t capable)
{
    if (!(capable & FUSE_NO_OPEN_SUPPORT))
        return "the guest knows no other way";
    if (srv->shared->readonly)
        return NULL;
    if (srv->dax.on)
        return "the DAX window must know when a file is closed";
    if (fs_close_speaks(srv->fs))
        return "the share's file system may report errors when a file is closed";
    return fs_reopens(srv->fs) ? NULL : "the daemon lacks CAP_DAC_OVERRIDE";
}

static const char *directories_need_open(struct fuse_srv *srv, uint64_t capable)
{
    if (!(capable & FUSE_NO_OPENDIR_SUPPORT))
        return "the guest knows no other way";
    return fs_offsets_last(srv->fs)
               ? NULL
               : "on the share's file system a listing must go on where it was begun";
}

static bool spared(const char *what, const char *why)
{
    if (why)
        log_guest(LOG_LVL_INFO, "--profile=rootfs: %s are opened by messages: %s", what, why);
    return !why;
}

uint64_t fuse_file_init(struct fuse_srv *srv, uint64_t capable, bool linux_guest)
{
    uint64_t spare = 0;

    if (srv->cfg.profile != FUSE_PROFILE_ROOTFS)
        return 0;
    if (!linux_guest)
        capable = 0;
    if (spared("files", files_need_open(srv, capable)))
        spare |= FUSE_NO_OPEN_SUPPORT;
    if (spared("directories", directories_need_open(srv, capable)))
        spare |= FUSE_NO_OPENDIR_SUPPORT;
    return spare;
}

uint64_t fuse_file_denies(const struct fuse_srv *srv, uint64_t spare)
{
    if (!(spare & FUSE_NO_OPEN_SUPPORT))
        return 0;
    return FUSE_ATOMIC_O_TRUNC | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_WRITEBACK_CACHE |
           (srv->shared->readonly ? 0 : FUSE_ASYNC_DIO);
}

/* ---- the file of a request ---- */

struct fs_file *fuse_file_by_node(struct fuse_rq *rq, uint64_t node, uint64_t fh, int flags,
                                  int *err)
{
    struct fs *fs = rq->srv->fs;
    struct fs_file *file = NULL;

    *err = -EBADF; /* nobody has got a handle */
    if (fh != 0)
        return NULL;
    struct fs_inode *inode = fs_inode_get(fs, node);
    if (!inode)
        return NULL;
    *err = fs_kept_file(fs, inode, flags, &file);
    fs_inode_put(fs, inode);
    return *err ? NULL : file;
}
