/* SPDX-License-Identifier: BSD-3-Clause
 * Whose a socket's path is, and what is removed in the end. */
#include "virtiofsd/base/sock-files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[32], path[64], pid_path[80];

static int setup(void **state)
{
    strcpy(dir, "/tmp/sock-files-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(pid_path, sizeof(pid_path), "%s.pid", path);
    return 0;
}

static int teardown(void **state)
{
    unlink(path);
    unlink(pid_path);
    return rmdir(dir);
}

static struct sock_files *taken(void)
{
    pid_t holder;
    int code;
    struct sock_files *f = sock_files_take(path, &holder, &code);

    assert_int_equal(code, 0);
    assert_non_null(f);
    return f;
}

static void assert_refused(int want, pid_t by)
{
    pid_t holder = 77;
    int code = 0;

    assert_null(sock_files_take(path, &holder, &code));
    assert_int_equal(code, want);
    assert_int_equal(holder, by);
}

static void put(const char *at, const char *text)
{
    int fd = open(at, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void assert_text(const char *at, const char *text)
{
    g_autofree char *got = NULL;

    assert_true(g_file_get_contents(at, &got, NULL, NULL));
    assert_string_equal(got, text);
}

static void test_take(void **state)
{
    g_autofree char *mine = g_strdup_printf("%d\n", (int)getpid());
    mode_t mask = umask(0);
    struct stat st;
    struct sock_files *f = taken();

    umask(mask);
    assert_false(sock_files_inherited(f));
    assert_int_equal(stat(pid_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_text(pid_path, mine);
    assert_refused(EBUSY, getpid());
    put(path, "");
    sock_files_made(f);
    sock_files_remove(f);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(pid_path, F_OK), -1);
    sock_files_free(f);
}

/* What a daemon that was killed has left is taken over, a longer number too. */
static void test_inherit(void **state)
{
    g_autofree char *mine = g_strdup_printf("%d\n", (int)getpid());

    put(pid_path, "1234567890\n");
    struct sock_files *f = taken();
    assert_true(sock_files_inherited(f));
    assert_text(pid_path, mine);
    sock_files_free(f);
    f = taken();
    assert_true(sock_files_inherited(f));
    sock_files_free(f);
}

/* As the Rust daemon does it: open, flock, compare, write. */
static void test_held_by_another(void **state)
{
    int fd = open(pid_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_refused(EBUSY, 0);
    assert_int_equal(write(fd, "4711\n", 5), 5);
    assert_refused(EBUSY, 4711);
    assert_text(pid_path, "4711\n");
    close(fd);
    sock_files_free(taken());
}

/* The lock is as long as the last process that has it. */
static void test_keeper_holds(void **state)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    struct sock_files *f = taken();
    put(path, "");
    sock_files_made(f);
    pid_t keeper = fork();
    if (keeper == 0) {
        char c;
        close(p[1]);
        _exit(read(p[0], &c, 1) == 0 ? sock_files_remove(f), 0 : 1);
    }
    pid_t me = getpid();
    sock_files_free(f);
    assert_refused(EBUSY, me);
    close(p[0]);
    close(p[1]);
    int status;
    assert_int_equal(waitpid(keeper, &status, 0), keeper);
    assert_int_equal(status, 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(pid_path, F_OK), -1);
}

/* Neither what somebody else has put in their places is removed, nor anything where we gave it up.
 */
static void test_not_ours(void **state)
{
    struct sock_files *f = taken();

    put(path, "");
    sock_files_made(f);
    unlink(path);
    unlink(pid_path);
    put(path, "another's");
    put(pid_path, "another's");
    sock_files_remove(f);
    assert_text(path, "another's");
    assert_text(pid_path, "another's");
    sock_files_free(f);

    f = taken();
    sock_files_made(f);
    sock_files_leave(f);
    sock_files_remove(f);
    assert_int_equal(access(pid_path, F_OK), 0);
    assert_refused(EBUSY, getpid());
    sock_files_free(f);

    /* No socket was made: one that is there is not ours. */
    f = taken();
    sock_files_remove(f);
    assert_text(path, "another's");
    sock_files_free(f);
}

/* The path may be in a folder where others write: no link is followed, no FIFO waited for. */
static void test_in_the_way(void **state)
{
    g_autofree char *victim = g_strconcat(dir, "/victim", NULL);

    put(victim, "precious");
    assert_int_equal(symlink(victim, pid_path), 0);
    assert_refused(EEXIST, 0);
    assert_text(victim, "precious");
    unlink(pid_path);
    unlink(victim);
    assert_int_equal(mkfifo(pid_path, 0600), 0);
    assert_refused(EEXIST, 0);
    unlink(pid_path);
    assert_int_equal(mkdir(pid_path, 0700), 0);
    assert_refused(EISDIR, 0);
    rmdir(pid_path);
    strcat(path, "/none/s");
    assert_refused(ENOENT, 0);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(test_take),         unit(test_inherit),  unit(test_held_by_another),
        unit(test_keeper_holds), unit(test_not_ours), unit(test_in_the_way),
    };
    return cmocka_run_group_tests_name("sock-files", tests, NULL, NULL);
}
