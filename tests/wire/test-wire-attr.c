/* SPDX-License-Identifier: BSD-3-Clause
 * Attributes, extended attributes, access, file system figures: as the host has them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT     FUSE_ROOT_ID
#define OP_STATX 52

static struct stat host(struct wire *w, const char *name)
{
    struct stat st;
    assert_int_equal(lstat(wire_path(w, name), &st), 0);
    return st;
}

static void same(const struct fuse_attr *a, const struct stat *st)
{
    assert_int_equal(a->ino, st->st_ino);
    assert_int_equal(a->size, st->st_size);
    assert_int_equal(a->blocks, st->st_blocks);
    assert_int_equal(a->mode, st->st_mode);
    assert_int_equal(a->nlink, st->st_nlink);
    assert_int_equal(a->uid, st->st_uid);
    assert_int_equal(a->gid, st->st_gid);
    assert_int_equal(a->mtime, st->st_mtim.tv_sec);
    assert_int_equal(a->mtimensec, st->st_mtim.tv_nsec);
    assert_int_equal(a->ctime, st->st_ctim.tv_sec);
    assert_int_equal(a->ctimensec, st->st_ctim.tv_nsec);
}

static void as_the_host_sees_it(void **state)
{
    struct wire *w = *state;
    static const char *const names[] = {"", "file", "dir", "link", "fifo", "big", "dir/file"};
    for (unsigned i = 0; i < 7; i++) {
        struct stat st = host(w, names[i]);
        struct fuse_attr a;
        uint64_t node = wire_node(w, names[i]);
        assert_int_equal(fe_getattr(&w->f, node, &a), 0);
        same(&a, &st);
        struct fuse_getattr_in in = {.getattr_flags = FUSE_GETATTR_FH, .fh = 99999};
        int e = fe_call(&w->f, FUSE_GETATTR, node, &in, sizeof(in), NULL, 104, NULL);
        assert_true(e == 0 || e == -EBADF);
    }
}

/* statx: fuse_statx_in {flags, reserved, fh, sx_flags, mask}; the reply's structure is at 32. */
static void statx_reply(void **state)
{
    struct wire *w = *state;
    struct {
        uint32_t flags, pad;
        uint64_t fh;
        uint32_t sx_flags, mask;
    } in = {.mask = 0xfff};
    uint8_t out[288];
    size_t len = 0;
    struct stat st = host(w, "big");
    uint64_t ino, size;
    assert_int_equal(
        fe_call(&w->f, OP_STATX, wire_node(w, "big"), &in, sizeof(in), out, sizeof(out), &len), 0);
    assert_int_equal(len, 288);
    memcpy(&ino, out + 32 + 32, 8);
    memcpy(&size, out + 32 + 40, 8);
    assert_int_equal(ino, st.st_ino);
    assert_int_equal(size, st.st_size);
    in.sx_flags = 0xffffffff;
    in.mask = 0xffffffff;
    int e = fe_call(&w->f, OP_STATX, wire_node(w, "big"), &in, sizeof(in), out, sizeof(out), &len);
    assert_true(e <= 0 && e > -1000);
}

