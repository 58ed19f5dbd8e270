/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fe-bridge.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/lib/fe-time.h"

#define HDR_IN  ((uint32_t)sizeof(struct fuse_in_header))
#define HDR_OUT ((uint32_t)sizeof(struct fuse_out_header))
/* A WRITE's payload and a READ's begin on a page, as in a guest. */
#define LEAD_IN  (HDR_IN + (uint32_t)sizeof(struct fuse_write_in))
#define LEAD_OUT HDR_OUT
/* The largest other request, SETXATTR, has 64 KiB of value, and names. */
#define PAGE_MAX  (64u << 10)
#define ROOM      (FE_BRIDGE_DATA + PAGE_MAX)
#define STEP      (PAGE_MAX + ROOM) /* from one slot's buffer to the next */
#define PIECE     4096u             /* of a payload: a guest's page */
#define TAB_DESCS (2 * (2 + ROOM / PIECE + 1))
#define TAB_SIZE  (TAB_DESCS * (uint32_t)sizeof(struct vring_desc))

int fe_bridge_mem(struct fe_mem *m)
{
    const uint64_t rings = 1u << 20, tables = FE_BRIDGE_SLOTS * (TAB_SIZE + 16);
    return fe_mem_init(m, rings + (tables + PAGE_MAX) / PAGE_MAX * PAGE_MAX,
                       (uint64_t)FE_BRIDGE_SLOTS * STEP, (uint64_t)FE_BRIDGE_SLOTS * STEP);
}

/* ---- slots ---- */

static struct fe_bridge_slot *take(struct fe_bridge *b)
{
    struct fe_bridge_slot *s = NULL;
    pthread_mutex_lock(&b->lock);
    while (b->nidle == 0 && !b->stop)
        pthread_cond_wait(&b->came_back, &b->lock);
    if (b->nidle > 0 && !b->stop)
        s = b->idle[--b->nidle];
    pthread_mutex_unlock(&b->lock);
    return s;
}

static void give(struct fe_bridge *b, struct fe_bridge_slot *s)
{
    pthread_mutex_lock(&b->lock);
    s->busy = false;
    b->idle[b->nidle++] = s;
    pthread_cond_broadcast(&b->came_back);
    pthread_mutex_unlock(&b->lock);
}

static void make_slots(struct fe_bridge *b)
{
    struct fe_mem *m = b->v->mem;
    for (unsigned i = 0; i < FE_BRIDGE_SLOTS; i++) {
        struct fe_bridge_slot *s = &b->slot[i];
        s->in_gpa = fe_mem_alloc(m, 1, STEP, PAGE_MAX) + PAGE_MAX - LEAD_IN;
        s->out_gpa = fe_mem_alloc(m, 2, STEP, PAGE_MAX) + PAGE_MAX - LEAD_OUT;
        s->tab_gpa = fe_mem_alloc(m, 0, TAB_SIZE, 16);
        s->in = fe_mem_ptr(m, s->in_gpa);
        s->out = fe_mem_ptr(m, s->out_gpa);
        b->idle[FE_BRIDGE_SLOTS - 1 - i] = s;
    }
    b->nidle = FE_BRIDGE_SLOTS;
}

/* ---- to the daemon ---- */

/* Describe @len bytes at @gpa in @d: @head bytes first, @args bytes, then pages. Returns how many
 * descriptors that took. */
static unsigned describe(struct vring_desc *d, uint64_t gpa, uint32_t len, uint32_t head,
                         uint32_t args, uint16_t flags)
{
    unsigned n = 0;
    for (uint32_t at = 0, piece; at < len; at += piece, n++) {
        piece = at < head ? head : at < head + args ? args : PIECE - (uint32_t)((gpa + at) % PIECE);
        piece = piece < len - at ? piece : len - at;
        d[n] = (struct vring_desc){.addr = gpa + at, .len = piece, .flags = flags};
    }
    return n;
}

/* Bytes of the arguments between header and pages. */
static uint32_t args_in(uint32_t opcode, uint32_t len)
{
    return opcode == FUSE_WRITE ? (uint32_t)sizeof(struct fuse_write_in) : len - HDR_IN;
}

