/* SPDX-License-Identifier: BSD-3-Clause
 * A daemon whose tree is in memory and some of whose data come late (tests/unit/tree-mem.h): a
 * queue waits for none of them, and what waits ends when its file, its mount, its device or its
 * front-end does. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/tree-mem.h"
#include "tests/wire/wire-p9.h"
#include "tests/wire/wire.h"

#define SIZE    5000
#define HOLD_MS 100 /* data that are held stay held this long */

static int send_read(struct wire *w, uint64_t node, uint64_t fh, uint64_t off)
{
    struct fuse_read_in in = {.fh = fh, .offset = off, .size = SIZE};
    struct iovec part = {&in, sizeof(in)};
    return fe_fuse_send(&w->f, FE_REQ, FUSE_READ, node, &part, 1, SIZE);
}

/* Bytes, compared with what should be there, or -errno. */
static int wait_read(struct wire *w, int slot, uint64_t off)
{
    unsigned char buf[SIZE];
    size_t len = 0;
    int rc = fe_fuse_wait(&w->f, slot, buf, sizeof(buf), &len);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < len; i++)
        assert_int_equal(buf[i], tree_mem_byte(off + i));
    return (int)len;
}

static void expect_held(struct wire *w, int slot)
{
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, HOLD_MS), FE_ETIMEOUT);
}

static uint64_t open_file(struct wire *w, const char *name, uint64_t *fh)
{
    uint64_t node = wire_node(w, name);
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, fh), 0);
    return node;
}

static void tree(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    struct fuse_attr attr;
    uint64_t fh;

    assert_int_equal(fe_getattr(&w->f, wire_node(w, "dir/inner"), &attr), 0);
    assert_int_equal(attr.size, TREE_MEM_SIZE);
    assert_int_equal(fe_mkdir(&w->f, FUSE_ROOT_ID, "new", 0755, &e), -EROFS);
    assert_int_equal(fe_create(&w->f, FUSE_ROOT_ID, "new", O_RDWR, 0644, &e, &fh), -EROFS);
    assert_int_equal(fe_open(&w->f, wire_node(w, "now"), O_RDWR, &fh), -EROFS);
    uint64_t node = open_file(w, "now", &fh);
    assert_int_equal(wait_read(w, send_read(w, node, fh, 3), 3), SIZE);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* More reads than there are threads for a queue: everything else passes them. */
static void stalls_nobody(void **state)
{
    struct wire *w = *state;
    uint64_t held_fh, held = open_file(w, "held", &held_fh), fh, node = open_file(w, "late", &fh);
    int waits[4], slot[8];

    for (unsigned i = 0; i < 4; i++)
        waits[i] = send_read(w, held, held_fh, i);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 8; i++)
            slot[i] = send_read(w, node, fh, i * 1000 + round);
        assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), 0);
        for (unsigned i = 0; i < 8; i++)
            assert_int_equal(wait_read(w, slot[i], i * 1000 + round), SIZE);
    }
    assert_int_equal(wait_read(w, send_read(w, node, fh, TREE_MEM_SIZE - 7), TREE_MEM_SIZE - 7), 7);
    expect_held(w, waits[0]);
    assert_int_equal(wait_read(w, send_read(w, held, 0xdead, 0), 0), -EBADF);
    uint32_t base;
    assert_int_equal(fe_vhost_get_base(&w->v, FE_REQ, &base), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(wait_read(w, waits[i], i), -EINTR);
    assert_int_equal(fe_vhost_start_ring(&w->v, FE_REQ), 0);
    wire_alive(w);
}

static void not_to_be_had(void **state)
{
    static const char *const names[] = {"lost", "evicted"};
    struct wire *w = *state;

    for (unsigned i = 0; i < 2; i++) {
        uint64_t fh, node = open_file(w, names[i], &fh);
        assert_int_equal(wait_read(w, send_read(w, node, fh, 0), 0), -EIO);
        assert_int_equal(fe_release(&w->f, node, fh), 0);
    }
}

/* Closed and forgotten while it is read: the answer comes all the same, from the same file. */
static void forgotten(void **state)
{
    struct wire *w = *state;

    for (unsigned i = 0; i < 30; i++) {
        uint64_t fh, node = open_file(w, "late", &fh);
        int slot = send_read(w, node, fh, i);
        assert_int_equal(fe_release(&w->f, node, fh), 0);
        fe_forget(&w->f, node, 1);
        assert_int_equal(wait_read(w, slot, i), SIZE);
        assert_int_equal(fe_getattr(&w->f, node, NULL), -ENOENT);
    }
    wire_alive(w);
}

