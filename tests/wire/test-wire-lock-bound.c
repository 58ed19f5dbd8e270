/* SPDX-License-Identifier: BSD-3-Clause
 * What a guest can pile up of locks, and what it costs the thread of a queue. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT FUSE_ROOT_ID

static struct fuse_lk_in lock_in(uint64_t fh, uint64_t owner, int type, uint64_t start,
                                 uint64_t end)
{
    return (struct fuse_lk_in){
        .fh = fh, .owner = owner, .lk = {.start = start, .end = end, .type = (uint32_t)type}};
}

static int setlk(struct wire *w, uint64_t node, const struct fuse_lk_in *in)
{
    return fe_call(&w->f, FUSE_SETLK, node, in, sizeof(*in), NULL, 0, NULL);
}

static void mount_with(struct wire *w, const char *const *options, unsigned nrings)
{
    wire_spawn(w, options);
    wire_rings_n(w, nrings);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

/* A million ranges: so many are kept, the rest is refused, and all are given back. */
static void ranges_are_bounded(void **state)
{
    struct wire *w = *state;
    uint64_t fh;
    struct fuse_lk_in in;
    mount_with(w, (const char *const[]){"--posix-lock", "--max-lock-ranges=1000", NULL}, 2);
    uint64_t node = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    unsigned refused = 0;
    for (unsigned i = 0; i < 3000; i++) {
        in = lock_in(fh, 1 + i % 7, F_RDLCK, 2 * i, 2 * i);
        int e = setlk(w, node, &in);
        if (e != (i < 1000 ? 0 : -ENOLCK))
            fail_msg("range %u: %d", i, e);
        refused += e != 0;
    }
    assert_int_equal(refused, 2000);
    in = lock_in(fh, 3, F_UNLCK, 0, INT64_MAX);
    assert_int_equal(setlk(w, node, &in), 0);
    in = lock_in(fh, 9, F_RDLCK, 0, 0);
    assert_int_equal(setlk(w, node, &in), 0);
    wire_finish(w, 0);
}

/* A lock that nobody gives up is waited for no longer than was said. */
static void waits_end(void **state)
{
    struct wire *w = *state;
    uint64_t fh;
    mount_with(w, (const char *const[]){"--posix-lock", "--flock", "--lock-wait=0.5", NULL}, 2);
    uint64_t node = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    int host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
    struct flock fl = {.l_type = F_WRLCK};
    assert_int_equal(fcntl(host, F_SETLK, &fl), 0);
    struct fuse_lk_in in = lock_in(fh, 1, F_WRLCK, 0, 0);
    int64_t start = fe_now_ms();
    assert_int_equal(fe_call(&w->f, FUSE_SETLKW, node, &in, sizeof(in), NULL, 0, NULL), -ENOLCK);
    assert_true(fe_now_ms() - start >= 499);
    close(host);
    assert_int_equal(fe_call(&w->f, FUSE_SETLKW, node, &in, sizeof(in), NULL, 0, NULL), 0);
    wire_finish(w, 0);
}

/* ---- a ring full of requests that wait ---- */

#define SENT (WIRE_QUEUE - 2)
#define KEPT (WIRE_QUEUE / 8)

struct lock_request {
    struct fuse_in_header h;
    struct fuse_lk_in in;
    struct fuse_out_header out;
    struct vring_desc table[2];
};

static void send_lock(struct wire *w, struct fe_ring *r, uint64_t gpa, uint64_t node,
                      const struct fuse_lk_in *in, uint16_t head)
{
    struct lock_request *q = (void *)fe_mem_ptr(&w->mem, gpa);
    uint32_t in_len = sizeof(q->h) + sizeof(q->in);
    memset(q, 0, sizeof(*q));
    q->h = (struct fuse_in_header){
        .len = in_len, .opcode = FUSE_SETLKW, .unique = 1000 + 2 * head, .nodeid = node};
    q->in = *in;
    q->out.error = 77;
    q->table[0] = (struct vring_desc){gpa, in_len, VRING_DESC_F_NEXT, 1};
    q->table[1] = (struct vring_desc){gpa + offsetof(struct lock_request, out), sizeof(q->out),
                                      VRING_DESC_F_WRITE, 0};
    fe_ring_desc(r, head, gpa + offsetof(struct lock_request, table), sizeof(q->table),
                 VRING_DESC_F_INDIRECT, 0);
    fe_ring_push(r, head);
}

