/* SPDX-License-Identifier: BSD-3-Clause
 * The device's state on its way, and requests that wait meanwhile. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "tests/unit/vu-mover.h"
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the state ---- */

static uint64_t begin_state(struct peer *p, uint32_t direction, uint32_t phase, int fd)
{
    struct vu_wire_state w = {direction, phase};
    uint64_t v = 0;
    peer_send(p, VU_SET_DEVICE_STATE_FD, VU_VERSION, &w, sizeof(w), &fd, 1);
    assert_int_equal(peer_recv(p, VU_SET_DEVICE_STATE_FD, &v, sizeof(v)), sizeof(v));
    return v;
}

/* Save through a pipe: returns the result; what was read is in @text. */
static uint64_t save_state(struct peer *p, char *text, size_t size)
{
    int fds[2];
    size_t n = 0;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    uint64_t v = begin_state(p, VU_STATE_SAVE, 0, fds[1]);
    close(fds[1]);
    assert_true(v == VU_STATE_NO_FD || v == (VU_STATE_NO_FD | 1));
    for (ssize_t got; n < size - 1 && (got = read(fds[0], text + n, size - 1 - n)) > 0;)
        n += (size_t)got;
    text[n] = '\0';
    close(fds[0]);
    return v & 0xff ? 2 : peer_ask_u64(p, VU_CHECK_DEVICE_STATE);
}

static uint64_t load_state(struct peer *p, const char *text)
{
    int sv[2]; /* Cloud Hypervisor's way */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    assert_int_equal(begin_state(p, VU_STATE_LOAD, 0, sv[1]), VU_STATE_NO_FD);
    close(sv[1]);
    assert_int_equal(write(sv[0], text, strlen(text)), strlen(text));
    close(sv[0]);
    return peer_ask_u64(p, VU_CHECK_DEVICE_STATE);
}

static void test_save_and_go_on(void **state)
{
    struct peer *p = *state;
    char text[64];
    int fd = mover_file(8);

    peer_up(p, LOGGING);
    assert_int_equal(begin_state(p, VU_STATE_SAVE, 0, fd), VU_STATE_NO_FD | 1); /* it runs */
    assert_int_equal(peer_ask_u64(p, VU_CHECK_DEVICE_STATE), 1);                /* of what? */
    peer_ring_stop(p, 1);
    assert_int_equal(begin_state(p, 2, 0, fd), VU_STATE_NO_FD | 1);
    assert_int_equal(begin_state(p, VU_STATE_SAVE, 1, fd), VU_STATE_NO_FD | 1);
    assert_int_equal(begin_state(p, VU_STATE_SAVE, 0, p->kick[0]), VU_STATE_NO_FD | 1);
    for (unsigned i = 0; i < 2; i++) { /* failed, resumed, second try */
        assert_int_equal(save_state(p, text, sizeof(text)), 0);
        assert_string_equal(text, mover.saved);
        assert_int_equal(peer_ask_u64(p, VU_CHECK_DEVICE_STATE), 1);
        uint64_t index = 1; /* QEMU sends it behind the stop: no start */
        assert_int_equal(peer_ack(p, VU_SET_VRING_CALL, &index, 8, &p->call[1], 1), 0);
        peer_ring_up(p, 1);
        peer_echo(p, 1, "resumed");
        peer_ring_stop(p, 1);
    }
    assert_int_equal(peer_count(p, &p->resets), 0);
    peer_stop(p);
    close(fd);
}

