/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fe-ring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/lib/fe-time.h"

int fe_ring_init(struct fe_ring *r, struct fe_mem *m, unsigned region, unsigned size)
{
    *r = (struct fe_ring){.mem = m, .size = size, .event_idx = true};
    r->desc_gpa = fe_mem_alloc(m, region, size * sizeof(struct vring_desc), 16);
    r->avail_gpa = fe_mem_alloc(m, region, 6 + 2 * size, 2);
    r->used_gpa = fe_mem_alloc(m, region, 6 + sizeof(struct vring_used_elem) * size, 4);
    r->desc = fe_mem_ptr(m, r->desc_gpa);
    r->avail = fe_mem_ptr(m, r->avail_gpa);
    r->used = fe_mem_ptr(m, r->used_gpa);
    r->used_event = &r->avail->ring[size];
    r->avail_event = (volatile uint16_t *)&r->used->ring[size];
    r->kick = eventfd(0, EFD_CLOEXEC);
    r->call = r->call_w = eventfd(0, EFD_CLOEXEC);
    r->err = eventfd(0, EFD_CLOEXEC);
    if (r->kick < 0 || r->call < 0 || r->err < 0) {
        int e = -errno;
        fe_ring_free(r);
        return e;
    }
    return 0;
}

void fe_ring_free(struct fe_ring *r)
{
    if (r->call_w >= 0 && r->call_w != r->call)
        close(r->call_w);
    const int fds[] = {r->kick, r->call, r->err};
    for (unsigned i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    r->kick = r->call = r->call_w = r->err = -1;
}

void fe_ring_reset(struct fe_ring *r)
{
    memset(r->desc, 0, r->size * sizeof(struct vring_desc));
    memset(r->avail, 0, 6 + 2 * r->size);
    memset(r->used, 0, 6 + sizeof(struct vring_used_elem) * r->size);
    r->avail_idx = r->avail_shown = r->used_seen = 0;
}

int fe_ring_use_pipe(struct fe_ring *r)
{
    int p[2];
    if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    close(r->call);
    r->call = p[0];
    r->call_w = p[1];
    return 0;
}

void fe_ring_kick(struct fe_ring *r)
{
    const uint64_t one = 1;
    r->kicks++;
    (void)!write(r->kick, &one, sizeof(one));
}

void fe_ring_publish(struct fe_ring *r)
{
    uint16_t old = r->avail_shown, now = r->avail_idx;
    if (old == now)
        return;
    __atomic_store_n(&r->avail->idx, now, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    r->avail_shown = now;
    bool need = r->event_idx ? (uint16_t)(now - *r->avail_event - 1) < (uint16_t)(now - old)
                             : !(*(volatile uint16_t *)&r->used->flags & VRING_USED_F_NO_NOTIFY);
    if (need)
        fe_ring_kick(r);
}

bool fe_ring_arm(struct fe_ring *r)
{
    *(volatile uint16_t *)r->used_event = r->used_seen;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) != r->used_seen;
}

/* Read the call descriptor once: an eventfd gives a count, a pipe 8 bytes for each call. */
static void drain_call(struct fe_ring *r)
{
    uint64_t v[64];
    ssize_t n = read(r->call, v, sizeof(v));
    if (n < 0)
        return;
    r->calls += r->call == r->call_w ? v[0] : (uint64_t)n / 8;
}

int fe_ring_wait(struct fe_ring *r, int ms)
{
    int64_t end = fe_now_ms() + (ms >= 0 ? ms : FE_TIMEOUT_MS);
    while (!fe_ring_arm(r)) {
        if (ms >= 0 || r->call != r->call_w) {
            int e = fe_poll(r->call, POLLIN, (int)(end - fe_now_ms()));
            if (e < 0)
                return e;
        }
        drain_call(r);
    }
    return 0;
}

uint64_t fe_ring_take_calls(struct fe_ring *r)
{
    uint64_t before = r->calls;
    while (fe_poll(r->call, POLLIN, 0) == 0)
        drain_call(r);
    return r->calls - before;
}
