/* SPDX-License-Identifier: BSD-3-Clause
 * Files whose bytes are known, looked at through mappings and through read(): for shares with a DAX
 * window. Byte i of a file with seed S is pattern(S, i), so what is found is right or it is not. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (1UL << 20)

static int fail(const char *what)
{
    fprintf(stderr, "mapcheck: %s: %s\n", what, strerror(errno));
    return 1;
}

static unsigned long mix(unsigned long x)
{
    x = (x ^ (x >> 31)) * 0x7fb5d329728ea185UL;
    return x ^ (x >> 27);
}

/* Fill @p with bytes [off, off + len) of the file with @seed. */
static void pattern(unsigned char *p, unsigned long seed, unsigned long off, unsigned long len)
{
    for (unsigned long i = 0; i < len; i++) {
        if (i == 0 || (off + i) % 8 == 0) {
            unsigned long word = mix((off + i) / 8 + seed * 0x9e3779b97f4a7c15UL);

            for (; i < len; i++) {
                p[i] = word >> ((off + i) % 8 * 8);
                if ((off + i) % 8 == 7)
                    break;
            }
        }
    }
}

static int differs(const unsigned char *found, const unsigned char *wanted, unsigned long off,
                   unsigned long len)
{
    if (memcmp(found, wanted, len) == 0)
        return 0;
    for (unsigned long i = 0; i < len; i++)
        if (found[i] != wanted[i]) {
            fprintf(stderr, "mapcheck: byte %lu is %02x, not %02x\n", off + i, found[i], wanted[i]);
            break;
        }
    return 1;
}

static unsigned long size_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) < 0 ? 0 : (unsigned long)st.st_size;
}

/* write FILE SIZE SEED OFFSET: bytes [offset, size) by write(); the file is made if need be. */
static int do_write(int fd, unsigned long size, unsigned long seed, unsigned long off)
{
    static unsigned char buf[CHUNK];

    for (unsigned long n; off < size; off += n) {
        n = size - off < CHUNK ? size - off : CHUNK;
        pattern(buf, seed, off, n);
        if (pwrite(fd, buf, n, off) != (ssize_t)n)
            return fail("write");
    }
    return 0;
}

/* read FILE SIZE SEED OFFSET: the size is this, and these bytes are right, by read(). */
static int do_read(int fd, unsigned long size, unsigned long seed, unsigned long off)
{
    static unsigned char buf[CHUNK], wanted[CHUNK];

    if (size_of(fd) != size) {
        fprintf(stderr, "mapcheck: size %lu, not %lu\n", size_of(fd), size);
        return 1;
    }
    for (unsigned long n; off < size; off += n) {
        n = size - off < CHUNK ? size - off : CHUNK;
        pattern(wanted, seed, off, n);
        if (pread(fd, buf, n, off) != (ssize_t)n)
            return fail("read");
        if (differs(buf, wanted, off, n))
            return 1;
    }
    return 0;
}

/* map FILE SIZE SEED OFFSET: the same through a shared mapping; behind the end, zeroes. */
static int do_map(int fd, unsigned long size, unsigned long seed, unsigned long off)
{
    static unsigned char wanted[CHUNK], zero[65536];
    unsigned long page = sysconf(_SC_PAGESIZE), tail = (page - size % page) % page;
    unsigned char *p;
    int bad = 0;

    if (size_of(fd) != size) {
        fprintf(stderr, "mapcheck: size %lu, not %lu\n", size_of(fd), size);
        return 1;
    }
    p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return fail("mmap");
    for (unsigned long n; off < size && !bad; off += n) {
        n = size - off < CHUNK ? size - off : CHUNK;
        pattern(wanted, seed, off, n);
        bad = differs(p + off, wanted, off, n);
    }
    if (!bad && memcmp(p + size, zero, tail) != 0) {
        fprintf(stderr, "mapcheck: what lies behind the end of the file is not zero\n");
        bad = 1;
    }
    munmap(p, size);
    return bad;
}

static int store(int fd, unsigned long size, unsigned long seed, unsigned long off, int sync)
{
    unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED)
        return fail("mmap");
    pattern(p + off, seed, off, size - off);
    if (sync && msync(p, size, MS_SYNC) < 0)
        return fail("msync");
    munmap(p, size);
    return 0;
}

/* store FILE SIZE SEED OFFSET: bytes [offset, size) by stores through a shared mapping. */
static int do_store(int fd, unsigned long size, unsigned long seed, unsigned long off)
{
    return store(fd, size, seed, off, 0);
}

/* sync FILE SIZE SEED OFFSET: the same, and msync. */
static int do_sync(int fd, unsigned long size, unsigned long seed, unsigned long off)
{
    return store(fd, size, seed, off, 1);
}

/* private FILE SIZE SEED OFFSET: stores in a private mapping are seen there and nowhere else. */
static int do_private(int fd, unsigned long size, unsigned long seed, unsigned long off)
{
    unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

    if (p == MAP_FAILED)
        return fail("mmap");
    for (unsigned long i = off; i < size; i += 4096)
        p[i] ^= 0xff;
    if (do_read(fd, size, seed, off))
        return 1;
    for (unsigned long i = off; i < size; i += 4096) {
        unsigned char wanted;

        pattern(&wanted, seed, i, 1);
        wanted ^= 0xff;
        if (differs(p + i, &wanted, i, 1))
            return 1;
    }
    munmap(p, size);
    return 0;
}

