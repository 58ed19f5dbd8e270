/* SPDX-License-Identifier: BSD-3-Clause
 * What libfuse calls when it has taken a request apart. The operation answers straight into guest
 * memory, after which fuse_reply_none() only ends libfuse's request object (see fuse-session.c for
 * why its other replies are not used). */
#include "virtiofsd/fuse/fuse-session.h"

#include "virtiofsd/fuse/fuse-priv.h"

static __thread struct fuse_rq *current;

void fuse_callback_set(struct fuse_rq *rq)
{
    current = rq;
}

static void call(fuse_req_t req, const struct fuse_arg *arg)
{
    struct fuse_rq *rq = current;

    rq->arg = arg;
    rq->op->handle(rq);
    rq->arg = NULL;
    fuse_reply_none(req);
}

#define CALL(req, ...) call(req, &(struct fuse_arg){__VA_ARGS__})

static void by_node(fuse_req_t req, fuse_ino_t node)
{
    CALL(req, .fh = 0);
}

static void by_name(fuse_req_t req, fuse_ino_t node, const char *name)
{
    CALL(req, .name = name);
}

static void on_mknod(fuse_req_t req, fuse_ino_t node, const char *name, mode_t mode, dev_t rdev)
{
    CALL(req, .name = name, .mode = mode, .umask = fuse_req_ctx(req)->umask, .rdev = rdev);
}

static void on_mkdir(fuse_req_t req, fuse_ino_t node, const char *name, mode_t mode)
{
    CALL(req, .name = name, .mode = mode, .umask = fuse_req_ctx(req)->umask);
}

static void on_symlink(fuse_req_t req, const char *target, fuse_ino_t node, const char *name)
{
    CALL(req, .name = name, .name2 = target);
}

static void on_rename(fuse_req_t req, fuse_ino_t node, const char *name, fuse_ino_t newparent,
                      const char *newname, unsigned flags)
{
    CALL(req, .name = name, .node2 = newparent, .name2 = newname, .flags = flags);
}

static void on_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t node, const char *name)
{
    CALL(req, .node2 = ino, .name = name);
}

static void on_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
    CALL(req, .fh = fi->fh, .num = datasync);
}

static void on_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence,
                     struct fuse_file_info *fi)
{
    CALL(req, .fh = fi->fh, .off = off, .num = whence);
}

static void on_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t off, off_t len,
                         struct fuse_file_info *fi)
{
    CALL(req, .fh = fi->fh, .off = off, .len = len, .num = mode);
}

static void on_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
    CALL(req, .name = name, .size = size);
}

static void on_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
    CALL(req, .size = size);
}

static void on_access(fuse_req_t req, fuse_ino_t node, int mask)
{
    CALL(req, .num = mask);
}

const struct fuse_lowlevel_ops fuse_callbacks = {
    .readlink = by_node,
    .symlink = on_symlink,
    .mknod = on_mknod,
    .mkdir = on_mkdir,
    .unlink = by_name,
    .rmdir = by_name,
    .rename = on_rename, /* and RENAME2 */
    .link = on_link,
    .statfs = by_node,
    .fsync = on_fsync,
    .fsyncdir = on_fsync,
    .getxattr = on_getxattr,
    .listxattr = on_listxattr,
    .removexattr = by_name,
    .access = on_access,
    .fallocate = on_fallocate,
    .lseek = on_lseek,
};
