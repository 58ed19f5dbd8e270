/* SPDX-License-Identifier: BSD-3-Clause
 * The floor: the system calls that a pass-through daemon cannot do without, made directly on the
 * same files by one thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/lib/fe-time.h"

static struct {
    int known, walk, big, data, proc;
    int fds[BN_KNOWN];
    uint8_t *buf; /* BN_SLOTS payload buffers */
    struct iovec iov[BN_SLOTS][BN_DATA_MAX / BN_PAGE];
    uint64_t rnd;
    unsigned inflight;
} d;

static int must_open(int dir, const char *name, int flags)
{
    int fd = openat(dir, name, flags | O_CLOEXEC);
    if (fd < 0)
        bn_die("%s: %s", name, strerror(errno));
    return fd;
}

static void name_of(char *name, char letter, unsigned n)
{
    name[0] = letter;
    name[6] = '\0';
    for (int i = 5; i >= 1; i--, n /= 10)
        name[i] = (char)('0' + n % 10);
}

void bn_direct_open(const char *path)
{
    int root = must_open(AT_FDCWD, path, O_PATH | O_DIRECTORY);
    d.known = must_open(root, "known", O_PATH | O_DIRECTORY);
    d.walk = must_open(root, "walk", O_PATH | O_DIRECTORY);
    d.big = must_open(root, "big", O_PATH | O_DIRECTORY);
    d.data = must_open(root, "data", O_RDWR);
    d.proc = must_open(AT_FDCWD, "/proc/self/fd", O_PATH | O_DIRECTORY);
    for (unsigned i = 0; i < BN_KNOWN; i++) {
        char name[8];
        name_of(name, 'f', i);
        d.fds[i] = must_open(d.known, name, O_PATH | O_NOFOLLOW);
    }
    d.buf = aligned_alloc(BN_PAGE, (size_t)BN_SLOTS * BN_DATA_MAX);
    memset(d.buf, 1, (size_t)BN_SLOTS * BN_DATA_MAX);
    for (unsigned s = 0; s < BN_SLOTS; s++)
        for (unsigned i = 0; i < BN_DATA_MAX / BN_PAGE; i++)
            d.iov[s][i] = (struct iovec){
                d.buf + (size_t)s * BN_DATA_MAX + (size_t)i * BN_PAGE,
                BN_PAGE,
            };
    d.rnd = 0x9e3779b97f4a7c15ULL;
    close(root);
}

static void ok(bool good, const char *what)
{
    if (!good)
        bn_die("direct: %s: %s", what, strerror(errno));
}

static int reopen(int fd, int flags)
{
    char name[16];
    snprintf(name, sizeof(name), "%d", fd);
    return openat(d.proc, name, flags | O_CLOEXEC);
}

static uint64_t random_offset(void)
{
    d.rnd ^= d.rnd << 13;
    d.rnd ^= d.rnd >> 7;
    d.rnd ^= d.rnd << 17;
    return d.rnd % (BN_FILE_LEN / BN_PAGE) * BN_PAGE;
}

static unsigned do_getattr(unsigned i)
{
    struct stat st;
    ok(fstatat(d.fds[i % BN_KNOWN], "", &st, AT_EMPTY_PATH) == 0, "fstatat");
    return 1;
}

static unsigned do_lookup(unsigned i)
{
    struct stat st;
    char name[8];
    name_of(name, 'f', i % BN_KNOWN);
    ok(fstatat(d.known, name, &st, AT_SYMLINK_NOFOLLOW) == 0, "fstatat");
    return 1;
}

static unsigned do_miss(unsigned i)
{
    struct stat st;
    char name[8];
    name_of(name, 'x', i % BN_KNOWN);
    ok(fstatat(d.known, name, &st, AT_SYMLINK_NOFOLLOW) < 0, "fstatat");
    return 1;
}

static unsigned do_statfs(unsigned i)
{
    struct statfs st;
    ok(fstatfs(d.fds[0], &st) == 0, "fstatfs");
    return 1;
}

static unsigned do_read4k(unsigned i)
{
    ok(pread(d.data, d.buf + (size_t)(i % d.inflight) * BN_DATA_MAX, 4096,
             (off_t)random_offset()) == 4096,
       "pread");
    return 1;
}

static unsigned do_write4k(unsigned i)
{
    ok(pwrite(d.data, d.buf + (size_t)(i % d.inflight) * BN_DATA_MAX, 4096,
              (off_t)random_offset()) == 4096,
       "pwrite");
    return 1;
}

