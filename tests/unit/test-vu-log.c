/* SPDX-License-Identifier: BSD-3-Clause
 * The dirty log: the map alone, and what a device marks in it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "tests/unit/vu-mover.h"
#include "vhost-user/vu-log.h"
#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define RING_GPA (PEER_GPA + 0x15555000u) /* where the front-end says that the used ring is */

/* ---- the map alone ---- */

static void test_map_bounds(void **state)
{
    static const struct {
        uint64_t size, offset;
        int rc;
    } rows[] = {
        {0, 0, -EINVAL},          {LOG_SIZE + 1, 0, -EINVAL},
        {LOG_SIZE, 1, -EINVAL},   {VU_LOG_MAX + 1, 0, -EINVAL},
        {UINT64_MAX, 0, -EINVAL}, {UINT64_MAX, UINT64_MAX, -EINVAL},
        {1, UINT64_MAX, -EINVAL}, {1, INT64_MAX, -EINVAL},
        {LOG_SIZE, 0, 0},         {1, LOG_SIZE - 1, 0},
        {4097, 4095, 0},
    };
    struct vu_sigbus_sink sink = {.wake_fd = -1};
    int fd = mover_file(LOG_SIZE), p[2], ev = eventfd(0, EFD_CLOEXEC);

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct vu_log *log = NULL;
        assert_int_equal(vu_log_new(fd, rows[i].size, rows[i].offset, &sink, &log), rows[i].rc);
        assert_true(!log == (rows[i].rc < 0));
        vu_log_unref(log);
    }
    struct vu_log *none = NULL;
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(vu_log_new(p[0], 8, 0, &sink, &none), -EINVAL);
    assert_int_equal(vu_log_new(ev, 8, 0, &sink, &none), -EINVAL);
    close(p[0]);
    close(p[1]);
    close(ev);
    close(fd);
}

static void test_map_bits(void **state)
{
    static const struct {
        uint64_t gpa, len;
        uint8_t want[4];
        bool is_short;
    } rows[] = {
        {0, 0, {0}, false},
        {0, 1, {1}, false},
        {4095, 2, {3}, false},
        {4096 * 7, 8192, {0x80, 1}, false},
        {4096 * 3, 4096ull * 15, {0xf8, 0xff, 3}, false},
        {4096 * 31, 4096, {0, 0, 0, 0x80}, false},
        {4096 * 31, 4097, {0, 0, 0, 0x80}, true},
        {4096 * 32, 1, {0}, true},
        {UINT64_MAX, 1, {0}, true},
        {UINT64_MAX, 2, {0}, true},
        {UINT64_MAX - 4096, 4096, {0}, true},
        {0, UINT64_MAX, {0xff, 0xff, 0xff, 0xff}, true},
    };
    struct vu_sigbus_sink sink = {.wake_fd = -1};

    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        int fd = mover_file(LOG_OFF + 5);
        uint8_t got[5], edge = 0xee;
        struct vu_log *log;
        assert_int_equal(pwrite(fd, &edge, 1, LOG_OFF + 4), 1);
        assert_int_equal(vu_log_new(fd, 4, LOG_OFF, &sink, &log), 0);
        vu_log_mark(log, rows[i].gpa, rows[i].len);
        assert_int_equal(vu_log_is_short(log), rows[i].is_short);
        vu_log_unref(log);
        assert_int_equal(pread(fd, got, 5, LOG_OFF), 5);
        assert_memory_equal(got, rows[i].want, 4);
        assert_int_equal(got[4], edge); /* what follows the map is not ours */
        close(fd);
    }
}

struct marker {
    struct vu_log *log;
    unsigned from;
};

static void *mark_each(void *arg)
{
    struct marker *m = arg;
    for (unsigned page = m->from; page < LOG_SIZE * 8; page += 8)
        vu_log_mark(m->log, (uint64_t)page * 4096, 1);
    return NULL;
}

