/* SPDX-License-Identifier: BSD-3-Clause
 * Data of open files: reads and writes in every shape, sizes, holes, copies, syncing; compared with
 * what the host sees. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fe-served.h"
#include "tests/wire/wire.h"

#define MEG                (1u << 20)
#define COPY_FILE_RANGE_64 53

static uint8_t buf[MEG], back[MEG];

static uint64_t create(struct wire *w, const char *name, int flags, uint64_t *fh)
{
    struct fuse_entry_out e;
    assert_int_equal(fe_create(&w->f, FUSE_ROOT_ID, name, flags | O_CREAT, 0644, &e, fh), 0);
    return e.nodeid;
}

static off_t host_size(struct wire *w, const char *name)
{
    struct stat st;
    assert_int_equal(stat(wire_path(w, name), &st), 0);
    return st.st_size;
}

static void host_bytes(struct wire *w, const char *name, off_t off, void *to, size_t n)
{
    int fd = open(wire_path(w, name), O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, to, n, off), n);
    close(fd);
}

static void read_shapes(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "big"), fh;
    static const struct {
        uint64_t off;
        uint32_t size;
        int want;
    } r[] = {{0, 1, 1},           {0, 0, 0},
             {4095, 2, 2},        {0, MEG, MEG},
             {777, 65536, 65536}, {MEG - 5, 4096, 5},
             {MEG, 4096, 0},      {MEG + 1, 1, 0},
             {1ULL << 40, 16, 0}, {12345, MEG, MEG - 12345}};
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    for (unsigned i = 0; i < sizeof(r) / sizeof(r[0]); i++) {
        int n = fe_read(&w->f, node, fh, r[i].off, buf, r[i].size);
        if (n != r[i].want)
            fail_msg("%u bytes at %llu: %d", r[i].size, (unsigned long long)r[i].off, n);
        for (int k = 0; k < n; k++)
            if (buf[k] != wire_pattern(r[i].off + (unsigned)k))
                fail_msg("%u bytes at %llu: byte %d", r[i].size, (unsigned long long)r[i].off, k);
    }
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* A reply scattered over @n segments of @each bytes, in reverse order in memory. */
static void scattered(struct wire *w, uint64_t node, uint64_t fh, bool wr, unsigned n,
                      uint32_t each)
{
    struct fe_ring *q = &w->v.ring[FE_REQ];
    uint64_t page = fe_mem_alloc(&w->mem, 0, 4096, 4096), data = w->mem.r[2].gpa + (20u << 20);
    uint64_t tab = fe_mem_alloc(&w->mem, 0, (n + 8) * 16, 16);
    struct vring_desc *d = fe_mem_ptr(&w->mem, tab);
    struct fuse_in_header *ih = fe_mem_ptr(&w->mem, page);
    uint32_t total = n * each, id, len, k = 0;
    *ih = (struct fuse_in_header){.len = 80 + (wr ? total : 0),
                                  .opcode = wr ? FUSE_WRITE : FUSE_READ,
                                  .unique = 9,
                                  .nodeid = node};
    *(struct fuse_read_in *)(ih + 1) = (struct fuse_read_in){.fh = fh, .size = total};
    d[k++] = (struct vring_desc){page, 80, VRING_DESC_F_NEXT, 1};
    for (int pass = 0; pass < 2; pass++) {
        bool out = pass == 1;
        if (out) {
            d[k] = (struct vring_desc){page + 256, wr ? 24 : 16,
                                       VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, (uint16_t)(k + 1)};
            k++;
        }
        for (unsigned i = 0; wr != out && i < n; i++, k++)
            d[k] = (struct vring_desc){data + (uint64_t)(n - 1 - i) * each, each,
                                       VRING_DESC_F_NEXT | (out ? VRING_DESC_F_WRITE : 0),
                                       (uint16_t)(k + 1)};
    }
    d[k - 1].flags &= (uint16_t)~VRING_DESC_F_NEXT;
    for (unsigned i = 0; wr && i < total; i++)
        *((uint8_t *)fe_mem_ptr(&w->mem, data) + (n - 1 - i / each) * each + i % each) =
            wire_pattern(i + 99);
    fe_ring_desc(q, 100, tab, k * 16, VRING_DESC_F_INDIRECT, 0);
    fe_ring_push(q, 100);
    fe_ring_publish(q);
    assert_int_equal(fe_ring_wait(q, FE_TIMEOUT_MS), 0);
    assert_true(fe_ring_pop(q, &id, &len));
    assert_int_equal(id, 100);
    assert_int_equal(len, wr ? 24 : 16 + total);
    for (unsigned i = 0; !wr && i < total; i++) {
        uint8_t got =
            *((uint8_t *)fe_mem_ptr(&w->mem, data) + (n - 1 - i / each) * each + i % each);
        if (got != wire_pattern(i))
            fail_msg("%u segments of %u: byte %u", n, each, i);
    }
}

