/* SPDX-License-Identifier: BSD-3-Clause
 * What is counted of 9P, over sockets and a virtqueue, compared number by number. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/wire/wire-p9.h"
#include "tests/wire/wire-report.h"

static struct {
    uint64_t requests, errors, in, out;
} p9_asked;
static p9c_transact_fn *p9_below;

/* p9c_transact_fn: keep count. */
static ssize_t counting(void *user, const void *t, size_t len, void *r, size_t max)
{
    ssize_t n = p9_below(user, t, len, r, max);

    p9_asked.requests++;
    p9_asked.in += len;
    p9_asked.out += (size_t)n;
    p9_asked.errors += ((const uint8_t *)r)[4] == 7; /* Rlerror */
    return n;
}

static void use_9p(struct p9c *c)
{
    char buf[64];

    assert_int_equal(p9c_walk(c, P9_ROOT, 7, "file"), 0);
    assert_int_equal(p9c_walk(c, P9_ROOT, 8, "none"), -ENOENT);
    assert_int_equal(p9c_lopen(c, 7, P9_RDWR), 0);
    assert_int_equal(p9c_write(c, 7, 0, "0123456789", 10), 10);
    assert_int_equal(p9c_read(c, 7, 3, buf, 4), 4);
    assert_int_equal(p9c_read(c, 99, 0, buf, 4), -EBADF);
    assert_int_equal(p9c_clunk(c, 7), 0);
    assert_int_equal(p9c_clunk(c, 7), -EBADF);
    p9c_begin(c, 126); /* no message is that */
    assert_int_equal(p9c_send(c), -EOPNOTSUPP);
}

/* @times: how often use_9p() was called. */
static void compare_9p(const char *json, const char *part, uint64_t times)
{
    static const struct {
        const char *name;
        uint64_t requests, errors; /* each time */
    } ops[] = {{"Twalk", 2, 1}, {"Tlopen", 1, 0}, {"Twrite", 1, 0},
               {"Tread", 2, 1}, {"Tclunk", 2, 1}, {"other", 1, 1}};
    char op[96];

    for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        snprintf(op, sizeof(op), "%s/operations/%s", part, ops[i].name);
        expect(json, op, "requests", times * ops[i].requests);
        expect(json, op, "errors", times * ops[i].errors);
    }
    expect(json, part, "requests", p9_asked.requests);
    expect(json, part, "errors", p9_asked.errors);
    expect(json, part, "in_flight", 0);
    expect(json, part, "bytes_in", p9_asked.in);
    expect(json, part, "bytes_out", p9_asked.out);
    expect(json, part, "bytes_read", times * 4);
    expect(json, part, "bytes_written", times * 10);
}

static void by_9p_sockets(void **state)
{
    struct wire *w = *state;
    struct p9c c[2];
    int fd[2];

    memset(&p9_asked, 0, sizeof(p9_asked));
    p9_below = p9_by_socket;
    p9_spawn_unix(w);
    for (unsigned i = 0; i < 2; i++) {
        fd[i] = p9_dial(w);
        p9_mounted(&c[i], counting, &fd[i]);
        use_9p(&c[i]);
    }
    char *json = report(w);
    assert_true(json_is(json, "parts/0/protocol", "9p"));
    assert_true(json_is(json, "parts/0/transport", "socket"));
    expect(json, "parts/0", "connections", 2);
    assert_null(json_find(json, "parts/0/queues"));
    compare_9p(json, "parts/0/total", 2);
    expect(json, "parts/0/total", "latency/every", 1);
    expect(json, "parts/0/total", "latency/count", p9_asked.requests);
    free(json);

    /* What a connection has done stays counted when it has ended. */
    p9c_free(&c[0]);
    close(fd[0]);
    use_9p(&c[1]);
    while ((json = report(w)) && at(json, "parts/0/connections") != 1)
        free(json);
    compare_9p(json, "parts/0/total", 3);
    free(json);
    assert_int_equal(fe_daemon_log_count(&w->d, "the 9P connection had 11 requests, 4 errors, "),
                     1);
    p9c_free(&c[1]);
    close(fd[1]);
    p9_stopped(w);
}

/* Each device of two has a part of its own. */
static void by_9p_ring(void **state)
{
    struct wire *w = *state;
    struct p9_both b;

    p9_both_up(w, &b, false);
    char *json = report(w);
    p9_asked.requests = at(json, "parts/1/total/requests");
    p9_asked.errors = at(json, "parts/1/total/errors");
    p9_asked.in = at(json, "parts/1/total/bytes_in");
    p9_asked.out = at(json, "parts/1/total/bytes_out");
    expect(json, "parts/1/total/operations/Tversion", "requests", 1);
    expect(json, "parts/1/total/operations/Tattach", "requests", 1);
    assert_int_equal(p9_asked.requests, 2);
    assert_int_equal(p9_asked.errors, 0);
    free(json);

    p9_below = p9_by_ring;
    b.c.transact = counting;
    use_9p(&b.c);
    json = report(w);
    assert_true(json_is(json, "parts/0/protocol", "fuse"));
    assert_true(json_is(json, "parts/1/protocol", "9p"));
    assert_true(json_is(json, "parts/1/transport", "virtqueue"));
    compare_9p(json, "parts/1/queues/0", 1);
    compare_9p(json, "parts/1/total", 1);
    expect(json, "parts/1/total", "latency/count", 1);
    expect(json, "parts/0/total", "requests", 1);
    free(json);
    p9_both_down(&b);
    wire_finish(w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(by_9p_sockets, wire_cleanup),
        cmocka_unit_test_teardown(by_9p_ring, wire_cleanup),
    };
    return cmocka_run_group_tests_name("counters of 9P", tests, p9_make, wire_teardown);
}
