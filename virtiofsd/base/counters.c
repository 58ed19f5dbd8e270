/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/base/counters.h"

#include <stdlib.h>
#include <string.h>

struct counters *counters_new(unsigned every)
{
    void *p;

    if (posix_memalign(&p, _Alignof(struct counters), sizeof(struct counters)) != 0)
        g_error("no memory for counters"); /* as GLib's allocators end */
    struct counters *c = memset(p, 0, sizeof(*c));
    c->every = every;
    return c;
}

void counters_free(struct counters *c)
{
    free(c);
}

void counters_begin(struct counters *c, struct chain *ch)
{
    c->until = c->every - 1;
    ch->note.what |= NOTE_TIMED;
    ch->note.begin_ns = counters_clock_ns();
}

static void add_time(struct counters *c, uint64_t begin_ns)
{
    uint64_t ns = counters_clock_ns() - begin_ns;
    unsigned bits =
        ns >> COUNTER_FIRST_NS ? 64 - (unsigned)__builtin_clzll(ns) - COUNTER_FIRST_NS : 0;

    counter_add(&c->timed_ns, ns);
    counter_add(&c->times[MIN(bits, COUNTER_TIMES - 1)], 1);
}

void counters_note(struct counters *c, const struct chain_note *note)
{
    if (note->what & NOTE_FAILED)
        counter_add(&c->errors[note->op % COUNTER_OPS], 1);
    if (note->what & NOTE_READ)
        counter_add(&c->read, note->bytes);
    if (note->what & NOTE_WRITTEN)
        counter_add(&c->written, note->bytes);
    if (note->what & NOTE_TIMED)
        add_time(c, note->begin_ns);
}

/* ---- reading ---- */

/* With counter_add() it sees everything that was counted before. */
static uint64_t see(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_acquire);
}

/* In the reverse of the order in which one request is counted. */
void counts_add(struct counts *sum, const struct counters *c)
{
    for (unsigned i = 0; i < COUNTER_TIMES; i++)
        sum->times[i] += see(&c->times[i]);
    sum->timed_ns += see(&c->timed_ns);
    sum->written += see(&c->written);
    sum->read += see(&c->read);
    for (unsigned i = 0; i < COUNTER_OPS; i++)
        sum->errors[i] += see(&c->errors[i]);
    sum->bytes_out += see(&c->bytes_out);
    sum->bytes_in += see(&c->bytes_in);
    for (unsigned i = 0; i < COUNTER_OPS; i++)
        sum->ops[i] += see(&c->ops[i]);
    sum->again += see(&c->again);
    sum->signals += see(&c->signals);
    sum->polled += see(&c->polled);
    sum->full += see(&c->full);
    sum->kicks += see(&c->kicks);
    sum->requests += see(&c->requests);
    sum->every = c->every;
}

/* All that is numbers: @times as often as @from says. */
static void combine(struct counts *to, const struct counts *from, uint64_t times)
{
    uint64_t *t = (uint64_t *)(void *)to;
    const uint64_t *f = (const uint64_t *)(const void *)from;

    for (size_t i = 0; i < offsetof(struct counts, every) / sizeof(*t); i++)
        t[i] += times * f[i];
}

void counts_join(struct counts *sum, const struct counts *more)
{
    combine(sum, more, 1);
    sum->every = more->every;
}

void counts_since(struct counts *now, const struct counts *then)
{
    combine(now, then, UINT64_MAX); /* -1 */
}

static uint64_t total(const uint64_t *n, unsigned cnt)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < cnt; i++)
        sum += n[i];
    return sum;
}

uint64_t counts_answered(const struct counts *c)
{
    return total(c->ops, COUNTER_OPS);
}

uint64_t counts_errors(const struct counts *c)
{
    return total(c->errors, COUNTER_OPS);
}

uint64_t counts_timed(const struct counts *c)
{
    return total(c->times, COUNTER_TIMES);
}

uint64_t counts_bound_ns(unsigned place)
{
    return place >= COUNTER_TIMES - 1 ? UINT64_MAX : UINT64_C(1) << (COUNTER_FIRST_NS + place);
}

uint64_t counts_percentile(const struct counts *c, unsigned percent)
{
    uint64_t all = counts_timed(c), below = 0;
    unsigned i = 0;

    if (all == 0)
        return 0;
    uint64_t want = all - all * (100 - percent) / 100;
    while (i < COUNTER_TIMES && (below += c->times[i]) < want)
        i++;
    return counts_bound_ns(i);
}

/* "1 ms", "17 us" */
static void put_time(GString *out, uint64_t ns)
{
    if (ns == UINT64_MAX)
        g_string_append(out, "for ever"); /* no bound was found */
    else if (ns >= 10000000)
        g_string_append_printf(out, "%" G_GUINT64_FORMAT " ms", ns / 1000000);
    else
        g_string_append_printf(out, "%" G_GUINT64_FORMAT " us", ns / 1000);
}

char *counts_line(const struct counts *c, bool ring)
{
    GString *s = g_string_new(NULL);

    g_string_append_printf(s, "%" G_GUINT64_FORMAT " requests, ", c->requests);
    if (ring)
        g_string_append_printf(s,
                               "%" G_GUINT64_FORMAT " kicks that woke us up, %" G_GUINT64_FORMAT
                               " signals, %" G_GUINT64_FORMAT " seen by looking, "
                               "%" G_GUINT64_FORMAT " full rings, ",
                               c->kicks, c->signals, c->polled, c->full);
    g_string_append_printf(s,
                           "%" G_GUINT64_FORMAT " errors, %" G_GUINT64_FORMAT
                           " bytes in, %" G_GUINT64_FORMAT " bytes out",
                           counts_errors(c), c->bytes_in, c->bytes_out);
    if (counts_timed(c) > 0) {
        g_string_append(s, "; half took less than ");
        put_time(s, counts_percentile(c, 50));
        g_string_append(s, ", 99 % less than ");
        put_time(s, counts_percentile(c, 99));
    }
    return g_string_free(s, FALSE);
}
