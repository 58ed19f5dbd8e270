/* SPDX-License-Identifier: BSD-3-Clause
 * The other side of the broker, well-behaved or not. No cmocka: it runs inside the sandbox, too. */
#pragma once

#include <stdbool.h>

#include "virtiofsd/base/broker.h"

/* Send @len bytes of @msg with @n descriptors, and wait for the reply. Returns its length, or
 * -errno; *fd is what came with it, or -1. */
int peer_send(int channel, const void *msg, size_t len, const int *fds, unsigned n,
              struct broker_reply *out, int *fd);
/* A whole request; returns broker_reply.error, or -errno when there was no reply. */
int peer_call(int channel, uint32_t op, const struct broker_handle *h, const int *fds, unsigned n,
              struct broker_reply *out, int *fd);
/* Make the mount of @dir, which is readable, known, and sign what @fd refers to. 0 or errno. */
int peer_mount(int channel, int dir, uint64_t *mount);
int peer_sign(int channel, int fd, struct broker_handle *out);
/* Returns the descriptor or -errno (positive numbers of the protocol made negative). */
int peer_open(int channel, const struct broker_handle *h);
