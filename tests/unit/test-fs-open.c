/* SPDX-License-Identifier: BSD-3-Clause
 * Opening and creating: what is opened, what never, and when the guest's cache may live. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int try_open(struct share *t, const char *name, int flags, bool *keep)
{
    struct fs_opened o;
    struct fs_inode *i = tree_look(t, t->root, name);
    int rc = fs_open(t->fs, i, flags, 0, &o);
    fs_inode_put(t->fs, i);
    if (rc == 0) {
        assert_ok(fs_release(t->fs, o.fh));
        if (keep)
            *keep = o.keep_cache;
    }
    return rc;
}

static void make_specials(const struct share *t)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(a.sun_path, tree_path(t, "sock"));
    assert_ok(bind(s, (struct sockaddr *)&a, sizeof(a)));
    close(s);
    assert_ok(mkfifo(tree_path(t, "fifo"), 0666));
    assert_ok(symlink("reg", tree_path(t, "link")));
    if (geteuid() == 0) {
        assert_ok(mknod(tree_path(t, "chr"), S_IFCHR | 0666, makedev(1, 3)));
        assert_ok(mknod(tree_path(t, "blk"), S_IFBLK | 0666, makedev(7, 77)));
    }
}

/* A FIFO would block, a device would do something: the test ends only if neither is opened. */
static void test_specials(void **state)
{
    static const char *const names[] = {"sock", "fifo", "chr", "blk"};
    static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC, O_WRONLY | O_APPEND};
    struct share t;
    struct fs_entry e;
    struct fs_opened o;

    tree_start(&t);
    make_specials(&t);
    for (unsigned n = 0; n < 4; n++) {
        if (!tree_has(&t, names[n]))
            continue;
        for (unsigned f = 0; f < 5; f++)
            assert_int_equal(try_open(&t, names[n], flags[f], NULL), -ENXIO);
        assert_int_equal(fs_create(t.fs, &cred_root, t.root, names[n], 0644, O_RDWR, 0, &e, &o),
                         -ENXIO);
        assert_int_equal(
            fs_create(t.fs, &cred_root, t.root, names[n], 0644, O_RDWR | O_EXCL, 0, &e, &o),
            -EEXIST);
        struct fs_inode *i = tree_look(&t, t.root, names[n]);
        struct fs_setattr set = {.valid = FS_SET_SIZE};
        struct fs_attr a;
        struct fs_lock lk = {.type = F_WRLCK, .end = INT64_MAX};
        assert_int_equal(fs_setattr(t.fs, i, NULL, &set, &a), -EINVAL);
        assert_int_equal(fs_setlk(t.fs, i, &(struct fs_locker){.owner = 1}, &lk), -ENXIO);
        assert_int_equal(fs_getlk(t.fs, i, 1, &lk), -ENXIO);
        assert_int_equal(fs_opendir(t.fs, i, &o), -ENOTDIR);
        fs_inode_put(t.fs, i);
    }
    assert_int_equal(try_open(&t, "link", O_RDONLY, NULL), -ELOOP);
    assert_int_equal(fs_create(t.fs, &cred_root, t.root, "link", 0644, O_RDWR, 0, &e, &o), -ELOOP);
    assert_false(tree_has(&t, "reg"));
    assert_int_equal(try_open(&t, ".", O_RDONLY, NULL), -EISDIR);
    tree_stop(&t);
}

static void test_flags(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "f", "content");
    assert_int_equal(try_open(&t, "f", O_RDWR | O_CREAT, NULL), -EINVAL);
    assert_int_equal(try_open(&t, "f", O_ACCMODE, NULL), -EINVAL);
    /* Flags that would change what is opened, or how we live with it, are left out. */
    assert_ok(try_open(&t, "f", O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_DIRECTORY | O_PATH, NULL));
    assert_ok(try_open(&t, "f", O_RDONLY | O_NOATIME | O_DIRECT | O_ASYNC | O_EXCL, NULL));
    struct stat st;
    assert_ok(stat(tree_path(&t, "f"), &st));
    assert_int_equal(st.st_size, 7);
    assert_ok(try_open(&t, "f", O_WRONLY | O_TRUNC, NULL));
    assert_ok(stat(tree_path(&t, "f"), &st));
    assert_int_equal(st.st_size, 0);
    tree_stop(&t);
}

