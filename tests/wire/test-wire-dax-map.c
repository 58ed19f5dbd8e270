/* SPDX-License-Identifier: BSD-3-Clause
 * What is seen through the window while files change, when mappings end, and requests that lie. */
#include "tests/wire/wire-dax.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((uint64_t)sysconf(_SC_PAGESIZE))

static const char *const always[] = {"--dax-policy=always", NULL};

static int host_open(struct wire *w, const char *name)
{
    int fd = open(wire_path(w, name), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void append(struct wire *w, const char *name, const void *bytes, size_t n)
{
    int fd = host_open(w, name);
    assert_int_equal(pwrite(fd, bytes, n, lseek(fd, 0, SEEK_END)), n);
    close(fd);
}

/* ---- coherence ---- */

/* Both ways through the partial last page, which this monitor does not map. */
static void test_tail(void **state)
{
    struct wire *w = *state;
    const size_t size = 70001;
    struct fuse_fsync_in sync = {0};
    char byte = 0;

    dax_put(w, "odd", size);
    dax_mount(w, FE_SHMEM_QEMU, NULL);
    uint64_t fh, node = wire_node(w, "odd");
    assert_int_equal(dax_map(w, node, DAX_PIECE, DAX_READ), 0);
    assert_true(dax_shows(DAX_PIECE, size));
    assert_int_equal(dax_at(DAX_PIECE)[size], 0);
    assert_int_equal(dax_map(w, node, DAX_PIECE, DAX_WRITE), 0);
    int fd = host_open(w, "odd");
    /* The guest stores, and says so by any request of the file. */
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    sync.fh = fh;
    dax_at(DAX_PIECE)[size - 1] = 'a';
    assert_int_equal(fe_call(&w->f, FUSE_FSYNC, node, &sync, sizeof(sync), NULL, 0, NULL), 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)size - 1), 1);
    assert_int_equal(byte, 'a');
    dax_at(DAX_PIECE)[size - 1] = 'b';
    assert_int_equal(fe_read(&w->f, node, fh, size - 1, &byte, 1), 1);
    assert_int_equal(byte, 'b');
    struct fuse_syncfs_in all = {0};
    dax_at(DAX_PIECE)[size - 1] = 's';
    assert_int_equal(fe_call(&w->f, FUSE_SYNCFS, FUSE_ROOT_ID, &all, sizeof(all), NULL, 0, NULL),
                     0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)size - 1), 1);
    assert_int_equal(byte, 's');
    /* A WRITE is later than the store before it, and shows. */
    dax_at(DAX_PIECE)[size - 1] = 'c';
    assert_int_equal(fe_write(&w->f, node, fh, size - 1, "d", 1), 1);
    assert_int_equal(dax_at(DAX_PIECE)[size - 1], 'd');
    assert_int_equal(pread(fd, &byte, 1, (off_t)size - 1), 1);
    assert_int_equal(byte, 'd');
    /* The host writes; the guest asks for attributes. */
    assert_int_equal(pwrite(fd, "e", 1, (off_t)size - 1), 1);
    assert_int_equal(fe_getattr(&w->f, node, NULL), 0);
    assert_int_equal(dax_at(DAX_PIECE)[size - 1], 'e');
    /* At the end what was stored is not lost. */
    dax_at(DAX_PIECE)[size - 1] = 'f';
    assert_int_equal(dax_unmap(w, node, DAX_PIECE), 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)size - 1), 1);
    assert_int_equal(byte, 'f');
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, size);
    close(fd);
    dax_umount(w);
}

/* What the host appends is mapped before the guest hears of it; when that is refused the guest does
 * not hear of it. */
