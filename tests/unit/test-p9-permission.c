/* SPDX-License-Identifier: BSD-3-Clause
 * Clients that are all one user, as those by network are: a right is checked when it is used. A
 * table of every message: the client prepares it, the host takes the file or the directory away,
 * and the message must say and do what it would for that user's own process. Afterwards, what the
 * table cannot time: a host that changes owners while the client asks. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/posix_acl_xattr.h>

#include "tests/unit/p9-mem.h"
#include "virtiofsd/9p/p9-wire.h"
#include "virtiofsd/base/log.h"

enum { SET_MODE = 1, SET_UID = 2, SET_GID = 4, SET_SIZE = 8, SET_ATIME = 0x10, SET_MTIME = 0x20 };
enum { ATIME_GIVEN = 0x80, MTIME_GIVEN = 0x100 };
enum { READ, WRITE, RDWR };
enum { TRUNC = 01000, WRLCK = 1, REMOVE_XATTR = 2 };
/* fids: the root, the user's directory, and what a row is about. */
enum { ROOT, OPEN, IT, OTHER };

/* u::rwx g::rwx o::rwx */
static const struct {
    struct posix_acl_xattr_header head;
    struct posix_acl_xattr_entry e[3];
} acl = {
    .head = {GUINT32_TO_LE(POSIX_ACL_XATTR_VERSION)},
    .e = {{GUINT16_TO_LE(1), GUINT16_TO_LE(7), UINT32_MAX},
          {GUINT16_TO_LE(4), GUINT16_TO_LE(7), UINT32_MAX},
          {GUINT16_TO_LE(0x20), GUINT16_TO_LE(7), UINT32_MAX}},
};

static const char access_acl[] = "system.posix_acl_access";
static const char default_acl[] = "system.posix_acl_default";

/* ---- the host ---- */

static void own(struct p9_mem *m, const char *name, uid_t uid, mode_t mode)
{
    const char *path = tree_path(&m->tree, name);
    assert_ok(chown(path, uid, uid));
    assert_ok(chmod(path, mode));
}

static void put(struct p9_mem *m, const char *name)
{
    tree_write(&m->tree, name, "text");
    own(m, name, USER_ID, 0644);
}

static void put_dir(struct p9_mem *m, const char *name)
{
    mkdir(tree_path(&m->tree, name), 0755);
    own(m, name, USER_ID, 0755);
}

static void take_file(struct p9_mem *m)
{
    own(m, "open/f", 0, 0600);
}

static void take_dir(struct p9_mem *m)
{
    own(m, "open/d", 0, 0700);
}

/* What is below @name, by host's eyes: to be compared. */
static void describe(GString *out, const char *dir, const char *name)
{
    struct stat st;
    char list[1024];
    g_autofree char *path = g_build_filename(dir, name, NULL);
    assert_ok(lstat(path, &st));
    g_string_append_printf(out, "%s %o %u:%u %u %ld %ld", name, st.st_mode, st.st_uid, st.st_gid,
                           (unsigned)st.st_nlink, S_ISREG(st.st_mode) ? (long)st.st_size : 0,
                           (long)st.st_mtim.tv_nsec);
    ssize_t n = llistxattr(path, list, sizeof(list));
    for (ssize_t i = 0; i < n; i += (ssize_t)strlen(list + i) + 1)
        g_string_append_printf(out, " %s", list + i);
    g_string_append_c(out, '\n');
    DIR *d = S_ISDIR(st.st_mode) ? opendir(path) : NULL;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            describe(out, path, e->d_name);
    if (d)
        closedir(d);
}

static char *description(struct p9_mem *m)
{
    GString *s = g_string_new(NULL);
    describe(s, m->tree.dir, "open");
    return g_string_free(s, FALSE);
}

/* ---- what the client does before and after ---- */

typedef int step_fn(struct p9c *c);

#define STEP(name, does)           \
    static int name(struct p9c *c) \
    {                              \
        return (int)(does);        \
    }

