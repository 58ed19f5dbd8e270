/* SPDX-License-Identifier: BSD-3-Clause
 * What a service manager is told (sd_notify(3)), by a process that it believes: the one it has
 * started. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/wire/wire.h"

/* The manager's socket; messages come with their sender's number. */
static int manager(const char *address)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const int one = 1;
    const struct timeval patience = {.tv_sec = FE_TIMEOUT_MS / 1000};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(sa.sun_path, address, strlen(address));
    if (address[0] == '@')
        sa.sun_path[0] = '\0';
    size_t len = offsetof(struct sockaddr_un, sun_path) + strlen(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, (socklen_t)len), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", address, 1), 0);
    return fd;
}

/* The next message; its sender is the process that was started. */
static void next(struct wire *w, int fd, char text[128])
{
    union {
        char buf[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {text, 127};
    struct msghdr mh = {.msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.buf,
                        .msg_controllen = sizeof(control)};
    struct ucred cred;
    ssize_t n = recvmsg(fd, &mh, 0);

    if (n <= 0)
        fail_msg("no word in %d ms", FE_TIMEOUT_MS);
    text[n] = '\0';
    memcpy(&cred, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(cred));
    assert_int_equal(cred.pid, w->d.pid);
}

static void expect(struct wire *w, int fd, const char *text)
{
    char got[128];
    next(w, fd, got);
    assert_string_equal(got, text);
}

/* States may be left out when the next is there already. */
static void expect_at_last(struct wire *w, int fd, const char *text)
{
    char got[128];
    do
        next(w, fd, got);
    while (strcmp(got, text) != 0);
}

static void life(struct wire *w, const char *address)
{
    static const char *const extra[] = {"--relisten", NULL};
    int fd = manager(address), status;

    wire_spawn(w, extra);
    expect(w, fd, "READY=1"); /* and it listens */
    assert_int_equal(access(w->socket, F_OK), 0);
    expect(w, fd, "STATUS=Waiting for a front-end");
    wire_rings(w);
    expect(w, fd, "STATUS=A front-end has connected");
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    expect(w, fd, "STATUS=A guest has mounted");
    wire_hangup(w);
    expect(w, fd, "STATUS=Waiting for a front-end");
    kill(w->d.pid, SIGTERM);
    expect(w, fd, "STOPPING=1\nSTATUS=Stopping");
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    assert_int_equal(status, 0);
    fe_daemon_stop(&w->d);
    close(fd);
}

static void by_path(void **state)
{
    struct wire *w = *state;
    char address[128];
    snprintf(address, sizeof(address), "%s/notify", w->dir);
    life(w, address);
    unlink(address);
}

static void abstract(void **state)
{
    char address[64];
    snprintf(address, sizeof(address), "@virtiofsd-test-wire-notify.%d", (int)getpid());
    life(*state, address);
}

/* It ends by itself; a manager without room is told all the same once it has some. */
static void full(void **state)
{
    struct wire *w = *state;
    char address[64];
    int status;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    snprintf(address, sizeof(address), "@virtiofsd-test-wire-notify.%d", (int)getpid());
    int fd = manager(address), other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(sa.sun_path + 1, address + 1, strlen(address) - 1);
    size_t len = offsetof(struct sockaddr_un, sun_path) + strlen(address);
    assert_int_equal(connect(other, (struct sockaddr *)&sa, (socklen_t)len), 0);
    unsigned n = 0;
    while (send(other, "", 1, MSG_DONTWAIT) == 1)
        n++;
    wire_spawn(w, NULL);
    while (!fe_daemon_log_count(&w->d, "Waiting for vhost-user"))
        usleep(1000);
    usleep(50000);
    for (char byte[2]; n > 0; n--)
        assert_int_equal(recv(fd, byte, sizeof(byte), 0), 1);
    expect(w, fd, "READY=1");
    wire_rings(w);
    wire_hangup(w);
    expect_at_last(w, fd, "STOPPING=1\nSTATUS=Stopping");
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    fe_daemon_stop(&w->d);
    close(fd);
    close(other);
}

/* ---- the unit ---- */

#define SHARE "${SHARED_DIR}"

/* The words of ExecStart= in debian's unit behind the program, with the share in place. */
static unsigned unit_words(struct wire *w, char *line, const char **argv, unsigned max)
{
    FILE *f = fopen(getenv("UNIT"), "re");
    unsigned n = 0;
    bool notify = false;

    assert_non_null(f);
    char *buf = NULL, *save = NULL;
    size_t size = 0;
    while (getline(&buf, &size, f) > 0) {
        notify |= strcmp(buf, "Type=notify\n") == 0;
        if (strncmp(buf, "ExecStart=", 10) == 0)
            snprintf(line, 512, "%s", buf + 10);
    }
    free(buf);
    fclose(f);
    assert_true(notify);
    strtok_r(line, " \n", &save);
    for (char *word; n < max && (word = strtok_r(NULL, " \n", &save));) {
        char *share = strstr(word, SHARE);
        if (strcmp(word, "$OPTIONS") == 0)
            continue;
        if (share) {
            static char dir[128];
            snprintf(dir, sizeof(dir), "%.*s%s", (int)(share - word), word, w->share);
            word = dir;
        }
        argv[n++] = word;
    }
    argv[n] = NULL;
    return n;
}

/* As systemd starts it: socket 3, which it has listened on before, LISTEN_FDS and its kin. */
static void unit(void **state)
{
    char script[128];
    const char *const before[] = {"sh", "-c", script, "sh", NULL};
    struct wire *w = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const char *argv[16];
    char address[64], line[512];
    int status, sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (getenv("MESON_EXE_WRAPPER"))
        skip(); /* the emulator would run the shell */
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", w->socket);
    assert_int_equal(bind(sock, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(sock, 1), 0);
    int low = fcntl(sock, F_DUPFD_CLOEXEC, 4); /* shells know one digit */
    assert_in_range(low, 4, 9);
    snprintf(script, sizeof(script),
             "exec 3<&%d %d<&-; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=a; exec \"$@\"",
             low, low);
    snprintf(address, sizeof(address), "@virtiofsd-test-wire-notify.%d", (int)getpid());
    int fd = manager(address);
    /* The front-end is there before the daemon, and waits. */
    int early = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(early, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_true(unit_words(w, line, argv, 15) >= 2);
    w->before = before;
    wire_exec(w, argv, low);
    w->before = NULL;
    close(low);
    expect(w, fd, "READY=1");
    close(early); /* it only looked */
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_node(w, "dir/file");
    expect_at_last(w, fd, "STATUS=A guest has mounted");
    wire_hangup(w);
    expect_at_last(w, fd, "STOPPING=1\nSTATUS=Stopping");
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    assert_int_equal(status, 0);
    fe_daemon_stop(&w->d);
    /* The next activation. */
    assert_int_equal(
        connect(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&sa, sizeof(sa)),
        0);
    close(sock);
    close(fd);
    unlink(w->socket);
}

static int clean(void **state)
{
    unsetenv("NOTIFY_SOCKET");
    return wire_cleanup(state);
}

/* Under an emulator a number of the wrong process would be seen. */
#define BOTH(t)                                          \
    {#t " (keeper)", t, wire_mode_sandbox, clean, NULL}, \
    {                                                    \
#t " (alone)", t, wire_mode_bare, clean, NULL    \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {BOTH(by_path), BOTH(abstract), BOTH(full), BOTH(unit)};
    return cmocka_run_group_tests_name("wire-notify", tests, wire_make, wire_teardown);
}
