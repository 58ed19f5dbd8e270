/* SPDX-License-Identifier: BSD-3-Clause
 * Making and judging the socket. */
#include "vhost-user/vu-sock.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"

G_GNUC_PRINTF(3, 4) static void fail(GError **err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_set_error_literal(err, G_FILE_ERROR, (int)g_file_error_from_errno(code), text);
}

static bool find_group(const char *name, gid_t *gid, GError **err)
{
    char *end;
    struct group *gr = getgrnam(name);
    if (gr) {
        *gid = gr->gr_gid;
        return true;
    }
    errno = 0;
    unsigned long n = strtoul(name, &end, 10);
    if (g_ascii_isdigit(name[0]) && *end == '\0' && errno == 0 && n < UINT32_MAX) {
        *gid = (gid_t)n;
        return true;
    }
    fail(err, ENOENT, "no group '%s' for the socket: name an existing group or a number", name);
    return false;
}

/* Remove the file of a socket that nobody listens on any more. */
static bool remove_stale(const char *path, const struct sockaddr_un *addr, GError **err)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        if (errno == ENOENT)
            return true;
        fail(err, errno, "cannot look at %s: %s", path, g_strerror(errno));
        return false;
    }
    if (!S_ISSOCK(st.st_mode)) {
        fail(err, EEXIST, "%s exists and is no socket: choose another path", path);
        return false;
    }
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
    if (rc == 0 || (errno != ECONNREFUSED && errno != ENOENT)) {
        int code = rc == 0 ? EADDRINUSE : errno;
        fail(err, code, "socket %s is in use (%s): stop the process that listens on it", path,
             g_strerror(code));
        return false;
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        fail(err, errno, "cannot remove the stale socket %s: %s", path, g_strerror(errno));
        return false;
    }
    return true;
}

int vu_sock_listen(const char *path, const char *group, GError **err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    gid_t gid = (gid_t)-1;

    if (strlen(path) == 0 || strlen(path) >= sizeof(addr.sun_path)) {
        fail(err, ENAMETOOLONG, "socket path '%s' must have 1 to %zu bytes", path,
             sizeof(addr.sun_path) - 1);
        return -1;
    }
    strcpy(addr.sun_path, path);
    if ((group && !find_group(group, &gid, err)) || !remove_stale(path, &addr, err))
        return -1;

    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        fail(err, errno, "cannot make a unix socket: %s", g_strerror(errno));
        return -1;
    }
    mode_t mask = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
    int code = errno;
    umask(mask);
    if (rc < 0) {
        fail(err, code, "cannot make the socket %s: %s", path, g_strerror(code));
        return -1;
    }
    if (group && (chown(path, (uid_t)-1, gid) < 0 || chmod(path, 0660) < 0)) {
        fail(err, errno, "cannot give the socket %s to group '%s': %s", path, group,
             g_strerror(errno));
        unlink(path);
        return -1;
    }
    if (listen(fd, 1) < 0) {
        fail(err, errno, "cannot listen on %s: %s", path, g_strerror(errno));
        unlink(path);
        return -1;
    }
    return steal_fd(&fd);
}

static int int_option(int fd, int option, int *value)
{
    socklen_t len = sizeof(*value);
    return getsockopt(fd, SOL_SOCKET, option, value, &len);
}

int vu_sock_adopt(int fd, bool *listening, GError **err)
{
    int type = 0, domain = 0, accepts = 0;
    if (int_option(fd, SO_TYPE, &type) < 0 || int_option(fd, SO_DOMAIN, &domain) < 0 ||
        int_option(fd, SO_ACCEPTCONN, &accepts) < 0) {
        fail(err, errno, "descriptor %d cannot be used: %s; pass a unix stream socket", fd,
             g_strerror(errno));
        return -1;
    }
    if (type != SOCK_STREAM || domain != AF_UNIX) {
        fail(err, EINVAL, "descriptor %d is not a unix stream socket", fd);
        return -1;
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        fail(err, errno, "descriptor %d: %s", fd, g_strerror(errno));
        return -1;
    }
    *listening = accepts != 0;
    return 0;
}
