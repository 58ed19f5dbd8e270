/* SPDX-License-Identifier: BSD-3-Clause
 * Who is Linux beyond doubt. (Names that are paths: tests/wire/test-wire-foreign.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtiofsd/fuse/fuse-priv.h"

static void test_linux_beyond_doubt(void **state)
{
    const uint32_t v5_4 = 0x03fffffbu; /* all that Linux 5.4 offers, DAX not among it */
    const struct {
        uint32_t minor, flags;
        bool is;
    } rows[] = {
        {31, v5_4, true},
        {45, v5_4 | FUSE_INIT_EXT | FUSE_SUBMOUNTS, true},
        {30, v5_4, false},
        {31, FUSE_DO_READDIRPLUS, false},                  /* UEFI */
        {31, FUSE_DO_READDIRPLUS | FUSE_MAX_PAGES, false}, /* Windows */
        {31, 0, false},                                    /* Zephyr, Hermit */
        {32, FUSE_MAP_ALIGNMENT, false},                   /* OSv */
        {31, v5_4 & ~(uint32_t)FUSE_DONT_MASK, false},
        {31, v5_4 & ~(uint32_t)FUSE_EXPLICIT_INVAL_DATA, false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct fuse_init_in in = {7, rows[i].minor, 0, rows[i].flags, 0, {0}};
        assert_int_equal(fuse_guest_is_linux(&in), rows[i].is);
    }
    struct fuse_init_in eight = {8, 31, 0, v5_4, 0, {0}};
    assert_false(fuse_guest_is_linux(&eight));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linux_beyond_doubt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
