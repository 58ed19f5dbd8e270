/* SPDX-License-Identifier: BSD-3-Clause
 * Options that are taken but do less than they say: each is said when the daemon starts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "virtiofsd/options-table.h"

#define WINDOW                                                                                  \
    "--dax-window without --tag: front-ends that have a window (QEMU's generic device) ask us " \
    "for "                                                                                      \
    "the tag, and without one their guests find nothing to mount"

static const struct {
    const char *line;
    const char *notes[2];
} rows[] = {
    {"-f", {NULL}},
    {"-o max_idle_threads=3,allow_root",
     {"-o max_idle_threads has no effect here", "-o allow_root has no effect here"}},
    {"--dax-window=2M --tag=t", {NULL}},
    {"--dax-window=2M", {WINDOW}},
    /* KubeVirt's. */
    {"--migration-on-error=guest-error --migration-mode=find-paths", {NULL}},
    {"--migration-verify-handles --migration-confirm-paths", {NULL}},
    /* LXD's: any number of 16 bits. */
    {"--thread-pool-size=1024", {NULL}},
    {"--thread-pool-size=1025", {"--thread-pool-size=1025: taken as 1024, the most there can be"}},
    {"--thread-pool-size=65535",
     {"--thread-pool-size=65535: taken as 1024, the most there can be"}},
};

static void test_notes(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *line =
            g_strconcat("virtiofsd --shared-dir=/srv --socket-path=/run/s ", rows[i].line, NULL);
        g_auto(GStrv) argv = NULL;
        struct options o;
        unsigned n = 0;
        int argc;

        assert_true(g_shell_parse_argv(line, &argc, &argv, NULL));
        assert_int_equal(options_parse(argc, argv, &o, NULL), OPTIONS_RUN);
        for (; n < G_N_ELEMENTS(rows[i].notes) && rows[i].notes[n]; n++) {
            assert_true(n < o.notes->len);
            assert_string_equal(o.notes->pdata[n], rows[i].notes[n]);
        }
        assert_int_equal(o.notes->len, n);
        assert_true(o.vu.pool_size <= 1024);
        options_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_notes)};
    return cmocka_run_group_tests_name("options-notes", tests, NULL, NULL);
}
