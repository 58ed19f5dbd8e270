/* SPDX-License-Identifier: BSD-3-Clause
 * What is said of paths, groups and descriptors before a socket is made. */
#include "virtiofsd/base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtiofsd/base/sock-files.h"

static char dir[32];
static struct sockaddr_un un;

static int setup(void **state)
{
    strcpy(dir, "/tmp/sock-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    un.sun_family = AF_UNIX;
    snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", dir);
    return 0;
}

static int teardown(void **state)
{
    unlink(un.sun_path);
    return rmdir(dir);
}

static int listener(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

/* What is said of @addr; a path that was free is given up again. */
static enum sock_path look_at(const struct sockaddr_un *addr, int *code)
{
    struct sock_files *f = NULL;
    struct sock_path_error e;
    enum sock_path r = sock_path_take(addr, &f, &e);

    *code = e.code;
    assert_true((r == SOCK_PATH_FREE) == (f != NULL));
    if (f)
        sock_files_remove(f);
    sock_files_free(f);
    return r;
}

static void test_path(void **state)
{
    struct sockaddr_un other = {.sun_family = AF_UNIX};
    int code = 77;
    assert_int_equal(look_at(&un, &code), SOCK_PATH_FREE); /* nothing there */
    assert_int_equal(code, 0);
    int fd = listener();
    assert_int_equal(look_at(&un, &code), SOCK_PATH_IN_USE);
    assert_int_equal(code, EADDRINUSE);
    assert_int_equal(access(un.sun_path, F_OK), 0);
    close(fd);
    assert_int_equal(look_at(&un, &code), SOCK_PATH_FREE); /* stale */
    assert_int_equal(access(un.sun_path, F_OK), -1);
    /* Bound and not listening: refused too, so it counts as stale. */
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(look_at(&un, &code), SOCK_PATH_FREE);
    close(fd);
    snprintf(other.sun_path, sizeof(other.sun_path), "%s/s/below", dir);
    fd = open(un.sun_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(look_at(&un, &code), SOCK_PATH_NO_SOCKET);
    assert_int_equal(access(un.sun_path, F_OK), 0);
    assert_int_equal(look_at(&other, &code), SOCK_PATH_NO_LOCK);
    assert_int_equal(code, ENOTDIR);
    /* A link that leads to a socket is none. */
    unlink(un.sun_path);
    snprintf(other.sun_path, sizeof(other.sun_path), "%s/l", dir);
    assert_int_equal(symlink(un.sun_path, other.sun_path), 0);
    fd = listener();
    close(fd);
    assert_int_equal(look_at(&other, &code), SOCK_PATH_NO_SOCKET);
    assert_int_equal(access(un.sun_path, F_OK), 0);
    unlink(other.sun_path);
}

static void test_group(void **state)
{
    gid_t gid = 4711;
    assert_true(sock_group("root", &gid));
    assert_int_equal(gid, 0);
    assert_true(sock_group("4294967294", &gid));
    assert_int_equal(gid, 4294967294u);
    static const char *const bad[] = {"", "-1", "+1", "12x", "4294967295", "no such group", " 1"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(sock_group(bad[i], &gid));
    assert_int_equal(gid, 4294967294u);
}

static void test_give(void **state)
{
    struct stat st;
    int fd = listener();
    assert_int_equal(sock_path_give(un.sun_path, getegid()), 0);
    assert_int_equal(stat(un.sun_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_int_equal(st.st_gid, getegid());
    close(fd);
    unlink(un.sun_path);
    assert_int_equal(sock_path_give(un.sun_path, getegid()), -ENOENT);
}

static void test_look(void **state)
{
    struct sock_kind kind;
    int pair[2], fd = listener();
    assert_int_equal(sock_look(fd, &kind), 0);
    assert_true(kind.listening && kind.domain == AF_UNIX && kind.type == SOCK_STREAM);
    close(fd);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    assert_int_equal(sock_look(pair[0], &kind), 0);
    assert_true(!kind.listening && kind.type == SOCK_DGRAM);
    close(pair[0]);
    close(pair[1]);
    assert_int_equal(sock_look(pair[0], &kind), -EBADF);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(sock_look(fd, &kind), -ENOTSOCK);
    close(fd);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_path), TEST(test_group), TEST(test_give),
                                       TEST(test_look)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
