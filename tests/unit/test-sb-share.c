/* SPDX-License-Identifier: BSD-3-Clause
 * The share as seen from inside: mounts that come later, directories that leave, whose files they
 * are, and that landlock lets everything in the share through. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/jail.h"
#include "tests/unit/sb-run.h"

static char dir[64], share[96], secret[96], ext_share[64];

static char *path_of(const char *name)
{
    static char path[160];
    snprintf(path, sizeof(path), "%s/%s", share, name);
    return path;
}

/* Two pipes: the body says where it is, the test says when to go on. */
struct steps {
    int ready[2], go[2];
};

static struct steps steps;

static bool step_inside(void)
{
    char byte = 0;
    return write(steps.ready[1], &byte, 1) == 1 && read(steps.go[0], &byte, 1) == 1;
}

static pid_t steps_start(const struct sb_run *run, sb_run_fn *body)
{
    char byte;

    assert_int_equal(pipe2(steps.ready, O_CLOEXEC) | pipe2(steps.go, O_CLOEXEC), 0);
    pid_t pid = sb_run_start(run, body, NULL);
    close(steps.ready[1]);
    close(steps.go[0]);
    assert_int_equal(read(steps.ready[0], &byte, 1), 1);
    return pid;
}

/* Returns the body's exit code. */
static int steps_end(pid_t pid)
{
    int status;

    assert_int_equal(write(steps.go[1], "", 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(steps.ready[0]);
    close(steps.go[1]);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_ok(int status)
{
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- a directory that the host moves out of the share while the guest holds it ---- */

static int body_moved(const struct sb_result *r, void *arg)
{
    int held = openat(r->root_fd, "directory", O_PATH | O_DIRECTORY);

    if (!step_inside())
        return 2;
    if (openat(held, "../secret", O_RDONLY) >= 0)
        return 3;
    if (openat(held, "../../../../etc/passwd", O_RDONLY) >= 0)
        return 4;
    return openat(held, "../made-by-attacker", O_WRONLY | O_CREAT, 0600) >= 0 ? 5 : 0;
}

static void run_moved(enum sb_mode mode)
{
    struct sb_run run = {.cfg = {.mode = mode, .shared_dir = share}};
    char moved[96];

    snprintf(moved, sizeof(moved), "%s/moved", dir);
    pid_t pid = steps_start(&run, body_moved);
    assert_int_equal(rename(path_of("directory"), moved), 0);
    int code = steps_end(pid);
    assert_int_equal(rename(moved, path_of("directory")), 0);
    assert_int_equal(code, 0);
}

static void test_moved_namespace(void **state)
{
    run_moved(SB_NAMESPACE);
}

static int body_has_landlock(const struct sb_result *r, void *arg)
{
    return r->landlock ? 0 : SB_RUN_IMPOSSIBLE;
}

static void test_moved_chroot(void **state)
{
    struct sb_run run = {.cfg = {.mode = SB_CHROOT, .shared_dir = share}};

    /* A bare chroot does not hold, and does not claim to. */
    expect_ok(sb_run(&run, body_has_landlock, NULL));
    run_moved(SB_CHROOT);
}

/* ---- mounts ---- */

static int body_mounts(const struct sb_result *r, void *arg)
{
    if (faccessat(r->root_fd, "early/file", F_OK, 0) < 0)
        return 2;
    if (!step_inside())
        return 3;
    return faccessat(r->root_fd, "late/file", F_OK, 0) < 0 ? 4 : 0;
}

/* The mount table of the process whose parent is @keeper. */
static void read_table(pid_t keeper, char *table, size_t size)
{
    char path[64], child[16] = "";

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", keeper, keeper);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%15[0-9]", child), 1);
    fclose(f);
    snprintf(path, sizeof(path), "/proc/%s/mountinfo", child);
    f = fopen(path, "re");
    assert_non_null(f);
    table[fread(table, 1, size - 1, f)] = '\0';
    fclose(f);
}

/* The line of what is mounted at @point, from its options on; NULL when there is none. */
static const char *mounted_at(const char *table, const char *point)
{
    char text[64];

    snprintf(text, sizeof(text), " %s ", point);
    const char *at = strstr(table, text);
    return at ? at + strlen(text) : NULL;
}

/* Our root first, the share over it, its mounts, and nothing else of the host. */
static void check_table(const char *table)
{
    const char *root = mounted_at(table, "/ /");

    assert_non_null(root);
    assert_int_equal(strncmp(root, "ro,nosuid,nodev,noexec,", 23), 0);
    assert_non_null(mounted_at(table, "/early"));
    assert_non_null(mounted_at(table, "/late"));
    assert_null(mounted_at(table, "/proc"));
    assert_null(strstr(table, "/sys"));
}

static void run_mounts(bool as_user)
{
    struct sb_run run = {.cfg = {.mode = SB_NAMESPACE, .shared_dir = share}, .as_user = as_user};
    static char table[65536];

    pid_t pid = steps_start(&run, body_mounts);
    assert_int_equal(mount("late", path_of("late"), "tmpfs", 0, "mode=777"), 0);
    int fd = open(path_of("late/file"), O_CREAT | O_WRONLY, 0666);
    assert_true(fd >= 0);
    close(fd);
    read_table(pid, table, sizeof(table));
    int code = steps_end(pid);
    assert_int_equal(umount2(path_of("late"), MNT_DETACH), 0);
    assert_int_equal(code, 0);
    check_table(table);
}

static void test_mounts_root(void **state)
{
    run_mounts(false);
}

static void test_mounts_user(void **state)
{
    run_mounts(true);
}

/* Two names of the share that are special: the host's root, and the working directory. */
static int body_root(const struct sb_result *r, void *arg)
{
    return faccessat(r->root_fd, "etc/passwd", F_OK, 0) == 0 &&
                   openat(r->root_fd, "../etc/passwd", O_PATH) >= 0
               ? 0
               : 1;
}

static void test_share_is_root(void **state)
{
    struct sb_run run = {.cfg = {.mode = SB_NAMESPACE, .shared_dir = "/"}};
    expect_ok(sb_run(&run, body_root, NULL));
}

static int body_file(const struct sb_result *r, void *arg)
{
    return faccessat(r->root_fd, "file", F_OK, 0) == 0 ? 0 : 1;
}

static void test_share_is_relative(void **state)
{
    struct sb_run run = {.cfg = {.mode = SB_NAMESPACE, .shared_dir = "."}};
    assert_int_equal(chdir(share), 0);
    expect_ok(sb_run(&run, body_file, NULL));
    assert_int_equal(chdir("/"), 0);
}

/* ---- id maps ---- */

static struct sb_run mapped_run(bool as_user)
{
    return (struct sb_run){
        .cfg = {.mode = SB_NAMESPACE,
                .shared_dir = share,
                .uid_map = {{{0, 200000, 1000}, {5000, 300000, 10}}, 2},
                .gid_map = {{{0, 200000, 1000}}, 1}},
        .as_user = as_user,
    };
}

static int body_mapped(const struct sb_result *r, void *arg)
{
    int fd = openat(r->root_fd, "mapped", O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd < 0)
        return 2;
    if (geteuid() != 0 || getgroups(0, NULL) != 0)
        return 3;
    if (fchown(fd, 5003, 7) < 0)
        return 4;
    return fchown(fd, 1500, 7) == 0 || errno != EINVAL ? 5 : 0;
}

static void run_mapped(bool as_user)
{
    struct sb_run run = mapped_run(as_user);
    struct stat st;

    expect_ok(sb_run(&run, body_mapped, NULL));
    assert_int_equal(stat(path_of("mapped"), &st), 0);
    assert_int_equal(unlink(path_of("mapped")), 0);
    assert_int_equal(st.st_uid, 300003);
    assert_int_equal(st.st_gid, 200007);
}

static void test_maps_root(void **state)
{
    run_mapped(false);
}

/* Give the tests' user sub-ids: private files over /etc/sub?id, in our mount namespace only. */
static bool give_subids(const char *file)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/%s", dir, strrchr(file, '/') + 1);
    FILE *f = fopen(path, "w");
    if (!f)
        return false;
    fprintf(f, "%d:200000:1000\n%d:300000:1000\n", SB_RUN_USER, SB_RUN_USER);
    fclose(f);
    return mount(path, file, NULL, MS_BIND, NULL) == 0;
}

static void test_maps_user(void **state)
{
    if (access("/usr/bin/newuidmap", X_OK) < 0 || !give_subids("/etc/subuid") ||
        !give_subids("/etc/subgid"))
        skip();
    run_mapped(true);
}

static void test_maps_refused(void **state)
{
    struct sb_run run = mapped_run(true);

    if (access("/usr/bin/newuidmap", X_OK) < 0)
        skip();
    run.cfg.uid_map.map[0].outside = 0; /* the host's root */
    int status = sb_run(&run, body_mapped, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), SB_RUN_FAILED);
}