static void test_growth(void **state)
{
    struct wire *w = *state;
    struct fuse_attr a;
    struct fuse_entry_out e;
    char more[8192];

    memset(more, 'm', sizeof(more));
    dax_put(w, "grows", 16 * PAGE);
    dax_mount(w, FE_SHMEM_QEMU, NULL);
    uint64_t node = wire_node(w, "grows");
    assert_int_equal(dax_map(w, node, 0, DAX_READ), 0);
    for (int by_lookup = 0; by_lookup < 2; by_lookup++) {
        uint64_t end = 16 * PAGE + (uint64_t)by_lookup * sizeof(more);
        append(w, "grows", more, sizeof(more));
        fe_shmem_set_fault(&dax_vmm, FE_SHMEM_REFUSE_MAP, 0);
        int err =
            by_lookup ? fe_lookup(&w->f, FUSE_ROOT_ID, "grows", &e) : fe_getattr(&w->f, node, &a);
        fe_shmem_set_fault(&dax_vmm, FE_SHMEM_GOOD, 0);
        if (err == 0) /* mapped as a whole already, by pages of our own */
            assert_true(by_lookup);
        else
            assert_int_equal(err, -EIO);
        err = by_lookup ? fe_lookup(&w->f, FUSE_ROOT_ID, "grows", &e) : fe_getattr(&w->f, node, &a);
        assert_int_equal(err, 0);
        assert_int_equal(by_lookup ? e.attr.size : a.size, end + sizeof(more));
        for (size_t i = 0; i < sizeof(more); i++)
            assert_int_equal(dax_at(end)[i], 'm');
    }
    assert_true(dax_shows(0, 16 * PAGE));
    dax_umount(w);
}

/* The guest's own changes: WRITE beyond the end, truncation, fallocate. */
static void test_guest_changes(void **state)
{
    struct wire *w = *state;
    struct fuse_setattr_in set = {.valid = FATTR_SIZE, .size = 2 * PAGE + 10};
    struct fuse_attr a;
    uint64_t fh;

    dax_put(w, "own", 20 * PAGE);
    dax_mount(w, FE_SHMEM_QEMU, NULL);
    uint64_t node = wire_node(w, "own");
    assert_int_equal(dax_map(w, node, 0, DAX_WRITE), 0);
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    assert_int_equal(fe_write(&w->f, node, fh, 20 * PAGE, "beyond", 6), 6);
    assert_memory_equal(dax_at(20 * PAGE), "beyond", 6);
    assert_int_equal(fe_setattr(&w->f, node, &set, &a), 0);
    assert_int_equal(a.size, 2 * PAGE + 10);
    set.size = 3 * PAGE;
    assert_int_equal(fe_setattr(&w->f, node, &set, &a), 0);
    assert_true(dax_shows(0, 2 * PAGE + 10));
    for (size_t i = 2 * PAGE + 10; i < 3 * PAGE; i++)
        assert_int_equal(dax_at(0)[i], 0);
    struct fuse_fallocate_in more = {.fh = fh, .offset = 0, .length = 21 * PAGE};
    assert_int_equal(fe_call(&w->f, FUSE_FALLOCATE, node, &more, sizeof(more), NULL, 0, NULL), 0);
    dax_at(0)[20 * PAGE + 50] = 'x'; /* no SIGBUS: it is there */
    assert_int_equal(fe_getattr(&w->f, node, &a), 0);
    char byte = 0;
    int fd = host_open(w, "own");
    assert_int_equal(pread(fd, &byte, 1, (off_t)(20 * PAGE + 50)), 1);
    assert_int_equal(byte, 'x');
    close(fd);
    /* Cut at an open. */
    assert_int_equal(fe_open(&w->f, node, O_RDWR | O_TRUNC, &fh), 0);
    assert_int_equal(fe_write(&w->f, node, fh, 0, "again", 5), 5);
    assert_memory_equal(dax_at(0), "again", 6);
    dax_umount(w);
}

/* Files that are empty or smaller than a page, for guests that map everything. */
static void test_small(void **state)
{
    struct wire *w = *state;
    uint64_t fh;
    struct stat st;

    dax_put(w, "nil", 0);
    dax_mount(w, FE_SHMEM_QEMU, always);
    uint64_t nil = wire_node(w, "nil"), file = wire_node(w, "file");
    assert_int_equal(dax_map(w, nil, 0, DAX_READ), 0);
    assert_int_equal(dax_map(w, file, DAX_PIECE, DAX_READ), 0);
    assert_memory_equal(dax_at(DAX_PIECE), "hello\n", 7);
    assert_int_equal(fe_open(&w->f, nil, O_RDWR, &fh), 0);
    assert_int_equal(fe_write(&w->f, nil, fh, 0, "now", 3), 3);
    assert_memory_equal(dax_at(0), "now", 4);
    assert_int_equal(stat(wire_path(w, "nil"), &st), 0);
    assert_int_equal(st.st_size, 3);
    dax_umount(w);
}

