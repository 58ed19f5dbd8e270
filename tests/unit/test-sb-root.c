/* SPDX-License-Identifier: BSD-3-Clause
 * The root of the process in namespace mode: an empty file system of ours, from which no name leads
 * into the share, and which cannot be seen from the share. Without the system call filter. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/jail.h"
#include "tests/unit/sb-run.h"

static char dir[64], share[96];

static bool same_place(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_empty(const char *path)
{
    DIR *d = opendir(path);
    unsigned n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n == 2;
}

/* No absolute name leads anywhere: neither what libraries open by themselves nor what the guest
 * puts at such a path. */
static int body_empty_root(const struct sb_result *r, void *arg)
{
    const unsigned long flags = ST_RDONLY | ST_NODEV | ST_NOEXEC | ST_NOSUID;
    struct statfs fs;
    struct statvfs vfs;

    if (statfs("/", &fs) < 0 || fs.f_type != TMPFS_MAGIC || statvfs("/", &vfs) < 0)
        return 2;
    if ((vfs.f_flag & flags) != flags || !is_empty("/") || !is_empty("."))
        return 3;
    if (mkdir("/made", 0700) == 0 || errno != EROFS)
        return 4;
    if (access("/file", F_OK) == 0 || access("/proc", F_OK) == 0)
        return 5;
    return faccessat(r->root_fd, "file", F_OK, 0) == 0 ? 0 : 6;
}

/* The share's own parent is the share, however one asks. */
static int body_parent(const struct sb_result *r, void *arg)
{
    static const char *const ways[] = {"..", "../..", "directory/../..", "early/../.."};
    struct stat root, up;

    if (fstat(r->root_fd, &root) < 0)
        return 2;
    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        if (fstatat(r->root_fd, ways[i], &up, 0) < 0 || !same_place(&root, &up))
            return 3 + (int)i;
    }
    if (fchdir(r->root_fd) < 0 || chdir("..") < 0 || stat(".", &up) < 0)
        return 10;
    return same_place(&root, &up) && access("file", F_OK) == 0 ? 0 : 11;
}

static void run_as_all(sb_run_fn *body)
{
    for (int user = 0; user < 2; user++) {
        struct sb_run run = {.cfg = {.mode = SB_NAMESPACE, .shared_dir = share}, .as_user = user};
        int status = sb_run(&run, body, NULL);
        if (WIFEXITED(status) && WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
            skip();
        assert_int_equal(status, 0);
    }
}

static void test_root_is_empty(void **state)
{
    run_as_all(body_empty_root);
}

static void test_share_has_no_parent(void **state)
{
    run_as_all(body_parent);
}

static void make_tree(void)
{
    static const char *const dirs[] = {"directory", "early"};
    char path[128];

    snprintf(share, sizeof(share), "%s/share", dir);
    assert_int_equal(chmod(dir, 0755) | mkdir(share, 0777), 0);
    snprintf(path, sizeof(path), "%s/file", share);
    assert_int_equal(mknod(path, S_IFREG | 0666, 0), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++) {
        snprintf(path, sizeof(path), "%s/%s", share, dirs[i]);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    assert_int_equal(mount("early", path, "tmpfs", 0, "mode=777"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_is_empty),
        cmocka_unit_test(test_share_has_no_parent),
    };

    /* Id maps are written through /proc. */
    if (geteuid() != 0 || !jail_enter(dir, sizeof(dir), "/proc"))
        return 77;
    umask(0);
    make_tree();
    return cmocka_run_group_tests_name("sb-root", tests, NULL, NULL);
}
