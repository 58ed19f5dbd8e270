/* SPDX-License-Identifier: BSD-3-Clause
 * What the operator decides about 9P. Options set these fields directly. What all clients of the
 * core share stands in fs-policy.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct p9_policy {
    uint64_t max_msize; /* largest message taken, bytes; 4096 .. 16 MiB */
    bool lock; /* pass locks on; else each is granted, and the client's kernel alone keeps them */
};
