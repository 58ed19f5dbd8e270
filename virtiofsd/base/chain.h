/* SPDX-License-Identifier: BSD-3-Clause
 * One request, between a transport (a virtqueue, or a stream socket) and a protocol server.
 *
 * The transport makes a chain, hands it to the server, and the server answers it exactly once
 * with chain_complete(), from any thread, in the call or later. The segments of a
 * virtqueue point straight into memory that the guest can write at any moment: what is checked must
 * be copied out first. A socket's are memory of our own. VIRTIO 1.2, 2.6 "Virtqueues":
 * device-readable segments come before device-writable ones. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct chain;

struct chain_ops {
    /* Publish the answer: @len bytes were written to the writable segments. Takes the chain back.
     */
    void (*complete)(struct chain *c, size_t len);
    /* Tell the other side now of answers already published: virtqueues batch them. */
    void (*flush)(struct chain *c);
    /* Put the request back where it came from, as if it had not been taken. Returns false when this
     * is not the time: it must be answered. NULL: it never is. */
    bool (*again)(struct chain *c);
};

/* What the counters (base/counters.h) learn of a request. */
enum {
    NOTE_TIMED = 1 << 0,  /* begin_ns holds; the transport's. The rest is the server's, before it
                           * answers: */
    NOTE_FAILED = 1 << 1, /* with an error */
    NOTE_READ = 1 << 2,   /* so many bytes of a file */
    NOTE_WRITTEN = 1 << 3,
};
struct chain_note {
    uint8_t op;   /* place of the operation; 0: none that is known */
    uint8_t what; /* NOTE_*: mostly nothing */
    uint64_t begin_ns;
    size_t bytes;
};

struct chain {
    const struct chain_ops *ops;
    struct iovec *in;  /* device-readable: guest to us */
    struct iovec *out; /* device-writable: us to guest */
    unsigned in_cnt, out_cnt;
    size_t in_len, out_len; /* sums of the segment lengths */
    /* Some segment lies outside the memory we have mapped; such segments are left out of the
     * lists and the sums, so the only right answer is an error. */
    bool unmapped;
    bool at_once;   /* set by the server: work follows the answer, which shall not wait for more */
    unsigned queue; /* index of the virtqueue (virtio-fs: 0 = hiprio); 0 for sockets */
    unsigned ring;  /* entries of the virtqueue; 0 for sockets */
    /* The server's own notes, from the moment of arrival to that of handling; else arrived[0] is 0.
     */
    uint64_t arrived[2];
    struct chain_note note;
};

/* How many requests of a virtqueue may wait for something that can take long: of so many others
 * always get through. */
static inline unsigned chain_ring_share(const struct chain *c)
{
    return c->ring - (c->ring >= 16 ? c->ring / 8 : c->ring > 1);
}

static inline void chain_note_bytes(struct chain *c, int which, size_t bytes)
{
    c->note.what |= (uint8_t)which;
    c->note.bytes = bytes;
}

static inline void chain_complete(struct chain *c, size_t len)
{
    c->ops->complete(c, len);
}

/* Call before an operation that may take long: what is done so far gets signalled first. */
static inline void chain_flush(struct chain *c)
{
    c->ops->flush(c);
}

/* A request that waits, and for which nothing was done, is to end: it need not be answered when it
 * will be handled once more, here or by another device (then true, and the chain is gone). */
static inline bool chain_again(struct chain *c)
{
    return c->ops->again && c->ops->again(c);
}
