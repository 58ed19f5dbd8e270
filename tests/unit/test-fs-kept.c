/* SPDX-License-Identifier: BSD-3-Clause
 * Open files without a handle, and inodes that lose their last name. */
#include "tests/unit/fs-tree.h"
#include "virtiofsd/fs/fs-priv.h"
#include "virtiofsd/fs/fs-state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 30000

static bool fds_become(unsigned want)
{
    for (unsigned ms = 0; ms < WAIT_MS && count_fds() > want; ms += 50)
        usleep(50000);
    return count_fds() <= want;
}

static void start(struct share *t, uint64_t max_fds)
{
    struct share_config cfg = tree_config();
    cfg.host.policy.handles = geteuid() == 0 ? HOST_HANDLES_MANDATORY : HOST_HANDLES_PREFER;
    cfg.max_fds = max_fds;
    tree_make(t);
    tree_open(t, &cfg);
    fs_handleless_enable(t->fs);
}

static struct fs_inode *make(struct share *t, const char *name, const char *text)
{
    tree_write(t, name, text);
    return fs_inode_get(t->fs, tree_guest_look(t, t->root, name));
}

static char first_byte(struct share *t, struct fs_inode *inode)
{
    struct fs_file *f;
    char c = 0;
    struct iovec iov = {&c, 1};

    assert_ok(fs_kept_file(t->fs, inode, O_RDONLY, &f));
    assert_int_equal(fs_read(t->fs, f, &iov, 1, 0, 0), 1);
    fs_file_put(t->fs, f);
    return c;
}

