/* SPDX-License-Identifier: BSD-3-Clause
 * Names: what is refused everywhere, what lookups find, and what moves. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- names that must never reach the host, in every verb that takes one ---- */

static int v_lookup(struct share *t, const char *name)
{
    struct fs_entry e;
    int rc = fs_lookup(t->fs, t->root, name, &e);
    if (rc == 0)
        fs_inode_put(t->fs, e.inode);
    return rc;
}

static int v_mknod(struct share *t, const char *name)
{
    struct fs_entry e;
    return fs_mknod(t->fs, &cred_root, t->root, name, S_IFREG | 0644, 0, &e);
}

static int v_mkdir(struct share *t, const char *name)
{
    struct fs_entry e;
    return fs_mkdir(t->fs, &cred_root, t->root, name, 0755, &e);
}

static int v_symlink(struct share *t, const char *name)
{
    struct fs_entry e;
    return fs_symlink(t->fs, &cred_root, t->root, name, "target", &e);
}

static int v_link(struct share *t, const char *name)
{
    struct fs_entry e;
    struct fs_inode *i = tree_look(t, t->root, "victim");
    int rc = fs_link(t->fs, i, t->root, name, &e);
    fs_inode_put(t->fs, i);
    return rc;
}

static int v_create(struct share *t, const char *name)
{
    struct fs_entry e;
    struct fs_opened o;
    return fs_create(t->fs, &cred_root, t->root, name, 0644, O_RDWR, 0, &e, &o);
}

static int v_unlink(struct share *t, const char *name)
{
    return fs_unlink(t->fs, t->root, name);
}

static int v_rmdir(struct share *t, const char *name)
{
    return fs_rmdir(t->fs, t->root, name);
}

static int v_rename_from(struct share *t, const char *name)
{
    return fs_rename(t->fs, &cred_root, t->root, name, t->root, "moved", 0);
}

static int v_rename_to(struct share *t, const char *name)
{
    return fs_rename(t->fs, &cred_root, t->root, "victim", t->root, name, 0);
}

static const struct {
    const char *verb;
    int (*call)(struct share *t, const char *name);
    bool dots_ok;
} verbs[] = {
    {"lookup", v_lookup, true}, {"mknod", v_mknod}, {"mkdir", v_mkdir},
    {"symlink", v_symlink},     {"link", v_link},   {"create", v_create},
    {"unlink", v_unlink},       {"rmdir", v_rmdir}, {"rename from", v_rename_from},
    {"rename to", v_rename_to},
};

static void test_bad_names(void **state)
{
    struct share t, outside;
    char absolute[128], dotdot[128], long_name[NAME_MAX + 2];

    tree_start(&t);
    tree_make(&outside);
    tree_write(&t, "victim", "v");
    mkdir(tree_path(&t, "d"), 0755);
    snprintf(absolute, sizeof(absolute), "%s/x", outside.dir);
    snprintf(dotdot, sizeof(dotdot), "../%s/x", strrchr(outside.dir, '/') + 1);
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    const struct {
        const char *name;
        int rc;
    } bad[] = {{absolute, -EINVAL}, {dotdot, -EINVAL},          {"", -EINVAL},
               {"/", -EINVAL},      {"d/x", -EINVAL},           {"d/", -EINVAL},
               {"../", -EINVAL},    {long_name, -ENAMETOOLONG}, {"./x", -EINVAL}};
    for (unsigned v = 0; v < sizeof(verbs) / sizeof(verbs[0]); v++) {
        for (unsigned n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
            int rc = verbs[v].call(&t, bad[n].name);
            if (rc != bad[n].rc)
                fail_msg("%s \"%s\": %d", verbs[v].verb, bad[n].name, rc);
        }
        int want = verbs[v].dots_ok ? 0 : -EINVAL;
        assert_int_equal(verbs[v].call(&t, "."), want);
        assert_int_equal(verbs[v].call(&t, ".."), want);
    }
    assert_true(tree_has(&t, "victim"));
    assert_int_equal(rmdir(outside.dir), 0); /* still empty */
    assert_ok(fs_name_check("..."));
    assert_ok(fs_name_check(".hidden"));
    assert_ok(fs_name_check("..x"));
    long_name[NAME_MAX] = '\0';
    assert_ok(fs_name_check(long_name));
    tree_stop(&t);
}

