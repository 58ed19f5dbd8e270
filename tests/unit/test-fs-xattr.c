/* SPDX-License-Identifier: BSD-3-Clause
 * Renamed extended attributes, file capabilities and security labels: what the guest says and what
 * the host has then. */
#include "tests/lib/old-kernel.h"
#include "tests/unit/fs-tree.h"
#include "virtiofsd/fs/fs-xattrmap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CAPS     "security.capability"
#define MAP_ALL  ":map::user.virtiofs.:"
#define MAP_CAPS "user.virtiofs." CAPS

static struct fs_xattrmap *xattrmap;

static void start(struct share *t, const char *map)
{
    struct share_config cfg = tree_config();
    xattrmap = map ? fs_xattrmap_parse(map, NULL) : NULL;
    assert_true(!map || xattrmap);
    cfg.xattrmap = xattrmap;
    tree_make(t);
    tree_open(t, &cfg);
}

static void stop(struct share *t)
{
    tree_stop(t);
    fs_xattrmap_free(xattrmap);
}

/* ---- names ---- */

static void test_names(void **state)
{
    struct share t;
    char buf[64];
    start(&t, MAP_ALL);
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
    struct share t;
    char buf[64];
    start(&t, ":bad:client:user.bad:: :unsupported:client:user.no:: :ok:all:::");
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
    struct share t;
    char name[XATTR_NAME_MAX + 1], list[XATTR_LIST_MAX];
    start(&t, MAP_ALL);
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

static struct fs_inode *capable(struct share *t, const char *name)
{
    tree_write(t, name, "0123456789");
    struct fs_inode *i = tree_look(t, t->root, name);
    assert_ok(fs_setxattr(t->fs, i, CAPS, "caps", 4, 0, 0));
    assert_int_equal(getxattr(tree_path(t, name), MAP_CAPS, NULL, 0), 4);
    return i;
}

static void check_dropped(struct share *t, struct fs_inode *i)
{
    assert_int_equal(fs_getxattr(t->fs, i, CAPS, NULL, 0), -ENODATA);
    assert_ok(fs_setxattr(t->fs, i, CAPS, "caps", 4, 0, 0));
}

static void set(struct share *t, struct fs_inode *i, const struct fs_setattr *s)
{
    struct fs_attr a;
    assert_ok(fs_setattr(t->fs, i, NULL, s, &a));
}

/* CVE-2021-20263: they survived a write where the attribute had another name on the host. */
static void test_caps_dropped(void **state)
{
    struct share t;
    struct fs_opened o, from;
    char x = 'x';
    struct iovec iov = {&x, 1};
    need_root();
    start(&t, MAP_ALL);
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
    struct share t;
    struct fs_entry e;
    need_root();
    start(&t, MAP_ALL);
    assert_ok(fs_mknod(t.fs, &cred_root, t.root, "fifo", S_IFIFO | 0644, 0, &e));
    set(&t, e.inode, &(struct fs_setattr){.valid = FS_SET_UID, .uid = 5});
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_symlink(t.fs, &cred_root, t.root, "link", "fifo", &e));
    set(&t, e.inode, &(struct fs_setattr){.valid = FS_SET_UID, .uid = 6});
    fs_inode_put(t.fs, e.inode);
    stop(&t);
}

/* ---- labels ---- */

static void test_label(void **state)
{
    static const char host[] = "user.virtiofs.security.selinux";
    struct share t;
    struct fs_entry e;
    struct fs_opened o;
    struct fs_cred c = {.secctx_name = "security.selinux", .secctx = "label", .secctx_len = 5};
    start(&t, MAP_ALL);
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
    struct share t;
    struct fs_entry e;
    struct fs_opened o;
    struct fs_cred c = {.secctx_name = "security.selinux", .secctx = "label", .secctx_len = 5};
    start(&t, ":bad:all:security.:security.: :ok:all:::");
    assert_int_equal(fs_create(t.fs, &c, t.root, "f", 0644, O_RDWR, 0, &e, &o), -EPERM);
    assert_int_equal(fs_mkdir(t.fs, &c, t.root, "f", 0755, &e), -EPERM);
    assert_int_equal(fs_tmpfile(t.fs, &c, t.root, 0644, O_RDWR, &e, &o), -EPERM);
    assert_false(tree_has(&t, "f"));
    stop(&t);
}

/* A value that the host does not take: the new file goes again, with its inode and handle. */
static void test_label_fails(void **state)
{
    struct share t;
    struct fs_entry e;
    struct fs_opened o;
    char *big = g_malloc0(65536);
    struct fs_cred c = {.secctx_name = "security.capability", .secctx = big, .secctx_len = 65536};
    need_root();
    start(&t, NULL);
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
        cmocka_unit_test(test_caps_of_others), cmocka_unit_test(test_label),
        cmocka_unit_test(test_label_refused),  cmocka_unit_test(test_label_fails),
    };
    old_kernel_if_asked();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
