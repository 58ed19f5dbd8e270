/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls fcntl name_to_handle_at readlinkat statx */
#include "virtiofsd/base/fd-kind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "virtiofsd/base/sock.h"

#define HANDLE_MAX 128
#define HANDLE_FID 0x200 /* AT_HANDLE_FID of Linux 6.5 */

/* exportfs.h, FILEID_INO64_GEN and its form with a parent: what FUSE gives. So does XFS, which is
 * on a block device. */
enum { FUSE_HANDLE = 0x81, FUSE_HANDLE_PARENT = 0x82 };

static int proc_fd = -1;

void fd_kind_proc(int proc_self_fd)
{
    proc_fd = proc_self_fd;
}

/* Attributes from the kernel's memory. */
static int look(int fd, unsigned mask, struct statx *stx)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, stx) < 0 ? -errno : 0;
}

static bool is_eventfd(int fd)
{
    static const char want[] = "anon_inode:[eventfd]";
    char path[32], link[sizeof(want)];
    snprintf(path, sizeof(path), "%s%d", proc_fd >= 0 ? "" : "/proc/self/fd/", fd);
    ssize_t n = readlinkat(proc_fd >= 0 ? proc_fd : AT_FDCWD, path, link, sizeof(link));
    return n == (ssize_t)sizeof(want) - 1 && memcmp(link, want, sizeof(want) - 1) == 0;
}

/* A listening socket cannot be read, one of another family waits in close(2) as long as its peer's
 * SO_LINGER says. */
static bool is_unix(int fd)
{
    struct sock_kind kind;
    return sock_look(fd, &kind) == 0 && kind.type == SOCK_STREAM && kind.domain == AF_UNIX &&
           !kind.listening;
}

static int handle_type(int fd, int flags)
{
    union {
        struct file_handle h;
        char room[sizeof(struct file_handle) + HANDLE_MAX];
    } u;
    int mount;
    u.h.handle_bytes = HANDLE_MAX;
    return name_to_handle_at(fd, "", &u.h, &mount, AT_EMPTY_PATH | flags) < 0 ? -errno
                                                                              : u.h.handle_type;
}

/* Whether a process may be behind the file: FUSE, on no block device. The type of its handle says
 * it without a request to that process, which statfs(2) is. FUSE that cannot be exported has only
 * handles to compare since Linux 6.6; before Linux 6.5, which has none of these, all FUSE could. */
static bool is_served(int fd, const struct statx *stx)
{
    if (stx->stx_dev_major != 0)
        return false;
    int type = handle_type(fd, 0);
    if (type == -EOPNOTSUPP)
        type = handle_type(fd, HANDLE_FID);
    return type == FUSE_HANDLE || type == FUSE_HANDLE_PARENT;
}

static enum fd_kind kind_of_file(int fd, const struct statx *stx)
{
    if (fcntl(fd, F_GET_SEALS) >= 0) /* tmpfs and hugetlbfs only */
        return FD_MEMORY;
    return is_served(fd, stx) ? FD_OTHER : FD_FILE;
}

enum fd_kind fd_kind(int fd)
{
    struct statx stx;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_PATH) || look(fd, STATX_TYPE, &stx) < 0)
        return FD_OTHER;
    switch (stx.stx_mode & S_IFMT) {
    case 0:
        return is_eventfd(fd) ? FD_EVENTFD : FD_OTHER;
    case S_IFIFO:
        return FD_PIPE;
    case S_IFSOCK:
        return is_unix(fd) ? FD_UNIX : FD_OTHER;
    case S_IFREG:
        return kind_of_file(fd, &stx);
    default:
        return FD_OTHER;
    }
}

int fd_file_id(int fd, dev_t *dev, ino_t *ino, uint64_t *size)
{
    struct statx stx;
    int rc = look(fd, STATX_INO | STATX_SIZE, &stx);
    if (rc < 0)
        return rc;
    *dev = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    *ino = stx.stx_ino;
    *size = stx.stx_size;
    return 0;
}