/* What looking up a name that is not known yet, and forgetting it, costs a daemon that holds
 * descriptors. */
static int open_entry(int dir, const char *name)
{
    struct stat st;
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    ok(fd >= 0, "openat");
    ok(fstatat(fd, "", &st, AT_EMPTY_PATH) == 0, "fstatat");
    return fd;
}

static unsigned do_forget(unsigned i)
{
    char name[8];
    name_of(name, 'f', i % BN_BIG);
    close(open_entry(d.big, name));
    return 1;
}

static unsigned do_open(unsigned i)
{
    int fd = reopen(d.fds[i % BN_KNOWN], O_RDONLY);
    ok(fd >= 0, "open");
    close(fd);
    return 1;
}

static unsigned do_walk(unsigned i)
{
    char name[8];
    name_of(name, 'f', i % BN_WALK);
    int path = open_entry(d.walk, name);
    int fd = reopen(path, O_RDONLY);
    ok(fd >= 0, "open");
    ok(pread(fd, d.buf, BN_WALK_LEN, 0) == BN_WALK_LEN, "pread");
    close(fd);
    close(path);
    return 1;
}

struct dirent64 {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

static unsigned read_dir(bool plus)
{
    static char buf[32768];
    int fd = reopen(d.big, O_RDONLY | O_DIRECTORY);
    ok(fd >= 0, "open");
    unsigned n = 0;
    for (long len; (len = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0;) {
        for (long at = 0; at < len; n++) {
            struct dirent64 *e = (void *)(buf + at);
            if (plus && e->name[0] != '.')
                close(open_entry(d.big, e->name));
            at += e->reclen;
        }
    }
    close(fd);
    return n;
}

static unsigned do_readdir(unsigned i)
{
    return read_dir(false);
}

static unsigned do_readdirplus(unsigned i)
{
    return read_dir(true);
}

static unsigned big_io(bool wr, unsigned i, uint32_t size)
{
    struct iovec *iov = d.iov[i % d.inflight];
    off_t off = (off_t)((uint64_t)i * size % BN_BIG_LEN);
    int n = (int)(size / BN_PAGE);
    ssize_t done = wr ? pwritev(d.data, iov, n, off) : preadv(d.data, iov, n, off);
    ok(done == (ssize_t)size, "preadv or pwritev");
    return 1;
}

static unsigned do_read128k(unsigned i)
{
    return big_io(false, i, 128 << 10);
}

static unsigned do_write128k(unsigned i)
{
    return big_io(true, i, 128 << 10);
}

static unsigned do_read1m(unsigned i)
{
    return big_io(false, i, 1 << 20);
}

static unsigned do_write1m(unsigned i)
{
    return big_io(true, i, 1 << 20);
}

static const struct {
    const char *name;
    unsigned (*fn)(unsigned i);
} direct_ops[] = {
    {"getattr", do_getattr},      {"lookup", do_lookup},           {"lookup-miss", do_miss},
    {"statfs", do_statfs},        {"read4k", do_read4k},           {"write4k", do_write4k},
    {"lookup+forget", do_forget}, {"open+release", do_open},       {"walk", do_walk},
    {"readdir", do_readdir},      {"readdirplus", do_readdirplus}, {"read128k", do_read128k},
    {"write128k", do_write128k},  {"read1m", do_read1m},           {"write1m", do_write1m},
};

static double cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

bool bn_direct_run(const char *op, unsigned inflight, int ms, struct bn_sample *out)
{
    unsigned (*fn)(unsigned) = NULL;
    for (unsigned i = 0; i < sizeof(direct_ops) / sizeof(direct_ops[0]); i++)
        if (strcmp(direct_ops[i].name, op) == 0)
            fn = direct_ops[i].fn;
    if (!fn)
        return false;
    d.inflight = inflight;
    *out = (struct bn_sample){0};
    double cpu = cpu_ns();
    int64_t start = fe_now_ns(), now = start, end = start + (int64_t)ms * 1000000;
    for (unsigned i = 0; now < end; i++) {
        out->ops += fn(i);
        if ((i & 15) == 15 || out->ops > i + 1)
            now = fe_now_ns();
    }
    out->ns = (double)(now - start);
    out->cpu_ns = cpu_ns() - cpu;
    return true;
}
