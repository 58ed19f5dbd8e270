/* SPDX-License-Identifier: BSD-3-Clause
 * Malformed requests: every opcode too short and too long, names, numbers, reply space. Each
 * must end in an errno on a connection that goes on, with nothing changed on the host. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define STATX              52
#define COPY_FILE_RANGE_64 53
#define HDR                ((uint32_t)sizeof(struct fuse_in_header))

/* fixed: bytes of the structure; names: NUL-terminated strings behind it. */
static const struct opcode {
    const char *name;
    uint32_t op, fixed;
    unsigned names;
    int reply;  /* room for the reply's body */
    bool grows; /* trailing bytes are part of the format (counted data, extensions) */
} opcodes[] = {
    {"LOOKUP", FUSE_LOOKUP, 0, 1, 128, false},
    {"GETATTR", FUSE_GETATTR, 16, 0, 104, false},
    {"SETATTR", FUSE_SETATTR, 88, 0, 104, false},
    {"READLINK", FUSE_READLINK, 0, 0, 4096, false},
    {"SYMLINK", FUSE_SYMLINK, 0, 2, 128, true},
    {"MKNOD", FUSE_MKNOD, 16, 1, 128, true},
    {"MKDIR", FUSE_MKDIR, 8, 1, 128, true},
    {"UNLINK", FUSE_UNLINK, 0, 1, 0, false},
    {"RMDIR", FUSE_RMDIR, 0, 1, 0, false},
    {"RENAME", FUSE_RENAME, 8, 2, 0, false},
    {"LINK", FUSE_LINK, 8, 1, 128, false},
    {"OPEN", FUSE_OPEN, 8, 0, 16, false},
    {"READ", FUSE_READ, 40, 0, 4096, false},
    {"WRITE", FUSE_WRITE, 40, 0, 8, true},
    {"STATFS", FUSE_STATFS, 0, 0, 80, false},
    {"RELEASE", FUSE_RELEASE, 24, 0, 0, false},
    {"FSYNC", FUSE_FSYNC, 16, 0, 0, false},
    {"SETXATTR", FUSE_SETXATTR, 16, 1, 0, true},
    {"GETXATTR", FUSE_GETXATTR, 8, 1, 4096, false},
    {"LISTXATTR", FUSE_LISTXATTR, 8, 0, 4096, false},
    {"REMOVEXATTR", FUSE_REMOVEXATTR, 0, 1, 0, false},
    {"FLUSH", FUSE_FLUSH, 24, 0, 0, false},
    {"OPENDIR", FUSE_OPENDIR, 8, 0, 16, false},
    {"READDIR", FUSE_READDIR, 40, 0, 4096, false},
    {"RELEASEDIR", FUSE_RELEASEDIR, 24, 0, 0, false},
    {"FSYNCDIR", FUSE_FSYNCDIR, 16, 0, 0, false},
    {"GETLK", FUSE_GETLK, 48, 0, 24, false},
    {"SETLK", FUSE_SETLK, 48, 0, 0, false},
    {"SETLKW", FUSE_SETLKW, 48, 0, 0, false},
    {"ACCESS", FUSE_ACCESS, 8, 0, 0, false},
    {"CREATE", FUSE_CREATE, 16, 1, 144, true},
    {"FALLOCATE", FUSE_FALLOCATE, 32, 0, 0, false},
    {"READDIRPLUS", FUSE_READDIRPLUS, 40, 0, 4096, false},
    {"RENAME2", FUSE_RENAME2, 16, 2, 0, false},
    {"LSEEK", FUSE_LSEEK, 24, 0, 8, false},
    {"COPY_FILE_RANGE", FUSE_COPY_FILE_RANGE, 56, 0, 8, false},
    {"SYNCFS", FUSE_SYNCFS, 8, 0, 0, false},
    {"TMPFILE", FUSE_TMPFILE, 16, 1, 144, true},
    {"STATX", STATX, 24, 0, 288, false},
    {"COPY_FILE_RANGE_64", COPY_FILE_RANGE_64, 56, 0, 8, false},
};
#define NOPCODES (sizeof(opcodes) / sizeof(opcodes[0]))

