/* SPDX-License-Identifier: BSD-3-Clause
 * The host tree's side of the broker (base/broker.h): a process that opens by handle in our place,
 * and only what it has signed. A handle with its code is kept as one block: struct file_handle, its
 * bytes, BROKER_CODE bytes more.
 *
 * Any thread may call; as many calls as there are channels run at once. A call ends after
 * 2 * BROKER_WAIT_S at the latest (-EIO), at once when the broker is gone (-EIO, logged once). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct host_broker;
struct file_handle;

/* Over channels that are taken over. NULL without memory: they are closed. */
struct host_broker *host_broker_new(const int *channel, unsigned n);
void host_broker_free(struct host_broker *b);
bool host_broker_gone(const struct host_broker *b);

/* Make the mount of @fd, which is not O_PATH, known. 0 and its number, never 0; or -errno:
 * -EOPNOTSUPP (its files are held by descriptors), -ENOSPC. Each call wants one
 * host_broker_unmount(). */
int host_broker_mount(struct host_broker *b, int fd, uint64_t *mount);
void host_broker_unmount(struct host_broker *b, uint64_t mount);
/* Handles of @n descriptors, BROKER_BATCH at most, that lie on mounts which are known: to be
 * freed, or NULL. mount[i]: on which. 0, -EOPNOTSUPP: one at least has no handles, or -errno. */
int host_broker_sign(struct host_broker *b, const int *fds, unsigned n, struct file_handle **out,
                     uint64_t *mount);
/* An O_PATH descriptor, or -errno (-ESTALE: the file is gone). */
int host_broker_open(struct host_broker *b, uint64_t mount, const struct file_handle *h);
