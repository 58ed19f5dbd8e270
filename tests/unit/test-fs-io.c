/* SPDX-License-Identifier: BSD-3-Clause
 * Data: long segment lists, ends of files, holes, ranges. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct open_tree {
    struct share t;
    struct fs_inode *i;
    struct fs_file *f;
    uint64_t fh;
};

static void start(struct open_tree *o, int flags)
{
    struct fs_opened opened;
    tree_start(&o->t);
    tree_write(&o->t, "f", "");
    o->i = tree_look(&o->t, o->t.root, "f");
    assert_ok(fs_open(o->t.fs, o->i, flags, 0, &opened));
    o->fh = opened.fh;
    o->f = fs_file_get(o->t.fs, o->fh, o->i);
}

static void stop(struct open_tree *o)
{
    fs_file_put(o->t.fs, o->f);
    fs_release(o->t.fs, o->fh);
    fs_inode_put(o->t.fs, o->i);
    tree_stop(&o->t);
}

static ssize_t put(struct open_tree *o, const char *text, off_t off)
{
    struct iovec iov = {(char *)(uintptr_t)text, strlen(text)};
    return fs_write(o->t.fs, o->f, &iov, 1, off, fs_file_how(o->f));
}

static ssize_t get(struct open_tree *o, char *buf, size_t size, off_t off)
{
    struct iovec iov = {buf, size};
    memset(buf, 0, size);
    return fs_read(o->t.fs, o->f, &iov, 1, off, 0);
}

static void test_ends(void **state)
{
    struct open_tree o;
    char buf[32];
    start(&o, O_RDWR);
    assert_int_equal(get(&o, buf, sizeof(buf), 0), 0);
    assert_int_equal(put(&o, "hello world", 0), 11);
    assert_int_equal(get(&o, buf, sizeof(buf), 6), 5);
    assert_string_equal(buf, "world");
    assert_int_equal(get(&o, buf, sizeof(buf), 11), 0);
    assert_int_equal(get(&o, buf, sizeof(buf), (off_t)1 << 40), 0);
    assert_int_equal(get(&o, buf, sizeof(buf), INT64_MAX), -EINVAL);
    assert_int_equal(get(&o, buf, sizeof(buf), -1), -EINVAL);
    assert_int_equal(put(&o, "x", -1), -EINVAL);
    assert_int_equal(fs_read(o.t.fs, o.f, NULL, 0, 0, 0), 0);
    assert_int_equal(fs_write(o.t.fs, o.f, NULL, 0, 0, 0), 0);
    stop(&o);
}

/* More segments than one system call takes, of odd lengths. */
static void test_many_segments(void **state)
{
    enum { SEGS = 3 * IOV_MAX + 17, EACH = 13 };
    struct open_tree o;
    char *in = malloc(SEGS * EACH), *out = calloc(SEGS, EACH);
    struct iovec *iov = calloc(SEGS, sizeof(*iov));
    start(&o, O_RDWR);
    for (int n = 0; n < SEGS * EACH; n++)
        in[n] = (char)(n * 7 + n / 251);
    for (int n = 0; n < SEGS; n++)
        iov[n] = (struct iovec){in + n * EACH, EACH};
    assert_int_equal(fs_write(o.t.fs, o.f, iov, SEGS, 5, 0), SEGS * EACH);
    for (int n = 0; n < SEGS; n++)
        iov[n] = (struct iovec){out + n * EACH, EACH};
    assert_int_equal(fs_read(o.t.fs, o.f, iov, SEGS, 5, 0), SEGS * EACH);
    assert_memory_equal(in, out, SEGS * EACH);
    for (int n = 0; n < SEGS; n++)
        iov[n] = (struct iovec){out + n * EACH, EACH};
    assert_int_equal(fs_read(o.t.fs, o.f, iov, SEGS, 5 + EACH, 0), (SEGS - 1) * EACH);
    free(in);
    free(out);
    free(iov);
    stop(&o);
}

static void test_bad_memory(void **state)
{
    struct open_tree o;
    struct iovec iov = {(void *)8, 100};
    start(&o, O_RDWR);
    assert_int_equal(put(&o, "hello", 0), 5);
    assert_int_equal(fs_read(o.t.fs, o.f, &iov, 1, 0, 0), -EFAULT);
    iov = (struct iovec){(void *)8, 100};
    assert_int_equal(fs_write(o.t.fs, o.f, &iov, 1, 0, 0), -EFAULT);
    stop(&o);
}

static void test_append(void **state)
{
    struct open_tree o;
    char buf[16];
    start(&o, O_RDWR | O_APPEND);
    assert_int_equal(put(&o, "one", 0), 3);
    assert_int_equal(put(&o, "two", 0), 3); /* at the end, where another guest may have written */
    assert_int_equal(get(&o, buf, sizeof(buf), 0), 6);
    assert_string_equal(buf, "onetwo");
    stop(&o);
}