/* What the guest replaces without a word is unmapped first, each piece as it was mapped: a monitor
 * that takes nothing else refuses nothing. */
static void test_replaced(void **state)
{
    struct wire *w = *state;
    char more[5 * 4096] = "";
    struct {
        uint32_t count;
        struct fuse_removemapping_one one;
    } __attribute__((packed)) all = {1, {.moffset = DAX_PIECE, .len = 3ul * DAX_PIECE}};

    dax_put(w, "pieces", 3 * PAGE + 100);
    dax_mount(w, FE_SHMEM_QEMU, NULL);
    uint64_t big = wire_node(w, "big"), node = wire_node(w, "pieces");
    unsigned refused = fe_shmem_get(&dax_vmm, &dax_vmm.refused);
    for (unsigned n = 0; n < 5; n++) {
        assert_int_equal(dax_map(w, node, DAX_PIECE, n % 2 ? DAX_WRITE : DAX_READ), 0);
        append(w, "pieces", more, sizeof(more)); /* another piece */
        assert_int_equal(fe_getattr(&w->f, node, NULL), 0);
        assert_int_equal(dax_map(w, node, 2 * DAX_PIECE, DAX_READ), 0);
        /* Over one, then over both and a third place. */
        assert_int_equal(dax_map(w, big, 2 * DAX_PIECE, DAX_WRITE), 0);
        assert_true(dax_shows(2 * DAX_PIECE, 1 << 20));
        assert_int_equal(dax_map_len(w, big, 0, DAX_PIECE, 3ul * DAX_PIECE, DAX_READ), 0);
        assert_true(dax_shows(DAX_PIECE, 1 << 20));
        assert_int_equal(fe_call(&w->f, FUSE_REMOVEMAPPING, big, &all, sizeof(all), NULL, 0, NULL),
                         0);
        assert_int_equal(dax_mapped(), 0);
    }
    assert_int_equal(fe_shmem_get(&dax_vmm, &dax_vmm.refused), refused);
    dax_umount(w);
}

/* The host cuts a file under its mappings. Whoever touches what is gone gets SIGBUS, and that is
 * never the daemon: it looks at files, not at mappings. */
static void test_cut_by_the_host(void **state)
{
    struct wire *w = *state;
    struct fuse_attr a;
    uint64_t fh;

    dax_put(w, "cut", 20 * PAGE + 100);
    dax_mount(w, FE_SHMEM_QEMU, NULL);
    uint64_t node = wire_node(w, "cut");
    assert_int_equal(dax_map(w, node, 0, DAX_WRITE), 0);
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    dax_at(0)[20 * PAGE + 50] = 'x';
    for (uint64_t size = 10 * PAGE + 7; size > PAGE / 4; size /= 3) {
        assert_int_equal(truncate(wire_path(w, "cut"), (off_t)size), 0);
        assert_int_equal(fe_write(&w->f, node, fh, 3, "y", 1), 1);
        assert_int_equal(fe_getattr(&w->f, node, &a), 0);
        assert_int_equal(a.size, size);
    }
    assert_int_equal(truncate(wire_path(w, "cut"), (off_t)(20 * PAGE + 100)), 0);
    assert_int_equal(fe_getattr(&w->f, node, &a), 0);
    assert_int_equal(dax_at(0)[3], 'y');
    for (uint64_t i = 10 * PAGE + 7; i < 20 * PAGE + 100; i++)
        assert_int_equal(dax_at(0)[i], 0);
    assert_int_equal(dax_unmap(w, node, 0), 0);
    dax_umount(w);
}

/* ---- the end of mappings ---- */

