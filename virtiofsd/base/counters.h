/* SPDX-License-Identifier: BSD-3-Clause
 * What a virtqueue, or a connection by socket, has done since the daemon began.
 *
 * Each counter has one writer at a time (a thread, or who holds a lock), so it costs a load and a
 * store and no locked instruction; any thread may read it at any time. What is read so is
 * monotonic, and a request is never counted as answered, failed or timed before it is counted at
 * all.
 *
 * Two clock readings would cost a GETATTR some 5 %: only each `every`th request of a virtqueue is
 * timed. The number is a prime, so that no rhythm of a guest's hides one kind of request. */
#pragma once

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "virtiofsd/base/chain.h"

#define COUNTER_OPS      64 /* places for operations; 0: none that is known */
#define COUNTER_TIMES    27 /* of the histogram; the last one has no upper bound */
#define COUNTER_FIRST_NS 10 /* log2 of the first upper bound; each doubles the one before */
#define COUNTER_EVERY    31

struct counters {
    /* Of who takes requests. The parts are cache lines apart. */
    _Alignas(128) _Atomic uint64_t requests; /* taken */
    _Atomic uint64_t kicks;                  /* that woke the worker up */
    _Atomic uint64_t polled;                 /* requests that came while the worker looked */
    _Atomic uint64_t full;                   /* times that all heads of the ring were in use */
    unsigned every, until;                   /* until the next is timed; not for readers */
    /* Of who answers: under the lock of the queue, or of the stream. */
    _Alignas(128) _Atomic uint64_t bytes_in; /* of requests, headers included */
    _Atomic uint64_t bytes_out;              /* of answers, headers included */
    _Atomic uint64_t signals;                /* that there are answers */
    _Atomic uint64_t again;                  /* given back unanswered, to be taken once more */
    _Atomic uint64_t read, written;          /* bytes of files */
    _Atomic uint64_t timed_ns;
    _Atomic uint64_t
        times[COUNTER_TIMES];          /* of requests, by how long it took from taken to answered */
    _Atomic uint64_t ops[COUNTER_OPS]; /* answered, or ended without an answer */
    _Atomic uint64_t errors[COUNTER_OPS]; /* of them, with an error */
};

/* The same at one moment, or the sum of several. */
struct counts {
    uint64_t requests, kicks, polled, full, signals, again, bytes_in, bytes_out, read, written,
        timed_ns;
    uint64_t times[COUNTER_TIMES], ops[COUNTER_OPS], errors[COUNTER_OPS];
    unsigned every; /* each how-manyth was timed */
};

/* Zeroes, for counters_free(). @every: each how-manyth request is timed; the first one is. */
struct counters *counters_new(unsigned every);
void counters_free(struct counters *c);

static inline uint64_t counter_get(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* By its only writer, or under the lock of its writers. Who sees it, sees what was counted before.
 */
static inline void counter_add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, counter_get(c) + n, memory_order_release);
}

static inline uint64_t counters_clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* What is rare in the two below: GETATTR takes 1,600 instructions of ours. */
void counters_begin(struct counters *c, struct chain *ch);
void counters_note(struct counters *c, const struct chain_note *note);

/* A request was taken. */
static inline void counters_take(struct counters *c, struct chain *ch)
{
    counter_add(&c->requests, 1);
    if (G_UNLIKELY(c->until-- == 0))
        counters_begin(c, ch);
}

/* It is about to be answered by @len bytes. Under the lock. */
static inline void counters_answer(struct counters *c, const struct chain *ch, size_t len)
{
    counter_add(&c->ops[ch->note.op % COUNTER_OPS], 1);
    counter_add(&c->bytes_in, ch->in_len);
    counter_add(&c->bytes_out, len);
    if (ch->note.what)
        counters_note(c, &ch->note);
}

/* ---- reading ---- */

/* Add what @c says now. */
void counts_add(struct counts *sum, const struct counters *c);
/* Add what was counted already. */
void counts_join(struct counts *sum, const struct counts *more);
/* Leave of @now what is not in @then, an earlier state of the same. */
void counts_since(struct counts *now, const struct counts *then);
uint64_t counts_answered(const struct counts *c);
uint64_t counts_errors(const struct counts *c);
uint64_t counts_timed(const struct counts *c);
/* The time, ns, that so many of a hundred of the timed ones stayed below; 0: none was timed;
 * UINT64_MAX: it has no bound. */
uint64_t counts_percentile(const struct counts *c, unsigned percent);
/* The upper bound, ns, of a place in the histogram; UINT64_MAX for the last. */
uint64_t counts_bound_ns(unsigned place);
/* One line for the log at the end of a session, to be freed. @signals: whether what was waited on
 * is a ring. */
char *counts_line(const struct counts *c, bool ring);
