/* SPDX-License-Identifier: BSD-3-Clause
 * Extended attributes. There is no *xattr call for an O_PATH descriptor, so the descriptor's number
 * below /proc/self/fd is the path: its link leads to the inode itself, and nothing is opened. That
 * directory is an argument, or before Linux 6.13 the working directory of the thread. */
#include "virtiofsd/base/xattr-at.h"
#include "virtiofsd/fs/fs-acl.h"
#include "virtiofsd/fs/fs-priv.h"
#include "virtiofsd/fs/fs-xattrmap.h"

#include <sys/xattr.h>

#include <linux/limits.h>
#include <linux/xattr.h>

/* ---- the host's calls; @path is the number of a descriptor ---- */

/* Before any of them. 0 or -errno. */
static int prepare(struct fs *fs)
{
    return xattr_at_usable() ? 0 : fs_thread_cwd(fs);
}

static ssize_t host_get(struct fs *fs, const char *path, const char *name, void *buf, size_t size)
{
    return G_LIKELY(xattr_at_usable()) ? xattr_at_get(fs->cfg.proc_self_fd, path, name, buf, size)
                                       : getxattr(path, name, buf, size);
}

static int host_set(struct fs *fs, const char *path, const char *name, const void *value,
                    size_t size, int flags)
{
    int rc = G_LIKELY(xattr_at_usable())
                 ? xattr_at_set(fs->cfg.proc_self_fd, path, name, value, size, flags)
                 : setxattr(path, name, value, size, flags);
    return rc == 0 ? 0 : -errno;
}

static ssize_t host_list(struct fs *fs, const char *path, char *buf, size_t size)
{
    ssize_t n = G_LIKELY(xattr_at_usable()) ? xattr_at_list(fs->cfg.proc_self_fd, path, buf, size)
                                            : listxattr(path, buf, size);
    return n < 0 ? -errno : n;
}

static int host_remove(struct fs *fs, const char *path, const char *name)
{
    return G_LIKELY(xattr_at_usable()) ? xattr_at_remove(fs->cfg.proc_self_fd, path, name)
                                       : removexattr(path, name);
}

/* ---- what is asked for ---- */

/* The name under which the inode's descriptor is reached, or NULL with *rc = -errno. */
static const char *xattr_path(struct fs *fs, struct fs_inode *inode, char num[FD_NAME_LEN], int *rc)
{
    if (!fs->cfg.xattr) {
        *rc = -EOPNOTSUPP;
        return NULL;
    }
    int fd = fs_inode_fd(fs, inode);
    *rc = fd < 0 ? fd : prepare(fs);
    return *rc < 0 ? NULL : fs_fd_name(num, fd);
}

static int check_name(const char *name)
{
    size_t len = strnlen(name, XATTR_NAME_MAX + 1);
    return len == 0 || len > XATTR_NAME_MAX ? -ERANGE : 0;
}

/* An attribute as the host knows it. */
struct host_name {
    const char *name;
    bool ids; /* its value holds ids that the host understands and that differ from the guest's */
    char buf[XATTR_NAME_MAX + 1];
};

static int map_name(struct fs *fs, const char *name, struct host_name *out)
{
    int rc = check_name(name);
    if (rc < 0)
        return rc;
    /* A guest that does not know ACLs would not keep mode and ACL in step. */
    if (!fs->acl && fs_acl_is_name(name))
        return -EOPNOTSUPP;
    out->name = name;
    if (G_UNLIKELY(fs->cfg.xattrmap))
        rc = fs_xattrmap_to_host(fs->cfg.xattrmap, name, out->buf, &out->name);
    out->ids = rc == 0 && fs->ids && fs_acl_is_name(out->name);
    return rc;
}

ssize_t fs_getxattr(struct fs *fs, struct fs_inode *inode, const char *name, void *buf, size_t size)
{
    char num[FD_NAME_LEN];
    struct host_name host;
    int rc;
    const char *path = xattr_path(fs, inode, num, &rc);
    if (!path || (rc = map_name(fs, name, &host)) < 0)
        return rc;
    ssize_t n = host_get(fs, path, host.name, buf, MIN(size, (size_t)XATTR_SIZE_MAX));
    if (n < 0)
        return -errno;
    if (G_UNLIKELY(host.ids) && size > 0)
        fs_acl_to_guest(fs->cfg.uids, fs->cfg.gids, buf, (size_t)n);
    return n;
}

