/* SPDX-License-Identifier: BSD-3-Clause
 * One 9P connection over a stream socket: messages in, answers out. Private to the socket server.
 *
 * No thread ever waits for a peer. Whoever gets the socket's readiness from epoll reads what is
 * there, re-arms the socket for the others, and works on the message it has read. Answers are
 * written by whoever has them, as far as the socket takes them; the rest goes when it is writable
 * again. What one peer can make us hold is bounded: beyond that its socket is not read. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtiofsd/9p/p9-room.h"
#include "virtiofsd/9p/p9-spare.h"
#include "virtiofsd/9p/p9-srv.h"

struct counters;
struct p9_message;

/* What all streams of a server have in common. */
struct p9_streams {
    int epoll_fd;
    unsigned max_running; /* threads at work for one peer at once */
    struct p9_spare spare;
    struct p9_room room;
    /* Called last, when nobody refers to a stream any more; it is freed then. */
    void (*gone)(void *user, struct counters *counters);
    void *user;
};

struct p9_stream {
    struct p9_streams *all;
    struct p9_conn *conn;
    int fd;
    uint64_t id; /* what epoll tells of us */
    atomic_uint refs;
    struct counters *counters; /* nobody else's; not owned. Written under the lock */
    struct p9_claim claim; /* on room: for messages, from their first bytes on, and their answers */

    pthread_mutex_t lock; /* before those of room and spare; held across writes, which never wait */
    /* Guarded by the lock. */
    bool busy;   /* somebody handles an event */
    bool dead;   /* closed: answers are thrown away */
    bool broken; /* an answer could not be written */
    uint32_t armed;
    unsigned running;                 /* messages in p9_conn_handle() */
    unsigned inflight;                /* messages read, answers not yet written in full */
    size_t bytes;                     /* of memory they hold */
    struct p9_message *first, **last; /* answers to be written */
    bool partial;                     /* a message has begun and not all of it has come */
    int64_t moved; /* us, monotonic: a message or an answer began or was got over with */

    /* The busy thread's. */
    uint8_t head[7];
    size_t have; /* bytes of the message being read */
    size_t room; /* of its answer; 0: not yet known */
    struct p9_message *cur;
};

/* A stream over @fd (taken over), with a reference for the caller. @conn is taken over, @all must
 * and @counters must outlive it. */
struct p9_stream *p9_stream_new(struct p9_streams *all, struct p9_conn *conn, int fd, uint64_t id,
                                struct counters *counters);
void p9_stream_unref(struct p9_stream *st);

/* Watch the socket. 0 or -errno. */
int p9_stream_start(struct p9_stream *st);

/* epoll reported @events: write, read, and work on the message that is complete with it. Returns
 * whether the stream goes on; else the caller closes it. The caller holds a reference. */
bool p9_stream_event(struct p9_stream *st, uint32_t events);

/* What it waited for was granted (p9_room_grant()). */
void p9_stream_resume(struct p9_stream *st);
/* Whether it holds more than its own share of memory because its peer has neither read an answer
 * nor finished a message since @then (us, monotonic). */
bool p9_stream_stuck(struct p9_stream *st, int64_t then);

/* No more messages and answers; waits for locks end. The caller holds a reference. */
void p9_stream_close(struct p9_stream *st);
