/* SPDX-License-Identifier: BSD-3-Clause
 * Connections come and go; the pool. */
/* #syscalls accept4 clone close epoll_create1 epoll_ctl epoll_wait eventfd2 geteuid getsockopt
 * #syscalls poll read write */
#include "virtiofsd/9p/p9-sock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtiofsd/9p/p9-stream.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/counters.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

#define ACCEPT_RETRY_MS 200
#define QUIT_ID         UINT64_MAX
#define MAX_PEER_GROUPS 256

struct p9_sock {
    struct p9_sock_config cfg;
    GArray *endpoints; /* struct p9_endpoint */
    uid_t uid;         /* who we are */
    int wake_fd;       /* eventfd: p9_sock_run() looks what there is to do */
    int quit_fd;       /* eventfd: the pool ends */
    atomic_bool stop;
    GPtrArray *pool; /* GThread */
    struct p9_streams all;

    pthread_mutex_t lock; /* never held while a stream's is taken, nor the other way */
    pthread_cond_t changed;
    struct slot {
        struct p9_stream *stream; /* with a reference, or NULL */
        uint32_t gen;             /* tells the slot's users apart */
        int64_t born;             /* us, monotonic; of one that was given to us: INT64_MAX */
    } slots[P9_SOCK_MAX_CONNS];
    unsigned n_streams; /* not yet freed */
    struct set {
        struct counters *_Atomic counters; /* made at first use; read by any thread */
        bool used;                         /* by a stream that is not yet freed */
        struct counts before;              /* at its begin */
    } sets[P9_SOCK_MAX_CONNS];
};

static void wake(int fd)
{
    uint64_t one = 1;
    (void)!write(fd, &one, sizeof(one));
}

/* ---- connections ---- */

/* The stream that epoll means, with a reference; NULL when it is closed meanwhile. */
static struct p9_stream *stream_get(struct p9_sock *s, uint64_t id)
{
    AUTO_LOCK(&s->lock);
    struct p9_stream *st = s->slots[(uint32_t)id % P9_SOCK_MAX_CONNS].stream;
    if (!st || st->id != id)
        return NULL;
    atomic_fetch_add(&st->refs, 1);
    return st;
}

/* ---- counters ---- */

/* One for a new stream: there are never more streams than sets. */
static struct counters *take_set_locked(struct p9_sock *s)
{
    struct set *set = s->sets;

    while (set->used)
        set++;
    set->used = true;
    if (!atomic_load(&set->counters))
        atomic_store(&set->counters, counters_new(1)); /* a message costs more than a clock does */
    memset(&set->before, 0, sizeof(set->before));
    counts_add(&set->before, set->counters);
    return set->counters;
}

/* Returns the line for the log, to be freed, or NULL: nothing was asked. */
static char *give_set_locked(struct p9_sock *s, const struct counters *counters)
{
    struct set *set = s->sets;
    struct counts now = {0};

    while (set->counters != counters)
        set++;
    set->used = false;
    counts_add(&now, counters);
    counts_since(&now, &set->before);
    return now.requests > 0 ? counts_line(&now, false) : NULL;
}

unsigned p9_sock_counts(struct p9_sock *s, struct counts *sum)
{
    for (unsigned i = 0; i < P9_SOCK_MAX_CONNS; i++) {
        const struct counters *c = atomic_load(&s->sets[i].counters);
        if (c)
            counts_add(sum, c);
    }
    AUTO_LOCK(&s->lock);
    return s->n_streams;
}

/* ---- the end of connections ---- */

static void stream_gone(void *user, struct counters *counters)
{
    struct p9_sock *s = user;

    pthread_mutex_lock(&s->lock);
    g_autofree char *line = give_set_locked(s, counters);
    pthread_mutex_unlock(&s->lock);
    if (line)
        log_guest(LOG_LVL_INFO, "the 9P connection had %s", line);
    AUTO_LOCK(&s->lock);
    if (--s->n_streams == 0)
        p9_spare_empty(&s->all.spare);
    pthread_cond_broadcast(&s->changed);
    wake(s->wake_fd);
}

