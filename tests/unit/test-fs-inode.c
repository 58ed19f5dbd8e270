/* SPDX-License-Identifier: BSD-3-Clause
 * Ids, generations, references and what a guest may claim about them. */
#include "tests/unit/fs-tree.h"
#include "virtiofsd/fs/fs-table.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct elt {
    uint64_t value;
    uint32_t link;
};

static void test_table(void **state)
{
    struct fs_table t;
    assert_ok(fs_table_init(&t, sizeof(struct elt), offsetof(struct elt, link), 1u << 20));
    assert_null(fs_table_peek(&t, 0));
    assert_null(fs_table_peek(&t, 1));
    for (uint32_t i = 1; i <= 50000; i++) {
        uint32_t slot = fs_table_take(&t);
        assert_int_equal(slot, i);
        struct elt *e = fs_table_at(&t, slot);
        assert_int_equal(e->value, 0);
        e->value = i;
    }
    assert_int_equal(((struct elt *)fs_table_peek(&t, 777))->value, 777);
    assert_null(fs_table_peek(&t, 50001));
    assert_null(fs_table_peek(&t, UINT32_MAX));
    fs_table_give(&t, 5);
    fs_table_give(&t, 7);
    assert_int_equal(fs_table_take(&t), 7);
    assert_int_equal(fs_table_take(&t), 5);
    assert_int_equal(fs_table_take(&t), 50001);

    fs_table_clear(&t, 2);
    assert_int_equal(((struct elt *)fs_table_peek(&t, 1))->value, 1);
    assert_null(fs_table_peek(&t, 2));
    for (uint32_t i = 2; i < 5000; i++) {
        assert_int_equal(fs_table_take(&t), i);
        assert_int_equal(((struct elt *)fs_table_at(&t, i))->value, 0);
    }
    fs_table_fini(&t);
}

static void test_table_full(void **state)
{
    struct fs_table t;
    assert_ok(fs_table_init(&t, sizeof(struct elt), offsetof(struct elt, link), 4096));
    uint32_t n = 0;
    while (fs_table_take(&t) != 0)
        n++;
    assert_int_equal(n, 4095);
    fs_table_give(&t, 9);
    assert_int_equal(fs_table_take(&t), 9);
    assert_int_equal(fs_table_take(&t), 0);
    fs_table_fini(&t);
}

static void test_root(void **state)
{
    struct share t;
    tree_start(&t);
    assert_int_equal(fs_inode_id(t.root), FS_ROOT_ID);
    assert_int_equal(fs_inode_type(t.root), S_IFDIR);
    fs_forget(t.fs, FS_ROOT_ID, UINT64_MAX);
    fs_forget(t.fs, FS_ROOT_ID, 1);
    assert_int_equal(tree_guest_look(&t, t.root, "."), FS_ROOT_ID);
    assert_int_equal(tree_guest_look(&t, t.root, ".."), FS_ROOT_ID);
    fs_forget(t.fs, FS_ROOT_ID, UINT64_MAX);
    struct fs_attr a;
    assert_ok(fs_getattr(t.fs, t.root, NULL, &a));
    tree_stop(&t);
}

static void assert_gone(struct share *t, uint64_t id)
{
    assert_null(fs_inode_get(t->fs, id));
}

static void test_forget(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "a", "x");
    uint64_t id = tree_guest_look(&t, t.root, "a");
    assert_int_equal(tree_guest_look(&t, t.root, "a"), id);
    assert_int_equal(tree_guest_look(&t, t.root, "a"), id);
    fs_forget(t.fs, id, 0);
    fs_forget(t.fs, id, 2);
    struct fs_inode *i = fs_inode_get(t.fs, id);
    assert_non_null(i);
    fs_inode_put(t.fs, i);
    fs_forget(t.fs, id, 1);
    assert_gone(&t, id);
    fs_forget(t.fs, id, 1);
    tree_stop(&t);
}

static void test_stale_id(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "a", "x");
    tree_write(&t, "b", "x");
    uint64_t old = tree_guest_look(&t, t.root, "a");
    fs_forget(t.fs, old, UINT64_MAX);
    uint64_t now = tree_guest_look(&t, t.root, "b");
    assert_int_equal((uint32_t)now, (uint32_t)old); /* the slot is used again */
    assert_int_not_equal(now, old);
    assert_gone(&t, old);
    fs_forget(t.fs, old, 5);
    struct fs_inode *i = fs_inode_get(t.fs, now);
    assert_non_null(i);
    fs_inode_put(t.fs, i);
    assert_gone(&t, 0);
    assert_gone(&t, (uint64_t)1 << 32);
    assert_gone(&t, UINT64_MAX);
    assert_gone(&t, (now & UINT32_MAX)); /* generation 0 is the root's alone */
    tree_stop(&t);
}

