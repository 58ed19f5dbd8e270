/* SPDX-License-Identifier: BSD-3-Clause
 * Split rings: what they do. VIRTIO 1.2, 2.7. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/vu-rings.h"
#include "virtiofsd/base/iov.h"

static void test_plain(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(pop(f), 0);
    good_chain(f);
    offer(f, 0);
    assert_true(vu_avail_pending(&f->a));
    assert_int_equal(pop(f), 1);
    const struct chain *c = &f->ch->c;
    assert_int_equal(c->in_cnt, 1);
    assert_int_equal(c->out_cnt, 2);
    assert_int_equal(c->in_len, 40);
    assert_int_equal(c->out_len, 300);
    assert_false(c->unmapped);
    assert_ptr_equal(c->in[0].iov_base, f->base + (DATA - GPA));
    assert_ptr_equal(c->out[1].iov_base, f->base + (DATA - GPA) + 3 * PAGE);
    assert_int_equal(f->ch->head, 0);
    assert_ptr_equal(f->ch->mem, f->mem);
    assert_int_equal(pop(f), 0);
    assert_false(vu_avail_pending(&f->a));
}

static void test_merge(void **state)
{
    struct fixture *f = *state;
    /* Touching segments become one; where reading turns into writing they stay two. */
    desc(f, 0, DATA, 40, NEXT, 1);
    desc(f, 1, DATA + 40, 60, NEXT, 2);
    desc(f, 2, DATA + 100, 16, NEXT | WRITE, 3);
    desc(f, 3, DATA + 116, 0, NEXT | WRITE, 4); /* nothing: left out */
    desc(f, 4, DATA + 116, PAGE, NEXT | WRITE, 5);
    desc(f, 5, DATA + 3 * PAGE, 1, WRITE, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    const struct chain *c = &f->ch->c;
    assert_int_equal(c->in_cnt, 1);
    assert_int_equal(c->in[0].iov_len, 100);
    assert_int_equal(c->out_cnt, 2);
    assert_int_equal(c->out[0].iov_len, 16 + PAGE);
    assert_int_equal(c->out_len, 16 + PAGE + 1);
}

