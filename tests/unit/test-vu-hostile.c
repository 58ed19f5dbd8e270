/* SPDX-License-Identifier: BSD-3-Clause
 * Split rings: hostile ones. VIRTIO 1.2, 2.7. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/vu-rings.h"

/* ---- hostile rings: each must be called broken, and none may be taken ---- */

static void bad_head(struct fixture *f)
{
    good_chain(f);
    offer(f, NUM);
}

static void bad_head_max(struct fixture *f)
{
    offer(f, UINT16_MAX);
}

static void bad_next(struct fixture *f)
{
    desc(f, 0, DATA, 40, NEXT, NUM);
    offer(f, 0);
}

static void bad_loop(struct fixture *f)
{
    desc(f, 0, DATA, 40, NEXT, 1);
    desc(f, 1, DATA, 40, NEXT, 0);
    offer(f, 0);
}

static void bad_self_loop(struct fixture *f)
{
    desc(f, 3, DATA, 0, NEXT, 3);
    offer(f, 3);
}

static void bad_order(struct fixture *f)
{
    desc(f, 0, DATA, 40, NEXT | WRITE, 1);
    desc(f, 1, DATA, 40, 0, 0);
    offer(f, 0);
}

static void bad_idx_jump(struct fixture *f)
{
    good_chain(f);
    f->r.avail->idx = NUM + 1;
}

static void bad_idx_back(struct fixture *f)
{
    f->r.avail->idx = UINT16_MAX;
}

static void bad_twice(struct fixture *f)
{
    good_chain(f);
    offer(f, 0);
    assert_int_equal(pop(f), 1);
    offer(f, 0);
}

static void indirect_with(struct fixture *f, uint64_t gpa, uint32_t len, uint16_t flags)
{
    table(f)[0] = (struct vring_desc){DATA, 40, 0, 0};
    desc(f, 0, gpa, len, (uint16_t)(INDIRECT | flags), 1);
    desc(f, 1, DATA, 40, 0, 0);
    offer(f, 0);
}

static void bad_table_empty(struct fixture *f)
{
    indirect_with(f, TABLE, 0, 0);
}

static void bad_table_odd(struct fixture *f)
{
    indirect_with(f, TABLE, 17, 0);
}

static void bad_table_long(struct fixture *f)
{
    indirect_with(f, TABLE, (VU_INDIRECT_MIN + 1) * 16, 0);
}

static void bad_table_huge(struct fixture *f)
{
    indirect_with(f, TABLE, UINT32_MAX & ~15u, 0);
}

static void bad_table_next(struct fixture *f)
{
    indirect_with(f, TABLE, 16, NEXT);
}

static void bad_table_outside(struct fixture *f)
{
    indirect_with(f, GPA3 + SIZE - 16, 32, 0);
}

static void bad_table_wraps(struct fixture *f)
{
    indirect_with(f, UINT64_MAX - 15, 32, 0);
}

static void bad_table_nested(struct fixture *f)
{
    indirect_with(f, TABLE, 16, 0);
    table(f)[0].flags = INDIRECT;
}

static void bad_table_index(struct fixture *f)
{
    indirect_with(f, TABLE, 16, 0);
    table(f)[0].flags = NEXT;
    table(f)[0].next = 1;
}

static void bad_table_loop(struct fixture *f)
{
    indirect_with(f, TABLE, 32, 0);
    table(f)[0] = (struct vring_desc){DATA, 40, NEXT, 1};
    table(f)[1] = (struct vring_desc){DATA, 40, NEXT, 0};
}

static void bad_table_order(struct fixture *f)
{
    /* Writable before the table, readable in it. */
    desc(f, 0, DATA, 40, NEXT | WRITE, 1);
    desc(f, 1, TABLE, 16, INDIRECT, 0);
    table(f)[0] = (struct vring_desc){DATA, 40, 0, 0};
    offer(f, 0);
}

static void bad_not_negotiated(struct fixture *f)
{
    f->a.indirect = false;
    indirect_with(f, TABLE, 16, 0);
}

static void test_broken(void **state)
{
    static const struct {
        const char *name;
        void (*make)(struct fixture *f);
    } rows[] = {
        {"head", bad_head},
        {"head 65535", bad_head_max},
        {"next", bad_next},
        {"loop", bad_loop},
        {"loop of one", bad_self_loop},
        {"order", bad_order},
        {"index jumps", bad_idx_jump},
        {"index goes back", bad_idx_back},
        {"head twice", bad_twice},
        {"table empty", bad_table_empty},
        {"table odd", bad_table_odd},
        {"table long", bad_table_long},
        {"table huge", bad_table_huge},
        {"table with next", bad_table_next},
        {"table outside", bad_table_outside},
        {"table wraps", bad_table_wraps},
        {"table nested", bad_table_nested},
        {"table index", bad_table_index},
        {"table loop", bad_table_loop},
        {"table order", bad_table_order},
        {"not negotiated", bad_not_negotiated},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        void *own;
        rings_setup(&own);
        struct fixture *f = own;
        rows[i].make(f);
        uint16_t before = f->a.next;
        for (unsigned again = 0; again < 2; again++) {
            if (pop(f) != -1)
                fail_msg("%s was taken", rows[i].name);
        }
        assert_int_equal(f->a.next, before);
        rings_teardown(&own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_broken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
