/* SPDX-License-Identifier: BSD-3-Clause
 * Bytes: large and sparse files, holes, fallocate, copy_file_range, sync, shared mappings. */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define KIB (1024LL)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* A byte of the test pattern: depends on its offset in no simple period. */
static unsigned char pattern(uint64_t off)
{
    return (off * 2654435761u) >> 13 ^ off >> 12;
}

static void write_pattern(int fd, uint64_t from, size_t len, size_t step)
{
    unsigned char *buf = malloc(step);

    for (uint64_t off = from; off < from + len; off += step) {
        size_t n = from + len - off < step ? from + len - off : step;

        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(off + i);
        EQ(pwrite(fd, buf, n, off), n);
    }
    free(buf);
}

/* The pattern of offset @as stands at @from. */
static void expect_pattern(int fd, uint64_t from, uint64_t as, size_t len)
{
    unsigned char *buf = malloc(len);
    size_t bad = 0;

    EQ(pread(fd, buf, len, from), len);
    for (size_t i = 0; i < len; i++)
        bad += buf[i] != pattern(as + i);
    EQ(bad, 0);
    free(buf);
}

static void expect_zeros(int fd, uint64_t from, size_t len)
{
    unsigned char *buf = malloc(len);
    size_t bad = 0;

    EQ(pread(fd, buf, len, from), len);
    for (size_t i = 0; i < len; i++)
        bad += buf[i] != 0;
    EQ(bad, 0);
    free(buf);
}

/* Odd sizes around every limit of the protocol. */
static const size_t steps[] = {1, 511, 4095, 4097, 65536, 131073, 1048576, 3000001};
#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

/* Of the small ones less; the smallest goes past a page. */
static size_t rw_length(unsigned i)
{
    return steps[i] == 1      ? 4200
           : steps[i] < 4096  ? 40000
           : steps[i] < 65536 ? MIB + 17
                              : 5 * MIB + 17;
}

static void rw_guest(void)
{
    char name[32];

    for (unsigned i = 0; i < N_STEPS; i++) {
        size_t len = rw_length(i);
        int fd;

        sprintf(name, "step-%zu", steps[i]);
        fd = NEED(open(name, O_CREAT | O_RDWR, 0644));
        write_pattern(fd, 0, len, steps[i]);
        expect_pattern(fd, 0, 0, len);
        close(fd);
    }
}

static void rw_host(void)
{
    char name[32];

    for (unsigned i = 0; i < N_STEPS; i++) {
        size_t len = rw_length(i);
        int fd;

        sprintf(name, "step-%zu", steps[i]);
        EQ(look(name).st_size, len);
        fd = NEED(open(name, O_RDONLY));
        expect_pattern(fd, 0, 0, len);
        close(fd);
    }
}

static void vectors_guest(void)
{
    struct iovec iov[100];
    char buf[100][33];
    int fd = NEED(open("file", O_CREAT | O_RDWR, 0644));

    for (int i = 0; i < 100; i++) {
        memset(buf[i], 'a' + i % 26, 33);
        iov[i] = (struct iovec){buf[i], 33};
    }
    EQ(writev(fd, iov, 100), 3300);
    memset(buf, 0, sizeof(buf));
    EQ(preadv(fd, iov, 100, 0), 3300);
    for (int i = 0; i < 100; i++)
        CHECK(buf[i][0] == 'a' + i % 26 && buf[i][32] == 'a' + i % 26);
    close(fd);
}

static void sparse_guest(void)
{
    int fd = NEED(open("file", O_CREAT | O_RDWR, 0644));

    write_pattern(fd, 5 * GIB, 100000, 100000);
    write_pattern(fd, 1 * MIB, 64 * KIB, 4096);
    NEED(fsync(fd));
    if (lacks("seek-hole")) {
        EQ(lseek(fd, 1 * KIB, SEEK_DATA), 1 * KIB);
        EQ(lseek(fd, 1 * MIB, SEEK_HOLE), 5 * GIB + 100000);
    } else {
        EQ(lseek(fd, 0, SEEK_DATA), 1 * MIB);
        EQ(lseek(fd, 1 * MIB, SEEK_HOLE), 1 * MIB + 64 * KIB);
        EQ(lseek(fd, 2 * MIB, SEEK_DATA), 5 * GIB);
    }
    EQ(lseek(fd, 0, SEEK_END), 5 * GIB + 100000);
    FAILS(lseek(fd, 6 * GIB, SEEK_DATA), ENXIO);
    expect_zeros(fd, 3 * GIB, 10000);
    NEED(ftruncate(fd, 7 * GIB));
    expect_zeros(fd, 6 * GIB, 10000);
    close(fd);
}

