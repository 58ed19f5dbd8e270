/* SPDX-License-Identifier: BSD-3-Clause
 * Sockets that are listened on: whose file a unix socket is, what an inherited descriptor is. The
 * texts of errors are the callers' but for paths. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

struct sock_files;

/* The group of that name or number. Before the sandbox is entered. */
bool sock_group(const char *name, gid_t *gid);

enum sock_path {
    SOCK_PATH_FREE,
    SOCK_PATH_NO_LOCK,   /* PATH.pid cannot be made or locked */
    SOCK_PATH_LOCKED,    /* another daemon holds it */
    SOCK_PATH_UNKNOWN,   /* it cannot be looked at */
    SOCK_PATH_NO_SOCKET, /* something else is there */
    SOCK_PATH_IN_USE,    /* somebody listens, or may do so */
    SOCK_PATH_STUCK,     /* nobody listens, but it cannot be removed */
};

struct sock_path_error {
    int code;     /* errno */
    pid_t holder; /* of SOCK_PATH_LOCKED; 0: not known */
};

/* Take the path of @addr (base/sock-files.h) and make room for a socket there: the file of one is
 * removed when a connect to it was refused. With SOCK_PATH_FREE, and only then, *@files is the
 * caller's, who says sock_files_made() once the socket is bound. @e: why not. */
enum sock_path sock_path_take(const struct sockaddr_un *addr, struct sock_files **files,
                              struct sock_path_error *e);

/* The same. False with @err: one line that names the path and says what to do. */
bool sock_path_own(const struct sockaddr_un *addr, struct sock_files **files, GError **err);

/* Let @gid connect to the socket at @path, too. 0, or -errno: the file is removed then. */
int sock_path_give(const char *path, gid_t gid);

struct sock_kind {
    int domain, type; /* AF_*, SOCK_* */
    bool listening;
};

/* What @fd is. 0 or -errno (-ENOTSOCK, ...). */
int sock_look(int fd, struct sock_kind *out);
