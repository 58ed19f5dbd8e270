/* SPDX-License-Identifier: BSD-3-Clause
 * New files belong to whom the guest says, and no right of ours leaks into them. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int create(struct share *t, const struct fs_cred *c, const char *name, mode_t mode,
                  struct stat *st)
{
    struct fs_entry e;
    struct fs_opened o;
    int rc = fs_create(t->fs, c, t->root, name, mode, O_RDWR | O_EXCL, 0, &e, &o);
    if (rc < 0)
        return rc;
    fs_release(t->fs, o.fh);
    *st = e.attr.st;
    fs_inode_put(t->fs, e.inode);
    return 0;
}

/* This thread is what it was before. */
static void check_self(void)
{
    uid_t r, e, s;
    assert_ok(getresuid(&r, &e, &s));
    assert_true(r == 0 && e == 0 && s == 0);
    gid_t rg, eg, sg;
    assert_ok(getresgid(&rg, &eg, &sg));
    assert_true(rg == 0 && eg == 0 && sg == 0);
    assert_int_equal(getgroups(0, NULL), 0);
}

static void test_owner(void **state)
{
    struct share t;
    struct stat st;
    struct fs_entry e;
    need_root();
    tree_start(&t);
    assert_ok(chmod(t.dir, 0777));
    assert_ok(create(&t, &cred_user, "f", 0644, &st));
    assert_int_equal(st.st_uid, USER_ID);
    assert_int_equal(st.st_gid, USER_ID);
    check_self();
    assert_ok(fs_mkdir(t.fs, &cred_user, t.root, "d", 0755, &e));
    assert_int_equal(e.attr.st.st_uid, USER_ID);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_symlink(t.fs, &cred_user, t.root, "l", "x", &e));
    assert_int_equal(e.attr.st.st_uid, USER_ID);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_mknod(t.fs, &cred_user, t.root, "p", S_IFIFO | 0644, 0, &e));
    assert_int_equal(e.attr.st.st_gid, USER_ID);
    fs_inode_put(t.fs, e.inode);
    assert_ok(create(&t, &cred_root, "r", 0644, &st));
    assert_int_equal(st.st_uid, 0);
    check_self();
    tree_stop(&t);
}

/* The host's permissions hold for what the guest's user makes. */
static void test_permission(void **state)
{
    struct share t;
    struct stat st;
    struct fs_entry e;
    struct fs_cred member = cred_user, trusted = cred_user;
    need_root();
    tree_start(&t);
    assert_int_equal(create(&t, &cred_user, "f", 0644, &st), -EACCES); /* 0755, root's */
    check_self();
    assert_int_equal(fs_mkdir(t.fs, &cred_user, t.root, "d", 0755, &e), -EACCES);
    assert_ok(chown(t.dir, 0, 4242));
    assert_ok(chmod(t.dir, 0775));
    assert_int_equal(create(&t, &cred_user, "f", 0644, &st), -EACCES);
    member.ngroups = 1;
    member.groups[0] = 4242;
    assert_ok(create(&t, &member, "f", 0644, &st));
    check_self();
    /* A guest's kernel has checked itself, groups that it did not send included. */
    trusted.strict = false;
    assert_ok(create(&t, &trusted, "g", 0644, &st));
    assert_int_equal(st.st_uid, USER_ID);
    check_self();
    /* Devices need a capability that the guest's user does not have. */
    assert_int_equal(fs_mknod(t.fs, &member, t.root, "dev", S_IFCHR | 0666, 0x103, &e), -EPERM);
    tree_stop(&t);
}

/* The root of a container without root: an ordinary user with CAP_DAC_OVERRIDE, by which the
 * guest's kernel has let it write to a directory that nobody may write to. */
