/* SPDX-License-Identifier: BSD-3-Clause
 * A guest that takes all it can get: what it gets is bounded, and everybody else is served. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/wire/wire.h"

#define ROOT FUSE_ROOT_ID

/* A guest can cause log lines; it cannot fill the disk with them. */
static void log_lines_are_limited(void **state)
{
    struct wire *w = *state;
    char zero[16] = {0};
    for (unsigned i = 0; i < 3000; i++) {
        fe_call(&w->f, FUSE_OPEN, 12345678 + i, zero, 8, NULL, 16, NULL);
        fe_call(&w->f, 4000 + i, ROOT, zero, 16, NULL, 16, NULL);
        fe_call(&w->f, FUSE_GETATTR, ROOT, zero, 3, NULL, 104, NULL);
        fe_vhost_ack(&w->v, 5000 + i, zero, 8, NULL, 0);
    }
    assert_true(fe_daemon_log_count(&w->d, "\n") < 100);
}

/* Memory stays bounded: held lookups, failed requests and FORGETs of all kinds. */
static void memory_is_bounded(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    for (unsigned pass = 0; pass < 3; pass++) {
        uint64_t before = fe_daemon_rss_kib(&w->d);
        for (unsigned i = 0; i < 20000; i++) {
            char name[24];
            snprintf(name, sizeof(name), "absent-%u-%u", pass, i);
            int err = fe_lookup(&w->f, ROOT, name, &e);
            assert_true(err == -ENOENT || (err == 0 && e.nodeid == 0));
            if (i % 4 == 0) {
                assert_int_equal(fe_lookup(&w->f, ROOT, "file", &e), 0);
                fe_forget(&w->f, e.nodeid, 1);
                fe_forget(&w->f, 1000 + i, 1);
            }
        }
        if (pass > 0 && !getenv("ASAN_OPTIONS"))
            assert_true(fe_daemon_rss_kib(&w->d) < before + 1024);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, wire_mount, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(log_lines_are_limited),
        TEST(memory_is_bounded),
    };
    return cmocka_run_group_tests_name("wire-starve", tests, wire_make, wire_unmake);
}
