/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls:lock write */
#include "virtiofsd/9p/p9-room.h"

#include <unistd.h>

#include "virtiofsd/9p/p9-sock.h"
#include "virtiofsd/9p/p9-spare.h"
#include "virtiofsd/base/auto.h"

#define COMMON (P9_ROOM_BYTES - P9_SPARE_BYTES - P9_SOCK_MAX_CONNS * (P9_ROOM_OWN + P9_ROOM_VALUES))

/* The largest message with its answer and what goes with it can be had. */
_Static_assert(COMMON + P9_ROOM_OWN > ((size_t)16 << 20) + ((size_t)1 << 20), "too little");

void p9_room_init(struct p9_room *r, int wake_fd)
{
    *r = (struct p9_room){.wake_fd = wake_fd};
    r->last = &r->first;
    pthread_mutex_init(&r->lock, NULL);
}

void p9_room_fini(struct p9_room *r)
{
    pthread_mutex_destroy(&r->lock);
}

static size_t over(size_t held)
{
    return held > P9_ROOM_OWN ? held - P9_ROOM_OWN : 0;
}

/* Whether there are @n bytes more for @c; takes them. */
static bool fits_locked(struct p9_room *r, struct p9_claim *c, size_t n)
{
    size_t more = over(c->held + n) - over(c->held);

    if (more > COMMON - r->common)
        return false;
    r->common += more;
    c->held += n;
    return true;
}

static void give_locked(struct p9_room *r, struct p9_claim *c, size_t n)
{
    r->common -= over(c->held) - over(c->held - n);
    c->held -= n;
}

static void wake_locked(struct p9_room *r)
{
    uint64_t one = 1;
    if (r->first)
        (void)!write(r->wake_fd, &one, sizeof(one));
}

bool p9_room_take(struct p9_room *r, struct p9_claim *c, size_t n)
{
    if (atomic_load(&c->state) == P9_CLAIM_GRANTED) {
        atomic_store(&c->state, P9_CLAIM_NONE);
        return true;
    }
    AUTO_LOCK(&r->lock);
    /* Who waits comes first, but nobody waits for what is another's own. */
    bool own = over(c->held + n) == 0;
    if ((own || !r->first) && fits_locked(r, c, n))
        return true;
    c->want = n;
    c->next = NULL;
    *r->last = c;
    r->last = &c->next;
    atomic_fetch_add(&r->waiting, 1);
    atomic_store(&c->state, P9_CLAIM_WAITS);
    wake_locked(r);
    return false;
}

void p9_room_give(struct p9_room *r, struct p9_claim *c, size_t n)
{
    AUTO_LOCK(&r->lock);
    give_locked(r, c, n);
    wake_locked(r);
}

static void dequeue_locked(struct p9_room *r, const struct p9_claim *c)
{
    struct p9_claim **p = &r->first;

    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    if (!c->next)
        r->last = p;
    atomic_fetch_sub(&r->waiting, 1);
}

static void quit_locked(struct p9_room *r, struct p9_claim *c)
{
    if (atomic_load(&c->state) != P9_CLAIM_WAITS)
        return;
    atomic_store(&c->state, P9_CLAIM_NONE);
    dequeue_locked(r, c);
    wake_locked(r); /* the next may want less */
}

void p9_room_quit(struct p9_room *r, struct p9_claim *c)
{
    AUTO_LOCK(&r->lock);
    quit_locked(r, c);
}

void p9_room_leave(struct p9_room *r, struct p9_claim *c)
{
    AUTO_LOCK(&r->lock);
    quit_locked(r, c);
    give_locked(r, c, c->held);
    wake_locked(r);
}

static struct p9_claim *next_locked(const struct p9_room *r)
{
    struct p9_claim *best = r->first;

    for (struct p9_claim *c = best; c; c = c->next) {
        if (over(c->held) < over(best->held))
            best = c;
    }
    return best;
}

bool p9_room_grant(struct p9_room *r, uint64_t *id)
{
    AUTO_LOCK(&r->lock);
    struct p9_claim *c = next_locked(r); /* no other one: what is large would never come */
    if (!c || !fits_locked(r, c, c->want))
        return false;
    dequeue_locked(r, c);
    atomic_store(&c->state, P9_CLAIM_GRANTED);
    *id = c->id;
    return true;
}

bool p9_room_over(struct p9_room *r, const struct p9_claim *c)
{
    AUTO_LOCK(&r->lock);
    return over(c->held) > 0;
}
