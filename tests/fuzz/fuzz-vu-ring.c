/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: walking descriptors. The input is a guest's memory: a byte of features, a byte that
 * says how often to look, then the ring (16 descriptors, available part) and what follows it.
 *
 * Whatever it is, segments lie in mapped memory, sums are right, and the walk ends. */
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/target.h"
#include "vhost-user/vu-ring.h"

enum { NUM = 16, REGION = 0x4000, REGIONS = 3, AVAIL = NUM * 16, USED = REGION - 0x100 };

static struct vu_mem *mem;
static struct vu_sigbus_sink sink = {.wake_fd = -1};

/* Two neighbours and a lone one, small enough for two-byte addresses to hit and miss. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct vu_wire_region regions[REGIONS] = {
        {0, REGION, 0, 2 * REGION},
        {REGION, REGION, REGION, 0},
        {3 * REGION, REGION, 3 * REGION, REGION}};
    int fd = memfd_create("guest", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, REGIONS * REGION) < 0)
        abort();
    for (unsigned i = 0; i < REGIONS; i++) {
        struct vu_mem *more;
        if (vu_mem_add(mem, &regions[i], fd, &sink, &more) < 0)
            abort();
        vu_mem_unref(mem);
        mem = more;
    }
    close(fd);
    return 0;
}

static bool in_memory(const struct iovec *v)
{
    for (unsigned i = 0; i < mem->cnt; i++) {
        const uint8_t *host = mem->region[i].host, *p = v->iov_base;
        if (p >= host && p < host + REGION && v->iov_len <= (size_t)(host + REGION - p))
            return true;
    }
    return false;
}

static void check(const struct iovec *iov, unsigned cnt, size_t sum)
{
    size_t len = 0;
    for (unsigned i = 0; i < cnt; i++) {
        /* Neighbours may have been mapped side by side, and joined. */
        if (iov[i].iov_len == 0 || (iov[i].iov_len <= REGION && !in_memory(&iov[i])))
            abort();
        len += iov[i].iov_len;
    }
    if (len != sum)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t busy[NUM] = {0}, *base = mem->region[0].host;
    if (size < 2)
        return 0;
    for (unsigned i = 0; i < mem->cnt; i++)
        memset(mem->region[i].host, 0, REGION);
    memcpy(base, data + 2, MIN(size - 2, USED));

    struct vring_avail *avail = (struct vring_avail *)(void *)(base + AVAIL);
    struct vring_used *used = (struct vring_used *)(void *)(base + USED);
    struct vu_avail a = {.at = {(struct vring_desc *)(void *)base, avail, used},
                         .mem = mem,
                         .num = NUM,
                         .indirect = data[0] & 1,
                         .event_idx = data[0] & 2,
                         .busy = busy};
    struct vu_used u = {.ring = used, .avail = avail, .num = NUM, .event_idx = data[0] & 2};
    struct vu_chain *ch = vu_chain_new(NULL, NULL);
    const char *why;

    for (unsigned i = 0; i <= data[1] && vu_avail_pop(&a, ch, &why) > 0; i++) {
        check(ch->c.in, ch->c.in_cnt, ch->c.in_len);
        check(ch->c.out, ch->c.out_cnt, ch->c.out_len);
        if (ch->c.in_cnt + ch->c.out_cnt > VU_CHAIN_MAX || ch->head >= NUM)
            abort();
        if (!(data[0] & 4))
            vu_used_push(&u, busy, ch->head, (uint32_t)ch->c.out_len);
        vu_used_should_signal(&u);
        vu_avail_kick_on(&a);
        vu_chain_clear(ch);
    }
    vu_chain_free(ch);
    g_free(a.table);
    return 0;
}
