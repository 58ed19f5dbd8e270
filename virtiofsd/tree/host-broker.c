/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls close recvmsg sendmsg */
#include "virtiofsd/tree/host-broker.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/broker.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

struct channel {
    pthread_mutex_t lock; /* held for a call */
    int fd;
    uint32_t seq;
};

struct host_broker {
    atomic_bool gone;
    atomic_uint next; /* of the next thread that asks for the first time */
    unsigned n;
    struct channel channel[BROKER_CHANNELS];
};

struct host_broker *host_broker_new(const int *channel, unsigned n)
{
    struct host_broker *b = calloc(1, sizeof(*b));

    for (unsigned i = 0; i < n; i++) {
        if (!b || i >= BROKER_CHANNELS) {
            close(channel[i]);
            continue;
        }
        b->channel[b->n].fd = channel[i];
        pthread_mutex_init(&b->channel[b->n++].lock, NULL);
    }
    return b;
}

void host_broker_free(struct host_broker *b)
{
    if (!b)
        return;
    for (unsigned i = 0; i < b->n; i++) {
        close(b->channel[i].fd);
        pthread_mutex_destroy(&b->channel[i].lock);
    }
    free(b);
}

bool host_broker_gone(const struct host_broker *b)
{
    return atomic_load_explicit(&b->gone, memory_order_relaxed);
}

/* ---- a call ---- */

/* Mostly the one that this thread had before. NULL: all are busy for too long. */
static struct channel *take_channel(struct host_broker *b)
{
    static __thread unsigned mine; /* + 1 */
    const unsigned n = b->n;
    struct timespec until;

    if (n == 0)
        return NULL;
    if (mine == 0)
        mine = atomic_fetch_add(&b->next, 1) % BROKER_CHANNELS + 1;
    for (unsigned i = 0; i < n; i++) {
        struct channel *c = &b->channel[(mine - 1 + i) % n];
        if (pthread_mutex_trylock(&c->lock) == 0)
            return c;
    }
    struct channel *c = &b->channel[(mine - 1) % n];
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += BROKER_WAIT_S;
    return pthread_mutex_clocklock(&c->lock, CLOCK_MONOTONIC, &until) == 0 ? c : NULL;
}

static int lost(struct host_broker *b, int code)
{
    if (code == EAGAIN) {
        log_guest_warn("no answer in %d s of the process that opens files by their handles",
                       BROKER_WAIT_S);
    } else if (code != EPIPE && code != ECONNRESET && code != ENOTCONN && code != EPROTO) {
        log_guest_warn("no question to the process that opens files by their handles: %s",
                       errno_text(code)); /* short of memory, say: the next may get through */
    } else if (!atomic_exchange(&b->gone, true)) {
        log_error("the process that opens files by their handles is gone: those that were not "
                  "used for a while cannot be opened again (EIO)");
    }
    return -EIO;
}

static int send_request(struct host_broker *b, int channel, struct broker_request *r,
                        const int *fds, unsigned n)
{
    struct iovec iov = {r, sizeof(*r)};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(BROKER_BATCH * sizeof(int))];
    } control;
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent;

    if (n > 0) {
        control.head = (struct cmsghdr){CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), fds, n * sizeof(int));
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
    }
    do
        sent = sendmsg(channel, &m, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? lost(b, errno) : 0;
}

/* One reply. 1: it is that of a call that nobody waited for to the end. */
static int receive_reply(struct host_broker *b, int channel, uint32_t seq, struct broker_reply *out,
                         int *fd)
{
    struct iovec iov = {out, sizeof(*out)};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    ssize_t got;

    do
        got = recvmsg(channel, &m, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return lost(b, got < 0 ? errno : EPIPE);
    AUTO_FD int came = -1;
    if (CMSG_FIRSTHDR(&m))
        memcpy(&came, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(came));
    if ((size_t)got < broker_reply_len(0) || (size_t)got != broker_reply_len(out->n))
        return lost(b, EPROTO);
    if (out->seq != seq)
        return 1;
    *fd = steal_fd(&came);
    return m.msg_flags & MSG_CTRUNC ? -ENFILE : -out->error;
}

/* 0 or -errno. *fd: what came with the reply, or -1. */
static int call(struct host_broker *b, struct broker_request *r, const int *fds, unsigned n,
                struct broker_reply *out, int *fd)
{
    *fd = -1;
    if (host_broker_gone(b))
        return -EIO;
    struct channel *c = take_channel(b);
    if (!c)
        return lost(b, EAGAIN);
    r->seq = ++c->seq;
    int rc = send_request(b, c->fd, r, fds, n);
    if (rc == 0) {
        do
            rc = receive_reply(b, c->fd, r->seq, out, fd);
        while (rc == 1);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

/* ---- what is asked ---- */

int host_broker_mount(struct host_broker *b, int fd, uint64_t *mount)
{
    struct broker_request r = {.op = BROKER_MOUNT};
    struct broker_reply reply;
    int none, rc = call(b, &r, &fd, 1, &reply, &none);

    if (rc == 0)
        *mount = reply.mount;
    return rc;
}

void host_broker_unmount(struct host_broker *b, uint64_t mount)
{
    struct broker_request r = {.op = BROKER_UNMOUNT, .h.mount = mount};
    struct broker_reply reply;
    int none;

    call(b, &r, NULL, 0, &reply, &none);
}

static struct file_handle *keep(const struct broker_handle *h)
{
    if (h->bytes > MAX_HANDLE_SZ)
        return NULL;
    struct file_handle *out = malloc(sizeof(*out) + h->bytes + BROKER_CODE);
    if (!out)
        return NULL;
    out->handle_type = h->type;
    out->handle_bytes = h->bytes;
    memcpy(out->f_handle, h->handle, h->bytes);
    memcpy(out->f_handle + h->bytes, h->code, BROKER_CODE);
    return out;
}

int host_broker_sign(struct host_broker *b, const int *fds, unsigned n, struct file_handle **out,
                     uint64_t *mount)
{
    struct broker_request r = {.op = BROKER_SIGN};
    struct broker_reply reply;
    int none, rc = call(b, &r, fds, n, &reply, &none);

    if (rc == 0 && reply.n != n)
        rc = lost(b, EPROTO);
    for (unsigned i = 0; rc >= 0 && i < n; i++) {
        const struct broker_signed *s = &reply.h[i];
        out[i] = s->error ? NULL : keep(&s->h);
        mount[i] = s->h.mount;
    }
    return rc;
}

int host_broker_open(struct host_broker *b, uint64_t mount, const struct file_handle *h)
{
    struct broker_request r = {
        .op = BROKER_OPEN, .h = {.mount = mount, .type = h->handle_type, .bytes = h->handle_bytes}};
    struct broker_reply reply;
    int fd;

    memcpy(r.h.handle, h->f_handle, h->handle_bytes);
    memcpy(r.h.code, h->f_handle + h->handle_bytes, BROKER_CODE);
    int rc = call(b, &r, NULL, 0, &reply, &fd);
    if (rc == 0 && fd < 0)
        rc = lost(b, EPROTO);
    if (rc == -EBADMSG || rc == -ENXIO)
        rc = -EIO;
    if (rc < 0 && fd >= 0)
        close(fd);
    return rc < 0 ? rc : fd;
}
