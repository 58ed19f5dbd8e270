/* SPDX-License-Identifier: BSD-3-Clause
 * vhost-user messages, good and bad, one by one: what is refused is refused with an
 * acknowledgement, and the connection goes on; what is no message at all ends the connection. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define MEG (1u << 20)

/* Daemon with a tag and a connection with REPLY_ACK, no memory yet. */
static int connect_only(void **state)
{
    static const char *const extra[] = {"--tag=myfs", "--relisten", "--num-request-queues=1", NULL};
    struct wire *w = *state;
    wire_spawn(w, extra);
    wire_connect(w);
    assert_int_equal(fe_vhost_negotiate(&w->v, ~0ULL, ~0ULL), 0);
    return 0;
}

/* The connection still answers. */
static void goes_on(struct wire *w, const char *after)
{
    uint64_t v = 0;
    int e = fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &v);
    if (e || !(v & VU_F_VERSION_1))
        fail_msg("after %s: GET_FEATURES gives %d", after, e);
}

static void offered(void **state)
{
    struct wire *w = *state;
    uint64_t f = 0, p = 0, n = 0;
    assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &f), 0);
    assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_PROTOCOL_FEATURES, &p), 0);
    assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_QUEUE_NUM, &n), 0);
    const uint64_t must = VU_F_INDIRECT | VU_F_EVENT_IDX | VU_F_PROTOCOL | VU_F_VERSION_1;
    assert_int_equal(f & must, must);
    /* ACCESS_PLATFORM, IN_ORDER, NOTIFICATION_DATA; INBAND, XEN_MMAP, GPA_ADDRESSES */
    assert_int_equal(f & (1ULL << 33 | 1ULL << 35 | 1ULL << 38), 0);
    assert_int_equal(p & (1ULL << 14 | 1ULL << 17 | 1ULL << 21), 0);
    const uint64_t want = VU_PF_MQ | VU_PF_REPLY_ACK | VU_PF_RESET_DEVICE | VU_PF_CONFIG |
                          VU_PF_BACKEND_REQ | VU_PF_MEM_SLOTS;
    assert_int_equal(p & want, want);
    assert_int_equal(n, 2);
    assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_MAX_MEM_SLOTS, &n), 0);
    assert_true(n >= 8 && n <= 512);
}

/* Without --tag the configuration space is not offered (old QEMU breaks on it). */
static void no_tag_no_config(void **state)
{
    struct wire *w = *state;
    uint64_t p = 0;
    wire_spawn(w, NULL);
    wire_connect(w);
    assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_PROTOCOL_FEATURES, &p), 0);
    assert_int_equal(p & VU_PF_CONFIG, 0);
    wire_finish(w, 0);
}

/* ---- a table of messages that must be refused ---- */

enum fd_kind { FD_NONE, FD_EVENT, FD_TWO_EVENTS, FD_MEM, FD_TWO_MEM, FD_SOCKET };