static void sparse_host(void)
{
    struct stat st = look("file");
    int fd = NEED(open("file", O_RDONLY));

    EQ(st.st_size, 7 * GIB);
    CHECK(st.st_blocks * 512 < 1 * MIB);
    expect_pattern(fd, 5 * GIB, 5 * GIB, 100000);
    expect_pattern(fd, 1 * MIB, 1 * MIB, 64 * KIB);
    EQ(lseek(fd, 0, SEEK_DATA), 1 * MIB);
    close(fd);
}

static void truncate_guest(void)
{
    int fd = NEED(open("file", O_CREAT | O_RDWR, 0644));

    write_pattern(fd, 0, 10000, 10000);
    NEED(ftruncate(fd, 5000));
    NEED(ftruncate(fd, 20000));
    expect_pattern(fd, 0, 0, 5000);
    expect_zeros(fd, 5000, 15000);
    close(fd);
    NEED(truncate("file", 15000));
    FAILS(truncate("file", -1), EINVAL);
    FAILS(truncate(".", 0), EISDIR);
}

static void truncate_host(void)
{
    int fd = NEED(open("file", O_RDONLY));

    EQ(look("file").st_size, 15000);
    expect_pattern(fd, 0, 0, 5000);
    expect_zeros(fd, 5000, 10000);
    close(fd);
}

/* A file of 64 KiB of pattern, open. */
static int make_full(const char *name)
{
    int fd = NEED(open(name, O_CREAT | O_RDWR, 0644));

    write_pattern(fd, 0, 64 * KIB, 64 * KIB);
    return fd;
}

/* What the host's file system can do, tried there by prepare and read by the guest. */
static void fallocate_prepare(void)
{
    static const struct {
        const char *name;
        int mode;
    } tries[] = {{"can-punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE},
                 {"can-zero", FALLOC_FL_ZERO_RANGE}};

    for (unsigned i = 0; i < 2; i++) {
        int fd = make_full("try");

        if (fallocate(fd, tries[i].mode, 0, 4096) == 0)
            put(tries[i].name, "");
        close(fd);
        NEED(unlink("try"));
    }
}

static void fallocate_guest(void)
{
    int fd = make_full("extend");

    if (lacks("fallocate")) {
        FAILS(fallocate(fd, 0, 0, 1 * MIB), EOPNOTSUPP);
        EQ(lseek(fd, 0, SEEK_END), 64 * KIB);
        close(fd);
        return;
    }
    NEED(fallocate(fd, 0, 0, 1 * MIB));
    EQ(lseek(fd, 0, SEEK_END), 1 * MIB);
    close(fd);
    fd = make_full("keep");
    NEED(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 * MIB));
    EQ(lseek(fd, 0, SEEK_END), 64 * KIB);
    close(fd);
    fd = make_full("punch");
    if (access("can-punch", F_OK) == 0) {
        NEED(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 16 * KIB, 16 * KIB));
        expect_zeros(fd, 16 * KIB, 16 * KIB);
    }
    close(fd);
    fd = make_full("zero");
    if (access("can-zero", F_OK) == 0) {
        NEED(fallocate(fd, FALLOC_FL_ZERO_RANGE, 60 * KIB, 8 * KIB));
        expect_zeros(fd, 60 * KIB, 8 * KIB);
    }
    /* The guest's kernel itself refuses what moves data. */
    FAILS(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), EOPNOTSUPP);
    FAILS(fallocate(fd, 0, 0, 0), EINVAL);
    close(fd);
}

static void fallocate_host(void)
{
    int fd = NEED(open("extend", O_RDONLY));

    if (lacks("fallocate")) {
        EQ(look("extend").st_size, 64 * KIB);
        expect_pattern(fd, 0, 0, 64 * KIB);
        close(fd);
        return;
    }
    EQ(look("extend").st_size, 1 * MIB);
    CHECK(look("extend").st_blocks * 512 >= 1 * MIB);
    expect_pattern(fd, 0, 0, 64 * KIB);
    close(fd);
    EQ(look("keep").st_size, 64 * KIB);
    CHECK(look("keep").st_blocks * 512 >= 1 * MIB);
    if (access("can-punch", F_OK) == 0) {
        fd = NEED(open("punch", O_RDONLY));
        EQ(lseek(fd, 0, SEEK_HOLE), 16 * KIB);
        expect_pattern(fd, 32 * KIB, 32 * KIB, 32 * KIB);
        close(fd);
    }
    if (access("can-zero", F_OK) == 0) {
        fd = NEED(open("zero", O_RDONLY));
        EQ(look("zero").st_size, 68 * KIB);
        expect_pattern(fd, 0, 0, 60 * KIB);
        expect_zeros(fd, 60 * KIB, 8 * KIB);
        close(fd);
    }
}

