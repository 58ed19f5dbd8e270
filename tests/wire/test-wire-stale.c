/* SPDX-License-Identifier: BSD-3-Clause
 * No answer holds a byte of the daemon's own memory. Its heap is filled with a pattern where it is
 * handed out and where it is given back, and so are local variables in the sanitized build; each
 * answer is searched for these, padding included, and behind its end nothing may be written. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT      FUSE_ROOT_ID
#define PERTURB   0xa7 /* of freed memory; fresh memory gets the complement */
#define UNTOUCHED 0x5a /* of what the front-end offers */

static unsigned answers;

/* Fills: freed and fresh heap with glibc, heap with ASan, local variables with gcc and clang. */
static const uint8_t fills[] = {PERTURB, PERTURB ^ 0xff, 0xbe, 0xfe, 0xaa};

static void search(const struct fe_req *r, const uint8_t *bytes, size_t len)
{
    answers++;
    for (size_t i = r->used_len; i < len; i++)
        if (bytes[i] != UNTOUCHED)
            fail_msg("opcode %u: byte %zu behind an answer of %u was written", r->opcode, i,
                     r->used_len);
    for (size_t i = 0; i + 4 <= r->used_len; i++)
        for (unsigned k = 0; k < sizeof(fills); k++)
            if (bytes[i] == fills[k] && !memcmp(bytes + i, bytes + i + 1, 3))
                fail_msg("opcode %u: byte %zu of %u is the daemon's memory (%#x)", r->opcode, i,
                         r->used_len, fills[k]);
}

static int mount_filled(void **state)
{
    struct wire *w = *state;
    char value[8];
    snprintf(value, sizeof(value), "%d", PERTURB);
    setenv("MALLOC_PERTURB_", value, 1);
    wire_spawn(w, (const char *const[]){"--allow-mmap", "--posix-lock", "--flock", NULL});
    wire_rings(w);
    w->f.seen = search;
    return fe_init(&w->f, fe_init_linux);
}

static int unmount_filled(void **state)
{
    unsetenv("MALLOC_PERTURB_");
    return wire_umount(state);
}

/* Any outcome will do: the answer is what is looked at. */
static void ask(struct wire *w, uint32_t op, uint64_t node, const void *in, size_t len, int room)
{
    struct iovec part = {(void *)in, len};
    int e =
        fe_fuse_wait(&w->f, fe_fuse_send(&w->f, FE_REQ, op, node, &part, 1, room), NULL, 0, NULL);
    assert_true(e > -1000);
}

/* Make the heap dirty between requests: big and small buffers come and go. */
static void stir(struct wire *w)
{
    static char value[60000];
    uint64_t fh, node = wire_node(w, "dir");
    struct fuse_read_in rd = {.size = 60000};
    struct {
        struct fuse_setxattr_in in;
        char name[7];
        char value[2000];
    } __attribute__((packed)) set = {{.size = sizeof(set.value)}, "user.s", {0}};
    memset(value, 's', sizeof(value));
    memset(set.value, 's', sizeof(set.value));
    ask(w, FUSE_SETXATTR, node, &set, sizeof(set), 0);
    assert_int_equal(fe_opendir(&w->f, node, &fh), 0);
    rd.fh = fh;
    ask(w, FUSE_READDIRPLUS, node, &rd, sizeof(rd), 60000);
    assert_int_equal(fe_releasedir(&w->f, node, fh), 0);
    fe_forget(&w->f, node, 1000);
}

