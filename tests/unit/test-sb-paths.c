/* SPDX-License-Identifier: BSD-3-Clause
 * From the end of the sandbox stage no path finds anything that does not begin at a directory we
 * hold: whatever call, sandbox mode, thread, user, and whatever --seccomp makes of unlisted calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/jail.h"
#include "tests/unit/sb-run.h"
#include "virtiofsd/base/xattr-at.h"

static char dir[64], share[96], file[128];
static int share_fd;   /* for the calls that take two directories */
static char room[512]; /* for what a call answers */

#define ROOM ((long)room)
#define NAME ((long)"new")

/* Every path call of the kernel's that is not deadly. FROM stands for what is no directory, PATH
 * for the file, SHARE for a directory that is one. */
struct
try {
    const char *name;
    long nr;
    long args[5];
    bool old; /* allowed where the kernel has no call with a directory instead */
};
enum { PATH = -1000001, SHARE = -1000002, FROM = -1000003 };

static struct open_how how = {.flags = O_RDONLY};

/* clang-format off */
#define TRY(name, ...) {#name, SYS_##name, {__VA_ARGS__}, false}
#define OLD(name, ...) {#name, SYS_##name, {__VA_ARGS__}, true}
#define NEW(name, nr, ...) {#name, nr, {__VA_ARGS__}, false}
/* clang-format on */

static const struct try tries[] = {
    TRY(openat, FROM, PATH, O_RDONLY),
    TRY(openat2, FROM, PATH, (long)&how, sizeof(how)),
    TRY(statx, FROM, PATH, 0, STATX_BASIC_STATS, ROOM),
    TRY(name_to_handle_at, FROM, PATH, ROOM, ROOM, 0),
    TRY(open_by_handle_at, FROM, ROOM, O_RDONLY),
    TRY(readlinkat, FROM, PATH, ROOM, sizeof(room)),
    TRY(faccessat, FROM, PATH, F_OK),
    TRY(faccessat2, FROM, PATH, F_OK, 0),
    TRY(mkdirat, FROM, PATH, 0700),
    TRY(mknodat, FROM, PATH, S_IFIFO | 0600, 0),
    TRY(symlinkat, NAME, FROM, PATH),
    TRY(linkat, FROM, PATH, SHARE, NAME, 0),
    TRY(linkat, SHARE, NAME, FROM, PATH, 0),
    TRY(unlinkat, FROM, PATH, 0),
    TRY(renameat2, FROM, PATH, SHARE, NAME, 0),
    TRY(renameat2, SHARE, NAME, FROM, PATH, 0),
    TRY(fchmodat, FROM, PATH, 0600),
    TRY(fchownat, FROM, PATH, -1, -1, 0),
    TRY(utimensat, FROM, PATH, 0, 0),
    TRY(chdir, PATH),
    TRY(statfs, PATH, ROOM),
    TRY(truncate, PATH, 0),
    OLD(getxattr, PATH, NAME, ROOM, sizeof(room)),
    OLD(setxattr, PATH, NAME, NAME, 3, 0),
    OLD(listxattr, PATH, ROOM, sizeof(room)),
    OLD(removexattr, PATH, NAME),
    TRY(lgetxattr, PATH, NAME, ROOM, sizeof(room)),
    TRY(lsetxattr, PATH, NAME, NAME, 3, 0),
    TRY(llistxattr, PATH, ROOM, sizeof(room)),
    TRY(lremovexattr, PATH, NAME),
    NEW(fchmodat2, 452, FROM, PATH, 0600, 0),
    NEW(setxattrat, 463, FROM, PATH, 0, NAME, ROOM),
    NEW(getxattrat, 464, FROM, PATH, 0, NAME, ROOM),
    NEW(listxattrat, 465, FROM, PATH, 0, ROOM, 0),
    NEW(removexattrat, 466, FROM, PATH, 0, NAME),
    NEW(file_getattr, 468, FROM, PATH, ROOM, 24, 0),
    TRY(newfstatat, FROM, PATH, ROOM, 0),
#ifdef SYS_renameat
    TRY(renameat, FROM, PATH, SHARE, NAME),
#endif
#ifdef SYS_open /* the old ones of x86 */
    TRY(open, PATH, O_RDONLY),
    TRY(creat, PATH, 0600),
    TRY(stat, PATH, ROOM),
    TRY(lstat, PATH, ROOM),
    TRY(access, PATH, F_OK),
    TRY(readlink, PATH, ROOM, sizeof(room)),
    TRY(mkdir, PATH, 0700),
    TRY(rmdir, PATH),
    TRY(mknod, PATH, S_IFIFO | 0600, 0),
    TRY(link, PATH, NAME),
    TRY(symlink, NAME, PATH),
    TRY(unlink, PATH),
    TRY(rename, PATH, NAME),
    TRY(chmod, PATH, 0600),
    TRY(chown, PATH, -1, -1),
    TRY(lchown, PATH, -1, -1),
    TRY(utime, PATH, 0),
    TRY(utimes, PATH, 0),
    TRY(futimesat, FROM, PATH, 0),
    TRY(inotify_add_watch, 0, PATH, 1),
#endif
};

