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

#include "virtiofsd/9p/p9-spare.h"
#include "virtiofsd/9p/p9-srv.h"

struct p9_message;

struct p9_stream {
    struct p9_conn *conn;
    int fd;
    int epoll_fd;
    uint64_t id;          /* what epoll tells of us */
    unsigned max_running; /* threads at work for this peer at once */
    struct p9_spare *spare;
    /* Called last, when nobody refers to the stream any more; it is freed then. */
    void (*gone)(void *user);
    void *user;
    atomic_uint refs;
    atomic_bool spoke; /* a whole message has come */

    pthread_mutex_t lock; /* a leaf; held across writes, which never wait */
    /* Guarded by the lock. */
    bool busy;   /* somebody handles an event */
    bool dead;   /* closed: answers are thrown away */
    bool broken; /* an answer could not be written */
    uint32_t armed;
    unsigned running;                 /* messages in p9_conn_handle() */
    unsigned inflight;                /* messages read, answers not yet written in full */
    size_t bytes;                     /* of memory they hold */
    struct p9_message *first, **last; /* answers to be written */

    /* The busy thread's. */
    uint8_t head[4];
    size_t have; /* bytes of the message being read */
    struct p9_message *cur;
};

/* A stream over @fd (taken over), with a reference for the caller. @conn is taken over, @spare must
 * outlive it. */
struct p9_stream *p9_stream_new(struct p9_conn *conn, int fd, int epoll_fd, uint64_t id,
                                unsigned max_running, struct p9_spare *spare,
                                void (*gone)(void *user), void *user);
void p9_stream_unref(struct p9_stream *st);

/* Watch the socket. 0 or -errno. */
int p9_stream_start(struct p9_stream *st);

/* epoll reported @events: write, read, and work on the message that is complete with it. Returns
 * whether the stream goes on; else the caller closes it. The caller holds a reference. */
bool p9_stream_event(struct p9_stream *st, uint32_t events);

/* No more messages and answers; waits for locks end. The caller holds a reference. */
void p9_stream_close(struct p9_stream *st);