static void test_lookup(void **state)
{
    struct share t;
    struct fs_entry e;
    tree_start(&t);
    assert_int_equal(v_lookup(&t, "none"), -ENOENT);
    tree_write(&t, "f", "abc");
    assert_ok(symlink("/etc/passwd", tree_path(&t, "l")));
    assert_ok(mkdir(tree_path(&t, "d"), 0700));
    assert_ok(fs_lookup(t.fs, t.root, "f", &e));
    assert_int_equal(e.attr.st.st_size, 3);
    assert_true(S_ISREG(e.attr.st.st_mode));
    struct fs_entry under;
    assert_int_equal(fs_lookup(t.fs, e.inode, "x", &under), -ENOTDIR);
    assert_int_equal(fs_lookup(t.fs, e.inode, "..", &under), -ENOTDIR);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_lookup(t.fs, t.root, "l", &e));
    assert_true(S_ISLNK(e.attr.st.st_mode)); /* the link, not what it points to */
    char buf[32];
    assert_int_equal(fs_readlink(t.fs, e.inode, buf, sizeof(buf)), 11);
    assert_memory_equal(buf, "/etc/passwd", 11);
    assert_int_equal(fs_readlink(t.fs, e.inode, buf, 5), -ENAMETOOLONG);
    assert_int_equal(fs_readlink(t.fs, t.root, buf, sizeof(buf)), -EINVAL);
    fs_inode_put(t.fs, e.inode);
    tree_stop(&t);
}

/* Both ways of looking up give the same inode and fresh attributes. */
static void test_lookup_both_ways(void **state)
{
    struct share t;
    struct fs_entry e;
    char name[8];
    tree_start(&t);
    for (unsigned n = 0; n < 10; n++) {
        snprintf(name, sizeof(name), "%u", n);
        tree_write(&t, name, "x");
        tree_guest_look(&t, t.root, name); /* new: turns to openat first */
    }
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned n = 0; n < 10; n++) {
            snprintf(name, sizeof(name), "%u", n);
            tree_write(&t, name, round ? "longer" : "xy");
            assert_ok(fs_lookup(t.fs, t.root, name, &e));
            assert_int_equal(e.attr.st.st_size, round ? 6 : 2);
            uint64_t id = fs_inode_id(e.inode);
            fs_inode_put(t.fs, e.inode);
            assert_int_equal(tree_guest_look(&t, t.root, name), id);
        }
    }
    tree_stop(&t);
}

static void test_dotdot(void **state)
{
    struct share t;
    struct fs_entry e;
    tree_start(&t);
    assert_ok(mkdir(tree_path(&t, "a"), 0755));
    assert_ok(mkdir(tree_path(&t, "a/b"), 0755));
    struct fs_inode *a = tree_look(&t, t.root, "a"), *b = tree_look(&t, a, "b");
    assert_ok(fs_lookup(t.fs, b, "..", &e));
    assert_ptr_equal(e.inode, a);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_lookup(t.fs, a, "..", &e));
    assert_ptr_equal(e.inode, t.root);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_lookup(t.fs, b, ".", &e));
    assert_ptr_equal(e.inode, b);
    fs_inode_put(t.fs, e.inode);
    fs_inode_put(t.fs, a);
    fs_inode_put(t.fs, b);
    tree_stop(&t);
}

/* A directory that the host moves out of the share while the guest holds it. */
static void test_moved_out(void **state)
{
    struct share t, outside;
    struct fs_entry e;
    tree_start(&t);
    tree_make(&outside);
    assert_ok(mkdir(tree_path(&t, "a"), 0755));
    assert_ok(mkdir(tree_path(&t, "a/b"), 0755));
    struct fs_inode *a = tree_look(&t, t.root, "a"), *b = tree_look(&t, a, "b");
    assert_ok(rename(tree_path(&t, "a"), tree_path(&outside, "a")));
    assert_int_equal(fs_lookup(t.fs, a, "..", &e), -ESTALE);
    assert_int_equal(fs_lookup(t.fs, b, "..", &e), -ESTALE);
    fs_inode_put(t.fs, a);
    fs_inode_put(t.fs, b);
    tree_stop(&t);
    tree_remove(&outside);
}

