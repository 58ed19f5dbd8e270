/* SPDX-License-Identifier: BSD-3-Clause
 * Time of check, time of use: a second guest thread rewrites requests, their names and their
 * descriptors while the daemon looks at them. Any answer will do, or a stopped device; nothing
 * outside of the share may be touched, and the daemon lives. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROUNDS   15
#define REQUESTS 400
#define HEAD     100

/* What the second thread writes to. */
struct scribbler {
    pthread_t thread;
    atomic_bool stop;
    volatile uint8_t *at; /* bytes that change between @a and @b */
    const char *a, *b;
    size_t len;
    volatile uint32_t *words; /* words that become anything, or NULL */
    unsigned nwords;
};

static void *scribble(void *arg)
{
    struct scribbler *s = arg;
    uint32_t x = 1;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        const char *from = x & 0x10000 ? s->a : s->b;
        for (size_t i = 0; i < s->len; i++)
            s->at[i] = (uint8_t)from[i];
        x = x * 1664525 + 1013904223;
        if (s->words)
            s->words[(x >> 8) % s->nwords] = x >> (x & 15);
    }
    return NULL;
}

static void start(struct scribbler *s)
{
    atomic_init(&s->stop, false);
    assert_int_equal(pthread_create(&s->thread, NULL, scribble, s), 0);
}

static void finish(struct scribbler *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
}

/* A request of one readable and one writable segment at fixed places. */
struct request {
    uint64_t in, out;
    uint8_t *bytes;
};

static void make(struct wire *w, struct request *r)
{
    r->in = fe_mem_alloc(&w->mem, 0, 4096, 4096);
    r->out = fe_mem_alloc(&w->mem, 0, 4096, 4096);
    r->bytes = fe_mem_ptr(&w->mem, r->in);
}

/* What came of the races of one test: neither count may stay 0, or nothing was raced. */
struct outcomes {
    unsigned done, refused;
};

static void count(struct outcomes *o, bool done)
{
    *(done ? &o->done : &o->refused) += 1;
}

/* Whether to go on after @n: so many at least, and, for the second thread may get no processor for
 * a while, until both have come; for half a minute, then both_came() complains. */
static bool more(const struct outcomes *o, unsigned n, unsigned least, int64_t since)
{
    return n < least || ((o->done == 0 || o->refused == 0) && fe_now_ms() < since + 30000);
}

static void both_came(const struct outcomes *o, const char *what)
{
    print_message("%s: %u done, %u refused\n", what, o->done, o->refused);
    if (o->done == 0 || o->refused == 0)
        fail_msg("%s: %u done, %u refused: there was no race", what, o->done, o->refused);
}

/* The errno that the last answer in @r brought. */
static int answer_of(struct wire *w, const struct request *r)
{
    return ((const struct fuse_out_header *)fe_mem_ptr(&w->mem, r->out))->error;
}

/* Send it and wait. Returns false when the device was stopped. */
static bool send_one(struct wire *w, const struct request *r, uint32_t len)
{
    struct fe_ring *q = &w->v.ring[FE_REQ];
    uint32_t id, used;
    fe_ring_desc(q, HEAD, r->in, len, VRING_DESC_F_NEXT, HEAD + 1);
    fe_ring_desc(q, HEAD + 1, r->out, 4096, VRING_DESC_F_WRITE, 0);
    fe_ring_push(q, HEAD);
    fe_ring_publish(q);
    for (int64_t end = fe_now_ms() + FE_TIMEOUT_MS; fe_now_ms() < end;) {
        if (fe_ring_pop(q, &id, &used)) {
            assert_int_equal(id, HEAD);
            assert_true(used <= 4096);
            return true;
        }
        fe_ring_wait(q, 20);
        struct pollfd p = {.fd = w->v.sock, .events = POLLIN};
        if (poll(&p, 1, 0) > 0)
            return false;
    }
    fail_msg("a request was lost");
    return false;
}

