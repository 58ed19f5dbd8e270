/* SPDX-License-Identifier: BSD-3-Clause
 * Guest memory that the front-end keeps to itself: the commonest mistake in starting a virtual
 * machine with such a device, after which the guest hangs at its first request and nobody says a
 * word. QEMU with memory that has no file, or (11.1) a private mapping of one, sends no memory at
 * all; QEMU 7.2 sends the file of a private mapping, which stays as it was, mostly zero. */
#include <string.h>

#include "vhost-user/vu-priv.h"
#include "virtiofsd/base/log.h"

/* Of a region, from its start: firmware or kernel are there. */
#define LOOK_BYTES ((size_t)2 << 20)
#define LOOK_STEP  4096u
#define LOOK_AT    8u /* regions */

void vu_unshared_tell(struct vu_dev *dev, const char *sign)
{
    if (atomic_exchange(&dev->told_unshared, true))
        return;
    log_warn("the guest's memory is not shared with us (%s), and what lies there cannot be served: "
             "start QEMU with share=on for each memory backend, as in -object memory-backend-memfd,"
             "id=mem,size=SIZE,share=on -machine memory-backend=mem, give <source type='memfd'/> "
             "<access mode='shared'/> in libvirt's <memoryBacking>, Cloud Hypervisor --memory "
             "size=SIZE,shared=on",
             sign);
}

static bool is_zero(const uint8_t *p, size_t len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* Whether the guest's memory begins with nothing but zeroes, but for what we write ourselves. */
static bool region_is_zero(const struct vu_region *r, const struct vu_queue *q)
{
    const uint8_t *ours = (const uint8_t *)q->avail.at.used;
    const uint8_t *end = (const uint8_t *)&q->avail.at.used->ring[q->avail.num] + sizeof(uint16_t);
    size_t len = MIN((size_t)r->size, LOOK_BYTES);

    for (size_t at = 0; at < len; at += LOOK_STEP) {
        const uint8_t *p = r->host + at;
        size_t n = MIN(len - at, LOOK_STEP);
        if (!(p < end && ours < p + n) && !is_zero(p, n))
            return false;
    }
    return true;
}

static bool ring_is_zero(const struct vu_avail *a)
{
    return is_zero((const uint8_t *)a->at.desc, a->num * sizeof(struct vring_desc)) &&
           is_zero((const uint8_t *)a->at.avail,
                   sizeof(struct vring_avail) + a->num * sizeof(uint16_t));
}

void vu_unshared_look(struct vu_queue *q)
{
    const struct vu_avail *a = &q->avail;
    const struct vu_mem *mem = a->mem;

    if (!mem || atomic_load(&q->dev->told_unshared) || !ring_is_zero(a))
        return;
    for (unsigned i = 0; i < MIN(mem->cnt, LOOK_AT); i++) {
        if (!region_is_zero(&mem->region[i], q))
            return;
    }
    vu_unshared_tell(q->dev, "it was told of a request, and all that is here is zero");
}
