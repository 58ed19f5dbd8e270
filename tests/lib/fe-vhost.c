/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fe-vhost.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/fe-time.h"

#define MAX_FDS 32

void fe_vhost_init(struct fe_vhost *v, int sock)
{
    memset(v, 0, sizeof(*v));
    v->sock = sock;
    v->timeout_ms = FE_TIMEOUT_MS;
}

void fe_vhost_close(struct fe_vhost *v)
{
    for (unsigned i = 0; i < v->nrings; i++)
        fe_ring_free(&v->ring[i]);
    v->nrings = 0;
    if (v->sock >= 0)
        close(v->sock);
    v->sock = -1;
}

int fe_vhost_send(struct fe_vhost *v, uint32_t request, uint32_t flags, const void *payload,
                  uint32_t size, const int *fds, unsigned nfds)
{
    struct fe_vu_hdr h = {.request = request, .flags = VU_VERSION | flags, .size = size};
    struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)payload, payload ? size : 0}};
    char control[CMSG_SPACE(MAX_FDS * sizeof(int))] = {0};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = payload && size ? 2 : 1};
    if (nfds > 0) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    size_t want = iov[0].iov_len + (m.msg_iovlen == 2 ? iov[1].iov_len : 0);
    ssize_t n = sendmsg(v->sock, &m, MSG_NOSIGNAL);
    return n == (ssize_t)want ? 0 : FE_EGONE;
}

static int recv_full(struct fe_vhost *v, void *buf, size_t len)
{
    for (size_t got = 0; got < len;) {
        int e = fe_poll(v->sock, POLLIN, v->timeout_ms);
        if (e < 0)
            return e;
        ssize_t n = read(v->sock, (char *)buf + got, len - got);
        if (n <= 0)
            return FE_EGONE;
        got += (size_t)n;
    }
    return 0;
}

int fe_vhost_recv(struct fe_vhost *v, struct fe_vu_msg *msg)
{
    int e = recv_full(v, &msg->h, sizeof(msg->h));
    if (e < 0)
        return e;
    if (msg->h.flags != (VU_VERSION | VU_REPLY) || msg->h.size > sizeof(msg->raw)) {
        fprintf(stderr, "fe-vhost: reply to %u has flags %#x, size %u\n", msg->h.request,
                msg->h.flags, msg->h.size);
        return FE_EPROTO;
    }
    return recv_full(v, msg->raw, msg->h.size);
}

/* A reply to @request with at least @size bytes. */
static int recv_reply(struct fe_vhost *v, uint32_t request, uint32_t size, struct fe_vu_msg *msg)
{
    int e = fe_vhost_recv(v, msg);
    if (e < 0)
        return e;
    if (msg->h.request != request || msg->h.size != size) {
        fprintf(stderr, "fe-vhost: reply to %u of %u bytes, expected %u of %u\n", msg->h.request,
                msg->h.size, request, size);
        return FE_EPROTO;
    }
    return 0;
}

int fe_vhost_ack(struct fe_vhost *v, uint32_t request, const void *payload, uint32_t size,
                 const int *fds, unsigned nfds)
{
    struct fe_vu_msg reply;
    bool ack = v->proto & VU_PF_REPLY_ACK;
    int e = fe_vhost_send(v, request, ack ? VU_NEED_REPLY : 0, payload, size, fds, nfds);
    if (e < 0 || !ack)
        return e;
    e = recv_reply(v, request, sizeof(uint64_t), &reply);
    return e < 0 ? e : reply.u64 != 0;
}

int fe_vhost_ack_u64(struct fe_vhost *v, uint32_t request, uint64_t value)
{
    return fe_vhost_ack(v, request, &value, sizeof(value), NULL, 0);
}

int fe_vhost_ack_state(struct fe_vhost *v, uint32_t request, uint32_t index, uint32_t num)
{
    struct fe_vu_state s = {index, num};
    return fe_vhost_ack(v, request, &s, sizeof(s), NULL, 0);
}

int fe_vhost_ack_vring_fd(struct fe_vhost *v, uint32_t request, uint32_t index, int fd)
{
    uint64_t value = index | (fd < 0 ? 0x100u : 0);
    return fe_vhost_ack(v, request, &value, sizeof(value), &fd, fd < 0 ? 0 : 1);
}

int fe_vhost_get_u64(struct fe_vhost *v, uint32_t request, uint64_t *value)
{
    struct fe_vu_msg reply;
    int e = fe_vhost_send(v, request, 0, NULL, 0, NULL, 0);
    if (e == 0)
        e = recv_reply(v, request, sizeof(*value), &reply);
    if (e == 0)
        *value = reply.u64;
    return e;
}

int fe_vhost_get_base(struct fe_vhost *v, uint32_t index, uint32_t *base)
{
    struct fe_vu_state s = {.index = index};
    struct fe_vu_msg reply;
    int e = fe_vhost_send(v, VU_GET_VRING_BASE, 0, &s, sizeof(s), NULL, 0);
    if (e == 0)
        e = recv_reply(v, VU_GET_VRING_BASE, sizeof(s), &reply);
    if (e == 0 && reply.state.index != index)
        e = FE_EPROTO;
    if (e == 0)
        *base = reply.state.num;
    return e;
}

int fe_vhost_wait_closed(struct fe_vhost *v, int ms)
{
    int64_t end = fe_now_ms() + ms;
    for (;;) {
        char buf[256];
        int e = fe_poll(v->sock, POLLIN, (int)(end - fe_now_ms()));
        if (e < 0)
            return e;
        if (read(v->sock, buf, sizeof(buf)) <= 0)
            return 0;
    }
}

