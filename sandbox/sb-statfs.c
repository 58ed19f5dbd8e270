/* SPDX-License-Identifier: BSD-3-Clause
 * A process that stays outside of the sandbox with one directory, and tells the numbers of its file
 * system. The daemon itself holds no descriptor of that directory: from one it could walk to all of
 * the host's files. This process takes eight bytes from it and does nothing with them. */
/* #syscalls close poll recvfrom sendto
 * #syscalls:statfs exit_group fstatfs read write
 * #syscalls:early capset chdir clone openat prctl prlimit64 rt_sigaction rt_sigprocmask
 * #syscalls:early socketpair wait4 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/trim.h"

#define ANSWER_MS 3000 /* a file system may hang */

struct answer {
    uint64_t serial; /* of the question */
    int error;       /* an errno value; 0: st is filled */
    struct statvfs st;
};

struct sb_statfs {
    int sock;
    pthread_mutex_t lock; /* of the rest; nobody waits while he holds it */
    pthread_cond_t changed;
    uint64_t serial;    /* of the last question, */
    int64_t sent_ms;    /* and when that was */
    struct answer last; /* answers come in the order of the questions */
    bool reading;       /* one of those who wait, for all of them */
    bool hangs;         /* somebody waited in vain, and no answer came since */
    bool gone;          /* that process */
};

/* ---- outside ---- */

/* Nothing but the directory and the socket; no capability, no other call. It ends when the daemon
 * has hung up, and no signal to both ends it before. */
static void confine(int dir_fd, int sock)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    (void)!chdir("/");
    for (int fd = 0; fd < 3; fd++)
        close(fd); /* whoever started us may wait for their end */
    sb_close_inherited((int[]){dir_fd, sock}, 2);
    signal(SIGUSR2, SIG_IGN); /* asks the daemon for a report, but may be sent to all of a unit */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    syscall(SYS_capset, &head, data);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    trim_startup_pages();
    sb_seccomp_apply(SB_THREAD_STATFS, SB_ACTION_KILL);
}

static G_NORETURN void answer_all(int dir_fd, int sock)
{
    struct answer a = {0};

    for (;;) {
        ssize_t n = read(sock, &a.serial, sizeof(a.serial));
        if (n == sizeof(a.serial)) {
            a.error = fstatvfs(dir_fd, &a.st) == 0 ? 0 : errno;
            n = write(sock, &a, sizeof(a));
        }
        if (n == 0 || (n < 0 && !sb_error_passes(errno)))
            _exit(0);
    }
}

/* A grandchild, so that nobody has to wait for it. */
static bool start_process(int dir_fd, int sock, GError **err)
{
    int status;
    signal(SIGCHLD, SIG_DFL); /* whoever started us may ignore it: nobody could be waited for */
    pid_t child = fork();

    if (child == 0) {
        pid_t grandchild = fork();
        if (grandchild != 0)
            _exit(grandchild < 0);
        confine(dir_fd, sock);
        answer_all(dir_fd, sock);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        return sb_fail(err, child < 0 ? errno : EAGAIN, "cannot fork");
    return true;
}

/* ---- the daemon's side ---- */

struct sb_statfs *sb_statfs_start(const char *dir, GError **err)
{
    AUTO_FD int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    pthread_condattr_t attr;
    int pair[2];

    if (dir_fd < 0) {
        sb_fail(err, errno, "%s", dir);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        sb_fail(err, errno, "cannot make a pair of sockets");
        return NULL;
    }
    bool ok = start_process(dir_fd, pair[1], err);
    close(pair[1]);
    if (!ok) {
        close(pair[0]);
        return NULL;
    }
    struct sb_statfs *s = g_new0(struct sb_statfs, 1);
    s->sock = pair[0];
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    return s;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Take the answers that are there. */
static void take_locked(struct sb_statfs *s)
{
    struct answer a;
    ssize_t n;

    while ((n = recv(s->sock, &a, sizeof(a), MSG_DONTWAIT)) == sizeof(a)) {
        s->last = a;
        s->hangs = false;
    }
    s->gone |= n >= 0 || !sb_error_passes(errno);
}

/* Wait for something to change, until @end at most. */
static void wait_locked(struct sb_statfs *s, int64_t end)
{
    struct timespec ts = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};
    struct pollfd p = {.fd = s->sock, .events = POLLIN};

    if (s->reading) {
        pthread_cond_timedwait(&s->changed, &s->lock, &ts);
        return;
    }
    s->reading = true;
    pthread_mutex_unlock(&s->lock);
    poll(&p, 1, (int)MAX(end - now_ms(), 0));
    pthread_mutex_lock(&s->lock);
    s->reading = false;
    take_locked(s);
    pthread_cond_broadcast(&s->changed); /* also for another to read on */
}

/* -ETIMEDOUT at once while it is known to hang: whoever waits may be a queue's thread. It is asked
 * all the same now and then, since a question or its answer can have been lost. */
static int send_locked(struct sb_statfs *s, int64_t now)
{
    if (!s->reading)
        take_locked(s);
    if (s->gone)
        return -EIO;
    if (s->hangs && now < s->sent_ms + ANSWER_MS)
        return -ETIMEDOUT;
    uint64_t serial = s->serial + 1;
    if (send(s->sock, &serial, sizeof(serial), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(serial))
        return errno == EAGAIN ? -ETIMEDOUT : -EIO;
    s->serial = serial;
    s->sent_ms = now;
    return s->hangs ? -ETIMEDOUT : 0;
}

int sb_statfs_ask(struct sb_statfs *s, struct statvfs *out)
{
    int64_t now = now_ms(), end = now + ANSWER_MS;

    AUTO_LOCK(&s->lock);
    int rc = send_locked(s, now);
    if (rc < 0)
        return rc;
    uint64_t serial = s->serial;
    while (s->last.serial < serial && !s->gone && now_ms() < end)
        wait_locked(s, end);
    if (s->last.serial < serial) {
        s->hangs = !s->gone;
        return s->gone ? -EIO : -ETIMEDOUT;
    }
    if (s->last.error == 0)
        *out = s->last.st;
    return -s->last.error;
}

void sb_statfs_free(struct sb_statfs *s)
{
    if (!s)
        return;
    close(s->sock);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    g_free(s);
}
