/* SPDX-License-Identifier: BSD-3-Clause
 * For trees of the tests: those who wait for fetch(), served by a thread after a time, or when a
 * test says so. */
#pragma once

#include "virtiofsd/tree/tree.h"

struct tree_waits;

#define TREE_WAIT_HELD (-1) /* until tree_waits_let_go() */

struct tree_waits *tree_waits_new(void);
/* Nobody waits. */
void tree_waits_free(struct tree_waits *s);
/* Call w->done(w, result) after @ms. */
void tree_waits_add(struct tree_waits *s, struct tree_wait *w, int ms, int result);
/* tree_ops.cancel */
bool tree_waits_cancel(struct tree_waits *s, struct tree_wait *w);
/* How many wait; and how many there ever were. */
unsigned tree_waits_count(struct tree_waits *s);
unsigned tree_waits_ever(struct tree_waits *s);
/* All that are held now get their answer. */
void tree_waits_let_go(struct tree_waits *s);
/* Whether the calling thread is about to call done(), or does. */
bool tree_waits_serving(void);
