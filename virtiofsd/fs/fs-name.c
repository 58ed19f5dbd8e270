/* SPDX-License-Identifier: BSD-3-Clause
 * Names: lookup, and the verbs that remove or move them.
 *
 * Which of two ways a tree tries first is remembered per directory: where the last lookups found
 * new inodes, the next one probably is new, too. */
#include "virtiofsd/fs/fs-priv.h"

#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>

#define HINT_MAX 3 /* how many known inodes turn a directory back to statx-first */

int fs_name_check(const char *name)
{
    if (name[0] == '\0')
        return -EINVAL;
    if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')))
        return -EINVAL;
    size_t len = strcspn(name, "/");
    if (name[len] != '\0')
        return -EINVAL;
    return len > NAME_MAX ? -ENAMETOOLONG : 0;
}

/* ---- lookup ---- */

/* What was found becomes an inode; found again, when only something that is held can tell whether
 * it is a known one. */
static int enter(struct fs *fs, struct fs_inode *parent, const char *name, struct tree_found *found,
                 struct fs_entry *out, bool *isnew)
{
    struct tree *t = fs_tree(parent);
    int rc = fs_inode_intern(fs, parent, found, &out->inode, isnew, NULL);

    if (rc == -EAGAIN) {
        rc = t->ops->complete(t, &parent->node, name, true, found);
        if (rc == 0)
            rc = fs_inode_intern(fs, parent, found, &out->inode, isnew, NULL);
    }
    return rc;
}

/* Whether a known link may say something else than when it was found. No local file system has
 * that, but a guest that keeps what links say (fs_links_enable()) asks no second time. */
static bool link_changed(struct fs *fs, struct fs_inode *inode, const struct statx *stx)
{
    if (G_LIKELY(!S_ISLNK(stx->stx_mode)) || !fs->links)
        return false;
    return (fs_mount_kind(fs, inode) & (FS_MAP_SLOW | FS_MADE_UP)) ||
           atomic_load_explicit(&inode->version, memory_order_relaxed) != fs_digest(stx);
}

/* In place of the inode in *out, which is given back, another one of the same file. */
static int renew(struct fs *fs, struct fs_inode *parent, const char *name, struct tree_found *found,
                 struct fs_entry *out, bool *isnew)
{
    struct tree *t = fs_tree(parent);

    fs_inode_unhash(fs, out->inode);
    fs_inode_put(fs, out->inode);
    int rc = t->ops->complete(t, &parent->node, name, true, found);
    return rc < 0 ? rc : fs_inode_intern(fs, parent, found, &out->inode, isnew, NULL);
}

int fs_lookup_name(struct fs *fs, struct fs_inode *parent, const char *name,
                   const struct fs_hint *hint, struct fs_entry *out, bool *isnew)
{
    struct tree *t = fs_tree(parent);
    struct tree_found found;
    int rc = t->ops->lookup(t, &parent->node, name, hint->likely_new, &found);
    if (rc < 0)
        return rc;
    bool look = !found.complete && found.stx.stx_ino != hint->new_ino;
    out->inode = look ? fs_inode_find(fs, parent, &found) : NULL;
    *isnew = !out->inode;
    if (!out->inode && !found.complete)
        rc = t->ops->complete(t, &parent->node, name, false, &found);
    if (!out->inode && rc == 0)
        rc = enter(fs, parent, name, &found, out, isnew);
    if (rc == 0 && !*isnew && link_changed(fs, out->inode, &found.stx))
        rc = renew(fs, parent, name, &found, out, isnew);
    if (rc == 0)
        fs_attr_for_child(fs, parent, &found.stx, &out->attr);
    return rc;
}

/* A new child sets the hint of its directory for the next HINT_MAX known ones. */
static void note_hint(struct fs_inode *parent, uint8_t hint, bool isnew)
{
    uint8_t want = isnew ? HINT_MAX : (hint > 0 ? (uint8_t)(hint - 1) : 0);
    if (want != hint)
        atomic_store_explicit(&parent->node.lookup_hint, want, memory_order_relaxed);
}

/* The directory above @inode, which is not the root; -ESTALE when it is not of the share (any
 * more), -ENOTDIR. */
static int lookup_up(struct fs *fs, struct fs_inode *inode, struct fs_entry *out)
{
    struct tree *t = fs_tree(inode);
    struct tree_found found;

    if (!fs_inode_is(inode, S_IFDIR))
        return -ENOTDIR;
    int rc = t->ops->up ? t->ops->up(t, &inode->node, &found) : -ENOENT;
    if (rc == 0)
        rc = fs_inode_intern(fs, inode, &found, &out->inode, NULL, NULL);
    if (rc == 0)
        fs_attr_from_statx(fs, &found.stx, &out->attr);
    return rc;
}

