/* SPDX-License-Identifier: BSD-3-Clause
 * Which files may use the DAX window, by the operator's policy and what would fail or be slower.
 *
 * Linux has no way back: when a mapping is refused, read() fails and an access to memory is SIGBUS.
 * So FUSE_ATTR_DAX is shown only for files that can surely be mapped: not on layered or pseudo file
 * systems, and open for writing where the front-end takes nothing less. A guest mounted with
 * dax=always asks for every file; what cannot be mapped then is an error and a line in the log.
 *
 * While a program is mapped with a descriptor that may write, the host cannot execute it (ETXTBSY),
 * and a program that the host is executing cannot be mapped so. */
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
