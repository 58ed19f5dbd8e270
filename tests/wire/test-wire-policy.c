/* SPDX-License-Identifier: BSD-3-Clause
 * Names of attributes, ids, ACLs and labels: what the guest says and sees against what the host
 * has. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT        FUSE_ROOT_ID
#define SECURITY    (1ULL << 32) /* FUSE_SECURITY_CTX */
#define CAPS        "security.capability"
#define MAPPED_CAPS "user.virtiofs." CAPS

/* ---- set-ups ---- */

static int mount_with(struct wire *w, const char *const *extra, uint64_t flags)
{
    wire_spawn(w, extra);
    wire_rings(w);
    return fe_init(&w->f, flags);
}

static bool not_root(void)
{
    if (geteuid() == 0)
        return false;
    print_message("needs root\n");
    return true;
}

static bool no_user_xattrs(struct wire *w)
{
    if (setxattr(w->share, "user.probe", "x", 1, 0) == 0)
        return removexattr(w->share, "user.probe") != 0;
    print_message("no user attributes on this file system\n");
    return true;
}

static int setx(struct wire *w, uint64_t node, const char *name, const void *v, uint32_t n)
{
    struct fuse_setxattr_in in = {.size = n};
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)name, strlen(name) + 1}, {(void *)v, n}};
    return fe_fuse_wait(&w->f, fe_fuse_send(&w->f, FE_REQ, FUSE_SETXATTR, node, part, 3, 0), NULL,
                        0, NULL);
}

static int getx(struct wire *w, uint32_t op, uint64_t node, const char *name, uint32_t size,
                void *out, size_t *len)
{
    struct fuse_getxattr_in in = {.size = size};
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)name, name ? strlen(name) + 1 : 0}};
    int s = fe_fuse_send(&w->f, FE_REQ, op, node, part, 2, size ? (int)size : 8);
    return fe_fuse_wait(&w->f, s, out, size ? size : 8, len);
}

static int removex(struct wire *w, uint64_t node, const char *name)
{
    return fe_call_name(&w->f, FUSE_REMOVEXATTR, node, NULL, 0, name, NULL, NULL, 0);
}

static ssize_t on_host(struct wire *w, const char *file, const char *name)
{
    return getxattr(wire_path(w, file), name, NULL, 0);
}

/* ---- names ---- */

static void xattrmap(void **state)
{
    static const char *const extra[] = {"--xattrmap=:map::user.virtiofs.:", NULL};
    static const char overlay[] = "trusted.overlay.opaque";
    struct wire *w = *state;
    char buf[256];
    struct fuse_getxattr_out need;
    size_t len;
    if (no_user_xattrs(w))
        return;
    assert_int_equal(mount_with(w, extra, fe_init_linux), 0);
    uint64_t node = wire_node(w, "file");

    assert_int_equal(setx(w, node, overlay, "y", 1), 0);
    assert_int_equal(on_host(w, "file", "user.virtiofs.trusted.overlay.opaque"), 1);
    assert_int_equal(on_host(w, "file", overlay), -1);
    assert_int_equal(getx(w, FUSE_GETXATTR, node, overlay, 16, buf, &len), 0);
    assert_int_equal(len, 1);
    assert_int_equal(setxattr(wire_path(w, "file"), "user.hosts", "secret", 6, 0), 0);
    assert_int_equal(getx(w, FUSE_GETXATTR, node, "user.hosts", 16, buf, &len), -ENODATA);
    assert_int_equal(removex(w, node, "user.hosts"), -ENODATA);
    assert_int_equal(on_host(w, "file", "user.hosts"), 6);

    assert_int_equal(getx(w, FUSE_LISTXATTR, node, NULL, 0, &need, &len), 0);
    assert_int_equal(need.size, sizeof(overlay));
    assert_int_equal(getx(w, FUSE_LISTXATTR, node, NULL, need.size, buf, &len), 0);
    assert_int_equal(len, sizeof(overlay));
    assert_memory_equal(buf, overlay, sizeof(overlay));
    assert_int_equal(getx(w, FUSE_LISTXATTR, node, NULL, need.size - 1, buf, &len), -ERANGE);
    assert_int_equal(removex(w, node, overlay), 0);
    assert_int_equal(on_host(w, "file", "user.virtiofs.trusted.overlay.opaque"), -1);

    char name[256] = "user.";
    memset(name + 5, 'n', 250);
    assert_int_equal(setx(w, node, name, "v", 1), -ERANGE); /* with the prefix it is too long */
    removexattr(wire_path(w, "file"), "user.hosts");
    wire_finish(w, 0);
}

