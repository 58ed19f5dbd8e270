/* SPDX-License-Identifier: BSD-3-Clause
 * POSIX, open-file-description and flock locks between processes of one guest. Contention with the
 * host and with other guests is a test of its own. */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int lock(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

    return fcntl(fd, cmd, &fl);
}

/* The type F_GETLK reports for a lock of @type on the range. */
static short who_blocks(int fd, short type, off_t start, off_t len)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};

    NEED(fcntl(fd, F_GETLK, &fl));
    return fl.l_type;
}

static void posix_rival(void)
{
    int fd = NEED(open("file", O_RDWR));

    FAILS(lock(fd, F_SETLK, F_WRLCK, 0, 10), EAGAIN);
    FAILS(lock(fd, F_SETLK, F_RDLCK, 5, 1), EAGAIN);
    EQ(who_blocks(fd, F_WRLCK, 0, 10), F_WRLCK);
    NEED(lock(fd, F_SETLK, F_WRLCK, 10, 10));
    NEED(lock(fd, F_SETLK, F_RDLCK, 100, 10));
    FAILS(lock(fd, F_SETLK, F_WRLCK, 100, 10), EAGAIN);
    EQ(who_blocks(fd, F_WRLCK, 100, 10), F_RDLCK);
    EQ(who_blocks(fd, F_RDLCK, 100, 10), F_UNLCK);
    close(fd);
}

static void posix_after(void)
{
    int fd = NEED(open("file", O_RDWR));

    NEED(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    close(fd);
}

static void posix_guest(void)
{
    int fd, other;

    put("file", TEXT);
    fd = NEED(open("file", O_RDWR));
    NEED(lock(fd, F_SETLK, F_WRLCK, 0, 10));
    NEED(lock(fd, F_SETLK, F_RDLCK, 100, 50));
    child_end(child_start(posix_rival));
    /* Any close of the file by this process ends its locks. */
    other = NEED(open("file", O_RDONLY));
    close(other);
    child_end(child_start(posix_after));
    close(fd);
}

static void hold_and_work(void)
{
    int fd = NEED(open("file", O_RDWR));

    NEED(lock(fd, F_SETLKW, F_WRLCK, 0, 0));
    put("held", "");
    usleep(300000);
    NEED(unlink("held"));
    NEED(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    close(fd);
}

static void await_held(void)
{
    for (int i = 0; i < 500 && access("held", F_OK) < 0; i++)
        usleep(10000);
}

static void posix_wait_guest(void)
{
    int fd;
    pid_t holder;

    put("file", TEXT);
    fd = NEED(open("file", O_RDWR));
    holder = child_start(hold_and_work);
    await_held();
    /* Other requests go on while this one waits: the holder unlinks and unlocks meanwhile. */
    NEED(lock(fd, F_SETLKW, F_WRLCK, 0, 0));
    FAILS(access("held", F_OK), ENOENT);
    child_end(holder);
    close(fd);
}

static void hold_and_die(void)
{
    int fd = NEED(open("file", O_RDWR));

    NEED(lock(fd, F_SETLKW, F_WRLCK, 0, 0));
    put("held", "");
    usleep(200000);
    NEED(unlink("held"));
    raise(SIGKILL);
}

static void posix_death_guest(void)
{
    int fd;
    pid_t holder;

    put("file", TEXT);
    fd = NEED(open("file", O_RDWR));
    holder = child_start(hold_and_die);
    await_held();
    NEED(lock(fd, F_SETLKW, F_WRLCK, 0, 0));
    FAILS(access("held", F_OK), ENOENT);
    NEED(waitpid(holder, NULL, 0));
    close(fd);
}

static void flock_holder(void)
{
    int fd = NEED(open("file", O_RDONLY));

    NEED(flock(fd, LOCK_EX));
    put("held", "");
    usleep(300000);
    NEED(unlink("held"));
    close(fd);
}

static void flock_guest(void)
{
    int a, b, c;
    pid_t holder;

    put("file", TEXT);
    a = NEED(open("file", O_RDONLY));
    b = NEED(open("file", O_RDWR));
    NEED(flock(a, LOCK_SH));
    NEED(flock(b, LOCK_SH | LOCK_NB));
    FAILS(flock(b, LOCK_EX | LOCK_NB), EWOULDBLOCK);
    NEED(flock(a, LOCK_UN));
    NEED(flock(b, LOCK_EX | LOCK_NB));
    FAILS(flock(a, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    /* It belongs to the open file: a copy of the descriptor keeps it. */
    c = NEED(dup(b));
    close(b);
    FAILS(flock(a, LOCK_SH | LOCK_NB), EWOULDBLOCK);
    close(c);
    /* Where nobody waits for RELEASE the lock ends a moment later. */
    for (int i = 0; lacks("sync-release") && i < 1000 && flock(a, LOCK_EX | LOCK_NB) < 0; i++)
        usleep(10000);
    NEED(flock(a, LOCK_EX | LOCK_NB));
    NEED(flock(a, LOCK_UN));

    holder = child_start(flock_holder);
    await_held();
    NEED(flock(a, LOCK_EX));
    FAILS(access("held", F_OK), ENOENT);
    child_end(holder);
    close(a);
}

static void ofd_guest(void)
{
    int a, b;

    put("file", TEXT);
    a = NEED(open("file", O_RDWR));
    b = NEED(open("file", O_RDWR));
    NEED(lock(a, F_OFD_SETLK, F_WRLCK, 0, 10));
    FAILS(lock(b, F_OFD_SETLK, F_WRLCK, 5, 1), EAGAIN);
    NEED(lock(b, F_OFD_SETLK, F_WRLCK, 10, 1));
    NEED(lock(a, F_OFD_SETLK, F_UNLCK, 0, 0));
    NEED(lock(b, F_OFD_SETLK, F_WRLCK, 5, 1));
    close(a);
    close(b);
}

const struct step lock_steps[] = {
    {.name = "posix-lock", .guest = posix_guest},
    {.name = "posix-lock-wait", .guest = posix_wait_guest},
    {.name = "posix-lock-of-dead", .guest = posix_death_guest},
    {.name = "flock", .guest = flock_guest},
    {.name = "ofd-lock", .guest = ofd_guest},
    {0},
};