STEP(file, p9c_walk(c, OPEN, IT, "f"))
STEP(dir, p9c_walk(c, OPEN, IT, "d"))
STEP(below, p9c_walk(c, OPEN, IT, "d/x"))

static int opened(struct p9c *c, step_fn *walk, uint32_t flags)
{
    int rc = walk(c);
    return rc < 0 ? rc : p9c_lopen(c, IT, flags);
}

STEP(open_read, opened(c, file, READ))
STEP(open_rdwr, opened(c, file, RDWR))
STEP(open_dir, opened(c, dir, READ))

/* A fid with the value of an attribute that only its end sets. */
static int value(struct p9c *c, step_fn *walk, const char *name, const void *p, uint32_t n)
{
    int rc = walk(c);
    if (rc == 0)
        rc = p9c_xattrcreate(c, IT, name, n, 0);
    return rc < 0 ? rc : (int)p9c_write(c, IT, 0, p, n) == (int)n ? 0 : -EIO;
}

STEP(value_user, value(c, file, "user.b", "b", 1))
STEP(value_acl, value(c, file, access_acl, &acl, sizeof(acl)))
STEP(value_default_acl, value(c, dir, default_acl, &acl, sizeof(acl)))

static int value_begun(struct p9c *c)
{
    int rc = file(c);
    return rc < 0 ? rc : p9c_xattrcreate(c, IT, "user.b", 1, 0);
}

static int value_removal(struct p9c *c)
{
    int rc = file(c);
    return rc < 0 ? rc : p9c_xattrcreate(c, IT, "user.a", 0, REMOVE_XATTR);
}

static int value_read(struct p9c *c)
{
    int rc = file(c);
    return rc < 0 ? rc : p9c_xattrwalk(c, IT, OTHER, "user.a") == 1 ? 0 : -EIO;
}

static int locked(struct p9c *c, uint8_t type)
{
    struct p9c_lock lk = {.type = type, .proc_id = 1, .client = "me"};
    uint8_t status;
    int rc = p9c_lock(c, IT, &lk, &status);
    return rc < 0 ? rc : status == 0 ? 0 : -EAGAIN;
}

STEP(lock_write, locked(c, WRLCK))
STEP(lock_read, locked(c, 0))

static int getlock(struct p9c *c)
{
    struct p9c_lock lk = {.type = WRLCK, .proc_id = 1, .client = "me"};
    return p9c_getlock(c, IT, &lk);
}

STEP(lopen_read, p9c_lopen(c, IT, READ))
STEP(lopen_rdwr, p9c_lopen(c, IT, RDWR))
STEP(lopen_trunc, p9c_lopen(c, IT, WRITE | TRUNC))

static int set(struct p9c *c, uint32_t valid)
{
    struct p9c_set s = {.valid = valid, .mode = 0666, .uid = USER_ID, .gid = USER_ID, .size = 1};
    return p9c_setattr(c, IT, &s);
}

STEP(set_mode, set(c, SET_MODE))
STEP(set_uid, set(c, SET_UID))
STEP(set_gid, set(c, SET_GID))
STEP(set_size, set(c, SET_SIZE))
STEP(set_times, set(c, SET_ATIME | SET_MTIME | ATIME_GIVEN | MTIME_GIVEN))
STEP(set_now, set(c, SET_ATIME | SET_MTIME))
STEP(set_mtime_now, set(c, SET_MTIME))

static int getattr(struct p9c *c)
{
    struct p9c_attr a;
    return p9c_getattr(c, IT, 0x7ff, &a);
}

static int statfs(struct p9c *c)
{
    p9c_begin(c, P9_TSTATFS);
    p9c_put32(c, IT);
    return p9c_send(c);
}

static int readlink_it(struct p9c *c)
{
    char buf[16];
    return p9c_readlink(c, IT, buf, sizeof(buf));
}

