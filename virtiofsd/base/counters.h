/* SPDX-License-Identifier: BSD-3-Clause
 * What a virtqueue has done since its connection began. Each is written by one thread at a time,
 * without a locked instruction, and may be read by any at any time. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct counters {
    _Atomic uint64_t requests; /* taken from the ring */
    _Atomic uint64_t kicks;    /* that woke the worker up */
    _Atomic uint64_t signals;  /* that there are answers */
};

static inline uint64_t counter_get(const _Atomic uint64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

/* By its only writer, or under the lock of its writers. */
static inline void counter_add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_store_explicit(c, counter_get(c) + n, memory_order_relaxed);
}

static inline void counters_sum(struct counters *sum, const struct counters *c)
{
    counter_add(&sum->requests, counter_get(&c->requests));
    counter_add(&sum->kicks, counter_get(&c->kicks));
    counter_add(&sum->signals, counter_get(&c->signals));
}
