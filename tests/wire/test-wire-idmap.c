/* SPDX-License-Identifier: BSD-3-Clause
 * A guest that may map mounts' ids (FUSE_ALLOW_IDMAP, Linux 6.12): what creates nothing carries
 * user and group -1 from then on, whatever the mount. Every operation is asked that way. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/wire/wire-steps.h"

/* Linux with every id unknown. */
static struct driver unknown(void)
{
    return (struct driver){
        .name = "ids unknown",
        .features = VU_F_VERSION_1 | VU_F_INDIRECT | VU_F_EVENT_IDX,
        .queue_size = 64,
        .hiprio = true,
        .minor = 41,
        .init_len = 64,
        .flags = (uint32_t)fe_init_linux | FUSE_INIT_EXT,
        .flags2 = (uint32_t)(fe_init_linux >> 32),
        .id = UINT32_MAX,
    };
}

/* For those of SYNCFS, STATX, LINK and others that wire-steps.h has no word for. */
#define ASK(o, n, type, h, ...)                                                                 \
    {                                                                                           \
        .what = #o, .op = (o), .node = (n), .in = IN(NULL, sizeof(struct type), h), __VA_ARGS__ \
    }

#define ACL_SIZE 44
/* SETXATTR's structure, name and value in one:
 * user::rw-,user:4711:rw-,group::r--,mask::rw-,other::--- */
static const struct {
    struct fuse_setxattr_in in;
    char name[sizeof("system.posix_acl_access")];
    uint8_t value[ACL_SIZE];
} __attribute__((packed)) set_acl = {
    .in = {.size = ACL_SIZE, .setxattr_flags = FUSE_SETXATTR_ACL_KILL_SGID},
    .name = "system.posix_acl_access",
    .value = {2, 0,    0,    0,    1,    0,    6,    0, 0xff, 0xff, 0xff, 0xff, 2,    0,    6,
              0, 0x67, 0x12, 0,    0,    4,    0,    4, 0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,
              6, 0,    0xff, 0xff, 0xff, 0xff, 0x20, 0, 0,    0,    0xff, 0xff, 0xff, 0xff},
};

static const struct step unknown_steps[] = {
    LOOKUP(REG_ROOT, "mine", FOUND(REG_A, is_file)),
    GETATTR(REG_A, 0, REG_NONE, .err = 0),
    SETATTR(REG_A, REG_NONE, NULL, .valid = FATTR_MODE, .mode = 0600),
    SETATTR(REG_A, REG_NONE, NULL, .valid = FATTR_UID | FATTR_GID, .uid = 1000, .gid = 1000),
    /* The guest's kernel has checked: it sends none on such a mount, and must not be refused. */
    {.what = "ACCESS",
     .op = FUSE_ACCESS,
     .node = REG_A,
     .in = IN(AS(fuse_access_in, .mask = R_OK | W_OK), REG_NONE)},
    OPEN_AS(FUSE_OPEN, REG_A, O_RDWR, REG_FH),
    WRITE_5(REG_A, REG_FH),
    READ_AS(FUSE_READ, REG_A, REG_FH, 4096, NULL),
    FLUSH(REG_A, REG_FH),
    FSYNC(REG_A, REG_FH),
    LSEEK(REG_A, REG_FH, 0, SEEK_END, NULL),
    SETATTR(REG_A, REG_NONE, NULL, .valid = FATTR_MODE, .mode = 06755),
    {.what = "FALLOCATE",
     .op = FUSE_FALLOCATE,
     .node = REG_A,
     .in = IN(AS(fuse_fallocate_in, .length = 100), REG_FH)},
    {.what = "GETLK",
     .op = FUSE_GETLK,
     .node = REG_A,
     .room = sizeof(struct fuse_lk_out),
     .in = IN(AS(fuse_lk_in, .owner = 7, .lk = {.end = 9, .type = F_RDLCK}), REG_FH)},
    {.what = "SETLK",
     .op = FUSE_SETLK,
     .node = REG_A,
     .in = IN(AS(fuse_lk_in, .owner = 7, .lk = {.end = 9, .type = F_WRLCK}), REG_FH)},
    {.what = "SETLKW",
     .op = FUSE_SETLKW,
     .node = REG_A,
     .in = IN(AS(fuse_lk_in, .owner = 7, .lk = {.end = 19, .type = F_WRLCK}), REG_FH)},
    {.what = "SETXATTR of an ACL",
     .op = FUSE_SETXATTR,
     .node = REG_A,
     .in = {&set_acl, sizeof(set_acl), REG_NONE}},
    {.what = "GETXATTR",
     .op = FUSE_GETXATTR,
     .node = REG_A,
     .name = "system.posix_acl_access",
     .in = IN(AS(fuse_getxattr_in, .size = 4096), REG_NONE),
     .room = 4096,
     .size = ACL_SIZE},
    {.what = "LISTXATTR",
     .op = FUSE_LISTXATTR,
     .node = REG_A,
     .in = IN(AS(fuse_getxattr_in, .size = 4096), REG_NONE),
     .room = 4096},
    REMOVE_AS(FUSE_REMOVEXATTR, REG_A, "system.posix_acl_access", .err = 0),
    {.what = "COPY_FILE_RANGE",
     .op = FUSE_COPY_FILE_RANGE,
     .node = REG_A,
     .room = 8,
     .size = 8,
     .in = IN(NULL, sizeof(struct fuse_copy_file_range_in), REG_FH),
     .err = -EBADF},
    ASK(52 /* STATX */, REG_A, fuse_getattr_in, REG_NONE, .surplus = 8, .room = 288, .size = 288),
    RELEASE_AS(FUSE_RELEASE, REG_A, REG_FH, .err = 0),
    LOOKUP(REG_ROOT, "link", FOUND(REG_C, is_link)),
    {.what = "READLINK", .op = FUSE_READLINK, .node = REG_C, .room = 4096, .look = says_file},
    OPEN_AS(FUSE_OPENDIR, REG_ROOT, 0, REG_DH),
    READ_AS(FUSE_READDIR, REG_ROOT, REG_DH, 4096, one_entry),
    READ_AS(FUSE_READDIRPLUS, REG_ROOT, REG_DH, 16384, NULL),
    {.what = "FSYNCDIR",
     .op = FUSE_FSYNCDIR,
     .node = REG_ROOT,
     .in = IN(AS(fuse_fsync_in, .padding = 0), REG_DH)},
    RELEASE_AS(FUSE_RELEASEDIR, REG_ROOT, REG_DH, .err = 0),
    ASK_STATFS,
    ASK(FUSE_SYNCFS, REG_ROOT, fuse_syncfs_in, REG_NONE, .err = 0),
    ASK(FUSE_LINK, REG_ROOT, fuse_link_in, REG_A, .name = "linked", .room = ENTRY, .size = ENTRY),
    RENAME(REG_ROOT, "linked", "moved"),
    RENAME2(REG_ROOT, "moved", "linked", RENAME_NOREPLACE, .err = 0),
    REMOVE_AS(FUSE_UNLINK, REG_ROOT, "linked", .err = 0),
    REMOVE_AS(FUSE_RMDIR, REG_ROOT, "empty", .err = 0),
    FORGET(REG_A, ),
};

