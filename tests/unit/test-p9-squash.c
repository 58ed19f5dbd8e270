/* SPDX-License-Identifier: BSD-3-Clause
 * Clients that are all one user, as those by network are: what they can reach must be what the host
 * would let that user reach. The server itself may do anything. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/posix_acl_xattr.h>

#include "tests/unit/p9-mem.h"

enum { SET_MODE = 1, SET_GID = 4, SET_SIZE = 8, SET_ATIME = 0x10 };
enum { READ, WRITE, RDWR };
enum { EXCL = 0200, TRUNC = 01000 };

/* A client as the user USER_ID, who owns the directory "open". */
static void start(struct p9_mem *m)
{
    struct p9_config cfg = p9_mem_config();
    need_root();
    cfg.squash_uid = cfg.squash_gid = USER_ID;
    tree_start(&m->tree);
    p9_mem_open(m, &cfg);
    assert_ok(mkdir(tree_path(&m->tree, "open"), 0755));
    assert_ok(chown(tree_path(&m->tree, "open"), USER_ID, USER_ID));
    assert_ok(p9c_mount(&m->c, 65536, 0, 0));
}

static void root_file(struct p9_mem *m, const char *name, mode_t mode)
{
    tree_write(&m->tree, name, "root's");
    assert_ok(chmod(tree_path(&m->tree, name), mode));
}

static off_t size_of(struct p9_mem *m, const char *name)
{
    struct stat st;
    assert_ok(lstat(tree_path(&m->tree, name), &st));
    return st.st_size;
}

/* Everything is one user's, and the host's rules hold for that one. */
static void test_rules(void **state)
{
    struct p9_mem m;
    struct stat st;
    start(&m);
    struct p9c *c = &m.c;
    assert_ok(mkdir(tree_path(&m.tree, "closed"), 0700));
    root_file(&m, "secret", 0600);
    assert_int_equal(p9c_walk(c, 0, 1, "closed/x"), -ENOENT); /* one qid */
    assert_ok(p9c_walk(c, 0, 1, "closed"));
    assert_int_equal(p9c_walk(c, 1, 2, "x"), -EACCES);
    assert_ok(p9c_walk(c, 0, 2, "secret"));
    assert_int_equal(p9c_lopen(c, 2, 0), -EACCES);
    struct p9c_set set = {.valid = 1, .mode = 0666};
    assert_int_equal(p9c_setattr(c, 2, &set), -EPERM);
    set = (struct p9c_set){.valid = 8};
    assert_int_equal(p9c_setattr(c, 2, &set), -EACCES);
    set = (struct p9c_set){.valid = 2, .uid = USER_ID};
    assert_int_equal(p9c_setattr(c, 2, &set), -EPERM);
    assert_int_equal(p9c_mkdir(c, 0, "d", 0755, 0), -EACCES);
    assert_int_equal(p9c_unlinkat(c, 0, "secret", 0), -EACCES);
    assert_int_equal(p9c_renameat(c, 0, "secret", 0, "s2"), -EACCES);
    assert_ok(p9c_walk(c, 0, 3, "open"));
    assert_ok(p9c_lcreate(c, 3, "f", 2, 0600, 0));
    assert_ok(lstat(tree_path(&m.tree, "open/f"), &st));
    assert_int_equal(st.st_uid, USER_ID);
    assert_int_equal(st.st_gid, USER_ID);
    p9_mem_stop(&m);
}

/* To have a file open for reading is no right to change it. */
static void test_open_to_read(void **state)
{
    struct p9_mem m;
    uint8_t status;
    start(&m);
    struct p9c *c = &m.c;
    struct p9c_set cut = {.valid = SET_SIZE};
    struct p9c_lock lk = {.type = 1, .proc_id = 1, .client = "me"};
    root_file(&m, "f", 0644);
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_ok(p9c_lopen(c, 1, READ));
    assert_int_equal(p9c_setattr(c, 1, &cut), -EACCES);
    assert_int_equal(size_of(&m, "f"), 6);
    assert_int_equal(p9c_lock(c, 1, &lk, &status), -EBADF); /* root's programs would wait for it */
    lk.flags = 1;
    assert_int_equal(p9c_lock(c, 1, &lk, &status), -EBADF);
    lk.type = 0;
    assert_ok(p9c_lock(c, 1, &lk, &status));
    assert_int_equal(status, 0);
    /* To have it open for writing is one, whatever the mode has become. */
    assert_ok(p9c_walk(c, 0, 2, "open"));
    assert_ok(p9c_lcreate(c, 2, "mine", RDWR, 0600, 0));
    assert_int_equal(p9c_write(c, 2, 0, "data", 4), 4);
    assert_ok(chmod(tree_path(&m.tree, "open/mine"), 0));
    assert_ok(p9c_setattr(c, 2, &cut));
    assert_int_equal(size_of(&m, "open/mine"), 0);
    lk.type = 1;
    assert_ok(p9c_lock(c, 2, &lk, &status));
    p9_mem_stop(&m);
}