static void xattrmap_refuses(void **state)
{
    static const char *const extra[] = {
        "-o", "xattrmap=:bad:all:user.b:user.b::unsupported:all:user.u:user.u::ok:all:::", NULL};
    struct wire *w = *state;
    char buf[64];
    size_t len;
    if (no_user_xattrs(w))
        return;
    assert_int_equal(setxattr(wire_path(w, "dir/file"), "user.b", "x", 1, 0), 0);
    assert_int_equal(mount_with(w, extra, fe_init_linux), 0);
    uint64_t node = wire_node(w, "dir/file");
    assert_int_equal(setx(w, node, "user.b2", "v", 1), -EPERM);
    assert_int_equal(getx(w, FUSE_GETXATTR, node, "user.b", 8, buf, &len), -EPERM);
    assert_int_equal(removex(w, node, "user.b"), -EPERM);
    assert_int_equal(setx(w, node, "user.u", "v", 1), -EOPNOTSUPP);
    assert_int_equal(getx(w, FUSE_GETXATTR, node, "user.u", 8, buf, &len), -EOPNOTSUPP);
    assert_int_equal(removex(w, node, "user.u"), -EOPNOTSUPP);
    assert_int_equal(getx(w, FUSE_LISTXATTR, node, NULL, 64, buf, &len), 0);
    assert_null(memmem(buf, len, "user.b", 6));
    assert_int_equal(on_host(w, "dir/file", "user.b"), 1);
    removexattr(wire_path(w, "dir/file"), "user.b");
    wire_finish(w, 0);
}

static void has_lost_caps(struct wire *w, uint64_t node)
{
    assert_int_equal(on_host(w, "caps", MAPPED_CAPS), -1);
    assert_int_equal(setx(w, node, CAPS, "caps", 4), 0);
    assert_int_equal(on_host(w, "caps", MAPPED_CAPS), 4);
}

/* CVE-2021-20263 with a map: the host's kernel knows nothing of this attribute. */
static void caps_under_a_map(void **state)
{
    static const char *const extra[] = {"--xattrmap=:map::user.virtiofs.:", NULL};
    struct wire *w = *state;
    uint64_t fh, again;
    if (no_user_xattrs(w))
        return;
    wire_put(w, "caps", "0123456789");
    assert_int_equal(mount_with(w, extra, fe_init_linux), 0);
    uint64_t node = wire_node(w, "caps");
    assert_int_equal(setx(w, node, CAPS, "caps", 4), 0);
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    assert_int_equal(on_host(w, "caps", MAPPED_CAPS), 4); /* opening is no change */
    assert_int_equal(fe_write(&w->f, node, fh, 0, "x", 1), 1);
    has_lost_caps(w, node);
    struct fuse_setattr_in size = {.valid = FATTR_SIZE | FATTR_FH, .size = 5, .fh = fh};
    assert_int_equal(fe_setattr(&w->f, node, &size, NULL), 0);
    has_lost_caps(w, node);
    size = (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 4};
    assert_int_equal(fe_setattr(&w->f, node, &size, NULL), 0);
    has_lost_caps(w, node);
    struct fuse_setattr_in owner = {.valid = FATTR_UID | FATTR_GID, .uid = geteuid()};
    owner.gid = getegid();
    assert_int_equal(fe_setattr(&w->f, node, &owner, NULL), 0);
    has_lost_caps(w, node);
    struct fuse_fallocate_in room = {.fh = fh, .length = 64};
    assert_int_equal(fe_call(&w->f, FUSE_FALLOCATE, node, &room, sizeof(room), NULL, 0, NULL), 0);
    has_lost_caps(w, node);
    assert_int_equal(fe_open(&w->f, node, O_RDWR | O_TRUNC, &again), 0);
    has_lost_caps(w, node);
    struct fuse_setattr_in mode = {.valid = FATTR_MODE, .mode = 0755};
    assert_int_equal(fe_setattr(&w->f, node, &mode, NULL), 0);
    assert_int_equal(on_host(w, "caps", MAPPED_CAPS), 4);
    wire_finish(w, 0);
}

/* ---- ids ---- */

static void host_owner(struct wire *w, const char *name, uid_t uid, gid_t gid)
{
    struct stat st;
    assert_int_equal(lstat(wire_path(w, name), &st), 0);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, gid);
}

static int mkdir_as(struct wire *w, uint32_t uid, uint32_t gid, const char *name,
                    struct fuse_entry_out *e)
{
    w->f.uid = uid;
    w->f.gid = gid;
    int rc = fe_mkdir(&w->f, ROOT, name, 0755, e);
    w->f.uid = w->f.gid = 0;
    return rc;
}

