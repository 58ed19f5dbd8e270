/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptors that run out: inodes and open files have a share each. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define FILES 100

static struct share_config small_config(enum host_handles handles)
{
    struct share_config cfg = tree_config();
    cfg.host.policy.handles = handles;
    cfg.max_fds = 40;
    return cfg;
}

/* Without handles the guest hears ENFILE, and no other descriptor of the process is taken. */
static void test_enfile(void **state)
{
    struct share t;
    struct share_config cfg = small_config(HOST_HANDLES_NEVER);
    struct fs_entry e;
    struct fs_opened o;
    unsigned n, files;
    int rc = 0;

    tree_make(&t);
    tree_fill(&t, FILES);
    tree_open(&t, &cfg);
    unsigned fds = count_fds();
    for (n = 0; n < FILES; n++) {
        rc = fs_lookup(t.fs, t.root, tree_nth(n), &e);
        if (rc < 0)
            break;
        fs_inode_remember(t.fs, e.inode);
    }
    assert_int_equal(rc, -ENFILE);
    assert_in_range(n, 20, 40);
    assert_in_range(count_fds(), fds + n, fds + 40);
    /* Known ones still work, and files have a share of their own, until that is used up too. */
    for (files = 0; files < FILES; files++) {
        struct fs_inode *i = tree_look(&t, t.root, tree_nth(0));
        rc = fs_open(t.fs, i, O_RDONLY, 0, &o);
        fs_inode_put(t.fs, i);
        if (rc < 0)
            break;
    }
    assert_int_equal(rc, -ENFILE);
    assert_true(files >= 4);
    assert_int_equal(count_fds(), fds + n + files);
    assert_int_equal(fs_create(t.fs, &cred_root, t.root, "new", 0644, O_RDWR, 0, &e, &o), -ENFILE);
    assert_false(tree_has(&t, "new"));
    fs_reset(t.fs);
    assert_int_equal(count_fds(), fds);
    assert_ok(fs_lookup(t.fs, t.root, tree_nth(50), &e));
    fs_inode_put(t.fs, e.inode);
    tree_stop(&t);
}

static void test_open_files_take_all(void **state)
{
    struct share t;
    struct share_config cfg = small_config(HOST_HANDLES_PREFER);
    struct fs_opened o;
    uint64_t ids[FILES];
    int rc = 0;

    need_root();
    tree_make(&t);
    tree_fill(&t, FILES);
    tree_open(&t, &cfg);
    for (unsigned n = 0; n < FILES; n++)
        ids[n] = tree_guest_look(&t, t.root, tree_nth(n));
    struct fs_inode *i = fs_inode_get(t.fs, ids[0]);
    for (unsigned n = 0; n < FILES && rc == 0; n++)
        rc = fs_open(t.fs, i, O_RDONLY, 0, &o);
    assert_int_equal(rc, -ENFILE);
    fs_inode_put(t.fs, i);
    /* Inodes have their own share of the descriptors. */
    for (unsigned n = 0; n < FILES; n++) {
        struct fs_attr a;
        i = fs_inode_get(t.fs, ids[n]);
        assert_ok(fs_getattr(t.fs, i, NULL, &a));
        fs_inode_put(t.fs, i);
    }
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enfile),
        cmocka_unit_test(test_open_files_take_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
