/* SPDX-License-Identifier: BSD-3-Clause
 * libfuse callbacks on open files and directories. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Linux has OPENDIR for a directory; another guest may open one as it comes. */
static int open_node(struct fuse_srv *srv, struct fs_inode *inode, const struct fuse_open_in *arg,
                     bool *dir, struct fs_opened *out)
{
    *dir = S_ISDIR(fs_inode_type(inode));
    if (*dir && (arg->flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY)
        return fs_opendir(srv->fs, inode, out);
    return fs_open(srv->fs, inode, (int)arg->flags, fuse_open_how(srv, arg->open_flags), out);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fuse_srv *srv = srv_of(req);
    struct fuse_open_in arg;
    struct fs_opened opened;
    struct fs_inode *inode = fs_inode_get(srv->fs, ino);
    int err = -ENOENT;
    bool dir = false;

    memcpy(&arg, fuse_rq_current()->body, sizeof(arg));
    if (inode) {
        err = open_node(srv, inode, &arg, &dir, &opened);
        fs_inode_put(srv->fs, inode);
    }
    fuse_answer_open(req, dir, err, &opened);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_opened opened;
    struct fs_inode *inode = fs_inode_get(fs, ino);
    int err = -ENOENT;

    if (inode) {
        err = fs_opendir(fs, inode, &opened);
        fs_inode_put(fs, inode);
    }
    fuse_answer_open(req, true, err, &opened);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fuse_answer_err(req, fs_release(srv_of(req)->fs, fi->fh));
}

/* The process's POSIX locks on the file end; there is no unlock request for it. */
static int end_locks(struct fuse_srv *srv, fuse_ino_t ino, uint64_t owner)
{
    if (!(srv->flags & FUSE_POSIX_LOCKS))
        return 0;
    struct fs_inode *inode = fs_inode_get(srv->fs, ino);
    if (!inode)
        return -ENOENT;
    int err = fs_flush(srv->fs, inode, owner);
    fs_inode_put(srv->fs, inode);
    return err;
}

/* One close(2) in the guest. */
static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fuse_srv *srv = srv_of(req);

    if (!srv->flush) {
        fuse_answer_err(req, -ENOSYS);
        return;
    }
    int err = end_locks(srv, ino, fi->lock_owner);
    struct fs_file *file = fs_file_get(srv->fs, fi->fh, NULL);
    if (file) {
        int rc = fs_close_error(srv->fs, file);
        err = err ? err : rc;
        fs_file_put(srv->fs, file);
    }
    fuse_answer_err(req, err);
}

/* fsync and fsyncdir. */
static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
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

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                     struct fuse_file_info *fi)
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

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
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

void fuse_ops_file_init(struct fuse_lowlevel_ops *ops)
{
    ops->open = op_open;
    ops->opendir = op_opendir;
    ops->release = op_release;
    ops->releasedir = op_release;
    ops->flush = op_flush;
    ops->fsync = op_fsync;
    ops->fsyncdir = op_fsync;
    ops->lseek = op_lseek;
    ops->fallocate = op_fallocate;
}
