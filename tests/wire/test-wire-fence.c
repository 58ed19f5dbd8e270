/* SPDX-License-Identifier: BSD-3-Clause
 * --inode-file-handles=fenced: most inodes are held by handles that a broker signed, and everything
 * is as with descriptors; the broker's end, and the daemon's. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/wire/wire.h"

enum { DIRS = 50, FEW = 10, FILES = 100, MAX_FDS = 200 };

/* ---- a process outside of the jail that empties the kernel's caches ---- */

static int ask_cold[2], is_cold[2];

static void start_cooler(void)
{
    char byte;

    if (pipe2(ask_cold, O_CLOEXEC) < 0 || pipe2(is_cold, O_CLOEXEC) < 0 || fork() != 0)
        return;
    close(ask_cold[1]);
    while (read(ask_cold[0], &byte, 1) == 1) {
        int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
        byte = fd >= 0 && write(fd, "2", 1) == 1;
        close(fd);
        if (write(is_cold[1], &byte, 1) != 1)
            break;
    }
    _exit(0);
}

static void drop_caches(void)
{
    char byte = 0;
    assert_int_equal(write(ask_cold[1], "", 1), 1);
    assert_int_equal(read(is_cold[0], &byte, 1), 1);
    if (!byte)
        print_message("the kernel's caches stay warm\n");
}

/* ---- the daemon and its broker ---- */