/* Take @st out of the table and end it, unless somebody did. The caller holds a reference. */
static void stream_end(struct p9_sock *s, struct p9_stream *st)
{
    struct slot *slot = &s->slots[(uint32_t)st->id % P9_SOCK_MAX_CONNS];

    pthread_mutex_lock(&s->lock);
    bool ours = slot->stream == st;
    if (ours)
        slot->stream = NULL;
    pthread_mutex_unlock(&s->lock);
    if (!ours)
        return;
    p9_stream_close(st);
    p9_stream_unref(st);
}

static int free_slot_locked(const struct p9_sock *s)
{
    for (int i = 0; i < P9_SOCK_MAX_CONNS; i++) {
        if (!s->slots[i].stream)
            return i;
    }
    return -1;
}

/* The oldest that was not given to us and by which nobody has attached, with a reference, or NULL.
 */
static struct p9_stream *oldest_silent(struct p9_sock *s, int64_t *born)
{
    const struct slot *oldest = NULL;

    AUTO_LOCK(&s->lock);
    for (unsigned i = 0; i < P9_SOCK_MAX_CONNS; i++) {
        const struct slot *slot = &s->slots[i];
        if (slot->stream && slot->born != INT64_MAX && !p9_conn_attached(slot->stream->conn) &&
            (!oldest || slot->born < oldest->born))
            oldest = slot;
    }
    if (!oldest)
        return NULL;
    *born = oldest->born;
    atomic_fetch_add(&oldest->stream->refs, 1);
    return oldest->stream;
}

/* Who connects and does not attach must not keep others out. */
static void make_room(struct p9_sock *s)
{
    int64_t born;

    pthread_mutex_lock(&s->lock);
    bool full = s->n_streams >= P9_SOCK_MAX_CONNS;
    pthread_mutex_unlock(&s->lock);
    struct p9_stream *st = full ? oldest_silent(s, &born) : NULL;
    if (!st)
        return;
    log_guest_warn("a 9P connection by which nobody had attached ended to make room for another");
    stream_end(s, st);
    p9_stream_unref(st);
}

/* Serve the connected socket @fd (taken over). @wanted: it was given to us, and is not ended
 * because it says nothing. */
static void stream_begin(struct p9_sock *s, int fd, bool local, bool wanted)
{
    make_room(s);
    pthread_mutex_lock(&s->lock);
    int n = s->n_streams < P9_SOCK_MAX_CONNS ? free_slot_locked(s) : -1;
    if (n < 0) {
        pthread_mutex_unlock(&s->lock);
        log_guest_warn("more than %d 9P connections: one refused", P9_SOCK_MAX_CONNS);
        close(fd);
        return;
    }
    struct slot *slot = &s->slots[n];
    uint64_t id = (uint64_t)++slot->gen << 32 | (uint32_t)n;
    struct p9_conn *conn = p9_conn_new(local ? s->cfg.local : s->cfg.remote);
    p9_conn_bound_values(conn, P9_ROOM_VALUES);
    struct p9_stream *st = p9_stream_new(&s->all, conn, fd, id, take_set_locked(s));
    atomic_fetch_add(&st->refs, 1); /* ours, until it is started */
    slot->stream = st;
    slot->born = wanted ? INT64_MAX : g_get_monotonic_time();
    s->n_streams++;
    pthread_mutex_unlock(&s->lock);

    log_debug("9P connection opened");
    int rc = p9_stream_start(st);
    if (rc < 0) {
        log_guest_warn("9P connection: %s", errno_text(-rc));
        stream_end(s, st);
    }
    p9_stream_unref(st);
}

/* ---- patience ---- */

/* Us, monotonic: who began to be silent before then has had its time. */
static int64_t patience_began(const struct p9_sock *s)
{
    return g_get_monotonic_time() - (int64_t)s->cfg.patience_ms * 1000;
}

/* End those that did not attach in time. Returns the us until the next one is due, -1: none is. */
static int64_t end_silent(struct p9_sock *s)
{
    struct p9_stream *st;
    int64_t born, left = -1;

    while (left < 0 && (st = oldest_silent(s, &born))) {
        left = MAX(born - patience_began(s), -1);
        if (left < 0) {
            log_guest_warn("a 9P connection ended: nobody has attached by it");
            stream_end(s, st);
        }
        p9_stream_unref(st);
    }
    return left;
}

/* While somebody waits for memory: end those that hold it because they do not read or finish what
 * they write. Then hand on what there is. */
