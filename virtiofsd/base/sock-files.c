/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls:keeper fstat newfstatat unlinkat
 * #syscalls close flock fstat ftruncate getpid newfstatat openat pread64 unlinkat write */
#include "virtiofsd/base/sock-files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"

#define TRIES 100 /* each is lost only to somebody who removed the file in between */

struct sock_files {
    int dir_fd;  /* of the directory, O_PATH; -1: left */
    int sock_fd; /* of the socket once it was made, O_PATH: holds its inode number; -1 */
    int lock_fd; /* PATH.pid, for reading: whoever takes us over cannot write a number into it */
    char *sock, *pid; /* names in the directory */
    gboolean inherited;
};

static gboolean same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether @name still is what @fd refers to. */
static gboolean is_still(const struct sock_files *f, const char *name, int fd)
{
    struct stat held, now;

    return fd >= 0 && fstat(fd, &held) == 0 &&
           fstatat(f->dir_fd, name, &now, AT_SYMLINK_NOFOLLOW) == 0 && same(&now, &held);
}

/* 0, -EAGAIN when the file was removed while we waited, or -errno. */
static int lock_once(struct sock_files *f)
{
    struct stat st;

    AUTO_FD int fd =
        openat(f->dir_fd, f->pid, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno == ELOOP ? -EEXIST : -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EEXIST;
    f->inherited = st.st_size > 0;
    int rc = flock(fd, LOCK_EX | LOCK_NB) < 0 ? errno == EWOULDBLOCK ? -EBUSY : -errno : 0;
    if (rc == 0 && !is_still(f, f->pid, fd))
        return -EAGAIN;
    f->lock_fd = steal_fd(&fd);
    return rc;
}

/* Through a descriptor of its own: the one that is kept is for reading. What an earlier daemon has
 * left is written over, not cut first: to ext4 and others a file that is cut to nothing and written
 * is the replacement of another, and goes to the disk at once. */
static int write_pid(const struct sock_files *f)
{
    struct stat mine, st;
    char text[16];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    AUTO_FD int fd = openat(f->dir_fd, f->pid, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || fstat(f->lock_fd, &mine) < 0)
        return -errno;
    if (!same(&st, &mine))
        return -EEXIST;
    ssize_t done = write(fd, text, (size_t)len);
    if (done != len)
        return done < 0 ? -errno : -EIO;
    return st.st_size > len && ftruncate(fd, len) < 0 ? -errno : 0;
}

static pid_t read_pid(const struct sock_files *f)
{
    char text[16] = "";
    guint64 n = 0;

    if (pread(f->lock_fd, text, sizeof(text) - 1, 0) > 0)
        n = g_ascii_strtoull(text, NULL, 10);
    return n <= INT_MAX ? (pid_t)n : 0;
}

static int take(struct sock_files *f, const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);
    int rc = -EAGAIN;

    f->sock = g_path_get_basename(path);
    f->pid = g_strconcat(f->sock, ".pid", NULL);
    f->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (f->dir_fd < 0)
        return -errno;
    for (int i = 0; rc == -EAGAIN && i < TRIES; i++)
        rc = lock_once(f);
    return rc == 0 ? write_pid(f) : rc;
}

struct sock_files *sock_files_take(const char *path, pid_t *holder, int *code)
{
    struct sock_files *f = g_new0(struct sock_files, 1);

    f->dir_fd = f->sock_fd = f->lock_fd = -1;
    *holder = 0;
    *code = -take(f, path);
    if (*code == 0)
        return f;
    if (*code == EBUSY)
        *holder = read_pid(f);
    sock_files_free(f);
    return NULL;
}

gboolean sock_files_inherited(const struct sock_files *f)
{
    return f->inherited;
}

void sock_files_made(struct sock_files *f)
{
    f->sock_fd = openat(f->dir_fd, f->sock, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

void sock_files_remove(const struct sock_files *f)
{
    if (f->dir_fd < 0)
        return;
    if (is_still(f, f->sock, f->sock_fd))
        unlinkat(f->dir_fd, f->sock, 0);
    /* Last: who waits for the lock finds no socket of ours any more. */
    if (is_still(f, f->pid, f->lock_fd))
        unlinkat(f->dir_fd, f->pid, 0);
}

void sock_files_fds(const struct sock_files *f, int fds[SOCK_FILES_FDS])
{
    fds[0] = f->dir_fd;
    fds[1] = f->sock_fd;
    fds[2] = f->lock_fd;
}

void sock_files_leave(struct sock_files *f)
{
    if (f->dir_fd >= 0)
        close(steal_fd(&f->dir_fd));
    if (f->sock_fd >= 0)
        close(steal_fd(&f->sock_fd));
}

void sock_files_free(struct sock_files *f)
{
    if (!f)
        return;
    sock_files_leave(f);
    if (f->lock_fd >= 0)
        close(f->lock_fd);
    g_free(f->sock);
    g_free(f->pid);
    g_free(f);
}
