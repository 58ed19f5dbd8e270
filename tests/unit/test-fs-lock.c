/* SPDX-License-Identifier: BSD-3-Clause
 * Locks between owners and with the host. */
#include "tests/unit/fs-locks.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

static void test_owners(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    unsigned fds = count_fds();
    assert_ok(setlk(&t, i, 1, F_WRLCK, 0, 9));
    assert_ok(setlk(&t, i, 1, F_WRLCK, 5, 20)); /* its own is no conflict */
    assert_int_equal(setlk(&t, i, 2, F_RDLCK, 9, 9), -EAGAIN);
    assert_ok(setlk(&t, i, 2, F_RDLCK, 21, 30));
    assert_ok(setlk(&t, i, 3, F_RDLCK, 25, 40));
    assert_int_equal(setlk(&t, i, 3, F_WRLCK, 25, 40), -EAGAIN);

    struct fs_lock lk = lock_of(F_WRLCK, 0, WHOLE);
    assert_ok(fs_getlk(t.fs, i, 9, &lk));
    assert_int_equal(lk.type, F_WRLCK);
    assert_int_equal(lk.start, 0);
    assert_int_equal(lk.end, 20);
    lk = lock_of(F_WRLCK, 0, 20);
    assert_ok(fs_getlk(t.fs, i, 1, &lk));
    assert_int_equal(lk.type, F_UNLCK);
    lk = lock_of(F_RDLCK, 21, WHOLE);
    assert_ok(fs_getlk(t.fs, i, 9, &lk));
    assert_int_equal(lk.type, F_UNLCK);

    assert_ok(setlk(&t, i, 1, F_UNLCK, 0, 9)); /* part of it */
    assert_ok(setlk(&t, i, 3, F_WRLCK, 0, 9));
    assert_int_equal(setlk(&t, i, 3, F_WRLCK, 10, 10), -EAGAIN);
    assert_ok(fs_flush(t.fs, i, 1));
    assert_ok(setlk(&t, i, 3, F_WRLCK, 10, 20));
    assert_ok(setlk(&t, i, 2, F_UNLCK, 0, WHOLE));
    assert_ok(fs_flush(t.fs, i, 3));
    assert_ok(fs_flush(t.fs, i, 77));
    assert_int_equal(count_fds(), fds); /* who holds nothing costs nothing */
    assert_ok(setlk(&t, i, 9, F_WRLCK, 0, WHOLE));
    assert_ok(setlk(&t, i, 9, F_UNLCK, 0, WHOLE));
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static void test_bad(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_int_equal(setlk(&t, i, 1, 77, 0, 9), -EINVAL);
    assert_int_equal(setlk(&t, i, 1, F_WRLCK, -1, 9), -EINVAL);
    assert_int_equal(setlk(&t, i, 1, F_WRLCK, 10, 9), -EINVAL);
    assert_int_equal(setlk(&t, i, 1, F_WRLCK, 0, -5), -EINVAL);
    struct fs_lock lk = lock_of(F_UNLCK, 0, 9);
    assert_int_equal(fs_getlk(t.fs, i, 1, &lk), -EINVAL);
    assert_ok(setlk(&t, i, 1, F_WRLCK, INT64_MAX - 1, INT64_MAX - 1));
    assert_ok(setlk(&t, i, 1, F_WRLCK, INT64_MAX, INT64_MAX));
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* What is given back by and by is so in ten seconds. */
static void await_fds(unsigned want)
{
    for (unsigned i = 0; i < 10000 && count_fds() != want; i++)
        usleep(1000);
    assert_int_equal(count_fds(), want);
}

/* Locks of an inode that the guest has forgotten end. */
static void test_forgotten(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "f", "x");
    unsigned fds = count_fds();
    uint64_t id = tree_guest_look(&t, t.root, "f");
    struct fs_inode *i = fs_inode_get(t.fs, id);
    for (uint64_t o = 0; o < 20; o++)
        assert_ok(setlk(&t, i, o, F_RDLCK, 0, WHOLE));
    fs_inode_put(t.fs, i);
    fs_forget(t.fs, id, 1);
    await_fds(fds);
    assert_null(fs_inode_get(t.fs, id));
    tree_stop(&t);
}

static void test_bound(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    struct fs_attr a;
    int rc = 0;
    uint64_t n = 0;
    cfg.max_fds = 40;
    tree_make(&t);
    tree_open(&t, &cfg);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    unsigned fds = count_fds();
    for (; rc == 0 && n < 100; n++)
        rc = setlk(&t, i, n, F_RDLCK, 0, WHOLE);
    assert_int_equal(rc, -ENFILE);
    assert_true(count_fds() < fds + 40);
    assert_ok(fs_getattr(t.fs, i, NULL, &a));
    fs_inode_put(t.fs, i);
    fs_reset(t.fs);
    tree_stop(&t);
}

/* A process of the host that locks the file, and says what it found. */
static int host_lock(const char *path, int cmd, short type)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct flock fl = {.l_type = type, .l_whence = SEEK_SET};
        int fd = open(path, O_RDWR | O_CLOEXEC);
        int rc = cmd ? fcntl(fd, cmd, &fl) : flock(fd, LOCK_EX | LOCK_NB);
        _exit(rc == 0 ? 0 : errno);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_host(void **state)
{
    struct share t;
    struct fs_opened o;
    tree_start(&t);
    tree_write(&t, "f", "x");
    const char *path = tree_path(&t, "f");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(setlk(&t, i, 1, F_WRLCK, 0, WHOLE));
    assert_int_equal(host_lock(path, F_SETLK, F_RDLCK), EAGAIN);
    assert_int_equal(host_lock(path, F_OFD_SETLK, F_WRLCK), EAGAIN);
    assert_ok(fs_flush(t.fs, i, 1));
    assert_int_equal(host_lock(path, F_SETLK, F_WRLCK), 0);

    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
    assert_ok(fcntl(fd, F_OFD_SETLK, &fl));
    assert_int_equal(setlk(&t, i, 1, F_RDLCK, 5, 5), -EAGAIN);
    close(fd);
    assert_ok(setlk(&t, i, 1, F_RDLCK, 5, 5));

    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o));
    struct fs_file *f = fs_file_get(t.fs, o.fh, i);
    assert_ok(fs_flock(t.fs, f, LOCK_EX));
    assert_int_equal(host_lock(path, 0, 0), EWOULDBLOCK);
    assert_ok(fs_flock(t.fs, f, LOCK_UN));
    assert_int_equal(host_lock(path, 0, 0), 0);
    assert_int_equal(fs_flock(t.fs, f, LOCK_EX | LOCK_NB), -EINVAL);
    assert_int_equal(fs_flock(t.fs, f, 0), -EINVAL);
    fs_file_put(t.fs, f);
    fs_release(t.fs, o.fh);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* No more ranges than there may be, for all clients together; what becomes one counts as one. */