static void test_ends(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;

    dax_put(w, "one", 70000);
    dax_mount(w, FE_SHMEM_QEMU, NULL);
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "one", &e), 0);
    uint64_t big = wire_node(w, "big");
    assert_int_equal(dax_map(w, e.nodeid, 0, DAX_READ), 0);
    assert_int_equal(dax_map(w, e.nodeid, DAX_PIECE, DAX_READ), 0);
    assert_int_equal(dax_map(w, big, 2 * DAX_PIECE, DAX_READ), 0);
    /* FORGET ends those of one file. */
    fe_forget(&w->f, e.nodeid, 1);
    wire_alive(w);
    for (unsigned n = 0; n < 100 && dax_mapped() > 1; n++)
        usleep(10000);
    assert_int_equal(dax_mapped(), 1);
    assert_int_equal(dax_map(w, e.nodeid, 0, DAX_READ), -ENOENT);
    /* INIT without a DESTROY ends all, and so does DESTROY. */
    assert_int_equal(fe_init(&w->f, DAX_FLAGS), 0);
    assert_int_equal(dax_mapped(), 0);
    assert_int_equal(dax_map(w, big, 0, DAX_READ), -ENOENT); /* of the mount before */
    big = wire_node(w, "big");
    assert_int_equal(dax_map(w, big, 0, DAX_READ), 0);
    assert_int_equal(fe_call(&w->f, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL), 0);
    assert_int_equal(dax_mapped(), 0);
    /* After a reset the monitor has dropped them: nothing is said about them. */
    assert_int_equal(fe_init(&w->f, DAX_FLAGS), 0);
    big = wire_node(w, "big");
    assert_int_equal(dax_map(w, big, 0, DAX_READ), 0);
    unsigned unmaps = fe_shmem_get(&dax_vmm, &dax_vmm.unmaps);
    wire_finish(w, 0);
    assert_int_equal(fe_shmem_get(&dax_vmm, &dax_vmm.unmaps), unmaps);
}

static void test_cycles(void **state)
{
    struct wire *w = *state;

    dax_mount(w, FE_SHMEM_QEMU, NULL);
    uint64_t node = wire_node(w, "big");
    assert_int_equal(dax_map(w, node, 0, DAX_READ), 0);
    assert_int_equal(dax_unmap(w, node, 0), 0);
    unsigned fds = fe_daemon_fds(&w->d);
    for (unsigned n = 0; n < 10000; n++) {
        uint64_t at = n % (DAX_WINDOW / DAX_PIECE) * DAX_PIECE;
        assert_int_equal(dax_map(w, node, at, n % 2 ? DAX_READ : DAX_WRITE), 0);
        assert_int_equal(dax_unmap(w, node, at), 0);
    }
    assert_int_equal(dax_mapped(), 0);
    assert_int_equal(fe_daemon_fds(&w->d), fds);
    dax_umount(w);
}

/* ---- lies ---- */

/* As OSv does: no flag means reading, and ranges are given back of no node. */
static void test_osv(void **state)
{
    struct wire *w = *state;

    dax_mount(w, FE_SHMEM_QEMU, always);
    uint64_t big = wire_node(w, "big");
    assert_int_equal(dax_map(w, big, 0, 0), 0);
    assert_true(dax_shows(0, 1 << 20));
    assert_int_equal(dax_unmap(w, 0, 0), 0);
    assert_int_equal(dax_mapped(), 0);
    dax_umount(w);
}

