/* SPDX-License-Identifier: BSD-3-Clause
 * Random numbers from the kernel; GLib's opens a file for them. */
#pragma once

#include <stddef.h>

/* Fill @buf. Does not wait: right after the machine's start they may be easier to guess. */
void random_bytes(void *buf, size_t size);
