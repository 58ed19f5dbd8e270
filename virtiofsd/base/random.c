/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls getrandom */
#include "virtiofsd/base/random.h"

#include <glib.h>
#include <sys/random.h>
#include <sys/types.h>

#ifndef GRND_INSECURE
#define GRND_INSECURE 4 /* Linux 5.6 */
#endif

void random_bytes(void *buf, size_t size)
{
    /* At most 256 bytes come at once, or none. */
    for (char *p = buf; size > 0;) {
        size_t part = MIN(size, (size_t)256);
        if (getrandom(p, part, GRND_INSECURE) < 0 && getrandom(p, part, 0) < 0)
            g_error("the kernel has no random numbers");
        p += part;
        size -= part;
    }
}