static void share_room(struct p9_sock *s)
{
    struct p9_room *room = &s->all.room;
    uint64_t id;

    for (unsigned i = 0; i < P9_SOCK_MAX_CONNS && atomic_load(&room->waiting) > 0; i++) {
        pthread_mutex_lock(&s->lock);
        struct p9_stream *st = s->slots[i].stream;
        if (st)
            atomic_fetch_add(&st->refs, 1);
        pthread_mutex_unlock(&s->lock);
        if (!st)
            continue;
        if (p9_stream_stuck(st, patience_began(s))) {
            log_guest_warn("a 9P connection that held memory and did not go on ended: others wait");
            stream_end(s, st);
        }
        p9_stream_unref(st);
    }
    while (p9_room_grant(room, &id)) {
        struct p9_stream *st = stream_get(s, id);
        if (!st)
            continue;
        p9_stream_resume(st);
        p9_stream_unref(st);
    }
}

/* What is due now; returns the ms until there is something again, -1: nobody knows. */
static int look_after(struct p9_sock *s)
{
    share_room(s);
    int64_t left = end_silent(s);
    int ms = left < 0 ? -1 : (int)(left / 1000) + 1;

    if (atomic_load(&s->all.room.waiting) == 0)
        return ms;
    int soon = (int)s->cfg.patience_ms / 10 + 1;
    return ms < 0 ? soon : MIN(ms, soon);
}

/* Whether the peer of an inherited unix socket may connect: we, root, or the group. (Of one that we
 * made, the mode says it; in a user namespace of ours, ids are not always what they were.) */
static bool peer_allowed(const struct p9_sock *s, int fd)
{
    struct ucred cred;
    gid_t groups[MAX_PEER_GROUPS];
    socklen_t len = sizeof(cred), glen = sizeof(groups);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return false;
    if (cred.uid == s->uid || cred.uid == 0)
        return true;
    if (s->cfg.group == (gid_t)-1)
        return false;
    if (cred.gid == s->cfg.group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &glen) < 0)
        return false;
    for (unsigned i = 0; i < glen / sizeof(groups[0]); i++) {
        if (groups[i] == s->cfg.group)
            return true;
    }
    return false;
}

/* ---- accepting ---- */

static void accept_one(struct p9_sock *s, const struct p9_endpoint *ep)
{
    AUTO_FD int fd = accept4(ep->fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EINTR || errno == EAGAIN || errno == ECONNABORTED)
            return;
        log_guest_warn("cannot accept a 9P connection: %s", errno_text(errno));
        struct pollfd p = {s->wake_fd, POLLIN, 0};
        poll(&p, 1, ACCEPT_RETRY_MS);
        return;
    }
    if (ep->check_peer && !peer_allowed(s, fd)) {
        log_guest_warn("9P connection refused: neither our user, root nor the group");
        return;
    }
    stream_begin(s, steal_fd(&fd), ep->local, false);
}

static bool over(struct p9_sock *s, unsigned n_listening)
{
    AUTO_LOCK(&s->lock);
    return atomic_load(&s->stop) || (n_listening == 0 && s->n_streams == 0);
}

/* Begin inherited connections; the listening sockets become @p, their number is returned. */
static unsigned begin(struct p9_sock *s, struct pollfd *p, struct p9_endpoint **listening)
{
    unsigned n = 0;

    for (unsigned i = 0; i < s->endpoints->len; i++) {
        struct p9_endpoint *ep = &g_array_index(s->endpoints, struct p9_endpoint, i);
        if (ep->connected) {
            stream_begin(s, steal_fd(&ep->fd), ep->local, true);
            continue;
        }
        p[n] = (struct pollfd){ep->fd, POLLIN, 0};
        listening[n++] = ep;
    }
    return n;
}

static void serve(struct p9_sock *s)
{
    g_autofree struct pollfd *p = g_new0(struct pollfd, s->endpoints->len + 1);
    g_autofree struct p9_endpoint **ep = g_new0(struct p9_endpoint *, s->endpoints->len + 1);
    unsigned n = begin(s, p, ep);
    uint64_t value;

    p[n] = (struct pollfd){s->wake_fd, POLLIN, 0};
    while (!over(s, n)) {
        if (poll(p, n + 1, look_after(s)) <= 0)
            continue;
        if (p[n].revents)
            (void)!read(s->wake_fd, &value, sizeof(value));
        for (unsigned i = 0; i < n; i++) {
            if (p[i].revents)
                accept_one(s, ep[i]);
        }
    }
}