ssize_t fs_acl_read(struct fs *fs, struct fs_inode *inode, void *buf, size_t size)
{
    char num[FD_NAME_LEN];
    int fd = fs_inode_fd(fs, inode);
    int rc = fd < 0 ? fd : prepare(fs);
    if (rc < 0)
        return rc;
    ssize_t n = host_get(fs, fs_fd_name(num, fd), "system.posix_acl_access", buf, size);
    if (n < 0)
        return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
    if (G_UNLIKELY(fs->ids))
        fs_acl_to_guest(fs->cfg.uids, fs->cfg.gids, buf, (size_t)n);
    return n;
}

/* ---- the list ---- */

#define LIST_SMALL 1024

/* What the guest gets to see of one name, or NULL. */
static const char *visible(struct fs *fs, const char *name)
{
    if (fs->cfg.xattrmap)
        name = fs_xattrmap_to_guest(fs->cfg.xattrmap, name);
    return name && !fs->acl && fs_acl_is_name(name) ? NULL : name;
}

/* From the host's @list of @len bytes to the guest's in @buf. Returns its length, also with size 0;
 * -ERANGE when it is longer than @size. */
static ssize_t filter(struct fs *fs, const char *list, size_t len, char *buf, size_t size)
{
    size_t used = 0;

    for (const char *p = list; p < list + len; p += strlen(p) + 1) {
        const char *name = visible(fs, p);
        if (!name)
            continue;
        size_t n = strlen(name) + 1;
        if (size > 0 && n > size - used)
            return -ERANGE;
        if (size > 0)
            memcpy(buf + used, name, n);
        used += n;
    }
    return (ssize_t)used;
}

ssize_t fs_listxattr(struct fs *fs, struct fs_inode *inode, char *buf, size_t size)
{
    char num[FD_NAME_LEN], small[LIST_SMALL];
    g_autofree char *large = NULL;
    char *list = small;
    int rc;
    const char *path = xattr_path(fs, inode, num, &rc);
    if (!path)
        return rc;
    ssize_t n = host_list(fs, path, small, sizeof(small));
    if (n == -ERANGE) {
        list = large = g_malloc(XATTR_LIST_MAX);
        n = host_list(fs, path, large, XATTR_LIST_MAX);
    }
    return n < 0 ? n : filter(fs, list, (size_t)n, buf, size);
}

/* ---- change ---- */

/* A new access ACL of a file or directory whose group the guest's process is not in: set-group-id
 * goes. */
static int kill_sgid(struct fs *fs, int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!(st.st_mode & S_ISGID))
        return 0;
    return fchmodat(fs->cfg.proc_self_fd, path, st.st_mode & 07777 & ~(mode_t)S_ISGID, 0) == 0
               ? 0
               : -errno;
}

/* Set it, with the ids of an ACL translated. */
static int set_value(struct fs *fs, const char *path, const struct host_name *host,
                     const void *value, size_t size, int flags)
{
    g_autofree void *copy = NULL;

    if (G_UNLIKELY(host->ids)) {
        copy = g_memdup2(value, size);
        int rc = fs_acl_to_host(fs->cfg.uids, fs->cfg.gids, copy, size);
        if (rc < 0)
            return rc;
        value = copy;
    }
    return host_set(fs, path, host->name, value, size, flags);
}

int fs_setxattr(struct fs *fs, struct fs_inode *inode, const char *name, const void *value,
                size_t size, int flags, unsigned how)
{
    char num[FD_NAME_LEN];
    struct host_name host;
    int rc;
    const char *path = xattr_path(fs, inode, num, &rc);
    if (!path || (rc = map_name(fs, name, &host)) < 0)
        return rc;
    if (fs->cfg.readonly)
        return -EROFS;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    rc = set_value(fs, path, &host, value, size, flags);
    if (rc < 0)
        return rc;
    /* The flag comes with default ACLs too, which leave the bit. */
    return (how & FS_XATTR_ACL_KILL_SGID) && strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS) == 0
               ? kill_sgid(fs, fs_inode_fd(fs, inode), path)
               : 0;
}

