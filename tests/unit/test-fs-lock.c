/* SPDX-License-Identifier: BSD-3-Clause
 * Locks between owners, with the host, and waiting for them. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WHOLE INT64_MAX

static struct fs_lock lock_of(short type, off_t start, off_t end)
{
    return (struct fs_lock){.type = type, .start = start, .end = end};
}

static int setlk(struct tree *t, struct fs_inode *i, uint64_t owner, short type, off_t a, off_t b)
{
    struct fs_lock lk = lock_of(type, a, b);
    return fs_setlk(t->fs, i, owner, &lk);
}

static void test_owners(void **state)
{
    struct tree t;
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
    struct tree t;
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

/* Locks of an inode that the guest has forgotten end. */
static void test_forgotten(void **state)
{
    struct tree t;
    tree_start(&t);
    tree_write(&t, "f", "x");
    unsigned fds = count_fds();
    uint64_t id = tree_guest_look(&t, t.root, "f");
    struct fs_inode *i = fs_inode_get(t.fs, id);
    for (uint64_t o = 0; o < 20; o++)
        assert_ok(setlk(&t, i, o, F_RDLCK, 0, WHOLE));
    fs_inode_put(t.fs, i);
    fs_forget(t.fs, id, 1);
    assert_int_equal(count_fds(), fds);
    assert_null(fs_inode_get(t.fs, id));
    tree_stop(&t);
}

static void test_bound(void **state)
{
    struct tree t;
    struct fs_config cfg = tree_config();
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
    struct tree t;
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

/* ---- waiting ---- */

struct result {
    pthread_mutex_t m;
    pthread_cond_t c;
    unsigned calls;
    int rc;
};

#define RESULT_INIT                                               \
    {                                                             \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 1 \
    }

static void on_done(void *user, int rc)
{
    struct result *r = user;
    pthread_mutex_lock(&r->m);
    r->calls++;
    r->rc = rc;
    pthread_cond_signal(&r->c);
    pthread_mutex_unlock(&r->m);
}

static int wait_result(struct result *r)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&r->m);
    while (r->calls == 0)
        if (pthread_cond_timedwait(&r->c, &r->m, &until) != 0)
            fail_msg("no answer");
    assert_int_equal(r->calls, 1);
    int rc = r->rc;
    pthread_mutex_unlock(&r->m);
    return rc;
}

static bool is_waiting(struct result *r)
{
    struct timespec ts = {.tv_nsec = 50000000};
    nanosleep(&ts, NULL);
    pthread_mutex_lock(&r->m);
    bool none = r->calls == 0;
    pthread_mutex_unlock(&r->m);
    return none;
}

static void setlk_wait(struct tree *t, struct fs_inode *i, uint64_t owner, short type,
                       struct result *r)
{
    struct fs_lock lk = lock_of(type, 0, WHOLE);
    fs_setlk_wait(t->fs, i, owner, &lk, on_done, r);
}

