/* SPDX-License-Identifier: BSD-3-Clause
 * A tree in memory, read-only, some of whose reads are late: tree_mem_over().
 *
 *   now      there, TREE_MEM_SIZE bytes, byte n is tree_mem_byte(n)
 *   late     its data come TREE_MEM_MS after they are asked for, each time
 *   held     they come when a test says so, or never
 *   mounted  the same, on a mount of its own
 *   lost     they are not to be had: EIO
 *   evicted  they come at once, and are gone when they are read
 *   dir/     a directory, with a file "inner" and a symbolic link "link" to "inner" */
#pragma once

#include "tests/unit/tree-wait.h"

#include <time.h>

#define TREE_MEM_SIZE 100000
#define TREE_MEM_MS   3

static inline unsigned char tree_mem_byte(uint64_t n)
{
    return (unsigned char)(n * 7 + (n >> 8));
}

/* When all files were changed last; a test may set it before it looks one up. */
extern struct timespec tree_mem_changed;

/* Of the tree that was made last. */
struct tree_waits *tree_mem_waits(void);