static void test_hostile_setup(void **state)
{
    struct wire *w = *state;

    dax_mount(w, FE_SHMEM_QEMU, always);
    uint64_t big = wire_node(w, "big");
    const struct {
        uint64_t node, foffset, moffset, len, flags;
        int err;
    } bad[] = {
        {big, 0, 0, DAX_PIECE, 4, -EINVAL},
        {big, 0, 0, DAX_PIECE, UINT64_MAX, -EINVAL},
        {big, 0, 0, 0, DAX_READ, -EINVAL},
        {big, 0, 0, PAGE / 2, DAX_READ, -EINVAL},
        {big, 0, 1, DAX_PIECE, DAX_READ, -EINVAL},
        {big, PAGE / 2, 0, DAX_PIECE, DAX_READ, -EINVAL},
        {big, 0, DAX_WINDOW, DAX_PIECE, DAX_READ, -EINVAL},
        {big, 0, DAX_WINDOW - PAGE, 2 * PAGE, DAX_READ, -EINVAL},
        {big, 0, 0, 2ul * DAX_WINDOW, DAX_READ, -EINVAL},
        {big, 0, -PAGE, PAGE, DAX_READ, -EINVAL},
        {big, 0, -PAGE, 2 * PAGE, DAX_READ, -EINVAL},
        {big, -PAGE, 0, PAGE, DAX_READ, -EINVAL},
        {big, (1ul << 63) - PAGE, 0, 2 * PAGE, DAX_READ, -EINVAL},
        {big, 0, 0, -PAGE, DAX_READ, -EINVAL},
        {FUSE_ROOT_ID, 0, 0, DAX_PIECE, DAX_READ, -EINVAL},
        {wire_node(w, "dir"), 0, 0, DAX_PIECE, DAX_WRITE, -EINVAL},
        {wire_node(w, "link"), 0, 0, DAX_PIECE, DAX_READ, -EINVAL},
        {wire_node(w, "fifo"), 0, 0, DAX_PIECE, DAX_READ, -EINVAL},
        {big ^ 1ul << 40, 0, 0, DAX_PIECE, DAX_READ, -ENOENT},
        {UINT64_MAX, 0, 0, DAX_PIECE, DAX_READ, -ENOENT},
    };
    unsigned before = fe_shmem_requests(&dax_vmm);
    for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
        int err =
            dax_map_len(w, bad[n].node, bad[n].foffset, bad[n].moffset, bad[n].len, bad[n].flags);
        if (err != bad[n].err)
            fail_msg("row %zu: %d, not %d", n, err, bad[n].err);
    }
    assert_int_equal(fe_shmem_requests(&dax_vmm), before);
    /* Over a part of another mapping. */
    assert_int_equal(dax_map(w, big, 0, DAX_READ), 0);
    assert_int_equal(dax_map_len(w, big, 0, PAGE, PAGE, DAX_READ), -EINVAL);
    assert_true(dax_shows(0, 1 << 20));
    dax_umount(w);
}

static void test_hostile_remove(void **state)
{
    struct wire *w = *state;
    struct {
        uint32_t count;
        struct fuse_removemapping_one one[3];
    } __attribute__((packed)) in;

    dax_mount(w, FE_SHMEM_QEMU, NULL);
    uint64_t node = wire_node(w, "big");
    for (unsigned n = 0; n < 3; n++)
        assert_int_equal(dax_map(w, node, n * DAX_PIECE, DAX_READ), 0);
    const struct {
        uint32_t count;
        unsigned entries, cut;
        uint64_t moffset, len; /* of the last */
    } bad[] = {
        {0, 0, 0, 0, 0},
        {0, 1, 0, 0, DAX_PIECE},
        {2, 3, 0, 2 * DAX_PIECE, DAX_PIECE},
        {4, 3, 0, 2 * DAX_PIECE, DAX_PIECE},
        {3, 3, 1, 2 * DAX_PIECE, DAX_PIECE},
        {UINT32_MAX, 3, 0, 2 * DAX_PIECE, DAX_PIECE},
        {1u << 28, 3, 0, 2 * DAX_PIECE, DAX_PIECE},
        {3, 3, 0, 2 * DAX_PIECE, 0},
        {3, 3, 0, 2 * DAX_PIECE + 1, DAX_PIECE},
        {3, 3, 0, DAX_WINDOW, DAX_PIECE},
        {3, 3, 0, -PAGE, 2 * PAGE},
        {3, 3, 0, 0, -PAGE},
    };
    unsigned unmaps = fe_shmem_get(&dax_vmm, &dax_vmm.unmaps);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        in.count = bad[i].count;
        for (unsigned n = 0; n < 3; n++)
            in.one[n] = (struct fuse_removemapping_one){.moffset = n * DAX_PIECE, .len = DAX_PIECE};
        if (bad[i].entries)
            in.one[bad[i].entries - 1] =
                (struct fuse_removemapping_one){.moffset = bad[i].moffset, .len = bad[i].len};
        size_t len = 4 + bad[i].entries * sizeof(in.one[0]) - bad[i].cut;
        int err = fe_call(&w->f, FUSE_REMOVEMAPPING, node, &in, len, NULL, 0, NULL);
        if (err != -EINVAL)
            fail_msg("row %zu: %d", i, err);
    }
    assert_int_equal(fe_shmem_get(&dax_vmm, &dax_vmm.unmaps), unmaps);
    /* A part of a mapping, and what is not mapped. */
    in.count = 1;
    in.one[0] = (struct fuse_removemapping_one){.moffset = 0, .len = PAGE};
    assert_int_equal(fe_call(&w->f, FUSE_REMOVEMAPPING, node, &in, 20, NULL, 0, NULL), -EINVAL);
    assert_true(dax_shows(0, 1 << 20));
    assert_int_equal(dax_unmap(w, node, 20 * DAX_PIECE), 0);
    /* Several at once. */
    in.count = 3;
    for (unsigned n = 0; n < 3; n++)
        in.one[n] = (struct fuse_removemapping_one){.moffset = n * DAX_PIECE, .len = DAX_PIECE};
    assert_int_equal(fe_call(&w->f, FUSE_REMOVEMAPPING, node, &in, sizeof(in), NULL, 0, NULL), 0);
    assert_int_equal(dax_mapped(), 0);
    dax_umount(w);
}