/* Eight threads set one bit of each byte: none may undo another's. */
static void test_map_is_atomic(void **state)
{
    struct vu_sigbus_sink sink = {.wake_fd = -1};
    int fd = mover_file(LOG_SIZE);
    struct marker m[8];
    pthread_t t[8];
    struct vu_log *log;

    assert_int_equal(vu_log_new(fd, LOG_SIZE, 0, &sink, &log), 0);
    for (unsigned i = 0; i < 8; i++) {
        m[i] = (struct marker){log, i};
        assert_int_equal(pthread_create(&t[i], NULL, mark_each, &m[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    const uint8_t *map = mmap(NULL, LOG_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    for (unsigned i = 0; i < LOG_SIZE; i++)
        assert_int_equal(map[i], 0xff);
    munmap((void *)(uintptr_t)map, LOG_SIZE);
    vu_log_unref(log);
    close(fd);
}

/* While the ring runs: nothing but the log changes. */
static uint64_t log_ring(struct peer *p, unsigned q, uint32_t flags, uint64_t gpa)
{
    struct vring r = peer_vring(p, q);
    struct vu_wire_addr a = {q,
                             flags,
                             PEER_UADDR + (uint64_t)((uint8_t *)r.desc - p->mem),
                             PEER_UADDR + (uint64_t)((uint8_t *)r.used - p->mem),
                             PEER_UADDR + (uint64_t)((uint8_t *)r.avail - p->mem),
                             gpa};
    return peer_ack(p, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0);
}

/* Whether the page of guest address @gpa is marked, which it is not any more. */
static bool took(int fd, uint64_t gpa)
{
    uint8_t byte;
    uint64_t page = gpa / 4096;
    off_t at = LOG_OFF + (off_t)(page / 8);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    bool was = byte & 1u << page % 8;
    byte &= (uint8_t) ~(1u << page % 8);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    return was;
}

static bool is_clean(int fd)
{
    uint8_t buf[LOG_SIZE];
    assert_int_equal(pread(fd, buf, LOG_SIZE, LOG_OFF), LOG_SIZE);
    for (unsigned i = 0; i < LOG_SIZE; i++)
        if (buf[i])
            return false;
    return true;
}

/* Wait for what the worker writes before it sleeps. */
static bool takes(int fd, uint64_t gpa)
{
    for (unsigned i = 0; i < 2000; i++) {
        if (took(fd, gpa))
            return true;
        usleep(1000);
    }
    return false;
}

#define ANSWER(q) (PEER_GPA + PEER_DATA + (q)*0x4000u + 0x1000u) /* where peer_echo() has it */

static void test_log_of_a_running_ring(void **state)
{
    struct peer *p = *state;
    int fd = mover_file(LOG_OFF + LOG_SIZE), second = mover_file(LOG_OFF + LOG_SIZE);
    int told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    eventfd_t n;

    peer_up(p, LOGGING & ~BIT(VU_F_LOG_ALL));
    mover_set_log(p, fd);
    assert_int_equal(peer_ack(p, VU_SET_LOG_FD, NULL, 0, &told, 1), 0);
    peer_echo(p, 1, "before LOG_ALL nothing is logged");
    assert_true(is_clean(fd));
    assert_int_equal(eventfd_read(told, &n), -1);

    assert_int_equal(peer_ack_u64(p, VU_SET_FEATURES, LOGGING), 0);
    peer_echo(p, 1, "the answer is");
    assert_true(took(fd, ANSWER(1)));
    assert_true(is_clean(fd)); /* not the used ring, not what was read */
    assert_int_equal(eventfd_read(told, &n), 0);

    assert_int_equal(log_ring(p, 1, VU_VRING_F_LOG, RING_GPA), 0);
    peer_echo(p, 1, "and the used ring, where the front-end says");
    assert_true(took(fd, ANSWER(1)));
    assert_true(takes(fd, RING_GPA));
    usleep(20000);
    took(fd, RING_GPA);
    assert_true(is_clean(fd));

    mover_set_log(p, second);
    peer_echo(p, 1, "another map takes its place");
    assert_true(took(second, ANSWER(1)) && takes(second, RING_GPA));
    assert_true(is_clean(fd));

    /* Failed: QEMU switches it off like this. */
    assert_int_equal(peer_ack_u64(p, VU_SET_FEATURES, LOGGING & ~BIT(VU_F_LOG_ALL)), 0);
    assert_int_equal(log_ring(p, 1, 0, RING_GPA), 0);
    usleep(20000);
    took(second, RING_GPA);
    peer_echo(p, 1, "off");
    usleep(20000);
    assert_true(is_clean(second) && is_clean(fd));
    assert_int_equal(mover.announced, 12);
    peer_stop(p);
    close(fd);
    close(second);
    close(told);
}

/* The index of the ring on which to kick is in a page of its own. */
static void test_log_of_the_event(void **state)
{
    struct peer *p = *state;
    int fd = mover_file(LOG_OFF + LOG_SIZE);
    uint64_t near_end = RING_GPA + 4096 - 4 - 8 * PEER_NUM; /* avail_event begins the next page */

    peer_up(p, LOGGING);
    mover_set_log(p, fd);
    peer_echo(p, 1, "first");
    usleep(20000);
    assert_int_equal(log_ring(p, 1, VU_VRING_F_LOG, near_end), 0);
    took(fd, ANSWER(1));
    peer_echo(p, 1, "second");
    assert_true(takes(fd, RING_GPA + 4096));
    assert_true(took(fd, RING_GPA));
    peer_stop(p);
    close(fd);
}

/* Answers from another thread, and rings that do not know event indexes. */
static void test_log_from_elsewhere(void **state)
{
    struct peer *p = *state;
    int fd = mover_file(LOG_OFF + LOG_SIZE);

    peer_up(p, FEATURES | BIT(VU_F_LOG_ALL));
    mover_set_log(p, fd);
    assert_int_equal(log_ring(p, 1, VU_VRING_F_LOG, RING_GPA), 0);
    p->mode = PEER_HOLD;
    peer_desc(p, 1, 2, ANSWER(1) + 0x2000, 4097, VRING_DESC_F_WRITE, 0);
    peer_offer(p, 1, 2);
    peer_kick(p, 1);
    assert_true(peer_wait_held(p, 1));
    assert_false(took(fd, ANSWER(1) + 0x2000));
    peer_release(p);
    assert_true(peer_wait_used(p, 1, 1));
    /* All that it may have written, though it says that it wrote nothing. */
    assert_true(took(fd, ANSWER(1) + 0x2000) && took(fd, ANSWER(1) + 0x3000));
    assert_true(takes(fd, RING_GPA));
    peer_stop(p);
    close(fd);
}

static void test_other_addresses_need_rest(void **state)
{
    struct peer *p = *state;
    peer_up(p, LOGGING);
    struct vring r = peer_vring(p, 1);
    struct vu_wire_addr a = {1,
                             VU_VRING_F_LOG,
                             PEER_UADDR + (uint64_t)((uint8_t *)r.desc - p->mem) + 0x4000,
                             PEER_UADDR + (uint64_t)((uint8_t *)r.used - p->mem),
                             PEER_UADDR + (uint64_t)((uint8_t *)r.avail - p->mem),
                             0};
    assert_int_equal(peer_ack(p, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 1);
    peer_echo(p, 1, "goes on");
    peer_stop(p);
}

#define T(f) cmocka_unit_test_setup_teardown(f, mover_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_bounds),
        cmocka_unit_test(test_map_bits),
        cmocka_unit_test(test_map_is_atomic),
        T(test_log_of_a_running_ring),
        T(test_log_of_the_event),
        T(test_log_from_elsewhere),
        T(test_other_addresses_need_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
