/* SPDX-License-Identifier: BSD-3-Clause
 * The operations that a guest asks for most: each file that it reads takes one of each. They go
 * beside libfuse, whose request object (memory, a mutex, a list of all requests) would cost them
 * some 770 of their 2,800 instructions in user space. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

void fuse_do_lookup(struct fuse_rq *rq)
{
    struct fuse_srv *srv = rq->srv;
    const char *name = (const char *)rq->body;
    struct fs_entry e;
    int err;
    struct fs_inode *dir = fuse_dir_get(srv, rq->in->nodeid, &name, &err);

    if (!dir) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    err = fs_lookup(srv->fs, dir, name, &e);
    fs_inode_put(srv->fs, dir);
    if (err == -ENOENT && srv->cfg.negative_timeout > 0 && srv->linux_guest) {
        struct fuse_entry_out none = {0};
        fuse_split_timeout(srv->cfg.negative_timeout, &none.entry_valid, &none.entry_valid_nsec);
        fuse_rq_reply_buf(rq, &none, sizeof(none));
        return;
    }
    fuse_rq_reply_entry(rq, err, name, &e);
}

void fuse_do_getattr(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct fuse_getattr_in arg;
    struct fs_attr attr;
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);

    memcpy(&arg, rq->body, sizeof(arg));
    if (!inode) {
        fuse_rq_reply_err(rq, -ENOENT);
        return;
    }
    struct fs_file *file =
        arg.getattr_flags & FUSE_GETATTR_FH ? fs_file_get(fs, arg.fh, inode) : NULL;
    int err = G_UNLIKELY(rq->srv->dax.on) ? fs_getattr(fs, inode, file, &attr)
                                          : fs_getstat(fs, inode, file, &attr);
    if (file)
        fs_file_put(fs, file);
    fuse_rq_reply_attr(rq, err, inode, &attr);
    fs_inode_put(fs, inode);
}

/* ---- open files ---- */

/* Linux has OPENDIR for a directory; another guest may open one as it comes. */
static int open_node(struct fuse_srv *srv, struct fs_inode *inode, const struct fuse_open_in *arg,
                     bool *dir, struct fs_opened *out)
{
    *dir = S_ISDIR(fs_inode_type(inode));
    if (*dir && (arg->flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY)
        return fs_opendir(srv->fs, inode, out);
    return fs_open(srv->fs, inode, (int)arg->flags, fuse_open_how(srv, arg->open_flags), out);
}

void fuse_do_open(struct fuse_rq *rq)
{
    struct fuse_srv *srv = rq->srv;
    struct fuse_open_in arg;
    struct fs_opened opened;
    struct fs_inode *inode = fs_inode_get(srv->fs, rq->in->nodeid);
    int err = -ENOENT;
    bool dir = false;

    memcpy(&arg, rq->body, sizeof(arg));
    if (inode && fuse_spares(srv, FUSE_NO_OPEN_SUPPORT)) {
        err = -ENOSYS;
        fs_inode_put(srv->fs, inode);
    } else if (inode) {
        err = open_node(srv, inode, &arg, &dir, &opened);
        fuse_listing_opened(srv, rq->in->nodeid);
        fs_inode_put(srv->fs, inode);
    }
    fuse_rq_reply_open(rq, dir, err, &opened);
}

void fuse_do_opendir(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct fs_opened opened;
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);
    int err = -ENOENT;

    if (inode && fuse_spares(rq->srv, FUSE_NO_OPENDIR_SUPPORT)) {
        err = -ENOSYS;
        fs_inode_put(fs, inode);
    } else if (inode) {
        err = fs_opendir(fs, inode, &opened);
        fuse_listing_opened(rq->srv, rq->in->nodeid);
        fs_inode_put(fs, inode);
    }
    if (err == 0 && opened.keep_cache && rq->srv->shared->cache == FS_CACHE_AUTO)
        opened.keep_cache = fuse_listing_good(rq->srv, rq->in->nodeid);
    fuse_rq_reply_open(rq, true, err, &opened);
}

/* The process's POSIX locks on the file end; there is no unlock request for it. */
static int end_locks(struct fuse_srv *srv, uint64_t id, uint64_t owner)
{
    if (!(srv->flags & FUSE_POSIX_LOCKS))
        return 0;
    struct fs_inode *inode = fs_inode_get(srv->fs, id);
    if (!inode)
        return -ENOENT;
    int err = fs_flush(srv->fs, inode, owner);
    fs_inode_put(srv->fs, inode);
    return err;
}

/* One close(2) in the guest. */
void fuse_do_flush(struct fuse_rq *rq)
{
    struct fuse_srv *srv = rq->srv;
    struct fuse_flush_in arg;

    memcpy(&arg, rq->body, sizeof(arg));
    if (!srv->flush && (fuse_spares(srv, FUSE_NO_OPEN_SUPPORT) || fs_close_mute(srv->fs))) {
        fuse_rq_reply_err(rq, -ENOSYS);
        return;
    }
    int err = end_locks(srv, rq->in->nodeid, arg.lock_owner);
    struct fs_file *file = fs_file_get(srv->fs, arg.fh, NULL);
    if (file) {
        int rc = fs_close_error(srv->fs, file);
        err = err ? err : rc;
        fs_file_put(srv->fs, file);
    }
    fuse_rq_reply_err(rq, err);
}

/* RELEASE and RELEASEDIR. */
void fuse_do_release(struct fuse_rq *rq)
{
    struct fuse_release_in arg;

    memcpy(&arg, rq->body, sizeof(arg));
    /* Of a file that was made before the guest has heard that it opens none. */
    bool spared =
        arg.fh == 0 && fuse_spares(rq->srv, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT);
    fuse_rq_reply_err(rq, spared ? 0 : fs_release(rq->srv->fs, arg.fh));
}
