/* SPDX-License-Identifier: BSD-3-Clause
 * One measurement in a guest: `mount-bench OP DIR [SECONDS]` works in DIR on the mount to be
 * measured and prints one line "OP VALUE UNIT". `mount-bench list` names the operations.
 * `mount-bench prepare DIR MIB` makes the files (on the host, or through any mount). Some work in
 * DIR/root, a root file system that is made elsewhere, or on /small.tar.
 *
 * A read of a cold operation begins with an empty page cache in the guest; the host's is warm in
 * all of them, so what is compared is the way between the two. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB         (1024.0 * 1024.0)
#define BIG         (1024 * 1024)
#define SMALL       4096
#define FILES       200
#define SMALL_FILES 400
#define SEED        0x9e3779b97f4a7c15u

static double seconds = 1.0;
static char *buf;

static void die(const char *what)
{
    fprintf(stderr, "mount-bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Drop the guest's own page cache and names, so that no operation finds what another left. */
static void drop_caches(void)
{
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
    sync();
    if (fd < 0 || write(fd, "3", 1) != 1)
        die("drop_caches");
    close(fd);
}

static int open_data(const char *dir, int flags)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/data", dir);
    int fd = open(path, flags);
    if (fd < 0)
        die(path);
    return fd;
}

static off_t size_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size < BIG)
        die("data file");
    return st.st_size;
}

/* Not random enough for anything else, and the same on every mount. */
static uint64_t next_random(void)
{
    static uint64_t x = SEED;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

struct io {
    size_t block;
    int random, write;
};

/* Blocks until the time is over; at least one pass over the file when sequential. Returns bytes. */
static double do_io(int fd, const struct io *io, double *took)
{
    off_t size = size_of(fd), off = 0;
    uint64_t blocks = (uint64_t)size / io->block;
    double bytes = 0, start = now(), end = start + seconds;

    do {
        if (io->random)
            off = (off_t)(next_random() % blocks * io->block);
        ssize_t n = io->write ? pwrite(fd, buf, io->block, off) : pread(fd, buf, io->block, off);
        if (n != (ssize_t)io->block)
            die("transfer");
        bytes += (double)n;
        off += n;
        if (off + (off_t)io->block > size)
            off = 0;
    } while (now() < end);
    *took = now() - start;
    return bytes;
}

/* All of the file, once. Returns the seconds that it took. */
static double read_all(int fd, size_t block)
{
    off_t size = size_of(fd), off = 0;
    double start = now();

    for (ssize_t n; off < size && (n = pread(fd, buf, block, off)) > 0; off += n)
        ;
    if (off != size)
        die("read");
    return now() - start;
}

static void data_op(const char *name, const char *dir, const struct io *io, int cold)
{
    double took;
    int fd = open_data(dir, io->write ? O_RDWR : O_RDONLY);
    if (!cold && !io->write)
        read_all(fd, BIG);
    double bytes = do_io(fd, io, &took);
    close(fd);
    printf("%s %.2f MiB/s\n", name, bytes / MIB / took);
}

/* A cold pass is one pass: what comes again is warm. */
static void cold_pass(const char *name, const char *dir, size_t block)
{
    int fd = open_data(dir, O_RDONLY);
    double took = read_all(fd, block);
    printf("%s %.2f MiB/s\n", name, (double)size_of(fd) / MIB / took);
    close(fd);
}

static void mmap_read(const char *name, const char *dir, int cold)
{
    int fd = open_data(dir, O_RDONLY);
    off_t size = size_of(fd);
    uint64_t sum = 0;
    double bytes = 0;

    char *p = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        p = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0); /* 9p without a cache */
    if (p == MAP_FAILED)
        die("mmap");
    for (int pass = cold; pass < 2; pass++) { /* the first of two warms */
        double start = now();
        bytes = 0;
        do {
            for (off_t i = 0; i < size; i += 64)
                sum += *(const volatile uint64_t *)(p + i);
            bytes += (double)size;
        } while (!cold && now() < start + seconds);
        if (pass == 1)
            printf("%s %.2f MiB/s\n", name, bytes / MIB / (now() - start));
    }
    if (sum == 1) /* not likely; but the loads have a purpose now */
        puts("# the sum is 1");
    munmap(p, (size_t)size);
    close(fd);
}

static void file_name(char *path, size_t size, const char *dir, const char *sub, unsigned i)
{
    snprintf(path, size, "%s/%s/%u", dir, sub, i);
}

static unsigned stat_all(const char *dir)
{
    char path[4096];
    struct stat st;

    for (unsigned i = 0; i < FILES; i++) {
        file_name(path, sizeof(path), dir, "many", i);
        if (stat(path, &st) != 0)
            die(path);
    }
    return FILES;
}

