/* SPDX-License-Identifier: BSD-3-Clause
 * The vhost-user socket: listening, taking over a descriptor, messages with descriptors. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost-user/vu-msg.h"

/* Listen on a unix socket at @path, mode 0600 or 0660 with @group (a name or number; may be NULL).
 * A stale socket file is removed only after a connect to it was refused; one that answers is an
 * error. Returns the listening descriptor (close-on-exec), or -1 with @err set to one line that
 * says what to do. */
int vu_sock_listen(const char *path, const char *group, GError **err);

/* Look at a descriptor given by --fd. *@listening tells whether it is a listening socket or an
 * already connected one (SO_ACCEPTCONN). Returns 0, or -1 with @err when it is not a unix stream
 * socket. Sets close-on-exec. */
int vu_sock_adopt(int fd, bool *listening, GError **err);

#define VU_MAX_PAYLOAD 4096 /* more is no message of this device */
#define VU_MAX_FDS     253  /* the kernel's limit per message */

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

/* Take descriptor @i out of the message: the caller owns it. */
int vu_msg_steal_fd(struct vu_msg *msg, unsigned i);

/* Close what descriptors are left and make the message empty again. */
void vu_msg_clear(struct vu_msg *msg);

/* Send a reply to @request, waiting a bounded time for room. Returns 0 or -errno. */
int vu_msg_reply(int fd, uint32_t request, const void *payload, size_t len);
