/* SPDX-License-Identifier: BSD-3-Clause
 * libfuse, as fuse-session.c and fuse-callback.c know it and no other file does. */
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

/* What libfuse calls: reads of fuse_rq_current() what it took apart, and does the operation. */
extern const struct fuse_lowlevel_ops fuse_callbacks;
