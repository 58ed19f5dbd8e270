/* SPDX-License-Identifier: BSD-3-Clause
 * What the operator decides about the DAX window. Options set these fields directly. Which files
 * are mapped through it is the server's matter. */
#pragma once

#include <stdint.h>

/* How the front-end is spoken to: rows of dax-vu.c. */
enum dax_dialect_name {
    DAX_DIALECT_AUTO,
    DAX_DIALECT_STANDARD,
    DAX_DIALECT_QEMU,
    DAX_DIALECT_CROSVM,
    DAX_DIALECT_ALIOTH,
};

struct dax_policy {
    uint64_t window; /* bytes, a power of two from 2 MiB; 0: none */
    enum dax_dialect_name dialect;
};
