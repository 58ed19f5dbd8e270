/* SPDX-License-Identifier: BSD-3-Clause
 * vhost-user specification, "Ring states": a ring takes requests when it is started (it has a
 * kick) and enabled; GET_VRING_BASE stops it. User-Mode Linux stops by ENABLE 0 alone. */
#include "vhost-user/vu-ctrl-ring.h"

#include <errno.h>
#include <string.h>

#include "virtiofsd/base/auto.h"

#define BIT(n)          (UINT64_C(1) << (n))
#define DISABLE_WAIT_MS 1000 /* for requests in flight when a ring is disabled */

/* The ring that a message is about, NULL when there is none. */
static struct vu_queue *queue_of(struct vu_dev *dev, uint64_t index)
{
    return index < dev->cfg.num_queues ? &dev->queues[index] : NULL;
}

static struct vu_wire_vring get_vring(const struct vu_msg *msg)
{
    struct vu_wire_vring v;
    memcpy(&v, msg->payload, sizeof(v));
    return v;
}

/* Queue of a message that may come only while the ring is at rest. */
static int resting_queue(struct vu_dev *dev, uint32_t index, struct vu_queue **q)
{
    *q = queue_of(dev, index);
    if (!*q)
        return -ENOENT;
    return (*q)->run || vu_queue_busy(*q) ? -EBUSY : 0;
}

int vu_ctrl_vring_num(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_vring v = get_vring(msg);
    struct vu_queue *q;
    int rc = resting_queue(dev, v.index, &q);
    if (rc < 0)
        return rc;
    if (v.num == 0 || (v.num & (v.num - 1)) || v.num > dev->cfg.max_queue_size)
        return -EINVAL;
    q->num = v.num;
    q->first_start = true;
    return vu_queue_update(q);
}

/* Whether the message leaves the ring where it is: then it is about the dirty log, and the ring may
 * run. */
static bool same_place(const struct vu_queue *q, const struct vu_wire_addr *a)
{
    return q->have_addr && q->desc == a->desc && q->avail_addr == a->avail &&
           q->used_addr == a->used;
}

int vu_ctrl_vring_addr(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_addr a;
    struct vu_ring_parts at;
    struct vu_queue *q;
    memcpy(&a, msg->payload, sizeof(a));
    bool logs = a.flags & VU_VRING_F_LOG;
    int rc = resting_queue(dev, a.index, &q);
    if (rc == -EBUSY && same_place(q, &a)) {
        vu_queue_log_used(q, logs, a.log);
        return 0;
    }
    if (rc < 0)
        return rc;
    vu_queue_log_used(q, logs, a.log);
    q->have_addr = false;
    q->first_start = true;
    /* What is not known yet is checked when the ring starts. */
    if (dev->mem && q->num)
        rc = vu_ring_locate(dev->mem, q->num, a.desc, a.avail, a.used, &at);
    if (rc == -EFAULT)
        vu_unshared_tell(dev, "a ring is in none of it that the front-end has sent");
    if (rc < 0)
        return rc;
    q->desc = a.desc;
    q->avail_addr = a.avail;
    q->used_addr = a.used;
    q->have_addr = true;
    return vu_queue_update(q);
}

int vu_ctrl_vring_base(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_vring v = get_vring(msg);
    struct vu_queue *q;
    int rc = resting_queue(dev, v.index, &q);
    if (rc < 0)
        return rc;
    if (v.num > UINT16_MAX)
        return -EINVAL;
    if (v.num == 0 && q->avail.next != 0)
        vu_backend_note_restart(&dev->backend);
    q->avail.next = (uint16_t)v.num;
    q->first_start = true;
    return 0;
}

/* Who can move the guest can bring back what waits; to all others it is lost unless answered. */
static void keep_waiting(struct vu_queue *q)
{
    if (q->dev->protocol & BIT(VU_PROTO_DEVICE_STATE))
        vu_queue_keep(q);
}

int vu_ctrl_vring_stop(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_vring v = get_vring(msg);
    struct vu_queue *q = queue_of(dev, v.index);
    if (!q)
        return -ENOENT;
    vu_backend_pause(&dev->backend); /* what waits for the front-end would wait for ever */
    q->kick_set = false;
    vu_queue_update(q);
    keep_waiting(q);
    vu_queue_drain(q, -1);
    vu_queue_stopped(q);
    v.num = q->avail.next;
    memcpy(r->payload, &v, sizeof(v));
    r->len = sizeof(v);
    return 0;
}

