/* SPDX-License-Identifier: BSD-3-Clause
 * SIGUSR2: what the daemon counted, compared number by number with what was asked of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/wire/wire-report.h"

#define ROOT     1
#define QUEUES   3 /* hiprio and two */
#define EVERY    31
#define ASK      "GETATTR"
#define OPCODES  64
#define HEAD_IN  sizeof(struct fuse_in_header)
#define HEAD_OUT sizeof(struct fuse_out_header)

/* ---- FUSE: what was asked ---- */

static struct {
    uint64_t requests, errors, in, out, read, written;
    uint64_t op[OPCODES], failed[OPCODES];
} asked[QUEUES];

static void note(unsigned queue, unsigned place, size_t in, size_t out, bool failed)
{
    asked[queue].requests++;
    asked[queue].errors += failed;
    asked[queue].in += in;
    asked[queue].out += out;
    asked[queue].op[place]++;
    asked[queue].failed[place] += failed;
}

/* A request and its answer, @want of it, which has @answer bytes behind its header. */
static void ask(struct wire *w, unsigned queue, uint32_t op, uint64_t node, const void *in,
                size_t len, void *out, size_t answer, int want)
{
    struct iovec part = {(void *)in, len};
    size_t got = 0;
    int slot = fe_fuse_send(&w->f, queue, op, node, &part, in ? 1 : 0, 4096);

    assert_int_equal(fe_fuse_wait(&w->f, slot, out, answer, &got), want);
    assert_int_equal(got, want ? 0 : answer);
    note(queue, op < OPCODES ? op : 0, HEAD_IN + (in ? len : 0), HEAD_OUT + got, want < 0);
}

static void lookup(struct wire *w, unsigned queue, const char *name, int want,
                   struct fuse_entry_out *e)
{
    ask(w, queue, FUSE_LOOKUP, ROOT, name, strlen(name) + 1, e, sizeof(*e), want);
}

static void getattr(struct wire *w, unsigned queue, uint64_t node, int want)
{
    struct fuse_getattr_in in = {0};
    struct fuse_attr_out out;

    ask(w, queue, FUSE_GETATTR, node, &in, sizeof(in), &out, sizeof(out), want);
}

static void forget(struct wire *w, uint64_t node)
{
    struct fuse_forget_in in = {.nlookup = 1};
    struct iovec part = {&in, sizeof(in)};
    int slot = fe_fuse_send(&w->f, FE_HIPRIO, FUSE_FORGET, node, &part, 1, -1);

    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    note(FE_HIPRIO, FUSE_FORGET, HEAD_IN + sizeof(in), 0, false);
}

/* Open, write ten bytes, read four of them and then as many as there are. The handle. */
static uint64_t write_and_read(struct wire *w, unsigned queue, uint64_t node)
{
    struct fuse_open_in in = {.flags = O_RDWR};
    struct fuse_open_out opened;
    struct {
        struct fuse_write_in in;
        char data[10];
    } wr = {.data = "0123456789"};
    struct fuse_write_out written;
    struct fuse_read_in rd = {.size = 4};
    char buf[64];

    ask(w, queue, FUSE_OPEN, node, &in, sizeof(in), &opened, sizeof(opened), 0);
    wr.in.fh = rd.fh = opened.fh;
    wr.in.size = sizeof(wr.data);
    ask(w, queue, FUSE_WRITE, node, &wr, sizeof(wr.in) + sizeof(wr.data), &written, sizeof(written),
        0);
    ask(w, queue, FUSE_READ, node, &rd, sizeof(rd), buf, 4, 0);
    rd.size = 64;
    ask(w, queue, FUSE_READ, node, &rd, sizeof(rd), buf, 10, 0);
    rd.fh = 12345; /* no file: no bytes */
    ask(w, queue, FUSE_READ, node, &rd, sizeof(rd), buf, 0, -EBADF);
    asked[queue].written += 10;
    asked[queue].read += 14;
    return opened.fh;
}

/* INIT has been asked on FE_REQ, by the library. */
static void mounted(struct wire *w, const char *const *options)
{
    memset(asked, 0, sizeof(asked));
    wire_spawn(w, options);
    wire_rings_n(w, QUEUES);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    char *json = report(w);
    assert_int_equal(at(json, "virtiofsd_counters"), 1);
    expect(json, "parts/0/total", "requests", 1);
    expect(json, "parts/0/total/operations/INIT", "requests", 1);
    note(FE_REQ, FUSE_INIT, (size_t)at(json, "parts/0/total/bytes_in"),
         (size_t)at(json, "parts/0/total/bytes_out"), false);
    assert_in_range(asked[FE_REQ].in, HEAD_IN + 16, HEAD_IN + 256);
    assert_in_range(asked[FE_REQ].out, HEAD_OUT + 24, HEAD_OUT + 256);
    free(json);
}

