/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fe-daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/fe-time.h"

#define MAX_PROCS 16

int fe_daemon_spawn(struct fe_daemon *d, char *const argv[], int keep_fd)
{
    *d = (struct fe_daemon){.pid = -1};
    d->log_fd = memfd_create("daemon-log", MFD_CLOEXEC);
    if (d->log_fd < 0)
        return -errno;
    (void)fcntl(d->log_fd, F_SETFL, O_APPEND);
    pid_t parent = getpid();
    /* The child only makes system calls; start-up time is measured. NOLINTNEXTLINE */
    d->pid = vfork();
    if (d->pid < 0) {
        close(d->log_fd);
        return -errno;
    }
    if (d->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(126);
        dup2(d->log_fd, STDOUT_FILENO);
        dup2(d->log_fd, STDERR_FILENO);
        if (keep_fd >= 0)
            (void)fcntl(keep_fd, F_SETFD, 0);
        execvp(argv[0], argv);
        _exit(127);
    }
    return 0;
}

int fe_daemon_connect(struct fe_daemon *d, const char *path, int ms)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(sa.sun_path))
        return -ENAMETOOLONG;
    strcpy(sa.sun_path, path);
    int64_t end = fe_now_ms() + ms;
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -errno;
        if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
            return fd;
        close(fd);
        if (!fe_daemon_alive(d))
            return FE_EGONE;
        if (fe_now_ms() > end)
            return FE_ETIMEOUT;
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
    }
}

bool fe_daemon_alive(struct fe_daemon *d)
{
    siginfo_t si = {0};
    if (d->pid <= 0)
        return false;
    return waitid(P_PID, (id_t)d->pid, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid == 0;
}

int fe_daemon_wait(struct fe_daemon *d, int *status, int ms)
{
    int64_t end = fe_now_ms() + ms;
    while (d->pid > 0) {
        if (waitpid(d->pid, status, WNOHANG) == d->pid) {
            d->pid = -1;
            return 0;
        }
        if (fe_now_ms() > end)
            return FE_ETIMEOUT;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return FE_EGONE;
}

int fe_daemon_stop(struct fe_daemon *d)
{
    int status = -1;
    if (d->pid > 0) {
        kill(d->pid, SIGTERM);
        if (fe_daemon_wait(d, &status, 2000) == FE_ETIMEOUT) {
            kill(d->pid, SIGKILL);
            fe_daemon_wait(d, &status, 2000);
        }
    }
    if (d->log_fd >= 0)
        close(d->log_fd);
    free(d->socket);
    *d = (struct fe_daemon){.pid = -1, .log_fd = -1};
    return status;
}

char *fe_daemon_log(struct fe_daemon *d)
{
    struct stat st;
    if (fstat(d->log_fd, &st) < 0)
        st.st_size = 0;
    char *text = calloc(1, (size_t)st.st_size + 1);
    if (text && pread(d->log_fd, text, (size_t)st.st_size, 0) < 0)
        text[0] = '\0';
    return text;
}

unsigned fe_daemon_log_count(struct fe_daemon *d, const char *text)
{
    char *log = fe_daemon_log(d);
    unsigned n = 0;
    for (char *p = log; p && (p = strstr(p, text)); p += strlen(text))
        n++;
    free(log);
    return n;
}

/* The process and its descendants. Returns how many. */
static unsigned tree(pid_t pid, pid_t *out, unsigned n)
{
    if (n == MAX_PROCS)
        return n;
    out[n++] = pid;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return n;
    int child;
    while (fscanf(f, "%d", &child) == 1)
        n = tree(child, out, n);
    fclose(f);
    return n;
}

uint64_t fe_daemon_cpu_ns(const struct fe_daemon *d)
{
    pid_t p[MAX_PROCS];
    unsigned n = tree(d->pid, p, 0);
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++) {
        clockid_t clock;
        struct timespec ts;
        if (clock_getcpuclockid(p[i], &clock) == 0 && clock_gettime(clock, &ts) == 0)
            sum += (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
    }
    return sum;
}

static uint64_t rss_of(pid_t pid)
{
    char path[64], line[128];
    unsigned long long rss = 0, shmem = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof(line), f)) {
        sscanf(line, "VmRSS: %llu", &rss);
        sscanf(line, "RssShmem: %llu", &shmem);
    }
    fclose(f);
    return rss - shmem;
}

uint64_t fe_daemon_rss_kib(const struct fe_daemon *d)
{
    pid_t p[MAX_PROCS];
    unsigned n = tree(d->pid, p, 0);
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += rss_of(p[i]);
    return sum;
}

/* Call @fn for each numbered entry of /proc/PID/@what of the whole tree. Returns their number. */
static unsigned each(const struct fe_daemon *d, const char *what, void (*fn)(pid_t id, int arg),
                     int arg)
{
    pid_t p[MAX_PROCS];
    unsigned n = tree(d->pid, p, 0), count = 0;
    for (unsigned i = 0; i < n; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/%s", (int)p[i], what);
        DIR *dir = opendir(path);
        for (struct dirent *e; dir && (e = readdir(dir));) {
            if (e->d_name[0] == '.')
                continue;
            count++;
            if (fn)
                fn(atoi(e->d_name), arg);
        }
        if (dir)
            closedir(dir);
    }
    return count;
}

unsigned fe_daemon_fds(const struct fe_daemon *d)
{
    return each(d, "fd", NULL, 0);
}

static void pin(pid_t tid, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (cpu < 0 || cpu == i)
            CPU_SET((size_t)i, &set);
    sched_setaffinity(tid, sizeof(set), &set);
}

void fe_daemon_pin(const struct fe_daemon *d, int cpu)
{
    each(d, "task", pin, cpu);
}
