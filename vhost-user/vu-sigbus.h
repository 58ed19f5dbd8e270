/* SPDX-License-Identifier: BSD-3-Clause
 * Memory files that shrink under us.
 *
 * Whoever holds a guest's memory file can truncate it; a load or store beyond its new end is then
 * a SIGBUS in this process. For addresses in registered ranges the handler puts a private zero
 * page there, marks the device, and lets the access go on; all other addresses get what they had
 * before us. Everything the handler touches is lock-free. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* How a device learns of it. */
struct vu_sigbus_sink {
    atomic_bool hit;
    int wake_fd; /* eventfd written after hit was set; -1 = none */
};

#define VU_SIGBUS_SLOTS 2048

/* Install the handler, unless it is the process's already. */
void vu_sigbus_install(void);

/* Watch [@base, @base + @len), mapped with pages of @page bytes. Returns a slot, or -ENOSPC. */
int vu_sigbus_add(void *base, size_t len, size_t page, struct vu_sigbus_sink *sink);
/* Call before the range is unmapped. */
void vu_sigbus_remove(unsigned slot);
