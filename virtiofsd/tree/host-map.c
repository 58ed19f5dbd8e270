/* SPDX-License-Identifier: BSD-3-Clause
 * Files of the host that are mapped into guest memory (the DAX window): which, and how they are
 * opened.
 *
 * A mapping needs a descriptor of the file itself, and with most front-ends one that may write. So
 * it is found out once for each inode whether it can be opened so, without doing it: an open and a
 * close for writing would wake up whoever watches the file on the host. Programs are the exception:
 * only an open tells that one is being run (ETXTBSY). */
/* #syscalls close faccessat fchmodat fstat */
#include "virtiofsd/tree/host-priv.h"

bool host_may_map_write(struct tree *t, struct tree_node *node, mode_t mode, bool immutable)
{
    struct host *h = host_of(t);
    char num[FD_NAME_LEN];
    int fd;

    if (immutable || (fd = host_fd(h, node)) < 0)
        return false;
    if (mode & 0111) {
        AUTO_FD int real = host_open_node(h, node, O_RDWR | O_NONBLOCK);
        return real >= 0;
    }
    return faccessat(h->proc_self_fd, host_fd_name(num, fd), W_OK, AT_EACCESS) == 0;
}

int host_map_open(struct tree *t, struct tree_node *node, bool write)
{
    return host_open_node(host_of(t), node, write ? O_RDWR : O_RDONLY);
}

/* No system call of ours stores, so none clears the set-id bits: as write(2) does it. */
static int clear_set_id(struct host *h, int fd)
{
    char num[FD_NAME_LEN];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    mode_t gone = (st.st_mode & S_ISUID) | (st.st_mode & S_IXGRP ? st.st_mode & S_ISGID : 0);
    if (G_LIKELY(gone == 0))
        return 0;
    return fchmodat(h->proc_self_fd, host_fd_name(num, fd), st.st_mode & 07777 & ~gone, 0) == 0
               ? 0
               : -errno;
}

int host_map_store(struct tree *t, struct tree_node *node, unsigned how)
{
    struct host *h = host_of(t);

    if (G_LIKELY(!h->tree.core.cap_name && !(how & FS_WRITE_KILL_SUIDGID)))
        return 0;
    int fd = host_fd(h, node);
    int rc = fd < 0 ? fd : host_caps_drop(h, node, fd);
    return rc == 0 && (how & FS_WRITE_KILL_SUIDGID) ? clear_set_id(h, fd) : rc;
}
