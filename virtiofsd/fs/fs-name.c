/* SPDX-License-Identifier: BSD-3-Clause
 * Names: lookup, and the verbs that remove or move them.
 *
 * A known inode costs one system call: statx by name, and the table has its key. A new one costs
 * one more for its handle; where handles do not serve (fs-handle.c), openat and a statx of what was
 * opened, since the name may mean another file by then. Which of the two is tried first there is
 * remembered per directory: where the last lookups found new inodes, the next one probably is
 * new too. */
#include "virtiofsd/fs/fs-priv.h"

#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#define FRESH_MAX 3 /* how many known inodes turn a directory back to statx-first */

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

int fs_lookup_open(struct fs *fs, struct fs_inode *parent, const char *name, struct fs_entry *out,
                   bool *isnew, bool *room)
{
    int dir = fs_inode_fd(fs, parent);
    if (dir < 0)
        return dir;
    AUTO_FD int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fs_open_errno();
    struct statx stx;
    int rc = fs_statx_at(fd, "", &stx);
    if (rc == 0)
        rc = fs_inode_intern(fs, parent, &fd, &stx, &out->inode, isnew, room);
    if (rc == 0)
        fs_attr_for_child(fs, parent, &stx, &out->attr);
    return rc;
}

/* Make the inode that @stx describes from the handle of the name. -EAGAIN: it takes a descriptor.
 */
static int new_by_handle(struct fs *fs, struct fs_inode *parent, int dir, const char *name,
                         const struct statx *stx, struct fs_inode **out)
{
    struct file_handle *handle = NULL;
    const struct fs_mnt *mnt = fs_mnt_find(fs, parent, stx);

    if (!mnt || !fs_handles_by_name(fs, mnt))
        return -EAGAIN;
    int rc = fs_handle_of_name(mnt, dir, name, stx, &handle);
    if (rc == 0)
        rc = fs_inode_intern_handle(fs, parent, &handle, stx, out);
    free(handle);
    return rc;
}

int fs_lookup_stat(struct fs *fs, struct fs_inode *parent, const char *name, struct fs_entry *out,
                   bool *isnew)
{
    int dir = fs_inode_fd(fs, parent);
    if (dir < 0)
        return dir;
    struct statx stx;
    int rc = fs_statx_at(dir, name, &stx);
    if (rc < 0)
        return rc;
    out->inode = fs_inode_find(fs, parent, &stx);
    *isnew = !out->inode;
    if (!out->inode && new_by_handle(fs, parent, dir, name, &stx, &out->inode) < 0)
        return fs_lookup_open(fs, parent, name, out, isnew, NULL);
    fs_attr_for_child(fs, parent, &stx, &out->attr);
    return 0;
}

/* A new child makes the directory "fresh" for the next FRESH_MAX known ones. */
static void note_fresh(struct fs_inode *parent, uint8_t fresh, bool isnew)
{
    uint8_t want = isnew ? FRESH_MAX : (fresh > 0 ? (uint8_t)(fresh - 1) : 0);
    if (want != fresh)
        atomic_store_explicit(&parent->fresh, want, memory_order_relaxed);
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
            return parent == fs->root ? lookup_self(fs, parent, out)
                                      : fs_lookup_up(fs, parent, out);
    }
    int rc = fs_name_check(name);
    if (rc < 0)
        return rc;

    uint8_t fresh = atomic_load_explicit(&parent->fresh, memory_order_relaxed);
    bool isnew;
    bool open_first = fresh > 0 && !fs_handles_by_name(fs, parent->mnt);
    rc = open_first ? fs_lookup_open(fs, parent, name, out, &isnew, NULL)
                    : fs_lookup_stat(fs, parent, name, out, &isnew);
    if (rc == 0)
        note_fresh(parent, fresh, isnew);
    return rc;
}

/* ---- other verbs on names ---- */

/* Descriptor of a directory in which @name is to be changed, or -errno. */
static int dir_for_change(struct fs *fs, struct fs_inode *parent, const char *name)
{
    int rc = fs_name_check(name);
    if (rc < 0)
        return rc;
    if (fs->cfg.readonly)
        return -EROFS;
    return fs_inode_fd(fs, parent);
}

int fs_link(struct fs *fs, struct fs_inode *inode, struct fs_inode *parent, const char *name,
            struct fs_entry *out)
{
    int dir = dir_for_change(fs, parent, name);
    if (dir < 0)
        return dir;
    int fd = fs_inode_fd(fs, inode);
    if (fd < 0)
        return fd;
    /* The link of /proc/self/fd leads to the inode itself, a symbolic link too, and needs no
     * capability, unlike AT_EMPTY_PATH. */
    char num[FD_NAME_LEN];
    if (linkat(fs->cfg.proc_self_fd, fs_fd_name(num, fd), dir, name, AT_SYMLINK_FOLLOW) != 0)
        return -errno;
    return lookup_self(fs, inode, out);
}

static int remove_name(struct fs *fs, struct fs_inode *parent, const char *name, int flags)
{
    int dir = dir_for_change(fs, parent, name);
    if (dir < 0)
        return dir;
    return unlinkat(dir, name, flags) == 0 ? 0 : -errno;
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
    (void)cred; /* a whiteout belongs to us, as the host's overlayfs would make it */
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
        return -EINVAL;
    int from = dir_for_change(fs, parent, name);
    if (from < 0)
        return from;
    int to = dir_for_change(fs, newparent, newname);
    if (to < 0)
        return to;
    return syscall(SYS_renameat2, from, name, to, newname, flags) == 0 ? 0 : -errno;
}

ssize_t fs_readlink(struct fs *fs, struct fs_inode *inode, char *buf, size_t size)
{
    if (!fs_inode_is(inode, S_IFLNK))
        return -EINVAL;
    int fd = fs_inode_fd(fs, inode);
    if (fd < 0)
        return fd;
    ssize_t n = readlinkat(fd, "", buf, size);
    if (n < 0)
        return -errno;
    /* A full buffer may be a cut one: the kernel does not say. Targets are below PATH_MAX. */
    return (size_t)n == size && size < PATH_MAX ? -ENAMETOOLONG : n;
}