static int send_bytes(struct wire *w, const struct opcode *o, uint64_t nodeid, const void *body,
                      uint32_t len, uint32_t header_len, int room)
{
    uint8_t buf[HDR + 4096];
    struct fuse_in_header h = {.len = header_len, .opcode = o->op, .nodeid = nodeid};
    assert_true(len <= 4096);
    memcpy(buf, &h, HDR);
    memcpy(buf + HDR, body, len);
    int slot = fe_fuse_send_raw(&w->f, FE_REQ, buf, HDR + len, 16 + (uint32_t)room);
    return fe_fuse_wait(&w->f, slot, NULL, 0, NULL);
}

/* An ordinary body: zeros, then the names. */
static uint32_t body_of(const struct opcode *o, uint8_t *body)
{
    memset(body, 0, 4096);
    uint32_t len = o->fixed;
    for (unsigned i = 0; i < o->names; i++) {
        memcpy(body + len, "absent", 7);
        len += 7;
    }
    return len;
}

#define must_be(w, o, what, e, wanted)                                           \
    do {                                                                         \
        int got_ = (e);                                                          \
        if (got_ != (wanted))                                                    \
            fail_msg("%s, %s: %d instead of %d", (o)->name, what, got_, wanted); \
    } while (0)

static void too_short(void **state)
{
    struct wire *w = *state;
    uint8_t body[4096];
    for (unsigned i = 0; i < NOPCODES; i++) {
        const struct opcode *o = &opcodes[i];
        uint32_t len = body_of(o, body);
        for (uint32_t cut = 0; cut < len; cut++) {
            char what[32];
            snprintf(what, sizeof(what), "%u of %u bytes", cut, len);
            must_be(w, o, what, send_bytes(w, o, 1, body, cut, HDR + cut, o->reply), -EINVAL);
        }
    }
    wire_alive(w);
}

/* The header's length says less, or more, than there is. */
static void length_lies(void **state)
{
    struct wire *w = *state;
    uint8_t body[4096];
    for (unsigned i = 0; i < NOPCODES; i++) {
        const struct opcode *o = &opcodes[i];
        uint32_t len = body_of(o, body);
        const uint32_t lies[] = {0, 39, HDR + len + 1, 0x80000000u, 0xffffffffu};
        for (unsigned k = 0; k < sizeof(lies) / sizeof(lies[0]); k++) {
            char what[32];
            snprintf(what, sizeof(what), "header says %u", lies[k]);
            must_be(w, o, what, send_bytes(w, o, 1, body, len, lies[k], o->reply), -EINVAL);
        }
    }
    wire_alive(w);
}

/* Bytes behind names are refused. Behind a structure of fixed size they are not looked at, counted
 * in the header or not. */
static void too_long(void **state)
{
    struct wire *w = *state;
    uint8_t body[4096];
    for (unsigned i = 0; i < NOPCODES; i++) {
        const struct opcode *o = &opcodes[i];
        uint32_t len = body_of(o, body);
        if (o->grows)
            continue;
        int exact = o->names ? -EINVAL : send_bytes(w, o, 1, body, len, HDR + len, o->reply);
        memset(body + len, 0xd7, 8);
        must_be(w, o, "8 bytes more", send_bytes(w, o, 1, body, len + 8, HDR + len + 8, o->reply),
                exact);
        must_be(w, o, "8 bytes more than the header counts",
                send_bytes(w, o, 1, body, len + 8, HDR + len, o->reply), exact);
        if (o->names == 0 && len)
            must_be(w, o, "a header that counts itself",
                    send_bytes(w, o, 1, body, len, HDR, o->reply), exact);
    }
    wire_alive(w);
}

