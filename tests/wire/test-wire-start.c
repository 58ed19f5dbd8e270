/* SPDX-License-Identifier: BSD-3-Clause
 * The daemon's socket and its end: a path, a stale path, a path in use, a listening or connected
 * descriptor, one connection or many, signals. */
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

static int listen_at(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

/* Start with --fd=@fd in place of a path. */
static void spawn_fd(struct wire *w, int fd, const char *extra)
{
    char opt[32], dir[128];
    snprintf(opt, sizeof(opt), "--fd=%d", fd);
    snprintf(dir, sizeof(dir), "--shared-dir=%s", w->share);
    wire_exec(w, (const char *const[]){opt, dir, extra, NULL}, fd);
}

/* Mount, look, hang up; the daemon may live on. */
static void one_session(struct wire *w)
{
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_node(w, "dir/file");
    wire_hangup(w);
}

static int knock(struct wire *w, const void *bytes, size_t len)
{
    int fd = fe_daemon_connect(&w->d, w->socket, FE_TIMEOUT_MS);
    assert_true(fd >= 0);
    if (len > 0)
        assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    return fd;
}

/* The daemon ends by itself with @code and says @text. */
static void ends(struct wire *w, int code, const char *text)
{
    int status = -1;
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != code || (text && !fe_daemon_log_count(&w->d, text))) {
        char *log = fe_daemon_log(&w->d);
        print_message("exit code %d; the daemon said: %s\n", WEXITSTATUS(status), log);
        free(log);
        fail();
    }
    fe_daemon_stop(&w->d);
}

static void exits_when_alone(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, NULL);
    one_session(w);
    ends(w, 0, NULL);
    wire_spawn(w, NULL); /* on what the first one left */
    one_session(w);
    ends(w, 0, NULL);
}

/* Whoever started us has closed the standard descriptors: no file of ours gets their numbers. */
static void without_standard_fds(void **state)
{
    struct wire *w = *state;
    char socket[128], share[128], name[64], target[32] = "";
    struct stat st;
    if (getenv("MESON_EXE_WRAPPER"))
        skip(); /* the emulator's descriptors would be seen */
    snprintf(socket, sizeof(socket), "--socket-path=%s", w->socket);
    snprintf(share, sizeof(share), "--shared-dir=%s", w->share);
    unlink(w->socket);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (int fd = 0; fd < 3; fd++)
            close(fd);
        execl(getenv("VIRTIOFSD"), "virtiofsd", socket, share, "--sandbox=none", NULL);
        _exit(127);
    }
    for (unsigned i = 0; i < 1000 && stat(w->socket, &st) < 0; i++)
        usleep(10000);
    for (int fd = 0; fd < 3; fd++) {
        snprintf(name, sizeof(name), "/proc/%d/fd/%d", (int)pid, fd);
        ssize_t n = readlink(name, target, sizeof(target) - 1);
        target[n < 0 ? 0 : n] = 0;
        assert_string_equal(target, "/dev/null");
    }
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void relisten(void **state)
{
    struct wire *w = *state;
    static const char *const extra[] = {"--relisten", NULL};
    wire_spawn(w, extra);
    unsigned fds = 0;
    for (int i = 0; i < 5; i++) {
        one_session(w);
        assert_true(fe_daemon_alive(&w->d));
        wire_connect(w); /* it has closed everything of the last one by the time it accepts */
        uint64_t v;
        assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &v), 0);
        unsigned now = fe_daemon_fds(&w->d);
        assert_true(i == 0 || now == fds);
        fds = now;
        wire_hangup(w);
    }
    kill(w->d.pid, SIGTERM);
    ends(w, 0, NULL);
}

/* Nothing of one guest is left for the next. */
static void relisten_drops_state(void **state)
{
    struct wire *w = *state;
    static const char *const extra[] = {"--relisten", NULL};
    wire_spawn(w, extra);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    uint64_t node = wire_node(w, "big"), fh = 0;
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    wire_hangup(w);
    wire_rings(w);
    assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), -EIO); /* not before INIT */
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    char buf[16];
    assert_true(fe_getattr(&w->f, node, NULL) < 0);
    assert_true(fe_read(&w->f, node, fh, 0, buf, 16) < 0);
    wire_alive(w);
}

