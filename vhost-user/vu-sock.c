/* SPDX-License-Identifier: BSD-3-Clause
 * Making and judging the socket. */
/* #syscalls close fcntl
 * #syscalls:early bind listen socket umask */
#include "vhost-user/vu-sock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/sock-files.h"
#include "virtiofsd/base/sock.h"

G_GNUC_PRINTF(3, 4) static void fail(GError **err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_set_error_literal(err, G_FILE_ERROR, (int)g_file_error_from_errno(code), text);
}

int vu_sock_listen(const char *path, const char *group, struct sock_files **files, GError **err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    gid_t gid = (gid_t)-1;

    *files = NULL;
    if (strlen(path) == 0 || strlen(path) >= sizeof(addr.sun_path)) {
        fail(err, ENAMETOOLONG, "socket path '%s' must have 1 to %zu bytes", path,
             sizeof(addr.sun_path) - 1);
        return -1;
    }
    strcpy(addr.sun_path, path);
    if (group && !sock_group(group, &gid)) {
        g_set_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "no group '%s': name an existing group or a number", group);
        return -1;
    }
    if (!sock_path_own(&addr, files, err))
        return -1;

    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        fail(err, errno, "cannot make a unix socket: %s", errno_text(errno));
        return -1;
    }
    mode_t mask = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
    int code = errno;
    umask(mask);
    if (rc < 0) {
        fail(err, code, "cannot make the socket %s: %s", path, errno_text(code));
        return -1;
    }
    sock_files_made(*files);
    code = group ? -sock_path_give(path, gid) : 0;
    if (code != 0) {
        fail(err, code, "cannot give the socket %s to group '%s': %s", path, group,
             errno_text(code));
        return -1;
    }
    if (listen(fd, 1) < 0) {
        fail(err, errno, "cannot listen on %s: %s", path, errno_text(errno));
        return -1;
    }
    return steal_fd(&fd);
}

char *vu_sock_name(const char *path, int fd)
{
    return path ? g_strdup(path) : g_strdup_printf("descriptor %d", fd);
}

int vu_sock_adopt(int fd, bool *listening, GError **err)
{
    struct sock_kind kind;
    int rc = sock_look(fd, &kind);
    if (rc < 0) {
        fail(err, -rc, "descriptor %d cannot be used: %s; pass a unix stream socket", fd,
             errno_text(-rc));
        return -1;
    }
    if (kind.type != SOCK_STREAM || kind.domain != AF_UNIX) {
        fail(err, EINVAL, "descriptor %d is not a unix stream socket", fd);
        return -1;
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        fail(err, errno, "descriptor %d: %s", fd, errno_text(errno));
        return -1;
    }
    /* Another holder may accept what poll(2) told us of. */
    if (kind.listening && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        fail(err, errno, "descriptor %d: %s", fd, errno_text(errno));
        return -1;
    }
    /* A name by which the other side can be recognized. One of a pair has none; others keep it. */
    const struct sockaddr any = {.sa_family = AF_UNIX};
    if (!kind.listening)
        (void)bind(fd, &any, sizeof(any.sa_family));
    *listening = kind.listening;
    return 0;
}
