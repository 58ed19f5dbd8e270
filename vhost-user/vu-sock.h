/* SPDX-License-Identifier: BSD-3-Clause
 * The vhost-user socket: listening, taking over a descriptor. */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct sock_files;

/* Listen on a unix socket at @path, mode 0600 or 0660 with @group (a name or number; may be NULL).
 * The path is locked (base/sock-files.h): *@files, which is the caller's, also after an error
 * (NULL: it was not ours). A stale socket file is removed only after a connect to it was refused;
 * one that answers is an error. Returns the listening descriptor (close-on-exec), or -1 with @err
 * set to one line that says what to do. */
int vu_sock_listen(const char *path, const char *group, struct sock_files **files, GError **err);

/* Look at a descriptor given by --fd. *@listening tells whether it is a listening socket or an
 * already connected one (SO_ACCEPTCONN). Returns 0, or -1 with @err when it is not a unix stream
 * socket. Sets close-on-exec. */
int vu_sock_adopt(int fd, bool *listening, GError **err);

/* What to call the socket in the log: its path, or (NULL) the descriptor. The caller frees it. */
char *vu_sock_name(const char *path, int fd);
