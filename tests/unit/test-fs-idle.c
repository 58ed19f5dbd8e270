/* SPDX-License-Identifier: BSD-3-Clause
 * A file that nobody uses is held by its handle alone: the host gets its space when it deletes it.
 */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SIZE    (4 << 20)
#define WAIT_MS 30000 /* a second or two, on a machine that is not busy */

static uint64_t blocks_free(const struct share *t)
{
    struct statfs st;
    assert_ok(statfs(t->dir, &st));
    return st.f_bfree;
}

static bool becomes_free(const struct share *t, uint64_t want)
{
    for (unsigned ms = 0; ms < WAIT_MS; ms += 50) {
        if (blocks_free(t) >= want)
            return true;
        usleep(50000);
    }
    return false;
}

static bool fds_become(unsigned want)
{
    for (unsigned ms = 0; ms < WAIT_MS && count_fds() > want; ms += 50)
        usleep(50000);
    return count_fds() <= want;
}

/* Made by the guest, written, closed; @fh stays open when it is wanted. Returns the id. */
static uint64_t make_large(struct share *t, uint64_t *fh)
{
    struct fs_entry e;
    struct fs_opened o;
    g_autofree char *data = g_malloc0(SIZE);
    struct iovec iov = {data, SIZE};

    assert_ok(fs_create(t->fs, &cred_root, t->root, "large", 0644, O_RDWR, 0, &e, &o));
    struct fs_file *f = fs_file_get(t->fs, o.fh, e.inode);
    assert_int_equal(fs_write(t->fs, f, &iov, 1, 0, 0), SIZE);
    fs_file_put(t->fs, f);
    uint64_t id = fs_inode_id(e.inode);
    fs_inode_remember(t->fs, e.inode);
    if (fh)
        *fh = o.fh;
    else
        assert_ok(fs_release(t->fs, o.fh));
    return id;
}

static void start(struct share *t)
{
    struct share_config cfg = tree_config();
    cfg.host.policy.handles = HOST_HANDLES_MANDATORY;
    tree_make_tmpfs(t);
    tree_open(t, &cfg);
    tree_write(t, "teacher", "");
    tree_guest_look(t, t->root, "teacher");
}

static void test_space_is_freed(void **state)
{
    struct share t;
    struct fs_attr a;

    start(&t);
    uint64_t before = blocks_free(&t);
    unsigned fds = count_fds();
    uint64_t id = make_large(&t, NULL);
    assert_true(blocks_free(&t) < before);
    assert_ok(unlink(tree_path(&t, "large"))); /* at once: the guest has just written it */
    assert_true(becomes_free(&t, before));
    assert_true(count_fds() <= fds);
    struct fs_inode *i = fs_inode_get(t.fs, id); /* which the guest still knows */
    assert_int_equal(fs_getattr(t.fs, i, NULL, &a), -ESTALE);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* What was let go works on, and is let go again. */
static void test_comes_back(void **state)
{
    struct share t;
    struct fs_attr a;

    start(&t);
    unsigned fds = count_fds();
    uint64_t id = make_large(&t, NULL);
    for (unsigned n = 0; n < 2; n++) {
        assert_true(fds_become(fds));
        struct fs_inode *i = fs_inode_get(t.fs, id);
        assert_ok(fs_getattr(t.fs, i, NULL, &a));
        assert_int_equal(a.st.st_size, SIZE);
        fs_inode_put(t.fs, i);
        assert_int_equal(tree_guest_look(&t, t.root, "large"), id);
    }
    tree_stop(&t);
}

/* An open file is a file in use, however long; then it is not. */
static void test_open_stays(void **state)
{
    struct share t;
    uint64_t fh;
    char byte;
    struct iovec iov = {&byte, 1};

    start(&t);
    uint64_t before = blocks_free(&t);
    uint64_t id = make_large(&t, &fh);
    assert_ok(unlink(tree_path(&t, "large")));
    usleep(3500000);
    assert_true(blocks_free(&t) < before);
    struct fs_inode *i = fs_inode_get(t.fs, id);
    struct fs_file *f = fs_file_get(t.fs, fh, i);
    assert_int_equal(fs_read(t.fs, f, &iov, 1, SIZE - 1, 0), 1);
    fs_file_put(t.fs, f);
    fs_inode_put(t.fs, i);
    assert_ok(fs_release(t.fs, fh));
    assert_true(becomes_free(&t, before));
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_space_is_freed),
        cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_open_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
