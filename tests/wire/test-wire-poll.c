/* SPDX-License-Identifier: BSD-3-Clause
 * A daemon that looks at its rings before it sleeps: kicks that are spared, no processor time when
 * nothing comes, and an end that waits for nothing. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/wire/wire-report.h"

#define ROOT    1
#define BURST   3000
#define SOON_MS (BURST * 45 / 1000) /* of a burst whose requests come less than 50 us apart */
#define IDLE_MS 1000
#define IDLE_NS 200000000u /* of processor time in it: more than any look, less than a spin */

static void start(struct wire *w, const char *const *options)
{
    wire_spawn(w, options);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

static unsigned cpus(void)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    return (unsigned)CPU_COUNT(&set);
}

/* One request after the other. Returns the ms that it took. */
static int64_t burst(struct wire *w)
{
    int64_t begin = fe_now_ms();
    struct fuse_attr a;
    for (unsigned i = 0; i < BURST; i++)
        assert_int_equal(fe_getattr(&w->f, ROOT, &a), 0);
    return fe_now_ms() - begin;
}

/* The kicks that were counted here, and what the daemon says that it saw without. */
static void kicks(struct wire *w, uint64_t *sent, uint64_t *polled)
{
    char *json = report(w);
    *sent = w->v.ring[FE_REQ].kicks;
    *polled = at(json, "parts/0/total/polled");
    assert_true(at(json, "parts/0/total/kicks") <= *sent + 2);
    free(json);
}

static void idle_costs_nothing(struct wire *w)
{
    uint64_t before = fe_daemon_cpu_ns(&w->d);
    usleep(IDLE_MS * 1000);
    uint64_t spent = fe_daemon_cpu_ns(&w->d) - before;
    if (spent > IDLE_NS)
        fail_msg("%llu ns of processor time for nothing", (unsigned long long)spent);
}

/* By options: what is never looked at, and what always is, for a while. */
static void manual(void **state)
{
    struct wire *w = *state;
    uint64_t sent, polled;

    start(w, (const char *const[]){"--poll-us=0", NULL});
    burst(w);
    kicks(w, &sent, &polled);
    assert_int_equal(polled, 0);
    idle_costs_nothing(w);
    wire_finish(w, 0);

    start(w, (const char *const[]){"--poll-us=20000", NULL});
    burst(w);
    kicks(w, &sent, &polled);
    assert_in_range(polled, 1, BURST + 1);
    assert_true(sent < BURST / 2);
    idle_costs_nothing(w);
    wire_finish(w, 0);
}

/* By itself: on several processors some of a burst is seen by looking, unless others keep them
 * busy; on one nothing is. With a pool, too, all is answered. */
static void by_itself(void **state)
{
    static const char *const pool[] = {"--thread-pool-size=2", NULL};
    struct wire *w = *state;
    uint64_t sent, polled = 0;

    start(w, NULL);
    int64_t ms, least = INT64_MAX;
    for (unsigned i = 0; polled == 0 && i < 10; i++) {
        ms = burst(w);
        least = ms < least ? ms : least;
        kicks(w, &sent, &polled);
    }
    /* An emulator, or a machine with much to do, is too slow for it to be worth while. */
    if (cpus() > 1 && least < SOON_MS)
        assert_true(polled > 0);
    if (cpus() == 1)
        assert_int_equal(polled, 0);
    idle_costs_nothing(w);
    /* Bound to one. What it knows may be some requests old. */
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &one))
            fe_daemon_pin(&w->d, i);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    uint64_t then, now;
    burst(w);
    kicks(w, &sent, &then);
    burst(w);
    kicks(w, &sent, &now);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
    assert_int_equal(now, then);
    wire_finish(w, 0);

    start(w, pool);
    burst(w);
    idle_costs_nothing(w);
    wire_finish(w, 0);
}

/* In the middle of a long look: GET_VRING_BASE and SIGTERM are heard at once. */
static void end_at_once(void **state)
{
    struct wire *w = *state;
    struct fuse_attr a;
    uint32_t base;
    int status = -1;

    start(w, (const char *const[]){"--poll-us=1000000", NULL});
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(fe_getattr(&w->f, ROOT, &a), 0);
        int64_t begin = fe_now_ms();
        assert_int_equal(fe_vhost_get_base(&w->v, FE_REQ, &base), 0);
        assert_true(fe_now_ms() - begin < 500);
        assert_int_equal(fe_vhost_ack_state(&w->v, VU_SET_VRING_BASE, FE_REQ, base), 0);
        assert_int_equal(fe_vhost_start_ring(&w->v, FE_REQ), 0);
        if (i == 3)
            break;
    }
    assert_int_equal(fe_getattr(&w->f, ROOT, &a), 0);
    int64_t begin = fe_now_ms();
    assert_int_equal(kill(w->d.pid, SIGTERM), 0);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    assert_true(fe_now_ms() - begin < 900);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    wire_hangup(w);
    fe_daemon_stop(&w->d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(manual, wire_cleanup),
        cmocka_unit_test_teardown(by_itself, wire_cleanup),
        cmocka_unit_test_teardown(end_at_once, wire_cleanup),
    };
    return cmocka_run_group_tests_name("poll", tests, wire_make, wire_teardown);
}
