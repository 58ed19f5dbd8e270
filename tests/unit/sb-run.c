/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/sb-run.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "virtiofsd/base/log.h"

static void give_up(const char *what, GError *err)
{
    fprintf(stderr, "%s: %s\n", what, err ? err->message : g_strerror(errno));
    _exit(SB_RUN_FAILED);
}

static void become_user(void)
{
    /* As root of a user namespace with one id we cannot be anybody else. */
    if (setgroups(0, NULL) < 0 || setresgid(SB_RUN_USER, SB_RUN_USER, SB_RUN_USER) < 0 ||
        setresuid(SB_RUN_USER, SB_RUN_USER, SB_RUN_USER) < 0)
        _exit(SB_RUN_IMPOSSIBLE);
    /* As a program that this user started: the change of user hid /proc/self from it. */
    prctl(PR_SET_DUMPABLE, 1);
}

static void filter(enum sb_thread thread, enum sb_action action)
{
    int r = sb_seccomp_apply(thread, action);
    if (r < 0) {
        errno = -r;
        give_up("sb_seccomp_apply", NULL);
    }
}

/* cmocka would catch these and go on in the child. */
static const int crashes[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS};

pid_t sb_run_start(const struct sb_run *run, sb_run_fn *body, void *arg)
{
    struct sb_result r;
    GError *err = NULL;

    log_level = LOG_LVL_WARN; /* what an unprivileged start cannot do is known here */
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    for (size_t i = 0; i < G_N_ELEMENTS(crashes); i++)
        signal(crashes[i], SIG_DFL);
    if (run->as_user)
        become_user();
    if (!sb_enter(&run->cfg, &r, &err))
        give_up("sb_enter", err);
    if (!sb_drop_caps(&run->cfg, &err))
        give_up("sb_drop_caps", err);
    filter(run->cfg.fenced ? SB_THREAD_FENCED : SB_THREAD_PROCESS, run->seccomp);
    _exit(body(&r, arg));
}

int sb_run(const struct sb_run *run, sb_run_fn *body, void *arg)
{
    int status = -1;
    pid_t pid = sb_run_start(run, body, arg);

    if (pid > 0)
        waitpid(pid, &status, 0);
    return status;
}

bool sb_run_tree(const char *dir, char *share, char *secret, size_t size)
{
    snprintf(share, size, "%s/share", dir);
    snprintf(secret, size, "%s/secret", dir);
    int fd = open(secret, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, "x\n", 2) == 2;

    if (fd >= 0)
        close(fd);
    return ok && chmod(dir, 0755) == 0 && mkdir(share, 0777) == 0;
}