static void test_ranges_bound(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    cfg.max_lock_ranges = 10;
    tree_make(&t);
    tree_open(&t, &cfg);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    for (off_t n = 0; n < 8; n++)
        assert_ok(setlk(&t, i, 1, F_WRLCK, 10 * n, 10 * n + 4));
    assert_ok(setlk(&t, i, 1, F_WRLCK, 100, 104));             /* 9 */
    assert_ok(setlk(&t, i, 1, F_WRLCK, 105, 109));             /* one with it */
    assert_int_equal(setlk(&t, i, 1, F_RDLCK, 2, 3), -ENOLCK); /* would make three of one */
    assert_ok(setlk(&t, i, 2, F_RDLCK, 5, 5));
    assert_int_equal(setlk(&t, i, 2, F_RDLCK, 7, 7), -ENOLCK);
    assert_int_equal(setlk(&t, i, 3, F_WRLCK, 0, 0), -ENOLCK);
    assert_int_equal(setlk(&t, i, 1, F_UNLCK, 2, 3), -ENOLCK);
    struct fs *other = fs_client_new(t.fs);
    struct fs_lock lk = lock_of(F_RDLCK, 1000, 1000);
    assert_int_equal(fs_setlk(other, i, &(struct fs_locker){.owner = 1}, &lk), -ENOLCK);
    assert_ok(setlk(&t, i, 1, F_UNLCK, 100, 109));
    assert_ok(fs_setlk(other, i, &(struct fs_locker){.owner = 1}, &lk));
    fs_free(other); /* its range goes with it */
    assert_ok(setlk(&t, i, 1, F_UNLCK, 70, 79));
    assert_ok(setlk(&t, i, 1, F_RDLCK, 2, 3)); /* 10, the other owner's with it */
    assert_int_equal(setlk(&t, i, 1, F_WRLCK, 300, 300), -ENOLCK);
    assert_ok(fs_flush(t.fs, i, 1));
    for (off_t n = 0; n < 9; n++)
        assert_ok(setlk(&t, i, 4, F_RDLCK, 10 * n, 10 * n));
    assert_int_equal(setlk(&t, i, 4, F_RDLCK, 500, 500), -ENOLCK);
    fs_inode_put(t.fs, i);
    fs_reset(t.fs);
    tree_stop(&t);
}

/* A lock whose owner is an open file ends with that; one of a process does not end with another
 * file of it. */
