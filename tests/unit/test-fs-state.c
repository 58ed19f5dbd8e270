/* SPDX-License-Identifier: BSD-3-Clause
 * What a client holds, listed, and put back under the same numbers in another core. */
#include "tests/unit/fs-tree.h"
#include "virtiofsd/fs/fs-priv.h"
#include "virtiofsd/fs/fs-state.h"
#include "virtiofsd/fs/fs-table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define ID(slot, gen) ((uint64_t)(gen) << 32 | (slot))

#define AT(list, type, i) (&g_array_index(list, struct type, i))

static GArray *numbers(GArray *list, size_t size)
{
    GArray *n = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    for (guint i = 0; i < list->len; i++) /* the number comes first in each */
        g_array_append_vals(n, list->data + i * size, 1);
    return n;
}

static int reserve_inodes(struct fs *fs, GArray *list)
{
    g_autoptr(GArray) n = numbers(list, sizeof(struct fs_inode_state));
    return fs_inodes_reserve(fs, (const uint64_t *)(const void *)n->data, n->len);
}

static int reserve_files(struct fs *fs, GArray *list)
{
    g_autoptr(GArray) n = numbers(list, sizeof(struct fs_file_state));
    return fs_files_reserve(fs, (const uint64_t *)(const void *)n->data, n->len);
}

static uint64_t open_as(struct share *t, uint64_t id, int flags)
{
    struct fs_opened o;
    struct fs_inode *i = fs_inode_get(t->fs, id);

    assert_non_null(i);
    assert_ok(S_ISDIR(fs_inode_type(i)) ? fs_opendir(t->fs, i, &o)
                                        : fs_open(t->fs, i, flags, 0, &o));
    fs_inode_put(t->fs, i);
    return o.fh;
}

static void lock(struct share *t, uint64_t id, uint64_t owner, uint64_t fh, short type, off_t start,
                 off_t end)
{
    struct fs_inode *i = fs_inode_get(t->fs, id);
    struct fs_lock lk = {.type = type, .start = start, .end = end, .pid = 7};
    struct fs_locker who = {.owner = owner, .file = fs_file_get(t->fs, fh, i)};

    assert_ok(fs_setlk(t->fs, i, &who, &lk));
    fs_file_put(t->fs, who.file);
    fs_inode_put(t->fs, i);
}

/* Names "0" to "9", some forgotten again, so that there are gaps. */
static void make_state(struct share *t, uint64_t id[10], uint64_t fh[4])
{
    char name[2] = "0";

    for (int i = 0; i < 9; i++, name[0]++) {
        tree_write(t, name, "text");
        id[i] = tree_guest_look(t, t->root, name);
    }
    assert_ok(mkdir(tree_path(t, name), 0755));
    id[9] = tree_guest_look(t, t->root, name);
    for (int i = 0; i < 3; i++)
        assert_int_equal(tree_guest_look(t, t->root, "5"), id[5]);
    fs_forget(t->fs, id[0], 1);
    fs_forget(t->fs, id[3], 1);
    fh[0] = open_as(t, id[5], O_RDWR | O_APPEND);
    fh[1] = open_as(t, id[2], O_RDONLY);
    fh[2] = open_as(t, id[9], O_RDONLY);
    fh[3] = open_as(t, id[2], O_WRONLY | O_TRUNC);
    assert_ok(fs_release(t->fs, fh[1]));
    fs_forget(t->fs, id[2], 1); /* open only */
    lock(t, id[5], 77, fh[0], F_WRLCK, 0, 9);
    lock(t, id[5], 77, fh[0], F_RDLCK, 20, INT64_MAX);
    struct fs_file *f = fs_file_get(t->fs, fh[0], NULL);
    assert_ok(fs_flock(t->fs, f, LOCK_SH));
    fs_file_put(t->fs, f);
}

static const struct fs_inode_state *find_inode(GArray *list, uint64_t id)
{
    for (guint i = 0; i < list->len; i++)
        if (AT(list, fs_inode_state, i)->id == id)
            return AT(list, fs_inode_state, i);
    return NULL;
}