/* What the host's protected_hardlinks does, which does not hold for the server. */
static void test_links(void **state)
{
    struct p9_mem m;
    start(&m);
    struct p9c *c = &m.c;
    root_file(&m, "secret", 0600);
    root_file(&m, "readable", 0644);
    root_file(&m, "suid", 04777);
    root_file(&m, "shared", 0666);
    assert_ok(p9c_walk(c, 0, 1, "open"));
    const char *names[] = {"secret", "readable", "suid", "shared"};
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        assert_ok(p9c_walk(c, 0, 2, names[i]));
        assert_int_equal(p9c_link(c, 1, 2, names[i]), i < 3 ? -EPERM : 0);
        assert_ok(p9c_clunk(c, 2));
    }
    assert_false(tree_has(&m.tree, "open/secret"));
    assert_ok(p9c_walk(c, 1, 2, ""));
    assert_ok(p9c_lcreate(c, 2, "own", RDWR, 04600, 0));
    assert_ok(p9c_link(c, 1, 2, "own2"));
    p9_mem_stop(&m);
}

/* Another's directory may be renamed in a directory of ours, but not be moved: that writes to it.
 */
static void test_moves(void **state)
{
    struct p9_mem m;
    start(&m);
    struct p9c *c = &m.c;
    assert_ok(mkdir(tree_path(&m.tree, "open/theirs"), 0755));
    assert_ok(p9c_walk(c, 0, 1, "open"));
    assert_ok(p9c_mkdir(c, 1, "sub", 0755, 0));
    assert_ok(p9c_walk(c, 1, 2, "sub"));
    assert_ok(p9c_renameat(c, 1, "theirs", 1, "renamed"));
    assert_int_equal(p9c_renameat(c, 1, "renamed", 2, "moved"), -EACCES);
    assert_ok(p9c_walk(c, 1, 3, "renamed"));
    assert_int_equal(p9c_rename(c, 3, 2, "moved"), -EACCES);
    assert_ok(p9c_renameat(c, 1, "sub", 1, "sub2"));
    assert_int_equal(p9c_renameat(c, 1, "sub2", 2, "itself"), -EINVAL);
    p9_mem_stop(&m);
}

/* Set-group-id on a file of another group would be that group's power for who runs it. */
static void test_set_group_id(void **state)
{
    struct p9_mem m;
    struct stat st;
    start(&m);
    struct p9c *c = &m.c;
    assert_ok(p9c_walk(c, 0, 1, "open"));
    assert_ok(p9c_lcreate(c, 1, "f", RDWR, 0600, 0));
    struct p9c_set set = {.valid = SET_MODE, .mode = 02755};
    assert_ok(p9c_setattr(c, 1, &set));
    assert_ok(lstat(tree_path(&m.tree, "open/f"), &st));
    assert_int_equal(st.st_mode & 07777, 02755); /* his own group */
    assert_ok(chown(tree_path(&m.tree, "open/f"), USER_ID, 0));
    assert_ok(p9c_setattr(c, 1, &set));
    assert_ok(lstat(tree_path(&m.tree, "open/f"), &st));
    assert_int_equal(st.st_mode & 07777, 0755);
    set = (struct p9c_set){.valid = SET_GID, .gid = 0};
    assert_int_equal(p9c_setattr(c, 1, &set), -EPERM);
    p9_mem_stop(&m);
}

static void test_attributes(void **state)
{
    struct p9_mem m;
    start(&m);
    struct p9c *c = &m.c;
    assert_ok(mkdir(tree_path(&m.tree, "closed"), 0711));
    root_file(&m, "f", 0600);
    root_file(&m, "g", 0644);
    const char *names[] = {"closed", "f", "g"};
    for (unsigned i = 0; i < 3; i++) {
        const char *path = tree_path(&m.tree, names[i]);
        if (setxattr(path, "user.a", "x", 1, 0) != 0 ||
            setxattr(path, "trusted.a", "x", 1, 0) != 0) {
            p9_mem_stop(&m);
            skip();
        }
        assert_ok(p9c_walk(c, 0, 1, names[i]));
        assert_int_equal(p9c_xattrwalk(c, 1, 2, "user.a"), i < 2 ? -EACCES : 1);
        assert_int_equal(p9c_xattrwalk(c, 1, 3, "trusted.a"), -ENODATA);
        assert_int_equal(p9c_xattrcreate(c, 1, "user.b", 1, 0), -EACCES);
        assert_int_equal(p9c_xattrcreate(c, 1, "trusted.b", 1, 0), -EPERM);
        assert_int_equal(p9c_xattrcreate(c, 1, "security.capability", 20, 0), -EPERM);
        assert_ok(p9c_clunk(c, 1));
    }
    p9_mem_stop(&m);
}

