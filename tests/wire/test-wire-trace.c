/* SPDX-License-Identifier: BSD-3-Clause
 * --log-level=debug: one line for each request of both protocols, whatever a guest puts into it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/wire/wire-p9.h"

#define ROOT 1

static const char *const debug[] = {"--log-level=debug", NULL};

static void start(struct wire *w, const char *const *options)
{
    wire_spawn(w, options);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

/* Lines of the log with @text. */
static unsigned said(struct wire *w, const char *text)
{
    return fe_daemon_log_count(&w->d, text);
}

static int unlink_name(struct wire *w, const char *name)
{
    return fe_call_name(&w->f, FUSE_UNLINK, ROOT, NULL, 0, name, NULL, NULL, 0);
}

static void by_fuse(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    struct fuse_attr a;
    uint64_t fh;

    start(w, debug);
    assert_int_equal(fe_lookup(&w->f, ROOT, "file", &e), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(fe_getattr(&w->f, ROOT, &a), 0);
    uint64_t node = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    assert_int_equal(unlink_name(w, "none"), -ENOENT);
    assert_int_equal(said(w, " INIT nodeid "), 1);
    assert_int_equal(said(w, " LOOKUP nodeid 1 \"file\": 128 bytes, "), 2);
    assert_int_equal(said(w, " GETATTR nodeid 1: 104 bytes, "), 3);
    assert_int_equal(said(w, " flags 0x2: 16 bytes, "), 1); /* OPEN */
    assert_int_equal(said(w, " UNLINK nodeid 1 \"none\": No such file or directory, "), 1);
    assert_int_equal(fe_call(&w->f, 4000, ROOT, NULL, 0, NULL, 0, NULL), -ENOSYS);
    assert_int_equal(said(w, " operation 4000 nodeid 1: Function not implemented, "), 1);
    wire_finish(w, 0);
}

static void hostile_names(void **state)
{
    struct wire *w = *state;
    char longest[256];

    start(w, debug);
    assert_int_equal(unlink_name(w, "a\n\x1b[31m\"\\\xc2\x9b"), -ENOENT);
    assert_int_equal(said(w, " \"a\\x0a\\x1b[31m\\x22\\x5c\\xc2\\x9b\": No such file"), 1);
    memset(longest, '\n', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(unlink_name(w, longest), -ENOENT);
    assert_int_equal(said(w, "\\x0a\\x0a\"...: No such file or directory, "), 1);
    wire_finish(w, 0);
}

static void not_below(void **state)
{
    struct wire *w = *state;
    static const char *const info[] = {"--log-level=info", NULL};
    struct fuse_attr a;

    start(w, info);
    assert_int_equal(fe_getattr(&w->f, ROOT, &a), 0);
    assert_int_equal(said(w, "GETATTR"), 0);
    wire_finish(w, 0);
}

static void by_9p(void **state)
{
    struct wire *w = *state;
    char addr[128];
    struct p9c c;

    snprintf(p9_path, sizeof(p9_path), "%s/p9", w->dir);
    snprintf(addr, sizeof(addr), "--p9-listen=unix:%s", p9_path);
    const char *options[] = {debug[0], "--protocol=both", addr, NULL};
    start(w, options);
    int fd = p9_dial(w);
    p9_mounted(&c, p9_by_socket, &fd);
    assert_int_equal(p9c_walk(&c, P9_ROOT, 7, "dir/file"), 0);
    assert_int_equal(p9c_lopen(&c, 7, 0), 0);
    assert_int_equal(p9c_walk(&c, P9_ROOT, 8, "a\n\"b"), -ENOENT);
    assert_int_equal(p9c_clunk(&c, 7), 0);
    assert_int_equal(p9c_clunk(&c, 7), -EBADF);
    assert_int_equal(said(w, " Tversion tag 65535 \"9P2000.L\": "), 1);
    assert_int_equal(said(w, " Tattach fid 1 "), 1);
    assert_int_equal(said(w, " Twalk fid 1 \"dir\" \"file\": 28 bytes, "), 1);
    assert_int_equal(said(w, " Tlopen fid 7: 17 bytes, "), 1);
    assert_int_equal(said(w, " Twalk fid 1 \"a\\x0a\\x22b\": No such file or directory, "), 1);
    assert_int_equal(said(w, " Tclunk fid 7: ok, "), 1);
    assert_int_equal(said(w, " Tclunk fid 7: Bad file descriptor, "), 1);
    p9c_free(&c);
    close(fd);
    unlink(p9_path);
    wire_finish(w, 0);
}

/* A request at a time: a kick and a signal for each at most, since the worker may be awake and may
 * tell of two at once; two kicks more for the start of the rings. */
static void counts(void **state)
{
    struct wire *w = *state;
    struct fuse_attr a;
    int status = -1;

    /* A daemon that looks before it sleeps may need no kick. */
    start(w, (const char *const[]){"--poll-us=0", NULL});
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(fe_getattr(&w->f, ROOT, &a), 0);
    wire_hangup(w);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    char *log = fe_daemon_log(&w->d);
    const char *line = strstr(log, "the session had ");
    unsigned long requests, kicks, signals;
    assert_non_null(line);
    assert_int_equal(sscanf(line, "the session had %lu requests, %lu kicks that woke us up, %lu",
                            &requests, &kicks, &signals),
                     3);
    assert_int_equal(requests, 41); /* and INIT */
    assert_in_range(signals, 1, 41);
    assert_in_range(kicks, 1, 43);
    free(log);
    fe_daemon_stop(&w->d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(by_fuse, wire_cleanup),
        cmocka_unit_test_teardown(hostile_names, wire_cleanup),
        cmocka_unit_test_teardown(not_below, wire_cleanup),
        cmocka_unit_test_teardown(by_9p, wire_cleanup),
        cmocka_unit_test_teardown(counts, wire_cleanup),
    };
    return cmocka_run_group_tests_name("trace", tests, p9_make, wire_teardown);
}
