/* SPDX-License-Identifier: BSD-3-Clause
 * Labels of new inodes: what is told to the kernel, by whom and when; and what is done where it
 * takes no part. The thread's file is a double, but for one test. */
#include "tests/unit/fs-tree.h"
#include "virtiofsd/fs/fs-xattrmap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SELINUX "security.selinux"
#define LABEL   "system_u:object_r:test_t:s0"

static const struct fs_cred labelled = {
    .secctx_name = SELINUX, .secctx = LABEL, .secctx_len = sizeof(LABEL) - 1};

/* ---- the kernel's part ---- */

static bool kernel_labels; /* directories get a label as they are made */
static char linked[64];    /* what a file without a name had when it got one */

/* clang-format off */
int __real_mkdirat(int dir, const char *name, mode_t mode);
int __wrap_mkdirat(int dir, const char *name, mode_t mode);
int __real_linkat(int from, const char *name, int to, const char *newname, int flags);
int __wrap_linkat(int from, const char *name, int to, const char *newname, int flags);
/* clang-format on */

int __wrap_mkdirat(int dir, const char *name, mode_t mode)
{
    int rc = __real_mkdirat(dir, name, mode);
    if (rc == 0 && kernel_labels) {
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_ok(fsetxattr(fd, SELINUX, LABEL, sizeof(LABEL), 0)); /* with its NUL */
        close(fd);
    }
    return rc;
}

int __wrap_linkat(int from, const char *name, int to, const char *newname, int flags)
{
    ssize_t n = fgetxattr(atoi(name), "user.virtiofs." SELINUX, linked, sizeof(linked) - 1);
    linked[MAX(n, 0)] = '\0';
    return __real_linkat(from, name, to, newname, flags);
}

/* ---- the thread's file ---- */

struct fake {
    struct share t;
    char dir[64];
};

static struct fs_xattrmap *map;