static void test_lists(void **state)
{
    struct share t;
    uint64_t id[10], fh[4];

    tree_start(&t);
    make_state(&t, id, fh);
    g_autoptr(GArray) inodes = fs_inodes_list(t.fs), files = fs_files_list(t.fs);
    g_autoptr(GArray) locks = fs_locks_list(t.fs);
    assert_int_equal(inodes->len, 8);
    assert_null(find_inode(inodes, id[0]));
    assert_null(find_inode(inodes, FS_ROOT_ID));
    assert_int_equal(find_inode(inodes, id[5])->nlookup, 4);
    assert_int_equal(find_inode(inodes, id[2])->nlookup, 0);
    for (guint i = 1; i < inodes->len; i++)
        assert_true((uint32_t)AT(inodes, fs_inode_state, i)->id >
                    (uint32_t)AT(inodes, fs_inode_state, i - 1)->id);
    assert_int_equal(files->len, 3);
    const struct fs_file_state *f = AT(files, fs_file_state, 0);
    assert_int_equal(f->fh, fh[0]);
    assert_int_equal(f->inode, id[5]);
    assert_int_equal(f->flags & (O_ACCMODE | O_APPEND), O_RDWR | O_APPEND);
    assert_int_equal(f->flock, LOCK_SH);
    f = AT(files, fs_file_state, 2);
    assert_int_equal(f->fh, fh[3]);
    assert_int_equal(f->flags & (O_ACCMODE | O_TRUNC), O_WRONLY); /* it is cut once only */
    assert_int_equal(f->flock, 0);
    assert_int_equal(locks->len, 2);
    for (guint i = 0; i < 2; i++) {
        const struct fs_lock_state *l = AT(locks, fs_lock_state, i);
        assert_int_equal(l->inode, id[5]);
        assert_int_equal(l->owner, 77);
        assert_int_equal(l->fh, fh[0]);
        assert_int_equal(l->lk.pid, 7);
        assert_int_equal(l->lk.type, i ? F_RDLCK : F_WRLCK);
        assert_int_equal(l->lk.start, i ? 20 : 0);
        assert_int_equal(l->lk.end, i ? INT64_MAX : 9);
    }
    tree_stop(&t);
}

/* The numbers mean the same files afterwards, in whatever order they come back. */
static void test_there_and_back(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    uint64_t id[10], fh[4];
    char name[2] = "9";

    tree_start(&t);
    make_state(&t, id, fh);
    g_autoptr(GArray) inodes = fs_inodes_list(t.fs), files = fs_files_list(t.fs);
    tree_close(&t);
    tree_open(&t, &cfg);
    assert_ok(reserve_inodes(t.fs, inodes));
    assert_ok(reserve_files(t.fs, files));
    assert_null(fs_inode_get(t.fs, id[5]));
    assert_null(fs_file_get(t.fs, fh[0], NULL));
    fs_forget(t.fs, id[5], 1);
    struct fs_inode *two = NULL;
    for (int i = 9; i >= 0; i--, name[0]--) {
        const struct fs_inode_state *s = find_inode(inodes, id[i]);
        if (s)
            assert_ok(fs_inode_restore(t.fs, t.root, name, s->id, s->nlookup, &two));
    }
    assert_int_equal(fs_inode_id(two), id[2]); /* which has no lookups */
    for (guint i = 0; i < files->len; i++) {
        const struct fs_file_state *f = AT(files, fs_file_state, i);
        struct fs_inode *inode = fs_inode_get(t.fs, f->inode);
        assert_non_null(inode);
        assert_ok(fs_file_restore(t.fs, inode, f->flags, f->fh));
        assert_int_equal(fs_file_restore(t.fs, inode, f->flags, f->fh), -EINVAL);
        fs_inode_put(t.fs, inode);
    }
    fs_inode_put(t.fs, two);
    for (int i = 0; i < 10; i++) {
        struct fs_inode *inode = fs_inode_get(t.fs, id[i]);
        assert_int_equal(!!inode, i != 0 && i != 3);
        if (inode)
            fs_inode_put(t.fs, inode);
    }
    assert_int_equal(tree_guest_look(&t, t.root, "5"), id[5]);
    fs_forget(t.fs, id[5], 4);
    assert_non_null(fs_inode_get(t.fs, id[5])); /* of five */
    struct fs_file *f = fs_file_get(t.fs, fh[0], NULL);
    assert_int_equal(fs_file_how(f), FS_WRITE_APPEND);
    struct iovec iov = {(void *)"+", 1};
    assert_int_equal(fs_write(t.fs, f, &iov, 1, 0, fs_file_how(f)), 1);
    fs_file_put(t.fs, f);
    struct stat st;
    assert_ok(stat(tree_path(&t, "5"), &st));
    assert_int_equal(st.st_size, 5);
    assert_ok(stat(tree_path(&t, "2"), &st));
    assert_int_equal(st.st_size, 0); /* by the first open; not text again, nor cut */
    /* New numbers are newer, and gaps are used. */
    uint64_t fresh = tree_guest_look(&t, t.root, "0");
    for (int i = 0; i < 10; i++)
        assert_true(fresh >> 32 > id[i] >> 32);
    assert_true((uint32_t)fresh == (uint32_t)id[0] || (uint32_t)fresh == (uint32_t)id[3]);
    assert_ok(fs_release(t.fs, fh[2]));
    assert_int_equal(fs_release(t.fs, fh[2]), -EBADF);
    struct fs_inode *five = fs_inode_get(t.fs, id[5]);
    fs_inode_put(t.fs, five);
    fs_inode_put(t.fs, five); /* that of the check above */
    tree_stop(&t);
}