static void test_release(void **state)
{
    struct share t;
    struct fs_opened o1, o2;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    unsigned fds = count_fds();
    assert_ok(fs_open(t.fs, i, O_RDWR, 0, &o1));
    assert_ok(fs_open(t.fs, i, O_RDWR, 0, &o2));
    struct fs_file *f1 = fs_file_get(t.fs, o1.fh, i), *f2 = fs_file_get(t.fs, o2.fh, i);
    assert_ok(setlk_by(&t, i, f1, 1, lock_of(F_WRLCK, 0, 9)));
    assert_ok(setlk_by(&t, i, f2, 2, lock_of(F_WRLCK, 10, 19)));
    assert_ok(setlk_by(&t, i, f1, 3, lock_of(F_WRLCK, 20, 29)));
    assert_ok(setlk_by(&t, i, f2, 3, lock_of(F_WRLCK, 30, 39)));
    fs_file_put(t.fs, f1);
    assert_ok(fs_release(t.fs, o1.fh));
    assert_ok(setlk(&t, i, 9, F_WRLCK, 0, 9));
    assert_int_equal(setlk(&t, i, 9, F_WRLCK, 10, 19), -EAGAIN);
    assert_int_equal(setlk(&t, i, 9, F_WRLCK, 20, 29), -EAGAIN);
    /* A process that has unlocked all starts over. */
    assert_ok(fs_flush(t.fs, i, 3));
    assert_ok(setlk_by(&t, i, f2, 3, lock_of(F_WRLCK, 20, 29)));
    fs_file_put(t.fs, f2);
    assert_ok(fs_release(t.fs, o2.fh));
    assert_ok(setlk(&t, i, 9, F_WRLCK, 0, WHOLE));
    assert_ok(fs_flush(t.fs, i, 9));
    assert_int_equal(count_fds(), fds);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* GETLK names another owner of the same client, and nobody else. */
static void test_holder(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(setlk(&t, i, 77, F_RDLCK, 10, 19));
    assert_ok(setlk(&t, i, 78, F_RDLCK, 15, 29));
    struct fs_lock lk = lock_of(F_WRLCK, 0, 14);
    assert_ok(fs_getlk(t.fs, i, 1, &lk));
    assert_int_equal(lk.pid, 77);
    lk = lock_of(F_WRLCK, 20, 20);
    assert_ok(fs_getlk(t.fs, i, 77, &lk));
    assert_int_equal(lk.pid, 78);
    assert_int_equal(lk.start, 15);
    struct fs *other = fs_client_new(t.fs);
    lk = lock_of(F_WRLCK, 0, 14);
    assert_ok(fs_getlk(other, i, 1, &lk));
    assert_int_equal(lk.type, F_RDLCK);
    assert_int_equal(lk.pid, 0);
    fs_free(other);
    struct flock fl = {.l_type = F_WRLCK, .l_start = 100, .l_len = 1};
    int fd = open(tree_path(&t, "f"), O_RDWR | O_CLOEXEC);
    assert_ok(fcntl(fd, F_SETLK, &fl));
    lk = lock_of(F_RDLCK, 100, 100);
    assert_ok(fs_getlk(t.fs, i, 1, &lk));
    assert_int_equal(lk.type, F_WRLCK);
    assert_int_equal(lk.pid, 0);
    close(fd);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* Whether the file was opened for writing and closed since the last time. */
static bool was_written(int watch)
{
    char buf[4096];
    return read(watch, buf, sizeof(buf)) > 0;
}

/* A lock for reading opens for reading; one for writing then keeps what there is. */
static void test_read_then_write(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "f", "x");
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    assert_true(inotify_add_watch(watch, tree_path(&t, "f"), IN_CLOSE_WRITE) >= 0);
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(setlk(&t, i, 1, F_RDLCK, 0, 9));
    assert_ok(setlk(&t, i, 1, F_RDLCK, 20, 29));
    assert_ok(fs_flush(t.fs, i, 1));
    assert_false(was_written(watch));
    unsigned fds = count_fds();
    assert_ok(setlk(&t, i, 1, F_RDLCK, 0, 9));
    assert_ok(setlk(&t, i, 1, F_RDLCK, 20, 29));
    assert_ok(setlk(&t, i, 2, F_RDLCK, 25, 25));
    assert_int_equal(setlk(&t, i, 1, F_WRLCK, 0, 29), -EAGAIN);
    assert_int_equal(setlk(&t, i, 3, F_WRLCK, 0, 0), -EAGAIN);
    assert_ok(setlk(&t, i, 1, F_WRLCK, 5, 9));
    assert_int_equal(setlk(&t, i, 3, F_RDLCK, 5, 5), -EAGAIN);
    assert_int_equal(setlk(&t, i, 3, F_WRLCK, 29, 29), -EAGAIN);
    assert_ok(setlk(&t, i, 3, F_RDLCK, 4, 4));
    assert_int_equal(count_fds(), fds + 3);
    for (uint64_t o = 1; o <= 3; o++)
        assert_ok(fs_flush(t.fs, i, o));
    assert_int_equal(count_fds(), fds);
    assert_true(was_written(watch));
    close(watch);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* What cannot be opened for writing at will can be opened for appending. */
static void test_append_only(void **state)
{
    struct share t;
    need_root();
    tree_start(&t);
    tree_write(&t, "f", "x");
    int fd = open(tree_path(&t, "f"), O_RDONLY | O_CLOEXEC), flags = FS_APPEND_FL;
    int rc = ioctl(fd, FS_IOC_SETFLAGS, &flags);
    struct fs_inode *i = tree_look(&t, t.root, "f");
    if (rc == 0)
        assert_ok(setlk(&t, i, 1, F_WRLCK, 0, WHOLE));
    else
        print_message("no append-only files here\n");
    flags = 0;
    (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    close(fd);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owners),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_host),
        cmocka_unit_test(test_ranges_bound),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_holder),
        cmocka_unit_test(test_read_then_write),
        cmocka_unit_test(test_append_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
