/* SPDX-License-Identifier: BSD-3-Clause
 * The keeper: the process that was started. It stays outside the sandbox, passes signals in and
 * the exit status out. Whoever started us sees one process that behaves like the daemon. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/sock-files.h"
#include "virtiofsd/base/trim.h"

#define GRACE_MS 1500 /* for the daemon to end by itself after a signal */
#define DEATH_MS 100

static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

static void remove_files(const GPtrArray *files)
{
    for (unsigned i = 0; files && i < files->len; i++)
        sock_files_remove(g_ptr_array_index(files, i));
}

/* End as the daemon ended. */
static G_NORETURN void end_like(int status, const GPtrArray *files)
{
    remove_files(files);
    if (!WIFSIGNALED(status))
        _exit(WEXITSTATUS(status));

    int sig = WTERMSIG(status);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, sig);
    signal(sig, SIG_DFL);
    raise(sig);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    _exit(128 + sig); /* the signal of a stop, or one that this process may not die of */
}

/* Close all descriptors but the one that tells the daemon of our death, and those of @files. */
static void close_others(int alive_fd, const GPtrArray *files)
{
    unsigned len = files ? files->len : 0, n = 1 + SOCK_FILES_FDS * len;
    g_autofree int *keep = g_new(int, n);

    keep[0] = alive_fd;
    for (unsigned i = 0; i < len; i++)
        sock_files_fds(g_ptr_array_index(files, i), keep + 1 + (gsize)SOCK_FILES_FDS * i);
    sb_close_inherited(keep, n);
}

/* The keeper holds nothing of the daemon's but the files of its sockets: a second holder of the
 * listening socket or of the front-end's connection would keep them open when the daemon is gone.
 * It may signal its child, whatever user that is by now, and nothing else. */
static void shed(int alive_fd, const GPtrArray *files)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = 1u << CAP_KILL, .permitted = 1u << CAP_KILL}};

    (void)!chdir("/"); /* the share may be unmounted while it is not in use by the daemon */
    close_others(alive_fd, files);
    /* The core of the daemon is the one to keep, not ours. */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    syscall(SYS_capset, &head, data);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    trim_startup_pages();
    sb_seccomp_apply(SB_THREAD_KEEPER, SB_ACTION_KILL);
}

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Wait for a signal, not beyond @end_ms (0: for ever). Returns it, 0 when the time is over, or -1.
 */
static int await(const sigset_t *awaited, int64_t end_ms)
{
    if (end_ms == 0)
        return sigwaitinfo(awaited, NULL);
    int64_t left = MAX(end_ms - now_ms(), 0);
    struct timespec ts = {left / 1000, left % 1000 * 1000000L};
    int sig = sigtimedwait(awaited, NULL, &ts);
    return sig < 0 && errno == EAGAIN ? 0 : sig;
}

/* A daemon that should have ended by itself: end it, and do not wait for one that cannot even die
 * (a call on a file system that does not answer may hold it). */
static G_NORETURN void end_hard(pid_t child, const sigset_t *awaited, const GPtrArray *files)
{
    kill(child, SIGKILL);
    await(awaited, now_ms() + DEATH_MS);
    remove_files(files);
    _exit(1);
}

static bool ends_daemon(int sig)
{
    return sig == SIGTERM || sig == SIGINT || sig == SIGHUP || sig == SIGQUIT;
}

static G_NORETURN void keep(pid_t child, const sigset_t *awaited, const GPtrArray *files)
{
    int64_t end_ms = 0; /* when the daemon must have ended */
    for (;;) {
        int status, sig = await(awaited, end_ms);
        if (sig == 0)
            end_hard(child, awaited, files);
        if (sig < 0)
            continue;
        if (sig == SIGCHLD) {
            if (waitpid(child, &status, WNOHANG) == child)
                end_like(status, files);
            continue;
        }
        if (ends_daemon(sig) && end_ms)
            end_hard(child, awaited, files);
        kill(child, sig);
        if (ends_daemon(sig))
            end_ms = now_ms() + GRACE_MS;
    }
}

int sb_keeper_fork(struct sb_keeper *k, const GPtrArray *files, GError **err)
{
    sigset_t awaited;
    sigemptyset(&awaited);
    sigaddset(&awaited, SIGCHLD);
    for (unsigned i = 0; i < G_N_ELEMENTS(forwarded); i++)
        sigaddset(&awaited, forwarded[i]);

    if (pipe2(k->alive, O_CLOEXEC) < 0) {
        sb_fail(err, errno, "cannot make a pipe");
        return -1;
    }
    /* An ignored SIGCHLD, inherited from whoever started us, would take the status away. */
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &awaited, &k->caller_mask);
    pid_t child = fork();
    if (child == 0) {
        close(k->alive[1]);
        sigprocmask(SIG_SETMASK, &k->caller_mask, NULL);
        return 0;
    }
    if (child < 0) {
        sb_fail(err, errno, "cannot fork");
        sigprocmask(SIG_SETMASK, &k->caller_mask, NULL);
        close(k->alive[0]);
        close(k->alive[1]);
        return -1;
    }
    shed(k->alive[1], files);
    keep(child, &awaited, files);
}

bool sb_keeper_bind(struct sb_keeper *k, GError **err)
{
    struct pollfd gone = {.fd = k->alive[0]};

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return sb_fail(err, errno, "cannot bind the daemon's life to its parent's");
    /* It may have died before the call above. */
    int n = poll(&gone, 1, 0);
    close(k->alive[0]);
    if (n != 0)
        return sb_fail(err, ESRCH, "the parent process is gone");
    return true;
}