static unsigned list_all(const char *dir)
{
    char path[4096];
    struct dirent *d;
    struct stat st;
    unsigned n = 0;

    snprintf(path, sizeof(path), "%s/many", dir);
    DIR *list = opendir(path);
    if (!list)
        die(path);
    while ((d = readdir(list)))
        n += fstatat(dirfd(list), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    closedir(list);
    return n;
}

/* A walk that takes some milliseconds: again, all forgotten in between, until the time is over. */
static void walk_cold(const char *name, const char *dir, unsigned (*walk)(const char *dir))
{
    double took = 0, n = 0;
    for (;;) {
        double start = now();
        n += walk(dir);
        took += now() - start;
        if (took >= seconds)
            break;
        drop_caches();
    }
    printf("%s %.1f files/s\n", name, n / took);
}

static void read_small(const char *name, const char *dir)
{
    char path[4096];
    double start = now();
    for (unsigned i = 0; i < FILES; i++) {
        file_name(path, sizeof(path), dir, "many", i);
        int fd = open(path, O_RDONLY);
        if (fd < 0 || read(fd, buf, SMALL) < 0)
            die(path);
        close(fd);
    }
    printf("%s %.1f files/s\n", name, FILES / (now() - start));
}

static void make_small(const char *name, const char *dir)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/new", dir);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        die(path);
    double start = now();
    for (unsigned i = 0; i < FILES; i++) {
        file_name(path, sizeof(path), dir, "new", i);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0 || write(fd, buf, 2048) != 2048)
            die(path);
        close(fd);
    }
    double made = now() - start;
    for (unsigned i = 0; i < FILES; i++) {
        file_name(path, sizeof(path), dir, "new", i);
        if (unlink(path) != 0)
            die(path);
    }
    printf("%s %.1f files/s\n", name, FILES / made);
}

/* ---- trees ---- */

static unsigned walked;

static int count_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path, (void)st, (void)ftw;
    walked += type != FTW_NS;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    if (strcmp(path, ".") == 0)
        return 0;
    walked++;
    return remove(path);
}

/* Names and attributes of a whole tree. */
static void walk_tree(const char *name, const char *dir)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/root/usr/share/doc", dir);
    double start = now();
    if (nftw(path, count_one, 32, FTW_PHYS | FTW_CHDIR) != 0 || walked < 100)
        die(path);
    printf("%s %.1f files/s\n", name, walked / (now() - start));
}

/* Where a mount's own copy of the archive goes: the tree under all mounts is the same. */
static void untar_dir(char *path, size_t size, const char *dir)
{
    const char *slash = strrchr(dir, '/');
    snprintf(path, size, "%s/untar-%s", dir, slash ? slash + 1 : dir);
}

static void remove_tree(const char *name, const char *dir)
{
    char path[4096];

    untar_dir(path, sizeof(path), dir);
    double start = now();
    if (chdir(path) != 0 || nftw(".", remove_one, 32, FTW_PHYS | FTW_DEPTH) != 0 ||
        rmdir(path) != 0)
        die(path);
    printf("%s %.1f files/s\n", name, walked / (now() - start));
}

/* Run @argv in the folder @at, as its root if @inside, its output dropped. Returns the seconds that
 * it took. */
static double run_command(const char *at, int inside, const char *const argv[])
{
    int null = open("/dev/null", O_RDWR), status;
    double start = now();
    pid_t pid = fork();

    if (null < 0 || pid < 0)
        die("fork");
    if (pid == 0) {
        if (chdir(at) != 0 || (inside && chroot(".") != 0))
            die(at);
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        execv(argv[0], (char *const *)argv);
        die(argv[0]);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        fprintf(stderr, "mount-bench: %s: wait status %#x\n", argv[0], (unsigned)status);
        exit(1);
    }
    double took = now() - start;
    close(null);
    return took;
}

static void untar(const char *name, const char *dir)
{
    char path[4096];
    const char *const argv[] = {"/bin/busybox", "tar", "-xf", "/small.tar", NULL};

    untar_dir(path, sizeof(path), dir);
    if (mkdir(path, 0755) != 0)
        die(path);
    printf("%s %.3f s\n", name, run_command(path, 0, argv));
}

/* A program of DIR/root, of which the guest has nothing in memory. */
static void container(const char *name, const char *dir, const char *const argv[])
{
    char root[4096];

    snprintf(root, sizeof(root), "%s/root", dir);
    setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
    setenv("PATH", "/usr/bin:/bin", 1);
    printf("%s %.3f s\n", name, run_command(root, 1, argv));
}

static const char *const python[] = {
    "/usr/bin/python3", "-c",
    "import argparse, decimal, email, http.client, json, sqlite3, unittest", NULL};
static const char *const dpkg_list[] = {"/usr/bin/dpkg-query", "-l", NULL};
static const char *const dpkg_search[] = {"/usr/bin/dpkg-query", "-S", "/usr/bin/python3", NULL};

static void make_file(const char *path, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, buf, size) != (ssize_t)size)
        die(path);
    close(fd);
}

