/* SPDX-License-Identifier: BSD-3-Clause
 * How much memory the peers of all sockets may make us hold: messages, and answers that they have
 * not read. Each connection has a share of its own, which nobody can take from it; what is larger
 * comes from a common part, for who holds least of it first, and then in the order of asking. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All of it: the shares, the common part, spare buffers (p9-spare.h) and values of attributes. */
#define P9_ROOM_BYTES  ((size_t)64 << 20)
#define P9_ROOM_OWN    ((size_t)256 << 10) /* of each connection: two messages of Linux' size */
#define P9_ROOM_VALUES ((size_t)256 << 10) /* of each connection, in values of attributes */

enum p9_claim_state { P9_CLAIM_NONE, P9_CLAIM_WAITS, P9_CLAIM_GRANTED };

/* What one connection holds. */
struct p9_claim {
    uint64_t id; /* the connection's, for p9_room_grant() */
    _Atomic int state;
    size_t held, want; /* bytes; room.lock */
    struct p9_claim *next;
};

struct p9_room {
    pthread_mutex_t lock; /* a leaf */
    size_t common;        /* bytes in use of the common part */
    struct p9_claim *first, **last;
    atomic_uint waiting;
    int wake_fd; /* eventfd: written to when there may be something to grant */
};

void p9_room_init(struct p9_room *r, int wake_fd);
void p9_room_fini(struct p9_room *r);

/* Take @n bytes; only one thread at a time for one claim. False: they are not there. The claim
 * waits then, and the same question is answered with true once when it was granted. */
bool p9_room_take(struct p9_room *r, struct p9_claim *c, size_t n);
void p9_room_give(struct p9_room *r, struct p9_claim *c, size_t n);
/* Wait no longer, if it does; what it holds it keeps. */
void p9_room_quit(struct p9_room *r, struct p9_claim *c);
/* Give all back and wait no longer. No other thread uses the claim. */
void p9_room_leave(struct p9_room *r, struct p9_claim *c);
/* Grant to the next that waits, if it can be. False: nobody waits, or there is still too little.
 */
bool p9_room_grant(struct p9_room *r, uint64_t *id);
/* Whether @c holds more than its share. */
bool p9_room_over(struct p9_room *r, const struct p9_claim *c);
