/* SPDX-License-Identifier: BSD-3-Clause
 * Opening regular files and directories by reference, never by name, and never anything else. */
/* #syscalls close fcntl openat */
#include "virtiofsd/tree/host-priv.h"

/* Through the link in /proc/self/fd, which leads to the inode that the descriptor refers to. */
static int open_ref(struct host *h, int ref, int flags)
{
    char num[FD_NAME_LEN];
    int fd = openat(h->proc_self_fd, host_fd_name(num, ref), flags | O_CLOEXEC);

    return fd < 0 ? host_open_errno() : fd;
}

/* What the handle leads to is checked by a reference, and that is what is opened. */
static int open_unproved(struct host *h, struct tree_node *node, int flags)
{
    AUTO_FD int ref = host_handle_open(h, node, O_PATH | O_NOFOLLOW);
    if (ref < 0)
        return ref;
    /* While it is held the handle leads nowhere else, and that is faster than through /proc. */
    int fd = host_proved(node) ? host_handle_open(h, node, flags) : -EPERM;
    return fd != -EPERM ? fd : open_ref(h, ref, flags);
}

int host_open_node(struct host *h, struct tree_node *node, int flags)
{
    if (!host_openable(node))
        return tree_node_is(node, S_IFLNK) ? -ELOOP : -ENXIO;
    /* Held by its handle only: that opens it just as well, once it is proved to be the one. What a
     * broker gives is kept. */
    if (!h->broker && tree_node_fd(node) < 0) {
        bool proved = host_proof_recall(h, node);
        if (!proved && !tree_node_is(node, S_IFDIR)) /* that will want a reference of its own */
            return open_unproved(h, node, flags);
        int fd = proved ? host_handle_open(h, node, flags) : -EPERM;
        if (fd != -EPERM)
            return fd;
    }
    int ref = host_fd(h, node);
    return ref < 0 ? ref : open_ref(h, ref, flags);
}

/* ---- the verb ---- */

/* Open with *flags, less O_NOATIME where we do not own the file, and with O_APPEND where it is
 * append-only and the guest @asked for that. Returns the descriptor or -errno; *flags are those
 * that it has. */
static int open_as(struct host *h, struct tree_node *node, int *flags, int asked)
{
    int fd = host_open_node(h, node, *flags);

    if (fd == -EPERM && (*flags & O_NOATIME)) {
        *flags &= ~O_NOATIME;
        fd = host_open_node(h, node, *flags);
    }
    if (fd == -EPERM && (asked & O_APPEND) && (*flags & O_ACCMODE) != O_RDONLY) {
        *flags |= O_APPEND;
        fd = host_open_node(h, node, *flags);
    }
    return fd;
}

/* Empty a file that could be opened with @flags. 0 or -errno. */
static int empty_file(struct host *h, struct tree_node *node, int flags)
{
    int fd = host_open_node(h, node, flags | O_TRUNC);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

void host_file_init(struct tree_file *f, struct tree_node *node, int fd, int flags, int asked)
{
    f->node = node;
    f->fd = fd;
    f->accmode = flags & O_ACCMODE;
    f->kind = flags & (O_NOATIME | O_APPEND);
    f->asked = asked & TREE_ASKED_FLAGS;
    f->is_dir = flags & O_DIRECTORY;
    atomic_store_explicit(&f->own, f->is_dir ? host_dir_new() : NULL, memory_order_relaxed);
}

static int open_ready(struct host *h, struct tree_node *node, int flags, int asked,
                      struct tree_file *out)
{
    /* A file that is refused in the end keeps its data: it is emptied when all else is done. */
    bool empty = (flags & O_TRUNC) && host_sides_asked(h, node, asked);
    if (empty)
        flags &= ~O_TRUNC;
    int fd = open_as(h, node, &flags, asked);
    if (fd < 0)
        return fd;
    host_file_init(out, node, fd, flags, asked);
    int rc = host_sides_ready(h, out);
    if (rc == 0 && empty)
        rc = empty_file(h, node, flags);
    if (rc < 0)
        host_close(&h->tree, out);
    return rc;
}

int host_open(struct tree *t, struct tree_node *node, int flags, int asked, unsigned how,
              struct tree_file *out)
{
    struct host *h = host_of(t);
    int ref;

    flags = host_open_flags(h, flags);
    if (G_UNLIKELY(h->tree.core.cap_name) && (flags & O_TRUNC) &&
        ((ref = host_fd(h, node)) < 0 || (ref = host_caps_drop(h, node, ref)) < 0))
        return ref;
    bool dropped = (how & FS_OPEN_KILL_SUIDGID) && (flags & O_TRUNC) && host_fsetid_drop();
    int rc = open_ready(h, node, flags, asked, out);
    if (dropped)
        host_fsetid_restore();
    return rc;
}

/* ---- close ---- */

void host_close(struct tree *t, struct tree_file *file)
{
    struct host *h = host_of(t);

    if (file->is_dir)
        host_dir_free(h, atomic_load_explicit(&file->own, memory_order_relaxed));
    else
        host_sides_close(h, file);
    close(file->fd);
}

int host_close_error(struct tree *t, struct tree_file *file)
{
    if (!(host_mount_kind(t, file->node) & FS_MAP_SLOW))
        return 0;
    int fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return 0; /* no descriptor to ask with: the last close will not tell either */
    return close(fd) == 0 ? 0 : -errno;
}

/* ---- locks ---- */

/* Descriptions for reading leave the file's writers alone: whoever watches it, or runs it, would
 * notice an open for writing. What is append-only can be opened for that. EBADF where fcntl(2) has
 * it. */
int host_lock_open(struct tree *t, struct tree_node *node, short type)
{
    struct host *h = host_of(t);

    if (type != F_WRLCK)
        return host_open_node(h, node, O_RDONLY);
    if (tree_node_is(node, S_IFDIR))
        return -EBADF;
    int fd = host_open_node(h, node, O_RDWR | O_APPEND);
    if (fd == -EACCES)
        fd = host_open_node(h, node, O_WRONLY | O_APPEND);
    return fd == -EACCES || fd == -EPERM || fd == -EROFS || fd == -ETXTBSY ? -EBADF : fd;
}