STEP(link_it, p9c_walk(c, OPEN, IT, "l"))
STEP(xattrwalk, p9c_xattrwalk(c, IT, OTHER, "user.a"))
STEP(xattrlist, p9c_xattrwalk(c, IT, OTHER, ""))
STEP(xattrcreate_user, p9c_xattrcreate(c, IT, "user.b", 1, 0))
STEP(xattrcreate_acl, p9c_xattrcreate(c, IT, access_acl, sizeof(acl), 0))

static int read_other(struct p9c *c)
{
    char buf[4];
    return (int)p9c_read(c, OTHER, 0, buf, sizeof(buf));
}

static int read_it(struct p9c *c)
{
    char buf[4];
    return (int)p9c_read(c, IT, 0, buf, sizeof(buf));
}

STEP(write_it, p9c_write(c, IT, 0, "x", 1))

static int readdir_it(struct p9c *c)
{
    char buf[512];
    return (int)p9c_readdir(c, IT, 0, buf, sizeof(buf)) > 0 ? 0 : -EIO;
}

STEP(fsync_it, p9c_fsync(c, IT, false))
STEP(clunk, p9c_clunk(c, IT))
STEP(remove_it, p9c_remove(c, IT))
STEP(version, p9c_version(c, 65536, "9P2000.L"))
STEP(flush, p9c_flush(c, 9))

static int auth(struct p9c *c)
{
    p9c_begin(c, P9_TAUTH);
    p9c_put32(c, OTHER);
    p9c_put_str(c, "me");
    p9c_put_str(c, "open/d");
    p9c_put32(c, USER_ID);
    return p9c_send(c);
}

STEP(attach_below, p9c_attach(c, OTHER, "open/d/s", USER_ID))
STEP(walk_below, p9c_walk(c, IT, OTHER, "x"))
STEP(walk_up, p9c_walk(c, IT, OTHER, ".."))
STEP(walk_two, p9c_walk(c, OPEN, OTHER, "d/x"))
STEP(lcreate, p9c_lcreate(c, IT, "new", RDWR, 0600, 0))
STEP(lcreate_old, p9c_lcreate(c, IT, "x", READ, 0600, 0))
STEP(mkdir_it, p9c_mkdir(c, IT, "new", 0755, 0))
STEP(symlink_it, p9c_symlink(c, IT, "new", "t", 0))
STEP(mknod_it, p9c_mknod(c, IT, "new", S_IFIFO | 0600, 0, 0, 0))

static int link_into(struct p9c *c)
{
    int rc = p9c_walk(c, OPEN, OTHER, "f");
    return rc < 0 ? rc : p9c_link(c, IT, OTHER, "new");
}

STEP(link_out, p9c_link(c, OPEN, IT, "new"))
STEP(renameat_into, p9c_renameat(c, OPEN, "f", IT, "new"))
STEP(renameat_out, p9c_renameat(c, IT, "x", OPEN, "new"))
STEP(rename_out, p9c_rename(c, IT, OPEN, "new"))
STEP(unlinkat_it, p9c_unlinkat(c, IT, "x", 0))
STEP(rmdir_it, p9c_unlinkat(c, IT, "s", 0x200))

/* ---- the table ---- */

