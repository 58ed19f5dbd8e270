/* SPDX-License-Identifier: BSD-3-Clause
 * Translated ids, and ACLs: what the guest says and sees, and what the host has. */
#include "tests/unit/fs-tree.h"
#include "virtiofsd/fs/fs-idmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

static struct fs_idmap *uids, *gids;

static void start(struct share *t, const char *const *uid, const char *const *gid)
{
    struct share_config cfg = tree_config();
    uids = uid ? fs_idmap_new() : NULL;
    gids = gid ? fs_idmap_new() : NULL;
    for (; uid && *uid; uid++)
        assert_true(fs_idmap_add(uids, *uid, NULL));
    for (; gid && *gid; gid++)
        assert_true(fs_idmap_add(gids, *gid, NULL));
    cfg.uids = uids;
    cfg.gids = gids;
    tree_make(t);
    tree_open(t, &cfg);
}

static void stop(struct share *t)
{
    tree_stop(t);
    fs_idmap_free(uids);
    fs_idmap_free(gids);
}

static void set(struct share *t, struct fs_inode *i, const struct fs_setattr *s)
{
    struct fs_attr a;
    assert_ok(fs_setattr(t->fs, i, NULL, s, &a));
}

/* ---- ids ---- */

static const char *const shifted[] = {"map:0:20000:1000", "forbid-guest:5000:10", NULL};
static const char *const shifted_gid[] = {"map:0:30000:1000", "forbid-guest:6000:10", NULL};

static bool see(void *user, const struct fs_dirent *d, struct fs_entry *entry)
{
    struct share *t = user;
    if (!entry)
        return true;
    assert_int_equal(entry->attr.st.st_uid, 5);
    assert_int_equal(entry->attr.st.st_gid, 6);
    fs_inode_put(t->fs, entry->inode);
    return true;
}

static void test_ids_seen(void **state)
{
    struct share t;
    struct fs_entry e;
    struct fs_attr a;
    struct statx stx;
    struct fs_opened o;
    need_root();
    start(&t, shifted, shifted_gid);
    tree_write(&t, "f", "x");
    assert_ok(chown(tree_path(&t, "f"), 20005, 30006));
    assert_ok(fs_lookup(t.fs, t.root, "f", &e));
    assert_int_equal(e.attr.st.st_uid, 5);
    assert_int_equal(e.attr.st.st_gid, 6);
    assert_ok(fs_getattr(t.fs, e.inode, NULL, &a));
    assert_int_equal(a.st.st_uid, 5);
    assert_int_equal(a.st.st_gid, 6);
    assert_ok(fs_getstat(t.fs, e.inode, NULL, &a));
    assert_int_equal(a.st.st_uid, 5);
    assert_int_equal(a.st.st_gid, 6);
    assert_ok(fs_statx(t.fs, e.inode, NULL, 0, STATX_BASIC_STATS, &stx));
    assert_int_equal(stx.stx_uid, 5);
    assert_int_equal(stx.stx_gid, 6);
    assert_ok(fs_opendir(t.fs, t.root, &o));
    struct fs_file *dir = fs_file_get(t.fs, o.fh, t.root);
    assert_ok(fs_readdir(t.fs, t.root, dir, 0, true, 4096, see, &t));
    fs_file_put(t.fs, dir);
    fs_release(t.fs, o.fh);

    /* Checked by the guest's ids. */
    struct fs_cred owner = {.uid = 5, .gid = 9}, member = {.uid = 9, .gid = 6},
                   other = {.uid = 20005, .gid = 30006};
    set(&t, e.inode, &(struct fs_setattr){.valid = FS_SET_MODE, .mode = 0640});
    assert_ok(fs_access(t.fs, &owner, e.inode, W_OK));
    assert_ok(fs_access(t.fs, &member, e.inode, R_OK));
    assert_int_equal(fs_access(t.fs, &member, e.inode, W_OK), -EACCES);
    assert_int_equal(fs_access(t.fs, &other, e.inode, R_OK), -EACCES);
    fs_inode_put(t.fs, e.inode);
    stop(&t);
}

static void host_is(const struct share *t, const char *name, uid_t uid, gid_t gid)
{
    struct stat st;
    assert_ok(lstat(tree_path(t, name), &st));
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, gid);
}

