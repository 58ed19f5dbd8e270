/* SPDX-License-Identifier: BSD-3-Clause
 * libfuse callbacks on open files and directories. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* fsync and fsyncdir. */
void fuse_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_file *file = fs_file_get(fs, fi->fh, NULL);
    int err = -EBADF;

    if (file) {
        err = fs_fsync(fs, file, datasync != 0);
        fs_file_put(fs, file);
    }
    fuse_answer_err(req, err);
}

void fuse_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_file *file = fs_file_get(fs, fi->fh, NULL);
    off_t pos = -EBADF;

    if (file) {
        pos = fs_lseek(fs, file, off, whence);
        fs_file_put(fs, file);
    }
    struct fuse_lseek_out out = {.offset = (uint64_t)pos};
    if (pos < 0)
        fuse_answer_err(req, (int)pos);
    else
        fuse_answer_buf(req, &out, sizeof(out));
}

void fuse_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                       struct fuse_file_info *fi)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_file *file = fs_file_get(fs, fi->fh, NULL);
    int err = -EBADF;

    if (file) {
        err = fs_fallocate(fs, file, mode, off, len, fuse_kill_of(fuse_rq_current()));
        fs_file_put(fs, file);
    }
    fuse_answer_err(req, err);
}