static void changing(void **state)
{
    struct wire *w = *state;
    struct fuse_attr a;
    wire_put(w, "s", "0123456789");
    uint64_t node = wire_node(w, "s"), fh;
    struct fuse_setattr_in in = {.valid = FATTR_MODE, .mode = 04751};
    assert_int_equal(fe_setattr(&w->f, node, &in, &a), 0);
    assert_int_equal(a.mode, S_IFREG | 04751);
    in = (struct fuse_setattr_in){.valid = FATTR_UID | FATTR_GID, .uid = 1234, .gid = 5678};
    assert_int_equal(fe_setattr(&w->f, node, &in, &a), 0);
    struct stat st = host(w, "s");
    assert_true(st.st_uid == 1234 && st.st_gid == 5678);
    assert_int_equal(st.st_mode & 06000, 0); /* chown takes the set-user-id bit away */
    in = (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 4};
    assert_int_equal(fe_setattr(&w->f, node, &in, &a), 0);
    assert_int_equal(a.size, 4);
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    in = (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .size = 8, .fh = fh};
    assert_int_equal(fe_setattr(&w->f, node, &in, &a), 0);
    assert_int_equal(host(w, "s").st_size, 8);
    in.fh = 777;
    int e = fe_setattr(&w->f, node, &in, &a);
    assert_true(e == 0 || e == -EBADF);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    in = (struct fuse_setattr_in){.valid = FATTR_ATIME | FATTR_MTIME,
                                  .atime = 1000000000,
                                  .atimensec = 123456789,
                                  .mtime = 2000000000,
                                  .mtimensec = 5};
    assert_int_equal(fe_setattr(&w->f, node, &in, &a), 0);
    st = host(w, "s");
    assert_true(st.st_atim.tv_sec == 1000000000 && st.st_atim.tv_nsec == 123456789);
    assert_true(st.st_mtim.tv_sec == 2000000000 && st.st_mtim.tv_nsec == 5);
    in = (struct fuse_setattr_in){.valid = FATTR_MTIME | FATTR_MTIME_NOW};
    assert_int_equal(fe_setattr(&w->f, node, &in, &a), 0);
    st = host(w, "s");
    assert_true(st.st_atim.tv_sec == 1000000000 && st.st_mtim.tv_sec < 2000000000);
}

static void refused_changes(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "file");
    struct stat before = host(w, "file"), after;
    static const struct fuse_setattr_in bad[] = {
        {.valid = FATTR_SIZE, .size = ~0ULL},
        {.valid = FATTR_SIZE, .size = 1ULL << 63},
        {.valid = FATTR_ATIME, .atime = 1, .atimensec = 1000000000},
        {.valid = FATTR_MTIME, .mtime = 1, .mtimensec = 0xffffffff},
        {.valid = FATTR_UID, .uid = 0xffffffff}, /* would mean "no change" to chown(2) */
        {.valid = FATTR_GID, .gid = 0xffffffff},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int e = fe_setattr(&w->f, node, &bad[i], NULL);
        if (e >= 0 || e < -1000)
            fail_msg("row %u: %d", i, e);
    }
    struct fuse_setattr_in size = {.valid = FATTR_SIZE, .size = 1};
    assert_int_equal(fe_setattr(&w->f, wire_node(w, "dir"), &size, NULL), -EISDIR);
    assert_true(fe_setattr(&w->f, wire_node(w, "link"), &size, NULL) < 0);
    assert_true(fe_setattr(&w->f, wire_node(w, "fifo"), &size, NULL) < 0);
    after = host(w, "file");
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
    assert_true(before.st_size == after.st_size && before.st_uid == after.st_uid);
    wire_alive(w);
}

static void a_link_itself(void **state)
{
    struct wire *w = *state;
    struct stat before = host(w, "file");
    struct fuse_setattr_in in = {.valid = FATTR_UID | FATTR_MTIME, .uid = 42, .mtime = 77};
    struct fuse_attr a;
    assert_int_equal(fe_setattr(&w->f, wire_node(w, "link"), &in, &a), 0);
    struct stat st = host(w, "link"), target = host(w, "file");
    assert_true(st.st_uid == 42 && st.st_mtim.tv_sec == 77);
    assert_true(target.st_uid == before.st_uid);
    assert_int_equal(target.st_mtim.tv_sec, before.st_mtim.tv_sec);
}

/* ---- extended attributes ---- */

static int setx(struct wire *w, uint64_t node, const char *name, const void *v, uint32_t n,
                uint32_t flags)
{
    struct fuse_setxattr_in in = {.size = n, .flags = flags};
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)name, strlen(name) + 1}, {(void *)v, n}};
    int s = fe_fuse_send(&w->f, FE_REQ, FUSE_SETXATTR, node, part, 3, 0);
    return fe_fuse_wait(&w->f, s, NULL, 0, NULL);
}

