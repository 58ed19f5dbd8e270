/* SPDX-License-Identifier: BSD-3-Clause
 * Inputs that are a sequence of records, each a header whose last byte is the length of the payload
 * behind it: libFuzzer's mutators for them, so that a changed sequence stays one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct records_shape {
    size_t header; /* bytes, the length included; the first one says what the record is */
    const uint8_t *kinds;
    size_t n_kinds; /* values of the first byte worth trying */
};

/* What LLVMFuzzerCustomMutator and LLVMFuzzerCustomCrossOver do. */
size_t records_mutate(const struct records_shape *shape, uint8_t *data, size_t size, size_t max,
                      unsigned seed);
size_t records_cross(const struct records_shape *shape, const uint8_t *a, size_t a_size,
                     const uint8_t *b, size_t b_size, uint8_t *out, size_t max, unsigned seed);
