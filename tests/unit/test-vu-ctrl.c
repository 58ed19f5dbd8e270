/* SPDX-License-Identifier: BSD-3-Clause
 * Front-end messages, good and bad: what is answered, and that the connection goes on. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/vu-peer.h"
#include "vhost-user/vu-msg.h"

static const uint8_t config[40] = "tag";

static int setup(void **state)
{
    struct peer *p = g_new0(struct peer, 1);
    peer_init(p);
    p->cfg.config = config;
    p->cfg.config_len = sizeof(config);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    peer_fini(*state);
    g_free(*state);
    return 0;
}

static unsigned open_fds(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_offered(void **state)
{
    struct peer *p = *state;
    p->cfg.features = BIT(3);
    peer_start(p);
    assert_int_equal(peer_ask_u64(p, VU_GET_FEATURES),
                     BIT(3) | BIT(28) | BIT(29) | BIT(30) | BIT(32));
    assert_int_equal(peer_ask_u64(p, VU_GET_PROTOCOL_FEATURES),
                     BIT(0) | BIT(3) | BIT(5) | BIT(9) | BIT(13) | BIT(15) | BIT(16));
    peer_hello(p, FEATURES);
    assert_int_equal(peer_ask_u64(p, VU_GET_QUEUE_NUM), PEER_QUEUES);
    assert_int_equal(peer_ask_u64(p, VU_GET_MAX_MEM_SLOTS), 509);
    assert_int_equal(peer_ack_u64(p, VU_SET_STATUS, 15), 0);
    assert_int_equal(peer_ask_u64(p, VU_GET_STATUS), 15);
    assert_int_equal(peer_ack(p, VU_SET_OWNER, NULL, 0, NULL, 0), 0);
    assert_int_equal(peer_ack(p, VU_RESET_OWNER, NULL, 0, NULL, 0), 0);
    peer_stop(p);
}

static void test_no_config(void **state)
{
    struct peer *p = *state;
    struct vu_wire_config c = {0, 40, 0, {0}};
    p->cfg.config = NULL;
    peer_start(p);
    assert_int_equal(peer_ask_u64(p, VU_GET_PROTOCOL_FEATURES) & BIT(9), 0);
    peer_send(p, VU_GET_CONFIG, VU_VERSION, &c, 52, NULL, 0);
    assert_int_equal(peer_recv(p, VU_GET_CONFIG, &c, sizeof(c)), 0);
    peer_stop(p);
}

/* @size asked at @offset in a payload of @len bytes. Returns the length of the reply. */
static int ask_config(struct peer *p, uint32_t offset, uint32_t size, size_t len,
                      struct vu_wire_config *c)
{
    memset(c, 0x55, sizeof(*c));
    c->offset = offset;
    c->size = size;
    c->flags = 0;
    peer_send(p, VU_GET_CONFIG, VU_VERSION, c, len, NULL, 0);
    return peer_recv(p, VU_GET_CONFIG, c, sizeof(*c));
}

static void test_config(void **state)
{
    struct peer *p = *state;
    struct vu_wire_config c;
    peer_start(p);
    peer_hello(p, FEATURES);
    for (uint32_t n = 1; n <= 256; n++) {
        assert_int_equal(ask_config(p, 0, n, VU_CONFIG_HDR + n, &c), VU_CONFIG_HDR + n);
        assert_int_equal(c.size, n);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(c.data[i], i < sizeof(config) ? config[i] : 0);
    }
    assert_int_equal(ask_config(p, 1, 2, 14, &c), 14);
    assert_memory_equal(c.data, "ag", 2);
    assert_int_equal(ask_config(p, 255, 1, 13, &c), 13);
    /* An empty reply is an error. */
    assert_int_equal(ask_config(p, 0, 0, 12, &c), 0);
    assert_int_equal(ask_config(p, 0, 40, 51, &c), 0);
    assert_int_equal(ask_config(p, 0, 41, 13, &c), 0);
    assert_int_equal(ask_config(p, 256, 1, 13, &c), 0);
    assert_int_equal(ask_config(p, UINT32_MAX, 2, 14, &c), 0);
    assert_int_equal(ask_config(p, 255, 2, 14, &c), 0);
    assert_int_equal(ask_config(p, 0, UINT32_MAX, 12, &c), 0);
    c = (struct vu_wire_config){0, 4, 0, "evil"};
    assert_int_not_equal(peer_ack(p, VU_SET_CONFIG, &c, 16, NULL, 0), 0);
    assert_int_equal(ask_config(p, 0, 4, 16, &c), 16);
    assert_memory_equal(c.data, "tag", 4);
    peer_stop(p);
}