static const struct row {
    uint8_t type;
    const char *name;
    step_fn *before;
    void (*host)(struct p9_mem *m);
    step_fn *act;
    int want;
} rows[] = {
    /* Checked as the act happens: the system calls are the user's. */
    {P9_TLOPEN, "open to read", file, take_file, lopen_read, -EACCES},
    {P9_TLOPEN, "open to write", file, take_file, lopen_rdwr, -EACCES},
    {P9_TLOPEN, "open and cut", file, take_file, lopen_trunc, -EACCES},
    {P9_TLOPEN, "open a directory", dir, take_dir, lopen_read, -EACCES},
    {P9_TLOPEN, "open one's own below", below, take_dir, lopen_rdwr, 0},
    {P9_TLCREATE, "create", dir, take_dir, lcreate, -EACCES},
    {P9_TLCREATE, "create what is there", dir, take_dir, lcreate_old, -EACCES},
    {P9_TMKDIR, "mkdir", dir, take_dir, mkdir_it, -EACCES},
    {P9_TSYMLINK, "symlink", dir, take_dir, symlink_it, -EACCES},
    {P9_TMKNOD, "mknod", dir, take_dir, mknod_it, -EACCES},
    {P9_TLINK, "link into", dir, take_dir, link_into, -EACCES},
    {P9_TLINK, "link another's", file, take_file, link_out, -EPERM},
    {P9_TRENAMEAT, "move into", dir, take_dir, renameat_into, -EACCES},
    {P9_TRENAMEAT, "move out of", dir, take_dir, renameat_out, -EACCES},
    {P9_TRENAME, "move a file out of", below, take_dir, rename_out, -EACCES},
    {P9_TRENAME, "another's in one's own", file, take_file, rename_out, 0},
    {P9_TUNLINKAT, "unlink", dir, take_dir, unlinkat_it, -EACCES},
    {P9_TUNLINKAT, "rmdir", dir, take_dir, rmdir_it, -EACCES},
    {P9_TREMOVE, "remove", below, take_dir, remove_it, -EACCES},
    {P9_TREMOVE, "another's in one's own", file, take_file, remove_it, 0},
    {P9_TREMOVE, "remove, and set an attribute", value_user, take_file, remove_it, -EACCES},
    {P9_TATTACH, "attach below", dir, take_dir, attach_below, -EACCES},
    {P9_TWALK, "walk", dir, take_dir, walk_below, -EACCES},
    {P9_TWALK, "walk through", dir, take_dir, walk_two, -ENOENT},
    {P9_TWALK, "walk up", dir, take_dir, walk_up, -EACCES},
    {P9_TSETATTR, "mode", file, take_file, set_mode, -EPERM},
    {P9_TSETATTR, "owner", file, take_file, set_uid, -EPERM},
    {P9_TSETATTR, "group", file, take_file, set_gid, -EPERM},
    {P9_TSETATTR, "size", file, take_file, set_size, -EACCES},
    {P9_TSETATTR, "times", file, take_file, set_times, -EPERM},
    {P9_TSETATTR, "now", file, take_file, set_now, -EACCES},
    {P9_TSETATTR, "one of them", file, take_file, set_mtime_now, -EACCES},
    {P9_TSETATTR, "mode of an open one", open_rdwr, take_file, set_mode, -EPERM},
    {P9_TSETATTR, "size by one to read", open_read, take_file, set_size, -EACCES},
    {P9_TSETATTR, "now by an open one", open_rdwr, take_file, set_now, -EACCES},
    {P9_TXATTRWALK, "read an attribute", file, take_file, xattrwalk, -EACCES},
    {P9_TXATTRWALK, "list them", file, take_file, xattrlist, -EACCES},
    {P9_TXATTRCREATE, "begin an attribute", file, take_file, xattrcreate_user, -EACCES},
    {P9_TXATTRCREATE, "begin an ACL", file, take_file, xattrcreate_acl, -EPERM},
    {P9_TCLUNK, "set an attribute", value_user, take_file, clunk, -EACCES},
    {P9_TCLUNK, "set an ACL", value_acl, take_file, clunk, -EPERM},
    {P9_TCLUNK, "set a default ACL", value_default_acl, take_dir, clunk, -EPERM},
    {P9_TCLUNK, "remove an attribute", value_removal, take_file, clunk, -EACCES},
    {P9_TVERSION, "what is not set", value_user, take_file, version, 0},
    /* By what was opened when it was allowed, as a process would. */
    {P9_TREAD, "read", open_read, take_file, read_it, 4},
    {P9_TREAD, "a value", value_read, take_file, read_other, 1},
    {P9_TWRITE, "write", open_rdwr, take_file, write_it, 1},
    {P9_TWRITE, "write by one to read", open_read, take_file, write_it, -EBADF},
    {P9_TWRITE, "into a value", value_begun, take_file, write_it, 1},
    {P9_TREADDIR, "list", open_dir, take_dir, readdir_it, 0},
    {P9_TFSYNC, "fsync", open_rdwr, take_file, fsync_it, 0},
    {P9_TLOCK, "lock by one to write", open_rdwr, take_file, lock_write, 0},
    {P9_TLOCK, "lock by one to read", open_read, take_file, lock_write, -EBADF},
    {P9_TLOCK, "lock to read", open_read, take_file, lock_read, 0},
    {P9_TGETLOCK, "who has it", open_read, take_file, getlock, 0},
    {P9_TSETATTR, "size by one to write", open_rdwr, take_file, set_size, 0},
    /* Nothing to check. */
    {P9_TGETATTR, "attributes", file, take_file, getattr, 0},
    {P9_TSTATFS, "the file system", file, take_file, statfs, 0},
    {P9_TREADLINK, "a link", link_it, take_file, readlink_it, 0},
    {P9_TFLUSH, "flush", file, take_file, flush, 0},
    {P9_TAUTH, "auth", file, take_file, auth, -ENOENT},
};

