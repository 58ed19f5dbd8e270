/* SPDX-License-Identifier: BSD-3-Clause
 * Rings as no driver writes them (VIRTIO 1.2, 2.7). Each case ends in an answer on a ring that goes
 * on, or in a device that is stopped with one line, after which the next connection is served. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define NEXT     VRING_DESC_F_NEXT
#define WR       VRING_DESC_F_WRITE
#define IND      VRING_DESC_F_INDIRECT
#define HEAD     100 /* descriptors from here on are not used by fe-fuse */
#define IN_LEN   56u /* GETATTR: header and argument */
#define OUT_LEN  120u
#define TAB_SIZE 4096u

enum outcome {
    OK,       /* the GETATTR is answered */
    ANSWERED, /* used with an error, or with length 0 */
    BROKEN,   /* device stopped, connection closed */
    EITHER,   /* OK or BROKEN, as the timing goes */
};

/* What a case works with: a GETATTR of the root in guest memory. */
struct bench {
    struct wire *w;
    struct fe_ring *r;
    uint64_t in, out; /* the request, room for the reply */
    uint64_t tab;     /* room for an indirect table */
    uint64_t edge;    /* first address of region 1: region 0 ends right before */
    uint64_t end;     /* end of region 1: a hole follows */
};

static void chain2(struct bench *b, uint64_t in, uint32_t in_len, uint64_t out, uint32_t out_len)
{
    fe_ring_desc(b->r, HEAD, in, in_len, NEXT, HEAD + 1);
    fe_ring_desc(b->r, HEAD + 1, out, out_len, WR, 0);
    fe_ring_push(b->r, HEAD);
}

static struct vring_desc *table(struct bench *b)
{
    return fe_mem_ptr(&b->w->mem, b->tab);
}

static void indirect(struct bench *b, uint64_t tab, uint32_t len, uint16_t flags)
{
    fe_ring_desc(b->r, HEAD, tab, len, IND | flags, HEAD + 1);
    fe_ring_push(b->r, HEAD);
}

static void ind2(struct bench *b)
{
    table(b)[0] = (struct vring_desc){b->in, IN_LEN, NEXT, 1};
    table(b)[1] = (struct vring_desc){b->out, OUT_LEN, WR, 0};
}

/* ---- good ones ---- */

static void plain(struct bench *b)
{
    chain2(b, b->in, IN_LEN, b->out, OUT_LEN);
}

static void plain_indirect(struct bench *b)
{
    ind2(b);
    indirect(b, b->tab, 32, 0);
}

/* The table's order is the next fields', not the array's. */
static void indirect_backwards(struct bench *b)
{
    table(b)[0] = (struct vring_desc){b->in, 40, NEXT, 3};
    table(b)[3] = (struct vring_desc){b->in + 40, 16, NEXT, 1};
    table(b)[1] = (struct vring_desc){b->out, 16, NEXT | WR, 2};
    table(b)[2] = (struct vring_desc){b->out + 16, 104, WR, 0};
    indirect(b, b->tab, 64, 0);
}

/* Framing means nothing: a header may come in single bytes. */
static void single_bytes(struct bench *b)
{
    unsigned n = 0;
    for (unsigned i = 0; i < IN_LEN; i++, n++)
        table(b)[n] = (struct vring_desc){b->in + i, 1, NEXT, (uint16_t)(n + 1)};
    for (unsigned i = 0; i < OUT_LEN; i++, n++)
        table(b)[n] = (struct vring_desc){b->out + i, 1, NEXT | WR, (uint16_t)(n + 1)};
    table(b)[n - 1].flags = WR;
    indirect(b, b->tab, n * 16, 0);
}

