/* SPDX-License-Identifier: BSD-3-Clause
 * Trees that take the place of the host's directory, @host, and own it. TREE_OVER is defined as one
 * of these by what is built over it; else the host's serves. */
#pragma once

#include "virtiofsd/tree/tree.h"

#ifndef TREE_OVER
#define TREE_OVER(host) (host)
#endif

/* In memory: tree-mem.h. NULL for NULL, as the next. */
struct tree *tree_mem_over(struct tree *host);
/* The host's directory, all of whose reads, copies and mappings are late. Now and then what was
 * fetched is gone again before it is read. One at a time. */
struct tree *tree_late_over(struct tree *host);
