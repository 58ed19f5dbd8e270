/* SPDX-License-Identifier: BSD-3-Clause
 * Log lines: how they look, what a guest can do to them, how often it can cause them. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
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
    /* Not the time, but that there is one. */
    g_autoptr(GRegex) time = g_regex_new(
        "^\\[2\\d{3}-[01]\\d-[0-3]\\dT[0-2]\\d:[0-5]\\d:[0-6]\\dZ ", G_REGEX_MULTILINE, 0, NULL);
    char *timeless = g_regex_replace_literal(time, text, -1, 0, "[T ", 0, NULL);
    g_free(text);
    return timeless;
}

#define ERROR "[T ERROR virtiofsd] "
#define WARN  "[T WARN  virtiofsd] "
#define INFO  "[T INFO  virtiofsd] "
#define DEBUG "[T DEBUG virtiofsd] "

static void test_levels(void **state)
{
    static const struct {
        enum log_level level;
        const char *text;
    } cases[] = {
        {LOG_LVL_OFF, ""},
        {LOG_LVL_ERROR, ERROR "1\n"},
        {LOG_LVL_WARN, ERROR "1\n" WARN "2\n"},
        {LOG_LVL_INFO, ERROR "1\n" WARN "2\n" INFO "3\n"},
        {LOG_LVL_DEBUG, ERROR "1\n" WARN "2\n" INFO "3\n" DEBUG "4\n"},
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

static void test_awaited(void **state)
{
    for (int level = LOG_LVL_OFF; level <= LOG_LVL_DEBUG; level++) {
        log_init((enum log_level)level, false);
        begin();
        log_awaited("here %s", "I am");
        g_autofree char *text = end();
        assert_string_equal(text, INFO "here I am\n");
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
    assert_string_equal(text, INFO "name \"a?virtiofsd: error: made up???[31m? "
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
    assert_string_equal(after, WARN "995 similar lines left out\n");
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
        here += strcmp(*line, WARN "here") == 0;
        there += strcmp(*line, WARN "there") == 0;
    }
    assert_int_equal(here, LOG_BURST);
    assert_int_equal(there, 1);
}

/* Nobody reads the pipe that is our stderr: no thread waits for that, and what is lost is said. */
static void test_unread(void **state)
{
    int p[2], err = dup(STDERR_FILENO);
    char buf[4096];
    ssize_t n;

    log_init(LOG_LVL_INFO, false);
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    int room = fcntl(p[1], F_SETPIPE_SZ, 4096);
    assert_true(room >= 4096);
    dup2(p[1], STDERR_FILENO);
    unsigned lines = (unsigned)room / 20;
    for (unsigned i = 0; i < lines; i++)
        log_info("a line of more than 20");
    /* All that is there: a pipe counts as full while its pages are in use. */
    assert_int_equal(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
    while ((n = read(p[0], buf, sizeof(buf))) > 0)
        ;
    log_info("read again");
    dup2(err, STDERR_FILENO);
    close(err);
    close(p[1]);
    g_autoptr(GString) rest = g_string_new(NULL);
    while ((n = read(p[0], buf, sizeof(buf))) > 0)
        g_string_append_len(rest, buf, n);
    close(p[0]);
    assert_non_null(strstr(rest->str, " lines lost: nobody read them\n"));
    assert_non_null(strstr(rest->str, "read again\n"));
}

/* A journal gets a priority, and no time: it has one. */
static void test_journal(void **state)
{
    static const struct sockaddr_un addr = {.sun_family = AF_UNIX,
                                            .sun_path = "/run/systemd/journal/stdout"};
    int err = dup(STDERR_FILENO), end, journal = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int to = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char buf[64] = "";

    if (geteuid() != 0 || access("/run/systemd/journal", F_OK) == 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("run", "/run", "tmpfs", 0, NULL) < 0)
        skip(); /* this machine's own journal is not played with */
    assert_int_equal(mkdir("/run/systemd", 0755) | mkdir("/run/systemd/journal", 0755), 0);
    assert_int_equal(bind(journal, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(journal, 1), 0);
    assert_int_equal(connect(to, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    end = accept(journal, NULL, NULL);
    dup2(to, STDERR_FILENO);
    log_init(LOG_LVL_INFO, false);
    log_warn("said");
    dup2(err, STDERR_FILENO);
    log_init(LOG_LVL_INFO, false);
    assert_int_equal(read(end, buf, sizeof(buf) - 1), strlen("<4>said\n"));
    assert_string_equal(buf, "<4>said\n");
    close(err);
    close(to);
    close(end);
    close(journal);
    umount2("/run", MNT_DETACH);
}

/* A text as it is, at every level, longer than a line may be. */
static void test_whole(void **state)
{
    (void)state;
    g_autofree char *text = g_strnfill(50000, 'x');

    log_init(LOG_LVL_OFF, false);
    begin();
    log_whole(text, strlen(text));
    g_autofree char *got = end();
    assert_int_equal(strlen(got), 50001);
    assert_int_equal(strncmp(got, text, 50000), 0);
    assert_int_equal(got[50000], '\n');
}

/* Nobody reads the pipe: the end of a long text is lost, nobody waits, and what follows when there
 * is room again begins a line of its own. */
static void test_whole_cut(void **state)
{
    (void)state;
    g_autofree char *text = g_strnfill(200000, 'x');
    static char got[400000];
    int p[2];
    ssize_t n, len = 0;

    log_init(LOG_LVL_INFO, false);
    begin();
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    dup2(p[1], STDERR_FILENO);
    close(p[1]);
    log_whole(text, strlen(text));
    n = read(p[0], got, 100000);
    assert_true(n > 0 && n < 200000);
    assert_null(memchr(got, '\n', (size_t)n));
    log_info("after it");
    fcntl(p[0], F_SETFL, O_NONBLOCK);
    while ((n = read(p[0], got + len, sizeof(got) - 1 - (size_t)len)) > 0)
        len += n;
    got[len] = '\0';
    close(p[0]);
    g_free(end());
    assert_non_null(strstr(got, "\n1 lines lost: nobody read them\n["));
    assert_non_null(strstr(got, "after it\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),       cmocka_unit_test(test_whole_cut),
        cmocka_unit_test(test_levels),      cmocka_unit_test(test_awaited),
        cmocka_unit_test(test_lazy),        cmocka_unit_test(test_long),
        cmocka_unit_test(test_one_line),    cmocka_unit_test(test_limit),
        cmocka_unit_test(test_guest_macro), cmocka_unit_test(test_unread),
        cmocka_unit_test(test_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