static const struct bad {
    const char *what;
    uint32_t request, size;
    enum fd_kind fds;
    uint64_t payload[9]; /* as the 64-bit words of the wire */
} bad_messages[] = {
    {"SET_FEATURES of 4 bytes", VU_SET_FEATURES, 4, FD_NONE, {0}},
    {"SET_FEATURES of 16 bytes", VU_SET_FEATURES, 16, FD_NONE, {0}},
    {"SET_FEATURES with a feature not offered", VU_SET_FEATURES, 8, FD_NONE, {1ULL << 63}},
    {"SET_PROTOCOL_FEATURES of 0 bytes", VU_SET_PROTOCOL_FEATURES, 0, FD_NONE, {0}},
    {"SET_PROTOCOL_FEATURES not offered", VU_SET_PROTOCOL_FEATURES, 8, FD_NONE, {1ULL << 40}},
    {"SET_VRING_NUM of queue 200", VU_SET_VRING_NUM, 8, FD_NONE, {128ULL << 32 | 200}},
    {"SET_VRING_NUM of queue 2^32-1", VU_SET_VRING_NUM, 8, FD_NONE, {128ULL << 32 | 0xffffffff}},
    {"SET_VRING_NUM 0", VU_SET_VRING_NUM, 8, FD_NONE, {0}},
    {"SET_VRING_NUM 3", VU_SET_VRING_NUM, 8, FD_NONE, {3ULL << 32}},
    {"SET_VRING_NUM 65536", VU_SET_VRING_NUM, 8, FD_NONE, {65536ULL << 32}},
    {"SET_VRING_NUM 2^31", VU_SET_VRING_NUM, 8, FD_NONE, {1ULL << 63}},
    {"SET_VRING_NUM of 4 bytes", VU_SET_VRING_NUM, 4, FD_NONE, {0}},
    {"SET_VRING_ADDR of queue 77", VU_SET_VRING_ADDR, 40, FD_NONE, {77}},
    {"SET_VRING_ADDR of 32 bytes", VU_SET_VRING_ADDR, 32, FD_NONE, {0}},
    {"SET_VRING_ADDR of 48 bytes", VU_SET_VRING_ADDR, 48, FD_NONE, {0}},
    {"SET_VRING_BASE of queue 9999", VU_SET_VRING_BASE, 8, FD_NONE, {9999}},
    {"SET_VRING_BASE 65536", VU_SET_VRING_BASE, 8, FD_NONE, {65536ULL << 32}},
    {"SET_VRING_KICK of queue 255", VU_SET_VRING_KICK, 8, FD_EVENT, {255}},
    {"SET_VRING_KICK without descriptor", VU_SET_VRING_KICK, 8, FD_NONE, {0}},
    {"SET_VRING_KICK, no-fd bit, with one", VU_SET_VRING_KICK, 8, FD_EVENT, {0x100}},
    {"SET_VRING_KICK with two", VU_SET_VRING_KICK, 8, FD_TWO_EVENTS, {0}},
    {"SET_VRING_KICK of 4 bytes", VU_SET_VRING_KICK, 4, FD_EVENT, {0}},
    {"SET_VRING_CALL of queue 255", VU_SET_VRING_CALL, 8, FD_EVENT, {255}},
    {"SET_VRING_CALL without descriptor", VU_SET_VRING_CALL, 8, FD_NONE, {0}},
    {"SET_VRING_CALL with two", VU_SET_VRING_CALL, 8, FD_TWO_EVENTS, {0}},
    {"SET_VRING_ERR of queue 255", VU_SET_VRING_ERR, 8, FD_EVENT, {255}},
    {"SET_VRING_ERR with two", VU_SET_VRING_ERR, 8, FD_TWO_EVENTS, {0}},
    {"SET_VRING_ENABLE of queue 255", VU_SET_VRING_ENABLE, 8, FD_NONE, {1ULL << 32 | 255}},
    {"SET_VRING_ENABLE 2", VU_SET_VRING_ENABLE, 8, FD_NONE, {2ULL << 32}},
    {"SET_MEM_TABLE of 4 bytes", VU_SET_MEM_TABLE, 4, FD_NONE, {0}},
    {"SET_MEM_TABLE of no region", VU_SET_MEM_TABLE, 8, FD_NONE, {0}},
    {"SET_MEM_TABLE, 2^32-1 regions", VU_SET_MEM_TABLE, 40, FD_MEM, {0xffffffff, 0, MEG, 0, 0}},
    {"SET_MEM_TABLE, region cut short", VU_SET_MEM_TABLE, 32, FD_MEM, {1, 0, MEG, 0}},
    {"SET_MEM_TABLE, no descriptor", VU_SET_MEM_TABLE, 40, FD_NONE, {1, 0, MEG, 0, 0}},
    {"SET_MEM_TABLE, two descriptors", VU_SET_MEM_TABLE, 40, FD_TWO_MEM, {1, 0, MEG, 0, 0}},
    {"SET_MEM_TABLE, size 0", VU_SET_MEM_TABLE, 40, FD_MEM, {1, 0, 0, 0, 0}},
    {"SET_MEM_TABLE, beyond the file", VU_SET_MEM_TABLE, 40, FD_MEM, {1, 0, MEG, 0, 4096}},
    {"SET_MEM_TABLE, 2^40 bytes", VU_SET_MEM_TABLE, 40, FD_MEM, {1, 0, 1ULL << 40, 0, 0}},
    {"SET_MEM_TABLE, gpa wraps", VU_SET_MEM_TABLE, 40, FD_MEM, {1, ~0ULL - 4095, MEG, 0, 0}},
    {"SET_MEM_TABLE, uaddr wraps", VU_SET_MEM_TABLE, 40, FD_MEM, {1, 0, MEG, ~0ULL - 4095, 0}},
    {"SET_MEM_TABLE, offset wraps", VU_SET_MEM_TABLE, 40, FD_MEM, {1, 0, MEG, 0, ~0ULL - 4095}},
    {"SET_MEM_TABLE, an eventfd", VU_SET_MEM_TABLE, 40, FD_EVENT, {1, 0, 4096, 0, 0}},
    {"SET_MEM_TABLE, regions overlap",
     VU_SET_MEM_TABLE,
     72,
     FD_TWO_MEM,
     {2, 0, MEG, 0, 0, MEG - 4096, MEG, 1ULL << 32, 0}},
    {"SET_MEM_TABLE, uaddrs overlap",
     VU_SET_MEM_TABLE,
     72,
     FD_TWO_MEM,
     {2, 0, MEG, 1ULL << 32, 0, 1ULL << 32, MEG, (1ULL << 32) + MEG - 1, 0}},
    {"ADD_MEM_REG without descriptor", VU_ADD_MEM_REG, 40, FD_NONE, {0, 0, MEG, 0, 0}},
    {"ADD_MEM_REG with two", VU_ADD_MEM_REG, 40, FD_TWO_MEM, {0, 0, MEG, 0, 0}},
    {"ADD_MEM_REG of 32 bytes", VU_ADD_MEM_REG, 32, FD_MEM, {0, 0, MEG, 0}},
    {"ADD_MEM_REG beyond the file", VU_ADD_MEM_REG, 40, FD_MEM, {0, 0, 2 * MEG, 0, 0}},
    {"REM_MEM_REG of nothing", VU_REM_MEM_REG, 40, FD_NONE, {0, 1, MEG, 0, 0}},
    {"SET_BACKEND_REQ_FD without one", VU_SET_BACKEND_REQ_FD, 0, FD_NONE, {0}},
    {"SET_BACKEND_REQ_FD, two", VU_SET_BACKEND_REQ_FD, 0, FD_TWO_EVENTS, {0}},
    {"SET_BACKEND_REQ_FD, an eventfd", VU_SET_BACKEND_REQ_FD, 0, FD_EVENT, {0}},
    {"SET_CONFIG of the tag", VU_SET_CONFIG, 16, FD_NONE, {4ULL << 32, 0}},
    {"SET_STATUS of 4 bytes", VU_SET_STATUS, 4, FD_NONE, {0}},
    {"request 0", 0, 0, FD_NONE, {0}},
    {"request 19", 19, 8, FD_NONE, {0}},
    {"POSTCOPY_ADVISE", 28, 0, FD_NONE, {0}},
    {"request 41 with a descriptor", 41, 0, FD_EVENT, {0}},
    {"request 1000", 1000, 72, FD_NONE, {0}},
    {"request 2^32-1", 0xffffffff, 0, FD_NONE, {0}},
};