static enum host_handles handles = HOST_HANDLES_NEVER; /* of the next start() */

static void start(struct p9_mem *m)
{
    struct p9_config cfg = p9_mem_config();
    struct share_config core = tree_config();
    need_root();
    cfg.squash_uid = cfg.squash_gid = USER_ID;
    core.host.policy.handles = handles;
    tree_make(&m->tree);
    tree_open(&m->tree, &core);
    fs_acl_enable(m->tree.fs, true);
    p9_mem_open(m, &cfg);
    assert_ok(chmod(m->tree.dir, 0755));
    put_dir(m, "open");
    put_dir(m, "open/d");
    put_dir(m, "open/d/s");
    put(m, "open/f");
    put(m, "open/d/x");
    assert_ok(symlink("x", tree_path(&m->tree, "open/l")));
    assert_ok(p9c_mount(&m->c, 65536, ROOT, 0));
    assert_ok(p9c_walk(&m->c, ROOT, OPEN, "open"));
}

/* Whether the file system has what the rows want. */
static bool has_attributes(struct p9_mem *m)
{
    bool has = setxattr(tree_path(&m->tree, "open/f"), "user.a", "a", 1, 0) == 0;
    const char *d = tree_path(&m->tree, "open/d");
    return has && setxattr(d, default_acl, &acl, sizeof(acl), 0) == 0 &&
           removexattr(d, default_acl) == 0;
}

static void run(const struct row *r)
{
    struct p9_mem m;
    start(&m);
    if (!has_attributes(&m)) {
        p9_mem_stop(&m);
        skip();
    }
    assert_ok(r->before(&m.c));
    r->host(&m);
    g_autofree char *then = description(&m);
    int rc = r->act(&m.c);
    g_autofree char *now = description(&m);
    if (rc != r->want)
        fail_msg("%s: %d instead of %d", r->name, rc, r->want);
    if (rc < 0 && r->type != P9_TREMOVE && strcmp(then, now) != 0)
        fail_msg("%s was refused, but:\n%s%s", r->name, then, now);
    if (r->type == P9_TVERSION)
        assert_string_equal(then, now);
    p9_mem_stop(&m);
}

static void run_all(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
        run(&rows[i]);
}

static void test_table(void **state)
{
    (void)state;
    run_all();
}

/* With inodes that are held by their handles: these are opened with rights of our own. */
static void test_table_by_handles(void **state)
{
    (void)state;
    handles = HOST_HANDLES_PREFER;
    run_all();
    handles = HOST_HANDLES_NEVER;
}

