/* SPDX-License-Identifier: BSD-3-Clause
 * Two clients of one tree: the same inodes, files and locks of their own. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/file.h>

#define WHOLE INT64_MAX

static int lock_all(struct fs *fs, struct fs_inode *i, uint64_t owner, short type)
{
    struct fs_lock lk = {.type = type, .start = 0, .end = WHOLE};
    struct fs_locker who = {.owner = owner};
    return fs_setlk(fs, i, &who, &lk);
}

/* The number of references and lookups is what it was. */
static void test_same_inodes(void **state)
{
    struct share t;
    struct fs_entry e;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs *v = fs_client_new(t.fs);
    assert_non_null(v);
    uint64_t id = tree_guest_look(&t, t.root, "f");
    assert_ok(fs_lookup(v, t.root, "f", &e));
    assert_int_equal(fs_inode_id(e.inode), id);
    fs_inode_put(v, e.inode);
    fs_free(v);
    struct fs_inode *i = fs_inode_get(t.fs, id); /* still the first one's */
    assert_non_null(i);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* The first client may cache writes; the other one's files are opened as it says. */
static void test_no_write_cache(void **state)
{
    struct share t;
    struct fs_opened o;
    struct share_config cfg = tree_config();
    char buf[8];
    struct iovec out = {buf, sizeof(buf)}, in = {(char *)"b", 1};
    tree_make(&t);
    tree_open(&t, &cfg);
    tree_write(&t, "f", "a");
    fs_writeback_enable(t.fs, true);
    struct fs *v = fs_client_new(t.fs);
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_open(v, i, O_WRONLY | O_APPEND, 0, &o));
    struct fs_file *f = fs_file_get(v, o.fh, i);
    assert_int_equal(fs_read(v, f, &out, 1, 0, 0), -EBADF);
    assert_int_equal(fs_write(v, f, &in, 1, 0, fs_file_how(f)), 1);
    fs_file_put(v, f);
    assert_ok(fs_release(v, o.fh));
    assert_ok(fs_open(t.fs, i, O_WRONLY | O_APPEND, 0, &o));
    f = fs_file_get(t.fs, o.fh, i);
    assert_int_equal(fs_read(t.fs, f, &out, 1, 0, 0), 2); /* it was appended */
    assert_memory_equal(buf, "ab", 2);
    fs_file_put(t.fs, f);
    assert_ok(fs_release(t.fs, o.fh));
    fs_inode_put(t.fs, i);
    fs_free(v);
    tree_stop(&t);
}

static void test_handles_are_private(void **state)
{
    struct share t;
    struct fs_opened a, b;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs *v = fs_client_new(t.fs);
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_open(v, i, O_RDWR, 0, &a));
    assert_null(fs_file_get(t.fs, a.fh, NULL));
    assert_int_equal(fs_release(t.fs, a.fh), -EBADF);
    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &b));
    assert_ok(fs_release(t.fs, b.fh));
    struct fs_file *f = fs_file_get(v, a.fh, i);
    assert_non_null(f);
    fs_file_put(v, f);
    assert_ok(fs_release(v, a.fh));
    fs_inode_put(t.fs, i);
    fs_free(v);
    tree_stop(&t);
}

/* The same owner number means two owners. */
static void test_locks_exclude(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs *v = fs_client_new(t.fs);
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(lock_all(v, i, 1, F_WRLCK));
    assert_int_equal(lock_all(t.fs, i, 1, F_WRLCK), -EAGAIN);
    struct fs_lock lk = {.type = F_RDLCK, .start = 0, .end = WHOLE};
    assert_ok(fs_getlk(t.fs, i, 1, &lk));
    assert_int_equal(lk.type, F_WRLCK);
    assert_ok(fs_flush(t.fs, i, 1)); /* not its lock to drop */
    assert_int_equal(lock_all(t.fs, i, 1, F_RDLCK), -EAGAIN);
    assert_ok(fs_flush(v, i, 1));
    assert_ok(lock_all(t.fs, i, 1, F_WRLCK));
    assert_int_equal(lock_all(v, i, 1, F_RDLCK), -EAGAIN);
    fs_inode_put(t.fs, i);
    fs_free(v);
    tree_stop(&t);
}