/* Take what was answered; counts by errno. */
static void collect(struct wire *w, struct fe_ring *r, uint64_t gpa, unsigned *good,
                    unsigned *refused, unsigned want)
{
    uint32_t id, len;
    *good = *refused = 0;
    for (int64_t end = fe_now_ms() + FE_TIMEOUT_MS; *good + *refused < want;) {
        if (fe_now_ms() >= end)
            fail_msg("%u answers of %u", *good + *refused, want);
        if (!fe_ring_pop(r, &id, &len)) {
            fe_ring_wait(r, 10);
            continue;
        }
        struct lock_request *q =
            (void *)fe_mem_ptr(&w->mem, gpa + id * sizeof(struct lock_request));
        *good += q->out.error == 0;
        *refused += q->out.error == -ENOLCK;
    }
}

/* More than 64 may wait, and still something of the ring is left for others. */
static void ring_keeps_room(void **state)
{
    struct wire *w = *state;
    struct fe_ring *r;
    unsigned good, refused;
    uint64_t fh, node;
    mount_with(w, (const char *const[]){"--posix-lock", NULL}, 3);
    r = &w->v.ring[FE_REQ + 1]; /* fe_call() keeps to the other */
    node = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    struct fuse_lk_in held = lock_in(fh, 1, F_WRLCK, 0, 0);
    assert_int_equal(setlk(w, node, &held), 0);
    uint64_t gpa = fe_mem_alloc(&w->mem, 0, SENT * sizeof(struct lock_request), 16);
    for (uint16_t i = 0; i < SENT; i++) {
        struct fuse_lk_in in = lock_in(fh, 10 + i, F_RDLCK, 0, 0);
        send_lock(w, r, gpa + i * sizeof(struct lock_request), node, &in, i);
    }
    fe_ring_publish(r);
    collect(w, r, gpa, &good, &refused, SENT - (WIRE_QUEUE - KEPT));
    assert_int_equal(good, 0);
    wire_alive(w);
    held.lk.type = F_UNLCK;
    assert_int_equal(setlk(w, node, &held), 0);
    collect(w, r, gpa, &good, &refused, WIRE_QUEUE - KEPT);
    assert_int_equal(good, WIRE_QUEUE - KEPT);
    wire_finish(w, 0);
}

/* ---- FORGETs ---- */

#define FILES    2000u
#define OWNERS   2 /* of each */
#define LIMIT_NS 10000000u

/* CPU time of the daemon's threads but for the clerk's, in ns. */
static uint64_t queues_ns(pid_t pid)
{
    char path[64], line[128];
    uint64_t sum = 0;
    struct dirent *e;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *d = opendir(path);
    assert_non_null(d);
    while ((e = readdir(d))) {
        unsigned long long ns = 0;
        FILE *f;
        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/comm", (int)pid, e->d_name);
        if (!(f = fopen(path, "re")))
            continue;
        bool clerk = fgets(line, sizeof(line), f) && strcmp(line, "lock-clerk\n") == 0;
        fclose(f);
        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid, e->d_name);
        if (clerk || !(f = fopen(path, "re")))
            continue;
        if (fscanf(f, "%llu", &ns) == 1)
            sum += ns;
        fclose(f);
    }
    closedir(d);
    return sum;
}

