/* SPDX-License-Identifier: BSD-3-Clause
 * Attributes on the host: read and change. */
/* #syscalls close fchmodat fchownat fstat fstatfs ftruncate statx utimensat */
#include "virtiofsd/tree/host-priv.h"

#include <sys/syscall.h>

/* ---- read ---- */

int host_statx(struct tree *t, struct tree_node *node, const struct tree_file *file, int sync,
               unsigned mask, struct statx *out)
{
    /* An open file's descriptor, if there is one, saves a reopening. */
    int fd = file ? file->fd : host_fd(host_of(t), node);
    if (fd < 0)
        return fd;
    int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | sync;
    return statx(fd, "", flags, mask, out) == 0 ? 0 : -errno;
}

int host_stat(struct tree *t, struct tree_node *node, const struct tree_file *file,
              struct stat *out)
{
    int fd = file ? file->fd : host_fd(host_of(t), node);
    if (fd < 0)
        return fd;
    /* The call itself: what some libcs make of fstat(3) takes a path, though an empty one, which
     * the kernel and the sandbox's filter look at. */
    return syscall(SYS_fstat, fd, out) == 0 ? 0 : -errno;
}

int host_statfs(struct tree *t, struct tree_node *node, struct statvfs *out)
{
    int fd = host_fd(host_of(t), node);
    if (fd < 0)
        return fd;
    return fstatvfs(fd, out) == 0 ? 0 : -errno;
}

/* ---- change ---- */

static int set_owner(struct host *h, struct tree_node *node, int fd, const struct fs_setattr *set)
{
    uid_t uid = set->valid & FS_SET_UID ? set->uid : (uid_t)-1;
    gid_t gid = set->valid & FS_SET_GID ? set->gid : (gid_t)-1;
    int rc = host_caps_drop(h, node, fd);

    if (rc < 0)
        return rc;
    return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

static int set_mode(struct host *h, struct tree_node *node, int fd, mode_t mode)
{
    char num[FD_NAME_LEN];
    if (tree_node_is(node, S_IFLNK))
        return -EOPNOTSUPP;
    return fchmodat(h->proc_self_fd, host_fd_name(num, fd), mode & 07777, 0) == 0 ? 0 : -errno;
}

/* By the open file when it may write, else by one opened for it: truncate(2) would take a path from
 * the working directory, which the sandbox answers with ENOENT. */
static int set_size(struct host *h, struct tree_node *node, const struct tree_file *file, int fd,
                    const struct fs_setattr *set)
{
    AUTO_FD int own = -1;
    int rc;

    if (!tree_node_is(node, S_IFREG))
        return tree_node_is(node, S_IFDIR) ? -EISDIR : -EINVAL;
    if (set->size < 0)
        return -EINVAL;
    rc = host_caps_drop(h, node, fd);
    if (rc < 0)
        return rc;
    bool by_file = file && file->accmode != O_RDONLY;
    if (!by_file && (own = host_open_node(h, node, O_WRONLY)) < 0)
        return own;
    bool dropped = (set->valid & FS_SET_KILL_SUIDGID) && host_fsetid_drop();
    rc = ftruncate(by_file ? file->fd : own, set->size) == 0 ? 0 : -errno;
    if (dropped)
        host_fsetid_restore();
    return rc;
}

static struct timespec pick_time(unsigned valid, unsigned set, unsigned now,
                                 const struct timespec *given)
{
    if (valid & now)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (valid & set)
        return *given;
    return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static bool bad_time(unsigned valid, unsigned set, const struct timespec *t)
{
    return (valid & set) && (t->tv_nsec < 0 || t->tv_nsec > 999999999);
}

static int set_times(struct host *h, struct tree_node *node, int fd, const struct fs_setattr *set)
{
    struct timespec ts[2] = {
        pick_time(set->valid, FS_SET_ATIME, FS_SET_ATIME_NOW, &set->atime),
        pick_time(set->valid, FS_SET_MTIME, FS_SET_MTIME_NOW, &set->mtime),
    };
    char num[FD_NAME_LEN];

    /* Nanoseconds that mean "now" or "omit" come as flags, never as values. */
    if (bad_time(set->valid, FS_SET_ATIME, &set->atime) ||
        bad_time(set->valid, FS_SET_MTIME, &set->mtime))
        return -EINVAL;
    if (utimensat(fd, "", ts, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != EINVAL || tree_node_is(node, S_IFLNK)) /* AT_EMPTY_PATH is newer than Linux 5.7 */
        return -errno;
    return utimensat(h->proc_self_fd, host_fd_name(num, fd), ts, 0) == 0 ? 0 : -errno;
}

static int apply(struct host *h, struct tree_node *node, const struct tree_file *file, int fd,
                 const struct fs_setattr *set)
{
    const unsigned owner = FS_SET_UID | FS_SET_GID;
    const unsigned times = FS_SET_ATIME | FS_SET_MTIME | FS_SET_ATIME_NOW | FS_SET_MTIME_NOW;
    int rc = 0;

    if (set->valid & owner)
        rc = set_owner(h, node, fd, set);
    if (rc == 0 && (set->valid & FS_SET_MODE))
        rc = set_mode(h, node, fd, set->mode);
    if (rc == 0 && (set->valid & FS_SET_SIZE))
        rc = set_size(h, node, file, fd, set);
    if (rc == 0 && (set->valid & times))
        rc = set_times(h, node, fd, set);
    return rc;
}

int host_setattr(struct tree *t, struct tree_node *node, const struct tree_file *file,
                 const struct fs_setattr *set)
{
    struct host *h = host_of(t);
    int fd = host_fd(h, node);

    return fd < 0 ? fd : apply(h, node, file, fd, set);
}