/* Make the descriptors of a row. Returns how many. */
static unsigned make_fds(enum fd_kind kind, int *fds)
{
    unsigned n = kind == FD_NONE ? 0 : kind == FD_TWO_EVENTS || kind == FD_TWO_MEM ? 2 : 1;
    for (unsigned i = 0; i < n; i++) {
        if (kind == FD_MEM || kind == FD_TWO_MEM) {
            fds[i] = memfd_create("region", MFD_CLOEXEC);
            assert_int_equal(ftruncate(fds[i], MEG), 0);
        } else {
            fds[i] = eventfd(0, EFD_CLOEXEC);
        }
    }
    return n;
}

static void refused(void **state)
{
    struct wire *w = *state;
    unsigned before = fe_daemon_fds(&w->d);
    for (unsigned i = 0; i < sizeof(bad_messages) / sizeof(bad_messages[0]); i++) {
        const struct bad *b = &bad_messages[i];
        int fds[2];
        unsigned n = make_fds(b->fds, fds);
        int e = fe_vhost_ack(&w->v, b->request, b->payload, b->size, fds, n);
        for (unsigned k = 0; k < n; k++)
            close(fds[k]);
        if (e != 1)
            fail_msg("%s: answer %d instead of a refusal", b->what, e);
        goes_on(w, b->what);
    }
    assert_int_equal(fe_daemon_fds(&w->d), before); /* every descriptor was closed */
}

