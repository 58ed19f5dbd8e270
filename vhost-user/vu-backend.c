/* SPDX-License-Identifier: BSD-3-Clause
 * Asking the front-end. */
/* #syscalls close eventfd2 poll read sendmsg write */
#include "vhost-user/vu-backend.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost-user/vu-backend-priv.h"
#include "vhost-user/vu-fd.h"
#include "vhost-user/vu-msg.h"
#include "virtiofsd/base/aside.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/fd-kind.h"
#include "virtiofsd/base/log.h"

#define MAX_PAYLOAD 256
#define SENT_FILES  8192 /* remembered at least; at most twice as many */

/* One call. */
struct ask {
    struct vu_backend *b;
    struct vu_channel *chan;
    unsigned stops; /* of b, when the call began */
    gint64 end_us;  /* monotonic time */
};

/* ---- channels ---- */

static void channel_unref(struct vu_channel *chan)
{
    if (!chan || atomic_fetch_sub_explicit(&chan->refs, 1, memory_order_acq_rel) != 1)
        return;
    close(chan->fd);
    g_free(chan);
}

static struct vu_channel *channel_new(int fd)
{
    struct vu_channel *chan = g_new0(struct vu_channel, 1);
    atomic_init(&chan->refs, 1);
    chan->fd = fd;
    return chan;
}

/* ---- files sent ---- */

struct file_id {
    dev_t dev;
    ino_t ino;
};

static guint file_hash(gconstpointer p)
{
    const struct file_id *f = p;
    guint64 mix = ((guint64)f->dev * 31 + f->ino) * UINT64_C(0x9e3779b97f4a7c15);
    return (guint)(mix >> 32);
}

static gboolean file_equal(gconstpointer a, gconstpointer b)
{
    const struct file_id *x = a, *y = b;
    return x->dev == y->dev && x->ino == y->ino;
}

static bool file_of(int fd, struct file_id *f)
{
    uint64_t size;
    return fd_file_id(fd, &f->dev, &f->ino, &size) == 0;
}

static void forget_sent(struct vu_backend *b)
{
    for (unsigned i = 0; i < 2; i++)
        g_hash_table_remove_all(b->sent[i]);
}

/* Remember the file of @fd. A guest can name any number of files, so the oldest are dropped. */
static void note_sent(struct vu_backend *b, int fd)
{
    struct file_id f;
    if (!file_of(fd, &f))
        return;
    AUTO_LOCK(&b->lock);
    if (g_hash_table_contains(b->sent[0], &f))
        return;
    if (g_hash_table_size(b->sent[0]) >= SENT_FILES) {
        GHashTable *old = b->sent[1];
        g_hash_table_remove_all(old);
        b->sent[1] = b->sent[0];
        b->sent[0] = old;
    }
    g_hash_table_add(b->sent[0], g_memdup2(&f, sizeof(f)));
}

bool vu_backend_sent(struct vu_backend *b, int fd)
{
    struct file_id f;
    if (!file_of(fd, &f))
        return false;
    AUTO_LOCK(&b->lock);
    return g_hash_table_contains(b->sent[0], &f) || g_hash_table_contains(b->sent[1], &f);
}

/* ---- the control thread's side ---- */

void vu_backend_init(struct vu_backend *b)
{
    memset(b, 0, sizeof(*b));
    pthread_mutex_init(&b->call_lock, NULL);
    pthread_mutex_init(&b->lock, NULL);
    b->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (unsigned i = 0; i < 2; i++)
        b->sent[i] = g_hash_table_new_full(file_hash, file_equal, g_free, NULL);
}

void vu_backend_fini(struct vu_backend *b)
{
    channel_unref(b->chan);
    for (unsigned i = 0; i < 2; i++)
        g_hash_table_destroy(b->sent[i]);
    if (b->cancel_fd >= 0)
        close(b->cancel_fd);
    pthread_mutex_destroy(&b->lock);
    pthread_mutex_destroy(&b->call_lock);
}

/* The lock is held. */
static void cancel_locked(struct vu_backend *b)
{
    uint64_t one = 1;
    b->stops++;
    (void)!write(b->cancel_fd, &one, sizeof(one));
}

/* Put @chan, or nothing, in the channel's place. */
static void replace(struct vu_backend *b, struct vu_channel *chan)
{
    pthread_mutex_lock(&b->lock);
    struct vu_channel *old = b->chan;
    b->chan = chan;
    cancel_locked(b);
    pthread_mutex_unlock(&b->lock);
    channel_unref(old);
}

int vu_backend_set(struct vu_backend *b, int fd, int conn)
{
    bool fits = fd_kind(fd) == FD_UNIX && !vu_fd_is_other_side(fd, conn);
    if (!fits || b->cancel_fd < 0) {
        aside_close(fd);
        return fits ? -EMFILE : -EINVAL;
    }
    replace(b, channel_new(fd));
    return 0;
}