static void test_wait(void **state)
{
    struct tree t;
    struct result free_one = RESULT_INIT, r = RESULT_INIT, bad = RESULT_INIT, un = RESULT_INIT;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    unsigned fds = count_fds();
    setlk_wait(&t, i, 1, F_WRLCK, &free_one);
    assert_ok(wait_result(&free_one));
    setlk_wait(&t, i, 2, F_WRLCK, &r);
    assert_true(is_waiting(&r));
    setlk_wait(&t, i, 2, 55, &bad);
    assert_int_equal(wait_result(&bad), -EINVAL);
    setlk_wait(&t, i, 1, F_UNLCK, &un);
    assert_ok(wait_result(&un));
    assert_ok(wait_result(&r)); /* and it really is the owner now */
    assert_int_equal(setlk(&t, i, 1, F_RDLCK, 0, 0), -EAGAIN);
    assert_ok(fs_flush(t.fs, i, 2));
    assert_ok(setlk(&t, i, 1, F_RDLCK, 0, 0));
    assert_ok(fs_flush(t.fs, i, 1));
    assert_int_equal(count_fds(), fds);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* A close of the same owner while it waits must not take the later lock away. */
static void test_flush_while_waiting(void **state)
{
    struct tree t;
    struct result r = RESULT_INIT;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(setlk(&t, i, 1, F_WRLCK, 0, WHOLE));
    setlk_wait(&t, i, 2, F_WRLCK, &r);
    assert_true(is_waiting(&r));
    assert_ok(fs_flush(t.fs, i, 2));
    assert_true(is_waiting(&r));
    assert_ok(fs_flush(t.fs, i, 1));
    assert_ok(wait_result(&r));
    assert_int_equal(setlk(&t, i, 1, F_RDLCK, 0, 0), -EAGAIN);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static void test_cancel(void **state)
{
    struct tree t;
    struct result r[5] = {RESULT_INIT, RESULT_INIT, RESULT_INIT, RESULT_INIT, RESULT_INIT};
    struct fs_opened o1, o2;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(setlk(&t, i, 1, F_WRLCK, 0, WHOLE));
    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o1));
    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o2));
    struct fs_file *f1 = fs_file_get(t.fs, o1.fh, i), *f2 = fs_file_get(t.fs, o2.fh, i);
    assert_ok(fs_flock(t.fs, f1, LOCK_EX));
    for (unsigned n = 0; n < 3; n++)
        setlk_wait(&t, i, 10 + n, F_WRLCK, &r[n]);
    fs_flock_wait(t.fs, f2, LOCK_SH, on_done, &r[3]);
    assert_true(is_waiting(&r[0]) && is_waiting(&r[3]));
    setlk_wait(&t, i, 20, F_WRLCK, &r[4]); /* a fifth of four */
    assert_int_equal(wait_result(&r[4]), -ENOLCK);
    fs_locks_cancel(t.fs);
    for (unsigned n = 0; n < 4; n++)
        assert_int_equal(wait_result(&r[n]), -EINTR);
    fs_file_put(t.fs, f1);
    fs_file_put(t.fs, f2);
    fs_inode_put(t.fs, i);
    fs_locks_cancel(t.fs); /* nothing to end */
    tree_stop(&t);
}

static void test_flock_wait(void **state)
{
    struct tree t;
    struct result r = RESULT_INIT;
    struct fs_opened o1, o2;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o1));
    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o2));
    struct fs_file *f1 = fs_file_get(t.fs, o1.fh, i), *f2 = fs_file_get(t.fs, o2.fh, i);
    assert_ok(fs_flock(t.fs, f1, LOCK_SH));
    assert_int_equal(fs_flock(t.fs, f2, LOCK_EX), -EWOULDBLOCK);
    fs_flock_wait(t.fs, f2, LOCK_EX, on_done, &r);
    fs_file_put(t.fs, f2); /* the wait has its own reference */
    assert_true(is_waiting(&r));
    fs_file_put(t.fs, f1);
    assert_ok(fs_release(t.fs, o1.fh)); /* the close gives the lock back */
    assert_ok(wait_result(&r));
    fs_release(t.fs, o2.fh);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* Reset in the middle of a wait ends it, and everything else. */
static void test_reset(void **state)
{
    struct tree t;
    struct result r = RESULT_INIT;
    tree_start(&t);
    tree_write(&t, "f", "x");
    unsigned fds = count_fds();
    uint64_t id = tree_guest_look(&t, t.root, "f");
    struct fs_inode *i = fs_inode_get(t.fs, id);
    assert_ok(setlk(&t, i, 1, F_WRLCK, 0, WHOLE));
    setlk_wait(&t, i, 2, F_WRLCK, &r);
    fs_inode_put(t.fs, i);
    fs_reset(t.fs);
    assert_int_equal(wait_result(&r), -EINTR);
    assert_int_equal(count_fds(), fds);
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
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_flush_while_waiting),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_flock_wait),
        cmocka_unit_test(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
