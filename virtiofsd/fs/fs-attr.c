/* SPDX-License-Identifier: BSD-3-Clause
 * Attributes: read, change, check. */
#include "virtiofsd/fs/fs-acl.h"
#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs-priv.h"

/* ---- read ---- */

/* The tree's part of @file, NULL for none, and for one of which nothing is left but its handle. */
static const struct tree_file *part_of(const struct fs_inode *inode, const struct fs_file *file)
{
    return file && file->f.node == &inode->node ? &file->f : NULL;
}

static int statx_of(struct fs_inode *inode, struct fs_file *file, int sync, unsigned mask,
                    struct statx *out)
{
    struct tree *t = fs_tree(inode);
    return t->ops->statx(t, &inode->node, part_of(inode, file), sync, mask, out);
}

int fs_getattr(struct fs *fs, struct fs_inode *inode, struct fs_file *file, struct fs_attr *out)
{
    struct statx stx;
    int rc = statx_of(inode, file, 0, TREE_STATX_MASK, &stx);
    if (rc == 0)
        fs_attr_from_statx(fs, &stx, out);
    return rc;
}

int fs_getstat(struct fs *fs, struct fs_inode *inode, struct fs_file *file, struct fs_attr *out)
{
    struct tree *t = fs_tree(inode);
    if (!t->ops->stat)
        return fs_getattr(fs, inode, file, out);
    *out = (struct fs_attr){0};
    int rc = t->ops->stat(t, &inode->node, part_of(inode, file), &out->st);
    if (rc < 0)
        return rc;
    /* The number may have to be shown otherwise. */
    if (G_UNLIKELY(out->st.st_dev != fs->shared->dev))
        return fs_getattr(fs, inode, file, out);
    if (G_UNLIKELY(fs->ids))
        fs_ids_to_guest(fs, out);
    return 0;
}

int fs_statx(struct fs *fs, struct fs_inode *inode, struct fs_file *file, unsigned flags,
             unsigned mask, struct statx *out)
{
    struct statx stx;
    int sync = (int)(flags & AT_STATX_SYNC_TYPE);
    if (sync == AT_STATX_SYNC_TYPE)
        return -EINVAL;
    int rc = statx_of(inode, file, sync, mask & ~STATX__RESERVED, &stx);
    if (rc < 0)
        return rc;
    if (G_UNLIKELY(fs->cfg.uids))
        stx.stx_uid = fs_idmap_to_guest(fs->cfg.uids, stx.stx_uid);
    if (G_UNLIKELY(fs->cfg.gids))
        stx.stx_gid = fs_idmap_to_guest(fs->cfg.gids, stx.stx_gid);
    if (stx.stx_mask & STATX_INO)
        stx.stx_ino = fs_shown_ino(fs, &stx);
    *out = stx;
    return 0;
}

int fs_statfs(struct fs *fs, struct fs_inode *inode, struct statvfs *out)
{
    struct tree *t = fs_tree(inode);
    struct statvfs st;
    if (fs->cfg.statfs)
        return fs->cfg.statfs(fs->cfg.user, out);
    if (!t->ops->statfs)
        return -ENOSYS;
    int rc = t->ops->statfs(t, &inode->node, &st);
    if (rc == 0)
        *out = st;
    return rc;
}

/* ---- check ---- */

/* An ACL of more entries than fit here (511) grants nothing. */
#define ACL_MAX 4096

/* For those who do not own the file. An ACL keeps its mask in the group's bits: without any it
 * grants nothing beyond the mode. */
static int check_group_and_others(struct fs *fs, const struct fs_cred *cred, struct fs_inode *inode,
                                  const struct stat *st, int mask)
{
    char acl[ACL_MAX];
    ssize_t n = (st->st_mode & S_IRWXG) && !S_ISLNK(st->st_mode)
                    ? fs_acl_read(fs, inode, acl, sizeof(acl))
                    : 0;

    if (n != 0)
        return n < 0 ? -EACCES : fs_acl_permission(cred, st->st_gid, acl, (size_t)n, mask);
    mode_t mode = fs_cred_in_group(cred, st->st_gid) ? st->st_mode >> 3 : st->st_mode;
    return (mode_t)mask & ~mode ? -EACCES : 0;
}

int fs_access(struct fs *fs, const struct fs_cred *cred, struct fs_inode *inode, int mask)
{
    struct fs_attr attr;
    int rc = fs_getattr(fs, inode, NULL, &attr);
    if (rc < 0)
        return rc;
    if (mask & ~(R_OK | W_OK | X_OK))
        return -EINVAL;
    mode_t mode = attr.st.st_mode;
    bool plain = S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode);
    if ((mask & W_OK) && fs->cfg.readonly && plain)
        return -EROFS;
    if (!cred)
        return 0;
    if (cred->uid == 0) /* the superuser may all, but run only what somebody may run */
        return (mask & X_OK) && !S_ISDIR(mode) && !(mode & 0111) ? -EACCES : 0;
    if (cred->uid == attr.st.st_uid)
        return (mode_t)mask & ~(mode >> 6) ? -EACCES : 0;
    return check_group_and_others(fs, cred, inode, &attr.st, mask);
}

/* ---- change ---- */

/* The owner in the host's ids. 0, or -EPERM: one that the guest may not use. */
static int map_owner(const struct fs *fs, struct fs_setattr *set)
{
    int rc = 0;

    if (fs->cfg.uids && (set->valid & FS_SET_UID))
        rc = fs_idmap_to_host(fs->cfg.uids, set->uid, &set->uid);
    if (rc == 0 && fs->cfg.gids && (set->valid & FS_SET_GID))
        rc = fs_idmap_to_host(fs->cfg.gids, set->gid, &set->gid);
    return rc;
}

int fs_setattr(struct fs *fs, struct fs_inode *inode, struct fs_file *file,
               const struct fs_setattr *set, struct fs_attr *out)
{
    struct tree *t = fs_tree(inode);
    struct fs_setattr below = *set;

    if (fs->cfg.readonly || !t->ops->setattr)
        return -EROFS;
    /* An id of -1 means "leave it" to the kernel, and comes from ids the guest could not map. */
    if (((set->valid & FS_SET_UID) && set->uid == (uid_t)-1) ||
        ((set->valid & FS_SET_GID) && set->gid == (gid_t)-1))
        return -EINVAL;
    int rc = G_UNLIKELY(fs->ids) ? map_owner(fs, &below) : 0;
    if (rc == 0)
        rc = t->ops->setattr(t, &inode->node, part_of(inode, file), &below);
    return rc < 0 ? rc : fs_getattr(fs, inode, NULL, out);
}