void vu_backend_negotiated(struct vu_backend *b, bool usable, bool fds, bool shmem)
{
    AUTO_LOCK(&b->lock);
    b->usable = usable;
    b->fds = fds;
    b->shmem = shmem;
}

void vu_backend_asked_shmem(struct vu_backend *b)
{
    AUTO_LOCK(&b->lock);
    b->shmem = true;
}

bool vu_backend_has_shmem(struct vu_backend *b)
{
    AUTO_LOCK(&b->lock);
    return b->shmem && b->usable && b->fds;
}

void vu_backend_resume(struct vu_backend *b)
{
    AUTO_LOCK(&b->lock);
    b->running = true;
}

void vu_backend_pause(struct vu_backend *b)
{
    AUTO_LOCK(&b->lock);
    b->running = false;
    cancel_locked(b);
}

void vu_backend_note_restart(struct vu_backend *b)
{
    AUTO_LOCK(&b->lock);
    b->restarts++;
}

unsigned vu_backend_restarts(struct vu_backend *b)
{
    AUTO_LOCK(&b->lock);
    return b->restarts;
}

void vu_backend_close(struct vu_backend *b)
{
    pthread_mutex_lock(&b->lock);
    struct vu_channel *old = b->chan;
    b->chan = NULL;
    b->running = b->usable = b->fds = b->shmem = false;
    cancel_locked(b);
    forget_sent(b);
    pthread_mutex_unlock(&b->lock);
    channel_unref(old);
}

/* ---- waiting ---- */

static bool cancelled(const struct ask *a)
{
    AUTO_LOCK(&a->b->lock);
    return a->b->stops != a->stops;
}

/* Wait until the channel is ready for @events. 0, -ETIMEDOUT or -ECANCELED. */
static int wait_ready(const struct ask *a, short events)
{
    struct pollfd p[2] = {{a->b->cancel_fd, POLLIN, 0}, {a->chan->fd, events, 0}};
    for (;;) {
        uint64_t value;
        gint64 left = a->end_us - g_get_monotonic_time();
        if (cancelled(a))
            return -ECANCELED;
        int n = poll(p, 2, left > 0 ? (int)MIN(left / 1000 + 1, G_MAXINT) : 0);
        if (n == 0)
            return -ETIMEDOUT;
        if (n < 0 && errno != EINTR)
            return -EPIPE;
        if (n > 0 && p[0].revents) /* of an earlier call, perhaps: `stops` tells */
            (void)!read(a->b->cancel_fd, &value, sizeof(value));
        if (n > 0 && p[1].revents)
            return cancelled(a) ? -ECANCELED : 0;
    }
}

/* ---- receiving ---- */

/* Receive up to @len bytes. Their number, -EAGAIN, -EPIPE at the end, -EPROTO. */
static ssize_t receive(int fd, void *buf, size_t len, int flags)
{
    unsigned none = 0; /* a reply brings no descriptors: what came is closed */
    ssize_t n = vu_msg_recv_part(fd, buf, len, flags, NULL, 0, &none);

    if (n > 0 || n == -EAGAIN)
        return n;
    return n == -EMFILE ? -EPROTO : -EPIPE;
}

static bool header_fits(const struct vu_hdr *h, uint32_t request)
{
    return h->request == request && h->flags == (VU_VERSION | VU_REPLY) &&
           h->size == sizeof(uint64_t);
}

/* Receive the reply to @request; goes on where a cancelled call stopped. Waits before it looks: the
 * reply is hardly ever there already. */
static int receive_reply(const struct ask *a, uint32_t request, uint64_t *value)
{
    struct vu_channel *chan = a->chan;
    while (chan->have < sizeof(chan->in)) {
        bool headed = chan->have >= sizeof(chan->in.hdr);
        ssize_t n = wait_ready(a, POLLIN);
        if (n == 0)
            n = receive(chan->fd, (uint8_t *)&chan->in + chan->have, sizeof(chan->in) - chan->have,
                        0);
        if (n == -EAGAIN)
            continue;
        if (n < 0)
            return (int)n;
        chan->have += (size_t)n;
        if (!headed && chan->have >= sizeof(chan->in.hdr) && !header_fits(&chan->in.hdr, request))
            return -EPROTO;
    }
    chan->have = 0;
    *value = chan->in.value;
    return 0;
}

/* Get the channel to where a request can follow: no reply pending, nothing said unasked. */
static int settle(const struct ask *a)
{
    struct vu_channel *chan = a->chan;
    uint64_t late;
    uint8_t byte;
    if (chan->pending) {
        int rc = receive_reply(a, chan->pending, &late);
        if (rc < 0)
            return rc;
        chan->pending = 0;
    }
    ssize_t n = receive(chan->fd, &byte, sizeof(byte), MSG_PEEK);
    return n > 0 ? -EPROTO : n == -EAGAIN ? 0 : (int)n;
}

/* ---- watching ---- */

