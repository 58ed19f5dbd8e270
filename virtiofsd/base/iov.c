/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/base/iov.h"

#include <string.h>

size_t iov_len(const struct iovec *iov, unsigned cnt)
{
    size_t sum = 0;
    for (unsigned i = 0; i < cnt; i++)
        sum += iov[i].iov_len;
    return sum;
}

/* The part of a segment behind @off that is not longer than @most; *@off becomes what is left to
 * skip. Returns its length, 0 when the segment lies before @off. */
static size_t part(const struct iovec *seg, size_t *off, size_t most, char **at)
{
    if (*off >= seg->iov_len) {
        *off -= seg->iov_len;
        return 0;
    }
    size_t n = seg->iov_len - *off;
    *at = (char *)seg->iov_base + *off;
    *off = 0;
    return n < most ? n : most;
}

size_t iov_to_buf_all(const struct iovec *iov, unsigned cnt, size_t off, void *buf, size_t len)
{
    size_t done = 0;
    char *at = NULL;

    for (unsigned i = 0; i < cnt && done < len; i++) {
        size_t n = part(&iov[i], &off, len - done, &at);
        if (n > 0)
            memcpy((char *)buf + done, at, n);
        done += n;
    }
    return done;
}

size_t iov_from_buf_all(const struct iovec *iov, unsigned cnt, size_t off, const void *buf,
                        size_t len)
{
    size_t done = 0;
    char *at = NULL;

    for (unsigned i = 0; i < cnt && done < len; i++) {
        size_t n = part(&iov[i], &off, len - done, &at);
        if (n > 0)
            memcpy(at, (const char *)buf + done, n);
        done += n;
    }
    return done;
}

unsigned iov_slice(const struct iovec *iov, unsigned cnt, size_t off, size_t len, struct iovec *dst,
                   unsigned max)
{
    unsigned used = 0;
    char *at = NULL;

    for (unsigned i = 0; i < cnt && used < max && len > 0; i++) {
        size_t n = part(&iov[i], &off, len, &at);
        if (n == 0)
            continue;
        dst[used++] = (struct iovec){at, n};
        len -= n;
    }
    return used;
}
