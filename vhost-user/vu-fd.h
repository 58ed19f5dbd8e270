/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptors by which a ring is kicked, called, and told of errors: eventfds, or pipes. All flags
 * of theirs are the front-end's as well: any call may wait as long as it likes. */
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

enum vu_fd_use { VU_FD_READ, VU_FD_WRITE };

/* Whether @fd is the other side of the connection @conn: held here, it would stay open when the
 * front-end is gone. Its peer has the connection's name then; our side always has one, the
 * listening socket's or what vu_sock_adopt() gave it. */
bool vu_fd_is_other_side(int fd, int conn);

/* Take over @fd; *out is NULL for -1. Returns 0, or -EINVAL when it is neither an eventfd nor an
 * end of a pipe that has this use, nor, to be written, another stream socket than the front-end's
 * of @conn; it is closed then. The control thread. */
int vu_fd_new(int fd, enum vu_fd_use use, int conn, struct vu_fd **out);
struct vu_fd *vu_fd_ref(struct vu_fd *f);
void vu_fd_unref(struct vu_fd *f); /* NULL is fine */

/* Add one. May wait, when a pipe or a counter is full, until aside_break(). */
void vu_fd_signal(struct vu_fd *f);
/* The same, soon and from another thread. NULL is fine. */
void vu_fd_signal_aside(struct vu_fd *f);
/* Empty a pipe that was found readable. May wait until aside_break(). Returns whether more may
 * come: not when it has no writer any more. */
bool vu_fd_drain(struct vu_fd *f);
