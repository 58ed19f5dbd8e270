/* SPDX-License-Identifier: BSD-3-Clause
 * Messages with descriptors, over the connected socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vhost-user/vu-wire.h"

#define VU_MAX_PAYLOAD 4096 /* more is no message of this device */
#define VU_MAX_REPLY   sizeof(struct vu_wire_shmem)
#define VU_MAX_FDS     253 /* the kernel's limit per message */

/* A message on its way in. All zero is an empty one. */
struct vu_msg {
    struct vu_hdr hdr;
    uint8_t payload[VU_MAX_PAYLOAD] __attribute__((aligned(8)));
    size_t have; /* bytes received, header included */
    int fds[VU_MAX_FDS];
    unsigned nfds;
};

/* Receive what is there, without waiting. Returns 1 when @msg is whole, 0 when more must come,
 * -ENODATA when the other side closed, or -errno: -EPROTO (not a vhost-user message, or too large),
 * -EMFILE (descriptors were lost). */
int vu_msg_recv(int fd, struct vu_msg *msg);

/* Receive up to @len bytes of a message, without waiting (@flags: of recv(2), besides). Descriptors
 * that come along go to fds[*n...], up to @max in all, and are the caller's; with a @max of 0 none
 * are wanted, and they are closed. Returns the number of bytes, -EAGAIN, -ENODATA when the other
 * side closed, -EMFILE when descriptors were lost, or another -errno. */
ssize_t vu_msg_recv_part(int fd, void *buf, size_t len, int flags, int *fds, unsigned max,
                         unsigned *n);

/* Take descriptor @i out of the message: the caller owns it. */
int vu_msg_steal_fd(struct vu_msg *msg, unsigned i);

/* Close what descriptors are left and make the message empty again. */
void vu_msg_clear(struct vu_msg *msg);

/* Send a reply to @request, waiting a bounded time for room, and not while @stop_fd (-1: none) is
 * readable: then -ECANCELED. Returns 0 or -errno. */
int vu_msg_reply(int fd, int stop_fd, uint32_t request, const void *payload, size_t len);
