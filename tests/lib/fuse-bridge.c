/* SPDX-License-Identifier: BSD-3-Clause
 * Run a command over a share mounted by this machine's own FUSE client, at full speed and without a
 * guest: fuse-bridge --socket=PATH --mount=DIR [OPTION]... -- COMMAND [ARGUMENT]...
 *
 * The mount is in a private mount namespace, so nothing stays behind, whatever happens. A guard
 * ends a mount that hangs, by the kernel's own "abort". Exit code: the command's; 77 skipped, 124
 * too late, 125 the daemon or the bridge failed, 126 and 127 as shells have them. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/fe-bridge.h"
#include "tests/lib/fe-daemon.h"
#include "tests/lib/fe-time.h"

enum { SKIPPED = 77, LATE = 124, FAILED = 125 };

#define RING_SIZE 1024
#define GRACE_MS  20000 /* for an unmount, and for the daemon's last answers */

static const char *socket_path, *dir;
static unsigned queues = 1, seconds = 600;
static bool talk;

static struct fe_mem mem;
static struct fe_vhost vhost;
static struct fe_bridge bridge;
static int fuse = -1, abort_fd = -1, done_fd = -1, signals = -1;
static pid_t command;
static atomic_int failure; /* 0, LATE or FAILED */
static atomic_bool gone;   /* no answers are waited for any longer */

static void __attribute__((format(printf, 1, 2))) say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("fuse-bridge: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

static _Noreturn void __attribute__((format(printf, 2, 3))) leave(int code, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (code == SKIPPED)
        printf("skipped: %s\n", text);
    else
        say("%s", text);
    exit(code);
}

/* ---- the mount ---- */

static void enter_namespace(void)
{
    fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fuse < 0)
        leave(SKIPPED, "/dev/fuse: %s", strerror(errno));
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        leave(SKIPPED, "no private mount namespace: %s", strerror(errno));
}

/* The options that Linux' virtio-fs has set, as words. */
static void mount_share(void)
{
    char options[256];
    snprintf(
        options, sizeof(options),
        "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read=%u",
        fuse, FE_BRIDGE_DATA);
    if (mount("share", dir, "fuse.virtiofsd", 0, options) < 0)
        leave(errno == EPERM || errno == ENODEV ? SKIPPED : FAILED, "mounting on %s: %s", dir,
              strerror(errno));
}

/* The number under which the kernel knows the mount: of its device, which mountinfo has without
 * asking the file system. */
static int connection(void)
{
    char line[4096], where[2048], real[4096];
    unsigned minor = 0, found = 0;
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f || !realpath(dir, real))
        return -1;
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "%*d %*d 0:%u %*s %2047s", &minor, where) == 2 && strcmp(where, real) == 0)
            found = minor;
    fclose(f);
    return found ? (int)found : -1;
}

/* Open the file that ends the mount while that is still easy. Without it, closing /dev/fuse does.
 */
static void open_abort(int number)
{
    char path[64];
    mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, NULL);
    snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%d/abort", number);
    abort_fd = number < 0 ? -1 : open(path, O_WRONLY | O_CLOEXEC);
    if (abort_fd < 0)
        say("%s: %s", path, strerror(errno));
}

static void abort_mount(void)
{
    if (abort_fd >= 0 && write(abort_fd, "1", 1) == 1)
        return;
    umount2(dir, MNT_FORCE);
}

/* A process of the command may still be ending. */
static bool unmount(void)
{
    int64_t until = fe_now_ms() + GRACE_MS;
    while (umount2(dir, 0) < 0) {
        if (errno == EBUSY && fe_now_ms() < until) {
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
            continue;
        }
        say("unmounting %s: %s", dir, strerror(errno));
        umount2(dir, MNT_DETACH);
        abort_mount();
        return false;
    }
    return true;
}

/* ---- the guard: a thread that nothing of the mount can stop ---- */

enum { DONE, SIGNALS, SOCKET, RINGS };

/* Wait for one of the descriptors: its index, or -1 when time is up. */
static int watch(struct pollfd *p, unsigned n, int64_t until)
{
    for (;;) {
        int64_t left = until - fe_now_ms();
        int ready = poll(p, n, left > 0 ? (int)left : 0);
        if (ready == 0)
            return -1;
        for (unsigned i = 0; ready > 0 && i < n; i++)
            if (p[i].revents)
                return (int)i;
    }
}

static void give_up(const char *why, int as)
{
    say("%s", why);
    failure = as;
    abort_mount();
}