static void test_override(void **state)
{
    struct share t;
    struct stat st = {0};
    struct fs_entry e;
    struct fs_opened o;
    struct fs_cred c = cred_user;
    need_root();
    tree_start(&t);
    assert_ok(chown(t.dir, USER_ID, USER_ID));
    assert_ok(chmod(t.dir, 0555));
    assert_int_equal(create(&t, &c, "f", 0644, &st), -EACCES);
    c.strict = false;
    for (c.ngroups = 0; c.ngroups < 2; c.ngroups++) { /* sent or not */
        c.groups[0] = 4242;
        char name[8];
        snprintf(name, sizeof(name), "f%u", c.ngroups);
        assert_ok(create(&t, &c, name, 0644, &st));
        assert_true(st.st_uid == USER_ID && st.st_gid == USER_ID);
        check_self();
        snprintf(name, sizeof(name), "d%u", c.ngroups);
        assert_ok(fs_mkdir(t.fs, &c, t.root, name, 0755, &e));
        assert_int_equal(e.attr.st.st_uid, USER_ID);
        fs_inode_put(t.fs, e.inode);
        assert_ok(fs_tmpfile(t.fs, &c, t.root, 0644, O_RDWR, &e, &o));
        fs_inode_put(t.fs, e.inode);
        fs_release(t.fs, o.fh);
    }
    check_self();
    /* That is all it gives: no device, no set-group-id of another's group. */
    assert_int_equal(fs_mknod(t.fs, &c, t.root, "dev", S_IFCHR | 0666, 0x103, &e), -EPERM);
    assert_ok(chown(t.dir, USER_ID, 7));
    assert_ok(chmod(t.dir, 02555));
    assert_ok(create(&t, &c, "sgid", 02755, &st));
    assert_int_equal(st.st_mode & 07777, 0755);
    /* What it changes in this thread does not stay. */
    assert_int_equal(fs_mkdir(t.fs, &cred_user, t.root, "d", 0755, &e), -EACCES);
    tree_stop(&t);
}

static void test_bad_ids(void **state)
{
    struct share t;
    struct stat st;
    struct fs_cred no_uid = {.uid = (uid_t)-1}, no_gid = {.gid = (gid_t)-1},
                   many = {.uid = 5, .gid = 5, .ngroups = FS_MAX_GROUPS + 1};
    tree_start(&t);
    assert_int_equal(create(&t, &no_uid, "f", 0644, &st), -EINVAL);
    assert_int_equal(create(&t, &no_gid, "f", 0644, &st), -EINVAL);
    assert_int_equal(create(&t, &many, "f", 0644, &st), -EINVAL);
    assert_false(tree_has(&t, "f"));
    tree_stop(&t);
}

/* CVE-2022-0358: an unprivileged user makes a set-group-id executable in a set-group-id directory
 * of root's group. The daemon's own membership of group 0 must not let it stay. */
static void test_sgid_dir(void **state)
{
    struct share t;
    struct stat st;
    struct fs_entry e;
    struct fs_cred trusted = cred_user;
    need_root();
    tree_start(&t);
    assert_ok(chmod(t.dir, 03777));
    trusted.strict = false;
    const struct fs_cred *creds[] = {&cred_user, &trusted};
    for (unsigned n = 0; n < 2; n++) {
        char name[8];
        snprintf(name, sizeof(name), "f%u", n);
        assert_ok(create(&t, creds[n], name, 02755, &st));
        assert_int_equal(st.st_uid, USER_ID);
        assert_int_equal(st.st_gid, 0);
        assert_int_equal(st.st_mode & 07777, 0755);
        snprintf(name, sizeof(name), "n%u", n);
        assert_ok(fs_mknod(t.fs, creds[n], t.root, name, S_IFREG | 02755, 0, &e));
        assert_int_equal(e.attr.st.st_mode & 07777, 0755);
        fs_inode_put(t.fs, e.inode);
        struct fs_opened o;
        assert_ok(fs_tmpfile(t.fs, creds[n], t.root, 02755, O_RDWR, &e, &o));
        assert_int_equal(e.attr.st.st_mode & 07777, 0755);
        fs_inode_put(t.fs, e.inode);
        fs_release(t.fs, o.fh);
        snprintf(name, sizeof(name), "d%u", n);
        assert_ok(fs_mkdir(t.fs, creds[n], t.root, name, 0755, &e));
        assert_int_equal(e.attr.st.st_gid, 0);
        assert_int_equal(e.attr.st.st_mode & 07777, 02755); /* directories inherit the bit */
        fs_inode_put(t.fs, e.inode);
    }
    tree_stop(&t);
}

