/* SPDX-License-Identifier: BSD-3-Clause
 * One line of the log for each request of either protocol, at --log-level=debug: operation, what it
 * names, flags, result, time. Nothing of it is worked out at other levels. */
#pragma once

#include <stdint.h>

#include "virtiofsd/base/log.h"

#define TRACE_NAME  64  /* bytes of one name that are shown */
#define TRACE_NAMES 400 /* of all of a request, escaped; with the rest it fits into a line */

struct trace {
    int64_t begin_us; /* monotonic time; 0: nothing is told */
    const char *op;   /* NULL: none that is known; static */
    unsigned number;  /* of the operation, on the wire */
    const char *kind; /* of what @node is the number: "nodeid", "fid"; static */
    uint64_t node;
    uint32_t flags; /* 0 when the operation has none */
    unsigned len;   /* bytes in @names */
    char names[TRACE_NAMES];
};

/* Begin at the time it is now. @op may be NULL. */
void trace_begin(struct trace *t, const char *op, unsigned number, const char *kind, uint64_t node);

/* Add a name of @len bytes, as a peer sent it: quoted; what is not printable ASCII, quotes and
 * backslashes as \xNN. One that is longer than TRACE_NAME ends with "...", and what does not fit
 * into @names is left out. */
void trace_name(struct trace *t, const char *name, size_t len);

/* Write the line, before the answer goes out. @err: 0 or -errno; @bytes: of the answer, behind its
 * header. May be told once. */
void trace_tell(struct trace *t, int err, size_t bytes);

/* For a request that is answered later: a copy, of which the caller tells by trace_tell_later();
 * NULL when nothing is to be told. @t tells nothing any more. */
struct trace *trace_later(struct trace *t);
/* Tell, and free. @t may be NULL. */
void trace_tell_later(struct trace *t, int err, size_t bytes);

static inline bool trace_wanted(void)
{
    return G_UNLIKELY(log_level >= LOG_LVL_DEBUG);
}
