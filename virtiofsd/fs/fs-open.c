/* SPDX-License-Identifier: BSD-3-Clause
 * Opening regular files and directories. */
#include "virtiofsd/fs/fs-priv.h"
#include "virtiofsd/fs/fs-state.h"

/* Which open(2) flags of the guest its descriptor gets, and when. The values are those of the
 * guest's architecture, which is ours. O_APPEND, O_SYNC, O_DSYNC and O_DIRECT are not here: each
 * request says again whether they hold. */
int fs_open_flags(const struct fs *fs, int flags)
{
    int acc = flags & O_ACCMODE;
    int out = flags & (O_TRUNC | O_NOATIME); /* the latter where the tree allows it */

    if (acc == O_ACCMODE || (flags & O_CREAT))
        return -EINVAL;
    if (fs->cfg.readonly && (acc != O_RDONLY || (flags & O_TRUNC)))
        return -EROFS;
    if (fs->writeback && acc == O_WRONLY)
        acc = O_RDWR; /* the guest reads pages to fill them */
    return out | acc;
}

/* ---- whether the guest's page cache is still good ---- */

/* What there is of @f now; 0: unsure. */
static uint64_t digest_of_file(struct fs_inode *inode, const struct tree_file *f)
{
    const unsigned mask = STATX_MTIME | STATX_CTIME | STATX_SIZE;
    struct tree *t = fs_tree(inode);
    struct statx stx;
    struct stat st;

    if (!t->ops->stat)
        return t->ops->statx(t, &inode->node, f, 0, mask, &stx) < 0 ? 0 : fs_digest(&stx);
    if (t->ops->stat(t, &inode->node, f, &st) < 0)
        return 0;
    return fs_digest_stat(&st);
}

static bool keep_cache(struct fs *fs, struct fs_inode *inode, const struct tree_file *f)
{
    if (fs->cfg.cache == FS_CACHE_ALWAYS)
        return true;
    /* What another client of the tree has seen says nothing of what the guest has cached. */
    if (fs->cfg.cache != FS_CACHE_AUTO || fs->shares)
        return false;
    /* At the first open the guest has nothing cached, and what was seen when it looked the file up
     * is no newer than what it is going to read: no need to look again. */
    uint64_t then = atomic_load_explicit(&inode->version, memory_order_relaxed);
    if (!(atomic_fetch_or_explicit(&inode->node.flags, INODE_OPENED, memory_order_relaxed) &
          INODE_OPENED) &&
        then != 0)
        return false;
    uint64_t now = digest_of_file(inode, f);
    then = atomic_exchange_explicit(&inode->version, now, memory_order_relaxed);
    return now != 0 && then == now;
}

/* ---- the verbs ---- */

/* Open and count; not in the table yet. Returns 0 or -errno. */
static int open_tree(struct fs *fs, struct fs_inode *inode, int flags, int asked, unsigned how,
                     struct tree_file *f)
{
    struct tree *t = fs_tree(inode);
    int rc = fs_fds_take(fs);
    if (rc < 0)
        return rc;
    rc = t->ops->open(t, &inode->node, flags, asked, how, f);
    if (rc < 0)
        fs_fds_give(fs);
    return rc;
}

/* Open and enter into the table; *fh as of fs_file_add(). Returns 0 or -errno. */
static int open_counted(struct fs *fs, struct fs_inode *inode, int flags, int asked, unsigned how,
                        struct tree_file *f, uint64_t *fh)
{
    int rc = open_tree(fs, inode, flags, asked, how, f);
    return rc < 0 ? rc : fs_file_add(fs, inode, f, asked, fh);
}

/* The flags for a regular file, or -errno: it is none, or must not be opened so. */
static int flags_of_file(struct fs *fs, struct fs_inode *inode, int flags)
{
    int clean = fs_open_flags(fs, flags);
    if (clean < 0)
        return clean;
    if (!fs_inode_is(inode, S_IFREG))
        return fs_inode_is(inode, S_IFDIR)   ? -EISDIR
               : fs_inode_is(inode, S_IFLNK) ? -ELOOP
                                             : -ENXIO;
    return clean;
}

/* A regular file. */
static int open_file(struct fs *fs, struct fs_inode *inode, int flags, unsigned how,
                     struct tree_file *f, uint64_t *fh)
{
    int clean = flags_of_file(fs, inode, flags);
    return clean < 0 ? clean : open_counted(fs, inode, clean, flags, how, f, fh);
}

int fs_file_open(struct fs *fs, struct fs_inode *inode, int flags, struct fs_file **out)
{
    bool dir = fs_inode_is(inode, S_IFDIR) && (flags & O_ACCMODE) == O_RDONLY;
    int clean = dir ? O_RDONLY | O_DIRECTORY : flags_of_file(fs, inode, flags);
    struct tree_file f;
    int rc = clean < 0 ? clean : open_tree(fs, inode, clean, flags, 0, &f);

    return rc < 0 ? rc : fs_file_add_unnamed(fs, inode, &f, flags, out);
}

int fs_open(struct fs *fs, struct fs_inode *inode, int flags, unsigned how, struct fs_opened *out)
{
    struct fs_opened o = {0};
    struct tree_file f;
    int rc = open_file(fs, inode, flags, how, &f, &o.fh);
    if (rc < 0)
        return rc;
    o.append_only = f.kind & O_APPEND;
    o.in_order = fs_in_order(flags);
    o.keep_cache = keep_cache(fs, inode, &f);
    *out = o;
    return 0;
}

/* Whether the next change of an open directory will show in its time stamps. */
static bool is_steady(struct fs *fs, struct fs_inode *inode)
{
    if (fs->cfg.cache != FS_CACHE_AUTO || fs->shares)
        return fs->cfg.cache == FS_CACHE_ALWAYS;
    return atomic_load_explicit(&inode->version, memory_order_relaxed) != 0 &&
           !(fs_mount_kind(fs, inode) & FS_MADE_UP);
}

int fs_opendir(struct fs *fs, struct fs_inode *inode, struct fs_opened *out)
{
    struct fs_opened o = {0};
    struct tree_file f;
    if (!fs_inode_is(inode, S_IFDIR))
        return -ENOTDIR;
    int rc = open_counted(fs, inode, O_RDONLY | O_DIRECTORY, 0, 0, &f, &o.fh);
    if (rc < 0)
        return rc;
    o.keep_cache = keep_cache(fs, inode, &f);
    o.steady = is_steady(fs, inode);
    o.keep_cache &= o.steady;
    *out = o;
    return 0;
}

static int restore(struct fs *fs, struct fs_inode *inode, int flags, uint64_t *fh)
{
    struct tree_file f;

    if (fs_inode_is(inode, S_IFDIR))
        return open_counted(fs, inode, O_RDONLY | O_DIRECTORY, 0, 0, &f, fh);
    return open_file(fs, inode, flags, 0, &f, fh);
}

int fs_file_restore(struct fs *fs, struct fs_inode *inode, int flags, uint64_t fh)
{
    uint64_t own = fh >> 32 ? fh : 0;

    if (flags & (O_CREAT | O_EXCL | O_TRUNC))
        return -EINVAL;
    int rc = restore(fs, inode, flags, &own);
    if (rc == 0 && fh >> 32 == 0 && (rc = fs_alias_add(fs, fh, own)) < 0)
        fs_release(fs, own);
    return rc;
}