static const struct {
    unsigned place;
    const char *name;
} names[] = {{0, "other"},
             {FUSE_LOOKUP, "LOOKUP"},
             {FUSE_FORGET, "FORGET"},
             {FUSE_GETATTR, ASK},
             {FUSE_OPEN, "OPEN"},
             {FUSE_READ, "READ"},
             {FUSE_WRITE, "WRITE"},
             {FUSE_INIT, "INIT"},
             {FUSE_RELEASE, "RELEASE"},
             {FUSE_SETLKW, "SETLKW"},
             {FUSE_SETLK, "SETLK"},
             {FUSE_STATFS, "STATFS"}};

/* The numbers of one queue, at @part. */
static void compare(const char *json, const char *part, unsigned queue)
{
    char op[128];
    uint64_t timed = 0;

    expect(json, part, "requests", asked[queue].requests);
    expect(json, part, "in_flight", 0);
    expect(json, part, "errors", asked[queue].errors);
    expect(json, part, "bytes_in", asked[queue].in);
    expect(json, part, "bytes_out", asked[queue].out);
    expect(json, part, "bytes_read", asked[queue].read);
    expect(json, part, "bytes_written", asked[queue].written);
    expect(json, part, "full", 0);
    expect(json, part, "latency/every", EVERY);
    expect(json, part, "latency/count", (asked[queue].requests + EVERY - 1) / EVERY);
    for (unsigned bits = 10; bits < 36; bits++) {
        uint64_t n = at(json, "%s/latency/below_ns/%llu", part, 1ULL << bits);
        timed += n == UINT64_MAX ? 0 : n;
    }
    expect(json, part, "latency/count", timed);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        unsigned place = names[i].place;
        snprintf(op, sizeof(op), "%s/operations/%s", part, names[i].name);
        if (asked[queue].op[place] == 0) {
            assert_null(json_find(json, op));
            continue;
        }
        expect(json, op, "requests", asked[queue].op[place]);
        expect(json, op, "errors", asked[queue].failed[place]);
    }
}

/* All queues, and that the total is their sum. */
static void compare_all(struct wire *w)
{
    static const char *const sums[] = {"requests",   "errors",        "bytes_in",      "bytes_out",
                                       "kicks",      "signals",       "latency/count", "polled",
                                       "bytes_read", "bytes_written", "latency/sum_ns"};
    char *json = report(w), part[64];

    for (unsigned q = 0; q < QUEUES; q++) {
        snprintf(part, sizeof(part), "parts/0/queues/%u", q);
        expect(json, part, "queue", q);
        compare(json, part, q);
        assert_in_range(at(json, "%s/signals", part), asked[q].requests > 0, asked[q].requests);
        /* None was needed where a worker came to its ring as the request did (trace counts them).
         */
        assert_true(at(json, "%s/kicks", part) <= asked[q].requests + 2);
    }
    for (unsigned i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
        uint64_t sum = 0;
        for (unsigned q = 0; q < QUEUES; q++)
            sum += at(json, "parts/0/queues/%u/%s", q, sums[i]);
        expect(json, "parts/0/total", sums[i], sum);
    }
    assert_true(json_is(json, "parts/0/protocol", "fuse"));
    assert_true(json_is(json, "parts/0/transport", "virtqueue"));
    free(json);
}

static void by_fuse(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e = {0};
    const uint8_t few[8] = {8};
    char too_long[300] = "";

    mounted(w, NULL);
    lookup(w, 1, "file", 0, &e);
    memset(too_long, 'x', sizeof(too_long) - 1);
    lookup(w, 2, too_long, -ENAMETOOLONG, &e);
    lookup(w, 2, "none", 0, &e); /* that there is none, for a while, is an answer */
    lookup(w, 1, "file", 0, &e);
    for (unsigned i = 0; i < 70; i++)
        getattr(w, 2, ROOT, 0);
    getattr(w, 1, 4711, -ENOENT);
    ask(w, 1, 4000, ROOT, NULL, 0, NULL, 0, -ENOSYS);
    write_and_read(w, 1, e.nodeid);
    /* Not even a header: it is given back without an answer. */
    int slot = fe_fuse_send_raw(&w->f, 2, few, sizeof(few), 64);
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), FE_ENOREPLY);
    note(2, 0, sizeof(few), 0, true);
    forget(w, e.nodeid);
    compare_all(w);
    wire_finish(w, 0);
}