static void test_handles(void **state)
{
    struct share t;
    struct fs_opened o, o2;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o));
    assert_null(fs_file_get(t.fs, o.fh, t.root)); /* belongs to another inode */
    assert_null(fs_file_get(t.fs, 0, NULL));
    assert_null(fs_file_get(t.fs, o.fh + 1, NULL));
    assert_null(fs_file_get(t.fs, UINT64_MAX, NULL));
    struct fs_file *f = fs_file_get(t.fs, o.fh, i);
    assert_int_equal(fs_file_id(f), o.fh);
    assert_ok(fs_release(t.fs, o.fh));
    assert_int_equal(fs_release(t.fs, o.fh), -EBADF);
    assert_null(fs_file_get(t.fs, o.fh, i));
    char c;
    struct iovec iov = {&c, 1};
    assert_int_equal(fs_read(t.fs, f, &iov, 1, 0, 0), 1); /* a call in progress keeps it */
    fs_file_put(t.fs, f);
    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o2));
    assert_int_not_equal(o.fh, o2.fh);
    assert_int_equal(fs_release(t.fs, o.fh), -EBADF);
    assert_ok(fs_release(t.fs, o2.fh));
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static void settle(void)
{
    struct timespec ts = {.tv_nsec = 30000000};
    nanosleep(&ts, NULL);
}

static bool keeps(struct share *t)
{
    bool keep = false;
    assert_ok(try_open(t, "f", O_RDONLY, &keep));
    return keep;
}

static void test_keep_cache_auto(void **state)
{
    struct share t;
    tree_start(&t);
    tree_write(&t, "f", "one");
    uint64_t id = tree_guest_look(&t, t.root, "f");
    assert_false(keeps(&t)); /* first open, and written a moment ago */
    settle();
    assert_false(keeps(&t)); /* what was seen then may have changed without a trace */
    assert_true(keeps(&t));
    assert_true(keeps(&t));
    tree_write(&t, "f", "two"); /* same size */
    assert_false(keeps(&t));
    settle();
    assert_false(keeps(&t));
    assert_true(keeps(&t));
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    assert_ok(utimensat(AT_FDCWD, tree_path(&t, "f"), old, 0)); /* mtime back: ctime tells */
    settle();
    assert_false(keeps(&t));
    assert_true(keeps(&t));
    /* A new inode knows nothing. */
    fs_forget(t.fs, id, 1);
    assert_false(keeps(&t));
    tree_stop(&t);
}

static void test_keep_cache_modes(void **state)
{
    for (enum fs_cache c = FS_CACHE_NEVER; c <= FS_CACHE_ALWAYS; c++) {
        struct share t;
        struct share_config cfg = tree_config();
        cfg.cache = c;
        tree_make(&t);
        tree_open(&t, &cfg);
        tree_write(&t, "f", "x");
        tree_guest_look(&t, t.root, "f");
        settle();
        assert_int_equal(keeps(&t), c == FS_CACHE_ALWAYS);
        assert_int_equal(keeps(&t), c >= FS_CACHE_AUTO);
        tree_stop(&t);
    }
}

static void test_create(void **state)
{
    struct share t;
    struct fs_entry e;
    struct fs_opened o;
    struct stat st;
    const struct fs_cred *c = &cred_root;
    tree_start(&t);
    assert_ok(fs_create(t.fs, c, t.root, "f", 0640, O_WRONLY, 0, &e, &o));
    assert_int_equal(e.attr.st.st_mode, S_IFREG | 0640);
    uint64_t id = fs_inode_id(e.inode);
    struct fs_file *f = fs_file_get(t.fs, o.fh, e.inode);
    assert_non_null(f);
    struct iovec iov = {(char[]){'a', 'b'}, 2};
    assert_int_equal(fs_write(t.fs, f, &iov, 1, 0, 0), 2);
    fs_file_put(t.fs, f);
    fs_release(t.fs, o.fh);
    fs_inode_remember(t.fs, e.inode);

    assert_int_equal(fs_create(t.fs, c, t.root, "f", 0640, O_RDWR | O_EXCL, 0, &e, &o), -EEXIST);
    assert_ok(fs_create(t.fs, c, t.root, "f", 0600, O_RDWR, 0, &e, &o)); /* opens what is there */
    assert_int_equal(fs_inode_id(e.inode), id);
    assert_int_equal(e.attr.st.st_mode, S_IFREG | 0640);
    assert_int_equal(e.attr.st.st_size, 2);
    fs_release(t.fs, o.fh);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_create(t.fs, c, t.root, "f", 0600, O_RDWR | O_TRUNC, 0, &e, &o));
    assert_int_equal(e.attr.st.st_size, 0);
    fs_release(t.fs, o.fh);
    fs_inode_put(t.fs, e.inode);
    assert_ok(mkdir(tree_path(&t, "d"), 0755));
    assert_int_equal(fs_create(t.fs, c, t.root, "d", 0600, O_RDWR, 0, &e, &o), -EISDIR);

    assert_ok(fs_tmpfile(t.fs, c, t.root, 0600, O_RDWR, &e, &o));
    assert_int_equal(e.attr.st.st_nlink, 0);
    struct fs_entry named;
    assert_ok(fs_link(t.fs, e.inode, t.root, "named", &named));
    assert_ptr_equal(named.inode, e.inode);
    fs_inode_put(t.fs, named.inode);
    fs_inode_put(t.fs, e.inode);
    fs_release(t.fs, o.fh);
    assert_ok(stat(tree_path(&t, "named"), &st));
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    tree_stop(&t);
}

