/* SPDX-License-Identifier: BSD-3-Clause
 * Which files may be mapped by somebody else, and with which descriptor. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned kind_of(struct share *t, const char *name)
{
    struct fs_inode *i = tree_look(t, t->root, name);
    unsigned kind = fs_map_kind(t->fs, i, NULL);
    fs_inode_put(t->fs, i);
    return kind;
}

/* Access mode of the descriptor, or -errno. */
static int open_as(struct share *t, const char *name, bool write)
{
    struct fs_inode *i = tree_look(t, t->root, name);
    int fd = fs_map_open(t->fs, i, write);
    fs_inode_put(t->fs, i);
    if (fd < 0)
        return fd;
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    return mode;
}

static void test_kinds(void **state)
{
    struct share t;

    tree_start(&t);
    tree_write(&t, "file", "x");
    assert_ok(mkdir(tree_path(&t, "dir"), 0755));
    assert_ok(symlink("file", tree_path(&t, "link")));
    assert_ok(mkfifo(tree_path(&t, "fifo"), 0666));
    assert_int_equal(kind_of(&t, "file"), FS_MAP | FS_MAP_WRITE);
    assert_int_equal(open_as(&t, "file", true), O_RDWR);
    assert_int_equal(open_as(&t, "file", false), O_RDONLY);
    static const char *const others[] = {"dir", "link", "fifo"};
    for (unsigned n = 0; n < G_N_ELEMENTS(others); n++) {
        assert_int_equal(kind_of(&t, others[n]), 0);
        assert_int_equal(open_as(&t, others[n], false), n == 0 ? -EISDIR : -EINVAL);
        assert_int_equal(open_as(&t, others[n], true), n == 0 ? -EISDIR : -EINVAL);
    }
    tree_stop(&t);
}

static void test_readonly_share(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();

    tree_make(&t);
    tree_write(&t, "file", "x");
    cfg.readonly = true;
    tree_open(&t, &cfg);
    assert_int_equal(kind_of(&t, "file"), FS_MAP);
    assert_int_equal(open_as(&t, "file", true), -EROFS);
    assert_int_equal(open_as(&t, "file", false), O_RDONLY);
    tree_stop(&t);
}

/* A program that the host runs is not to be had for writing; and that is learnt, too, when it was
 * started after it was checked. */
static void test_program(void **state)
{
    struct share t;
    g_autofree char *text = NULL;
    gsize len;

    tree_start(&t);
    assert_true(g_file_get_contents("/bin/sleep", &text, &len, NULL));
    static const char *const names[] = {"before", "after", "idle"};
    for (unsigned n = 0; n < 3; n++) {
        assert_true(g_file_set_contents(tree_path(&t, names[n]), text, (gssize)len, NULL));
        assert_ok(chmod(tree_path(&t, names[n]), 0755));
    }
    struct fs_inode *after = tree_look(&t, t.root, "after");
    assert_int_equal(fs_map_kind(t.fs, after, NULL), FS_MAP | FS_MAP_WRITE);
    pid_t pid[2];
    int started[2]; /* closed in the child by its execve() */
    assert_ok(pipe2(started, O_CLOEXEC));
    for (unsigned n = 0; n < 2; n++) {
        pid[n] = fork();
        if (pid[n] == 0) {
            execl(tree_path(&t, names[n]), "sleep", "60", NULL);
            _exit(1);
        }
    }
    close(started[1]);
    assert_int_equal(read(started[0], &(char){0}, 1), 0);
    close(started[0]);
    assert_int_equal(kind_of(&t, "before"), FS_MAP);
    assert_int_equal(kind_of(&t, "idle"), FS_MAP | FS_MAP_WRITE);
    assert_int_equal(fs_map_open(t.fs, after, true), -ETXTBSY);
    assert_int_equal(fs_map_kind(t.fs, after, NULL), FS_MAP);
    fs_inode_put(t.fs, after);
    for (unsigned n = 0; n < 2; n++) {
        kill(pid[n], SIGKILL);
        waitpid(pid[n], NULL, 0);
    }
    tree_stop(&t);
}