/* The same without need_reply: nothing is answered. */
static void refused_in_silence(void **state)
{
    struct wire *w = *state;
    for (unsigned i = 0; i < sizeof(bad_messages) / sizeof(bad_messages[0]); i++) {
        const struct bad *b = &bad_messages[i];
        int fds[2];
        unsigned n = make_fds(b->fds, fds);
        assert_int_equal(fe_vhost_send(&w->v, b->request, 0, b->payload, b->size, fds, n), 0);
        for (unsigned k = 0; k < n; k++)
            close(fds[k]);
        goes_on(w, b->what);
    }
}

/* Questions that cannot be answered are answered by an empty reply. */
static void bad_questions(void **state)
{
    struct wire *w = *state;
    static const struct bad questions[] = {
        {"GET_VRING_BASE of queue 99", VU_GET_VRING_BASE, 8, FD_NONE, {99}},
        {"GET_CONFIG of 0 bytes", VU_GET_CONFIG, 12, FD_NONE, {0, 0}},
        {"GET_CONFIG without room", VU_GET_CONFIG, 12, FD_NONE, {4ULL << 32, 0}},
        {"GET_CONFIG at 257", VU_GET_CONFIG, 16, FD_NONE, {4ULL << 32 | 257, 0}},
        {"GET_CONFIG wraps", VU_GET_CONFIG, 16, FD_NONE, {4ULL << 32 | 0xffffffff, 0}},
    };
    for (unsigned i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        const struct bad *q = &questions[i];
        struct fe_vu_msg m;
        assert_int_equal(fe_vhost_send(&w->v, q->request, 0, q->payload, q->size, NULL, 0), 0);
        int e = fe_vhost_recv(&w->v, &m);
        if (e || m.h.size != 0 || m.h.request != q->request)
            fail_msg("%s: %d, %u bytes of reply to %u", q->what, e, m.h.size, m.h.request);
        goes_on(w, q->what);
    }
}

/* ---- good ones ---- */

/* GET_CONFIG as a front-end reads it: any offset, any size, zeros behind the end. */
static void config_space(void **state)
{
    struct wire *w = *state;
    uint8_t want[256] = "myfs";
    want[36] = 1; /* num_request_queues */
    for (uint32_t off = 0; off < 256; off += 11) {
        for (uint32_t size = 1; off + size <= 256; size += size < 48 ? 1 : 50) {
            struct {
                uint32_t off, size, flags;
                uint8_t data[256];
            } c = {.off = off, .size = size};
            struct fe_vu_msg m;
            assert_int_equal(fe_vhost_send(&w->v, VU_GET_CONFIG, 0, &c, 12 + size, NULL, 0), 0);
            assert_int_equal(fe_vhost_recv(&w->v, &m), 0);
            assert_int_equal(m.h.size, 12 + size);
            assert_memory_equal(m.raw, &c, 12);
            assert_memory_equal(m.raw + 12, want + off, size);
        }
    }
}

static void status_and_reset(void **state)
{
    struct wire *w = *state;
    uint64_t v = 1;
    if (w->v.proto & VU_PF_STATUS) {
        assert_int_equal(fe_vhost_ack_u64(&w->v, VU_SET_STATUS, 15), 0);
        assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_STATUS, &v), 0);
        assert_int_equal(v, 15);
    }
    assert_int_equal(fe_vhost_ack(&w->v, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    if (w->v.proto & VU_PF_STATUS) {
        assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_STATUS, &v), 0);
        assert_int_equal(v, 0);
    }
    assert_int_equal(fe_vhost_ack(&w->v, VU_RESET_OWNER, NULL, 0, NULL, 0), 0);
    goes_on(w, "RESET_OWNER");
}

