/* SPDX-License-Identifier: BSD-3-Clause
 * Counters: what is counted where, what their reader may see meanwhile, and the JSON of it. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/json.h"
#include "virtiofsd/base/stats.h"

#define LINE 128

static struct counters *fresh(void **state)
{
    return *state = counters_new(COUNTER_EVERY);
}

static int teardown(void **state)
{
    counters_free(*state);
    return 0;
}

static void ask(struct counters *c, unsigned op, int what, size_t bytes)
{
    struct chain ch = {.in_len = 40, .note = {.op = (uint8_t)op}};

    counters_take(c, &ch);
    if (bytes > 0)
        chain_note_bytes(&ch, what, bytes);
    ch.note.what |= (uint8_t)what;
    counters_answer(c, &ch, 16);
}

/* Who takes and who answers write to lines of their own, and so do two queues. */
static void test_apart(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct counters) % LINE, 0);
    assert_int_equal(offsetof(struct counters, bytes_in) % LINE, 0);
    assert_true(offsetof(struct counters, bytes_in) >= LINE);
    struct counters *c = counters_new(1);
    assert_int_equal((uintptr_t)c % LINE, 0);
    counters_free(c);
}

static void test_count(void **state)
{
    struct counters *c = fresh(state);
    struct counts n = {0}, before;

    for (unsigned i = 0; i < COUNTER_EVERY + 1; i++)
        ask(c, 3, 0, 0);
    ask(c, 1, NOTE_FAILED, 0);
    ask(c, 15, NOTE_READ, 100);
    ask(c, 16, NOTE_WRITTEN, 7);
    ask(c, 0, NOTE_FAILED, 0);
    counts_add(&n, c);
    before = n;
    assert_int_equal(n.requests, COUNTER_EVERY + 5);
    assert_int_equal(counts_answered(&n), n.requests);
    assert_int_equal(n.ops[3], COUNTER_EVERY + 1);
    assert_int_equal(n.ops[1], 1);
    assert_int_equal(n.errors[1], 1);
    assert_int_equal(n.errors[0], 1);
    assert_int_equal(counts_errors(&n), 2);
    assert_int_equal(n.bytes_in, n.requests * 40);
    assert_int_equal(n.bytes_out, n.requests * 16);
    assert_int_equal(n.read, 100);
    assert_int_equal(n.written, 7);
    assert_int_equal(n.every, COUNTER_EVERY);
    assert_int_equal(counts_timed(&n), 2); /* the first, and one each COUNTER_EVERY */

    /* What came since; twice is double. */
    ask(c, 1, NOTE_FAILED, 0);
    struct counts now = {0};
    counts_add(&now, c);
    counts_since(&now, &before);
    assert_int_equal(now.requests, 1);
    assert_int_equal(counts_errors(&now), 1);
    assert_int_equal(now.ops[3], 0);
    assert_int_equal(now.bytes_in, 40);
    counts_join(&n, &before);
    assert_int_equal(n.ops[3], 2 * (COUNTER_EVERY + 1));
    assert_int_equal(n.every, COUNTER_EVERY);
}

/* A time goes into the first place whose bound is above it. */
static void test_times(void **state)
{
    static const struct {
        uint64_t ns;
        unsigned place;
    } rows[] = {{0, 0},
                {1000, 0},
                {3000, 2},
                {1 << 20, 11},
                {1 << 19, 10},
                {5000000000u, 23},
                {UINT64_C(1) << 35, 26},
                {UINT64_C(1) << 40, 26}};
    struct counters *c = fresh(state);

    assert_int_equal(counts_bound_ns(0), 1024);
    assert_int_equal(counts_bound_ns(11), 1 << 21);
    assert_int_equal(counts_bound_ns(25), UINT64_C(1) << 35);
    assert_true(counts_bound_ns(26) == UINT64_MAX);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct chain ch = {.note = {.what = NOTE_TIMED}};
        struct counts before = {0}, n = {0};
        counts_add(&before, c);
        /* It goes on meanwhile: a little below what is to be seen, but not below a bound. */
        ch.note.begin_ns = counters_clock_ns() - rows[i].ns;
        counters_answer(c, &ch, 0);
        counts_add(&n, c);
        counts_since(&n, &before);
        unsigned place = 0;
        while (n.times[place] == 0)
            place++;
        if (rows[i].ns > 100000) /* what a busy machine does not reach */
            assert_int_equal(place, rows[i].place);
        else
            assert_true(place >= rows[i].place);
        assert_true(n.timed_ns >= rows[i].ns);
    }
}

