/* SPDX-License-Identifier: BSD-3-Clause
 * Streams of records: written, read, cut, damaged. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "virtiofsd/base/record.h"

static GByteArray *make(void)
{
    GByteArray *b = g_byte_array_new();
    record_begin(b);
    size_t r = record_open(b, 7);
    put_u16(b, 0x1234);
    put_u32(b, 0xdeadbeef);
    put_u64(b, UINT64_MAX - 1);
    put_bytes(b, "name", 4);
    record_close(b, r);
    r = record_open(b, 9 | RECORD_NEEDED);
    record_close(b, r);
    record_end(b);
    return b;
}

static void test_there_and_back(void **state)
{
    g_autoptr(GByteArray) b = make();
    struct record_view r;
    struct bytes s;
    uint16_t len;

    assert_true(record_is_stream(b->data, b->len));
    assert_int_equal(record_check(b->data, b->len, &s), 0);
    assert_true(record_next(&s, &r));
    assert_int_equal(r.kind, 7);
    assert_int_equal(get_u16(&r.body), 0x1234);
    assert_int_equal(get_u32(&r.body), 0xdeadbeef);
    assert_true(get_u64(&r.body) == UINT64_MAX - 1);
    assert_memory_equal(get_bytes(&r.body, &len), "name", 4);
    assert_int_equal(len, 4);
    assert_false(r.body.bad);
    assert_int_equal(get_u64(&r.body), 0);
    assert_true(r.body.bad);
    assert_true(record_next(&s, &r));
    assert_int_equal(r.kind, 9 | RECORD_NEEDED);
    assert_int_equal(get_u16(&r.body), 0);
    assert_true(r.body.bad);
    assert_false(record_next(&s, &r));
}

/* No cut, no flipped bit, nothing behind the end passes. */
static void test_damage(void **state)
{
    g_autoptr(GByteArray) b = make();
    struct bytes s;

    for (guint n = 0; n < b->len; n++)
        assert_true(record_check(b->data, n, &s) < 0);
    for (guint bit = 0; bit < b->len * 8; bit++) {
        b->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_true(record_check(b->data, b->len, &s) < 0);
        b->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(record_check(b->data, b->len, &s), 0);
    b->data[8] = 2;
    assert_int_equal(record_check(b->data, b->len, &s), -EPROTONOSUPPORT);
    b->data[8] = 1;
    g_byte_array_append(b, (const uint8_t *)"", 1);
    assert_int_equal(record_check(b->data, b->len, &s), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_there_and_back),
                                       cmocka_unit_test(test_damage)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