struct acl {
    struct posix_acl_xattr_header head;
    struct posix_acl_xattr_entry e[5];
};

/* The group's bits of a mode with an ACL are its mask. */
static void test_acls(void **state)
{
    struct p9_mem m;
    const uint32_t none = UINT32_MAX, user = GUINT32_TO_LE(USER_ID);
    struct acl a = {
        .head = {GUINT32_TO_LE(POSIX_ACL_XATTR_VERSION)},
        .e = {{GUINT16_TO_LE(1), GUINT16_TO_LE(6), none},
              {GUINT16_TO_LE(2), GUINT16_TO_LE(4), user},
              {GUINT16_TO_LE(4), GUINT16_TO_LE(6), none},
              {GUINT16_TO_LE(0x10), GUINT16_TO_LE(6), none},
              {GUINT16_TO_LE(0x20), GUINT16_TO_LE(6), none}},
    };
    start(&m);
    struct p9c *c = &m.c;
    root_file(&m, "f", 0600);
    const char *path = tree_path(&m.tree, "f");
    if (setxattr(path, "system.posix_acl_access", &a, sizeof(a), 0) != 0) {
        p9_mem_stop(&m);
        skip();
    }
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_int_equal(p9c_lopen(c, 1, RDWR), -EACCES); /* by name: less than the others may */
    assert_ok(p9c_lopen(c, 1, READ));
    assert_ok(p9c_clunk(c, 1));
    a.e[1].e_id = GUINT32_TO_LE(USER_ID + 1); /* another's entry; the owning group's counts */
    a.e[2].e_perm = 0;
    assert_ok(setxattr(tree_path(&m.tree, "f"), "system.posix_acl_access", &a, sizeof(a), 0));
    assert_ok(chown(tree_path(&m.tree, "f"), 0, USER_ID));
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_int_equal(p9c_lopen(c, 1, READ), -EACCES);
    p9_mem_stop(&m);
}

/* A new ACL keeps set-group-id only of one's own group. */
static void test_new_acl(void **state)
{
    struct p9_mem m;
    const uint32_t none = UINT32_MAX;
    const struct acl a = {
        .head = {GUINT32_TO_LE(POSIX_ACL_XATTR_VERSION)},
        .e = {{GUINT16_TO_LE(1), GUINT16_TO_LE(7), none},
              {GUINT16_TO_LE(4), GUINT16_TO_LE(7), none},
              {GUINT16_TO_LE(0x20), GUINT16_TO_LE(0), none}},
    };
    const size_t size = sizeof(a.head) + 3 * sizeof(a.e[0]);
    start(&m);
    struct p9c *c = &m.c;
    fs_acl_enable(m.tree.fs, true);
    for (gid_t group = USER_ID; group <= USER_ID + 1; group++) {
        struct stat st;
        root_file(&m, "f", 0);
        assert_ok(chown(tree_path(&m.tree, "f"), USER_ID, group));
        assert_ok(chmod(tree_path(&m.tree, "f"), 02710));
        assert_ok(p9c_walk(c, 0, 1, "f"));
        assert_ok(p9c_xattrcreate(c, 1, "system.posix_acl_access", size, 0));
        assert_int_equal(p9c_write(c, 1, 0, &a, size), size);
        int rc = p9c_clunk(c, 1);
        if (rc == -EOPNOTSUPP) {
            p9_mem_stop(&m);
            skip();
        }
        assert_ok(rc);
        assert_ok(lstat(tree_path(&m.tree, "f"), &st));
        assert_int_equal(st.st_mode & 07777, group == USER_ID ? 02770 : 0770);
    }
    p9_mem_stop(&m);
}

/* ---- a name that leads elsewhere from one moment to the next ---- */

struct swapper {
    struct p9_mem *m;
    atomic_bool stop;
};

/* What the user himself could do with a second connection: the directory is his. */
static void *swap_main(void *arg)
{
    struct swapper *s = arg;
    char theirs[300], name[300];
    snprintf(theirs, sizeof(theirs), "%s", tree_path(&s->m->tree, "open/theirs"));
    snprintf(name, sizeof(name), "%s", tree_path(&s->m->tree, "open/name"));
    while (!atomic_load(&s->stop)) {
        renameat2(AT_FDCWD, name, AT_FDCWD, theirs, RENAME_EXCHANGE);
        sched_yield();
    }
    return NULL;
}

