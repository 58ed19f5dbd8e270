/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fe-move.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/fe-time.h"

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int fe_move_start(struct fe_vhost *v, struct fe_mem *m, unsigned nrings, unsigned size)
{
    return fe_vhost_start_with(v, m, nrings, size, FE_MOVE_FEATURES, FE_MOVE_PROTO);
}

int fe_move_stop(struct fe_vhost *v)
{
    int e = 0;
    for (unsigned i = 0; e == 0 && i < v->nrings; i++)
        e = fe_vhost_ack_state(v, VU_SET_VRING_ENABLE, i, 0);
    for (unsigned i = 0; e == 0 && i < v->nrings; i++) {
        uint32_t base;
        e = fe_vhost_get_base(v, i, &base);
        if (e == 0 && base != v->ring[i].avail_shown)
            e = FE_EPROTO;
    }
    for (unsigned i = 0; e == 0 && i < v->nrings; i++)
        e = fe_vhost_ack_vring_fd(v, VU_SET_VRING_CALL, i, v->ring[i].call_w);
    return e;
}

int fe_move_resume(struct fe_vhost *v)
{
    int e = 0;
    for (unsigned i = 0; e == 0 && i < v->nrings; i++)
        e = fe_vhost_start_ring(v, i);
    return e;
}

/* The answer to SET_DEVICE_STATE_FD. */
static int begin(struct fe_vhost *v, uint32_t direction, int fd)
{
    uint32_t w[2] = {direction, 0};
    struct fe_vu_msg reply;
    int e = fe_vhost_send(v, VU_SET_DEVICE_STATE_FD, 0, w, sizeof(w), &fd, 1);
    if (e == 0)
        e = fe_vhost_recv(v, &reply);
    if (e == 0 && (reply.h.request != VU_SET_DEVICE_STATE_FD || reply.h.size != sizeof(uint64_t)))
        e = FE_EPROTO;
    return e ? e : (reply.u64 & 0xff) != 0;
}

static int check(struct fe_vhost *v)
{
    uint64_t failed = 1;
    int e = fe_vhost_get_u64(v, VU_CHECK_DEVICE_STATE, &failed);
    return e ? e : failed ? 2 : 0;
}

static void read_all(int fd, struct fe_state *out)
{
    size_t room = 0;
    ssize_t n = 1;
    out->bytes = NULL;
    out->len = 0;
    while (n > 0) {
        if (room - out->len < 65536)
            out->bytes = realloc(out->bytes, room = room * 2 + 131072);
        n = read(fd, out->bytes + out->len, room - out->len);
        out->len += n > 0 ? (size_t)n : 0;
    }
}

int fe_move_save(struct fe_vhost *v, struct fe_state *out)
{
    int p[2];
    int64_t start = now_us();
    if (pipe2(p, O_CLOEXEC) != 0)
        return FE_EGONE;
    int e = begin(v, 0, p[1]);
    close(p[1]);
    read_all(p[0], out);
    close(p[0]);
    if (e == 0)
        e = check(v);
    out->us = now_us() - start;
    return e;
}

struct writer {
    int fd;
    const uint8_t *bytes;
    size_t len;
};

static void *write_all(void *arg)
{
    struct writer *w = arg;
    ssize_t n = 1;
    while (w->len > 0 && n > 0) {
        n = send(w->fd, w->bytes, w->len, MSG_NOSIGNAL);
        w->bytes += n > 0 ? n : 0;
        w->len -= n > 0 ? (size_t)n : 0;
    }
    close(w->fd);
    return NULL;
}

int fe_move_load(struct fe_vhost *v, const uint8_t *bytes, size_t len, int64_t *us)
{
    int sv[2];
    pthread_t thread;
    int64_t start = now_us();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) != 0)
        return FE_EGONE;
    int e = begin(v, 1, sv[1]);
    close(sv[1]);
    struct writer w = {sv[0], bytes, len};
    pthread_create(&thread, NULL, write_all, &w);
    if (e == 0)
        e = check(v);
    pthread_join(thread, NULL);
    if (us)
        *us = now_us() - start;
    return e;
}

int fe_move_arrive(struct fe_vhost *v, const struct fe_state *s, int64_t *us)
{
    uint64_t offered = 0, take = FE_MOVE_PROTO;
    int e = fe_vhost_get_u64(v, VU_GET_FEATURES, &offered);
    v->features = offered & FE_MOVE_FEATURES;
    if (e == 0)
        e = fe_vhost_get_u64(v, VU_GET_PROTOCOL_FEATURES, &offered);
    take &= offered;
    if (e == 0)
        e = fe_vhost_send(v, VU_SET_PROTOCOL_FEATURES, 0, &take, sizeof(take), NULL, 0);
    v->proto = take;
    if (e == 0)
        e = fe_vhost_ack(v, VU_SET_OWNER, NULL, 0, NULL, 0);
    if (e == 0)
        e = fe_vhost_ack(v, VU_RESET_DEVICE, NULL, 0, NULL, 0);
    if (e == 0)
        e = fe_move_load(v, s->bytes, s->len, us);
    if (e == 0)
        e = fe_vhost_ack_u64(v, VU_SET_FEATURES, v->features);
    if (e == 0)
        e = fe_vhost_mem_table(v, v->mem);
    return e ? e : fe_move_resume(v);
}
