/* SPDX-License-Identifier: BSD-3-Clause
 * The driver's side of a split virtqueue (VIRTIO 1.2, 2.7), plus raw access to its parts so that
 * a test can write what no driver would. One thread per ring. */
#pragma once

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/fe-mem.h"

struct fe_ring {
    struct fe_mem *mem;
    unsigned size;
    bool event_idx;
    uint64_t desc_gpa, avail_gpa, used_gpa;
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t *used_event;           /* ours: call us when used->idx passes it */
    volatile uint16_t *avail_event; /* the device's: kick it when avail->idx passes it */
    uint16_t avail_idx;             /* entries pushed; published by fe_ring_publish() */
    uint16_t avail_shown;           /* entries published */
    uint16_t used_seen;             /* entries popped */
    int kick, call, err;            /* eventfds */
    int call_w; /* the end of @call that the daemon gets: the same fd, or a pipe's end */
    /* statistics */
    uint64_t kicks, calls;
};

/* Lay out a ring of @size entries in region @region and make its eventfds. Returns 0 or -errno. */
int fe_ring_init(struct fe_ring *r, struct fe_mem *m, unsigned region, unsigned size);
void fe_ring_free(struct fe_ring *r);
/* Forget all entries, as after a device reset. The eventfds stay. */
void fe_ring_reset(struct fe_ring *r);
/* Use a pipe as call descriptor, as User-Mode Linux does. Call before the ring is handed out. */
int fe_ring_use_pipe(struct fe_ring *r);

static inline void fe_ring_desc(struct fe_ring *r, unsigned i, uint64_t addr, uint32_t len,
                                uint16_t flags, uint16_t next)
{
    r->desc[i] = (struct vring_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

/* Put a chain's head into the available ring; not visible before fe_ring_publish(). */
static inline void fe_ring_push(struct fe_ring *r, uint16_t head)
{
    r->avail->ring[r->avail_idx++ & (r->size - 1)] = head;
}

/* Show the device what was pushed, and kick it if it asked for that. */
void fe_ring_publish(struct fe_ring *r);
/* Kick in any case. */
void fe_ring_kick(struct fe_ring *r);

/* Take one used element. Returns false when there is none. */
static inline bool fe_ring_pop(struct fe_ring *r, uint32_t *id, uint32_t *len)
{
    if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->used_seen)
        return false;
    const struct vring_used_elem *e = &r->used->ring[r->used_seen & (r->size - 1)];
    *id = e->id;
    *len = e->len;
    r->used_seen++;
    return true;
}

/* Ask for a call at the next used element. Returns true when one is there already. */
bool fe_ring_arm(struct fe_ring *r);
/* fe_ring_arm(), then wait on the call descriptor until something is used.
 * @ms: limit; -1 blocks without one (the caller has a watchdog). Returns 0 or FE_ETIMEOUT. */
int fe_ring_wait(struct fe_ring *r, int ms);
/* Count of signals on the call descriptor since it was read last; does not block. */
uint64_t fe_ring_take_calls(struct fe_ring *r);