/* Debian 12's User-Mode Linux sends room for two regions, always. */
static void test_mem_table(void **state)
{
    struct peer *p = *state;
    struct vu_wire_table t = {1, 0, {{PEER_GPA, PEER_MEM, PEER_UADDR, 0}}};
    int fds[9];
    peer_start(p);
    peer_hello(p, FEATURES);
    for (unsigned i = 0; i < 9; i++)
        fds[i] = p->mem_fd;
    assert_int_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 72, fds, 1), 0);
    assert_int_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, sizeof(t), fds, 1), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 39, fds, 1), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 8, fds, 1), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 7, fds, 1), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 40, fds, 0), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 72, fds, 2), 0);
    t.nregions = 2; /* both the same */
    t.region[1] = t.region[0];
    assert_int_not_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 72, fds, 2), 0);
    t.nregions = 0;
    assert_int_not_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 8, fds, 0), 0);
    t.nregions = 9;
    assert_int_not_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, sizeof(t), fds, 9), 0);
    t.nregions = 8;
    for (unsigned i = 0; i < 8; i++)
        t.region[i] = (struct vu_wire_region){i * 0x10000, 0x1000, i * 0x10000, i * 0x1000};
    assert_int_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, sizeof(t), fds, 8), 0);
    peer_stop(p);
}

static void test_slots(void **state)
{
    struct peer *p = *state;
    struct vu_wire_slot s = {0, {0x1000, 0x1000, 0x1000, 0}};
    peer_start(p);
    peer_hello(p, FEATURES);
    assert_int_equal(peer_ack(p, VU_ADD_MEM_REG, &s, 40, &p->mem_fd, 1), 0);
    assert_int_not_equal(peer_ack(p, VU_ADD_MEM_REG, &s, 40, &p->mem_fd, 1), 0);
    assert_int_not_equal(peer_ack(p, VU_ADD_MEM_REG, &s, 40, NULL, 0), 0);
    assert_int_equal(peer_ack(p, VU_REM_MEM_REG, &s, 40, &p->mem_fd, 1), 0);
    assert_int_not_equal(peer_ack(p, VU_REM_MEM_REG, &s, 40, NULL, 0), 0);
    peer_stop(p);
}

/* Everything about rings that is refused. */
static void test_rings_refused(void **state)
{
    struct peer *p = *state;
    static const struct {
        uint32_t request, index, num;
    } rows[] = {
        {VU_SET_VRING_NUM, PEER_QUEUES, 16},
        {VU_SET_VRING_NUM, UINT32_MAX, 16},
        {VU_SET_VRING_NUM, 2, 0},
        {VU_SET_VRING_NUM, 2, 17},
        {VU_SET_VRING_NUM, 2, 2048},
        {VU_SET_VRING_NUM, 2, UINT32_MAX},
        {VU_SET_VRING_BASE, 2, 65536},
        {VU_SET_VRING_BASE, PEER_QUEUES, 0},
        {VU_SET_VRING_ENABLE, 2, 2},
        {VU_SET_VRING_ENABLE, PEER_QUEUES, 1},
        {VU_SET_VRING_NUM, 1, 16},
        {VU_SET_VRING_BASE, 1, 0}, /* it runs */
    };
    struct vu_wire_addr a = {PEER_QUEUES, 0, PEER_UADDR, PEER_UADDR, PEER_UADDR, 0};
    struct vu_wire_vring v = {PEER_QUEUES, 0};
    peer_start(p);
    peer_hello(p, FEATURES);
    peer_ring_up(p, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (peer_ack_vring(p, rows[i].request, rows[i].index, rows[i].num) == 0)
            fail_msg("row %u was taken", i);
    }
    assert_int_not_equal(peer_ack(p, VU_SET_VRING_ADDR, &a, 40, NULL, 0), 0);
    a.index = 1; /* runs */
    assert_int_not_equal(peer_ack(p, VU_SET_VRING_ADDR, &a, 40, NULL, 0), 0);
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_NUM, 2, 1024), 0);
    a.index = 2;
    a.desc = PEER_UADDR + PEER_MEM - 16; /* too long for the memory */
    assert_int_not_equal(peer_ack(p, VU_SET_VRING_ADDR, &a, 40, NULL, 0), 0);
    a.desc = PEER_UADDR + 8;
    assert_int_not_equal(peer_ack(p, VU_SET_VRING_ADDR, &a, 40, NULL, 0), 0);
    a.desc = UINT64_MAX - 15;
    assert_int_not_equal(peer_ack(p, VU_SET_VRING_ADDR, &a, 40, NULL, 0), 0);
    peer_send(p, VU_GET_VRING_BASE, VU_VERSION, &v, sizeof(v), NULL, 0);
    assert_int_equal(peer_recv(p, VU_GET_VRING_BASE, &v, sizeof(v)), 0);
    peer_echo(p, 1, "undisturbed");
    peer_stop(p);
}

