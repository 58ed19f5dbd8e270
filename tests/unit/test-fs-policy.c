/* SPDX-License-Identifier: BSD-3-Clause
 * Names of attributes, ids, ACLs, labels and file capabilities as the guest sees them against what
 * the host has. */
#include "tests/unit/fs-tree.h"
#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs-xattrmap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CAPS     "security.capability"
#define MAP_ALL  ":map::user.virtiofs.:"
#define MAP_CAPS "user.virtiofs." CAPS

static struct fs_xattrmap *xattrmap;
static struct fs_idmap *uids, *gids;

static void start(struct tree *t, const char *map, const char *const *uid, const char *const *gid)
{
    struct fs_config cfg = tree_config();
    uids = uid ? fs_idmap_new() : NULL;
    gids = gid ? fs_idmap_new() : NULL;
    for (; uid && *uid; uid++)
        assert_true(fs_idmap_add(uids, *uid, NULL));
    for (; gid && *gid; gid++)
        assert_true(fs_idmap_add(gids, *gid, NULL));
    xattrmap = map ? fs_xattrmap_parse(map, NULL) : NULL;
    assert_true(!map || xattrmap);
    cfg.xattrmap = xattrmap;
    cfg.uids = uids;
    cfg.gids = gids;
    tree_make(t);
    tree_open(t, &cfg);
}

static void stop(struct tree *t)
{
    tree_stop(t);
    fs_xattrmap_free(xattrmap);
    fs_idmap_free(uids);
    fs_idmap_free(gids);
}

/* ---- names ---- */

static void test_names(void **state)
{
    struct tree t;
    char buf[64];
    start(&t, MAP_ALL, NULL, NULL);
    tree_write(&t, "f", "x");
    const char *f = tree_path(&t, "f");
    struct fs_inode *i = tree_look(&t, t.root, "f");

    assert_ok(fs_setxattr(t.fs, i, "trusted.overlay.opaque", "y", 1, 0, 0));
    assert_int_equal(getxattr(f, "user.virtiofs.trusted.overlay.opaque", buf, sizeof(buf)), 1);
    assert_int_equal(getxattr(f, "trusted.overlay.opaque", buf, sizeof(buf)), -1);
    assert_int_equal(fs_getxattr(t.fs, i, "trusted.overlay.opaque", buf, sizeof(buf)), 1);
    assert_ok(setxattr(f, "user.own", "host", 4, 0));
    assert_int_equal(fs_getxattr(t.fs, i, "user.own", buf, sizeof(buf)), -ENODATA);
    assert_int_equal(fs_setxattr(t.fs, i, "user.own", "g", 1, XATTR_REPLACE, 0), -ENODATA);
    assert_ok(fs_setxattr(t.fs, i, "user.own", "guest", 5, XATTR_CREATE, 0));
    assert_int_equal(getxattr(f, "user.own", buf, sizeof(buf)), 4);
    assert_int_equal(fs_getxattr(t.fs, i, "user.own", buf, sizeof(buf)), 5);
    assert_ok(fs_removexattr(t.fs, i, "user.own"));
    assert_int_equal(getxattr(f, "user.own", buf, sizeof(buf)), 4);
    assert_int_equal(fs_removexattr(t.fs, i, "user.own"), -ENODATA);
    /* The host's own is not listed, the guest's under its own name. */
    static const char list[] = "trusted.overlay.opaque";
    assert_int_equal(fs_listxattr(t.fs, i, buf, sizeof(buf)), sizeof(list));
    assert_memory_equal(buf, list, sizeof(list));
    fs_inode_put(t.fs, i);
    stop(&t);
}

static void test_refused_names(void **state)
{
    struct tree t;
    char buf[64];
    start(&t, ":bad:client:user.bad:: :unsupported:client:user.no:: :ok:all:::", NULL, NULL);
    const char *dir = tree_path(&t, ".");

    assert_ok(setxattr(dir, "user.bad", "x", 1, 0));
    assert_ok(setxattr(dir, "user.no", "x", 1, 0));
    assert_int_equal(fs_getxattr(t.fs, t.root, "user.bad", buf, sizeof(buf)), -EPERM);
    assert_int_equal(fs_setxattr(t.fs, t.root, "user.bad2", "x", 1, 0, 0), -EPERM);
    assert_int_equal(fs_removexattr(t.fs, t.root, "user.bad"), -EPERM);
    assert_int_equal(fs_getxattr(t.fs, t.root, "user.no", buf, sizeof(buf)), -EOPNOTSUPP);
    assert_int_equal(fs_setxattr(t.fs, t.root, "user.no", "x", 1, 0, 0), -EOPNOTSUPP);
    assert_int_equal(fs_removexattr(t.fs, t.root, "user.no"), -EOPNOTSUPP);
    assert_int_equal(getxattr(dir, "user.bad2", buf, sizeof(buf)), -1);
    stop(&t);
}

