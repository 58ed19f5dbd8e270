/* SPDX-License-Identifier: BSD-3-Clause
 * The split virtqueue, device side. VIRTIO 1.2, 2.7 "Split Virtqueues".
 *
 * A ring has two halves with different owners: the available half (taking requests) belongs to
 * the ring's worker thread, the used half (answering) to whoever holds the queue's lock. Neither
 * knows threads or descriptors of files. All of the ring lies in memory that a hostile guest
 * writes at any time: every field is loaded once, atomically, and checked after that. */
#pragma once

#include <glib.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/vu-mem.h"
#include "virtiofsd/base/chain.h"

_Static_assert(G_BYTE_ORDER == G_LITTLE_ENDIAN, "rings are little endian, and so must the host be");

#define VU_CHAIN_SMALL 16 /* segments that fit without another allocation */
#define VU_INDIRECT_MIN \
    1024                  /* indirect tables may be this long on shorter rings: old Linux does it */
#define VU_CHAIN_MAX 4096 /* segments of the longest chain taken */

struct vu_queue;

/* One request on its way. */
struct vu_chain {
    struct chain c; /* first: the server sees only this */
    struct vu_queue *queue;
    struct vu_chain *next; /* free list, pool queue */
    struct vu_mem *mem;    /* reference to the table that the segments point into */
    uint16_t head;         /* what the used ring wants back */
    unsigned cap;          /* of iov */
    struct iovec *iov;     /* readable segments, then writable ones */
    struct iovec small[VU_CHAIN_SMALL];
};

struct vu_chain *vu_chain_new(struct vu_queue *queue, const struct chain_ops *ops);
void vu_chain_free(struct vu_chain *ch);
/* Drop the memory reference and oversized arrays, ready for the next request. */
void vu_chain_clear(struct vu_chain *ch);

/* Where the three parts of a ring are in our address space. */
struct vu_ring_parts {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
};

/* Find the parts at the front-end's addresses. Returns 0, -EINVAL (alignment) or -EFAULT (not in
 * @mem). VIRTIO 1.2, 2.7.2 on sizes and alignment. */
int vu_ring_locate(const struct vu_mem *mem, unsigned num, uint64_t desc, uint64_t avail,
                   uint64_t used, struct vu_ring_parts *out);

/* The available half. */
struct vu_avail {
    struct vu_ring_parts at;
    struct vu_mem *mem; /* reference */
    unsigned num;       /* a power of two */
    bool event_idx, indirect;
    uint16_t next;       /* next slot to take, free running */
    uint16_t shadow_idx; /* the guest's index as last loaded */
    unsigned hint;       /* region of the last translation */
    _Atomic uint64_t
        *full;     /* counts looks that found all heads in use; NULL: nobody wants to know */
    uint8_t *busy; /* by head: taken and not answered yet; atomic, cleared by the used half */
    struct vring_desc *table; /* private copy of an indirect table */
    unsigned table_cap;
};

/* Take one request into @ch. Returns 1, 0 when there is none, or -1 when the ring is broken, with
 * *@why saying what rule it broke. */
int vu_avail_pop(struct vu_avail *a, struct vu_chain *ch, const char **why);

/* Take the request at @head once more, which was taken before the ring was stopped and not
 * answered. 0, or -1 with *@why. */
int vu_avail_again(struct vu_avail *a, struct vu_chain *ch, uint16_t head, const char **why);

/* Whether a request waits; does not take it. For polling. */
bool vu_avail_pending(const struct vu_avail *a);

/* The guest need not kick from now on. Returns whether that was written to the ring, with a full
 * fence behind it. */
bool vu_avail_kick_off(struct vu_avail *a);
/* The guest must kick for the next request. Returns true when one is there already, so that the
 * caller must not sleep. */
bool vu_avail_kick_on(struct vu_avail *a);

/* The used half. */
struct vu_used {
    struct vring_used *ring;
    const struct vring_avail *avail;
    unsigned num;
    bool event_idx;
    uint16_t idx;       /* next slot to fill, free running */
    uint16_t signalled; /* idx at the last decision to signal */
    bool signalled_valid;
};

/* Publish the answer to @head. @busy: the available half's. */
void vu_used_push(struct vu_used *u, uint8_t *busy, uint16_t head, uint32_t len);

/* Whether the guest wants to be told of what was published since the last call. */
bool vu_used_should_signal(struct vu_used *u);
