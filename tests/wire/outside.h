/* SPDX-License-Identifier: BSD-3-Clause
 * What no guest may reach: a directory beside the share with a marked file in it, watched. Whoever
 * opens, reads, changes or adds something there is seen by inotify, and no answer to the guest may
 * hold the mark. */
#pragma once

#include "tests/wire/wire.h"

#define OUTSIDE_MARK "MARK-7c1f-of-what-no-guest-may-see"

struct outside {
    char dir[96]; /* wire.dir/outside: secret (holds the mark), sub/deep (too) */
    int watch;
};

/* Make it, and start watching. Ends the test when there is no inotify. */
void outside_make(struct outside *o, struct wire *w);
/* Look for the mark in every answer from now on; a hit ends the test program. */
void outside_listen(struct wire *w);
/* What happened there since the last look: 0, or the events or-ed (and printed). */
uint32_t outside_touched(struct outside *o);
/* Nothing happened there, and what is there is what was made. */
void outside_check(struct outside *o);
/* Remove it, and stop watching. */
void outside_teardown(struct outside *o);

/* Watch one file or directory for real openings (O_PATH is none). The descriptor, to be closed. */
int watch_open(const char *path);
/* Whether it was opened since the last look. */
bool was_opened(int watch);
