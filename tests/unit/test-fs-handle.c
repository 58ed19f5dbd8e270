/* SPDX-License-Identifier: BSD-3-Clause
 * Inodes without descriptors. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FILES 200

/* Handles as of file systems that have longer ones: the number, then a whole handle. */
enum { LONG_TYPE = 0x4d, LONG_BYTES = 24 };
static bool long_handles;

static struct share_config small_config(enum host_handles handles)
{
    struct share_config cfg = tree_config();
    cfg.host.policy.handles = handles;
    cfg.max_fds = 40; /* so at most 10 descriptors are kept for inodes */
    return cfg;
}

/* Read the file behind an id and compare with its name. */
static void check_content(struct share *t, uint64_t id, unsigned n)
{
    struct fs_opened o;
    char buf[16] = "";
    struct iovec iov = {buf, sizeof(buf)};
    struct fs_inode *i = fs_inode_get(t->fs, id);
    assert_non_null(i);
    assert_ok(fs_open(t->fs, i, O_RDONLY, 0, &o));
    struct fs_file *f = fs_file_get(t->fs, o.fh, i);
    assert_int_equal(fs_read(t->fs, f, &iov, 1, 0, 0), strlen(tree_nth(n)));
    assert_string_equal(buf, tree_nth(n));
    fs_file_put(t->fs, f);
    assert_ok(fs_release(t->fs, o.fh));
    fs_inode_put(t->fs, i);
}

static void many_inodes(struct share *t)
{
    uint64_t ids[FILES];
    struct share_config cfg = small_config(HOST_HANDLES_MANDATORY);
    tree_open(t, &cfg);
    tree_fill(t, FILES);
    unsigned fds = count_fds();
    for (unsigned n = 0; n < FILES; n++)
        ids[n] = tree_guest_look(t, t->root, tree_nth(n));
    assert_in_range(count_fds(), fds, fds + 12);
    for (unsigned n = 0; n < FILES; n++)
        check_content(t, ids[n], n);
    for (unsigned n = 0; n < FILES; n++)
        assert_int_equal(tree_guest_look(t, t->root, tree_nth(n)), ids[n]);
    assert_in_range(count_fds(), fds, fds + 12);
    for (unsigned n = 0; n < FILES; n++)
        fs_forget(t->fs, ids[n], 2);
    for (unsigned n = 0; n < FILES; n++)
        assert_null(fs_inode_get(t->fs, ids[n]));
    tree_close(t);
}

/* Whether the handle of the share's root is of the generic form, and its number no small one. */
static bool root_teaches(const struct share *t)
{
    struct statfs fs;
    struct stat st;
    assert_ok(statfs(t->dir, &fs));
    assert_ok(stat(t->dir, &st));
    return fs.f_type == EXT4_SUPER_MAGIC && st.st_ino > UINT16_MAX;
}

/* A looked-up file costs no descriptor until it is used as an inode; opening it is no such use. */
static void by_name(struct share *t)
{
    uint64_t ids[FILES];
    struct fs_attr a;
    struct share_config cfg = tree_config();
    cfg.host.policy.handles = HOST_HANDLES_MANDATORY;
    tree_open(t, &cfg);
    tree_fill(t, FILES);
    unsigned fds = count_fds();
    tree_guest_look(t, t->root,
                    tree_nth(0)); /* teaches where the number lies, if the root has not */
    if (!long_handles && root_teaches(t))
        assert_int_equal(count_fds(), fds);
    fds = count_fds();
    for (unsigned n = 1; n < FILES; n++)
        ids[n] = tree_guest_look(t, t->root, tree_nth(n));
    assert_int_equal(count_fds(), fds);
    for (unsigned n = 1; n < FILES; n++)
        check_content(t, ids[n], n);
    assert_int_equal(count_fds(), fds);
    for (unsigned n = 1; n < FILES; n++) {
        struct fs_inode *i = fs_inode_get(t->fs, ids[n]);
        assert_ok(fs_getattr(t->fs, i, NULL, &a));
        assert_int_equal(a.st.st_size, strlen(tree_nth(n)));
        fs_inode_put(t->fs, i);
    }
    assert_int_equal(count_fds(), fds + FILES - 1);
    tree_close(t);
}

static void test_by_name(void **state)
{
    struct share t;
    need_root();
    tree_make(&t);
    by_name(&t);
    tree_remove(&t);
    tree_make_tmpfs(&t);
    by_name(&t);
    tree_remove(&t);
}

static void test_many(void **state)
{
    struct share t;
    need_root();
    tree_make(&t);
    many_inodes(&t);
    tree_remove(&t);
}

static void test_many_tmpfs(void **state)
{
    struct share t;
    tree_make_tmpfs(&t);
    many_inodes(&t);
    tree_remove(&t);
}