static int getx(struct wire *w, uint32_t op, uint64_t node, const char *name, uint32_t size,
                void *out, size_t *len)
{
    struct fuse_getxattr_in in = {.size = size};
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)name, name ? strlen(name) + 1 : 0}};
    int s = fe_fuse_send(&w->f, FE_REQ, op, node, part, 2, size ? (int)size : 8);
    return fe_fuse_wait(&w->f, s, out, size ? size : 8, len);
}

static void xattrs(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "file");
    char buf[65536], big[2048];
    struct fuse_getxattr_out need;
    size_t len;
    if (setxattr(wire_path(w, "file"), "user.probe", "x", 1, 0) < 0)
        skip(); /* no user attributes on this file system */
    removexattr(wire_path(w, "file"), "user.probe");
    assert_int_equal(setx(w, node, "user.one", "value", 5, 0), 0);
    assert_int_equal(getxattr(wire_path(w, "file"), "user.one", buf, 100), 5);
    assert_int_equal(setx(w, node, "user.one", "v", 1, XATTR_CREATE), -EEXIST);
    assert_int_equal(setx(w, node, "user.two", "v", 1, XATTR_REPLACE), -ENODATA);
    assert_int_equal(setx(w, node, "user.one", "v", 1, 99), -EINVAL);
    assert_int_equal(setx(w, node, "user.empty", "", 0, 0), 0);
    memset(big, 'b', sizeof(big));
    assert_int_equal(setx(w, node, "user.big", big, sizeof(big), 0), 0);
    assert_int_equal(getx(w, FUSE_GETXATTR, node, "user.big", 65536, buf, &len), 0);
    assert_true(len == sizeof(big) && memcmp(buf, big, len) == 0);
    assert_int_equal(getx(w, FUSE_GETXATTR, node, "user.big", 0, &need, &len), 0);
    assert_int_equal(need.size, sizeof(big));
    assert_int_equal(getx(w, FUSE_GETXATTR, node, "user.big", 10, buf, &len), -ERANGE);
    assert_int_equal(getx(w, FUSE_GETXATTR, node, "user.empty", 10, buf, &len), 0);
    assert_int_equal(len, 0);
    assert_int_equal(getx(w, FUSE_GETXATTR, node, "user.none", 10, buf, &len), -ENODATA);
    assert_int_equal(getx(w, FUSE_LISTXATTR, node, NULL, 0, &need, &len), 0);
    assert_int_equal(getx(w, FUSE_LISTXATTR, node, NULL, 65536, buf, &len), 0);
    assert_int_equal(len, need.size);
    assert_non_null(memmem(buf, len, "user.one", 9));
    assert_non_null(memmem(buf, len, "user.big", 9));
    assert_int_equal(getx(w, FUSE_LISTXATTR, node, NULL, 3, buf, &len), -ERANGE);
    static const char *const names[] = {"user.one", "user.big", "user.empty"};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(
            fe_call_name(&w->f, FUSE_REMOVEXATTR, node, NULL, 0, names[i], NULL, NULL, 0), 0);
    assert_int_equal(
        fe_call_name(&w->f, FUSE_REMOVEXATTR, node, NULL, 0, "user.one", NULL, NULL, 0), -ENODATA);
    /* Neither a FIFO nor a symbolic link is opened or followed for one. */
    assert_true(setx(w, wire_node(w, "fifo"), "user.x", "v", 1, 0) < 0);
    assert_true(setx(w, wire_node(w, "link"), "user.x", "v", 1, 0) < 0);
    assert_int_equal(getxattr(wire_path(w, "file"), "user.x", buf, 10), -1);
}

