/* SPDX-License-Identifier: BSD-3-Clause
 * Whoever starts a virtio-fs daemon, played with his own words and habits (docs/callers.md): the
 * arguments as his source builds them, and what he waits for before he goes on. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/wire/wire.h"

enum waits {
    WAITS_SOCKET, /* for the socket's file */
    WAITS_LINE,   /* for the sentence on stderr */
    WAITS_PID,    /* for SOCKET.pid, by which he stops the daemon in the end */
    WAITS_NOT,    /* he listens himself, and passes the socket */
};

enum {
    ROW_NOBODY = 1 << 0,   /* started as an ordinary user without capabilities */
    ROW_IN_SHARE = 1 << 1, /* his working directory is the share */
    ROW_KILLS = 1 << 2,    /* stops it by SIGKILL */
    ROW_READONLY = 1 << 3,
    ROW_NAMESPACES = 1 << 4, /* says so himself */
};

#define SOCKET "$SOCKET"
#define DIR    "$DIR"
#define FD     "$FD" /* 31, as libvirt has it */

static const struct row {
    const char *name;
    enum waits waits;
    unsigned flags;
    const char *args[18];
} rows[] = {
    {"Kata, runtime-rs",
     WAITS_LINE,
     0,
     {"--socket-path", SOCKET, "--shared-dir", DIR, "--cache", "auto", "--thread-pool-size=1", "-o",
      "announce_submounts", "--xattr"}},
    {"Kata, Go",
     WAITS_NOT,
     ROW_KILLS,
     {"--syslog", "--cache=auto", "--shared-dir=$DIR", "--fd=$FD"}},
    {"Kata, older Go",
     WAITS_LINE,
     0,
     {"--fd=$FD", "-o", "source=$DIR", "-o", "cache=auto", "--syslog", "-o", "no_posix_lock",
      "-f"}},
    {"process-compose",
     WAITS_LINE,
     0,
     {"--socket-path=$SOCKET", "--shared-dir=$DIR", "--log-level=off", "--sandbox=chroot"}},
    {"virtme-ng",
     WAITS_PID,
     0,
     {"--syslog", "--no-announce-submounts", "--socket-path", SOCKET, "--shared-dir", DIR,
      "--sandbox", "none", "-o", "cache=always"}},
    {"virtme-ng after 1.41, another root",
     WAITS_PID,
     ROW_READONLY,
     {"--syslog", "--no-announce-submounts", "--posix-acl", "--readonly", "--socket-path", SOCKET,
      "--shared-dir", DIR, "--sandbox", "none", "--cache", "always"}},
    {"KubeVirt",
     WAITS_SOCKET,
     ROW_NOBODY,
     {"--socket-path=$SOCKET", "--shared-dir=$DIR", "--sandbox=none", "--cache=auto",
      "--migration-on-error=guest-error", "--migration-mode=find-paths"}},
    {"Incus, raw.idmap",
     WAITS_NOT,
     0,
     {"--fd=$FD", "--cache=never", "--shared-dir=$DIR", "--translate-uid=map:0:1000000:1000",
      "--translate-uid=forbid-guest:0:0", "--translate-uid=map:1000:1000:1",
      "--translate-uid=forbid-guest:1000:0", "--translate-uid=forbid-guest:1001:4294966294",
      "--translate-gid=map:0:1000000:65536", "--translate-gid=forbid-guest:0:0"}},
    {"Incus", WAITS_NOT, 0, {"--fd=$FD", "--cache=never", "--shared-dir", DIR, "--posix-acl=auto"}},
    {"LXD",
     WAITS_NOT,
     0,
     {"--fd=$FD", "--shared-dir", DIR, "--cache", "auto", "--allow-direct-io", "--thread-pool-size",
      "65535", "--xattr"}},
    {"Proxmox",
     WAITS_NOT,
     0,
     {"--fd=$FD", "--shared-dir=$DIR", "--xattr", "--posix-acl", "--announce-submounts",
      "--allow-direct-io", "--cache=auto", "--writeback", "--syslog"}},
    {"podman machine",
     WAITS_SOCKET,
     ROW_NOBODY | ROW_IN_SHARE,
     {"--sandbox", "none", "--socket-path", SOCKET, "--shared-dir", ".", "--seccomp=none"}},
    {"mkosi",
     WAITS_NOT,
     0,
     {"--shared-dir", DIR, "--xattr", "--no-announce-submounts", "--sandbox=chroot",
      "--inode-file-handles=never", "--log-level=error", "--modcaps=-mknod", "--fd", FD}},
    {"systemd-vmspawn",
     WAITS_NOT,
     0,
     {"--shared-dir", DIR, "--xattr", "--fd", FD, "--no-announce-submounts", "--log-level=error",
      "--modcaps=-mknod", "--translate-uid", "map:0:0:1"}},
    {"lima", WAITS_SOCKET, 0, {"--socket-path", SOCKET, "--shared-dir", DIR}},
    {"libvirt 9",
     WAITS_NOT,
     ROW_NAMESPACES,
     {"--fd=$FD", "-o", "source=$DIR,cache=always,sandbox=namespace,xattr,flock,posix_lock",
      "--thread-pool-size=4", "-d"}},
    {"libvirt 12",
     WAITS_NOT,
     ROW_READONLY,
     {"--fd=$FD", "--shared-dir", DIR, "--cache", "none", "--sandbox", "chroot", "--xattr",
      "--thread-pool-size=4", "--rlimit-nofile=4096", "--readonly"}},
    {"Cloud Hypervisor",
     WAITS_SOCKET,
     0,
     {"--log-level", "debug", "--socket-path=$SOCKET", "--shared-dir=$DIR", "--cache=never",
      "--thread-pool-size=4"}},
    {"microvm.nix",
     WAITS_SOCKET,
     0,
     {"--socket-path=$SOCKET", "--socket-group=0", "--shared-dir=$DIR", "--rlimit-nofile",
      "16384" /* there: 1048576, which needs the right to raise limits */, "--thread-pool-size",
      "2", "--posix-acl", "--xattr", "--inode-file-handles=prefer", "--tag=share"}},
    {"coreos-assembler, bcvk",
     WAITS_SOCKET,
     ROW_IN_SHARE,
     {"--sandbox", "none", "--socket-path", SOCKET, "--shared-dir", ".",
      "--modcaps=-mknod:-setfcap"}},
    {"crosvm, User-Mode Linux",
     WAITS_SOCKET,
     0,
     {"--shared-dir=$DIR", "--socket-path=$SOCKET", "--tag=share"}},
    {"QEMU's documentation of its own daemon",
     WAITS_SOCKET,
     0,
     {"--socket-path=$SOCKET", "-o", "source=$DIR", "-o", "cache=always"}},
};

