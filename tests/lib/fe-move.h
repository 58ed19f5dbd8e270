/* SPDX-License-Identifier: BSD-3-Clause
 * What a front-end does to move a guest: stop, save, load, go on. */
#pragma once

#include "tests/lib/fe-vhost.h"

#define FE_MOVE_PROTO                                                                      \
    (VU_PF_MQ | VU_PF_LOG_SHMFD | VU_PF_REPLY_ACK | VU_PF_RESET_DEVICE | VU_PF_MEM_SLOTS | \
     VU_PF_DEVICE_STATE)
#define FE_MOVE_FEATURES (VU_F_INDIRECT | VU_F_EVENT_IDX | VU_F_PROTOCOL | VU_F_VERSION_1)

/* From a connected socket to @nrings running rings, as fe_vhost_start(), by one that can move. */
int fe_move_start(struct fe_vhost *v, struct fe_mem *m, unsigned nrings, unsigned size);
/* Stop all rings as QEMU does; each is told of its call again then. */
int fe_move_stop(struct fe_vhost *v);
/* Start them where they stopped. */
int fe_move_resume(struct fe_vhost *v);

/* A state, to be freed. */
struct fe_state {
    uint8_t *bytes;
    size_t len;
    int64_t us; /* how long it took, from the message to the answer of the check */
};

/* Have the state saved through a pipe. 0, 1: refused, 2: the check said that it failed, or FE_E...
 */
int fe_move_save(struct fe_vhost *v, struct fe_state *out);
/* Have it loaded. The same. */
int fe_move_load(struct fe_vhost *v, const uint8_t *bytes, size_t len, int64_t *us);
/* On a new connection: what QEMU says to the destination before and after the state comes. The
 * rings and the memory of @v are taken up. 0, 1 and 2 as above. */
int fe_move_arrive(struct fe_vhost *v, const struct fe_state *s, int64_t *us);
