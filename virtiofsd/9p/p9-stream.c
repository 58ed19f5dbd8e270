/* SPDX-License-Identifier: BSD-3-Clause
 * Framing: size[4] type[1] tag[2] ..., little endian (diod's protocol document, "Messages"). */
/* #syscalls close epoll_ctl recvfrom sendto */
#include "virtiofsd/9p/p9-stream.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/counters.h"
#include "virtiofsd/base/log.h"

#define HEADER        7u /* size, type, tag */
#define MAX_INFLIGHT  64u
#define MAX_BYTES     (8u << 20) /* but one message is always taken */
#define SMALL_ANSWER  8192u
#define SMALL_MESSAGE (16u << 10) /* larger ones bring data */

/* A message in, its answer out. */
struct p9_message {
    struct chain chain;
    struct iovec in, out;
    struct p9_stream *st; /* with a reference */
    struct p9_message *next;
    size_t len, sent; /* of the answer */
    size_t room;      /* for the answer */
    size_t cost;      /* bytes of memory that were claimed for both */
    uint8_t data[];   /* the message */
};

static struct p9_buf message_buf(struct p9_message *m)
{
    return (struct p9_buf){m, p9_spare_size(sizeof(*m) + m->in.iov_len)};
}

static uint32_t get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static struct p9_stream *stream_ref(struct p9_stream *st)
{
    atomic_fetch_add(&st->refs, 1);
    return st;
}

void p9_stream_unref(struct p9_stream *st)
{
    if (atomic_fetch_sub(&st->refs, 1) > 1)
        return;
    struct p9_streams *all = st->all;
    close(st->fd);
    p9_conn_free(st->conn);
    if (st->cur)
        p9_spare_put(&all->spare, message_buf(st->cur));
    p9_room_leave(&all->room, &st->claim);
    pthread_mutex_destroy(&st->lock);
    struct counters *counters = st->counters;
    g_free(st);
    all->gone(all->user, counters);
}

/* ---- what to wait for ---- */

static bool may_read_locked(const struct p9_stream *st)
{
    return st->running < st->all->max_running && st->inflight < MAX_INFLIGHT &&
           (st->bytes < MAX_BYTES || st->inflight == 0) &&
           atomic_load(&st->claim.state) != P9_CLAIM_WAITS;
}

/* Room was granted to a message that has come in full: nothing more needs to come. */
static bool granted(const struct p9_stream *st)
{
    return atomic_load(&st->claim.state) == P9_CLAIM_GRANTED;
}

static void moved_locked(struct p9_stream *st)
{
    st->moved = g_get_monotonic_time();
}

/* Ask epoll for what the stream can use now. The busy thread does it when it is done. */
static void arm_locked(struct p9_stream *st)
{
    struct epoll_event ev = {.events = EPOLLONESHOT | EPOLLRDHUP, .data.u64 = st->id};

    if (st->busy || st->dead)
        return;
    if (may_read_locked(st))
        ev.events |= EPOLLIN;
    /* Broken: the next event ends it. Granted: it goes on. */
    if (st->first || st->broken || granted(st))
        ev.events |= EPOLLOUT;
    if (ev.events == st->armed)
        return;
    st->armed = ev.events;
    epoll_ctl(st->all->epoll_fd, EPOLL_CTL_MOD, st->fd, &ev);
}

/* ---- answers ---- */

/* The answer has left, or never will. The reference goes later, without the lock. */
static void message_done_locked(struct p9_stream *st, struct p9_message *m)
{
    st->inflight--;
    st->bytes -= m->chain.in_len + m->chain.out_len;
    size_t cost = m->cost;
    p9_spare_put(&st->all->spare, (struct p9_buf){m->out.iov_base, p9_spare_size(m->room)});
    p9_spare_put(&st->all->spare, message_buf(m));
    p9_room_give(&st->all->room, &st->claim, cost);
}

static unsigned drop_answers_locked(struct p9_stream *st)
{
    unsigned n = 0;

    for (; st->first; n++) {
        struct p9_message *m = st->first;
        st->first = m->next;
        message_done_locked(st, m);
    }
    st->last = &st->first;
    return n;
}

/* Write what the socket takes. Returns the number of references to drop. */
static unsigned flush_locked(struct p9_stream *st)
{
    unsigned done = 0;

    while (st->first) {
        struct p9_message *m = st->first;
        ssize_t n = send(st->fd, (const uint8_t *)m->out.iov_base + m->sent, m->len - m->sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            st->broken = true;
            return done + drop_answers_locked(st);
        }
        m->sent += (size_t)n;
        if (m->sent < m->len)
            continue;
        st->first = m->next;
        if (!st->first)
            st->last = &st->first;
        message_done_locked(st, m);
        moved_locked(st);
        done++;
    }
    return done;
}

static void unref_many(struct p9_stream *st, unsigned n)
{
    for (; n > 0; n--)
        p9_stream_unref(st);
}