/* Queue and descriptor (-1: none) of the three messages that bring one. */
static int get_fd(struct vu_dev *dev, struct vu_msg *msg, struct vu_queue **q, int *fd)
{
    uint64_t v;
    memcpy(&v, msg->payload, sizeof(v));
    *q = queue_of(dev, v & VU_INDEX_MASK);
    if (!*q)
        return -ENOENT;
    if ((v & ~(uint64_t)(VU_INDEX_MASK | VU_NO_FD)) || msg->nfds != !(v & VU_NO_FD))
        return -EINVAL;
    *fd = msg->nfds ? vu_msg_steal_fd(msg, 0) : -1;
    return 0;
}

int vu_ctrl_vring_kick(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_queue *q;
    int fd, rc = get_fd(dev, msg, &q, &fd);
    if (rc < 0)
        return rc;
    rc = vu_queue_set_kick(q, fd);
    int one = vu_queue_update(q); /* without a kick the ring stops */
    return rc < 0 ? rc : one;
}

int vu_ctrl_vring_call(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_queue *q;
    int fd, rc = get_fd(dev, msg, &q, &fd);
    return rc < 0 ? rc : vu_queue_set_call(q, fd);
}

int vu_ctrl_vring_err(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_queue *q;
    int fd, rc = get_fd(dev, msg, &q, &fd);
    return rc < 0 ? rc : vu_queue_set_err(q, fd);
}

/* A disabled ring is not processed by the worker, and for some front-ends this is the only stop
 * there is: its memory may be used for something else once we answered. A request that hangs in
 * the host must not hang the front-end with it, so the wait is bounded. */
static int enable(struct vu_queue *q, bool on)
{
    if (q->enabled && !on)
        vu_backend_pause(&q->dev->backend);
    q->enabled = on;
    int rc = vu_queue_update(q);
    if (!on) {
        keep_waiting(q);
        vu_queue_drain(q, DISABLE_WAIT_MS);
    }
    return rc;
}

int vu_ctrl_vring_enable(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_vring v = get_vring(msg);
    struct vu_queue *q = queue_of(dev, v.index);
    if (!q)
        return -ENOENT;
    return v.num > 1 ? -EINVAL : enable(q, v.num == 1);
}

int vu_ctrl_reset_owner(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        enable(&dev->queues[i], false);
    return 0;
}

void vu_ctrl_apply_log(struct vu_dev *dev)
{
    bool on = dev->features & BIT(VU_F_LOG_ALL);
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        vu_queue_set_log(&dev->queues[i], on ? dev->log : NULL, on ? dev->log_call : NULL);
}

int vu_ctrl_apply_features(struct vu_dev *dev)
{
    int rc = 0;
    vu_ctrl_apply_log(dev);
    for (unsigned i = 0; i < dev->cfg.num_queues; i++) {
        struct vu_queue *q = &dev->queues[i];
        pthread_mutex_lock(&q->lock);
        q->event_idx = dev->features & BIT(VU_F_EVENT_IDX);
        q->indirect = dev->features & BIT(VU_F_INDIRECT_DESC);
        q->used.event_idx = q->event_idx;
        pthread_mutex_unlock(&q->lock);
        vu_queue_wake(q);
        /* Without the protocol there is no message to enable rings. */
        if (!(dev->features & BIT(VU_F_PROTOCOL_FEATURES)))
            q->enabled = true;
        int one = vu_queue_update(q);
        rc = rc ? rc : one;
    }
    return rc;
}

void vu_ctrl_stop_all(struct vu_dev *dev)
{
    vu_backend_pause(&dev->backend);
    /* All at once first, so that they drain side by side. */
    for (unsigned i = 0; i < dev->cfg.num_queues; i++) {
        dev->queues[i].enabled = false;
        vu_queue_update(&dev->queues[i]);
    }
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        vu_queue_drain(&dev->queues[i], -1);
}

void vu_ctrl_reset(struct vu_dev *dev)
{
    vu_ctrl_stop_all(dev);
    vu_state_cancel(dev);
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        vu_queue_forget_taken(&dev->queues[i]);
    if (dev->cfg.ops->reset)
        dev->cfg.ops->reset(dev->cfg.user);
}
