/* SPDX-License-Identifier: BSD-3-Clause
 * As whom requests are done.
 *
 * A guest's kernel decides for its users, as with virtio-fs: what it asks for is done, and only
 * new files get their owner from it. Where all requests are to be one user's (squash), nobody else
 * decides: the system calls are made as that user, and the host's kernel checks in the moment of
 * the act. Here is what it cannot know: that names of attributes may be others on the host
 * (trusted.*), that hard links are to be kept where the host is lax, that a lock is not for who may
 * only read, whose descriptors the core has already, and that a Tsetattr, which is several system
 * calls, is refused whole. The rest is for a process that cannot be that user (rq->acting is false
 * then), of which the log tells. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

static bool squashed(const struct p9_rq *rq)
{
    return rq->conn->srv->cfg.squash_uid != UINT32_MAX;
}

bool p9_squashed(const struct p9_rq *rq)
{
    return squashed(rq) && rq->conn->srv->cfg.squash_uid != 0;
}

/* The attributes of @inode, and whether it is this user's. 0 or -errno. */
static int look(const struct p9_rq *rq, struct fs_inode *inode, struct fs_attr *attr, bool *own)
{
    int rc = fs_getattr(rq->fs, inode, NULL, attr);

    *own = rc == 0 && attr->st.st_uid == rq->conn->srv->cfg.squash_uid;
    return rc;
}

static struct fs_cred squash_cred(const struct p9_rq *rq)
{
    const struct p9_config *cfg = &rq->conn->srv->cfg;
    return (struct fs_cred){
        .uid = cfg->squash_uid,
        .gid = cfg->squash_gid != UINT32_MAX ? cfg->squash_gid : cfg->squash_uid,
        .strict = true,
    };
}

bool p9_act_as(const struct p9_rq *rq)
{
    if (!p9_squashed(rq))
        return false;
    struct fs_cred cred = squash_cred(rq);
    int rc = fs_act_as(rq->fs, &cred);
    if (rc < 0 && !atomic_flag_test_and_set(&rq->conn->srv->told))
        log_warn("cannot act as the user %u:%u of --p9-squash (%s): what it may is checked by mode "
                 "and ACL just before, not by the kernel",
                 (unsigned)cred.uid, (unsigned)cred.gid, errno_text(-rc));
    return rc > 0;
}

