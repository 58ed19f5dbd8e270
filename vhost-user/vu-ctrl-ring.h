/* SPDX-License-Identifier: BSD-3-Clause
 * The front-end messages about rings. Each returns 0 or -errno. */
#pragma once

#include "vhost-user/vu-priv.h"

/* The answer to a question. */
struct vu_reply {
    size_t len;
    uint8_t payload[VU_MAX_REPLY];
};

/* dev->features changed: tell the rings. */
int vu_ctrl_apply_features(struct vu_dev *dev);
/* dev->log or dev->log_call changed: the same. */
void vu_ctrl_apply_log(struct vu_dev *dev);

/* vu-state.c */
int vu_state_begin(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
int vu_state_check(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);

int vu_ctrl_reset_owner(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
int vu_ctrl_vring_num(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
int vu_ctrl_vring_addr(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
int vu_ctrl_vring_base(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
int vu_ctrl_vring_stop(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
int vu_ctrl_vring_kick(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
int vu_ctrl_vring_call(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
int vu_ctrl_vring_err(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
int vu_ctrl_vring_enable(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
