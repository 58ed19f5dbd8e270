/* SPDX-License-Identifier: BSD-3-Clause
 * libfuse callbacks that make and remove names. Names are checked by the core. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

/* What mknod, mkdir, symlink and create have in common: a parent, and who asks. */
struct make {
    struct fs_inode *dir;
    const struct fs_cred *cred;
};

/* Returns false when the answer was given: the request cannot be done. */
static bool make_begin(fuse_req_t req, fuse_ino_t parent, const char **name, mode_t umask_,
                       struct make *m)
{
    int err = -EINVAL;

    m->cred = fuse_rq_cred(fuse_rq_current(), umask_);
    m->dir = m->cred ? fuse_dir_get(srv_of(req), parent, name, &err) : NULL;
    if (!m->dir)
        fuse_answer_err(req, err);
    return m->dir != NULL;
}

static void make_end(fuse_req_t req, struct make *m, int err, const char *name, struct fs_entry *e)
{
    fs_inode_put(srv_of(req)->fs, m->dir);
    fuse_answer_entry(req, err, name, e);
}

void fuse_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct make m;
    struct fs_entry e;

    if (!make_begin(req, parent, &name, fuse_callback_umask(req), &m))
        return;
    int err = fs_mknod(srv_of(req)->fs, m.cred, m.dir, name, mode, rdev, &e);
    make_end(req, &m, err, name, &e);
}

void fuse_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct make m;
    struct fs_entry e;

    if (!make_begin(req, parent, &name, fuse_callback_umask(req), &m))
        return;
    int err = fs_mkdir(srv_of(req)->fs, m.cred, m.dir, name, mode, &e);
    make_end(req, &m, err, name, &e);
}

void fuse_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct make m;
    struct fs_entry e;

    if (!make_begin(req, parent, &name, 0, &m))
        return;
    int err = fs_symlink(srv_of(req)->fs, m.cred, m.dir, name, target, &e);
    make_end(req, &m, err, name, &e);
}

void fuse_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                    struct fuse_file_info *fi)
{
    struct fuse_srv *srv = srv_of(req);
    struct fuse_create_in arg;
    struct fs_opened opened;
    struct fs_entry e;
    struct make m;

    fuse_callback_args(&arg, sizeof(arg));

    if (!make_begin(req, parent, &name, arg.umask, &m))
        return;
    unsigned how = fuse_open_how(srv, arg.open_flags);
    int err = fs_create(srv->fs, m.cred, m.dir, name, mode, fi->flags, how, &e, &opened);
    fs_inode_put(srv->fs, m.dir);
    fuse_answer_create(req, err, name, &e, &opened);
}

void fuse_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    struct fs *fs = srv_of(req)->fs;
    struct fs_entry e;
    int err;
    struct fs_inode *inode = fs_inode_get(fs, ino);
    struct fs_inode *dir = fuse_dir_get(srv_of(req), parent, &name, &err);

    if (err == 0)
        err = inode ? fs_link(fs, inode, dir, name, &e) : -ENOENT;

    if (inode)
        fs_inode_put(fs, inode);
    if (dir)
        fs_inode_put(fs, dir);
    fuse_answer_entry(req, err, name, &e);
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name,
                        int (*verb)(struct fs *, struct fs_inode *, const char *))
{
    struct fs *fs = srv_of(req)->fs;
    int err;
    struct fs_inode *dir = fuse_dir_get(srv_of(req), parent, &name, &err);

    if (dir) {
        err = verb(fs, dir, name);
        fs_inode_put(fs, dir);
    }
    fuse_answer_err(req, err);
}

void fuse_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    remove_name(req, parent, name, fs_unlink);
}

void fuse_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    remove_name(req, parent, name, fs_rmdir);
}

void fuse_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                    const char *newname, unsigned flags)
{
    struct fs *fs = srv_of(req)->fs;
    int err, err_to;
    struct fs_inode *from = fuse_dir_get(srv_of(req), parent, &name, &err);
    struct fs_inode *to = fuse_dir_get(srv_of(req), newparent, &newname, &err_to);
    const struct fs_cred *cred = fuse_rq_cred(fuse_rq_current(), 0);

    err = !cred ? -EINVAL : err ? err : err_to;
    if (err == 0)
        err = fs_rename(fs, cred, from, name, to, newname, flags);
    if (from)
        fs_inode_put(fs, from);
    if (to)
        fs_inode_put(fs, to);
    fuse_answer_err(req, err);
}