static void copy_guest(void)
{
    int in = NEED(open("in", O_CREAT | O_RDWR, 0644));
    int fd = NEED(open("out", O_CREAT | O_RDWR, 0644));
    loff_t from = 12345, to = 777;
    size_t left = 9 * MIB;

    write_pattern(in, 0, 10 * MIB, 1 * MIB);
    while (left > 0) {
        ssize_t n = NEED(copy_file_range(in, &from, fd, &to, left, 0));

        if (n == 0)
            give_up(__FILE__, __LINE__, "copy_file_range ends with %zu bytes left", left);
        left -= n;
    }
    EQ(from, 12345 + 9 * MIB);
    EQ(to, 777 + 9 * MIB);
    expect_pattern(fd, 777, 12345, 9 * MIB);
    from = 20 * MIB;
    EQ(copy_file_range(in, &from, fd, &to, 4096, 0), 0);
    close(in);
    close(fd);
}

static void copy_host(void)
{
    int fd = NEED(open("out", O_RDONLY));

    EQ(look("out").st_size, 777 + 9 * MIB);
    expect_zeros(fd, 0, 777);
    expect_pattern(fd, 777, 12345, 9 * MIB);
    close(fd);
}

static void sync_guest(void)
{
    int fd = NEED(open("file", O_CREAT | O_RDWR, 0644)), dir = NEED(open(".", O_RDONLY));

    write_pattern(fd, 0, 1 * MIB, 65536);
    NEED(fsync(fd));
    write_pattern(fd, 1 * MIB, 1 * MIB, 65536);
    NEED(fdatasync(fd));
    NEED(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    NEED(fsync(dir));
    NEED(syncfs(dir));
    sync();
    close(dir);
    close(fd);
}

static void sync_host(void)
{
    int fd = NEED(open("file", O_RDONLY));

    expect_pattern(fd, 0, 0, 2 * MIB);
    close(fd);
}

static void write_mapped(int fd)
{
    unsigned char *p = mmap(NULL, 1 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    NEED(p == MAP_FAILED ? -1 : 0);
    for (size_t i = 0; i < 1 * MIB; i++)
        p[i] = pattern(i);
    NEED(msync(p, lacks("mapped-read") ? 1 * MIB : 512 * KIB, MS_SYNC));
    expect_pattern(fd, 0, 0, 1 * MIB);
    /* What is written through the descriptor shows in the mapping. */
    EQ(pwrite(fd, "visible", 7, 100), 7);
    EQ(memcmp(p + 100, "visible", 7), 0);
    NEED(munmap(p, 1 * MIB));
}

static void mmap_guest(void)
{
    int fd = NEED(open("file", O_CREAT | O_RDWR, 0644));
    unsigned char *p;
    size_t bad = 0;

    NEED(ftruncate(fd, 1 * MIB));
    if (lacks("shared-mmap")) {
        p = mmap(NULL, 1 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        FAILS(p == MAP_FAILED ? -1 : 0, EINVAL);
        write_pattern(fd, 0, 1 * MIB, 1 * MIB);
        EQ(pwrite(fd, "visible", 7, 100), 7);
    } else {
        write_mapped(fd);
    }
    close(fd);

    fd = NEED(open("file", O_RDONLY));
    p = mmap(NULL, 1 * MIB, PROT_READ, MAP_PRIVATE, fd, 0);
    NEED(p == MAP_FAILED ? -1 : 0);
    for (size_t i = 200; i < 1 * MIB; i++)
        bad += p[i] != pattern(i);
    EQ(bad, 0);
    NEED(munmap(p, 1 * MIB));
    close(fd);
}

static void mmap_host(void)
{
    int fd = NEED(open("file", O_RDONLY));

    expect_pattern(fd, 0, 0, 100);
    expect_pattern(fd, 107, 107, 1 * MIB - 107);
    close(fd);
}

const struct step io_steps[] = {
    {.name = "read-write", .guest = rw_guest, .host = rw_host},
    {.name = "vectors", .guest = vectors_guest},
    {.name = "sparse", .guest = sparse_guest, .host = sparse_host},
    {.name = "truncate", .guest = truncate_guest, .host = truncate_host},
    {.name = "fallocate",
     .prepare = fallocate_prepare,
     .guest = fallocate_guest,
     .host = fallocate_host},
    {.name = "copy-range", .guest = copy_guest, .host = copy_host},
    {.name = "sync", .guest = sync_guest, .host = sync_host},
    {.name = "mmap", .guest = mmap_guest, .host = mmap_host},
    {0},
};