static void test_empty_readable(void **state)
{
    struct fixture *f = *state;
    /* A readable one of no length after a writable one is nothing at all. */
    desc(f, 0, DATA, 16, NEXT | WRITE, 1);
    desc(f, 1, DATA, 0, 0, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    assert_int_equal(f->ch->c.in_cnt, 0);
    assert_int_equal(f->ch->c.out_len, 16);
}

static void test_regions(void **state)
{
    struct fixture *f = *state;
    /* Across two neighbours: split, nothing lost. */
    desc(f, 0, GPA2 - 24, 40, NEXT, 1);
    /* Off the end, before the start, nowhere, and wrapping around: left out. */
    desc(f, 1, GPA2 + SIZE - 8, 16, NEXT, 2);
    desc(f, 2, GPA3 - 1, 2, NEXT, 3);
    desc(f, 3, 0, 512, NEXT, 4);
    desc(f, 4, UINT64_MAX - 3, 8, NEXT | WRITE, 5);
    desc(f, 5, GPA3 + SIZE - 16, 16, WRITE, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    const struct chain *c = &f->ch->c;
    assert_true(c->unmapped);
    assert_int_equal(c->in_len, 40);
    assert_int_equal(iov_len(c->in, c->in_cnt), 40);
    if (c->in_cnt == 1) { /* the two mappings happen to be neighbours here as well */
        assert_int_equal(c->in[0].iov_len, 40);
    } else {
        assert_int_equal(c->in_cnt, 2);
        assert_int_equal(c->in[0].iov_len, 24);
        assert_int_equal(c->in[1].iov_len, 16);
    }
    assert_int_equal(c->out_cnt, 1);
    assert_int_equal(c->out_len, 16);
    /* The next request starts clean. */
    good_chain(f);
    offer(f, 2);
    assert_int_equal(pop(f), 1);
    assert_false(f->ch->c.unmapped);
}

static void test_indirect(void **state)
{
    struct fixture *f = *state;
    struct vring_desc *t = table(f);
    /* Order of entries is by next, not by place; the table may follow plain descriptors. */
    t[0] = (struct vring_desc){DATA + 40, 20, NEXT, 2};
    t[2] = (struct vring_desc){DATA + PAGE, 80, NEXT | WRITE, 1};
    t[1] = (struct vring_desc){DATA + 3 * PAGE, 30, WRITE, 0};
    desc(f, 4, DATA, 40, NEXT, 5);
    desc(f, 5, TABLE, 3 * 16, INDIRECT | WRITE, 0);
    offer(f, 4);
    assert_int_equal(pop(f), 1);
    const struct chain *c = &f->ch->c;
    assert_int_equal(c->in_cnt, 1);
    assert_int_equal(c->in_len, 60);
    assert_int_equal(c->out_cnt, 2);
    assert_int_equal(c->out_len, 110);
}

static void test_indirect_large(void **state)
{
    struct fixture *f = *state;
    struct vring_desc *t = table(f);
    const unsigned n = 300; /* more than the ring, as old Linux guests do, and than small[] */
    for (unsigned i = 0; i < n; i++)
        t[i] = (struct vring_desc){DATA + (i % 20) * PAGE, 8, (uint16_t)(i + 1 < n ? NEXT : 0),
                                   (uint16_t)(i + 1)};
    desc(f, 0, TABLE, n * 16, INDIRECT, 0);
    for (unsigned round = 0; round < 3; round++) {
        offer(f, (uint16_t)0);
        assert_int_equal(pop(f), 1);
        assert_int_equal(f->ch->c.in_cnt, n);
        assert_int_equal(f->ch->c.in_len, n * 8);
        vu_used_push(&f->u, f->busy, 0, 0);
    }
}

static void test_indirect_across(void **state)
{
    struct fixture *f = *state;
    unsigned hint = 0;
    uint64_t room;
    struct vring_desc *t1 = vu_mem_gpa(f->mem, GPA2 - 16, &hint, &room);
    struct vring_desc *t2 = vu_mem_gpa(f->mem, GPA2, &hint, &room);
    *t1 = (struct vring_desc){DATA, 8, NEXT, 1};
    *t2 = (struct vring_desc){DATA + PAGE, 9, 0, 0};
    desc(f, 0, GPA2 - 16, 32, INDIRECT, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    assert_int_equal(f->ch->c.in_len, 17);
}

static void test_too_many_segments(void **state)
{
    struct fixture *f = *state;
    /* A ring so long that the bound on segments comes before the one on steps. */
    const unsigned num = 2 * VU_CHAIN_MAX;
    g_autofree struct vring_desc *descs = g_new0(struct vring_desc, num);
    g_autofree uint8_t *busy = g_new0(uint8_t, num);
    g_autofree struct vring_avail *avail = g_malloc0(4 + 2 * (num + 1));
    for (unsigned i = 0; i < num; i++)
        descs[i] = (struct vring_desc){DATA + 2 * (i % 64), 1, NEXT, (uint16_t)(i + 1)};
    f->a.at.desc = descs;
    f->a.at.avail = avail;
    f->a.busy = busy;
    f->a.num = num;
    avail->idx = 1;
    assert_int_equal(pop(f), -1);
    descs[VU_CHAIN_MAX - 1].flags = 0;
    assert_int_equal(pop(f), 1);
    assert_int_equal(f->ch->c.in_cnt, VU_CHAIN_MAX);
    vu_chain_clear(f->ch);
    assert_int_equal(f->ch->cap, VU_CHAIN_SMALL); /* what one guest request grew is given back */
}

static void test_wraparound(void **state)
{
    struct fixture *f = *state;
    f->a.next = f->a.shadow_idx = f->u.idx = f->r.avail->idx = f->r.used->idx = 65530;
    good_chain(f);
    for (unsigned i = 0; i < 20; i++) {
        offer(f, 0);
        assert_int_equal(pop(f), 1);
        vu_used_push(&f->u, f->busy, f->ch->head, 100 + i);
        uint16_t slot = (uint16_t)(65530 + i) % NUM;
        assert_int_equal(f->r.used->ring[slot].len, 100 + i);
        assert_int_equal(f->r.used->idx, (uint16_t)(65531 + i));
        assert_int_equal(pop(f), 0);
    }
    /* A full ring across the wrap is not a jump. */
    f->a.next = f->a.shadow_idx = f->r.avail->idx = 65530;
    for (unsigned i = 0; i < NUM; i++) {
        desc(f, i, DATA, 8, 0, 0);
        offer(f, (uint16_t)i);
    }
    for (unsigned i = 0; i < NUM; i++)
        assert_int_equal(pop(f), 1);
    assert_int_equal(pop(f), 0);
}

static void test_kicks_by_flag(void **state)
{
    struct fixture *f = *state;
    vu_avail_kick_off(&f->a);
    assert_int_equal(f->r.used->flags, VRING_USED_F_NO_NOTIFY);
    assert_false(vu_avail_kick_on(&f->a));
    assert_int_equal(f->r.used->flags, 0);
    good_chain(f);
    offer(f, 0);
    assert_true(vu_avail_kick_on(&f->a)); /* it came in between: do not sleep */
}

static void test_kicks_by_event(void **state)
{
    struct fixture *f = *state;
    f->a.event_idx = true;
    good_chain(f);
    vu_avail_kick_off(&f->a);
    assert_int_equal(f->r.used->flags, 0);
    assert_false(vu_avail_kick_on(&f->a));
    assert_int_equal(vring_avail_event(&f->r), 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    assert_false(vu_avail_kick_on(&f->a));
    assert_int_equal(vring_avail_event(&f->r), 1);
}

static void test_signals_by_flag(void **state)
{
    struct fixture *f = *state;
    vu_used_push(&f->u, f->busy, 0, 0);
    assert_true(vu_used_should_signal(&f->u));
    f->r.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    vu_used_push(&f->u, f->busy, 0, 0);
    assert_false(vu_used_should_signal(&f->u));
}

static void test_signals_by_event(void **state)
{
    struct fixture *f = *state;
    f->u.event_idx = true;
    f->u.idx = 65534;
    vring_used_event(&f->r) = 1000;
    vu_used_push(&f->u, f->busy, 0, 0);
    assert_true(vu_used_should_signal(&f->u)); /* the first one always */
    vu_used_push(&f->u, f->busy, 0, 0);
    assert_false(vu_used_should_signal(&f->u));
    vring_used_event(&f->r) = 1; /* behind the wrap: when index 1 is used */
    vu_used_push(&f->u, f->busy, 0, 0);
    assert_false(vu_used_should_signal(&f->u)); /* now 1 */
    vu_used_push(&f->u, f->busy, 0, 0);
    vu_used_push(&f->u, f->busy, 0, 0);
    assert_true(vu_used_should_signal(&f->u)); /* 2 and 3: a batch that passes it */
    vu_used_push(&f->u, f->busy, 0, 0);
    assert_false(vu_used_should_signal(&f->u));
}

static void test_locate(void **state)
{
    struct fixture *f = *state;
    struct vu_ring_parts at;
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA, GPA + 4096, GPA + 8192, &at), 0);
    assert_ptr_equal(at.used, f->base + 8192);
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA + 8, GPA + 4096, GPA + 8192, &at), -EINVAL);
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA, GPA + 4097, GPA + 8192, &at), -EINVAL);
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA, GPA + 4096, GPA + 8194, &at), -EINVAL);
    /* One byte too near to a region's end, the neighbour does not help. */
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA2 - NUM * 16, GPA, GPA, &at), 0);
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA2 - NUM * 16 + 16, GPA, GPA, &at), -EFAULT);
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA, GPA2 - (6 + 2 * NUM), GPA, &at), 0);
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA, GPA2 - (4 + 2 * NUM), GPA, &at), -EFAULT);
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA, GPA, GPA2 - (8 + 8 * NUM), &at), 0);
    assert_int_equal(vu_ring_locate(f->mem, NUM, GPA, GPA, GPA2 - (4 + 8 * NUM), &at), -EFAULT);
    assert_int_equal(vu_ring_locate(f->mem, NUM, 0, GPA, GPA, &at), -EFAULT);
}