/* A file whose number went to a new one while only its handle was kept. Returns false when no
 * number came back: another program on this file system took them. */
static bool reuse_once(struct share *t, unsigned wait_us)
{
    uint64_t ids[FILES], inos[FILES], again;
    struct share_config cfg = small_config(HOST_HANDLES_MANDATORY);
    unsigned reused = 0;

    tree_open(t, &cfg);
    tree_fill(t, FILES);
    usleep(wait_us);
    for (unsigned n = 0; n < FILES; n++) {
        struct fs_entry e;
        assert_ok(fs_lookup(t->fs, t->root, tree_nth(n), &e));
        ids[n] = fs_inode_id(e.inode);
        inos[n] = e.attr.st.st_ino;
        fs_inode_remember(t->fs, e.inode);
    }
    for (unsigned n = 0; n < FILES; n++)
        assert_ok(unlink(tree_path(t, tree_nth(n))));
    tree_fill(t, FILES);
    for (unsigned n = 0; n < FILES; n++) {
        struct fs_entry e;
        assert_ok(fs_lookup(t->fs, t->root, tree_nth(n), &e));
        again = fs_inode_id(e.inode);
        for (unsigned k = 0; k < FILES; k++) {
            reused += e.attr.st.st_ino == inos[k];
            assert_int_not_equal(again, ids[k]);
        }
        fs_inode_remember(t->fs, e.inode);
        check_content(t, again, n);
    }
    unsigned stale = 0;
    for (unsigned n = 0; n < FILES; n++) {
        struct fs_inode *i = fs_inode_get(t->fs, ids[n]);
        struct fs_attr a;
        int rc = fs_getattr(t->fs, i, NULL, &a);
        if (rc == 0)
            assert_int_equal(a.st.st_nlink, 0);
        else
            assert_int_equal(rc, -ESTALE);
        stale += rc != 0;
        fs_inode_put(t->fs, i);
    }
    assert_true(stale > FILES / 2);
    tree_close(t);
    return reused > 0;
}

/* Where numbers are given again: not in a tmpfs, which counts up. */
static void need_reuse(void)
{
    struct statfs s;

    need_root();
    assert_ok(statfs("/tmp", &s));
    if (s.f_type != TMPFS_MAGIC)
        return;
    print_message("/tmp is a tmpfs: it gives no inode number twice\n");
    skip();
}

static void reuse(unsigned wait_us)
{
    bool shown = false;
    need_reuse();
    for (unsigned i = 0; i < 10 && !shown; i++) {
        struct share t;
        tree_make(&t);
        shown = reuse_once(&t, wait_us);
        tree_remove(&t);
    }
    assert_true(shown); /* else it shows nothing */
}

static void test_reuse_young(void **state)
{
    reuse(0);
}

static void test_reuse_old(void **state)
{
    reuse(2100000);
}

/* ---- a number that goes to another file between two looks ---- */

int __real_name_to_handle_at(int dirfd, const char *path, struct file_handle *handle, int *mnt_id,
                             int flags);

int __real_open_by_handle_at(int mount_fd, struct file_handle *handle, int flags);

static struct file_handle *inner(struct file_handle *handle)
{
    return (struct file_handle *)(void *)(handle->f_handle + sizeof(uint64_t));
}

static int long_handle(int dirfd, const char *path, struct file_handle *handle, int *mnt_id,
                       int flags)
{
    struct stat st;

    if (handle->handle_bytes < LONG_BYTES) {
        handle->handle_bytes = LONG_BYTES;
        errno = EOVERFLOW;
        return -1;
    }
    inner(handle)->handle_bytes = LONG_BYTES - sizeof(uint64_t) - sizeof(*handle);
    if (fstatat(dirfd, path, &st, (flags & AT_EMPTY_PATH) | AT_SYMLINK_NOFOLLOW) < 0 ||
        __real_name_to_handle_at(dirfd, path, inner(handle), mnt_id, flags) < 0)
        return -1;
    uint64_t ino = GUINT64_TO_LE(st.st_ino);
    memcpy(handle->f_handle, &ino, sizeof(ino));
    handle->handle_type = LONG_TYPE;
    handle->handle_bytes = LONG_BYTES;
    return 0;
}

static void (*between_looks)(void);
static unsigned opened_by_handle, opened_paths; /* all, those with O_PATH */

int __wrap_open_by_handle_at(int mount_fd, struct file_handle *handle, int flags);
int __wrap_open_by_handle_at(int mount_fd, struct file_handle *handle, int flags)
{
    opened_by_handle++;
    opened_paths += (flags & O_PATH) != 0;
    return __real_open_by_handle_at(
        mount_fd, handle->handle_type == LONG_TYPE ? inner(handle) : handle, flags);
}

