/* SPDX-License-Identifier: BSD-3-Clause
 * A guest that moves from one daemon to the next, over the same share. */
#pragma once

#include "tests/lib/fe-move.h"
#include "tests/wire/wire.h"

/* Test set-up: as wire_mount(), by a front-end that can move. */
int move_mount(void **state);
/* The same with these options. */
void move_mount_with(struct wire *w, const char *const *extra);

/* Stop, and save. The source stays as it is. */
void move_save(struct wire *w, struct fe_state *s);
/* Start another daemon with @extra options, and take the guest there: 0, 1 or 2 as of
 * fe_move_arrive(). When that is not 0 the guest is left where it is, stopped. Else the old daemon
 * has ended, or is left in @old if that is not NULL. */
int move_to(struct wire *w, const struct fe_state *s, const char *const *extra,
            struct fe_daemon *old);
/* Both, which must go well. */
void move(struct wire *w, const char *const *extra);
