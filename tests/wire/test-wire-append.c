/* SPDX-License-Identifier: BSD-3-Clause
 * The flags of each READ and WRITE decide: a guest's kernel says nothing when a program changes
 * those of its file, and what it writes from its cache comes by any handle of the inode. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire.h"

static void mount_with(struct wire *w, const char *const *extra, uint64_t flags)
{
    wire_spawn(w, extra);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, flags), 0);
}

static int put(struct wire *w, uint64_t node, uint64_t fh, uint64_t off, const void *buf,
               uint32_t n, int flags, uint32_t write_flags)
{
    struct fuse_write_in in = {
        .fh = fh, .offset = off, .size = n, .flags = (uint32_t)flags, .write_flags = write_flags};
    struct fuse_write_out out = {0};
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)(uintptr_t)buf, n}};
    int slot = fe_fuse_send(&w->f, FE_REQ, FUSE_WRITE, node, part, 2, sizeof(out));
    int e = fe_fuse_wait(&w->f, slot, &out, sizeof(out), NULL);
    return e ? e : (int)out.size;
}

static int text(struct wire *w, uint64_t node, uint64_t fh, uint64_t off, const char *s, int flags,
                uint32_t write_flags)
{
    return put(w, node, fh, off, s, (uint32_t)strlen(s), flags, write_flags);
}

static int opened(struct wire *w, uint64_t node, int flags, struct fuse_open_out *out)
{
    struct fuse_open_in in = {.flags = (uint32_t)flags};
    return fe_call(&w->f, FUSE_OPEN, node, &in, sizeof(in), out, sizeof(*out), NULL);
}

static void host_line(struct wire *w, const char *name, const char *s)
{
    int fd = open(wire_path(w, name), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, s, strlen(s)), strlen(s));
    close(fd);
}

static void holds(struct wire *w, const char *name, const char *want)
{
    char buf[256] = "";
    int fd = open(wire_path(w, name), O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, buf, sizeof(buf) - 1) >= 0);
    close(fd);
    assert_string_equal(buf, want);
}

/* open(O_APPEND), write, mmap, store, msync: the page comes back by the same handle. */
static void mapped_append(void **state)
{
    struct wire *w = *state;
    static uint8_t page[4096];
    struct fuse_attr a;
    uint64_t fh;
    wire_put(w, "mapped", "");
    uint64_t node = wire_node(w, "mapped");
    assert_int_equal(fe_open(&w->f, node, O_RDWR | O_APPEND, &fh), 0);
    memset(page, 'A', sizeof(page));
    assert_int_equal(put(w, node, fh, 0, page, 4096, O_RDWR | O_APPEND, 0), 4096);
    memcpy(page, "hello", 5);
    assert_int_equal(put(w, node, fh, 0, page, 4096, 0, FUSE_WRITE_CACHE), 4096);
    assert_int_equal(fe_getattr(&w->f, node, &a), 0);
    assert_int_equal(a.size, 4096);
    int fd = open(wire_path(w, "mapped"), O_RDONLY | O_CLOEXEC);
    char first[6];
    assert_int_equal(read(fd, first, 6), 6);
    close(fd);
    assert_memory_equal(first, "helloA", 6);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* F_SETFL takes O_APPEND away, and gives it. */
static void changed_flags(void **state)
{
    struct wire *w = *state;
    uint64_t fh;
    wire_put(w, "fl", "0123456789");
    uint64_t node = wire_node(w, "fl");
    assert_int_equal(fe_open(&w->f, node, O_RDWR | O_APPEND, &fh), 0);
    assert_int_equal(text(w, node, fh, 2, "XX", O_RDWR, 0), 2);
    holds(w, "fl", "01XX456789");
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_int_equal(fe_open(&w->f, node, O_WRONLY, &fh), 0);
    host_line(w, "fl", "HOST");
    assert_int_equal(text(w, node, fh, 10, "guest", O_WRONLY | O_APPEND, 0), 5);
    holds(w, "fl", "01XX456789HOSTguest");
    assert_int_equal(text(w, node, fh, 0, "!", O_WRONLY | O_SYNC, 0), 1);
    assert_int_equal(text(w, node, fh, 1, "!", O_WRONLY | O_DSYNC, 0), 1);
    assert_int_equal(text(w, node, fh, 0, ".", O_WRONLY | O_DSYNC | O_APPEND, 0), 1);
    /* What the guest may not say by them: nothing else changes. */
    assert_int_equal(text(w, node, fh, 2, "!", ~(O_APPEND | O_DIRECT), 0), 1);
    holds(w, "fl", "!!!X456789HOSTguest.");
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    assert_int_equal(text(w, node, fh, 0, "no", O_RDWR | O_APPEND, 0), -EBADF);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* COPY_FILE_RANGE and FALLOCATE carry no flags: an O_APPEND of long ago is not in their way. */
static void ranges_after_append(void **state)
{
    struct wire *w = *state;
    uint64_t fh, done = 0;
    wire_put(w, "ranges", "0123456789");
    uint64_t node = wire_node(w, "ranges");
    assert_int_equal(fe_open(&w->f, node, O_RDWR | O_APPEND, &fh), 0);
    struct fuse_copy_file_range_in in = {
        .fh_in = fh, .nodeid_out = node, .fh_out = fh, .off_out = 8, .len = 4};
    assert_int_equal(
        fe_call(&w->f, FUSE_COPY_FILE_RANGE, node, &in, sizeof(in), &done, sizeof(done), NULL), 0);
    holds(w, "ranges", "012345670123");
    struct fuse_fallocate_in fa = {
        .fh = fh, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, .offset = 0, .length = 4};
    assert_int_equal(fe_call(&w->f, FUSE_FALLOCATE, node, &fa, sizeof(fa), NULL, 0, NULL), 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* With --writeback the guest places appended data itself, if it was given leave to delay. */
static void writeback(void **state)
{
    static const char *const extra[] = {"--writeback", NULL};
    struct wire *w = *state;
    uint64_t fh;
    for (int delays = 0; delays < 2; delays++) {
        wire_put(w, "late", "0123");
        mount_with(w, extra,
                   delays ? fe_init_linux : fe_init_linux & ~(uint64_t)FUSE_WRITEBACK_CACHE);
        uint64_t node = wire_node(w, "late");
        assert_int_equal(fe_open(&w->f, node, O_WRONLY | O_APPEND, &fh), 0);
        host_line(w, "late", "H");
        assert_int_equal(text(w, node, fh, 4, "gg", O_WRONLY | O_APPEND, 0), 2);
        holds(w, "late", delays ? "0123gg" : "0123Hgg");
        assert_int_equal(text(w, node, fh, 4, "cc", O_WRONLY | O_APPEND, FUSE_WRITE_CACHE), 2);
        holds(w, "late", delays ? "0123cc" : "0123ccg");
        assert_int_equal(fe_release(&w->f, node, fh), 0);
        wire_finish(w, 0);
    }
}

static bool append_only(struct wire *w, const char *name, bool on)
{
    int fd = open(wire_path(w, name), O_RDONLY | O_CLOEXEC), flags = 0;
    int rc = geteuid() == 0 ? ioctl(fd, FS_IOC_GETFLAGS, &flags) : -1;
    flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
    if (rc == 0)
        rc = ioctl(fd, FS_IOC_SETFLAGS, &flags);
    close(fd);
    return rc == 0;
}

static void append_only_files(void **state)
{
    static const char *const plain[] = {NULL}, *const delayed[] = {"--writeback", NULL};
    struct wire *w = *state;
    struct fuse_open_out o;
    wire_put(w, "log", "log:");
    if (!append_only(w, "log", true)) {
        print_message("no append-only files here\n");
        return;
    }
    for (int late = 0; late < 2; late++) {
        mount_with(w, late ? delayed : plain, fe_init_linux);
        uint64_t node = wire_node(w, "log");
        assert_int_equal(opened(w, node, O_RDWR, &o), -EPERM);
        assert_int_equal(opened(w, node, O_WRONLY | O_APPEND, &o), 0);
        /* The guest must not delay what the host takes as appends only. */
        assert_int_equal(!!(o.open_flags & FOPEN_DIRECT_IO), late);
        assert_int_equal(text(w, node, o.fh, 1, late ? "b" : "a", O_WRONLY | O_APPEND, 0), 1);
        assert_int_equal(text(w, node, o.fh, 0, "no", O_WRONLY, 0), -EPERM);
        assert_int_equal(text(w, node, o.fh, 0, "no", 0, FUSE_WRITE_CACHE), -EPERM);
        assert_int_equal(text(w, node, o.fh, 0, "no", O_APPEND, FUSE_WRITE_CACHE), -EPERM);
        holds(w, "log", late ? "log:ab" : "log:a");
        assert_int_equal(fe_release(&w->f, node, o.fh), 0);
        wire_finish(w, 0);
    }
    assert_true(append_only(w, "log", false));
}

#define DD 10001

/* `dd oflag=direct` of 10,001 bytes: the last, short piece comes after F_SETFL took O_DIRECT away;
 * others do not care and send it as it is. */
static void direct(void **state)
{
    static const char *const extra[] = {"--allow-direct-io", NULL};
    struct wire *w = *state;
    static uint8_t buf[3 * 4096], back[3 * 4096];
    struct fuse_open_out o;
    struct stat st;
    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = wire_pattern(i);
    mount_with(w, extra, fe_init_linux);
    for (int keeps = 0; keeps < 2; keeps++) {
        wire_put(w, "dd", "");
        uint64_t node = wire_node(w, "dd");
        int e = opened(w, node, O_RDWR | O_DIRECT, &o);
        if (e == -EINVAL) {
            print_message("no O_DIRECT on this file system\n");
            break;
        }
        assert_int_equal(e, 0);
        assert_int_equal(put(w, node, o.fh, 0, buf, 4096, O_RDWR | O_DIRECT, 0), 4096);
        int last = keeps ? O_RDWR | O_DIRECT : O_RDWR;
        assert_int_equal(put(w, node, o.fh, 4096, buf + 4096, DD - 4096, last, 0), DD - 4096);
        assert_int_equal(stat(wire_path(w, "dd"), &st), 0);
        assert_int_equal(st.st_size, DD);
        struct fuse_read_in in = {.fh = o.fh, .size = sizeof(back), .flags = (uint32_t)last};
        struct iovec part = {&in, sizeof(in)};
        size_t len;
        int slot = fe_fuse_send(&w->f, FE_REQ, FUSE_READ, node, &part, 1, sizeof(back));
        assert_int_equal(fe_fuse_wait(&w->f, slot, back, sizeof(back), &len), 0);
        assert_int_equal(len, DD);
        assert_memory_equal(back, buf, DD);
        /* A mapping's page, written to the file's end. */
        memcpy(buf + 8192, "mapped", 6);
        assert_int_equal(put(w, node, o.fh, 8192, buf + 8192, DD - 8192, 0, FUSE_WRITE_CACHE),
                         DD - 8192);
        int fd = open(wire_path(w, "dd"), O_RDONLY | O_CLOEXEC);
        assert_int_equal(read(fd, back, sizeof(back)), DD);
        close(fd);
        assert_memory_equal(back, buf, DD);
        assert_int_equal(fe_release(&w->f, node, o.fh), 0);
    }
    /* A long write of these comes in pieces all at once, unless the guest is told this. */
    wire_put(w, "dd", "");
    uint64_t node = wire_node(w, "dd");
    static const int flags[] = {O_RDWR | O_DIRECT, O_RDWR | O_APPEND, O_RDWR | O_APPEND | O_DIRECT};
    for (unsigned i = 0; i < 3; i++) {
        if (opened(w, node, flags[i], &o) != 0)
            continue;
        assert_int_equal(!!(o.open_flags & FOPEN_DIRECT_IO), i == 2);
        assert_int_equal(fe_release(&w->f, node, o.fh), 0);
    }
    wire_finish(w, 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, wire_mount, wire_umount)
#define OWN(t)  cmocka_unit_test_teardown(t, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(mapped_append), TEST(changed_flags),    TEST(ranges_after_append),
        OWN(writeback),      OWN(append_only_files), OWN(direct),
    };
    return cmocka_run_group_tests_name("wire-append", tests, wire_make, wire_teardown);
}
