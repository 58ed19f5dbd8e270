/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glib.h>

#include "virtiofsd/9p/p9-spare.h"

#define MIB ((size_t)1 << 20)

static void test_goes_round(void **state)
{
    (void)state;
    struct p9_spare s;
    p9_spare_init(&s);

    struct p9_buf a = p9_spare_get(&s, MIB), b = p9_spare_get(&s, MIB);
    assert_int_equal(a.size, MIB);
    p9_spare_put(&s, a);
    p9_spare_put(&s, b);
    assert_int_equal(s.bytes, 2 * MIB);
    struct p9_buf again = p9_spare_get(&s, MIB - 100);
    assert_ptr_equal(again.at, b.at); /* the latest */
    assert_int_equal(again.size, MIB);
    /* What is held is what is counted: no larger one comes instead. */
    struct p9_buf half = p9_spare_get(&s, MIB / 2), more = p9_spare_get(&s, MIB + 1);
    assert_int_equal(half.size, MIB / 2);
    assert_int_equal(more.size, MIB + P9_SPARE_LEAST);
    assert_ptr_not_equal(half.at, a.at);
    assert_ptr_not_equal(more.at, a.at);
    assert_int_equal(s.n, 1);
    p9_spare_put(&s, again);
    p9_spare_put(&s, half);
    p9_spare_put(&s, more);
    p9_spare_empty(&s);
    assert_int_equal(s.n + s.bytes, 0);
    p9_spare_fini(&s);
}

static void test_bounds(void **state)
{
    (void)state;
    struct p9_spare s;
    struct p9_buf bufs[100];
    p9_spare_init(&s);

    const size_t sizes[] = {100, P9_SPARE_LEAST, MIB, P9_SPARE_BYTES, P9_SPARE_BYTES + 1};
    for (unsigned k = 0; k < G_N_ELEMENTS(sizes); k++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(bufs); i++)
            bufs[i] = p9_spare_get(&s, sizes[k]);
        for (unsigned i = 0; i < G_N_ELEMENTS(bufs); i++) {
            p9_spare_put(&s, bufs[i]);
            assert_true(s.bytes <= P9_SPARE_BYTES && s.n <= P9_SPARE_MOST);
        }
    }
    /* The last that was kept is there still: what is too small or too large pushed nothing out. */
    assert_int_equal(s.n, 1);
    assert_int_equal(s.bufs[0].size, P9_SPARE_BYTES);
    p9_spare_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_round),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
