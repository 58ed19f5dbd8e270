/* SPDX-License-Identifier: BSD-3-Clause
 * Pretend to be an older kernel: the calls for extended attributes that take a directory (Linux
 * 6.13) are unknown from now on, to this process and its children. */
#pragma once

/* Where the environment says OLD_KERNEL=1; ends the test as skipped where there are no filters. */
void old_kernel_if_asked(void);
