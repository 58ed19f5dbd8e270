/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptors that whoever started us left open. */
/* #syscalls:early close_range */
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sandbox.h"

/* The smallest of @keep that is not below @from; -1 when there is none. */
static int next_kept(const int *keep, unsigned n, int from)
{
    int best = -1;
    for (unsigned i = 0; i < n; i++) {
        if (keep[i] >= from && (best < 0 || keep[i] < best))
            best = keep[i];
    }
    return best;
}

void sb_close_inherited(const int *keep, unsigned n)
{
    int from = 3;
    for (int k; (k = next_kept(keep, n, from)) >= 0 && k < INT_MAX; from = k + 1) {
        if (k > from)
            syscall(SYS_close_range, (unsigned)from, (unsigned)k - 1, 0u);
    }
    syscall(SYS_close_range, (unsigned)from, ~0u, 0u);
}
