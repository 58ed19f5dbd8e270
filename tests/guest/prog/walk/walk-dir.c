/* SPDX-License-Identifier: BSD-3-Clause
 * Reading directories: everything once, in any order of seeking, while they change. */
#include "tests/guest/prog/walk/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MANY 3000
#define SOME 1000 /* still several buffers full */

static void make_many(int n)
{
    char name[64];

    for (int i = 0; i < n; i++) {
        sprintf(name, "entry-%04d-%.*s", i, i % 40, "........................................");
        touch(name, 0644);
    }
}

static void many_prepare(void)
{
    make_many(MANY);
}

/* Read on and tick off each number seen; returns how many entries of ours there were. */
static int read_on(DIR *d, unsigned char seen[MANY])
{
    struct dirent *e;
    int n = 0;

    while ((e = readdir(d))) {
        int i = strncmp(e->d_name, "entry-", 6) ? -1 : atoi(e->d_name + 6);

        if (i < 0 || i >= MANY)
            continue;
        seen[i]++;
        n++;
    }
    return n;
}

static void many_guest(void)
{
    unsigned char seen[MANY] = {0};
    int twice = 0;
    DIR *d = opendir(".");

    NEED(d ? 0 : -1);
    EQ(read_on(d, seen), MANY);
    rewinddir(d);
    EQ(read_on(d, seen), MANY);
    for (int i = 0; i < MANY; i++)
        twice += seen[i] == 2;
    EQ(twice, MANY);
    closedir(d);
}

static void seek_guest(void)
{
    static long where[MANY + 2];
    static char names[MANY + 2][64];
    struct dirent *e;
    DIR *d = opendir(".");
    int n = 0;

    NEED(d ? 0 : -1);
    for (;;) {
        where[n] = telldir(d);
        e = readdir(d);
        if (!e)
            break;
        strcpy(names[n++], e->d_name);
    }
    EQ(n, MANY + 2);
    NEED(n > 1 ? 0 : -1);
    /* Back to places far apart, in both directions. */
    for (int i = 0, at = 1; i < 200; i++, at = (at * 1103 + 7) % n) {
        seekdir(d, where[at]);
        e = readdir(d);
        if (!e)
            give_up(__FILE__, __LINE__, "nothing at offset %ld (entry %d)", where[at], at);
        if (strcmp(e->d_name, names[at]) != 0)
            complain(__FILE__, __LINE__, "entry %d is %s, not %s", at, e->d_name, names[at]);
    }
    closedir(d);
}

static void types_guest(void)
{
    struct stat st;
    struct dirent *e;
    DIR *d;
    int dots = 0, n = 0;

    put("file", TEXT);
    NEED(mkdir("dir", 0755));
    NEED(symlink("file", "link"));
    NEED(mknod("fifo", S_IFIFO | 0644, 0));
    NEED(mknod("null", S_IFCHR | 0644, 0x103));
    d = opendir(".");
    NEED(d ? 0 : -1);
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.') {
            dots++;
            continue;
        }
        st = look(e->d_name);
        EQ(e->d_ino, st.st_ino);
        EQ(e->d_type, IFTODT(st.st_mode));
        n++;
    }
    EQ(dots, 2);
    EQ(n, 5);
    closedir(d);
    FAILS(opendir("file") ? 0 : -1, ENOTDIR);
}

/* As rm -rf does it: delete while reading. */
static void shrink_guest(void)
{
    struct dirent *e;
    DIR *d;
    int n = 0;

    make_many(SOME);
    d = opendir(".");
    NEED(d ? 0 : -1);
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        NEED(unlink(e->d_name));
        n++;
    }
    EQ(n, SOME);
    put("new", TEXT);
    rewinddir(d);
    for (n = 0; (e = readdir(d));)
        n += e->d_name[0] != '.';
    EQ(n, 1);
    closedir(d);
}

static void shrink_host(void)
{
    struct dirent *e;
    DIR *d = opendir(".");
    int n = 0;

    NEED(d ? 0 : -1);
    while ((e = readdir(d)))
        n += e->d_name[0] != '.';
    EQ(n, 1);
    closedir(d);
}

static void small_buffer_guest(void)
{
    char buf[280];
    int fd = NEED(open(".", O_RDONLY | O_DIRECTORY)), n = 0;
    long len;

    put("a", "");
    put("b", "");
    while ((len = NEED(syscall(SYS_getdents64, fd, buf, sizeof(buf)))) > 0)
        for (long pos = 0; pos < len; n++)
            pos += ((struct dirent64 *)(void *)(buf + pos))->d_reclen;
    EQ(n, 4);
    close(fd);
}

const struct step dir_steps[] = {
    {.name = "readdir-many", .prepare = many_prepare, .guest = many_guest},
    {.name = "seekdir", .prepare = many_prepare, .guest = seek_guest},
    {.name = "dirent-types", .guest = types_guest},
    {.name = "readdir-while-deleting", .guest = shrink_guest, .host = shrink_host},
    {.name = "getdents-small-buffer", .guest = small_buffer_guest},
    {0},
};
