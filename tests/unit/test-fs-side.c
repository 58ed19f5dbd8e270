/* SPDX-License-Identifier: BSD-3-Clause
 * Writes as each request says: appends and durable ones, on file systems and kernels that lack one
 * or the other; files that take nothing but appends. */
#include "tests/unit/fs-opened.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- the kernel, as it is and as it may be ---- */

static struct {
    bool no_flags;  /* pwritev2() knows none */
    uint32_t magic; /* not 0: what every file system calls itself */
    int rwf;        /* of the last pwritev2() */
    unsigned flagged, syncs, datasyncs;
} kernel;

/* clang-format off */
ssize_t __real_pwritev64v2(int fd, const struct iovec *iov, int cnt, off_t off, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int cnt, off_t off, int flags);
int __real_fstatfs64(int fd, struct statfs *st);
int __wrap_fstatfs64(int fd, struct statfs *st);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
/* clang-format on */

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *iov, int cnt, off_t off, int flags)
{
    kernel.rwf = flags;
    kernel.flagged++;
    if (kernel.no_flags) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return __real_pwritev64v2(fd, iov, cnt, off, flags);
}

int __wrap_fstatfs64(int fd, struct statfs *st)
{
    int rc = __real_fstatfs64(fd, st);
    if (kernel.magic != 0)
        st->f_type = kernel.magic;
    return rc;
}

int __wrap_fsync(int fd)
{
    kernel.syncs++;
    return __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
    kernel.datasyncs++;
    return __real_fdatasync(fd);
}

/* ---- appends ---- */

/* Emulators of another machine's programs may not know the call: then there is the other way only.
 */
static bool no_flags(void)
{
    char c = 0;
    struct iovec iov = {&c, 1};
    FILE *f = tmpfile();
    assert_non_null(f);
    bool none = __real_pwritev64v2(fileno(f), &iov, 1, 0, RWF_APPEND | RWF_DSYNC) < 0;
    fclose(f);
    if (none)
        print_message("no RWF_APPEND and RWF_DSYNC here\n");
    return none;
}

/* A new tree, on a kernel that has everything. */
static void begin(struct open_tree *o)
{
    memset(&kernel, 0, sizeof(kernel));
    prepare(o);
}

static void appends(struct open_tree *o)
{
    assert_int_equal(put(o, "one", 0, FS_WRITE_APPEND), 3);
    host_line(o, "HOST");
    assert_int_equal(put(o, "two", 3, FS_WRITE_APPEND), 3); /* where the guest thought it ends */
    holds(o, "oneHOSTtwo");
    assert_int_equal(put(o, "X", 1, 0), 1); /* it took the flag away */
    assert_int_equal(put(o, "Y", 0, FS_WRITE_CACHE | FS_WRITE_APPEND), 1); /* a page of its cache */
    holds(o, "YXeHOSTtwo");
}

static void test_append(void **state)
{
    if (no_flags())
        skip();
    static const int flags[] = {O_RDWR, O_WRONLY, O_RDWR | O_APPEND, O_WRONLY | O_APPEND};
    struct share_config cfg = tree_config();
    for (unsigned n = 0; n < 4; n++) {
        struct open_tree o;
        begin(&o);
        start(&o, &cfg, flags[n]);
        appends(&o);
        assert_int_equal(fds_with(&o, 0), 1);
        assert_int_equal(fds_with(&o, O_APPEND), 0);
        stop(&o);
    }
}

/* Where O_APPEND of a descriptor is all that helps: a layered file system, FUSE, an old kernel. */
static void test_append_by_descriptor(void **state)
{
    static const uint32_t magic[] = {0x794c7630, 0x65735546, 0};
    struct share_config cfg = tree_config();
    for (unsigned n = 0; n < 3; n++) {
        struct open_tree o;
        begin(&o);
        kernel.magic = magic[n];
        kernel.no_flags = magic[n] == 0;
        start(&o, &cfg, O_RDWR);
        assert_int_equal(fds_with(&o, O_APPEND), 0);
        appends(&o);
        assert_int_equal(fds_with(&o, 0), 2);
        assert_int_equal(fds_with(&o, O_APPEND), 1);
        assert_int_equal(kernel.flagged, magic[n] == 0); /* once is enough to learn it */
        assert_ok(reopen(&o, O_RDWR | O_APPEND));        /* now from the start */
        assert_int_equal(fds_with(&o, O_APPEND), 1);
        stop(&o);
    }
}