/* User-Mode Linux 6.1 sends one region in a table of two. */
static void mem_table_of_72_bytes(void **state)
{
    struct wire *w = *state;
    const uint64_t table[9] = {1, 0, MEG, 0, 0};
    int fd;
    make_fds(FD_MEM, &fd);
    assert_int_equal(fe_vhost_ack(&w->v, VU_SET_MEM_TABLE, table, 72, &fd, 1), 0);
    close(fd);
    goes_on(w, "SET_MEM_TABLE of 72 bytes");
}

static void memory_slots(void **state)
{
    struct wire *w = *state;
    uint64_t slots = 0;
    int fd;
    make_fds(FD_MEM, &fd);
    assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_MAX_MEM_SLOTS, &slots), 0);
    for (uint64_t i = 0; i < slots; i++) {
        const uint64_t reg[5] = {0, i * MEG, MEG, (i + 7) * MEG, 0};
        assert_int_equal(fe_vhost_ack(&w->v, VU_ADD_MEM_REG, reg, 40, &fd, 1), 0);
    }
    const uint64_t more[5] = {0, slots * MEG, MEG, (slots + 7) * MEG, 0};
    assert_int_equal(fe_vhost_ack(&w->v, VU_ADD_MEM_REG, more, 40, &fd, 1), 1);
    const uint64_t again[5] = {0, 0, MEG, 7 * MEG, 0};
    assert_int_equal(fe_vhost_ack(&w->v, VU_ADD_MEM_REG, again, 40, &fd, 1), 1);
    for (uint64_t i = 0; i < slots; i++) { /* the offset does not matter; a descriptor may come */
        const uint64_t reg[5] = {0, i * MEG, MEG, (i + 7) * MEG, 12345};
        assert_int_equal(fe_vhost_ack(&w->v, VU_REM_MEM_REG, reg, 40, &fd, i % 2), 0);
    }
    assert_int_equal(fe_vhost_ack(&w->v, VU_REM_MEM_REG, again, 40, NULL, 0), 1);
    close(fd);
}

static void backend_channel(void **state)
{
    struct wire *w = *state;
    int s[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
    assert_int_equal(fe_vhost_ack(&w->v, VU_SET_BACKEND_REQ_FD, NULL, 0, &s[1], 1), 0);
    assert_int_equal(fe_vhost_ack(&w->v, VU_SET_BACKEND_REQ_FD, NULL, 0, &s[1], 1), 0);
    close(s[0]);
    close(s[1]);
    goes_on(w, "SET_BACKEND_REQ_FD");
}

/* need_reply means nothing before REPLY_ACK is negotiated. */
static void no_ack_unless_negotiated(void **state)
{
    struct wire *w = *state;
    uint64_t zero = 0;
    wire_spawn(w, NULL);
    wire_connect(w);
    assert_int_equal(fe_vhost_send(&w->v, VU_SET_OWNER, VU_NEED_REPLY, NULL, 0, NULL, 0), 0);
    assert_int_equal(fe_vhost_send(&w->v, 1000, VU_NEED_REPLY, NULL, 0, NULL, 0), 0);
    assert_int_equal(fe_vhost_send(&w->v, VU_SET_VRING_NUM, VU_NEED_REPLY, &zero, 8, NULL, 0), 0);
    goes_on(w, "messages with need_reply");
    wire_finish(w, 0);
}

/* A stream may be cut anywhere. */
static void byte_by_byte(void **state)
{
    struct wire *w = *state;
    uint8_t msg[20] = {0};
    struct fe_vu_hdr h = {VU_SET_FEATURES, VU_VERSION | VU_NEED_REPLY, 8};
    struct fe_vu_msg reply;
    memcpy(msg, &h, sizeof(h));
    memcpy(msg + 12, &w->v.features, 8);
    for (unsigned i = 0; i < sizeof(msg); i++) {
        assert_int_equal(write(w->v.sock, msg + i, 1), 1);
        usleep(500);
    }
    assert_int_equal(fe_vhost_recv(&w->v, &reply), 0);
    assert_int_equal(reply.u64, 0);
}

/* Several messages in one write. */
static void back_to_back(void **state)
{
    struct wire *w = *state;
    struct fe_vu_hdr h[3] = {{VU_GET_FEATURES, VU_VERSION, 0},
                             {VU_GET_QUEUE_NUM, VU_VERSION, 0},
                             {VU_GET_PROTOCOL_FEATURES, VU_VERSION, 0}};
    struct fe_vu_msg reply;
    assert_int_equal(write(w->v.sock, h, sizeof(h)), sizeof(h));
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fe_vhost_recv(&w->v, &reply), 0);
        assert_int_equal(reply.h.request, h[i].request);
    }
}