/* A member of the directory's group may keep the bit. */
static void test_sgid_member(void **state)
{
    struct share t;
    struct stat st;
    struct fs_cred member = cred_user;
    need_root();
    tree_start(&t);
    assert_ok(chown(t.dir, 0, 4242));
    assert_ok(chmod(t.dir, 03777));
    member.ngroups = 1;
    member.groups[0] = 4242;
    assert_ok(create(&t, &member, "f", 02755, &st));
    assert_int_equal(st.st_gid, 4242);
    assert_int_equal(st.st_mode & 07777, 02755);
    tree_stop(&t);
}

/* The daemon was started with supplementary groups: they are not the guest's. */
static void test_own_groups(void **state)
{
    struct share t;
    struct stat st;
    gid_t own[] = {0, 4242};
    need_root();
    tree_start(&t);
    assert_ok(chown(t.dir, 0, 4242));
    assert_ok(chmod(t.dir, 03770));
    assert_ok(setgroups(2, own));
    fs_thread_start();
    check_self();
    assert_int_equal(create(&t, &cred_user, "f", 0755, &st), -EACCES);
    tree_stop(&t);
}

/* Started by an ordinary user: what root of the guest makes is that user's, others are refused. */
static int unprivileged(void)
{
    struct share t;
    struct stat st;
    struct fs_cred own = {.uid = USER_ID, .gid = USER_ID}, other = {.uid = 7, .gid = 7};
    struct share_config cfg = tree_config();

    cfg.host.policy.handles = HOST_HANDLES_PREFER; /* degrades */
    if (setgroups(0, NULL) != 0 || setresgid(USER_ID, USER_ID, USER_ID) != 0 ||
        setresuid(USER_ID, USER_ID, USER_ID) != 0)
        return 1;
    fs_thread_start();
    tree_make(&t);
    tree_open(&t, &cfg);
    if (create(&t, &cred_root, "a", 0644, &st) != 0 || st.st_uid != USER_ID)
        return 2;
    if (create(&t, &own, "b", 0644, &st) != 0 || st.st_uid != USER_ID)
        return 3;
    if (create(&t, &other, "c", 0644, &st) != -EPERM || tree_has(&t, "c"))
        return 4;
    tree_stop(&t);
    return 0;
}

static void test_unprivileged(void **state)
{
    int status;
    need_root();
    pid_t pid = fork();
    if (pid == 0)
        _exit(unprivileged());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_secctx(void **state)
{
    struct share t;
    struct fs_entry e;
    struct fs_cred c = {.secctx_name = "security.test", .secctx = "label", .secctx_len = 5};
    char buf[16];
    need_root();
    tree_start(&t);
    assert_ok(fs_mkdir(t.fs, &c, t.root, "d", 0755, &e));
    assert_int_equal(fs_getxattr(t.fs, e.inode, "security.test", buf, sizeof(buf)), 5);
    fs_inode_put(t.fs, e.inode);
    c.secctx_name = "trusted.test";
    assert_int_equal(fs_mkdir(t.fs, &c, t.root, "d2", 0755, &e), -EINVAL);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owner),        cmocka_unit_test(test_permission),
        cmocka_unit_test(test_bad_ids),      cmocka_unit_test(test_sgid_dir),
        cmocka_unit_test(test_sgid_member),  cmocka_unit_test(test_own_groups),
        cmocka_unit_test(test_unprivileged), cmocka_unit_test(test_secctx),
        cmocka_unit_test(test_override),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
