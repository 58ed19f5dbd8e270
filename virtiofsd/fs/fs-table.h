/* SPDX-License-Identifier: BSD-3-Clause
 * A growing array of equal elements that never move: address space is reserved once and made
 * usable in steps, so that a slot number can be turned into a pointer without a lock. */
#pragma once

#include <glib.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct fs_table {
    char *base;
    size_t elt;            /* size of one element */
    size_t link;           /* where in an element the uint32_t of the free list is */
    uint32_t max;          /* slots reserved */
    uint32_t ready;        /* slots that are backed by usable memory */
    uint32_t free;         /* first free slot, 0 = none */
    _Atomic uint32_t high; /* slots ever used are below it; slot 0 is never used */
    GArray *holes;         /* of struct fs_table_hole, in order: below high and never used */
};

struct fs_table_hole {
    uint32_t from, to; /* without the last */
};

/* Reserve room for about @max elements of @elt bytes (less when address space is limited).
 * Returns 0 or -ENOMEM. */
int fs_table_init(struct fs_table *t, size_t elt, size_t link, uint32_t max);
void fs_table_fini(struct fs_table *t);

/* A slot, zero-filled when never used before; 0 when the table is full or memory is short.
 * The caller serialises take, give and clear. */
uint32_t fs_table_take(struct fs_table *t);
void fs_table_give(struct fs_table *t, uint32_t slot);
/* Take this one, which must be above all that were ever used. 0, -EINVAL: it is not, -ENFILE: the
 * table has no such slot, or no memory for it. What is left out below it costs no memory. */
int fs_table_take_at(struct fs_table *t, uint32_t slot);
/* What fs_table_take_at() would say of @first, then of @last, above it: when 0, all that are taken
 * in order from the one to the other can be had. */
int fs_table_reach(struct fs_table *t, uint32_t first, uint32_t last);

/* Give the memory of all slots from @keep on back to the system; none of them may be in use. */
void fs_table_clear(struct fs_table *t, uint32_t keep);

static inline void *fs_table_at(const struct fs_table *t, uint32_t slot)
{
    return t->base + (size_t)slot * t->elt;
}

/* The element of a slot number that came from outside, or NULL. */
static inline void *fs_table_peek(const struct fs_table *t, uint32_t slot)
{
    if (slot == 0 || slot >= atomic_load_explicit(&t->high, memory_order_acquire))
        return NULL;
    return fs_table_at(t, slot);
}