/* The mapped user may not walk the way to the share; the one who started us could. */
static void test_maps_private_way(void **state)
{
    struct sb_run run = mapped_run(false);

    assert_int_equal(chmod(dir, 0700), 0);
    int status = sb_run(&run, body_file, NULL);
    assert_int_equal(chmod(dir, 0755), 0);
    expect_ok(status);
}

/* ---- landlock lets the share through ---- */

/* Open @name again as the daemon does. */
static int reopen(const struct sb_result *r, const char *name, int flags)
{
    char number[16];
    int ref = openat(r->root_fd, name, O_PATH | O_NOFOLLOW);

    snprintf(number, sizeof(number), "%d", ref);
    int fd = openat(r->proc_self_fd, number, flags);
    close(ref);
    return fd;
}

#define MUST(cond)                                                                    \
    do {                                                                              \
        if (!(cond)) {                                                                \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #cond, g_strerror(errno)); \
            return 1;                                                                 \
        }                                                                             \
    } while (0)

static int body_everything(const struct sb_result *r, void *arg)
{
    int root = r->root_fd;
    char buf[8];

    int fd = openat(root, "new", O_CREAT | O_EXCL | O_RDWR, 0600);
    MUST(fd >= 0 && write(fd, "12345", 5) == 5 && ftruncate(fd, 3) == 0);
    close(fd);
    fd = reopen(r, "new", O_RDWR);
    MUST(fd >= 0 && pread(fd, buf, sizeof(buf), 0) == 3 && ftruncate(fd, 0) == 0);
    close(fd);
    MUST(mkdirat(root, "new-dir", 0700) == 0);
    MUST(linkat(root, "new", root, "new-dir/link", 0) == 0);
    MUST(renameat(root, "new", root, "new-dir/moved") == 0);
    MUST(symlinkat("nowhere", root, "new-dir/symlink") == 0);
    MUST(mknodat(root, "new-dir/fifo", S_IFIFO | 0600, 0) == 0);
    fd = reopen(r, "new-dir", O_RDONLY | O_DIRECTORY);
    MUST(fd >= 0);
    close(fd);
    fd = openat(root, ".", O_TMPFILE | O_RDWR, 0600);
    MUST(fd >= 0);
    close(fd);
    const char *const made[] = {"new-dir/link", "new-dir/moved", "new-dir/symlink", "new-dir/fifo"};
    for (size_t i = 0; i < G_N_ELEMENTS(made); i++)
        MUST(unlinkat(root, made[i], 0) == 0);
    MUST(unlinkat(root, "new-dir", AT_REMOVEDIR) == 0);
    fd = reopen(r, "early/file", O_RDWR); /* in a mount below */
    MUST(fd >= 0 && write(fd, "x", 1) == 1);
    return 0;
}

