/* SPDX-License-Identifier: BSD-3-Clause
 * A guest that takes all it can get: what it gets is bounded, and everybody else is served. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT FUSE_ROOT_ID

/* A guest can cause log lines; it cannot fill the disk with them. */
static void log_lines_are_limited(void **state)
{
    struct wire *w = *state;
    char zero[16] = {0};
    for (unsigned i = 0; i < 3000; i++) {
        fe_call(&w->f, FUSE_OPEN, 12345678 + i, zero, 8, NULL, 16, NULL);
        fe_call(&w->f, 4000 + i, ROOT, zero, 16, NULL, 16, NULL);
        fe_call(&w->f, FUSE_GETATTR, ROOT, zero, 3, NULL, 104, NULL);
        fe_vhost_ack(&w->v, 5000 + i, zero, 8, NULL, 0);
    }
    for (unsigned i = 0; i < 300; i++) {
        struct fuse_init_in old = {.major = 6 + i % 2, .minor = 5};
        fe_call(&w->f, FUSE_INIT, 0, &old, sizeof(old), NULL, 64, NULL);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        fe_call(&w->f, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL);
    }
    assert_true(fe_daemon_log_count(&w->d, "\n") < 100);
}

/* Memory stays bounded: held lookups, failed requests and FORGETs of all kinds. */
static void memory_is_bounded(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    for (unsigned pass = 0; pass < 3; pass++) {
        uint64_t before = fe_daemon_rss_kib(&w->d);
        for (unsigned i = 0; i < 20000; i++) {
            char name[24];
            snprintf(name, sizeof(name), "absent-%u-%u", pass, i);
            int err = fe_lookup(&w->f, ROOT, name, &e);
            assert_true(err == -ENOENT || (err == 0 && e.nodeid == 0));
            if (i % 4 == 0) {
                assert_int_equal(fe_lookup(&w->f, ROOT, "file", &e), 0);
                fe_forget(&w->f, e.nodeid, 1);
                fe_forget(&w->f, 1000 + i, 1);
            }
        }
        if (pass > 0 && !getenv("ASAN_OPTIONS"))
            assert_true(fe_daemon_rss_kib(&w->d) < before + 1024);
    }
}

/* ---- one lookup ---- */

#define DEEP      4000
#define LOOKUP_NS 1000000 /* of processor time, at most */
#define TRIES     20

/* The least that the daemon took for ".." of @node, of several times: a busy machine adds to it. */
static uint64_t cost_of_up(struct wire *w, uint64_t node, uint64_t above)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < TRIES; i++) {
        struct fuse_entry_out e;
        uint64_t before = fe_daemon_cpu_ns(&w->d);
        assert_int_equal(fe_lookup(&w->f, node, "..", &e), 0);
        uint64_t took = fe_daemon_cpu_ns(&w->d) - before;
        assert_int_equal(e.nodeid, above);
        fe_forget(&w->f, e.nodeid, 1);
        least = took < least ? took : least;
    }
    return least;
}

/* ".." from the bottom of a deep tree, and when the host has moved the tree out of the share. */
static void deep_up(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e = {.nodeid = ROOT};
    uint64_t *node = calloc(DEEP + 1, sizeof(*node));
    char away[96];

    assert_non_null(node);
    if (getenv("MESON_EXE_WRAPPER")) {
        print_message("an emulator's processor time is not the daemon's: skipped\n");
        free(node);
        skip();
    }
    node[0] = ROOT;
    for (unsigned i = 0; i < DEEP; i++) {
        assert_int_equal(fe_mkdir(&w->f, node[i], "deep", 0755, &e), 0);
        node[i + 1] = e.nodeid;
    }
    uint64_t took = cost_of_up(w, node[DEEP], node[DEEP - 1]);
    print_message("%u deep: %llu us\n", DEEP, (unsigned long long)took / 1000);
    assert_true(took < LOOKUP_NS * (WIRE_SANITIZED ? 10 : 1));
    for (unsigned i = 1; i <= DEEP; i += i < 40 ? 1 : 97) /* of every depth */
        assert_true(cost_of_up(w, node[i], node[i - 1]) < LOOKUP_NS * (WIRE_SANITIZED ? 10 : 1));

    snprintf(away, sizeof(away), "%s/away", w->dir);
    assert_int_equal(rename(wire_path(w, "deep"), away), 0);
    for (unsigned i = 2; i <= DEEP; i += i < 40 ? 1 : 997) {
        int rc = fe_lookup(&w->f, node[i], "..", &e);
        assert_true(rc < 0 || e.nodeid == 0);
    }
    assert_int_equal(rename(away, wire_path(w, "deep")), 0);
    for (unsigned i = DEEP; i-- > 0;) {
        assert_int_equal(fe_call_name(&w->f, FUSE_RMDIR, node[i], NULL, 0, "deep", NULL, NULL, 0),
                         0);
        fe_forget(&w->f, node[i + 1], 1);
    }
    free(node);
}

