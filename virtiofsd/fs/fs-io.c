/* SPDX-License-Identifier: BSD-3-Clause
 * Data of open files. */
#include "virtiofsd/fs/fs-priv.h"

#include <linux/falloc.h>

static int check_io(const struct fs_file *file, off_t off)
{
    if (file->f.is_dir)
        return -EISDIR;
    return off < 0 ? -EINVAL : 0;
}

/* ---- read, write ---- */

unsigned fs_io_how(int flags)
{
    static const struct {
        int flag;
        unsigned how;
    } table[] = {
        {O_APPEND, FS_WRITE_APPEND}, {O_DIRECT, FS_IO_DIRECT}, {O_NOATIME, FS_IO_NOATIME},
        {O_DSYNC, FS_WRITE_DSYNC},   {O_SYNC, FS_WRITE_SYNC}, /* which has the bit of O_DSYNC */
    };
    unsigned how = 0;

    if (G_LIKELY(!(flags & TREE_ASKED_FLAGS)))
        return 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
        how |= (flags & table[i].flag) == table[i].flag ? table[i].how : 0;
    return how;
}

unsigned fs_file_how(const struct fs_file *file)
{
    return fs_io_how(file->f.asked);
}

ssize_t fs_read(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt, off_t off,
                unsigned how)
{
    struct tree *t = fs_file_tree(file);
    int rc = check_io(file, off);

    if (rc < 0)
        return rc;
    ssize_t n = t->ops->read(t, &file->f, iov, cnt, off, how);
    if (G_UNLIKELY(n == FS_LATER))
        atomic_fetch_add_explicit(&fs->shared->reads_late, 1, memory_order_relaxed);
    return n;
}

#define WRITE_PLAIN (~(unsigned)(FS_WRITE_APPEND | FS_WRITE_SYNC | FS_WRITE_DSYNC | FS_IO_DIRECT))

/* What of @how holds. A delayed write was placed by the guest, and by any handle; so is every
 * append where writes are delayed at all, but to a file that takes nothing else. */
static unsigned how_indeed(const struct fs *fs, const struct fs_file *file, unsigned how)
{
    if (how & FS_WRITE_CACHE)
        how &= WRITE_PLAIN;
    if (fs->writeback && !(file->f.kind & O_APPEND))
        how &= ~(unsigned)FS_WRITE_APPEND;
    return how;
}

/* What refuses a change of the data of @file. 0 or -errno. */
static int check_change(const struct fs *fs, const struct fs_file *file, off_t off)
{
    int rc = check_io(file, off);
    if (rc < 0)
        return rc;
    return fs->cfg.readonly ? -EROFS : 0;
}

/* @n bytes of @file were written. */
static ssize_t close_said(struct fs *fs, struct fs_file *file, ssize_t n)
{
    int rc = n > 0 && atomic_load(&fs->closes_mute) ? fs_close_error(fs, file) : 0;

    return rc < 0 ? rc : n;
}

ssize_t fs_write(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt, off_t off,
                 unsigned how)
{
    struct tree *t = fs_file_tree(file);
    int rc = check_change(fs, file, off);
    if (rc < 0)
        return rc;
    if (!t->ops->write)
        return -EBADF;
    ssize_t n = t->ops->write(t, &file->f, iov, cnt, off, how_indeed(fs, file, how));
    return G_LIKELY(!file->close_speaks) ? n : close_said(fs, file, n);
}

off_t fs_lseek(struct fs *fs, struct fs_file *file, off_t off, int whence)
{
    struct tree *t = fs_file_tree(file);

    (void)fs;
    if (file->f.is_dir)
        return -EISDIR;
    /* There is no position to be relative to: the guest keeps it. */
    if (whence != SEEK_DATA && whence != SEEK_HOLE && whence != SEEK_SET && whence != SEEK_END)
        return -EINVAL;
    return t->ops->lseek ? t->ops->lseek(t, &file->f, off, whence) : -EINVAL;
}

int fs_fallocate(struct fs *fs, struct fs_file *file, int mode, off_t off, off_t len, unsigned how)
{
    const int modes = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
                      FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
    struct tree *t = fs_file_tree(file);
    int rc = check_change(fs, file, off);
    if (rc < 0)
        return rc;
    if (mode & ~modes)
        return -EOPNOTSUPP;
    if (!t->ops->fallocate)
        return -EBADF;
    return t->ops->fallocate(t, &file->f, mode, off, len, how | fs_file_how(file));
}

ssize_t fs_copy_range(struct fs *fs, struct fs_file *in, off_t off_in, struct fs_file *out,
                      off_t off_out, size_t len, unsigned flags, unsigned how)
{
    struct tree *t = fs_file_tree(out);
    int rc = check_io(in, off_in);
    if (rc == 0)
        rc = check_io(out, off_out);
    if (rc < 0)
        return rc;
    if (flags != 0)
        return -EINVAL;
    if (fs->cfg.readonly)
        return -EROFS;
    if (fs_file_tree(in) != t || !t->ops->copy)
        return -EXDEV;
    ssize_t n = t->ops->copy(t, &in->f, off_in, &out->f, off_out, len, how | fs_file_how(out));
    return G_LIKELY(!out->close_speaks) ? n : close_said(fs, out, n);
}

int fs_fsync(struct fs *fs, struct fs_file *file, bool datasync)
{
    struct tree *t = fs_file_tree(file);

    (void)fs;
    return t->ops->fsync ? t->ops->fsync(t, &file->f, datasync) : 0;
}

int fs_syncfs(struct fs *fs, struct fs_inode *inode)
{
    struct tree *t = fs_tree(inode);

    (void)fs;
    return t->ops->syncfs ? t->ops->syncfs(t, &inode->node) : 0;
}

/* ---- close ---- */

bool fs_close_speaks(struct fs *fs)
{
    return fs_mount_kind(fs, fs->root) & FS_MAP_SLOW;
}

bool fs_close_mute(struct fs *fs)
{
    if (atomic_load(&fs->closes_speak))
        return false;
    /* Who opens one meanwhile is seen here, or sees that: in one order for all threads. */
    atomic_store(&fs->closes_mute, true);
    return !atomic_load(&fs->closes_speak);
}

int fs_close_error(struct fs *fs, struct fs_file *file)
{
    struct tree *t = fs_file_tree(file);

    (void)fs;
    return t->ops->close_error ? t->ops->close_error(t, &file->f) : 0;
}
