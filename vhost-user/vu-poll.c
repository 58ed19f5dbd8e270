/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls sched_getaffinity */
#include "vhost-user/vu-poll.h"

#include <glib.h>
#include <sched.h>
#include <stdatomic.h>

#define WEIGHT      8         /* of the past in the average */
#define GAP_MOST_NS 250000u   /* one pause counts no more than this */
#define LEAST_NS    4000u     /* of a look that is worth while */
#define AWAY_NS     30000u    /* so long nobody is away by chance */
#define PAUSE_NS    1000000u  /* the first time, then twice as long each time ... */
#define PAUSE_MOST  64000000u /* ... up to this */
#define COUNT_EACH  256       /* so many times between two looks at the processors */
#define MANY        1024

/* Workers of this process that look at their rings just now. */
static atomic_uint looking;

/* Of this thread, now. */
static unsigned count_cpus(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : MANY;
}

bool vu_poll_alone(struct vu_poll *p)
{
    if (p->until_count-- == 0) {
        p->until_count = COUNT_EACH - 1;
        p->cpus = count_cpus();
    }
    return p->cpus == 1;
}

/* Be one of those who look, unless the others, of whom an answer needs some, would have no
 * processor. */
static bool enter(const struct vu_poll *p, unsigned others)
{
    if (p->cpus <= 1 + others)
        return false;
    if (atomic_fetch_add(&looking, 1) < p->cpus - 1 - others)
        return true;
    atomic_fetch_sub(&looking, 1);
    return false;
}

uint64_t vu_poll_begin(struct vu_poll *p, uint64_t now, unsigned others)
{
    p->empty_ns = now;
    if (p->gap_ns == 0 || p->gap_ns > VU_POLL_MAX_NS || now < p->rest_ns || !enter(p, others))
        return 0;
    return MIN(2 * p->gap_ns + LEAST_NS, VU_POLL_MAX_NS);
}

static void note_gap(struct vu_poll *p, uint64_t now)
{
    uint64_t gap = MIN(now - p->empty_ns, GAP_MOST_NS);

    p->gap_ns = p->gap_ns == 0 ? GAP_MOST_NS : p->gap_ns;
    p->gap_ns = (p->gap_ns * (WEIGHT - 1) + gap) / WEIGHT + 1;
}

void vu_poll_end(struct vu_poll *p, uint64_t now, bool found, uint64_t away_ns)
{
    atomic_fetch_sub(&looking, 1);
    if (found) {
        note_gap(p, now);
        p->pause_ns = 0;
    } else if (away_ns >= AWAY_NS) {
        p->pause_ns = p->pause_ns == 0 ? PAUSE_NS : MIN(2 * p->pause_ns, PAUSE_MOST);
        p->rest_ns = now + p->pause_ns;
    }
}

void vu_poll_slept(struct vu_poll *p, uint64_t now)
{
    note_gap(p, now);
}
