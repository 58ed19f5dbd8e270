/* SPDX-License-Identifier: BSD-3-Clause
 * Whose size a guest is shown: that of the directory asked for, of its project, or of another
 * directory's file system (--statfs-from). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/wire/wire-p9.h"

#define ROOT        1
#define PROJECT     7
#define PROJECT_KIB 10240
#define PRJ_QUOTA   2 /* PRJQUOTA, which sys/quota.h of older C libraries does not know */

/* A path beside the share; a static buffer, four at a time. */
static const char *beside(struct wire *w, const char *name)
{
    static char path[4][PATH_MAX];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", w->dir, name);
    return p;
}

static void mount_tmpfs(const char *dir, const char *size)
{
    if (geteuid() != 0)
        skip();
    mkdir(dir, 0755);
    assert_int_equal(mount("none", dir, "tmpfs", 0, size), 0);
}

static struct fuse_kstatfs ask(struct wire *w, uint64_t node)
{
    struct fuse_statfs_out out;
    assert_int_equal(fe_call(&w->f, FUSE_STATFS, node, NULL, 0, &out, sizeof(out), NULL), 0);
    return out.st;
}

static void expect_numbers(struct fuse_kstatfs got, const char *dir)
{
    struct statvfs st;
    assert_int_equal(statvfs(dir, &st), 0);
    assert_int_equal(got.blocks, st.f_blocks);
    assert_int_equal(got.files, st.f_files);
    assert_int_equal(got.frsize, st.f_frsize);
}

/* Of a file system that only this test writes to. */
static void expect_free(struct fuse_kstatfs got, const char *dir)
{
    struct statvfs st;
    assert_int_equal(statvfs(dir, &st), 0);
    expect_numbers(got, dir);
    assert_int_equal(got.bfree, st.f_bfree);
    assert_int_equal(got.bavail, st.f_bavail);
    assert_int_equal(got.ffree, st.f_ffree);
}

static void start_n(struct wire *w, const char *from, unsigned rings)
{
    char option[PATH_MAX + 16];
    const char *options[] = {option, NULL};
    snprintf(option, sizeof(option), "--statfs-from=%s", from ? from : "");
    signal(SIGCHLD, SIG_IGN); /* as some callers have it; a daemon takes that over */
    wire_spawn(w, from ? options : NULL);
    signal(SIGCHLD, SIG_DFL);
    wire_rings_n(w, rings);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

static void start(struct wire *w, const char *from)
{
    start_n(w, from, 2);
}

/* ---- of the directory asked for ---- */

static void of_a_mount_below(void **state)
{
    struct wire *w = *state;
    mount_tmpfs(wire_path(w, "below"), "size=8m");
    start(w, NULL);
    uint64_t node = wire_node(w, "below");
    expect_free(ask(w, node), wire_path(w, "below"));
    assert_int_equal(ask(w, node).blocks * ask(w, node).frsize, 8 << 20);
    expect_numbers(ask(w, ROOT), w->share);
    wire_finish(w, 0);
    assert_int_equal(umount2(wire_path(w, "below"), MNT_DETACH), 0);
    rmdir(wire_path(w, "below"));
}

static bool run(const char *format, const char *a, const char *b)
{
    char command[2 * PATH_MAX + 200];
    snprintf(command, sizeof(command), format, a, b);
    return system(command) == 0; // NOLINT(cert-env33-c): our own words
}

/* A share with a project of its own on an ext4 of 64 MiB. False: not in this kernel. */
static bool make_project(struct wire *w, const char *point)
{
    struct dqblk quota = {.dqb_bhardlimit = PROJECT_KIB, .dqb_valid = QIF_BLIMITS};

    mkdir(point, 0755);
    if (!run("truncate -s 64M %s && mkfs.ext4 -q -O quota,project -E quotatype=prjquota %s",
             beside(w, "image"), beside(w, "image")) ||
        !run("mount -n -o loop,prjquota %s %s 2>/dev/null", beside(w, "image"), point))
        return false;
    int fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(
        syscall(SYS_quotactl_fd, fd, QCMD(Q_SETQUOTA, PRJ_QUOTA), PROJECT, (void *)&quota), 0);
    close(fd);
    assert_true(run("mkdir %s/share && chattr -p 7 +P %s/share", point, point));
    return true;
}

static void of_a_project(void **state)
{
    struct wire *w = *state;
    char old[sizeof(w->share)];
    const char *point = beside(w, "ext4");

    if (geteuid() != 0 || !make_project(w, point)) {
        print_message("this kernel or user has no ext4 with project quota: skipped\n");
        skip();
    }
    memcpy(old, w->share, sizeof(old));
    snprintf(w->share, sizeof(w->share), "%s/ext4/share", w->dir);
    start(w, NULL);
    assert_int_equal(ask(w, ROOT).blocks * ask(w, ROOT).frsize, PROJECT_KIB << 10);
    expect_numbers(ask(w, ROOT), w->share);
    wire_put(w, "data", "some bytes that take a block");
    sync();
    expect_free(ask(w, ROOT), w->share);
    assert_true(ask(w, ROOT).bfree < ask(w, ROOT).blocks);
    assert_int_equal(mkdir(wire_path(w, "sub"), 0755), 0);
    assert_int_equal(ask(w, wire_node(w, "sub")).blocks, ask(w, ROOT).blocks);
    wire_finish(w, 0);
    memcpy(w->share, old, sizeof(old));
    assert_int_equal(umount2(point, MNT_DETACH), 0);
}

/* ---- of another ---- */

/* How many of the open files of process @pid are on device @dev. */
static unsigned holds(pid_t pid, dev_t dev)
{
    char path[320];
    struct stat st;
    unsigned n = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    for (const struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, e->d_name);
        n += e->d_name[0] != '.' && stat(path, &st) == 0 && st.st_dev == dev;
    }
    if (d)
        closedir(d);
    return n;
}