static void run_everything(enum sb_mode mode, bool as_user)
{
    struct sb_run run = {.cfg = {.mode = mode, .shared_dir = share}, .as_user = as_user};
    expect_ok(sb_run(&run, body_everything, NULL));
}

static void test_everything(void **state)
{
    run_everything(SB_NAMESPACE, false);
    run_everything(SB_NAMESPACE, true);
    run_everything(SB_CHROOT, false);
    run_everything(SB_NONE, false);
    run_everything(SB_NONE, true);
}

/* A file is opened by its handle when the kernel has forgotten its name, so that landlock could
 * not tell where it is. This takes a file system on a disk. */
static union {
    struct file_handle head;
    char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
} handle;

static void drop_caches(void)
{
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!write(fd, "2", 1);
        close(fd);
    }
}

static int body_handle(const struct sb_result *r, void *arg)
{
    char number[16], buf[4];
    int mount_fd = openat(r->root_fd, ".", O_RDONLY | O_DIRECTORY);

    MUST(mount_fd >= 0 && step_inside());
    int ref = open_by_handle_at(mount_fd, &handle.head, O_PATH | O_NOFOLLOW);
    MUST(ref >= 0);
    snprintf(number, sizeof(number), "%d", ref);
    int fd = openat(r->proc_self_fd, number, O_RDWR);
    MUST(fd >= 0 && pread(fd, buf, 2, 0) == 2);
    MUST(ftruncate(fd, 2) == 0);
    MUST(openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY) < 0); /* listing stays limited */
    return 0;
}

