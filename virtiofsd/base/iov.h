/* SPDX-License-Identifier: BSD-3-Clause
 * Moving bytes between private buffers and lists of segments, every length checked here. */
#pragma once

#include <stddef.h>
#include <sys/uio.h>

/* Sum of the lengths of all segments. */
size_t iov_len(const struct iovec *iov, unsigned cnt);

/* Copy @len bytes that start @off bytes into the list to @buf.
 * Returns the bytes copied: less than @len when the list is too short. */
size_t iov_to_buf(const struct iovec *iov, unsigned cnt, size_t off, void *buf, size_t len);

/* The other direction: @buf into the list at @off. Returns the bytes copied. */
size_t iov_from_buf(const struct iovec *iov, unsigned cnt, size_t off, const void *buf, size_t len);

/* Describe the bytes [@off, @off + @len) of the list by at most @max segments in @dst.
 * Returns the number of segments; fewer bytes are described when @max or the list is too short. */
unsigned iov_slice(const struct iovec *iov, unsigned cnt, size_t off, size_t len, struct iovec *dst,
                   unsigned max);