static void start(struct wire *w)
{
    /* What is mounted there later is to reach the daemon's namespace. */
    assert_int_equal(mount(NULL, w->dir, NULL, MS_SHARED, NULL), 0);
    wire_spawn(w, (const char *const[]){"--inode-file-handles=fenced", "--max-fds=200", NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

/* The broker among the descendants of @pid, or 0. */
static pid_t broker_below(pid_t pid)
{
    char path[64], name[32] = "";
    int child;
    pid_t found = 0;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    FILE *f = fopen(path, "re");
    if (f) {
        (void)!fgets(name, sizeof(name), f);
        fclose(f);
    }
    if (strcmp(name, "fs-broker\n") == 0)
        return pid;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    f = fopen(path, "re");
    while (f && found == 0 && fscanf(f, "%d", &child) == 1)
        found = broker_below(child);
    if (f)
        fclose(f);
    return found;
}

static bool is_there(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    FILE *f = fopen(path, "re");
    bool runs = f && fgetc(f) != EOF; /* of a zombie it is empty */
    if (f)
        fclose(f);
    return runs;
}

/* ---- many files ---- */

static uint64_t dir_node[DIRS], node[DIRS][FILES];
static unsigned dirs; /* of them that there are */

static const char *nth(unsigned d, unsigned n)
{
    static char name[4][32];
    static unsigned turn;
    char *s = name[turn++ % 4];
    snprintf(s, sizeof(name[0]), "m%u/f%u", d, n);
    return s;
}

static void make_many(struct wire *w, const char *prefix, unsigned count)
{
    char path[64];
    dirs = count;
    for (unsigned d = 0; d < dirs; d++) {
        snprintf(path, sizeof(path), "%sm%u", prefix, d);
        assert_int_equal(mkdir(wire_path(w, path), 0755), 0);
        for (unsigned n = 0; n < FILES; n++) {
            snprintf(path, sizeof(path), "%s%s", prefix, nth(d, n));
            wire_put(w, path, nth(d, n));
        }
    }
}

static void look_at_all(struct wire *w, uint64_t top)
{
    struct fuse_entry_out e;
    for (unsigned d = 0; d < dirs; d++) {
        char name[16];
        snprintf(name, sizeof(name), "m%u", d);
        assert_int_equal(fe_lookup(&w->f, top, name, &e), 0);
        dir_node[d] = e.nodeid;
        for (unsigned n = 0; n < FILES; n++) {
            assert_int_equal(fe_lookup(&w->f, dir_node[d], strchr(nth(d, n), '/') + 1, &e), 0);
            node[d][n] = e.nodeid;
        }
    }
}

/* What is read is what that file held: 0 or -errno of the opening. */
static int read_back(struct wire *w, unsigned d, unsigned n)
{
    char buf[32] = "";
    uint64_t fh;
    int rc = fe_open(&w->f, node[d][n], O_RDONLY, &fh);
    if (rc < 0)
        return rc;
    assert_int_equal(fe_read(&w->f, node[d][n], fh, 0, buf, sizeof(buf)), strlen(nth(d, n)));
    assert_string_equal(buf, nth(d, n));
    assert_int_equal(fe_release(&w->f, node[d][n], fh), 0);
    return 0;
}

static void read_all_back(struct wire *w)
{
    for (unsigned d = 0; d < dirs; d++)
        for (unsigned n = 0; n < FILES; n++)
            assert_int_equal(read_back(w, d, n), 0);
}

static void remove_many(struct wire *w)
{
    char path[64];
    for (unsigned d = 0; d < dirs; d++) {
        for (unsigned n = 0; n < FILES; n++)
            unlink(wire_path(w, nth(d, n)));
        snprintf(path, sizeof(path), "m%u", d);
        rmdir(wire_path(w, path));
    }
}

static void test_many(void **state)
{
    struct wire *w = *state;
    char away[128];

    make_many(w, "", getenv("MESON_EXE_WRAPPER") ? FEW : DIRS); /* an emulator is slow */
    start(w);
    unsigned before = fe_daemon_fds(&w->d);
    look_at_all(w, FUSE_ROOT_ID);
    read_all_back(w);
    assert_in_range(fe_daemon_fds(&w->d), 0, before + MAX_FDS);
    for (unsigned d = 0; d < dirs; d++) { /* by the directories again */
        struct fuse_entry_out e;
        assert_int_equal(fe_lookup(&w->f, dir_node[d], "f7", &e), 0);
        assert_int_equal(e.nodeid, node[d][7]);
    }
    /* The host takes directories away, of which one is out of the share. */
    snprintf(away, sizeof(away), "%s/away", w->dir);
    assert_int_equal(rename(wire_path(w, "m7"), away), 0);
    assert_int_equal(rename(wire_path(w, "m8"), wire_path(w, "dir/m8")), 0);
    drop_caches();
    read_all_back(w);
    assert_int_equal(rename(away, wire_path(w, "m7")), 0);
    assert_int_equal(rename(wire_path(w, "dir/m8"), wire_path(w, "m8")), 0);
    assert_in_range(fe_daemon_fds(&w->d), 0, before + MAX_FDS);
    wire_finish(w, 0);
    remove_many(w);
}

/* Numbers that go to other files: what the guest had is not them. */
static void test_numbers_go_on(void **state)
{
    struct wire *w = *state;
    static ino_t old[DIRS][FILES];
    struct stat st;
    unsigned stale = 0, reused = 0;

    make_many(w, "", FEW);
    start(w);
    look_at_all(w, FUSE_ROOT_ID);
    for (unsigned d = 0; d < dirs; d++) {
        for (unsigned n = 0; n < FILES; n++) {
            assert_int_equal(stat(wire_path(w, nth(d, n)), &st), 0);
            old[d][n] = st.st_ino;
            assert_int_equal(unlink(wire_path(w, nth(d, n))), 0);
        }
        for (unsigned n = 0; n < FILES; n++) {
            wire_put(w, nth(d, n), "another");
            assert_int_equal(stat(wire_path(w, nth(d, n)), &st), 0);
            for (unsigned k = 0; k < FILES; k++)
                reused += st.st_ino == old[d][k];
        }
    }
    for (unsigned d = 0; d < dirs; d++) {
        for (unsigned n = 0; n < FILES; n++) {
            int rc = read_back(w, d, n); /* of a kept descriptor: the old file */
            assert_true(rc == 0 || rc == -ESTALE);
            stale += rc != 0;
        }
    }
    print_message("%u numbers used again, %u of %u files stale\n", reused, stale, dirs * FILES);
    assert_true(stale >= dirs * FILES - MAX_FDS);
    wire_finish(w, 0);
    remove_many(w);
}

/* A file that nobody uses gets a handle even where there is room: the host's space of one that is
 * deleted comes back. */
static void test_space_is_freed(void **state)
{
    struct wire *w = *state;
    struct statvfs before, now = {0};
    uint64_t fh;

    mkdir(wire_path(w, "late"), 0755);
    start(w);
    assert_int_equal(mount("late", wire_path(w, "late"), "tmpfs", 0, NULL), 0);
    assert_int_equal(statvfs(wire_path(w, "late"), &before), 0);
    wire_put(w, "late/file", NULL);
    assert_int_equal(truncate(wire_path(w, "late/file"), 1 << 20), 0);
    int fd = open(wire_path(w, "late/file"), O_WRONLY | O_CLOEXEC);
    assert_int_equal(posix_fallocate(fd, 0, 1 << 20), 0);
    close(fd);
    uint64_t file = wire_node(w, "late/file");
    assert_int_equal(fe_open(&w->f, file, O_RDONLY, &fh), 0);
    assert_int_equal(fe_release(&w->f, file, fh), 0);
    assert_int_equal(unlink(wire_path(w, "late/file")), 0);
    for (unsigned i = 0; i < 900 && now.f_bfree < before.f_bfree; i++) {
        usleep(100000);
        assert_int_equal(statvfs(wire_path(w, "late"), &now), 0);
    }
    assert_int_equal(now.f_bfree, before.f_bfree);
    assert_int_equal(fe_open(&w->f, file, O_RDONLY, &fh), -ESTALE);
    assert_int_equal(umount2(wire_path(w, "late"), MNT_DETACH), 0);
    wire_finish(w, 0);
    rmdir(wire_path(w, "late"));
}

/* ---- mounts ---- */

static void test_late_mount(void **state)
{
    struct wire *w = *state;

    mkdir(wire_path(w, "late"), 0755);
    start(w);
    assert_int_equal(mount("late", wire_path(w, "late"), "tmpfs", 0, NULL), 0);
    make_many(w, "late/", FEW);
    look_at_all(w, wire_node(w, "late"));
    read_all_back(w);
    drop_caches();
    read_all_back(w);
    assert_int_equal(umount2(wire_path(w, "late"), MNT_DETACH), 0);
    wire_finish(w, 0);
    rmdir(wire_path(w, "late"));
}

/* One whose handles nobody may sign: held by descriptors, as many as there are. */
static void test_other_mount(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    unsigned d, n = 0;
    int rc = 0;

    mkdir(wire_path(w, "late"), 0755);
    start(w);
    if (mount("late", wire_path(w, "late"), "ramfs", 0, NULL) != 0)
        skip();
    make_many(w, "late/", FEW);
    uint64_t top = wire_node(w, "late");
    assert_int_equal(fe_lookup(&w->f, top, "m0", &e), 0);
    dir_node[0] = e.nodeid;
    for (n = 0; n < FILES && rc == 0; n++) {
        rc = fe_lookup(&w->f, dir_node[0], strchr(nth(0, n), '/') + 1, &e);
        node[0][n] = e.nodeid;
    }
    assert_int_equal(rc, 0);
    for (n = 0; n < FILES; n++)
        assert_int_equal(read_back(w, 0, n), 0);
    for (d = 1; d < dirs && rc == 0; d++) {
        char name[16];
        snprintf(name, sizeof(name), "m%u", d);
        rc = fe_lookup(&w->f, top, name, &e);
        for (n = 0; n < FILES && rc == 0; n++)
            rc =
                fe_lookup(&w->f, e.nodeid, strchr(nth(d, n), '/') + 1, &(struct fuse_entry_out){0});
    }
    assert_int_equal(rc, -ENFILE);
    assert_int_equal(read_back(w, 0, 1), 0);
    assert_int_equal(umount2(wire_path(w, "late"), MNT_DETACH), 0);
    wire_finish(w, 0);
    rmdir(wire_path(w, "late"));
}

/* ---- ends ---- */

#define GONE "the process that opens files by their handles is gone"

static void test_broker_killed(void **state)
{
    struct wire *w = *state;
    unsigned refused = 0;

    make_many(w, "", FEW);
    start(w);
    look_at_all(w, FUSE_ROOT_ID);
    pid_t broker = broker_below(w->d.pid);
    assert_true(broker > 0);
    assert_int_equal(kill(broker, SIGKILL), 0);
    for (unsigned i = 0; i < 500 && is_there(broker); i++)
        usleep(10000);
    for (unsigned d = 0; d < dirs; d++) {
        for (unsigned n = 0; n < FILES; n++) {
            int rc = read_back(w, d, n);
            assert_true(rc == 0 || rc == -EIO);
            refused += rc != 0;
        }
    }
    assert_true(refused >= dirs * FILES - MAX_FDS);
    assert_int_equal(fe_daemon_log_count(&w->d, GONE), 1);
    wire_alive(w);
    /* What has a descriptor, or gets one, works. */
    assert_int_equal(fe_getattr(&w->f, wire_node(w, "dir/file"), NULL), 0);
    wire_finish(w, 0);
    remove_many(w);
}

static void test_sigterm(void **state)
{
    struct wire *w = *state;
    int status = -1;

    make_many(w, "", FEW);
    start(w);
    look_at_all(w, FUSE_ROOT_ID);
    pid_t broker = broker_below(w->d.pid);
    assert_true(broker > 0);
    int64_t begin = fe_now_ms();
    assert_int_equal(kill(w->d.pid, SIGTERM), 0);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    print_message("ended after %lld ms\n", (long long)(fe_now_ms() - begin));
    assert_true(fe_now_ms() - begin < 2000 + 1500 /* of a busy machine */);
    assert_int_equal(status, 0);
    for (unsigned i = 0; i < 500 && is_there(broker); i++)
        usleep(10000);
    assert_false(is_there(broker));
    wire_hangup(w);
    fe_daemon_stop(&w->d);
    remove_many(w);
}

/* The daemon itself cannot even end by itself; nobody is left behind. */
static void test_sigkill(void **state)
{
    struct wire *w = *state;

    start(w);
    pid_t broker = broker_below(w->d.pid);
    assert_true(broker > 0);
    assert_int_equal(kill(w->d.pid, SIGKILL), 0);
    for (unsigned i = 0; i < 500 && is_there(broker); i++)
        usleep(10000);
    assert_false(is_there(broker));
    wire_hangup(w);
    fe_daemon_stop(&w->d);
    unlink(w->socket);
}

/* Without the right: as with never, and a line says so. */
static void test_without(void **state)
{
    struct wire *w = *state;
    const char *less = geteuid() == 0 ? "--modcaps=-dac_read_search" : NULL;

    wire_spawn(w, (const char *const[]){"--inode-file-handles=fenced", less, NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    assert_int_equal(fe_getattr(&w->f, wire_node(w, "dir/file"), NULL), 0);
    assert_int_equal(fe_daemon_log_count(&w->d, "file handles are not used: CAP_DAC_READ_SEARCH"),
                     1);
    assert_int_equal(broker_below(w->d.pid), 0);
    wire_finish(w, 0);
}

int main(void)
{
    const struct CMUnitTest with[] = {
        WIRE_BOTH_OWN(test_many),
        WIRE_BOTH_OWN(test_numbers_go_on),
        WIRE_BOTH_OWN(test_late_mount),
        WIRE_BOTH_OWN(test_other_mount),
        WIRE_BOTH_OWN(test_broker_killed),
        WIRE_BOTH_OWN(test_sigterm),
        cmocka_unit_test_setup_teardown(test_space_is_freed, wire_mode_sandbox, wire_cleanup),
        WIRE_BOTH_OWN(test_sigkill),
        WIRE_BOTH_OWN(test_without),
    };
    const struct CMUnitTest without[] = {
        cmocka_unit_test_setup_teardown(test_without, wire_mode_bare, wire_cleanup),
    };
    if (geteuid() != 0)
        return cmocka_run_group_tests_name("fence", without, wire_make, wire_teardown);
    start_cooler();
    return cmocka_run_group_tests_name("fence", with, wire_make, wire_teardown);
}