/* The owner that a plus listing of the root gives for @name. */
static uint32_t listed_uid(struct wire *w, const char *name)
{
    uint8_t buf[8192];
    size_t len = 0;
    uint64_t fh;
    assert_int_equal(fe_opendir(&w->f, ROOT, &fh), 0);
    struct fuse_read_in in = {.fh = fh, .size = sizeof(buf)};
    assert_int_equal(
        fe_call(&w->f, FUSE_READDIRPLUS, ROOT, &in, sizeof(in), buf, sizeof(buf), &len), 0);
    fe_releasedir(&w->f, ROOT, fh);
    for (size_t at = 0; at < len;) {
        struct fuse_entry_out e;
        struct fuse_dirent d;
        memcpy(&e, buf + at, sizeof(e));
        memcpy(&d, buf + at + sizeof(e), FUSE_NAME_OFFSET);
        const uint8_t *text = buf + at + sizeof(e) + FUSE_NAME_OFFSET;
        if (d.namelen == strlen(name) && memcmp(text, name, d.namelen) == 0)
            return e.attr.uid;
        at += sizeof(e) + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d.namelen);
    }
    return UINT32_MAX;
}

static void translated_ids(void **state)
{
    static const char *const extra[] = {"--translate-uid=map:0:20000:1000",
                                        "--translate-uid=forbid-guest:5000:10",
                                        "--translate-gid",
                                        "map/0/30000/1000",
                                        "--translate-gid=squash-guest:8000:31000:100",
                                        NULL};
    struct wire *w = *state;
    struct fuse_entry_out e;
    struct fuse_attr a;
    if (not_root())
        return;
    assert_int_equal(chown(w->share, 20000, 30000), 0);
    assert_int_equal(chmod(w->share, 0777), 0);
    assert_int_equal(mount_with(w, extra, fe_init_linux), 0);
    assert_int_equal(fe_getattr(&w->f, ROOT, &a), 0);
    assert_int_equal(a.uid, 0);
    assert_int_equal(a.gid, 0);

    assert_int_equal(mkdir_as(w, 5, 6, "ids", &e), 0);
    assert_int_equal(e.attr.uid, 5);
    assert_int_equal(e.attr.gid, 6);
    host_owner(w, "ids", 20005, 30006);
    assert_int_equal(listed_uid(w, "ids"), 5);
    assert_int_equal(mkdir_as(w, 5, 8050, "squashed", &e), 0);
    host_owner(w, "squashed", 20005, 31000);
    assert_int_equal(e.attr.gid, 31000); /* the other direction is another matter */
    assert_int_equal(mkdir_as(w, 2000, 2000, "same", &e), 0);
    host_owner(w, "same", 2000, 2000);
    assert_int_equal(mkdir_as(w, 5009, 6, "forbidden", &e), -EPERM);
    assert_int_equal(access(wire_path(w, "forbidden"), F_OK), -1);

    uint64_t node = wire_node(w, "ids");
    struct fuse_setattr_in set = {.valid = FATTR_UID | FATTR_GID, .uid = 7, .gid = 8};
    assert_int_equal(fe_setattr(&w->f, node, &set, &a), 0);
    assert_int_equal(a.uid, 7);
    assert_int_equal(a.gid, 8);
    host_owner(w, "ids", 20007, 30008);
    set.uid = 5000;
    assert_int_equal(fe_setattr(&w->f, node, &set, &a), -EPERM);
    host_owner(w, "ids", 20007, 30008);
    wire_finish(w, 0);
    assert_int_equal(chown(w->share, 0, 0), 0);
}

/* An ordinary user's guest: everything belongs to that user, and the guest sees its own root. */
static void squashed_ids(void **state)
{
    static const char *const extra[] = {"--translate-uid=squash-guest:0:1234:4294967295",
                                        "--translate-uid=squash-host:1234:0:1",
                                        "--translate-gid=squash-guest:0:1234:4294967295",
                                        "--translate-gid=squash-host:1234:0:1", NULL};
    struct wire *w = *state;
    struct fuse_entry_out e;
    if (not_root())
        return;
    assert_int_equal(chmod(w->share, 0777), 0);
    assert_int_equal(mount_with(w, extra, fe_init_linux), 0);
    assert_int_equal(mkdir_as(w, 0, 0, "by-root", &e), 0);
    assert_int_equal(e.attr.uid, 0);
    host_owner(w, "by-root", 1234, 1234);
    assert_int_equal(mkdir_as(w, 4294967294, 99, "by-last", &e), 0);
    host_owner(w, "by-last", 1234, 1234);
    assert_int_equal(mkdir_as(w, UINT32_MAX, 99, "by-none", &e), -EINVAL);
    wire_finish(w, 0);
}

