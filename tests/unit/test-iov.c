/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "virtiofsd/base/iov.h"

/* "abc" "" "defg" "h" */
static char seg[4][8] = {"abc", "", "defg", "h"};
static struct iovec list[] = {{seg[0], 3}, {seg[1], 0}, {seg[2], 4}, {seg[3], 1}};

static void test_len(void **state)
{
    assert_int_equal(iov_len(list, 4), 8);
    assert_int_equal(iov_len(list, 0), 0);
}

static void test_to_buf(void **state)
{
    static const struct {
        size_t off, len, done;
        const char *text;
    } rows[] = {
        {0, 8, 8, "abcdefgh"}, {0, 3, 3, "abc"}, {2, 3, 3, "cde"}, {3, 4, 4, "defg"},
        {7, 9, 1, "h"},        {8, 1, 0, ""},    {100, 5, 0, ""},  {1, 0, 0, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char buf[16] = "################";
        assert_int_equal(iov_to_buf(list, 4, rows[i].off, buf, rows[i].len), rows[i].done);
        assert_memory_equal(buf, rows[i].text, rows[i].done);
        assert_int_equal(buf[rows[i].done], '#');
    }
}

static void test_from_buf(void **state)
{
    char a[4] = "....", b[4] = "....";
    struct iovec iov[] = {{a, 4}, {b, 4}};

    assert_int_equal(iov_from_buf(iov, 2, 3, "xyz", 3), 3);
    assert_memory_equal(a, "...x", 4);
    assert_memory_equal(b, "yz..", 4);
    assert_int_equal(iov_from_buf(iov, 2, 6, "12345", 5), 2);
    assert_memory_equal(b, "yz12", 4);
}

static void test_slice(void **state)
{
    struct iovec out[4];

    assert_int_equal(iov_slice(list, 4, 2, 3, out, 4), 2);
    assert_ptr_equal(out[0].iov_base, seg[0] + 2);
    assert_int_equal(out[0].iov_len, 1);
    assert_ptr_equal(out[1].iov_base, seg[2]);
    assert_int_equal(out[1].iov_len, 2);
    /* Neither the list nor the room is exceeded. */
    assert_int_equal(iov_slice(list, 4, 0, 100, out, 4), 3);
    assert_int_equal(iov_len(out, 3), 8);
    assert_int_equal(iov_slice(list, 4, 0, 100, out, 1), 1);
    assert_int_equal(iov_slice(list, 4, 8, 1, out, 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_len),
        cmocka_unit_test(test_to_buf),
        cmocka_unit_test(test_from_buf),
        cmocka_unit_test(test_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