static bool takes_fd(const struct row *r)
{
    for (unsigned i = 0; r->args[i]; i++) {
        if (strstr(r->args[i], FD))
            return true;
    }
    return false;
}

/* @text with the words above in place. */
static char *filled(struct wire *w, const char *text)
{
    const char *const words[][2] = {{SOCKET, w->socket}, {DIR, w->share}, {FD, "31"}};
    char *out = strdup(text);

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        char *at = strstr(out, words[i][0]), *more;
        if (!at)
            continue;
        assert_true(asprintf(&more, "%.*s%s%s", (int)(at - out), out, words[i][1],
                             at + strlen(words[i][0])) > 0);
        free(out);
        out = more;
    }
    return out;
}

static int listen_at_31(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(dup3(fd, 31, O_CLOEXEC), 31);
    close(fd);
    return 31;
}

static void start(struct wire *w, const struct row *r)
{
    static const char *const nobody[] = {
        "setpriv",         "--reuid=107",    "--regid=107", "--clear-groups", "--bounding-set=-all",
        "--inh-caps=-all", "--no-new-privs", NULL};
    char *args[20] = {0};
    unsigned n = 0;
    int fd = takes_fd(r) ? listen_at_31(w->socket) : -1;

    for (; r->args[n]; n++)
        args[n] = filled(w, r->args[n]);
    w->before = r->flags & ROW_NOBODY ? nobody : NULL;
    if (r->flags & ROW_IN_SHARE)
        assert_int_equal(chdir(w->share), 0);
    wire_exec(w, (const char *const *)args, fd);
    w->before = NULL;
    assert_int_equal(chdir("/"), 0);
    if (fd >= 0)
        close(fd);
    while (n > 0)
        free(args[--n]);
}

static pid_t pid_in(const char *socket)
{
    char path[128];
    int pid = 0;

    snprintf(path, sizeof(path), "%s.pid", socket);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%d\n", &pid) != 1)
        pid = 0;
    if (f)
        fclose(f);
    return pid;
}

static bool is_ready(struct wire *w, enum waits waits)
{
    switch (waits) {
    case WAITS_LINE:
        return fe_daemon_log_count(&w->d, "Waiting for vhost-user socket connection") > 0;
    case WAITS_PID:
        return pid_in(w->socket) > 0;
    default:
        return access(w->socket, F_OK) == 0;
    }
}

