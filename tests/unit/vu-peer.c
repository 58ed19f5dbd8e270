/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/vu-peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtiofsd/base/iov.h"

#define WAIT_MS 5000

/* ---- the device ---- */

static void answer(struct chain *c)
{
    uint8_t buf[4096];
    size_t n = iov_to_buf(c->in, c->in_cnt, 0, buf, sizeof(buf));
    chain_complete(c, iov_from_buf(c->out, c->out_cnt, 0, buf, n));
}

static void on_handle(void *user, struct chain *c)
{
    struct peer *p = user;
    bool hold = p->mode == PEER_HOLD;
    void (*work)(struct peer *, struct chain *) = p->work;
    if (work)
        work(p, c);
    pthread_mutex_lock(&p->lock);
    p->handled++;
    p->unmapped += c->unmapped;
    if (hold)
        p->held[p->nheld++] = c;
    pthread_mutex_unlock(&p->lock);
    if (!hold)
        answer(c);
}

void peer_release(struct peer *p)
{
    struct chain *held[64];
    pthread_mutex_lock(&p->lock);
    unsigned n = p->nheld;
    memcpy(held, p->held, n * sizeof(held[0]));
    p->nheld = 0;
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < n; i++)
        answer(held[i]);
}

static void on_drain(void *user)
{
    struct peer *p = user;
    pthread_mutex_lock(&p->lock);
    p->drains++;
    bool release = p->release_on_drain;
    pthread_mutex_unlock(&p->lock);
    if (release)
        peer_release(p);
}

static void on_reset(void *user)
{
    struct peer *p = user;
    pthread_mutex_lock(&p->lock);
    p->resets++;
    pthread_mutex_unlock(&p->lock);
}

static void on_hang_up(void *user)
{
    struct peer *p = user;
    pthread_mutex_lock(&p->lock);
    p->hang_ups++;
    pthread_mutex_unlock(&p->lock);
}

static const struct vu_dev_ops ops = {.handle = on_handle, .drain = on_drain, .reset = on_reset};
const struct vu_dev_ops peer_ops_hang_up = {
    .handle = on_handle, .drain = on_drain, .reset = on_reset, .hang_up = on_hang_up};

static void *run(void *arg)
{
    struct peer *p = arg;
    g_autoptr(GError) err = NULL;
    p->run_result = vu_dev_run(p->dev, &err);
    return NULL;
}

