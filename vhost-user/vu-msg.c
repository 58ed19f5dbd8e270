/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls poll recvmsg sendto */
#include "vhost-user/vu-msg.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "virtiofsd/base/aside.h"

#define SEND_TIMEOUT_MS 5000

/* The descriptors that came with one recvmsg(2): the first ones go to fds[*n...], up to @max in
 * all; the others are closed. Returns how many were. */
static unsigned take_fds(struct msghdr *mh, int *fds, unsigned max, unsigned *n)
{
    unsigned closed = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (*n < max) {
                fds[(*n)++] = fd;
            } else {
                aside_close(fd);
                closed++;
            }
        }
    }
    return closed;
}

ssize_t vu_msg_recv_part(int fd, void *buf, size_t len, int flags, int *fds, unsigned max,
                         unsigned *n)
{
    union {
        char buf[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {buf, len};
    struct msghdr mh = {.msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = control.buf,
                        .msg_controllen = sizeof(control.buf)};
    ssize_t got;
    do
        got = recvmsg(fd, &mh, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    unsigned closed = take_fds(&mh, fds, max, n);
    if ((mh.msg_flags & MSG_CTRUNC) || (closed > 0 && max > 0))
        return -EMFILE;
    return got == 0 ? -ENODATA : got;
}

int vu_msg_recv(int fd, struct vu_msg *msg)
{
    for (;;) {
        bool in_hdr = msg->have < sizeof(msg->hdr);
        size_t whole = sizeof(msg->hdr) + (in_hdr ? 0 : msg->hdr.size);
        uint8_t *dst = in_hdr ? (uint8_t *)&msg->hdr + msg->have
                              : msg->payload + (msg->have - sizeof(msg->hdr));
        if (!in_hdr && msg->have == whole)
            return 1;
        ssize_t n =
            vu_msg_recv_part(fd, dst, whole - msg->have, 0, msg->fds, VU_MAX_FDS, &msg->nfds);
        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            return (int)n;
        msg->have += (size_t)n;
        if (msg->have == sizeof(msg->hdr) &&
            ((msg->hdr.flags & VU_VERSION_MASK) != VU_VERSION || msg->hdr.size > VU_MAX_PAYLOAD))
            return -EPROTO;
    }
}

int vu_msg_steal_fd(struct vu_msg *msg, unsigned i)
{
    int fd = msg->fds[i];
    msg->fds[i] = -1;
    return fd;
}

void vu_msg_clear(struct vu_msg *msg)
{
    for (unsigned i = 0; i < msg->nfds; i++)
        aside_close(msg->fds[i]);
    msg->nfds = 0;
    msg->have = 0;
}

/* Wait until @fd takes more, until @end_us at the latest. */
static int wait_room(int fd, int stop_fd, gint64 end_us)
{
    struct pollfd p[2] = {{fd, POLLOUT, 0}, {stop_fd, POLLIN, 0}};
    gint64 left = end_us - g_get_monotonic_time();
    int n = left > 0 ? poll(p, 2, (int)(left / 1000 + 1)) : 0;
    if (n == 0)
        return -ETIMEDOUT;
    return n > 0 && p[1].revents ? -ECANCELED : 0;
}

int vu_msg_reply(int fd, int stop_fd, uint32_t request, const void *payload, size_t len)
{
    struct vu_hdr hdr = {request, VU_VERSION | VU_REPLY, (uint32_t)len};
    uint8_t buf[sizeof(hdr) + VU_MAX_REPLY];
    size_t total = sizeof(hdr) + len, sent = 0;
    gint64 end_us = g_get_monotonic_time() + SEND_TIMEOUT_MS * G_TIME_SPAN_MILLISECOND;

    if (total > sizeof(buf))
        return -EMSGSIZE;
    memcpy(buf, &hdr, sizeof(hdr));
    if (len)
        memcpy(buf + sizeof(hdr), payload, len);
    while (sent < total) {
        ssize_t n = send(fd, buf + sent, total - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            int rc = wait_room(fd, stop_fd, end_us);
            if (rc < 0)
                return rc;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}
