/* SPDX-License-Identifier: BSD-3-Clause
 * Exit status 2: a value that its option does not take, whenever that is found out. Each option
 * that has a value has a row here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/wire/wire.h"

#define LONG_PATH                                                                              \
    "/a/name/that/is/longer/than/the/address/of/a/unix/socket/can/be/since/that/has/only/one/" \
    "hundred/and/eight/bytes"
#define MAPS_1_TO_16                                                                              \
    "--uid-map=:1:1:1:", "--uid-map=:2:2:1:", "--uid-map=:3:3:1:", "--uid-map=:4:4:1:",           \
        "--uid-map=:5:5:1:", "--uid-map=:6:6:1:", "--uid-map=:7:7:1:", "--uid-map=:8:8:1:",       \
        "--uid-map=:9:9:1:", "--uid-map=:10:10:1:", "--uid-map=:11:11:1:", "--uid-map=:12:12:1:", \
        "--uid-map=:13:13:1:", "--uid-map=:14:14:1:", "--uid-map=:15:15:1:", "--uid-map=:16:16:1:"
#define TCP "--p9-listen=tcp:127.0.0.1:564"

/* A hard limit that the daemon may not raise. */
static const char *const limited[] = {"prlimit", "--nofile=4096:4096", "setpriv",
                                      "--bounding-set=-sys_resource", NULL};

static const struct row {
    const char *option, *value;
    const char *more[18];      /* what must stand beside it */
    const char *const *before; /* words in front of the daemon's */
} rows[] = {
    {"shared-dir", ""},
    {"tag", ""},
    {"tag", "a-tag-of-more-than-thirty-six-characters"},
    {"inode-file-handles", "sometimes"},
    {"statfs-from", ""},
    {"socket-path", LONG_PATH},
    {"socket", LONG_PATH},
    {"socket-group", "no-such-group"},
    {"socket-group", "4294967295"},
    {"fd", "-1"},
    {"fd", "x"},
    {"protocol", "10p"},
    {"p9-socket-path", LONG_PATH},
    {"p9-listen", "ipx:1", {"--protocol=both"}},
    {"p9-listen", "unix:", {"--protocol=both"}},
    {"p9-listen", "tcp:localhost", {"--protocol=both"}},
    {"p9-listen", "tcp:127.0.0.1:0", {"--protocol=both"}},
    {"p9-listen", "tcp:[::1", {"--protocol=both"}},
    {"p9-listen", "vsock:any", {"--protocol=both"}},
    {"p9-listen", "vsock:x:1", {"--protocol=both"}},
    {"p9-listen", "fd:x", {"--protocol=both"}},
    {"p9-msize", "4095"},
    {"p9-msize", "17M"},
    {"p9-squash", "root", {"--protocol=both", TCP}},
    {"p9-squash", "0:4294967295", {"--protocol=both", TCP}},
    {"num-request-queues", "0"},
    {"num-request-queues", "256"},
    {"queue-size", "1000"},
    {"thread-pool-size", "65536"},
    {"poll-us", "-1"},
    {"cache", "nver"},
    {"profile", "root"},
    {"timeout", "inf"},
    {"negative-timeout", "1e3"},
    {"dax-window", "3M"},
    {"dax-policy", "some"},
    {"dax-min-size", "1.5K"},
    {"dax-include", ""},
    {"dax-exclude", ""},
    {"dax-dialect", "xen"},
    {"lock-wait", "-1"},
    {"xattrmap", ":bad:all::"},
    {"xattrmap", ":ok:server:::"},
    {"posix-acl", "maybe"},
    {"security-label", "maybe"},
    {"translate-uid", "map:0:0"},
    {"translate-uid", "map:4294967295:0:2"},
    {"translate-uid", "map:0:0:10", {"--translate-uid=map:5:5:1"}},
    {"translate-gid", "swap:0:1:1"},
    {"sandbox", "jail"},
    {"seccomp", "maybe"},
    {"statfs-from", ""},
    {"modcaps", "+dac_read_search", {"--inode-file-handles=fenced"}},
    {"modcaps", "+nosuch"},
    {"modcaps", "chown"},
    {"modcaps", "+chown:"},
    {"uid-map", ":0:0:"},
    {"uid-map", ":1:0:1:"},
    {"uid-map", ":0:0:1:", {"--sandbox=none"}},
    {"uid-map", ":0:0:1:", {MAPS_1_TO_16}},
    {"gid-map", ":0:0:0:"},
    {"gid-map", ":1:0:1:"},
    {"rlimit-nofile", "9223372036854775807"},
    {"rlimit-nofile", "5000", {NULL}, limited},
    {"rlimit-nofile", "40"},
    {"max-fds", "many"},
    {"max-inodes", "-1"},
    {"max-lock-waiters", "32769"},
    {"max-lock-ranges", "0"},
    {"log-level", "loud"},
    {"migration-mode", "walk"},
    {"migration-on-error", "weep"},
};

