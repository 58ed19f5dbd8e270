/* SPDX-License-Identifier: BSD-3-Clause
 * The name of a descriptor, and what lies under one. */
/* #syscalls statx */
#include "virtiofsd/tree/host-priv.h"

const char *host_fd_name(char buf[FD_NAME_LEN], int fd)
{
    char *p = buf + FD_NAME_LEN;
    unsigned v = (unsigned)fd;

    *--p = '\0';
    do {
        *--p = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    return p;
}

int host_statx_at(int fd, const char *name, struct statx *stx)
{
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
    return statx(fd, name, flags, TREE_STATX_MASK, stx) == 0 ? 0 : -errno;
}
