/* SPDX-License-Identifier: BSD-3-Clause
 * A small front-end with a guest's memory, for the tests of the back-end: the real device runs in
 * a thread of its own and answers over a socket pair. */
#pragma once

#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/vu-dev.h"
#include "vhost-user/vu-wire.h"

#define PEER_QUEUES  3
#define PEER_NUM     16
#define PEER_MEM     0x100000u
#define PEER_GPA     0x40000000u
#define PEER_UADDR   UINT64_C(0x7f0000000000)
#define PEER_DATA    0x20000u /* offset of what rings do not use */
#define PEER_RING(q) ((q)*0x4000u)

/* What the handler does with a request. */
enum peer_mode {
    PEER_ECHO, /* copy readable to writable bytes, complete in place */
    PEER_HOLD, /* keep it for peer_release() */
};

/* What most tests negotiate. */
#define BIT(n)   (UINT64_C(1) << (n))
#define FEATURES (BIT(VU_F_INDIRECT_DESC) | BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_VERSION_1))

struct peer {
    struct vu_config cfg; /* change between peer_init() and peer_start() */
    struct vu_dev *dev;
    pthread_t thread;
    int run_result;
    int sock;
    int mem_fd;
    uint8_t *mem;
    int kick[PEER_QUEUES], call[PEER_QUEUES], err[PEER_QUEUES];
    uint16_t avail_idx[PEER_QUEUES];

    _Atomic(enum peer_mode) mode;
    void (*_Atomic work)(struct peer *p,
                         struct chain *c); /* done first, in the worker; may be NULL */
    pthread_mutex_t lock;
    struct chain *held[64];
    unsigned nheld;
    unsigned drains, resets, hang_ups, handled, unmapped; /* under the lock */
    bool release_on_drain;
};

/* Memory, sockets, a configuration with two queues more than hiprio. */
/* With a hang-up of its own: else that is a reset. For vu_config.ops before peer_start(). */
extern const struct vu_dev_ops peer_ops_hang_up;

void peer_init(struct peer *p);
void peer_start(struct peer *p);
/* Close our end and wait for vu_dev_run() to return. */
void peer_stop(struct peer *p);
void peer_fini(struct peer *p);

/* Send a message as it is. */
void peer_send_raw(struct peer *p, const void *bytes, size_t len, const int *fds, unsigned nfds);
void peer_send(struct peer *p, uint32_t request, uint32_t flags, const void *payload, size_t len,
               const int *fds, unsigned nfds);
/* Receive a reply: returns its payload length, -1 when the connection was closed. */
int peer_recv(struct peer *p, uint32_t request, void *payload, size_t max);

/* Send and return the acknowledgement (REPLY_ACK must be on). */
uint64_t peer_ack(struct peer *p, uint32_t request, const void *payload, size_t len, const int *fds,
                  unsigned nfds);
uint64_t peer_ack_u64(struct peer *p, uint32_t request, uint64_t value);
uint64_t peer_ack_vring(struct peer *p, uint32_t request, uint32_t index, uint32_t num);
uint64_t peer_ask_u64(struct peer *p, uint32_t request);

/* Features and memory table; then a ring from nothing to running. */
void peer_hello(struct peer *p, uint64_t features);
void peer_ring_up(struct peer *p, unsigned q);
/* GET_VRING_BASE. Returns the index. */
unsigned peer_ring_stop(struct peer *p, unsigned q);

/* The guest's side of ring @q. */
struct vring peer_vring(struct peer *p, unsigned q);
void peer_desc(struct peer *p, unsigned q, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags,
               uint16_t next);
void peer_offer(struct peer *p, unsigned q, uint16_t head);
void peer_kick(struct peer *p, unsigned q);
/* Wait until the used index is @idx. Returns whether that happened in time. */
bool peer_wait_used(struct peer *p, unsigned q, uint16_t idx);
/* Wait for the call; returns the count it carried, 0 when none came in @ms. */
uint64_t peer_called(struct peer *p, unsigned q, int ms);
/* Echo @text through descriptors 0 and 1 of ring @q, and check it. */
void peer_echo(struct peer *p, unsigned q, const char *text);

/* Complete all held chains from this thread. */
void peer_release(struct peer *p);
/* Wait until @n chains are held. */
bool peer_wait_held(struct peer *p, unsigned n);

/* cmocka's fixture: a struct peer in *state. */
int peer_setup(void **state);
int peer_teardown(void **state);
/* Start the device, negotiate, and run ring 1. */
void peer_up(struct peer *p, uint64_t features);
/* Offer one request that is held, or stays in the ring. */
void peer_offer_one(struct peer *p, unsigned q, uint16_t head);
/* A counter of @p, read under its lock. */
unsigned peer_count(struct peer *p, const unsigned *field);