/* ---- ACLs ---- */

#define ACCESS "system.posix_acl_access"

struct acl {
    uint32_t version;
    struct {
        uint16_t tag, perm;
        uint32_t id;
    } e[5];
};

/* u::rwx u:@uid:rwx g::--- m::rwx o::--- */
static struct acl acl_for(uint32_t uid)
{
    return (struct acl){
        .version = 2,
        .e = {{1, 7, ~0u}, {2, 7, uid}, {4, 0, ~0u}, {0x10, 7, ~0u}, {0x20, 0, ~0u}},
    };
}

static bool no_acls(struct wire *w)
{
    struct acl a = acl_for(1);
    if (setxattr(wire_path(w, "big"), ACCESS, &a, sizeof(a), 0) == 0)
        return removexattr(wire_path(w, "big"), ACCESS) != 0;
    print_message("no ACLs on this file system\n");
    return true;
}

static void acls(void **state)
{
    static const char *const extra[] = {"--posix-acl", "--translate-uid=map:100:20000:1000", NULL};
    struct wire *w = *state;
    struct acl a = acl_for(105), host = acl_for(20005), got;
    size_t len;
    if (not_root() || no_acls(w))
        return;
    assert_int_equal(mount_with(w, extra, fe_init_linux), 0);
    assert_true(fe_init_granted(&w->f) & FUSE_POSIX_ACL);
    uint64_t node = wire_node(w, "file");
    assert_int_equal(setx(w, node, ACCESS, &a, sizeof(a)), 0);
    assert_int_equal(getxattr(wire_path(w, "file"), ACCESS, &got, sizeof(got)), sizeof(got));
    assert_memory_equal(&got, &host, sizeof(got));
    assert_int_equal(getx(w, FUSE_GETXATTR, node, ACCESS, sizeof(got), &got, &len), 0);
    assert_int_equal(len, sizeof(got));
    assert_memory_equal(&got, &a, sizeof(got));
    /* A second INIT from a guest that knows none: out of reach again. */
    assert_int_equal(fe_init(&w->f, fe_init_linux & ~(uint64_t)FUSE_POSIX_ACL), -EPROTO);
    assert_int_equal(fe_getattr(&w->f, ROOT, NULL), -EIO);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    assert_int_equal(removex(w, wire_node(w, "file"), ACCESS), 0);
    wire_finish(w, 0);
}

static void acls_of_a_guest_without(void **state)
{
    struct wire *w = *state;
    struct acl a = acl_for(5);
    static const char *const asks[] = {"--posix-acl=auto", "--posix-acl=never"};
    char buf[256];
    size_t len;
    if (not_root() || no_acls(w))
        return;
    assert_int_equal(setxattr(wire_path(w, "file"), ACCESS, &a, sizeof(a), 0), 0);
    for (unsigned i = 0; i < 2; i++) {
        const char *const extra[] = {asks[i], NULL};
        uint64_t flags = fe_init_linux & ~(i == 0 ? (uint64_t)FUSE_POSIX_ACL : 0);
        assert_int_equal(mount_with(w, extra, flags), 0);
        assert_false(fe_init_granted(&w->f) & FUSE_POSIX_ACL);
        uint64_t node = wire_node(w, "file");
        assert_int_equal(setx(w, node, ACCESS, &a, sizeof(a)), -EOPNOTSUPP);
        assert_int_equal(getx(w, FUSE_GETXATTR, node, ACCESS, 64, buf, &len), -EOPNOTSUPP);
        assert_int_equal(removex(w, node, ACCESS), -EOPNOTSUPP);
        assert_int_equal(getx(w, FUSE_LISTXATTR, node, NULL, 256, buf, &len), 0);
        assert_null(memmem(buf, len, "posix_acl", 9));
        wire_finish(w, 0);
    }
    removexattr(wire_path(w, "file"), ACCESS);
}

/* ---- labels ---- */

