/* SPDX-License-Identifier: BSD-3-Clause
 * How long a worker that has emptied its ring looks at it again before it sleeps. A look that finds
 * a request spares the guest a kick and us a wake-up; one that does not costs processor time.
 *
 * A fixed time (--poll-us=N) or, where nothing is asked for, an adaptive one: only while requests
 * have lately come soon after the ring was empty, for about twice as long as they took, and never
 * for more than VU_POLL_MAX_NS. Not at all where only one processor may be used; by fewer workers
 * than processors at once, so that one is left for who is waited for; and for a while not, when the
 * processor was taken away meanwhile: others need it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VU_POLL_MAX_NS 50000u

/* Of one worker. All zero at first: nothing is known, so it sleeps. */
struct vu_poll {
    uint64_t empty_ns;    /* when the ring was last found empty */
    uint64_t gap_ns;      /* moving average: from then to the next request */
    uint64_t rest_ns;     /* others need the processor: not before then */
    uint64_t pause_ns;    /* and for how long the next time */
    unsigned until_count; /* until the processors are counted again */
    unsigned cpus;        /* that this thread may use */
};

/* The ring is empty. Whether this thread may use one processor only: the rest is not for it then.
 * Who starts us may bind us later, so that is looked at now and then. */
bool vu_poll_alone(struct vu_poll *p);
/* The ring is empty at @now (ns, monotonic). Returns how long to look, ns; 0: sleep. @others:
 * threads besides this one that an answer needs. When it is not 0, vu_poll_end() must follow. */
uint64_t vu_poll_begin(struct vu_poll *p, uint64_t now, unsigned others);
/* It was looked until @now. @found: there is a request. @away_ns: the longest time that the thread
 * did not run meanwhile. */
void vu_poll_end(struct vu_poll *p, uint64_t now, bool found, uint64_t away_ns);
/* It slept, and there is a request at @now. */
void vu_poll_slept(struct vu_poll *p, uint64_t now);
