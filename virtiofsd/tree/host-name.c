/* SPDX-License-Identifier: BSD-3-Clause
 * Names on the host: lookup, and the verbs that add, remove or move them.
 *
 * A known file costs one system call: statx by name, and the core has its key. A new one costs one
 * more for its handle; where handles do not serve (host-handle.c), openat and a statx of what was
 * opened, since the name may mean another file by then: that comes first where the core expects a
 * new one. */
/* #syscalls close linkat openat readlinkat renameat2 unlinkat */
#include "virtiofsd/tree/host-priv.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

/* ---- what was found ---- */

int host_found_stx(struct host *h, int fd, const struct statx *stx, struct tree_found *out)
{
    struct file_handle *handle = NULL;
    int rc = h->handles_must ? host_handle_of(fd, &handle) : 0;

    if (rc < 0) {
        close(fd);
        return rc;
    }
    out->stx = *stx;
    out->complete = true;
    out->fd = fd;
    out->own = handle;
    out->in_room = false;
    return 0;
}

int host_found_fd(struct host *h, int fd, struct tree_found *out)
{
    struct statx stx;
    int rc = host_statx_at(fd, "", &stx);

    if (rc == 0)
        return host_found_stx(h, fd, &stx, out);
    close(fd);
    return rc;
}

static int open_name(struct host *h, int dir, const char *name, struct tree_found *out)
{
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? host_open_errno() : host_found_fd(h, fd, out);
}

int host_lookup(struct tree *t, struct tree_node *dir, const char *name, bool likely_new,
                struct tree_found *out)
{
    struct host *h = host_of(t);
    int fd = host_fd(h, dir);

    if (fd < 0)
        return fd;
    if (likely_new && !host_handles_by_name(h, host_mnt(dir)))
        return open_name(h, fd, name, out);
    out->complete = false;
    out->fd = TREE_NO_FD;
    out->own = NULL;
    out->in_room = false;
    return host_statx_at(fd, name, &out->stx);
}

/* Whether what @stx describes is on the mount of @dir. */
static bool same_mount(const struct tree_node *dir, const struct statx *stx)
{
    return dir->mnt->dev == makedev(stx->stx_dev_major, stx->stx_dev_minor) &&
           dir->mnt->mnt_id == (stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0);
}

/* By the handle of the name. -EAGAIN: it takes a descriptor. */
static int complete_by_handle(struct host *h, struct tree_node *dir, int fd, const char *name,
                              struct tree_found *found)
{
    const struct host_mnt *mnt = host_mnt(dir);

    if (!same_mount(dir, &found->stx) || !host_handles_by_name(h, mnt))
        return -EAGAIN;
    int rc = host_handle_of_name(mnt, fd, name, found);
    if (rc == 0)
        found->complete = true;
    return rc;
}

int host_complete(struct tree *t, struct tree_node *dir, const char *name, bool again,
                  struct tree_found *found)
{
    struct host *h = host_of(t);
    int fd = host_fd(h, dir);

    if (fd < 0)
        return fd;
    if (!again && complete_by_handle(h, dir, fd, name, found) == 0)
        return 0;
    return open_name(h, fd, name, found);
}

/* ---- other verbs on names ---- */

int host_link(struct tree *t, struct tree_node *node, struct tree_node *dir, const char *name)
{
    struct host *h = host_of(t);
    char num[FD_NAME_LEN];
    int to = host_fd(h, dir);
    int fd = to < 0 ? to : host_fd(h, node);

    if (fd < 0)
        return fd;
    /* The link of /proc/self/fd leads to the inode itself, a symbolic link too, and needs no
     * capability, unlike AT_EMPTY_PATH. */
    if (linkat(h->proc_self_fd, host_fd_name(num, fd), to, name, AT_SYMLINK_FOLLOW) != 0)
        return -errno;
    return 0;
}

int host_unlink(struct tree *t, struct tree_node *dir, const char *name, int flags)
{
    int fd = host_fd(host_of(t), dir);
    if (fd < 0)
        return fd;
    return unlinkat(fd, name, flags) == 0 ? 0 : -errno;
}

int host_rename(struct tree *t, struct tree_node *dir, const char *name, struct tree_node *newdir,
                const char *newname, unsigned flags)
{
    struct host *h = host_of(t);
    int from = host_fd(h, dir);
    int to = from < 0 ? from : host_fd(h, newdir);

    if (to < 0)
        return to;
    return syscall(SYS_renameat2, from, name, to, newname, flags) == 0 ? 0 : -errno;
}

ssize_t host_readlink(struct tree *t, struct tree_node *node, char *buf, size_t size)
{
    int fd = host_fd(host_of(t), node);
    if (fd < 0)
        return fd;
    ssize_t n = readlinkat(fd, "", buf, size);
    if (n < 0)
        return -errno;
    /* A full buffer may be a cut one: the kernel does not say. Targets are below PATH_MAX. */
    return (size_t)n == size && size < PATH_MAX ? -ENAMETOOLONG : n;
}