static void scattered_segments(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "big"), fh, fh2, out = create(w, "scattered", O_RDWR, &fh2);
    static const struct {
        unsigned n;
        uint32_t each;
    } s[] = {{1, MEG}, {256, 4096}, {1000, 512}, {1017, 100}, {100, 1}};
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    for (unsigned i = 0; i < sizeof(s) / sizeof(s[0]); i++) {
        scattered(w, node, fh, false, s[i].n, s[i].each);
        scattered(w, out, fh2, true, s[i].n, s[i].each);
        host_bytes(w, "scattered", 0, buf, s[i].n * s[i].each);
        for (unsigned k = 0; k < s[i].n * s[i].each; k++)
            assert_int_equal(buf[k], wire_pattern(k + 99));
    }
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_int_equal(fe_release(&w->f, out, fh2), 0);
}

static void writes_reach_the_host(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = create(w, "written", O_RDWR, &fh);
    for (unsigned i = 0; i < MEG; i++)
        buf[i] = wire_pattern(i * 3);
    assert_int_equal(fe_write(&w->f, node, fh, 5, buf, MEG), MEG);
    assert_int_equal(host_size(w, "written"), MEG + 5);
    host_bytes(w, "written", 5, back, MEG);
    assert_memory_equal(buf, back, MEG);
    assert_int_equal(fe_write(&w->f, node, fh, 100, "x", 1), 1);
    assert_int_equal(fe_write(&w->f, node, fh, 100, "", 0), 0);
    host_bytes(w, "written", 99, back, 3);
    assert_true(back[1] == 'x' && back[0] == buf[94] && back[2] == buf[96]);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

static void open_modes(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = create(w, "modes", O_WRONLY, &fh);
    assert_int_equal(fe_write(&w->f, node, fh, 0, "abc", 3), 3);
    assert_int_equal(fe_read(&w->f, node, fh, 0, buf, 3), -EBADF);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    assert_int_equal(fe_write(&w->f, node, fh, 0, "abc", 3), -EBADF);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_int_equal(fe_open(&w->f, node, O_RDWR | O_TRUNC, &fh), 0);
    assert_int_equal(host_size(w, "modes"), 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    /* A directory is opened for reading, as open(2) would, and then read as one. */
    struct fuse_read_in rd = {.size = 4096};
    uint64_t dir = wire_node(w, "dir");
    size_t len = 0;
    assert_int_equal(fe_open(&w->f, dir, O_RDONLY, &rd.fh), 0);
    assert_int_equal(fe_call(&w->f, FUSE_READDIR, dir, &rd, sizeof(rd), NULL, 4096, &len), 0);
    assert_true(len > 0);
    assert_int_equal(fe_read(&w->f, dir, rd.fh, 0, (char[8]){0}, 8), -EISDIR);
    assert_int_equal(fe_release(&w->f, dir, rd.fh), 0);
    assert_int_equal(fe_open(&w->f, dir, O_RDWR, &fh), -EISDIR);
    assert_int_equal(fe_open(&w->f, dir, O_WRONLY, &fh), -EISDIR);
    assert_int_equal(fe_open(&w->f, dir, O_RDONLY | O_TRUNC, &fh), -EISDIR);
    assert_int_equal(fe_opendir(&w->f, node, &fh), -ENOTDIR);
}

static int lseek_to(struct wire *w, uint64_t node, uint64_t fh, uint64_t off, uint32_t whence,
                    uint64_t *to)
{
    struct fuse_lseek_in in = {.fh = fh, .offset = off, .whence = whence};
    struct fuse_lseek_out out = {0};
    int e = fe_call(&w->f, FUSE_LSEEK, node, &in, sizeof(in), &out, sizeof(out), NULL);
    *to = out.offset;
    return e;
}

static int falloc(struct wire *w, uint64_t node, uint64_t fh, uint32_t mode, uint64_t off,
                  uint64_t len)
{
    struct fuse_fallocate_in in = {.fh = fh, .mode = mode, .offset = off, .length = len};
    return fe_call(&w->f, FUSE_FALLOCATE, node, &in, sizeof(in), NULL, 0, NULL);
}

static void holes(void **state)
{
    struct wire *w = *state;
    uint64_t at, fh, node = create(w, "holes", O_RDWR, &fh);
    memset(buf, 1, 65536);
    assert_int_equal(fe_write(&w->f, node, fh, MEG, buf, 65536), 65536);
    assert_int_equal(lseek_to(w, node, fh, 0, SEEK_DATA, &at), 0);
    assert_int_equal(at, MEG);
    assert_int_equal(lseek_to(w, node, fh, MEG, SEEK_HOLE, &at), 0);
    assert_int_equal(at, MEG + 65536);
    assert_int_equal(lseek_to(w, node, fh, 2 * MEG, SEEK_DATA, &at), -ENXIO);
    assert_int_equal(lseek_to(w, node, fh, 0, 77, &at), -EINVAL);
    assert_int_equal(falloc(w, node, fh, 0, 0, 4096), 0);
    assert_int_equal(falloc(w, node, fh, FALLOC_FL_KEEP_SIZE, 4 * MEG, 4096), 0);
    assert_int_equal(host_size(w, "holes"), MEG + 65536);
    assert_int_equal(falloc(w, node, fh, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MEG, 32768),
                     0);
    assert_int_equal(fe_read(&w->f, node, fh, MEG + 32767, buf, 2), 2);
    assert_true(buf[0] == 0 && buf[1] == 1);
    assert_int_equal(falloc(w, node, fh, 0, 0, 2 * MEG), 0);
    assert_int_equal(host_size(w, "holes"), 2 * MEG);
    assert_int_equal(falloc(w, node, fh, 0, 0, 0), -EINVAL);
    assert_true(falloc(w, node, fh, 0x4000, 0, 4096) < 0);
    assert_true(falloc(w, node, fh, 0, ~0ULL - 10, 4096) < 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

static int copy(struct wire *w, uint32_t op, uint64_t node, struct fuse_copy_file_range_in *in,
                uint64_t *done)
{
    *done = 0;
    return fe_call(&w->f, op, node, in, sizeof(*in), done, sizeof(*done), NULL);
}

static void copies(void **state)
{
    struct wire *w = *state;
    uint64_t src = wire_node(w, "big"), fh1, fh2, done, dst = create(w, "copy", O_RDWR, &fh2);
    assert_int_equal(fe_open(&w->f, src, O_RDONLY, &fh1), 0);
    static const uint32_t ops[] = {FUSE_COPY_FILE_RANGE, COPY_FILE_RANGE_64};
    for (unsigned i = 0; i < 2; i++) {
        struct fuse_copy_file_range_in in = {.fh_in = fh1,
                                             .off_in = 1000,
                                             .nodeid_out = dst,
                                             .fh_out = fh2,
                                             .off_out = 50,
                                             .len = 100000};
        assert_int_equal(copy(w, ops[i], src, &in, &done), 0);
        assert_int_equal(done, 100000);
        host_bytes(w, "copy", 50, buf, 100000);
        for (unsigned k = 0; k < 100000; k++)
            assert_int_equal(buf[k], wire_pattern(1000 + k));
        in.off_in = MEG - 10;
        assert_int_equal(copy(w, ops[i], src, &in, &done), 0);
        assert_int_equal(done, 10);
        in.flags = 0x80000000;
        assert_true(copy(w, ops[i], src, &in, &done) < 0);
        in = (struct fuse_copy_file_range_in){
            .fh_in = fh1, .nodeid_out = dst, .fh_out = 999, .len = 1};
        assert_true(copy(w, ops[i], src, &in, &done) < 0);
        in = (struct fuse_copy_file_range_in){
            .fh_in = fh2, .nodeid_out = src, .fh_out = fh1, .len = 1};
        assert_true(copy(w, ops[i], src, &in, &done) < 0);
    }
    assert_int_equal(fe_release(&w->f, src, fh1), 0);
    assert_int_equal(fe_release(&w->f, dst, fh2), 0);
}

static void syncing(void **state)
{
    struct wire *w = *state;
    uint64_t fh, dh, node = create(w, "synced", O_RDWR, &fh);
    struct fuse_fsync_in in = {.fh = fh}, dir = {0}, data = {.fh = fh, .fsync_flags = 1};
    struct fuse_flush_in fl = {.fh = fh};
    struct fuse_syncfs_in fs = {0};
    assert_int_equal(fe_opendir(&w->f, FUSE_ROOT_ID, &dh), 0);
    dir.fh = dh;
    assert_int_equal(fe_call(&w->f, FUSE_FSYNC, node, &in, sizeof(in), NULL, 0, NULL), 0);
    assert_int_equal(fe_call(&w->f, FUSE_FSYNC, node, &data, sizeof(data), NULL, 0, NULL), 0);
    assert_int_equal(fe_call(&w->f, FUSE_FSYNCDIR, 1, &dir, sizeof(dir), NULL, 0, NULL), 0);
    /* No shared locks, no writes in the guest's cache: the guest can do without. */
    assert_int_equal(fe_call(&w->f, FUSE_FLUSH, node, &fl, sizeof(fl), NULL, 0, NULL), -ENOSYS);
    assert_int_equal(fe_call(&w->f, FUSE_SYNCFS, 1, &fs, sizeof(fs), NULL, 0, NULL), 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_int_equal(fe_releasedir(&w->f, FUSE_ROOT_ID, dh), 0);
    assert_true(fe_call(&w->f, FUSE_FSYNC, node, &in, sizeof(in), NULL, 0, NULL) < 0);
}

static bool start_served(struct wire *w, struct fe_served *s)
{
    int rc = getenv("MESON_EXE_WRAPPER") ? -ENOSYS : fe_served_mount(s, wire_path(w, "dir"));
    if (rc < 0)
        print_message("no FUSE file system to be had: %s\n", strerror(-rc));
    else
        fe_served_set(s, FE_SERVED_FULL);
    if (rc < 0)
        return false;
    wire_spawn(w, NULL);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    return true;
}

static int flush(struct wire *w, uint64_t node, uint64_t fh)
{
    struct fuse_flush_in fl = {.fh = fh};
    return fe_call(&w->f, FUSE_FLUSH, node, &fl, sizeof(fl), NULL, 0, NULL);
}

/* Below a share on a local disk is a file system which tells at close(2) that it has not written. A
 * guest that has written there hears it then: FLUSH is not refused, for any file. */
static void close_below(void **state)
{
    struct wire *w = *state;
    struct fe_served s;
    uint64_t fh, local, f, node;
    if (!start_served(w, &s))
        skip();
    node = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &local), 0);
    assert_int_equal(fe_open(&w->f, f = wire_node(w, "dir/f"), O_RDWR, &fh), 0);
    assert_int_equal(fe_write(&w->f, f, fh, 0, "lost", 4), 4);
    assert_int_equal(flush(w, node, local), 0);
    assert_int_equal(flush(w, f, fh), -EDQUOT);
    assert_int_equal(fe_release(&w->f, f, fh), 0);
    assert_int_equal(flush(w, node, local), 0); /* it may open one again */
    assert_int_equal(fe_release(&w->f, node, local), 0);
    wire_finish(w, 0);
    fe_served_unmount(&s);
}

/* A guest whose first FLUSH was refused asks no more: what close(2) would say, each write says. */
static void close_below_unasked(void **state)
{
    struct wire *w = *state;
    struct fe_served s;
    uint64_t fh, local, f, node;
    struct fuse_write_out done;
    if (!start_served(w, &s))
        skip();
    node = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, f = wire_node(w, "dir/f"), O_RDONLY, &fh), 0);
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &local), 0);
    assert_int_equal(flush(w, node, local), -ENOSYS);
    assert_int_equal(fe_release(&w->f, f, fh), 0);
    assert_int_equal(fe_open(&w->f, f, O_RDWR, &fh), 0);
    assert_int_equal(fe_write(&w->f, f, fh, 0, "lost", 4), -EDQUOT);
    struct fuse_copy_file_range_in in = {
        .fh_in = fh, .nodeid_out = f, .fh_out = fh, .off_out = 8192, .len = 1};
    assert_int_equal(
        fe_call(&w->f, FUSE_COPY_FILE_RANGE, f, &in, sizeof(in), &done, sizeof(done), NULL),
        -EDQUOT);
    fe_served_set(&s, FE_SERVED_WELL);
    assert_int_equal(fe_write(&w->f, f, fh, 0, "well", 4), 4);
    assert_int_equal(fe_write(&w->f, node, local, 0, "well", 4), 4);
    assert_int_equal(fe_release(&w->f, f, fh), 0);
    assert_int_equal(fe_release(&w->f, node, local), 0);
    wire_finish(w, 0);
    fe_served_unmount(&s);
}

