/* SPDX-License-Identifier: BSD-3-Clause
 * The keeper: the process that was started. It stays outside the sandbox, passes signals in and
 * the exit status out. Whoever started us sees one process that behaves like the daemon. */
/* #syscalls:keeper close exit_group getpid kill openat prlimit64 read rt_sigaction
 * #syscalls:keeper rt_sigprocmask rt_sigtimedwait tgkill wait4 write
 * #syscalls:early capset chdir clone fcntl pipe2 poll prctl */
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
#define LIMIT_MS 100 /* between two readings of the mailbox, whatever is sent */

static const int forwarded[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

/* When to look where our control groups are, in ms after the daemon sent a message: a manager moves
 * us before he lets the front-end connect (libvirt), or after the guest has started (Kata). */
static const int64_t check_after[] = {0, 1000, 10000};

struct keeper {
    pid_t child;
    sigset_t awaited;
    const GPtrArray *files;
    int mail_fd;        /* a byte for each message of the daemon's, and SIGIO with it */
    int root_fd;        /* to name files by: calls without a directory are not ours to make */
    int64_t end_ms;     /* when the daemon must have ended; 0: not asked to */
    int64_t quiet_ms;   /* no mail until then */
    int64_t message_ms; /* when the daemon sent a message; checks made since */
    unsigned checks;
    int notify_fd;   /* 0: nobody is to be told */
    unsigned untold; /* bit n: enum notify n is still to be sent */
    bool stopping;
};

static void remove_files(const struct keeper *k)
{
    for (unsigned i = 0; k->files && i < k->files->len; i++)
        sock_files_remove(g_ptr_array_index(k->files, i));
}

/* End as the daemon ended. */
static G_NORETURN void exit_as_child(const struct keeper *k, int status)
{
    remove_files(k);
    if (!k->stopping) /* the daemon had no time to say so, or its messages are not read yet */
        notify_send(k->notify_fd, NOTIFY_STOPPING, 0);
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

/* Close all descriptors but the mailbox, whose end tells the daemon of our death, those of the
 * files and the service manager's. */
static void close_others(const struct keeper *k)
{
    unsigned len = k->files ? k->files->len : 0, n = 2 + SOCK_FILES_FDS * len;
    g_autofree int *keep = g_new(int, n);

    keep[0] = k->mail_fd;
    keep[1] = k->notify_fd;
    for (unsigned i = 0; i < len; i++)
        sock_files_fds(g_ptr_array_index(k->files, i), keep + 2 + (gsize)SOCK_FILES_FDS * i);
    sb_close_inherited(keep, n);
}

/* Have mail signalled: a keeper that waits for signals waits for nothing else. */
static void open_mailbox(struct keeper *k)
{
    (void)fcntl(k->mail_fd, F_SETOWN, getpid());
    (void)fcntl(k->mail_fd, F_SETFL, O_NONBLOCK | O_ASYNC);
    k->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* The keeper holds nothing of the daemon's but the files of its sockets: a second holder of the
 * listening socket or of the front-end's connection would keep them open when the daemon is gone.
 * It may signal its child, whatever user that is by now, and nothing else. */
static void drop_privileges(struct keeper *k)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = 1u << CAP_KILL, .permitted = 1u << CAP_KILL}};

    (void)!chdir("/"); /* the share may be unmounted while it is not in use by the daemon */
    close_others(k);
    open_mailbox(k);
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

/* When the next look at our control groups is due; 0: none is. */
static int64_t check_ms(const struct keeper *k)
{
    return k->message_ms && k->checks < G_N_ELEMENTS(check_after)
               ? k->message_ms + check_after[k->checks]
               : 0;
}

/* The earliest of what is to be done without a signal; 0: nothing is. */
static int64_t due_ms(const struct keeper *k)
{
    const int64_t at[] = {k->end_ms, k->quiet_ms, check_ms(k)};
    int64_t due = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(at); i++) {
        if (at[i] && (!due || at[i] < due))
            due = at[i];
    }
    return due;
}

/* Wait for a signal, not beyond @due (0: for ever). Returns it, 0 when the time is over, or -1. */
static int await(const struct keeper *k, int64_t due)
{
    sigset_t set = k->awaited;

    if (k->quiet_ms)
        sigdelset(&set, SIGIO);
    if (due == 0)
        return sigwaitinfo(&set, NULL);
    int64_t left = MAX(due - now_ms(), 0);
    struct timespec ts = {left / 1000, left % 1000 * 1000000L};
    int sig = sigtimedwait(&set, NULL, &ts);
    return sig < 0 && errno == EAGAIN ? 0 : sig;
}

/* A daemon that should have ended by itself: end it, and do not wait for one that cannot even die
 * (a call on a file system that does not answer may hold it). */
static G_NORETURN void end_hard(struct keeper *k)
{
    k->quiet_ms = now_ms() + DEATH_MS;
    kill(k->child, SIGKILL);
    await(k, k->quiet_ms);
    remove_files(k);
    _exit(1);
}