/* Lookups that were taken back do not end a reference that a call in progress holds. */
static void test_forget_while_used(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "a", "x");
    uint64_t id = tree_guest_look(&t, t.root, "a");
    struct fs_inode *i = fs_inode_get(t.fs, id);
    fs_forget(t.fs, id, 1000);
    fs_forget(t.fs, id, 1000);
    struct fs_attr a;
    assert_ok(fs_getattr(t.fs, i, NULL, &a));
    assert_int_equal(a.st.st_size, 1);
    fs_inode_put(t.fs, i);
    assert_gone(&t, id);
    tree_stop(&t);
}

static void test_hard_links_share(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "a", "x");
    assert_ok(link(tree_path(&t, "a"), tree_path(&t, "b")));
    assert_int_equal(tree_guest_look(&t, t.root, "a"), tree_guest_look(&t, t.root, "b"));
    tree_stop(&t);
}

/* While an id is held its inode number cannot go to another file. */
static void test_replaced(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "a", "x");
    uint64_t id = tree_guest_look(&t, t.root, "a");
    for (int n = 0; n < 50; n++) {
        unlink(tree_path(&t, "a"));
        tree_write(&t, "a", "new");
        assert_int_not_equal(tree_guest_look(&t, t.root, "a"), id);
    }
    struct fs_attr a;
    struct fs_inode *i = fs_inode_get(t.fs, id);
    assert_ok(fs_getattr(t.fs, i, NULL, &a));
    assert_int_equal(a.st.st_nlink, 0);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static void test_max_inodes(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    cfg.max_inodes = 10;
    tree_make(&t);
    tree_open(&t, &cfg);
    int rc = 0;
    unsigned n = 0;
    for (; n < 20 && rc == 0; n++) {
        char name[8];
        struct fs_entry e;
        snprintf(name, sizeof(name), "%u", n);
        tree_write(&t, name, "");
        rc = fs_lookup(t.fs, t.root, name, &e);
        if (rc == 0)
            fs_inode_remember(t.fs, e.inode);
    }
    assert_int_equal(rc, -ENFILE);
    assert_int_equal(n, 11);
    tree_stop(&t);
}

static void test_reset(void **state)
{
    struct share t;
    tree_start(&t);
    uint64_t ids[300];
    struct fs_opened o;
    unsigned fds = count_fds();
    for (unsigned n = 0; n < 300; n++) {
        char name[8];
        snprintf(name, sizeof(name), "%u", n);
        tree_write(&t, name, "");
        ids[n] = tree_guest_look(&t, t.root, name);
    }
    struct fs_inode *i = fs_inode_get(t.fs, ids[0]);
    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o));
    fs_inode_put(t.fs, i);
    assert_int_equal(count_fds(), fds + 301);
    fs_reset(t.fs);
    assert_int_equal(count_fds(), fds);
    for (unsigned n = 0; n < 300; n++)
        assert_gone(&t, ids[n]);
    assert_null(fs_file_get(t.fs, o.fh, NULL));
    uint64_t again = tree_guest_look(&t, t.root, "0");
    for (unsigned n = 0; n < 300; n++)
        assert_int_not_equal(again, ids[n]);
    tree_stop(&t);
}

#define HAMMER_FILES   8
#define HAMMER_THREADS 4
#define HAMMER_ROUNDS  4000

static char lookup_failed[] = "lookup failed", wrong_attr[] = "wrong attributes",
            wrong_id[] = "an id leads elsewhere";

static void *hammer(void *arg)
{
    struct share *t = arg;
    fs_thread_start();
    for (unsigned n = 0; n < HAMMER_ROUNDS; n++) {
        char name[8];
        struct fs_entry e;
        snprintf(name, sizeof(name), "%u", n % HAMMER_FILES);
        if (fs_lookup(t->fs, t->root, name, &e) != 0)
            return lookup_failed;
        if (!S_ISREG(e.attr.st.st_mode) || e.attr.st.st_size != (off_t)(n % HAMMER_FILES))
            return wrong_attr;
        uint64_t id = fs_inode_id(e.inode);
        fs_inode_remember(t->fs, e.inode);
        struct fs_inode *i = fs_inode_get(t->fs, id);
        struct fs_attr a;
        /* Another thread may have forgotten too much; if it is there, it is the right one. */
        if (i) {
            if (fs_getattr(t->fs, i, NULL, &a) != 0 || a.st.st_ino != e.attr.st.st_ino)
                return wrong_id;
            fs_inode_put(t->fs, i);
        }
        fs_forget(t->fs, id, n % 7 ? 1 : 3);
    }
    return NULL;
}

