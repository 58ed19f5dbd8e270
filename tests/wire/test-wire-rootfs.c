/* SPDX-License-Identifier: BSD-3-Clause
 * --profile=rootfs: a guest that opens nothing. Requests come with handle 0 and name the node. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire-rootfs.h"

#define COPY64 53

/* ---- what is negotiated ---- */

static void negotiated(void **state)
{
    struct wire *w = *state;
    const uint64_t never =
        FUSE_ATOMIC_O_TRUNC | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_WRITEBACK_CACHE;
    struct fuse_open_in in = {0};
    struct fuse_flush_in flush = {0};
    rootfs_start(w, NULL);
    uint64_t granted = fe_init_granted(&w->f), node = wire_node(w, "file");
    assert_int_equal(granted & ROOTFS_SPARED, ROOTFS_SPARED);
    assert_int_equal(granted & never, 0);
    assert_int_equal(granted & FUSE_ASYNC_DIO, 0);
    assert_true(granted & FUSE_AUTO_INVAL_DATA);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(rootfs_call(w, FUSE_OPEN, node, &in, sizeof(in)), -ENOSYS);
        assert_int_equal(rootfs_call(w, FUSE_OPENDIR, ROOT, &in, sizeof(in)), -ENOSYS);
        assert_int_equal(rootfs_call(w, FUSE_FLUSH, node, &flush, sizeof(flush)), -ENOSYS);
        in.flags = O_RDWR | O_TRUNC; /* not even so is it done */
    }
    rootfs_holds(w, "file", "hello\n");
    struct fuse_open_in stale = {0};
    assert_int_equal(rootfs_call(w, FUSE_OPEN, 4711, &stale, sizeof(stale)), -ENOENT);
}

static void read_only(void **state)
{
    struct wire *w = *state;
    rootfs_start(w, (const char *const[]){"--readonly", NULL});
    uint64_t granted = fe_init_granted(&w->f), node = wire_node(w, "file");
    assert_int_equal(granted & (ROOTFS_SPARED | FUSE_ASYNC_DIO), ROOTFS_SPARED | FUSE_ASYNC_DIO);
    rootfs_reads(w, node, "hello\n");
    assert_int_equal(rootfs_write(w, node, 0, "no", O_RDWR), -EROFS);
    struct fuse_fallocate_in fa = {.length = 4};
    assert_int_equal(rootfs_call(w, FUSE_FALLOCATE, node, &fa, sizeof(fa)), -EROFS);
    struct fuse_copy_file_range_in cp = {.nodeid_out = node, .off_out = 10, .len = 4};
    assert_int_equal(rootfs_call(w, FUSE_COPY_FILE_RANGE, node, &cp, sizeof(cp)), -EROFS);
    struct fuse_fsync_in fs = {0};
    assert_int_equal(rootfs_call(w, FUSE_FSYNC, node, &fs, sizeof(fs)), 0);
    rootfs_holds(w, "file", "hello\n");
}

/* By handles, as ever; and the log says why. */
static void by_messages(struct wire *w, bool dirs_too, const char *why)
{
    uint64_t fh, node = wire_node(w, "file");
    char c;
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    assert_int_not_equal(fh, 0);
    assert_int_equal(fe_read(&w->f, node, fh, 0, &c, 1), 1);
    assert_int_equal(fe_read(&w->f, node, 0, 0, &c, 1), -EBADF);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_int_equal(fe_release(&w->f, node, fh), -EBADF);
    if (dirs_too) {
        assert_int_equal(fe_opendir(&w->f, ROOT, &fh), 0);
        assert_int_equal(fe_releasedir(&w->f, ROOT, fh), 0);
    }
    assert_int_not_equal(fe_daemon_log_count(&w->d, why), 0);
    assert_true(fe_init_granted(&w->f) & FUSE_ATOMIC_O_TRUNC);
}

static void guest_without(void **state)
{
    struct wire *w = *state;
    rootfs_mount(w, NULL, fe_init_linux & ~(uint64_t)FUSE_NO_OPEN_SUPPORT);
    struct fuse_open_in in = {0};
    by_messages(w, false, "files are opened by messages: the guest knows no other way");
    assert_int_equal(rootfs_call(w, FUSE_OPENDIR, ROOT, &in, sizeof(in)), -ENOSYS);
}

