/* SPDX-License-Identifier: BSD-3-Clause
 * What --profile=rootfs means for other options, and which it does not go with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "virtiofsd/options.h"

static enum options_result parse(const char *more, struct options *o, GError **err)
{
    g_autofree char *line =
        g_strconcat("virtiofsd --shared-dir=/srv --socket-path=/run/s ", more, NULL);
    g_auto(GStrv) argv = NULL;
    int argc;

    assert_true(g_shell_parse_argv(line, &argc, &argv, NULL));
    return options_parse(argc, argv, o, err);
}

static const struct {
    const char *line;
    double timeout, negative;
    enum fs_cache cache;
} good[] = {
    {"--profile=rootfs", 86400, 86400, FS_CACHE_AUTO},
    {"--profile=rootfs --cache=always", 86400, 86400, FS_CACHE_ALWAYS},
    {"--profile=rootfs --timeout=5", 5, 5, FS_CACHE_AUTO},
    {"--timeout=5 --negative-timeout=0 --profile=rootfs", 5, 0, FS_CACHE_AUTO},
    {"--profile=rootfs --negative-timeout=2", 86400, 2, FS_CACHE_AUTO},
    {"--profile=rootfs --no-posix-lock --no-flock --no-writeback", 86400, 86400, FS_CACHE_AUTO},
    {"--profile=rootfs --profile=none", 1, 0.2, FS_CACHE_AUTO},
    {"--profile=none --posix-lock --writeback", 1, 0.2, FS_CACHE_AUTO},
};

static void test_good(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        struct options o;
        g_autoptr(GError) err = NULL;
        if (parse(good[i].line, &o, &err) != OPTIONS_RUN)
            fail_msg("%s: %s", good[i].line, err->message);
        if (o.fuse.timeout != good[i].timeout || o.fuse.negative_timeout != good[i].negative ||
            o.fs.cache != good[i].cache)
            fail_msg("%s: %g, %g, cache %d", good[i].line, o.fuse.timeout, o.fuse.negative_timeout,
                     o.fs.cache);
        options_free(&o);
    }
}

#define LOCKS                                                                                   \
    " and --profile=rootfs cannot be used together: locks end when a file is closed, of which " \
    "the guest does not tell"
#define KEEPS " and --profile=rootfs cannot be used together: the guest keeps what it has read"

static const struct {
    const char *line, *message;
} bad[] = {
    {"--profile=rootfs --posix-lock", "--posix-lock" LOCKS},
    {"--flock --profile=rootfs", "--flock" LOCKS},
    {"--profile=rootfs -o flock", "--flock" LOCKS},
    {"--profile=rootfs -o writeback",
     "--writeback and --profile=rootfs cannot be used together: the guest would delay what the "
     "host may refuse"},
    {"--profile=rootfs --cache=never", "--cache=never" KEEPS},
    {"--cache=metadata --profile=rootfs", "--cache=metadata" KEEPS},
};

static void test_bad(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct options o;
        g_autoptr(GError) err = NULL;
        if (parse(bad[i].line, &o, &err) != OPTIONS_BAD)
            fail_msg("%s: taken", bad[i].line);
        assert_string_equal(err->message, bad[i].message);
        options_free(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests_name("options-profile", tests, NULL, NULL);
}