static void wait_ready(struct wire *w, const struct row *r)
{
    int64_t end = fe_now_ms() + FE_TIMEOUT_MS;

    while (!is_ready(w, r->waits)) {
        if (!fe_daemon_alive(&w->d) || fe_now_ms() > end) {
            char *log = fe_daemon_log(&w->d);
            fail_msg("%s: never ready; the daemon said: %s", r->name, log);
        }
        usleep(1000);
    }
}

/* A guest mounts, looks, and writes. */
static void use(struct wire *w, const struct row *r)
{
    struct fuse_entry_out e;
    uint64_t fh;

    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_node(w, "dir/file");
    int rc = fe_create(&w->f, FUSE_ROOT_ID, "made", O_RDWR, 0644, &e, &fh);
    if (rc != (r->flags & ROW_READONLY ? -EROFS : 0)) {
        char *log = fe_daemon_log(&w->d);
        fail_msg("%s: %d; the daemon said: %s", r->name, rc, log);
    }
    unlink(wire_path(w, "made"));
}

static void finish(struct wire *w, const struct row *r)
{
    bool by_us = r->flags & ROW_KILLS || r->waits == WAITS_PID;
    int status = -1;

    if (r->waits == WAITS_PID)
        assert_int_equal(kill(pid_in(w->socket), SIGTERM), 0);
    if (r->flags & ROW_KILLS)
        kill(w->d.pid, SIGKILL);
    if (!by_us)
        wire_hangup(w);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    if (r->flags & ROW_KILLS ? !WIFSIGNALED(status)
                             : !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s: status %#x", r->name, (unsigned)status);
    wire_hangup(w);
    fe_daemon_stop(&w->d);
}

static void clean(struct wire *w)
{
    char pid[128];

    snprintf(pid, sizeof(pid), "%s.pid", w->socket);
    unlink(w->socket);
    unlink(pid);
}

static void each_caller(void **state)
{
    struct wire *w = *state;
    bool emulated = getenv("MESON_EXE_WRAPPER") != NULL;

    /* As an ordinary user one gets that far. */
    assert_int_equal(chmod(w->dir, 0777), 0);
    assert_int_equal(chmod(w->share, 0777), 0);
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        bool namespaces = geteuid() == 0 && !emulated && !WIRE_SANITIZED;
        if (r->flags & (ROW_NOBODY | ROW_NAMESPACES) && !namespaces)
            continue;
        print_message("%s\n", r->name);
        start(w, r);
        wait_ready(w, r);
        use(w, r);
        finish(w, r);
        clean(w); /* where there is no keeper the files stay, and the next caller is another user */
    }
}

/* Whoever comes second is told who has the path; the first neither ends nor loses its files. */
static void two_on_one_path(void **state)
{
    struct wire *w = *state;
    struct fe_daemon first;
    int status;

    wire_spawn(w, NULL);
    wait_ready(w, &rows[0]);
    first = w->d;
    for (int i = 0; i < 3; i++) {
        wire_spawn(w, NULL);
        assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
        assert_int_equal(fe_daemon_log_count(&w->d, "is in use: process"), 1);
        fe_daemon_stop(&w->d);
        assert_int_equal(pid_in(w->socket), first.pid);
    }
    w->d = first;
    use(w, &rows[0]);
    wire_finish(w, 0);
}

/* The keeper removes what the daemon had made, and nothing else. */
static void files_at_the_end(void **state)
{
    struct wire *w = *state;

    wire_spawn(w, NULL);
    wait_ready(w, &rows[0]);
    use(w, &rows[0]);
    wire_hangup(w);
    int status;
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    if (w->mode == WIRE_SANDBOX) {
        assert_int_equal(access(w->socket, F_OK), -1);
        assert_int_equal(pid_in(w->socket), 0);
    }
    fe_daemon_stop(&w->d);
    /* Killed in the middle: what is left is taken over. */
    wire_spawn(w, NULL);
    wait_ready(w, &rows[0]);
    kill(w->d.pid, SIGKILL);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    fe_daemon_stop(&w->d);
    wire_spawn(w, NULL);
    wait_ready(w, &rows[0]);
    assert_int_equal(pid_in(w->socket), w->d.pid);
    use(w, &rows[0]);
    wire_finish(w, 0);
}

#define BOX(t)                                       \
    {                                                \
#t, t, wire_mode_sandbox, wire_cleanup, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {BOX(each_caller), BOX(two_on_one_path),
                                       BOX(files_at_the_end)};
    return cmocka_run_group_tests_name("wire-callers", tests, wire_make, wire_teardown);
}