static void empty_segments(struct bench *b)
{
    static const struct {
        uint32_t off, len;
        uint16_t flags;
    } d[] = {{0, 0, 0},   {0, 40, 0}, {0, 0, 0},     {40, 16, 0}, {0, 0, WR},
             {0, 16, WR}, {0, 0, WR}, {16, 104, WR}, {0, 0, WR}};
    for (unsigned i = 0; i < 9; i++)
        fe_ring_desc(b->r, HEAD + i, (d[i].flags ? b->out : b->in) + d[i].off, d[i].len,
                     d[i].flags | (i < 8 ? NEXT : 0), (uint16_t)(HEAD + i + 1));
    fe_ring_push(b->r, HEAD);
}

/* A request that begins in one region and ends in the next, adjacent one. */
static void across_adjacent(struct bench *b)
{
    uint64_t at = b->edge - 20;
    uint8_t copy[IN_LEN];
    memcpy(copy, fe_mem_ptr(&b->w->mem, b->in), IN_LEN);
    memcpy(fe_mem_ptr(&b->w->mem, at), copy, 20);
    memcpy(fe_mem_ptr(&b->w->mem, b->edge), copy + 20, IN_LEN - 20);
    chain2(b, at, IN_LEN, b->out, OUT_LEN);
}

static void table_across_adjacent(struct bench *b)
{
    uint64_t at = b->edge - 16;
    struct vring_desc d[2] = {{b->in, IN_LEN, NEXT, 1}, {b->out, OUT_LEN, WR, 0}};
    memcpy(fe_mem_ptr(&b->w->mem, at), &d[0], 16);
    memcpy(fe_mem_ptr(&b->w->mem, b->edge), &d[1], 16);
    indirect(b, at, 32, 0);
}

/* ---- answered with an error, or given back ---- */

static void readable_outside(struct bench *b)
{
    chain2(b, 0x10, IN_LEN, b->out, OUT_LEN);
}

static void writable_outside(struct bench *b)
{
    chain2(b, b->in, IN_LEN, 1ULL << 40, OUT_LEN);
}

static void address_wraps(struct bench *b)
{
    chain2(b, ~0ULL - 8, IN_LEN, b->out, OUT_LEN);
}

static void writable_wraps(struct bench *b)
{
    fe_ring_desc(b->r, HEAD, b->in, IN_LEN, NEXT, HEAD + 1);
    fe_ring_desc(b->r, HEAD + 1, b->out, 16, NEXT | WR, HEAD + 2);
    fe_ring_desc(b->r, HEAD + 2, ~0ULL - 8, 0xffffffff, WR, 0);
    fe_ring_push(b->r, HEAD);
}

static void into_the_hole(struct bench *b)
{
    chain2(b, b->end - 20, IN_LEN, b->out, OUT_LEN);
}

static void writable_into_the_hole(struct bench *b)
{
    chain2(b, b->in, IN_LEN, b->end - 60, OUT_LEN);
}

static void huge_length(struct bench *b)
{
    chain2(b, b->in, 0xffffffff, b->out, 0xffffffff);
}

static void no_readable(struct bench *b)
{
    fe_ring_desc(b->r, HEAD, b->out, OUT_LEN, WR, 0);
    fe_ring_push(b->r, HEAD);
}

static void nothing_at_all(struct bench *b)
{
    fe_ring_desc(b->r, HEAD, 0, 0, 0, 0);
    fe_ring_push(b->r, HEAD);
}

static void no_writable(struct bench *b)
{
    fe_ring_desc(b->r, HEAD, b->in, IN_LEN, 0, 0);
    fe_ring_push(b->r, HEAD);
}

/* ---- broken ---- */

static void head_outside(struct bench *b)
{
    fe_ring_push(b->r, WIRE_QUEUE);
}

static void head_far_outside(struct bench *b)
{
    fe_ring_push(b->r, 0xffff);
}

static void next_outside(struct bench *b)
{
    fe_ring_desc(b->r, HEAD, b->in, IN_LEN, NEXT, WIRE_QUEUE);
    fe_ring_push(b->r, HEAD);
}