/* The guest's buffer is measured against what it gets, not against what the host has. */
static void test_list_size(void **state)
{
    struct tree t;
    char name[XATTR_NAME_MAX + 1], list[XATTR_LIST_MAX];
    start(&t, MAP_ALL, NULL, NULL);
    const char *dir = tree_path(&t, ".");

    for (unsigned i = 0; i < 12; i++) { /* more than the core first has room for */
        snprintf(name, sizeof(name), "user.hidden%0100u", i);
        assert_ok(setxattr(dir, name, "", 0, 0));
    }
    assert_int_equal(fs_listxattr(t.fs, t.root, NULL, 0), 0);
    assert_int_equal(fs_listxattr(t.fs, t.root, list, 1), 0);
    assert_ok(fs_setxattr(t.fs, t.root, "user.a", "", 0, 0, 0));
    assert_ok(fs_setxattr(t.fs, t.root, "user.bb", "", 0, 0, 0));
    assert_int_equal(fs_listxattr(t.fs, t.root, NULL, 0), 15);
    memset(list, '#', sizeof(list));
    assert_int_equal(fs_listxattr(t.fs, t.root, list, 14), -ERANGE);
    assert_int_equal(list[14], '#');
    assert_int_equal(fs_listxattr(t.fs, t.root, list, 15), 15);
    assert_int_equal(list[15], '#');
    stop(&t);
}

/* ---- file capabilities ---- */

static struct fs_inode *capable(struct tree *t, const char *name)
{
    tree_write(t, name, "0123456789");
    struct fs_inode *i = tree_look(t, t->root, name);
    assert_ok(fs_setxattr(t->fs, i, CAPS, "caps", 4, 0, 0));
    assert_int_equal(getxattr(tree_path(t, name), MAP_CAPS, NULL, 0), 4);
    return i;
}

static void check_dropped(struct tree *t, struct fs_inode *i)
{
    assert_int_equal(fs_getxattr(t->fs, i, CAPS, NULL, 0), -ENODATA);
    assert_ok(fs_setxattr(t->fs, i, CAPS, "caps", 4, 0, 0));
}

static void set(struct tree *t, struct fs_inode *i, const struct fs_setattr *s)
{
    struct fs_attr a;
    assert_ok(fs_setattr(t->fs, i, NULL, s, &a));
}

/* CVE-2021-20263: they survived a write where the attribute had another name on the host. */
static void test_caps_dropped(void **state)
{
    struct tree t;
    struct fs_opened o, from;
    char x = 'x';
    struct iovec iov = {&x, 1};
    need_root();
    start(&t, MAP_ALL, NULL, NULL);
    struct fs_inode *i = capable(&t, "prog"), *src = capable(&t, "src");

    assert_ok(fs_open(t.fs, i, O_RDWR, 0, &o));
    assert_ok(fs_open(t.fs, src, O_RDONLY, 0, &from));
    struct fs_file *f = fs_file_get(t.fs, o.fh, i), *in = fs_file_get(t.fs, from.fh, src);
    assert_int_equal(fs_getxattr(t.fs, i, CAPS, NULL, 0), 4); /* opening is no change */
    assert_int_equal(fs_write(t.fs, f, &iov, 1, 0, 0), 1);
    check_dropped(&t, i);
    assert_ok(fs_fallocate(t.fs, f, 0, 0, 100, 0));
    check_dropped(&t, i);
    assert_int_equal(fs_copy_range(t.fs, in, 0, f, 0, 5, 0, 0), 5);
    check_dropped(&t, i);
    set(&t, i, &(struct fs_setattr){.valid = FS_SET_SIZE, .size = 3});
    check_dropped(&t, i);
    set(&t, i, &(struct fs_setattr){.valid = FS_SET_UID, .uid = USER_ID});
    check_dropped(&t, i);
    set(&t, i, &(struct fs_setattr){.valid = FS_SET_GID, .gid = USER_ID});
    check_dropped(&t, i);
    fs_release(t.fs, o.fh);
    fs_file_put(t.fs, f);
    assert_ok(fs_open(t.fs, i, O_RDWR | O_TRUNC, 0, &o));
    fs_release(t.fs, o.fh);
    check_dropped(&t, i);
    struct fs_entry e;
    assert_ok(fs_create(t.fs, &cred_root, t.root, "prog", 0644, O_RDWR | O_TRUNC, 0, &e, &o));
    fs_inode_put(t.fs, e.inode);
    fs_release(t.fs, o.fh);
    check_dropped(&t, i);

    /* What is no change of the content leaves them; what was only read has them still. */
    set(&t, i, &(struct fs_setattr){.valid = FS_SET_MODE | FS_SET_MTIME_NOW, .mode = 0755});
    assert_ok(fs_setxattr(t.fs, i, "user.a", "v", 1, 0, 0));
    assert_int_equal(fs_getxattr(t.fs, i, CAPS, NULL, 0), 4);
    assert_int_equal(fs_getxattr(t.fs, src, CAPS, NULL, 0), 4);
    fs_file_put(t.fs, in);
    fs_release(t.fs, from.fh);
    fs_inode_put(t.fs, i);
    fs_inode_put(t.fs, src);
    stop(&t);
}

