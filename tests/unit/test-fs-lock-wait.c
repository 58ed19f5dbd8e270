/* SPDX-License-Identifier: BSD-3-Clause
 * Waiting for locks, and what ends it. */
#include "tests/unit/fs-locks.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

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

static void wait_for(struct share *t, struct fs_inode *i, uint64_t owner, struct fs_lock lk,
                     uint64_t id, struct result *r)
{
    struct fs_locker who = {.owner = owner};
    fs_setlk_wait(t->fs, i, &who, &lk, id, on_done, r);
}

static void setlk_wait(struct share *t, struct fs_inode *i, uint64_t owner, short type,
                       struct result *r)
{
    wait_for(t, i, owner, lock_of(type, 0, WHOLE), 0, r);
}

static void test_wait(void **state)
{
    struct share t;
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
    struct share t;
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
    struct share t;
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
    fs_flock_wait(t.fs, f2, LOCK_SH, 0, on_done, &r[3]);
    assert_true(is_waiting(&r[0]) && is_waiting(&r[3]));
    setlk_wait(&t, i, 20, F_WRLCK, &r[4]); /* a fifth of four */
    assert_int_equal(wait_result(&r[4]), -ENOLCK);
    fs_waits_cancel(t.fs);
    for (unsigned n = 0; n < 4; n++)
        assert_int_equal(wait_result(&r[n]), -EINTR);
    fs_file_put(t.fs, f1);
    fs_file_put(t.fs, f2);
    fs_inode_put(t.fs, i);
    fs_waits_cancel(t.fs); /* nothing to end */
    tree_stop(&t);
}

static void test_flock_wait(void **state)
{
    struct share t;
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
    fs_flock_wait(t.fs, f2, LOCK_EX, 0, on_done, &r);
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
    struct share t;
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

/* Two owners, and three, on one file and on several, that would wait for each other for ever. */
static void test_deadlock(void **state)
{
    struct share t;
    struct result a = RESULT_INIT, b = RESULT_INIT, c = RESULT_INIT;
    tree_start(&t);
    tree_write(&t, "f", "x");
    tree_write(&t, "g", "x");
    struct fs_inode *f = tree_look(&t, t.root, "f"), *g = tree_look(&t, t.root, "g");
    assert_ok(setlk(&t, f, 1, F_WRLCK, 0, 0));
    assert_ok(setlk(&t, g, 2, F_WRLCK, 5, 5));
    assert_ok(setlk(&t, f, 3, F_RDLCK, 9, 9));
    wait_for(&t, g, 1, lock_of(F_RDLCK, 0, 9), 0, &a); /* 1 waits for 2 */
    assert_true(is_waiting(&a));
    wait_for(&t, f, 2, lock_of(F_WRLCK, 9, 9), 0, &b); /* 2 for 3 */
    assert_true(is_waiting(&b));
    wait_for(&t, f, 3, lock_of(F_WRLCK, 0, 0), 0, &c); /* 3 for 1 */
    assert_int_equal(wait_result(&c), -EDEADLK);
    assert_true(is_waiting(&a));
    /* Another may wait for 1: nobody waits for him. */
    struct result d = RESULT_INIT, e = RESULT_INIT;
    wait_for(&t, f, 4, lock_of(F_RDLCK, 0, 0), 0, &d);
    assert_true(is_waiting(&d));
    /* Who gave up lets the others go on, one after the other. */
    assert_ok(fs_flush(t.fs, f, 3));
    assert_ok(wait_result(&b));
    assert_ok(fs_flush(t.fs, g, 2));
    assert_ok(wait_result(&a));
    assert_ok(fs_flush(t.fs, f, 1));
    assert_ok(wait_result(&d));
    /* Two, crosswise. */
    struct result x = RESULT_INIT;
    assert_ok(fs_flush(t.fs, f, 2));
    assert_ok(fs_flush(t.fs, f, 4));
    assert_ok(setlk(&t, f, 1, F_WRLCK, 0, 0));
    assert_ok(setlk(&t, f, 2, F_WRLCK, 1, 1));
    wait_for(&t, f, 1, lock_of(F_WRLCK, 1, 1), 0, &x);
    assert_true(is_waiting(&x));
    wait_for(&t, f, 2, lock_of(F_WRLCK, 0, 0), 0, &e);
    assert_int_equal(wait_result(&e), -EDEADLK);
    assert_ok(fs_flush(t.fs, f, 2));
    assert_ok(wait_result(&x));
    fs_inode_put(t.fs, f);
    fs_inode_put(t.fs, g);
    tree_stop(&t);
}

/* A wait ends when its time is over, with a thread of its own and in line. */
static void test_deadline(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    static struct result r[80];
    struct timespec from, to;
    cfg.max_lock_waiters = G_N_ELEMENTS(r);
    cfg.lock_wait = 0.3;
    tree_make(&t);
    tree_open(&t, &cfg);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(setlk(&t, i, 1, F_WRLCK, 0, WHOLE));
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned n = 0; n < G_N_ELEMENTS(r); n++) {
        r[n] = (struct result)RESULT_INIT;
        setlk_wait(&t, i, 10 + n, F_WRLCK, &r[n]);
    }
    for (unsigned n = 0; n < G_N_ELEMENTS(r); n++)
        assert_int_equal(wait_result(&r[n]), -ENOLCK);
    clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 >= 299);
    assert_int_equal(setlk(&t, i, 10, F_RDLCK, 0, 0), -EAGAIN);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* More than there are threads: each gets its turn, whoever gives the lock up. */
