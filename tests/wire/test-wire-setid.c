/* SPDX-License-Identifier: BSD-3-Clause
 * Set-id bits: how long the guest may trust that it has seen them, and when they go. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT    FUSE_ROOT_ID
#define TMPFILE 51
#define STATX   52

static void mount_with(struct wire *w, const char *option, uint64_t flags)
{
    const char *const extra[] = {option, NULL};
    wire_spawn(w, extra);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, flags), 0);
}

/* One entry as an answer has it: what was made with @mode, and how long its attributes hold. */
static void timed(const char *what, const struct fuse_entry_out *e, uint32_t mode, bool asks)
{
    if ((e->attr.mode & 07777) != mode)
        fail_msg("%s: mode %o, not %o", what, e->attr.mode & 07777, mode);
    if (e->entry_valid == 0)
        fail_msg("%s: the name holds for no time", what);
    bool runs = S_ISREG(e->attr.mode) && (mode & 06000); /* nobody runs a directory */
    if ((e->attr_valid == 0 && e->attr_valid_nsec == 0) != (asks && runs))
        fail_msg("%s of mode %o: attributes hold for %llu s", what, mode,
                 (unsigned long long)e->attr_valid);
}

static void lookup_timed(struct wire *w, const char *name, uint32_t mode, bool asks)
{
    struct fuse_entry_out e;
    assert_int_equal(fe_lookup(&w->f, ROOT, name, &e), 0);
    timed("LOOKUP", &e, mode, asks);
}

/* Every entry that a plus listing of the root gives. */
static void listing_timed(struct wire *w, bool asks)
{
    uint8_t buf[16384];
    size_t len = 0, seen = 0;
    uint64_t fh;
    assert_int_equal(fe_opendir(&w->f, ROOT, &fh), 0);
    struct fuse_read_in in = {.fh = fh, .size = sizeof(buf)};
    assert_int_equal(
        fe_call(&w->f, FUSE_READDIRPLUS, ROOT, &in, sizeof(in), buf, sizeof(buf), &len), 0);
    for (size_t at = 0; at < len;) {
        struct fuse_entry_out e;
        struct fuse_dirent d;
        memcpy(&e, buf + at, sizeof(e));
        memcpy(&d, buf + at + sizeof(e), FUSE_NAME_OFFSET);
        if (e.nodeid != 0) {
            timed("READDIRPLUS", &e, e.attr.mode & 07777, asks);
            seen += (e.attr.mode & 06000) != 0;
        }
        at += sizeof(e) + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d.namelen);
    }
    fe_releasedir(&w->f, ROOT, fh);
    assert_true(seen >= 4);
}

static void attributes_timed(struct wire *w, const char *name, bool asks)
{
    uint64_t node = wire_node(w, name);
    struct fuse_getattr_in in = {0};
    struct fuse_setattr_in set = {.valid = FATTR_MTIME | FATTR_MTIME_NOW};
    struct fuse_attr_out out;
    uint8_t sx[288], sx_in[24] = {0};
    uint64_t held;
    assert_int_equal(fe_call(&w->f, FUSE_GETATTR, node, &in, sizeof(in), &out, sizeof(out), NULL),
                     0);
    bool has = out.attr.mode & 06000;
    assert_int_equal(out.attr_valid == 0, asks && has);
    assert_int_equal(fe_call(&w->f, FUSE_SETATTR, node, &set, sizeof(set), &out, sizeof(out), NULL),
                     0);
    assert_int_equal(out.attr_valid == 0, asks && has);
    sx_in[20] = 0xff; /* sx_mask */
    sx_in[21] = 0x07;
    assert_int_equal(fe_call(&w->f, STATX, node, sx_in, sizeof(sx_in), sx, sizeof(sx), NULL), 0);
    memcpy(&held, sx, sizeof(held));
    assert_int_equal(held == 0, asks && has);
    /* The bits by SETATTR itself, there and back. */
    set = (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = has ? 0755 : 06755};
    assert_int_equal(fe_call(&w->f, FUSE_SETATTR, node, &set, sizeof(set), &out, sizeof(out), NULL),
                     0);
    assert_int_equal(out.attr_valid == 0, asks && !has);
    set.mode = has ? 06755 : 0755;
    assert_int_equal(fe_call(&w->f, FUSE_SETATTR, node, &set, sizeof(set), &out, sizeof(out), NULL),
                     0);
}