/* ---- the pool ---- */

static gpointer pool_main(gpointer arg)
{
    struct p9_sock *s = arg;
    struct epoll_event ev;

    if (s->cfg.thread_start)
        s->cfg.thread_start(s->cfg.user);
    for (;;) {
        if (epoll_wait(s->all.epoll_fd, &ev, 1, -1) <= 0)
            continue;
        if (ev.data.u64 == QUIT_ID)
            return NULL;
        struct p9_stream *st = stream_get(s, ev.data.u64);
        if (!st)
            continue;
        if (!p9_stream_event(st, ev.events)) {
            log_debug("9P connection closed");
            stream_end(s, st);
        }
        p9_stream_unref(st);
    }
}

static bool pool_start(struct p9_sock *s, GError **err)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = QUIT_ID};

    if (s->all.epoll_fd < 0 || s->wake_fd < 0 || s->quit_fd < 0 ||
        epoll_ctl(s->all.epoll_fd, EPOLL_CTL_ADD, s->quit_fd, &ev) < 0) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_MFILE,
                    "no descriptors for the 9P sockets: raise --rlimit-nofile");
        return false;
    }
    for (unsigned i = 0; i < s->cfg.threads; i++) {
        GThread *t = g_thread_try_new("9p-sock", pool_main, s, err);
        if (!t)
            return false;
        g_ptr_array_add(s->pool, t);
    }
    return true;
}

/* End the pool, then what it had connected. */
static void pool_end(struct p9_sock *s)
{
    wake(s->quit_fd);
    for (unsigned i = 0; i < s->pool->len; i++)
        g_thread_join(s->pool->pdata[i]);
    g_ptr_array_set_size(s->pool, 0);
    for (unsigned i = 0; i < P9_SOCK_MAX_CONNS; i++) {
        if (s->slots[i].stream)
            stream_end(s, s->slots[i].stream);
    }
    AUTO_LOCK(&s->lock);
    while (s->n_streams > 0)
        pthread_cond_wait(&s->changed, &s->lock);
}

int p9_sock_run(struct p9_sock *s, GError **err)
{
    bool ok = pool_start(s, err);

    if (ok)
        serve(s);
    pool_end(s);
    return ok ? 0 : -1;
}

/* ---- life ---- */

struct p9_sock *p9_sock_new(const struct p9_sock_config *cfg)
{
    struct p9_sock *s = g_new0(struct p9_sock, 1);

    s->cfg = *cfg;
    s->cfg.threads = MAX(cfg->threads, 2);
    s->cfg.patience_ms = cfg->patience_ms ? cfg->patience_ms : P9_SOCK_PATIENCE_MS;
    s->uid = geteuid();
    s->endpoints = g_array_new(FALSE, FALSE, sizeof(struct p9_endpoint));
    s->pool = g_ptr_array_new();
    s->all.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->quit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->all.max_running = s->cfg.threads - 1;
    s->all.gone = stream_gone;
    s->all.user = s;
    p9_spare_init(&s->all.spare);
    p9_room_init(&s->all.room, s->wake_fd);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    return s;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void p9_sock_free(struct p9_sock *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->endpoints->len; i++)
        close_fd(g_array_index(s->endpoints, struct p9_endpoint, i).fd);
    g_array_unref(s->endpoints);
    g_ptr_array_unref(s->pool);
    for (unsigned i = 0; i < P9_SOCK_MAX_CONNS; i++)
        counters_free(s->sets[i].counters);
    close_fd(s->all.epoll_fd);
    close_fd(s->wake_fd);
    close_fd(s->quit_fd);
    p9_spare_fini(&s->all.spare);
    p9_room_fini(&s->all.room);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    g_free(s);
}

void p9_sock_add(struct p9_sock *s, const struct p9_endpoint *ep)
{
    g_array_append_val(s->endpoints, *ep);
}

void p9_sock_stop(struct p9_sock *s)
{
    int saved = errno;
    atomic_store(&s->stop, true);
    wake(s->wake_fd);
    errno = saved;
}
