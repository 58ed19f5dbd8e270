/* SPDX-License-Identifier: BSD-3-Clause
 * Messages about names: walking, making, removing, moving.
 *
 * Trename and Tremove name no directory, only a fid. A fid remembers in which directory and by
 * which name it was found; before that name is touched, it must still lead to the same inode. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "virtiofsd/9p/p9-priv.h"

/* ---- walk ---- */

/* One step from *at (a reference, replaced). The root of the attachment is its own parent. */
static int step(struct p9_rq *rq, const struct p9_fid *from, struct fs_inode **at, const char *name,
                struct fs_attr *attr)
{
    struct fs_entry e;
    bool up = strcmp(name, "..") == 0;
    int rc = up ? 0 : fs_name_check(name);

    if (rc == 0 && !S_ISDIR(fs_inode_type(*at)))
        rc = -ENOTDIR;
    if (rc == 0)
        rc = p9_may(rq, *at, X_OK);
    if (rc < 0)
        return rc;
    if (up && *at == from->root)
        return fs_getattr(rq->fs, *at, NULL, attr);
    rc = fs_lookup(rq->fs, *at, name, &e);
    if (rc < 0)
        return rc;
    fs_inode_put(rq->fs, *at);
    *at = e.inode;
    *attr = e.attr;
    return 0;
}

/* Names of a Twalk; all of them are looked at before the first step. */
struct path {
    unsigned n;
    const char *name[P9_MAX_WALK];
};

static int read_path(struct p9_rq *rq, struct path *path)
{
    path->n = p9_get16(&rq->in);
    if (path->n > P9_MAX_WALK)
        return -EINVAL;
    for (unsigned i = 0; i < path->n; i++)
        path->name[i] = p9_get_str(&rq->in);
    if (rq->in.bad)
        return -EINVAL;
    for (unsigned i = 0; i < path->n; i++) {
        int rc = strcmp(path->name[i], "..") == 0 ? 0 : fs_name_check(path->name[i]);
        if (rc < 0)
            return rc;
    }
    return rq->room < P9_HEAD + 2 + path->n * (size_t)P9_QID_SIZE ? -EMSGSIZE : 0;
}

/* Steps as far as they go, each qid into the answer. Returns a new fid when all names were found,
 * NULL with *rc = 0 when some were, and NULL with the error when the first was not. */
static struct p9_fid *walk(struct p9_rq *rq, const struct p9_fid *from, uint32_t id,
                           const struct path *path, int *rc)
{
    struct p9_fid *to = p9_fid_dup(from, id);
    struct fs_attr attr;
    unsigned done = 0;

    p9_put16(&rq->out, 0);
    for (*rc = 0; done < path->n; done++) {
        struct fs_inode *dir = fs_inode_ref(to->inode);
        *rc = step(rq, from, &to->inode, path->name[done], &attr);
        if (*rc == 0) {
            bool named = to->inode != dir && strcmp(path->name[done], "..") != 0;
            p9_fid_set_place(&rq->conn->fids, to, named ? dir : NULL,
                             named ? path->name[done] : NULL);
            to->qid = p9_rq_qid(rq, &attr);
            to->dev = attr.st.st_dev;
            p9_put_qid(&rq->out, &to->qid);
        }
        fs_inode_put(rq->fs, dir);
        if (*rc < 0)
            break;
    }
    rq->out.p[0] = (uint8_t)done;
    if (done == path->n)
        return to;
    p9_rq_put(rq, to);
    if (done > 0)
        *rc = 0;
    return NULL;
}

int p9_do_walk(struct p9_rq *rq)
{
    struct p9_fids *fids = &rq->conn->fids;
    struct p9_fid *from = p9_rq_fid(rq);
    uint32_t id = p9_get32(&rq->in);
    struct path path;
    int rc = from ? read_path(rq, &path) : -EBADF;

    /* One that is open is a place to walk from (diod's tools do), but is not replaced. */
    if (rc == 0 && from->kind != P9_FID_PATH && id == from->id)
        rc = -EINVAL;
    if (rc == 0 && id == P9_NOFID)
        rc = -EINVAL;
    struct p9_fid *to = rc == 0 ? walk(rq, from, id, &path, &rc) : NULL;
    if (to) {
        rc = id == from->id ? p9_fid_replace(fids, from, to) : p9_fid_add(fids, to);
        if (rc < 0)
            p9_rq_put(rq, to);
        else if (id == from->id)
            p9_rq_put(rq, from); /* the table's */
    }
    p9_rq_put(rq, from);
    return rc;
}

