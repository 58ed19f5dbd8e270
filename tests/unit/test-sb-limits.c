/* SPDX-License-Identifier: BSD-3-Clause
 * Capabilities and system calls: exactly what was asked for is left; and the options that say so.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/jail.h"
#include "tests/unit/sb-run.h"

#define BIT(cap) (UINT64_C(1) << (cap))

static char dir[64];

/* ---- options ---- */

static void test_modcaps_parse(void **state)
{
    static const char *const bad[] = {"", "chown", "+", "+nothing", "+chown:", "+chown,-mknod"};
    uint64_t add = 0, del = 0;

    assert_true(sb_modcaps_parse("+sys_admin:-chown:+CAP_SYS_NICE", &add, &del, NULL));
    assert_true(add == (BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_NICE)));
    assert_true(del == BIT(CAP_CHOWN));
    /* The later word counts. */
    assert_true(sb_modcaps_parse("+chown:-sys_admin", &add, &del, NULL));
    assert_true(add == (BIT(CAP_CHOWN) | BIT(CAP_SYS_NICE)));
    assert_true(del == BIT(CAP_SYS_ADMIN));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;
        if (sb_modcaps_parse(bad[i], &add, &del, &err))
            fail_msg("'%s' was taken", bad[i]);
        assert_non_null(err);
    }
}

/* ---- capabilities ---- */

static uint64_t permitted(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct d[2];

    syscall(SYS_capget, &head, d);
    /* What is permitted is effective, and nothing can be handed on. */
    if (d[0].effective != d[0].permitted || d[1].effective != d[1].permitted ||
        d[0].inheritable | d[1].inheritable)
        return 0;
    return d[0].permitted | (uint64_t)d[1].permitted << 32;
}

static int body_caps(const struct sb_result *r, void *arg)
{
    const uint64_t *expected = arg;

    if (permitted() != *expected)
        return 2;
    for (unsigned long cap = 0; cap < 64; cap++) {
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
            return 3;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1)
            return 4;
    }
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 5;
    return getgroups(0, NULL) == 0 ? 0 : 6;
}

static const uint64_t usual = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) |
                              BIT(CAP_FSETID) | BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_MKNOD) |
                              BIT(CAP_SETFCAP);

static void expect_caps(struct sb_run *run, uint64_t caps)
{
    const gid_t group = 4; /* something to drop */

    assert_int_equal(setgroups(1, &group), 0);
    for (enum sb_mode m = SB_NAMESPACE; m <= SB_NONE; m++) {
        run->cfg.mode = m;
        int status = sb_run(run, body_caps, &caps);
        assert_int_equal(status, 0);
    }
    assert_int_equal(setgroups(0, NULL), 0);
}

static void test_caps(void **state)
{
    struct sb_run run = {.cfg = {.shared_dir = dir}};

    expect_caps(&run, usual);
    run.cfg.file_handles = true;
    expect_caps(&run, usual | BIT(CAP_DAC_READ_SEARCH));
    assert_true(sb_modcaps_parse("+sys_admin:-mknod:-dac_read_search", &run.cfg.caps_add,
                                 &run.cfg.caps_del, NULL));
    expect_caps(&run, (usual | BIT(CAP_SYS_ADMIN)) & ~BIT(CAP_MKNOD));
}

static void test_caps_of_user(void **state)
{
    struct sb_run run = {.cfg = {.shared_dir = dir}, .as_user = true};
    uint64_t caps = usual;

    /* Root of a namespace of its own has them all, towards what that namespace owns. */
    int status = sb_run(&run, body_caps, &caps);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
        skip();
    assert_int_equal(status, 0);
}

/* ---- system calls ---- */

/* The calls that tell the kinds of threads apart; each returns whether it was let through. */
static int share_fd;

static bool may_open(void)
{
    int fd = openat(share_fd, ".", O_PATH);
    return fd >= 0 && close(fd) == 0;
}

static bool may_open_absolute(void)
{
    int fd = openat(AT_FDCWD, "/", O_PATH);
    return fd >= 0 || errno != ENOENT;
}

static bool may_accept(void)
{
    return accept4(-1, NULL, NULL, 0) >= 0 || errno != ENOSYS;
}

static bool may_own_fs(void)
{
    return unshare(CLONE_FS) == 0;
}

static bool may_lock(void)
{
    struct flock lk = {.l_type = F_UNLCK};
    return fcntl(-1, F_OFD_SETLKW, &lk) >= 0 || errno != ENOSYS;
}

static bool may_map(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && mprotect(p, 4096, PROT_READ) == 0 && munmap(p, 4096) == 0;
}

static bool may_name_itself(void)
{
    return prctl(PR_SET_NAME, "test") == 0;
}

static bool may_be_dumped(void)
{
    return prctl(PR_SET_DUMPABLE, 1) == 0;
}

static bool may_ask_priority(void)
{
    return getpriority(PRIO_PROCESS, 0) != -1 || errno != ENOSYS;
}

static void *thread_body(void *arg)
{
    return arg;
}

static bool may_start_thread(void)
{
    pthread_t t;
    void *back = NULL;
    int token;
    return pthread_create(&t, NULL, thread_body, &token) == 0 && pthread_join(t, &back) == 0 &&
           back == &token;
}

static bool may_call_unknown(void)
{
    return syscall(4000) >= 0 || errno != ENOSYS;
}