/* A guest that delays writes places appended data itself. */
static void test_append_delayed(void **state)
{
    struct open_tree o;
    struct share_config cfg = tree_config();
    begin(&o);
    tree_write(&o.t, "f", "data");
    start(&o, &cfg, O_RDONLY);
    fs_writeback_enable(o.t.fs, true);
    assert_ok(reopen(&o, O_WRONLY | O_APPEND));
    assert_int_equal(put(&o, "later", 8, FS_WRITE_APPEND), 5); /* what is between comes yet */
    assert_int_equal(put(&o, "soon", 4, FS_WRITE_CACHE), 4);
    holds(&o, "datasoonlater");
    assert_false(o.o.append_only);
    stop(&o);
}

/* ---- durable writes ---- */

static void test_sync(void **state)
{
    if (no_flags())
        skip();
    struct open_tree o;
    struct share_config cfg = tree_config();
    begin(&o);
    start(&o, &cfg, O_RDWR);
    assert_int_equal(put(&o, "a", 0, 0), 1);
    assert_int_equal(put(&o, "a", 0, FS_WRITE_CACHE | FS_WRITE_SYNC | FS_WRITE_DSYNC), 1);
    assert_int_equal(kernel.flagged, 0);
    assert_int_equal(put(&o, "a", 0, FS_WRITE_DSYNC), 1);
    assert_int_equal(kernel.rwf, RWF_DSYNC);
    assert_int_equal(put(&o, "a", 0, FS_WRITE_SYNC | FS_WRITE_DSYNC), 1);
    assert_int_equal(kernel.rwf, RWF_SYNC);
    assert_int_equal(put(&o, "b", 0, FS_WRITE_APPEND | FS_WRITE_DSYNC), 1);
    assert_int_equal(kernel.rwf, RWF_APPEND | RWF_DSYNC);
    assert_int_equal(kernel.syncs + kernel.datasyncs, 0);
    holds(&o, "ab");
    stop(&o);
}

static void test_sync_without_flags(void **state)
{
    struct open_tree o;
    struct share_config cfg = tree_config();
    begin(&o);
    kernel.no_flags = true;
    start(&o, &cfg, O_RDWR);
    assert_int_equal(put(&o, "a", 0, FS_WRITE_DSYNC), 1);
    assert_int_equal(kernel.datasyncs, 1);
    assert_int_equal(put(&o, "a", 0, FS_WRITE_SYNC | FS_WRITE_DSYNC), 1);
    assert_int_equal(kernel.syncs, 1);
    assert_int_equal(put(&o, "b", 0, FS_WRITE_APPEND | FS_WRITE_DSYNC), 1);
    assert_int_equal(kernel.datasyncs, 2);
    assert_int_equal(put(&o, "c", 2, 0), 1);
    assert_int_equal(kernel.syncs + kernel.datasyncs, 3);
    holds(&o, "abc");
    stop(&o);
}