static void guest_of_old(void **state)
{
    struct wire *w = *state;
    rootfs_mount(w, NULL, fe_init_linux & ~ROOTFS_SPARED);
    by_messages(w, true, "directories are opened by messages: the guest knows no other way");
}

static void not_linux(void **state)
{
    struct wire *w = *state;
    rootfs_mount(w, NULL, FUSE_ATOMIC_O_TRUNC | ROOTFS_SPARED | FUSE_DO_READDIRPLUS);
    by_messages(w, true, "files are opened by messages: the guest knows no other way");
}

static void no_power(void **state)
{
    struct wire *w = *state;
    if (geteuid() != 0)
        skip();
    rootfs_start(w, (const char *const[]){"--modcaps=-dac_override", NULL});
    by_messages(w, false, "the daemon lacks CAP_DAC_OVERRIDE");
    wire_finish(w, 0);
    rootfs_start(w, (const char *const[]){"--modcaps=-dac_override", "--readonly", NULL});
    struct fuse_open_in in = {0};
    assert_int_equal(rootfs_call(w, FUSE_OPEN, wire_node(w, "file"), &in, sizeof(in)), -ENOSYS);
}

/* A second guest of the same daemon is asked anew. */
static void remount(void **state)
{
    struct wire *w = *state;
    rootfs_start(w, NULL);
    rootfs_reads(w, wire_node(w, "file"), "hello\n");
    assert_int_equal(fe_init(&w->f, fe_init_linux & ~ROOTFS_SPARED), 0);
    by_messages(w, true, "knows no other way");
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    rootfs_reads(w, wire_node(w, "file"), "hello\n");
}

static void timeouts(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    wire_put(w, "set-id", "x");
    assert_int_equal(chmod(wire_path(w, "set-id"), 04755), 0);
    rootfs_start(w, NULL);
    assert_int_equal(fe_lookup(&w->f, ROOT, "file", &e), 0);
    assert_int_equal(e.entry_valid, 86400);
    assert_int_equal(e.attr_valid, 86400);
    assert_int_equal(fe_call_name(&w->f, FUSE_LOOKUP, ROOT, NULL, 0, "absent", NULL, &e, sizeof(e)),
                     0);
    assert_int_equal(e.nodeid, 0);
    assert_int_equal(e.entry_valid, 86400);
    /* The host clears the bits at a write, of which no answer tells. */
    assert_int_equal(fe_lookup(&w->f, ROOT, "set-id", &e), 0);
    assert_int_equal(e.entry_valid, 86400);
    assert_int_equal(e.attr_valid, 0);
    assert_int_equal(e.attr_valid_nsec, 0);
    assert_int_equal(unlink(wire_path(w, "set-id")), 0);
}

/* ---- files ---- */

static void by_node(void **state)
{
    struct wire *w = *state;
    struct fuse_attr a;
    uint64_t at;
    rootfs_start(w, NULL);
    wire_put(w, "data", "0123456789");
    uint64_t node = wire_node(w, "data"), other = wire_node(w, "file");
    rootfs_reads(w, node, "0123456789");
    assert_int_equal(rootfs_write(w, node, 2, "XX", O_RDWR), 2);
    rootfs_reads(w, node, "01XX456789");
    struct fuse_fsync_in fs = {0};
    assert_int_equal(rootfs_call(w, FUSE_FSYNC, node, &fs, sizeof(fs)), 0);
    assert_int_equal(rootfs_call(w, FUSE_FSYNCDIR, ROOT, &fs, sizeof(fs)), 0);
    struct fuse_lseek_in ls = {.offset = 3, .whence = SEEK_HOLE};
    assert_int_equal(fe_call(&w->f, FUSE_LSEEK, node, &ls, sizeof(ls), &at, 8, NULL), 0);
    assert_int_equal(at, 10);
    struct fuse_fallocate_in fa = {.length = 20};
    assert_int_equal(rootfs_call(w, FUSE_FALLOCATE, node, &fa, sizeof(fa)), 0);
    assert_int_equal(fe_getattr(&w->f, node, &a), 0);
    assert_int_equal(a.size, 20);
    /* What open(2) with O_TRUNC comes to: no OPEN has cut the file. */
    struct fuse_setattr_in cut = {.valid = FATTR_SIZE | FATTR_FH, .size = 10};
    assert_int_equal(fe_setattr(&w->f, node, &cut, &a), 0);
    assert_int_equal(a.size, 10);
    struct fuse_copy_file_range_in cp = {.nodeid_out = node, .off_out = 10, .len = 5};
    assert_int_equal(fe_call(&w->f, FUSE_COPY_FILE_RANGE, other, &cp, sizeof(cp), &at, 8, NULL), 0);
    cp.off_out = 15;
    assert_int_equal(fe_call(&w->f, COPY64, other, &cp, sizeof(cp), &at, 8, NULL), 0);
    rootfs_holds(w, "data", "01XX456789hellohello");
    assert_int_equal(fe_release(&w->f, node, 0), 0);
    assert_int_equal(fe_releasedir(&w->f, ROOT, 0), 0);
    rootfs_reads(w, node, "01XX456789hellohello");
}

