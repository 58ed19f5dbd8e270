/* SPDX-License-Identifier: BSD-3-Clause
 * Touches files of all sorts in DIR again and again, while its guest moves to other daemons: read
 * and written, appended, unlinked, renamed ones, directories, new ones. Says "round N" for
 * each round, "FAIL what" for what is not as it was left, and "done N" when DIR/stop is there.
 *
 * usage: mover DIR [named]
 * named: without the unlinked file, which ends with the last daemon that has it open. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAUSE_US 100000
#define GONE     65536

static unsigned round_no;
static int rw, app, gone, in, in2, renamed, dir;
static bool named;
static ino_t rw_ino, in_ino;

static void failed(const char *fmt, ...)
{
    int code = errno;
    va_list ap;
    va_start(ap, fmt);
    printf("FAIL round %u: ", round_no);
    vprintf(fmt, ap);
    printf(" (%s)\n", strerror(code));
    va_end(ap);
}

#define must(x)         \
    do {                \
        if (!(x))       \
            failed(#x); \
    } while (0)

static int make(const char *name, int flags)
{
    int fd = open(name, flags | O_CREAT, 0644);
    if (fd < 0)
        failed("open %s", name);
    return fd;
}

static void begin(void)
{
    static char block[GONE];
    mkdir("a", 0755);
    mkdir("a/deep", 0755);
    mkdir("here", 0755);
    rw = make("rw", O_RDWR);
    app = make("append", O_WRONLY | O_APPEND);
    gone = make("gone", O_RDWR);
    in = make("a/deep/in", O_RDWR);
    in2 = make("a/deep/in2", O_RDWR);
    renamed = make("x", O_RDWR);
    dir = open("a", O_RDONLY | O_DIRECTORY);
    memset(block, 'g', sizeof(block));
    must(write(gone, block, sizeof(block)) == GONE);
    must(unlink("gone") == 0);
    if (named)
        close(gone);
    must(write(in, "inside", 6) == 6);
    must(write(renamed, "renamed", 7) == 7);
    struct stat st;
    must(fstat(rw, &st) == 0);
    rw_ino = st.st_ino;
    must(fstat(in, &st) == 0);
    in_ino = st.st_ino;
    must(chdir("here") == 0);
}

/* Written through one descriptor, read by another name. */
static void read_and_write(void)
{
    char text[32], back[32] = "";
    struct stat st;
    int n = snprintf(text, sizeof(text), "round %08u", round_no);
    must(pwrite(rw, text, (size_t)n, 100) == n);
    must(pread(rw, back, (size_t)n, 100) == n && memcmp(text, back, (size_t)n) == 0);
    int fd = open("../rw", O_RDONLY);
    must(fd >= 0 && pread(fd, back, (size_t)n, 100) == n && memcmp(text, back, (size_t)n) == 0);
    must(fstat(fd, &st) == 0 && st.st_ino == rw_ino);
    close(fd);
    n = snprintf(text, sizeof(text), "%u\n", round_no);
    must(write(app, text, (size_t)n) == n);
}

static void without_a_name(void)
{
    char c[2] = "";
    struct stat st;
    if (named)
        return;
    must(pread(gone, c, 1, round_no % GONE) == 1 && (c[0] == 'g' || c[0] == 'G'));
    must(pwrite(gone, "G", 1, round_no % GONE) == 1);
    must(fstat(gone, &st) == 0 && st.st_size == GONE && st.st_nlink == 0);
}

static void renames(void)
{
    bool odd = round_no & 1;
    char back[8] = "";
    struct stat st;
    must(rename(odd ? "../a" : "../b", odd ? "../b" : "../a") == 0);
    must(rename(odd ? "../x" : "../y", odd ? "../y" : "../x") == 0);
    must(pread(in, back, 6, 0) == 6 && memcmp(back, "inside", 6) == 0);
    must(pread(renamed, back, 7, 0) == 7 && memcmp(back, "renamed", 7) == 0);
    must(stat(odd ? "../b/deep/in" : "../a/deep/in", &st) == 0 && st.st_ino == in_ino);
    must(stat(odd ? "../a" : "../b", &st) < 0 && errno == ENOENT);
    must(pwrite(in2, "two", 3, 0) == 3);
}

static void directories(void)
{
    char cwd[256];
    int n = 0, fd = dup(dir);
    DIR *d = fdopendir(fd);
    rewinddir(d);
    while (d && readdir(d))
        n++;
    must(n == 3); /* ".", "..", "deep" */
    closedir(d);
    must(getcwd(cwd, sizeof(cwd)) && strstr(cwd, "/here"));
}

static void new_files(void)
{
    char name[32];
    snprintf(name, sizeof(name), "new.%u", round_no);
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    must(fd >= 0 && write(fd, name, 4) == 4);
    close(fd);
    snprintf(name, sizeof(name), "new.%u", round_no - 1);
    must(round_no == 1 || unlink(name) == 0);
}

/* What is cached must come from the daemon again. */
static void drop_caches(void)
{
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
    if (fd < 0)
        return;
    must(write(fd, "3", 1) == 1);
    close(fd);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    named = argc > 2 && strcmp(argv[2], "named") == 0;
    if (argc < 2 || chdir(argv[1]) != 0) {
        failed("no directory");
        return 1;
    }
    begin();
    while (access("../stop", F_OK) != 0) {
        round_no++;
        read_and_write();
        without_a_name();
        renames();
        directories();
        new_files();
        if (round_no % 3 == 0)
            drop_caches();
        printf("round %u\n", round_no);
        usleep(PAUSE_US);
    }
    printf("done %u\n", round_no);
    return 0;
}