/* Requests without flags of their own: as the file was opened. */
static void test_sync_ranges(void **state)
{
    struct open_tree o;
    struct share_config cfg = tree_config();
    begin(&o);
    start(&o, &cfg, O_RDWR | O_DSYNC);
    assert_int_equal(put(&o, "abcd", 0, 0), 4);
    assert_ok(fs_fallocate(o.t.fs, o.f, 0, 0, BLOCK, 0));
    assert_int_equal(kernel.datasyncs, 1);
    assert_int_equal(fs_copy_range(o.t.fs, o.f, 0, o.f, 100, 4, 0, 0), 4);
    assert_int_equal(kernel.datasyncs, 2);
    assert_ok(reopen(&o, O_RDWR | O_SYNC));
    assert_ok(fs_fallocate(o.t.fs, o.f, 0, 0, BLOCK, 0));
    assert_int_equal(kernel.syncs, 1);
    assert_ok(reopen(&o, O_RDWR));
    assert_ok(fs_fallocate(o.t.fs, o.f, 0, 0, BLOCK, 0));
    assert_int_equal(kernel.syncs + kernel.datasyncs, 3);
    stop(&o);
}

/* ---- append-only files ---- */

static bool append_only(struct open_tree *o, bool on)
{
    int fd = open(tree_path(&o->t, "f"), O_RDONLY | O_CLOEXEC), flags = 0;
    int rc = ioctl(fd, FS_IOC_GETFLAGS, &flags);
    flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
    if (rc == 0)
        rc = ioctl(fd, FS_IOC_SETFLAGS, &flags);
    close(fd);
    return rc == 0;
}

static void test_append_only(void **state)
{
    struct open_tree o;
    struct share_config cfg = tree_config();
    need_root();
    for (int delayed = 0; delayed < 2; delayed++) {
        begin(&o);
        tree_write(&o.t, "f", "log:");
        start(&o, &cfg, O_RDONLY);
        fs_writeback_enable(o.t.fs, delayed);
        if (!append_only(&o, true)) {
            print_message("no such files here\n");
            stop(&o);
            skip();
        }
        assert_false(o.o.append_only);
        assert_int_equal(reopen(&o, O_WRONLY), -EPERM);
        assert_int_equal(reopen(&o, O_RDWR), -EPERM);
        assert_int_equal(reopen(&o, O_WRONLY | O_APPEND | O_TRUNC), -EPERM);
        assert_ok(reopen(&o, O_WRONLY | O_APPEND));
        assert_true(o.o.append_only);
        assert_int_equal(fds_with(&o, O_APPEND), 1);
        assert_int_equal(put(&o, "one", 4, FS_WRITE_APPEND), 3);
        host_line(&o, "HOST");
        assert_int_equal(put(&o, "two", 7, FS_WRITE_APPEND | FS_WRITE_DSYNC), 3);
        assert_int_equal(put(&o, "no", 0, 0), -EPERM);
        assert_int_equal(put(&o, "no", 99, 0), -EPERM);
        assert_int_equal(put(&o, "no", 0, FS_WRITE_DSYNC), -EPERM);
        assert_int_equal(put(&o, "no", 14, FS_WRITE_CACHE), -EPERM);
        assert_int_equal(put(&o, "no", 14, FS_WRITE_CACHE | FS_WRITE_APPEND), -EPERM);
        holds(&o, "log:oneHOSTtwo");
        assert_int_equal(
            fs_fallocate(o.t.fs, o.f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4, 0), -EPERM);
        assert_true(fs_copy_range(o.t.fs, o.f, 0, o.f, 20, 4, 0, 0) < 0);
        struct fs_setattr cut = {.valid = FS_SET_SIZE};
        struct fs_attr a;
        assert_int_equal(fs_setattr(o.t.fs, o.i, o.f, &cut, &a), -EPERM);
        assert_int_equal(fs_setattr(o.t.fs, o.i, NULL, &cut, &a), -EPERM);
        holds(&o, "log:oneHOSTtwo");
        assert_int_equal(fds_with(&o, 0), 1);
        assert_true(append_only(&o, false)); /* the host says otherwise now */
        assert_int_equal(put(&o, "L", 0, 0), 1);
        holds(&o, "Log:oneHOSTtwo");
        stop(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_append_by_descriptor),
        cmocka_unit_test(test_append_delayed),
        cmocka_unit_test(test_sync),
        cmocka_unit_test(test_sync_without_flags),
        cmocka_unit_test(test_sync_ranges),
        cmocka_unit_test(test_append_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