static void stale_socket(void **state)
{
    struct wire *w = *state;
    int fd = listen_at(w->socket);
    close(fd); /* the file stays, nobody listens */
    assert_int_equal(access(w->socket, F_OK), 0);
    wire_spawn(w, NULL);
    one_session(w);
    ends(w, 0, NULL);
}

static void socket_in_use(void **state)
{
    struct wire *w = *state;
    int fd = listen_at(w->socket);
    wire_spawn(w, NULL);
    ends(w, 1, w->socket);
    assert_int_equal(access(w->socket, F_OK), 0); /* the other's socket is left alone */
    close(fd);
    unlink(w->socket);
}

/* A file that is no socket is not removed. */
static void not_a_socket(void **state)
{
    struct wire *w = *state;
    int fd = open(w->socket, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    wire_spawn(w, NULL);
    ends(w, 1, w->socket);
    assert_int_equal(access(w->socket, F_OK), 0);
    unlink(w->socket);
}

static void socket_mode(void **state)
{
    struct wire *w = *state;
    struct stat st;
    mode_t old = umask(0);
    wire_spawn(w, NULL);
    umask(old);
    close(knock(w, NULL, 0));
    assert_int_equal(stat(w->socket, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    one_session(w);
    ends(w, 0, NULL);
}

static void listening_fd(void **state)
{
    struct wire *w = *state;
    int fd = listen_at(w->socket);
    spawn_fd(w, fd, NULL);
    close(fd);
    one_session(w);
    ends(w, 0, NULL);
    unlink(w->socket);
}

static void listening_fd_relisten(void **state)
{
    struct wire *w = *state;
    int fd = listen_at(w->socket);
    spawn_fd(w, fd, "--relisten");
    close(fd);
    one_session(w);
    one_session(w);
    assert_true(fe_daemon_alive(&w->d));
    unlink(w->socket);
}

static void connected_fd(void **state)
{
    struct wire *w = *state;
    int s[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
    spawn_fd(w, s[1], NULL);
    close(s[1]);
    fe_vhost_init(&w->v, s[0]);
    assert_int_equal(fe_vhost_negotiate(&w->v, ~0ULL, ~0ULL), 0);
    wire_hangup(w);
    ends(w, 0, NULL);
}

static void bad_fd(void **state)
{
    struct wire *w = *state;
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    spawn_fd(w, fd, NULL);
    close(fd);
    ends(w, 1, "socket");
    int u = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    spawn_fd(w, u, NULL);
    close(u);
    ends(w, 1, "socket");
}

static void no_such_share(void **state)
{
    struct wire *w = *state;
    static const char *const options[] = {"--socket-path=/nonexistent/s",
                                          "--shared-dir=/nonexistent/d", NULL};
    wire_exec(w, options, -1);
    ends(w, 1, "/nonexistent/");
}

/* ---- who connects and is no front-end ---- */

/* A probe, half a header, a header whose message does not follow, another protocol. */
static void knock_in_each_way(struct wire *w)
{
    static const uint32_t header[3] = {VU_SET_FEATURES, VU_VERSION, 8};
    static const char other[] = "GET / HTTP/1.0\r\n\r\n";
    const struct {
        const void *bytes;
        size_t len;
    } ways[] = {{NULL, 0}, {header, 5}, {header, sizeof(header)}, {other, sizeof(other) - 1}};

    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
        close(knock(w, ways[i].bytes, ways[i].len));
}

static void not_a_front_end(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, NULL);
    knock_in_each_way(w);
    one_session(w);
    ends(w, 0, "before its first message");
}

static void not_a_front_end_fd(void **state)
{
    struct wire *w = *state;
    static const char *const extra[] = {NULL, "--relisten", "--thread-pool-size=2"};
    for (unsigned i = 0; i < 3; i++) {
        int fd = listen_at(w->socket);
        spawn_fd(w, fd, extra[i]);
        close(fd);
        knock_in_each_way(w);
        one_session(w);
        if (i == 1) {
            knock_in_each_way(w);
            one_session(w);
            kill(w->d.pid, SIGTERM);
        }
        ends(w, 0, "before its first message");
        unlink(w->socket);
    }
}

/* One who says half a message and stays is not waited for. */
static void half_a_message(void **state)
{
    struct wire *w = *state;
    static const uint32_t header[3] = {VU_SET_FEATURES, VU_VERSION, 8};
    wire_spawn(w, NULL);
    int fd = knock(w, header, sizeof(header));
    one_session(w);
    ends(w, 0, NULL);
    close(fd);
}

/* After the first whole message it is the front-end, and its end is ours. */
static void one_message(void **state)
{
    struct wire *w = *state;
    uint64_t v;
    wire_spawn(w, NULL);
    wire_connect(w);
    assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &v), 0);
    wire_hangup(w);
    ends(w, 0, NULL);
}

/* Somebody who knocks for ever gets a turn each 10 ms. */
static void knocks_for_ever(void **state)
{
    struct wire *w = *state;
    unsigned n = 0;
    wire_spawn(w, NULL);
    close(knock(w, NULL, 0));
    int64_t begin = fe_now_ms(), took;
    while ((took = fe_now_ms() - begin) < 1000) {
        close(knock(w, NULL, 0));
        n++;
    }
    print_message("%u connections in %lld ms\n", n, (long long)took);
    assert_true(n <= took / 10 + 5);
    one_session(w);
    ends(w, 0, NULL);
    assert_true(n > 0);
}

/* SIGTERM ends it at any time: waiting, connected, with running rings. */
static void sigterm(void **state)
{
    struct wire *w = *state;
    for (int stage = 0; stage < 3; stage++) {
        wire_spawn(w, NULL);
        if (stage == 1)
            wire_connect(w);
        if (stage == 2) {
            wire_rings(w);
            assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        }
        if (stage == 0)
            while (access(w->socket, F_OK) < 0)
                usleep(1000);
        usleep(20000);
        int64_t start = fe_now_ms();
        kill(w->d.pid, SIGTERM);
        ends(w, 0, NULL);
        assert_true(fe_now_ms() - start < 2000);
        wire_hangup(w);
        unlink(w->socket);
    }
}

/* Killed while the rings run, the next daemon starts on the same path. */
static void killed_and_started_again(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, NULL);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    kill(w->d.pid, SIGKILL);
    int status;
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    fe_daemon_stop(&w->d);
    wire_hangup(w);
    wire_spawn(w, NULL);
    one_session(w);
    ends(w, 0, NULL);
}

