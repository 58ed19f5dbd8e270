/* SPDX-License-Identifier: BSD-3-Clause
 * What is used from the end of the sandbox stage on looks at no file by its name: each of these
 * runs in a process that the kernel ends at the first call which does. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/random.h"

/* ---- the process ---- */

#define DEADLY(nr)                                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

/* fstat(3) of older libc is newfstatat(fd, "", …, AT_EMPTY_PATH). */
static bool forbid_names(void)
{
    struct sock_filter insn[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        DEADLY(SYS_openat),
        DEADLY(SYS_readlinkat),
        DEADLY(SYS_faccessat),
#ifdef SYS_open
        DEADLY(SYS_open),
        DEADLY(SYS_stat),
        DEADLY(SYS_access),
        DEADLY(SYS_readlink),
#endif
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80000000, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {sizeof(insn) / sizeof(insn[0]), insn};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0;
}

typedef void step_fn(void);

/* @before runs freely, then @after. Returns the wait status. */
static int run(step_fn *before, step_fn *after)
{
    int status;

    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSYS, SIG_DFL); /* cmocka may have it */
        if (before)
            before();
        if (!forbid_names())
            _exit(77);
        after();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip(); /* an emulator has no filters */
    return status;
}

/* ---- what it does ---- */

static void all_texts(void)
{
    for (int code = -1; code < 200; code++)
        if (!errno_text(code))
            _exit(1);
}

static void test_errno_text(void **state)
{
    assert_string_equal(errno_text(ENOENT), "No such file or directory");
    assert_string_equal(errno_text(ESTALE), "Stale file handle");
    assert_string_equal(errno_text(100000), "an unknown error");
    assert_int_equal(run(NULL, all_texts), 0);
}

static void some_random(void)
{
    uint8_t big[1000] = {0}, zero[100] = {0};

    random_bytes(big, sizeof(big));
    for (size_t i = 0; i + sizeof(zero) <= sizeof(big); i += sizeof(zero))
        if (memcmp(big + i, zero, sizeof(zero)) == 0)
            _exit(1);
}

static void test_random(void **state)
{
    assert_int_equal(run(NULL, some_random), 0);
}

static void log_to_stderr(void)
{
    log_init(LOG_LVL_WARN, false);
}

static void log_to_syslog(void)
{
    unsetenv("TZ");
    log_init(LOG_LVL_WARN, true);
}

static void log_lines(void)
{
    for (unsigned i = 0; i < 3; i++)
        log_warn("a test's line: %s", errno_text(EIO));
}

static void test_log(void **state)
{
    assert_int_equal(run(log_to_stderr, log_lines), 0);
}

static void test_syslog(void **state)
{
    assert_int_equal(run(log_to_syslog, log_lines), 0);
}

/* The tests above can fail. */
static void look(void)
{
    (void)!access("/etc", F_OK);
}

static void test_is_noticed(void **state)
{
    int status = run(NULL, look);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errno_text), cmocka_unit_test(test_random),
        cmocka_unit_test(test_log),        cmocka_unit_test(test_syslog),
        cmocka_unit_test(test_is_noticed),
    };
    return cmocka_run_group_tests_name("quiet", tests, NULL, NULL);
}