/* Looks at a ring of which the driver has all heads in use are counted; one that has a head left is
 * not full, nor one that is looked at again for what it held before. */
static void test_full(void **state)
{
    struct fixture *f = *state;
    _Atomic uint64_t full = 0;

    f->a.full = &full;
    for (uint16_t i = 0; i < NUM; i++)
        desc(f, i, DATA, 40, 0, 0);
    for (uint16_t i = 0; i < NUM - 1; i++)
        offer(f, i);
    for (unsigned i = 0; i < NUM - 1; i++)
        assert_int_equal(pop(f), 1);
    assert_int_equal(full, 0);
    offer(f, NUM - 1);
    assert_int_equal(pop(f), 1);
    assert_int_equal(full, 1);
    assert_int_equal(pop(f), 0);
    assert_int_equal(full, 1);
    /* Answer half of them: room again. */
    for (uint16_t i = 0; i < NUM / 2; i++)
        vu_used_push(&f->u, f->busy, i, 0);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    assert_int_equal(full, 1);
    for (uint16_t i = 1; i < NUM / 2; i++)
        offer(f, i);
    assert_int_equal(pop(f), 1);
    assert_int_equal(full, 2);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, rings_setup, rings_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(test_plain),
        unit(test_full),
        unit(test_merge),
        unit(test_empty_readable),
        unit(test_regions),
        unit(test_indirect),
        unit(test_indirect_large),
        unit(test_indirect_across),
        unit(test_too_many_segments),
        unit(test_wraparound),
        unit(test_kicks_by_flag),
        unit(test_kicks_by_event),
        unit(test_signals_by_flag),
        unit(test_signals_by_event),
        unit(test_locate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
