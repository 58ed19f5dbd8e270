/* SPDX-License-Identifier: BSD-3-Clause
 * One kind of file operation many times, for tests that count, time or kill: ops VERB DIR FROM TO.
 * File i of DIR is d<i / 1000>/f<i>; it holds its number. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each verb does one file; 0 or -1 with errno. */
typedef int verb_fn(const char *path, unsigned long i);

static int do_make(const char *path, unsigned long i)
{
    char text[32];
    int len = sprintf(text, "%lu\n", i);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

    if (fd < 0)
        return -1;
    if (write(fd, text, len) != len)
        return -1;
    return close(fd);
}

static int do_stat(const char *path, unsigned long i)
{
    struct stat st;

    return lstat(path, &st);
}

static int do_missing(const char *path, unsigned long i)
{
    char name[4096];
    struct stat st;

    snprintf(name, sizeof(name), "%s.missing", path);
    if (lstat(name, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    return errno == ENOENT ? 0 : -1;
}

/* Open, read all, close; the text must be the file's number. */
static int do_read(const char *path, unsigned long i)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY);

    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
        return -1;
    close(fd);
    if (strtoul(text, NULL, 10) != i || !strchr(text, '\n')) {
        errno = EBADMSG;
        return -1;
    }
    return 0;
}

static int do_unlink(const char *path, unsigned long i)
{
    return unlink(path);
}

static int do_rename(const char *path, unsigned long i)
{
    char name[4096];

    snprintf(name, sizeof(name), "%s.renamed", path);
    return rename(path, name);
}

static int do_unrename(const char *path, unsigned long i)
{
    char name[4096];

    snprintf(name, sizeof(name), "%s.renamed", path);
    return rename(name, path);
}

static const struct {
    const char *name;
    verb_fn *fn;
} verbs[] = {
    {"make", do_make},     {"stat", do_stat},     {"missing", do_missing},   {"read", do_read},
    {"unlink", do_unlink}, {"rename", do_rename}, {"unrename", do_unrename},
};

static int fail(const char *what)
{
    fprintf(stderr, "ops: %s: %s\n", what, strerror(errno));
    return 1;
}

static int each(verb_fn *fn, const char *dir, unsigned long from, unsigned long to)
{
    char path[4096];

    for (unsigned long i = from; i < to; i++) {
        if (fn == do_make && (i == from || i % 1000 == 0)) {
            snprintf(path, sizeof(path), "%s/d%lu", dir, i / 1000);
            if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return fail(path);
        }
        snprintf(path, sizeof(path), "%s/d%lu/f%lu", dir, i / 1000, i);
        if (fn(path, i) < 0)
            return fail(path);
    }
    return 0;
}

/* Read a directory and lstat every entry, as ls -l does; there must be @wanted. */
static int list(const char *path, unsigned long wanted)
{
    DIR *d = opendir(path);
    struct dirent *e;
    struct stat st;
    unsigned long n = 0;

    if (!d)
        return fail(path);
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return fail(e->d_name);
        n++;
    }
    closedir(d);
    if (n == wanted)
        return 0;
    fprintf(stderr, "ops: %s has %lu entries, not %lu\n", path, n, wanted);
    return 1;
}

/* Store text at the start of a file through a shared mapping. @how: msync, or leave it to close. */
static int map_store(const char *path, const char *text, const char *how)
{
    int fd = open(path, O_RDWR);
    char *p;

    if (fd < 0)
        return fail(path);
    p = mmap(NULL, strlen(text), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return fail("mmap");
    memcpy(p, text, strlen(text));
    if (strcmp(how, "msync") == 0 && msync(p, strlen(text), MS_SYNC) < 0)
        return fail("msync");
    munmap(p, strlen(text));
    return close(fd) < 0 ? fail("close") : 0;
}

/* Open a file, and wait until @text stands at its start, for so many milliseconds. */
static int watch(const char *path, const char *text, long limit)
{
    char buf[64];
    int fd = open(path, O_RDONLY);

    if (fd < 0 || strlen(text) > sizeof(buf) || pread(fd, buf, sizeof(buf), 0) < 0)
        return fail(path);
    for (; limit > 0; limit -= 50) {
        if (pread(fd, buf, sizeof(buf), 0) >= (ssize_t)strlen(text) &&
            memcmp(buf, text, strlen(text)) == 0)
            return 0;
        usleep(50000);
    }
    fprintf(stderr, "ops: %s does not become '%s'\n", path, text);
    return 1;
}

/* Write blocks with fsync until the end of the world; tells how many are safe in @note. */
static int write_forever(const char *path, const char *note)
{
    static char block[65536];
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644), ack;

    ack = open(note, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0 || ack < 0)
        return fail(path);
    for (unsigned long i = 0;; i++) {
        char text[32];
        int len = sprintf(text, "%10lu\n", i + 1);

        memset(block, 'a' + i % 26, sizeof(block));
        if (pwrite(fd, block, sizeof(block), i % 512 * sizeof(block)) != sizeof(block))
            return fail("write");
        if (fsync(fd) < 0)
            return fail("fsync");
        if (pwrite(ack, text, len, 0) != len)
            return fail(note);
    }
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "map-store") == 0)
        return map_store(argv[2], argv[3], argv[4]);
    if (argc == 5 && strcmp(argv[1], "watch") == 0)
        return watch(argv[2], argv[3], atol(argv[4]));
    if (argc == 4 && strcmp(argv[1], "list") == 0)
        return list(argv[2], strtoul(argv[3], NULL, 10));
    if (argc == 4 && strcmp(argv[1], "write-forever") == 0)
        return write_forever(argv[2], argv[3]);
    if (argc == 5)
        for (unsigned v = 0; v < sizeof(verbs) / sizeof(verbs[0]); v++)
            if (strcmp(argv[1], verbs[v].name) == 0)
                return each(verbs[v].fn, argv[2], strtoul(argv[3], NULL, 10),
                            strtoul(argv[4], NULL, 10));
    fprintf(stderr, "usage: ops make|stat|missing|read|unlink|rename|unrename DIR FROM TO\n"
                    "       ops list DIR COUNT\n"
                    "       ops map-store FILE TEXT msync|close\n"
                    "       ops watch FILE TEXT MILLISECONDS\n"
                    "       ops write-forever FILE NOTE\n");
    return 2;
}
