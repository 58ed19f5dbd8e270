/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls madvise mmap mprotect munmap */
#include "virtiofsd/fs/fs-table.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define TABLE_MIN  (1u << 12)
#define TABLE_STEP (256u * 1024) /* bytes made usable at once */

static size_t round_to_page(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) & ~(page - 1);
}

static size_t table_bytes(const struct fs_table *t)
{
    return round_to_page((size_t)t->max * t->elt);
}

int fs_table_init(struct fs_table *t, size_t elt, size_t link, uint32_t max)
{
    memset(t, 0, sizeof(*t));
    t->elt = elt;
    t->link = link;
    t->max = max < TABLE_MIN ? TABLE_MIN : max;
    /* PROT_NONE is not charged to the commit limit; a limit on address space makes us modest. */
    for (;;) {
        void *p = mmap(NULL, table_bytes(t), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p != MAP_FAILED) {
            t->base = p;
            break;
        }
        if (t->max <= TABLE_MIN)
            return -ENOMEM;
        t->max /= 2;
    }
    atomic_init(&t->high, 1);
    return 0;
}

void fs_table_fini(struct fs_table *t)
{
    if (t->base)
        munmap(t->base, table_bytes(t));
    t->base = NULL;
    if (t->holes)
        g_array_unref(t->holes);
    t->holes = NULL;
}

static uint32_t *link_of(const struct fs_table *t, uint32_t slot)
{
    return (uint32_t *)(void *)((char *)fs_table_at(t, slot) + t->link);
}

/* Make the reserved range usable up to @slot, and a step more. */
static int grow(struct fs_table *t, uint32_t slot)
{
    size_t want = round_to_page((size_t)slot * t->elt + TABLE_STEP);

    if (want > table_bytes(t))
        want = table_bytes(t);
    if (mprotect(t->base, want, PROT_READ | PROT_WRITE) != 0)
        return -ENOMEM;
    t->ready = (uint32_t)(want / t->elt);
    if (t->ready > t->max)
        t->ready = t->max;
    return 0;
}

/* The lowest of the last hole, or 0. */
static uint32_t take_in_hole(struct fs_table *t)
{
    if (!t->holes || t->holes->len == 0)
        return 0;
    struct fs_table_hole *h = &g_array_index(t->holes, struct fs_table_hole, t->holes->len - 1);
    uint32_t slot = h->from++;
    if (h->from == h->to)
        g_array_set_size(t->holes, t->holes->len - 1);
    return slot;
}

static bool make_ready(struct fs_table *t, uint32_t slot)
{
    if (slot >= t->max)
        return false;
    return slot < t->ready || (grow(t, slot) == 0 && slot < t->ready);
}

int fs_table_reach(struct fs_table *t, uint32_t first, uint32_t last)
{
    if (first < atomic_load_explicit(&t->high, memory_order_relaxed))
        return -EINVAL;
    return make_ready(t, last) ? 0 : -ENFILE;
}

int fs_table_take_at(struct fs_table *t, uint32_t slot)
{
    uint32_t high = atomic_load_explicit(&t->high, memory_order_relaxed);
    int rc = fs_table_reach(t, slot, slot);

    if (rc < 0)
        return rc;
    if (slot > high) {
        struct fs_table_hole h = {high, slot};
        if (!t->holes)
            t->holes = g_array_new(FALSE, FALSE, sizeof(h));
        g_array_append_val(t->holes, h);
    }
    atomic_store_explicit(&t->high, slot + 1, memory_order_release);
    return 0;
}

uint32_t fs_table_take(struct fs_table *t)
{
    uint32_t slot = t->free;
    if (slot != 0) {
        t->free = *link_of(t, slot);
        return slot;
    }
    slot = take_in_hole(t);
    if (G_UNLIKELY(slot != 0))
        return slot;
    slot = atomic_load_explicit(&t->high, memory_order_relaxed);
    if (!make_ready(t, slot))
        return 0;
    atomic_store_explicit(&t->high, slot + 1, memory_order_release);
    return slot;
}

void fs_table_give(struct fs_table *t, uint32_t slot)
{
    *link_of(t, slot) = t->free;
    t->free = slot;
}

void fs_table_clear(struct fs_table *t, uint32_t keep)
{
    uint32_t high = atomic_load_explicit(&t->high, memory_order_relaxed);
    if (high <= keep)
        return;
    size_t used = (size_t)keep * t->elt;
    size_t from = round_to_page(used), to = round_to_page((size_t)high * t->elt);

    memset(t->base + used, 0, (from < to ? from : (size_t)high * t->elt) - used);
    if (from < to)
        madvise(t->base + from, to - from, MADV_DONTNEED);
    t->free = 0;
    if (t->holes)
        g_array_set_size(t->holes, 0);
    atomic_store_explicit(&t->high, keep, memory_order_release);
}