static uint32_t args_out(uint32_t opcode, uint32_t room)
{
    bool pages = opcode == FUSE_READ || opcode == FUSE_READDIR || opcode == FUSE_READDIRPLUS ||
                 opcode == FUSE_READLINK;
    return pages || room < HDR_OUT ? 0 : room - HDR_OUT;
}

/* Send the @len bytes of @s. */
static void submit(struct fe_bridge *b, struct fe_bridge_slot *s, unsigned queue, uint32_t len)
{
    const struct fuse_in_header *h = (const struct fuse_in_header *)s->in;
    struct vring_desc *d = fe_mem_ptr(b->v->mem, s->tab_gpa);
    struct fe_ring *ring = &b->v->ring[queue];
    int room = fe_bridge_answer_room(s->in, len);
    s->opcode = h->opcode;
    s->unique = h->unique;
    s->queue = queue;
    s->room = room < 0 ? 0 : HDR_OUT + (uint32_t)room;
    s->since = fe_now_ms();
    unsigned n = describe(d, s->in_gpa, len, HDR_IN, args_in(s->opcode, len), 0);
    n += describe(d + n, s->out_gpa, s->room, HDR_OUT, args_out(s->opcode, s->room),
                  VRING_DESC_F_WRITE);
    for (unsigned i = 0; i + 1 < n; i++) {
        d[i].flags |= VRING_DESC_F_NEXT;
        d[i].next = (uint16_t)(i + 1);
    }
    unsigned head = (unsigned)(s - b->slot);
    if (queue == 0)
        pthread_mutex_lock(&b->hiprio);
    __atomic_store_n(&s->busy, true, __ATOMIC_RELEASE);
    fe_ring_desc(ring, head, s->tab_gpa, n * (uint32_t)sizeof(*d), VRING_DESC_F_INDIRECT, 0);
    fe_ring_push(ring, (uint16_t)head);
    fe_ring_publish(ring);
    if (queue == 0)
        pthread_mutex_unlock(&b->hiprio);
}

static bool forget(struct fe_bridge *b, const struct fuse_in_header *like, uint64_t nodeid,
                   uint64_t n)
{
    struct fe_bridge_slot *s = take(b);
    if (!s)
        return false;
    struct fuse_in_header h = *like;
    struct fuse_forget_in in = {.nlookup = n};
    h.opcode = FUSE_FORGET;
    h.nodeid = nodeid;
    h.len = HDR_IN + (uint32_t)sizeof(in);
    memcpy(s->in, &h, sizeof(h));
    memcpy(s->in + sizeof(h), &in, sizeof(in));
    b->forgotten++;
    submit(b, s, 0, h.len);
    return true;
}

/* The virtio driver asks the kernel for one at a time, /dev/fuse gives many. */
static bool forget_each(struct fe_bridge *b, const uint8_t *in, uint32_t len)
{
    struct fuse_in_header h;
    struct fuse_batch_forget_in batch;
    struct fuse_forget_one one;
    memcpy(&h, in, sizeof(h));
    memcpy(&batch, in + sizeof(h), sizeof(batch));
    uint32_t at = (uint32_t)(sizeof(h) + sizeof(batch));
    for (uint32_t i = 0; i < batch.count && at + sizeof(one) <= len;
         i++, at += (uint32_t)sizeof(one)) {
        memcpy(&one, in + at, sizeof(one));
        if (!forget(b, &h, one.nodeid, one.nlookup))
            return false;
    }
    return true;
}

/* Send on what was read into @s. Returns the slot for the next request: the same when this one is
 * done with already, NULL at the end. */
static struct fe_bridge_slot *pass_on(struct fe_bridge *b, struct fe_bridge_slot *s, unsigned queue,
                                      uint32_t len)
{
    const struct fuse_in_header *h = (const struct fuse_in_header *)s->in;
    b->served++;
    if (h->opcode == FUSE_INTERRUPT) {
        b->interrupts++;
        return s;
    }
    if (h->opcode == FUSE_BATCH_FORGET)
        return forget_each(b, s->in, len) ? s : NULL;
    if (h->opcode == FUSE_FORGET)
        b->forgotten++;
    submit(b, s, h->opcode == FUSE_FORGET ? 0 : queue, len);
    return take(b);
}

