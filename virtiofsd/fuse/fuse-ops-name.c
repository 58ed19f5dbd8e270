/* SPDX-License-Identifier: BSD-3-Clause
 * Making and removing names. Names are checked by the core. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

/* What mknod, mkdir, symlink and create have in common: a directory, a name in it, and who asks. */
struct make {
    struct fs_inode *dir;
    const char *name;
    const struct fs_cred *cred;
};

/* Returns false when the answer was given: the request cannot be done. */
static bool make_begin(struct fuse_rq *rq, const char *name, mode_t umask_, struct make *m)
{
    int err = -EINVAL;

    m->name = name;
    m->cred = fuse_rq_cred(rq, umask_);
    m->dir = m->cred ? fuse_dir_get(rq->srv, rq->in->nodeid, &m->name, &err) : NULL;
    if (!m->dir)
        fuse_rq_reply_err(rq, err);
    return m->dir != NULL;
}

static void make_end(struct fuse_rq *rq, struct make *m, int err, struct fs_entry *e)
{
    fs_inode_put(rq->srv->fs, m->dir);
    fuse_rq_reply_entry(rq, err, m->name, e);
}

void fuse_do_mknod(struct fuse_rq *rq)
{
    const struct fuse_arg *a = rq->arg;
    struct make m;
    struct fs_entry e;

    if (!make_begin(rq, a->name, a->umask, &m))
        return;
    int err = fs_mknod(rq->srv->fs, m.cred, m.dir, m.name, a->mode, a->rdev, &e);
    make_end(rq, &m, err, &e);
}

void fuse_do_mkdir(struct fuse_rq *rq)
{
    const struct fuse_arg *a = rq->arg;
    struct make m;
    struct fs_entry e;

    if (!make_begin(rq, a->name, a->umask, &m))
        return;
    int err = fs_mkdir(rq->srv->fs, m.cred, m.dir, m.name, a->mode, &e);
    make_end(rq, &m, err, &e);
}

void fuse_do_symlink(struct fuse_rq *rq)
{
    struct make m;
    struct fs_entry e;

    if (!make_begin(rq, rq->arg->name, 0, &m))
        return;
    int err = fs_symlink(rq->srv->fs, m.cred, m.dir, m.name, rq->arg->name2, &e);
    make_end(rq, &m, err, &e);
}

/* Beside libfuse, which leaves out umask and open_flags. */
void fuse_do_create(struct fuse_rq *rq)
{
    struct fuse_srv *srv = rq->srv;
    struct fuse_create_in arg;
    struct fs_opened opened;
    struct fs_entry e;
    struct make m;

    memcpy(&arg, rq->body, sizeof(arg));
    if (!make_begin(rq, (const char *)rq->body + sizeof(arg), arg.umask, &m))
        return;
    int err = fs_create(srv->fs, m.cred, m.dir, m.name, arg.mode, (int)arg.flags,
                        fuse_open_how(srv, arg.open_flags), &e, &opened);
    fs_inode_put(srv->fs, m.dir);
    if (err)
        fuse_rq_reply_err(rq, err);
    else
        fuse_rq_reply_create(rq, m.name, &e, &opened);
}

void fuse_do_link(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    const char *name = rq->arg->name;
    struct fs_entry e;
    int err;
    struct fs_inode *inode = fs_inode_get(fs, rq->arg->node2);
    struct fs_inode *dir = fuse_dir_get(rq->srv, rq->in->nodeid, &name, &err);

    if (err == 0)
        err = inode ? fs_link(fs, inode, dir, name, &e) : -ENOENT;

    if (inode)
        fs_inode_put(fs, inode);
    if (dir)
        fs_inode_put(fs, dir);
    fuse_rq_reply_entry(rq, err, name, &e);
}

static void remove_name(struct fuse_rq *rq,
                        int (*verb)(struct fs *, struct fs_inode *, const char *))
{
    struct fs *fs = rq->srv->fs;
    const char *name = rq->arg->name;
    int err;
    struct fs_inode *dir = fuse_dir_get(rq->srv, rq->in->nodeid, &name, &err);

    if (dir) {
        err = verb(fs, dir, name);
        fs_inode_put(fs, dir);
    }
    fuse_rq_reply_err(rq, err);
}

void fuse_do_unlink(struct fuse_rq *rq)
{
    remove_name(rq, fs_unlink);
}

void fuse_do_rmdir(struct fuse_rq *rq)
{
    remove_name(rq, fs_rmdir);
}

/* RENAME and RENAME2. */
void fuse_do_rename(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    const char *name = rq->arg->name, *newname = rq->arg->name2;
    int err, err_to;
    struct fs_inode *from = fuse_dir_get(rq->srv, rq->in->nodeid, &name, &err);
    struct fs_inode *to = fuse_dir_get(rq->srv, rq->arg->node2, &newname, &err_to);
    const struct fs_cred *cred = fuse_rq_cred(rq, 0);

    err = !cred ? -EINVAL : err ? err : err_to;
    if (err == 0)
        err = fs_rename(fs, cred, from, name, to, newname, rq->arg->flags);
    if (from)
        fs_inode_put(fs, from);
    if (to)
        fs_inode_put(fs, to);
    fuse_rq_reply_err(rq, err);
}
