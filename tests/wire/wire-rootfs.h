/* SPDX-License-Identifier: BSD-3-Clause
 * A guest that opens nothing (--profile=rootfs): requests with handle 0. */
#pragma once

#include "tests/wire/wire.h"

#define ROOT            FUSE_ROOT_ID
#define ROOTFS_PATIENCE 30000 /* ms; what is waited for takes a second or three */
/* What the daemon answers to INIT then. */
#define ROOTFS_SPARED (FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT)

/* Daemon with --profile=rootfs and @more options (NULL: none), rings, INIT with @flags. */
void rootfs_mount(struct wire *w, const char *const *more, uint64_t flags);
/* The same with the flags of Linux. */
void rootfs_start(struct wire *w, const char *const *more);
/* WRITE of @text with @flags of the file. Bytes or an error. */
int rootfs_write(struct wire *w, uint64_t node, uint64_t off, const char *text, int flags);
/* The file of the share has this content, or @node reads so. */
void rootfs_holds(struct wire *w, const char *name, const char *want);
void rootfs_reads(struct wire *w, uint64_t node, const char *want);
/* Whether the daemon comes to have @most descriptors within ROOTFS_PATIENCE. */
bool rootfs_fds(struct wire *w, unsigned most);
/* A request of which the answer's content does not matter. */
int rootfs_call(struct wire *w, uint32_t op, uint64_t node, const void *in, size_t len);
/* UNLINK or RMDIR. */
int rootfs_remove(struct wire *w, uint32_t op, uint64_t dir, const char *name);