int fe_vhost_negotiate(struct fe_vhost *v, uint64_t features, uint64_t proto)
{
    uint64_t offered = 0, proto_offered = 0;
    int e = fe_vhost_get_u64(v, VU_GET_FEATURES, &offered);
    if (e < 0)
        return e;
    v->features = offered & features;
    if (v->features & VU_F_PROTOCOL) {
        e = fe_vhost_get_u64(v, VU_GET_PROTOCOL_FEATURES, &proto_offered);
        uint64_t take = proto_offered & proto;
        if (e == 0)
            e = fe_vhost_send(v, VU_SET_PROTOCOL_FEATURES, 0, &take, sizeof(take), NULL, 0);
        if (e < 0)
            return e;
        v->proto = take;
    }
    e = fe_vhost_ack(v, VU_SET_OWNER, NULL, 0, NULL, 0);
    return e ? e : fe_vhost_ack_u64(v, VU_SET_FEATURES, v->features);
}

int fe_vhost_mem_table(struct fe_vhost *v, struct fe_mem *m)
{
    struct fe_vu_mem t = {.n = m->n};
    int fds[FE_MAX_REGIONS];
    for (unsigned i = 0; i < m->n; i++) {
        t.r[i] = (struct fe_vu_region){m->r[i].gpa, m->r[i].size, m->r[i].uaddr, m->r[i].off};
        fds[i] = m->r[i].fd;
    }
    return fe_vhost_ack(v, VU_SET_MEM_TABLE, &t, 8 + m->n * (uint32_t)sizeof(t.r[0]), fds, m->n);
}

int fe_vhost_make_rings(struct fe_vhost *v, struct fe_mem *m, unsigned n, unsigned size)
{
    v->mem = m;
    for (v->nrings = 0; v->nrings < n; v->nrings++) {
        int e = fe_ring_init(&v->ring[v->nrings], m, 0, size);
        if (e < 0)
            return e;
        v->ring[v->nrings].event_idx = v->features & VU_F_EVENT_IDX;
    }
    return 0;
}

int fe_vhost_start_ring(struct fe_vhost *v, unsigned index)
{
    struct fe_ring *r = &v->ring[index];
    struct fe_vu_addr a = {
        .index = index,
        .desc = fe_mem_uaddr(v->mem, r->desc_gpa),
        .used = fe_mem_uaddr(v->mem, r->used_gpa),
        .avail = fe_mem_uaddr(v->mem, r->avail_gpa),
    };
    int e = fe_vhost_ack_state(v, VU_SET_VRING_NUM, index, r->size);
    if (e == 0)
        e = fe_vhost_ack_state(v, VU_SET_VRING_BASE, index, r->avail_shown);
    if (e == 0)
        e = fe_vhost_ack(v, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
    if (e == 0)
        e = fe_vhost_ack_vring_fd(v, VU_SET_VRING_CALL, index, r->call_w);
    if (e == 0)
        e = fe_vhost_ack_vring_fd(v, VU_SET_VRING_ERR, index, r->err);
    if (e == 0)
        e = fe_vhost_ack_vring_fd(v, VU_SET_VRING_KICK, index, r->kick);
    if (e == 0 && v->features & VU_F_PROTOCOL)
        e = fe_vhost_ack_state(v, VU_SET_VRING_ENABLE, index, 1);
    return e;
}

#define USUAL       (VU_F_INDIRECT | VU_F_EVENT_IDX | VU_F_PROTOCOL | VU_F_VERSION_1)
#define USUAL_PROTO (VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_RESET_DEVICE | VU_PF_CONFIG)

int fe_vhost_get_shmem(struct fe_vhost *v, struct fe_vu_shmem *s)
{
    struct fe_vu_msg reply;
    int e = fe_vhost_send(v, VU_GET_SHMEM_CONFIG, 0, NULL, 0, NULL, 0);
    if (e == 0)
        e = recv_reply(v, VU_GET_SHMEM_CONFIG, sizeof(*s), &reply);
    if (e == 0)
        memcpy(s, reply.raw, sizeof(*s));
    return e;
}

int fe_vhost_start_shmem(struct fe_vhost *v, struct fe_mem *m, unsigned nrings, unsigned size,
                         int channel, uint64_t extra, uint64_t *window, bool run)
{
    struct fe_vu_shmem s = {0};
    int e = fe_vhost_negotiate(v, USUAL, USUAL_PROTO | VU_PF_BACKEND_REQ | VU_PF_SEND_FD | extra);
    if (e == 0)
        e = fe_vhost_ack(v, VU_SET_BACKEND_REQ_FD, NULL, 0, &channel, 1);
    if (e == 0 && window) {
        e = fe_vhost_get_shmem(v, &s);
        *window = s.size[0];
    }
    if (e == 0)
        e = fe_vhost_mem_table(v, m);
    if (e == 0)
        e = fe_vhost_make_rings(v, m, nrings, size);
    for (unsigned i = 0; e == 0 && run && i < nrings; i++)
        e = fe_vhost_start_ring(v, i);
    return e;
}

int fe_vhost_start_with(struct fe_vhost *v, struct fe_mem *m, unsigned nrings, unsigned size,
                        uint64_t features, uint64_t proto)
{
    int e = fe_vhost_negotiate(v, features, proto);
    if (e == 0)
        e = fe_vhost_mem_table(v, m);
    if (e == 0)
        e = fe_vhost_make_rings(v, m, nrings, size);
    for (unsigned i = 0; e == 0 && i < nrings; i++)
        e = fe_vhost_start_ring(v, i);
    return e;
}

int fe_vhost_start(struct fe_vhost *v, struct fe_mem *m, unsigned nrings, unsigned size)
{
    return fe_vhost_start_with(v, m, nrings, size, USUAL, USUAL_PROTO);
}
