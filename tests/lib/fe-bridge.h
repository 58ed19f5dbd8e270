/* SPDX-License-Identifier: BSD-3-Clause
 * The other half of a virtio-fs driver: what the host kernel's FUSE client writes into /dev/fuse
 * goes through the rings to a daemon, and the answers back. So tests get the Linux client at full
 * speed without a guest. Requests are laid out as Linux' driver lays them out: header, arguments
 * and pages in descriptors of their own, in one indirect table; FORGET goes to the hiprio queue,
 * one by one; INTERRUPT is dropped.
 *
 * One thread a request queue reads requests, one a ring takes answers. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/fe-vhost.h"

/* Requests in flight, waits for locks among them; the rings must have as many entries. */
#define FE_BRIDGE_SLOTS 512
/* Payload of a request or an answer. */
#define FE_BRIDGE_DATA (1u << 20)

/* What fe_bridge_answer_room() says of an opcode that it does not know. */
#define FE_BRIDGE_ROOM_MAX FE_BRIDGE_DATA

struct fe_bridge_slot {
    uint8_t *in, *out;
    uint64_t in_gpa, out_gpa, tab_gpa;
    unsigned queue;
    uint32_t room;   /* for the answer, header included; 0: none is wanted */
    int64_t since;   /* when it was sent, ms */
    bool busy;       /* the daemon has it */
    bool ours;       /* not the kernel's: its answer ends here */
    uint64_t unique; /* of the request */
    uint32_t opcode;
};

struct fe_bridge {
    struct fe_vhost *v;
    int fuse;         /* /dev/fuse, mounted by the caller */
    unsigned nqueues; /* request queues; ring 0 is hiprio */
    struct fe_bridge_slot slot[FE_BRIDGE_SLOTS];
    struct fe_bridge_slot *idle[FE_BRIDGE_SLOTS];
    unsigned nidle;
    pthread_mutex_t lock; /* of idle */
    pthread_cond_t came_back;
    pthread_mutex_t hiprio;
    pthread_t reader[FE_MAX_RINGS], taker[FE_MAX_RINGS];
    atomic_uint readers;  /* that still read */
    int readers_end;      /* eventfd: the last of them has stopped */
    atomic_bool stop;     /* takers end */
    atomic_ullong wrong;  /* answers that break the protocol; each was printed */
    atomic_ullong served; /* requests read from the kernel */
    atomic_ullong forgotten, interrupts;
};

/* Guest memory for the rings and for all slots, most of which is never touched. Returns 0 or
 * -errno.
 */
int fe_bridge_mem(struct fe_mem *m);

/* Join @fuse (an open /dev/fuse, mounted) to the running rings of @v, whose memory is from
 * fe_bridge_mem(): ring 0 is hiprio, all others take requests. Both stay the caller's. Returns 0 or
 * -errno. */
int fe_bridge_start(struct fe_bridge *b, struct fe_vhost *v, int fuse);

/* After the unmount or an abort ended the readers (b->readers_end): wait up to @ms until the daemon
 * has given all requests back, tell it DESTROY as the driver does at the end of a mount, and end
 * the threads. @alive: whether there is still a daemon to wait for. Returns 0, or FE_ETIMEOUT when
 * requests were still out. */
int fe_bridge_stop(struct fe_bridge *b, bool alive, int ms);

/* Print what the daemon has not answered for @ms, oldest first, to stderr. Returns how many. */
unsigned fe_bridge_print_waiting(struct fe_bridge *b, int ms);

/* How many bytes may follow the answer's header, as the kernel prepares for it; -1: no answer is
 * wanted. @request: a whole request with at least its header. */
int fe_bridge_answer_room(const void *request, uint32_t len);
