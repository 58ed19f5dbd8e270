/* SPDX-License-Identifier: BSD-3-Clause
 * Take turns with other processes, on this machine and on others: locker posix|flock DIR ROUNDS.
 * Under the lock it makes a directory that nobody else may have made, and adds one to a counter
 * that it opens each time: lost updates and broken exclusion both show. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "locker: %s: %s\n", what, strerror(errno));
    return 1;
}

static int set_lock(int fd, int posix, int take)
{
    struct flock fl = {.l_type = take ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET};

    return posix ? fcntl(fd, F_SETLKW, &fl) : flock(fd, take ? LOCK_EX : LOCK_UN);
}

static int count_one(void)
{
    char text[17] = "";
    int fd = open("counter", O_RDWR);

    if (fd < 0)
        return fail("counter");
    if (pread(fd, text, 16, 0) != 16)
        return fail("reading the counter");
    sprintf(text, "%15lu\n", strtoul(text, NULL, 10) + 1);
    if (pwrite(fd, text, 16, 0) != 16)
        return fail("writing the counter");
    return close(fd) < 0 ? fail("close") : 0;
}

int main(int argc, char **argv)
{
    int fd, posix;

    if (argc != 4) {
        fprintf(stderr, "usage: locker posix|flock DIR ROUNDS\n");
        return 2;
    }
    posix = strcmp(argv[1], "posix") == 0;
    if (chdir(argv[2]) < 0)
        return fail(argv[2]);
    fd = open("lock", O_RDWR);
    if (fd < 0)
        return fail("lock");
    for (int i = 0; i < atoi(argv[3]); i++) {
        if (set_lock(fd, posix, 1) < 0)
            return fail("taking the lock");
        if (mkdir("held", 0755) < 0)
            return fail("not alone");
        if (count_one())
            return 1;
        if (rmdir("held") < 0)
            return fail("rmdir");
        if (set_lock(fd, posix, 0) < 0)
            return fail("giving the lock back");
    }
    return 0;
}