/* ---- one queue busy, the other served ---- */

#define OTHER   (FE_REQ + 1) /* the queue that must be served */
#define SERVED  2000         /* ms: an answer there takes far less, even on a busy machine */
#define LOOKUPS 1000000
#define LOCKS   100000

static void spawn(struct wire *w, const char *const *extra)
{
    wire_spawn(w, extra);
    wire_rings_n(w, 3);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

static int send_on(struct wire *w, unsigned queue, uint32_t op, uint64_t node, const void *in,
                   size_t len, int reply)
{
    struct iovec part = {(void *)in, len};
    return fe_fuse_send(&w->f, queue, op, node, &part, 1, reply);
}

/* A GETATTR on the other queue is answered in time. */
static void served(struct wire *w)
{
    struct fuse_getattr_in in = {0};
    int slot = send_on(w, OTHER, FUSE_GETATTR, ROOT, &in, sizeof(in), 104);
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, SERVED), 0);
}

/* Sanitizers keep freed memory for a while; an emulator that of the code it has translated. */
static void memory_below(struct wire *w, uint64_t kib)
{
    uint64_t now = fe_daemon_rss_kib(&w->d);
    if (getenv("MESON_EXE_WRAPPER"))
        kib += 4096;
    if (getenv("ASAN_OPTIONS") || getenv("TSAN_OPTIONS"))
        return;
    if (now > kib)
        fail_msg("%llu KiB in use, %llu allowed", (unsigned long long)now, (unsigned long long)kib);
}

/* The guest's other thread, that fills hiprio with FORGETs without ever waiting. */
struct flood {
    struct fe_ring *ring;
    uint64_t gpa;
    atomic_bool stop;
    uint64_t sent;
};

static void *flood(void *arg)
{
    struct flood *f = arg;
    struct fe_ring *r = f->ring;
    uint32_t id, len;
    while (!atomic_load(&f->stop)) {
        for (unsigned i = 0; i < r->size && (uint16_t)(r->avail_idx - r->used_seen) < r->size;
             i++) {
            uint16_t head = r->avail_idx & (r->size - 1);
            fe_ring_desc(r, head, f->gpa, sizeof(struct fuse_in_header) + 8, 0, 0);
            fe_ring_push(r, head);
            f->sent++;
        }
        fe_ring_publish(r);
        while (fe_ring_pop(r, &id, &len))
            ;
    }
    while (r->used_seen != r->avail_idx && fe_ring_wait(r, FE_TIMEOUT_MS) == 0)
        while (fe_ring_pop(r, &id, &len))
            ;
    return NULL;
}

static void hiprio_flood(void **state)
{
    struct wire *w = *state;
    struct {
        struct fuse_in_header h;
        struct fuse_forget_in in;
    } forget = {{.len = sizeof(forget), .opcode = FUSE_FORGET, .nodeid = 99999}, {1}};
    pthread_t thread;
    spawn(w, NULL);
    struct flood f = {.ring = &w->v.ring[FE_HIPRIO]};
    f.gpa = fe_mem_alloc(&w->mem, 0, sizeof(forget), 8);
    memcpy(fe_mem_ptr(&w->mem, f.gpa), &forget, sizeof(forget));
    assert_int_equal(pthread_create(&thread, NULL, flood, &f), 0);
    for (int64_t end = fe_now_ms() + 1000; fe_now_ms() < end;)
        served(w);
    atomic_store(&f.stop, true);
    pthread_join(thread, NULL);
    assert_true(f.sent > 1000);
    wire_finish(w, 0);
}