/* CREATE with a security context behind the name, as Linux 5.17 and later send it. */
static int create_labelled(struct wire *w, const char *name, const char *label)
{
    struct fuse_create_in in = {.flags = O_RDWR | O_EXCL, .mode = 0644 | S_IFREG};
    static const char attr[] = "security.selinux";
    uint32_t len = (uint32_t)strlen(label);
    uint8_t ctx[256] = {0}, out[256];
    struct fuse_secctx_header head = {.nr_secctx = 1};
    struct fuse_secctx sc = {.size = len};
    head.size = (uint32_t)((sizeof(head) + sizeof(sc) + sizeof(attr) + len + 7) & ~(size_t)7);
    memcpy(ctx, &head, sizeof(head));
    memcpy(ctx + sizeof(head), &sc, sizeof(sc));
    memcpy(ctx + sizeof(head) + sizeof(sc), attr, sizeof(attr));
    memcpy(ctx + sizeof(head) + sizeof(sc) + sizeof(attr), label, len);
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)name, strlen(name) + 1}, {ctx, head.size}};
    int s = fe_fuse_send(&w->f, FE_REQ, FUSE_CREATE, ROOT, part, 3, sizeof(out));
    return fe_fuse_wait(&w->f, s, out, sizeof(out), NULL);
}

static void labels(void **state)
{
    static const char *const extra[] = {"-o",
                                        "security_label,xattrmap=:map::user.virtiofs.:", NULL};
    struct wire *w = *state;
    if (no_user_xattrs(w))
        return;
    assert_int_equal(mount_with(w, extra, fe_init_linux & ~SECURITY), -EPROTO);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    assert_true(fe_init_granted(&w->f) & SECURITY);
    assert_int_equal(create_labelled(w, "labelled", "system_u:object_r:tmp_t:s0"), 0);
    assert_int_equal(on_host(w, "labelled", "user.virtiofs.security.selinux"), 26);
    wire_finish(w, 0);
}

static void labels_refused(void **state)
{
    static const char *const extra[] = {"--security-label=auto",
                                        "--xattrmap=:bad:all:security.:security.::ok:all:::", NULL};
    struct wire *w = *state;
    assert_int_equal(mount_with(w, extra, fe_init_linux & ~SECURITY), 0);
    assert_false(fe_init_granted(&w->f) & SECURITY);
    assert_int_equal(create_labelled(w, "unlabelled", "x"), -EINVAL); /* not agreed upon */
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    assert_int_equal(create_labelled(w, "unlabelled", "x"), -EPERM);
    assert_int_equal(access(wire_path(w, "unlabelled"), F_OK), -1);
    wire_finish(w, 0);
}

/* ---- the command line ---- */

static const struct {
    const char *option, *says;
} wrong[] = {
    {"--xattrmap=:ok:all:::  :what:all:::", "--xattrmap: rule 2 (\":what:all:::\"): \"what\" is"},
    {"--xattrmap=:prefix:all::user.v.:", "--xattrmap: not every name of the host matches"},
    {"-oxattrmap=:map::a.::map::b.:", "--xattrmap: rule 2 (\":map::b.:\")"},
    {"--translate-uid=map:1:2", "--translate-uid: \"map:1:2\": map takes 3 numbers"},
    {"--translate-gid=guest:4294967295:1:1", "--translate-gid: \"guest:4294967295:1:1\""},
};

static void expect_end(struct wire *w, const char *const *extra, const char *says)
{
    int status = -1;
    wire_spawn(w, extra);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    if (fe_daemon_log_count(&w->d, says) != 1)
        fail_msg("does not say: %s", says);
    assert_int_equal(access(w->socket, F_OK), -1);
    fe_daemon_stop(&w->d);
}

static void wrong_rules(void **state)
{
    static const char *const twice[] = {"--translate-gid=map:0:1000:10",
                                        "--translate-gid=forbid-guest:9:1", NULL};
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *const extra[] = {wrong[i].option, NULL};
        expect_end(*state, extra, wrong[i].says);
    }
    expect_end(*state, twice, "--translate-gid: \"forbid-guest:9:1\": guest ids that another");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(xattrmap, wire_cleanup),
        cmocka_unit_test_teardown(xattrmap_refuses, wire_cleanup),
        cmocka_unit_test_teardown(caps_under_a_map, wire_cleanup),
        cmocka_unit_test_teardown(translated_ids, wire_cleanup),
        cmocka_unit_test_teardown(squashed_ids, wire_cleanup),
        cmocka_unit_test_teardown(acls, wire_cleanup),
        cmocka_unit_test_teardown(acls_of_a_guest_without, wire_cleanup),
        cmocka_unit_test_teardown(labels, wire_cleanup),
        cmocka_unit_test_teardown(labels_refused, wire_cleanup),
        cmocka_unit_test_teardown(wrong_rules, wire_cleanup),
    };
    return cmocka_run_group_tests(tests, wire_make, wire_teardown);
}
