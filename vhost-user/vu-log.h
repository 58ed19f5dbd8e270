/* SPDX-License-Identifier: BSD-3-Clause
 * The dirty log of a migration: a map of the front-end's with one bit for each 4 KiB of guest
 * memory. vhost-user specification, "Migration".
 *
 * Others write the same map (the front-end, other devices, other rings of ours), so bits are set
 * one atomic OR at a time, after what they are about was written and before the answer is. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vhost-user/vu-mem.h"

#define VU_LOG_PAGE 4096u
#define VU_LOG_MAX  (UINT64_C(1) << 32) /* bytes of a map: of 2^47 bytes of guest memory */

struct vu_log;

/* Map [@offset, @offset + @size) of @fd, which is not taken over. @sink as of vu_mem_add(). Returns
 * 0 with *@out set to a new reference, or -EINVAL (size 0 or too large, overflow, not a file, or
 * too short a one), -ENOSPC, or what mmap says. */
int vu_log_new(int fd, uint64_t size, uint64_t offset, struct vu_sigbus_sink *sink,
               struct vu_log **out);
struct vu_log *vu_log_ref(struct vu_log *log); /* NULL stays NULL */
void vu_log_unref(struct vu_log *log);         /* NULL is fine */

/* Guest memory at [@gpa, @gpa + @len) was written. Any thread. */
void vu_log_mark(struct vu_log *log, uint64_t gpa, uint64_t len);
/* The same by our address, which is in @mem. */
void vu_log_mark_host(struct vu_log *log, const struct vu_mem *mem, const void *ptr, size_t len);
/* Whether there was a write that the map has no bit for: then it is worth nothing. */
bool vu_log_is_short(const struct vu_log *log);