/* By threads that share the work, the numbers are the same. */
static void by_pool(void **state)
{
    struct wire *w = *state;

    mounted(w, (const char *const[]){"--thread-pool-size=3", NULL});
    for (unsigned i = 0; i < 40; i++) {
        getattr(w, 1 + i % 2, ROOT, 0);
        getattr(w, 1 + i % 2, 4711, -ENOENT);
    }
    compare_all(w);
    wire_finish(w, 0);
}

/* What there is now: inodes, files, waits. A request that waits is in flight, and is counted as
 * answered when it is. */
static void gauges(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e = {0};
    struct fuse_lk_in lk = {.owner = 1, .lk = {.end = INT64_MAX, .type = F_WRLCK}};

    mounted(w, (const char *const[]){"--posix-lock", NULL});
    char *json = report(w);
    uint64_t inodes = at(json, "now/inodes"), others = at(json, "now/other_descriptors");
    expect(json, "now", "files", 0);
    expect(json, "now", "lock_waiters", 0);
    expect(json, "now", "mappings", 0);
    free(json);

    lookup(w, 1, "file", 0, &e);
    lk.fh = write_and_read(w, 1, e.nodeid);
    ask(w, 1, FUSE_SETLK, e.nodeid, &lk, sizeof(lk), NULL, 0, 0);
    lk.owner = 2;
    struct iovec part = {&lk, sizeof(lk)};
    int slot = fe_fuse_send(&w->f, 2, FUSE_SETLKW, e.nodeid, &part, 1, 0);
    for (;;) {
        json = report(w);
        if (at(json, "now/lock_waiters") == 1)
            break;
        free(json);
    }
    expect(json, "now", "inodes", inodes + 1);
    expect(json, "now", "files", 1);
    assert_true(at(json, "now/other_descriptors") > others);
    assert_int_equal(at(json, "now/lock_owners"), 2);
    expect(json, "parts/0/queues/2", "in_flight", 1);
    assert_null(json_find(json, "parts/0/queues/2/operations/SETLKW"));
    /* The worker's first read was looked at: it had just been written. */
    if (at(json, "reads/unknown") == 0)
        expect(json, "reads", "cached", 1);
    expect(json, "reads", "late", 0);
    free(json);

    lk.owner = 1;
    lk.lk.type = F_UNLCK;
    ask(w, 1, FUSE_SETLK, e.nodeid, &lk, sizeof(lk), NULL, 0, 0);
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    note(2, FUSE_SETLKW, HEAD_IN + sizeof(lk), HEAD_OUT, false);
    compare_all(w);
    assert_int_equal(fe_release(&w->f, e.nodeid, lk.fh), 0);
    json = report(w);
    expect(json, "now", "files", 0);
    free(json);
    wire_finish(w, 0);
}

/* Counters go on when another front-end comes; the line at the end is of its own session. */
static void sessions(void **state)
{
    struct wire *w = *state;

    mounted(w, (const char *const[]){"--relisten", NULL});
    getattr(w, 1, ROOT, 0);
    wire_hangup(w);
    wire_rings_n(w, QUEUES);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    note(1, FUSE_INIT, asked[1].in - HEAD_IN - sizeof(struct fuse_getattr_in),
         asked[1].out - HEAD_OUT - sizeof(struct fuse_attr_out), false);
    getattr(w, 1, 4711, -ENOENT);
    getattr(w, 2, ROOT, 0);
    compare_all(w);
    wire_hangup(w);
    kill(w->d.pid, SIGTERM);
    int status = -1;
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    assert_int_equal(fe_daemon_log_count(&w->d, "the session had 2 requests, "), 1);
    assert_int_equal(fe_daemon_log_count(&w->d, "the session had 3 requests, "), 1);
    assert_int_equal(fe_daemon_log_count(&w->d, ", 0 errors, "), 1);
    assert_int_equal(fe_daemon_log_count(&w->d, ", 1 errors, "), 1);
    fe_daemon_stop(&w->d);
}

/* ---- under load ---- */

/* Whatever runs, no number goes back, and none is more than what it is a part of. */
static void plausible(const char *json, uint64_t before[2])
{
    uint64_t requests = at(json, "parts/0/total/requests");
    uint64_t flying = at(json, "parts/0/total/in_flight");
    uint64_t gets = at(json, "parts/0/total/operations/" ASK "/requests");
    uint64_t bad = at(json, "parts/0/total/operations/" ASK "/errors");

    assert_true(requests >= before[0]);
    assert_true(gets == UINT64_MAX || gets >= before[1]);
    assert_true(flying <= FE_SLOTS);
    assert_true(at(json, "parts/0/total/latency/count") <= requests);
    assert_true(at(json, "parts/0/total/errors") <= requests - flying);
    assert_true(gets == UINT64_MAX || bad <= gets);
    before[0] = requests;
    before[1] = gets == UINT64_MAX ? 0 : gets;
}