static void *guard(void *arg)
{
    struct pollfd p[RINGS + FE_MAX_RINGS] = {[DONE] = {done_fd, POLLIN, 0},
                                             [SIGNALS] = {signals, POLLIN, 0},
                                             [SOCKET] = {vhost.sock, POLLIN, 0}};
    unsigned n = RINGS;
    for (unsigned i = 0; i < vhost.nrings; i++)
        p[n++] = (struct pollfd){vhost.ring[i].err, POLLIN, 0};
    int64_t until = fe_now_ms() + 1000 * (int64_t)seconds;
    int what = watch(p, n, until);
    if (what >= SOCKET) {
        /* The command sees errors from now on, and may end by itself. */
        gone = true;
        give_up(what == SOCKET ? "the daemon has gone" : "the daemon has given up a ring", FAILED);
        what = watch(p, SOCKET, until);
    }
    if (what == DONE)
        return arg;
    fe_bridge_print_waiting(&bridge, 1000);
    kill(-command, SIGKILL);
    gone = true;
    give_up(what == SIGNALS ? "ended by a signal" : "too late", LATE);
    /* Nothing should hang any longer; if it does, the end of this process closes what is open. */
    if (watch(p, SIGNALS, fe_now_ms() + 2 * GRACE_MS) < 0)
        _exit(LATE);
    return arg;
}

/* ---- the command ---- */

static _Noreturn void become(char **argv)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setenv("BRIDGE_DIR", dir, 1);
    execvp(argv[0], argv);
    say("%s: %s", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

static int run(char **argv)
{
    int status = 0;
    command = fork();
    if (command < 0)
        leave(FAILED, "fork: %s", strerror(errno));
    if (command == 0)
        become(argv);
    setpgid(command, command);
    pthread_t t;
    if (pthread_create(&t, NULL, guard, NULL))
        leave(FAILED, "no thread");
    while (waitpid(command, &status, 0) < 0 && errno == EINTR)
        ;
    kill(-command, SIGKILL); /* what it left behind would keep the mount busy */
    if (!unmount() && !failure)
        failure = FAILED;
    if (fe_bridge_stop(&bridge, !gone, GRACE_MS) < 0 && !failure) {
        say("requests were not answered at the end");
        fe_bridge_print_waiting(&bridge, 0);
        failure = FAILED;
    }
    (void)eventfd_write(done_fd, 1);
    pthread_join(t, NULL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- start ---- */

static void join(void)
{
    struct fe_daemon none = {.pid = -1, .log_fd = -1};
    int sock = fe_daemon_connect(&none, socket_path, 0);
    if (sock < 0)
        leave(FAILED, "cannot connect to %s", socket_path);
    int e = fe_bridge_mem(&mem);
    if (e < 0)
        leave(FAILED, "memory: %s", strerror(-e));
    fe_vhost_init(&vhost, sock);
    e = fe_vhost_start(&vhost, &mem, queues + 1, RING_SIZE);
    if (e != 0)
        leave(FAILED, "the vhost-user handshake failed (%d)", e);
    mount_share();
    e = fe_bridge_start(&bridge, &vhost, fuse);
    if (e < 0)
        leave(FAILED, "%s", strerror(-e));
    open_abort(connection());
}

static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signals = signalfd(-1, &set, SFD_CLOEXEC);
    done_fd = eventfd(0, EFD_CLOEXEC);
}

static unsigned number(const char *text, unsigned max)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || n == 0 || n > max)
        leave(2, "a number from 1 to %u, please, not %s", max, text);
    return (unsigned)n;
}

static void options(int argc, char **argv)
{
    static const struct option known[] = {
        {"socket", required_argument, NULL, 's'}, {"mount", required_argument, NULL, 'm'},
        {"queues", required_argument, NULL, 'q'}, {"timeout", required_argument, NULL, 't'},
        {"verbose", no_argument, NULL, 'v'},      {0}};
    for (int c; (c = getopt_long(argc, argv, "+", known, NULL)) != -1;) {
        switch (c) {
        case 's':
            socket_path = optarg;
            break;
        case 'm':
            dir = optarg;
            break;
        case 'q':
            queues = number(optarg, FE_MAX_RINGS - 1);
            break;
        case 't':
            seconds = number(optarg, 1000000);
            break;
        case 'v':
            talk = true;
            break;
        default:
            exit(2);
        }
    }
    if (!socket_path || !dir || optind == argc)
        leave(2, "usage: fuse-bridge --socket=PATH --mount=DIR [--queues=N] [--timeout=SECONDS] "
                 "[--verbose] -- COMMAND [ARGUMENT]...");
}

int main(int argc, char **argv)
{
    options(argc, argv);
    if (geteuid() != 0)
        leave(SKIPPED, "mounting needs root");
    enter_namespace();
    block_signals();
    join();
    int code = run(argv + optind);
    if (talk)
        say("%llu requests, %llu forgotten, %llu interrupts dropped", bridge.served,
            bridge.forgotten, bridge.interrupts);
    if (bridge.wrong) {
        say("%llu answers were wrong", bridge.wrong);
        return FAILED;
    }
    return failure ? failure : code;
}
