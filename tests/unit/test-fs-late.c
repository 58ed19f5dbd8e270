/* SPDX-License-Identifier: BSD-3-Clause
 * The core over another tree than the host's directory: in memory, read-only, without most verbs,
 * and some of its data come late. */
#include "tests/unit/fs-tree.h"
#include "tests/unit/tree-mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- a read that is waited for ---- */

struct late {
    struct iovec iov[2];
    unsigned char buf[300];
    sem_t sem;
    ssize_t result;
    uint64_t inode; /* of on_done_interrupt() */
    atomic_uint done;
};

static void on_done(void *user, ssize_t result)
{
    struct late *l = user;

    l->result = result;
    atomic_fetch_add(&l->done, 1);
    sem_post(&l->sem);
}

static void late_init(struct late *l)
{
    memset(l, 0, sizeof(*l));
    l->iov[0] = (struct iovec){l->buf, 100};
    l->iov[1] = (struct iovec){l->buf + 100, 200};
    sem_init(&l->sem, 0, 0);
}

static ssize_t late_end(struct late *l)
{
    while (sem_wait(&l->sem) != 0)
        ;
    assert_int_equal(l->done, 1);
    sem_destroy(&l->sem);
    return l->result;
}

static void expect_bytes(const struct late *l, off_t off, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(l->buf[i], tree_mem_byte((uint64_t)off + i));
}

struct open {
    struct fs_inode *inode;
    struct fs_file *file;
    uint64_t fh;
};

static struct open open_file(struct share *t, const char *name)
{
    struct fs_opened o;
    struct open f = {.inode = tree_look(t, t->root, name)};

    assert_ok(fs_open(t->fs, f.inode, O_RDONLY, 0, &o));
    f.fh = o.fh;
    f.file = fs_file_get(t->fs, f.fh, f.inode);
    assert_non_null(f.file);
    return f;
}

/* The guest has nothing of it any more. */
static void let_it_go(struct share *t, struct open *f)
{
    fs_file_put(t->fs, f->file);
    assert_ok(fs_release(t->fs, f->fh));
    fs_inode_put(t->fs, f->inode);
}

static void begin(struct share *t, struct open *f, struct late *l, off_t off, uint64_t id)
{
    late_init(l);
    assert_int_equal(fs_read(t->fs, f->file, l->iov, 2, off, 0), FS_LATER);
    fs_read_wait(t->fs, f->file, l->iov, 2, off, 0, id, on_done, l);
}

/* ---- what a tree is without: nodes held by nothing, verbs that it lacks ---- */

static bool on_entry(void *user, const struct fs_dirent *d, struct fs_entry *entry)
{
    unsigned *n = user;

    assert_non_null(entry);
    assert_int_equal(entry->attr.st.st_ino, d->ino);
    (*n)++;
    return false; /* the core keeps the reference */
}

static bool count_entry(void *user, const struct fs_dirent *d, struct fs_entry *entry)
{
    unsigned *n = user;
    (*n)++;
    return true;
}

static void test_names(void **state)
{
    struct share t;
    struct fs_entry e;
    struct fs_opened o;
    char target[16];
    unsigned n = 0;

    tree_start(&t);
    struct fs_inode *dir = tree_look(&t, t.root, "dir"), *again = tree_look(&t, t.root, "dir");
    assert_ptr_equal(dir, again);
    fs_inode_put(t.fs, again);
    assert_int_equal(fs_lookup(t.fs, t.root, "none", &e), -ENOENT);
    struct fs_inode *link = tree_look(&t, dir, "link"), *inner = tree_look(&t, dir, "inner");
    assert_int_equal(fs_inode_type(link), S_IFLNK);
    assert_int_equal(fs_readlink(t.fs, link, target, sizeof(target)), 5);
    assert_memory_equal(target, "inner", 5);
    assert_int_equal(fs_readlink(t.fs, inner, target, sizeof(target)), -EINVAL);
    assert_ok(fs_lookup(t.fs, dir, "..", &e));
    assert_ptr_equal(e.inode, t.root);
    fs_inode_put(t.fs, e.inode);
    assert_int_equal(fs_lookup(t.fs, inner, "x", &e), -ENOTDIR);
    assert_ok(fs_opendir(t.fs, dir, &o));
    struct fs_file *f = fs_file_get(t.fs, o.fh, dir);
    assert_ok(fs_readdir(t.fs, dir, f, 0, false, 4096, count_entry, &n));
    assert_int_equal(n, 2);
    assert_ok(fs_readdir(t.fs, dir, f, 0, true, 4096, on_entry, &n));
    assert_int_equal(n, 3);
    fs_file_put(t.fs, f);
    assert_ok(fs_release(t.fs, o.fh));
    fs_inode_put(t.fs, link);
    fs_inode_put(t.fs, inner);
    fs_inode_put(t.fs, dir);
    tree_stop(&t);
}

