/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/base/trace.h"

#include <stdio.h>
#include <string.h>

#include "virtiofsd/base/errno-text.h"

#define ESCAPED  4                                           /* bytes of \xNN */
#define ONE_NAME (TRACE_NAME * ESCAPED + sizeof(" \"\"...")) /* at most */

void trace_begin(struct trace *t, const char *op, unsigned number, const char *kind, uint64_t node)
{
    t->begin_us = g_get_monotonic_time();
    t->op = op;
    t->number = number;
    t->kind = kind;
    t->node = node;
    t->flags = 0;
    t->len = 0;
    t->names[0] = '\0';
}

/* Returns the bytes written to @out: 1 or ESCAPED. */
static unsigned put_byte(char *out, unsigned char c)
{
    if (g_ascii_isprint(c) && c != '"' && c != '\\') {
        *out = (char)c;
        return 1;
    }
    snprintf(out, ESCAPED + 1, "\\x%02x", c);
    return ESCAPED;
}

void trace_name(struct trace *t, const char *name, size_t len)
{
    char one[ONE_NAME] = " \"";
    unsigned n = 2;

    for (size_t i = 0; i < MIN(len, (size_t)TRACE_NAME); i++)
        n += put_byte(one + n, (unsigned char)name[i]);
    n += (unsigned)snprintf(one + n, sizeof(one) - n, "\"%s", len > TRACE_NAME ? "..." : "");
    if (n >= sizeof(t->names) - t->len)
        return;
    memcpy(t->names + t->len, one, n + 1);
    t->len += n;
}

/* "LOOKUP nodeid 1 "file" flags 0x0: 128 bytes, 17 us" */
void trace_tell(struct trace *t, int err, size_t bytes)
{
    char op[24], flags[24] = "", result[40];

    if (t->begin_us == 0)
        return;
    int64_t us = g_get_monotonic_time() - t->begin_us;
    t->begin_us = 0;
    snprintf(op, sizeof(op), "operation %u", t->number);
    if (t->flags != 0)
        snprintf(flags, sizeof(flags), " flags %#x", t->flags);
    snprintf(result, sizeof(result), "%zu bytes", bytes);
    log_msg(LOG_LVL_DEBUG, "%s %s %" G_GUINT64_FORMAT "%s%s: %s, %" G_GINT64_FORMAT " us",
            t->op ? t->op : op, t->kind, t->node, t->names, flags,
            err         ? errno_text(-err)
            : bytes > 0 ? result
                        : "ok",
            us);
}

struct trace *trace_later(struct trace *t)
{
    if (G_LIKELY(t->begin_us == 0))
        return NULL;
    struct trace *copy = g_memdup2(t, sizeof(*t));
    t->begin_us = 0;
    return copy;
}

void trace_tell_later(struct trace *t, int err, size_t bytes)
{
    if (G_LIKELY(!t))
        return;
    trace_tell(t, err, bytes);
    g_free(t);
}