static void test_access_mode(void **state)
{
    struct open_tree o;
    char buf[4];
    start(&o, O_RDONLY);
    assert_int_equal(put(&o, "x", 0), -EBADF);
    stop(&o);
    start(&o, O_WRONLY);
    assert_int_equal(get(&o, buf, sizeof(buf), 0), -EBADF);
    stop(&o);
}

static void test_holes(void **state)
{
    struct open_tree o;
    start(&o, O_RDWR);
    assert_int_equal(put(&o, "x", 1 << 20), 1);
    assert_int_equal(fs_lseek(o.t.fs, o.f, 0, SEEK_HOLE), 0);
    assert_int_equal(fs_lseek(o.t.fs, o.f, 0, SEEK_DATA), 1 << 20);
    assert_int_equal(fs_lseek(o.t.fs, o.f, 2 << 20, SEEK_DATA), -ENXIO);
    assert_int_equal(fs_lseek(o.t.fs, o.f, 0, SEEK_END), (1 << 20) + 1);
    assert_int_equal(fs_lseek(o.t.fs, o.f, 7, SEEK_SET), 7);
    assert_int_equal(fs_lseek(o.t.fs, o.f, 0, SEEK_CUR), -EINVAL);
    assert_int_equal(fs_lseek(o.t.fs, o.f, 0, 99), -EINVAL);
    stop(&o);
}

static void test_fallocate(void **state)
{
    struct open_tree o;
    struct fs_attr a;
    char buf[8];
    start(&o, O_RDWR);
    assert_ok(fs_fallocate(o.t.fs, o.f, 0, 0, 65536, 0));
    assert_ok(fs_getattr(o.t.fs, o.i, o.f, &a));
    assert_int_equal(a.st.st_size, 65536);
    assert_ok(fs_fallocate(o.t.fs, o.f, FALLOC_FL_KEEP_SIZE, 65536, 65536, 0));
    assert_ok(fs_getattr(o.t.fs, o.i, o.f, &a));
    assert_int_equal(a.st.st_size, 65536);
    assert_int_equal(put(&o, "data", 4096), 4);
    assert_ok(fs_fallocate(o.t.fs, o.f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096, 0));
    assert_int_equal(get(&o, buf, 4, 4096), 4);
    assert_memory_equal(buf, "\0\0\0\0", 4);
    assert_int_equal(fs_fallocate(o.t.fs, o.f, 0, -1, 10, 0), -EINVAL);
    assert_int_equal(fs_fallocate(o.t.fs, o.f, 0, 0, 0, 0), -EINVAL);
    assert_int_equal(fs_fallocate(o.t.fs, o.f, 1 << 20, 0, 10, 0), -EOPNOTSUPP);
    stop(&o);
}

static void test_copy(void **state)
{
    struct open_tree o;
    char buf[32];
    start(&o, O_RDWR);
    assert_int_equal(put(&o, "0123456789", 0), 10);
    assert_int_equal(fs_copy_range(o.t.fs, o.f, 2, o.f, 10, 5, 0, 0), 5);
    assert_int_equal(get(&o, buf, sizeof(buf), 0), 15);
    assert_string_equal(buf, "012345678923456");
    assert_int_equal(fs_copy_range(o.t.fs, o.f, 2, o.f, 10, 5, 1, 0), -EINVAL);
    assert_int_equal(fs_copy_range(o.t.fs, o.f, -2, o.f, 10, 5, 0, 0), -EINVAL);
    assert_int_equal(fs_copy_range(o.t.fs, o.f, 0, o.f, 5, 10, 0, 0), -EINVAL); /* overlap */
    assert_int_equal(fs_copy_range(o.t.fs, o.f, 100, o.f, 200, SIZE_MAX, 0, 0), 0);
    stop(&o);
}

static void test_sync(void **state)
{
    struct open_tree o;
    start(&o, O_RDWR);
    assert_int_equal(put(&o, "x", 0), 1);
    assert_ok(fs_fsync(o.t.fs, o.f, false));
    assert_ok(fs_fsync(o.t.fs, o.f, true));
    assert_ok(fs_syncfs(o.t.fs, o.t.root));
    assert_ok(fs_syncfs(o.t.fs, o.i));
    stop(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),        cmocka_unit_test(test_many_segments),
        cmocka_unit_test(test_bad_memory),  cmocka_unit_test(test_append),
        cmocka_unit_test(test_access_mode), cmocka_unit_test(test_holes),
        cmocka_unit_test(test_fallocate),   cmocka_unit_test(test_copy),
        cmocka_unit_test(test_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