static void test_hostile(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    struct fs_inode *none = NULL;
    const uint64_t ids[] = {ID(10, 3), ID(20, 9)};

    tree_make(&t);
    tree_write(&t, "f", "x");
    tree_write(&t, "g", "x");
    cfg.max_inodes = 50;
    tree_open(&t, &cfg);
    assert_ok(fs_inodes_reserve(t.fs, ids, 2));
    const uint64_t bad[] = {ID(20, 10), ID(10, 3), ID(15, 5), ID(0, 1),         ID(FS_ROOT_ID, 1),
                            ID(30, 0),  0,         ID(0, 0),  ID(FS_ROOT_ID, 0)};
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_int_equal(fs_inodes_reserve(t.fs, &bad[i], 1), -EINVAL);
    const uint64_t far = ID(UINT32_MAX, 1);
    assert_int_equal(fs_inodes_reserve(t.fs, &far, 1), -ENFILE);
    assert_int_equal(fs_files_reserve(t.fs, &far, 1), -ENFILE);
    uint64_t many[60];
    for (unsigned i = 0; i < 60; i++)
        many[i] = ID(100 + i, 1);
    assert_int_equal(fs_inodes_reserve(t.fs, many, 60), -ENFILE);
    /* Not reserved, another generation, in use, another's file. */
    assert_int_equal(fs_inode_restore(t.fs, t.root, "f", ID(11, 3), 1, &none), -EINVAL);
    assert_int_equal(fs_inode_restore(t.fs, t.root, "f", ID(10, 4), 1, &none), -EINVAL);
    assert_int_equal(fs_inode_restore(t.fs, t.root, "f", FS_ROOT_ID, 1, &none), -EINVAL);
    assert_int_equal(fs_inode_restore(t.fs, t.root, "..", ID(10, 3), 1, &none), -EINVAL);
    assert_int_equal(fs_inode_restore(t.fs, t.root, "a/b", ID(10, 3), 1, &none), -EINVAL);
    assert_int_equal(fs_inode_restore(t.fs, t.root, "none", ID(10, 3), 1, &none), -ENOENT);
    assert_ok(fs_inode_restore(t.fs, t.root, "f", ID(10, 3), INT64_MAX, &none));
    assert_int_equal(fs_inode_restore(t.fs, t.root, "g", ID(10, 3), 1, &none), -EINVAL);
    assert_int_equal(fs_inode_restore(t.fs, t.root, "f", ID(20, 9), 1, &none), -EEXIST);
    assert_null(none);
    struct fs_inode *f = fs_inode_get(t.fs, ID(10, 3));
    assert_int_equal(fs_file_restore(t.fs, f, O_RDWR, ID(1, 1)), -EINVAL);
    assert_ok(fs_file_restore(t.fs, f, O_RDWR, 0));         /* which begins with 0 */
    assert_ok(fs_file_restore(t.fs, f, O_RDWR, ID(77, 0))); /* of another daemon */
    assert_int_equal(fs_file_restore(t.fs, f, O_RDWR, ID(77, 0)), -EINVAL);
    const uint64_t fh = ID(5, 2);
    assert_ok(fs_files_reserve(t.fs, &fh, 1));
    assert_int_equal(fs_file_restore(t.fs, f, O_RDWR | O_TRUNC, fh), -EINVAL);
    assert_int_equal(fs_file_restore(t.fs, f, O_RDWR | O_CREAT, fh), -EINVAL);
    assert_int_equal(fs_file_restore(t.fs, f, O_ACCMODE, fh), -EINVAL);
    assert_int_equal(fs_file_restore(t.fs, f, O_RDWR, ID(5, 3)), -EINVAL);
    assert_ok(fs_file_restore(t.fs, f, O_RDWR, fh));
    fs_inode_put(t.fs, f);
    fs_reset(t.fs); /* with one reserved, and all others */
    assert_ok(fs_inodes_reserve(t.fs, ids, 2));
    tree_stop(&t);
}

