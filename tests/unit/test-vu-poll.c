/* SPDX-License-Identifier: BSD-3-Clause
 * When a worker looks at an empty ring, and for how long. Time is what the test says. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <glib.h>

#include "vhost-user/vu-poll.h"

#define US 1000u
#define MS 1000000u

static unsigned cpus = 4;

/* In place of libc's: so many processors. */
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set);
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
    (void)pid;
    CPU_ZERO_S(size, set);
    for (unsigned i = 0; i < cpus; i++)
        CPU_SET_S(i, size, set);
    return 0;
}

/* The ring is empty at *now, and the next request comes @gap later: whether it was looked for. */
static bool next(struct vu_poll *p, uint64_t *now, uint64_t gap, unsigned others)
{
    assert_false(vu_poll_alone(p));
    uint64_t ns = vu_poll_begin(p, *now, others);
    assert_true(ns <= VU_POLL_MAX_NS);
    bool found = ns > gap;
    if (ns > 0)
        vu_poll_end(p, *now + MIN(gap, ns), found, 0);
    *now += gap;
    if (!found)
        vu_poll_slept(p, *now);
    return ns > 0;
}

static unsigned looks(struct vu_poll *p, uint64_t *now, uint64_t gap, unsigned times)
{
    unsigned n = 0;
    for (unsigned i = 0; i < times; i++)
        n += next(p, now, gap, 0);
    return n;
}

/* It begins when requests come soon, bears a pause, and ends when they do not come soon. */
static void test_adapts(void **state)
{
    struct vu_poll p = {0};
    uint64_t now = 1000 * MS;

    (void)state;
    cpus = 4;
    assert_int_equal(looks(&p, &now, 10 * US, 10), 0); /* nothing is known for sure yet */
    looks(&p, &now, 10 * US, 20);
    assert_int_equal(looks(&p, &now, 10 * US, 100), 100);
    assert_int_equal(looks(&p, &now, 20 * MS, 1), 1);
    assert_int_equal(looks(&p, &now, 10 * US, 20), 20);
    assert_in_range(looks(&p, &now, 20 * MS, 50), 1, 2);
    assert_int_equal(looks(&p, &now, 60 * US, 1000), 0);
}

/* Looks that find nothing take a bounded part of the time, whatever the rhythm. */
static void test_bounded(void **state)
{
    static const uint64_t gaps[][2] = {{10 * US, 80 * US},
                                       {5 * US, 200 * US},
                                       {1 * US, 51 * US},
                                       {40 * US, 60 * US},
                                       {1 * MS, 1 * MS}};

    (void)state;
    for (unsigned r = 0; r < G_N_ELEMENTS(gaps); r++) {
        struct vu_poll p = {0};
        uint64_t now = 1000 * MS, begin = now, burnt = 0;
        for (unsigned i = 0; i < 4000; i++) {
            uint64_t gap = gaps[r][i % 4 == 3];
            uint64_t ns = vu_poll_alone(&p) ? 0 : vu_poll_begin(&p, now, 0);
            bool found = ns > gap;
            burnt += found ? 0 : ns;
            if (ns > 0)
                vu_poll_end(&p, now + MIN(gap, ns), found, 0);
            now += gap + US;
            if (!found)
                vu_poll_slept(&p, now);
        }
        assert_true(burnt * 10 <= (now - begin) * 7);
    }
}

/* The processor was taken away: others need it. Longer each time, until a look finds something. */
static void test_load(void **state)
{
    struct vu_poll p = {0};
    uint64_t now = 1000 * MS, pause = 0;

    (void)state;
    cpus = 4;
    looks(&p, &now, 5 * US, 40);
    for (unsigned i = 0; i < 10; i++) {
        assert_false(vu_poll_alone(&p));
        assert_true(vu_poll_begin(&p, now, 0) > 0);
        now += 4 * MS;
        vu_poll_end(&p, now, false, 3 * MS);
        assert_true(p.rest_ns - now >= pause && p.rest_ns - now <= 64 * MS);
        pause = p.rest_ns - now;
        assert_int_equal(vu_poll_begin(&p, now + pause - 1, 0), 0);
        now += pause;
    }
    assert_int_equal(pause, 64 * MS);
    assert_true(vu_poll_begin(&p, now, 0) > 0);
    vu_poll_end(&p, now + US, true, 0);
    assert_int_equal(p.pause_ns, 0);
}

/* On one processor never; and when bound to it later, soon. */
static void test_alone(void **state)
{
    struct vu_poll p = {0};
    uint64_t now = 1000 * MS;
    unsigned n = 0;

    (void)state;
    cpus = 1;
    assert_true(vu_poll_alone(&p));
    p = (struct vu_poll){0};
    cpus = 2;
    looks(&p, &now, 5 * US, 100);
    assert_true(next(&p, &now, 5 * US, 0));
    cpus = 1;
    while (!vu_poll_alone(&p))
        n++;
    assert_in_range(n, 0, 300);
    cpus = 4;
}

/* One processor is left for who is waited for, and one more where a pool's thread answers. */
static void test_others(void **state)
{
    struct vu_poll p[4] = {0};
    uint64_t now = 1000 * MS;

    (void)state;
    cpus = 3;
    for (unsigned i = 0; i < 4; i++) {
        now = 1000 * MS;
        looks(&p[i], &now, 5 * US, 100);
    }
    assert_true(vu_poll_begin(&p[0], now, 0) > 0);
    assert_true(vu_poll_begin(&p[1], now, 0) > 0);
    assert_int_equal(vu_poll_begin(&p[2], now, 0), 0);
    vu_poll_end(&p[0], now, true, 0);
    assert_true(vu_poll_begin(&p[2], now, 0) > 0);
    vu_poll_end(&p[2], now, true, 0);
    assert_int_equal(vu_poll_begin(&p[3], now, 1), 0);
    vu_poll_end(&p[1], now, true, 0);
    assert_true(vu_poll_begin(&p[3], now, 1) > 0);
    vu_poll_end(&p[3], now, true, 0);
    assert_int_equal(vu_poll_begin(&p[3], now, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapts), cmocka_unit_test(test_bounded), cmocka_unit_test(test_load),
        cmocka_unit_test(test_alone),  cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