/* Every verb that would change something, on a read-only share. */
static void test_readonly(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    struct fs_entry e;
    struct fs_opened o;
    struct fs_attr a;
    const struct fs_cred *c = &cred_root;
    const int ro = -EROFS;

    cfg.readonly = true;
    tree_make(&t);
    tree_write(&t, "f", "data");
    assert_ok(mkdir(tree_path(&t, "d"), 0755));
    tree_open(&t, &cfg);
    struct fs_inode *i = tree_look(&t, t.root, "f");
    static const int writing[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDWR | O_APPEND};
    for (unsigned n = 0; n < 4; n++)
        assert_int_equal(fs_open(t.fs, i, writing[n], 0, &o), ro);
    assert_int_equal(fs_create(t.fs, c, t.root, "n", 0644, O_RDONLY, 0, &e, &o), ro);
    assert_int_equal(fs_tmpfile(t.fs, c, t.root, 0644, O_RDWR, &e, &o), ro);
    assert_int_equal(fs_mknod(t.fs, c, t.root, "n", S_IFREG, 0, &e), ro);
    assert_int_equal(fs_mkdir(t.fs, c, t.root, "n", 0755, &e), ro);
    assert_int_equal(fs_symlink(t.fs, c, t.root, "n", "t", &e), ro);
    assert_int_equal(fs_link(t.fs, i, t.root, "n", &e), ro);
    assert_int_equal(fs_unlink(t.fs, t.root, "f"), ro);
    assert_int_equal(fs_rmdir(t.fs, t.root, "d"), ro);
    assert_int_equal(fs_rename(t.fs, c, t.root, "f", t.root, "g", 0), ro);
    for (unsigned bit = 0; bit < 8; bit++) {
        struct fs_setattr set = {.valid = 1u << bit};
        assert_int_equal(fs_setattr(t.fs, i, NULL, &set, &a), ro);
    }
    assert_int_equal(fs_setxattr(t.fs, i, "user.x", "v", 1, 0, 0), ro);
    assert_int_equal(fs_removexattr(t.fs, i, "user.x"), ro);
    assert_int_equal(fs_access(t.fs, c, i, W_OK), ro);

    char buf[8];
    struct iovec iov = {buf, sizeof(buf)};
    assert_ok(fs_open(t.fs, i, O_RDONLY, 0, &o));
    struct fs_file *f = fs_file_get(t.fs, o.fh, i);
    assert_int_equal(fs_write(t.fs, f, &iov, 1, 0, 0), ro);
    assert_int_equal(fs_fallocate(t.fs, f, 0, 0, 100, 0), ro);
    assert_int_equal(fs_copy_range(t.fs, f, 0, f, 100, 4, 0, 0), ro);
    assert_int_equal(fs_read(t.fs, f, &iov, 1, 0, 0), 4);
    fs_file_put(t.fs, f);
    fs_release(t.fs, o.fh);
    assert_ok(fs_access(t.fs, c, i, R_OK));
    assert_ok(fs_getattr(t.fs, i, NULL, &a));
    assert_int_equal(a.st.st_size, 4);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static void test_writeback(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    struct fs_opened o;
    char buf[8] = "";
    struct iovec iov = {buf, sizeof(buf)};
    tree_make(&t);
    tree_write(&t, "f", "data");
    tree_open(&t, &cfg);
    fs_writeback_enable(t.fs, true);
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_open(t.fs, i, O_WRONLY | O_APPEND, 0, &o));
    struct fs_file *f = fs_file_get(t.fs, o.fh, i);
    assert_int_equal(fs_read(t.fs, f, &iov, 1, 0, 0), 4); /* readable */
    iov = (struct iovec){(char[]){'X'}, 1};
    assert_int_equal(fs_write(t.fs, f, &iov, 1, 1, FS_WRITE_CACHE), 1); /* goes where it says */
    iov = (struct iovec){buf, sizeof(buf)};
    assert_int_equal(fs_read(t.fs, f, &iov, 1, 0, 0), 4);
    assert_string_equal(buf, "dXta");
    fs_file_put(t.fs, f);
    fs_release(t.fs, o.fh);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specials),         cmocka_unit_test(test_flags),
        cmocka_unit_test(test_handles),          cmocka_unit_test(test_keep_cache_auto),
        cmocka_unit_test(test_keep_cache_modes), cmocka_unit_test(test_create),
        cmocka_unit_test(test_readonly),         cmocka_unit_test(test_writeback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
