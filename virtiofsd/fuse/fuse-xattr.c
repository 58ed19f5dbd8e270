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
static void reply_xattr(fuse_req_t req, ssize_t n, size_t size)
{
    struct fuse_getxattr_out out = {.size = (uint32_t)MAX(n, 0)};

    if (n < 0)
        fuse_answer_err(req, (int)n);
    else if (size == 0)
        fuse_answer_buf(req, &out, sizeof(out));
    else
        fuse_answer_buf(req, fuse_rq_current()->scratch, (size_t)n);
}

/* The guest's size, less what has no room in the answer. */
static size_t xattr_room(size_t size)
{
    return MIN(MIN(size, (size_t)FUSE_SCRATCH), fuse_rq_space(fuse_rq_current()));
}

void fuse_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_inode *inode = fs_inode_get(fs, ino);
    ssize_t n = -ENOENT;

    if (inode) {
        n = fs_getxattr(fs, inode, name, fuse_rq_current()->scratch, xattr_room(size));
        fs_inode_put(fs, inode);
    }
    reply_xattr(req, n, size);
}

void fuse_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_inode *inode = fs_inode_get(fs, ino);
    ssize_t n = -ENOENT;

    if (inode) {
        n = fs_listxattr(fs, inode, (char *)fuse_rq_current()->scratch, xattr_room(size));
        fs_inode_put(fs, inode);
    }
    reply_xattr(req, n, size);
}

void fuse_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_inode *inode = fs_inode_get(fs, ino);
    int err = -ENOENT;

    if (inode) {
        err = fs_removexattr(fs, inode, name);
        fs_inode_put(fs, inode);
    }
    fuse_answer_err(req, err);
}