#define TEST(t) cmocka_unit_test_teardown(t, wire_cleanup)

/* Where the hard limit is below what is usual the log says so, once, and the share is served; who
 * asked for less, or for the limit as it is, is told nothing. */
static void few_descriptors(void **state)
{
    static const char *const limited[] = {"prlimit", "--nofile=4096:4096", "setpriv",
                                          "--bounding-set=-sys_resource", NULL};
    static const struct {
        const char *options[2];
        bool warned;
    } rows[] = {{{NULL}, true}, {{"--rlimit-nofile=4096"}, false}, {{"--rlimit-nofile=0"}, false}};
    struct wire *w = *state;

    if (geteuid() != 0 || getenv("MESON_EXE_WRAPPER") ||
        system("prlimit --version && setpriv --version") != 0) /* NOLINT: words of our own */
        skip();
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        w->before = limited;
        wire_spawn(w, rows[i].options);
        one_session(w);
        w->before = NULL;
        if (fe_daemon_log_count(&w->d, "the hard limit of open descriptors is 4096") !=
                rows[i].warned ||
            fe_daemon_log_count(&w->d, " WARN ") != rows[i].warned)
            fail_msg("%s: %s", rows[i].options[0], fe_daemon_log(&w->d));
        ends(w, 0, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(exits_when_alone),
        TEST(without_standard_fds),
        TEST(relisten),
        TEST(relisten_drops_state),
        TEST(stale_socket),
        TEST(socket_in_use),
        TEST(not_a_socket),
        TEST(socket_mode),
        TEST(listening_fd),
        TEST(listening_fd_relisten),
        TEST(connected_fd),
        TEST(bad_fd),
        TEST(no_such_share),
        TEST(not_a_front_end),
        TEST(not_a_front_end_fd),
        TEST(half_a_message),
        TEST(one_message),
        TEST(knocks_for_ever),
        TEST(sigterm),
        TEST(killed_and_started_again),
        TEST(few_descriptors),
    };
    return cmocka_run_group_tests_name("wire-start", tests, wire_make, wire_teardown);
}
