/* SPDX-License-Identifier: BSD-3-Clause
 * Open files and directories. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* fsync and fsyncdir. */
void fuse_do_fsync(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct fs_file *file = fs_file_get(fs, rq->arg->fh, NULL);
    int err = -EBADF;

    if (file) {
        err = fs_fsync(fs, file, rq->arg->num != 0);
        fs_file_put(fs, file);
    }
    fuse_rq_reply_err(rq, err);
}

void fuse_do_lseek(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct fs_file *file = fs_file_get(fs, rq->arg->fh, NULL);
    off_t pos = -EBADF;

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
    struct fs_file *file = fs_file_get(fs, rq->arg->fh, NULL);
    int err = -EBADF;

    if (file) {
        err = fs_fallocate(fs, file, rq->arg->num, rq->arg->off, rq->arg->len, fuse_kill_of(rq));
        fs_file_put(fs, file);
    }
    fuse_rq_reply_err(rq, err);
}
