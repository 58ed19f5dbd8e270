/* SPDX-License-Identifier: BSD-3-Clause
 * vu-peer.h's device, which can be moved besides: what it says and is told. */
#pragma once

#include "tests/unit/vu-peer.h"

#define LOG_OFF  3000u /* bytes of the file before the map: not aligned */
#define LOG_SIZE 0x10000u

#define LOGGING (FEATURES | BIT(VU_F_LOG_ALL) | BIT(VU_F_EVENT_IDX))

struct mover {
    struct vu_dev_ops ops;
    char saved[64]; /* what save() says */
    size_t flood;   /* or so many bytes */
    char loaded[64];
    unsigned announced, taken_back;
    int load_rc;
    struct vu_taken taken[8]; /* seen by save(), or given by load() */
    unsigned n_taken;
};
extern struct mover mover;

/* For cmocka: peer_setup(), and a new mover. */
int mover_setup(void **state);

/* A memory file. */
int mover_file(size_t size);
/* SET_LOG_BASE: LOG_SIZE bytes at LOG_OFF of it. */
void mover_set_log(struct peer *p, int fd);