/* A million lookups that are never forgotten: counts, not memory. */
static void million_lookups(void **state)
{
    struct wire *w = *state;
    static const char *const names[] = {"file", "big", "dir", "link"};
    int slot[8];
    spawn(w, NULL);
    wire_node(w, "dir/file");
    uint64_t before = fe_daemon_rss_kib(&w->d);
    for (unsigned i = 0; i < LOOKUPS / 8; i++) {
        for (unsigned k = 0; k < 8; k++)
            slot[k] = send_on(w, FE_REQ, FUSE_LOOKUP, ROOT, names[k % 4], strlen(names[k % 4]) + 1,
                              sizeof(struct fuse_entry_out));
        for (unsigned k = 0; k < 8; k++)
            assert_int_equal(fe_fuse_wait(&w->f, slot[k], NULL, 0, NULL), 0);
        if (i % 1000 == 0)
            served(w);
    }
    memory_below(w, before + 1024);
    struct fuse_entry_out e;
    assert_int_equal(fe_lookup(&w->f, ROOT, "file", &e), 0);
    fe_forget(&w->f, e.nodeid, LOOKUPS / 4); /* all but that one */
    assert_int_equal(fe_getattr(&w->f, e.nodeid, NULL), 0);
    fe_forget(&w->f, e.nodeid, 1);
    assert_true(fe_getattr(&w->f, e.nodeid, NULL) < 0);
    wire_finish(w, 0);
}

/* --max-inodes holds, and what is forgotten can be had again. */
static void inodes_are_bounded(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    uint64_t first = 0;
    unsigned known = 0;
    int rc = 0;
    char name[24];
    mkdir(wire_path(w, "crowd"), 0755);
    for (unsigned i = 0; i < 600; i++) {
        snprintf(name, sizeof(name), "crowd/%u", i);
        wire_put(w, name, NULL);
    }
    spawn(w, (const char *const[]){"--max-inodes=500", NULL});
    uint64_t dir = wire_node(w, "crowd");
    for (; known < 600; known++) {
        snprintf(name, sizeof(name), "%u", known);
        rc = fe_lookup(&w->f, dir, name, &e);
        if (rc)
            break;
        first = first ? first : e.nodeid;
    }
    assert_int_equal(rc, -ENFILE);
    assert_in_range(known, 490, 500);
    snprintf(name, sizeof(name), "no-room");
    assert_int_equal(fe_mkdir(&w->f, dir, name, 0755, &e), -ENFILE);
    served(w);
    fe_forget(&w->f, first, 1);
    snprintf(name, sizeof(name), "%u", known);
    assert_int_equal(fe_lookup(&w->f, dir, name, &e), 0);
    assert_true(fe_daemon_log_count(&w->d, "--max-inodes") > 0);
    wire_finish(w, 0);
}

/* A request that is longer than any can be. */
static void requests_are_bounded(void **state)
{
    struct wire *w = *state;
    static char text[200000];
    memset(text, 'x', sizeof(text));
    spawn(w, NULL);
    static const size_t sizes[] = {72 * 1024, 100000, sizeof(text)};
    for (unsigned i = 0; i < 3; i++) {
        int slot = send_on(w, FE_REQ, FUSE_SYMLINK, ROOT, text, sizes[i], 128);
        assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), -E2BIG);
        slot = send_on(w, FE_REQ, FUSE_SETXATTR, ROOT, text, sizes[i], 0);
        assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), -E2BIG);
    }
    served(w);
    wire_finish(w, 0);
}

static int lock_on(struct wire *w, uint32_t op, uint64_t node, uint64_t fh, uint64_t owner,
                   int type)
{
    struct fuse_lk_in in = {.fh = fh, .owner = owner, .lk = {.end = 0, .type = (uint32_t)type}};
    return send_on(w, FE_REQ, op, node, &in, sizeof(in), 0);
}

