/* SPDX-License-Identifier: BSD-3-Clause
 * Under --cache=auto a guest may keep the list of names of a directory that has not changed. That
 * spares it one or two READDIRPLUS, which also would have renewed all that it knows of the entries:
 * once that has expired, ls -l asks for each name by itself. So it does for each file that was read
 * meanwhile: Linux asks for its time of access then. So a list is kept only where it wins: when it
 * came with what its entries are, for the first half of the time that these are good for, and while
 * no more of them were opened than it spares. That bounds, too, for how long a change can go unseen
 * on a file system whose time stamps do not tell of it.
 *
 * The last listings are remembered in tables of fixed size, at the place that the node id gives: a
 * later one takes the place of an earlier. Each is one word: the id's other bits, and the time. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <time.h>

#define SPARED 1 /* fewer messages than a list takes: READDIRPLUS until one is empty */

/* Milliseconds of a clock that never goes back; 0 is no time. */
static uint32_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)((uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000) | 1;
}

/* Slot and generation together: two directories that are known at once differ in it mostly, and
 * where not, one of them is read again, or kept for as long as the other. */
static uint32_t key_of(uint64_t id)
{
    return (uint32_t)(id * 0x9e3779b97f4a7c15u >> 32);
}

static unsigned index_of(uint64_t id)
{
    return (uint32_t)id % FUSE_LISTINGS;
}

static _Atomic uint64_t *place_of(struct fuse_srv *srv, uint64_t id)
{
    return &srv->listings[index_of(id)];
}

static _Atomic uint16_t *child_of(struct fuse_srv *srv, uint64_t id)
{
    return &srv->listed_in[(uint32_t)id % FUSE_LISTED];
}

void fuse_listing_child(struct fuse_srv *srv, uint64_t dir, uint64_t child)
{
    if (srv->shared->cache == FS_CACHE_AUTO)
        atomic_store_explicit(child_of(srv, child), (uint16_t)(index_of(dir) + 1),
                              memory_order_relaxed);
}

void fuse_listing_opened(struct fuse_srv *srv, uint64_t id)
{
    unsigned in = atomic_load_explicit(child_of(srv, id), memory_order_relaxed);

    if (in > 0)
        atomic_fetch_add_explicit(&srv->listed_opens[in - 1], 1, memory_order_relaxed);
}

void fuse_listing_note(struct fuse_srv *srv, uint64_t id, uint64_t off, bool plus)
{
    _Atomic uint64_t *place = place_of(srv, id);
    bool whole = plus || !(srv->flags & FUSE_DO_READDIRPLUS);

    if (srv->shared->cache != FS_CACHE_AUTO)
        return;
    if (whole && off == 0) {
        uint64_t entry = (uint64_t)key_of(id) << 32 | now_ms();
        atomic_store_explicit(place, entry, memory_order_relaxed);
        atomic_store_explicit(&srv->listed_opens[index_of(id)], 0, memory_order_relaxed);
    } else if (!whole) { /* of these the guest knows nothing but the names */
        uint64_t was = atomic_load_explicit(place, memory_order_relaxed);
        if (was >> 32 == key_of(id))
            atomic_compare_exchange_strong(place, &was, 0);
    }
}

bool fuse_listing_good(struct fuse_srv *srv, uint64_t id)
{
    uint64_t entry = atomic_load_explicit(place_of(srv, id), memory_order_relaxed);
    uint32_t age = now_ms() - (uint32_t)entry;

    if (atomic_load_explicit(&srv->listed_opens[index_of(id)], memory_order_relaxed) > SPARED)
        return false;
    return entry != 0 && entry >> 32 == key_of(id) && age < srv->cfg.timeout * 500;
}