static void test_rename(void **state)
{
    struct share t;
    tree_start(&t);
    const struct fs_cred *c = &cred_root;
    tree_write(&t, "a", "a");
    tree_write(&t, "b", "b");
    uint64_t a = tree_guest_look(&t, t.root, "a"), b = tree_guest_look(&t, t.root, "b");
    assert_int_equal(fs_rename(t.fs, c, t.root, "a", t.root, "b", RENAME_NOREPLACE), -EEXIST);
    assert_ok(fs_rename(t.fs, c, t.root, "a", t.root, "b", RENAME_EXCHANGE));
    assert_int_equal(tree_guest_look(&t, t.root, "a"), b);
    assert_int_equal(tree_guest_look(&t, t.root, "b"), a);
    assert_ok(fs_rename(t.fs, c, t.root, "a", t.root, "c", RENAME_NOREPLACE));
    assert_int_equal(tree_guest_look(&t, t.root, "c"), b);
    assert_ok(fs_rename(t.fs, c, t.root, "b", t.root, "c", 0));
    assert_int_equal(tree_guest_look(&t, t.root, "c"), a);
    assert_int_equal(fs_rename(t.fs, c, t.root, "c", t.root, "d", 1u << 7), -EINVAL);
    assert_int_equal(fs_rename(t.fs, c, t.root, "c", t.root, "d", ~0u), -EINVAL);
    assert_int_equal(
        fs_rename(t.fs, c, t.root, "c", t.root, "d", RENAME_NOREPLACE | RENAME_EXCHANGE), -EINVAL);
    if (geteuid() == 0) {
        struct stat st;
        assert_ok(fs_rename(t.fs, c, t.root, "c", t.root, "d", RENAME_WHITEOUT));
        assert_ok(lstat(tree_path(&t, "c"), &st));
        assert_true(S_ISCHR(st.st_mode));
        assert_int_equal(st.st_rdev, 0);
    }
    tree_stop(&t);
}

static void test_links_and_removal(void **state)
{
    struct share t;
    struct fs_entry e;
    tree_start(&t);
    tree_write(&t, "a", "a");
    assert_ok(symlink("nowhere", tree_path(&t, "s")));
    struct fs_inode *a = tree_look(&t, t.root, "a"), *s = tree_look(&t, t.root, "s");
    assert_ok(fs_link(t.fs, a, t.root, "b", &e));
    assert_ptr_equal(e.inode, a);
    assert_int_equal(e.attr.st.st_nlink, 2);
    fs_inode_put(t.fs, e.inode);
    assert_int_equal(fs_link(t.fs, a, t.root, "b", &e), -EEXIST);
    assert_ok(fs_link(t.fs, s, t.root, "s2", &e)); /* the link itself gets the second name */
    assert_true(S_ISLNK(e.attr.st.st_mode));
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_unlink(t.fs, t.root, "a"));
    assert_int_equal(fs_unlink(t.fs, t.root, "a"), -ENOENT);
    assert_true(tree_has(&t, "b"));
    assert_int_equal(fs_rmdir(t.fs, t.root, "b"), -ENOTDIR);
    assert_ok(fs_mkdir(t.fs, &cred_root, t.root, "d", 0700, &e));
    assert_int_equal(e.attr.st.st_mode, S_IFDIR | 0700);
    fs_inode_put(t.fs, e.inode);
    assert_int_equal(fs_unlink(t.fs, t.root, "d"), -EISDIR);
    assert_ok(fs_rmdir(t.fs, t.root, "d"));
    fs_inode_put(t.fs, a);
    fs_inode_put(t.fs, s);
    tree_stop(&t);
}

