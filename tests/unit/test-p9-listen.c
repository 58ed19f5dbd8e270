/* SPDX-License-Identifier: BSD-3-Clause
 * Addresses of the 9P server: good ones open, others say what is wrong. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtiofsd/9p/p9-listen.h"
#include "virtiofsd/base/sock-files.h"

static char dir[32], path[64], addr[80];

static int setup(void **state)
{
    strcpy(dir, "/tmp/p9-listen-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(addr, sizeof(addr), "unix:%s", path);
    return 0;
}

static int teardown(void **state)
{
    unlink(path);
    snprintf(path, sizeof(path), "%s/s.pid", dir);
    unlink(path);
    return rmdir(dir);
}

static struct p9_endpoint opened(const char *a, const char *group)
{
    g_autoptr(GError) err = NULL;
    struct p9_endpoint ep = {.fd = -1};
    if (!p9_listen_open(a, group, &ep, &err))
        fail_msg("%s", err->message);
    sock_files_free(ep.files);
    assert_true(fcntl(ep.fd, F_GETFD) & FD_CLOEXEC);
    return ep;
}

static void assert_refused(const char *a, const char *group, const char *says)
{
    g_autoptr(GError) err = NULL;
    struct p9_endpoint ep;
    assert_false(p9_listen_open(a, group, &ep, &err));
    sock_files_free(ep.files);
    assert_non_null(err);
    if (!strstr(err->message, says) || !strstr(err->message, a))
        fail_msg("'%s' does not say '%s'", err->message, says);
    assert_null(strchr(err->message, '\n'));
}

static mode_t mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(name, &st), 0);
    return st.st_mode & 0777;
}

static void test_unix(void **state)
{
    mode_t mask = umask(0);
    struct p9_endpoint ep = opened(addr, NULL);
    assert_int_equal(umask(mask), 0); /* as it was */
    assert_true(ep.local && !ep.connected && !ep.check_peer);
    assert_int_equal(mode_of(path), 0600);
    assert_true(fcntl(ep.fd, F_GETFL) & O_NONBLOCK);
    assert_refused(addr, NULL, "in use");
    close(ep.fd);
    ep = opened(addr, NULL); /* now it is stale */
    close(ep.fd);

    g_autofree char *own = g_strdup_printf("%u", (unsigned)getegid());
    ep = opened(addr, own);
    assert_int_equal(mode_of(path), 0660);
    close(ep.fd);
}

static void test_unix_refused(void **state)
{
    char longer[200];
    memset(longer, 'x', sizeof(longer));
    memcpy(longer, "unix:", 5);
    longer[sizeof(longer) - 1] = '\0';
    assert_refused(longer, NULL, "1 to 107 bytes");
    assert_refused("unix:", NULL, "1 to 107 bytes");
    assert_refused(addr, "no-such-group-here", "no group");
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_refused(addr, NULL, "no socket");
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* Small answers go at once, and a peer that is no more is noticed in minutes, not hours. */
static void assert_tcp(int fd)
{
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_in_range(option(fd, IPPROTO_TCP, TCP_KEEPIDLE) +
                        option(fd, IPPROTO_TCP, TCP_KEEPINTVL) *
                            option(fd, IPPROTO_TCP, TCP_KEEPCNT),
                    10, 300);
    assert_in_range(option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 10000, 300000);
}

static void test_tcp(void **state)
{
    struct p9_endpoint ep = {.fd = -1};
    g_autofree char *a = NULL;
    /* Some port is free. */
    for (unsigned port = 20564; port < 20600 && ep.fd < 0; port++) {
        g_free(a);
        a = g_strdup_printf("tcp:127.0.0.1:%u", port);
        p9_listen_open(a, NULL, &ep, NULL);
    }
    assert_true(ep.fd >= 0);
    assert_false(ep.local || ep.connected);
    assert_tcp(ep.fd);
    struct sockaddr_in in;
    socklen_t len = sizeof(in);
    assert_int_equal(getsockname(ep.fd, (struct sockaddr *)&in, &len), 0);
    assert_int_equal(in.sin_addr.s_addr, htonl(INADDR_LOOPBACK)); /* and nothing else */
    assert_refused(a, NULL, "cannot listen");
    close(ep.fd);
}

static void test_tcp_refused(void **state)
{
    static const char *const bad[] = {
        "tcp:",
        "tcp::564",
        "tcp:localhost",
        "tcp:localhost:564",
        "tcp:1.2.3",
        "tcp:127.0.0.1:",
        "tcp:127.0.0.1:0",
        "tcp:127.0.0.1:65536",
        "tcp:::1",
        "tcp:[::1]564",
        "tcp:[::1",
        "tcp:[]:564",
        "tcp:127.0.0.1:5x",
        "tcp:127.0.0.1:+5",
        "tcp:127.0.0.1:564:1",
        "tcp:[127.0.0.1",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_refused(bad[i], NULL, "numeric address");
}

static void test_vsock_refused(void **state)
{
    static const char *const bad[] = {
        "vsock:",          "vsock:564",    "vsock:any:", "vsock:x:564",
        "vsock:any:564:1", "vsock:any:-1", "vsock::564"};
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_refused(bad[i], NULL, "context id");
}

static void test_fd(void **state)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    g_autofree char *a = g_strdup_printf("fd:%d", pair[0]);
    assert_int_equal(p9_listen_inherited(a), pair[0]);
    struct p9_endpoint ep = opened(a, NULL);
    assert_int_equal(ep.fd, pair[0]);
    assert_true(ep.local && ep.connected);

    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(un.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(fd, 1), 0);
    g_autofree char *l = g_strdup_printf("fd:%d", fd);
    ep = opened(l, NULL);
    assert_true(ep.local && !ep.connected && ep.check_peer);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
    close(pair[0]);
    close(pair[1]);

    int in = socket(AF_INET, SOCK_STREAM, 0);
    g_autofree char *i = g_strdup_printf("fd:%d", in);
    assert_false(opened(i, NULL).local); /* whoever comes by TCP is a stranger */
    assert_tcp(in);
    close(in);
}

static void test_fd_refused(void **state)
{
    int pair[2], null = open("/dev/null", O_RDONLY);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    g_autofree char *dgram = g_strdup_printf("fd:%d", pair[0]);
    g_autofree char *file = g_strdup_printf("fd:%d", null);
    assert_refused(dgram, NULL, "not a stream");
    assert_refused(file, NULL, "stream socket");
    assert_refused("fd:99999", NULL, "stream socket");
    assert_refused("fd:", NULL, "number");
    assert_refused("fd:-1", NULL, "number");
    assert_refused("fd:3x", NULL, "number");
    assert_int_equal(p9_listen_inherited("fd:x"), -1);
    assert_int_equal(p9_listen_inherited("unix:3"), -1);
    close(null);
    close(pair[0]);
    close(pair[1]);
}

static void test_unknown(void **state)
{
    static const char *const bad[] = {"", "/run/p9", "127.0.0.1:564", "udp:1.2.3.4:5", "unix"};
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_refused(bad[i], NULL, "unknown");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unix),        TEST(test_unix_refused),  TEST(test_tcp),
        TEST(test_tcp_refused), TEST(test_vsock_refused), TEST(test_fd),
        TEST(test_fd_refused),  TEST(test_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