static void loop_of_one(struct bench *b)
{
    fe_ring_desc(b->r, HEAD, b->in, 1, NEXT, HEAD);
    fe_ring_push(b->r, HEAD);
}

static void loop_of_two(struct bench *b)
{
    fe_ring_desc(b->r, HEAD, b->in, IN_LEN, NEXT, HEAD + 1);
    fe_ring_desc(b->r, HEAD + 1, b->out, OUT_LEN, NEXT | WR, HEAD + 2);
    fe_ring_desc(b->r, HEAD + 2, b->out, OUT_LEN, NEXT | WR, HEAD + 1);
    fe_ring_push(b->r, HEAD);
}

static void loop_of_empty_ones(struct bench *b)
{
    fe_ring_desc(b->r, HEAD, 0, 0, NEXT, HEAD);
    fe_ring_push(b->r, HEAD);
}

static void readable_after_writable(struct bench *b)
{
    fe_ring_desc(b->r, HEAD, b->out, OUT_LEN, NEXT | WR, HEAD + 1);
    fe_ring_desc(b->r, HEAD + 1, b->in, IN_LEN, 0, 0);
    fe_ring_push(b->r, HEAD);
}

static void index_jumps(struct bench *b)
{
    plain(b);
    b->r->avail_idx = (uint16_t)(b->r->avail_idx + WIRE_QUEUE);
}

static void index_goes_back(struct bench *b)
{
    b->r->avail_idx = (uint16_t)(b->r->avail_idx - 1);
}

static void same_head_twice(struct bench *b)
{
    plain(b);
    fe_ring_push(b->r, HEAD);
}

static void table_of_nothing(struct bench *b)
{
    indirect(b, b->tab, 0, 0);
}

static void table_of_8_bytes(struct bench *b)
{
    ind2(b);
    indirect(b, b->tab, 8, 0);
}

static void table_of_33_bytes(struct bench *b)
{
    ind2(b);
    indirect(b, b->tab, 33, 0);
}

static void table_too_long(struct bench *b)
{
    ind2(b);
    indirect(b, b->tab, 16 * 65536, 0);
}

static void table_of_4_gib(struct bench *b)
{
    ind2(b);
    indirect(b, b->tab, 0xfffffff0, 0);
}

static void table_and_next(struct bench *b)
{
    ind2(b);
    fe_ring_desc(b->r, HEAD + 1, b->out, OUT_LEN, WR, 0);
    indirect(b, b->tab, 32, NEXT);
}

static void table_in_a_chain(struct bench *b)
{
    ind2(b);
    fe_ring_desc(b->r, HEAD, b->in, IN_LEN, NEXT, HEAD + 1);
    fe_ring_desc(b->r, HEAD + 1, b->tab, 8, IND, 0);
    fe_ring_push(b->r, HEAD);
}

static void table_in_table(struct bench *b)
{
    ind2(b);
    table(b)[1] = (struct vring_desc){b->tab, 32, IND, 0};
    indirect(b, b->tab, 32, 0);
}

static void table_loops(struct bench *b)
{
    ind2(b);
    table(b)[1].flags |= NEXT;
    table(b)[1].next = 1;
    indirect(b, b->tab, 32, 0);
}

static void table_next_outside(struct bench *b)
{
    ind2(b);
    table(b)[0].next = 2;
    indirect(b, b->tab, 32, 0);
}

static void table_outside(struct bench *b)
{
    indirect(b, 8, 32, 0);
}

static void table_into_the_hole(struct bench *b)
{
    indirect(b, b->end - 16, 32, 0);
}

static void table_wraps(struct bench *b)
{
    indirect(b, ~0ULL - 15, 32, 0);
}

#define CASE(fn, what) \
    {                  \
#fn, fn, what  \
    }
