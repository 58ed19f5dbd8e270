/* SPDX-License-Identifier: BSD-3-Clause
 * Versions of a file, told apart by its stamps and size. */
#include "virtiofsd/fs/fs-priv.h"

#include <time.h>

/* Time stamps come from a clock that may lag this much: a file changed that lately can change
 * again and keep its stamps. So it can in the time that its file system cannot tell apart. */
#define COARSE_NS  10000000LL
#define EXFAT_NS   10000000LL   /* of its stamps */
#define SECONDS_NS 2000000000LL /* of stamps without a fraction: FAT; one of ext2, and others */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v;
    h *= 0x9fb21c651e98df25u;
    return h ^ (h >> 32);
}

/* A guest may set any year: what does not fit becomes the end of time. */
static int64_t ns_of(int64_t sec, int64_t nsec)
{
    int64_t ns;
    if (__builtin_mul_overflow(sec, (int64_t)1000000000, &ns) ||
        __builtin_add_overflow(ns, nsec, &ns))
        return sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

/* Digest of what changes when a file does. */
static uint64_t sum(int64_t mtime, int64_t ctime, int64_t size)
{
    uint64_t h =
        mix(mix(mix(0x243f6a8885a308d3u, (uint64_t)mtime), (uint64_t)ctime), (uint64_t)size);
    return h ? h : 1;
}

/* For how long after @ctime, which no utimensat(2) sets, the next change might not show. */
static int64_t unsure_ns(int64_t ctime)
{
    if (G_LIKELY(ctime % EXFAT_NS != 0))
        return COARSE_NS;
    return COARSE_NS + (ctime % 1000000000 != 0 ? EXFAT_NS : SECONDS_NS);
}

/* The same; 0 when the stamps are so young that the next change might not show in them. */
static uint64_t digest(int64_t mtime, int64_t ctime, int64_t size)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME_COARSE, &now); /* late by a few ms: only more are too young */
    if (MAX(mtime, ctime) >= ns_of(now.tv_sec, now.tv_nsec) - unsure_ns(ctime))
        return 0;
    return sum(mtime, ctime, size);
}

uint64_t fs_digest(const struct statx *stx)
{
    int64_t mtime = ns_of(stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec);
    int64_t ctime = ns_of(stx->stx_ctime.tv_sec, stx->stx_ctime.tv_nsec);

    /* What a link says never changes, so that a second change in one tick cannot be missed. */
    return S_ISLNK(stx->stx_mode) ? sum(mtime, ctime, (int64_t)stx->stx_size)
                                  : digest(mtime, ctime, (int64_t)stx->stx_size);
}

uint64_t fs_digest_stat(const struct stat *st)
{
    return digest(ns_of(st->st_mtim.tv_sec, st->st_mtim.tv_nsec),
                  ns_of(st->st_ctim.tv_sec, st->st_ctim.tv_nsec), st->st_size);
}