static void test_off(void **state)
{
    struct share t;
    struct fs_file *f;

    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_int_equal(fs_kept_file(t.fs, i, O_RDONLY, &f), -EBADF);
    assert_int_equal(fs_pass_take(t.fs, t.root, 0, &f), -EBADF);
    fs_file_keep(t.fs, 4711);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* One for both, and by no handle. */
static void test_kept(void **state)
{
    struct share t;
    struct fs_file *a, *b, *c;

    start(&t, 1000);
    struct fs_inode *i = make(&t, "f", "x");
    assert_ok(fs_kept_file(t.fs, i, O_RDONLY, &a));
    assert_ok(fs_kept_file(t.fs, i, O_RDONLY, &b));
    assert_ptr_equal(a, b);
    assert_ok(fs_kept_file(t.fs, i, O_WRONLY, &b));
    assert_ptr_not_equal(a, b);
    assert_ok(fs_kept_file(t.fs, i, O_RDWR | O_APPEND, &c));
    assert_ptr_equal(b, c);
    struct fs_file *const all[] = {a, b};
    for (unsigned n = 0; n < 2; n++) {
        assert_null(fs_file_get(t.fs, fs_file_id(all[n]), NULL));
        assert_int_equal(fs_release(t.fs, fs_file_id(all[n])), -EBADF);
    }
    GArray *list = fs_files_list(t.fs);
    assert_int_equal(list->len, 0); /* nothing for who saves what the guest has */
    g_array_unref(list);
    fs_file_put(t.fs, a);
    fs_file_put(t.fs, a);
    fs_file_put(t.fs, b);
    fs_file_put(t.fs, b);
    assert_int_equal(first_byte(&t, i), 'x');
    assert_int_equal(fs_kept_file(t.fs, t.root, O_WRONLY, &a), -EISDIR);
    assert_ok(fs_kept_file(t.fs, t.root, O_RDONLY, &a));
    fs_file_put(t.fs, a);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* A file that was made: its handle ends, its descriptor serves. */
static void test_made(void **state)
{
    struct share t;
    struct fs_entry e;
    struct fs_opened o;
    struct fs_file *f;

    start(&t, 1000);
    assert_ok(fs_create(t.fs, &cred_root, t.root, "made", 0400, O_WRONLY, 0, &e, &o));
    unsigned fds = count_fds();
    fs_file_keep(t.fs, o.fh);
    assert_null(fs_file_get(t.fs, o.fh, NULL));
    assert_ok(fs_kept_file(t.fs, e.inode, O_WRONLY, &f));
    assert_int_equal(count_fds(), fds);
    fs_file_put(t.fs, f);
    fs_file_keep(t.fs, o.fh);
    fs_inode_put(t.fs, e.inode);
    tree_stop(&t);
}

/* No more than there may be, none of them after a while, and none after a reset. */
static void test_bound(void **state)
{
    enum { FILES = 300 };
    struct share t;
    struct fs_inode *inodes[FILES];
    char name[16];

    start(&t, 64);
    unsigned fds = count_fds();
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        inodes[i] = make(&t, name, "x");
        assert_int_equal(first_byte(&t, inodes[i]), 'x');
        fs_inode_put(t.fs, inodes[i]);
        assert_in_range(count_fds(), 0, fds + 64);
    }
    if (t.fs->rests)
        assert_true(fds_become(fds + 2)); /* the root's mount */
    assert_int_equal(atomic_load(&t.fs->shared->other_fds), 0);
    for (unsigned i = 0; i < FILES; i++)
        first_byte(&t, inodes[i]);
    fs_reset(t.fs);
    assert_int_equal(atomic_load(&t.fs->shared->other_fds), 0);
    assert_int_equal(t.fs->shared->n_inodes, 1);
    fs_handleless_enable(t.fs); /* the next guest */
    struct fs_inode *again = make(&t, "f1", "y");
    assert_int_equal(first_byte(&t, again), 'y');
    fs_inode_put(t.fs, again);
    tree_stop(&t);
}

/* All is taken by files with handles, and by passes: what is kept gives way. */
static void test_gives_way(void **state)
{
    struct share t;
    struct fs_opened o;
    struct fs_file *f;
    unsigned n = 0;

    start(&t, 64);
    struct fs_inode *i = make(&t, "f", "x"), *j = make(&t, "g", "y");
    first_byte(&t, i);
    assert_ok(fs_pass_take(t.fs, t.root, 0, &f));
    fs_pass_give(t.fs, f, 77, false);
    while (fs_open(t.fs, i, O_RDONLY, 0, &o) == 0)
        n++;
    assert_in_range(n, 20, 64);
    assert_int_equal(first_byte(&t, j), 'y');
    fs_inode_put(t.fs, i);
    fs_inode_put(t.fs, j);
    tree_stop(&t);
}

/* A pass goes on by the directory that stands there, one caller at a time; others get their own. */
static void test_passes(void **state)
{
    struct share t;
    struct fs_file *a, *b, *c;

    start(&t, 4000);
    struct fs_inode *i = make(&t, "f", "x");
    assert_int_equal(fs_pass_take(t.fs, i, 0, &a), -ENOTDIR);
    assert_ok(fs_pass_take(t.fs, t.root, 0, &a));
    fs_pass_give(t.fs, a, 5, false);
    assert_ok(fs_pass_take(t.fs, t.root, 7, &b)); /* somewhere else */
    assert_ptr_not_equal(a, b);
    assert_ok(fs_pass_take(t.fs, t.root, 5, &c));
    assert_ptr_equal(a, c);
    fs_pass_give(t.fs, b, 5, false);
    assert_ok(fs_pass_take(t.fs, t.root, 5, &b));
    fs_pass_give(t.fs, b, 0, true);
    fs_pass_give(t.fs, c, 9, true);
    assert_int_equal(atomic_load(&t.fs->shared->other_fds), 0);
    for (uint64_t off = 1; off < 200; off++) {
        assert_ok(fs_pass_take(t.fs, t.root, off, &a));
        fs_pass_give(t.fs, a, off * 1000, false);
    }
    assert_int_equal(atomic_load(&t.fs->shared->other_fds), 64);
    assert_ok(fs_pass_take(t.fs, t.root, 199000, &a)); /* the last ones are there */
    assert_int_equal(atomic_load(&t.fs->shared->other_fds), 64);
    fs_pass_give(t.fs, a, 0, true);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* What the guest forgets is closed, used lately or not. */
static void test_forget(void **state)
{
    struct share t;

    start(&t, 1000);
    unsigned fds = count_fds();
    struct fs_inode *i = make(&t, "f", "x");
    uint64_t id = fs_inode_id(i);
    for (unsigned n = 0; n < 100; n++) {
        first_byte(&t, i);
        fs_inode_put(t.fs, i);
        fs_forget(t.fs, id, 1);
        i = make(&t, "f", "x");
        id = fs_inode_id(i);
    }
    fs_inode_put(t.fs, i);
    fs_forget(t.fs, id, 1);
    assert_true(fds_become(fds + 2));
    tree_stop(&t);
}

/* Only where it was the last name, and until it has one again. */
static void test_nameless(void **state)
{
    struct share t;
    struct fs_entry e;

    need_root();
    start(&t, 1000);
    struct fs_inode *one = make(&t, "one", "1"), *two = make(&t, "two", "2"),
                    *top = make(&t, "top", "3");
    assert_ok(link(tree_path(&t, "two"), tree_path(&t, "more")));
    assert_ok(fs_unlink(t.fs, t.root, "one"));
    assert_ok(fs_unlink(t.fs, t.root, "two"));
    assert_int_equal(fs_unlink(t.fs, t.root, "none"), -ENOENT);
    assert_int_equal(fs_rmdir(t.fs, t.root, "top"), -ENOTDIR);
    assert_true(atomic_load(&one->node.flags) & INODE_NAMELESS);
    assert_false(atomic_load(&two->node.flags) & INODE_NAMELESS);
    assert_false(atomic_load(&top->node.flags) & INODE_NAMELESS);
    assert_ok(fs_rename(t.fs, &cred_root, t.root, "more", t.root, "top", 0));
    assert_true(atomic_load(&top->node.flags) & INODE_NAMELESS);
    assert_ok(fs_rename(t.fs, &cred_root, t.root, "top", t.root, "end", 0));
    assert_false(atomic_load(&two->node.flags) & INODE_NAMELESS);
    if (fs_link(t.fs, one, t.root, "again", &e) == 0) { /* not every file system has that */
        assert_false(atomic_load(&one->node.flags) & INODE_NAMELESS);
        fs_inode_put(t.fs, e.inode);
    }
    fs_inode_put(t.fs, one);
    fs_inode_put(t.fs, two);
    fs_inode_put(t.fs, top);
    tree_stop(&t);
}

/* Where it would be lost because there are no descriptors left, the name stays. */
static void test_no_room(void **state)
{
    struct share t;
    struct fs_opened o = {0}, last = {0};

    need_root();
    start(&t, 32);
    struct fs_inode *i = make(&t, "f", "x"), *busy = make(&t, "busy", "y");
    for (unsigned ms = 0; ms < WAIT_MS && fs_state_fd(atomic_load(&i->node.state)) >= 0; ms += 50) {
        fs_inode_put(t.fs, i);
        usleep(50000);
        i = fs_inode_ref(i);
    }
    while (fs_open(t.fs, busy, O_RDONLY, 0, &o) == 0)
        last = o;
    int rc = fs_unlink(t.fs, t.root, "f");
    assert_true(rc == 0 || rc == -ENFILE);
    assert_true(tree_has(&t, "f") == (rc != 0));
    assert_ok(fs_release(t.fs, last.fh));
    assert_int_equal(first_byte(&t, i), 'x');
    fs_inode_put(t.fs, i);
    fs_inode_put(t.fs, busy);
    tree_stop(&t);
}

/* ---- all at once ---- */

enum { RACERS = 4, ROUNDS = 3000, RACED = 24 };

static struct race {
    struct share t;
    uint64_t ids[RACED];
} race;

static void *racer(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    struct fs *fs = race.t.fs;

    fs_thread_start();
    for (unsigned n = 0; n < ROUNDS; n++) {
        unsigned k = (seed = seed * 1103515245u + 12345u) >> 16;
        struct fs_inode *i = fs_inode_get(fs, race.ids[k % RACED]);
        struct fs_file *f;
        char c = 'w';
        struct iovec iov = {&c, 1};
        if (!i)
            abort();
        if (fs_kept_file(fs, i, k & 0x400 ? O_WRONLY : O_RDONLY, &f) == 0) {
            ssize_t rc = k & 0x400 ? fs_write(fs, f, &iov, 1, 0, 0) : fs_read(fs, f, &iov, 1, 0, 0);
            if (rc != 1)
                abort();
            fs_file_put(fs, f);
        }
        if ((k & 0x3800) == 0)
            fs_kept_forget(fs, i);
        fs_inode_put(fs, i);
        if (fs_pass_take(fs, race.t.root, k % 8, &f) == 0)
            fs_pass_give(fs, f, k % 8, k & 0x100);
    }
    return NULL;
}

static void test_race(void **state)
{
    pthread_t threads[RACERS];
    char name[16];

    start(&race.t, 64);
    for (unsigned i = 0; i < RACED; i++) {
        snprintf(name, sizeof(name), "f%u", i);
        tree_write(&race.t, name, "x");
        race.ids[i] = tree_guest_look(&race.t, race.t.root, name);
    }
    for (uintptr_t i = 0; i < RACERS; i++)
        assert_ok(pthread_create(&threads[i], NULL, racer, (void *)(i + 1)));
    for (unsigned i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    fs_reset(race.t.fs);
    assert_int_equal(atomic_load(&race.t.fs->shared->other_fds), 0);
    tree_stop(&race.t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off),       cmocka_unit_test(test_kept),
        cmocka_unit_test(test_made),      cmocka_unit_test(test_bound),
        cmocka_unit_test(test_gives_way), cmocka_unit_test(test_passes),
        cmocka_unit_test(test_forget),    cmocka_unit_test(test_nameless),
        cmocka_unit_test(test_no_room),   cmocka_unit_test(test_race),
    };
    return cmocka_run_group_tests_name("fs-kept", tests, NULL, NULL);
}
