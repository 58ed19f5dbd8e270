/* SPDX-License-Identifier: BSD-3-Clause
 * Moving bytes between private buffers and lists of segments, every length checked here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

/* Sum of the lengths of all segments. */
size_t iov_len(const struct iovec *iov, unsigned cnt);

size_t iov_to_buf_all(const struct iovec *iov, unsigned cnt, size_t off, void *buf, size_t len);
size_t iov_from_buf_all(const struct iovec *iov, unsigned cnt, size_t off, const void *buf,
                        size_t len);

/* Whether the first segment holds them all, as it does of most requests and answers. */
static inline bool iov_in_first(const struct iovec *iov, unsigned cnt, size_t off, size_t len)
{
    return cnt > 0 && off <= iov->iov_len && len <= iov->iov_len - off;
}

/* Copy @len bytes that start @off bytes into the list to @buf.
 * Returns the bytes copied: less than @len when the list is too short. */
static inline size_t iov_to_buf(const struct iovec *iov, unsigned cnt, size_t off, void *buf,
                                size_t len)
{
    if (!iov_in_first(iov, cnt, off, len))
        return iov_to_buf_all(iov, cnt, off, buf, len);
    memcpy(buf, (const char *)iov->iov_base + off, len);
    return len;
}

/* The other direction: @buf into the list at @off. Returns the bytes copied. */
static inline size_t iov_from_buf(const struct iovec *iov, unsigned cnt, size_t off,
                                  const void *buf, size_t len)
{
    if (!iov_in_first(iov, cnt, off, len))
        return iov_from_buf_all(iov, cnt, off, buf, len);
    memcpy((char *)iov->iov_base + off, buf, len);
    return len;
}

/* Describe the bytes [@off, @off + @len) of the list by at most @max segments in @dst.
 * Returns the number of segments; fewer bytes are described when @max or the list is too short. */
unsigned iov_slice(const struct iovec *iov, unsigned cnt, size_t off, size_t len, struct iovec *dst,
                   unsigned max);
