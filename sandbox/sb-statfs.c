/* SPDX-License-Identifier: BSD-3-Clause
 * A process that stays outside of the sandbox with one directory, and tells the numbers of its file
 * system. The daemon itself holds no descriptor of that directory: from one it could walk to all of
 * the host's files. This process takes eight bytes from it and does nothing with them. */
/* #syscalls close recvfrom sendto
 * #syscalls:statfs exit_group fstatfs read write
 * #syscalls:early capset chdir clone openat prctl prlimit64 rt_sigaction rt_sigprocmask setsockopt
 * #syscalls:early socketpair wait4 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/trim.h"

#define ANSWER_SECONDS 3 /* a file system may hang */

struct sb_statfs {
    int sock;
    pthread_mutex_t lock; /* one question at a time */
    uint64_t serial;
};

struct answer {
    uint64_t serial; /* of the question */
    int error;       /* an errno value; 0: st is filled */
    struct statvfs st;
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
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    syscall(SYS_capset, &head, data);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    trim_startup_pages();
    sb_seccomp_apply(SB_THREAD_STATFS, SB_ACTION_KILL);
}

static G_NORETURN void answer_all(int dir_fd, int sock)
{
    struct answer a = {0};

    while (read(sock, &a.serial, sizeof(a.serial)) == sizeof(a.serial)) {
        a.error = fstatvfs(dir_fd, &a.st) == 0 ? 0 : errno;
        if (write(sock, &a, sizeof(a)) != sizeof(a))
            break;
    }
    _exit(0);
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
    static const struct timeval patience = {.tv_sec = ANSWER_SECONDS};
    AUTO_FD int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int pair[2];

    if (dir_fd < 0) {
        sb_fail(err, errno, "%s", dir);
        return NULL;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        sb_fail(err, errno, "cannot make a pair of sockets");
        return NULL;
    }
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    bool ok = start_process(dir_fd, pair[1], err);
    close(pair[1]);
    if (!ok) {
        close(pair[0]);
        return NULL;
    }
    struct sb_statfs *s = g_new0(struct sb_statfs, 1);
    s->sock = pair[0];
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

int sb_statfs_ask(struct sb_statfs *s, struct statvfs *out)
{
    AUTO_LOCK(&s->lock);
    uint64_t serial = ++s->serial;
    struct answer a;

    if (send(s->sock, &serial, sizeof(serial), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(serial))
        return errno == EAGAIN ? -ETIMEDOUT : -EIO;
    do { /* an answer may be to a question that was given up */
        ssize_t n = recv(s->sock, &a, sizeof(a), 0);
        if (n < 0 && errno == EAGAIN)
            return -ETIMEDOUT;
        if (n != sizeof(a))
            return -EIO; /* that process is gone */
    } while (a.serial != serial);
    if (a.error == 0)
        *out = a.st;
    return -a.error;
}

void sb_statfs_free(struct sb_statfs *s)
{
    if (!s)
        return;
    close(s->sock);
    pthread_mutex_destroy(&s->lock);
    g_free(s);
}