/* ---- what ends the connection; the next one is served ---- */

static void next_one_served(struct wire *w)
{
    assert_int_equal(fe_vhost_wait_closed(&w->v, FE_TIMEOUT_MS), 0);
    fe_vhost_close(&w->v);
    wire_connect(w);
    assert_int_equal(fe_vhost_negotiate(&w->v, ~0ULL, ~0ULL), 0);
    goes_on(w, "a broken connection");
}

static void fatal(void **state)
{
    struct wire *w = *state;
    static const struct fe_vu_hdr bad[] = {
        {VU_GET_FEATURES, 0, 0},
        {VU_GET_FEATURES, 2, 0},
        {VU_GET_FEATURES, 3, 0},
        {VU_SET_FEATURES, VU_VERSION, 0xffffffff},
        {VU_SET_FEATURES, VU_VERSION, 0x80000000},
        {VU_GET_CONFIG, VU_VERSION, 1u << 20},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(write(w->v.sock, &bad[i], sizeof(bad[i])), sizeof(bad[i]));
        next_one_served(w);
    }
}

static void cut_off(void **state)
{
    struct wire *w = *state;
    struct fe_vu_hdr h = {VU_SET_MEM_TABLE, VU_VERSION, 264};
    for (unsigned n = 1; n < sizeof(h); n += 5) {
        assert_int_equal(write(w->v.sock, &h, n), n);
        shutdown(w->v.sock, SHUT_WR);
        next_one_served(w);
    }
    assert_int_equal(write(w->v.sock, &h, sizeof(h)), sizeof(h));
    assert_int_equal(write(w->v.sock, &h, 8), 8);
    shutdown(w->v.sock, SHUT_WR);
    next_one_served(w);
}

/* Many descriptors with a message that wants none: all closed, nothing leaks. */
static void too_many_fds(void **state)
{
    struct wire *w = *state;
    unsigned before = fe_daemon_fds(&w->d);
    int fds[32];
    for (unsigned i = 0; i < 32; i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    for (unsigned k = 0; k < 20; k++) {
        int e = fe_vhost_ack(&w->v, VU_SET_OWNER, NULL, 0, fds, 32);
        if (e == FE_EGONE)
            next_one_served(w);
        else
            assert_true(e == 0 || e == 1);
    }
    for (unsigned i = 0; i < 32; i++)
        close(fds[i]);
    goes_on(w, "many descriptors");
    assert_int_equal(fe_daemon_fds(&w->d), before);
}

#define ON_CONNECTION(t) cmocka_unit_test_setup_teardown(t, connect_only, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_CONNECTION(offered),
        cmocka_unit_test_teardown(no_tag_no_config, wire_cleanup),
        ON_CONNECTION(refused),
        ON_CONNECTION(refused_in_silence),
        ON_CONNECTION(bad_questions),
        ON_CONNECTION(config_space),
        ON_CONNECTION(status_and_reset),
        ON_CONNECTION(mem_table_of_72_bytes),
        ON_CONNECTION(memory_slots),
        ON_CONNECTION(backend_channel),
        cmocka_unit_test_teardown(no_ack_unless_negotiated, wire_cleanup),
        ON_CONNECTION(byte_by_byte),
        ON_CONNECTION(back_to_back),
        ON_CONNECTION(fatal),
        ON_CONNECTION(cut_off),
        ON_CONNECTION(too_many_fds),
    };
    return cmocka_run_group_tests_name("wire-message", tests, wire_make, wire_teardown);
}