static void interrupts(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "held", &fh);
    int a = send_read(w, node, fh, 0), b = send_read(w, node, fh, 0);

    expect_held(w, a);
    struct fuse_interrupt_in in = {.unique = w->f.req[a].unique};
    struct iovec part = {&in, sizeof(in)};
    int hiprio = fe_fuse_send(&w->f, FE_HIPRIO, FUSE_INTERRUPT, 0, &part, 1, -1);
    assert_int_equal(fe_fuse_wait(&w->f, hiprio, NULL, 0, NULL), 0);
    assert_int_equal(wait_read(w, a, 0), -EINTR);
    expect_held(w, b);
}

/* A new mount, or none, ends what the old one waits for. */
static void new_mount(void **state)
{
    struct wire *w = *state;

    for (int destroy = 0; destroy < 2; destroy++) {
        uint64_t fh, node = open_file(w, "held", &fh);
        int slot = send_read(w, node, fh, 0);
        expect_held(w, slot);
        if (destroy)
            assert_int_equal(fe_call(&w->f, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL), 0);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        assert_int_equal(wait_read(w, slot, 0), -EINTR);
        wire_alive(w);
    }
}

static void reset(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "held", &fh);
    int slot = send_read(w, node, fh, 0);

    expect_held(w, slot);
    assert_int_equal(fe_vhost_ack(&w->v, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(wait_read(w, slot, 0), -EINTR);
}

static void gone(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "held", &fh), fh2, late = open_file(w, "late", &fh2);

    for (unsigned i = 0; i < 6; i++) {
        send_read(w, node, fh, i);
        send_read(w, late, fh2, i);
    }
    wire_alive(w);
    int64_t start = fe_now_ms();
    wire_finish(w, 0);
    assert_true(fe_now_ms() - start < fe_slow(3000));
}

/* ---- 9P ---- */

static void send_tread(struct p9c *c, int sock)
{
    p9c_begin(c, 116);
    p9c_put32(c, 3);
    p9c_put64(c, 0);
    p9c_put32(c, SIZE);
    size_t len = p9c_end(c);
    assert_int_equal(write(sock, c->t, len), len);
}

/* Tread of what never comes, and at once its Tflush, which another thread may read: the answer to
 * the first is the first. */
static void flushed(struct p9c *c, int sock)
{
    uint8_t buf[11];
    uint16_t tag = c->tag;

    send_tread(c, sock);
    c->tag = (uint16_t)(tag + 1);
    p9c_begin(c, 108);
    p9c_put16(c, tag);
    size_t len = p9c_end(c);
    assert_int_equal(write(sock, c->t, len), len);
    c->tag++;
    assert_int_equal(recv(sock, buf, 7, MSG_WAITALL), 7);
    assert_int_equal(buf[4], 7); /* size[4] Rlerror tag[2] errno[4] */
    assert_int_equal(recv(sock, buf + 7, 4, MSG_WAITALL), 4);
    assert_int_equal(buf[7], EINTR);
    assert_int_equal(recv(sock, buf, 7, MSG_WAITALL), 7);
    assert_int_equal(buf[4], 109);
}

static void by_9p(void **state)
{
    struct wire *w = *state;
    unsigned char buf[SIZE];
    struct p9c c, other;

    p9_spawn_unix(w);
    int sock = p9_dial(w), sock2 = p9_dial(w);
    p9_mounted(&c, p9_by_socket, &sock);
    p9_mounted(&other, p9_by_socket, &sock2);
    assert_int_equal(p9c_walk(&c, P9_ROOT, 2, "late"), 0);
    assert_int_equal(p9c_lopen(&c, 2, 0), 0);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(p9c_read(&c, 2, i, buf, SIZE), SIZE);
        for (unsigned k = 0; k < SIZE; k++)
            assert_int_equal(buf[k], tree_mem_byte(i + k));
    }
    assert_int_equal(p9c_walk(&c, P9_ROOT, 3, "held"), 0);
    assert_int_equal(p9c_lopen(&c, 3, 0), 0);
    for (unsigned i = 0; i < 400; i++)
        flushed(&c, sock);
    /* Hang up while one waits: the other connection, and the daemon's end, do not. */
    send_tread(&c, sock);
    close(sock);
    assert_int_equal(p9c_walk(&other, P9_ROOT, 2, "dir/inner"), 0);
    close(sock2);
    p9c_free(&c);
    p9c_free(&other);
    p9_stopped(w);
}

