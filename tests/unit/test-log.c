/* SPDX-License-Identifier: BSD-3-Clause
 * Log lines: how they look, what a guest can do to them, how often it can cause them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtiofsd/base/log.h"

/* stderr goes to a file between begin() and end(). */
static FILE *file;
static int saved;

static void begin(void)
{
    file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    saved = dup(STDERR_FILENO);
    dup2(fileno(file), STDERR_FILENO);
}

static char *end(void)
{
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    off_t len = lseek(fileno(file), 0, SEEK_END);
    assert_true(len >= 0);
    char *text = g_malloc0((size_t)len + 1);
    assert_int_equal(pread(fileno(file), text, (size_t)len, 0), len);
    fclose(file);
    return text;
}

static void test_levels(void **state)
{
    static const struct {
        enum log_level level;
        const char *text;
    } cases[] = {
        {LOG_LVL_OFF, ""},
        {LOG_LVL_ERROR, "virtiofsd: error: 1\n"},
        {LOG_LVL_WARN, "virtiofsd: error: 1\nvirtiofsd: warn: 2\n"},
        {LOG_LVL_INFO, "virtiofsd: error: 1\nvirtiofsd: warn: 2\nvirtiofsd: info: 3\n"},
        {LOG_LVL_DEBUG, "virtiofsd: error: 1\nvirtiofsd: warn: 2\nvirtiofsd: info: 3\n"
                        "virtiofsd: debug: 4\n"},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        log_init(cases[i].level, false);
        begin();
        log_error("%d", 1);
        log_warn("%d", 2);
        log_info("%d", 3);
        log_debug("%d", 4);
        g_autofree char *text = end();
        assert_string_equal(text, cases[i].text);
    }
}

/* What is not printed is not computed either. */
static void test_lazy(void **state)
{
    unsigned evaluated = 0;
    log_init(LOG_LVL_INFO, false);
    log_debug("%u", ++evaluated);
    assert_int_equal(evaluated, 0);
}

static void test_long(void **state)
{
    g_autofree char *name = g_strnfill(100000, 'n');
    log_init(LOG_LVL_INFO, false);
    begin();
    log_info("%s", name);
    g_autofree char *text = end();
    size_t len = strlen(text);
    assert_in_range(len, 500, 1024);
    assert_int_equal(text[len - 1], '\n');
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
}

static void test_one_line(void **state)
{
    log_init(LOG_LVL_INFO, false);
    begin();
    log_info("name \"%s\"", "a\nvirtiofsd: error: made up\r\t\x1b[31m\x7f \xc3\xa4");
    g_autofree char *text = end();
    assert_string_equal(text, "virtiofsd: info: name \"a?virtiofsd: error: made up???[31m? "
                              "\xc3\xa4\"\n");
}

static void test_limit(void **state)
{
    struct log_limit l = {0};
    unsigned passed = 0;
    log_init(LOG_LVL_WARN, false);

    begin();
    for (unsigned i = 0; i < 1000; i++)
        passed += log_limit_pass(&l, LOG_LVL_WARN);
    g_autofree char *during = end();
    assert_int_equal(passed, LOG_BURST);
    assert_string_equal(during, "");

    /* The window goes by. */
    atomic_fetch_sub(&l.window_us, (LOG_WINDOW_S + 1) * (int64_t)G_USEC_PER_SEC);
    begin();
    assert_true(log_limit_pass(&l, LOG_LVL_WARN));
    g_autofree char *after = end();
    assert_string_equal(after, "virtiofsd: warn: 995 similar lines left out\n");
    for (unsigned i = 1; i < LOG_BURST; i++)
        assert_true(log_limit_pass(&l, LOG_LVL_WARN));
    assert_false(log_limit_pass(&l, LOG_LVL_WARN));
}

/* Each call site has a limit of its own, and a level that is off costs none of it. */
static void test_guest_macro(void **state)
{
    begin();
    for (unsigned round = 0; round < 2; round++) {
        log_init(round == 0 ? LOG_LVL_ERROR : LOG_LVL_WARN, false);
        for (unsigned i = 0; i < 20; i++)
            log_guest_warn("here");
        log_guest_warn("there");
    }
    g_autofree char *text = end();
    unsigned here = 0, there = 0;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        here += strcmp(*line, "virtiofsd: warn: here") == 0;
        there += strcmp(*line, "virtiofsd: warn: there") == 0;
    }
    assert_int_equal(here, LOG_BURST);
    assert_int_equal(there, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels), cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_long),   cmocka_unit_test(test_one_line),
        cmocka_unit_test(test_limit),  cmocka_unit_test(test_guest_macro),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