struct work {
    struct fe_bridge *b;
    unsigned queue;
};

static void *read_requests(void *arg)
{
    struct work w = *(struct work *)arg;
    struct fe_bridge *b = w.b;
    free(arg);
    struct fe_bridge_slot *s = take(b);
    while (s) {
        ssize_t n = read(b->fuse, s->in, LEAD_IN + ROOM);
        if (n < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT))
            continue;
        if (n < (ssize_t)HDR_IN)
            break; /* unmounted, or aborted */
        s = pass_on(b, s, w.queue, (uint32_t)n);
    }
    if (s)
        give(b, s);
    if (--b->readers == 0)
        (void)eventfd_write(b->readers_end, 1);
    return NULL;
}

/* ---- from the daemon ---- */

/* What Linux 7.1 and later demand of an answer, and what none may be without. */
static bool well_formed(const struct fe_bridge_slot *s, uint32_t used)
{
    const struct fuse_out_header *h = (const struct fuse_out_header *)s->out;
    if (s->room == 0)
        return used == 0;
    if (used >= HDR_OUT && used <= s->room && h->len == used && h->unique == s->unique &&
        h->error <= 0 && h->error > -512)
        return true;
    fprintf(
        stderr,
        "fe-bridge: opcode %u: used length %u of %u; header: length %u, error %d, unique %llu for "
        "%llu\n",
        s->opcode, used, s->room, h->len, h->error, (unsigned long long)h->unique,
        (unsigned long long)s->unique);
    return false;
}

/* The INIT answer must not promise more than a slot holds. */
static bool fits(const struct fe_bridge_slot *s)
{
    struct fuse_init_out out;
    if (s->opcode != FUSE_INIT || s->room < HDR_OUT + sizeof(out))
        return true;
    memcpy(&out, s->out + HDR_OUT, sizeof(out));
    if (out.max_write > FE_BRIDGE_DATA)
        fprintf(stderr, "fe-bridge: a max_write of %u is more than asked for\n", out.max_write);
    return out.max_write <= FE_BRIDGE_DATA;
}

/* Hand an answer to the kernel. That it does not want it any longer (ENOENT: aborted) is none of
 * the daemon's faults; that it refuses it is. */
static bool accepted(struct fe_bridge *b, const struct fe_bridge_slot *s, uint32_t used)
{
    if (s->room == 0 || write(b->fuse, s->out, used) >= 0 || errno == ENOENT)
        return true;
    fprintf(stderr, "fe-bridge: the kernel refuses the answer to opcode %u: %s\n", s->opcode,
            strerror(errno));
    return false;
}

static void answer(struct fe_bridge *b, const struct fe_bridge_slot *s, uint32_t used)
{
    if (well_formed(s, used) && fits(s) && accepted(b, s, used))
        return;
    struct fuse_out_header h = {.len = HDR_OUT, .error = -EIO, .unique = s->unique};
    b->wrong++;
    if (s->room)
        (void)!write(b->fuse, &h, sizeof(h));
}

static void take_one(struct fe_bridge *b, unsigned queue, uint32_t id, uint32_t used)
{
    struct fe_bridge_slot *s = id < FE_BRIDGE_SLOTS ? &b->slot[id] : NULL;
    if (!s || !__atomic_load_n(&s->busy, __ATOMIC_ACQUIRE) || s->queue != queue) {
        fprintf(stderr, "fe-bridge: queue %u: used element with id %u: not in flight\n", queue, id);
        b->wrong++;
        return;
    }
    if (s->ours)
        b->wrong += !well_formed(s, used);
    else
        answer(b, s, used);
    s->ours = false;
    give(b, s);
}

static void *take_answers(void *arg)
{
    struct work w = *(struct work *)arg;
    struct fe_ring *r = &w.b->v->ring[w.queue];
    uint32_t id, used;
    free(arg);
    while (!w.b->stop) {
        while (fe_ring_pop(r, &id, &used))
            take_one(w.b, w.queue, id, used);
        uint64_t calls;
        if (!fe_ring_arm(r) && !w.b->stop)
            (void)!read(r->call, &calls, sizeof(calls));
    }
    return NULL;
}

