/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost-user/vu-ring.h"

#include <errno.h>
#include <string.h>

#include "virtiofsd/base/counters.h"

/* Single accesses to memory that the guest shares: the compiler may neither repeat nor split
 * them. */
#define shared_load(p)     __atomic_load_n(p, __ATOMIC_RELAXED)
#define shared_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)

/* Orders a store before a later load of another place. */
static inline void full_fence(void)
{
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan" /* the other side is no thread that it could see */
#endif
    atomic_thread_fence(memory_order_seq_cst);
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

struct vu_chain *vu_chain_new(struct vu_queue *queue, const struct chain_ops *ops)
{
    struct vu_chain *ch = g_new0(struct vu_chain, 1);
    ch->c.ops = ops;
    ch->queue = queue;
    ch->iov = ch->small;
    ch->cap = VU_CHAIN_SMALL;
    return ch;
}

void vu_chain_free(struct vu_chain *ch)
{
    vu_mem_unref(ch->mem);
    if (ch->iov != ch->small)
        g_free(ch->iov);
    g_free(ch);
}

void vu_chain_clear(struct vu_chain *ch)
{
    vu_mem_unref(ch->mem);
    ch->mem = NULL;
    if (G_UNLIKELY(ch->cap > VU_INDIRECT_MIN)) {
        g_free(ch->iov);
        ch->iov = ch->small;
        ch->cap = VU_CHAIN_SMALL;
    }
}

int vu_ring_locate(const struct vu_mem *mem, unsigned num, uint64_t desc, uint64_t avail,
                   uint64_t used, struct vu_ring_parts *out)
{
    if (desc % 16 || avail % 2 || used % 4)
        return -EINVAL;
    /* Both rings end with the other side's event index. */
    struct vu_ring_parts p = {
        vu_mem_uaddr(mem, desc, num * sizeof(struct vring_desc)),
        vu_mem_uaddr(mem, avail, sizeof(struct vring_avail) + (num + 1) * sizeof(uint16_t)),
        vu_mem_uaddr(mem, used,
                     sizeof(struct vring_used) + num * sizeof(struct vring_used_elem) +
                         sizeof(uint16_t)),
    };
    if (!p.desc || !p.avail || !p.used)
        return -EFAULT;
    /* The host addresses need it too: a region may start at an odd offset of its file. */
    if ((uintptr_t)p.desc % 16 || (uintptr_t)p.avail % 2 || (uintptr_t)p.used % 4)
        return -EINVAL;
    *out = p;
    return 0;
}

/* ---- taking ---- */

static void grow(struct vu_chain *ch)
{
    unsigned cap = MIN(ch->cap * 4, VU_CHAIN_MAX);
    if (ch->iov == ch->small) {
        ch->iov = g_new(struct iovec, cap);
        memcpy(ch->iov, ch->small, sizeof(ch->small));
    } else {
        ch->iov = g_renew(struct iovec, ch->iov, cap);
    }
    ch->cap = cap;
}

/* Add [@ptr, @ptr + @len), joined to the segment before it where they touch. */
static inline int add_piece(struct vu_chain *ch, void *ptr, size_t len, bool write)
{
    unsigned *cnt = write ? &ch->c.out_cnt : &ch->c.in_cnt;
    size_t *sum = write ? &ch->c.out_len : &ch->c.in_len;
    unsigned n = ch->c.in_cnt + ch->c.out_cnt;

    *sum += len;
    if (*cnt) {
        struct iovec *last = &ch->iov[n - 1];
        if ((uint8_t *)last->iov_base + last->iov_len == ptr) {
            last->iov_len += len;
            return 0;
        }
    }
    if (G_UNLIKELY(n == ch->cap)) {
        if (n == VU_CHAIN_MAX)
            return -1;
        grow(ch);
    }
    ch->iov[n] = (struct iovec){ptr, len};
    ++*cnt;
    return 0;
}

/* Whether all of [@gpa, @gpa + @len) is in the table. Adjacent regions are as good as one. */
static bool all_mapped(struct vu_avail *a, uint64_t gpa, uint64_t len)
{
    uint64_t room;
    while (len > 0) {
        if (!vu_mem_gpa(a->mem, gpa, &a->hint, &room))
            return false;
        if (len <= room)
            return true;
        len -= room;
        if (__builtin_add_overflow(gpa, room, &gpa))
            return false;
    }
    return true;
}

/* What is not in one region. */
static int add_across(struct vu_avail *a, struct vu_chain *ch, uint64_t gpa, uint64_t len,
                      bool write)
{
    if (!all_mapped(a, gpa, len)) {
        ch->c.unmapped = true;
        return 0;
    }
    while (len > 0) {
        uint64_t room = 0;
        void *ptr = vu_mem_gpa(a->mem, gpa, &a->hint, &room);
        size_t n = MIN(len, room);
        if (add_piece(ch, ptr, n, write) < 0)
            return -1;
        gpa += n;
        len -= n;
    }
    return 0;
}

/* Add what one descriptor describes. */
static inline int add_segment(struct vu_avail *a, struct vu_chain *ch, uint64_t gpa, uint64_t len,
                              bool write)
{
    uint64_t room;
    void *ptr = vu_mem_gpa(a->mem, gpa, &a->hint, &room);
    if (G_LIKELY(ptr && len <= room))
        return add_piece(ch, ptr, len, write);
    return add_across(a, ch, gpa, len, write);
}

static struct vring_desc load_desc(const struct vring_desc *d)
{
    /* Two loads: the address, and the length with flags and next. */
    uint64_t addr = shared_load((const uint64_t *)(const void *)&d->addr);
    uint64_t rest = shared_load((const uint64_t *)(const void *)&d->len);
    return (struct vring_desc){addr, (uint32_t)rest, (uint16_t)(rest >> 32),
                               (uint16_t)(rest >> 48)};
}

/* A descriptor that holds data. Returns NULL or what is wrong. */
static inline const char *take_data(struct vu_avail *a, struct vu_chain *ch,
                                    const struct vring_desc *d, bool *writing)
{
    bool write = d->flags & VRING_DESC_F_WRITE;
    if (d->len == 0)
        return NULL;
    if (*writing && !write)
        return "readable segment after a writable one";
    *writing = write;
    return add_segment(a, ch, d->addr, d->len, write) < 0 ? "too many segments" : NULL;
}

/* Copy an indirect table, piece by piece where it crosses regions. */
static bool copy_table(struct vu_avail *a, uint64_t gpa, uint32_t len)
{
    uint8_t *dst = (uint8_t *)a->table;
    while (len > 0) {
        uint64_t room;
        const void *src = vu_mem_gpa(a->mem, gpa, &a->hint, &room);
        if (!src)
            return false;
        size_t n = MIN(len, room);
        memcpy(dst, src, n);
        dst += n;
        gpa += n;
        len -= (uint32_t)n;
    }
    __asm__ volatile("" ::: "memory"); /* no second look at the guest's copy */
    return true;
}

/* VIRTIO 1.2, 2.7.5.3 "Indirect Descriptors". The WRITE flag of the referring one means nothing. */
static const char *take_indirect(struct vu_avail *a, struct vu_chain *ch,
                                 const struct vring_desc *d, bool *writing)
{
    unsigned cnt = d->len / sizeof(struct vring_desc);
    unsigned max = MIN(MAX(a->num, VU_INDIRECT_MIN), VU_CHAIN_MAX);

    if (!a->indirect)
        return "indirect descriptor without the feature";
    if (d->flags & VRING_DESC_F_NEXT)
        return "indirect descriptor with a next one";
    if (cnt == 0 || d->len % sizeof(struct vring_desc) || cnt > max)
        return "bad length of an indirect table";
    if (cnt > a->table_cap) {
        a->table_cap = MAX(cnt, 64);
        g_free(a->table);
        a->table = g_new(struct vring_desc, a->table_cap);
    }
    if (!copy_table(a, d->addr, d->len))
        return "indirect table outside of memory";

    unsigned i = 0;
    for (unsigned steps = 0; steps < cnt; steps++) {
        const struct vring_desc *e = &a->table[i];
        if (e->flags & VRING_DESC_F_INDIRECT)
            return "nested indirect table";
        const char *why = take_data(a, ch, e, writing);
        if (why || !(e->flags & VRING_DESC_F_NEXT))
            return why;
        i = e->next;
        if (i >= cnt)
            return "next descriptor outside of the indirect table";
    }
    return "loop in an indirect table";
}

/* Follow the chain from ch->head. Returns NULL or what is wrong. */
static const char *walk(struct vu_avail *a, struct vu_chain *ch)
{
    bool writing = false;
    unsigned i = ch->head;
    for (unsigned steps = 0; steps < a->num; steps++) {
        struct vring_desc d = load_desc(&a->at.desc[i]);
        if (d.flags & VRING_DESC_F_INDIRECT)
            return take_indirect(a, ch, &d, &writing);
        const char *why = take_data(a, ch, &d, &writing);
        if (why || !(d.flags & VRING_DESC_F_NEXT))
            return why;
        i = d.next;
        if (i >= a->num)
            return "next descriptor outside of the table";
    }
    return "loop in the descriptor table";
}

static void chain_start(struct vu_chain *ch, uint16_t head)
{
    ch->head = head;
    ch->c.in_cnt = ch->c.out_cnt = 0;
    ch->c.in_len = ch->c.out_len = 0;
    ch->c.unmapped = false;
    ch->c.at_once = false;
    ch->c.note.op = ch->c.note.what = 0;
}

/* Whether the driver has no head left, by the used index that it sees, which is for counting only:
 * it may have written anything there. */
static bool is_full(const struct vu_avail *a)
{
    return (uint16_t)(a->shadow_idx - shared_load(&a->at.used->idx)) >= a->num;
}

/* Returns NULL or what is wrong. */
static G_GNUC_NO_INLINE const char *take_head(struct vu_avail *a, struct vu_chain *ch,
                                              uint16_t head)
{
    if (head >= a->num)
        return "head outside of the table";
    if (shared_load(&a->busy[head]))
        return "head offered twice";
    chain_start(ch, head);
    const char *why = walk(a, ch);
    if (why)
        return why;
    shared_store(&a->busy[head], 1);
    ch->mem = vu_mem_ref(a->mem);
    ch->c.in = ch->iov;
    ch->c.out = ch->iov + ch->c.in_cnt;
    ch->c.ring = a->num;
    return NULL;
}

int vu_avail_again(struct vu_avail *a, struct vu_chain *ch, uint16_t head, const char **why)
{
    *why = take_head(a, ch, head);
    return *why ? -1 : 0;
}

int vu_avail_pop(struct vu_avail *a, struct vu_chain *ch, const char **why)
{
    if (a->next == a->shadow_idx) {
        uint16_t idx = __atomic_load_n(&a->at.avail->idx, __ATOMIC_ACQUIRE);
        if (a->next == idx)
            return 0;
        if ((uint16_t)(idx - a->next) > a->num) {
            *why = "available index too far ahead";
            return -1;
        }
        a->shadow_idx = idx;
        if (G_UNLIKELY(is_full(a)) && a->full)
            counter_add(a->full, 1);
    }
    uint16_t head = shared_load(&a->at.avail->ring[a->next & (a->num - 1)]);
    *why = take_head(a, ch, head);
    if (*why)
        return -1;
    a->next++;
    return 1;
}

bool vu_avail_pending(const struct vu_avail *a)
{
    return a->next != a->shadow_idx || shared_load(&a->at.avail->idx) != a->next;
}

static uint16_t *avail_event(const struct vu_avail *a)
{
    return (uint16_t *)(void *)&a->at.used->ring[a->num];
}

bool vu_avail_kick_off(struct vu_avail *a)
{
    /* With event indexes the old one does it: it lies behind all that comes. */
    if (G_LIKELY(a->event_idx))
        return false;
    shared_store(&a->at.used->flags, VRING_USED_F_NO_NOTIFY);
    full_fence();
    return true;
}

bool vu_avail_kick_on(struct vu_avail *a)
{
    if (a->event_idx)
        shared_store(avail_event(a), a->next);
    else
        shared_store(&a->at.used->flags, 0);
    /* Store before load: either we see the new request, or the guest sees that it must kick. */
    full_fence();
    return vu_avail_pending(a);
}

/* ---- answering ---- */

void vu_used_push(struct vu_used *u, uint8_t *busy, uint16_t head, uint32_t len)
{
    struct vring_used_elem *e = &u->ring->ring[u->idx & (u->num - 1)];
    shared_store(&busy[head], 0);
    shared_store(&e->id, head);
    shared_store(&e->len, len);
    u->idx++;
    __atomic_store_n(&u->ring->idx, u->idx, __ATOMIC_RELEASE);
}

bool vu_used_should_signal(struct vu_used *u)
{
    /* Store before load: either the guest sees the answer, or we see that it wants a signal. */
    full_fence();
    if (!u->event_idx)
        return !(shared_load(&u->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
    uint16_t event = shared_load(&u->avail->ring[u->num]);
    uint16_t old = u->signalled;
    bool known = u->signalled_valid;
    u->signalled = u->idx;
    u->signalled_valid = true;
    return !known || vring_need_event(event, u->idx, old);
}
