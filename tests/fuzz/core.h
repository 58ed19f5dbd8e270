/* SPDX-License-Identifier: BSD-3-Clause
 * The real core for targets of protocols: in a private, otherwise read-only mount namespace. Where
 * something cannot be had the program ends as a skipped test. */
#pragma once

#include <stddef.h>

#include "virtiofsd/fs/fs.h"
#include "virtiofsd/tree/host.h"

/* Enter the namespace; what may be written is the new directory @dir. Logs are off. */
void fuzz_jail(char *dir, size_t size);
/* The tree of the directory @share. */
struct tree *fuzz_tree(const char *share, const struct host_policy *policy, GError **err);
/* A core over the tree of fuse-tree.h, which is made at @share. */
struct fs *fuzz_core(const char *share);
