/* SPDX-License-Identifier: BSD-3-Clause
 * Which tree is served. */
#pragma once

#include <glib.h>

struct options;
struct sb_result;

/* Make the tree that the options say, of what the sandbox left to us, which is taken over (on
 * failure, too). NULL with @err set to one line that says what to do. */
typedef struct tree *daemon_tree_fn(const struct options *o, const struct sb_result *sb,
                                    GError **err);
daemon_tree_fn daemon_tree;
