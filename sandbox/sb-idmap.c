/* SPDX-License-Identifier: BSD-3-Clause
 * User namespaces: the ids that exist inside, and how they come to be.
 *
 * A process may map its own id by itself (user_namespaces(7)). Anything more takes somebody
 * outside the new namespace: a child forked before, the mapper, which is root and writes the maps
 * itself, or an ordinary user who has newuidmap(1) and newgidmap(1) do it from /etc/subuid. */
/* #syscalls:early clone close exit_group getegid geteuid getpid openat read rt_sigaction sendto
 * #syscalls:early socketpair unshare wait4 write */
#include <ctype.h>
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/log.h"

/* The two kinds of ids differ by these names only. */
struct id_kind {
    const char *option, *file, *tool, *subids;
};
static const struct id_kind uid_kind = {"--uid-map", "uid_map", "newuidmap", "/etc/subuid"};
static const struct id_kind gid_kind = {"--gid-map", "gid_map", "newgidmap", "/etc/subgid"};

static bool is_single(const struct sb_idmaps *maps, uint32_t own)
{
    return maps->n == 0 || (maps->n == 1 && maps->map[0].count == 1 && maps->map[0].outside == own);
}

bool sb_idmap_is_single(const struct sb_config *cfg)
{
    return is_single(&cfg->uid_map, geteuid()) && is_single(&cfg->gid_map, getegid());
}

void sb_idmap_tell_single(void)
{
    log_info("only one user id exists in the sandbox: changing owners, device nodes and file "
             "handles are refused (see --uid-map, --gid-map)");
}

/* The daemon is user and group 0 of its namespace, so that must exist. */
static bool maps_zero(const struct id_kind *kind, const struct sb_idmap *map, unsigned n,
                      GError **err)
{
    for (unsigned i = 0; i < n; i++) {
        if (map[i].inside == 0)
            return true;
    }
    if (n == 0)
        return true;
    return sb_fail(err, EINVAL, "%s must give id 0 inside a meaning", kind->option);
}

static bool write_file(const char *path, const char *text, GError **err)
{
    AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        return sb_fail(err, errno, "cannot write '%s' to %s", text, path);
    return true;
}

/* ---- the mapper: a child outside the new namespace ---- */

static bool write_map(const struct id_kind *kind, pid_t pid, const struct sb_idmap *map, unsigned n,
                      GError **err)
{
    g_autoptr(GString) text = g_string_new(NULL);
    char path[64];

    for (unsigned i = 0; i < n; i++)
        g_string_append_printf(text, "%u %u %u\n", map[i].inside, map[i].outside, map[i].count);
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, kind->file);
    return write_file(path, text->str, err);
}