/* ---- making ---- */

/* The directory fid that comes next in the message; NULL with *rc. */
static struct p9_fid *dir_fid(struct p9_rq *rq, int *rc)
{
    struct p9_fid *dir = p9_rq_fid(rq);

    if (!dir)
        *rc = -EBADF;
    else if (!S_ISDIR(fs_inode_type(dir->inode)))
        *rc = -ENOTDIR;
    else
        *rc = 0;
    return dir;
}

/* Whether @name may be made in @dir. */
static int may_make(struct p9_rq *rq, struct p9_fid *dir, const char *name)
{
    int rc = rq->in.bad ? -EINVAL : fs_name_check(name);
    return rc < 0 ? rc : p9_may(rq, dir->inode, W_OK | X_OK);
}

/* The end of all of these: the new inode's qid. */
static int answer_made(struct p9_rq *rq, struct p9_fid *dir, int rc, struct fs_entry *e)
{
    if (rc == 0) {
        struct p9_qid qid = p9_rq_qid(rq, &e->attr);
        p9_put_qid(&rq->out, &qid);
        fs_inode_put(rq->fs, e->inode);
    }
    p9_rq_put(rq, dir);
    return rc;
}

int p9_do_symlink(struct p9_rq *rq)
{
    int rc;
    struct fs_entry e;
    struct p9_fid *dir = dir_fid(rq, &rc);
    const char *name = p9_get_str(&rq->in), *target = p9_get_str(&rq->in);
    gid_t gid = p9_get32(&rq->in);

    if (rc == 0)
        rc = may_make(rq, dir, name);
    if (rc == 0) {
        struct fs_cred cred = p9_cred(rq, dir, gid);
        rc = fs_symlink(rq->fs, &cred, dir->inode, name, target, &e);
    }
    return answer_made(rq, dir, rc, &e);
}

int p9_do_mknod(struct p9_rq *rq)
{
    int rc;
    struct fs_entry e;
    struct p9_fid *dir = dir_fid(rq, &rc);
    const char *name = p9_get_str(&rq->in);
    mode_t mode = p9_get32(&rq->in);
    uint32_t major_ = p9_get32(&rq->in), minor_ = p9_get32(&rq->in);
    gid_t gid = p9_get32(&rq->in);

    if (rc == 0)
        rc = may_make(rq, dir, name);
    if (rc == 0) {
        struct fs_cred cred = p9_cred(rq, dir, gid);
        rc = fs_mknod(rq->fs, &cred, dir->inode, name, mode, makedev(major_, minor_), &e);
    }
    return answer_made(rq, dir, rc, &e);
}

int p9_do_mkdir(struct p9_rq *rq)
{
    int rc;
    struct fs_entry e;
    struct p9_fid *dir = dir_fid(rq, &rc);
    const char *name = p9_get_str(&rq->in);
    mode_t mode = p9_get32(&rq->in);
    gid_t gid = p9_get32(&rq->in);

    if (rc == 0)
        rc = may_make(rq, dir, name);
    if (rc == 0) {
        struct fs_cred cred = p9_cred(rq, dir, gid);
        rc = fs_mkdir(rq->fs, &cred, dir->inode, name, mode, &e);
    }
    return answer_made(rq, dir, rc, &e);
}

int p9_do_link(struct p9_rq *rq)
{
    int rc;
    struct fs_entry e;
    struct p9_fid *dir = dir_fid(rq, &rc), *fid = p9_rq_fid(rq);
    const char *name = p9_get_str(&rq->in);

    if (rc == 0 && !fid)
        rc = -EBADF;
    if (rc == 0)
        rc = may_make(rq, dir, name);
    if (rc == 0)
        rc = p9_may_link(rq, fid->inode);
    if (rc == 0)
        rc = fs_link(rq->fs, fid->inode, dir->inode, name, &e);
    if (rc == 0)
        fs_inode_put(rq->fs, e.inode);
    p9_rq_put(rq, dir);
    p9_rq_put(rq, fid);
    return rc;
}

