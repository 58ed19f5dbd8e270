/* SPDX-License-Identifier: BSD-3-Clause
 * The table of fids, and the numbers of files. */
#include "virtiofsd/9p/p9-fid.h"

#include <errno.h>

#include "tests/unit/fs-tree.h"
#include "virtiofsd/9p/p9-priv.h"

static struct p9_fid *make(struct share *t, uint32_t id)
{
    struct p9_user user = {.uid = 5, .known = true};
    return p9_fid_new(id, fs_inode_ref(t->root), &user, t->root);
}

static void test_table(void **state)
{
    struct share t;
    struct p9_fids fids = {0};
    struct p9_budget all = {.max = 4};
    tree_start(&t);
    p9_fids_init(&fids, t.fs, 2, &all);
    struct p9_fid *a = make(&t, 1), *b = make(&t, 1), *c = make(&t, 2), *d = make(&t, 3);
    assert_null(p9_fid_get(&fids, 1));
    assert_ok(p9_fid_add(&fids, a));
    assert_int_equal(p9_fid_add(&fids, b), -EINVAL);
    assert_ok(p9_fid_add(&fids, c));
    assert_int_equal(p9_fid_add(&fids, d), -ENFILE);
    assert_ptr_equal(p9_fid_get(&fids, 1), a);
    /* Another object under the number; the old one lives on for who has it. */
    assert_ok(p9_fid_replace(&fids, a, b));
    p9_fid_put(&fids, a); /* the table's */
    assert_ptr_equal(p9_fid_get(&fids, 1), b);
    assert_int_equal(a->user.uid, 5);
    assert_int_equal(p9_fid_replace(&fids, a, d), -EBADF);
    p9_fid_put(&fids, a);
    assert_ptr_equal(p9_fid_take(&fids, 1), b);
    assert_null(p9_fid_take(&fids, 1));
    p9_fid_put(&fids, b);
    p9_fid_put(&fids, b);
    assert_int_equal(all.used, 1);
    assert_ptr_equal(p9_fid_get(&fids, 2), c);
    p9_fid_drop_all(&fids);
    assert_null(p9_fid_get(&fids, 2));
    assert_int_equal(c->refs, 1); /* ours */
    p9_fid_put(&fids, c);
    p9_fid_drop_all(&fids);
    p9_fid_put(&fids, d);
    p9_fid_put(&fids, NULL);
    assert_int_equal(all.used, 0);
    p9_fids_fini(&fids);
    tree_stop(&t);
}

static void test_xattr_bound(void **state)
{
    struct share t;
    struct p9_fids fids = {0};
    struct p9_budget all = {.max = 4};
    struct p9_xattr *x[300];
    unsigned n = 0;
    tree_start(&t);
    p9_fids_init(&fids, t.fs, 2, &all);
    while (n < 300 && (x[n] = p9_xattr_new(&fids, 65536)))
        n++;
    assert_in_range(n, 200, 256);
    p9_xattr_free(&fids, x[--n]);
    assert_non_null(x[n++] = p9_xattr_new(&fids, 65536));
    while (n > 0)
        p9_xattr_free(&fids, x[--n]);
    assert_int_equal(fids.xattr_bytes, 0);
    p9_fids_fini(&fids);
    tree_stop(&t);
}

static void test_qid_path(void **state)
{
    struct p9_devs devs;
    p9_devs_init(&devs);
    uint64_t a = p9_qid_path(&devs, 8, 100), b = p9_qid_path(&devs, 9, 100);
    uint64_t big = p9_qid_path(&devs, 8, (1ull << 60) + 100);
    assert_int_equal(a, 100); /* of the first device: as on the host */
    assert_int_not_equal(a, b);
    assert_int_not_equal(big, a);
    assert_int_not_equal(big, p9_qid_path(&devs, 9, (1ull << 60) + 100));
    assert_int_equal(p9_qid_path(&devs, 8, 100), a);
    assert_int_equal(p9_qid_path(&devs, 9, 100), b);
    assert_int_equal(p9_qid_path(&devs, 8, (1ull << 60) + 100), big);
    assert_int_equal(p9_qid_type(S_IFDIR | 0755), 0x80);
    assert_int_equal(p9_qid_type(S_IFLNK), 2);
    assert_int_equal(p9_qid_type(S_IFREG), 0);
    for (dev_t dev = 10; dev < 40000; dev += 13) /* many mounts */
        assert_int_not_equal(p9_qid_path(&devs, dev, 100), a);
    p9_devs_fini(&devs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_xattr_bound),
        cmocka_unit_test(test_qid_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
