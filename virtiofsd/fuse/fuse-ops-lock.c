/* SPDX-License-Identifier: BSD-3-Clause
 * libfuse callbacks for locks that do not wait; the waiting form is in fuse-direct.c. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>

/* libfuse turns the wire's inclusive end into a length, with 0 for "to end of file": so the wire's
 * own numbers are taken. */
static struct fs_lock wire_lock(void)
{
    struct fuse_lk_in arg;

    memcpy(&arg, fuse_rq_current()->body, sizeof(arg));
    return (struct fs_lock){(short)arg.lk.type, (off_t)arg.lk.start, (off_t)arg.lk.end};
}

/* A lock of a kind that was not negotiated is the guest's own business. */
static bool shared(fuse_req_t req, uint64_t kind)
{
    if (srv_of(req)->flags & kind)
        return true;
    fuse_answer_err(req, -ENOSYS);
    return false;
}

static void op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                     struct flock *unused)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_lock lk = wire_lock();
    int err = -ENOENT;

    if (!shared(req, FUSE_POSIX_LOCKS))
        return;
    struct fs_inode *inode = fs_inode_get(fs, ino);
    if (inode) {
        err = fs_getlk(fs, inode, fi->lock_owner, &lk);
        fs_inode_put(fs, inode);
    }
    if (err) {
        fuse_answer_err(req, err);
        return;
    }
    /* The holder's pid means nothing in the guest. */
    struct fuse_lk_out out = {
        .lk = {.start = (uint64_t)lk.start, .end = (uint64_t)lk.end, .type = (uint32_t)lk.type}};
    fuse_answer_buf(req, &out, sizeof(out));
}

static void op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                     struct flock *unused, int sleep)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_lock lk = wire_lock();
    int err = -ENOENT;

    if (!shared(req, FUSE_POSIX_LOCKS))
        return;
    struct fs_inode *inode = fs_inode_get(fs, ino);
    if (inode) {
        err = fs_setlk(fs, inode, fi->lock_owner, &lk);
        fs_inode_put(fs, inode);
    }
    fuse_answer_err(req, err);
}

static void op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
    struct fs *fs = srv_of(req)->fs;
    int err = -EBADF;

    if (!shared(req, FUSE_FLOCK_LOCKS))
        return;
    struct fs_file *file = fs_file_get(fs, fi->fh, NULL);
    if (file) {
        err = fs_flock(fs, file, op & ~LOCK_NB);
        fs_file_put(fs, file);
    }
    fuse_answer_err(req, err);
}

void fuse_ops_lock_init(struct fuse_lowlevel_ops *ops)
{
    ops->getlk = op_getlk;
    ops->setlk = op_setlk;
    ops->flock = op_flock;
}
