/* SPDX-License-Identifier: BSD-3-Clause
 * The back-end channel: the socket on which we may ask the front-end. vhost-user specification,
 * "Back-end message types". Replies carry no tag, so there is one request at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vu_backend;

/* Send @request with @payload (@len bytes) and, when @fd >= 0, that descriptor (stays the
 * caller's), ask for a reply and wait for it at most @deadline_ms. Returns 0 with the reply's value
 * in *value; -ENOTCONN: no channel, or the device is not running; -ECANCELED: the device is being
 * stopped; -ETIMEDOUT, -EPROTO, -EPIPE: the channel is of no use any more on this connection (one
 * log line). A reply that comes too late after -ECANCELED is skipped by the next call. Any thread;
 * never call it with a lock held that the control thread takes. */
int vu_backend_call(struct vu_backend *b, uint32_t request, const void *payload, size_t len, int fd,
                    unsigned deadline_ms, uint64_t *value);

/* Whether the front-end asked for the shared memory regions: only then it has a window. */
bool vu_backend_has_shmem(struct vu_backend *b);

/* How often the guest's driver was seen to start again, without a word of a reset: a ring that had
 * been used was started from its beginning. (One that was only paused goes on where it stopped.)
 * The front-end has dropped its mappings then. */
unsigned vu_backend_restarts(struct vu_backend *b);
