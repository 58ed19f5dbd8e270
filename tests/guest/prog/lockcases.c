/* SPDX-License-Identifier: BSD-3-Clause
 * What programs expect of fcntl(2) locks, between processes of one machine: lockcases DIR [CASE]...
 * One line "ok - ..." or "not ok - ..." for each case; exit code 1 if one failed. It knows nothing
 * of where DIR is, so that a local file system shows what is right. A file DIR/append-only that the
 * caller made so (chattr +a) is used if it is there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAITERS  100
#define PATIENCE 30 /* seconds for any case */

/* True, or a word about what is not. */
#define MUST(cond)                                                           \
    do {                                                                     \
        if (!(cond)) {                                                       \
            printf("# line %d: %s: %s\n", __LINE__, #cond, strerror(errno)); \
            return false;                                                    \
        }                                                                    \
    } while (0)

static int lock(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, cmd, &fl);
}

static int open_file(void)
{
    return open("locked", O_RDWR | O_CREAT, 0644);
}

/* A process that runs @fn and says by a byte that it is ready; its exit code is 0 for true. */
struct child {
    pid_t pid;
    int ready, go; /* read; write */
};

static int ready_fd, go_fd;

static void say_ready(void)
{
    (void)!write(ready_fd, "x", 1);
}

static void await_go(void)
{
    char c;
    (void)!read(go_fd, &c, 1);
}

static struct child start(bool (*fn)(void))
{
    int r[2], g[2];
    struct child c = {-1, -1, -1};

    if (pipe(r) < 0 || pipe(g) < 0)
        return c;
    c.pid = fork();
    if (c.pid == 0) {
        close(r[0]);
        close(g[1]);
        ready_fd = r[1];
        go_fd = g[0];
        alarm(PATIENCE);
        bool good = fn();
        fflush(stdout);
        _exit(good ? 0 : 1);
    }
    close(r[1]);
    close(g[0]);
    c.ready = r[0];
    c.go = g[1];
    return c;
}

static bool is_ready(struct child *c)
{
    char x;
    return read(c->ready, &x, 1) == 1;
}