/* The double of what is in proc: task 34 of process 12, and the link that says so. */
static void start_with(struct fake *k, const char *rules, bool proc)
{
    struct share_config cfg = tree_config();
    char path[128];

    memset(k, 0, sizeof(*k));
    strcpy(k->dir, "/tmp/fs-label-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    int at = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_ok(__real_mkdirat(at, "34", 0755) | __real_mkdirat(at, "34/attr", 0755));
    int fd = openat(at, "34/attr/fscreate", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    close(fd);
    close(at);
    snprintf(path, sizeof(path), "%s/self", k->dir);
    assert_ok(symlink("12/task/34", path));
    cfg.host.thread_fd = open(proc ? "/proc/thread-self" : path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    cfg.host.task_fd = open(proc ? "/proc/self/task" : k->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    map = rules ? fs_xattrmap_parse(rules, NULL) : NULL;
    cfg.xattrmap = map;
    tree_make(&k->t);
    tree_open(&k->t, &cfg);
}

static void stop(struct fake *k)
{
    static const char *const made[] = {"34/attr/fscreate", "34/attr", "34", "self", "."};
    char path[128];
    tree_stop(&k->t);
    if (map)
        fs_xattrmap_free(map);
    for (unsigned i = 0; i < G_N_ELEMENTS(made); i++) {
        snprintf(path, sizeof(path), "%s/%s", k->dir, made[i]);
        remove(i < 4 ? path : k->dir);
    }
    assert_int_equal(access(k->dir, F_OK), -1);
    kernel_labels = false;
}

/* How many times the kernel was told the label, and nothing else. */
static unsigned told(struct fake *k)
{
    char buf[4096] = "", path[96];
    unsigned n = 0;
    snprintf(path, sizeof(path), "%s/34/attr/fscreate", k->dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, buf, sizeof(buf) - 1) >= 0);
    close(fd);
    for (const char *p = buf; *p; p += sizeof(LABEL) - 1, n++)
        assert_memory_equal(p, LABEL, sizeof(LABEL) - 1);
    return n;
}

static void has_label(struct fake *k, const char *name, const char *attr)
{
    char buf[64] = "";
    assert_int_equal(lgetxattr(tree_path(&k->t, name), attr, buf, sizeof(buf)), sizeof(LABEL) - 1);
    assert_string_equal(buf, LABEL);
}

/* A kernel with SELinux takes only what its policy knows; and not everybody's root may. */
static void need_labels(struct fake *k)
{
    if (setxattr(k->t.dir, SELINUX, LABEL, sizeof(LABEL) - 1, 0) == 0 &&
        removexattr(k->t.dir, SELINUX) == 0)
        return;
    print_message("this kernel does not let us set such a label\n");
    stop(k);
    skip();
}

/* ---- tests ---- */

/* Each verb says the label once, before anything is made. */
static void test_each_verb(void **state)
{
    struct fake k;
    struct fs_entry e;
    struct fs_opened o;
    need_root();
    start_with(&k, NULL, false);
    need_labels(&k);
    struct fs *fs = k.t.fs;
    assert_ok(fs_create(fs, &labelled, k.t.root, "f", 0644, O_RDWR | O_EXCL, 0, &e, &o));
    fs_release(fs, o.fh);
    fs_inode_put(fs, e.inode);
    assert_int_equal(told(&k), 1);
    has_label(&k, "f", SELINUX); /* this kernel took no part: it was given afterwards */
    assert_ok(fs_mkdir(fs, &labelled, k.t.root, "d", 0755, &e));
    fs_inode_put(fs, e.inode);
    assert_int_equal(told(&k), 2);
    has_label(&k, "d", SELINUX);
    assert_ok(fs_symlink(fs, &labelled, k.t.root, "l", "x", &e));
    fs_inode_put(fs, e.inode);
    assert_int_equal(told(&k), 3);
    has_label(&k, "l", SELINUX);
    assert_ok(fs_mknod(fs, &labelled, k.t.root, "p", S_IFIFO | 0644, 0, &e));
    fs_inode_put(fs, e.inode);
    assert_int_equal(told(&k), 4);
    has_label(&k, "p", SELINUX);
    assert_ok(fs_tmpfile(fs, &labelled, k.t.root, 0644, O_RDWR, &e, &o));
    assert_int_equal(fs_getxattr(fs, e.inode, SELINUX, NULL, 0), sizeof(LABEL) - 1);
    fs_release(fs, o.fh);
    fs_inode_put(fs, e.inode);
    assert_int_equal(told(&k), 5);
    /* Nothing could be made, and it was said all the same: it is said first. */
    assert_int_equal(fs_mkdir(fs, &labelled, k.t.root, "d", 0755, &e), -EEXIST);
    assert_int_equal(told(&k), 6);
    /* No label, nothing said. */
    assert_ok(fs_mkdir(fs, &cred_root, k.t.root, "d2", 0755, &e));
    fs_inode_put(fs, e.inode);
    assert_int_equal(told(&k), 6);
    assert_int_equal(lgetxattr(tree_path(&k.t, "d2"), SELINUX, NULL, 0), -1);
    stop(&k);
}

/* What the kernel has done is not done again. */
static void test_made_with_it(void **state)
{
    struct fake k;
    struct fs_entry e;
    need_root();
    start_with(&k, NULL, false);
    need_labels(&k);
    kernel_labels = true;
    assert_ok(fs_mkdir(k.t.fs, &labelled, k.t.root, "d", 0755, &e));
    fs_inode_put(k.t.fs, e.inode);
    assert_int_equal(lgetxattr(tree_path(&k.t, "d"), SELINUX, NULL, 0), sizeof(LABEL));
    stop(&k);
}

/* Under another name the kernel knows nothing of it: then the file has its label before its name.
 */
static void test_renamed(void **state)
{
    struct fake k;
    struct fs_entry e;
    struct fs_opened o;
    start_with(&k, ":map::user.virtiofs.:", false);
    struct fs *fs = k.t.fs;
    for (int n = 0; n < 2; n++) {
        int rc = fs_create(fs, &labelled, k.t.root, "f", 0640, O_RDWR, 0, &e, &o);
        assert_ok(rc);
        fs_release(fs, o.fh);
        fs_inode_put(fs, e.inode);
        assert_string_equal(linked, LABEL);
    }
    assert_int_equal(fs_create(fs, &labelled, k.t.root, "f", 0640, O_RDWR | O_EXCL, 0, &e, &o),
                     -EEXIST);
    struct stat st;
    assert_ok(stat(tree_path(&k.t, "f"), &st));
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(st.st_nlink, 1);
    has_label(&k, "f", "user.virtiofs." SELINUX);
    assert_ok(fs_create(fs, &labelled, k.t.root, "r", 0640, O_RDONLY | O_EXCL, 0, &e, &o));
    fs_release(fs, o.fh);
    fs_inode_put(fs, e.inode);
    has_label(&k, "r", "user.virtiofs." SELINUX);
    linked[0] = '\0';
    assert_ok(fs_mknod(fs, &labelled, k.t.root, "n", S_IFREG | 0604, 0, &e));
    assert_int_equal(e.attr.st.st_mode, S_IFREG | 0604);
    fs_inode_put(fs, e.inode);
    assert_string_equal(linked, LABEL);
    assert_int_equal(fs_mknod(fs, &labelled, k.t.root, "n", S_IFREG | 0604, 0, &e), -EEXIST);
    assert_ok(fs_mkdir(fs, &labelled, k.t.root, "d", 0755, &e));
    fs_inode_put(fs, e.inode);
    has_label(&k, "d", "user.virtiofs." SELINUX);
    assert_int_equal(told(&k), 0);
    stop(&k);
}

/* As another user: that of the guest's process makes the file and its name. */
static void test_renamed_as_user(void **state)
{
    struct fake k;
    struct fs_entry e;
    struct fs_opened o;
    struct fs_cred c = labelled;
    need_root();
    c.uid = c.gid = USER_ID;
    c.strict = true;
    start_with(&k, ":map::user.virtiofs.:", false);
    assert_int_equal(fs_create(k.t.fs, &c, k.t.root, "f", 0644, O_RDWR, 0, &e, &o), -EACCES);
    assert_ok(chmod(k.t.dir, 0777));
    assert_ok(fs_create(k.t.fs, &c, k.t.root, "f", 0644, O_RDWR, 0, &e, &o));
    assert_int_equal(e.attr.st.st_uid, USER_ID);
    assert_string_equal(linked, LABEL);
    fs_release(k.t.fs, o.fh);
    fs_inode_put(k.t.fs, e.inode);
    /* What the guest's kernel has allowed is made. */
    assert_ok(chmod(k.t.dir, 0755));
    c.strict = false;
    linked[0] = '\0';
    assert_ok(fs_create(k.t.fs, &c, k.t.root, "g", 0644, O_RDWR, 0, &e, &o));
    assert_int_equal(e.attr.st.st_uid, USER_ID);
    assert_string_equal(linked, LABEL);
    fs_release(k.t.fs, o.fh);
    fs_inode_put(k.t.fs, e.inode);
    stop(&k);
}

/* No such file for a thread: afterwards, as ever. */
static void test_none(void **state)
{
    struct fake k;
    struct fs_entry e;
    char path[96];
    need_root();
    start_with(&k, NULL, false);
    need_labels(&k);
    snprintf(path, sizeof(path), "%s/34/attr/fscreate", k.dir);
    assert_ok(unlink(path));
    assert_ok(fs_mkdir(k.t.fs, &labelled, k.t.root, "d", 0755, &e));
    fs_inode_put(k.t.fs, e.inode);
    has_label(&k, "d", SELINUX);
    stop(&k);
}

/* The real file of each thread is reached by that thread: a kernel without SELinux answers EINVAL
 * to whatever is written there, and to nobody else anything but EACCES. */
static void *make_dir(void *arg)
{
    struct fake *k = arg;
    struct fs_entry e;
    fs_thread_start();
    return GINT_TO_POINTER(fs_mkdir(k->t.fs, &labelled, k->t.root, "d", 0755, &e));
}

static void test_own_thread(void **state)
{
    struct fake k;
    char c;
    pthread_t other;
    void *rc;
    int fd = open("/proc/thread-self/attr/fscreate", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, &c, 1) >= 0 || errno != EINVAL) {
        print_message("this kernel gives labels: nobody knows which it takes\n");
        skip();
    }
    close(fd);
    start_with(&k, NULL, true);
    assert_int_equal(GPOINTER_TO_INT(make_dir(&k)), -EINVAL);
    for (int n = 0; n < 2; n++) {
        assert_ok(pthread_create(&other, NULL, make_dir, &k));
        assert_ok(pthread_join(other, &rc));
        assert_int_equal(GPOINTER_TO_INT(rc), -EINVAL);
    }
    assert_false(tree_has(&k.t, "d"));
    stop(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_verb), cmocka_unit_test(test_made_with_it),
        cmocka_unit_test(test_renamed),   cmocka_unit_test(test_renamed_as_user),
        cmocka_unit_test(test_none),      cmocka_unit_test(test_own_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
