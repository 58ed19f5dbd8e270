/* SPDX-License-Identifier: BSD-3-Clause
 * The Rust virtiofsd's state, as records of ours. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "virtiofsd/base/record.h"
#include "virtiofsd/fs/fs-move.h"
#include "virtiofsd/fuse/fuse-rust.h"

/* What a daemon of version 1.14 has said of: f, d, d/g; and of f open, with a handle to compare. */
static const uint8_t state2[] = {
    1,    4,          /* version 2, four inodes */
    1,    4,    0, 0, /* the root */
    2,    1,    1, 1, 1,    'f',  1,    7,   2,
    2,    8,    9,                              /* f, handle of mount 7, type 1, bytes 8 9 */
    3,    2,    1, 1, 1,    'd',  0,            /* d, held by its child, too */
    0x84, 0x01, 1, 1, 3,    2,    0xff, 'g', 0, /* number 132: a name that is no text */
    0x85, 0x01,                                 /* next */
    1,    5,    2, 0, 0x84, 0x10,               /* handle 5 of f, flags 1026 */
    6,                                          /* next */
    1,    1,    0, 1,                           /* writeback, submounts, no ACLs, groups */
    0,                                          /* no mounts */
};

static uint64_t number_of(struct bytes stream, uint32_t kind, unsigned skip)
{
    struct record_view r;
    unsigned n = 0;
    while (record_next(&stream, &r)) {
        if (r.kind != kind)
            continue;
        if (skip == UINT32_MAX)
            n++;
        else if (n++ == skip)
            return get_u64(&r.body);
    }
    return skip == UINT32_MAX ? n : 0;
}

static void test_translated(void **state)
{
    const struct fuse_policy policy = {0};
    g_autoptr(GByteArray) out = g_byte_array_new();
    struct bytes s;

    assert_int_equal(fuse_rust_translate(state2, sizeof(state2), &policy, out), 0);
    assert_int_equal(record_check(out->data, out->len, &s), 0);
    assert_int_equal(number_of(s, 17, UINT32_MAX), 3); /* the root is there anyway */
    assert_int_equal(number_of(s, 17, 0), 2);
    assert_int_equal(number_of(s, 17, 2), 132);
    assert_int_equal(number_of(s, 18, UINT32_MAX), 1);
    assert_int_equal(number_of(s, 18, 0), 5);
    struct record_view r;
    for (unsigned n = 0; record_next(&s, &r); n++) {
        uint16_t len;
        if (n == 1) { /* d: two references, of which one is its child's */
            assert_int_equal(get_u64(&r.body), 3);
            assert_int_equal(get_u64(&r.body), 1);
        }
        if (r.kind == 18) {
            get_u64(&r.body);
            assert_int_equal(get_u64(&r.body), 2);
            assert_int_equal(get_u32(&r.body), 1026);
        }
        if (n == 2) {
            r.body.at += 48;
            assert_memory_equal(get_bytes(&r.body, &len),
                                "\xff"
                                "g",
                                2);
        }
    }
}

/* No cut, no addition passes; no flipped bit does harm. */
static void test_damage(void **state)
{
    const struct fuse_policy policy = {0};
    uint8_t copy[sizeof(state2)];

    for (size_t n = 0; n <= sizeof(state2); n++) {
        g_autoptr(GByteArray) out = g_byte_array_new();
        g_autofree uint8_t *cut = g_memdup2(state2, n);
        assert_true((fuse_rust_translate(cut, n, &policy, out) == 0) == (n == sizeof(state2)));
    }
    for (size_t bit = 0; bit < sizeof(state2) * 8; bit++) {
        g_autoptr(GByteArray) out = g_byte_array_new();
        memcpy(copy, state2, sizeof(copy));
        copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int rc = fuse_rust_translate(copy, sizeof(copy), &policy, out);
        assert_true(rc == 0 || rc == -EPROTO || rc == -EOPNOTSUPP);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_translated),
                                       cmocka_unit_test(test_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
