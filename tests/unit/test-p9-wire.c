/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <string.h>

#include "tests/unit/fs-tree.h"
#include "virtiofsd/9p/p9-wire.h"

static void test_numbers(void **state)
{
    uint8_t buf[15];
    struct p9_out out = {.p = buf, .max = sizeof(buf)};
    static const uint8_t want[] = {1, 3, 2, 7, 6, 5, 4, 15, 14, 13, 12, 11, 10, 9, 8};
    p9_put8(&out, 1);
    p9_put16(&out, 0x0203);
    p9_put32(&out, 0x04050607);
    p9_put64(&out, 0x08090a0b0c0d0e0f);
    assert_int_equal(out.len, 15);
    assert_false(out.full);
    assert_memory_equal(buf, want, sizeof(want));
    p9_put8(&out, 1);
    assert_true(out.full);
    assert_int_equal(out.len, 15);

    struct p9_in in = {.p = buf, .left = sizeof(buf)};
    assert_int_equal(p9_get8(&in), 1);
    assert_int_equal(p9_get16(&in), 0x0203);
    assert_int_equal(p9_get32(&in), 0x04050607);
    assert_int_equal(p9_get64(&in), 0x08090a0b0c0d0e0f);
    assert_false(in.bad);
    assert_int_equal(p9_get8(&in), 0);
    assert_true(in.bad);
}

/* A number that is cut short spoils all that follows. */
static void test_cut(void **state)
{
    uint8_t buf[3] = {1, 2, 3};
    struct p9_in in = {.p = buf, .left = 3};
    assert_int_equal(p9_get32(&in), 0);
    assert_true(in.bad);
    assert_int_equal(p9_get8(&in), 0);
    assert_string_equal(p9_get_str(&in), "");
    struct p9_out out = {.p = buf, .max = 3};
    p9_put32(&out, 1);
    p9_put8(&out, 1);
    assert_true(out.full);
    assert_int_equal(out.len, 0);
}

static void test_strings(void **state)
{
    uint8_t buf[] = {3, 0, 'a', 'b', 'c', 0, 0, 1, 0, 'x', 9};
    struct p9_in in = {.p = buf, .left = sizeof(buf)};
    const char *a = p9_get_str(&in), *b = p9_get_str(&in), *c = p9_get_str(&in);
    assert_string_equal(a, "abc");
    assert_string_equal(b, "");
    assert_string_equal(c, "x");
    assert_int_equal(p9_get8(&in), 9);
    assert_false(in.bad);

    uint8_t nul[] = {3, 0, 'a', 0, 'c'}, over[] = {3, 0, 'a', 'b'}, half[] = {3};
    in = (struct p9_in){.p = nul, .left = sizeof(nul)};
    assert_string_equal(p9_get_str(&in), "");
    assert_true(in.bad);
    in = (struct p9_in){.p = over, .left = sizeof(over)};
    p9_get_str(&in);
    assert_true(in.bad);
    in = (struct p9_in){.p = half, .left = 1};
    p9_get_str(&in);
    assert_true(in.bad);

    uint8_t room[6];
    struct p9_out out = {.p = room, .max = sizeof(room)};
    p9_put_str(&out, "abcd", 4);
    assert_false(out.full);
    out.len = 0;
    p9_put_str(&out, "abcde", 5);
    assert_true(out.full);
    out = (struct p9_out){.p = room, .max = sizeof(room)};
    p9_put_str(&out, NULL, 70000);
    assert_true(out.full);
}

static void test_head(void **state)
{
    uint8_t head[P9_HEAD];
    static const uint8_t want[] = {11, 0, 0, 0, 7, 0x34, 0x12};
    p9_encode_head(head, 11, 7, 0x1234);
    assert_memory_equal(head, want, sizeof(want));
}

/* The wire's numbers are not this machine's. */
static void test_open_flags(void **state)
{
    assert_int_equal(p9_open_flags(0), O_RDONLY);
    assert_int_equal(p9_open_flags(1), O_WRONLY);
    assert_int_equal(p9_open_flags(2), O_RDWR);
    assert_int_equal(p9_open_flags(0200), O_EXCL);
    assert_int_equal(p9_open_flags(01000), O_TRUNC);
    assert_int_equal(p9_open_flags(02000), O_APPEND);
    assert_int_equal(p9_open_flags(010000), O_DSYNC);
    assert_int_equal(p9_open_flags(0200000), O_DIRECTORY);
    assert_int_equal(p9_open_flags(01000000), O_NOATIME);
    assert_int_equal(p9_open_flags(04000000), O_SYNC);
    /* CREATE, NOCTTY, NONBLOCK, FASYNC, DIRECT, LARGEFILE, NOFOLLOW, CLOEXEC: ours to decide. */
    assert_int_equal(p9_open_flags(0100 | 0400 | 04000 | 020000 | 040000), 0);
    assert_int_equal(p9_open_flags(0100000 | 0400000 | 02000000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_cut),
        cmocka_unit_test(test_strings),    cmocka_unit_test(test_head),
        cmocka_unit_test(test_open_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