static const struct {
    const char *name;
    void (*fn)(struct bench *b);
    enum outcome want;
} cases[] = {
    CASE(plain, OK),
    CASE(plain_indirect, OK),
    CASE(indirect_backwards, OK),
    CASE(single_bytes, OK),
    CASE(empty_segments, OK),
    CASE(across_adjacent, OK),
    CASE(table_across_adjacent, OK),
    CASE(readable_outside, ANSWERED),
    CASE(writable_outside, ANSWERED),
    CASE(address_wraps, ANSWERED),
    CASE(writable_wraps, ANSWERED),
    CASE(into_the_hole, ANSWERED),
    CASE(writable_into_the_hole, ANSWERED),
    CASE(huge_length, ANSWERED),
    CASE(no_readable, ANSWERED),
    CASE(nothing_at_all, ANSWERED),
    CASE(no_writable, ANSWERED),
    CASE(head_outside, BROKEN),
    CASE(head_far_outside, BROKEN),
    CASE(next_outside, BROKEN),
    CASE(loop_of_one, BROKEN),
    CASE(loop_of_two, BROKEN),
    CASE(loop_of_empty_ones, BROKEN),
    CASE(readable_after_writable, BROKEN),
    CASE(index_jumps, BROKEN),
    CASE(index_goes_back, BROKEN),
    CASE(same_head_twice, EITHER),
    CASE(table_of_nothing, BROKEN),
    CASE(table_of_8_bytes, BROKEN),
    CASE(table_of_33_bytes, BROKEN),
    CASE(table_too_long, BROKEN),
    CASE(table_of_4_gib, BROKEN),
    CASE(table_and_next, BROKEN),
    CASE(table_in_a_chain, BROKEN),
    CASE(table_in_table, BROKEN),
    CASE(table_loops, BROKEN),
    CASE(table_next_outside, BROKEN),
    CASE(table_outside, BROKEN),
    CASE(table_into_the_hole, BROKEN),
    CASE(table_wraps, BROKEN),
};
#define NCASES (sizeof(cases) / sizeof(cases[0]))

static void lay_out(struct bench *b, struct wire *w, unsigned queue)
{
    b->w = w;
    b->r = &w->v.ring[queue];
    b->in = fe_mem_alloc(&w->mem, 0, 4096, 64);
    b->out = fe_mem_alloc(&w->mem, 0, 4096, 64);
    b->tab = fe_mem_alloc(&w->mem, 0, TAB_SIZE, 16);
    b->edge = w->mem.r[1].gpa;
    b->end = w->mem.r[1].gpa + w->mem.r[1].size;
    *(struct fuse_in_header *)fe_mem_ptr(&w->mem, b->in) = (struct fuse_in_header){
        .len = IN_LEN, .opcode = FUSE_GETATTR, .unique = 4711, .nodeid = FUSE_ROOT_ID};
}

/* Wait for the case's used element, or for the end of the connection. */
static enum outcome result(struct bench *b, const char *name)
{
    int64_t end = fe_now_ms() + FE_TIMEOUT_MS;
    while (fe_now_ms() < end) {
        uint32_t id, len;
        if (fe_ring_pop(b->r, &id, &len)) {
            const struct fuse_out_header *h = fe_mem_ptr(&b->w->mem, b->out);
            if (id != HEAD)
                fail_msg("%s: used id %u", name, id);
            if (len == 0)
                return ANSWERED;
            if (len < 16 || len != h->len || h->unique != 4711)
                fail_msg("%s: used length %u, reply length %u", name, len, h->len);
            return h->error ? ANSWERED : OK;
        }
        if (fe_poll(b->w->v.sock, POLLIN, 2) == 0 &&
            fe_vhost_wait_closed(&b->w->v, FE_TIMEOUT_MS) == 0)
            return BROKEN;
    }
    fail_msg("%s: neither answered nor stopped", name);
    return EITHER;
}

