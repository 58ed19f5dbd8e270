/* SPDX-License-Identifier: BSD-3-Clause
 * Extended attributes. There is no *xattr call for an O_PATH descriptor, so the working directory
 * of the thread is /proc/self/fd and the descriptor's number is the path: its link leads to the
 * inode itself, and nothing is opened. */
#include "virtiofsd/fs/fs-priv.h"

#include <sys/xattr.h>

#include <linux/limits.h>
#include <linux/xattr.h>

/* The name under which the inode's descriptor is reached, or NULL with *rc = -errno. */
static const char *xattr_path(struct fs *fs, struct fs_inode *inode, char num[FD_NAME_LEN], int *rc)
{
    if (!fs->cfg.xattr) {
        *rc = -EOPNOTSUPP;
        return NULL;
    }
    int fd = fs_inode_fd(fs, inode);
    *rc = fd < 0 ? fd : fs_thread_cwd(fs);
    return *rc < 0 ? NULL : fs_fd_name(num, fd);
}

static int check_name(const char *name)
{
    size_t len = strnlen(name, XATTR_NAME_MAX + 1);
    return len == 0 || len > XATTR_NAME_MAX ? -ERANGE : 0;
}

ssize_t fs_getxattr(struct fs *fs, struct fs_inode *inode, const char *name, void *buf, size_t size)
{
    char num[FD_NAME_LEN];
    int rc;
    const char *path = xattr_path(fs, inode, num, &rc);
    if (!path || (rc = check_name(name)) < 0)
        return rc;
    ssize_t n = getxattr(path, name, buf, MIN(size, (size_t)XATTR_SIZE_MAX));
    return n < 0 ? -errno : n;
}

ssize_t fs_listxattr(struct fs *fs, struct fs_inode *inode, char *buf, size_t size)
{
    char num[FD_NAME_LEN];
    int rc;
    const char *path = xattr_path(fs, inode, num, &rc);
    if (!path)
        return rc;
    ssize_t n = listxattr(path, buf, MIN(size, (size_t)XATTR_LIST_MAX));
    return n < 0 ? -errno : n;
}

/* A new ACL of a file whose group the guest's process is not in: set-group-id goes. */
static int kill_sgid(struct fs *fs, int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || !(st.st_mode & S_ISGID))
        return 0;
    return fchmodat(fs->cfg.proc_self_fd, path, st.st_mode & 07777 & ~(mode_t)S_ISGID, 0) == 0
               ? 0
               : -errno;
}

int fs_setxattr(struct fs *fs, struct fs_inode *inode, const char *name, const void *value,
                size_t size, int flags, unsigned how)
{
    char num[FD_NAME_LEN];
    int rc;
    const char *path = xattr_path(fs, inode, num, &rc);
    if (!path || (rc = check_name(name)) < 0)
        return rc;
    if (fs->cfg.readonly)
        return -EROFS;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    if (setxattr(path, name, value, size, flags) != 0)
        return -errno;
    return how & FS_XATTR_ACL_KILL_SGID ? kill_sgid(fs, fs_inode_fd(fs, inode), path) : 0;
}

int fs_removexattr(struct fs *fs, struct fs_inode *inode, const char *name)
{
    char num[FD_NAME_LEN];
    int rc;
    const char *path = xattr_path(fs, inode, num, &rc);
    if (!path || (rc = check_name(name)) < 0)
        return rc;
    if (fs->cfg.readonly)
        return -EROFS;
    return removexattr(path, name) == 0 ? 0 : -errno;
}

int fs_secctx_set(struct fs *fs, const struct fs_cred *cred, int fd)
{
    char num[FD_NAME_LEN];

    if (fd < 0)
        return fd;
    if (check_name(cred->secctx_name) < 0 ||
        strncmp(cred->secctx_name, XATTR_SECURITY_PREFIX, XATTR_SECURITY_PREFIX_LEN) != 0)
        return -EINVAL;
    if (cred->secctx_len > XATTR_SIZE_MAX)
        return -E2BIG;
    int rc = fs_thread_cwd(fs);
    if (rc < 0)
        return rc;
    return setxattr(fs_fd_name(num, fd), cred->secctx_name, cred->secctx, cred->secctx_len, 0) == 0
               ? 0
               : -errno;
}