/* The one process that has a file of @dev open; fails the test when there is not exactly one. */
static pid_t holder(dev_t dev)
{
    pid_t found = -1;
    unsigned n = 0;
    DIR *d = opendir("/proc");
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (pid > 0 && holds(pid, dev) > 0) {
            found = pid;
            n++;
        }
    }
    closedir(d);
    assert_int_equal(n, 1);
    return found;
}

static bool ends(pid_t pid)
{
    for (int64_t end = fe_now_ms() + FE_TIMEOUT_MS; fe_now_ms() < end; usleep(10000)) {
        if (kill(pid, 0) != 0 && errno == ESRCH)
            return true;
    }
    return false;
}

/* A tmpfs of 16 MiB, and the daemon that takes its numbers. Returns the process that has it. */
static pid_t start_from(struct wire *w, const char *from, unsigned rings)
{
    struct stat st;

    mount_tmpfs(from, "size=16m");
    assert_int_equal(stat(from, &st), 0);
    start_n(w, from, rings);
    pid_t process = holder(st.st_dev);
    assert_int_not_equal(process, w->d.pid);
    return process;
}

/* Neither the daemon nor its keeper can walk from the directory; who has it is another process,
 * which ends with the daemon. */
static void of_another(void **state)
{
    struct wire *w = *state;
    const char *from = beside(w, "size");
    pid_t process = start_from(w, from, 2);

    assert_int_equal(ask(w, ROOT).blocks * ask(w, ROOT).frsize, 16 << 20);
    expect_free(ask(w, wire_node(w, "dir")), from);
    expect_free(ask(w, wire_node(w, "file")), from);
    assert_true(run("dd if=/dev/zero of=%s/%s bs=1M count=3 status=none", from, "data"));
    expect_free(ask(w, ROOT), from); /* those of now */

    /* What stands in its place later is nothing to us. */
    assert_int_equal(mount("none", from, "tmpfs", 0, "size=32m"), 0);
    assert_int_equal(ask(w, ROOT).blocks * ask(w, ROOT).frsize, 16 << 20);
    assert_int_equal(umount(from), 0);
    wire_finish(w, 0);
    assert_true(ends(process));
    assert_int_equal(umount(from), 0);
}

/* The file system hangs: an error in time, and what it says later is not taken for the answer to
 * another question. */
static void of_a_hung_one(void **state)
{
    struct wire *w = *state;
    const char *from = beside(w, "size");
    struct fuse_statfs_out out;
    pid_t process = start_from(w, from, 2);

    assert_int_equal(kill(process, SIGSTOP), 0);
    int64_t begin = fe_now_ms();
    assert_int_equal(fe_call(&w->f, FUSE_STATFS, ROOT, NULL, 0, &out, sizeof(out), NULL),
                     -ETIMEDOUT);
    assert_in_range(fe_now_ms() - begin, 2500, 15000);
    assert_int_equal(kill(process, SIGCONT), 0);
    usleep(100000); /* it answers the first question, with the numbers of before */
    assert_true(run("dd if=/dev/zero of=%s/%s bs=1M count=3 status=none", from, "data"));
    expect_free(ask(w, ROOT), from);
    wire_finish(w, 0);
    assert_true(ends(process));
    assert_int_equal(umount(from), 0);
}

/* Many ask meanwhile: each waits as long as one, none for the others, and whoever comes when it is
 * known to hang does not wait. */