/* Where we cannot be another user, mode and ACL are looked at in the moment before. */
static void test_table_by_look(void **state)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct all[2], less[2];
    (void)state;
    need_root();
    assert_ok(syscall(SYS_capget, &head, all));
    memcpy(less, all, sizeof(less));
    less[0].effective &= ~(1u << CAP_SETUID | 1u << CAP_SETGID);
    assert_ok(syscall(SYS_capset, &head, less));
    fs_thread_start();
    run_all();
    assert_ok(syscall(SYS_capset, &head, all));
    fs_thread_start();
}

/* A message that the table does not know would be one that nobody thought of. */
static void test_every_message(void **state)
{
    struct p9_mem m;
    (void)state;
    start(&m);
    for (unsigned type = 0; type < 256; type += 2) {
        bool listed = false;
        for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
            listed |= rows[i].type == type;
        p9c_begin(&m.c, (uint8_t)type);
        int rc = p9c_send(&m.c); /* empty: -EINVAL where the server knows it */
        if (listed != (rc != -EOPNOTSUPP))
            fail_msg("message %u: %d, and listed: %d", type, rc, listed);
    }
    p9_mem_stop(&m);
}

/* The issue's own words: the ACL must not be there, and the file not be opened. */
static void test_acl_of_another(void **state)
{
    struct p9_mem m;
    (void)state;
    start(&m);
    if (!has_attributes(&m)) {
        p9_mem_stop(&m);
        skip();
    }
    assert_ok(value_acl(&m.c));
    take_file(&m);
    assert_int_equal(p9c_clunk(&m.c, IT), -EPERM);
    assert_ok(file(&m.c));
    assert_int_equal(p9c_lopen(&m.c, IT, RDWR), -EACCES);
    p9_mem_stop(&m);
}

/* ---- a host that changes owners all the time ---- */

struct turner {
    struct p9_mem *m;
    atomic_bool stop;
    unsigned wrong; /* what was root's did not stay as it was made */
};

static void *turn(void *arg)
{
    struct turner *t = arg;
    struct stat st;
    int fd = open(tree_path(&t->m->tree, "open/f"), O_RDONLY | O_CLOEXEC);

    while (!atomic_load(&t->stop)) {
        t->wrong += fchown(fd, 0, 0) != 0 || fchmod(fd, 0600) != 0;
        for (int i = 0; i < 20; i++)
            t->wrong += fstat(fd, &st) != 0 || (st.st_mode & 0777) != 0600;
        t->wrong += fchown(fd, USER_ID, USER_ID) != 0;
    }
    close(fd);
    return NULL;
}

#define LONG (20 * G_USEC_PER_SEC)

static void test_owner_changes(void **state)
{
    struct p9_mem m;
    pthread_t th;
    unsigned done = 0, refused = 0;
    (void)state;
    start(&m);
    struct turner t = {.m = &m};
    assert_ok(file(&m.c));
    assert_ok(pthread_create(&th, NULL, turn, &t));
    gint64 now, begin = g_get_monotonic_time();
    while ((now = g_get_monotonic_time()) < begin + LONG &&
           (done == 0 || refused == 0 || now < begin + G_USEC_PER_SEC)) {
        int rc = set_mode(&m.c);
        assert_true(rc == 0 || rc == -EPERM);
        *(rc == 0 ? &done : &refused) += 1;
    }
    atomic_store(&t.stop, true);
    pthread_join(th, NULL);
    assert_true(done > 0 && refused > 0);
    assert_int_equal(t.wrong, 0);
    p9_mem_stop(&m);
}

int main(void)
{
    log_init(LOG_LVL_ERROR, false); /* test_table_by_look() is told of each new server */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),          cmocka_unit_test(test_table_by_handles),
        cmocka_unit_test(test_table_by_look),  cmocka_unit_test(test_every_message),
        cmocka_unit_test(test_acl_of_another), cmocka_unit_test(test_owner_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
