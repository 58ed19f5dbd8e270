/* SPDX-License-Identifier: BSD-3-Clause
 * A vhost-user back-end device: one front-end connection at a time, its memory table, its rings.
 * Protocol facts: the vhost-user specification in QEMU's docs/interop/vhost-user.rst.
 *
 * Threads: the control thread runs vu_dev_run() and answers every front-end message. Each ring that
 * was started once in a connection has a worker thread of its own, which pops chains and calls
 * ops->handle. With pool_size > 0 the chains are handled by that many pool threads instead, but
 * those of the first `hiprio` queues, which are always handled in place (virtio-fs: so that FORGETs
 * never wait). */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/vu-policy.h"
#include "virtiofsd/base/chain.h"

struct counts;
struct vu_dev;
struct vu_backend;

/* What the device implements. All callbacks get vu_config.user. */
struct vu_dev_ops {
    /* A request. Must lead to exactly one chain_complete(), now or later, from any thread. */
    void (*handle)(void *user, struct chain *c);
    /* A ring is about to be drained: requests that wait for something outside (a lock) must end
     * soon with an error. Called from the control thread; may be called often. */
    void (*drain)(void *user);
    /* All rings are stopped and drained, and the guest's state is gone: RESET_DEVICE. Drop
     * everything that belongs to the guest. Control thread. */
    void (*reset)(void *user);
    /* A front-end has said its first message, or its connection has been cleaned up. Control
     * thread; may be NULL. */
    void (*session)(void *user, bool begins);
    /* Called first in each new worker or pool thread (private umask and the like). */
    void (*thread_start)(void *user);
    /* All rings are stopped and drained, and the connection is closed: the front-end is gone, and
     * whether the guest is, too, is not known here. Control thread. NULL: reset(). */
    void (*hang_up)(void *user);
    /* A request that a pool thread will handle, in the order of the ring, which the pool does not
     * keep. Queue's worker thread; may be NULL. */
    void (*arrive)(void *user, struct chain *c);
    /* Append to @out all that belongs to the guest, for another device to take over, and forget
     * nothing. @taken: of struct vu_taken, what was put back by chain_again(). All rings are
     * stopped and drained. A thread of its own. 0 or -errno. NULL, as the next: the guest cannot be
     * moved. */
    int (*save)(void *user, const GArray *taken, GByteArray *out);
    /* Take over what another device has saved; the bytes come from outside. reset() follows when it
     * returns -errno. The same thread; maybe before there are features, memory or rings. */
    int (*load)(void *user, const uint8_t *bytes, size_t len, GArray *taken);
    /* The guest is going to be moved, perhaps, or not any more. Control thread; may be NULL. */
    void (*announce)(void *user, bool on);
};

/* A request that a device has taken and not answered: ring and head of its chain. */
struct vu_taken {
    uint32_t ring, head;
};

struct vu_config {
    const struct vu_dev_ops *ops;
    void *user;
    const char *name;    /* of the socket, for the log; not copied. NULL: none */
    int listen_fd;       /* listening socket, or -1 */
    int conn_fd;         /* connected socket when there is no listening one, or -1 */
    unsigned num_queues; /* virtqueues in all, hiprio included: 1 .. VU_MAX_QUEUES */
    unsigned hiprio;     /* queues that the pool leaves alone, from the first on */
    union {
        struct vu_policy policy;
        struct vu_policy;
    };
    uint64_t features;     /* device feature bits offered besides the transport's own */
    const uint8_t *config; /* device configuration space, or NULL: do not offer CONFIG */
    unsigned config_len;   /* <= 256 */
    uint64_t shmem_size;   /* of shared memory region 0, bytes; 0 = offer none */
    unsigned shmem_bit;    /* the protocol feature that offers it */
    bool shmem_mem_slots;  /* offer CONFIGURE_MEM_SLOTS in spite of it */
};

#define VU_MAX_QUEUES     256
#define VU_MAX_QUEUE_SIZE 32768

/* Make a device. Copies @cfg (config_len bytes of config included) and takes over its descriptors.
 * Never fails but for memory. */
struct vu_dev *vu_dev_new(const struct vu_config *cfg);

/* Serve front-ends until the front-end went away (without relisten), or vu_dev_stop().
 * Returns 0 then; -1 with @err set when the socket cannot be used at all. After each front-end all
 * rings are drained and stopped and ops->hang_up was called, or ops->reset where there is none. */
int vu_dev_run(struct vu_dev *dev, GError **err);

/* Make vu_dev_run() return soon. Async-signal-safe. */
void vu_dev_stop(struct vu_dev *dev);

void vu_dev_free(struct vu_dev *dev);

/* Add what the queues have counted since the device was made. @each (may be NULL) is called for
 * every queue that ever ran, in order. Any thread, as long as there is the device. */
void vu_dev_counts(const struct vu_dev *dev, struct counts *sum,
                   void (*each)(void *user, unsigned queue, const struct counts *c), void *user);

/* The channel on which to ask the front-end; lives as long as the device. */
struct vu_backend *vu_dev_backend(struct vu_dev *dev);

/* For a ring or memory that cannot be used any more: mark the whole device broken with one log
 * line, from any thread; rings stop popping, the connection is closed by the control thread. */
void vu_dev_break(struct vu_dev *dev, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
