/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the back-end share: the device. */
#pragma once

#include "vhost-user/vu-backend-priv.h"
#include "vhost-user/vu-dev.h"
#include "vhost-user/vu-msg.h"
#include "vhost-user/vu-pool.h"
#include "vhost-user/vu-queue.h"
#include "vhost-user/vu-state.h"

/* Locks: a queue's lock, the pool's lock and the back-end channel's are leaves; none is taken
 * while another is held, but the channel's under a queue's. (The channel's call_lock is held across
 * a round trip; the control thread only tries to take it.) All but the atomics belongs to the
 * control thread. */
struct vu_dev {
    struct vu_config cfg;
    uint8_t config[VU_CONFIG_MAX];
    int wake_fd;        /* eventfd: stop, broken, or lost memory */
    atomic_bool stop;   /* sticky: vu_dev_stop() was called */
    atomic_bool broken; /* this connection must end */
    struct vu_sigbus_sink lost;
    atomic_bool told_unshared; /* vu-unshared.c, of this connection */

    int conn_fd;
    uint64_t features; /* as the front-end set them */
    uint64_t protocol;
    uint8_t status;
    struct vu_mem *mem; /* reference */
    struct vu_log *log; /* reference; in use while VU_F_LOG_ALL is set */
    struct vu_fd *log_call;
    bool log_refused; /* there is none that the front-end believes in */
    struct vu_state state;
    struct vu_backend backend;
    struct vu_pool *pool; /* NULL without pool_size */
    struct vu_queue *queues;
    /* Of each queue that ever ran, made by the control thread, read by any. */
    struct counters *_Atomic *counters;
    struct counts before; /* at the begin of this session */
};

/* ---- vu-queue-work.c: the worker's side of a queue ---- */
extern const struct chain_ops vu_chain_ops;
/* The calling thread is the control thread: it breaks the waits of others, so it has none itself.
 * (ops->drain answers requests on it.) */
extern _Thread_local bool vu_may_not_wait;
void *vu_queue_thread(void *arg); /* a struct vu_queue */

/* ---- vu-unshared.c ---- */

/* Say that the guest's memory is not shared with us, and what to do, once for each connection;
 * @sign is how it shows. Any thread. */
void vu_unshared_tell(struct vu_dev *dev, const char *sign);
/* A kick has come to a ring that never had a request, and there is none: look whether the memory is
 * the guest's at all. The worker. */
void vu_unshared_look(struct vu_queue *q);

/* ---- vu-ctrl.c ---- */

/* Offered feature bits. */
uint64_t vu_ctrl_features(const struct vu_dev *dev);
uint64_t vu_ctrl_protocol(const struct vu_dev *dev);

/* Handle one whole message and answer it. Takes over the descriptors in @msg.
 * Returns 0, or -errno when the answer could not be sent. */
int vu_ctrl_handle(struct vu_dev *dev, struct vu_msg *msg);

/* Stop and drain all rings. */
void vu_ctrl_stop_all(struct vu_dev *dev);
/* The same, then ops->reset. */
void vu_ctrl_reset(struct vu_dev *dev);
