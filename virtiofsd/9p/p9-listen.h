/* SPDX-License-Identifier: BSD-3-Clause
 * Where 9P is served by a stream socket: addresses as text, opened. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct sock_files;

struct p9_endpoint {
    int fd;                   /* non-blocking when it listens */
    bool connected;           /* one connection, inherited; else a listening socket */
    bool local;               /* unix: peers are of this host */
    struct sock_files *files; /* of unix:PATH, the caller's, also after an error; or NULL */
    bool check_peer;          /* it was made by somebody else: look at each peer's credentials */
};

/* Open one address:
 *   unix:PATH            a socket that only we, root and @group may connect to
 *   tcp:ADDR[:PORT]      a numeric address ([ADDR] when it is an IPv6 one); port 564 when left out
 *   vsock:CID:PORT       CID: a number or "any"
 *   fd:N                 an inherited stream socket, listening or connected
 * @group (name or number, may be NULL) is for unix:PATH only. Nothing is listened on that was not
 * written: "tcp:" alone is refused. Before the sandbox is entered. The caller owns out->fd.
 * Returns false with @err one line that begins with @addr and says what to do. */
bool p9_listen_open(const char *addr, const char *group, struct p9_endpoint *out, GError **err);

/* N of "fd:N", else -1. */
int p9_listen_inherited(const char *addr);
