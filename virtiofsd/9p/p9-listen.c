/* SPDX-License-Identifier: BSD-3-Clause
 * One function per kind of address. */
/* #syscalls close fcntl
 * #syscalls:early bind listen setsockopt socket umask */
#include "virtiofsd/9p/p9-listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/sock-files.h"
#include "virtiofsd/base/sock.h"

#define DEFAULT_PORT 564 /* IANA: 9pfs */
#define BACKLOG      16

union any_addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
    struct sockaddr_vm vm;
};

G_GNUC_PRINTF(3, 4)
static bool fail(GError **err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_set_error_literal(err, G_FILE_ERROR, (int)g_file_error_from_errno(code), text);
    return false;
}

/* No address at all. */
static bool malformed(GError **err, const char *want)
{
    g_set_error_literal(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, want);
    return false;
}

/* What connections inherit from a listening socket: in the sandbox no option can be set any more.
 * A peer that lost its power or its cable holds locks until it is found to be gone. */
static void set_tcp(int fd)
{
    static const struct {
        int level, option, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},           {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 60}, /* s of silence, then */
        {IPPROTO_TCP, TCP_KEEPINTVL, 15},        {IPPROTO_TCP, TCP_KEEPCNT, 4},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 120000}, /* ms until what we sent is confirmed */
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++)
        setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof(int));
}

/* A listening socket on @sa. -1 with @err. */
static int listen_on(const union any_addr *a, socklen_t len, GError **err)
{
    int one = 1;
    AUTO_FD int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        fail(err, errno, "cannot make a socket: %s", errno_text(errno));
        return -1;
    }
    if (a->sa.sa_family == AF_INET || a->sa.sa_family == AF_INET6) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        set_tcp(fd);
    }
    if (a->sa.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, &a->sa, len) < 0 || listen(fd, BACKLOG) < 0) {
        fail(err, errno, "cannot listen: %s", errno_text(errno));
        return -1;
    }
    return steal_fd(&fd);
}

static bool number(const char *text, unsigned max, unsigned *out)
{
    guint64 n;
    if (!g_ascii_string_to_unsigned(text, 10, 0, max, &n, NULL))
        return false;
    *out = (unsigned)n;
    return true;
}

/* ---- unix ---- */

static bool open_unix(const char *path, const char *group, struct p9_endpoint *out, GError **err)
{
    union any_addr a = {.un = {.sun_family = AF_UNIX}};
    gid_t gid = (gid_t)-1;

    if (*path == '\0' || strlen(path) >= sizeof(a.un.sun_path))
        return malformed(err, "a path of 1 to 107 bytes must follow");
    memcpy(a.un.sun_path, path, strlen(path) + 1);
    if (group && !sock_group(group, &gid))
        return fail(err, EINVAL, "no group '%s'", group);
    if (!sock_path_own(&a.un, &out->files, err))
        return false;
    mode_t mask = umask(0177);
    AUTO_FD int fd = listen_on(&a, sizeof(a.un), err);
    umask(mask);
    if (fd < 0)
        return false;
    sock_files_made(out->files);
    int rc = group ? sock_path_give(path, gid) : 0;
    if (rc < 0)
        return fail(err, -rc, "cannot give it to group '%s': %s", group, errno_text(-rc));
    out->fd = steal_fd(&fd);
    out->local = true;
    return true;
}

/* ---- tcp ---- */

/* "ADDR", "ADDR:PORT", "[ADDR]" or "[ADDR]:PORT". */
static bool split_host(const char *rest, char **host, unsigned *port)
{
    const char *after;

    *port = DEFAULT_PORT;
    if (rest[0] == '[') {
        const char *end = strchr(rest, ']');
        if (!end)
            return false;
        *host = g_strndup(rest + 1, (gsize)(end - rest - 1));
        after = end + 1;
    } else {
        after = rest + strcspn(rest, ":");
        *host = g_strndup(rest, (gsize)(after - rest));
    }
    if (*after == '\0')
        return true;
    return *after == ':' && number(after + 1, UINT16_MAX, port) && *port > 0;
}

