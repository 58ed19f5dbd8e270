/* SPDX-License-Identifier: BSD-3-Clause
 * The device's side of the back-end channel: when there is one, and when it may be used.
 *
 * A front-end that is starting or stopping the device may not be asked anything (QEMU 11.1 dies of
 * it), so the channel is shut until a ring starts and again before the first ring stops; a call
 * that waits then ends. None of these functions waits for a call: the lock is short, and the round
 * trip is made without it. */
#pragma once

#include <glib.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "vhost-user/vu-backend.h"
#include "vhost-user/vu-wire.h"

/* One socket. Counted, because a call may use it while the front-end sends another in its place. */
struct vu_channel {
    atomic_uint refs;
    int fd;
    bool dead; /* under the lock of struct vu_backend */
    /* The rest belongs to the call that holds call_lock. */
    uint32_t pending;       /* request whose caller did not wait for the reply; 0 = none */
    struct vu_ask_reply in; /* the reply on its way, perhaps in pieces */
    size_t have;            /* bytes of it */
};

struct vu_backend {
    pthread_mutex_t call_lock; /* held across a round trip; taken before the lock; the control
                                * thread only tries */
    int cancel_fd;             /* eventfd: look at `stops` */

    pthread_mutex_t lock;    /* a leaf; guards what follows */
    struct vu_channel *chan; /* reference, NULL = none */
    unsigned stops;          /* how often calls were cancelled */
    unsigned restarts;       /* how often the driver started again */
    bool running;            /* a ring was started and none was stopped since */
    bool usable, fds, shmem; /* as negotiated; shmem: the front-end has a window */
    GHashTable *sent[2];     /* files sent: the newer half, the older half */
};

void vu_backend_init(struct vu_backend *b);
void vu_backend_fini(struct vu_backend *b);

/* Take over @fd as the channel in place of an earlier one; a call that waits on that ends with
 * -ECANCELED. Returns 0, -EINVAL when it is not a connected unix stream socket or is the other side
 * of the connection @conn (-1: none), or -EMFILE; it is closed then. */
int vu_backend_set(struct vu_backend *b, int fd, int conn);

/* What to wait for on the channel: that its other side is closed, or says something although it is
 * never asked (@asks: it may be). fd is -1 when there is none. Control thread. */
struct pollfd vu_backend_watch(struct vu_backend *b, bool asks);
/* Drop a channel that ended, or on which something unasked came: what lies in it may keep the
 * front-end's own end of the connection open. Never waits. Control thread. */
void vu_backend_check(struct vu_backend *b);

/* What the front-end took: @usable: BACKEND_REQ and REPLY_ACK; @fds: BACKEND_SEND_FD; @shmem:
 * shared memory without having to ask for its size. */
void vu_backend_negotiated(struct vu_backend *b, bool usable, bool fds, bool shmem);
/* The front-end asked for the shared memory regions. */
void vu_backend_asked_shmem(struct vu_backend *b);

/* A ring runs: calls are allowed. */
void vu_backend_resume(struct vu_backend *b);
/* A ring is going to stop: no more calls, and the one that waits ends with -ECANCELED. */
void vu_backend_pause(struct vu_backend *b);
/* A ring that had been used is set to its beginning. */
void vu_backend_note_restart(struct vu_backend *b);
/* The front-end is gone: back to the beginning. */
void vu_backend_close(struct vu_backend *b);

/* Whether @fd is a file that was sent on this channel: the front-end maps it into the window, and
 * tells of it as if it were memory of the guest's. The last few thousand files are known. */
bool vu_backend_sent(struct vu_backend *b, int fd);