/* State before features and memory, as QEMU's destination does. */
static void test_load_first_of_all(void **state)
{
    struct peer *p = *state;
    peer_start(p);
    uint64_t protocol = peer_ask_u64(p, VU_GET_PROTOCOL_FEATURES);
    assert_int_equal(peer_ack_u64(p, VU_SET_PROTOCOL_FEATURES, protocol), 0);
    assert_int_equal(peer_ack(p, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(load_state(p, "from far away"), 0);
    assert_string_equal(mover.loaded, "from far away");
    mover.load_rc = -EINVAL;
    unsigned resets = peer_count(p, &p->resets);
    assert_int_equal(load_state(p, "nonsense"), 1);
    assert_int_equal(peer_count(p, &p->resets), resets + 1);
    peer_hello(p, LOGGING);
    peer_ring_up(p, 1);
    peer_echo(p, 1, "runs");
    peer_stop(p);
}

/* A transfer of 4 MiB has begun, through a pipe that nobody reads yet. */
static void begin_flood(struct peer *p, int fds[2])
{
    mover.flood = 4 << 20;
    peer_up(p, LOGGING);
    peer_ring_stop(p, 1);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(begin_state(p, VU_STATE_SAVE, 0, fds[1]), VU_STATE_NO_FD);
}

/* Nobody reads: the control thread answers others, and the hang-up ends it. */
static void test_peer_that_stops_reading(void **state)
{
    struct peer *p = *state;
    int fds[2];
    begin_flood(p, fds);
    assert_int_equal(peer_ask_u64(p, VU_GET_QUEUE_NUM), PEER_QUEUES);
    assert_int_equal(begin_state(p, VU_STATE_SAVE, 0, fds[1]),
                     VU_STATE_NO_FD | 1); /* one at a time */
    peer_ring_up(p, 1);
    peer_offer_one(p, 1, 0);
    usleep(50000);
    assert_int_equal(peer_vring(p, 1).used->idx, 0); /* no ring starts meanwhile */
    peer_send(p, VU_CHECK_DEVICE_STATE, VU_VERSION, NULL, 0, NULL, 0);
    usleep(50000);
    peer_stop(p); /* returns */
    close(fds[0]);
    close(fds[1]);
}

/* A second begin is refused, and the first transfer goes on to its end. */
static void test_second_begin(void **state)
{
    struct peer *p = *state;
    int fds[2];
    static char text[65536];
    size_t all = 0;
    begin_flood(p, fds);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(read(fds[0], text, 1), 1); /* it has begun */
        all++;
        assert_int_equal(begin_state(p, VU_STATE_SAVE, 0, fds[1]), VU_STATE_NO_FD | 1);
        assert_int_equal(begin_state(p, VU_STATE_LOAD, 0, fds[0]), VU_STATE_NO_FD | 1);
    }
    close(fds[1]);
    for (ssize_t n; (n = read(fds[0], text, sizeof(text))) > 0;)
        all += (size_t)n;
    assert_true(all >= mover.flood);
    assert_int_equal(peer_ask_u64(p, VU_CHECK_DEVICE_STATE), 0);
    peer_stop(p);
    close(fds[0]);
}

static void test_reset_ends_a_transfer(void **state)
{
    struct peer *p = *state;
    int fds[2];
    begin_flood(p, fds);
    assert_int_equal(peer_ack(p, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(peer_ask_u64(p, VU_CHECK_DEVICE_STATE), 1);
    peer_ring_up(p, 1);
    peer_echo(p, 1, "runs");
    peer_stop(p);
    close(fds[0]);
    close(fds[1]);
}

/* A log that was refused, or is too short, fails the migration rather than to lose memory. */
static void test_no_state_without_its_log(void **state)
{
    struct peer *p = *state;
    struct vu_wire_log l = {1u << 20, 0};
    int fd = mover_file(LOG_OFF + LOG_SIZE);
    char text[64];

    peer_up(p, LOGGING);
    peer_send(p, VU_SET_LOG_BASE, VU_VERSION, &l, sizeof(l), &fd, 1);
    assert_int_equal(peer_recv(p, VU_SET_LOG_BASE, text, sizeof(text)), 0);
    peer_ring_stop(p, 1);
    assert_int_equal(save_state(p, text, sizeof(text)), 2);
    mover_set_log(p, fd);
    assert_int_equal(save_state(p, text, sizeof(text)), 0);
    l = (struct vu_wire_log){1, 0};
    peer_send(p, VU_SET_LOG_BASE, VU_VERSION, &l, sizeof(l), &fd, 1);
    assert_int_equal(peer_recv(p, VU_SET_LOG_BASE, text, sizeof(text)), sizeof(l));
    peer_ring_up(p, 1);
    peer_echo(p, 1, "beyond its end");
    peer_ring_stop(p, 1);
    assert_int_equal(save_state(p, text, sizeof(text)), 2);
    peer_stop(p);
    close(fd);
}

/* ---- requests that wait ---- */

static void hold_two(struct peer *p)
{
    peer_up(p, LOGGING);
    p->mode = PEER_HOLD;
    for (uint16_t head = 4; head < 6; head++) {
        memcpy(p->mem + PEER_DATA + head * 64, "again", 5);
        peer_desc(p, 1, head, PEER_GPA + PEER_DATA + head * 64, 5, VRING_DESC_F_NEXT, head + 4);
        peer_desc(p, 1, head + 4, PEER_GPA + PEER_DATA + 0x1000 + head * 64, 64, VRING_DESC_F_WRITE,
                  0);
        peer_offer(p, 1, head);
        peer_kick(p, 1);
        assert_true(peer_wait_held(p, head - 3));
    }
    assert_int_equal(peer_ring_stop(p, 1), 2);
    assert_int_equal(peer_vring(p, 1).used->idx, 0); /* not answered */
    assert_int_equal(mover.taken_back, 2);
    p->mode = PEER_ECHO;
}

static void test_waiting_goes_on_here(void **state)
{
    struct peer *p = *state;
    char text[64];
    hold_two(p);
    assert_int_equal(save_state(p, text, sizeof(text)), 0);
    assert_int_equal(mover.n_taken, 2);
    assert_int_equal(mover.taken[0].ring, 1);
    assert_int_equal(mover.taken[0].head, 4);
    assert_int_equal(mover.taken[1].head, 5);
    peer_ring_up(p, 1);
    assert_true(peer_wait_used(p, 1, 2));
    assert_memory_equal(p->mem + PEER_DATA + 0x1000 + 4 * 64, "again", 5);
    peer_echo(p, 1, "and new ones");
    peer_stop(p);
}

static void test_waiting_goes_on_elsewhere(void **state)
{
    struct peer *p = *state;
    hold_two(p);
    /* A second life with the same memory stands for another host. */
    mover.taken[0] = (struct vu_taken){1, 5};
    mover.taken[1] = (struct vu_taken){1, 4};
    mover.n_taken = 2;
    assert_int_equal(peer_ack(p, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(load_state(p, "x"), 0);
    peer_ring_up(p, 1);
    assert_true(peer_wait_used(p, 1, 2));
    assert_int_equal(peer_vring(p, 1).used->ring[0].id, 5);
    assert_int_equal(peer_vring(p, 1).used->ring[1].id, 4);
    peer_stop(p);
}

/* A driver that was reset begins another ring: what waited is nothing to it. */
static void test_waiting_of_another_ring(void **state)
{
    struct peer *p = *state;
    hold_two(p);
    memset(p->mem + PEER_RING(1), 0, 0x4000);
    p->avail_idx[1] = 0;
    peer_ring_up(p, 1);
    peer_echo(p, 1, "first");
    assert_int_equal(peer_vring(p, 1).used->idx, 1);
    peer_stop(p);
}

static void test_hostile_taken(void **state)
{
    static const struct vu_taken bad[] = {
        {PEER_QUEUES, 0}, {UINT32_MAX, 0}, {1, 1024}, {1, UINT32_MAX}};
    struct peer *p = *state;
    hold_two(p);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_int_equal(peer_ack(p, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
        mover.taken[0] = bad[i];
        mover.n_taken = 1;
        assert_int_equal(load_state(p, "x"), 1);
    }
    /* One head twice: the ring is broken, the daemon is not. */
    assert_int_equal(peer_ack(p, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    mover.taken[0] = mover.taken[1] = (struct vu_taken){1, 4};
    mover.n_taken = 2;
    p->mode = PEER_HOLD;
    assert_int_equal(load_state(p, "x"), 0);
    p->release_on_drain = true;
    peer_ring_up(p, 1);
    struct pollfd pfd = {p->sock, POLLIN, 0};
    assert_int_equal(poll(&pfd, 1, 5000), 1); /* closed */
    peer_stop(p);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mover_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_save_and_go_on),          T(test_load_first_of_all),
        T(test_peer_that_stops_reading), T(test_second_begin),
        T(test_reset_ends_a_transfer),   T(test_no_state_without_its_log),
        T(test_waiting_goes_on_here),    T(test_waiting_goes_on_elsewhere),
        T(test_waiting_of_another_ring), T(test_hostile_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