/* ---- removing and moving ---- */

/* Whether the name by which @fid was found still leads to its inode. 0 or -errno. */
static int check_place(struct p9_rq *rq, const struct p9_fid *fid)
{
    struct fs_entry e;

    if (!fid->parent)
        return fid->inode == fid->root ? -EBUSY : -EOPNOTSUPP;
    int rc = fs_lookup(rq->fs, fid->parent, fid->name, &e);
    if (rc < 0)
        return rc;
    rc = e.inode == fid->inode ? 0 : -ENOENT;
    fs_inode_put(rq->fs, e.inode);
    return rc;
}

static int remove_name(struct p9_rq *rq, struct fs_inode *dir, const char *name, bool is_dir)
{
    int rc = p9_may_remove(rq, dir, name);
    if (rc < 0)
        return rc;
    return is_dir ? fs_rmdir(rq->fs, dir, name) : fs_unlink(rq->fs, dir, name);
}

int p9_do_remove(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_fid_take(&rq->conn->fids, p9_get32(&rq->in));

    if (!fid)
        return -EBADF;
    int rc = check_place(rq, fid);
    if (rc == 0)
        rc = remove_name(rq, fid->parent, fid->name, S_ISDIR(fs_inode_type(fid->inode)));
    int end = p9_rq_clunk(rq, fid);
    return rc < 0 ? rc : end;
}

int p9_do_unlinkat(struct p9_rq *rq)
{
    int rc;
    struct p9_fid *dir = dir_fid(rq, &rc);
    const char *name = p9_get_str(&rq->in);
    uint32_t flags = p9_get32(&rq->in);

    if (rc == 0 && (rq->in.bad || (flags & ~(uint32_t)P9_AT_REMOVEDIR)))
        rc = -EINVAL;
    if (rc == 0)
        rc = fs_name_check(name);
    if (rc == 0)
        rc = remove_name(rq, dir->inode, name, flags & P9_AT_REMOVEDIR);
    p9_rq_put(rq, dir);
    return rc;
}

static int move(struct p9_rq *rq, struct p9_fid *user, struct fs_inode *from, const char *name,
                struct fs_inode *to, const char *newname)
{
    struct fs_cred cred = p9_cred(rq, user, 0);
    int rc = rq->in.bad ? -EINVAL : fs_name_check(name);

    if (rc == 0)
        rc = fs_name_check(newname);
    if (rc == 0)
        rc = p9_may_remove(rq, from, name);
    if (rc == 0)
        rc = p9_may_remove(rq, to, newname);
    if (rc == 0)
        rc = p9_may_move(rq, from, name, to);
    return rc < 0 ? rc : fs_rename(rq->fs, &cred, from, name, to, newname, 0);
}

int p9_do_renameat(struct p9_rq *rq)
{
    int rc, rc_to;
    struct p9_fid *from = dir_fid(rq, &rc);
    const char *name = p9_get_str(&rq->in);
    struct p9_fid *to = dir_fid(rq, &rc_to);
    const char *newname = p9_get_str(&rq->in);

    if (rc == 0)
        rc = rc_to;
    if (rc == 0)
        rc = move(rq, from, from->inode, name, to->inode, newname);
    p9_rq_put(rq, from);
    p9_rq_put(rq, to);
    return rc;
}

int p9_do_rename(struct p9_rq *rq)
{
    int rc;
    struct p9_fids *fids = &rq->conn->fids;
    struct p9_fid *fid = p9_rq_fid(rq), *dir = dir_fid(rq, &rc);
    const char *name = p9_get_str(&rq->in);

    if (!fid)
        rc = -EBADF;
    if (rc == 0)
        rc = check_place(rq, fid);
    if (rc == 0)
        rc = move(rq, fid, fid->parent, fid->name, dir->inode, name);
    if (rc == 0 && fid->kind == P9_FID_PATH) {
        /* Found by the new name from now on; if the number is another's already, so be it. */
        struct p9_fid *moved = p9_fid_dup(fid, fid->id);
        p9_fid_set_place(fids, moved, dir->inode, name);
        p9_rq_put(rq, p9_fid_replace(fids, fid, moved) == 0 ? fid : moved);
    }
    p9_rq_put(rq, fid);
    p9_rq_put(rq, dir);
    return rc;
}