static void of_a_hung_one_by_many(void **state)
{
    enum { QUEUES = 5 };
    struct wire *w = *state;
    const char *from = beside(w, "size");
    struct fuse_statfs_out out;
    int slot[QUEUES];
    pid_t process = start_from(w, from, FE_REQ + QUEUES);

    for (unsigned i = 0; i < QUEUES; i++) /* each queue has its thread */
        assert_int_equal(
            fe_fuse_wait(&w->f,
                         fe_fuse_send(&w->f, FE_REQ + i, FUSE_STATFS, ROOT, NULL, 0, sizeof(out)),
                         &out, sizeof(out), NULL),
            0);
    assert_int_equal(kill(process, SIGSTOP), 0);
    int64_t begin = fe_now_ms();
    for (unsigned i = 0; i < QUEUES; i++)
        slot[i] = fe_fuse_send(&w->f, FE_REQ + i, FUSE_STATFS, ROOT, NULL, 0, sizeof(out));
    for (unsigned i = 0; i < QUEUES; i++)
        assert_int_equal(fe_fuse_wait(&w->f, slot[i], &out, sizeof(out), NULL), -ETIMEDOUT);
    assert_in_range(fe_now_ms() - begin, 2500, 9000);
    begin = fe_now_ms();
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(fe_call(&w->f, FUSE_STATFS, ROOT, NULL, 0, &out, sizeof(out), NULL),
                         -ETIMEDOUT);
    assert_in_range(fe_now_ms() - begin, 0, 2500);
    assert_int_equal(kill(process, SIGCONT), 0);
    usleep(100000);
    expect_free(ask(w, ROOT), from);
    wire_finish(w, 0);
    assert_true(ends(process));
    assert_int_equal(umount(from), 0);
}

/* Somebody ends that process: an error for those who ask, and nothing else. */
static void of_nobody(void **state)
{
    struct wire *w = *state;
    const char *from = beside(w, "size");
    struct fuse_statfs_out out;
    pid_t process = start_from(w, from, 2);

    assert_int_equal(kill(process, SIGTERM), 0); /* it may be sent to all of a unit: not minded */
    expect_free(ask(w, ROOT), from);
    assert_int_equal(kill(process, SIGKILL), 0);
    assert_true(ends(process));
    assert_int_equal(fe_call(&w->f, FUSE_STATFS, ROOT, NULL, 0, &out, sizeof(out), NULL), -EIO);
    wire_alive(w);
    wire_finish(w, 0);
    assert_int_equal(umount(from), 0);
}

static void by_9p(void **state)
{
    struct wire *w = *state;
    const char *from = beside(w, "size");
    char listen[128], statfs_from[PATH_MAX], source[128];
    const char *options[] = {"--protocol=9p", listen, source, statfs_from, NULL};
    struct p9c c;

    mount_tmpfs(from, "size=16m");
    snprintf(p9_path, sizeof(p9_path), "%s/9p", w->dir);
    snprintf(listen, sizeof(listen), "--p9-listen=unix:%s", p9_path);
    snprintf(source, sizeof(source), "--shared-dir=%s", w->share);
    snprintf(statfs_from, sizeof(statfs_from), "--statfs-from=%s", from);
    wire_exec(w, options, -1);
    int fd = p9_dial(w);
    p9_mounted(&c, p9_by_socket, &fd);
    p9c_begin(&c, 8 /* Tstatfs */);
    p9c_put32(&c, P9_ROOT);
    assert_int_equal(p9c_send(&c), 0);
    p9c_get32(&c);
    uint64_t size = p9c_get32(&c);
    assert_int_equal(size * p9c_get64(&c), 16 << 20);
    p9c_free(&c);
    close(fd);
    p9_stopped(w);
    assert_int_equal(umount2(from, MNT_DETACH), 0);
}

static void of_nothing(void **state)
{
    struct wire *w = *state;
    static const char *const options[] = {"--statfs-from=/nonexistent/directory", NULL};
    int status = -1;

    wire_spawn(w, options);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_int_equal(
        fe_daemon_log_count(&w->d, "--statfs-from: /nonexistent/directory: No such file"), 1);
    fe_daemon_stop(&w->d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(of_a_mount_below, wire_cleanup),
        cmocka_unit_test_teardown(of_a_project, wire_cleanup),
        cmocka_unit_test_teardown(of_another, wire_cleanup),
        cmocka_unit_test_teardown(of_a_hung_one, wire_cleanup),
        cmocka_unit_test_teardown(of_a_hung_one_by_many, wire_cleanup),
        cmocka_unit_test_teardown(of_nobody, wire_cleanup),
        cmocka_unit_test_teardown(by_9p, wire_cleanup),
        cmocka_unit_test_teardown(of_nothing, wire_cleanup),
    };
    return cmocka_run_group_tests_name("statfs", tests, wire_make, wire_teardown);
}