static void test_crowd(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    static struct result r[200];
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    cfg.max_lock_waiters = G_N_ELEMENTS(r);
    tree_make(&t);
    tree_open(&t, &cfg);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    int host = open(tree_path(&t, "f"), O_RDWR | O_CLOEXEC);
    assert_ok(fcntl(host, F_OFD_SETLK, &fl));
    for (unsigned n = 0; n < G_N_ELEMENTS(r); n++) {
        r[n] = (struct result)RESULT_INIT;
        setlk_wait(&t, i, 10 + n, F_WRLCK, &r[n]);
    }
    assert_true(is_waiting(&r[0]) && is_waiting(&r[G_N_ELEMENTS(r) - 1]));
    fs_wait_cancel(t.fs, &r[70]); /* in line */
    assert_int_equal(wait_result(&r[70]), -EINTR);
    fs_wait_cancel(t.fs, &r[3]);
    assert_int_equal(wait_result(&r[3]), -EINTR);
    close(host);
    unsigned left = G_N_ELEMENTS(r) - 2;
    bool had[G_N_ELEMENTS(r)] = {[3] = true, [70] = true};
    for (unsigned tries = 0; left > 0 && tries < 20000; tries++) {
        for (unsigned n = 0; n < G_N_ELEMENTS(r); n++) {
            pthread_mutex_lock(&r[n].m);
            bool got = !had[n] && r[n].calls > 0;
            pthread_mutex_unlock(&r[n].m);
            if (!got)
                continue;
            assert_ok(r[n].rc);
            had[n] = true;
            left--;
            assert_int_equal(setlk(&t, i, 1, F_RDLCK, 0, 0), -EAGAIN);
            assert_ok(fs_flush(t.fs, i, 10 + n));
        }
        usleep(1000);
    }
    assert_int_equal(left, 0);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static void test_interrupt(void **state)
{
    struct share t;
    struct result r = RESULT_INIT, other = RESULT_INIT;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(setlk(&t, i, 1, F_WRLCK, 0, WHOLE));
    wait_for(&t, i, 2, lock_of(F_WRLCK, 0, 0), 1234, &r);
    wait_for(&t, i, 3, lock_of(F_WRLCK, 1, 1), 1235, &other);
    fs_wait_interrupt(t.fs, 99);
    assert_true(is_waiting(&r));
    fs_wait_interrupt(t.fs, 1234);
    assert_int_equal(wait_result(&r), -EINTR);
    assert_true(is_waiting(&other));
    assert_ok(fs_flush(t.fs, i, 1));
    assert_ok(wait_result(&other));
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* What the same owner unlocks while it waits for more is not counted as held, nor kept. */
static void test_busy_owner(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    cfg.max_lock_ranges = 3;
    cfg.max_lock_waiters = 8;
    tree_make(&t);
    tree_open(&t, &cfg);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    for (unsigned round = 0; round < 200; round++) {
        struct result r = RESULT_INIT;
        assert_ok(setlk(&t, i, 1, F_WRLCK, 0, 0));
        wait_for(&t, i, 2, lock_of(F_RDLCK, 0, 0), 0, &r);
        assert_ok(setlk(&t, i, 2, F_WRLCK, 5, 5)); /* changes its description, too */
        assert_ok(setlk(&t, i, 1, F_UNLCK, 0, 0));
        assert_ok(setlk(&t, i, 2, F_UNLCK, 5, 5));
        assert_ok(wait_result(&r));
        assert_int_equal(setlk(&t, i, 1, F_WRLCK, 0, 0), -EAGAIN);
        assert_ok(fs_flush(t.fs, i, 2));
        assert_ok(setlk(&t, i, 1, F_WRLCK, 0, 0));
        assert_ok(setlk(&t, i, 1, F_WRLCK, 2, 2));
        assert_ok(setlk(&t, i, 1, F_WRLCK, 4, 4)); /* three of three */
        assert_ok(fs_flush(t.fs, i, 1));
    }
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait),      cmocka_unit_test(test_flush_while_waiting),
        cmocka_unit_test(test_cancel),    cmocka_unit_test(test_flock_wait),
        cmocka_unit_test(test_reset),     cmocka_unit_test(test_deadlock),
        cmocka_unit_test(test_deadline),  cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_interrupt), cmocka_unit_test(test_busy_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