/* An append goes behind what the host has appended meanwhile, and both show. */
static void test_append(void **state)
{
    struct wire *w = *state;
    struct fuse_write_in in = {.size = 5, .flags = O_WRONLY | O_APPEND};
    struct fuse_write_out out;
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)"guest", 5}};
    const size_t size = 70001;

    dax_put(w, "log", size);
    dax_mount(w, FE_SHMEM_QEMU, NULL);
    uint64_t node = wire_node(w, "log");
    assert_int_equal(fe_open(&w->f, node, O_WRONLY | O_APPEND, &in.fh), 0);
    assert_int_equal(dax_map(w, node, 0, DAX_WRITE), 0);
    for (unsigned n = 0; n < 3; n++) {
        in.offset = size + n * 9u;
        append(w, "log", "host", 4);
        int slot = fe_fuse_send(&w->f, FE_REQ, FUSE_WRITE, node, part, 2, sizeof(out));
        assert_int_equal(fe_fuse_wait(&w->f, slot, &out, sizeof(out), NULL), 0);
        assert_int_equal(out.size, 5);
        assert_memory_equal(dax_at(size + n * 9u), "hostguest", 9);
    }
    assert_true(dax_shows(0, size));
    assert_int_equal(fe_release(&w->f, node, in.fh), 0);
    dax_umount(w);
}

/* A user that may store may not keep what write(2) would take from the file. */
static void test_set_id(void **state)
{
    static const struct {
        uint32_t uid;
        uint64_t flags;
        mode_t mode, left;
    } row[] = {{1000, DAX_READ, 04777, 04777},  {0, DAX_WRITE, 04777, 04777},
               {1000, DAX_WRITE, 06777, 0777},  {1000, DAX_WRITE, 02767, 02767},
               {1000, DAX_WRITE, 04666, 00666}, {1000, DAX_WRITE, 0777, 0777}};
    struct wire *w = *state;
    struct stat st;

    dax_put(w, "setid", DAX_PIECE);
    dax_mount(w, FE_SHMEM_QEMU, always);
    uint64_t node = wire_node(w, "setid");
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        assert_int_equal(chmod(wire_path(w, "setid"), row[i].mode), 0);
        w->f.uid = row[i].uid;
        assert_int_equal(dax_map(w, node, 0, row[i].flags), 0);
        w->f.uid = 0;
        assert_int_equal(stat(wire_path(w, "setid"), &st), 0);
        if ((st.st_mode & 07777) != row[i].left)
            fail_msg("row %zu: %o", i, st.st_mode & 07777);
    }
    dax_umount(w);
}

int main(void)
{
#define OWN(t) cmocka_unit_test_teardown(t, dax_cleanup)
    const struct CMUnitTest tests[] = {
        OWN(test_tail),     OWN(test_growth),          OWN(test_guest_changes),  OWN(test_small),
        OWN(test_replaced), OWN(test_cut_by_the_host), OWN(test_ends),           OWN(test_cycles),
        OWN(test_osv),      OWN(test_hostile_setup),   OWN(test_hostile_remove), OWN(test_append),
        OWN(test_set_id),
    };
    return cmocka_run_group_tests(tests, wire_make, wire_teardown);
}
