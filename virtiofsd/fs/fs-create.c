/* SPDX-License-Identifier: BSD-3-Clause
 * Verbs that make inodes. */
#include "virtiofsd/fs/fs-priv.h"

#include <limits.h>

/* What can be said before anything is made: name, share, and whether a label could be set. */
static int check(struct fs *fs, const struct fs_cred *cred, const char *name)
{
    int rc = fs_name_check(name);
    if (rc < 0)
        return rc;
    return fs->cfg.readonly ? -EROFS : fs_secctx_check(fs, cred);
}

/* What was made becomes an inode. */
static int enter(struct fs *fs, struct fs_inode *parent, struct tree_found *found,
                 struct fs_entry *out, bool *room)
{
    int rc = fs_inode_intern(fs, parent, found, &out->inode, NULL, room);
    if (rc == 0)
        fs_attr_for_child(fs, parent, &found->stx, &out->attr);
    return rc;
}

/* The tree makes it, with its label, as @cred. Room for the inode is taken before: nothing is made
 * that could not be entered. */
static int make(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                const struct tree_make *m, struct fs_entry *out)
{
    struct tree *t = fs_tree(parent);
    struct fs_cred_below below;
    struct tree_found found;
    bool room = true;
    int rc = check(fs, cred, m->name);
    if (rc == 0)
        rc = t->ops->make ? fs_cred_to_tree(fs, cred, &below, &cred) : -EROFS;
    if (rc == 0)
        rc = fs_room_take(fs);
    if (rc < 0)
        return rc;
    rc = t->ops->make(t, cred, &parent->node, m, &found);
    if (rc == 0)
        rc = enter(fs, parent, &found, out, &room);
    if (room)
        fs_room_give(fs);
    return rc;
}

int fs_mkdir(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
             mode_t mode, struct fs_entry *out)
{
    struct tree_make m = {.name = name, .mode = S_IFDIR | (mode & 07777)};
    return make(fs, cred, parent, &m, out);
}

int fs_symlink(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
               const char *target, struct fs_entry *out)
{
    struct tree_make m = {.name = name, .mode = S_IFLNK, .target = target};
    if (strnlen(target, PATH_MAX) >= PATH_MAX)
        return -ENAMETOOLONG;
    return make(fs, cred, parent, &m, out);
}

int fs_mknod(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
             mode_t mode, dev_t rdev, struct fs_entry *out)
{
    mode_t type = mode & S_IFMT;
    struct tree_make m = {.name = name, .mode = mode & (S_IFMT | 07777), .rdev = rdev};

    if (type == 0) {
        type = S_IFREG;
        m.mode |= type;
    }
    if (!S_ISREG(type) && !S_ISCHR(type) && !S_ISBLK(type) && !S_ISFIFO(type) && !S_ISSOCK(type))
        return -EINVAL;
    return make(fs, cred, parent, &m, out);
}

/* ---- files that are made and opened in one go ---- */

/* CREATE without O_EXCL of a name that is there: an ordinary lookup and open. */
static int open_existing(struct fs *fs, struct fs_inode *parent, const char *name, int flags,
                         unsigned how, struct fs_entry *out, struct fs_opened *opened)
{
    struct fs_entry entry;
    int rc = fs_lookup(fs, parent, name, &entry);
    if (rc < 0)
        return rc;
    rc = fs_open(fs, entry.inode, flags & ~(O_CREAT | O_EXCL), how, opened);
    if (rc == 0 && (flags & O_TRUNC)) { /* the size has changed since the lookup */
        bool submount = entry.attr.submount;
        rc = fs_getattr(fs, entry.inode, NULL, &entry.attr);
        entry.attr.submount = submount;
        if (rc < 0)
            fs_release(fs, opened->fh);
    }
    if (rc < 0) {
        fs_inode_put(fs, entry.inode);
        return rc;
    }
    *out = entry;
    return 0;
}

/* What the tree has made becomes an inode and an open file. */
static int enter_file(struct fs *fs, struct fs_inode *parent, struct tree_found *found,
                      struct tree_file *f, int asked, struct fs_entry *out,
                      struct fs_opened *opened, bool *room)
{
    struct tree *t = fs_tree(parent);
    struct fs_entry entry;
    int rc = enter(fs, parent, found, &entry, room);