static void mount(struct wire *w)
{
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

static void still_served(struct wire *w)
{
    assert_true(fe_daemon_alive(&w->d));
    wire_hangup(w);
    mount(w);
    wire_alive(w);
    wire_hangup(w);
}

/* A name that is "x.victim" when it is checked and "../victim" when it is used, perhaps. */
static void name_changes(void **state)
{
    struct wire *w = *state;
    static const uint32_t ops[] = {FUSE_MKDIR, FUSE_UNLINK, FUSE_RMDIR, FUSE_LOOKUP};
    static const char *const names[] = {"MKDIR", "UNLINK", "RMDIR", "LOOKUP"};
    char victim[96];
    struct stat st;
    snprintf(victim, sizeof(victim), "%s/victim", w->dir);
    fclose(fopen(victim, "we"));
    wire_spawn(w, (const char *const[]){"--relisten", NULL});
    mount(w);
    struct request r;
    make(w, &r);
    for (unsigned k = 0; k < sizeof(ops) / sizeof(ops[0]); k++) {
        uint32_t fixed = ops[k] == FUSE_MKDIR ? sizeof(struct fuse_mkdir_in) : 0;
        uint32_t len = sizeof(struct fuse_in_header) + fixed + 10;
        *(struct fuse_in_header *)r.bytes =
            (struct fuse_in_header){.len = len, .opcode = ops[k], .unique = 3, .nodeid = 1};
        uint8_t *name = r.bytes + sizeof(struct fuse_in_header) + fixed;
        memcpy(name, "aaavictim", 10);
        struct scribbler s = {.at = name, .a = "aaa", .b = "../", .len = 3};
        struct outcomes o = {0};
        int64_t since = fe_now_ms();
        start(&s);
        for (unsigned i = 0; more(&o, i, REQUESTS * 4, since); i++) {
            assert_true(send_one(w, &r, len));
            count(&o, answer_of(w, &r) != -EINVAL); /* the name was no path */
        }
        finish(&s);
        both_came(&o, names[k]);
    }
    assert_int_equal(lstat(victim, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    still_served(w);
    unlink(victim);
    rmdir(wire_path(w, "aaavictim"));
}

/* The header changes: opcode, length, node, unique. */
static void header_changes(void **state)
{
    struct wire *w = *state;
    struct outcomes o = {0};
    int64_t since = fe_now_ms();
    wire_spawn(w, (const char *const[]){"--relisten", NULL});
    for (unsigned round = 0; more(&o, round, ROUNDS, since); round++) {
        struct request r;
        mount(w);
        make(w, &r);
        struct scribbler s = {.words = (volatile uint32_t *)r.bytes, .nwords = 24};
        start(&s);
        for (unsigned i = 0; i < REQUESTS; i++) {
            *(struct fuse_in_header *)r.bytes = (struct fuse_in_header){
                .len = 80, .opcode = i % 54, .unique = 3, .nodeid = FUSE_ROOT_ID};
            if (!send_one(w, &r, 80))
                break;
            count(&o, answer_of(w, &r) == 0);
        }
        finish(&s);
        still_served(w);
    }
    both_came(&o, "requests");
}

/* Descriptors, indirect table and rings change. */
static void descriptors_change(void **state)
{
    struct wire *w = *state;
    struct outcomes o = {0};
    int64_t since = fe_now_ms();
    wire_spawn(w, (const char *const[]){"--relisten", NULL});
    for (unsigned round = 0; more(&o, round, ROUNDS, since); round++) {
        struct fe_ring *q;
        struct request r;
        mount(w);
        make(w, &r);
        q = &w->v.ring[FE_REQ];
        struct scribbler s = {.words = (volatile uint32_t *)&q->desc[HEAD], .nwords = 8};
        if (round % 3 == 1) { /* the available ring: whatever heads there are */
            s.words = (volatile uint32_t *)(uintptr_t)&q->avail->ring[2];
            s.nwords = 8;
        }
        start(&s);
        for (unsigned i = 0; i < REQUESTS; i++) {
            uint32_t id, len;
            *(struct fuse_in_header *)r.bytes = (struct fuse_in_header){
                .len = 56, .opcode = FUSE_GETATTR, .unique = 3, .nodeid = FUSE_ROOT_ID};
            fe_ring_desc(q, HEAD, r.in, 56, VRING_DESC_F_NEXT, HEAD + 1);
            fe_ring_desc(q, HEAD + 1, r.out, 4096, VRING_DESC_F_WRITE, 0);
            fe_ring_push(q, HEAD);
            fe_ring_publish(q);
            fe_ring_wait(q, 2);
            while (fe_ring_pop(q, &id, &len)) {
                assert_true(id < WIRE_QUEUE);
                count(&o, true);
            }
            if (fe_poll(w->v.sock, POLLIN, 0) == 0) {
                count(&o, false);
                break;
            }
        }
        finish(&s);
        still_served(w);
    }
    both_came(&o, "chains");
}

#define TEST(t) cmocka_unit_test_teardown(t, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(name_changes),
        TEST(header_changes),
        TEST(descriptors_change),
    };
    return cmocka_run_group_tests_name("wire-race", tests, wire_make, wire_teardown);
}
