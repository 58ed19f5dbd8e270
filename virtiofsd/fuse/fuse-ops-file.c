/* SPDX-License-Identifier: BSD-3-Clause
 * Open files and directories. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Directories may have handles where files have none. */
static struct fs_file *to_sync(struct fuse_rq *rq, uint64_t fh, int *err)
{
    bool dir = rq->in->opcode == FUSE_FSYNCDIR;

    if (fuse_spares(rq->srv, dir ? FUSE_NO_OPENDIR_SUPPORT : FUSE_NO_OPEN_SUPPORT))
        return fuse_file_by_node(rq, rq->in->nodeid, fh, O_RDONLY, err);
    *err = -EBADF;
    return fs_file_get(rq->srv->fs, fh, NULL);
}

/* fsync and fsyncdir. */
void fuse_do_fsync(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    int err;
    struct fs_file *file = to_sync(rq, rq->arg->fh, &err);

    if (file) {
        err = fs_fsync(fs, file, rq->arg->num != 0);
        fs_file_put(fs, file);
    }
    fuse_rq_reply_err(rq, err);
}

void fuse_do_lseek(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    int err;
    struct fs_file *file = fuse_file_get(rq, rq->in->nodeid, rq->arg->fh, O_RDONLY, &err);
    off_t pos = err;

    if (file) {
        pos = fs_lseek(fs, file, rq->arg->off, rq->arg->num);
        fs_file_put(fs, file);
    }
    struct fuse_lseek_out out = {.offset = (uint64_t)pos};
    if (pos < 0)
        fuse_rq_reply_err(rq, (int)pos);
    else
        fuse_rq_reply_buf(rq, &out, sizeof(out));
}

void fuse_do_fallocate(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    int err;
    struct fs_file *file = fuse_file_get(rq, rq->in->nodeid, rq->arg->fh, O_WRONLY, &err);

    if (file) {
        err = fs_fallocate(fs, file, rq->arg->num, rq->arg->off, rq->arg->len, fuse_kill_of(rq));
        fs_file_put(fs, file);
    }
    fuse_rq_reply_err(rq, err);
}