/* A case on a fresh connection. */
static void one_case(struct wire *w, unsigned i, unsigned queue)
{
    struct bench b;
    unsigned errors = fe_daemon_log_count(&w->d, "ERROR");
    unsigned warnings = fe_daemon_log_count(&w->d, "WARN");
    unsigned stops = fe_daemon_log_count(&w->d, "device stopped");
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    lay_out(&b, w, queue);
    cases[i].fn(&b);
    fe_ring_publish(b.r);
    fe_ring_kick(b.r);
    enum outcome got = result(&b, cases[i].name), want = cases[i].want;
    if (got == OK && want == OK && queue == FE_REQ) {
        const struct fuse_attr_out *a =
            (const void *)((const uint8_t *)fe_mem_ptr(&w->mem, b.out) + 16);
        assert_true((a->attr.mode & 0170000) == 0040000);
    }
    bool fits = want == EITHER ? got == OK || got == BROKEN : got == want;
    if (!fits)
        fail_msg("%s, queue %u: outcome %d instead of %d", cases[i].name, queue, got, want);
    if (got != BROKEN && want != EITHER)
        wire_alive(w);
    wire_hangup(w);
    if (got != BROKEN || want == EITHER)
        return;
    /* One line for the stop; those of coming and going, perhaps the last case's, too, are not the
     * guest's doing. */
    assert_int_equal(fe_daemon_log_count(&w->d, "device stopped"), stops + 1);
    if (fe_daemon_log_count(&w->d, "ERROR") > errors + 1 ||
        fe_daemon_log_count(&w->d, "WARN") > warnings)
        fail_msg("%s, queue %u: too many lines: %s", cases[i].name, queue, fe_daemon_log(&w->d));
}

static void on_queue(struct wire *w, unsigned queue)
{
    static const char *const extra[] = {"--relisten", NULL};
    wire_spawn(w, extra);
    for (unsigned i = 0; i < NCASES; i++)
        one_case(w, i, queue);
    wire_rings(w); /* and still, the next one is served */
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_alive(w);
}

static void hostile_request_queue(void **state)
{
    on_queue(*state, FE_REQ);
}

static void hostile_hiprio(void **state)
{
    on_queue(*state, FE_HIPRIO);
}

/* The err descriptor is told; another ring's requests are not lost in silence. */
static void err_is_signalled(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, NULL);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    fe_ring_push(&w->v.ring[FE_REQ], 0xffff);
    fe_ring_publish(&w->v.ring[FE_REQ]);
    fe_ring_kick(&w->v.ring[FE_REQ]);
    assert_int_equal(fe_poll(w->v.ring[FE_REQ].err, POLLIN, FE_TIMEOUT_MS), 0);
    assert_int_equal(fe_vhost_wait_closed(&w->v, FE_TIMEOUT_MS), 0);
}

/* Without the feature an indirect descriptor is none. */
static void indirect_not_negotiated(void **state)
{
    struct wire *w = *state;
    struct bench b;
    wire_spawn(w, NULL);
    wire_connect(w);
    assert_int_equal(fe_mem_init(&w->mem, 4u << 20, 32u << 20, 32u << 20), 0);
    assert_int_equal(fe_vhost_negotiate(&w->v, VU_F_PROTOCOL | VU_F_VERSION_1, VU_PF_REPLY_ACK), 0);
    assert_int_equal(fe_vhost_mem_table(&w->v, &w->mem), 0);
    assert_int_equal(fe_vhost_make_rings(&w->v, &w->mem, 2, WIRE_QUEUE), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    fe_fuse_init(&w->f, &w->v);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_alive(w);
    lay_out(&b, w, FE_REQ);
    plain_indirect(&b);
    fe_ring_publish(b.r);
    assert_int_equal(result(&b, "indirect"), BROKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(hostile_request_queue, wire_cleanup),
        cmocka_unit_test_teardown(hostile_hiprio, wire_cleanup),
        cmocka_unit_test_teardown(err_is_signalled, wire_cleanup),
        cmocka_unit_test_teardown(indirect_not_negotiated, wire_cleanup),
    };
    return cmocka_run_group_tests_name("wire-ring", tests, wire_make, wire_teardown);
}