static bool has_row(const char *option)
{
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(rows[i].option, option) == 0)
            return true;
    }
    return false;
}

/* As --help shows them: "--name=VALUE", "--name[=VALUE]". */
static void each_option_has_a_row(void **state)
{
    struct wire *w = *state;
    unsigned n = 0;
    int status;

    wire_exec(w, (const char *const[]){"--help", NULL}, -1);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    char *text = fe_daemon_log(&w->d), *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char name[64], next;
        if (sscanf(line, " --%63[a-z0-9-]%c", name, &next) != 2 || !strchr("=[", next))
            continue;
        n++;
        if (!has_row(name))
            fail_msg("no bad value for --%s is tried", name);
    }
    free(text);
    fe_daemon_stop(&w->d);
    assert_true(n > 40);
}

static void exec_row(struct wire *w, const struct row *r, const char *option)
{
    char dir[128], socket[128];
    const char *argv[24];
    unsigned n = 0;

    snprintf(dir, sizeof(dir), "--shared-dir=%s", w->share);
    snprintf(socket, sizeof(socket), "--socket-path=%s", w->socket);
    if (strcmp(r->option, "shared-dir") != 0)
        argv[n++] = dir;
    if (strcmp(r->option, "fd") != 0)
        argv[n++] = socket;
    for (unsigned i = 0; r->more[i]; i++)
        argv[n++] = r->more[i];
    argv[n++] = option;
    argv[n] = NULL;
    w->before = r->before;
    wire_exec(w, argv, -1);
    w->before = NULL;
}

/* Whether the words of limited[] do what they say. */
static bool may_limit(void)
{
    return geteuid() == 0 && !getenv("MESON_EXE_WRAPPER") &&
           system("prlimit --version && setpriv --version") == 0; /* NOLINT: words of our own */
}

/* Whether it ends with status 2, a line that names the option, and nothing made. */
static bool is_refused(struct wire *w, const struct row *r, const char *how)
{
    char option[512];
    int status = -1;

    if (r->before && !may_limit()) {
        print_message("--%s=%s was not tried: root, prlimit and setpriv are wanted\n", r->option,
                      r->value);
        return true;
    }
    snprintf(option, sizeof(option), how, r->option, r->value);
    exec_row(w, r, option);
    int rc = fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS);
    char *log = fe_daemon_log(&w->d);
    bool ok = rc == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 2 && strstr(log, r->option) &&
              access(w->socket, F_OK) < 0;
    if (!ok)
        print_message("%s: wait %d, status %#x: %s\n", option, rc, (unsigned)status, log);
    free(log);
    fe_daemon_stop(&w->d);
    return ok;
}

static void bad_values(void **state)
{
    unsigned failed = 0;

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        failed += !is_refused(*state, &rows[i], "--%s=%s");
    assert_int_equal(failed, 0);
}

/* The words of QEMU's daemon. */
static void bad_old_words(void **state)
{
    static const struct row old[] = {
        {"cache", "nver"}, {"modcaps", "+nosuch"}, {"xattrmap", ":bad:all::"}, {"timeout", "x"}};
    unsigned failed = 0;

    for (unsigned i = 0; i < sizeof(old) / sizeof(old[0]); i++)
        failed += !is_refused(*state, &old[i], "-o%s=%s");
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_option_has_a_row, wire_mode_sandbox, wire_cleanup),
        cmocka_unit_test_setup_teardown(bad_values, wire_mode_sandbox, wire_cleanup),
        cmocka_unit_test_setup_teardown(bad_old_words, wire_mode_sandbox, wire_cleanup),
    };
    return cmocka_run_group_tests_name("wire-usage", tests, wire_make, wire_teardown);
}
