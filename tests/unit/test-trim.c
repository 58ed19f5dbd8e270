/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "virtiofsd/base/trim.h"

static long rss_file_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");

    assert_non_null(f);
    while (fgets(line, sizeof(line), f))
        sscanf(line, "RssFile: %ld", &kib);
    fclose(f);
    return kib;
}

static const char text[] = "read-only data is still there";

static void test_less_and_alive(void **state)
{
    long before = rss_file_kib();

    trim_startup_pages();
    long after = rss_file_kib();
    assert_true(before > 0 && after > 0);
    assert_true(after < before);
    assert_string_equal(text, "read-only data is still there");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_less_and_alive)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
