/* SPDX-License-Identifier: BSD-3-Clause
 * The control thread's side of a queue: settings, starting, stopping. */
/* #syscalls clone close epoll_create1 epoll_ctl eventfd2
 * #syscalls:lock write */
#include "vhost-user/vu-queue.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vhost-user/vu-priv.h"
#include "virtiofsd/base/aside.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/log.h"

#define DRAIN_FIRST_MS 5 /* most workers park at once: time before waiting requests are ended */
#define DRAIN_STEP_MS  50

void vu_queue_wake(struct vu_queue *q)
{
    uint64_t one = 1;
    atomic_store(&q->attention, true);
    int fd = atomic_load(&q->wake_fd);
    if (fd >= 0)
        (void)!write(fd, &one, sizeof(one));
}

/* ---- descriptors ---- */

/* Eventfds are watched edge-triggered: each write is an edge, so none needs a read. */
static int watch(int epoll_fd, int fd, bool edge, uint32_t tag)
{
    struct epoll_event ev = {.events = EPOLLIN | (edge ? EPOLLET : 0), .data.u32 = tag};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

/* What the worker sleeps on. Made when the queue is first used: of the many rings that could be set
 * up, most never are. */
static int open_wait(struct vu_queue *q)
{
    if (q->epoll_fd >= 0)
        return 0;
    AUTO_FD int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    AUTO_FD int wait = epoll_create1(EPOLL_CLOEXEC);
    if (wake < 0 || wait < 0)
        return -errno;
    int rc = watch(wait, wake, true, VU_WAIT_WAKE);
    if (rc == 0) {
        atomic_store(&q->wake_fd, steal_fd(&wake));
        q->epoll_fd = steal_fd(&wait);
    }
    return rc;
}

int vu_queue_set_kick(struct vu_queue *q, int fd)
{
    struct vu_fd *kick, *old;
    int rc = vu_fd_new(fd, VU_FD_READ, q->dev->conn_fd, &kick);
    if (rc == 0)
        rc = open_wait(q);
    if (rc < 0) {
        vu_fd_unref(kick);
        return rc;
    }
    pthread_mutex_lock(&q->lock);
    old = q->kick;
    if (old)
        epoll_ctl(q->epoll_fd, EPOLL_CTL_DEL, old->fd, NULL);
    if (kick)
        rc = watch(q->epoll_fd, kick->fd, kick->eventfd, VU_WAIT_KICK);
    q->kick = rc == 0 ? kick : NULL;
    q->kick_set = rc == 0;
    pthread_mutex_unlock(&q->lock);
    if (rc < 0)
        vu_fd_unref(kick);
    vu_fd_unref(old);
    vu_queue_wake(q);
    return rc;
}

void vu_queue_stopped(struct vu_queue *q)
{
    pthread_mutex_lock(&q->lock);
    struct vu_fd *kick = q->kick, *call = q->call;
    struct vu_mem *mem = q->used_mem;
    if (kick)
        epoll_ctl(q->epoll_fd, EPOLL_CTL_DEL, kick->fd, NULL);
    q->kick = q->call = NULL;
    q->used_mem = NULL;
    q->kick_set = false;
    q->first_start = true;
    pthread_mutex_unlock(&q->lock);
    vu_mem_unref(mem);
    vu_fd_unref(kick);
    vu_fd_unref(call);
}

int vu_queue_set_call(struct vu_queue *q, int fd)
{
    struct vu_fd *call, *old;
    int rc = vu_fd_new(fd, VU_FD_WRITE, q->dev->conn_fd, &call);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&q->lock);
    old = q->call;
    q->call = call;
    pthread_mutex_unlock(&q->lock);
    vu_fd_unref(old);
    if (q->run) /* what the old one was told may have been lost */
        vu_fd_signal_aside(call);
    return 0;
}

int vu_queue_set_err(struct vu_queue *q, int fd)
{
    struct vu_fd *err;
    int rc = vu_fd_new(fd, VU_FD_WRITE, q->dev->conn_fd, &err);
    if (rc < 0)
        return rc;
    vu_fd_unref(q->err);
    q->err = err;
    return 0;
}

void vu_queue_signal_err(struct vu_queue *q)
{
    vu_fd_signal_aside(q->err);
}

/* ---- the dirty log ---- */

/* The lock is held. */
static void note_logged(struct vu_queue *q)
{
    atomic_store(&q->logged, q->log && q->log_used);
}

/* All that was written before, by whomever, was written under the lock or before it was taken, or
 * is looked at after a full fence (vu-queue-work.c): so who hears our answer sees it, or its bit.
 */
void vu_queue_set_log(struct vu_queue *q, struct vu_log *log, struct vu_fd *call)
{
    pthread_mutex_lock(&q->lock);
    struct vu_log *old = q->log;
    struct vu_fd *old_call = q->log_call;
    q->log = vu_log_ref(log);
    q->log_call = vu_fd_ref(call);
    note_logged(q);
    pthread_mutex_unlock(&q->lock);
    atomic_thread_fence(memory_order_seq_cst);
    vu_log_unref(old);
    vu_fd_unref(old_call);
}

