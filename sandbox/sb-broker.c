/* SPDX-License-Identifier: BSD-3-Clause
 * The broker: a process beside the daemon that holds CAP_DAC_READ_SEARCH in its place, and nothing
 * else. It ends when the daemon does: its channels hang up, and the kernel kills it besides. */
/* #syscalls:broker close exit_group getpid recvmsg rt_sigaction rt_sigprocmask sendmsg
 * #syscalls:early chdir clone getppid getrandom prctl prlimit64 setsockopt socketpair */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/sb-handles.h"
#include "sandbox/sb-priv.h"
#include "virtiofsd/base/auto.h"

#define STACK   (128 * 1024)
#define MAX_FDS 1024 /* what it holds: mounts, and a batch for each channel */

struct broker {
    struct sb_handles *handles;
    enum sb_action action;
    int channel[BROKER_CHANNELS];
};

struct channel {
    struct broker *b;
    int fd;
};

/* ---- one channel ---- */

union fd_room {
    struct cmsghdr head;
    char room[CMSG_SPACE(BROKER_BATCH * sizeof(int))];
};

static unsigned take_fds(struct msghdr *m, int fds[BROKER_BATCH])
{
    unsigned n = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), n * sizeof(int));
    }
    return n;
}

/* 0 or errno. */
static int send_once(int channel, const struct broker_reply *r, size_t len, int fd)
{
    struct iovec iov = {(void *)r, len};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
    }
    ssize_t n;
    do
        n = sendmsg(channel, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? errno : 0;
}

/* Returns whether somebody is there to read it. A descriptor may not go (how many are in flight is
 * counted for all processes of the user): then the daemon hears that, and waits for none. */
static bool send_reply(int channel, struct broker_reply *r, size_t len, int fd)
{
    int error = send_once(channel, r, len, fd);

    if (fd >= 0 && sb_error_passes(error)) {
        r->error = ENFILE;
        error = send_once(channel, r, len, -1);
    }
    return error == 0 || sb_error_passes(error);
}

/* Answer one message. An empty one and a hang-up look alike: the answer tells. */
static bool serve_one(struct broker *b, int channel)
{
    struct broker_request req;
    struct broker_reply reply;
    int fds[BROKER_BATCH], fd = -1;
    struct iovec iov = {&req, sizeof(req)};
    union fd_room control;
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};

    ssize_t n = recvmsg(channel, &m, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return sb_error_passes(errno);
    unsigned nfds = take_fds(&m, fds);
    size_t said = (size_t)n + (m.msg_flags & MSG_TRUNC ? 1 : 0);
    unsigned came = m.msg_flags & MSG_CTRUNC ? BROKER_BATCH + 1 : nfds;
    size_t len = sb_handles_answer(b->handles, &req, said, fds, came, &reply, &fd);
    for (unsigned i = 0; i < nfds; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    bool heard = send_reply(channel, &reply, len, fd);
    if (fd >= 0)
        close(fd);
    return heard;
}

static void *serve(void *arg)
{
    struct channel *c = arg;

    if (sb_seccomp_apply(SB_THREAD_BROKER, c->b->action) != 0)
        _exit(1);
    while (serve_one(c->b, c->fd))
        ;
    _exit(0);
}

/* ---- the process ---- */

/* What is left is the channels, the one capability, and the standard descriptors. */
static bool drop_privileges(const struct broker *b, GError **err)
{
    static const struct rlimit no_core = {0, 0}, few = {MAX_FDS, MAX_FDS};

    (void)!chdir("/");
    sb_close_inherited(b->channel, BROKER_CHANNELS);
    setrlimit(RLIMIT_CORE, &no_core);
    setrlimit(RLIMIT_NOFILE, &few);
    prctl(PR_SET_NAME, "fs-broker");
    return sb_caps_keep(UINT64_C(1) << CAP_DAC_READ_SEARCH, err) &&
           /* Nor may one of the same user look into its memory, where the key is. */
           prctl(PR_SET_DUMPABLE, 0) == 0;
}

static G_NORETURN void run(struct broker *b, pid_t daemon)
{
    static struct channel channels[BROKER_CHANNELS];
    uint8_t key[SB_HANDLES_KEY];
    sigset_t all;
    pthread_attr_t attr;
    GError *err = NULL;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL); /* those of a terminal are the daemon's to follow */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != daemon || !drop_privileges(b, &err) ||
        getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
        _exit(1);
    b->handles = sb_handles_new(key);
    explicit_bzero(key, sizeof(key));
    if (!b->handles)
        _exit(1);
    mallopt(M_ARENA_MAX, 1); /* a code is a few hundred bytes for a moment */
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    for (unsigned i = 0; i < BROKER_CHANNELS; i++) {
        pthread_t thread;
        channels[i] = (struct channel){b, b->channel[i]};
        if (i > 0 && pthread_create(&thread, &attr, serve, &channels[i]) != 0)
            _exit(1);
    }
    serve(&channels[0]);
    _exit(1);
}

static void close_all(int fds[BROKER_CHANNELS], unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
}

/* Nobody waits for the broker without a bound. */
static bool make_channel(int *ours, int *theirs)
{
    static const struct timeval wait = {.tv_sec = BROKER_WAIT_S};
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    *ours = pair[0];
    *theirs = pair[1];
    return setsockopt(*ours, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0 &&
           setsockopt(*ours, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) == 0;
}

bool sb_broker_start(const struct sb_config *cfg, struct sb_result *out, GError **err)
{
    struct broker b = {.action = cfg->seccomp == SB_ACTION_NONE ? SB_ACTION_NONE : SB_ACTION_KILL};
    pid_t self = getpid();

    if (!sb_caps_have(CAP_DAC_READ_SEARCH) || cfg->caps_del & UINT64_C(1) << CAP_DAC_READ_SEARCH)
        return true;
    for (; out->channels < BROKER_CHANNELS; out->channels++) {
        if (!make_channel(&out->channel[out->channels], &b.channel[out->channels]))
            break;
    }
    pid_t pid = out->channels == BROKER_CHANNELS ? fork() : -1;
    int code = errno;
    if (pid == 0) {
        close_all(out->channel, out->channels);
        run(&b, self);
    }
    close_all(b.channel, out->channels);
    if (pid < 0)
        return sb_fail(err, code, "cannot start the process that opens files by their handles");
    signal(SIGCHLD, SIG_IGN); /* nobody waits for its end */
    return true;
}