int fs_removexattr(struct fs *fs, struct fs_inode *inode, const char *name)
{
    char num[FD_NAME_LEN];
    struct host_name host;
    int rc;
    const char *path = xattr_path(fs, inode, num, &rc);
    if (!path || (rc = map_name(fs, name, &host)) < 0)
        return rc;
    if (fs->cfg.readonly)
        return -EROFS;
    return host_remove(fs, path, host.name) == 0 ? 0 : -errno;
}

/* ---- security labels of new inodes ---- */

int fs_secctx_check(struct fs *fs, const struct fs_cred *cred)
{
    struct host_name host;

    if (!cred || !cred->secctx_name)
        return 0;
    if (!fs->cfg.xattr)
        return -EOPNOTSUPP;
    if (strncmp(cred->secctx_name, XATTR_SECURITY_PREFIX, XATTR_SECURITY_PREFIX_LEN) != 0)
        return -EINVAL;
    if (cred->secctx_len > XATTR_SIZE_MAX)
        return -E2BIG;
    return map_name(fs, cred->secctx_name, &host);
}

bool fs_secctx_native(struct fs *fs, const struct fs_cred *cred)
{
    struct host_name host;

    return strcmp(cred->secctx_name, XATTR_NAME_SELINUX) == 0 &&
           map_name(fs, cred->secctx_name, &host) == 0 &&
           strcmp(host.name, XATTR_NAME_SELINUX) == 0;
}

/* Length of a label: some end with a NUL, some do not. */
static size_t label_len(const char *label, size_t len)
{
    return len > 0 && label[len - 1] == '\0' ? len - 1 : len;
}

/* Whether what @path refers to has the label of @cred. */
static bool is_labelled(struct fs *fs, const struct fs_cred *cred, const char *path)
{
    char has[LIST_SMALL];
    ssize_t n = host_get(fs, path, XATTR_NAME_SELINUX, has, sizeof(has));

    return n > 0 && label_len(has, (size_t)n) == label_len(cred->secctx, cred->secctx_len) &&
           memcmp(has, cred->secctx, label_len(has, (size_t)n)) == 0;
}

int fs_secctx_set(struct fs *fs, const struct fs_cred *cred, int fd)
{
    char num[FD_NAME_LEN];
    struct host_name host;

    if (!cred || !cred->secctx_name)
        return 0;
    if (fd < 0)
        return fd;
    int rc = map_name(fs, cred->secctx_name, &host);
    if (rc == 0)
        rc = prepare(fs);
    if (rc < 0)
        return rc;
    const char *path = fs_fd_name(num, fd);
    /* Not every file system takes part, and one that is mounted with a label has no others. */
    if (fs_label_native(fs, cred) && is_labelled(fs, cred, path))
        return 0;
    return host_set(fs, path, host.name, cred->secctx, cred->secctx_len, 0);
}

/* ---- file capabilities under another name ---- */

void fs_xattr_init(struct fs *fs)
{
    struct host_name host;

    if (fs->cfg.xattr && map_name(fs, XATTR_NAME_CAPS, &host) == 0 &&
        strcmp(host.name, XATTR_NAME_CAPS) != 0)
        fs->cap_name = g_strdup(host.name);
}

int fs_caps_remove(struct fs *fs, const struct fs_inode *inode, int fd)
{
    char num[FD_NAME_LEN];

    if (!fs_inode_is(inode, S_IFREG)) /* only programs have any */
        return 0;
    int rc = prepare(fs);
    if (rc < 0)
        return rc;
    const char *path = fs_fd_name(num, fd);
    if (host_remove(fs, path, fs->cap_name) == 0 || errno == ENODATA || errno == EOPNOTSUPP)
        return 0;
    rc = -errno;
    /* Where we may not remove any, that is no reason against a change of a file that has none. */
    return host_get(fs, path, fs->cap_name, NULL, 0) < 0 && errno == ENODATA ? 0 : rc;
}
