/* SPDX-License-Identifier: BSD-3-Clause
 * The broker's checks: which handles it signs, and which it opens.
 *
 * Whoever asks may be hostile. What he gets is a descriptor (O_PATH) of what he had one of before,
 * on the mount on which he had it, and of nothing else. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "virtiofsd/base/broker.h"

#define SB_HANDLES_KEY 32

struct sb_handles;

/* NULL without memory. */
struct sb_handles *sb_handles_new(const uint8_t key[SB_HANDLES_KEY]);
void sb_handles_free(struct sb_handles *h);

/* Answer the message @msg of @len bytes, which came with @nfds descriptors (-1 where one is taken
 * over; the caller closes the rest). More than BROKER_BATCH are not looked at. Returns the length
 * of *out; *fd is -1 or goes with it and belongs to the caller. Any message has an answer. Calls on
 * other threads do not wait for this one. */
size_t sb_handles_answer(struct sb_handles *h, const void *msg, size_t len, int *fds, unsigned nfds,
                         struct broker_reply *out, int *fd);