static void entries(void **state)
{
    struct wire *w = *state;
    struct fuse_mkdir_in md = {.mode = 0755};
    char out[256], name[20];
    for (unsigned i = 1; i < 16; i++) {
        stir(w);
        memset(name, 'a' + (int)i, i);
        name[i] = '\0';
        ask(w, FUSE_LOOKUP, ROOT, name, i + 1, 128); /* not there: a negative entry */
        assert_int_equal(
            fe_call_name(&w->f, FUSE_MKDIR, ROOT, &md, sizeof(md), name, NULL, out, 128), 0);
        ask(w, FUSE_LOOKUP, ROOT, name, i + 1, 128);
        ask(w, FUSE_LOOKUP, ROOT, name, i + 1, 4000);
    }
    struct fuse_mknod_in mk = {.mode = S_IFIFO | 0600};
    assert_int_equal(fe_call_name(&w->f, FUSE_MKNOD, ROOT, &mk, sizeof(mk), "pipe", NULL, out, 128),
                     0);
    assert_int_equal(fe_call_name(&w->f, FUSE_SYMLINK, ROOT, NULL, 0, "l", "target", out, 128), 0);
    struct fuse_link_in ln = {.oldnodeid = wire_node(w, "file")};
    assert_int_equal(fe_call_name(&w->f, FUSE_LINK, ROOT, &ln, sizeof(ln), "h", NULL, out, 128), 0);
    struct fuse_create_in cr = {.flags = O_CREAT | O_RDWR, .mode = 0600};
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(
            fe_call_name(&w->f, FUSE_CREATE, ROOT, &cr, sizeof(cr), "made", NULL, out, 144), 0);
    int e = fe_call_name(&w->f, FUSE_TMPFILE, ROOT, &cr, sizeof(cr), "x", NULL, out, 144);
    assert_true(e == 0 || e == -EOPNOTSUPP);
}

static void listings(void **state)
{
    struct wire *w = *state;
    uint64_t fh;
    assert_int_equal(mkdir(wire_path(w, "names"), 0755), 0);
    for (unsigned i = 1; i < 255; i += 3) { /* every length of padding */
        char name[300];
        snprintf(name, sizeof(name), "names/%0*u", (int)i, i);
        wire_put(w, name, NULL);
    }
    uint64_t node = wire_node(w, "names");
    static const uint32_t ops[] = {FUSE_READDIR, FUSE_READDIRPLUS};
    static const int rooms[] = {0, 1, 24, 32, 152, 160, 300, 1000, 4096, 65536};
    for (unsigned o = 0; o < 2; o++) {
        for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
            stir(w);
            assert_int_equal(fe_opendir(&w->f, node, &fh), 0);
            struct fuse_read_in in = {.fh = fh, .size = (uint32_t)rooms[i]};
            for (unsigned k = 0; k < 3; k++)
                ask(w, ops[o], node, &in, sizeof(in), rooms[i]);
            in.size = 0xffffffff;
            ask(w, ops[o], node, &in, sizeof(in), rooms[i]);
            assert_int_equal(fe_releasedir(&w->f, node, fh), 0);
        }
    }
}

static void attributes(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "file"), link = wire_node(w, "link"), fifo = wire_node(w, "fifo");
    const uint64_t nodes[] = {ROOT, node, link, fifo, 12345};
    struct fuse_getattr_in ga = {0};
    const uint32_t sx[6] = {[5] = 0xfff}; /* struct fuse_statx_in: sx_mask is the last word */
    struct fuse_access_in ac = {.mask = R_OK};
    struct {
        struct fuse_getxattr_in in;
        char name[7];
    } __attribute__((packed)) gx = {{0}, "user.v"};
    assert_int_equal(setxattr(wire_path(w, "file"), "user.v", "0123456789abc", 13, 0), 0);
    for (unsigned i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        static const uint32_t sizes[] = {0, 1, 12, 13, 14, 100, 4000, 65536, 0xffffffff};
        struct fuse_setattr_in sa = {.valid = FATTR_ATIME, .atime = 5};
        stir(w);
        ask(w, FUSE_GETATTR, nodes[i], &ga, sizeof(ga), 104);
        ask(w, FUSE_GETATTR, nodes[i], &ga, sizeof(ga), 4000);
        ask(w, FUSE_SETATTR, nodes[i], &sa, sizeof(sa), 104);
        ask(w, 52 /* STATX */, nodes[i], sx, sizeof(sx), 288);
        ask(w, FUSE_STATFS, nodes[i], NULL, 0, sizeof(struct fuse_statfs_out));
        ask(w, FUSE_STATFS, nodes[i], NULL, 0, 4000);
        ask(w, FUSE_ACCESS, nodes[i], &ac, sizeof(ac), 0);
        ask(w, FUSE_READLINK, nodes[i], NULL, 0, 4096);
        ask(w, FUSE_READLINK, nodes[i], NULL, 0, 3);
        for (unsigned k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
            int room = sizes[k] > 70000 ? 4000 : sizes[k] < 8 ? 8 : (int)sizes[k];
            stir(w);
            gx.in.size = sizes[k];
            ask(w, FUSE_GETXATTR, nodes[i], &gx, sizeof(gx), room);
            ask(w, FUSE_LISTXATTR, nodes[i], &gx.in, sizeof(gx.in), room);
        }
    }
}

