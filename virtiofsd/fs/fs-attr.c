/* SPDX-License-Identifier: BSD-3-Clause
 * Attributes: read, change, judge. */
#include "virtiofsd/fs/fs-acl.h"
#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs-priv.h"

#include <sys/syscall.h>

/* ---- read ---- */

/* A descriptor to ask for attributes: an open file's, if there is one, saves a reopening. */
static int attr_fd(struct fs *fs, struct fs_inode *inode, const struct fs_file *file)
{
    return file ? file->fd : fs_inode_fd(fs, inode);
}

int fs_getattr(struct fs *fs, struct fs_inode *inode, struct fs_file *file, struct fs_attr *out)
{
    struct statx stx;
    int fd = attr_fd(fs, inode, file);
    if (fd < 0)
        return fd;
    int rc = fs_statx_at(fd, "", &stx);
    if (rc == 0)
        fs_attr_from_statx(fs, &stx, out);
    return rc;
}

int fs_getstat(struct fs *fs, struct fs_inode *inode, struct fs_file *file, struct fs_attr *out)
{
    int fd = attr_fd(fs, inode, file);
    if (fd < 0)
        return fd;
    *out = (struct fs_attr){0};
    /* The call itself: what some libcs make of fstat(3) takes a path, though an empty one, which
     * the kernel and the sandbox's filter look at. */
    if (syscall(SYS_fstat, fd, &out->st) != 0)
        return -errno;
    if (G_UNLIKELY(out->st.st_dev != fs->tree->dev)) /* the number may have to be shown otherwise */
        return fs_getattr(fs, inode, file, out);
    if (G_UNLIKELY(fs->ids))
        fs_ids_to_guest(fs, out);
    return 0;
}

int fs_statx(struct fs *fs, struct fs_inode *inode, struct fs_file *file, unsigned flags,
             unsigned mask, struct statx *out)
{
    struct statx stx;
    int fd = attr_fd(fs, inode, file);
    if (fd < 0)
        return fd;
    int sync = (int)(flags & AT_STATX_SYNC_TYPE);
    if (sync == AT_STATX_SYNC_TYPE)
        return -EINVAL;
    if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | sync, mask & ~STATX__RESERVED, &stx) !=
        0)
        return -errno;
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
    struct statvfs st;
    if (fs->cfg.statfs)
        return fs->cfg.statfs(fs->cfg.user, out);
    int fd = fs_inode_fd(fs, inode);
    if (fd < 0)
        return fd;
    if (fstatvfs(fd, &st) != 0)
        return -errno;
    *out = st;
    return 0;
}

/* ---- judge ---- */

/* An ACL of more entries than fit here (511) grants nothing. */
#define ACL_MAX 4096

/* For those who do not own the file. An ACL keeps its mask in the group's bits: without any it
 * grants nothing beyond the mode. */
static int judge_others(struct fs *fs, const struct fs_cred *cred, struct fs_inode *inode,
                        const struct stat *st, int mask)
{
    char acl[ACL_MAX];
    ssize_t n = (st->st_mode & S_IRWXG) && !S_ISLNK(st->st_mode)
                    ? fs_acl_read(fs, inode, acl, sizeof(acl))
                    : 0;

    if (n != 0)
        return n < 0 ? -EACCES : fs_acl_judge(cred, st->st_gid, acl, (size_t)n, mask);
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
    return judge_others(fs, cred, inode, &attr.st, mask);
}

/* ---- change ---- */

static int set_owner(struct fs *fs, struct fs_inode *inode, int fd, const struct fs_setattr *set)
{
    uid_t uid = set->valid & FS_SET_UID ? set->uid : (uid_t)-1;
    gid_t gid = set->valid & FS_SET_GID ? set->gid : (gid_t)-1;

    /* An id of -1 means "leave it" to the kernel, and comes from ids the guest could not map. */
    if (((set->valid & FS_SET_UID) && uid == (uid_t)-1) ||
        ((set->valid & FS_SET_GID) && gid == (gid_t)-1))
        return -EINVAL;
    int rc = 0;
    if (fs->cfg.uids && (set->valid & FS_SET_UID))
        rc = fs_idmap_to_host(fs->cfg.uids, uid, &uid);
    if (rc == 0 && fs->cfg.gids && (set->valid & FS_SET_GID))
        rc = fs_idmap_to_host(fs->cfg.gids, gid, &gid);
    if (rc == 0)
        rc = fs_caps_drop(fs, inode, fd);
    if (rc < 0)
        return rc;
    return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

static int set_mode(struct fs *fs, struct fs_inode *inode, int fd, mode_t mode)
{
    char num[FD_NAME_LEN];
    if (fs_inode_is(inode, S_IFLNK))
        return -EOPNOTSUPP;
    return fchmodat(fs->cfg.proc_self_fd, fs_fd_name(num, fd), mode & 07777, 0) == 0 ? 0 : -errno;
}

/* By the open file when it may write, else by one opened for it: truncate(2) would take a path from
 * the working directory, which the sandbox answers with ENOENT. */
static int set_size(struct fs *fs, struct fs_inode *inode, const struct fs_file *file, int fd,
                    const struct fs_setattr *set)
{
    AUTO_FD int own = -1;
    int rc;

    if (!fs_inode_is(inode, S_IFREG))
        return fs_inode_is(inode, S_IFDIR) ? -EISDIR : -EINVAL;
    if (set->size < 0)
        return -EINVAL;
    rc = fs_caps_drop(fs, inode, fd);
    if (rc < 0)
        return rc;
    bool by_file = file && file->accmode != O_RDONLY;
    if (!by_file && (own = fs_inode_open(fs, inode, O_WRONLY)) < 0)
        return own;
    bool dropped = (set->valid & FS_SET_KILL_SUIDGID) && fs_fsetid_drop();
    rc = ftruncate(by_file ? file->fd : own, set->size) == 0 ? 0 : -errno;
    if (dropped)
        fs_fsetid_restore();
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

static int set_times(struct fs *fs, struct fs_inode *inode, int fd, const struct fs_setattr *set)
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
    if (errno != EINVAL || fs_inode_is(inode, S_IFLNK)) /* AT_EMPTY_PATH is newer than Linux 5.7 */
        return -errno;
    return utimensat(fs->cfg.proc_self_fd, fs_fd_name(num, fd), ts, 0) == 0 ? 0 : -errno;
}

static int apply(struct fs *fs, struct fs_inode *inode, const struct fs_file *file, int fd,
                 const struct fs_setattr *set)
{
    const unsigned owner = FS_SET_UID | FS_SET_GID;
    const unsigned times = FS_SET_ATIME | FS_SET_MTIME | FS_SET_ATIME_NOW | FS_SET_MTIME_NOW;
    int rc = 0;

    if (set->valid & owner)
        rc = set_owner(fs, inode, fd, set);
    if (rc == 0 && (set->valid & FS_SET_MODE))
        rc = set_mode(fs, inode, fd, set->mode);
    if (rc == 0 && (set->valid & FS_SET_SIZE))
        rc = set_size(fs, inode, file, fd, set);
    if (rc == 0 && (set->valid & times))
        rc = set_times(fs, inode, fd, set);
    return rc;
}

int fs_setattr(struct fs *fs, struct fs_inode *inode, struct fs_file *file,
               const struct fs_setattr *set, struct fs_attr *out)
{
    int fd = fs_inode_fd(fs, inode);
    if (fd < 0)
        return fd;
    if (fs->cfg.readonly)
        return -EROFS;
    int rc = apply(fs, inode, file, fd, set);
    return rc < 0 ? rc : fs_getattr(fs, inode, NULL, out);
}