/* Set @flag, or clear it: the others stay, without which ext4 refuses. */
static bool set_flag(const char *path, int flag, bool on)
{
    int flags, fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = ioctl(fd, FS_IOC_GETFLAGS, &flags);
    flags = on ? flags | flag : flags & ~flag;
    rc = rc == 0 ? ioctl(fd, FS_IOC_SETFLAGS, &flags) : rc;
    close(fd);
    return rc == 0;
}

static void test_fixed(void **state)
{
    static const int flags[] = {FS_IMMUTABLE_FL, FS_APPEND_FL};
    struct share t;

    tree_start(&t);
    for (unsigned n = 0; n < 2; n++) {
        char name[2] = {(char)('a' + (int)n), '\0'};
        tree_write(&t, name, "x");
        if (!set_flag(tree_path(&t, name), flags[n], true)) {
            tree_stop(&t);
            skip(); /* not this file system, or not our right */
        }
        unsigned kind = kind_of(&t, name);
        assert_true(set_flag(tree_path(&t, name), flags[n], false));
        assert_int_equal(kind, FS_MAP);
    }
    tree_stop(&t);
}

/* In a child with mounts of its own: 0 when all is right, 77 without overlayfs. */
static int overlay_child(void)
{
    struct share t;

    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return 77;
    tree_make_tmpfs(&t);
    static const char *const dirs[] = {"low", "up", "work", "all"};
    for (unsigned n = 0; n < 4; n++)
        mkdir(tree_path(&t, dirs[n]), 0755);
    tree_write(&t, "low/file", "x");
    g_autofree char *o =
        g_strdup_printf("lowerdir=%s/low,upperdir=%s/up,workdir=%s/work", t.dir, t.dir, t.dir);
    if (mount("overlay", tree_path(&t, "all"), "overlay", 0, o) != 0)
        return 77;
    struct share_config cfg = tree_config();
    tree_open(&t, &cfg);
    struct fs_inode *all = tree_look(&t, t.root, "all"), *file = tree_look(&t, all, "file");
    unsigned kind = fs_map_kind(t.fs, file, NULL);
    fs_inode_put(t.fs, file);
    fs_inode_put(t.fs, all);
    tree_close(&t);
    int rc = kind != 0 ? 1 : access(tree_path(&t, "up/file"), F_OK) == 0 ? 2 : 0;
    umount2(tree_path(&t, "all"), MNT_DETACH);
    tree_remove(&t);
    return rc;
}

static void test_overlay(void **state)
{
    int status = -1;

    need_root();
    pid_t pid = fork();
    if (pid == 0)
        _exit(overlay_child());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A mapping outlives the guest's lookups by the time it takes to remove it. Whoever finds the file
 * meanwhile gets another id, though the old inode is still held by an open file. */
static void test_forget(void **state)
{
    struct share t;
    struct fs_opened o;

    tree_start(&t);
    tree_write(&t, "file", "x");
    for (int mapped = 0; mapped < 2; mapped++) {
        uint64_t id = tree_guest_look(&t, t.root, "file");
        struct fs_inode *i = fs_inode_get(t.fs, id);
        assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o));
        if (mapped)
            close(fs_map_open(t.fs, i, false));
        fs_inode_put(t.fs, i);
        assert_false(fs_forget(t.fs, id, 0));
        assert_int_equal(fs_forget(t.fs, id, 5), mapped);
        assert_false(fs_forget(t.fs, id, 5));
        uint64_t again = tree_guest_look(&t, t.root, "file");
        if (mapped)
            assert_int_not_equal(again, id);
        else
            assert_int_equal(again, id);
        assert_ok(fs_release(t.fs, o.fh));
        fs_forget(t.fs, again, 1);
    }
    tree_stop(&t);
}

static void test_mark(void **state)
{
    struct share t;

    tree_start(&t);
    tree_write(&t, "file", "x");
    struct fs_inode *i = tree_look(&t, t.root, "file");
    assert_int_equal(fs_inode_mark(i), 0);
    fs_inode_set_mark(i, 1);
    fs_map_kind(t.fs, i, NULL);
    fs_inode_set_mark(i, 8);
    assert_int_equal(fs_inode_mark(i), 9);
    assert_int_equal(fs_map_kind(t.fs, i, NULL), FS_MAP | FS_MAP_WRITE);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),   cmocka_unit_test(test_readonly_share),
        cmocka_unit_test(test_program), cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_overlay), cmocka_unit_test(test_forget),
        cmocka_unit_test(test_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