static bool run_map_tool(const struct id_kind *kind, pid_t pid, const struct sb_idmap *map,
                         unsigned n, GError **err)
{
    char number[2 + 3 * SB_MAX_MAPS][12];
    char *argv[3 + 3 * SB_MAX_MAPS] = {(char *)kind->tool, number[0]};
    unsigned argc = 2;

    snprintf(number[0], sizeof(number[0]), "%d", pid);
    for (unsigned i = 0; i < n; i++) {
        const uint32_t field[3] = {map[i].inside, map[i].outside, map[i].count};
        for (unsigned j = 0; j < 3; j++) {
            snprintf(number[argc - 1], sizeof(number[0]), "%u", field[j]);
            argv[argc] = number[argc - 1];
            argc++;
        }
    }
    pid_t tool;
    int status, r = posix_spawnp(&tool, kind->tool, NULL, NULL, argv, environ);
    if (r)
        return sb_fail(err, r, "cannot run %s (install the package uidmap or shadow-utils)",
                       kind->tool);
    if (waitpid(tool, &status, 0) != tool || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return sb_fail(err, EPERM, "%s refused %s (is the range yours in %s?)", kind->tool,
                       kind->option, kind->subids);
    return true;
}

static bool map_from_outside(const struct id_kind *kind, pid_t pid, const struct sb_idmap *map,
                             unsigned n, GError **err)
{
    return geteuid() == 0 ? write_map(kind, pid, map, n, err)
                          : run_map_tool(kind, pid, map, n, err);
}

struct mapper {
    pid_t pid;
    int fd; /* a byte goes out when the namespace exists; an error text comes back, or nothing */
};

/* Body of the mapper process. */
static G_NORETURN void mapper_main(const struct sb_config *cfg, pid_t target, int fd)
{
    g_autoptr(GError) err = NULL;
    char go;

    if (read(fd, &go, 1) != 1)
        _exit(0);
    bool single_uid = is_single(&cfg->uid_map, geteuid());
    bool single_gid = is_single(&cfg->gid_map, getegid());
    if ((!single_gid &&
         !map_from_outside(&gid_kind, target, cfg->gid_map.map, cfg->gid_map.n, &err)) ||
        (!single_uid &&
         !map_from_outside(&uid_kind, target, cfg->uid_map.map, cfg->uid_map.n, &err)))
        (void)!write(fd, err->message, strlen(err->message));
    _exit(0);
}

static bool mapper_start(struct mapper *m, const struct sb_config *cfg, GError **err)
{
    int pair[2];
    pid_t target = getpid();

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return sb_fail(err, errno, "cannot make a socket pair");
    m->pid = fork();
    if (m->pid == 0) {
        close(pair[0]);
        signal(SIGCHLD, SIG_DFL);
        mapper_main(cfg, target, pair[1]);
    }
    int e = errno;
    close(pair[1]);
    m->fd = pair[0];
    if (m->pid > 0)
        return true;
    close(pair[0]);
    return sb_fail(err, e, "cannot fork");
}

/* Have it do its work (@go) or leave, and wait for it. */
static bool mapper_finish(struct mapper *m, bool go, GError **err)
{
    char text[512];
    ssize_t n = 0;

    if (go && send(m->fd, "", 1, MSG_NOSIGNAL) == 1)
        n = read(m->fd, text, sizeof(text));
    close(m->fd);
    waitpid(m->pid, NULL, 0);
    if (n == 0)
        return true;
    g_set_error(err, SB_ERROR, EPERM, "%.*s", n < 0 ? 0 : (int)n, text);
    return false;
}

/* ---- entering ---- */

/* One line on why a user namespace cannot be had, and what to do. */
static bool explain(int e, GError **err)
{
    if (sb_read_number("/proc/sys/kernel/unprivileged_userns_clone", 1) == 0)
        return sb_fail(err, e,
                       "cannot make a user namespace: set the sysctl "
                       "kernel.unprivileged_userns_clone=1, or run as root");
    if (sb_read_number("/proc/sys/user/max_user_namespaces", 1) == 0 || e == ENOSPC)
        return sb_fail(err, e,
                       "cannot make a user namespace: raise the sysctl user.max_user_namespaces, "
                       "or run as root");
    if (sb_read_number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 0) == 1)
        return sb_fail(err, e,
                       "cannot use a user namespace: give the daemon an AppArmor profile with "
                       "'userns', or set the sysctl "
                       "kernel.apparmor_restrict_unprivileged_userns=0");
    return sb_fail_namespace(err, e, true, "cannot make a user namespace");
}

/* Map our own id, the only one an ordinary process may map by itself. */
static bool map_self(const struct id_kind *kind, uint32_t own, GError **err)
{
    struct sb_idmap one = {0, own, 1};
    return write_map(kind, getpid(), &one, 1, err);
}

static bool map_all(const struct sb_config *cfg, struct mapper *m, uint32_t uid, uint32_t gid,
                    GError **err)
{
    bool single_gid = is_single(&cfg->gid_map, gid);
    bool single_uid = is_single(&cfg->uid_map, uid);

    if (m->pid && !mapper_finish(m, true, err))
        return false;
    if (single_gid &&
        (!write_file("/proc/self/setgroups", "deny", err) || !map_self(&gid_kind, gid, err)))
        return false;
    return !single_uid || map_self(&uid_kind, uid, err);
}

bool sb_userns_enter(const struct sb_config *cfg, int flags, GError **err)
{
    struct mapper m = {0};
    uint32_t uid = geteuid(), gid = getegid();

    if (!maps_zero(&uid_kind, cfg->uid_map.map, cfg->uid_map.n, err) ||
        !maps_zero(&gid_kind, cfg->gid_map.map, cfg->gid_map.n, err))
        return false;
    if ((!is_single(&cfg->uid_map, uid) || !is_single(&cfg->gid_map, gid)) &&
        !mapper_start(&m, cfg, err))
        return false;
    if (unshare(CLONE_NEWUSER | flags) < 0) {
        int e = errno;
        if (m.pid)
            mapper_finish(&m, false, NULL);
        return explain(e, err);
    }
    return map_all(cfg, &m, uid, gid, err);
}
