/* SPDX-License-Identifier: BSD-3-Clause
 * Addresses of a service manager's socket, and what is sent there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/base/notify.h"

/* A manager's socket at @address, as $NOTIFY_SOCKET names it. */
static int manager(const char *address)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(sa.sun_path, address, strlen(address));
    if (address[0] == '@')
        sa.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&sa,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(address))),
                     0);
    assert_int_equal(setenv("NOTIFY_SOCKET", address, 1), 0);
    return fd;
}

static void expect(int fd, const char *text)
{
    char got[128] = "";
    assert_true(recv(fd, got, sizeof(got) - 1, 0) > 0);
    assert_string_equal(got, text);
}

static void talk(const char *address)
{
    int there = manager(address), fd = notify_open();
    assert_true(fd > 0);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_true(notify_send(fd, NOTIFY_READY, 0));
    assert_true(notify_send(fd, NOTIFY_FRONT_END, 0));
    assert_true(notify_send(fd, NOTIFY_STOPPING, 0));
    expect(there, "READY=1");
    expect(there, "STATUS=A front-end has connected");
    expect(there, "STOPPING=1\nSTATUS=Stopping");
    close(there);
    assert_true(notify_send(fd, NOTIFY_READY, 100)); /* nobody is there any more */
    close(fd);
}

static void test_addresses(void **state)
{
    char path[] = "/tmp/notify.XXXXXX", address[64];
    assert_non_null(mkdtemp(path));
    snprintf(address, sizeof(address), "%s/socket", path);
    talk(address);
    unlink(address);
    rmdir(path);
    snprintf(address, sizeof(address), "@virtiofsd-test-notify.%d", (int)getpid());
    talk(address);
}

static void test_none(void **state)
{
    static const char longer[] = "/a/name/that/is/longer/than/the/address/of/a/unix/socket/can/be/"
                                 "since/that/has/only/one/hundred/and/eight/bytes";
    static const char *const bad[] = {"relative", "vsock:2:1234",        "/",
                                      "@",        "/nonexistent/socket", longer};
    unsetenv("NOTIFY_SOCKET");
    assert_int_equal(notify_open(), 0);
    setenv("NOTIFY_SOCKET", "", 1);
    assert_int_equal(notify_open(), 0);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        setenv("NOTIFY_SOCKET", bad[i], 1);
        assert_int_equal(notify_open(), 0);
        assert_null(getenv("NOTIFY_SOCKET"));
    }
    assert_true(notify_send(0, NOTIFY_READY, 0));
}

/* A manager who is busy is waited for as long as one says. */
static void test_no_room(void **state)
{
    char address[64];
    unsigned n = 0;
    snprintf(address, sizeof(address), "@virtiofsd-test-notify.%d", (int)getpid());
    int there = manager(address), fd = notify_open();
    while (n < 100000 && notify_send(fd, NOTIFY_WAITING, 0))
        n++;
    assert_in_range(n, 1, 99999);
    assert_false(notify_send(fd, NOTIFY_READY, 0));
    assert_false(notify_send(fd, NOTIFY_READY, 20));
    for (; n > 0; n--)
        expect(there, "STATUS=Waiting for a front-end");
    assert_true(notify_send(fd, NOTIFY_READY, 20));
    expect(there, "READY=1");
    close(fd);
    close(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses),
                                       cmocka_unit_test(test_none), cmocka_unit_test(test_no_room)};
    log_init(LOG_LVL_OFF, false);
    return cmocka_run_group_tests_name("notify", tests, NULL, NULL);
}
