/* SPDX-License-Identifier: BSD-3-Clause
 * Two processes that look like one: signals in, status out, nothing held, and how long the start
 * takes (printed, not checked). Options that say who and where. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "sandbox/sb-priv.h"
#include "tests/lib/jail.h"
#include "tests/unit/sb-run.h"
#include "virtiofsd/base/log.h"

static char dir[64];

static struct sb_run run_as(bool as_user)
{
    return (struct sb_run){.cfg = {.mode = SB_NAMESPACE, .shared_dir = dir},
                           .as_user = as_user,
                           .seccomp = SB_ACTION_KILL};
}

/* ---- status ---- */

static int body_exit(const struct sb_result *r, void *arg)
{
    return *(int *)arg;
}

static void test_exit_code(void **state)
{
    for (int user = 0; user < 2; user++) {
        struct sb_run run = run_as(user);
        for (int code = 0; code < 256; code += 51) {
            int status = sb_run(&run, body_exit, &code);
            if (user && WIFEXITED(status) && WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE && code != 77)
                skip();
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), code);
        }
    }
}

static int body_crash(const struct sb_result *r, void *arg)
{
    volatile char *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return *p;
}

static void test_death_signal(void **state)
{
    struct sb_run run = run_as(false);
    int status = sb_run(&run, body_crash, NULL);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* ---- signals ---- */

static int pair[2];

static int body_await(const struct sb_result *r, void *arg)
{
    sigset_t *set = arg;
    int sig = 0;

    close(pair[0]);
    if (write(pair[1], "", 1) != 1 || sigwait(set, &sig) != 0)
        return 1;
    return 100 + sig;
}

/* Start body_await() and wait until it waits. Signals of @set are blocked from before the start, as
 * the daemon's are. */
static pid_t start_await(const struct sb_run *run, sigset_t *set)
{
    char byte;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    sigprocmask(SIG_BLOCK, set, NULL);
    pid_t pid = sb_run_start(run, body_await, set);
    sigprocmask(SIG_UNBLOCK, set, NULL);
    close(pair[1]);
    assert_int_equal(read(pair[0], &byte, 1), 1);
    return pid;
}

static void forward(bool as_user, int sig)
{
    struct sb_run run = run_as(as_user);
    sigset_t set;
    int status;

    run.seccomp = SB_ACTION_NONE; /* sigwait(3) is no call of the daemon's */
    sigemptyset(&set);
    sigaddset(&set, sig);
    pid_t pid = start_await(&run, &set);
    assert_int_equal(kill(pid, sig), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(pair[0]);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 100 + sig);
}

static void test_forwarded(void **state)
{
    const int sigs[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1};

    for (size_t i = 0; i < G_N_ELEMENTS(sigs); i++) {
        forward(false, sigs[i]);
        forward(true, sigs[i]);
    }
}

static bool hangs_up(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1 && p.revents & POLLHUP;
}

static void test_keeper_killed(void **state)
{
    struct sb_run run = run_as(false);
    sigset_t set;
    int status;

    run.seccomp = SB_ACTION_NONE;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    pid_t pid = start_await(&run, &set);
    assert_false(hangs_up(pair[0], 0));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(hangs_up(pair[0], 5000)); /* the daemon had the other end */
    close(pair[0]);
}

/* Send words for half a second, then wait for the end. */
static int body_flood(const struct sb_result *r, void *arg)
{
    int64_t end = g_get_monotonic_time() + G_USEC_PER_SEC / 2;
    unsigned n = 0;
    char byte;

    while (g_get_monotonic_time() < end || n++ == 0)
        sb_keeper_tell(r->keeper_fd, (enum notify)(n++ % 256));
    if (write(pair[1], "", 1) != 1)
        return 1;
    return read(*(int *)arg, &byte, 1) == 1 ? 0 : 1;
}

/* A daemon that was taken over keeps neither the keeper busy nor from passing signals on. */
static void test_flood_of_words(void **state)
{
    struct sb_run run = run_as(false);
    struct timespec used;
    clockid_t clock;
    char byte;
    int go[2], status;

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    pid_t pid = sb_run_start(&run, body_flood, &go[0]);
    assert_int_equal(read(pair[0], &byte, 1), 1);
    assert_int_equal(clock_getcpuclockid(pid, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    print_message("the keeper used %ld us\n", used.tv_sec * 1000000 + used.tv_nsec / 1000);
    assert_true(used.tv_sec == 0 && used.tv_nsec < 100000000);
    assert_int_equal(write(go[1], "", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(pair[0]);
    close(pair[1]);
    close(go[0]);
    close(go[1]);
}

static int body_hang_up(const struct sb_result *r, void *arg)
{
    close(pair[0]);
    close(pair[1]);
    /* The other end must see this while both processes live. */
    char byte;
    return read(*(int *)arg, &byte, 1) == 1 ? 0 : 1;
}

static void test_keeper_holds_nothing(void **state)
{
    struct sb_run run = run_as(false);
    int go[2], status;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    pid_t pid = sb_run_start(&run, body_hang_up, &go[0]);
    close(pair[1]);
    assert_true(hangs_up(pair[0], 5000));
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    assert_int_equal(write(go[1], "", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(pair[0]);
    close(go[0]);
    close(go[1]);
}

/* ---- descriptors ---- */

static void test_close_inherited(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        int keep = dup2(1, 40);
        dup2(1, 3);
        dup2(1, 39);
        dup2(1, 41);
        dup2(1, 900);
        dup2(1, 70);
        sb_close_inherited((int[]){70, -1, keep}, 3);
        bool ok = fcntl(0, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0 && fcntl(40, F_GETFD) >= 0 &&
                  fcntl(70, F_GETFD) >= 0 && fcntl(3, F_GETFD) < 0 && fcntl(39, F_GETFD) < 0 &&
                  fcntl(41, F_GETFD) < 0 && fcntl(900, F_GETFD) < 0;
        sb_close_inherited(NULL, 0);
        _exit(ok && fcntl(70, F_GETFD) < 0 && fcntl(40, F_GETFD) < 0 && fcntl(1, F_GETFD) >= 0 ? 0
                                                                                               : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- what is said when it cannot be ---- */

static void expect_error(const struct sb_config *cfg, const char *part)
{
    struct sb_result r;
    GError *err = NULL;

    assert_false(sb_enter(cfg, &r, &err));
    assert_non_null(err);
    if (!strstr(err->message, part) || strchr(err->message, '\n'))
        fail_msg("'%s' should be one line with '%s'", err->message, part);
    g_error_free(err);
}

static void test_no_share(void **state)
{
    struct sb_config cfg = {.shared_dir = "/nonexistent/directory"};
    expect_error(&cfg, "/nonexistent/directory");
    cfg.shared_dir = "/etc/passwd";
    expect_error(&cfg, "Not a directory");
}

static void test_bad_maps(void **state)
{
    struct sb_config cfg = {.shared_dir = dir, .uid_map = {{{5, 5, 5}}, 1}};
    expect_error(&cfg, "--uid-map must give id 0");
    cfg.mode = SB_NONE;
    expect_error(&cfg, "without a user namespace");
}

/* In a user namespace whose own limit of further ones is zero. */
static void test_no_user_namespaces(void **state)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct sb_config cfg = {.shared_dir = dir, .uid_map = {{{0, 0, 1}}, 1}};
        cfg.gid_map = cfg.uid_map;
        if (unshare(CLONE_NEWUSER) < 0)
            _exit(SB_RUN_IMPOSSIBLE);
        int fd = open("/proc/sys/user/max_user_namespaces", O_WRONLY);
        if (fd < 0 || write(fd, "0", 1) != 1)
            _exit(SB_RUN_IMPOSSIBLE);
        expect_error(&cfg, "user.max_user_namespaces");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
        skip();
    assert_int_equal(status, 0);
}

/* Namespace mode in the root that @prepare makes: the daemon's half tells what is said. */
static void expect_hint(void (*prepare)(void), bool as_user, const char *says, const char *hint)
{
    int p[2], status;
    char text[512] = "";

    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct sb_config cfg = {.shared_dir = "/"};
        struct sb_result r;
        GError *err = NULL;
        log_level = LOG_LVL_OFF;
        prepare();
        if (as_user && (setresgid(1234, 1234, 1234) < 0 || setresuid(1234, 1234, 1234) < 0))
            _exit(SB_RUN_IMPOSSIBLE);
        int err_fd = fcntl(p[1], F_DUPFD, 100); /* the keeper closes its own */
        if (sb_enter(&cfg, &r, &err))
            _exit(SB_RUN_FAILED);
        (void)!write(err_fd, err->message, strlen(err->message));
        _exit(0);
    }
    close(p[1]);
    ssize_t n = read(p[0], text, sizeof(text) - 1);
    close(p[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
        skip();
    assert_int_equal(status, 0);
    if (n <= 0 || !strstr(text, says) || !strstr(text, hint))
        fail_msg("'%s' should say '%s' and '%s'", text, says, hint);
}

static void in_chroot(void)
{
    if (mkdir("below", 0755) < 0 && errno != EEXIST)
        _exit(SB_RUN_IMPOSSIBLE);
    if (chroot("below") < 0 || chdir("/") < 0)
        _exit(SB_RUN_IMPOSSIBLE);
}

static void without_privilege(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_capset, &head, none) < 0)
        _exit(SB_RUN_IMPOSSIBLE);
}

/* Where there can be no namespaces: one line tells what to try. */
static void test_hints(void **state)
{
    assert_int_equal(chdir(dir), 0);
    expect_hint(in_chroot, false, "not a mount point", "--sandbox=chroot or --sandbox=none");
    expect_hint(in_chroot, true, "user namespace", "--sandbox=none");
    expect_hint(without_privilege, false, "CAP_SYS_ADMIN", "--sandbox=chroot or --sandbox=none");
    assert_int_equal(chdir("/"), 0);

    static const struct {
        int code;
        bool user_ns;
        const char *text;
    } rows[] = {
        {EPERM, false,
         "x: Operation not permitted (without CAP_SYS_ADMIN, or in a container?); "
         "try --sandbox=chroot or --sandbox=none"},
        {EACCES, true,
         "x: Permission denied (a security module, or in a container?); try "
         "--sandbox=none"},
        {ENOSYS, false,
         "x: Function not implemented (an old kernel, or the filter of a "
         "container?); try --sandbox=chroot or --sandbox=none"},
        {ENOSPC, false,
         "x: No space left on device (is a sysctl user.max_*_namespaces too "
         "small?); try --sandbox=chroot or --sandbox=none"},
        {EIO, false, "x: Input/output error; try --sandbox=chroot or --sandbox=none"},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) err = NULL;
        assert_false(sb_fail_namespace(&err, rows[i].code, rows[i].user_ns, "x"));
        assert_string_equal(err->message, rows[i].text);
        assert_int_equal(err->code, rows[i].code);
    }
}

/* ---- start-up ---- */

static int body_now(const struct sb_result *r, void *arg)
{
    int64_t now = g_get_monotonic_time();
    return write(*(int *)arg, &now, sizeof(now)) == sizeof(now) ? 0 : 1;
}

static int compare(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Median of the time from before the fork to the finished sandbox with both filters, in µs. */
static int64_t start_time(struct sb_run *run)
{
    enum { ROUNDS = 21 };
    int64_t took[ROUNDS], end;
    int p[2];

    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        int64_t begin = g_get_monotonic_time();
        int status = sb_run(run, body_now, &p[1]);
        if (WIFEXITED(status) && WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
            skip();
        assert_int_equal(status, 0);
        assert_int_equal(read(p[0], &end, sizeof(end)), sizeof(end));
        took[i] = end - begin;
    }
    close(p[0]);
    close(p[1]);
    qsort(took, ROUNDS, sizeof(took[0]), compare);
    return took[ROUNDS / 2];
}

/* Filters are made at build time: making them at the start took 30 ms and more. A busy machine may
 * need another try. */
#define FILTERS_US 20000
#define START_US   2000000
#define TRIES      3

static void test_start_time(void **state)
{
    static const char *const mode[] = {"namespace", "chroot", "none"};

    for (enum sb_mode m = SB_NAMESPACE; m <= SB_NONE; m++) {
        struct sb_run run = run_as(false);
        run.cfg.mode = m;
        int64_t filtered, bare;
        enum sb_action action = run.seccomp;
        for (unsigned tries = 1;; tries++) {
            run.seccomp = action;
            filtered = start_time(&run);
            run.seccomp = SB_ACTION_NONE;
            bare = start_time(&run);
            if (filtered <= bare + FILTERS_US || tries == TRIES)
                break;
        }
        print_message("root, %s: %d us, without filters %d us\n", mode[m], (int)filtered,
                      (int)bare);
        assert_true(filtered <= bare + FILTERS_US);
        assert_true(filtered < START_US);
    }
    struct sb_run run = run_as(true);
    int64_t user = start_time(&run);
    print_message("user, namespace: %d us\n", (int)user);
    assert_true(user < START_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_code),
        cmocka_unit_test(test_death_signal),
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_keeper_killed),
        cmocka_unit_test(test_keeper_holds_nothing),
        cmocka_unit_test(test_flood_of_words),
        cmocka_unit_test(test_close_inherited),
        cmocka_unit_test(test_no_share),
        cmocka_unit_test(test_bad_maps),
        cmocka_unit_test(test_no_user_namespaces),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_start_time),
    };

    /* Id maps are written through /proc. */
    if (geteuid() != 0 || !jail_enter(dir, sizeof(dir), "/proc"))
        return 77;
    return cmocka_run_group_tests_name("sb-life", tests, NULL, NULL);
}