static void test_lookups(void **state)
{
    struct share t;

    tree_start(&t);
    uint64_t id = tree_guest_look(&t, t.root, "now");
    assert_int_equal(tree_guest_look(&t, t.root, "now"), id);
    fs_forget(t.fs, id, 1);
    struct fs_inode *inode = fs_inode_get(t.fs, id);
    assert_non_null(inode);
    fs_inode_put(t.fs, inode);
    fs_forget(t.fs, id, 1);
    assert_null(fs_inode_get(t.fs, id));
    assert_int_not_equal(tree_guest_look(&t, t.root, "now"), id);
    tree_stop(&t);
}

/* Each verb that the tree has not answers as its row in tree.h says. */
static void test_lacks(void **state)
{
    struct share t;
    struct fs_entry e;
    struct fs_opened o;
    struct fs_attr attr;
    struct statvfs st;
    struct fs_setattr set = {.valid = FS_SET_MODE};
    struct fs_lock lk = {.type = F_RDLCK, .end = INT64_MAX};
    char buf[16];

    tree_start(&t);
    struct open f = open_file(&t, "now"), dir = {.inode = tree_look(&t, t.root, "dir")};
    assert_int_equal(fs_mkdir(t.fs, &cred_root, t.root, "x", 0755, &e), -EROFS);
    assert_int_equal(fs_symlink(t.fs, &cred_root, t.root, "x", "y", &e), -EROFS);
    assert_int_equal(fs_mknod(t.fs, &cred_root, t.root, "x", S_IFREG, 0, &e), -EROFS);
    assert_int_equal(fs_create(t.fs, &cred_root, t.root, "x", 0, O_RDWR, 0, &e, &o), -EROFS);
    assert_int_equal(fs_tmpfile(t.fs, &cred_root, t.root, 0, O_RDWR, &e, &o), -EROFS);
    assert_int_equal(fs_link(t.fs, f.inode, t.root, "x", &e), -EROFS);
    assert_int_equal(fs_unlink(t.fs, t.root, "now"), -EROFS);
    assert_int_equal(fs_rmdir(t.fs, t.root, "dir"), -EROFS);
    assert_int_equal(fs_rename(t.fs, &cred_root, t.root, "now", dir.inode, "x", 0), -EROFS);
    assert_int_equal(fs_setattr(t.fs, f.inode, NULL, &set, &attr), -EROFS);
    assert_int_equal(fs_open(t.fs, f.inode, O_RDWR, 0, &o), -EROFS);
    assert_int_equal(fs_statfs(t.fs, f.inode, &st), -ENOSYS);
    struct iovec iov = {buf, sizeof(buf)};
    assert_int_equal(fs_write(t.fs, f.file, &iov, 1, 0, 0), -EBADF);
    assert_int_equal(fs_fallocate(t.fs, f.file, 0, 0, 1, 0), -EBADF);
    assert_int_equal(fs_lseek(t.fs, f.file, 0, SEEK_DATA), -EINVAL);
    assert_int_equal(fs_copy_range(t.fs, f.file, 0, f.file, 1, 1, 0, 0), -EXDEV);
    assert_ok(fs_fsync(t.fs, f.file, true));
    assert_ok(fs_syncfs(t.fs, f.inode));
    assert_ok(fs_close_error(t.fs, f.file));
    assert_int_equal(fs_getxattr(t.fs, f.inode, "user.x", buf, 1), -EOPNOTSUPP);
    assert_int_equal(fs_listxattr(t.fs, f.inode, buf, 1), -EOPNOTSUPP);
    assert_int_equal(fs_setxattr(t.fs, f.inode, "user.x", buf, 1, 0, 0), -EOPNOTSUPP);
    assert_int_equal(fs_removexattr(t.fs, f.inode, "user.x"), -EOPNOTSUPP);
    assert_int_equal(fs_map_kind(t.fs, f.inode, NULL), 0);
    assert_int_equal(fs_map_open(t.fs, f.inode, false), -ENODEV);
    assert_ok(fs_map_store(t.fs, f.inode, FS_WRITE_KILL_SUIDGID));
    struct fs_locker who = {.owner = 1};
    assert_int_equal(fs_setlk(t.fs, f.inode, &who, &lk), -ENOLCK);
    assert_int_equal(fs_getlk(t.fs, f.inode, 1, &lk), -ENOLCK);
    assert_int_equal(fs_flock(t.fs, f.file, LOCK_SH), -ENOLCK);
    assert_ok(fs_act_as(t.fs, &cred_user));
    /* What it has: */
    assert_ok(fs_access(t.fs, &cred_user, f.inode, R_OK));
    assert_int_equal(fs_access(t.fs, &cred_user, f.inode, W_OK), -EACCES);
    assert_ok(fs_getstat(t.fs, f.inode, f.file, &attr));
    assert_int_equal(attr.st.st_size, TREE_MEM_SIZE);
    fs_inode_put(t.fs, dir.inode);
    let_it_go(&t, &f);
    tree_stop(&t);
}

