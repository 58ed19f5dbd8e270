/* SPDX-License-Identifier: BSD-3-Clause
 * Attributes and extended attributes. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

static int set(struct share *t, struct fs_inode *i, struct fs_setattr s, struct fs_attr *a)
{
    return fs_setattr(t->fs, i, NULL, &s, a);
}

static void test_getattr(void **state)
{
    struct share t;
    struct fs_attr a;
    struct stat st;
    tree_start(&t);
    tree_write(&t, "f", "hello");
    assert_ok(chmod(tree_path(&t, "f"), 0751));
    assert_ok(link(tree_path(&t, "f"), tree_path(&t, "g")));
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_getattr(t.fs, i, NULL, &a));
    assert_ok(stat(tree_path(&t, "f"), &st));
    assert_int_equal(a.st.st_dev, st.st_dev);
    assert_int_equal(a.st.st_ino, st.st_ino);
    assert_int_equal(a.st.st_mode, st.st_mode);
    assert_int_equal(a.st.st_nlink, 2);
    assert_int_equal(a.st.st_uid, st.st_uid);
    assert_int_equal(a.st.st_gid, st.st_gid);
    assert_int_equal(a.st.st_size, 5);
    assert_int_equal(a.st.st_blocks, st.st_blocks);
    assert_int_equal(a.st.st_blksize, st.st_blksize);
    assert_memory_equal(&a.st.st_mtim, &st.st_mtim, sizeof(st.st_mtim));
    assert_memory_equal(&a.st.st_ctim, &st.st_ctim, sizeof(st.st_ctim));
    assert_memory_equal(&a.st.st_atim, &st.st_atim, sizeof(st.st_atim));
    assert_false(a.submount);
    struct fs_attr less;
    assert_ok(fs_getstat(t.fs, i, NULL, &less));
    assert_memory_equal(&less.st, &a.st, sizeof(a.st));

    struct statx stx;
    assert_ok(fs_statx(t.fs, i, NULL, 0, STATX_BASIC_STATS | STATX_BTIME, &stx));
    assert_int_equal(stx.stx_size, 5);
    assert_ok(fs_statx(t.fs, i, NULL, ~0u & ~(unsigned)AT_STATX_FORCE_SYNC, ~0u, &stx));
    assert_int_equal(fs_statx(t.fs, i, NULL, AT_STATX_SYNC_TYPE, 0, &stx), -EINVAL);
    struct statvfs vfs;
    assert_ok(fs_statfs(t.fs, i, &vfs));
    assert_true(vfs.f_blocks > 0 && vfs.f_namemax >= 255);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static int numbers(void *user, struct statvfs *out)
{
    *out = (struct statvfs){.f_blocks = 4321};
    return *(int *)user;
}

/* Whatever the inode, the numbers are those of somebody else, and so are the errors. */
static void test_statfs_elsewhere(void **state)
{
    struct share t;
    struct statvfs st;
    int rc = 0;
    struct share_config cfg = tree_config();
    cfg.statfs = numbers;
    cfg.user = &rc;
    tree_make(&t);
    tree_open(&t, &cfg);
    tree_write(&t, "f", "");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    struct fs *other = fs_client_new(t.fs);
    assert_ok(fs_statfs(t.fs, i, &st));
    assert_int_equal(st.f_blocks, 4321);
    assert_ok(fs_statfs(other, t.root, &st));
    assert_int_equal(st.f_blocks, 4321);
    rc = -EIO;
    assert_int_equal(fs_statfs(t.fs, t.root, &st), -EIO);
    fs_free(other);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static void test_mode_and_size(void **state)
{
    struct share t;
    struct fs_attr a;
    struct fs_opened o;
    tree_start(&t);
    tree_write(&t, "f", "hello");
    assert_ok(symlink("f", tree_path(&t, "l")));
    struct fs_inode *i = tree_look(&t, t.root, "f"), *l = tree_look(&t, t.root, "l");
    assert_ok(set(&t, i, (struct fs_setattr){.valid = FS_SET_MODE, .mode = S_IFDIR | 0600}, &a));
    assert_int_equal(a.st.st_mode, S_IFREG | 0600);
    assert_int_equal(set(&t, l, (struct fs_setattr){.valid = FS_SET_MODE, .mode = 0600}, &a),
                     -EOPNOTSUPP);
    assert_ok(set(&t, i, (struct fs_setattr){.valid = FS_SET_SIZE, .size = 3}, &a));
    assert_int_equal(a.st.st_size, 3);
    assert_int_equal(set(&t, i, (struct fs_setattr){.valid = FS_SET_SIZE, .size = -1}, &a),
                     -EINVAL);
    assert_int_equal(set(&t, t.root, (struct fs_setattr){.valid = FS_SET_SIZE}, &a), -EISDIR);
    assert_int_equal(set(&t, l, (struct fs_setattr){.valid = FS_SET_SIZE}, &a), -EINVAL);
    for (int flags = O_RDONLY; flags <= O_RDWR; flags++) { /* with a file of any access mode */
        assert_ok(fs_open(t.fs, i, flags, 0, &o));
        struct fs_file *f = fs_file_get(t.fs, o.fh, i);
        struct fs_setattr s = {.valid = FS_SET_SIZE, .size = 100 + flags};
        assert_ok(fs_setattr(t.fs, i, f, &s, &a));
        assert_int_equal(a.st.st_size, 100 + flags);
        fs_file_put(t.fs, f);
        fs_release(t.fs, o.fh);
    }
    fs_inode_put(t.fs, i);
    fs_inode_put(t.fs, l);
    tree_stop(&t);
}

static void test_times(void **state)
{
    struct share t;
    struct fs_attr a;
    tree_start(&t);
    tree_write(&t, "f", "hello");
    assert_ok(symlink("f", tree_path(&t, "l")));
    struct fs_setattr s = {
        .valid = FS_SET_ATIME | FS_SET_MTIME,
        .atime = {.tv_sec = 1, .tv_nsec = 123456789},
        .mtime = {.tv_sec = -2, .tv_nsec = 987654321},
    };
    for (unsigned n = 0; n < 2; n++) { /* of a file; of a link, not of its target */
        struct fs_inode *i = tree_look(&t, t.root, n ? "l" : "f");
        assert_ok(set(&t, i, s, &a));
        assert_memory_equal(&a.st.st_atim, &s.atime, sizeof(s.atime));
        assert_memory_equal(&a.st.st_mtim, &s.mtime, sizeof(s.mtime));
        assert_ok(set(&t, i, (struct fs_setattr){.valid = FS_SET_MTIME | FS_SET_MTIME_NOW}, &a));
        assert_true(a.st.st_mtim.tv_sec > 1600000000);
        assert_memory_equal(&a.st.st_atim, &s.atime, sizeof(s.atime)); /* left alone */
        struct fs_setattr bad = s;
        bad.atime.tv_nsec = UTIME_OMIT;
        assert_int_equal(set(&t, i, bad, &a), -EINVAL);
        bad.atime.tv_nsec = -1;
        assert_int_equal(set(&t, i, bad, &a), -EINVAL);
        fs_inode_put(t.fs, i);
    }
    tree_stop(&t);
}

static void test_owner(void **state)
{
    struct share t;
    struct fs_attr a;
    need_root();
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(chmod(tree_path(&t, "f"), 06755));
    assert_ok(set(&t, i, (struct fs_setattr){.valid = FS_SET_UID, .uid = 77, .gid = 99}, &a));
    assert_int_equal(a.st.st_uid, 77);
    assert_int_equal(a.st.st_gid, 0);
    assert_int_equal(a.st.st_mode & 07777, 0755); /* the kernel takes suid and sgid away */
    struct fs_setattr both = {
        .valid = FS_SET_UID | FS_SET_GID | FS_SET_MODE, .uid = 1, .gid = 2, .mode = 04700};
    assert_ok(set(&t, i, both, &a));
    assert_int_equal(a.st.st_mode & 07777, 04700); /* the mode comes after the owner */
    assert_int_equal(set(&t, i, (struct fs_setattr){.valid = FS_SET_UID, .uid = -1}, &a), -EINVAL);
    assert_int_equal(set(&t, i, (struct fs_setattr){.valid = FS_SET_GID, .gid = -1}, &a), -EINVAL);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static mode_t mode_after(struct share *t, const char *name)
{
    struct stat st;
    assert_ok(stat(tree_path(t, name), &st));
    return st.st_mode & 07777;
}

/* suid and sgid end when an unprivileged process of the guest writes or truncates, and only then.
 */
static void test_kill_suidgid(void **state)
{
    struct share t;
    struct fs_opened o;
    struct fs_attr a;
    need_root();
    tree_start(&t);
    tree_write(&t, "f", "xyz");
    const char *path = tree_path(&t, "f");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    for (unsigned kill = 0; kill < 2; kill++) {
        mode_t want = kill ? 0755 : 06755;
        assert_ok(fs_open(t.fs, i, O_RDWR, 0, &o));
        struct fs_file *f = fs_file_get(t.fs, o.fh, i);
        struct iovec iov = {(char[]){'w'}, 1};
        chmod(path, 06755);
        assert_int_equal(fs_write(t.fs, f, &iov, 1, 0, kill ? FS_WRITE_KILL_SUIDGID : 0), 1);
        assert_int_equal(mode_after(&t, "f"), want);
        chmod(path, 06755);
        struct fs_setattr s = {.valid = FS_SET_SIZE | (kill ? FS_SET_KILL_SUIDGID : 0), .size = 2};
        assert_ok(fs_setattr(t.fs, i, f, &s, &a));
        assert_int_equal(a.st.st_mode & 07777, want);
        chmod(path, 06755);
        s.size = 1;
        assert_ok(fs_setattr(t.fs, i, NULL, &s, &a));
        assert_int_equal(a.st.st_mode & 07777, want);
        fs_file_put(t.fs, f);
        fs_release(t.fs, o.fh);
        chmod(path, 06755);
        assert_ok(fs_open(t.fs, i, O_RDWR | O_TRUNC, kill ? FS_OPEN_KILL_SUIDGID : 0, &o));
        assert_int_equal(mode_after(&t, "f"), want);
        fs_release(t.fs, o.fh);
    }
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

static void test_access(void **state)
{
    struct share t;
    struct fs_cred owner = {.uid = 5, .gid = 5}, group = {.uid = 6, .gid = 7},
                   member = {.uid = 6, .gid = 6, .ngroups = 1, .groups = {7}},
                   other = {.uid = 6, .gid = 6};
    need_root();
    tree_start(&t);
    tree_write(&t, "f", "x");
    assert_ok(chmod(tree_path(&t, "f"), 0640));
    assert_ok(chown(tree_path(&t, "f"), 5, 7));
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_access(t.fs, &owner, i, R_OK | W_OK));
    assert_int_equal(fs_access(t.fs, &owner, i, X_OK), -EACCES);
    assert_ok(fs_access(t.fs, &group, i, R_OK));
    assert_int_equal(fs_access(t.fs, &group, i, W_OK), -EACCES);
    assert_ok(fs_access(t.fs, &member, i, R_OK));
    assert_int_equal(fs_access(t.fs, &other, i, R_OK), -EACCES);
    assert_ok(fs_access(t.fs, &other, i, F_OK));
    assert_ok(fs_access(t.fs, &cred_root, i, R_OK | W_OK));
    assert_int_equal(fs_access(t.fs, &cred_root, i, X_OK), -EACCES);
    assert_ok(fs_access(t.fs, &cred_root, t.root, R_OK | W_OK | X_OK));
    assert_int_equal(fs_access(t.fs, &cred_root, i, 8), -EINVAL);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* ---- extended attributes ---- */

static void test_xattr(void **state)
{
    struct share t;
    char buf[64], big[65537], name[300];
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_int_equal(fs_getxattr(t.fs, i, "user.a", buf, sizeof(buf)), -ENODATA);
    assert_ok(fs_setxattr(t.fs, i, "user.a", "value", 5, 0, 0));
    assert_int_equal(fs_setxattr(t.fs, i, "user.a", "v", 1, XATTR_CREATE, 0), -EEXIST);
    assert_int_equal(fs_setxattr(t.fs, i, "user.b", "v", 1, XATTR_REPLACE, 0), -ENODATA);
    assert_int_equal(fs_setxattr(t.fs, i, "user.b", "v", 1, 4, 0), -EINVAL);
    assert_int_equal(fs_getxattr(t.fs, i, "user.a", NULL, 0), 5);
    assert_int_equal(fs_getxattr(t.fs, i, "user.a", buf, 2), -ERANGE);
    assert_int_equal(fs_getxattr(t.fs, i, "user.a", buf, sizeof(buf)), 5);
    assert_memory_equal(buf, "value", 5);
    assert_int_equal(getxattr(tree_path(&t, "f"), "user.a", buf, sizeof(buf)), 5);
    assert_ok(fs_setxattr(t.fs, t.root, "user.dir", "d", 1, 0, 0));
    assert_int_equal(fs_getxattr(t.fs, t.root, "user.dir", buf, sizeof(buf)), 1);

    ssize_t n = fs_listxattr(t.fs, i, buf, sizeof(buf));
    assert_true(n >= 7 && memmem(buf, (size_t)n, "user.a", 7));
    assert_int_equal(fs_listxattr(t.fs, i, NULL, 0), n);
    assert_int_equal(fs_setxattr(t.fs, i, "user.big", big, sizeof(big), 0, 0), -E2BIG);
    memset(name, 'n', sizeof(name) - 1);
    memcpy(name, "user.", 5);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(fs_setxattr(t.fs, i, name, "v", 1, 0, 0), -ERANGE);
    assert_int_equal(fs_getxattr(t.fs, i, "", buf, sizeof(buf)), -ERANGE);
    assert_ok(fs_removexattr(t.fs, i, "user.a"));
    assert_int_equal(fs_removexattr(t.fs, i, "user.a"), -ENODATA);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* Attributes of a symbolic link are its own, and of a special file nothing is opened. */
static void test_xattr_not_followed(void **state)
{
    struct share t;
    char buf[8];
    need_root();
    tree_start(&t);
    tree_write(&t, "f", "x");
    assert_ok(symlink("f", tree_path(&t, "l")));
    assert_ok(mkfifo(tree_path(&t, "p"), 0600));
    struct fs_inode *l = tree_look(&t, t.root, "l"), *p = tree_look(&t, t.root, "p");
    assert_ok(fs_setxattr(t.fs, l, "trusted.t", "link", 4, 0, 0));
    assert_int_equal(fs_getxattr(t.fs, l, "trusted.t", buf, sizeof(buf)), 4);
    assert_int_equal(lgetxattr(tree_path(&t, "l"), "trusted.t", buf, sizeof(buf)), 4);
    assert_int_equal(getxattr(tree_path(&t, "f"), "trusted.t", buf, sizeof(buf)), -1);
    assert_ok(fs_setxattr(t.fs, p, "trusted.t", "pipe", 4, 0, 0));
    assert_int_equal(fs_getxattr(t.fs, p, "trusted.t", buf, sizeof(buf)), 4);
    fs_inode_put(t.fs, l);
    fs_inode_put(t.fs, p);
    tree_stop(&t);
}

static void test_xattr_off(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    char buf[8];
    cfg.xattr = false;
    tree_make(&t);
    tree_open(&t, &cfg);
    assert_int_equal(fs_getxattr(t.fs, t.root, "user.a", buf, 8), -EOPNOTSUPP);
    assert_int_equal(fs_listxattr(t.fs, t.root, buf, 8), -EOPNOTSUPP);
    assert_int_equal(fs_setxattr(t.fs, t.root, "user.a", buf, 8, 0, 0), -EOPNOTSUPP);
    assert_int_equal(fs_removexattr(t.fs, t.root, "user.a"), -EOPNOTSUPP);
    tree_stop(&t);
}

static void test_acl_kill_sgid(void **state)
{
    struct share t;
    need_root();
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    chmod(tree_path(&t, "f"), 02755);
    assert_ok(fs_setxattr(t.fs, i, "user.a", "v", 1, 0, 0));
    assert_int_equal(mode_after(&t, "f"), 02755);
    /* The flag is about access ACLs; of those see test-fs-policy.c. */
    assert_ok(fs_setxattr(t.fs, i, "user.a", "v", 1, 0, FS_XATTR_ACL_KILL_SGID));
    assert_int_equal(mode_after(&t, "f"), 02755);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

/* CVE-2021-20263: file capabilities end with a write. */
static void test_capability_cleared(void **state)
{
    /* struct vfs_cap_data, revision 2, CAP_CHOWN permitted and effective */
    static const unsigned char caps[20] = {1, 0, 0, 2, 1};
    struct share t;
    struct fs_opened o;
    struct fs_attr a;
    char buf[32];
    need_root();
    tree_start(&t);
    tree_write(&t, "f", "xyz");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_open(t.fs, i, O_RDWR, 0, &o));
    struct fs_file *f = fs_file_get(t.fs, o.fh, i);
    struct iovec iov = {(char[]){'w'}, 1};
    struct fs_setattr size = {.valid = FS_SET_SIZE, .size = 1},
                      uid = {.valid = FS_SET_UID, .uid = 9};
    const char *cap = "security.capability";
    assert_ok(fs_setxattr(t.fs, i, cap, caps, sizeof(caps), 0, 0));
    assert_int_equal(fs_getxattr(t.fs, i, cap, buf, sizeof(buf)), 20);
    assert_int_equal(fs_write(t.fs, f, &iov, 1, 0, 0), 1);
    assert_int_equal(fs_getxattr(t.fs, i, cap, buf, sizeof(buf)), -ENODATA);
    assert_ok(fs_setxattr(t.fs, i, cap, caps, sizeof(caps), 0, 0));
    assert_ok(fs_setattr(t.fs, i, NULL, &size, &a));
    assert_int_equal(fs_getxattr(t.fs, i, cap, buf, sizeof(buf)), -ENODATA);
    assert_ok(fs_setxattr(t.fs, i, cap, caps, sizeof(caps), 0, 0));
    assert_ok(fs_setattr(t.fs, i, NULL, &uid, &a));
    assert_int_equal(fs_getxattr(t.fs, i, cap, buf, sizeof(buf)), -ENODATA);
    fs_file_put(t.fs, f);
    fs_release(t.fs, o.fh);
    fs_inode_put(t.fs, i);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_getattr),
        cmocka_unit_test(test_statfs_elsewhere),
        cmocka_unit_test(test_mode_and_size),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_owner),
        cmocka_unit_test(test_kill_suidgid),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_xattr),
        cmocka_unit_test(test_xattr_not_followed),
        cmocka_unit_test(test_xattr_off),
        cmocka_unit_test(test_acl_kill_sgid),
        cmocka_unit_test(test_capability_cleared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
