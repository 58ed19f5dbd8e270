/* SPDX-License-Identifier: BSD-3-Clause
 * Tests of the broker from inside the sandbox: bodies, and what they have in common. */
#pragma once

#include <errno.h>
#include <stdio.h>

#include "tests/unit/broker-peer.h"
#include "tests/unit/sb-run.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define CHECK(x)                                                         \
    do {                                                                 \
        if (!(x)) {                                                      \
            dprintf(2, "line %d: %s (errno %d)\n", __LINE__, #x, errno); \
            return 1;                                                    \
        }                                                                \
    } while (0)

/* Run @body over @share in each mode, with filters and without: none may fail. */
void broker_everywhere(const char *share, sb_run_fn *body);

/* In a body: make the share's mount known. */
bool broker_begin(const struct sb_result *r, uint64_t *mount);
/* And make a file in it with its name as text. Returns an O_PATH descriptor, or -1. */
int broker_make(const struct sb_result *r, const char *name);
