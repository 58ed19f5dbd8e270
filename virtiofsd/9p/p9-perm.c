/* SPDX-License-Identifier: BSD-3-Clause
 * As whom requests are done.
 *
 * A guest's kernel decides for its users, as with virtio-fs: what it asks for is done, and only
 * new files get their owner from it. Where all requests are to be one user's (squash), nobody else
 * decides, so the host's rules are applied here. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "virtiofsd/9p/p9-priv.h"

static bool squashed(const struct p9_rq *rq)
{
    return rq->conn->srv->cfg.squash_uid != UINT32_MAX;
}

static struct fs_cred squash_cred(const struct p9_rq *rq)
{
    const struct p9_config *cfg = &rq->conn->srv->cfg;
    return (struct fs_cred){
        .uid = cfg->squash_uid,
        .gid = cfg->squash_gid != UINT32_MAX ? cfg->squash_gid : cfg->squash_uid,
        .groups_known = true,
    };
}

struct fs_cred p9_cred(const struct p9_rq *rq, const struct p9_fid *fid, gid_t gid)
{
    if (squashed(rq))
        return squash_cred(rq);
    return (struct fs_cred){.uid = fid->user.uid, .gid = gid};
}

bool p9_fid_kills(const struct p9_fid *fid)
{
    return !fid->user.known || fid->user.uid != 0;
}

int p9_may(const struct p9_rq *rq, struct fs_inode *inode, int mask)
{
    if (!squashed(rq))
        return 0;
    struct fs_cred cred = squash_cred(rq);
    return fs_access(rq->fs, &cred, inode, mask);
}

int p9_may_remove(const struct p9_rq *rq, struct fs_inode *dir, const char *name)
{
    struct fs_attr attr;
    struct fs_entry e;
    uid_t me = rq->conn->srv->cfg.squash_uid;

    if (!squashed(rq))
        return 0;
    int rc = p9_may(rq, dir, W_OK | X_OK);
    if (rc < 0 || me == 0)
        return rc;
    rc = fs_getattr(rq->fs, dir, NULL, &attr);
    if (rc < 0 || !(attr.st.st_mode & S_ISVTX) || attr.st.st_uid == me)
        return rc;
    rc = fs_name_check(name);
    if (rc == 0)
        rc = fs_lookup(rq->fs, dir, name, &e);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    fs_inode_put(rq->fs, e.inode);
    return e.attr.st.st_uid == me ? 0 : -EPERM;
}

/* chown: nobody but root; chmod and given times: the owner; current times and size: who may write
 * (with the open file that was checked when it was opened). */
int p9_may_set(const struct p9_rq *rq, struct fs_inode *inode, struct fs_file *file,
               const struct fs_setattr *set)
{
    const unsigned owners = FS_SET_MODE | FS_SET_ATIME | FS_SET_MTIME;
    const unsigned writers = FS_SET_ATIME_NOW | FS_SET_MTIME_NOW;
    uid_t me = rq->conn->srv->cfg.squash_uid;
    struct fs_attr attr;

    if (!squashed(rq) || me == 0)
        return 0;
    int rc = fs_getattr(rq->fs, inode, NULL, &attr);
    if (rc < 0)
        return rc;
    bool own = attr.st.st_uid == me;
    if (((set->valid & FS_SET_UID) && (!own || set->uid != me)) ||
        ((set->valid & FS_SET_GID) && (!own || set->gid != squash_cred(rq).gid)))
        return -EPERM;
    if ((set->valid & owners) && !own)
        return -EPERM;
    if (((set->valid & FS_SET_SIZE) && !file) || ((set->valid & writers) && !own))
        return p9_may(rq, inode, W_OK);
    return 0;
}

/* user.*: who may write; ACLs: the owner; everything else is root's. */
int p9_may_xattr(const struct p9_rq *rq, struct fs_inode *inode, const char *name)
{
    struct fs_attr attr;
    uid_t me = rq->conn->srv->cfg.squash_uid;

    if (!squashed(rq) || me == 0)
        return 0;
    if (strncmp(name, "user.", 5) == 0)
        return p9_may(rq, inode, W_OK);
    if (strncmp(name, "system.posix_acl_", 17) != 0)
        return -EPERM;
    int rc = fs_getattr(rq->fs, inode, NULL, &attr);
    return rc < 0 ? rc : attr.st.st_uid == me ? 0 : -EPERM;
}