/* When one client's guest goes, the other keeps inodes, files and locks. */
static void test_reset_of_first(void **state)
{
    struct share t;
    struct fs_opened o;
    char buf[8];
    struct iovec iov = {buf, sizeof(buf)};
    tree_start(&t);
    tree_write(&t, "f", "hello");
    struct fs *v = fs_client_new(t.fs);
    uint64_t id = tree_guest_look(&t, t.root, "f");
    struct fs_inode *i = tree_look(&t, t.root, "f"); /* the second client's */
    assert_ok(fs_open(v, i, O_RDWR, 0, &o));
    assert_ok(lock_all(v, i, 7, F_WRLCK));
    fs_forget(t.fs, id, 1); /* drops its own owners only */
    id = tree_guest_look(&t, t.root, "f");
    fs_reset(t.fs);

    assert_int_equal(lock_all(t.fs, i, 7, F_RDLCK), -EAGAIN);
    struct fs_file *f = fs_file_get(v, o.fh, i);
    assert_non_null(f);
    assert_int_equal(fs_read(v, f, &iov, 1, 0, 0), 5);
    fs_file_put(v, f);
    assert_ok(fs_flush(v, i, 7));
    assert_ok(lock_all(t.fs, i, 7, F_RDLCK));
    assert_ok(fs_release(v, o.fh));
    assert_int_equal(fs_inode_id(i), id); /* it was held */
    assert_ok(fs_flush(t.fs, i, 7));
    fs_inode_put(v, i);
    assert_null(fs_inode_get(t.fs, id)); /* and is gone now */
    fs_free(v);
    tree_stop(&t);
}

struct result {
    pthread_mutex_t lock;
    int rc;
    bool done;
};

static void on_done(void *user, int rc)
{
    struct result *r = user;
    pthread_mutex_lock(&r->lock);
    r->rc = rc;
    r->done = true;
    pthread_mutex_unlock(&r->lock);
}

static bool is_done(struct result *r)
{
    pthread_mutex_lock(&r->lock);
    bool done = r->done;
    pthread_mutex_unlock(&r->lock);
    return done;
}

static void test_reset_of_other(void **state)
{
    struct share t;
    struct fs_opened o;
    struct result r = {.lock = PTHREAD_MUTEX_INITIALIZER}, w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs *v = fs_client_new(t.fs);
    uint64_t id = tree_guest_look(&t, t.root, "f");
    struct fs_inode *i = fs_inode_get(t.fs, id);
    assert_ok(fs_open(t.fs, i, O_RDWR, 0, &o));
    assert_ok(lock_all(t.fs, i, 1, F_WRLCK));
    struct fs_lock lk = {.type = F_WRLCK, .start = 0, .end = WHOLE};
    fs_setlk_wait(v, i, &(struct fs_locker){.owner = 1}, &lk, 0, on_done, &r);
    fs_setlk_wait(t.fs, i, &(struct fs_locker){.owner = 2}, &lk, 0, on_done, &w);
    fs_reset(v);
    assert_true(is_done(&r));
    assert_int_equal(r.rc, -EINTR);
    assert_false(is_done(&w)); /* the first one's wait goes on */
    struct fs_file *f = fs_file_get(t.fs, o.fh, i);
    assert_non_null(f);
    fs_file_put(t.fs, f);
    assert_int_equal(lock_all(v, i, 1, F_RDLCK), -EAGAIN);
    fs_waits_cancel(t.fs);
    assert_int_equal(w.rc, -EINTR);
    fs_inode_put(t.fs, i);
    fs_free(v);
    tree_stop(&t);
}

/* One client resets again and again while the other works. */
static atomic_bool end;

static void *work(void *arg)
{
    struct fs *v = arg;
    struct fs_inode *root = fs_inode_get(v, FS_ROOT_ID);
    fs_thread_start();
    while (!atomic_load(&end)) {
        struct fs_entry e;
        struct fs_opened o;
        assert_ok(fs_lookup(v, root, "f", &e));
        assert_ok(fs_open(v, e.inode, O_RDONLY, 0, &o));
        assert_ok(fs_release(v, o.fh));
        fs_inode_put(v, e.inode);
    }
    fs_inode_put(v, root);
    return NULL;
}

static void test_at_once(void **state)
{
    struct share t;
    pthread_t th;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs *v = fs_client_new(t.fs);
    atomic_store(&end, false);
    assert_ok(pthread_create(&th, NULL, work, v));
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t id = tree_guest_look(&t, t.root, "f");
        if (i % 3 == 0)
            fs_forget(t.fs, id, 1);
        else
            fs_reset(t.fs);
    }
    atomic_store(&end, true);
    pthread_join(th, NULL);
    fs_free(v);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_inodes),    cmocka_unit_test(test_handles_are_private),
        cmocka_unit_test(test_no_write_cache), cmocka_unit_test(test_locks_exclude),
        cmocka_unit_test(test_reset_of_first), cmocka_unit_test(test_reset_of_other),
        cmocka_unit_test(test_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