static void test_make(void **state)
{
    struct share t;
    struct fs_entry e;
    const struct fs_cred *c = &cred_root;
    struct fs_cred masked = {.umask = 027};
    char target[PATH_MAX + 1];
    tree_start(&t);
    assert_ok(fs_symlink(t.fs, c, t.root, "s", "a b/c", &e));
    assert_int_equal(e.attr.st.st_size, 5);
    fs_inode_put(t.fs, e.inode);
    memset(target, 't', PATH_MAX);
    target[PATH_MAX] = '\0';
    assert_int_equal(fs_symlink(t.fs, c, t.root, "s2", target, &e), -ENAMETOOLONG);
    assert_ok(fs_mknod(t.fs, c, t.root, "p", S_IFIFO | 0666, 0, &e));
    assert_int_equal(e.attr.st.st_mode, S_IFIFO | 0666); /* umask 0 */
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_mknod(t.fs, &masked, t.root, "p2", S_IFIFO | 0666, 0, &e));
    assert_int_equal(e.attr.st.st_mode, S_IFIFO | 0640);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_mkdir(t.fs, c, t.root, "d", 0777, &e)); /* and back */
    assert_int_equal(e.attr.st.st_mode, S_IFDIR | 0777);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_mknod(t.fs, c, t.root, "r", 0600, 0, &e));
    assert_int_equal(e.attr.st.st_mode, S_IFREG | 0600);
    fs_inode_put(t.fs, e.inode);
    assert_int_equal(fs_mknod(t.fs, c, t.root, "x", S_IFDIR | 0600, 0, &e), -EINVAL);
    assert_int_equal(fs_mknod(t.fs, c, t.root, "x", S_IFLNK | 0600, 0, &e), -EINVAL);
    assert_int_equal(fs_mkdir(t.fs, c, t.root, "d", 0700, &e), -EEXIST);
    if (geteuid() == 0) {
        assert_ok(fs_mknod(t.fs, c, t.root, "wh", S_IFCHR, 0, &e));
        assert_int_equal(e.attr.st.st_rdev, 0);
        fs_inode_put(t.fs, e.inode);
    }
    tree_stop(&t);
}

/* ---- up ---- */

#define DEEP      700 /* several leaps */
#define SURE_DEEP 100 /* wherever the share lies */
#define TRIES     50

/* Whether a part of a file system is mounted where @dir lies (a bind mount, a subvolume). There the
 * kernel is slow to go up, and the time for it is bounded (docs/security.md, bounds). */
static bool on_a_part(const char *dir)
{
    struct statx stx;
    g_autofree char *text = NULL;

    assert_int_equal(statx(AT_FDCWD, dir, 0, STATX_MNT_ID, &stx), 0);
    assert_true(g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **l = lines; *l;
         l++) { /* id, parent's id, device, what of the file system is its root */
        g_auto(GStrv) words = g_strsplit(*l, " ", 5);
        if (g_strv_length(words) == 5 && g_ascii_strtoull(words[0], NULL, 10) == stx.stx_mnt_id)
            return strcmp(words[3], "/") != 0;
    }
    return false;
}

static void look_up(struct share *t, struct fs_inode **dir, int want)
{
    unsigned sure = on_a_part(t->dir) ? SURE_DEEP : DEEP;

    for (unsigned i = 1; i <= DEEP; i++) {
        struct fs_entry e;
        int rc = fs_lookup(t->fs, dir[i], "..", &e);
        /* A machine that stands still for a moment uses the time up, too. */
        for (unsigned n = 0; rc == -ESTALE && want == 0 && i <= sure && n < TRIES; n++)
            rc = fs_lookup(t->fs, dir[i], "..", &e);
        if (i <= sure || rc != -ESTALE)
            assert_int_equal(rc, want);
        if (rc < 0)
            continue;
        assert_ptr_equal(e.inode, dir[i - 1]);
        fs_inode_put(t->fs, e.inode);
    }
}

static void test_up_from_any_depth(void **state)
{
    struct share t;
    struct fs_inode *dir[DEEP + 1];
    char away[80];

    tree_start(&t);
    dir[0] = fs_inode_ref(t.root);
    for (unsigned i = 0; i < DEEP; i++) {
        struct fs_entry e;
        assert_ok(fs_mkdir(t.fs, &cred_root, dir[i], "d", 0755, &e));
        dir[i + 1] = e.inode;
    }
    look_up(&t, dir, 0);
    /* The host moves the tree out, and back. */
    snprintf(away, sizeof(away), "%s-away", t.dir);
    assert_ok(rename(tree_path(&t, "d"), away));
    look_up(&t, dir, -ESTALE);
    assert_ok(rename(away, tree_path(&t, "d")));
    look_up(&t, dir, 0);
    for (unsigned i = 0; i <= DEEP; i++)
        fs_inode_put(t.fs, dir[i]);
    tree_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_from_any_depth),
        cmocka_unit_test(test_bad_names),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_lookup_both_ways),
        cmocka_unit_test(test_dotdot),
        cmocka_unit_test(test_moved_out),
        cmocka_unit_test(test_rename),
        cmocka_unit_test(test_links_and_removal),
        cmocka_unit_test(test_make),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