/* ---- life ---- */

static int start_thread(struct fe_bridge *b, pthread_t *t, void *(*fn)(void *), unsigned queue)
{
    struct work *w = malloc(sizeof(*w));
    if (!w)
        return -ENOMEM;
    *w = (struct work){b, queue};
    int e = pthread_create(t, NULL, fn, w);
    if (e)
        free(w);
    return -e;
}

int fe_bridge_start(struct fe_bridge *b, struct fe_vhost *v, int fuse)
{
    memset(b, 0, sizeof(*b));
    b->v = v;
    b->fuse = fuse;
    b->nqueues = v->nrings - 1;
    b->readers = b->nqueues;
    b->readers_end = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&b->lock, NULL);
    pthread_mutex_init(&b->hiprio, NULL);
    pthread_cond_init(&b->came_back, NULL);
    make_slots(b);
    int e = b->readers_end < 0 ? -errno : 0;
    for (unsigned i = 0; e == 0 && i < v->nrings; i++)
        e = start_thread(b, &b->taker[i], take_answers, i);
    for (unsigned i = 1; e == 0 && i < v->nrings; i++)
        e = start_thread(b, &b->reader[i], read_requests, i);
    return e;
}

/* Wait until nothing is with the daemon. */
static int drain(struct fe_bridge *b, int64_t until)
{
    unsigned idle = 0;
    for (;;) {
        pthread_mutex_lock(&b->lock);
        idle = b->nidle;
        pthread_mutex_unlock(&b->lock);
        if (idle == FE_BRIDGE_SLOTS)
            return 0;
        if (fe_now_ms() > until)
            return FE_ETIMEOUT;
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
}

static void destroy(struct fe_bridge *b)
{
    struct fe_bridge_slot *s = take(b);
    struct fuse_in_header h = {.len = HDR_IN, .opcode = FUSE_DESTROY, .unique = ~1ULL};
    memcpy(s->in, &h, sizeof(h));
    s->ours = true;
    submit(b, s, 1, HDR_IN);
}

int fe_bridge_stop(struct fe_bridge *b, bool alive, int ms)
{
    int64_t until = fe_now_ms() + ms;
    if (!alive) {
        pthread_mutex_lock(&b->lock);
        b->stop = true;
        pthread_cond_broadcast(&b->came_back);
        pthread_mutex_unlock(&b->lock);
    }
    for (unsigned i = 1; i <= b->nqueues; i++)
        pthread_join(b->reader[i], NULL);
    int e = alive ? drain(b, until) : 0;
    if (alive && e == 0) {
        destroy(b);
        e = drain(b, until);
    }
    b->stop = true;
    for (unsigned i = 0; i <= b->nqueues; i++) {
        (void)eventfd_write(b->v->ring[i].call, 1);
        pthread_join(b->taker[i], NULL);
    }
    close(b->readers_end);
    return e;
}

static int older(const void *a, const void *b)
{
    const struct fe_bridge_slot *const *x = a, *const *y = b;
    return ((*x)->since > (*y)->since) - ((*x)->since < (*y)->since);
}

unsigned fe_bridge_print_waiting(struct fe_bridge *b, int ms)
{
    struct fe_bridge_slot *late[FE_BRIDGE_SLOTS];
    unsigned n = 0;
    int64_t now = fe_now_ms();
    for (unsigned i = 0; i < FE_BRIDGE_SLOTS; i++) {
        struct fe_bridge_slot *s = &b->slot[i];
        if (__atomic_load_n(&s->busy, __ATOMIC_ACQUIRE) && now - s->since >= ms)
            late[n++] = s;
    }
    qsort(late, n, sizeof(late[0]), older);
    for (unsigned i = 0; i < n; i++)
        fprintf(stderr, "fe-bridge: not answered for %lld ms: opcode %u, queue %u, unique %llu\n",
                (long long)(now - late[i]->since), late[i]->opcode, late[i]->queue,
                (unsigned long long)late[i]->unique);
    return n;
}
