/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptors by which a ring is kicked, called, and told of errors: eventfds, or pipes. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Counted, because one may be in use while the front-end sends another in its place. */
struct vu_fd {
    atomic_uint refs;
    int fd;
    bool eventfd;
};

/* Take over @fd; NULL for -1. */
struct vu_fd *vu_fd_new(int fd);
struct vu_fd *vu_fd_ref(struct vu_fd *f);
void vu_fd_unref(struct vu_fd *f); /* NULL is fine */
/* Whether others than the caller hold a reference. */
bool vu_fd_is_shared(const struct vu_fd *f);

/* Add one. Waits when an eventfd is blocking and its counter is full, which only its owner can
 * have done; see vu_fd_unblock(). */
void vu_fd_signal(struct vu_fd *f);
/* The same, but drops the signal rather than wait. */
void vu_fd_try_signal(struct vu_fd *f);
/* Empty an eventfd whose counter is full, so that a writer goes on. */
void vu_fd_unblock(struct vu_fd *f);