/* @moved: the host takes the file's directory out of the share meanwhile. */
static void run_handle(enum sb_mode mode, bool moved)
{
    struct sb_run run = {.cfg = {.mode = mode, .shared_dir = ext_share, .file_handles = true}};
    int mount_id;
    char file[96], deep[96], away[96];

    snprintf(file, sizeof(file), "%s/deep/file", ext_share);
    snprintf(deep, sizeof(deep), "%s/deep", ext_share);
    snprintf(away, sizeof(away), "%s-away", ext_share);
    handle.head.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(AT_FDCWD, file, &handle.head, &mount_id, 0) < 0)
        skip();
    pid_t pid = steps_start(&run, body_handle);
    if (moved)
        assert_int_equal(rename(deep, away), 0);
    drop_caches();
    int status = steps_end(pid);
    if (moved)
        assert_int_equal(rename(away, deep), 0);
    assert_int_equal(status, 0);
}

static void test_handles(void **state)
{
    for (int moved = 0; moved < 2; moved++) {
        run_handle(SB_NAMESPACE, moved);
        run_handle(SB_CHROOT, moved);
        run_handle(SB_NONE, moved);
    }
}

/* ---- the jail ---- */

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0 && write(fd, "x\n", 2) == 2);
    close(fd);
}

static void make_tree(void)
{
    const char *const dirs[] = {"directory", "early", "late"};

    snprintf(share, sizeof(share), "%s/share", dir);
    snprintf(secret, sizeof(secret), "%s/secret", dir);
    assert_int_equal(chmod(dir, 0755) | mkdir(share, 0777), 0);
    make_file(secret);
    make_file(path_of("file"));
    for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++)
        assert_int_equal(mkdir(path_of(dirs[i]), 0777), 0);
    assert_int_equal(mount("early", path_of("early"), "tmpfs", 0, "mode=777"), 0);
    make_file(path_of("early/file"));
    /* Later mounts are seen by others where the host shares its mounts, as distributions do. */
    assert_int_equal(mount(NULL, dir, NULL, MS_SHARED | MS_REC, NULL), 0);
}

/* A share on a disk, of one file. */
static void make_disk_share(void)
{
    char path[96];

    snprintf(ext_share, sizeof(ext_share), "/var/tmp/sb-share-XXXXXX");
    assert_non_null(mkdtemp(ext_share));
    snprintf(path, sizeof(path), "%s/deep", ext_share);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/deep/file", ext_share);
    make_file(path);
}

static void remove_disk_share(void)
{
    char path[96];

    snprintf(path, sizeof(path), "%s/deep/file", ext_share);
    unlink(path);
    snprintf(path, sizeof(path), "%s/deep", ext_share);
    rmdir(path);
    rmdir(ext_share);
}

static int test_jail(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moved_namespace), cmocka_unit_test(test_moved_chroot),
        cmocka_unit_test(test_mounts_root),     cmocka_unit_test(test_mounts_user),
        cmocka_unit_test(test_share_is_root),   cmocka_unit_test(test_share_is_relative),
        cmocka_unit_test(test_maps_root),       cmocka_unit_test(test_maps_refused),
        cmocka_unit_test(test_maps_user),       cmocka_unit_test(test_maps_private_way),
        cmocka_unit_test(test_everything),
    };

    umask(0);
    make_tree();
    return cmocka_run_group_tests_name("sb-share", tests, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest disk_tests[] = {cmocka_unit_test(test_handles)};

    if (geteuid() != 0)
        return 77;
    make_disk_share();
    snprintf(dir, sizeof(dir), "/var");
    int bad = cmocka_run_group_tests_name("sb-share on disk", disk_tests, NULL, NULL);
    remove_disk_share();
    /* Id maps are written through /proc. */
    if (!jail_enter(dir, sizeof(dir), "/proc"))
        return 77;
    return bad + test_jail();
}