/* Files that cannot have the attribute can be changed all the same. */
static void test_caps_of_others(void **state)
{
    struct tree t;
    struct fs_entry e;
    need_root();
    start(&t, MAP_ALL, NULL, NULL);
    assert_ok(fs_mknod(t.fs, &cred_root, t.root, "fifo", S_IFIFO | 0644, 0, &e));
    set(&t, e.inode, &(struct fs_setattr){.valid = FS_SET_UID, .uid = 5});
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_symlink(t.fs, &cred_root, t.root, "link", "fifo", &e));
    set(&t, e.inode, &(struct fs_setattr){.valid = FS_SET_UID, .uid = 6});
    fs_inode_put(t.fs, e.inode);
    stop(&t);
}

/* ---- ids ---- */

static const char *const shifted[] = {"map:0:20000:1000", "forbid-guest:5000:10", NULL};
static const char *const shifted_gid[] = {"map:0:30000:1000", "forbid-guest:6000:10", NULL};

static bool see(void *user, const struct fs_dirent *d, struct fs_entry *entry)
{
    struct tree *t = user;
    if (!entry)
        return true;
    assert_int_equal(entry->attr.st.st_uid, 5);
    assert_int_equal(entry->attr.st.st_gid, 6);
    fs_inode_put(t->fs, entry->inode);
    return true;
}

static void test_ids_seen(void **state)
{
    struct tree t;
    struct fs_entry e;
    struct fs_attr a;
    struct statx stx;
    struct fs_opened o;
    need_root();
    start(&t, NULL, shifted, shifted_gid);
    tree_write(&t, "f", "x");
    assert_ok(chown(tree_path(&t, "f"), 20005, 30006));
    assert_ok(fs_lookup(t.fs, t.root, "f", &e));
    assert_int_equal(e.attr.st.st_uid, 5);
    assert_int_equal(e.attr.st.st_gid, 6);
    assert_ok(fs_getattr(t.fs, e.inode, NULL, &a));
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

    /* Judged by the guest's ids. */
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

static void host_is(const struct tree *t, const char *name, uid_t uid, gid_t gid)
{
    struct stat st;
    assert_ok(lstat(tree_path(t, name), &st));
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, gid);
}

