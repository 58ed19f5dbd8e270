/* SPDX-License-Identifier: BSD-3-Clause
 * Opening: flags, temporary files, files without a name, programs. */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void flags_guest(void)
{
    char buf[8];
    int fd;

    NEED(mkdir("dir", 0755));
    put("file", TEXT);
    FAILS(open("file", O_CREAT | O_EXCL | O_WRONLY, 0644), EEXIST);
    FAILS(open("missing", O_RDWR), ENOENT);
    FAILS(open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
    FAILS(open("dir", O_WRONLY), EISDIR);
    fd = NEED(open("excl", O_CREAT | O_EXCL | O_WRONLY, 0640));
    FAILS(read(fd, buf, 8), EBADF);
    close(fd);
    fd = NEED(open("file", O_RDONLY));
    FAILS(write(fd, buf, 8), EBADF);
    close(fd);
    fd = NEED(open("file", O_RDWR | O_TRUNC));
    EQ(read(fd, buf, 8), 0);
    close(fd);
    /* The mode of a new file binds later opens, not this one. */
    fd = NEED(open("readonly", O_CREAT | O_RDWR, 0400));
    EQ(write(fd, "text", 4), 4);
    close(fd);
    fd = NEED(open("file", O_PATH));
    FAILS(read(fd, buf, 8), EBADF);
    close(fd);
    fd = NEED(open("file", O_RDWR | O_SYNC));
    EQ(write(fd, "sync", 4), 4);
    close(fd);
}

static void flags_host(void)
{
    expect_text("file", "sync");
    expect_text("readonly", "text");
    EQ(look("excl").st_mode, S_IFREG | 0640);
    EQ(look("readonly").st_mode, S_IFREG | 0400);
}

static void append_guest(void)
{
    int a = NEED(open("log", O_CREAT | O_WRONLY | O_APPEND, 0644));
    int b = NEED(open("log", O_WRONLY | O_APPEND));

    for (int i = 0; i < 4; i++) {
        EQ(write(a, "a", 1), 1);
        EQ(write(b, "bb", 2), 2);
    }
    /* Linux appends whatever the offset says. */
    EQ(pwrite(a, "end", 3, 0), 3);
    close(a);
    close(b);
    expect_text("log", "abbabbabbabbend");
}

static void append_host(void)
{
    expect_text("log", "abbabbabbabbend");
}

/* Page-aligned, one page. */
static void *aligned_page(int fill)
{
    void *p = NULL;

    NEED(posix_memalign(&p, 4096, 4096) ? -1 : 0);
    memset(p, fill, 4096);
    return p;
}

static void direct_guest(void)
{
    char *p = aligned_page('d'), *q = aligned_page(0);
    int fd = NEED(open("file", O_CREAT | O_RDWR | O_DIRECT, 0644));

    for (int i = 0; i < 8; i++)
        EQ(pwrite(fd, p, 4096, i * 4096), 4096);
    EQ(pread(fd, q, 4096, 3 * 4096), 4096);
    EQ(memcmp(p, q, 4096), 0);
    EQ(pread(fd, q, 4096, 8 * 4096), 0);
    close(fd);
    free(p);
    free(q);
}

static void direct_host(void)
{
    EQ(look("file").st_size, 8 * 4096);
}

static void tmpfile_guest(void)
{
    char path[64];
    int fd, hidden;
    struct stat st;

    if (lacks("tmpfile")) {
        FAILS(open(".", O_TMPFILE | O_RDWR, 0640), EOPNOTSUPP);
        return;
    }
    fd = NEED(open(".", O_TMPFILE | O_RDWR, 0640));
    EQ(write(fd, TEXT, strlen(TEXT)), strlen(TEXT));
    NEED(fstat(fd, &st));
    EQ(st.st_nlink, 0);
    EQ(st.st_mode, S_IFREG | 0640);
    sprintf(path, "/proc/self/fd/%d", fd);
    NEED(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    NEED(fstat(fd, &st));
    EQ(st.st_nlink, 1);
    close(fd);
    hidden = NEED(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
    sprintf(path, "/proc/self/fd/%d", hidden);
    FAILS(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW), ENOENT);
    close(hidden);
}

static void tmpfile_host(void)
{
    if (lacks("tmpfile"))
        return;
    expect_text("named", TEXT);
    expect_owner("named", S_IFREG | 0640, 0, 0);
    FAILS(access("never", F_OK), ENOENT);
}

static void unlinked_guest(void)
{
    char buf[64] = "";
    struct stat st;
    int fd, old;

    put("gone", TEXT);
    fd = NEED(open("gone", O_RDWR));
    NEED(unlink("gone"));
    NEED(fstat(fd, &st));
    EQ(st.st_nlink, 0);
    EQ(pwrite(fd, "still here", 10, 0), 10);
    EQ(pread(fd, buf, 10, 0), 10);
    EQ(memcmp(buf, "still here", 10), 0);
    NEED(ftruncate(fd, 5));
    NEED(fchmod(fd, 0600));
    NEED(fstat(fd, &st));
    EQ(st.st_size, 5);
    EQ(st.st_mode, S_IFREG | 0600);
    NEED(fsync(fd));
    /* Another file takes the name; the old one is not disturbed. */
    put("gone", "new");
    EQ(pread(fd, buf, sizeof(buf), 0), 5);
    close(fd);

    put("target", "old");
    old = NEED(open("target", O_RDONLY));
    put("source", "new");
    NEED(rename("source", "target"));
    EQ(pread(old, buf, sizeof(buf), 0), 3);
    EQ(memcmp(buf, "old", 3), 0);
    close(old);
    expect_text("target", "new");
}

static void unlinked_host(void)
{
    expect_text("gone", "new");
    expect_text("target", "new");
}

static void unlinked_dir_guest(void)
{
    NEED(mkdir("dir", 0755));
    NEED(chdir("dir"));
    NEED(rmdir("../dir"));
    FAILS(open("new", O_CREAT | O_WRONLY, 0644), ENOENT);
    NEED(chdir(".."));
}

static void run(const char *path, int wanted)
{
    int status = -1;
    pid_t pid;

    fflush(stdout);
    pid = NEED(fork());
    if (pid == 0) {
        execl(path, path, (char *)NULL);
        _exit(126);
    }
    NEED(waitpid(pid, &status, 0));
    CHECK(WIFEXITED(status));
    EQ(WEXITSTATUS(status), wanted);
}

static void copy_file(const char *from, const char *to, mode_t mode)
{
    char buf[65536];
    int in = NEED(open(from, O_RDONLY)), fd = NEED(open(to, O_CREAT | O_WRONLY, mode));
    ssize_t n;

    while ((n = NEED(read(in, buf, sizeof(buf)))) > 0)
        EQ(write(fd, buf, n), n);
    close(in);
    close(fd);
}

static void exec_guest(void)
{
    put("script", "#!/bin/busybox sh\nexit 42\n");
    NEED(chmod("script", 0755));
    run("./script", 42);
    NEED(chmod("script", 0644));
    run("./script", 126);
    copy_file("/bin/busybox", "false", 0755);
    for (int i = 0; i < 3; i++)
        run("./false", 1);
}

const struct step open_steps[] = {
    {.name = "open-flags", .guest = flags_guest, .host = flags_host},
    {.name = "append", .guest = append_guest, .host = append_host},
    {.name = "direct-io", .guest = direct_guest, .host = direct_host},
    {.name = "tmpfile", .guest = tmpfile_guest, .host = tmpfile_host},
    {.name = "open-unlinked", .guest = unlinked_guest, .host = unlinked_host},
    {.name = "unlinked-directory", .guest = unlinked_dir_guest},
    {.name = "exec", .guest = exec_guest},
    {0},
};
