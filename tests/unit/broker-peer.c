/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/broker-peer.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 64 };

int peer_send(int channel, const void *msg, size_t len, const int *fds, unsigned n,
              struct broker_reply *out, int *fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(MOST * sizeof(int))];
    } control = {.head = {CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
    struct iovec iov = {(void *)msg, len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    *fd = -1;
    if (n > 0) {
        memcpy(CMSG_DATA(&control.head), fds, n * sizeof(int));
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
    }
    if (sendmsg(channel, &m, MSG_NOSIGNAL) < 0)
        return -errno;
    iov = (struct iovec){out, sizeof(*out)};
    m = (struct msghdr){.msg_iov = &iov,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control)};
    ssize_t got = recvmsg(channel, &m, MSG_CMSG_CLOEXEC);
    if (got <= 0)
        return got < 0 ? -errno : -EPIPE;
    if (CMSG_FIRSTHDR(&m))
        memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(*fd));
    return (int)got;
}

int peer_call(int channel, uint32_t op, const struct broker_handle *h, const int *fds, unsigned n,
              struct broker_reply *out, int *fd)
{
    static uint32_t seq;
    struct broker_request r = {.op = op, .seq = ++seq};

    if (h)
        r.h = *h;
    int len = peer_send(channel, &r, sizeof(r), fds, n, out, fd);
    if (len < 0)
        return len;
    if ((size_t)len != broker_reply_len(out->n) || out->seq != r.seq)
        return -EPROTO;
    return out->error;
}

int peer_mount(int channel, int dir, uint64_t *mount)
{
    struct broker_reply r;
    int none, rc = peer_call(channel, BROKER_MOUNT, NULL, &dir, 1, &r, &none);
    *mount = r.mount;
    return rc;
}

int peer_sign(int channel, int fd, struct broker_handle *out)
{
    struct broker_reply r;
    int none, rc = peer_call(channel, BROKER_SIGN, NULL, &fd, 1, &r, &none);
    if (rc != 0 || r.n != 1)
        return rc != 0 ? rc : -EPROTO;
    *out = r.h[0].h;
    return r.h[0].error;
}

int peer_open(int channel, const struct broker_handle *h)
{
    struct broker_reply r;
    int fd, rc = peer_call(channel, BROKER_OPEN, h, NULL, 0, &r, &fd);
    if (rc != 0)
        return rc < 0 ? rc : -rc;
    return fd < 0 ? -EPROTO : fd;
}
