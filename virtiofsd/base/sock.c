/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls close getsockopt
 * #syscalls:early clock_nanosleep chmod chown connect newfstatat socket unlink */
#include "virtiofsd/base/sock.h"

#include <errno.h>
#include <grp.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/sock-files.h"

/* How long the socket of a daemon that is gone may stay open: 0.5 s. */
#define DYING_TRIES   50
#define DYING_STEP_US 10000

bool sock_group(const char *name, gid_t *gid)
{
    guint64 n;
    struct group *gr = getgrnam(name);

    if (gr)
        *gid = gr->gr_gid;
    else if (g_ascii_string_to_unsigned(name, 10, 0, UINT32_MAX - 1, &n, NULL))
        *gid = (gid_t)n;
    else
        return false;
    return true;
}

/* What lies at @addr, of which nobody who locks paths is the owner. */
static enum sock_path path_clear(const struct sockaddr_un *addr, int *code)
{
    struct stat st;

    *code = 0;
    if (lstat(addr->sun_path, &st) < 0) {
        if (errno == ENOENT)
            return SOCK_PATH_FREE;
        *code = errno;
        return SOCK_PATH_UNKNOWN;
    }
    if (!S_ISSOCK(st.st_mode)) {
        *code = EEXIST;
        return SOCK_PATH_NO_SOCKET;
    }
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd < 0 ? -1 : connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
    if (rc == 0 || (errno != ECONNREFUSED && errno != ENOENT)) {
        *code = rc == 0 ? EADDRINUSE : errno;
        return SOCK_PATH_IN_USE;
    }
    if (unlink(addr->sun_path) < 0 && errno != ENOENT) {
        *code = errno;
        return SOCK_PATH_STUCK;
    }
    return SOCK_PATH_FREE;
}

enum sock_path sock_path_take(const struct sockaddr_un *addr, struct sock_files **files,
                              struct sock_path_error *e)
{
    struct sock_files *f = sock_files_take(addr->sun_path, &e->holder, &e->code);
    if (!f)
        return e->code == EBUSY ? SOCK_PATH_LOCKED : SOCK_PATH_NO_LOCK;

    enum sock_path r = path_clear(addr, &e->code);
    /* Of a daemon whose keeper was killed the lock is free before its socket is closed. */
    for (int i = 0; r == SOCK_PATH_IN_USE && sock_files_inherited(f) && i < DYING_TRIES; i++) {
        g_usleep(DYING_STEP_US);
        r = path_clear(addr, &e->code);
    }
    if (r == SOCK_PATH_FREE) {
        *files = f;
    } else {
        sock_files_remove(f);
        sock_files_free(f);
    }
    return r;
}

G_GNUC_PRINTF(3, 4) static bool fail(GError **err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_set_error_literal(err, G_FILE_ERROR, (int)g_file_error_from_errno(code), text);
    return false;
}

bool sock_path_own(const struct sockaddr_un *addr, struct sock_files **files, GError **err)
{
    const char *path = addr->sun_path;
    struct sock_path_error e;
    enum sock_path r = sock_path_take(addr, files, &e);
    const char *why = errno_text(e.code);

    switch (r) {
    case SOCK_PATH_FREE:
        return true;
    case SOCK_PATH_NO_LOCK:
        return fail(err, e.code, "cannot make or lock %s.pid: %s", path, why);
    case SOCK_PATH_LOCKED:
        return fail(err, e.code,
                    "socket %s is in use: process %d holds %s.pid; stop it or choose another path",
                    path, (int)e.holder, path);
    case SOCK_PATH_UNKNOWN:
        return fail(err, e.code, "cannot look at %s: %s", path, why);
    case SOCK_PATH_NO_SOCKET:
        return fail(err, e.code, "%s exists and is no socket: choose another path", path);
    case SOCK_PATH_IN_USE:
        return fail(err, e.code, "socket %s is in use (%s): stop the process that listens on it",
                    path, why);
    case SOCK_PATH_STUCK:
        break;
    }
    return fail(err, e.code, "cannot remove the stale socket %s: %s", path, why);
}

int sock_path_give(const char *path, gid_t gid)
{
    if (chown(path, (uid_t)-1, gid) == 0 && chmod(path, 0660) == 0)
        return 0;
    int rc = -errno;
    unlink(path);
    return rc;
}

static int int_option(int fd, int option, int *value)
{
    socklen_t len = sizeof(*value);
    return getsockopt(fd, SOL_SOCKET, option, value, &len);
}

int sock_look(int fd, struct sock_kind *out)
{
    int accepts = 0;

    if (int_option(fd, SO_TYPE, &out->type) < 0 || int_option(fd, SO_DOMAIN, &out->domain) < 0 ||
        int_option(fd, SO_ACCEPTCONN, &accepts) < 0)
        return -errno;
    out->listening = accepts != 0;
    return 0;
}
