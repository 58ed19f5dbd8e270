/* SPDX-License-Identifier: BSD-3-Clause
 * Which files may use the DAX window, by the operator's policy and what would fail or be slower. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct dax_window;

enum fuse_dax_policy { FUSE_DAX_AUTO, FUSE_DAX_ALWAYS, FUSE_DAX_NEVER };

struct fuse_dax_config {
    struct dax_window *window; /* NULL: none; not owned */
    enum fuse_dax_policy policy;
    uint64_t min_size;          /* bytes: smaller files stay off the window (policy auto) */
    const char *const *include; /* NULL-terminated shell patterns of names, or NULL: all */
    const char *const *exclude;
};