/* Whether the guest may keep what it has of a file that it opens once more. */
static bool kept(struct share *t, const char *name)
{
    struct fs_opened o[2];

    for (unsigned i = 0; i < 2; i++) {
        struct fs_inode *inode = tree_look(t, t->root, name);
        bool dir = S_ISDIR(fs_inode_type(inode));
        assert_ok(dir ? fs_opendir(t->fs, inode, &o[i])
                      : fs_open(t->fs, inode, O_RDONLY, 0, &o[i]));
        fs_inode_put(t->fs, inode);
    }
    assert_false(o[0].keep_cache);
    assert_ok(fs_release(t->fs, o[0].fh));
    assert_ok(fs_release(t->fs, o[1].fh));
    return o[1].keep_cache;
}

/* One more change within what a time stamp can tell apart would not show in it: nothing is kept
 * then. Stamps are of two seconds (FAT), one (ext2 and 3, ext4 with small inodes), 10 ms (exFAT) or
 * less. (A slow machine may take a second between the stamp and the look.) */
static void test_coarse_stamps(void **state)
{
    static const struct {
        int64_t ago_ms;
        long nsec; /* of the stamp; -1: as it comes */
        bool kept;
    } rows[] = {
        {-1000, -1, false},      {200, -1, true},        {0, 0, false},          {5000, 0, true},
        {1500, 500000000, true}, {1000, 20000000, true}, {3600 * 1000, 0, true},
    };
    struct share_config cfg = tree_config();
    struct timespec now;

    cfg.cache = FS_CACHE_AUTO;
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct share t;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t then = now.tv_sec * 1000000000LL + now.tv_nsec - rows[i].ago_ms * 1000000;
        tree_mem_changed = (struct timespec){then / 1000000000, then % 1000000000 | 1};
        if (rows[i].nsec >= 0)
            tree_mem_changed.tv_nsec = rows[i].nsec;
        tree_make(&t);
        tree_open(&t, &cfg);
        assert_int_equal(kept(&t, "now"), rows[i].kept);
        assert_int_equal(kept(&t, "dir"), rows[i].kept);
        tree_stop(&t);
    }
    tree_mem_changed = (struct timespec){.tv_sec = 1000000000};
}

