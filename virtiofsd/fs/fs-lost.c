/* SPDX-License-Identifier: BSD-3-Clause
 * What a guest brought along and we have not found: a tree whose files all answer ESTALE, and EIO
 * where they are open. So no verb of the core asks whether a file is one of them. */
#include "virtiofsd/fs/fs-priv.h"

static struct tree_mnt *lost_mnt_new(struct tree *t)
{
    (void)t;
    return g_new0(struct tree_mnt, 1);
}

static void lost_mnt_free(struct tree_mnt *mnt)
{
    g_free(mnt);
}

static void lost_drop(struct tree *t, int fd, void *own)
{
    (void)t;
    (void)fd;
    (void)own;
}

static int lost_lookup(struct tree *t, struct tree_node *dir, const char *name, bool likely_new,
                       struct tree_found *out)
{
    return -ESTALE;
}

static int lost_complete(struct tree *t, struct tree_node *dir, const char *name, bool again,
                         struct tree_found *found)
{
    return -ESTALE;
}

static int lost_up(struct tree *t, struct tree_node *dir, struct tree_found *out)
{
    return -ESTALE;
}

static int lost_make(struct tree *t, const struct fs_cred *cred, struct tree_node *dir,
                     const struct tree_make *m, struct tree_found *out)
{
    return -ESTALE;
}

static int lost_link(struct tree *t, struct tree_node *node, struct tree_node *dir,
                     const char *name)
{
    return -ESTALE;
}

static int lost_unlink(struct tree *t, struct tree_node *dir, const char *name, int flags)
{
    return -ESTALE;
}

static int lost_rename(struct tree *t, struct tree_node *dir, const char *name,
                       struct tree_node *newdir, const char *newname, unsigned flags)
{
    return -ESTALE;
}

static ssize_t lost_readlink(struct tree *t, struct tree_node *node, char *buf, size_t size)
{
    return -ESTALE;
}

static int lost_statx(struct tree *t, struct tree_node *node, const struct tree_file *file,
                      int sync, unsigned mask, struct statx *out)
{
    return file ? -EIO : -ESTALE;
}

static int lost_setattr(struct tree *t, struct tree_node *node, const struct tree_file *file,
                        const struct fs_setattr *set)
{
    return file ? -EIO : -ESTALE;
}

static int lost_statfs(struct tree *t, struct tree_node *node, struct statvfs *out)
{
    return -ESTALE;
}

static int lost_open(struct tree *t, struct tree_node *node, int flags, int asked, unsigned how,
                     struct tree_file *out)
{
    return -ESTALE;
}

static int lost_create(struct tree *t, const struct fs_cred *cred, struct tree_node *dir,
                       const char *name, mode_t mode, int flags, int asked,
                       struct tree_found *found, struct tree_file *out)
{
    return -ESTALE;
}

static void lost_close(struct tree *t, struct tree_file *file)
{
    (void)t;
    (void)file;
}

static int lost_close_error(struct tree *t, struct tree_file *file)
{
    return -EIO;
}

/* Reading and writing. */
static ssize_t lost_io(struct tree *t, struct tree_file *file, struct iovec *iov, unsigned cnt,
                       off_t off, unsigned how)
{
    return -EIO;
}

static off_t lost_lseek(struct tree *t, struct tree_file *file, off_t off, int whence)
{
    return -EIO;
}

static int lost_fallocate(struct tree *t, struct tree_file *file, int mode, off_t off, off_t len,
                          unsigned how)
{
    return -EIO;
}

static ssize_t lost_copy(struct tree *t, struct tree_file *in, off_t off_in, struct tree_file *out,
                         off_t off_out, size_t len, unsigned how)
{
    return -EIO;
}

static int lost_fsync(struct tree *t, struct tree_file *file, bool datasync)
{
    return -EIO;
}

static int lost_syncfs(struct tree *t, struct tree_node *node)
{
    return -ESTALE;
}

static int lost_readdir(struct tree *t, struct tree_file *dir, uint64_t off, tree_dirent_fn *fn,
                        void *user)
{
    return -EIO;
}

static ssize_t lost_getxattr(struct tree *t, struct tree_node *node, const char *name, void *buf,
                             size_t size)
{
    return -ESTALE;
}

static ssize_t lost_listxattr(struct tree *t, struct tree_node *node, char *buf, size_t size)
{
    return -ESTALE;
}

static int lost_setxattr(struct tree *t, struct tree_node *node, const char *name,
                         const void *value, size_t size, int flags)
{
    return -ESTALE;
}

static int lost_removexattr(struct tree *t, struct tree_node *node, const char *name)
{
    return -ESTALE;
}

static int lost_kill_sgid(struct tree *t, struct tree_node *node)
{
    return -ESTALE;
}

static int lost_lock_open(struct tree *t, struct tree_node *node, short type)
{
    return -EIO;
}

static int lost_flock(struct tree *t, struct tree_file *file, int op)
{
    return -EIO;
}

static const struct tree_ops lost_ops = {
    .mnt_new = lost_mnt_new,
    .mnt_free = lost_mnt_free,
    .drop = lost_drop,
    .lookup = lost_lookup,
    .complete = lost_complete,
    .up = lost_up,
    .make = lost_make,
    .link = lost_link,
    .unlink = lost_unlink,
    .rename = lost_rename,
    .readlink = lost_readlink,
    .statx = lost_statx,
    .setattr = lost_setattr,
    .statfs = lost_statfs,
    .open = lost_open,
    .create = lost_create,
    .close = lost_close,
    .close_error = lost_close_error,
    .read = lost_io,
    .write = lost_io,
    .lseek = lost_lseek,
    .fallocate = lost_fallocate,
    .copy = lost_copy,
    .fsync = lost_fsync,
    .syncfs = lost_syncfs,
    .readdir = lost_readdir,
    .getxattr = lost_getxattr,
    .listxattr = lost_listxattr,
    .setxattr = lost_setxattr,
    .removexattr = lost_removexattr,
    .kill_sgid = lost_kill_sgid,
    .lock_open = lost_lock_open,
    .flock = lost_flock,
};

struct tree fs_lost_tree = {.ops = &lost_ops};
static struct tree_mnt lost_mnt = {.tree = &fs_lost_tree};
struct tree_node fs_lost_node = {.state = (uint32_t)TREE_NO_FD, .mnt = &lost_mnt};
