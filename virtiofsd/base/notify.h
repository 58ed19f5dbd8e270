/* SPDX-License-Identifier: BSD-3-Clause
 * sd_notify(3): tell a service manager how far we are. A few lines of our own, since libsystemd
 * would be mapped and relocated by each of hundreds of daemons to send some datagrams. */
#pragma once

#include <stdbool.h>

enum notify {
    NOTIFY_READY,     /* serves, or listens */
    NOTIFY_WAITING,   /* for a front-end */
    NOTIFY_FRONT_END, /* one has connected */
    NOTIFY_MOUNTED,   /* a guest has mounted */
    NOTIFY_STOPPING,
    NOTIFY_COUNT
};

/* Connect to $NOTIFY_SOCKET and take that out of the environment, so that no child speaks for us.
 * Returns the descriptor, the caller's; 0 when there is none, or an address that cannot be used,
 * which is logged. Before threads and the sandbox. */
int notify_open(void);

/* Send @what on @fd (0: nothing is sent). False when the receiver has no room, after @ms
 * milliseconds for some to come; what cannot be sent at all counts as sent. Any thread. With @ms 0
 * this is one sendto(2). */
bool notify_send(int fd, enum notify what, int ms);
