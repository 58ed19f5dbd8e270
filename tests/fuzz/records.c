/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/records.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

/* libFuzzer's own; there is none in a replay, which never mutates. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max) __attribute__((weak));

enum { MAX_RECORDS = 128, MAX_PAYLOAD = 255 };

/* Where the records of an input start; at[n] is where the last one ends. */
struct cuts {
    size_t at[MAX_RECORDS + 1];
    unsigned n;
};

static void find_cuts(const struct records_shape *s, const uint8_t *data, size_t size,
                      struct cuts *c)
{
    size_t off = 0;
    c->n = 0;
    while (c->n < MAX_RECORDS && size - off >= s->header) {
        c->at[c->n++] = off;
        off += s->header;
        off += MIN(data[off - 1], size - off);
    }
    c->at[c->n] = off;
}

/* Put @len bytes of @with in the place of [@from, @to). Returns the new size, 0 when it is too
 * large. */
static size_t splice(uint8_t *data, size_t size, size_t max, size_t from, size_t to,
                     const uint8_t *with, size_t len)
{
    size_t fresh = size - (to - from) + len;
    if (fresh > max)
        return 0;
    memmove(data + from + len, data + to, size - to);
    if (len)
        memcpy(data + from, with, len);
    return fresh;
}

static uint8_t small_or_any(unsigned *seed)
{
    unsigned r = (unsigned)rand_r(seed);
    return r % 3 ? r / 3 % 4 : r / 3 % 256;
}

/* A record out of nothing: a known kind, small numbers, zeroes. Returns its length. */
static size_t invent(const struct records_shape *s, uint8_t *record, unsigned *seed)
{
    size_t len = (size_t)rand_r(seed) % 4 ? (size_t)rand_r(seed) % 64 : 0;
    memset(record, 0, s->header + len);
    for (size_t i = 1; i + 1 < s->header; i++)
        record[i] = i == 1 && rand_r(seed) % 2 ? 0 : small_or_any(seed);
    record[0] = s->kinds[(size_t)rand_r(seed) % s->n_kinds];
    record[s->header - 1] = (uint8_t)len;
    return s->header + len;
}

static size_t mutate_payload(const struct records_shape *s, uint8_t *data, size_t size, size_t max,
                             size_t from, size_t to)
{
    uint8_t record[64 + MAX_PAYLOAD];
    size_t len = to - from - s->header;
    memcpy(record, data + from, to - from);
    len = LLVMFuzzerMutate(record + s->header, len, MAX_PAYLOAD);
    record[s->header - 1] = (uint8_t)len;
    return splice(data, size, max, from, to, record, s->header + len);
}

static size_t mutate_header(const struct records_shape *s, uint8_t *data, size_t size, size_t from,
                            unsigned *seed)
{
    size_t i = (size_t)rand_r(seed) % (s->header - 1);
    if (i == 0 && rand_r(seed) % 8)
        data[from] = s->kinds[(size_t)rand_r(seed) % s->n_kinds];
    else if (rand_r(seed) % 2)
        data[from + i] ^= (uint8_t)(1u << rand_r(seed) % 8);
    else
        data[from + i] = small_or_any(seed);
    return size;
}

size_t records_mutate(const struct records_shape *s, uint8_t *data, size_t size, size_t max,
                      unsigned seed)
{
    uint8_t record[64 + MAX_PAYLOAD];
    struct cuts c;
    size_t fresh = 0, len;

    find_cuts(s, data, size, &c);
    unsigned what = (unsigned)rand_r(&seed) % 12;
    if (c.n == 0)
        what = 0;
    unsigned i = c.n ? (unsigned)rand_r(&seed) % c.n : 0,
             j = c.n ? (unsigned)rand_r(&seed) % c.n : 0;
    size_t from = c.at[i], to = c.n ? c.at[i + 1] : 0;
    switch (what) {
    case 0:
    case 1: /* a new one */
        len = invent(s, record, &seed);
        fresh = splice(data, size, max, from, from, record, len);
        break;
    case 2: /* one less */
        fresh = c.n > 1 ? splice(data, size, max, from, to, NULL, 0) : 0;
        break;
    case 3:
    case 4: /* one again, elsewhere */
        memcpy(record, data + from, to - from);
        fresh = splice(data, size, max, c.at[j], c.at[j], record, to - from);
        break;
    case 5:
    case 6:
    case 7:
        fresh = mutate_header(s, data, size, from, &seed);
        break;
    case 8: /* anything, anywhere */
        fresh = LLVMFuzzerMutate(data, size, max);
        break;
    default:
        fresh = mutate_payload(s, data, size, max, from, to);
    }
    return fresh ? fresh : LLVMFuzzerMutate(data, size, max);
}

/* The beginning of one sequence, the end of another. */
size_t records_cross(const struct records_shape *s, const uint8_t *a, size_t a_size,
                     const uint8_t *b, size_t b_size, uint8_t *out, size_t max, unsigned seed)
{
    struct cuts ca, cb;
    find_cuts(s, a, a_size, &ca);
    find_cuts(s, b, b_size, &cb);
    size_t head = ca.at[(unsigned)rand_r(&seed) % (ca.n + 1)];
    size_t from = cb.at[(unsigned)rand_r(&seed) % (cb.n + 1)];
    head = MIN(head, max);
    size_t tail = MIN(b_size - from, max - head);
    memcpy(out, a, head);
    memcpy(out + head, b + from, tail);
    return head + tail;
}