/* An unlinked file lives on while it is open. */
static void unlinked_file(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = create(w, "gone", O_RDWR, &fh);
    struct fuse_attr a;
    assert_int_equal(fe_write(&w->f, node, fh, 0, "still here", 10), 10);
    assert_int_equal(fe_call_name(&w->f, FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "gone", NULL, NULL, 0),
                     0);
    assert_int_equal(fe_read(&w->f, node, fh, 0, buf, 10), 10);
    assert_memory_equal(buf, "still here", 10);
    assert_int_equal(fe_getattr(&w->f, node, &a), 0);
    assert_int_equal(a.nlink, 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* The bytes behind a short read are not the daemon's memory. */
static void nothing_leaks_into_replies(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "file"), fh;
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    struct fuse_read_in in = {.fh = fh, .size = 4000};
    struct iovec part = {&in, sizeof(in)};
    int slot = fe_fuse_send(&w->f, FE_REQ, FUSE_READ, node, &part, 1, 4000);
    const uint8_t *reply = fe_mem_ptr(&w->mem, w->f.req[slot].out_gpa);
    size_t len;
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, &len), 0);
    assert_int_equal(len, 6);
    for (unsigned i = 22; i < 4000; i++)
        assert_int_equal(reply[i], 0x5a); /* what was there before */
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, wire_mount, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(read_shapes),
        TEST(scattered_segments),
        TEST(writes_reach_the_host),
        TEST(open_modes),
        TEST(holes),
        TEST(copies),
        TEST(syncing),
        cmocka_unit_test_teardown(close_below, wire_cleanup),
        cmocka_unit_test_teardown(close_below_unasked, wire_cleanup),
        TEST(unlinked_file),
        TEST(nothing_leaks_into_replies),
    };
    return cmocka_run_group_tests_name("wire-file", tests, wire_make, wire_teardown);
}