void peer_init(struct peer *p)
{
    int sv[2];
    memset(p, 0, sizeof(*p));
    pthread_mutex_init(&p->lock, NULL);
    p->mem_fd = memfd_create("guest", MFD_CLOEXEC);
    assert_true(p->mem_fd >= 0);
    assert_int_equal(ftruncate(p->mem_fd, PEER_MEM), 0);
    p->mem = mmap(NULL, PEER_MEM, PROT_READ | PROT_WRITE, MAP_SHARED, p->mem_fd, 0);
    assert_true(p->mem != MAP_FAILED);
    for (unsigned q = 0; q < PEER_QUEUES; q++) {
        p->kick[q] = eventfd(0, EFD_CLOEXEC);
        p->call[q] = eventfd(0, EFD_CLOEXEC);
        p->err[q] = eventfd(0, EFD_CLOEXEC);
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    p->sock = sv[0];
    p->release_on_drain = true;
    p->cfg = (struct vu_config){.ops = &ops,
                                .user = p,
                                .listen_fd = -1,
                                .conn_fd = sv[1],
                                .num_queues = PEER_QUEUES,
                                .hiprio = 1,
                                .max_queue_size = 1024};
}

void peer_start(struct peer *p)
{
    p->dev = vu_dev_new(&p->cfg);
    assert_int_equal(pthread_create(&p->thread, NULL, run, p), 0);
}

void peer_stop(struct peer *p)
{
    if (p->sock >= 0)
        close(p->sock);
    p->sock = -1;
    pthread_join(p->thread, NULL);
    vu_dev_free(p->dev);
}

void peer_fini(struct peer *p)
{
    munmap(p->mem, PEER_MEM);
    close(p->mem_fd);
    for (unsigned q = 0; q < PEER_QUEUES; q++) {
        close(p->kick[q]);
        close(p->call[q]);
        close(p->err[q]);
    }
    pthread_mutex_destroy(&p->lock);
}

/* ---- messages ---- */

void peer_send_raw(struct peer *p, const void *bytes, size_t len, const int *fds, unsigned nfds)
{
    char control[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
    if (nfds > 0) {
        mh.msg_control = control;
        mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
    }
    assert_int_equal(sendmsg(p->sock, &mh, MSG_NOSIGNAL), (ssize_t)len);
}

void peer_send(struct peer *p, uint32_t request, uint32_t flags, const void *payload, size_t len,
               const int *fds, unsigned nfds)
{
    uint8_t buf[1024];
    struct vu_hdr hdr = {request, flags, (uint32_t)len};
    assert_true(sizeof(hdr) + len <= sizeof(buf));
    memcpy(buf, &hdr, sizeof(hdr));
    if (len)
        memcpy(buf + sizeof(hdr), payload, len);
    peer_send_raw(p, buf, sizeof(hdr) + len, fds, nfds);
}

/* All of @len bytes, or less when the connection ends. */
static size_t recv_all(int fd, void *buf, size_t len)
{
    size_t got = 0;
    while (got < len) {
        struct pollfd pfd = {fd, POLLIN, 0};
        assert_int_equal(poll(&pfd, 1, WAIT_MS), 1);
        ssize_t n = recv(fd, (uint8_t *)buf + got, len - got, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

int peer_recv(struct peer *p, uint32_t request, void *payload, size_t max)
{
    struct vu_hdr hdr;
    if (recv_all(p->sock, &hdr, sizeof(hdr)) != sizeof(hdr))
        return -1;
    assert_int_equal(hdr.request, request);
    assert_int_equal(hdr.flags, VU_VERSION | VU_REPLY);
    assert_true(hdr.size <= max);
    assert_int_equal(recv_all(p->sock, payload, hdr.size), hdr.size);
    return (int)hdr.size;
}

uint64_t peer_ack(struct peer *p, uint32_t request, const void *payload, size_t len, const int *fds,
                  unsigned nfds)
{
    uint64_t v = 0;
    peer_send(p, request, VU_VERSION | VU_NEED_REPLY, payload, len, fds, nfds);
    assert_int_equal(peer_recv(p, request, &v, sizeof(v)), sizeof(v));
    return v;
}

uint64_t peer_ack_u64(struct peer *p, uint32_t request, uint64_t value)
{
    return peer_ack(p, request, &value, sizeof(value), NULL, 0);
}

uint64_t peer_ack_vring(struct peer *p, uint32_t request, uint32_t index, uint32_t num)
{
    struct vu_wire_vring v = {index, num};
    return peer_ack(p, request, &v, sizeof(v), NULL, 0);
}

uint64_t peer_ask_u64(struct peer *p, uint32_t request)
{
    uint64_t v = 0;
    peer_send(p, request, VU_VERSION, NULL, 0, NULL, 0);
    assert_int_equal(peer_recv(p, request, &v, sizeof(v)), sizeof(v));
    return v;
}

/* ---- rings ---- */

void peer_hello(struct peer *p, uint64_t features)
{
    struct vu_wire_table t = {1, 0, {{PEER_GPA, PEER_MEM, PEER_UADDR, 0}}};
    uint64_t protocol = peer_ask_u64(p, VU_GET_PROTOCOL_FEATURES);
    assert_int_equal(peer_ack_u64(p, VU_SET_PROTOCOL_FEATURES, protocol), 0);
    assert_int_equal(peer_ack_u64(p, VU_SET_FEATURES, features), 0);
    assert_int_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 40, &p->mem_fd, 1), 0);
}

struct vring peer_vring(struct peer *p, unsigned q)
{
    struct vring r;
    vring_init(&r, PEER_NUM, p->mem + PEER_RING(q), 64);
    return r;
}

static uint64_t to_uaddr(struct peer *p, const void *ptr)
{
    return PEER_UADDR + (uint64_t)((const uint8_t *)ptr - p->mem);
}

void peer_ring_up(struct peer *p, unsigned q)
{
    struct vring r = peer_vring(p, q);
    struct vu_wire_addr a = {
        q, 0, to_uaddr(p, r.desc), to_uaddr(p, r.used), to_uaddr(p, r.avail), ~UINT64_C(0)};
    uint64_t index = q;
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_NUM, q, PEER_NUM), 0);
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_BASE, q, p->avail_idx[q]), 0);
    assert_int_equal(peer_ack(p, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
    assert_int_equal(peer_ack(p, VU_SET_VRING_CALL, &index, 8, &p->call[q], 1), 0);
    assert_int_equal(peer_ack(p, VU_SET_VRING_ERR, &index, 8, &p->err[q], 1), 0);
    assert_int_equal(peer_ack(p, VU_SET_VRING_KICK, &index, 8, &p->kick[q], 1), 0);
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_ENABLE, q, 1), 0);
}