static void run_hammer(enum host_handles handles, uint64_t max_fds)
{
    struct share t;
    struct share_config cfg = tree_config();
    pthread_t th[HAMMER_THREADS];
    cfg.host.policy.handles = handles;
    cfg.max_fds = max_fds;
    tree_make(&t);
    for (unsigned n = 0; n < HAMMER_FILES; n++) {
        char name[8];
        snprintf(name, sizeof(name), "%u", n);
        tree_write(&t, name, &"1234567"[7 - n]);
    }
    tree_open(&t, &cfg);
    unsigned fds = count_fds();
    for (unsigned n = 0; n < HAMMER_THREADS; n++)
        assert_ok(pthread_create(&th[n], NULL, hammer, &t));
    for (unsigned n = 0; n < HAMMER_THREADS; n++) {
        void *why;
        pthread_join(th[n], &why);
        if (why)
            fail_msg("%s", (const char *)why);
    }
    fs_reset(t.fs);
    assert_int_equal(count_fds(), fds);
    tree_stop(&t);
}

static void test_hammer(void **state)
{
    run_hammer(HOST_HANDLES_NEVER, 1000);
}

/* A limit so small that descriptors are closed and opened all the time. */
static void test_hammer_handles(void **state)
{
    need_root();
    run_hammer(HOST_HANDLES_PREFER, 14);
}

#define ROOM 1 /* for fewer than there are threads */

static char left_over[] = "refused, and still made", refused[] = "refused for another reason";
static atomic_uint worker, in_hand, most;

/* Each makes names of its own; in all no more than ROOM are known at any time. */
static void *crowd(void *arg)
{
    struct share *t = arg;
    unsigned me = atomic_fetch_add(&worker, 1);
    fs_thread_start();
    for (unsigned n = 0; n < HAMMER_ROUNDS / 16; n++) {
        struct fs_entry e;
        struct fs_opened o;
        char name[16];
        snprintf(name, sizeof(name), "%u-%u", me, n);
        int rc = n % 2 ? fs_mkdir(t->fs, NULL, t->root, name, 0755, &e)
                       : fs_create(t->fs, NULL, t->root, name, 0644, O_RDWR, 0, &e, &o);
        if (rc != 0 && rc != -ENFILE)
            return refused;
        if (rc != 0 && tree_has(t, name))
            return left_over;
        if (rc != 0)
            continue;
        unsigned now = atomic_fetch_add(&in_hand, 1) + 1, before = atomic_load(&most);
        while (now > before && !atomic_compare_exchange_weak(&most, &before, now))
            ;
        if (n % 2 == 0)
            fs_release(t->fs, o.fh);
        sched_yield();
        atomic_fetch_sub(&in_hand, 1);
        fs_inode_put(t->fs, e.inode);
        n % 2 ? fs_rmdir(t->fs, t->root, name) : fs_unlink(t->fs, t->root, name);
    }
    return NULL;
}

/* What several queues make at the bound: neither is it passed, nor does anything stay that was
 * refused, nor is any of the room lost. */
static void test_room_is_shared(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    pthread_t th[HAMMER_THREADS];
    struct fs_entry e[ROOM + 1];
    unsigned n;
    int rc = 0;
    cfg.max_inodes = ROOM;
    tree_make(&t);
    tree_open(&t, &cfg);
    for (n = 0; n < HAMMER_THREADS; n++)
        assert_ok(pthread_create(&th[n], NULL, crowd, &t));
    for (n = 0; n < HAMMER_THREADS; n++) {
        void *why;
        pthread_join(th[n], &why);
        if (why)
            fail_msg("%s", (const char *)why);
    }
    assert_in_range(atomic_load(&most), 1, ROOM);
    for (n = 0; n <= ROOM && rc == 0; n++) {
        char name[] = {(char)('a' + (char)n), '\0'};
        rc = fs_mkdir(t.fs, NULL, t.root, name, 0755, &e[n]);
    }
    assert_int_equal(rc, -ENFILE);
    assert_int_equal(n, ROOM + 1);
    for (n = 0; n < ROOM; n++)
        fs_inode_put(t.fs, e[n].inode);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_table_full),
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_stale_id),
        cmocka_unit_test(test_forget_while_used),
        cmocka_unit_test(test_hard_links_share),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_max_inodes),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_hammer),
        cmocka_unit_test(test_hammer_handles),
        cmocka_unit_test(test_room_is_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
