/* SPDX-License-Identifier: BSD-3-Clause
 * Calls that a peer may hold up for as long as it likes: made by a thread that can be told to give
 * up, or by one on which nobody waits. */
#pragma once

#include <stdbool.h>

/* The thread is about to make a call that a peer may hold up, and has made it. Between them no lock
 * is held and nothing else done. The call ends with EINTR when aside_break() says so: it must not
 * be tried again then. Costs two stores. */
void aside_enter(void);
void aside_leave(void);

/* Install what breaks calls. Once, before the first of them. Returns 0 or -errno. */
int aside_install(void);

/* Break the calls that did not end since an earlier look, at least some milliseconds ago: call it
 * again and again while something must end. Any thread. */
void aside_break(void);

/* Call fn(arg) on a thread of its own that comes and goes with the work, in order. A call of it
 * that hangs holds up only what comes after it, and is broken by that when it is between
 * aside_enter() and aside_leave(). */
void aside_run(void (*fn)(void *arg), void *arg);

/* Wait at most @ms until all that was handed over is done. Returns whether it is. */
bool aside_wait(int ms);

/* Close a descriptor that a peer passed: aside, when that might wait. -1 is fine. */
void aside_close(int fd);
