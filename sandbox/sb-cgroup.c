/* SPDX-License-Identifier: BSD-3-Clause
 * Control groups: a manager who moves the process that he started, as libvirt does with what it
 * adds to a running machine, moves the keeper, and means the daemon.
 *
 * Facts: /proc/PID/cgroup has a line "ID:CONTROLLERS:PATH" for each hierarchy (cgroups(7)), with ID
 * 0 and no controllers for the unified one. Hierarchies are mounted below /sys/fs/cgroup by the
 * name of their controllers, the unified one there itself or, beside others, as "unified". */
/* #syscalls:early close openat read write */
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/auto.h"

#define TABLE_MAX 8192 /* what does not fit is no place of ours to follow to */

/* Read the groups of a process at @path below @root_fd: whole lines only. False when they cannot
 * be read. */
static bool read_table(int root_fd, const char *path, char text[TABLE_MAX])
{
    AUTO_FD int fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 0, len = 0;

    while (fd >= 0 && (n = read(fd, text + len, (size_t)(TABLE_MAX - 1 - len))) > 0)
        len += n;
    if (fd < 0 || n < 0)
        return false;
    text[len] = '\0';
    char *end = strrchr(text, '\n');
    text[end ? end + 1 - text : 0] = '\0';
    return true;
}

/* Write @pid where the group @path of a hierarchy is, if that is mounted at @mount. */
static bool enter_at(int root_fd, const char *mount, const char *path, pid_t pid)
{
    char name[PATH_MAX], text[16];
    int n = snprintf(name, sizeof(name), "sys/fs/cgroup%s%s/cgroup.procs", mount, path);
    if (n < 0 || (size_t)n >= sizeof(name))
        return false;
    AUTO_FD int fd = openat(root_fd, name, O_WRONLY | O_CLOEXEC);
    n = snprintf(text, sizeof(text), "%d\n", (int)pid);
    return fd >= 0 && write(fd, text, (size_t)n) == n;
}

/* @line without its end: "4:memory:/machine/x". */
static bool enter(int root_fd, const char *line, pid_t pid)
{
    char mount[128];
    const char *controllers = strchr(line, ':');
    const char *path = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!path || path[1] != '/' || strncmp(path + 1, "/..", 3) == 0)
        return false; /* outside of what this namespace of control groups shows */
    path += strcmp(path + 1, "/") == 0 ? 2 : 1;
    int len = (int)(strchr(controllers + 1, ':') - controllers - 1);
    if (len == 0)
        return enter_at(root_fd, "/unified", path, pid) || enter_at(root_fd, "", path, pid);
    const char *name = g_str_has_prefix(controllers + 1, "name=") ? controllers + 6 : NULL;
    snprintf(mount, sizeof(mount), "/%.*s", name ? len - 5 : len, name ? name : controllers + 1);
    return enter_at(root_fd, mount, path, pid);
}

/* Whether @table has @line as one of its own. */
static bool has_line(const char *table, const char *line, size_t len)
{
    for (const char *p = table; *p; p = strchr(p, '\n') + 1) {
        if (strncmp(p, line, len) == 0 && p[len] == '\n')
            return true;
    }
    return false;
}

/* Move @pid to the groups @ours. */
static unsigned follow_one(int root_fd, char *ours, pid_t pid)
{
    char theirs[TABLE_MAX], path[32];
    unsigned moved = 0;

    snprintf(path, sizeof(path), "proc/%d/cgroup", (int)pid);
    if (!read_table(root_fd, path, theirs))
        return 0;
    char *end;
    for (char *line = ours; *line; line = end + 1) {
        end = strchr(line, '\n');
        if (has_line(theirs, line, (size_t)(end - line)))
            continue;
        *end = '\0';
        moved += enter(root_fd, line, pid);
        *end = '\n';
    }
    return moved;
}

/* Numbers and spaces, of any length. */
struct numbers {
    int fd;
    char text[512];
    ssize_t len, at;
};

/* The next byte, or -1. */
static int next_byte(struct numbers *n)
{
    if (n->at == n->len) {
        n->at = 0;
        n->len = read(n->fd, n->text, sizeof(n->text));
    }
    return n->at < n->len ? n->text[n->at++] : -1;
}

/* The next process, or 0: it was the last, or that is none. */
static pid_t next_pid(struct numbers *n)
{
    int64_t pid = 0;
    int c;

    while ((c = next_byte(n)) >= '0' && c <= '9') {
        pid = pid * 10 + c - '0';
        if (pid > INT_MAX)
            return 0;
    }
    return c == ' ' || c == '\n' || (c < 0 && n->len == 0) ? (pid_t)pid : 0;
}

unsigned sb_cgroup_follow(int root_fd, pid_t pid)
{
    char ours[TABLE_MAX], path[64];

    if (!read_table(root_fd, "proc/self/cgroup", ours))
        return 0;
    unsigned moved = follow_one(root_fd, ours, pid);
    /* Those of its main thread: the broker. */
    snprintf(path, sizeof(path), "proc/%d/task/%d/children", (int)pid, (int)pid);
    AUTO_FD int fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC);
    struct numbers children = {.fd = fd};
    pid_t child;
    while (fd >= 0 && (child = next_pid(&children)) > 0)
        moved += follow_one(root_fd, ours, child);
    return moved;
}
