/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls close fcntl getpeername getsockname read recvfrom shutdown write */
#include "vhost-user/vu-fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtiofsd/base/aside.h"
#include "virtiofsd/base/fd-kind.h"
#include "virtiofsd/base/log.h"

bool vu_fd_is_other_side(int fd, int conn)
{
    struct sockaddr_un own, peer;
    socklen_t own_len = sizeof(own), peer_len = sizeof(peer);
    return conn >= 0 && getsockname(conn, (struct sockaddr *)&own, &own_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
           own_len > sizeof(sa_family_t) && own_len == peer_len &&
           memcmp(&own, &peer, own_len) == 0;
}

/* User-Mode Linux is called by a stream socket. It must bring nothing, now or later: a descriptor
 * under way in it would be held as long as it is. */
static bool brings_nothing(int fd)
{
    char c;
    return shutdown(fd, SHUT_RD) == 0 && recv(fd, &c, sizeof(c), MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Whether @fd is what can be signalled by or waited for. */
static bool fits(int fd, enum fd_kind kind, enum vu_fd_use use, int conn)
{
    if (kind == FD_UNIX)
        return use == VU_FD_WRITE && !vu_fd_is_other_side(fd, conn) && brings_nothing(fd);
    int mode = fcntl(fd, F_GETFL) & O_ACCMODE;
    return kind == FD_EVENTFD ||
           (kind == FD_PIPE && mode != (use == VU_FD_READ ? O_WRONLY : O_RDONLY));
}

int vu_fd_new(int fd, enum vu_fd_use use, int conn, struct vu_fd **out)
{
    *out = NULL;
    if (fd < 0)
        return 0;
    enum fd_kind kind = fd_kind(fd);
    if (!fits(fd, kind, use, conn)) {
        log_guest_warn("a kick, call or err must be an eventfd or an end of a pipe, or of a socket "
                       "to write to");
        aside_close(fd);
        return -EINVAL;
    }
    struct vu_fd *f = g_new(struct vu_fd, 1);
    atomic_init(&f->refs, 1);
    f->fd = fd;
    f->eventfd = kind == FD_EVENTFD;
    /* Nobody else uses this end of a pipe, as a rule; an eventfd is the front-end's to wait on. */
    if (!f->eventfd)
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    *out = f;
    return 0;
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

void vu_fd_signal(struct vu_fd *f)
{
    const uint64_t one = 1;
    aside_enter();
    (void)!write(f->fd, &one, sizeof(one)); /* a full pipe or counter is signal enough */
    aside_leave();
}

static void signal_and_unref(void *arg)
{
    vu_fd_signal(arg);
    vu_fd_unref(arg);
}

void vu_fd_signal_aside(struct vu_fd *f)
{
    if (f)
        aside_run(signal_and_unref, vu_fd_ref(f));
}

bool vu_fd_drain(struct vu_fd *f)
{
    char buf[512];
    aside_enter();
    ssize_t n = read(f->fd, buf, sizeof(buf));
    int code = errno;
    aside_leave();
    return n > 0 || (n < 0 && (code == EAGAIN || code == EINTR));
}