static void batch_forget(struct wire *w, const uint64_t *nodes, unsigned n)
{
    size_t len = sizeof(struct fuse_batch_forget_in) + n * sizeof(struct fuse_forget_one);
    uint8_t *body = calloc(1, len);
    struct iovec part = {body, len};
    memcpy(body, &(struct fuse_batch_forget_in){.count = n}, sizeof(struct fuse_batch_forget_in));
    for (unsigned i = 0; i < n; i++)
        memcpy(body + sizeof(struct fuse_batch_forget_in) + i * sizeof(struct fuse_forget_one),
               &(struct fuse_forget_one){.nodeid = nodes[i], .nlookup = 1},
               sizeof(struct fuse_forget_one));
    int slot = fe_fuse_send(&w->f, FE_REQ, FUSE_BATCH_FORGET, 0, &part, 1, -1);
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    free(body);
}

static void make_files(struct wire *w, uint64_t *nodes, bool unlinked, bool locked)
{
    struct fuse_entry_out e;
    uint64_t fh;
    char name[24];
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "forget-%u", i);
        assert_int_equal(fe_create(&w->f, ROOT, name, O_RDWR, 0644, &e, &fh), 0);
        nodes[i] = e.nodeid;
        if (unlinked)
            assert_int_equal(fe_write(&w->f, e.nodeid, fh, 0, name, sizeof(name)), sizeof(name));
        for (unsigned o = 0; locked && o < OWNERS; o++) {
            struct fuse_lk_in in = lock_in(fh, 1 + o, F_RDLCK, 0, INT64_MAX);
            assert_int_equal(setlk(w, nodes[i], &in), 0);
            /* Through another file, so that they do not end with the first. */
        }
        if (!locked)
            assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);
        if (unlinked)
            assert_int_equal(fe_call_name(&w->f, FUSE_UNLINK, ROOT, NULL, 0, name, NULL, NULL, 0),
                             0);
    }
}

static void forget_costs(struct wire *w, bool unlinked, bool locked)
{
    static uint64_t nodes[FILES];
    mount_with(
        w, (const char *const[]){"--posix-lock", "--rlimit-nofile=20000", "--relisten", NULL}, 2);
    make_files(w, nodes, unlinked, locked);
    unsigned fds = fe_daemon_fds(&w->d);
    uint64_t before = queues_ns(w->d.pid);
    batch_forget(w, nodes, FILES);
    uint64_t took = queues_ns(w->d.pid) - before;
    print_message("%u files%s%s: %llu us\n", FILES, unlinked ? ", unlinked" : "",
                  locked ? ", locked" : "", (unsigned long long)took / 1000);
    /* An emulated processor's time is the host's, whatever else it does. */
    if (!WIRE_SANITIZED && !getenv("MESON_EXE_WRAPPER") && fe_slow(1) == 1)
        assert_true(took < LIMIT_NS);
    /* And what was given back is so. */
    if (locked)
        for (int64_t end = fe_now_ms() + FE_TIMEOUT_MS;
             fe_daemon_fds(&w->d) > fds - FILES * OWNERS && fe_now_ms() < end;)
            usleep(1000);
    if (locked)
        assert_true(fe_daemon_fds(&w->d) <= fds - FILES * OWNERS);
    wire_alive(w);
    fe_daemon_stop(&w->d);
    wire_hangup(w);
    for (unsigned i = 0; i < FILES; i++) {
        char name[24];
        snprintf(name, sizeof(name), "forget-%u", i);
        unlink(wire_path(w, name));
    }
}

static void forgets_of_locked(void **state)
{
    forget_costs(*state, false, true);
}

static void forgets(void **state)
{
    forget_costs(*state, false, false);
}

static void forgets_of_unlinked(void **state)
{
    forget_costs(*state, true, false);
}

#define TEST(t) cmocka_unit_test_teardown(t, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ranges_are_bounded), TEST(waits_end),           TEST(ring_keeps_room), TEST(forgets),
        TEST(forgets_of_locked),  TEST(forgets_of_unlinked),
    };
    return cmocka_run_group_tests_name("wire-lock-bound", tests, wire_make, wire_teardown);
}