static void makers_timed(struct wire *w, bool asks)
{
    static const uint32_t modes[] = {04755, 02755, 06711, 0755};
    struct fuse_entry_out e;
    char name[32];
    uint64_t fh;
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "c%u-%d", i, asks);
        assert_int_equal(fe_create(&w->f, ROOT, name, O_RDWR | O_CREAT, modes[i], &e, &fh), 0);
        timed("CREATE", &e, modes[i], asks);
        assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);
        lookup_timed(w, name, modes[i], asks);
        attributes_timed(w, name, asks);
        struct fuse_link_in link = {.oldnodeid = e.nodeid};
        snprintf(name, sizeof(name), "l%u-%d", i, asks);
        assert_int_equal(
            fe_call_name(&w->f, FUSE_LINK, ROOT, &link, sizeof(link), name, NULL, &e, sizeof(e)),
            0);
        timed("LINK", &e, modes[i] == 0755 ? 0755 : 06755, asks);
        struct fuse_mknod_in mk = {.mode = S_IFREG | modes[i]};
        snprintf(name, sizeof(name), "n%u-%d", i, asks);
        assert_int_equal(
            fe_call_name(&w->f, FUSE_MKNOD, ROOT, &mk, sizeof(mk), name, NULL, &e, sizeof(e)), 0);
        timed("MKNOD", &e, modes[i], asks);
        struct fuse_create_in tmp = {.flags = O_RDWR, .mode = S_IFREG | modes[i]};
        uint8_t both[sizeof(e) + sizeof(struct fuse_open_out)];
        int rc =
            fe_call_name(&w->f, TMPFILE, ROOT, &tmp, sizeof(tmp), "/", NULL, both, sizeof(both));
        if (rc == 0) {
            memcpy(&e, both, sizeof(e));
            timed("TMPFILE", &e, modes[i], asks);
        } else {
            assert_int_equal(rc, -EOPNOTSUPP);
        }
        snprintf(name, sizeof(name), "d%u-%d", i, asks);
        assert_int_equal(fe_mkdir(&w->f, ROOT, name, modes[i] & 03777, &e), 0);
        timed("MKDIR", &e, e.attr.mode & 07777, asks);
        assert_int_equal(chmod(wire_path(w, name), 02775), 0);
        lookup_timed(w, name, 02775, asks);
    }
}

static void teardown(struct wire *w, bool asks)
{
    static const char kinds[] = "clnd";
    char name[32];
    for (unsigned i = 0; i < 16; i++) {
        snprintf(name, sizeof(name), "%c%u-%d", kinds[i / 4], i % 4, asks);
        assert_int_equal(remove(wire_path(w, name)), 0);
    }
}

static void attributes_of_set_id(void **state)
{
    static const struct {
        const char *option;
        bool asks;
    } cases[] = {{"--cache=always", true}, {"--cache=metadata", true}, {"--cache=auto", false}};
    struct wire *w = *state;
    for (unsigned i = 0; i < 3; i++) {
        mount_with(w, cases[i].option, fe_init_linux);
        makers_timed(w, cases[i].asks);
        listing_timed(w, cases[i].asks);
        wire_finish(w, 0);
        teardown(w, cases[i].asks);
    }
}

/* ---- ACLs ---- */

struct acl {
    uint32_t version;
    struct {
        uint16_t tag, perm;
        uint32_t id;
    } e[5];
};

static int set_acl(struct wire *w, uint64_t node, const char *name, uint32_t flags)
{
    struct acl a = {
        .version = 2,
        .e = {{1, 7, ~0u}, {2, 7, 1000}, {4, 5, ~0u}, {0x10, 7, ~0u}, {0x20, 0, ~0u}},
    };
    struct fuse_setxattr_in in = {.size = sizeof(a), .setxattr_flags = flags};
    struct iovec part[] = {
        {&in, sizeof(in)}, {(void *)(uintptr_t)name, strlen(name) + 1}, {&a, sizeof(a)}};
    return fe_fuse_wait(&w->f, fe_fuse_send(&w->f, FE_REQ, FUSE_SETXATTR, node, part, 3, 0), NULL,
                        0, NULL);
}

static mode_t host_bits(struct wire *w, const char *name)
{
    struct stat st;
    assert_int_equal(stat(wire_path(w, name), &st), 0);
    return st.st_mode & 07000;
}

/* Whether the bit goes is what the guest's flag says, of files and directories; and only with an
 * access ACL, as on a local file system. */
static void acl_of_an_outsider(void **state)
{
    static const char *const names[] = {"dir", "file"};
    static const char access[] = "system.posix_acl_access", def[] = "system.posix_acl_default";
    struct wire *w = *state;
    mount_with(w, "--posix-acl", fe_init_linux);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t node = wire_node(w, names[i]);
        assert_int_equal(chmod(wire_path(w, names[i]), 02775), 0);
        int rc = set_acl(w, node, access, 0);
        if (rc == -EOPNOTSUPP) {
            print_message("no ACLs on this file system\n");
            break;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(host_bits(w, names[i]), 02000);
        if (i == 0)
            assert_int_equal(set_acl(w, node, def, FUSE_SETXATTR_ACL_KILL_SGID), 0);
        assert_int_equal(host_bits(w, names[i]), 02000);
        assert_int_equal(set_acl(w, node, access, FUSE_SETXATTR_ACL_KILL_SGID), 0);
        assert_int_equal(host_bits(w, names[i]), 0);
        removexattr(wire_path(w, names[i]), access);
    }
    wire_finish(w, 0);
}

#define OWN(t) cmocka_unit_test_teardown(t, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {OWN(attributes_of_set_id), OWN(acl_of_an_outsider)};
    return cmocka_run_group_tests_name("wire-setid", tests, wire_make, wire_teardown);
}