static int lookup_self(struct fs *fs, struct fs_inode *inode, struct fs_entry *out)
{
    int rc = fs_getattr(fs, inode, NULL, &out->attr);
    if (rc == 0)
        out->inode = fs_inode_ref(inode);
    return rc;
}

int fs_lookup(struct fs *fs, struct fs_inode *parent, const char *name, struct fs_entry *out)
{
    if (G_UNLIKELY(name[0] == '.')) {
        if (strcmp(name, ".") == 0)
            return lookup_self(fs, parent, out);
        if (strcmp(name, "..") == 0)
            return parent == fs->root ? lookup_self(fs, parent, out) : lookup_up(fs, parent, out);
    }
    int rc = fs_name_check(name);
    if (rc < 0)
        return rc;

    uint8_t hint = atomic_load_explicit(&parent->node.lookup_hint, memory_order_relaxed);
    bool isnew;
    rc = fs_lookup_name(fs, parent, name, &(struct fs_hint){.likely_new = hint > 0}, out, &isnew);
    if (rc == 0)
        note_hint(parent, hint, isnew);
    return rc;
}

/* ---- other verbs on names ---- */

/* Whether @name may be changed at all. 0 or -errno. */
static int check_change(const struct fs *fs, const char *name)
{
    int rc = fs_name_check(name);
    if (rc < 0)
        return rc;
    return fs->cfg.readonly ? -EROFS : 0;
}

int fs_link(struct fs *fs, struct fs_inode *inode, struct fs_inode *parent, const char *name,
            struct fs_entry *out)
{
    struct tree *t = fs_tree(parent);
    int rc = check_change(fs, name);
    if (rc < 0)
        return rc;
    if (fs_tree(inode) != t)
        return -EXDEV;
    rc = t->ops->link ? t->ops->link(t, &inode->node, &parent->node, name) : -EROFS;
    if (rc < 0)
        return rc;
    fs_hold_named(inode);
    return lookup_self(fs, inode, out);
}

/* @name in @parent is about to mean something else, or nothing: see fs_hold(). */
static int hold(struct fs *fs, struct fs_inode *parent, const char *name, struct fs_inode **held)
{
    struct fs_entry entry;

    *held = NULL;
    if (G_LIKELY(!fs_hold_wanted(fs)))
        return 0;
    int rc = fs_lookup(fs, parent, name, &entry);
    if (rc < 0) /* the removal will say it, or can do without */
        return rc == -ENFILE ? rc : 0;
    return fs_hold(fs, entry.inode, held);
}

static int remove_name(struct fs *fs, struct fs_inode *parent, const char *name, int flags)
{
    struct tree *t = fs_tree(parent);
    int rc = check_change(fs, name);
    if (rc < 0)
        return rc;
    if (!t->ops->unlink)
        return -EROFS;
    struct fs_inode *held;
    rc = hold(fs, parent, name, &held);
    if (rc < 0)
        return rc;
    rc = t->ops->unlink(t, &parent->node, name, flags);
    fs_hold_end(fs, held, rc == 0);
    return rc;
}

int fs_unlink(struct fs *fs, struct fs_inode *parent, const char *name)
{
    return remove_name(fs, parent, name, 0);
}

int fs_rmdir(struct fs *fs, struct fs_inode *parent, const char *name)
{
    return remove_name(fs, parent, name, AT_REMOVEDIR);
}

int fs_rename(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
              struct fs_inode *newparent, const char *newname, unsigned flags)
{
    struct tree *t = fs_tree(parent);

    (void)cred; /* a whiteout belongs to us, as the host's overlayfs would make it */
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    int rc = check_change(fs, name);
    if (rc == 0)
        rc = check_change(fs, newname);
    if (rc < 0)
        return rc;
    if (fs_tree(newparent) != t)
        return -EXDEV;
    if (!t->ops->rename)
        return -EROFS;
    struct fs_inode *held = NULL;
    if (!(flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)))
        rc = hold(fs, newparent, newname, &held);
    if (rc < 0)
        return rc;
    rc = t->ops->rename(t, &parent->node, name, &newparent->node, newname, flags);
    fs_hold_end(fs, held, rc == 0);
    return rc;
}

ssize_t fs_readlink(struct fs *fs, struct fs_inode *inode, char *buf, size_t size)
{
    struct tree *t = fs_tree(inode);

    (void)fs;
    if (!fs_inode_is(inode, S_IFLNK) || !t->ops->readlink)
        return -EINVAL;
    return t->ops->readlink(t, &inode->node, buf, size);
}