/* What the archive to be unpacked holds. */
static void prepare_small(const char *dir)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/small", dir);
    mkdir(path, 0755);
    for (unsigned i = 0; i < SMALL_FILES; i++) {
        snprintf(path, sizeof(path), "%s/small/d%u", dir, i / 50);
        if (i % 50 == 0)
            mkdir(path, 0755);
        snprintf(path, sizeof(path), "%s/small/d%u/f%u", dir, i / 50, i);
        make_file(path, 256 + next_random() % 6000);
    }
}

/* The data file of @mib MiB, FILES small ones, and the tree of the archive. */
static void prepare(const char *dir, int mib)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/data", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        die(path);
    for (int i = 0; i < mib; i++) {
        for (size_t k = 0; k < BIG; k += sizeof(uint64_t)) {
            uint64_t v = next_random();
            memcpy(buf + k, &v, sizeof(v));
        }
        if (write(fd, buf, BIG) != BIG)
            die(path);
    }
    close(fd);
    snprintf(path, sizeof(path), "%s/many", dir);
    mkdir(path, 0755);
    for (unsigned i = 0; i < FILES; i++) {
        file_name(path, sizeof(path), dir, "many", i);
        make_file(path, 2048);
    }
    prepare_small(dir);
}

static const struct op {
    const char *name;
    struct io io;
    enum {
        DATA_WARM,
        DATA_COLD,
        PASS,
        MMAP_WARM,
        MMAP_COLD,
        STAT,
        LIST,
        READ,
        MAKE,
        WALK,
        UNTAR,
        REMOVE,
        CONTAINER
    } kind;
    const char *const *argv;
} ops[] = {
    {"seq-read-1m-cold", {BIG, 0, 0}, PASS},
    {"seq-read-1m-warm", {BIG, 0, 0}, DATA_WARM},
    {"seq-read-4k-cold", {SMALL, 0, 0}, PASS},
    {"seq-read-4k-warm", {SMALL, 0, 0}, DATA_WARM},
    {"rand-read-4k-cold", {SMALL, 1, 0}, DATA_COLD},
    {"rand-read-4k-warm", {SMALL, 1, 0}, DATA_WARM},
    {"seq-write-1m", {BIG, 0, 1}, DATA_WARM},
    {"seq-write-4k", {SMALL, 0, 1}, DATA_WARM},
    {"rand-write-4k", {SMALL, 1, 1}, DATA_WARM},
    {"mmap-read-cold", {0, 0, 0}, MMAP_COLD},
    {"mmap-read-warm", {0, 0, 0}, MMAP_WARM},
    {"stat-cold", {0, 0, 0}, STAT},
    {"list-cold", {0, 0, 0}, LIST},
    {"read-small-cold", {0, 0, 0}, READ},
    {"create-small", {0, 0, 0}, MAKE},
    {"untar", {0, 0, 0}, UNTAR}, /* what it makes is removed by the next one */
    {"remove-tree", {0, 0, 0}, REMOVE},
    {"walk-tree-cold", {0, 0, 0}, WALK},
    {"python-cold", {0, 0, 0}, CONTAINER, python},
    {"dpkg-list-cold", {0, 0, 0}, CONTAINER, dpkg_list},
    {"dpkg-search-cold", {0, 0, 0}, CONTAINER, dpkg_search},
};
#define NOPS (sizeof(ops) / sizeof(ops[0]))

static void run(const struct op *op, const char *dir)
{
    switch (op->kind) {
    case DATA_WARM:
    case DATA_COLD:
        data_op(op->name, dir, &op->io, op->kind == DATA_COLD);
        break;
    case PASS:
        cold_pass(op->name, dir, op->io.block);
        break;
    case MMAP_WARM:
    case MMAP_COLD:
        mmap_read(op->name, dir, op->kind == MMAP_COLD);
        break;
    case STAT:
        walk_cold(op->name, dir, stat_all);
        break;
    case LIST:
        walk_cold(op->name, dir, list_all);
        break;
    case READ:
        read_small(op->name, dir);
        break;
    case MAKE:
        make_small(op->name, dir);
        break;
    case WALK:
        walk_tree(op->name, dir);
        break;
    case UNTAR:
        untar(op->name, dir);
        break;
    case REMOVE:
        remove_tree(op->name, dir);
        break;
    case CONTAINER:
        container(op->name, dir, op->argv);
        break;
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (size_t i = 0; i < NOPS; i++)
            puts(ops[i].name);
        return 0;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: mount-bench list | prepare DIR MIB | OP DIR [SECONDS]\n");
        return 2;
    }
    buf = aligned_alloc(SMALL, BIG);
    if (!buf)
        die("memory");
    memset(buf, 'x', BIG);
    if (strcmp(argv[1], "prepare") == 0) {
        prepare(argv[2], argc > 3 ? atoi(argv[3]) : 64);
        return 0;
    }
    if (argc > 3)
        seconds = atof(argv[3]);
    for (size_t i = 0; i < NOPS; i++) {
        if (strcmp(argv[1], ops[i].name) == 0) {
            drop_caches();
            run(&ops[i], argv[2]);
            return 0;
        }
    }
    fprintf(stderr, "mount-bench: no operation '%s'\n", argv[1]);
    return 2;
}