static void test_ids_made(void **state)
{
    struct tree t;
    struct fs_entry e;
    struct fs_opened o;
    struct fs_cred c = {.uid = 5, .gid = 6, .groups_known = true};
    need_root();
    start(&t, NULL, shifted, shifted_gid);
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
    struct tree t;
    struct fs_entry e;
    struct fs_attr a;
    struct fs_cred uid = {.uid = 5000, .gid = 6}, gid = {.uid = 5, .gid = 6009},
                   group = {.uid = 5, .gid = 6, .ngroups = 1, .groups = {6000}};
    const struct fs_setattr su = {.valid = FS_SET_UID, .uid = 5009},
                            sg = {.valid = FS_SET_GID, .gid = 6000},
                            none = {.valid = FS_SET_UID, .uid = UINT32_MAX};
    need_root();
    start(&t, NULL, shifted, shifted_gid);
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
static void start_acl(struct tree *t, const char *const *uid)
{
    struct acl a = acl_for(1);
    need_root();
    start(t, NULL, uid, NULL);
    if (setxattr(tree_path(t, "."), ACCESS, &a, sizeof(a), 0) != 0 && errno == EOPNOTSUPP) {
        stop(t);
        skip();
    }
    assert_ok(removexattr(tree_path(t, "."), ACCESS));
}

/* A guest that does not know them neither sees nor makes any. */
static void test_acl_off(void **state)
{
    struct tree t;
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
    struct tree t;
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
    struct tree t;
    struct fs_entry e;
    struct acl a = acl_for(USER_ID);
    struct fs_cred c = {.uid = USER_ID, .gid = USER_ID, .umask = 077, .groups_known = true};
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

static void test_acl_kill_sgid(void **state)
{
    struct tree t;
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

/* ---- labels ---- */

static void test_label(void **state)
{
    static const char host[] = "user.virtiofs.security.selinux";
    struct tree t;
    struct fs_entry e;
    struct fs_opened o;
    struct fs_cred c = {.secctx_name = "security.selinux", .secctx = "label", .secctx_len = 5};
    start(&t, MAP_ALL, NULL, NULL);
    assert_ok(fs_create(t.fs, &c, t.root, "f", 0644, O_RDWR | O_EXCL, 0, &e, &o));
    assert_int_equal(getxattr(tree_path(&t, "f"), host, NULL, 0), 5);
    assert_int_equal(fs_getxattr(t.fs, e.inode, "security.selinux", NULL, 0), 5);
    fs_inode_put(t.fs, e.inode);
    fs_release(t.fs, o.fh);
    assert_ok(fs_mkdir(t.fs, &c, t.root, "d", 0755, &e));
    assert_int_equal(getxattr(tree_path(&t, "d"), host, NULL, 0), 5);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_tmpfile(t.fs, &c, t.root, 0644, O_RDWR, &e, &o));
    assert_int_equal(fs_getxattr(t.fs, e.inode, "security.selinux", NULL, 0), 5);
    fs_inode_put(t.fs, e.inode);
    fs_release(t.fs, o.fh);

    /* Attributes below user. are for files and directories only: what cannot be labelled does not
     * stay. */
    assert_int_equal(fs_symlink(t.fs, &c, t.root, "l", "x", &e), -EPERM);
    assert_false(tree_has(&t, "l"));
    assert_int_equal(fs_mknod(t.fs, &c, t.root, "p", S_IFIFO | 0644, 0, &e), -EPERM);
    assert_false(tree_has(&t, "p"));
    stop(&t);
}

/* Where a rule forbids the label, nothing is made in the first place. */
static void test_label_refused(void **state)
{
    struct tree t;
    struct fs_entry e;
    struct fs_opened o;
    struct fs_cred c = {.secctx_name = "security.selinux", .secctx = "label", .secctx_len = 5};
    start(&t, ":bad:all:security.:security.: :ok:all:::", NULL, NULL);
    assert_int_equal(fs_create(t.fs, &c, t.root, "f", 0644, O_RDWR, 0, &e, &o), -EPERM);
    assert_int_equal(fs_mkdir(t.fs, &c, t.root, "f", 0755, &e), -EPERM);
    assert_int_equal(fs_tmpfile(t.fs, &c, t.root, 0644, O_RDWR, &e, &o), -EPERM);
    assert_false(tree_has(&t, "f"));
    stop(&t);
}

/* A value that the host does not take: the new file goes again, with its inode and handle. */
static void test_label_fails(void **state)
{
    struct tree t;
    struct fs_entry e;
    struct fs_opened o;
    char *big = g_malloc0(65536);
    struct fs_cred c = {.secctx_name = "security.capability", .secctx = big, .secctx_len = 65536};
    need_root();
    start(&t, NULL, NULL, NULL);
    assert_int_equal(fs_create(t.fs, &c, t.root, "f", 0644, O_RDWR, 0, &e, &o), -EINVAL);
    assert_int_equal(fs_mkdir(t.fs, &c, t.root, "d", 0755, &e), -EINVAL);
    assert_false(tree_has(&t, "f"));
    assert_false(tree_has(&t, "d"));
    c.secctx_len++;
    assert_int_equal(fs_mkdir(t.fs, &c, t.root, "d", 0755, &e), -E2BIG);
    g_free(big);
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),          cmocka_unit_test(test_refused_names),
        cmocka_unit_test(test_list_size),      cmocka_unit_test(test_caps_dropped),
        cmocka_unit_test(test_caps_of_others), cmocka_unit_test(test_ids_seen),
        cmocka_unit_test(test_ids_made),       cmocka_unit_test(test_ids_forbidden),
        cmocka_unit_test(test_acl_off),        cmocka_unit_test(test_acl_ids),
        cmocka_unit_test(test_acl_default),    cmocka_unit_test(test_acl_kill_sgid),
        cmocka_unit_test(test_label),          cmocka_unit_test(test_label_refused),
        cmocka_unit_test(test_label_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