/* Numbers may come in any order; what is refused leaves nothing behind. */
static void test_any_order(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    struct fs_inode *none = NULL;
    uint64_t down[40];

    tree_make(&t);
    tree_write(&t, "f", "x");
    cfg.max_inodes = 50;
    tree_open(&t, &cfg);
    for (unsigned i = 0; i < 40; i++)
        down[i] = ID(140 - i, 500 + i % 7);
    const uint64_t bad[][3] = {
        {ID(30, 3), ID(20, 3), ID(30, 4)},         /* one slot twice, far from each other */
        {ID(30, 3), ID(30, 3), ID(20, 3)},         /* the same twice */
        {ID(30, 3), ID(20, 0), ID(10, 3)},         /* no generation */
        {ID(30, 3), ID(20, 3), ID(FS_ROOT_ID, 3)}, /* the root */
        {ID(UINT32_MAX, UINT32_MAX), ID(0, 9), 1}, /* no slot */
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_int_equal(fs_inodes_reserve(t.fs, bad[i], 3), -EINVAL);
        assert_int_equal(fs_files_reserve(t.fs, bad[i], 3),
                         i == 3 ? 0 : -EINVAL); /* 1 is a file's */
        fs_files_reset(t.fs);
    }
    const uint64_t far[] = {ID(30, 3), ID(UINT32_MAX, UINT32_MAX), ID(20, 3)};
    assert_int_equal(fs_inodes_reserve(t.fs, far, 3), -ENFILE);
    assert_int_equal(fs_files_reserve(t.fs, far, 3), -ENFILE);
    /* None of them is taken now, and no generation was used up. */
    assert_int_equal(tree_guest_look(&t, t.root, "f"), ID(2, 1));
    fs_forget(t.fs, ID(2, 1), 1);
    assert_int_equal(fs_inodes_reserve(t.fs, NULL, SIZE_MAX), -ENFILE);
    assert_int_equal(fs_files_reserve(t.fs, NULL, SIZE_MAX), -ENFILE);
    assert_ok(fs_inodes_reserve(t.fs, NULL, 0));
    assert_ok(fs_inodes_reserve(t.fs, down, 40));
    assert_ok(fs_files_reserve(t.fs, down, 40));
    const uint64_t huge = (uint64_t)INT64_MAX + 1;
    assert_int_equal(fs_inode_restore(t.fs, t.root, "f", down[39], huge, &none), -EINVAL);
    assert_ok(fs_inode_restore(t.fs, t.root, "f", down[39], 2, &none));
    assert_int_equal(tree_guest_look(&t, t.root, "f"), down[39]);
    fs_forget(t.fs, down[39], 3);
    assert_int_equal(tree_guest_look(&t, t.root, "f") >> 32, 507); /* above the highest */
    fs_reset(t.fs);
    tree_stop(&t);
}

/* Only the peer is gone. */
static void test_hang_up(void **state)
{
    struct share t;
    uint64_t id[10], fh[4];

    tree_start(&t);
    make_state(&t, id, fh);
    fs_hang_up(t.fs);
    g_autoptr(GArray) inodes = fs_inodes_list(t.fs), files = fs_files_list(t.fs);
    g_autoptr(GArray) locks = fs_locks_list(t.fs);
    assert_int_equal(inodes->len, 8);
    assert_int_equal(files->len, 3);
    assert_int_equal(locks->len, 2);
    fs_reset(t.fs);
    g_autoptr(GArray) after = fs_inodes_list(t.fs), none = fs_files_list(t.fs);
    g_autoptr(GArray) unlocked = fs_locks_list(t.fs);
    assert_int_equal(after->len + none->len + unlocked->len, 0);
    tree_stop(&t);
}

/* ---- the table ---- */

struct element {
    uint64_t x;
    uint32_t next;
};

static void test_holes(void **state)
{
    struct fs_table t;
    bool seen[101] = {false};

    assert_ok(fs_table_init(&t, sizeof(struct element), offsetof(struct element, next), 100000));
    assert_int_equal(fs_table_take(&t), 1);
    assert_ok(fs_table_take_at(&t, 10));
    assert_ok(fs_table_take_at(&t, 11));
    assert_ok(fs_table_take_at(&t, 90000));
    assert_int_equal(fs_table_take_at(&t, 500), -EINVAL);
    assert_int_equal(fs_table_take_at(&t, 100000), -ENFILE);
    ((struct element *)fs_table_at(&t, 90000))->x = 1;
    fs_table_give(&t, 11);
    assert_int_equal(fs_table_take(&t), 11); /* what was in use comes first */
    for (uint32_t n = 12; n < 90000; n++)
        assert_int_equal(fs_table_take(&t), n);
    for (int i = 0; i < 8; i++) {
        uint32_t slot = fs_table_take(&t);
        assert_true(slot > 1 && slot < 10 && !seen[slot]);
        seen[slot] = true;
    }
    assert_int_equal(fs_table_take(&t), 90001);
    assert_ok(fs_table_take_at(&t, 95000));
    fs_table_clear(&t, 1);
    assert_int_equal(fs_table_take(&t), 1);
    assert_int_equal(fs_table_take(&t), 2);
    fs_table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),     cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_hostile),   cmocka_unit_test(test_hang_up),
        cmocka_unit_test(test_any_order), cmocka_unit_test(test_holes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