/* Announced extensions are no such bytes. */
static void extensions_where_none_may_be(void **state)
{
    struct wire *w = *state;
    for (unsigned i = 0; i < NOPCODES; i++) {
        const struct opcode *o = &opcodes[i];
        uint8_t buf[HDR + 4096];
        uint32_t len = HDR + body_of(o, buf + HDR) + 8;
        struct fuse_in_header h = {.len = len, .opcode = o->op, .nodeid = 1, .total_extlen = 1};
        if (o->grows)
            continue;
        memcpy(buf, &h, HDR);
        int slot = fe_fuse_send_raw(&w->f, FE_REQ, buf, len, 16 + (uint32_t)o->reply);
        must_be(w, o, "8 bytes of extensions", fe_fuse_wait(&w->f, slot, NULL, 0, NULL), -EINVAL);
    }
    wire_alive(w);
}

/* ---- names (what leads out of the share: test-wire-cve-name.c) ---- */

/* ".." of the root stays the root. */
static void dotdot_of_root(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    struct stat st;
    assert_int_equal(stat(w->share, &st), 0);
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "..", &e), 0);
    assert_int_equal(e.attr.ino, st.st_ino);
    assert_int_equal(fe_lookup(&w->f, wire_node(w, "dir"), "..", &e), 0);
    assert_int_equal(e.attr.ino, st.st_ino);
}

static void missing_nul(void **state)
{
    struct wire *w = *state;
    uint8_t body[4096];
    for (unsigned i = 0; i < NOPCODES; i++) {
        const struct opcode *o = &opcodes[i];
        if (!o->names || o->op == FUSE_SETXATTR)
            continue;
        uint32_t len = body_of(o, body) - 1; /* the last name without its end */
        must_be(w, o, "no NUL", send_bytes(w, o, 1, body, len, HDR + len, o->reply), -EINVAL);
        memset(body + o->fixed, 'x', sizeof(body) - o->fixed);
        must_be(w, o, "no NUL in 4 KiB", send_bytes(w, o, 1, body, 4000, HDR + 4000, o->reply),
                -EINVAL);
    }
    wire_alive(w);
}

/* ---- reply space: refused before anything happens ---- */

static void no_room(void **state)
{
    struct wire *w = *state;
    static const struct {
        uint32_t op;
        uint32_t fixed;
        const char *name, *name2;
    } ops[] = {
        {FUSE_MKDIR, 8, "room-dir", NULL},
        {FUSE_MKNOD, 16, "room-node", NULL},
        {FUSE_SYMLINK, 0, "room-link", "to"},
        {FUSE_CREATE, 16, "room-file", NULL},
    };
    for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        uint8_t fixed[64] = {0};
        if (ops[i].op == FUSE_MKNOD)
            ((struct fuse_mknod_in *)fixed)->mode = S_IFREG | 0644;
        struct iovec part[] = {
            {fixed, ops[i].fixed},
            {(void *)ops[i].name, strlen(ops[i].name) + 1},
            {(void *)ops[i].name2, ops[i].name2 ? strlen(ops[i].name2) + 1 : 0},
        };
        for (int room = 0; room < 128; room += 127) {
            int s = fe_fuse_send(&w->f, FE_REQ, ops[i].op, FUSE_ROOT_ID, part, 3, room);
            int e = fe_fuse_wait(&w->f, s, NULL, 0, NULL);
            if (e >= 0 || e < -1000)
                fail_msg("%s with %d bytes of room: %d", ops[i].name, room, e);
            assert_int_equal(access(wire_path(w, ops[i].name), F_OK), -1);
        }
    }
    wire_alive(w);
}

