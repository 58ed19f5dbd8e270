/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/tree/tree.h"

#define YOUNG_NS      2000000000LL
#define NS_PER_SECOND 1000000000LL

bool tree_node_is_young(const struct tree_node *node)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now); /* late by a few ms: only more are young */
    uint64_t ns = (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
    return (int64_t)(ns - (uint64_t)node->btime_ns) < YOUNG_NS;
}

int64_t tree_btime(const struct statx *stx)
{
    if (!(stx->stx_mask & STATX_BTIME))
        return 0;
    /* Unsigned: a file system may say any year. */
    return (int64_t)((uint64_t)stx->stx_btime.tv_sec * NS_PER_SECOND + stx->stx_btime.tv_nsec);
}
