/* SPDX-License-Identifier: BSD-3-Clause
 * The worker's side of a queue: take, hand out, answer, sleep.
 *
 * While there is work, or the worker looks at an empty ring (vu-poll.h), the guest is asked not to
 * kick, and what is answered is signalled in one go: when the ring is empty, when the server says
 * that something slow comes (chain_flush), or after SIGNAL_BATCH answers. Answers from other
 * threads are signalled at once. */
/* #syscalls epoll_ctl epoll_wait sched_yield */
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vhost-user/vu-priv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/log.h"

#define SIGNAL_BATCH 64
#define NO_KICK_MS   1  /* between looks at a ring whose front-end sends no kicks */
#define POLL_SPINS   16 /* looks at the ring between looks at the clock, when polling */

/* The queue whose worker this thread is. */
static _Thread_local struct vu_queue *own_queue;

/* ---- signalling ---- */

/* Whom to signal, decided under the lock that the caller holds; the signal goes out after it. */
static struct vu_fd *decide_locked(struct vu_queue *q)
{
    if (!vu_used_should_signal(&q->used) || !q->call)
        return NULL;
    counter_add(&q->counters->signals, 1);
    return vu_fd_ref(q->call);
}

_Thread_local bool vu_may_not_wait;

/* Gives up the reference; NULL: nobody is to be told. */
static void send_signal(struct vu_fd *call)
{
    if (!call)
        return;
    if (vu_may_not_wait)
        vu_fd_signal_aside(call);
    else
        vu_fd_signal(call);
    vu_fd_unref(call);
}

static void signal_now(struct vu_queue *q)
{
    pthread_mutex_lock(&q->lock);
    struct vu_fd *call = decide_locked(q);
    pthread_mutex_unlock(&q->lock);
    send_signal(call);
}

static void signal_batch(struct vu_queue *q)
{
    if (q->unsignalled == 0)
        return;
    q->unsignalled = 0;
    signal_now(q);
}

/* ---- the dirty log ---- */

/* All that the answer may have been written to: a transfer that failed half-way has written more
 * than it says. The lock is held. */
static G_GNUC_NO_INLINE void log_data_locked(const struct vu_chain *ch)
{
    for (unsigned i = 0; i < ch->c.out_cnt; i++) {
        const struct iovec *v = &ch->iov[ch->c.in_cnt + i];
        vu_log_mark_host(ch->queue->log, ch->mem, v->iov_base, v->iov_len);
    }
}

/* A field of the used ring. The lock is held. */
static void log_field_locked(struct vu_queue *q, size_t off, size_t len)
{
    uint64_t at;

    if (!q->log || !q->log_used)
        return;
    if (__builtin_add_overflow(q->log_addr, off, &at))
        at = UINT64_MAX; /* which no map has */
    vu_log_mark(q->log, at, len);
}

/* The entry that was published last, and the index. The lock is held. */
static G_GNUC_NO_INLINE void log_used_locked(struct vu_queue *q)
{
    unsigned slot = (uint16_t)(q->used.idx - 1) & (q->used.num - 1);

    log_field_locked(q, offsetof(struct vring_used, ring[slot]), sizeof(struct vring_used_elem));
    log_field_locked(q, offsetof(struct vring_used, idx), sizeof(uint16_t));
}

/* The worker has written what says when to kick, and a full fence: either it sees that there is a
 * log, or who was told of that sees what it wrote. */
static G_GNUC_NO_INLINE void log_event(struct vu_queue *q)
{
    size_t event = offsetof(struct vring_used, ring[q->avail.num]);

    AUTO_LOCK(&q->lock);
    if (q->avail.event_idx)
        log_field_locked(q, event, sizeof(uint16_t));
    else
        log_field_locked(q, offsetof(struct vring_used, flags), sizeof(uint16_t));
}

static inline bool logs_ring(struct vu_queue *q)
{
    return atomic_load_explicit(&q->logged, memory_order_relaxed);
}

/* Answers that were logged are in the map. */
static G_GNUC_NO_INLINE void tell_of_log(struct vu_queue *q)
{
    pthread_mutex_lock(&q->lock);
    struct vu_fd *call = vu_fd_ref(q->log_call);
    pthread_mutex_unlock(&q->lock);
    send_signal(call);
}