unsigned peer_ring_stop(struct peer *p, unsigned q)
{
    struct vu_wire_vring v = {q, 0};
    peer_send(p, VU_GET_VRING_BASE, VU_VERSION, &v, sizeof(v), NULL, 0);
    assert_int_equal(peer_recv(p, VU_GET_VRING_BASE, &v, sizeof(v)), sizeof(v));
    assert_int_equal(v.index, q);
    return v.num;
}

void peer_desc(struct peer *p, unsigned q, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags,
               uint16_t next)
{
    peer_vring(p, q).desc[i] = (struct vring_desc){gpa, len, flags, next};
}

void peer_offer(struct peer *p, unsigned q, uint16_t head)
{
    struct vring r = peer_vring(p, q);
    r.avail->ring[p->avail_idx[q] % PEER_NUM] = head;
    __atomic_store_n(&r.avail->idx, ++p->avail_idx[q], __ATOMIC_SEQ_CST);
}

void peer_kick(struct peer *p, unsigned q)
{
    assert_int_equal(eventfd_write(p->kick[q], 1), 0);
}

bool peer_wait_used(struct peer *p, unsigned q, uint16_t idx)
{
    struct vring r = peer_vring(p, q);
    for (unsigned i = 0; i < WAIT_MS; i++) {
        if (__atomic_load_n(&r.used->idx, __ATOMIC_ACQUIRE) == idx)
            return true;
        usleep(1000);
    }
    return false;
}

uint64_t peer_called(struct peer *p, unsigned q, int ms)
{
    struct pollfd pfd = {p->call[q], POLLIN, 0};
    eventfd_t v = 0;
    if (poll(&pfd, 1, ms) == 1)
        eventfd_read(p->call[q], &v);
    return v;
}

void peer_echo(struct peer *p, unsigned q, const char *text)
{
    size_t len = strlen(text);
    uint32_t data = PEER_DATA + q * 0x4000; /* each ring's own */
    struct vring r = peer_vring(p, q);
    uint16_t used = r.used->idx;
    memcpy(p->mem + data, text, len);
    memset(p->mem + data + 0x1000, 0, len);
    peer_desc(p, q, 0, PEER_GPA + data, (uint32_t)len, VRING_DESC_F_NEXT, 1);
    peer_desc(p, q, 1, PEER_GPA + data + 0x1000, (uint32_t)len, VRING_DESC_F_WRITE, 0);
    peer_offer(p, q, 0);
    peer_kick(p, q);
    assert_true(peer_wait_used(p, q, (uint16_t)(used + 1)));
    struct vring_used_elem *e = &r.used->ring[used % PEER_NUM];
    assert_int_equal(e->id, 0);
    assert_int_equal(e->len, len);
    assert_memory_equal(p->mem + data + 0x1000, text, len);
}

bool peer_wait_held(struct peer *p, unsigned n)
{
    for (unsigned i = 0; i < WAIT_MS; i++) {
        pthread_mutex_lock(&p->lock);
        bool there = p->nheld >= n;
        pthread_mutex_unlock(&p->lock);
        if (there)
            return true;
        usleep(1000);
    }
    return false;
}

/* ---- what most tests begin with ---- */

int peer_setup(void **state)
{
    struct peer *p = g_new0(struct peer, 1);
    peer_init(p);
    *state = p;
    return 0;
}

int peer_teardown(void **state)
{
    peer_fini(*state);
    g_free(*state);
    return 0;
}

void peer_up(struct peer *p, uint64_t features)
{
    peer_start(p);
    peer_hello(p, features);
    peer_ring_up(p, 1);
}

void peer_offer_one(struct peer *p, unsigned q, uint16_t head)
{
    peer_desc(p, q, head, PEER_GPA + PEER_DATA, 40, 0, 0);
    peer_offer(p, q, head);
    peer_kick(p, q);
}

unsigned peer_count(struct peer *p, const unsigned *field)
{
    pthread_mutex_lock(&p->lock);
    unsigned n = *field;
    pthread_mutex_unlock(&p->lock);
    return n;
}
