/* SPDX-License-Identifier: BSD-3-Clause
 * Time limits of the fake front-end: nothing in the tests waits longer than this. */
#pragma once

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define FE_TIMEOUT_MS 10000

/* Failures of the front-end itself, told apart from the -errno values that a daemon answers. */
#define FE_ETIMEOUT -2000 /* no answer in time */
#define FE_EGONE    -2001 /* the daemon closed the connection */
#define FE_EPROTO   -2002 /* an answer that breaks the protocol; the reason is printed */

/* @ms on this machine; as many times as long as $FE_SLOW says, which an emulated one sets. */
static inline int fe_slow(int ms)
{
    const char *times = getenv("FE_SLOW");
    int n = times ? atoi(times) : 1;
    return n > 1 ? n * ms : ms;
}

static inline int64_t fe_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline int64_t fe_now_ms(void)
{
    return fe_now_ns() / 1000000;
}

/* Wait for @events on @fd for at most @ms. Returns 0 or FE_ETIMEOUT. */
static inline int fe_poll(int fd, short events, int ms)
{
    int64_t end = fe_now_ms() + ms;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = events};
        int64_t left = end - fe_now_ms();
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n > 0)
            return 0;
        if (n == 0 || errno != EINTR)
            return FE_ETIMEOUT;
    }
}