/* ---- answering ---- */

/* On the path of every request, from two places. Returns whether it was logged. */
static inline __attribute__((always_inline)) bool push_locked(struct vu_chain *ch, size_t len)
{
    struct vu_queue *q = ch->queue;
    bool logged = q->log;
    counters_answer(q->counters, &ch->c, len); /* before the guest can ask for them */
    if (G_UNLIKELY(logged))
        log_data_locked(ch);
    vu_used_push(&q->used, q->avail.busy, ch->head,
                 (uint32_t)MIN(MIN(len, ch->c.out_len), UINT32_MAX));
    if (G_UNLIKELY(logged))
        log_used_locked(q);
    return logged;
}

/* The common case: the worker answers before it takes the next. */
static void complete_here(struct vu_queue *q, struct vu_chain *ch, size_t len)
{
    bool at_once = ch->c.at_once;
    pthread_mutex_lock(&q->lock);
    bool logged = push_locked(ch, len);
    pthread_mutex_unlock(&q->lock);
    if (G_UNLIKELY(logged))
        tell_of_log(q);
    vu_chain_clear(ch);
    ch->next = q->free_own;
    q->free_own = ch;
    q->done_here++;
    if (++q->unsignalled >= SIGNAL_BATCH || G_UNLIKELY(at_once))
        signal_batch(q);
}

/* From another thread. It counts as done only after the signal was sent, and nothing of the queue
 * is touched after that: the queue may be gone then. */
static void complete_elsewhere(struct vu_queue *q, struct vu_chain *ch, size_t len)
{
    pthread_mutex_lock(&q->lock);
    bool logged = push_locked(ch, len);
    struct vu_fd *call = decide_locked(q);
    pthread_mutex_unlock(&q->lock);
    if (G_UNLIKELY(logged))
        tell_of_log(q);
    send_signal(call);
    vu_chain_clear(ch);
    pthread_mutex_lock(&q->lock);
    ch->next = q->free_shared;
    q->free_shared = ch;
    q->done_elsewhere++;
    if (!q->run)
        pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
}

static void chain_op_complete(struct chain *c, size_t len)
{
    struct vu_chain *ch = (struct vu_chain *)c;
    if (own_queue == ch->queue)
        complete_here(ch->queue, ch, len);
    else
        complete_elsewhere(ch->queue, ch, len);
}

static void chain_op_flush(struct chain *c)
{
    struct vu_chain *ch = (struct vu_chain *)c;
    if (own_queue == ch->queue)
        signal_batch(ch->queue);
}

/* Counted as an answer is. What was written to it so far stays, and is logged. */
static bool chain_op_again(struct chain *c)
{
    struct vu_chain *ch = (struct vu_chain *)c;
    struct vu_queue *q = ch->queue;
    bool own = own_queue == q;

    pthread_mutex_lock(&q->lock);
    if (q->log && q->keeps)
        log_data_locked(ch);
    pthread_mutex_unlock(&q->lock);
    struct vu_mem *mem = ch->mem;
    ch->mem = NULL;
    if (!vu_queue_again(q, ch->head, own ? &q->done_here : &q->done_elsewhere)) {
        ch->mem = mem;
        return false;
    }
    vu_mem_unref(mem);
    vu_chain_free(ch);
    return true;
}

const struct chain_ops vu_chain_ops = {chain_op_complete, chain_op_flush, chain_op_again};

/* ---- taking ---- */

/* A free chain. There are never more than heads in the ring: one head, one chain. */
static struct vu_chain *chain_get(struct vu_queue *q)
{
    if (!q->free_own) {
        AUTO_LOCK(&q->lock);
        q->free_own = q->free_shared;
        q->free_shared = NULL;
    }
    struct vu_chain *ch = q->free_own;
    if (!ch)
        return vu_chain_new(q, &vu_chain_ops);
    q->free_own = ch->next;
    return ch;
}

static void chain_put_back(struct vu_queue *q, struct vu_chain *ch)
{
    ch->next = q->free_own;
    q->free_own = ch;
}