static void append(void **state)
{
    struct wire *w = *state;
    rootfs_start(w, NULL);
    wire_put(w, "log", "one ");
    uint64_t node = wire_node(w, "log");
    rootfs_reads(w, node, "one ");
    assert_int_equal(rootfs_write(w, node, 0, "two ", O_WRONLY | O_APPEND),
                     4); /* wherever it says */
    FILE *f = fopen(wire_path(w, "log"), "ae");
    fputs("host ", f);
    fclose(f);
    assert_int_equal(rootfs_write(w, node, 4, "three ", O_WRONLY | O_APPEND | O_SYNC), 6);
    assert_int_equal(rootfs_write(w, node, 0, "O", O_WRONLY), 1);
    rootfs_holds(w, "log", "One two host three ");
    /* The host takes nothing but appends. */
    int fd = open(wire_path(w, "log"), O_RDONLY | O_CLOEXEC), on = FS_APPEND_FL, off = 0;
    wire_put(w, "only", "a");
    close(fd);
    fd = open(wire_path(w, "only"), O_RDONLY | O_CLOEXEC);
    if (ioctl(fd, FS_IOC_SETFLAGS, &on) == 0) {
        uint64_t only = wire_node(w, "only");
        int wrong = rootfs_write(w, only, 0, "x", O_WRONLY),
            right = rootfs_write(w, only, 0, "b", O_WRONLY | O_APPEND);
        int still = rootfs_write(w, only, 0, "x", O_WRONLY);
        assert_int_equal(ioctl(fd, FS_IOC_SETFLAGS, &off), 0);
        assert_int_equal(wrong, -EPERM);
        assert_int_equal(right, 1);
        assert_int_equal(still, -EPERM);
        rootfs_holds(w, "only", "ab");
    }
    close(fd);
}

static void direct(void **state)
{
    struct wire *w = *state;
    static char block[8192];
    rootfs_start(w, (const char *const[]){"--allow-direct-io", NULL});
    wire_put(w, "direct", "");
    uint64_t node = wire_node(w, "direct");
    memset(block, 'd', sizeof(block) - 1);
    assert_int_equal(rootfs_write(w, node, 0, block, O_RDWR | O_DIRECT), sizeof(block) - 1);
    assert_int_equal(rootfs_write(w, node, 0, "end", O_RDWR | O_DIRECT | O_APPEND), 3);
    struct fuse_read_in in = {.offset = 4096, .size = 4098, .flags = O_RDWR | O_DIRECT};
    char out[4098];
    size_t len;
    assert_int_equal(fe_call(&w->f, FUSE_READ, node, &in, sizeof(in), out, sizeof(out), &len), 0);
    assert_int_equal(len, 4098);
    assert_memory_equal(out + 4094, "dend", 4);
}

