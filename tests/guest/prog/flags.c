/* SPDX-License-Identifier: BSD-3-Clause
 * What becomes of the flags of open files, and of set-id bits, on a share.
 *   flags append DIR OTHER  O_APPEND, given, taken away, and under a mapping; prints result lines.
 *                           OTHER is the same directory as another machine has it
 *   flags direct DIR OTHER  O_DIRECT with pieces that are not of whole blocks; the same
 *   flags at FILE OFFSET TEXT  pwrite(2) of the text; prints the error's name, if there is one
 *   flags euid              print the effective user id */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DD   10001
#define LONG (8 << 20) /* more than one request takes */

static const char *dir, *other;

static int at(const char *where, const char *name, int flags)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", where, name);
    int fd = open(path, flags, 0644);
    if (fd < 0) {
        printf("not ok - open %s: %s\n", path, strerror(errno));
        exit(1);
    }
    return fd;
}

static void result(int good, const char *what)
{
    if (good)
        printf("ok - %s\n", what);
    else
        printf("not ok - %s (%s)\n", what, strerror(errno));
}

/* Whether the other machine sees exactly these bytes. */
static int shows(const char *name, const void *want, size_t n)
{
    static char buf[LONG + 1];
    int fd = at(other, name, O_RDONLY);
    ssize_t got = read(fd, buf, sizeof(buf));
    close(fd);
    if (got != (ssize_t)n || memcmp(buf, want, n) != 0) {
        printf("# %s has %zd bytes, beginning with '%.40s'\n", name, got, buf);
        return 0;
    }
    return 1;
}

static int text_shows(const char *name, const char *want)
{
    return shows(name, want, strlen(want));
}

static void other_appends(const char *name, const char *text)
{
    int fd = at(other, name, O_WRONLY | O_APPEND);
    result(write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0,
           "the other machine appends");
}

static int set_flag(int fd, int flag, int on)
{
    int flags = fcntl(fd, F_GETFL);
    return fcntl(fd, F_SETFL, on ? flags | flag : flags & ~flag);
}

static void mapped_append(void)
{
    static char want[4096];
    int fd = at(dir, "mapped", O_RDWR | O_CREAT | O_APPEND);
    memset(want, 'A', sizeof(want));
    result(write(fd, want, sizeof(want)) == sizeof(want), "append a page");
    char *m = mmap(NULL, sizeof(want), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED) {
        printf("# no shared mappings here: %s\n", strerror(errno));
    } else {
        memcpy(m, "hello", 5);
        memcpy(want, "hello", 5);
        result(msync(m, sizeof(want), MS_SYNC) == 0, "store through a mapping");
        munmap(m, sizeof(want));
    }
    result(close(fd) == 0 && shows("mapped", want, sizeof(want)), "the file has one page");
}

static void changed_append(void)
{
    int fd = at(dir, "changed", O_RDWR | O_CREAT | O_APPEND);
    result(write(fd, "0123456789", 10) == 10, "append");
    result(set_flag(fd, O_APPEND, 0) == 0, "take O_APPEND away");
    result(pwrite(fd, "XX", 2, 2) == 2 && fsync(fd) == 0 && text_shows("changed", "01XX456789"),
           "a write goes where it says");
    close(fd);
    fd = at(dir, "changed", O_WRONLY);
    result(set_flag(fd, O_APPEND, 1) == 0, "set O_APPEND");
    other_appends("changed", "OTHER");
    result(write(fd, "guest", 5) == 5 && fsync(fd) == 0, "append after it");
    result(close(fd) == 0 && text_shows("changed", "01XX456789OTHERguest"), "nothing is lost");
}

static void direct(void)
{
    char *buf = aligned_alloc(4096, 3 * 4096), name[] = "direct0";
    for (int i = 0; i < 3 * 4096; i++)
        buf[i] = (char)(i * 7 + i / 251);
    for (int keeps = 0; keeps < 2; keeps++, name[6]++) {
        int fd = at(dir, name, O_RDWR | O_CREAT | O_DIRECT);
        result(write(fd, buf, 8192) == 8192, "whole blocks past the page cache");
        if (!keeps)
            result(set_flag(fd, O_DIRECT, 0) == 0, "take O_DIRECT away for the rest");
        result(write(fd, buf + 8192, DD - 8192) == DD - 8192, "the rest");
        result(shows(name, buf, DD), "10,001 bytes");
        close(fd);
        fd = at(dir, name, O_RDWR | O_DIRECT);
        char *m = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        result(m != MAP_FAILED, "map a file that is open with O_DIRECT");
        memcpy(m + DD - 6, "mapped", 6);
        memcpy(buf + DD - 6, "mapped", 6);
        result(msync(m, 3 * 4096, MS_SYNC) == 0, "store to its end");
        munmap(m, 3 * 4096);
        result(close(fd) == 0 && shows(name, buf, DD), "it arrives");
    }
}

/* A write that takes many requests, which arrive in any order. */
static void long_append(void)
{
    uint64_t *buf = aligned_alloc(4096, LONG);
    char name[] = "long0";
    for (unsigned i = 0; i < LONG / 8; i++)
        buf[i] = i * 7;
    for (int n = 0; n < 4; n++, name[4]++) {
        int fd = at(dir, name, O_RDWR | O_CREAT | O_APPEND | O_DIRECT);
        result(write(fd, buf, LONG) == LONG && close(fd) == 0, "append 8 MiB past the page cache");
        result(shows(name, buf, LONG), "all in its place");
    }
}

static int write_at(const char *file, const char *offset, const char *text)
{
    int fd = open(file, O_WRONLY), append = fd < 0;
    if (append)
        fd = open(file, O_WRONLY | O_APPEND);
    if (fd < 0 || (append && set_flag(fd, O_APPEND, 0) != 0) ||
        pwrite(fd, text, strlen(text), atol(offset)) != (ssize_t)strlen(text) || close(fd) != 0) {
        printf("%s\n", errno == EPERM ? "EPERM" : strerror(errno));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "euid") == 0)
        return printf("%u\n", geteuid()) < 0;
    if (argc == 5 && strcmp(argv[1], "at") == 0)
        return write_at(argv[2], argv[3], argv[4]);
    if (argc != 4)
        return 2;
    dir = argv[2];
    other = argv[3];
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(argv[1], "append") == 0) {
        mapped_append();
        changed_append();
    } else {
        direct();
        long_append();
    }
    return 0;
}