/* Not even room for a header: the request comes back with used length 0. */
static void no_room_for_header(void **state)
{
    struct wire *w = *state;
    uint8_t buf[HDR + 16] = {0};
    *(struct fuse_in_header *)buf =
        (struct fuse_in_header){.len = sizeof(buf), .opcode = FUSE_GETATTR, .nodeid = 1};
    for (uint32_t room = 1; room < 16; room += 7)
        assert_int_equal(fe_fuse_wait(&w->f,
                                      fe_fuse_send_raw(&w->f, FE_REQ, buf, sizeof(buf), room), NULL,
                                      0, NULL),
                         FE_ENOREPLY);
    assert_int_equal(
        fe_fuse_wait(&w->f, fe_fuse_send_raw(&w->f, FE_REQ, buf, sizeof(buf), 0), NULL, 0, NULL),
        0);
    wire_alive(w);
}

/* Fewer readable bytes than a header has. */
static void no_header(void **state)
{
    struct wire *w = *state;
    uint8_t buf[HDR] = {0};
    for (uint32_t len = 1; len < HDR; len++) {
        *(struct fuse_in_header *)buf =
            (struct fuse_in_header){.len = len, .opcode = FUSE_GETATTR, .nodeid = 1};
        int e = fe_fuse_wait(&w->f, fe_fuse_send_raw(&w->f, FE_REQ, buf, len, 4096), NULL, 0, NULL);
        if (e != FE_ENOREPLY && e != -EINVAL && e != FE_EPROTO)
            fail_msg("%u bytes of request: %d", len, e);
    }
    wire_alive(w);
}

/* ---- numbers ---- */

static void bad_nodeid(void **state)
{
    struct wire *w = *state;
    uint8_t body[4096];
    static const uint64_t ids[] = {0, 2, 0xffff, 1ULL << 32, 1ULL << 63, ~0ULL, 0x7f0000001000ULL};
    for (unsigned i = 0; i < NOPCODES; i++) {
        const struct opcode *o = &opcodes[i];
        uint32_t len = body_of(o, body);
        for (unsigned k = 0; k < sizeof(ids) / sizeof(ids[0]); k++) {
            int e = send_bytes(w, o, ids[k], body, len, HDR + len, o->reply);
            if (e >= 0 || e < -1000)
                fail_msg("%s of node %#llx: %d", o->name, (unsigned long long)ids[k], e);
        }
    }
    wire_alive(w);
}

/* A number that was forgotten names nothing, and not its successor in the table either. */
static void stale_nodeid(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out a, b;
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "file", &a), 0);
    fe_forget(&w->f, a.nodeid, 1);
    assert_true(fe_getattr(&w->f, a.nodeid, NULL) < 0);
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "big", &b), 0);
    assert_true(b.nodeid == a.nodeid || fe_getattr(&w->f, a.nodeid, NULL) < 0);
    assert_true(b.nodeid != a.nodeid);
    uint8_t body[4096];
    for (unsigned i = 0; i < NOPCODES; i++) {
        const struct opcode *o = &opcodes[i];
        uint32_t len = body_of(o, body);
        int e = send_bytes(w, o, a.nodeid, body, len, HDR + len, o->reply);
        if (e >= 0 || e < -1000)
            fail_msg("%s of a forgotten node: %d", o->name, e);
    }
    fe_forget(&w->f, b.nodeid, 1);
}

