/* SPDX-License-Identifier: BSD-3-Clause
 * Mistyped options, and what is taken to be meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "virtiofsd/options-table.h"

static const struct {
    const char *typed, *meant;
} rows[] = {
    {"--cach", "--cache"},
    {"--share-dir", "--shared-dir"},
    {"--shard-dir", "--shared-dir"},
    {"--sockte-path", "--socket-path"},
    {"--posixacl", "--posix-acl"},
    {"--no-xatr", "--no-xattr"},
    {"--no-no-xattr", "--no-xattr"},
    {"--hepl", "--help"},
    {"--tga", "--tag"},
    {"--announce-submount", "--announce-submounts"},
    {"--no-cach", NULL}, /* no switch */
    {"--foo", NULL},
    {"--a", NULL},
    {"--inode-file-handles-and-much-else-that-nobody-writes-by-a-slip-of-the-hand", NULL},
};

static void test_near(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        char name[] = "virtiofsd", *argv[] = {name, g_strdup(rows[i].typed), NULL};
        g_autofree char *want =
            rows[i].meant ? g_strdup_printf("%s: no such option; did you mean %s?", rows[i].typed,
                                            rows[i].meant)
                          : g_strdup_printf("%s: no such option; see --help", rows[i].typed);
        g_autoptr(GError) err = NULL;
        struct options o;

        assert_int_equal(options_parse(2, argv, &o, &err), OPTIONS_BAD);
        assert_string_equal(err->message, want);
        options_free(&o);
        g_free(argv[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_near)};
    return cmocka_run_group_tests_name("options-near", tests, NULL, NULL);
}