static inline void hand_out(struct vu_queue *q, struct vu_chain *ch)
{
    const struct vu_config *cfg = &q->dev->cfg;

    q->taken++;
    counters_take(q->counters, &ch->c);
    ch->c.queue = q->index;
    if (G_UNLIKELY(ch->c.unmapped) &&
        !cfg->shmem_size) /* else perhaps in the window, which is none */
        vu_unshared_tell(
            q->dev, "a request points to what the front-end has not sent, or to another device's");
    if (q->index >= cfg->hiprio && q->dev->pool) {
        if (cfg->ops->arrive)
            cfg->ops->arrive(cfg->user, &ch->c);
        vu_pool_push(q->dev->pool, ch);
    } else {
        cfg->ops->handle(cfg->user, &ch->c);
    }
}

/* The next head that is to be taken again. */
static bool next_again(struct vu_queue *q, uint16_t *head)
{
    AUTO_LOCK(&q->lock);
    if (!q->again || q->again->len == 0 || q->keeps)
        return false;
    *head = g_array_index(q->again, uint16_t, 0);
    g_array_remove_index(q->again, 0);
    return true;
}

/* Before anything new is taken. */
static void serve_again(struct vu_queue *q)
{
    const char *why;
    uint16_t head;

    while (next_again(q, &head)) {
        struct vu_chain *ch = chain_get(q);
        if (vu_avail_again(&q->avail, ch, head, &why) < 0) {
            chain_put_back(q, ch);
            vu_dev_break(q->dev, "ring %u, a request from before the move: %s", q->index, why);
            return;
        }
        hand_out(q, ch);
    }
}

/* Take and hand out one request. Returns false when there is none, or the ring is broken. */
static bool serve_one(struct vu_queue *q)
{
    const char *why;
    struct vu_chain *ch = chain_get(q);
    int rc = vu_avail_pop(&q->avail, ch, &why);

    if (rc <= 0) {
        chain_put_back(q, ch);
        if (rc < 0)
            vu_dev_break(q->dev, "ring %u: %s", q->index, why);
        return false;
    }
    hand_out(q, ch);
    return true;
}

/* ---- waiting ---- */

/* Look at the ring from @now on for @ns. Returns when it ended, and in *away how long the thread
 * did not run at most; there is a reason to go on, or the time is over. */
static uint64_t look(struct vu_queue *q, uint64_t now, uint64_t ns, uint64_t *away)
{
    uint64_t end = now + ns, then = now;
    *away = 0;
    do {
        for (unsigned i = 0; i < POLL_SPINS; i++) {
            if (vu_avail_pending(&q->avail) ||
                atomic_load_explicit(&q->attention, memory_order_relaxed))
                return counters_clock_ns();
        }
        sched_yield(); /* the guest may need this very processor */
        now = counters_clock_ns();
        *away = MAX(*away, now - then);
        then = now;
    } while (now < end);
    return now;
}

/* The ring is empty. Look at it for as long as is right. Returns whether there is a reason to go
 * on.
 */
static bool poll_ring(struct vu_queue *q)
{
    unsigned us = q->dev->cfg.poll_us;
    bool adapts = us == VU_POLL_AUTO;
    if (us == 0 || (adapts && vu_poll_alone(&q->poll)))
        return false;
    /* With a pool one of its threads has to answer. */
    uint64_t away, now = counters_clock_ns();
    uint64_t ns = adapts ? vu_poll_begin(&q->poll, now, q->dev->pool ? 1 : 0) : (uint64_t)us * 1000;
    if (ns == 0)
        return false;
    now = look(q, now, ns, &away);
    bool found = vu_avail_pending(&q->avail);
    if (adapts)
        vu_poll_end(&q->poll, now, found, away);
    if (found)
        counter_add(&q->counters->polled, 1);
    return found || atomic_load_explicit(&q->attention, memory_order_relaxed);
}

/* Empty a kick that is a pipe. One that has no writer any more, or fails, would never let us sleep
 * again. */
