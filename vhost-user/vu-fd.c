/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost-user/vu-fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* An eventfd has no file type, and refuses reads shorter than its counter. */
static bool is_eventfd(int fd)
{
    struct stat st;
    char buf[4];
    return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == 0 && read(fd, buf, sizeof(buf)) == -1 &&
           errno == EINVAL;
}

struct vu_fd *vu_fd_new(int fd)
{
    if (fd < 0)
        return NULL;
    struct vu_fd *f = g_new(struct vu_fd, 1);
    atomic_init(&f->refs, 1);
    f->fd = fd;
    f->eventfd = is_eventfd(fd);
    /* A pipe end is ours alone; an eventfd's flags are the front-end's as well, so they stay. */
    if (!f->eventfd)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return f;
}

struct vu_fd *vu_fd_ref(struct vu_fd *f)
{
    if (f)
        atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void vu_fd_unref(struct vu_fd *f)
{
    if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return;
    close(f->fd);
    g_free(f);
}

bool vu_fd_is_shared(const struct vu_fd *f)
{
    return atomic_load_explicit(&f->refs, memory_order_acquire) > 1;
}

void vu_fd_signal(struct vu_fd *f)
{
    uint64_t one = 1;
    (void)!write(f->fd, &one, sizeof(one)); /* a full pipe or counter is signal enough */
}

static bool is_full(const struct vu_fd *f)
{
    struct pollfd p = {f->fd, POLLOUT, 0};
    return poll(&p, 1, 0) == 0;
}

void vu_fd_try_signal(struct vu_fd *f)
{
    if (!is_full(f))
        vu_fd_signal(f);
}

void vu_fd_unblock(struct vu_fd *f)
{
    uint64_t value;
    struct iovec iov = {&value, sizeof(value)};
    if (!f->eventfd || !is_full(f))
        return;
    /* The front-end may read it meanwhile: then there is nothing to wait for. */
    if (preadv2(f->fd, &iov, 1, -1, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP) /* Linux < 5.8 */
        (void)!read(f->fd, &value, sizeof(value));
}