/* await FILE SIZE SEED OFFSET: as map, with one mapping all along, until it is so; 10 s at most. */
static int do_await(int fd, unsigned long size, unsigned long seed, unsigned long off)
{
    unsigned char *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0), *wanted = malloc(size);

    if (p == MAP_FAILED || !wanted)
        return fail("mmap");
    pattern(wanted + off, seed, off, size - off);
    for (int i = 0; i < 200; i++) {
        if (memcmp(p + off, wanted + off, size - off) == 0)
            return 0;
        usleep(50000);
    }
    return differs(p + off, wanted + off, off, size - off);
}

static sigjmp_buf back;

static void on_bus(int sig)
{
    siglongjmp(back, sig);
}

/* Whether a load from @p is SIGBUS. */
static int faults(const unsigned char *p)
{
    if (sigsetjmp(back, 1))
        return 1;
    (void)*(const volatile unsigned char *)p;
    return 0;
}

/* cut FILE SIZE SEED OFFSET: the file is mapped, then cut to OFFSET (whole pages): behind it is
 * SIGBUS, for this program alone, and before it nothing changes; long again, there are zeroes. */
static int do_cut(int fd, unsigned long size, unsigned long seed, unsigned long off)
{
    static unsigned char wanted[CHUNK], zero[65536];
    unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    unsigned long n = off < CHUNK ? off : CHUNK;

    if (p == MAP_FAILED || do_map(fd, size, seed, 0) || signal(SIGBUS, on_bus) == SIG_ERR)
        return fail("mmap");
    if (faults(p + off) || faults(p + size - 1)) {
        fprintf(stderr, "mapcheck: SIGBUS too early\n");
        return 1;
    }
    if (ftruncate(fd, off) < 0)
        return fail("truncate");
    if (!faults(p + off) || !faults(p + size - 1)) {
        fprintf(stderr, "mapcheck: no SIGBUS behind the end of the file\n");
        return 1;
    }
    pattern(wanted, seed, 0, n);
    if (differs(p, wanted, 0, n))
        return 1;
    if (ftruncate(fd, size) < 0)
        return fail("truncate");
    return faults(p + off) ? fail("SIGBUS in a long file") : differs(p + off, zero, off, 4096);
}

/* blocks FILE SIZE SEED ROUNDS: blocks of the file at random, each with its number and turn, stored
 * by turns through a mapping and by write(), verified by turns the other way; at the end all of
 * them. The file then has the bytes of SEED again. */
static int do_blocks(int fd, unsigned long size, unsigned long seed, unsigned long rounds)
{
    static unsigned char block[4096], found[4096];
    unsigned long count = size / sizeof(block), x = seed + 1;
    unsigned *turn = calloc(count, sizeof(*turn));
    unsigned char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int bad = 0;

    if (p == MAP_FAILED || !turn || count == 0)
        return fail("blocks");
    for (unsigned long i = 0; i < rounds + count && !bad; i++) {
        unsigned long b = i < rounds ? (x = mix(x + i)) % count : i - rounds;
        unsigned char *at = p + b * sizeof(block);

        pattern(block, seed + turn[b], b * sizeof(block), sizeof(block));
        if (i % 2 == 0)
            memcpy(found, at, sizeof(found));
        else if (pread(fd, found, sizeof(found), b * sizeof(block)) != sizeof(found))
            return fail("read");
        bad = differs(found, block, b * sizeof(block), sizeof(block));
        turn[b] = i < rounds ? turn[b] + 1 : 0;
        pattern(block, seed + turn[b], b * sizeof(block), sizeof(block));
        if (i % 3 == 0)
            memcpy(at, block, sizeof(block));
        else if (pwrite(fd, block, sizeof(block), b * sizeof(block)) != sizeof(block))
            return fail("write");
    }
    munmap(p, size);
    free(turn);
    return bad;
}

static const struct {
    const char *name;
    int flags;
    int (*fn)(int fd, unsigned long size, unsigned long seed, unsigned long off);
} verbs[] = {
    {"write", O_RDWR | O_CREAT, do_write}, {"append", O_WRONLY | O_APPEND, do_write},
    {"read", O_RDONLY, do_read},           {"map", O_RDONLY, do_map},
    {"store", O_RDWR, do_store},           {"sync", O_RDWR, do_sync},
    {"private", O_RDONLY, do_private},     {"await", O_RDONLY, do_await},
    {"blocks", O_RDWR, do_blocks},         {"cut", O_RDWR, do_cut},
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc == 6 && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        int fd, bad;

        if (strcmp(argv[1], verbs[i].name) != 0)
            continue;
        fd = open(argv[2], verbs[i].flags, 0644);
        if (fd < 0)
            return fail(argv[2]);
        bad = verbs[i].fn(fd, strtoul(argv[3], NULL, 0), strtoul(argv[4], NULL, 0),
                          strtoul(argv[5], NULL, 0));
        return close(fd) < 0 ? fail("close") : bad;
    }
    fprintf(
        stderr,
        "usage: mapcheck write|append|read|map|store|sync|private|await|cut FILE SIZE SEED OFFSET\n"
        "       mapcheck blocks FILE SIZE SEED ROUNDS\n");
    return 2;
}