static void test_percentile(void **state)
{
    struct counts n = {0};

    (void)state;
    assert_int_equal(counts_percentile(&n, 50), 0);
    n.times[2] = 99;
    n.times[20] = 1;
    assert_int_equal(counts_percentile(&n, 50), counts_bound_ns(2));
    assert_int_equal(counts_percentile(&n, 99), counts_bound_ns(2));
    assert_int_equal(counts_percentile(&n, 100), counts_bound_ns(20));
    n.times[26] = 100;
    assert_true(counts_percentile(&n, 99) == UINT64_MAX);
    n = (struct counts){.times = {1}};
    assert_int_equal(counts_percentile(&n, 1), 1024);
    assert_int_equal(counts_percentile(&n, 99), 1024);
}

static void test_line(void **state)
{
    struct counts n = {.requests = 5,
                       .kicks = 2,
                       .signals = 3,
                       .bytes_in = 7,
                       .bytes_out = 9,
                       .polled = 1,
                       .full = 4};

    (void)state;
    n.errors[3] = 2;
    g_autofree char *ring = counts_line(&n, true);
    assert_string_equal(ring, "5 requests, 2 kicks that woke us up, 3 signals, 1 seen by looking, "
                              "4 full rings, 2 errors, 7 bytes in, 9 bytes out");
    n.times[4] = 1;
    n.times[17] = 1;
    g_autofree char *sock = counts_line(&n, false);
    assert_string_equal(sock, "5 requests, 2 errors, 7 bytes in, 9 bytes out; half took less than "
                              "16 us, 99 % less than 134 ms");
}

/* ---- JSON ---- */

static const char *op_name(unsigned place)
{
    return place == 1 ? "LOOKUP" : place == 3 ? "GETATTR" : NULL;
}

/* The whole of it, as docs/counters.md has it. */
static void test_json(void **state)
{
    struct stats *s = stats_new();
    struct counts n = {.requests = 6,
                       .kicks = 1,
                       .polled = 2,
                       .full = 3,
                       .signals = 4,
                       .bytes_in = 50,
                       .bytes_out = 60,
                       .read = 70,
                       .written = 80,
                       .timed_ns = 3000,
                       .every = 31};
    g_autoptr(GString) out = g_string_new(NULL);

    (void)state;
    n.ops[1] = 2;
    n.ops[3] = 2;
    n.ops[63] = 1;
    n.errors[1] = 1;
    n.times[1] = 2;
    n.times[26] = 1;
    s->share = g_strdup("a \"b\"\\\n\377");
    s->uptime_ns = 1234567890;
    s->read_every = 31;
    stats_gauge(s->gauges, "inodes", 7);
    stats_gauge(s->reads, "cached", 8);
    struct stats_part *p = stats_part(s, "fuse", "virtqueue", op_name, true);
    struct stats_queue q = {1, n};
    p->sum = n;
    g_array_append_val(p->queues, q);
    p = stats_part(s, "9p", "socket", op_name, false);
    p->connections = 2;
    p->sum.every = 1;
    stats_json(s, out);
#define COUNTS                                                                                     \
    "\"requests\":6,\"in_flight\":1,\"errors\":1,\"kicks\":1,\"polled\":2,\"signals\":4,"          \
    "\"full\":3,\"again\":0,\"bytes_in\":50,\"bytes_out\":60,\"bytes_read\":70,\"bytes_written\":" \
    "80,"                                                                                          \
    "\"latency\":{\"every\":31,\"count\":3,\"sum_ns\":3000,\"below_ns\":{\"2048\":2,\"inf\":1}},"  \
    "\"operations\":{\"LOOKUP\":{\"requests\":2,\"errors\":1},"                                    \
    "\"GETATTR\":{\"requests\":2,\"errors\":0},\"other\":{\"requests\":1,\"errors\":0}}"
    assert_string_equal(
        out->str,
        "{\"virtiofsd_counters\":1,\"share\":\"a \\\"b\\\"\\\\\\u000a\357\277\275\","
        "\"uptime_ms\":1234,\"now\":{\"inodes\":7},\"reads\":{\"every\":31,\"cached\":8},"
        "\"parts\":[{\"protocol\":\"fuse\",\"transport\":\"virtqueue\",\"total\":{" COUNTS "},"
        "\"queues\":[{\"queue\":1," COUNTS "}]},"
        "{\"protocol\":\"9p\",\"transport\":\"socket\",\"connections\":2,\"total\":{"
        "\"requests\":0,\"in_flight\":0,\"errors\":0,\"bytes_in\":0,\"bytes_out\":0,"
        "\"bytes_read\":0,\"bytes_written\":0,"
        "\"latency\":{\"every\":1,\"count\":0,\"sum_ns\":0,\"below_ns\":{}},\"operations\":{}}}]}");
    assert_true(json_valid(out->str));
    assert_int_equal(json_number(out->str, "parts/0/queues/0/operations/LOOKUP/errors"), 1);
    stats_free(s);
}