/* Descriptors that come or do not come against what the message says. */
static void test_descriptors_refused(void **state)
{
    struct peer *p = *state;
    static const uint32_t requests[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};
    int two[2], sv[2], file;
    peer_start(p);
    peer_hello(p, FEATURES);
    peer_ring_up(p, 1);
    two[0] = two[1] = p->call[1];
    unsigned before = open_fds();
    for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
        uint64_t v = 1, bad = PEER_QUEUES, none = 1 | VU_NO_FD, odd = 1 | 0x200;
        assert_int_not_equal(peer_ack(p, requests[i], &v, 8, NULL, 0), 0);
        assert_int_not_equal(peer_ack(p, requests[i], &v, 8, two, 2), 0);
        assert_int_not_equal(peer_ack(p, requests[i], &bad, 8, two, 1), 0);
        assert_int_not_equal(peer_ack(p, requests[i], &none, 8, two, 1), 0);
        assert_int_not_equal(peer_ack(p, requests[i], &odd, 8, two, 1), 0);
    }
    assert_int_not_equal(peer_ack(p, VU_SET_OWNER, NULL, 0, two, 2), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_BACKEND_REQ_FD, NULL, 0, NULL, 0), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_BACKEND_REQ_FD, NULL, 0, two, 1), 0);
    assert_int_equal(open_fds(), before);
    peer_echo(p, 1, "undisturbed");

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    assert_int_equal(peer_ack(p, VU_SET_BACKEND_REQ_FD, NULL, 0, &sv[0], 1), 0);
    assert_int_equal(peer_ack(p, VU_SET_BACKEND_REQ_FD, NULL, 0, &sv[0], 1), 0);
    close(sv[0]);
    /* A plain file cannot kick: the ring has no kick then, and gets another. */
    uint64_t v = 1;
    file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_not_equal(peer_ack(p, VU_SET_VRING_KICK, &v, 8, &p->mem_fd, 1), 0);
    assert_int_equal(peer_ack(p, VU_SET_VRING_KICK, &v, 8, &p->kick[1], 1), 0);
    peer_echo(p, 1, "kicked again");
    close(file);
    peer_stop(p);
    char c;
    assert_int_equal(read(sv[1], &c, 1), 0); /* the channel is closed with the connection */
    close(sv[1]);
}

static void test_sizes_refused(void **state)
{
    struct peer *p = *state;
    static const uint8_t zero[512];
    peer_start(p);
    peer_hello(p, FEATURES);
    assert_int_not_equal(peer_ack(p, VU_SET_FEATURES, zero, 7, NULL, 0), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_FEATURES, zero, 9, NULL, 0), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_OWNER, zero, 1, NULL, 0), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_VRING_NUM, zero, 4, NULL, 0), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_VRING_ADDR, zero, 39, NULL, 0), 0);
    assert_int_not_equal(peer_ack(p, VU_SET_CONFIG, zero, 269, NULL, 0), 0);
    assert_int_not_equal(peer_ack(p, VU_ADD_MEM_REG, zero, 32, &p->mem_fd, 1), 0);
    assert_int_not_equal(peer_ack_u64(p, VU_SET_FEATURES, BIT(34)), 0);
    assert_int_not_equal(peer_ack_u64(p, VU_SET_PROTOCOL_FEATURES, BIT(14)), 0);
    assert_int_not_equal(peer_ack_u64(p, VU_SET_STATUS, 256), 0);
    assert_int_equal(peer_ask_u64(p, VU_GET_QUEUE_NUM), PEER_QUEUES);
    peer_stop(p);
}