void vu_queue_log_used(struct vu_queue *q, bool on, uint64_t addr)
{
    pthread_mutex_lock(&q->lock);
    q->log_used = on;
    q->log_addr = addr;
    note_logged(q);
    pthread_mutex_unlock(&q->lock);
    atomic_thread_fence(memory_order_seq_cst);
}

/* ---- requests that are taken again ---- */

void vu_queue_keep(struct vu_queue *q)
{
    AUTO_LOCK(&q->lock);
    q->keeps = true;
}

void vu_queue_list_taken(struct vu_queue *q, GArray *taken)
{
    AUTO_LOCK(&q->lock);
    for (unsigned i = 0; q->again && i < q->again->len; i++) {
        struct vu_taken t = {q->index, g_array_index(q->again, uint16_t, i)};
        g_array_append_val(taken, t);
    }
}

/* The lock is held. */
static void keep_locked(struct vu_queue *q, uint16_t head)
{
    if (!q->again)
        q->again = g_array_new(FALSE, FALSE, sizeof(head));
    g_array_append_val(q->again, head);
}

int vu_queue_take_over(struct vu_dev *dev, const struct vu_taken *t)
{
    if (t->ring >= dev->cfg.num_queues || t->head >= dev->cfg.max_queue_size)
        return -EINVAL;
    struct vu_queue *q = &dev->queues[t->ring];
    AUTO_LOCK(&q->lock);
    if (q->again && q->again->len >= dev->cfg.max_queue_size)
        return -EINVAL;
    keep_locked(q, (uint16_t)t->head);
    return 0;
}

void vu_queue_forget_taken(struct vu_queue *q)
{
    AUTO_LOCK(&q->lock);
    if (q->again)
        g_array_set_size(q->again, 0);
}

bool vu_queue_again(struct vu_queue *q, uint16_t head, uint64_t *done)
{
    AUTO_LOCK(&q->lock);
    if (!q->keeps)
        return false;
    keep_locked(q, head);
    __atomic_store_n(&q->avail.busy[head], 0, __ATOMIC_RELAXED);
    ++*done;
    counter_add(&q->counters->again, 1);
    pthread_cond_broadcast(&q->changed);
    return true;
}

/* What was kept is of this ring only if it is just what the ring says to be under way: a driver
 * that was reset has another. The lock is held. */
static void check_kept(struct vu_queue *q)
{
    if (q->again && q->again->len != (uint16_t)(q->avail.next - q->used.idx))
        g_array_set_size(q->again, 0);
}

/* ---- starting and stopping ---- */

static int locate(struct vu_queue *q, struct vu_mem *mem, struct vu_ring_parts *at)
{
    return vu_ring_locate(mem, q->num, q->desc, q->avail_addr, q->used_addr, at);
}

/* Whether it can run, if there is memory. */
static bool ready(const struct vu_queue *q)
{
    return q->num && q->have_addr && q->kick_set && q->enabled && !q->dev->state.begun &&
           !atomic_load(&q->dev->broken);
}

/* The used half's view of the settings. Returns the memory that it leaves, to be dropped without
 * the lock. */
static struct vu_mem *aim_used(struct vu_queue *q)
{
    struct vu_mem *old = q->used_mem;
    q->used_mem = vu_mem_ref(q->mem);
    q->used.ring = q->at.used;
    q->used.avail = q->at.avail;
    q->used.num = q->num;
    q->used.event_idx = q->event_idx;
    return old;
}

/* First start since the ring was stopped for good. Nothing is in flight; the lock is held. */
static void start_first(struct vu_queue *q)
{
    if (q->busy_num != q->num) {
        g_free(q->avail.busy);
        q->avail.busy = g_new0(uint8_t, q->num);
        q->busy_num = q->num;
    }
    q->avail.shadow_idx = q->avail.next;
    q->used.idx = __atomic_load_n(&q->at.used->idx, __ATOMIC_RELAXED);
    check_kept(q);
    q->used.signalled_valid = false; /* whoever comes back may miss a signal: send one */
    q->first_start = false;
}

/* The counters of a queue, from its first start to the end of the device. */
static struct counters *counters_of(const struct vu_queue *q)
{
    struct counters *_Atomic *at = &q->dev->counters[q->index];
    struct counters *c = atomic_load(at);

    if (!c) {
        c = counters_new(COUNTER_EVERY);
        atomic_store(at, c);
    }
    return c;
}

static int start_thread(struct vu_queue *q)
{
    if (q->has_thread)
        return 0;
    q->counters = counters_of(q);
    q->avail.full = &q->counters->full;
    int rc = pthread_create(&q->thread, NULL, q->run_thread, q);
    q->has_thread = rc == 0;
    return -rc;
}