static void under_load(void **state)
{
    struct wire *w = *state;
    struct fuse_getattr_in in = {0};
    struct iovec part = {&in, sizeof(in)};
    uint64_t before[2] = {0}, sent = 0;
    unsigned seen = 0;
    char *json;

    mounted(w, NULL);
    seen = 1;
    for (unsigned round = 0; round < 40; round++) {
        kill(w->d.pid, SIGUSR2);
        for (unsigned i = 0; i < 50; i++) {
            int slot[8];
            for (unsigned k = 0; k < 8; k++)
                slot[k] = fe_fuse_send(&w->f, 1 + k % 2, FUSE_GETATTR, k % 4 ? ROOT : 4711, &part,
                                       1, sizeof(struct fuse_attr_out));
            for (unsigned k = 0; k < 8; k++)
                assert_int_equal(fe_fuse_wait(&w->f, slot[k], NULL, 0, NULL), k % 4 ? 0 : -ENOENT);
            sent += 8;
        }
        while ((json = report_line(w, seen + 1))) {
            assert_true(json_valid(json));
            plausible(json, before);
            free(json);
            seen++;
        }
    }
    assert_true(seen > 2);
    json = report(w);
    expect(json, "parts/0/total/operations/" ASK, "requests", sent);
    expect(json, "parts/0/total/operations/" ASK, "errors", sent / 4);
    expect(json, "parts/0/total", "in_flight", 0);
    free(json);
    wire_finish(w, 0);
}

/* Sent before there is anything to say, from the socket's appearance on, or to a daemon that ends,
 * the signal does no harm. */
static void any_time(void **state)
{
    struct wire *w = *state;
    int status = -1;

    for (unsigned i = 0; i < 8; i++) {
        unlink(w->socket); /* a former daemon's */
        wire_spawn(w, NULL);
        for (int64_t end = fe_now_ms() + FE_TIMEOUT_MS; fe_now_ms() < end; usleep(100))
            if (access(w->socket, F_OK) == 0)
                break;
        usleep(i * 500);
        kill(w->d.pid, SIGUSR2);
        wire_rings(w);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        wire_alive(w);
        kill(w->d.pid, SIGTERM);
        kill(w->d.pid, SIGUSR2);
        wire_hangup(w);
        assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        fe_daemon_stop(&w->d);
    }
}

/* Processes of the group. */
static unsigned group_size(pid_t group)
{
    unsigned n = 0;
    DIR *proc = opendir("/proc");

    assert_non_null(proc);
    for (struct dirent *d; (d = readdir(proc));) {
        pid_t pid = (pid_t)atoi(d->d_name);
        n += pid > 0 && getpgid(pid) == group;
    }
    closedir(proc);
    return n;
}

/* Sent to all processes of a unit, as a service manager does, it ends none: neither who answers for
 * another directory's file system, nor who opens files by handles. */
static void to_all(void **state)
{
    static const char *const alone[] = {"setsid", NULL};
    struct wire *w = *state;
    char from[128];
    struct fuse_statfs_out out;

    w->before = alone;
    snprintf(from, sizeof(from), "--statfs-from=%s", w->dir);
    wire_spawn(w, (const char *const[]){from, "--inode-file-handles=fenced", NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    free(report(w));
    unsigned size = group_size(w->d.pid);
    assert_true(size >= 2);
    assert_int_equal(kill(-w->d.pid, SIGUSR2), 0);
    usleep(50000);
    free(report(w));
    assert_int_equal(group_size(w->d.pid), size);
    assert_int_equal(fe_call(&w->f, FUSE_STATFS, ROOT, NULL, 0, &out, sizeof(out), NULL), 0);
    wire_node(w, "dir/file");
    wire_alive(w);
    wire_finish(w, 0);
    w->before = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(by_fuse, wire_cleanup),
        cmocka_unit_test_teardown(by_pool, wire_cleanup),
        cmocka_unit_test_teardown(gauges, wire_cleanup),
        cmocka_unit_test_teardown(sessions, wire_cleanup),
        cmocka_unit_test_teardown(under_load, wire_cleanup),
        cmocka_unit_test_teardown(any_time, wire_cleanup),
        cmocka_unit_test_teardown(to_all, wire_cleanup),
    };
    return cmocka_run_group_tests_name("counters", tests, wire_make, wire_teardown);
}
