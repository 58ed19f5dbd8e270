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

size_t iov_to_buf(const struct iovec *iov, unsigned cnt, size_t off, void *buf, size_t len)
{
    size_t done = 0;
    for (unsigned i = 0; i < cnt && done < len; i++) {
        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        size_t n = iov[i].iov_len - off;
        if (n > len - done)
            n = len - done;
        memcpy((char *)buf + done, (const char *)iov[i].iov_base + off, n);
        done += n;
        off = 0;
    }
    return done;
}

size_t iov_from_buf(const struct iovec *iov, unsigned cnt, size_t off, const void *buf, size_t len)
{
    size_t done = 0;
    for (unsigned i = 0; i < cnt && done < len; i++) {
        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        size_t n = iov[i].iov_len - off;
        if (n > len - done)
            n = len - done;
        memcpy((char *)iov[i].iov_base + off, (const char *)buf + done, n);
        done += n;
        off = 0;
    }
    return done;
}

unsigned iov_slice(const struct iovec *iov, unsigned cnt, size_t off, size_t len, struct iovec *dst,
                   unsigned max)
{
    unsigned n = 0;
    for (unsigned i = 0; i < cnt && n < max && len > 0; i++) {
        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        size_t part = iov[i].iov_len - off;
        if (part > len)
            part = len;
        dst[n].iov_base = (char *)iov[i].iov_base + off;
        dst[n].iov_len = part;
        n++;
        len -= part;
        off = 0;
    }
    return n;
}