    if (rc < 0) {
        t->ops->close(t, f);
        fs_fds_give(fs);
        return rc;
    }
    rc = fs_file_add(fs, entry.inode, f, asked, &opened->fh);
    if (rc < 0)
        fs_inode_put(fs, entry.inode);
    else
        *out = entry;
    return rc;
}

/* Make and open it; @name is NULL when it has none. @flags: of open(2) that it gets; @asked: those
 * that the guest gave. */
static int create(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                  const char *name, mode_t mode, int flags, int asked, struct fs_entry *out,
                  struct fs_opened *opened, bool *room)
{
    struct tree *t = fs_tree(parent);
    struct fs_opened o = {
        .keep_cache = fs->cfg.cache == FS_CACHE_ALWAYS,
        .in_order = fs_in_order(asked),
    };
    struct tree_found found;
    struct tree_file f;
    int rc = fs_fds_take(fs);
    if (rc < 0)
        return rc;
    rc = t->ops->create(t, cred, &parent->node, name, mode, flags, asked, &found, &f);
    if (rc < 0) {
        fs_fds_give(fs);
        return rc;
    }
    rc = enter_file(fs, parent, &found, &f, asked, out, &o, room);
    if (rc == 0)
        *opened = o;
    return rc;
}

/* CREATE of a name that is not there. -EEXIST: it is there. */
static int create_new(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                      const char *name, mode_t mode, int flags, int asked, struct fs_entry *out,
                      struct fs_opened *opened)
{
    bool room = true;
    int rc = fs_room_take(fs);
    if (rc < 0)
        return rc;
    rc = create(fs, cred, parent, name, mode, flags, asked, out, opened, &room);
    if (room)
        fs_room_give(fs);
    return rc;
}

int fs_create(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
              mode_t mode, int flags, unsigned how, struct fs_entry *out, struct fs_opened *opened)
{
    struct fs_cred_below below;
    int rc = check(fs, cred, name);
    if (rc < 0)
        return rc;
    int clean = fs_open_flags(fs, flags & ~(O_CREAT | O_EXCL));
    if (clean < 0)
        return clean;
    if (!fs_tree(parent)->ops->create)
        return -EROFS;
    rc = fs_cred_to_tree(fs, cred, &below, &cred);
    if (rc < 0)
        return rc;
    /* Exclusive first: a name that turns out to be there is opened without following links and
     * without touching special files, which openat() with O_CREAT could not promise. */
    for (int tries = 0; tries < 3; tries++) {
        int made = create_new(fs, cred, parent, name, mode, clean, flags, out, opened);
        /* No room for a new file: one that is there and known needs none. */
        if ((made != -EEXIST && made != -ENFILE) || (flags & O_EXCL))
            return made;
        rc = open_existing(fs, parent, name, flags, how, out, opened);
        if (rc != -ENOENT)
            return rc;
        if (made == -ENFILE)
            return made;
        /* gone again: somebody on the host is busy with this name */
    }
    return rc;
}

int fs_tmpfile(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, mode_t mode,
               int flags, struct fs_entry *out, struct fs_opened *opened)
{
    struct fs_cred_below below;

    if (fs->cfg.readonly || !fs_tree(parent)->ops->create)
        return -EROFS;
    int rc = fs_secctx_check(fs, cred);
    if (rc < 0)
        return rc;
    int excl = flags & O_EXCL; /* here: may never be linked into the tree */
    int clean = fs_open_flags(fs, flags & ~(O_CREAT | O_EXCL | __O_TMPFILE));
    if (clean < 0)
        return clean;
    if ((clean & O_ACCMODE) == O_RDONLY)
        return -EINVAL;
    rc = fs_cred_to_tree(fs, cred, &below, &cred);
    if (rc == 0)
        rc = create(fs, cred, parent, NULL, mode, clean | excl, flags, out, opened, NULL);
    if (rc < 0)
        return rc;
    rc = fs_hold_nameless(fs, out->inode);
    if (rc < 0) {
        fs_release(fs, opened->fh);
        fs_inode_put(fs, out->inode);
    }
    return rc;
}
