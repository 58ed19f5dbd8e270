/* SPDX-License-Identifier: BSD-3-Clause
 * A virtqueue at work: its settings, its worker thread, its requests in flight.
 *
 * The control thread changes settings under the lock and raises `attention`; the worker looks at
 * that flag before each request and takes over what changed. Settings of a ring that runs, or has
 * requests in flight, other than the descriptors and the memory table, do not change.
 * vhost-user specification, "Ring states": a ring is started (it has a kick) and enabled. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/vu-fd.h"
#include "vhost-user/vu-log.h"
#include "vhost-user/vu-poll.h"
#include "vhost-user/vu-ring.h"
#include "virtiofsd/base/counters.h"

struct vu_dev;
struct vu_taken;

/* What epoll tells the worker. */
enum { VU_WAIT_WAKE, VU_WAIT_KICK };

struct vu_queue {
    struct vu_dev *dev;
    unsigned index;
    atomic_int wake_fd; /* eventfd: look at attention; another ring may stop the device meanwhile */
    int epoll_fd;
    void *(*run_thread)(void *);
    pthread_t thread;
    bool has_thread; /* control thread only */

    atomic_bool attention; /* the worker must look at what is below */
    atomic_bool logged;    /* there is a log, and the used ring belongs into it */

    pthread_mutex_t lock; /* a leaf: nothing else is locked while it is held */
    pthread_cond_t changed;
    /* Guarded by the lock; the settings are written by the control thread only. */
    unsigned num;
    bool have_addr;
    uint64_t desc, avail_addr, used_addr; /* the front-end's addresses */
    bool kick_set;                        /* a kick, or word that there will be none: started */
    bool enabled;
    struct vu_fd *kick, *call, *err; /* NULL = none */
    struct vu_mem *mem;              /* reference to the device's table */
    bool event_idx, indirect;
    struct vu_ring_parts at; /* valid while run is set */
    bool first_start;        /* next start is a first one: read the used index, reset signalling */
    bool run, quit;
    bool parked; /* the worker takes nothing and holds no memory */
    struct vu_used used;
    struct vu_mem *used_mem; /* reference to the table that used points into: a ring that lost its
                              * memory may have answers to come still */
    struct vu_log *log;      /* reference; NULL: nothing is logged */
    struct vu_fd *log_call;  /* NULL: nobody is told of it */
    bool log_used;           /* the used ring is logged, too; it is at this guest address: */
    uint64_t log_addr;
    uint64_t done_elsewhere; /* answers from other threads than the worker */
    struct vu_chain *free_shared;
    bool keeps;    /* vu_queue_keep() */
    GArray *again; /* uint16_t heads to be taken again, or NULL */

    /* The worker's; the control thread's while parked. */
    struct vu_avail avail;
    unsigned busy_num;         /* of avail.busy */
    struct counters *counters; /* the device's; of who answers: under the lock */
    uint64_t taken, done_here;
    struct vu_chain *free_own;
    struct vu_poll poll;  /* with VU_POLL_AUTO */
    bool kicked;          /* and there was no request in this ring's life before */
    bool polled;          /* there is no kick: look from time to time */
    bool kick_pipe;       /* the kick must be read */
    unsigned unsignalled; /* answers since the last decision to signal */
};

/* Costs no descriptors until the queue gets a kick. @thread: what its thread does, with @q. */
void vu_queue_init(struct vu_queue *q, struct vu_dev *dev, unsigned index, void *(*thread)(void *));
/* The worker must have been ended. */
void vu_queue_fini(struct vu_queue *q);

/* Start or stop taking requests, as the settings say. Never waits. Returns 0 or -errno when a ring
 * that should run cannot. */
int vu_queue_update(struct vu_queue *q);
void vu_queue_update_all(struct vu_dev *dev);
/* Wait until the worker is parked and nothing is in flight, calling ops->drain; at most @max_ms,
 * -1 = as long as it takes. The ring must not run. Returns whether it is drained. */
bool vu_queue_drain(struct vu_queue *q, int max_ms);
/* End the worker thread. The ring must be drained. */
void vu_queue_join(struct vu_queue *q);
/* Whether something is in flight. */
bool vu_queue_busy(struct vu_queue *q);

/* The ring is stopped for good: forget the kick and the call, begin afresh at the next start. It
 * must be drained. */
void vu_queue_stopped(struct vu_queue *q);

/* Take over a descriptor (or -1: none). Return 0, -EINVAL when it is of no such kind (what there
 * was before stays), or another -errno when a kick cannot be watched; the ring has no kick then. */
int vu_queue_set_kick(struct vu_queue *q, int fd);
int vu_queue_set_call(struct vu_queue *q, int fd);
int vu_queue_set_err(struct vu_queue *q, int fd);
/* Tell of an error, soon and from another thread. */
void vu_queue_signal_err(struct vu_queue *q);

/* Another table, perhaps while running. Returns 0 or -errno when the ring is not in it. */
int vu_queue_set_mem(struct vu_queue *q, struct vu_mem *mem);

/* What is written from now on is logged in @log (NULL: not), and @call (NULL: nobody) is told. */
void vu_queue_set_log(struct vu_queue *q, struct vu_log *log, struct vu_fd *call);
/* The used ring is logged (@on) as being at guest address @addr. */
void vu_queue_log_used(struct vu_queue *q, bool on, uint64_t addr);

/* From now on until it starts again, what waits may be given back unanswered (chain_again()): it is
 * kept, to be taken again then, by its head. */
void vu_queue_keep(struct vu_queue *q);
/* Append a struct vu_taken for each; the ring must be drained. */
void vu_queue_list_taken(struct vu_queue *q, GArray *taken);
/* Keep what another device had taken. 0, or -EINVAL: there is no such ring, or too much of it. */
int vu_queue_take_over(struct vu_dev *dev, const struct vu_taken *t);
void vu_queue_forget_taken(struct vu_queue *q);
/* Keep a request that the worker has taken; then *done, one of the counters, counts it. */
bool vu_queue_again(struct vu_queue *q, uint16_t head, uint64_t *done);

/* Make the worker look. Any thread. */
void vu_queue_wake(struct vu_queue *q);