static void message_complete(struct chain *c, size_t len)
{
    struct p9_message *m = (struct p9_message *)c; /* its first member */
    struct p9_stream *st = stream_ref(m->st);
    unsigned done = 0;

    pthread_mutex_lock(&st->lock);
    bool lost = st->dead || st->broken || len == 0 || len > m->chain.out_len;
    counters_answer(st->counters, c, lost ? 0 : len);
    if (lost) {
        message_done_locked(st, m);
        done = 1;
    } else {
        bool first = !st->first;
        m->len = len;
        m->next = NULL;
        *st->last = m;
        st->last = &m->next;
        if (first) {
            moved_locked(st);
            done = flush_locked(st);
        }
    }
    arm_locked(st);
    pthread_mutex_unlock(&st->lock);
    unref_many(st, done + 1);
}

static void message_flush(struct chain *c)
{
    (void)c; /* answers are never held back */
}

/* ---- messages ---- */

/* Room for the answer: what a read asks for, else some; names that come back are no longer than
 * the message was. @msg is the whole of it, if it is a small one. */
static size_t answer_room(const uint8_t *msg, size_t size, uint32_t msize)
{
    enum { TREADDIR = 40, TREAD = 116, COUNT_AT = HEADER + 4 + 8, DATA_AT = HEADER + 4 };
    bool small = size <= SMALL_MESSAGE;
    uint64_t want = SMALL_ANSWER + (small ? (uint64_t)size : 0);

    if (small && (msg[4] == TREAD || msg[4] == TREADDIR) && size >= COUNT_AT + 4)
        want = MAX(SMALL_ANSWER, DATA_AT + (uint64_t)get_le32(msg + COUNT_AT));
    return (size_t)MIN(want, msize);
}

static struct p9_message *message_new(struct p9_stream *st, size_t size)
{
    static const struct chain_ops ops = {message_complete, message_flush};
    struct p9_buf buf = p9_spare_get(&st->all->spare, sizeof(struct p9_message) + size);
    struct p9_message *m = buf.at;

    *m = (struct p9_message){.st = st, .in = {m->data, size}};
    m->chain = (struct chain){
        .ops = &ops, .in = &m->in, .out = &m->out, .in_cnt = 1, .out_cnt = 1, .in_len = size};
    memcpy(m->data, st->head, sizeof(st->head));
    return m;
}

/* The header is there. A message with data, which may be of any size, claims the room for its
 * answer at once: what holds much never waits for more. Returns false when it has to wait. */
static bool begin_message(struct p9_stream *st)
{
    size_t size = get_le32(st->head), cost = p9_spare_size(sizeof(struct p9_message) + size);

    if (size > SMALL_MESSAGE) {
        st->room = answer_room(st->head, size, SMALL_ANSWER);
        cost += p9_spare_size(st->room);
    }
    if (!p9_room_take(&st->all->room, &st->claim, cost))
        return false;
    st->cur = message_new(st, size);
    st->cur->room = st->room;
    st->cur->cost = cost;
    return true;
}

/* All of the message is there. False when it has to wait for the room of its answer. */
static bool end_message(struct p9_stream *st)
{
    struct p9_message *m = st->cur;

    if (m->room > 0)
        return true;
    if (st->room == 0) /* asked once: it may wait, and the message size change meanwhile */
        st->room = answer_room(m->data, m->in.iov_len, p9_conn_msize(st->conn));
    if (!p9_room_take(&st->all->room, &st->claim, p9_spare_size(st->room)))
        return false;
    m->room = st->room;
    m->cost += p9_spare_size(m->room);
    return true;
}

