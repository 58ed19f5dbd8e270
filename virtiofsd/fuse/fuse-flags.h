/* SPDX-License-Identifier: BSD-3-Clause
 * Names of what INIT negotiates, for people who read the log. */
#pragma once

#include <stdint.h>

/* The names of @flags as the kernel's header has them (FUSE_ASYNC_READ: "async_read"), with blanks
 * between; what has none stands at the end as one number. The caller frees it. */
char *fuse_flags_text(uint64_t flags);