/* By --wrap: between the attributes of a name and its handle. */
int __wrap_name_to_handle_at(int dirfd, const char *path, struct file_handle *handle, int *mnt_id,
                             int flags);
int __wrap_name_to_handle_at(int dirfd, const char *path, struct file_handle *handle, int *mnt_id,
                             int flags)
{
    if (between_looks && *path)
        between_looks();
    if (long_handles)
        return long_handle(dirfd, path, handle, mnt_id, flags);
    return __real_name_to_handle_at(dirfd, path, handle, mnt_id, flags);
}

/* Handles that have no room in their inodes. */
static void test_long(void **state)
{
    struct share t;
    need_root();
    tree_make(&t);
    long_handles = true;
    by_name(&t);
    many_inodes(&t);
    long_handles = false;
    tree_remove(&t);
}

static struct {
    struct share *t;
    mode_t mode; /* of the next holder of the number */
    bool done;
} successor;

static void make_one(const char *path)
{
    if (S_ISLNK(successor.mode))
        assert_ok(symlink("nowhere", path));
    else if (S_ISDIR(successor.mode))
        assert_ok(mkdir(path, 0755));
    else
        assert_ok(mknod(path, successor.mode | 0600, S_ISCHR(successor.mode) ? 0x103 : 0));
}

/* "x" goes, and one of many new files gets its number and its name. */
static void give_number_away(void)
{
    struct stat old, st;
    char path[600];

    between_looks = NULL;
    assert_ok(lstat(tree_path(successor.t, "x"), &old));
    assert_ok(unlink(tree_path(successor.t, "x")));
    for (unsigned n = 0; n < FILES && !successor.done; n++) {
        snprintf(path, sizeof(path), "%s", tree_path(successor.t, tree_nth(n)));
        make_one(path);
        assert_ok(lstat(path, &st));
        successor.done = st.st_ino == old.st_ino && rename(path, tree_path(successor.t, "x")) == 0;
    }
}

/* Whatever acts on a file that was looked up as a regular one. */
static void never_acts(struct share *t, struct fs_inode *i)
{
    static const int flags[] = {O_RDWR, O_RDONLY | O_NONBLOCK, O_WRONLY | O_TRUNC | O_NONBLOCK};
    struct fs_lock lk = {.type = F_WRLCK, .end = INT64_MAX};
    struct fs_setattr set = {.valid = FS_SET_MODE, .mode = 0777};
    struct fs_opened o;
    struct fs_attr a;
    char buf[16];

    for (unsigned k = 0; k < sizeof(flags) / sizeof(flags[0]); k++)
        assert_int_equal(fs_open(t->fs, i, flags[k], 0, &o), -ESTALE);
    assert_int_equal(fs_map_open(t->fs, i, true), -ESTALE);
    assert_int_equal(fs_setlk(t->fs, i, &(struct fs_locker){.owner = 1}, &lk), -ESTALE);
    assert_int_equal(fs_getattr(t->fs, i, NULL, &a), -ESTALE);
    assert_int_equal(fs_setattr(t->fs, i, NULL, &set, &a), -ESTALE);
    assert_int_equal(fs_getxattr(t->fs, i, "user.x", buf, sizeof(buf)), -ESTALE);
    assert_int_equal(fs_syncfs(t->fs, i), 0); /* by the mount, not by the file */
}

static bool passed_on_once(mode_t mode)
{
    struct share t;
    struct share_config cfg = tree_config();
    struct fs_entry e;
    struct stat st;

    cfg.host.policy.handles = HOST_HANDLES_MANDATORY;
    tree_make(&t);
    tree_open(&t, &cfg);
    tree_write(&t, "teacher", "");
    tree_write(&t, "x", "regular");
    fs_inode_put(t.fs, tree_look(&t, t.root, "teacher"));
    successor.t = &t;
    successor.mode = mode;
    successor.done = false;
    between_looks = give_number_away;
    int rc = fs_lookup(t.fs, t.root, "x", &e);
    assert_null(between_looks);
    if (successor.done) {
        assert_ok(rc);
        assert_true(S_ISREG(e.attr.st.st_mode)); /* the first look */
        never_acts(&t, e.inode);
        assert_ok(lstat(tree_path(&t, "x"), &st));
        assert_int_equal(st.st_mode, mode | (S_ISLNK(mode) ? 0777 : S_ISDIR(mode) ? 0755 : 0600));
        struct fs_inode *again = tree_look(&t, t.root, "x"); /* the name is what it is */
        assert_int_equal(fs_inode_type(again), mode);
        assert_ptr_not_equal(again, e.inode);
        fs_inode_put(t.fs, again);
    }
    if (rc == 0)
        fs_inode_put(t.fs, e.inode);
    tree_stop(&t);
    return successor.done;
}