static bool ends_daemon(int sig)
{
    return sig == SIGTERM || sig == SIGINT || sig == SIGHUP || sig == SIGQUIT;
}

/* Send what is to be sent, READY=1 first, the latest state after it. What the manager has no room
 * for is sent when we wake up next, which is soon then. */
static void tell_manager(struct keeper *k)
{
    for (unsigned i = 0; i < NOTIFY_COUNT; i++) {
        if (!(k->untold & 1u << i))
            continue;
        if (!notify_send(k->notify_fd, (enum notify)i, 0)) {
            k->quiet_ms = now_ms() + LIMIT_MS;
            return;
        }
        k->untold &= ~(1u << i);
    }
}

/* @what is the daemon's last message, or ours. A state takes the place of the one before. */
static void note(struct keeper *k, enum notify what)
{
    if (k->stopping)
        return;
    if (what != NOTIFY_READY)
        k->untold &= 1u << NOTIFY_READY;
    k->untold |= 1u << what;
    k->stopping = what == NOTIFY_STOPPING;
}

static void pass_on(struct keeper *k, int sig)
{
    if (ends_daemon(sig) && k->end_ms)
        end_hard(k);
    kill(k->child, sig);
    if (!ends_daemon(sig))
        return;
    k->end_ms = now_ms() + GRACE_MS;
    note(k, NOTIFY_STOPPING);
    tell_manager(k);
}

/* Each byte is an enum notify, or nonsense. */
static void read_mail(struct keeper *k)
{
    uint8_t messages[64];
    ssize_t n = read(k->mail_fd, messages, sizeof(messages));

    if (n <= 0)
        return;
    for (ssize_t i = 0; i < n; i++) {
        if (messages[i] < NOTIFY_COUNT)
            note(k, (enum notify)messages[i]);
        if (messages[i] == NOTIFY_FRONT_END || messages[i] == NOTIFY_MOUNTED) {
            k->message_ms = now_ms();
            k->checks = 0;
        }
    }
    k->quiet_ms = now_ms() + LIMIT_MS;
    tell_manager(k);
}

/* What is due now. */
static void do_due(struct keeper *k)
{
    int64_t now = now_ms(), look = check_ms(k);

    if (k->end_ms && now >= k->end_ms)
        end_hard(k);
    if (k->quiet_ms && now >= k->quiet_ms) {
        k->quiet_ms = 0;
        tell_manager(k);
    }
    if (look && now >= look) {
        sb_cgroup_follow(k->root_fd, k->child);
        k->checks++;
    }
}

static G_NORETURN void keep(struct keeper *k)
{
    read_mail(k); /* what came before it was signalled */
    for (;;) {
        int status, sig = await(k, due_ms(k));
        if (sig == SIGCHLD && waitpid(k->child, &status, WNOHANG) == k->child)
            exit_as_child(k, status);
        if (sig == SIGIO)
            read_mail(k);
        else if (sig > 0 && sig != SIGCHLD)
            pass_on(k, sig);
        do_due(k);
    }
}

int sb_keeper_fork(struct sb_keeper *link, const struct sb_config *cfg, GError **err)
{
    struct keeper k = {.files = cfg->files, .notify_fd = cfg->notify_fd};
    sigset_t caller_mask;
    int mail[2];

    sigemptyset(&k.awaited);
    sigaddset(&k.awaited, SIGCHLD);
    sigaddset(&k.awaited, SIGIO);
    for (unsigned i = 0; i < G_N_ELEMENTS(forwarded); i++)
        sigaddset(&k.awaited, forwarded[i]);

    if (pipe2(mail, O_CLOEXEC | O_NONBLOCK) < 0) {
        sb_fail(err, errno, "cannot make a pipe");
        return -1;
    }
    k.mail_fd = mail[0];
    link->mail_fd = mail[1];
    /* An ignored SIGCHLD, inherited from whoever started us, would take the status away. */
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &k.awaited, &caller_mask);
    k.child = fork();
    if (k.child == 0) {
        close(mail[0]);
        if (cfg->notify_fd > 0)
            close(cfg->notify_fd);
        sigprocmask(SIG_SETMASK, &caller_mask, NULL);
        return 0;
    }
    if (k.child < 0) {
        sb_fail(err, errno, "cannot fork");
        sigprocmask(SIG_SETMASK, &caller_mask, NULL);
        close(mail[0]);
        close(mail[1]);
        return -1;
    }
    drop_privileges(&k);
    keep(&k);
}

bool sb_keeper_bind(const struct sb_keeper *link, GError **err)
{
    struct pollfd gone = {.fd = link->mail_fd}; /* it has no reader any more */

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return sb_fail(err, errno, "cannot bind the daemon's life to its parent's");
    /* It may have died before the call above. */
    if (poll(&gone, 1, 0) != 0)
        return sb_fail(err, ESRCH, "the parent process is gone");
    return true;
}

void sb_keeper_tell(int keeper_fd, enum notify what)
{
    uint8_t message = (uint8_t)what;
    (void)!write(keeper_fd, &message, 1);
}