/* Some more bytes. Returns the number, 0 when there are none now, -ENODATA at the end. */
static ssize_t more(struct p9_stream *st, uint8_t *to, size_t len)
{
    ssize_t n = recv(st->fd, to, len, MSG_DONTWAIT);
    if (n > 0) {
        st->have += (size_t)n;
        return n;
    }
    if (n == 0)
        return -ENODATA;
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* The header. Returns 1 when it is there, 0 or -errno. */
static int read_head(struct p9_stream *st)
{
    ssize_t n = more(st, st->head + st->have, sizeof(st->head) - st->have);

    if (n <= 0)
        return (int)n;
    if (st->have < sizeof(uint32_t))
        return 0;
    uint32_t size = get_le32(st->head);
    if (size < HEADER || size > p9_conn_msize(st->conn)) {
        log_guest_warn("9P message of %" G_GUINT32_FORMAT " bytes: connection closed", size);
        return -EPROTO;
    }
    return st->have == sizeof(st->head);
}

/* Go on with the message being read. Returns 1 with *out when it is complete, 0 when something is
 * missing yet, be it memory, -errno when the stream cannot go on. */
static int read_message(struct p9_stream *st, struct p9_message **out)
{
    int rc = st->have < sizeof(st->head) ? read_head(st) : 1;

    if (rc <= 0)
        return rc;
    if (!st->cur && !begin_message(st))
        return 0;
    size_t size = st->cur->in.iov_len;
    if (st->have < size) {
        ssize_t n = more(st, st->cur->data + st->have, size - st->have);
        if (n <= 0 || st->have < size)
            return (int)MIN(n, 0);
    }
    if (!end_message(st))
        return 0;
    *out = g_steal_pointer(&st->cur);
    st->have = st->room = 0;
    return 1;
}

/* Count a message that was read, and give it room for its answer. No other thread has read the next
 * yet. */
static void admit_locked(struct p9_stream *st, struct p9_message *m)
{
    m->out = (struct iovec){p9_spare_get(&st->all->spare, m->room).at, m->room};
    m->chain.out_len = m->room;
    counters_take(st->counters, &m->chain);
    p9_conn_arrive(st->conn, &m->chain);
    stream_ref(st);
    st->inflight++;
    st->running++;
    st->bytes += m->chain.in_len + m->room;
}

/* The busy thread has read what there was. */
static void note_reading_locked(struct p9_stream *st, bool done)
{
    bool partial = st->cur && st->have < st->cur->in.iov_len;

    if (done || (partial && !st->partial))
        moved_locked(st);
    st->partial = partial;
}

static void work(struct p9_stream *st, struct p9_message *m)
{
    p9_conn_handle(st->conn, &m->chain);
    pthread_mutex_lock(&st->lock);
    st->running--;
    bool dead = st->dead;
    arm_locked(st);
    pthread_mutex_unlock(&st->lock);
    /* It may have begun to wait for a lock after the waits were ended. */
    if (dead)
        p9_conn_cancel(st->conn);
}

bool p9_stream_event(struct p9_stream *st, uint32_t events)
{
    struct p9_message *m = NULL;
    unsigned done = 0;
    int rc = 0;

    pthread_mutex_lock(&st->lock);
    if (st->busy || st->dead) { /* armed again before we came here: the other one sees to it */
        pthread_mutex_unlock(&st->lock);
        return true;
    }
    st->busy = true;
    st->armed = 0;
    if (events & EPOLLOUT)
        done = flush_locked(st);
    bool read = may_read_locked(st);
    bool over = st->broken || (events & EPOLLERR) || (!read && (events & (EPOLLHUP | EPOLLRDHUP)));
    pthread_mutex_unlock(&st->lock);

    if (over)
        rc = -ECONNRESET;
    else if (read && ((events & ~(uint32_t)EPOLLOUT) || granted(st)))
        rc = read_message(st, &m);

    pthread_mutex_lock(&st->lock);
    note_reading_locked(st, m);
    if (m)
        admit_locked(st, m);
    if (rc >= 0) { /* else it stays busy: nobody comes here again */
        st->busy = false;
        arm_locked(st);
    }
    pthread_mutex_unlock(&st->lock);
    unref_many(st, done);
    if (m)
        work(st, m);
    return rc >= 0;
}

void p9_stream_resume(struct p9_stream *st)
{
    AUTO_LOCK(&st->lock);
    arm_locked(st);
}

bool p9_stream_stuck(struct p9_stream *st, int64_t then)
{
    AUTO_LOCK(&st->lock);
    return (st->first || st->partial) && st->moved < then &&
           p9_room_over(&st->all->room, &st->claim);
}

/* ---- life ---- */

struct p9_stream *p9_stream_new(struct p9_streams *all, struct p9_conn *conn, int fd, uint64_t id,
                                struct counters *counters)
{
    struct p9_stream *st = g_new0(struct p9_stream, 1);

    st->all = all;
    st->conn = conn;
    st->fd = fd;
    st->id = st->claim.id = id;
    st->counters = counters;
    st->last = &st->first;
    atomic_init(&st->refs, 1);
    pthread_mutex_init(&st->lock, NULL);
    return st;
}

int p9_stream_start(struct p9_stream *st)
{
    AUTO_LOCK(&st->lock);
    st->armed = EPOLLONESHOT | EPOLLRDHUP | EPOLLIN;
    struct epoll_event ev = {.events = st->armed, .data.u64 = st->id};
    return epoll_ctl(st->all->epoll_fd, EPOLL_CTL_ADD, st->fd, &ev) == 0 ? 0 : -errno;
}

void p9_stream_close(struct p9_stream *st)
{
    pthread_mutex_lock(&st->lock);
    st->dead = true;
    unsigned n = drop_answers_locked(st);
    epoll_ctl(st->all->epoll_fd, EPOLL_CTL_DEL, st->fd, NULL);
    pthread_mutex_unlock(&st->lock);
    p9_room_quit(&st->all->room, &st->claim);
    unref_many(st, n);
    p9_conn_cancel(st->conn);
}
