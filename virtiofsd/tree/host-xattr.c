/* SPDX-License-Identifier: BSD-3-Clause
 * Extended attributes on the host. There is no *xattr call for an O_PATH descriptor, so the
 * descriptor's number below /proc/self/fd is the path: its link leads to the inode itself, and
 * nothing is opened. That directory is an argument, or before Linux 6.13 the working directory of
 * the thread. */
/* #syscalls fchmodat fstat getxattr listxattr removexattr setxattr */
#include "virtiofsd/base/xattr-at.h"
#include "virtiofsd/tree/host-priv.h"

#include <sys/xattr.h>

#include <linux/xattr.h>

/* ---- the host's calls; @path is the number of a descriptor ---- */

/* Before any of them. 0 or -errno. */
static int prepare(struct host *h)
{
    return xattr_at_usable() ? 0 : host_thread_cwd(h);
}

static ssize_t call_get(struct host *h, const char *path, const char *name, void *buf, size_t size)
{
    ssize_t n = G_LIKELY(xattr_at_usable()) ? xattr_at_get(h->proc_self_fd, path, name, buf, size)
                                            : getxattr(path, name, buf, size);
    return n < 0 ? -errno : n;
}

static int call_set(struct host *h, const char *path, const char *name, const void *value,
                    size_t size, int flags)
{
    int rc = G_LIKELY(xattr_at_usable())
                 ? xattr_at_set(h->proc_self_fd, path, name, value, size, flags)
                 : setxattr(path, name, value, size, flags);
    return rc == 0 ? 0 : -errno;
}

static ssize_t call_list(struct host *h, const char *path, char *buf, size_t size)
{
    ssize_t n = G_LIKELY(xattr_at_usable()) ? xattr_at_list(h->proc_self_fd, path, buf, size)
                                            : listxattr(path, buf, size);
    return n < 0 ? -errno : n;
}

static int call_remove(struct host *h, const char *path, const char *name)
{
    int rc = G_LIKELY(xattr_at_usable()) ? xattr_at_remove(h->proc_self_fd, path, name)
                                         : removexattr(path, name);
    return rc == 0 ? 0 : -errno;
}

/* ---- the verbs ---- */

/* The name under which the node's descriptor is reached, or NULL with *rc = -errno. */
static const char *xattr_path(struct host *h, struct tree_node *node, char num[FD_NAME_LEN],
                              int *rc)
{
    int fd = host_fd(h, node);

    *rc = fd < 0 ? fd : prepare(h);
    return *rc < 0 ? NULL : host_fd_name(num, fd);
}

ssize_t host_getxattr(struct tree *t, struct tree_node *node, const char *name, void *buf,
                      size_t size)
{
    struct host *h = host_of(t);
    char num[FD_NAME_LEN];
    int rc;
    const char *path = xattr_path(h, node, num, &rc);

    return path ? call_get(h, path, name, buf, size) : rc;
}

ssize_t host_listxattr(struct tree *t, struct tree_node *node, char *buf, size_t size)
{
    struct host *h = host_of(t);
    char num[FD_NAME_LEN];
    int rc;
    const char *path = xattr_path(h, node, num, &rc);

    return path ? call_list(h, path, buf, size) : rc;
}

int host_setxattr(struct tree *t, struct tree_node *node, const char *name, const void *value,
                  size_t size, int flags)
{
    struct host *h = host_of(t);
    char num[FD_NAME_LEN];
    int rc;
    const char *path = xattr_path(h, node, num, &rc);

    return path ? call_set(h, path, name, value, size, flags) : rc;
}

int host_removexattr(struct tree *t, struct tree_node *node, const char *name)
{
    struct host *h = host_of(t);
    char num[FD_NAME_LEN];
    int rc;
    const char *path = xattr_path(h, node, num, &rc);

    return path ? call_remove(h, path, name) : rc;
}

int host_kill_sgid(struct tree *t, struct tree_node *node)
{
    struct host *h = host_of(t);
    char num[FD_NAME_LEN];
    struct stat st;
    int fd = host_fd(h, node);

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!(st.st_mode & S_ISGID))
        return 0;
    mode_t mode = st.st_mode & 07777 & ~(mode_t)S_ISGID;
    return fchmodat(h->proc_self_fd, host_fd_name(num, fd), mode, 0) == 0 ? 0 : -errno;
}

/* ---- security labels of new files ---- */

#define LABEL_MAX 1024

/* Length of a label: some end with a NUL, some do not. */
static size_t label_len(const char *label, size_t len)
{
    return len > 0 && label[len - 1] == '\0' ? len - 1 : len;
}

/* Whether what @path refers to has the label of @cred. */
static bool is_labelled(struct host *h, const struct fs_cred *cred, const char *path)
{
    char has[LABEL_MAX];
    ssize_t n = call_get(h, path, XATTR_NAME_SELINUX, has, sizeof(has));

    return n > 0 && label_len(has, (size_t)n) == label_len(cred->secctx, cred->secctx_len) &&
           memcmp(has, cred->secctx, label_len(has, (size_t)n)) == 0;
}

int host_secctx_set(struct host *h, const struct fs_cred *cred, int fd)
{
    char num[FD_NAME_LEN];

    if (!cred || !cred->secctx_name)
        return 0;
    int rc = prepare(h);
    if (rc < 0)
        return rc;
    const char *path = host_fd_name(num, fd);
    /* Not every file system takes part, and one that is mounted with a label has no others. */
    if (host_label_native(h, cred) && is_labelled(h, cred, path))
        return 0;
    return call_set(h, path, cred->secctx_name, cred->secctx, cred->secctx_len, 0);
}

/* ---- file capabilities under another name ---- */

int host_caps_remove(struct host *h, const struct tree_node *node, int fd)
{
    char num[FD_NAME_LEN];

    if (!tree_node_is(node, S_IFREG)) /* only programs have any */
        return 0;
    int rc = prepare(h);
    if (rc < 0)
        return rc;
    const char *path = host_fd_name(num, fd);
    rc = call_remove(h, path, h->tree.core.cap_name);
    if (rc == 0 || rc == -ENODATA || rc == -EOPNOTSUPP)
        return 0;
    /* Where we may not remove any, that is no reason against a change of a file that has none. */
    return call_get(h, path, h->tree.core.cap_name, NULL, 0) == -ENODATA ? 0 : rc;
}
