/* SPDX-License-Identifier: BSD-3-Clause
 * One way to say something: level, text; to stderr or to syslog. */
#pragma once

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LVL_OFF, LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

/* What the operator decides about it. */
struct log_policy {
    enum log_level level;
    bool syslog;
};

/* The only mutable global of the daemon besides what is below it: read on every log call. */
extern enum log_level log_level;

/* Set the level, and where lines go. Call before threads are started.
 * @use_syslog: send lines to syslog(3) instead of stderr. On stderr lines have a time, or, where
 * that is the journal's socket, a priority ("<6>", sd-daemon(3)). */
void log_init(enum log_level level, bool use_syslog);

/* One line; longer ones are cut, and control characters become '?'. Any thread. */
void log_msg(enum log_level level, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* A line that whoever started us may wait for: at every level, and on stderr also where lines go to
 * syslog. */
void log_awaited(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/* Text that somebody has asked for and that a program will read: one line, without anything before
 * it on stderr and at every level, however long. @text has no control characters. */
void log_whole(const char *text, size_t len);

#define log_at_(lvl, ...)                   \
    do {                                    \
        if (G_UNLIKELY(log_level >= (lvl))) \
            log_msg(lvl, __VA_ARGS__);      \
    } while (0)
#define log_error(...) log_at_(LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at_(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...)  log_at_(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_at_(LOG_LVL_DEBUG, __VA_ARGS__)

/* For lines that a guest can cause: at most LOG_BURST lines in LOG_WINDOW_S seconds from one
 * call site, then a count of what was left out. */
#define LOG_BURST    5
#define LOG_WINDOW_S 10

struct log_limit {
    _Atomic int64_t window_us; /* start of the current window, monotonic time */
    atomic_uint lines;         /* lines asked for in it */
};

/* Whether this call site may print now; prints the count of lines left out before. */
bool log_limit_pass(struct log_limit *l, enum log_level level);

#define log_guest(lvl, ...)                                     \
    do {                                                        \
        static struct log_limit limit_;                         \
        if (log_level >= (lvl) && log_limit_pass(&limit_, lvl)) \
            log_msg(lvl, __VA_ARGS__);                          \
    } while (0)
#define log_guest_warn(...)  log_guest(LOG_LVL_WARN, __VA_ARGS__)
#define log_guest_debug(...) log_guest(LOG_LVL_DEBUG, __VA_ARGS__)