static bool end(struct child *c)
{
    int status;

    close(c->go);
    close(c->ready);
    return waitpid(c->pid, &status, 0) == c->pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- who holds it ---- */

static bool hold_some(void)
{
    int fd = open_file();

    MUST(lock(fd, F_SETLK, F_WRLCK, 10, 20) == 0);
    MUST(lock(fd, F_SETLK, F_RDLCK, 100, 0) == 0);
    say_ready();
    await_go();
    return true;
}

static bool holder(void)
{
    struct child c = start(hold_some);
    int fd = open_file();
    struct flock fl = {.l_type = F_RDLCK, .l_len = 0};

    MUST(is_ready(&c));
    MUST(fcntl(fd, F_GETLK, &fl) == 0);
    MUST(fl.l_type == F_WRLCK && fl.l_start == 10 && fl.l_len == 20);
    MUST(fl.l_pid == c.pid);
    fl = (struct flock){.l_type = F_WRLCK, .l_start = 50};
    MUST(fcntl(fd, F_GETLK, &fl) == 0);
    MUST(fl.l_type == F_RDLCK && fl.l_start == 100 && fl.l_len == 0 && fl.l_pid == c.pid);
    fl = (struct flock){.l_type = F_RDLCK, .l_start = 50};
    MUST(fcntl(fd, F_GETLK, &fl) == 0 && fl.l_type == F_UNLCK);
    MUST(lock(fd, F_SETLK, F_RDLCK, 15, 1) < 0 && (errno == EAGAIN || errno == EACCES));
    MUST(end(&c));
    MUST(lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0);
    close(fd);
    return true;
}

/* ---- ranges ---- */

static bool hold_pieces(void)
{
    int fd = open_file();

    MUST(lock(fd, F_SETLK, F_WRLCK, 0, 100) == 0);
    MUST(lock(fd, F_SETLK, F_UNLCK, 40, 20) == 0);
    MUST(lock(fd, F_SETLK, F_RDLCK, 70, 10) == 0);
    MUST(lock(fd, F_SETLK, F_WRLCK, 100, 50) == 0); /* one with 80 to 99 */
    say_ready();
    await_go();
    return true;
}

static bool found(int fd, short type, off_t at, short want, off_t start, off_t len)
{
    struct flock fl = {.l_type = type, .l_start = at, .l_len = 1};

    MUST(fcntl(fd, F_GETLK, &fl) == 0);
    MUST(fl.l_type == want);
    MUST(want == F_UNLCK || (fl.l_start == start && fl.l_len == len));
    return true;
}

static bool ranges(void)
{
    struct child c = start(hold_pieces);
    int fd = open_file();

    MUST(is_ready(&c));
    MUST(found(fd, F_RDLCK, 0, F_WRLCK, 0, 40) && found(fd, F_WRLCK, 45, F_UNLCK, 0, 0));
    MUST(found(fd, F_RDLCK, 65, F_WRLCK, 60, 10) && found(fd, F_WRLCK, 75, F_RDLCK, 70, 10));
    MUST(found(fd, F_RDLCK, 75, F_UNLCK, 0, 0) && found(fd, F_RDLCK, 149, F_WRLCK, 80, 70));
    MUST(end(&c));
    close(fd);
    return true;
}

/* ---- deadlock ---- */

static bool cross(void)
{
    int fd = open_file();

    MUST(lock(fd, F_SETLK, F_WRLCK, 1, 1) == 0);
    say_ready();
    MUST(lock(fd, F_SETLKW, F_WRLCK, 0, 1) == 0); /* until the other gives up */
    return true;
}

static bool deadlock(void)
{
    int fd = open_file();
    struct child c;

    MUST(lock(fd, F_SETLK, F_WRLCK, 0, 1) == 0);
    c = start(cross);
    MUST(is_ready(&c));
    usleep(300000); /* it waits */
    MUST(lock(fd, F_SETLKW, F_WRLCK, 1, 1) < 0 && errno == EDEADLK);
    MUST(lock(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
    MUST(end(&c));
    close(fd);
    return true;
}

/* ---- locks of open files ---- */

/* As soon as a close has got through, which some clients of FUSE do not wait for. */
static int lock_soon(int fd, int cmd, short type, off_t start, off_t len)
{
    int rc = lock(fd, cmd, type, start, len);

    for (int i = 0; rc < 0 && errno == EAGAIN && i < 200 * PATIENCE; i++) {
        usleep(5000);
        rc = lock(fd, cmd, type, start, len);
    }
    return rc;
}

static bool ofd(void)
{
    for (int i = 0; i < 20; i++) {
        int a = open_file(), b = open_file(), c;

        MUST(lock_soon(a, F_OFD_SETLK, F_WRLCK, 100, 1) == 0);
        MUST(lock(b, F_OFD_SETLK, F_WRLCK, 100, 1) < 0 && errno == EAGAIN);
        MUST(lock(b, F_SETLK, F_WRLCK, 100, 1) < 0 && errno == EAGAIN);
        MUST(lock(a, F_OFD_SETLK, F_RDLCK, 100, 1) == 0);
        MUST(lock(b, F_OFD_SETLK, F_RDLCK, 100, 1) == 0);
        c = dup(a); /* the same open file */
        close(a);
        MUST(lock(b, F_OFD_SETLK, F_WRLCK, 100, 1) < 0);
        close(c);
        MUST(lock_soon(b, F_OFD_SETLK, F_WRLCK, 100, 1) == 0);
        close(b);
        a = open_file();
        b = open_file();
        MUST(lock_soon(b, F_OFD_SETLK, F_WRLCK, 0, 0) == 0); /* nothing is inherited */
        MUST(lock(a, F_OFD_SETLK, F_WRLCK, 0, 0) < 0);
        close(b);
        close(a);
    }
    return true;
}

/* ---- many who wait ---- */

static bool wait_and_count(void)
{
    int fd = open_file();
    char n = 0;

    MUST(fd >= 0);
    say_ready();
    MUST(lock(fd, F_SETLKW, F_WRLCK, 0, 0) == 0);
    MUST(pread(fd, &n, 1, 0) == 1);
    n++;
    MUST(pwrite(fd, &n, 1, 0) == 1);
    close(fd);
    return true;
}

static bool crowd(void)
{
    struct child c[WAITERS];
    int fd = open_file();
    char n = 0;

    MUST(pwrite(fd, &n, 1, 0) == 1);
    MUST(lock_soon(fd, F_SETLK, F_WRLCK, 0, 0) == 0);
    for (int i = 0; i < WAITERS; i++) {
        c[i] = start(wait_and_count);
        MUST(is_ready(&c[i]));
    }
    usleep(500000);
    MUST(lock(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
    for (int i = 0; i < WAITERS; i++)
        MUST(end(&c[i]));
    MUST(pread(fd, &n, 1, 0) == 1 && n == WAITERS);
    close(fd);
    return true;
}

/* ---- access ---- */

static bool modes(void)
{
    int r = open("locked", O_RDONLY), w = open("locked", O_WRONLY);

    MUST(lock(r, F_SETLK, F_RDLCK, 0, 0) == 0);
    MUST(lock(r, F_SETLK, F_WRLCK, 0, 0) < 0 && errno == EBADF);
    MUST(lock(w, F_SETLK, F_WRLCK, 0, 0) == 0); /* one process: it replaces the other */
    MUST(lock(w, F_SETLK, F_RDLCK, 0, 0) < 0 && errno == EBADF);
    close(r);
    close(w);
    return true;
}

static bool append_only(void)
{
    int fd = open("append-only", O_WRONLY | O_APPEND);

    if (fd < 0 && errno == ENOENT) {
        printf("# there is no append-only file\n");
        return true;
    }
    MUST(fd >= 0);
    MUST(lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0);
    MUST(lock(fd, F_SETLKW, F_WRLCK, 0, 0) == 0);
    MUST(lock(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
    close(fd);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(void);
} cases[] = {
    {"holder", holder}, {"ranges", ranges}, {"deadlock", deadlock},       {"ofd", ofd},
    {"crowd", crowd},   {"modes", modes},   {"append-only", append_only},
};

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return argc <= 2;
}

int main(int argc, char **argv)
{
    bool good = true;

    if (argc < 2 || chdir(argv[1]) < 0) {
        fprintf(stderr, "usage: lockcases DIR [CASE]...\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (!wanted(cases[i].name, argc, argv))
            continue;
        alarm(2 * PATIENCE);
        fflush(stdout);
        bool ok = cases[i].run();
        printf("%s - locks: %s\n", ok ? "ok" : "not ok", cases[i].name);
        good &= ok;
    }
    unlink("locked");
    return good ? 0 : 1;
}