struct pollfd vu_backend_watch(struct vu_backend *b, bool asks)
{
    AUTO_LOCK(&b->lock);
    if (!b->chan)
        return (struct pollfd){.fd = -1};
    bool silent = !asks || b->chan->dead;
    return (struct pollfd){b->chan->fd, (short)(POLLRDHUP | (silent ? POLLIN : 0)), 0};
}

void vu_backend_check(struct vu_backend *b)
{
    struct ask a = {.b = b, .chan = b->chan, .end_us = g_get_monotonic_time()};
    if (!a.chan || pthread_mutex_trylock(&b->call_lock) != 0)
        return; /* who holds it finds out by itself */
    pthread_mutex_lock(&b->lock);
    a.stops = b->stops;
    bool dead = a.chan->dead;
    pthread_mutex_unlock(&b->lock);
    int rc = dead ? -EPIPE : settle(&a);
    pthread_mutex_unlock(&b->call_lock);
    if (rc == 0 || rc == -ETIMEDOUT || rc == -ECANCELED)
        return;
    if (rc == -EPROTO)
        log_guest_warn(
            "the front-end says something on the back-end channel unasked: it is closed");
    replace(b, NULL);
}

/* ---- sending ---- */

/* Send what is there room for. The number of bytes, -EAGAIN, or -EPIPE. */
static ssize_t send_part(int sock, const uint8_t *buf, size_t len, int fd)
{
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {(void *)buf, len};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;
    if (fd >= 0) {
        mh.msg_control = control.buf;
        mh.msg_controllen = sizeof(control.buf);
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    do
        n = sendmsg(sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? -EAGAIN : -EPIPE;
    return n;
}

/* Send all of @buf; *sent tells how far it came. */
static int send_all(const struct ask *a, const uint8_t *buf, size_t len, int fd, size_t *sent)
{
    *sent = 0;
    while (*sent < len) {
        ssize_t n = send_part(a->chan->fd, buf + *sent, len - *sent, *sent == 0 ? fd : -1);
        if (n == -EAGAIN)
            n = wait_ready(a, POLLOUT);
        if (n < 0)
            return (int)n;
        *sent += (size_t)n;
    }
    return 0;
}

/* ---- calling ---- */

/* No more calls on this channel; the first to find that out says so. */
static void kill_channel(const struct ask *a, uint32_t request, const char *why)
{
    pthread_mutex_lock(&a->b->lock);
    bool first = !a->chan->dead;
    a->chan->dead = true;
    pthread_mutex_unlock(&a->b->lock);
    if (first)
        log_error("the front-end's answer to back-end request %u: %s; it is asked nothing more on "
                  "this connection",
                  request, why);
}

/* The channel for a call that began after @a->stops cancellations, and a reference to it. */
static int take_channel(struct ask *a, bool with_fd)
{
    struct vu_backend *b = a->b;
    AUTO_LOCK(&b->lock);
    if (b->stops != a->stops)
        return -ECANCELED;
    if (!b->running || !b->usable || (with_fd && !b->fds) || !b->chan || b->chan->dead)
        return -ENOTCONN;
    a->chan = b->chan;
    atomic_fetch_add_explicit(&a->chan->refs, 1, memory_order_relaxed);
    return 0;
}

static int round_trip(const struct ask *a, uint32_t request, const void *payload, size_t len,
                      int fd, uint64_t *value)
{
    struct vu_hdr hdr = {request, VU_VERSION | VU_NEED_REPLY, (uint32_t)len};
    uint8_t buf[sizeof(hdr) + MAX_PAYLOAD];
    size_t sent;

    int rc = settle(a);
    if (rc < 0)
        return rc;
    memcpy(buf, &hdr, sizeof(hdr));
    if (len)
        memcpy(buf + sizeof(hdr), payload, len);
    rc = send_all(a, buf, sizeof(hdr) + len, fd, &sent);
    if (rc < 0) {
        if (rc == -ECANCELED && sent > 0)
            kill_channel(a, request, "it could be sent only in part");
        return rc;
    }
    rc = receive_reply(a, request, value);
    if (rc == -ECANCELED)
        a->chan->pending = request;
    return rc;
}

int vu_backend_call(struct vu_backend *b, uint32_t request, const void *payload, size_t len, int fd,
                    unsigned deadline_ms, uint64_t *value)
{
    struct ask a = {.b = b};
    if (len > MAX_PAYLOAD)
        return -EINVAL;
    pthread_mutex_lock(&b->lock);
    a.stops = b->stops;
    pthread_mutex_unlock(&b->lock);

    AUTO_LOCK(&b->call_lock);
    int rc = take_channel(&a, fd >= 0);
    if (rc < 0)
        return rc;
    if (fd >= 0)
        note_sent(b, fd); /* before: the front-end's word of it may come before its answer */
    a.end_us = g_get_monotonic_time() + deadline_ms * G_TIME_SPAN_MILLISECOND;
    rc = round_trip(&a, request, payload, len, fd, value);
    if (rc < 0 && rc != -ECANCELED)
        kill_channel(&a, request, errno_text(-rc));
    channel_unref(a.chan);
    return rc;
}