static void create(void **state)
{
    struct wire *w = *state;
    struct {
        struct fuse_entry_out e;
        struct fuse_open_out o;
    } out;
    struct fuse_create_in in = {.flags = O_CREAT | O_EXCL | O_WRONLY, .mode = S_IFREG | 0400};
    rootfs_start(w, NULL);
    unsigned fds = fe_daemon_fds(&w->d);
    for (unsigned i = 0; i < 2; i++) { /* the second time it is there, and is emptied */
        assert_int_equal(fe_call_name(&w->f, FUSE_CREATE, ROOT, &in, sizeof(in), "made", NULL, &out,
                                      sizeof(out)),
                         0);
        assert_int_equal(out.o.fh, 0);
        assert_int_equal(out.o.open_flags, 0);
        assert_int_equal(out.e.attr.size, 0);
        assert_int_equal(rootfs_write(w, out.e.nodeid, 0, i ? "2" : "first", O_WRONLY), i ? 1 : 5);
        in.flags = O_CREAT | O_TRUNC | O_WRONLY;
    }
    rootfs_reads(w, out.e.nodeid, "2");
    rootfs_holds(w, "made", "2");
    /* No RELEASE comes: what was opened for it goes by itself, and what was made by its FORGET. */
    fe_forget(&w->f, out.e.nodeid, 2);
    assert_true(rootfs_fds(w, fds + 1)); /* the mount's own */
    /* No room for the answer: nothing stays. */
    assert_int_equal(
        fe_call_name(&w->f, FUSE_CREATE, ROOT, &in, sizeof(in), "less", NULL, &out, sizeof(out.e)),
        -EINVAL);
    assert_int_not_equal(access(wire_path(w, "less"), F_OK), 0);
}

/* The flags of a file's first moments do not decide what can be done by its node. */
static void create_for_reading(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    uint64_t fh;
    rootfs_start(w, NULL);
    assert_int_equal(fe_create(&w->f, ROOT, "ro", O_CREAT | O_RDONLY, S_IFREG | 0644, &e, &fh), 0);
    assert_int_equal(fh, 0);
    rootfs_reads(w, e.nodeid, "");
    assert_int_equal(rootfs_write(w, e.nodeid, 0, "later", O_WRONLY), 5);
    rootfs_reads(w, e.nodeid, "later");
}

/* ---- hostile ---- */

/* Every request that carries a handle, with one: nobody has got any. */
static void ask_by(struct wire *w, uint64_t node, uint64_t fh)
{
    char out[4096];
    struct fuse_read_in rd = {.fh = fh, .size = 100};
    struct {
        struct fuse_write_in in;
        char data[8];
    } wr = {{.fh = fh, .size = 8}, "BAD DATA"};
    struct fuse_fsync_in fs = {.fh = fh};
    struct fuse_lseek_in ls = {.fh = fh, .whence = SEEK_DATA};
    struct fuse_fallocate_in fa = {.fh = fh, .length = 1000};
    struct fuse_copy_file_range_in cp = {.fh_in = fh, .nodeid_out = node, .fh_out = fh, .len = 3};
    struct fuse_release_in rl = {.fh = fh};
    const struct {
        uint32_t op;
        const void *in;
        size_t len;
    } rows[] = {
        {FUSE_READ, &rd, sizeof(rd)},
        {FUSE_READDIR, &rd, sizeof(rd)},
        {FUSE_READDIRPLUS, &rd, sizeof(rd)},
        {FUSE_WRITE, &wr, sizeof(wr)},
        {FUSE_FSYNC, &fs, sizeof(fs)},
        {FUSE_FSYNCDIR, &fs, sizeof(fs)},
        {FUSE_LSEEK, &ls, sizeof(ls)},
        {FUSE_FALLOCATE, &fa, sizeof(fa)},
        {FUSE_COPY_FILE_RANGE, &cp, sizeof(cp)},
        {FUSE_RELEASE, &rl, sizeof(rl)},
        {FUSE_RELEASEDIR, &rl, sizeof(rl)},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int e = fe_call(&w->f, rows[i].op, node, rows[i].in, rows[i].len, out, sizeof(out), NULL);
        if (e != -EBADF)
            fail_msg("opcode %u by handle %#llx: %d", rows[i].op, (unsigned long long)fh, e);
    }
}

static void forged_handles(void **state)
{
    struct wire *w = *state;
    rootfs_start(w, NULL);
    uint64_t node = wire_node(w, "file"), dir = wire_node(w, "dir");
    rootfs_reads(w, node, "hello\n"); /* one is open now, in slot 1, of generation 1 or so */
    struct fuse_read_in rd = {.size = 40};
    char out[256];
    assert_int_equal(fe_call(&w->f, FUSE_READDIR, dir, &rd, sizeof(rd), out, sizeof(out), NULL), 0);
    for (uint64_t gen = 0; gen < 6; gen++)
        for (uint64_t slot = 0; slot < 4; slot++)
            if (gen || slot) {
                ask_by(w, node, gen << 32 | slot);
                ask_by(w, dir, gen << 32 | slot);
            }
    ask_by(w, node, UINT64_MAX);
    rootfs_reads(w, node, "hello\n");
    wire_alive(w);
}

