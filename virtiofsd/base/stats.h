/* SPDX-License-Identifier: BSD-3-Clause
 * All that the daemon can say of itself in numbers, at one moment, and as JSON: docs/counters.md.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtiofsd/base/counters.h"

#define STATS_VERSION 1 /* of the schema: changes when a name goes or means something else */

/* A virtqueue. */
struct stats_queue {
    unsigned queue;
    struct counts counts;
};

/* A device, or all sockets of a protocol. */
struct stats_part {
    const char *protocol, *transport;       /* static */
    const char *(*op_name)(unsigned place); /* of counts.ops; NULL: that place is not used */
    unsigned connections;                   /* of sockets: now */
    struct counts sum;
    GArray *queues; /* struct stats_queue, of those that ever ran; NULL: there are none */
};

/* A number with a name. */
struct stats_gauge {
    const char *name; /* static */
    uint64_t value;
};

struct stats {
    char *share; /* the tag, or the directory */
    uint64_t uptime_ns;
    unsigned read_every; /* of how many reads one was looked at */
    GArray *gauges;      /* struct stats_gauge: what there is now */
    GArray *reads;       /* the same: where data of reads were, so far */
    GArray *parts;       /* struct stats_part */
};

/* Empty. */
struct stats *stats_new(void);
void stats_free(struct stats *s);
/* @to: one of the lists. */
void stats_gauge(GArray *to, const char *name, uint64_t value);
/* A part with nothing counted, valid until the next is added. @queues: whether it has some. */
struct stats_part *stats_part(struct stats *s, const char *protocol, const char *transport,
                              const char *(*op_name)(unsigned place), bool queues);

/* Append one line of JSON, without its end. */
void stats_json(const struct stats *s, GString *out);