static void test_ids_made(void **state)
{
    struct share t;
    struct fs_entry e;
    struct fs_opened o;
    struct fs_cred c = {.uid = 5, .gid = 6, .strict = true};
    need_root();
    start(&t, shifted, shifted_gid);
    assert_ok(chown(t.dir, 20000, 30007));
    assert_ok(chmod(t.dir, 0770));

    assert_int_equal(fs_mkdir(t.fs, &c, t.root, "d", 0755, &e), -EACCES);
    c.ngroups = 1;
    c.groups[0] = 7; /* 30007 on the host */
    assert_ok(fs_mkdir(t.fs, &c, t.root, "d", 0755, &e));
    assert_int_equal(e.attr.st.st_uid, 5);
    fs_inode_put(t.fs, e.inode);
    host_is(&t, "d", 20005, 30006);
    assert_ok(fs_symlink(t.fs, &c, t.root, "l", "x", &e));
    fs_inode_put(t.fs, e.inode);
    host_is(&t, "l", 20005, 30006);
    assert_ok(fs_create(t.fs, &c, t.root, "f", 0644, O_RDWR | O_EXCL, 0, &e, &o));
    fs_release(t.fs, o.fh);
    host_is(&t, "f", 20005, 30006);

    set(&t, e.inode, &(struct fs_setattr){.valid = FS_SET_UID, .uid = 8});
    host_is(&t, "f", 20008, 30006);
    set(&t, e.inode, &(struct fs_setattr){.valid = FS_SET_GID, .gid = 8});
    host_is(&t, "f", 20008, 30008);
    set(&t, e.inode,
        &(struct fs_setattr){.valid = FS_SET_UID | FS_SET_GID, .uid = 1000, .gid = 1000});
    host_is(&t, "f", 1000, 1000); /* no rule is about these */
    fs_inode_put(t.fs, e.inode);
    stop(&t);
}

static void test_ids_forbidden(void **state)
{
    struct share t;
    struct fs_entry e;
    struct fs_attr a;
    struct fs_cred uid = {.uid = 5000, .gid = 6}, gid = {.uid = 5, .gid = 6009},
                   group = {.uid = 5, .gid = 6, .ngroups = 1, .groups = {6000}};
    const struct fs_setattr su = {.valid = FS_SET_UID, .uid = 5009},
                            sg = {.valid = FS_SET_GID, .gid = 6000},
                            none = {.valid = FS_SET_UID, .uid = UINT32_MAX};
    need_root();
    start(&t, shifted, shifted_gid);
    assert_ok(chmod(t.dir, 0777));
    assert_int_equal(fs_mkdir(t.fs, &uid, t.root, "d", 0755, &e), -EPERM);
    assert_int_equal(fs_mkdir(t.fs, &gid, t.root, "d", 0755, &e), -EPERM);
    assert_int_equal(fs_mkdir(t.fs, &group, t.root, "d", 0755, &e), -EPERM);
    assert_false(tree_has(&t, "d"));
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_int_equal(fs_setattr(t.fs, i, NULL, &su, &a), -EPERM);
    assert_int_equal(fs_setattr(t.fs, i, NULL, &sg, &a), -EPERM);
    assert_int_equal(fs_setattr(t.fs, i, NULL, &none, &a), -EINVAL);
    host_is(&t, "f", 0, 0);
    fs_inode_put(t.fs, i);
    stop(&t);
}

/* ---- ACLs ---- */

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

struct acl {
    struct posix_acl_xattr_header head;
    struct posix_acl_xattr_entry e[5];
};

/* rwx for the owner, and for one more user; nothing else. */
static struct acl acl_for(uint32_t uid)
{
    const uint32_t none = GUINT32_TO_LE(UINT32_MAX);
    return (struct acl){
        .head = {GUINT32_TO_LE(POSIX_ACL_XATTR_VERSION)},
        .e = {{GUINT16_TO_LE(0x01), GUINT16_TO_LE(7), none},
              {GUINT16_TO_LE(0x02), GUINT16_TO_LE(7), GUINT32_TO_LE(uid)},
              {GUINT16_TO_LE(0x04), 0, none},
              {GUINT16_TO_LE(0x10), GUINT16_TO_LE(7), none},
              {GUINT16_TO_LE(0x20), 0, none}},
    };
}

/* A tree on a file system with ACLs, or skip. */
static void start_acl(struct share *t, const char *const *uid)
{
    struct acl a = acl_for(1);
    need_root();
    start(t, uid, NULL);
    if (setxattr(tree_path(t, "."), ACCESS, &a, sizeof(a), 0) != 0 && errno == EOPNOTSUPP) {
        stop(t);
        skip();
    }
    assert_ok(removexattr(tree_path(t, "."), ACCESS));
}

/* A guest that does not know them neither sees nor makes any. */
static void test_acl_off(void **state)
{
    struct share t;
    struct acl a = acl_for(5), got;
    start_acl(&t, NULL);
    assert_ok(setxattr(tree_path(&t, "."), ACCESS, &a, sizeof(a), 0));
    assert_int_equal(fs_getxattr(t.fs, t.root, ACCESS, &got, sizeof(got)), -EOPNOTSUPP);
    assert_int_equal(fs_setxattr(t.fs, t.root, DEFAULT, &a, sizeof(a), 0, 0), -EOPNOTSUPP);
    assert_int_equal(fs_removexattr(t.fs, t.root, ACCESS), -EOPNOTSUPP);
    assert_int_equal(fs_listxattr(t.fs, t.root, NULL, 0), 0);
    fs_acl_enable(t.fs, true);
    assert_int_equal(fs_listxattr(t.fs, t.root, NULL, 0), sizeof(ACCESS));
    assert_int_equal(fs_getxattr(t.fs, t.root, ACCESS, &got, sizeof(got)), sizeof(got));
    fs_inode_put(t.fs, t.root);
    fs_reset(t.fs); /* the next guest has to say so itself */
    t.root = fs_inode_get(t.fs, FS_ROOT_ID);
    assert_int_equal(fs_getxattr(t.fs, t.root, ACCESS, &got, sizeof(got)), -EOPNOTSUPP);
    stop(&t);
}

