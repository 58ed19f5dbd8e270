/* SPDX-License-Identifier: BSD-3-Clause
 * The files of a unix socket that we listen on: the socket, and PATH.pid beside it, which is locked
 * (flock(2)) and holds our process number. Callers wait for that file and stop the daemon by it,
 * and the lock says whose the path is: the Rust daemon makes and locks the same file.
 *
 * All of it happens before the sandbox is entered, or outside of it. */
#pragma once

#include <glib.h>
#include <sys/types.h>

struct sock_files;

/* Take the path for this process: make PATH.pid, lock it, write our number into it. NULL, and @code
 * the errno: EBUSY when another process holds the lock (@holder: its number, 0 if it wrote none),
 * EEXIST when something that is no file is in the way. The caller frees the result. */
struct sock_files *sock_files_take(const char *path, pid_t *holder, int *code);

/* Whether PATH.pid was there before: a daemon of this kind had the path and may still be dying. */
gboolean sock_files_inherited(const struct sock_files *f);

/* The socket is there: the one that sock_files_remove() is about. */
void sock_files_made(struct sock_files *f);

/* Remove both, each only if it is still ours. Calls unlinkat(2), fstat(2) and fstatat(2) only. */
void sock_files_remove(const struct sock_files *f);

/* The descriptors that the lock and sock_files_remove() need. */
#define SOCK_FILES_FDS 3
void sock_files_fds(const struct sock_files *f, int fds[SOCK_FILES_FDS]);

/* Give up removing them, for a process that cannot or must not: only the lock is held on. */
void sock_files_leave(struct sock_files *f);

/* Close what is open. The lock ends with the last process that has it. */
void sock_files_free(struct sock_files *f);