static void xattr_abuse(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "file");
    char name[300], buf[64];
    size_t len;
    /* A size that is not the data's, a name beyond all limits, values beyond 64 KiB. */
    static const uint32_t sizes[] = {6, 4, 0, 0x7fffffff, 0xffffffff};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct fuse_setxattr_in in = {.size = sizes[i]};
        struct iovec part[] = {{&in, sizeof(in)}, {(void *)"user.a", 7}, {(void *)"value", 5}};
        int s = fe_fuse_send(&w->f, FE_REQ, FUSE_SETXATTR, node, part, 3, 0);
        assert_int_equal(fe_fuse_wait(&w->f, s, NULL, 0, NULL), -EINVAL);
    }
    memset(name, 'n', sizeof(name));
    memcpy(name, "user.", 5);
    name[299] = '\0';
    assert_true(setx(w, node, name, "v", 1, 0) < 0);
    assert_true(getx(w, FUSE_GETXATTR, node, name, 64, buf, &len) < 0);
    assert_true(setx(w, node, "", "v", 1, 0) < 0);
    static char huge[70000];
    int e = setx(w, node, "user.huge", huge, sizeof(huge), 0);
    assert_true(e < 0 && e > -1000);
    static const uint32_t rooms[] = {65537, 1u << 20};
    for (unsigned i = 0; i < 2; i++) { /* larger than any value can be: clipped or refused */
        e = getx(w, FUSE_LISTXATTR, node, NULL, rooms[i], NULL, &len);
        assert_true(e <= 0 && e > -1000);
    }
    wire_alive(w);
}

static void figures(void **state)
{
    struct wire *w = *state;
    struct fuse_statfs_out out;
    struct statvfs st;
    assert_int_equal(fe_call(&w->f, FUSE_STATFS, ROOT, NULL, 0, &out, sizeof(out), NULL), 0);
    assert_int_equal(statvfs(w->share, &st), 0);
    assert_int_equal(out.st.blocks, st.f_blocks);
    assert_int_equal(out.st.bsize, st.f_bsize);
    assert_int_equal(out.st.frsize, st.f_frsize);
    assert_int_equal(out.st.namelen, st.f_namemax);
}

static int access_as(struct wire *w, uint64_t node, uint32_t uid, uint32_t gid, uint32_t mask)
{
    struct fuse_access_in in = {.mask = mask};
    w->f.uid = uid;
    w->f.gid = gid;
    int e = fe_call(&w->f, FUSE_ACCESS, node, &in, sizeof(in), NULL, 0, NULL);
    w->f.uid = w->f.gid = 0;
    return e;
}

static void access_rights(void **state)
{
    struct wire *w = *state;
    wire_put(w, "rights", "x");
    assert_int_equal(chmod(wire_path(w, "rights"), 0640), 0);
    assert_int_equal(chown(wire_path(w, "rights"), 1000, 2000), 0);
    uint64_t node = wire_node(w, "rights");
    assert_int_equal(access_as(w, node, 1000, 1, R_OK | W_OK), 0);
    assert_int_equal(access_as(w, node, 1000, 1, X_OK), -EACCES);
    assert_int_equal(access_as(w, node, 7, 2000, R_OK), 0);
    assert_int_equal(access_as(w, node, 7, 2000, W_OK), -EACCES);
    assert_int_equal(access_as(w, node, 7, 7, R_OK), -EACCES);
    assert_int_equal(access_as(w, node, 7, 7, F_OK), 0);
    assert_int_equal(access_as(w, node, 0, 0, R_OK | W_OK), 0);
    int e = access_as(w, node, 0, 0, 0xffffffff);
    assert_true(e <= 0 && e > -1000);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, wire_mount, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(as_the_host_sees_it), TEST(statx_reply),   TEST(changing),
        TEST(refused_changes),     TEST(a_link_itself), TEST(xattrs),
        TEST(xattr_abuse),         TEST(figures),       TEST(access_rights),
    };
    return cmocka_run_group_tests_name("wire-attr", tests, wire_make, wire_teardown);
}