/* The test's own reader of JSON takes nothing else for it. */
static void test_reader(void **state)
{
    static const char *const bad[] = {"",      "{",         "{}x",        "{\"a\":}", "[1,]",
                                      "{a:1}", "{\"a\" 1}", "[01]",       "\"\n\"",   "[1 2]",
                                      "nul",   "\"\\x\"",   "{\"a\":1,}", "-",        "1."};

    (void)state;
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_false(json_valid(bad[i]));
    const char *good = " {\"a\" : [1, {\"b\":-2.5e+3}, \"\\u00e9\"], \"aa\":7, \"c\":{}} ";
    assert_true(json_valid(good));
    assert_int_equal(json_number(good, "aa"), 7);
    assert_int_equal(json_number(good, "a/0"), 1);
    assert_null(json_find(good, "a/3"));
    assert_null(json_find(good, "c/d"));
    assert_true(json_is("{\"x\":\"y\"}", "x", "y"));
}

/* ---- one writes, another reads ---- */

#define ROUNDS 20000

/* As two threads of a queue do: one takes, and both answer under the lock. */
struct race {
    struct counters *c;
    pthread_mutex_t lock;
    struct chain flying[64];
    _Atomic unsigned taken, done; /* of flying, free running */
    atomic_bool over;
};

static void answer(struct race *r, struct chain *ch, bool failed)
{
    pthread_mutex_lock(&r->lock);
    if (failed)
        ch->note.what |= NOTE_FAILED;
    else
        chain_note_bytes(ch, NOTE_READ, 10);
    counters_answer(r->c, ch, 56);
    pthread_mutex_unlock(&r->lock);
}

static void *take(void *arg)
{
    struct race *r = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct chain ch = {.in_len = 40, .note = {.op = 3}};
        while (i % 2 && atomic_load(&r->taken) - atomic_load(&r->done) == 64)
            sched_yield();
        counters_take(r->c, &ch);
        if (i % 2) {
            r->flying[atomic_load(&r->taken) % 64] = ch;
            atomic_fetch_add(&r->taken, 1);
        } else {
            answer(r, &ch, i % 4);
        }
    }
    atomic_store(&r->over, true);
    return NULL;
}

static void *finish(void *arg)
{
    struct race *r = arg;

    while (!atomic_load(&r->over) || atomic_load(&r->done) != atomic_load(&r->taken)) {
        unsigned at = atomic_load(&r->done);
        if (at == atomic_load(&r->taken)) {
            sched_yield();
            continue;
        }
        answer(r, &r->flying[at % 64], at % 4 == 0);
        atomic_fetch_add(&r->done, 1);
    }
    return NULL;
}

static void plausible(const struct counts *n, const struct counts *before)
{
    uint64_t answered = counts_answered(n), timed = counts_timed(n);

    assert_true(n->requests >= before->requests);
    assert_true(answered <= n->requests);
    assert_true(n->errors[3] <= n->ops[3]);
    assert_true(n->ops[3] >= before->ops[3]);
    assert_true(timed * COUNTER_EVERY <= n->requests + COUNTER_EVERY);
    assert_true(n->bytes_in % 40 == 0 && n->bytes_out % 56 == 0 && n->read % 10 == 0);
    assert_true(n->bytes_out <= n->bytes_in / 40 * 56);
    assert_true(n->bytes_in <= n->requests * 40);
    for (unsigned i = 0; i < COUNTER_OPS; i++)
        assert_true(i == 3 || n->ops[i] == 0);
}

static void test_race(void **state)
{
    struct race r = {.c = fresh(state)};
    pthread_t t[2];
    struct counts before = {0};
    unsigned looks = 0;

    pthread_mutex_init(&r.lock, NULL);
    pthread_create(&t[0], NULL, take, &r);
    pthread_create(&t[1], NULL, finish, &r);
    while (!atomic_load(&r.over)) {
        struct counts n = {0};
        counts_add(&n, r.c);
        plausible(&n, &before);
        before = n;
        looks++;
        sched_yield();
    }
    pthread_join(t[0], NULL);
    pthread_join(t[1], NULL);
    struct counts n = {0};
    counts_add(&n, r.c);
    plausible(&n, &before);
    assert_int_equal(n.requests, ROUNDS);
    assert_int_equal(counts_answered(&n), ROUNDS);
    assert_int_equal(n.bytes_in, ROUNDS * 40);
    assert_int_equal(n.errors[3] + n.read / 10, ROUNDS);
    assert_int_equal(counts_timed(&n), (ROUNDS + COUNTER_EVERY - 1) / COUNTER_EVERY);
    assert_true(looks > 0);
    pthread_mutex_destroy(&r.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apart),
        cmocka_unit_test_teardown(test_count, teardown),
        cmocka_unit_test_teardown(test_times, teardown),
        cmocka_unit_test(test_percentile),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_reader),
        cmocka_unit_test_teardown(test_race, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