void p9_act_done(const struct p9_rq *rq)
{
    fs_act_done(rq->fs);
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

/* Sticky directories: who owns neither the directory nor the file may not remove it. */
static int may_unstick(const struct p9_rq *rq, struct fs_inode *dir, const char *name)
{
    struct fs_entry e;
    int rc = fs_name_check(name);

    if (rc != 0)
        return rc;
    rc = fs_lookup(rq->fs, dir, name, &e);
    if (rc != 0)
        return rc == -ENOENT ? 0 : rc;
    bool own = e.attr.st.st_uid == rq->conn->srv->cfg.squash_uid;
    fs_inode_put(rq->fs, e.inode);
    return own ? 0 : -EPERM;
}

int p9_may_remove(const struct p9_rq *rq, struct fs_inode *dir, const char *name)
{
    struct fs_attr attr;
    bool own;

    if (rq->acting)
        return 0;
    int rc = p9_may(rq, dir, W_OK | X_OK);
    if (rc != 0 || !p9_squashed(rq))
        return rc;
    rc = look(rq, dir, &attr, &own);
    if (rc != 0 || own || !(attr.st.st_mode & S_ISVTX))
        return rc;
    return may_unstick(rq, dir, name);
}

int p9_may_link(const struct p9_rq *rq, struct fs_inode *inode)
{
    struct fs_attr attr;
    bool own;

    if (!p9_squashed(rq))
        return 0;
    int rc = look(rq, inode, &attr, &own);
    if (rc < 0 || own)
        return rc;
    mode_t mode = attr.st.st_mode;
    if (!S_ISREG(mode) || (mode & S_ISUID) || (~mode & (S_ISGID | S_IXGRP)) == 0)
        return -EPERM;
    rc = p9_may(rq, inode, R_OK | W_OK);
    return rc == -EACCES ? -EPERM : rc;
}

int p9_may_move(const struct p9_rq *rq, struct fs_inode *from, const char *name,
                const struct fs_inode *to)
{
    struct fs_entry e;

    if (from == to || rq->acting || !p9_squashed(rq))
        return 0;
    int rc = fs_lookup(rq->fs, from, name, &e);
    if (rc < 0)
        return rc;
    rc = S_ISDIR(e.attr.st.st_mode) ? p9_may(rq, e.inode, W_OK) : 0;
    fs_inode_put(rq->fs, e.inode);
    return rc;
}

/* Current times of who may only write are so both or none to the kernel, and a new size has set the
 * one that clients send with it. */
static void fit_times(struct fs_setattr *set)
{
    const unsigned now = FS_SET_ATIME_NOW | FS_SET_MTIME_NOW;

    if (set->valid & FS_SET_SIZE)
        set->valid &= ~(unsigned)FS_SET_MTIME_NOW;
    if (set->valid & now)
        set->valid |= now;
}

/* chown: nobody but root; chmod and given times: the owner; current times and size: who may write,
 * with a file that was opened for it or by the mode. */
int p9_may_set(const struct p9_rq *rq, const struct p9_fid *fid, struct fs_setattr *set)
{
    const unsigned owners = FS_SET_MODE | FS_SET_ATIME | FS_SET_MTIME;
    const unsigned writers = FS_SET_ATIME_NOW | FS_SET_MTIME_NOW;
    uid_t me = rq->conn->srv->cfg.squash_uid;
    struct fs_attr attr;
    bool own;

    if (!p9_squashed(rq))
        return 0;
    int rc = look(rq, fid->inode, &attr, &own);
    if (rc < 0)
        return rc;
    gid_t group = squash_cred(rq).gid;
    if (((set->valid & FS_SET_UID) && (!own || set->uid != me)) ||
        ((set->valid & FS_SET_GID) && (!own || set->gid != group)))
        return -EPERM;
    if ((set->valid & owners) && !own)
        return -EPERM;
    /* Set-group-id is for the group's members to give. */
    if ((set->valid & FS_SET_MODE) && !(set->valid & FS_SET_GID) && attr.st.st_gid != group)
        set->mode &= ~(mode_t)S_ISGID;
    if (!own)
        fit_times(set);
    if (((set->valid & FS_SET_SIZE) && !fid->stores) || ((set->valid & writers) && !own))
        return p9_may(rq, fid->inode, W_OK);
    return 0;
}

/* As fcntl(2): who may only read must not keep those who write waiting. */
int p9_may_lock(const struct p9_rq *rq, const struct p9_fid *fid, short type)
{
    if (type != F_WRLCK || fid->stores || !p9_squashed(rq))
        return 0;
    return p9_may(rq, fid->inode, W_OK) == 0 ? 0 : -EBADF;
}

/* user.*: who may write; ACLs: the owner; everything else is root's. */
int p9_may_xattr(const struct p9_rq *rq, struct fs_inode *inode, const char *name)
{
    struct fs_attr attr;
    bool own;

    if (!p9_squashed(rq))
        return 0;
    if (g_str_has_prefix(name, "user."))
        return p9_may(rq, inode, W_OK);
    if (!g_str_has_prefix(name, "system.posix_acl_"))
        return -EPERM;
    int rc = look(rq, inode, &attr, &own);
    return rc < 0 ? rc : own ? 0 : -EPERM;
}

/* trusted.*: root alone knows of it; user.* and anything of a regular file: who may read. */
int p9_may_read_xattr(const struct p9_rq *rq, struct fs_inode *inode, const char *name)
{
    if (!p9_squashed(rq))
        return 0;
    if (g_str_has_prefix(name, "trusted."))
        return -ENODATA;
    bool guarded = S_ISREG(fs_inode_type(inode)) || g_str_has_prefix(name, "user.");
    return guarded ? p9_may(rq, inode, R_OK) : 0;
}