static int region(struct wire *w, uint32_t message, unsigned i)
{
    const struct fe_region *r = &w->mem.r[i];
    const uint64_t arg[5] = {0, r->gpa, r->size, r->uaddr, r->off};
    return fe_vhost_ack(&w->v, message, arg, sizeof(arg), &r->fd, message == VU_ADD_MEM_REG);
}

/* The memory that an answer will be written to is taken away while data are fetched, and so is that
 * of the ring: answers go to where it was, and nothing is done with what is not there. */
static void memory_goes(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "late", &fh), held_fh, held = open_file(w, "held", &held_fh);
    int slot[4];
    uint32_t base;

    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 4; i++)
            slot[i] = send_read(w, node, fh, i * 1000 + round);
        assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), 0); /* they are taken */
        assert_int_equal(region(w, VU_REM_MEM_REG, 2), 0);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(wait_read(w, slot[i], i * 1000 + round), SIZE);
        assert_int_equal(region(w, VU_ADD_MEM_REG, 2), 0);
        assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        slot[i] = send_read(w, held, held_fh, i);
    assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), 0);
    for (unsigned i = 0; i < 3; i++)
        region(w, VU_REM_MEM_REG, i);
    for (unsigned i = 0; i < 2; i++) /* twice */
        assert_int_equal(fe_vhost_get_base(&w->v, FE_REQ, &base), 0);
    assert_int_equal(base, w->v.ring[FE_REQ].avail_shown);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(wait_read(w, slot[i], i), -EINTR);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(region(w, VU_ADD_MEM_REG, i), 0);
    assert_int_equal(fe_vhost_start_ring(&w->v, FE_REQ), 0);
    wire_alive(w);
    /* And with a reset, and a hang-up, behind it. */
    send_read(w, held, held_fh, 0);
    assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), 0);
    region(w, VU_REM_MEM_REG, 2);
    assert_int_equal(fe_vhost_ack(&w->v, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(fe_vhost_get_base(&w->v, FE_REQ, &base), 0);
    region(w, VU_REM_MEM_REG, 0);
}

/* Of a file whose type or mode a file system does not tell nobody knows that it has no set-id bits,
 * which go without the guest's knowledge: it may not trust such attributes for long. */
static void statx_without_mode(void **state)
{
    static const struct {
        uint32_t mask;
        bool trusted;
    } rows[] = {{STATX_BASIC_STATS, true},
                {STATX_TYPE | STATX_MODE, true},
                {STATX_SIZE, false},
                {STATX_SIZE | STATX_TYPE, false},
                {STATX_SIZE | STATX_MODE, false}};
    static const char *const options[] = {"--cache=always", NULL};
    struct wire *w = *state;
    struct {
        uint32_t flags, pad;
        uint64_t fh;
        uint32_t sx_flags, mask;
    } in = {0};

    wire_spawn(w, options);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    uint64_t node = wire_node(w, "now"), dir = wire_node(w, "dir"), valid;
    for (unsigned i = 0; i < 10; i++) {
        uint8_t out[288];
        uint32_t nsec;
        in.mask = rows[i % 5].mask;
        assert_int_equal(fe_call(&w->f, 52 /* STATX */, i < 5 ? node : dir, &in, sizeof(in), out,
                                 sizeof(out), NULL),
                         0);
        memcpy(&valid, out, sizeof(valid));
        memcpy(&nsec, out + 8, sizeof(nsec));
        assert_int_equal(valid > 0, rows[i % 5].trusted);
        assert_int_equal(nsec, 0);
    }
    wire_finish(w, 0);
}

/* A sanitizer needs its own files to know what it may leave out (cross/tsan.supp), which the filter
 * of system calls forbids. */
static int mount_it(void **state)
{
    return WIRE_SANITIZED ? wire_mount_bare(state) : wire_mount(state);
}

static int mode_it(void **state)
{
    return WIRE_SANITIZED ? wire_mode_bare(state) : 0;
}

#define T(t)                               \
    {                                      \
#t, t, mount_it, wire_umount, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(tree),
        T(stalls_nobody),
        T(not_to_be_had),
        T(forgotten),
        T(interrupts),
        T(new_mount),
        T(reset),
        T(memory_goes),
        cmocka_unit_test_setup_teardown(gone, mount_it, wire_cleanup),
        cmocka_unit_test_setup_teardown(statx_without_mode, mode_it, wire_cleanup),
        cmocka_unit_test_setup_teardown(by_9p, mode_it, wire_cleanup),
    };
    return cmocka_run_group_tests(tests, wire_make, wire_teardown);
}