#define LONG (20 * G_USEC_PER_SEC)

static void test_swapped_name(void **state)
{
    struct p9_mem m;
    pthread_t t;
    char buf[16];
    unsigned opened = 0;
    start(&m);
    struct p9c *c = &m.c;
    struct swapper s = {.m = &m};
    root_file(&m, "open/theirs", 0600);
    assert_ok(p9c_walk(c, 0, 1, "open"));
    assert_ok(p9c_walk(c, 1, 2, ""));
    assert_ok(p9c_lcreate(c, 2, "name", RDWR, 0600, 0));
    assert_ok(p9c_clunk(c, 2));
    assert_ok(pthread_create(&t, NULL, swap_main, &s));
    gint64 now, begin = g_get_monotonic_time();
    while ((now = g_get_monotonic_time()) < begin + LONG &&
           (opened == 0 || now < begin + G_USEC_PER_SEC)) {
        assert_ok(p9c_walk(c, 1, 2, ""));
        int rc = p9c_lcreate(c, 2, "name", READ, 0600, 0);
        if (rc == 0) {
            opened++;
            assert_int_equal(p9c_read(c, 2, 0, buf, sizeof(buf)), 0); /* never root's bytes */
        }
        assert_ok(p9c_clunk(c, 2));
    }
    atomic_store(&s.stop, true);
    pthread_join(t, NULL);
    assert_true(opened > 0);
    p9_mem_stop(&m);
}

/* What is there is opened as it is, unless it must be new. */
static void test_create(void **state)
{
    struct p9_mem m;
    start(&m);
    struct p9c *c = &m.c;
    root_file(&m, "open/theirs", 0644);
    assert_ok(p9c_walk(c, 0, 1, "open"));
    assert_ok(p9c_walk(c, 1, 2, ""));
    assert_int_equal(p9c_lcreate(c, 2, "theirs", RDWR, 0600, 0), -EACCES);
    assert_int_equal(p9c_lcreate(c, 2, "theirs", READ | TRUNC, 0600, 0), -EACCES);
    assert_int_equal(p9c_lcreate(c, 2, "theirs", READ | EXCL, 0600, 0), -EEXIST);
    assert_ok(p9c_lcreate(c, 2, "theirs", READ, 0600, 0));
    assert_int_equal(size_of(&m, "open/theirs"), 6);
    assert_ok(p9c_walk(c, 1, 3, ""));
    assert_ok(p9c_lcreate(c, 3, "new", RDWR | EXCL, 0600, 0));
    assert_int_equal(p9c_write(c, 3, 0, "data", 4), 4);
    assert_ok(p9c_walk(c, 1, 4, ""));
    assert_ok(p9c_lcreate(c, 4, "new", RDWR | TRUNC, 0600, 0));
    assert_int_equal(size_of(&m, "open/new"), 0);
    assert_ok(p9c_walk(c, 0, 5, ""));
    assert_int_equal(p9c_lcreate(c, 5, "new", RDWR, 0600, 0), -EACCES);
    assert_int_equal(p9c_lcreate(c, 5, "open", READ, 0600, 0), -EISDIR);
    assert_int_equal(p9c_mknod(c, 1, "null", S_IFCHR | 0666, 1, 3, 0), -EPERM);
    p9_mem_stop(&m);
}

/* In a directory with the sticky bit, only what is one's own. */
static void test_sticky(void **state)
{
    struct p9_mem m;
    start(&m);
    struct p9c *c = &m.c;
    assert_ok(mkdir(tree_path(&m.tree, "tmp"), 0777));
    assert_ok(chmod(tree_path(&m.tree, "tmp"), 01777));
    root_file(&m, "tmp/theirs", 0666);
    assert_ok(p9c_walk(c, 0, 1, "tmp"));
    assert_ok(p9c_walk(c, 1, 2, ""));
    assert_ok(p9c_lcreate(c, 2, "own", RDWR, 0600, 0));
    assert_int_equal(p9c_unlinkat(c, 1, "theirs", 0), -EPERM);
    assert_int_equal(p9c_renameat(c, 1, "own", 1, "theirs"), -EPERM);
    assert_int_equal(p9c_renameat(c, 1, "theirs", 1, "x"), -EPERM);
    assert_ok(p9c_renameat(c, 1, "own", 1, "x"));
    assert_ok(p9c_unlinkat(c, 1, "x", 0));
    p9_mem_stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),        cmocka_unit_test(test_open_to_read),
        cmocka_unit_test(test_links),        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_set_group_id), cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_acls),         cmocka_unit_test(test_create),
        cmocka_unit_test(test_swapped_name), cmocka_unit_test(test_sticky),
        cmocka_unit_test(test_new_acl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
