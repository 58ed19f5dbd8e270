/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost-user/vu-backend.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int vu_backend_set(struct vu_backend *b, int fd)
{
    int type = 0;
    socklen_t len = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM) {
        close(fd);
        return -EINVAL;
    }
    vu_backend_close(b);
    b->fd = fd;
    return 0;
}

void vu_backend_close(struct vu_backend *b)
{
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
}
