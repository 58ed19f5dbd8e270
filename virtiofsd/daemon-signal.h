/* SPDX-License-Identifier: BSD-3-Clause
 * The end by a signal, SIGTERM, SIGINT, SIGHUP or SIGQUIT: what serves is told to stop, and when
 * that does not end the process in time, or at a second signal, the process ends as it is. SIGUSR2
 * asks for a report. A thread of its own waits for them, which touches nothing that may hang. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Before all else: a signal of the start is remembered until daemon_signal_start(), and ends what
 * takes too long. Handlers, since pid 1 of a pid namespace does not die of a signal that it does
 * not handle. */
void daemon_signal_early(void);

/* Start the thread: in the sandbox, before all other threads. Returns false with @err. */
bool daemon_signal_start(GError **err);

/* What a signal calls from now on, on the thread; also for one that came since the start. NULL:
 * nothing (it is not being called any more then). */
void daemon_signal_stops(void (*stop)(void *user), void *user);

/* What SIGUSR2 calls from now on, one call at a time, on another thread, which may wait for locks;
 * before, it does nothing. NULL: nothing again (it is not being called any more then). */
void daemon_signal_reports(void (*report)(void *user), void *user);