static int start(struct vu_queue *q)
{
    struct vu_mem *old = NULL;
    int rc = start_thread(q);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&q->lock);
    rc = locate(q, q->mem, &q->at);
    if (rc == 0) {
        old = aim_used(q);
        if (q->first_start)
            start_first(q);
        q->keeps = false;
        vu_backend_resume(&q->dev->backend); /* before the first request */
        q->run = true;
        atomic_store(&q->attention, true);
        pthread_cond_broadcast(&q->changed);
    }
    pthread_mutex_unlock(&q->lock);
    vu_mem_unref(old);
    return rc;
}

int vu_queue_update(struct vu_queue *q)
{
    bool is_ready = ready(q), want = is_ready && q->mem;
    if (is_ready && !q->mem)
        vu_unshared_tell(q->dev, "the front-end has sent none of it");
    if (want == q->run)
        return 0;
    if (want)
        return start(q);
    pthread_mutex_lock(&q->lock);
    q->run = false;
    pthread_mutex_unlock(&q->lock);
    vu_queue_wake(q);
    return 0;
}

static bool drained(const struct vu_queue *q)
{
    return q->parked && q->taken == q->done_here + q->done_elsewhere;
}

int vu_queue_set_mem(struct vu_queue *q, struct vu_mem *mem)
{
    struct vu_mem *old, *old_used = NULL;
    int rc = 0;
    pthread_mutex_lock(&q->lock);
    old = q->mem;
    q->mem = vu_mem_ref(mem);
    if (q->run) {
        rc = locate(q, mem, &q->at);
        if (rc == 0)
            old_used = aim_used(q);
        else
            q->run = false;
    } else if (drained(q)) {
        old_used = q->used_mem;
        q->used_mem = NULL;
    }
    pthread_mutex_unlock(&q->lock);
    vu_mem_unref(old);
    vu_mem_unref(old_used);
    vu_queue_wake(q); /* a sleeping worker must let go of the old table */
    return rc;
}

bool vu_queue_busy(struct vu_queue *q)
{
    AUTO_LOCK(&q->lock);
    return !drained(q);
}

/* Wait one step for the lock's condition. */
static bool drain_step(struct vu_queue *q, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    AUTO_LOCK(&q->lock);
    while (!drained(q)) {
        if (pthread_cond_timedwait(&q->changed, &q->lock, &until) == ETIMEDOUT)
            break;
    }
    return drained(q);
}

bool vu_queue_drain(struct vu_queue *q, int max_ms)
{
    const struct vu_config *cfg = &q->dev->cfg;
    bool done = drain_step(q, DRAIN_FIRST_MS), drained_by_us = !done && cfg->ops->drain;
    for (int waited = 0; !done && (max_ms < 0 || waited < max_ms); waited += DRAIN_STEP_MS) {
        aside_break(); /* who signals a front-end that does not listen */
        if (cfg->ops->drain)
            cfg->ops->drain(cfg->user);
        done = drain_step(q, DRAIN_STEP_MS);
    }
    if (drained_by_us) /* what it answered is signalled before we say so */
        aside_wait(DRAIN_STEP_MS);
    return done;
}

void vu_queue_join(struct vu_queue *q)
{
    if (!q->has_thread)
        return;
    pthread_mutex_lock(&q->lock);
    q->quit = true;
    pthread_cond_broadcast(&q->changed);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->thread, NULL);
    q->has_thread = false;
    q->quit = false;
}

/* ---- life ---- */

void vu_queue_init(struct vu_queue *q, struct vu_dev *dev, unsigned index, void *(*thread)(void *))
{
    pthread_condattr_t attr;
    memset(q, 0, sizeof(*q));
    q->dev = dev;
    q->index = index;
    q->run_thread = thread;
    q->first_start = q->parked = true;
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->changed, &attr);
    pthread_condattr_destroy(&attr);
    q->wake_fd = q->epoll_fd = -1;
}

static void free_list(struct vu_chain *ch)
{
    while (ch) {
        struct vu_chain *next = ch->next;
        vu_chain_free(ch);
        ch = next;
    }
}

void vu_queue_fini(struct vu_queue *q)
{
    free_list(q->free_own);
    free_list(q->free_shared);
    vu_fd_unref(q->kick);
    vu_fd_unref(q->call);
    vu_fd_unref(q->err);
    vu_fd_unref(q->log_call);
    vu_log_unref(q->log);
    vu_mem_unref(q->mem);
    vu_mem_unref(q->used_mem);
    if (q->again)
        g_array_unref(q->again);
    g_free(q->avail.busy);
    g_free(q->avail.table);
    if (q->wake_fd >= 0)
        close(q->wake_fd);
    if (q->epoll_fd >= 0)
        close(q->epoll_fd);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
}

void vu_queue_update_all(struct vu_dev *dev)
{
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        vu_queue_update(&dev->queues[i]);
}