static void wrong_nodes(void **state)
{
    struct wire *w = *state;
    char c[128];
    struct fuse_read_in rd = {.size = 100};
    struct fuse_fallocate_in fa = {.length = 10};
    rootfs_start(w, NULL);
    uint64_t file = wire_node(w, "file"), link = wire_node(w, "link"), fifo = wire_node(w, "fifo");
    assert_int_equal(fe_read(&w->f, ROOT, 0, 0, c, 1), -EISDIR);
    assert_int_equal(rootfs_write(w, ROOT, 0, "x", O_RDWR), -EISDIR);
    assert_int_equal(rootfs_call(w, FUSE_FALLOCATE, ROOT, &fa, sizeof(fa)), -EISDIR);
    assert_int_equal(fe_read(&w->f, fifo, 0, 0, c, 1), -ENXIO);
    assert_int_equal(rootfs_write(w, fifo, 0, "x", O_RDWR), -ENXIO);
    assert_int_equal(fe_read(&w->f, link, 0, 0, c, 1), -ELOOP);
    assert_int_equal(fe_read(&w->f, 0x123456789, 0, 0, c, 1), -EBADF);
    assert_int_equal(fe_read(&w->f, file, 0, UINT64_MAX, c, 1), -EINVAL);
    assert_int_equal(fe_call(&w->f, FUSE_READDIR, file, &rd, sizeof(rd), c, sizeof(c), NULL),
                     -ENOTDIR);
    rd.offset = UINT64_MAX;
    assert_int_equal(fe_call(&w->f, FUSE_READDIR, ROOT, &rd, sizeof(rd), c, sizeof(c), NULL),
                     -EINVAL);
    struct fuse_copy_file_range_in cp = {.nodeid_out = ROOT, .len = 3};
    assert_int_equal(rootfs_call(w, FUSE_COPY_FILE_RANGE, file, &cp, sizeof(cp)), -EISDIR);
    struct fuse_lk_in lk = {.lk = {.end = 5, .type = F_WRLCK}};
    assert_int_equal(rootfs_call(w, FUSE_SETLK, file, &lk, sizeof(lk)), -ENOSYS);
    lk.lk_flags = FUSE_LK_FLOCK;
    assert_int_equal(rootfs_call(w, FUSE_SETLK, file, &lk, sizeof(lk)), -ENOSYS);
    /* Of no offset that it was given. */
    for (rd.offset = 1; rd.offset < (uint64_t)1 << 62; rd.offset *= 3) {
        int e = fe_call(&w->f, FUSE_READDIR, ROOT, &rd, sizeof(rd), c, sizeof(c), NULL);
        assert_true(e == 0 || e == -EINVAL);
    }
    wire_alive(w);
}

/* FORGET while requests of the node are under way, over and over. */
static void forget_between(void **state)
{
    struct wire *w = *state;
    rootfs_start(w, NULL);
    unsigned fds = fe_daemon_fds(&w->d);
    for (unsigned i = 0; i < 300; i++) {
        struct fuse_read_in rd = {.size = 100};
        struct iovec part = {&rd, sizeof(rd)};
        char out[128];
        uint64_t node = wire_node(w, "file");
        int slot = fe_fuse_send(&w->f, FE_REQ, FUSE_READ, node, &part, 1, 100);
        fe_forget(&w->f, node, 1);
        int e = fe_fuse_wait(&w->f, slot, out, sizeof(out), NULL);
        assert_true(e == 0 || e == -EBADF);
    }
    assert_true(rootfs_fds(w, fds + 2));
    wire_alive(w);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, NULL, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(negotiated),
        TEST(read_only),
        TEST(guest_without),
        TEST(guest_of_old),
        TEST(not_linux),
        TEST(no_power),
        TEST(remount),
        TEST(timeouts),
        TEST(by_node),
        TEST(append),
        TEST(direct),
        TEST(create),
        TEST(create_for_reading),
        TEST(forged_handles),
        TEST(wrong_nodes),
        TEST(forget_between),
    };
    return cmocka_run_group_tests_name("wire-rootfs", tests, wire_make, wire_teardown);
}
