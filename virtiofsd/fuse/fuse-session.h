/* SPDX-License-Identifier: BSD-3-Clause
 * libfuse, as fuse-session.c and fuse-callback.c know it and no other file does. */
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

struct fuse_rq;

/* The request that the calling thread is going to give to libfuse. */
void fuse_callback_set(struct fuse_rq *rq);
/* What libfuse calls: does that request's operation, with the arguments that libfuse found. */
extern const struct fuse_lowlevel_ops fuse_callbacks;
