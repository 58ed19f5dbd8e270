/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/base/log.h"

#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

enum log_level log_level = LOG_LVL_INFO;
static bool to_syslog;

static const struct {
    const char *name;
    int priority;
} levels[] = {
    [LOG_LVL_OFF] = {"off", LOG_ERR},       [LOG_LVL_ERROR] = {"error", LOG_ERR},
    [LOG_LVL_WARN] = {"warn", LOG_WARNING}, [LOG_LVL_INFO] = {"info", LOG_INFO},
    [LOG_LVL_DEBUG] = {"debug", LOG_DEBUG},
};

void log_init(enum log_level level, bool use_syslog)
{
    log_level = level;
    to_syslog = use_syslog;
    if (use_syslog) {
        /* syslog(3) wants the time zone: read now, since in a sandbox the file is the guest's. */
        tzset();
        openlog("virtiofsd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    }
}

void log_msg(enum log_level level, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (to_syslog) {
        vsyslog(levels[level].priority, fmt, ap);
    } else {
        /* One write per line, so that lines of several threads do not mix. */
        char line[1024];
        int n = snprintf(line, sizeof(line), "virtiofsd: %s: ", levels[level].name);
        int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
        size_t len = (size_t)n + (m < 0 ? 0 : MIN((size_t)m, sizeof(line) - (size_t)n - 2));
        /* A name that a guest chose must not start a line of its own or drive a terminal. */
        for (size_t i = 0; i < len; i++) {
            if (g_ascii_iscntrl(line[i]))
                line[i] = '?';
        }
        line[len++] = '\n';
        (void)!fwrite(line, 1, len, stderr);
    }
    va_end(ap);
}

bool log_limit_pass(struct log_limit *l, enum log_level level)
{
    int64_t now = g_get_monotonic_time();
    int64_t start = atomic_load_explicit(&l->window_us, memory_order_relaxed);

    if (start == 0 || now - start > LOG_WINDOW_S * G_USEC_PER_SEC) {
        if (atomic_compare_exchange_strong(&l->window_us, &start, now)) {
            unsigned asked = atomic_exchange(&l->lines, 1);
            if (asked > LOG_BURST)
                log_msg(level, "%u similar lines left out", asked - LOG_BURST);
            return true;
        }
    }
    return atomic_fetch_add(&l->lines, 1) < LOG_BURST;
}
