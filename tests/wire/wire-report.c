/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/wire/wire-report.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *report_line(struct wire *w, unsigned n)
{
    char *log = fe_daemon_log(&w->d), *line = NULL, *end;

    for (char *p = log; p && (end = strchr(p, '\n')); p = end + 1) {
        if (*p == '{' && --n == 0) {
            line = strndup(p, (size_t)(end - p));
            break;
        }
    }
    free(log);
    return line;
}

char *report(struct wire *w)
{
    unsigned n = 1;
    char *line;

    for (; (line = report_line(w, n)); n++)
        free(line);
    assert_int_equal(kill(w->d.pid, SIGUSR2), 0);
    for (int64_t end = fe_now_ms() + FE_TIMEOUT_MS; !line && fe_now_ms() < end; usleep(2000))
        line = report_line(w, n);
    assert_non_null(line);
    if (!json_valid(line))
        fail_msg("not JSON: %s", line);
    return line;
}

uint64_t at(const char *json, const char *fmt, ...)
{
    char path[128];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    return json_number(json, path);
}

void expect(const char *json, const char *part, const char *name, uint64_t want)
{
    uint64_t got = at(json, "%s/%s", part, name);
    if (got != want)
        fail_msg("%s/%s: %llu, not %llu: %s", part, name, (unsigned long long)got,
                 (unsigned long long)want, json);
}
