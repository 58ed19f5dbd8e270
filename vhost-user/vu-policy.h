/* SPDX-License-Identifier: BSD-3-Clause
 * What the operator decides about a vhost-user device. Options set these fields directly. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VU_POLL_AUTO UINT32_MAX /* of poll_us: for as long as seems worth while (vu-poll.h) */

struct vu_policy {
    bool relisten;           /* serve a new connection after the front-end went away */
    unsigned max_queue_size; /* power of two, largest SET_VRING_NUM taken */
    unsigned pool_size; /* threads shared by the other queues; 0 = work in the queue's thread */
    unsigned poll_us; /* look at an empty ring this long before sleeping; 0 = never, VU_POLL_AUTO */
};
