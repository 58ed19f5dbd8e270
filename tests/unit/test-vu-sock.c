/* SPDX-License-Identifier: BSD-3-Clause
 * Listening: stale sockets, busy ones, rights; judging descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost-user/vu-sock.h"
#include "virtiofsd/base/sock-files.h"

static char dir[32], path[64];
static struct sock_files *files; /* of the last one that listened */

static int listen_at(const char *at, const char *group, GError **err)
{
    sock_files_free(files);
    return vu_sock_listen(at, group, &files, err);
}

static int setup(void **state)
{
    strcpy(dir, "/tmp/vu-sock-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/s", dir);
    return 0;
}

static int teardown(void **state)
{
    char pid[80];

    snprintf(pid, sizeof(pid), "%s.pid", path);
    sock_files_free(files);
    files = NULL;
    unlink(path);
    unlink(pid);
    return rmdir(dir);
}

static mode_t mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(name, &st), 0);
    return st.st_mode & 0777;
}

static void assert_refused(const char *name, const char *group, const char *says)
{
    g_autoptr(GError) err = NULL;
    assert_int_equal(listen_at(name, group, &err), -1);
    assert_non_null(err);
    if (!strstr(err->message, says))
        fail_msg("'%s' does not say '%s'", err->message, says);
    assert_null(strchr(err->message, '\n'));
}

static void test_listen(void **state)
{
    g_autoptr(GError) err = NULL;
    mode_t mask = umask(0);
    int fd = listen_at(path, NULL, &err);
    assert_true(fd >= 0);
    assert_int_equal(umask(mask), 0); /* as it was */
    assert_int_equal(mode_of(path), 0600);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_refused(path, NULL, "in use"); /* by a listener that locks nothing */
    close(fd);
    /* Now it is stale. */
    fd = listen_at(path, NULL, &err);
    assert_true(fd >= 0);
    close(fd);
}

/* Nobody connects to the socket of a daemon that lives, and its files stay. */
static void test_locked(void **state)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *says = g_strdup_printf("process %d holds %s.pid", (int)getpid(), path);
    struct sock_files *other = NULL;
    int fd = listen_at(path, NULL, &err);

    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(vu_sock_listen(path, NULL, &other, &err), -1);
    assert_null(other);
    assert_non_null(strstr(err->message, says));
    assert_int_equal(accept(fd, NULL, NULL), -1);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
}

static void test_group(void **state)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *own = g_strdup_printf("%u", (unsigned)getegid());
    struct stat st;
    int fd = listen_at(path, own, &err);
    assert_true(fd >= 0);
    assert_int_equal(mode_of(path), 0660);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_gid, getegid());
    close(fd);
    assert_refused(path, "no-such-group", "no-such-group");
    assert_refused(path, "-1", "no group");
    assert_refused(path, "12x", "no group");
    assert_refused(path, "", "no group");
}

static void test_paths(void **state)
{
    char deep[256];
    assert_refused("", NULL, "socket path");
    memset(deep, 'a', sizeof(deep));
    deep[sizeof(deep) - 1] = '\0';
    assert_refused(deep, NULL, "socket path");
    snprintf(deep, sizeof(deep), "%s/none/s", dir);
    assert_refused(deep, NULL, "none/s");
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_refused(path, NULL, "no socket"); /* and it is still there */
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    assert_int_equal(symlink("/nonexistent/target", path), 0);
    assert_refused(path, NULL, "no socket");
}

static void test_adopt(void **state)
{
    g_autoptr(GError) err = NULL;
    bool listening = false;
    int sv[2];
    int fd = listen_at(path, NULL, &err);
    fcntl(fd, F_SETFD, 0);
    assert_int_equal(vu_sock_adopt(fd, &listening, &err), 0);
    assert_true(listening);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    assert_int_equal(vu_sock_adopt(sv[0], &listening, &err), 0);
    assert_false(listening);
    close(sv[0]);
    close(sv[1]);
}

static void assert_not_adopted(int fd)
{
    g_autoptr(GError) err = NULL;
    bool listening;
    assert_int_equal(vu_sock_adopt(fd, &listening, &err), -1);
    assert_non_null(err);
}

static void test_not_adopted(void **state)
{
    int p[2], d = socket(AF_UNIX, SOCK_DGRAM, 0), inet = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(pipe(p), 0);
    assert_not_adopted(p[0]);
    assert_not_adopted(d);
    if (inet >= 0)
        assert_not_adopted(inet);
    assert_not_adopted(-1);
    assert_not_adopted(1000000);
    close(p[0]);
    close(p[1]);
    close(d);
    close(inet);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(test_listen), unit(test_locked), unit(test_group),
        unit(test_paths),  unit(test_adopt),  unit(test_not_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
