/* SPDX-License-Identifier: BSD-3-Clause
 * What the operator decides about a vhost-user device. Options set these fields directly. */
#pragma once

#include <stdbool.h>

struct vu_policy {
    bool relisten;           /* serve a new connection after the front-end went away */
    unsigned max_queue_size; /* power of two, largest SET_VRING_NUM taken */
    unsigned pool_size; /* threads shared by the other queues; 0 = work in the queue's thread */
    unsigned poll_us;   /* busy-poll a ring this long before sleeping; 0 = never */
};