enum { P = 1, L = 2 };
static const struct {
    const char *name;
    bool (*may)(void);
    unsigned who;
} calls[] = {
    {"open", may_open, P},
    {"accept", may_accept, P},
    {"own fs", may_own_fs, P},
    {"lock", may_lock, P | L},
    {"map", may_map, P | L},
    {"name", may_name_itself, P | L},
    {"dumpable", may_be_dumped, 0},
    {"priority", may_ask_priority, 0},
    {"thread", may_start_thread, P},
    {"unknown", may_call_unknown, 0},
    {"open /", may_open_absolute, 0},
};

static int try_calls(unsigned who)
{
    int bad = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        bool expected = calls[i].who & who;
        if (calls[i].may() != expected) {
            fprintf(stderr, "%s: must%s be allowed to threads %u\n", calls[i].name,
                    expected ? "" : " not", who);
            bad++;
        }
    }
    return bad;
}

static void *lock_thread(void *arg)
{
    *(int *)arg = sb_seccomp_apply(SB_THREAD_LOCK, SB_ACTION_KILL) ? 100 : try_calls(L);
    return NULL;
}

/* As in the daemon: a worker is started by the control thread, a lock waiter by a worker. */
static void *worker_thread(void *arg)
{
    int *bad = arg;
    pthread_t t;

    *bad = try_calls(P);
    int deeper = 100;
    if (pthread_create(&t, NULL, lock_thread, &deeper) == 0)
        pthread_join(t, NULL);
    *bad += deeper;
    return NULL;
}

static int body_threads(const struct sb_result *r, void *arg)
{
    pthread_t t;
    int bad = 100;

    share_fd = r->root_fd;
    if (pthread_create(&t, NULL, worker_thread, &bad) == 0)
        pthread_join(t, NULL);
    return bad + try_calls(P); /* the control thread is not narrowed by its children */
}

static void test_threads(void **state)
{
    struct sb_run run = {.cfg = {.shared_dir = dir}, .seccomp = SB_ACTION_KILL};
    assert_int_equal(sb_run(&run, body_threads, NULL), 0);
}

static int body_deadly(const struct sb_result *r, void *arg)
{
    return syscall(SYS_personality, 0xffffffff) >= 0 ? 1 : 2;
}

static void test_actions(void **state)
{
    struct sb_run run = {.cfg = {.shared_dir = dir}, .seccomp = SB_ACTION_KILL};
    int status = sb_run(&run, body_deadly, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);

    run.seccomp = SB_ACTION_TRAP;
    status = sb_run(&run, body_deadly, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);

    run.seccomp = SB_ACTION_LOG;
    status = sb_run(&run, body_deadly, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);

    run.seccomp = SB_ACTION_NONE;
    status = sb_run(&run, body_deadly, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

/* ---- what a call costs under the filters ---- */

static int body_cost(const struct sb_result *r, void *arg)
{
    enum { CALLS = 200000 };
    uint64_t one = 1;
    int fd = *(int *)arg;

    int64_t begin = g_get_monotonic_time();
    for (unsigned i = 0; i < CALLS; i++) {
        if (write(fd, &one, sizeof(one)) != sizeof(one))
            return 1;
    }
    int64_t took = g_get_monotonic_time() - begin;
    fprintf(stderr, "write to an eventfd: %.0f ns\n", (double)took * 1000 / CALLS);
    return 0;
}

static void test_cost(void **state)
{
    struct sb_run run = {.cfg = {.shared_dir = dir}};
    int fd = eventfd(0, EFD_CLOEXEC);

    print_message("without and with the filters:\n");
    assert_int_equal(sb_run(&run, body_cost, &fd), 0);
    run.seccomp = SB_ACTION_KILL;
    assert_int_equal(sb_run(&run, body_cost, &fd), 0);
    close(fd);
}

/* ---- labels ---- */

/* What is kept of proc for them, and what is above it. */
static int body_labels(const struct sb_result *r, void *arg)
{
    const bool *kept = arg;
    char link[64];

    if ((r->task_fd >= 0) != *kept || (r->thread_fd >= 0) != *kept)
        return 1;
    if (!*kept)
        return 0;
    return readlinkat(r->thread_fd, "", link, sizeof(link)) > 0 &&
                   openat(r->task_fd, "../status", O_RDONLY) < 0
               ? 0
               : 2;
}

static void test_labels(void **state)
{
    struct sb_run run = {.cfg = {.shared_dir = dir}, .seccomp = SB_ACTION_KILL};
    char label[256];
    bool kept = false;

    assert_int_equal(sb_run(&run, body_labels, &kept), 0); /* not asked for */
    int fd = open("/proc/thread-self/attr/fscreate", O_RDONLY | O_CLOEXEC);
    kept = fd >= 0 && read(fd, label, sizeof(label)) >= 0;
    if (fd >= 0)
        close(fd);
    run.cfg.labels = true;
    assert_int_equal(sb_run(&run, body_labels, &kept), 0);
}

int main(void)
{
    const struct CMUnitTest options[] = {
        cmocka_unit_test(test_modcaps_parse),
    };
    const struct CMUnitTest limits[] = {
        cmocka_unit_test(test_caps),    cmocka_unit_test(test_caps_of_user),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_actions),
        cmocka_unit_test(test_cost),    cmocka_unit_test(test_labels),
    };

    int bad = cmocka_run_group_tests_name("sb-limits, options", options, NULL, NULL);
    if (bad)
        return bad;
    if (geteuid() != 0 || !jail_enter(dir, sizeof(dir), "/proc"))
        return 77;
    return cmocka_run_group_tests_name("sb-limits", limits, NULL, NULL);
}