static bool open_tcp(const char *rest, const char *group, struct p9_endpoint *out, GError **err)
{
    union any_addr a = {0};
    g_autofree char *host = NULL;
    unsigned port;
    socklen_t len = 0;

    if (split_host(rest, &host, &port)) {
        if (inet_pton(AF_INET, host, &a.in.sin_addr) == 1) {
            a.in.sin_family = AF_INET;
            a.in.sin_port = htons((uint16_t)port);
            len = sizeof(a.in);
        } else if (inet_pton(AF_INET6, host, &a.in6.sin6_addr) == 1) {
            a.in6.sin6_family = AF_INET6;
            a.in6.sin6_port = htons((uint16_t)port);
            len = sizeof(a.in6);
        }
    }
    if (len == 0)
        return malformed(
            err, "a numeric address must follow, and perhaps a port, as in tcp:127.0.0.1:564 "
                 "or tcp:[::1]:564");
    *out = (struct p9_endpoint){.fd = listen_on(&a, len, err)};
    return out->fd >= 0;
}

/* ---- vsock ---- */

static bool open_vsock(const char *rest, const char *group, struct p9_endpoint *out, GError **err)
{
    union any_addr a = {.vm = {.svm_family = AF_VSOCK}};
    g_auto(GStrv) part = g_strsplit(rest, ":", 3);
    unsigned cid = VMADDR_CID_ANY, port;

    if (g_strv_length(part) != 2 || !number(part[1], UINT32_MAX - 1, &port) ||
        (strcmp(part[0], "any") != 0 && !number(part[0], UINT32_MAX - 1, &cid)))
        return malformed(err, "a context id (or any) and a port must follow, as in vsock:any:564");
    a.vm.svm_cid = cid;
    a.vm.svm_port = port;
    *out = (struct p9_endpoint){.fd = listen_on(&a, sizeof(a.vm), err)};
    return out->fd >= 0;
}

/* ---- inherited ---- */

static bool open_fd(const char *rest, const char *group, struct p9_endpoint *out, GError **err)
{
    struct sock_kind kind;
    unsigned n;

    if (!number(rest, INT32_MAX, &n))
        return malformed(err, "the number of a descriptor must follow");
    int fd = (int)n;
    int rc = sock_look(fd, &kind);
    if (rc < 0)
        return fail(err, -rc, "%s; pass a stream socket", errno_text(-rc));
    if (kind.type != SOCK_STREAM)
        return fail(err, EINVAL, "it is not a stream socket");
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        (kind.listening && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0))
        return fail(err, errno, "%s", errno_text(errno));
    if (kind.domain == AF_INET || kind.domain == AF_INET6)
        set_tcp(fd);
    *out = (struct p9_endpoint){
        .fd = fd,
        .connected = !kind.listening,
        .local = kind.domain == AF_UNIX,
        .check_peer = kind.domain == AF_UNIX,
    };
    return true;
}

/* ---- all ---- */

static const struct kind {
    const char *prefix;
    bool (*open)(const char *rest, const char *group, struct p9_endpoint *out, GError **err);
} kinds[] = {
    {"unix:", open_unix},
    {"tcp:", open_tcp},
    {"vsock:", open_vsock},
    {"fd:", open_fd},
};

static bool open_any(const char *addr, const char *group, struct p9_endpoint *out, GError **err)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (g_str_has_prefix(addr, kinds[i].prefix))
            return kinds[i].open(addr + strlen(kinds[i].prefix), group, out, err);
    }
    return malformed(err, "unknown; give unix:PATH, tcp:ADDR:PORT, vsock:CID:PORT or fd:N");
}

bool p9_listen_open(const char *addr, const char *group, struct p9_endpoint *out, GError **err)
{
    *out = (struct p9_endpoint){.fd = -1};
    if (open_any(addr, group, out, err))
        return true;
    g_prefix_error(err, "%s: ", addr);
    return false;
}

int p9_listen_inherited(const char *addr)
{
    unsigned n;
    return g_str_has_prefix(addr, "fd:") && number(addr + 3, INT32_MAX, &n) ? (int)n : -1;
}