static long argument(long a, long from, const char *path)
{
    return a == PATH ? (long)path : a == SHARE ? share_fd : a == FROM ? from : a;
}

static bool finds_nothing(const struct try *t, long from, const char *path)
{
    long a[5];

    for (unsigned i = 0; i < 5; i++)
        a[i] = argument(t->args[i], from, path);
    errno = 0;
    if (syscall(t->nr, a[0], a[1], a[2], a[3], a[4]) < 0 && errno == ENOENT)
        return true;
    fprintf(stderr, "%s of %s from %ld: %s\n", t->name, path, from, g_strerror(errno));
    return false;
}

/* By its absolute name here and below the share, and by what the working directory has. */
static int try_all(void)
{
    const char *const paths[] = {file, "/share/file", "/file", "file", "/", "."};
    int bad = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(tries); i++) {
        for (size_t j = 0; j < G_N_ELEMENTS(paths); j++) {
            if (tries[i].old && !xattr_at_usable())
                continue;
            bad += !finds_nothing(&tries[i], AT_FDCWD, paths[j]);
            bad += !finds_nothing(&tries[i], (long)(uint32_t)AT_FDCWD, paths[j]);
        }
    }
    return MIN(bad, 50);
}

static void *run_thread(void *arg)
{
    enum sb_action action = *(enum sb_action *)arg;
    /* A lock waiter may do least: what is unlisted for it must not kill it. */
    bool ok = try_all() == 0 && sb_seccomp_apply(SB_THREAD_LOCK, action) == 0 && try_all() == 0;
    return ok ? NULL : arg;
}

static int body_paths(const struct sb_result *r, void *arg)
{
    pthread_t t;
    void *bad = arg;

    share_fd = r->root_fd;
    if (faccessat(r->root_fd, "file", F_OK, 0) < 0)
        return 60;
    if (pthread_create(&t, NULL, run_thread, arg) != 0 || pthread_join(t, &bad) != 0 || bad)
        return 61;
    return try_all();
}

static void run_mode(enum sb_mode mode, bool as_user)
{
    for (enum sb_action action = SB_ACTION_KILL; action <= SB_ACTION_TRAP; action++) {
        struct sb_run run = {
            .cfg = {.mode = mode, .shared_dir = share}, .as_user = as_user, .seccomp = action};
        int status = sb_run(&run, body_paths, &action);
        if (WIFEXITED(status) && WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
            skip();
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("action %d: wait status 0x%x", (int)action, (unsigned)status);
    }
}

static void test_namespace(void **state)
{
    run_mode(SB_NAMESPACE, false);
}

static void test_namespace_user(void **state)
{
    run_mode(SB_NAMESPACE, true);
}

static void test_chroot(void **state)
{
    run_mode(SB_CHROOT, false);
}

static void test_none(void **state)
{
    run_mode(SB_NONE, false);
}

static void test_none_user(void **state)
{
    run_mode(SB_NONE, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_namespace), cmocka_unit_test(test_namespace_user),
        cmocka_unit_test(test_chroot),    cmocka_unit_test(test_none),
        cmocka_unit_test(test_none_user),
    };

    /* Id maps are written through /proc. */
    if (geteuid() != 0 || !jail_enter(dir, sizeof(dir), "/proc"))
        return 77;
    umask(0);
    snprintf(share, sizeof(share), "%s/share", dir);
    snprintf(file, sizeof(file), "%s/share/file", dir);
    assert_int_equal(chmod(dir, 0755) | mkdir(share, 0777) | mknod(file, S_IFREG | 0666, 0), 0);
    return cmocka_run_group_tests_name("sb-paths", tests, NULL, NULL);
}
