/* SPDX-License-Identifier: BSD-3-Clause
 * What a descriptor is that a peer passed, found out by calls that cannot wait for the peer.
 *
 * A peer may pass anything: what a read, a write, fstat(2) or even close(2) of it does is then the
 * peer's choice (a file of a FUSE file system that the peer serves answers none of them). */
#pragma once

#include <stdint.h>
#include <sys/types.h>

enum fd_kind {
    FD_OTHER,   /* none of the following: no call on it is sure to end, close(2) included */
    FD_EVENTFD, /* its open file description is the peer's as well, with its flags */
    FD_PIPE,    /* a pipe's end or a FIFO; likewise */
    FD_UNIX,    /* a connected unix stream socket */
    FD_MEMORY,  /* a file of tmpfs or hugetlbfs, a memfd */
    FD_FILE,    /* another regular file, of a file system that no process serves */
};

/* Where the names of our descriptors are: an O_PATH descriptor of /proc/self/fd, which must stay
 * open. Once, before threads; without it the path is used. */
void fd_kind_proc(int proc_self_fd);

enum fd_kind fd_kind(int fd);

/* Which file it is, and how large, as far as that is known without asking a server. Returns 0 or
 * -errno. */
int fd_file_id(int fd, dev_t *dev, ino_t *ino, uint64_t *size);