#define MAKE(o, type, ...)                                                                  \
    {                                                                                       \
        .what = #o, .op = (o), .node = REG_ROOT, .in = IN(AS(type, __VA_ARGS__), REG_NONE), \
        .name = "made", .room = CREATED, .err = -EINVAL                                     \
    }

static const struct step makers[] = {
    MAKE(FUSE_MKNOD, fuse_mknod_in, .mode = S_IFREG | 0644),
    MAKE(FUSE_MKDIR, fuse_mkdir_in, .mode = 0755),
    MAKE(FUSE_CREATE, fuse_create_in, .flags = O_RDWR, .mode = 0644),
    MAKE(FUSE_TMPFILE, fuse_create_in, .flags = O_RDWR, .mode = 0644),
    {.what = "SYMLINK",
     .op = FUSE_SYMLINK,
     .node = REG_ROOT,
     .name = "made",
     .name2 = "to",
     .room = ENTRY,
     .err = -EINVAL},
};

static void set_owner(struct wire *w, const char *name)
{
    if (geteuid() == 0)
        assert_int_equal(chown(wire_path(w, name), 1000, 1000), 0);
}

static void all_but_makers(void **state)
{
    static const char *const options[] = {"--posix-acl", "--posix-lock", NULL};
    struct wire *w = *state;
    struct stat st;

    if (geteuid() != 0)
        skip();
    wire_put(w, "mine", "mine");
    set_owner(w, "mine");
    assert_int_equal(mkdir(wire_path(w, "empty"), 0755), 0);
    struct driver d = unknown();
    driver_run(w, &d, options, unknown_steps, COUNT(unknown_steps));
    /* Nobody knows whether it was root that allocated: set-id bits go, as they do for others. */
    assert_int_equal(stat(wire_path(w, "mine"), &st), 0);
    assert_int_equal(st.st_mode & 06000, 0);
    assert_int_equal(st.st_uid, 1000);
}

static void nobody_makes_nothing(void **state)
{
    struct wire *w = *state;

    struct driver d = unknown();
    driver_run(w, &d, NULL, makers, COUNT(makers));
    assert_int_equal(access(wire_path(w, "made"), F_OK), -1);
}

/* Half of an id is none. */
static void half_an_id(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    static const struct {
        uint32_t uid, gid;
    } ids[] = {{UINT32_MAX, 0}, {0, UINT32_MAX}};

    wire_mount(state);
    assert_true(fe_init_granted(&w->f) & 1ULL << 40);
    for (unsigned i = 0; i < COUNT(ids); i++) {
        w->f.uid = ids[i].uid;
        w->f.gid = ids[i].gid;
        assert_int_equal(fe_mkdir(&w->f, FUSE_ROOT_ID, "half", 0755, &e), -EINVAL);
        assert_int_equal(access(wire_path(w, "half"), F_OK), -1);
    }
    w->f.uid = w->f.gid = 0;
    assert_int_equal(fe_mkdir(&w->f, FUSE_ROOT_ID, "whole", 0755, &e), 0);
}

/* A guest that was not granted it checks nothing for us: -1 is somebody without rights. */
static void not_granted(void **state)
{
    struct wire *w = *state;
    struct fuse_access_in in = {.mask = R_OK};

    wire_put(w, "secret", "x");
    assert_int_equal(chmod(wire_path(w, "secret"), 0600), 0);
    wire_spawn(w, NULL);
    wire_rings(w);
    for (unsigned granted = 0; granted < 2; granted++) {
        uint64_t flags = granted ? fe_init_linux : fe_init_linux & ~(1ULL << 40);
        assert_int_equal(fe_init(&w->f, flags), 0);
        w->f.uid = w->f.gid = UINT32_MAX;
        uint64_t node = wire_node(w, "secret");
        int err = fe_call(&w->f, FUSE_ACCESS, node, &in, sizeof(in), NULL, 0, NULL);
        assert_int_equal(err, granted ? 0 : -EACCES);
        w->f.uid = w->f.gid = 0;
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, NULL, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(all_but_makers), TEST(nobody_makes_nothing),
                                       TEST(half_an_id), TEST(not_granted)};
    return cmocka_run_group_tests_name("wire-idmap", tests, wire_make, wire_teardown);
}