/* Other programs take numbers of this file system, too; each kind is tried until it is shown. */
static void test_number_passed_on(void **state)
{
    static const mode_t modes[] = {S_IFIFO, S_IFCHR, S_IFSOCK, S_IFLNK, S_IFDIR, S_IFREG};
    unsigned shown = 0;
    need_reuse();
    for (unsigned k = 0; k < sizeof(modes) / sizeof(modes[0]); k++) {
        bool done = false;
        for (unsigned i = 0; i < 60 && !done; i++)
            done = passed_on_once(modes[k]);
        shown += done;
    }
    print_message("%u kinds of successors\n", shown);
    assert_true(shown >= 3);
}

/* An inode that was proved to be what it seems is opened by one call, also when it was forgotten
 * and found again; the first opening looks first. */
static void test_proved_once(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    need_root();
    cfg.host.policy.handles = HOST_HANDLES_MANDATORY;
    tree_make(&t);
    tree_open(&t, &cfg);
    tree_fill(&t, 2);
    fs_inode_put(t.fs, tree_look(&t, t.root, tree_nth(0)));
    for (unsigned n = 0; n < 3; n++) {
        opened_by_handle = opened_paths = 0;
        uint64_t id = tree_guest_look(&t, t.root, tree_nth(1));
        check_content(&t, id, 1);
        assert_int_equal(opened_paths, n == 0);
        assert_int_equal(opened_by_handle, n == 0 ? 2 : 1);
        opened_by_handle = 0;
        check_content(&t, id, 1);
        assert_int_equal(opened_by_handle, 1);
        fs_forget(t.fs, id, 1);
    }
    tree_stop(&t);
}

/* A mount below the root: other device, own mount descriptor, flagged to the guest. */
static void test_submount(void **state)
{
    struct share t, sub;
    struct share_config cfg = small_config(HOST_HANDLES_PREFER);
    struct fs_entry e;
    uint64_t ids[FILES];

    tree_make_tmpfs(&sub);
    tree_make(&t);
    assert_ok(mkdir(tree_path(&t, "m"), 0755));
    assert_ok(mount(sub.dir, tree_path(&t, "m"), NULL, MS_BIND, NULL));
    tree_fill(&sub, FILES);
    tree_open(&t, &cfg);
    unsigned fds = count_fds();
    assert_ok(fs_lookup(t.fs, t.root, "m", &e));
    assert_true(e.attr.submount);
    struct fs_inode *m = e.inode;
    for (unsigned n = 0; n < FILES; n++) {
        ids[n] = tree_guest_look(&t, m, tree_nth(n));
        assert_int_not_equal(ids[n], FS_ROOT_ID);
    }
    assert_in_range(count_fds(), fds, fds + 13);
    for (unsigned n = 0; n < FILES; n++)
        check_content(&t, ids[n], n);
    assert_ok(fs_lookup(t.fs, m, "f1", &e));
    assert_false(e.attr.submount);
    fs_inode_put(t.fs, e.inode);
    assert_ok(fs_lookup(t.fs, m, "..", &e));
    assert_ptr_equal(e.inode, t.root);
    fs_inode_put(t.fs, e.inode);
    for (unsigned n = 0; n < FILES; n++)
        fs_forget(t.fs, ids[n], 1);
    fs_inode_put(t.fs, m);
    assert_int_equal(count_fds(), fds); /* nothing holds the mount any more */
    tree_close(&t);
    assert_ok(umount(tree_path(&t, "m")));
    tree_remove(&t);
    tree_remove(&sub);
}

static void test_mandatory_refused(void **state)
{
    struct share_config cfg = tree_config();
    GError *err = NULL;

    cfg.host.policy.handles = HOST_HANDLES_MANDATORY;
    cfg.host.root_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC); /* procfs has none */
    cfg.host.proc_self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_null(host_new(&cfg.host, &err));
    assert_non_null(strstr(err->message, "--inode-file-handles"));
    g_clear_error(&err);

    cfg.host.policy.handles = HOST_HANDLES_PREFER;
    cfg.host.root_fd = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cfg.host.proc_self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cfg.tree = host_new(&cfg.host, &err);
    assert_non_null(cfg.tree);
    struct fs *fs = fs_new(&cfg.core, &err);
    assert_non_null(fs);
    fs_free(fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_many_tmpfs),
        cmocka_unit_test(test_by_name),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_reuse_young),
        cmocka_unit_test(test_reuse_old),
        cmocka_unit_test(test_number_passed_on),
        cmocka_unit_test(test_proved_once),
        cmocka_unit_test(test_submount),
        cmocka_unit_test(test_mandatory_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