static void read_pipe(struct vu_queue *q)
{
    pthread_mutex_lock(&q->lock);
    struct vu_fd *kick = q->kick && !q->kick->eventfd ? vu_fd_ref(q->kick) : NULL;
    pthread_mutex_unlock(&q->lock);
    if (!kick)
        return;
    bool more = vu_fd_drain(kick);
    pthread_mutex_lock(&q->lock);
    if (!more && kick == q->kick)
        epoll_ctl(q->epoll_fd, EPOLL_CTL_DEL, kick->fd, NULL);
    pthread_mutex_unlock(&q->lock);
    vu_fd_unref(kick);
}

static void sleep_until_kick(struct vu_queue *q)
{
    struct epoll_event ev[2];
    int n = epoll_wait(q->epoll_fd, ev, 2, q->polled ? NO_KICK_MS : -1);
    for (int i = 0; i < n; i++) {
        if (ev[i].data.u32 != VU_WAIT_KICK)
            continue;
        counter_add(&q->counters->kicks, 1);
        q->kicked = q->avail.next == 0;
        if (q->kick_pipe)
            read_pipe(q);
    }
}

/* The ring is empty. */
static void idle(struct vu_queue *q)
{
    signal_batch(q);
    if (poll_ring(q))
        return;
    if (G_UNLIKELY(q->kicked)) {
        q->kicked = false;
        if (q->avail.next == 0)
            vu_unshared_look(q);
    }
    /* What raises attention writes wake_fd after it, so this never sleeps over it. */
    bool pending = vu_avail_kick_on(&q->avail);
    if (G_UNLIKELY(logs_ring(q)))
        log_event(q);
    if (!pending)
        sleep_until_kick(q);
    if (q->dev->cfg.poll_us == VU_POLL_AUTO && q->poll.cpus > 1 && vu_avail_pending(&q->avail))
        vu_poll_slept(&q->poll, counters_clock_ns());
    if (vu_avail_kick_off(&q->avail) && G_UNLIKELY(logs_ring(q)))
        log_event(q);
}

/* ---- the thread ---- */

/* Take over settings. Returns false when the worker must park. */
static bool attend(struct vu_queue *q)
{
    struct vu_mem *old = NULL;
    bool run;
    pthread_mutex_lock(&q->lock);
    atomic_store(&q->attention, false);
    run = q->run && !atomic_load(&q->dev->broken);
    if (run) {
        struct vu_avail *a = &q->avail;
        old = a->mem;
        a->mem = vu_mem_ref(q->mem);
        a->hint = 0;
        a->at = q->at;
        a->num = q->num;
        a->event_idx = q->event_idx;
        a->indirect = q->indirect;
        q->polled = !q->kick;
        q->kick_pipe = q->kick && !q->kick->eventfd;
    }
    pthread_mutex_unlock(&q->lock);
    vu_mem_unref(old);
    return run;
}

static void serve(struct vu_queue *q)
{
    for (;;) {
        if (G_UNLIKELY(atomic_load_explicit(&q->attention, memory_order_relaxed))) {
            if (!attend(q))
                break;
            serve_again(q);
        }
        if (!serve_one(q))
            idle(q);
    }
    signal_batch(q);
}

/* Say that nothing is taken any more, and wait for a reason to. Returns false to end. */
static bool park(struct vu_queue *q)
{
    struct vu_mem *old = q->avail.mem;
    q->avail.mem = NULL;
    vu_mem_unref(old);
    AUTO_LOCK(&q->lock);
    q->parked = true;
    pthread_cond_broadcast(&q->changed);
    while (!q->quit && (!q->run || atomic_load(&q->dev->broken)))
        pthread_cond_wait(&q->changed, &q->lock);
    if (q->quit)
        return false;
    q->parked = false;
    atomic_store(&q->attention, true); /* begin with the settings of now */
    return true;
}

void *vu_queue_thread(void *arg)
{
    struct vu_queue *q = arg;
    const struct vu_config *cfg = &q->dev->cfg;
    own_queue = q;
    if (cfg->ops->thread_start)
        cfg->ops->thread_start(cfg->user);
    while (park(q))
        serve(q);
    return NULL;
}