static void test_unknown(void **state)
{
    struct peer *p = *state;
    static const uint32_t unknown[] = {0, 26, 19, 20, 35, 45, 1000, UINT32_MAX};
    uint64_t payload = 0;
    peer_start(p);
    /* Without REPLY_ACK nothing is said, with it an error. */
    peer_send(p, 1000, VU_VERSION | VU_NEED_REPLY, &payload, 8, &p->mem_fd, 1);
    peer_hello(p, FEATURES);
    for (unsigned i = 0; i < G_N_ELEMENTS(unknown); i++) {
        assert_int_not_equal(peer_ack(p, unknown[i], &payload, 8, &p->mem_fd, 1), 0);
        peer_send(p, unknown[i], VU_VERSION, &payload, 8, NULL, 0);
        assert_int_equal(peer_ask_u64(p, VU_GET_QUEUE_NUM), PEER_QUEUES);
    }
    peer_stop(p);
}

/* A message may come byte by byte, and two may come at once. */
static void test_framing(void **state)
{
    struct peer *p = *state;
    struct {
        struct vu_hdr hdr;
        uint64_t v;
    } __attribute__((packed)) m = {{VU_SET_STATUS, VU_VERSION, 8}, 5};
    struct vu_hdr ask[2] = {{VU_GET_STATUS, VU_VERSION, 0}, {VU_GET_STATUS, VU_VERSION, 0}};
    uint64_t v;
    peer_start(p);
    for (unsigned i = 0; i < sizeof(m); i++) {
        peer_send_raw(p, (uint8_t *)&m + i, 1, NULL, 0);
        usleep(200);
    }
    peer_send_raw(p, ask, sizeof(ask), NULL, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(peer_recv(p, VU_GET_STATUS, &v, 8), 8);
        assert_int_equal(v, 5);
    }
    peer_stop(p);
}

static void test_broken_framing(void **state)
{
    struct peer *p = *state;
    static const struct vu_hdr rows[] = {
        {VU_GET_FEATURES, 0, 0},
        {VU_GET_FEATURES, 2, 0},
        {VU_GET_FEATURES, VU_VERSION, VU_MAX_PAYLOAD + 1},
        {VU_GET_FEATURES, VU_VERSION, UINT32_MAX},
    };
    (void)p;
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct peer own;
        uint64_t v;
        peer_init(&own);
        peer_start(&own);
        peer_send_raw(&own, &rows[i], sizeof(rows[i]), &own.mem_fd, 1);
        assert_int_equal(peer_recv(&own, VU_GET_FEATURES, &v, 8), -1);
        peer_stop(&own);
        assert_int_equal(own.run_result, 0);
        assert_int_equal(own.resets, 1);
        peer_fini(&own);
    }
    close(p->sock);
    close(p->cfg.conn_fd);
}

static void test_closed_in_a_message(void **state)
{
    struct peer *p = *state;
    struct vu_hdr h = {VU_SET_MEM_TABLE, VU_VERSION, 40};
    unsigned before = open_fds();
    peer_start(p);
    peer_send_raw(p, &h, sizeof(h), &p->mem_fd, 1);
    peer_stop(p);
    assert_int_equal(p->run_result, 0);
    assert_int_equal(open_fds(), before - 2);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(test_offered),
        unit(test_no_config),
        unit(test_config),
        unit(test_mem_table),
        unit(test_slots),
        unit(test_rings_refused),
        unit(test_descriptors_refused),
        unit(test_sizes_refused),
        unit(test_unknown),
        unit(test_framing),
        unit(test_broken_framing),
        unit(test_closed_in_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