static void bad_fh(void **state)
{
    struct wire *w = *state;
    static const uint64_t fhs[] = {0, 1, 0xffff, 1ULL << 32, ~0ULL};
    uint64_t node = wire_node(w, "file"), other = wire_node(w, "big"), fh, dh;
    char buf[64];
    for (unsigned i = 0; i < sizeof(fhs) / sizeof(fhs[0]); i++) {
        assert_true(fe_read(&w->f, node, fhs[i], 0, buf, 16) < 0);
        assert_true(fe_write(&w->f, node, fhs[i], 0, "x", 1) < 0);
        struct fuse_read_in in = {.fh = fhs[i], .size = 4096};
        assert_true(fe_call(&w->f, FUSE_READDIR, 1, &in, sizeof(in), NULL, 4096, NULL) < 0);
    }
    /* A file's handle for a directory, a directory's for a file, another file's. */
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    assert_int_equal(fe_opendir(&w->f, FUSE_ROOT_ID, &dh), 0);
    assert_true(fe_read(&w->f, FUSE_ROOT_ID, dh, 0, buf, 16) < 0);
    assert_true(fe_write(&w->f, node, dh, 0, "x", 1) < 0);
    struct fuse_read_in in = {.fh = fh, .size = 4096};
    assert_true(fe_call(&w->f, FUSE_READDIR, 1, &in, sizeof(in), NULL, 4096, NULL) < 0);
    int n = fe_read(&w->f, other, fh, 0, buf, 6); /* tolerated or refused, never the wrong file */
    assert_true(n < 0 || memcmp(buf, "hello\n", 6) == 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_true(fe_read(&w->f, node, fh, 0, buf, 16) < 0);
    int again = fe_release(&w->f, node, fh);
    assert_true(again <= 0 && again > -1000);
    assert_int_equal(fe_releasedir(&w->f, FUSE_ROOT_ID, dh), 0);
    wire_alive(w);
}

static bool has_row(uint32_t op)
{
    /* Without an answer, or with another life of the mount: forget_abuse() and test-wire-init.c. */
    static const uint32_t elsewhere[] = {FUSE_FORGET, FUSE_BATCH_FORGET, FUSE_INTERRUPT,
                                         FUSE_INIT,   FUSE_DESTROY,      FUSE_NOTIFY_REPLY};
    for (unsigned i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
        if (elsewhere[i] == op)
            return true;
    for (unsigned i = 0; i < NOPCODES; i++)
        if (opcodes[i].op == op)
            return true;
    return false;
}

/* What the daemon does not refuse as unknown must be tried above. (What needs a DAX window is
 * unknown here: test-wire-dax-map.c.) */
static void each_operation_has_a_row(void **state)
{
    struct wire *w = *state;
    for (uint32_t op = 0; op < 256; op++) {
        struct opcode o = {"an operation without a row", op, 0, 0, 4096, false};
        if (has_row(op))
            continue;
        int e = send_bytes(w, &o, FUSE_ROOT_ID, "", 0, HDR, o.reply);
        if (e != -ENOSYS)
            fail_msg("opcode %u is known (%d), but has no row in this test", op, e);
    }
    wire_alive(w);
}

static void unknown_opcode(void **state)
{
    struct wire *w = *state;
    static const uint32_t ops[] = {0,  7,  19,   FUSE_BMAP,  FUSE_POLL,
                                   54, 63, 4096, 0x7fffffff, 0xffffffff};
    char zero[64] = {0};
    for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        int e = fe_call(&w->f, ops[i], FUSE_ROOT_ID, zero, 16 + 8 * (ops[i] == FUSE_POLL), NULL,
                        4096, NULL);
        if (e != -ENOSYS)
            fail_msg("opcode %u: %d", ops[i], e);
    }
    wire_alive(w);
}

/* READ whose size is not its room; WRITE whose size is not its data. */
static void sizes_lie(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "big"), fh;
    uint8_t buf[4096];
    size_t len;
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    static const uint32_t sizes[] = {4097, 1u << 20, 0x7fffffff, 0xffffffff};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct fuse_read_in in = {.fh = fh, .size = sizes[i]};
        int e = fe_call(&w->f, FUSE_READ, node, &in, sizeof(in), buf, sizeof(buf), &len);
        if (e == 0) { /* clipped to the room */
            assert_true(len <= sizeof(buf));
            assert_int_equal(buf[100], wire_pattern(100));
        } else {
            assert_true(e > -1000);
        }
        struct fuse_write_in win = {.fh = fh, .size = sizes[i]};
        struct iovec part[] = {{&win, sizeof(win)}, {buf, sizeof(buf)}};
        int s = fe_fuse_send(&w->f, FE_REQ, FUSE_WRITE, node, part, 2, 8);
        assert_int_equal(fe_fuse_wait(&w->f, s, NULL, 0, NULL), -EINVAL);
    }
    static const uint64_t offs[] = {1ULL << 63, ~0ULL, ~0ULL - 4096};
    for (unsigned i = 0; i < sizeof(offs) / sizeof(offs[0]); i++) {
        int e = fe_read(&w->f, node, fh, offs[i], buf, 16);
        assert_true(e < 0 && e > -1000);
        e = fe_write(&w->f, node, fh, offs[i], buf, 16);
        assert_true(e < 0 && e > -1000);
    }
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    struct stat st;
    assert_int_equal(stat(wire_path(w, "big"), &st), 0);
    assert_int_equal(st.st_size, 1 << 20);
    wire_alive(w);
}