/* Locks that wait: so many threads and no more, the rest are refused, at no lasting cost. */
static void blocking_locks(void **state)
{
    struct wire *w = *state;
    uint64_t fh;
    int slot[8];
    spawn(w, (const char *const[]){"--posix-lock", "--max-lock-waiters=6", "--rlimit-nofile=1000",
                                   NULL});
    uint64_t node = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    assert_int_equal(
        fe_fuse_wait(&w->f, lock_on(w, FUSE_SETLK, node, fh, 1, F_WRLCK), NULL, 0, NULL), 0);
    for (unsigned i = 0; i < 6; i++)
        slot[i] = lock_on(w, FUSE_SETLKW, node, fh, 10 + i, F_WRLCK);
    served(w);
    unsigned refused = 0;
    uint64_t before = fe_daemon_rss_kib(&w->d);
    for (unsigned i = 0; i < LOCKS; i++) {
        int s = lock_on(w, FUSE_SETLKW, node, fh, 100 + i, F_WRLCK);
        int e = fe_fuse_wait_ms(&w->f, s, NULL, 0, NULL, SERVED);
        if (e != -ENOLCK && e != -ENFILE)
            fail_msg("lock %u: %d", i, e);
        refused++;
        if (i % 5000 == 0)
            served(w);
    }
    assert_int_equal(refused, LOCKS);
    assert_true(fe_daemon_fds(&w->d) < 1000);
    memory_below(w, before + 4096);
    assert_true(fe_daemon_log_count(&w->d, "\n") < 100);
    /* The first holder lets go, and one waiter after the other gets its turn. */
    assert_int_equal(
        fe_fuse_wait(&w->f, lock_on(w, FUSE_SETLK, node, fh, 1, F_UNLCK), NULL, 0, NULL), 0);
    fe_forget(&w->f, node, 1000); /* every owner's locks end with the inode */
    unsigned left = 6;
    for (int64_t end = fe_now_ms() + FE_TIMEOUT_MS; left && fe_now_ms() < end;) {
        for (unsigned i = 0; i < 6; i++) {
            if (slot[i] < 0 || fe_fuse_wait_ms(&w->f, slot[i], NULL, 0, NULL, 5) == FE_ETIMEOUT)
                continue;
            slot[i] = -1;
            left--;
        }
    }
    assert_int_equal(left, 0);
    wire_finish(w, 0);
}

/* Directories opened by the thousand, each read a little: only so many keep a buffer. */
static void many_listings(void **state)
{
    struct wire *w = *state;
    char name[40];
    mkdir(wire_path(w, "long"), 0755);
    for (unsigned i = 0; i < 1500; i++) {
        snprintf(name, sizeof(name), "long/entry-with-a-long-name-%u", i);
        wire_put(w, name, NULL);
    }
    spawn(w, NULL);
    uint64_t node = wire_node(w, "long"), fh;
    uint64_t before = fe_daemon_rss_kib(&w->d);
    for (unsigned i = 0; i < 3000; i++) {
        assert_int_equal(fe_opendir(&w->f, node, &fh), 0);
        struct fuse_read_in in = {.fh = fh, .size = 200};
        assert_int_equal(fe_call(&w->f, FUSE_READDIR, node, &in, sizeof(in), NULL, 200, NULL), 0);
        /* Over and over from the start, as much as fits. */
        in.size = 1u << 20;
        if (i % 100 == 0) {
            int slot = send_on(w, FE_REQ, FUSE_READDIRPLUS, node, &in, sizeof(in), 1 << 20);
            served(w);
            assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
        }
    }
    memory_below(w, before + 1024 * 32 + 8192); /* 1024 buffers of 32 KiB */
    wire_finish(w, 0);
}

#define BARE(t) cmocka_unit_test_teardown(t, wire_cleanup)
#define TEST(t) cmocka_unit_test_setup_teardown(t, wire_mount, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(log_lines_are_limited), TEST(memory_is_bounded),  BARE(hiprio_flood),
        BARE(million_lookups),       BARE(inodes_are_bounded), BARE(requests_are_bounded),
        BARE(blocking_locks),        BARE(many_listings),      WIRE_BOTH(deep_up),
    };
    return cmocka_run_group_tests_name("wire-starve", tests, wire_make, wire_teardown);
}
