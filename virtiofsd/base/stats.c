/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/base/stats.h"

static void part_clear(void *p)
{
    const struct stats_part *part = p;

    if (part->queues)
        g_array_unref(part->queues);
}

struct stats *stats_new(void)
{
    struct stats *s = g_new0(struct stats, 1);

    s->gauges = g_array_new(FALSE, FALSE, sizeof(struct stats_gauge));
    s->reads = g_array_new(FALSE, FALSE, sizeof(struct stats_gauge));
    s->parts = g_array_new(FALSE, TRUE, sizeof(struct stats_part));
    g_array_set_clear_func(s->parts, part_clear);
    return s;
}

void stats_free(struct stats *s)
{
    g_array_unref(s->gauges);
    g_array_unref(s->reads);
    g_array_unref(s->parts);
    g_free(s->share);
    g_free(s);
}

void stats_gauge(GArray *to, const char *name, uint64_t value)
{
    struct stats_gauge g = {name, value};

    g_array_append_val(to, g);
}

struct stats_part *stats_part(struct stats *s, const char *protocol, const char *transport,
                              const char *(*op_name)(unsigned place), bool queues)
{
    g_array_set_size(s->parts, s->parts->len + 1);
    struct stats_part *part = &g_array_index(s->parts, struct stats_part, s->parts->len - 1);
    part->protocol = protocol;
    part->transport = transport;
    part->op_name = op_name;
    if (queues)
        part->queues = g_array_new(FALSE, FALSE, sizeof(struct stats_queue));
    return part;
}

/* ---- JSON ---- */

/* A comma, unless something has just begun. */
static void next(GString *out)
{
    char last = out->len > 0 ? out->str[out->len - 1] : '{';

    if (last != '{' && last != '[')
        g_string_append_c(out, ',');
}

/* "@text": escaped as RFC 8259 has it; what is not UTF-8 becomes U+FFFD. */
static void put_string(GString *out, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    g_string_append_c(out, '"');
    for (const char *p = valid; *p; p++) {
        if (*p == '"' || *p == '\\')
            g_string_append_printf(out, "\\%c", *p);
        else if (g_ascii_iscntrl(*p))
            g_string_append_printf(out, "\\u%04x", (unsigned char)*p);
        else
            g_string_append_c(out, *p);
    }
    g_string_append_c(out, '"');
}

static void put_name(GString *out, const char *name)
{
    next(out);
    put_string(out, name);
    g_string_append_c(out, ':');
}

static void put_text(GString *out, const char *name, const char *text)
{
    put_name(out, name);
    put_string(out, text);
}

static void put_number(GString *out, const char *name, uint64_t n)
{
    put_name(out, name);
    g_string_append_printf(out, "%" G_GUINT64_FORMAT, n);
}

static void begin(GString *out, const char *name, char bracket)
{
    if (name)
        put_name(out, name);
    else
        next(out);
    g_string_append_c(out, bracket);
}

static void put_gauges(GString *out, const char *name, const GArray *gauges, unsigned every)
{
    begin(out, name, '{');
    if (every)
        put_number(out, "every", every);
    for (unsigned i = 0; i < gauges->len; i++) {
        const struct stats_gauge *g = &g_array_index(gauges, struct stats_gauge, i);
        put_number(out, g->name, g->value);
    }
    g_string_append_c(out, '}');
}

/* Upper bounds, ns, and how many lie below and not below the one before; empty places are left
 * out. */
static void put_times(GString *out, const struct counts *c)
{
    begin(out, "latency", '{');
    put_number(out, "every", c->every);
    put_number(out, "count", counts_timed(c));
    put_number(out, "sum_ns", c->timed_ns);
    begin(out, "below_ns", '{');
    for (unsigned i = 0; i < COUNTER_TIMES; i++) {
        g_autofree char *bound = i == COUNTER_TIMES - 1
                                     ? g_strdup("inf")
                                     : g_strdup_printf("%" G_GUINT64_FORMAT, counts_bound_ns(i));
        if (c->times[i] > 0)
            put_number(out, bound, c->times[i]);
    }
    g_string_append(out, "}}");
}

static void put_ops(GString *out, const struct counts *c, const char *(*op_name)(unsigned place))
{
    begin(out, "operations", '{');
    for (unsigned i = 0; i < COUNTER_OPS; i++) {
        const char *name = i == 0 ? NULL : op_name(i);
        if (c->ops[i] == 0)
            continue;
        begin(out, name ? name : "other", '{');
        put_number(out, "requests", c->ops[i]);
        put_number(out, "errors", c->errors[i]);
        g_string_append_c(out, '}');
    }
    g_string_append_c(out, '}');
}

static void put_counts(GString *out, const struct counts *c, const struct stats_part *part)
{
    put_number(out, "requests", c->requests);
    put_number(out, "in_flight", c->requests - MIN(c->requests, counts_answered(c) + c->again));
    put_number(out, "errors", counts_errors(c));
    if (part->queues) {
        put_number(out, "kicks", c->kicks);
        put_number(out, "polled", c->polled);
        put_number(out, "signals", c->signals);
        put_number(out, "full", c->full);
        put_number(out, "again", c->again);
    }
    put_number(out, "bytes_in", c->bytes_in);
    put_number(out, "bytes_out", c->bytes_out);
    put_number(out, "bytes_read", c->read);
    put_number(out, "bytes_written", c->written);
    put_times(out, c);
    put_ops(out, c, part->op_name);
}

static void put_part(GString *out, const struct stats_part *part)
{
    begin(out, NULL, '{');
    put_text(out, "protocol", part->protocol);
    put_text(out, "transport", part->transport);
    if (!part->queues)
        put_number(out, "connections", part->connections);
    begin(out, "total", '{');
    put_counts(out, &part->sum, part);
    g_string_append_c(out, '}');
    if (part->queues)
        begin(out, "queues", '[');
    for (unsigned i = 0; part->queues && i < part->queues->len; i++) {
        const struct stats_queue *q = &g_array_index(part->queues, struct stats_queue, i);
        begin(out, NULL, '{');
        put_number(out, "queue", q->queue);
        put_counts(out, &q->counts, part);
        g_string_append_c(out, '}');
    }
    g_string_append(out, part->queues ? "]}" : "}");
}

void stats_json(const struct stats *s, GString *out)
{
    begin(out, NULL, '{');
    put_number(out, "virtiofsd_counters", STATS_VERSION);
    put_text(out, "share", s->share ? s->share : "");
    put_number(out, "uptime_ms", s->uptime_ns / 1000000);
    put_gauges(out, "now", s->gauges, 0);
    put_gauges(out, "reads", s->reads, s->read_every);
    begin(out, "parts", '[');
    for (unsigned i = 0; i < s->parts->len; i++)
        put_part(out, &g_array_index(s->parts, struct stats_part, i));
    g_string_append(out, "]}");
}