/* ---- late data ---- */

static void test_late(void **state)
{
    struct share t;
    struct late l[3];

    tree_start(&t);
    struct open now = open_file(&t, "now"), late = open_file(&t, "late");
    late_init(&l[0]);
    assert_int_equal(fs_read(t.fs, now.file, l[0].iov, 2, 1000, 0), 300);
    expect_bytes(&l[0], 1000, 300);
    late_init(&l[0]);
    fs_read_wait(t.fs, now.file, l[0].iov, 2, 5, 0, 0, on_done, &l[0]);
    assert_int_equal(l[0].done, 1); /* at once, by this thread */
    assert_int_equal(late_end(&l[0]), 300);
    for (unsigned i = 0; i < 3; i++)
        begin(&t, &late, &l[i], i * 100, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(late_end(&l[i]), 300);
        expect_bytes(&l[i], i * 100, 300);
    }
    begin(&t, &late, &l[0], TREE_MEM_SIZE - 10, 0);
    assert_int_equal(late_end(&l[0]), 10);
    let_it_go(&t, &now);
    let_it_go(&t, &late);
    tree_stop(&t);
}

static void test_not_to_be_had(void **state)
{
    static const char *const names[] = {"lost", "evicted"};
    struct share t;
    struct late l;

    tree_start(&t);
    for (unsigned i = 0; i < 2; i++) {
        struct open f = open_file(&t, names[i]);
        begin(&t, &f, &l, 0, 0);
        assert_int_equal(late_end(&l), -EIO);
        let_it_go(&t, &f);
    }
    tree_stop(&t);
}

/* The guest closes and forgets the file while it reads: it gets the data, and then all is gone. */
static void test_after_release(void **state)
{
    struct share t;
    struct late l;

    tree_start(&t);
    uint64_t id = tree_guest_look(&t, t.root, "held");
    struct open f = open_file(&t, "held");
    begin(&t, &f, &l, 77, 0);
    let_it_go(&t, &f);
    fs_forget(t.fs, id, 1);
    assert_int_equal(l.done, 0);
    tree_waits_let_go(tree_mem_waits());
    assert_int_equal(late_end(&l), 300);
    expect_bytes(&l, 77, 300);
    fs_waits_cancel(t.fs); /* nothing */
    assert_null(fs_inode_get(t.fs, id));
    tree_stop(&t);
}

static void test_cancel(void **state)
{
    struct share t;
    struct late l[4];

    tree_start(&t);
    struct fs *other = fs_client_new(t.fs);
    struct open f = open_file(&t, "held");
    for (unsigned i = 0; i < 4; i++)
        begin(&t, &f, &l[i], 0, i + 1);
    fs_wait_cancel(t.fs, &l[2]);
    assert_int_equal(late_end(&l[2]), -EINTR);
    fs_wait_interrupt(t.fs, 2);
    assert_int_equal(late_end(&l[1]), -EINTR);
    fs_wait_interrupt(t.fs, 99);
    fs_waits_cancel(other); /* another's are left alone */
    assert_int_equal(l[0].done + l[3].done, 0);
    fs_waits_cancel(t.fs);
    assert_int_equal(l[0].done + l[3].done, 2);
    assert_int_equal(late_end(&l[0]), -EINTR);
    assert_int_equal(late_end(&l[3]), -EINTR);
    assert_int_equal(tree_waits_count(tree_mem_waits()), 0);
    let_it_go(&t, &f);
    fs_free(other);
    tree_stop(&t);
}

static void test_reset(void **state)
{
    struct share t;
    struct late l;

    tree_start(&t);
    uint64_t id = tree_guest_look(&t, t.root, "held");
    struct open f = open_file(&t, "held");
    begin(&t, &f, &l, 0, 0);
    fs_file_put(t.fs, f.file);
    fs_inode_put(t.fs, f.inode);
    fs_reset(t.fs);
    assert_int_equal(l.done, 1);
    assert_int_equal(late_end(&l), -EINTR);
    assert_null(fs_inode_get(t.fs, id));
    assert_null(fs_file_get(t.fs, f.fh, NULL));
    tree_stop(&t);
}