static void test_acl_ids(void **state)
{
    struct share t;
    struct acl a = acl_for(5), host = acl_for(20005), bad = acl_for(5000), got;
    start_acl(&t, shifted);
    fs_acl_enable(t.fs, true);
    assert_ok(fs_setxattr(t.fs, t.root, ACCESS, &a, sizeof(a), 0, 0));
    assert_int_equal(getxattr(tree_path(&t, "."), ACCESS, &got, sizeof(got)), sizeof(got));
    assert_memory_equal(&got, &host, sizeof(got));
    assert_int_equal(fs_getxattr(t.fs, t.root, ACCESS, &got, sizeof(got)), sizeof(got));
    assert_memory_equal(&got, &a, sizeof(got));
    assert_int_equal(fs_getxattr(t.fs, t.root, ACCESS, NULL, 0), sizeof(got));
    assert_int_equal(fs_setxattr(t.fs, t.root, ACCESS, &bad, sizeof(bad), 0, 0), -EPERM);
    stop(&t);
}

/* A default ACL decides instead of the umask; without one the umask does. Permission to make
 * something comes from an ACL too. */
static void test_acl_default(void **state)
{
    struct share t;
    struct fs_entry e;
    struct acl a = acl_for(USER_ID);
    struct fs_cred c = {.uid = USER_ID, .gid = USER_ID, .umask = 077, .strict = true};
    start_acl(&t, NULL);
    fs_acl_enable(t.fs, true);
    assert_int_equal(fs_mkdir(t.fs, &c, t.root, "no", 0777, &e), -EACCES);
    assert_ok(fs_setxattr(t.fs, t.root, ACCESS, &a, sizeof(a), 0, 0));
    assert_ok(fs_mkdir(t.fs, &c, t.root, "plain", 0777, &e));
    assert_int_equal(e.attr.st.st_mode & 0777, 0700);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_setxattr(t.fs, t.root, DEFAULT, &a, sizeof(a), 0, 0));
    assert_ok(fs_mkdir(t.fs, &c, t.root, "by-acl", 0777, &e));
    assert_int_equal(e.attr.st.st_mode & 0777, 0770);
    assert_int_equal(fs_getxattr(t.fs, e.inode, ACCESS, NULL, 0), sizeof(a));
    assert_int_equal(fs_getxattr(t.fs, e.inode, DEFAULT, NULL, 0), sizeof(a));
    fs_inode_put(t.fs, e.inode);
    stop(&t);
}

/* A named group of an ACL lets its members in, by the groups that the guest sends, translated. */
static void test_acl_group(void **state)
{
    static const char *const rules[] = {"map:0:30000:10000", NULL};
    struct share t;
    struct fs_entry e;
    struct acl a = acl_for(4242);
    struct fs_cred c = {.uid = USER_ID, .gid = USER_ID, .strict = true};
    start_acl(&t, NULL);
    stop(&t);
    start(&t, NULL, rules);
    fs_acl_enable(t.fs, true);
    a.e[1].e_tag = GUINT16_TO_LE(0x08); /* and so behind the owning group */
    struct posix_acl_xattr_entry named = a.e[1];
    a.e[1] = a.e[2];
    a.e[2] = named;
    assert_ok(fs_setxattr(t.fs, t.root, ACCESS, &a, sizeof(a), 0, 0));
    assert_int_equal(fs_mkdir(t.fs, &c, t.root, "d", 0755, &e), -EACCES);
    c.ngroups = 2;
    c.groups[0] = 7;
    c.groups[1] = 4242;
    assert_ok(fs_mkdir(t.fs, &c, t.root, "d", 0755, &e));
    fs_inode_put(t.fs, e.inode);
    stop(&t);
}

static void test_acl_kill_sgid(void **state)
{
    struct share t;
    struct acl a = acl_for(5);
    struct stat st;
    start_acl(&t, NULL);
    fs_acl_enable(t.fs, true);
    tree_write(&t, "f", "x");
    assert_ok(chmod(tree_path(&t, "f"), 02755));
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_setxattr(t.fs, i, ACCESS, &a, sizeof(a), 0, 0));
    assert_ok(stat(tree_path(&t, "f"), &st));
    assert_int_equal(st.st_mode & 07777, 02770);
    assert_ok(fs_setxattr(t.fs, i, ACCESS, &a, sizeof(a), 0, FS_XATTR_ACL_KILL_SGID));
    assert_ok(stat(tree_path(&t, "f"), &st));
    assert_int_equal(st.st_mode & 07777, 0770);
    fs_inode_put(t.fs, i);
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_seen),      cmocka_unit_test(test_ids_made),
        cmocka_unit_test(test_ids_forbidden), cmocka_unit_test(test_acl_off),
        cmocka_unit_test(test_acl_ids),       cmocka_unit_test(test_acl_default),
        cmocka_unit_test(test_acl_group),     cmocka_unit_test(test_acl_kill_sgid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
