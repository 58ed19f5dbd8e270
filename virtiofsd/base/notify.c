/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls close poll sendto
 * #syscalls:keeper sendto
 * #syscalls:early connect socket */
#include "virtiofsd/base/notify.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

static const char *const texts[NOTIFY_COUNT] = {
    [NOTIFY_READY] = "READY=1",
    [NOTIFY_WAITING] = "STATUS=Waiting for a front-end",
    [NOTIFY_FRONT_END] = "STATUS=A front-end has connected",
    [NOTIFY_MOUNTED] = "STATUS=A guest has mounted",
    [NOTIFY_STOPPING] = "STOPPING=1\nSTATUS=Stopping",
};

/* "/path" or "@name", an abstract one. 0 or -errno. */
static int connect_to(const char *address)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    size_t len = strlen(address);

    if (address[0] != '/' && address[0] != '@')
        return -EAFNOSUPPORT;
    if (len < 2 || len >= sizeof(sa.sun_path))
        return -ENAMETOOLONG;
    memcpy(sa.sun_path, address, len);
    if (address[0] == '@')
        sa.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    AUTO_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&sa, size) < 0)
        return -errno;
    return steal_fd(&fd);
}

int notify_open(void)
{
    const char *address = getenv("NOTIFY_SOCKET");

    if (!address || !*address)
        return 0;
    int fd = connect_to(address);
    if (fd < 0)
        log_warn("NOTIFY_SOCKET=%s: %s; nobody is told when the daemon is ready", address,
                 errno_text(-fd));
    unsetenv("NOTIFY_SOCKET");
    return fd > 0 ? fd : 0;
}

bool notify_send(int fd, enum notify what, int ms)
{
    const char *text = texts[what];
    struct pollfd p = {.fd = fd, .events = POLLOUT};

    for (;;) {
        if (fd <= 0 || send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return true;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return true;
        if (ms <= 0 || poll(&p, 1, ms) <= 0)
            return false;
        ms /= 2; /* others may take the room */
    }
}
