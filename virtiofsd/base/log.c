/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls:lock poll write */
#include "virtiofsd/base/log.h"

#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"

enum log_level log_level = LOG_LVL_INFO;
static bool to_syslog, to_journal;

static const struct {
    const char *name; /* as the Rust daemon writes it, so that who reads its lines reads ours */
    int priority;
} levels[] = {
    [LOG_LVL_OFF] = {"OFF  ", LOG_ERR},      [LOG_LVL_ERROR] = {"ERROR", LOG_ERR},
    [LOG_LVL_WARN] = {"WARN ", LOG_WARNING}, [LOG_LVL_INFO] = {"INFO ", LOG_INFO},
    [LOG_LVL_DEBUG] = {"DEBUG", LOG_DEBUG},
};

void log_init(enum log_level level, bool use_syslog)
{
    log_level = level;
    to_syslog = use_syslog;
    to_journal = !use_syslog && g_log_writer_is_journald(STDERR_FILENO);
    if (use_syslog) {
        /* syslog(3) wants the time zone: read now, since in a sandbox the file is the guest's, or
         * not there; and named, or tzset(3), which some libcs call again, looks at the file. */
        setenv("TZ", ":/etc/localtime", 0);
        tzset();
        openlog("virtiofsd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    }
}

/* What a line on stderr begins with: the journal has a time of its own and takes a priority; others
 * get
 * "[2026-11-30T19:33:35Z INFO  virtiofsd] ". */
static int put_head(char *line, size_t size, enum log_level level)
{
    if (to_journal)
        return snprintf(line, size, "<%d>", levels[level].priority);
    /* Not gmtime_r(): it reads the time zone's file at its first call. */
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    return snprintf(line, size, "[%04d-%02d-%02dT%02d:%02d:%02dZ %s virtiofsd] ",
                    g_date_time_get_year(now), g_date_time_get_month(now),
                    g_date_time_get_day_of_month(now), g_date_time_get_hour(now),
                    g_date_time_get_minute(now), g_date_time_get_second(now), levels[level].name);
}

/* What a pipe has room for that can be written to. */
#define PIPE_ROOM 4096

static bool has_room(void)
{
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) != 0;
}

/* Whoever started us may keep our pipe and never read it: what does not fit is lost, and nobody
 * waits for it. A pipe that can be written to has a page free, and none but us writes there. Of a
 * long line the end may be lost, so the next line begins with the end of a line. */
static void put_line(const char *line, size_t len)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static unsigned lost;
    static bool cut;

    AUTO_LOCK(&lock);
    if (!has_room()) {
        lost++;
        return;
    }
    if (lost > 0)
        dprintf(STDERR_FILENO, "%s%u lines lost: nobody read them\n", cut ? "\n" : "", lost);
    lost = 0;
    cut = false;
    for (size_t n = 0; n < len;) {
        ssize_t part = n > 0 && !has_room()
                           ? -1
                           : write(STDERR_FILENO, line + n, MIN(len - n, (size_t)PIPE_ROOM));
        if (part <= 0) {
            cut = n > 0;
            lost += cut;
            return;
        }
        n += (size_t)part;
    }
}

G_GNUC_PRINTF(2, 0) static void to_stderr(enum log_level level, const char *fmt, va_list ap)
{
    /* One write per line, so that lines of several threads do not mix. */
    char line[1024];
    int n = put_head(line, sizeof(line), level);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
    size_t len = (size_t)n + (m < 0 ? 0 : MIN((size_t)m, sizeof(line) - (size_t)n - 2));

    /* A name that a guest chose must not start a line of its own or drive a terminal. */
    for (size_t i = 0; i < len; i++) {
        if (g_ascii_iscntrl(line[i]))
            line[i] = '?';
    }
    line[len++] = '\n';
    put_line(line, len);
}

void log_msg(enum log_level level, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    if (to_syslog)
        vsyslog(levels[level].priority, fmt, ap);
    else
        to_stderr(level, fmt, ap);
    va_end(ap);
}

void log_whole(const char *text, size_t len)
{
    if (to_syslog) {
        syslog(LOG_INFO, "%.*s", (int)MIN(len, (size_t)INT_MAX), text);
        return;
    }
    GString *line = g_string_new(to_journal ? "<6>" : NULL);
    g_string_append_len(line, text, (gssize)len);
    g_string_append_c(line, '\n');
    put_line(line->str, line->len);
    g_string_free(line, TRUE);
}

void log_awaited(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    to_stderr(LOG_LVL_INFO, fmt, ap);
    va_end(ap);
    if (!to_syslog)
        return;
    va_start(ap, fmt);
    vsyslog(LOG_INFO, fmt, ap);
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