static void test_map(void **state)
{
    struct share t;
    struct late l;

    tree_start(&t);
    struct open late = open_file(&t, "late"), held = open_file(&t, "held");
    assert_true(fs_map_fetches(late.inode));
    assert_false(fs_map_fetches(t.root));
    late_init(&l);
    fs_map_wait(t.fs, late.inode, 0, 4096, 0, on_done, &l);
    assert_int_equal(late_end(&l), 0);
    late_init(&l);
    fs_map_wait(t.fs, held.inode, 0, 4096, 7, on_done, &l);
    fs_wait_interrupt(t.fs, 7);
    assert_int_equal(late_end(&l), -EINTR);
    let_it_go(&t, &late);
    let_it_go(&t, &held);
    tree_stop(&t);
}

static struct share *asked;

/* Interrupted when it has ended, and the inode and its mount are gone with it. */
static void on_done_interrupt(void *user, ssize_t result)
{
    assert_null(fs_inode_get(asked->fs, ((struct late *)user)->inode));
    fs_wait_interrupt(asked->fs, 7);
    on_done(user, result);
}

static void test_end_of_mount(void **state)
{
    struct share t;
    struct late l;

    tree_start(&t);
    asked = &t;
    struct open f = open_file(&t, "mounted");
    late_init(&l);
    l.inode = fs_inode_id(f.inode);
    fs_read_wait(t.fs, f.file, l.iov, 2, 0, 0, 7, on_done_interrupt, &l);
    let_it_go(&t, &f);
    tree_waits_let_go(tree_mem_waits());
    assert_int_equal(late_end(&l), 300);
    fs_waits_cancel(t.fs);
    tree_stop(&t);
}

/* ---- all at once ---- */

#define THREADS 4
#define ROUNDS  150

struct racer {
    pthread_t thread;
    struct share *t;
    unsigned number, data, ended;
};

static void *race(void *arg)
{
    static const char *const names[] = {"late", "held", "now"};
    struct racer *r = arg;
    struct share *t = r->t;

    fs_thread_start();
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct open f = open_file(t, names[(i + r->number) % 3]);
        struct late l;
        uint64_t id = r->number * 1000 + i;
        late_init(&l);
        fs_read_wait(t->fs, f.file, l.iov, 2, i, 0, id, on_done, &l);
        let_it_go(t, &f);
        if (i % 5 == 0)
            fs_wait_cancel(t->fs, &l);
        else if (i % 5 == 1)
            fs_wait_interrupt(t->fs, id);
        else if (i % 5 == 2)
            fs_waits_cancel(t->fs);
        else
            tree_waits_let_go(tree_mem_waits());
        if (i % 5 == 3) /* one that another thread has let go already */
            fs_wait_interrupt(t->fs, id);
        ssize_t n = late_end(&l);
        assert_true(n == 300 || n == -EINTR);
        if (n == 300)
            expect_bytes(&l, i, 300);
        r->data += n == 300;
        r->ended += n < 0;
    }
    return NULL;
}

static void test_race(void **state)
{
    struct racer r[THREADS];
    unsigned data = 0, ended = 0;
    struct share t;

    tree_start(&t);
    for (unsigned i = 0; i < THREADS; i++) {
        r[i] = (struct racer){.t = &t, .number = i};
        assert_ok(pthread_create(&r[i].thread, NULL, race, &r[i]));
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(r[i].thread, NULL);
        data += r[i].data;
        ended += r[i].ended;
    }
    assert_true(data > 0 && ended > 0);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),         cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_lacks),         cmocka_unit_test(test_coarse_stamps),
        cmocka_unit_test(test_late),          cmocka_unit_test(test_not_to_be_had),
        cmocka_unit_test(test_after_release), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_reset),         cmocka_unit_test(test_map),
        cmocka_unit_test(test_end_of_mount),  cmocka_unit_test(test_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
