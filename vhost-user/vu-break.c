/* SPDX-License-Identifier: BSD-3-Clause
 * A device that cannot go on. */
/* #syscalls write */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "vhost-user/vu-priv.h"
#include "virtiofsd/base/log.h"

void vu_dev_break(struct vu_dev *dev, const char *fmt, ...)
{
    char text[256];
    uint64_t one = 1;
    va_list ap;

    if (atomic_exchange(&dev->broken, true))
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    /* Zeroes in lost memory look like a broken ring: name the cause. */
    log_error("device stopped: %s: %s", dev->cfg.name,
              atomic_load(&dev->lost.hit) ? "the guest's memory file was truncated" : text);
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        vu_queue_wake(&dev->queues[i]);
    (void)!write(dev->wake_fd, &one, sizeof(one));
}