/* ---- FORGET abuse ---- */

static void forget_abuse(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "file", &e), 0);
    fe_forget(&w->f, e.nodeid, ~0ULL);
    fe_forget(&w->f, e.nodeid, 1);
    fe_forget(&w->f, 0, 1);
    fe_forget(&w->f, ~0ULL, ~0ULL);
    fe_forget(&w->f, FUSE_ROOT_ID, ~0ULL);
    fe_forget(&w->f, FUSE_ROOT_ID, 1);
    wire_alive(w); /* the root is never forgotten */

    struct {
        struct fuse_batch_forget_in in;
        struct fuse_forget_one one[4];
    } batch = {.in.count = 4};
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "file", &e), 0);
    batch.one[0] = (struct fuse_forget_one){e.nodeid, 1};
    batch.one[1] = (struct fuse_forget_one){e.nodeid, 100};
    batch.one[2] = (struct fuse_forget_one){FUSE_ROOT_ID, 1ULL << 40};
    static const uint32_t counts[] = {4, 5, 0, 0x10000000, 0xffffffff};
    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        batch.in.count = counts[i];
        struct iovec part = {&batch, sizeof(batch)};
        for (unsigned q = FE_HIPRIO; q <= FE_REQ; q++) {
            int s = fe_fuse_send(&w->f, q, FUSE_BATCH_FORGET, 0, &part, 1, -1);
            assert_int_equal(fe_fuse_wait(&w->f, s, NULL, 0, NULL), 0);
        }
    }
    assert_true(fe_getattr(&w->f, e.nodeid, NULL) < 0);
    /* INTERRUPT of nothing: no reply is due, no memory may pile up. */
    for (unsigned i = 0; i < 1000; i++) {
        struct fuse_interrupt_in in = {.unique = 1000000 + i};
        struct iovec part = {&in, sizeof(in)};
        int s = fe_fuse_send(&w->f, FE_HIPRIO, FUSE_INTERRUPT, 0, &part, 1, -1);
        assert_int_equal(fe_fuse_wait(&w->f, s, NULL, 0, NULL), 0);
    }
    wire_alive(w);
}

/* Ordinary requests on hiprio: answered, or refused, never lost. */
static void request_on_hiprio(void **state)
{
    struct wire *w = *state;
    struct fuse_getattr_in in = {0};
    struct iovec part = {&in, sizeof(in)};
    int s = fe_fuse_send(&w->f, FE_HIPRIO, FUSE_GETATTR, FUSE_ROOT_ID, &part, 1, 104);
    int e = fe_fuse_wait(&w->f, s, NULL, 0, NULL);
    assert_true(e <= 0 && e > -1000);
    wire_alive(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(too_short, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(length_lies, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(too_long, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(extensions_where_none_may_be, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(dotdot_of_root, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(missing_nul, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(no_room, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(no_room_for_header, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(no_header, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(bad_nodeid, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(stale_nodeid, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(bad_fh, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(each_operation_has_a_row, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(unknown_opcode, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(sizes_lie, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(forget_abuse, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(request_on_hiprio, wire_mount, wire_umount),
    };
    return cmocka_run_group_tests_name("wire-request", tests, wire_make_locks, wire_teardown);
}