static void open_files(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "file"), dir = wire_node(w, "dir"), fh;
    static const uint32_t sizes[] = {0, 1, 5, 6, 7, 100, 4096, 65536, 1u << 20};
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (uint64_t off = 0; off < 12; off += 3) {
            struct fuse_read_in in = {.fh = fh, .offset = off, .size = sizes[i]};
            stir(w);
            ask(w, FUSE_READ, node, &in, sizeof(in), (int)sizes[i]);
            in.fh = 999;
            ask(w, FUSE_READ, node, &in, sizeof(in), (int)sizes[i]);
        }
    }
    struct fuse_lseek_in ls = {.fh = fh, .whence = SEEK_DATA};
    struct fuse_lk_in lk = {.fh = fh, .owner = 1, .lk = {.end = 5, .type = F_WRLCK}};
    struct fuse_copy_file_range_in cp = {
        .fh_in = fh, .nodeid_out = node, .fh_out = fh, .off_out = 100, .len = 3};
    struct {
        struct fuse_write_in in;
        char data[5];
    } __attribute__((packed)) wr = {{.fh = fh, .size = 5}, "data"};
    stir(w);
    ask(w, FUSE_LSEEK, node, &ls, sizeof(ls), 8);
    ask(w, FUSE_GETLK, node, &lk, sizeof(lk), 24);
    ask(w, FUSE_SETLK, node, &lk, sizeof(lk), 0);
    lk.owner = 2;
    ask(w, FUSE_GETLK, node, &lk, sizeof(lk), 24);
    ask(w, FUSE_SETLK, node, &lk, sizeof(lk), 64);
    ask(w, FUSE_WRITE, node, &wr, sizeof(wr), 8);
    ask(w, FUSE_WRITE, node, &wr, sizeof(wr), 64);
    ask(w, FUSE_COPY_FILE_RANGE, node, &cp, sizeof(cp), 8);
    ask(w, 53 /* COPY_FILE_RANGE_64 */, node, &cp, sizeof(cp), 8);
    ask(w, FUSE_OPENDIR, dir, &(struct fuse_open_in){0}, 8, 16);
    ask(w, FUSE_OPENDIR, dir, &(struct fuse_open_in){0}, 8, 64);
    ask(w, 4711, dir, NULL, 0, 4096);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

static void init_again(void **state)
{
    struct wire *w = *state;
    static const int rooms[] = {64, 65, 128, 4096};
    struct fuse_init_in in = {.major = 7, .minor = 38, .flags = FUSE_INIT_EXT};
    for (unsigned i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        in.major = 7 + i % 2;
        ask(w, FUSE_INIT, 0, &in, sizeof(in), rooms[i]);
    }
    ask(w, FUSE_DESTROY, 0, NULL, 0, 0);
    assert_true(answers > 1000);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, mount_filled, unmount_filled)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(entries), TEST(listings), TEST(attributes), TEST(open_files), TEST(init_again),
    };
    return cmocka_run_group_tests_name("wire-stale", tests, wire_make, wire_teardown);
}
