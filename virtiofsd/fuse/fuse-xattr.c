/* SPDX-License-Identifier: BSD-3-Clause
 * Extended attributes. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>

/* Beside libfuse: 3.13 and 3.14 read the wrong layout. */
void fuse_do_setxattr(struct fuse_rq *rq)
{
    struct fuse_setxattr_in arg = {0};
    size_t fixed = rq->srv->flags & FUSE_SETXATTR_EXT ? sizeof(arg) : FUSE_COMPAT_SETXATTR_IN_SIZE;

    if (rq->body_len < fixed) {
        fuse_rq_reply_err(rq, -EINVAL);
        return;
    }
    memcpy(&arg, rq->body, fixed);
    const char *name = (const char *)rq->body + fixed;
    size_t left = rq->body_len - fixed;
    const char *end = memchr(name, 0, left);
    if (!end || left - (size_t)(end - name) - 1 != arg.size) {
        fuse_rq_reply_err(rq, -EINVAL);
        return;
    }
    struct fs_inode *inode = fs_inode_get(rq->srv->fs, rq->in->nodeid);
    if (!inode) {
        fuse_rq_reply_err(rq, -ENOENT);
        return;
    }
    unsigned how = arg.setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID ? FS_XATTR_ACL_KILL_SGID : 0;
    int err = fs_setxattr(rq->srv->fs, inode, name, end + 1, arg.size, (int)arg.flags, how);
    fs_inode_put(rq->srv->fs, inode);
    fuse_rq_reply_err(rq, err);
}

/* A value or list: size 0 asks for its length only. */
static void reply_xattr(struct fuse_rq *rq, ssize_t n)
{
    struct fuse_getxattr_out out = {.size = (uint32_t)MAX(n, 0)};

    if (n < 0)
        fuse_rq_reply_err(rq, (int)n);
    else if (rq->arg->size == 0)
        fuse_rq_reply_buf(rq, &out, sizeof(out));
    else
        fuse_rq_reply_buf(rq, rq->scratch, (size_t)n);
}

/* The guest's size, less what has no room in the answer. */
static size_t xattr_room(const struct fuse_rq *rq)
{
    return MIN(MIN(rq->arg->size, (size_t)FUSE_SCRATCH), fuse_rq_space(rq));
}

void fuse_do_getxattr(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);
    ssize_t n = -ENOENT;

    if (inode) {
        n = fs_getxattr(fs, inode, rq->arg->name, rq->scratch, xattr_room(rq));
        fs_inode_put(fs, inode);
    }
    reply_xattr(rq, n);
}

void fuse_do_listxattr(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);
    ssize_t n = -ENOENT;

    if (inode) {
        n = fs_listxattr(fs, inode, (char *)rq->scratch, xattr_room(rq));
        fs_inode_put(fs, inode);
    }
    reply_xattr(rq, n);
}

void fuse_do_removexattr(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);
    int err = -ENOENT;

    if (inode) {
        err = fs_removexattr(fs, inode, rq->arg->name);
        fs_inode_put(fs, inode);
    }
    fuse_rq_reply_err(rq, err);
}
