/* SPDX-License-Identifier: BSD-3-Clause
 * A 9P server measured at its socket: requests that are built once and sent again with little
 * changed, one thread, several in flight. Everything ends the process with a message when the
 * server misbehaves. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/p9-client.h"

#define PB_SLOTS   8
#define PB_MSIZE   (512u * 1024 + P9C_DATA) /* asked for; what the server grants is pb.io */
#define PB_FILES   1000                     /* many/0...: small files */
#define PB_SMALL   2048u                    /* bytes of each */
#define PB_FILE    (16u << 20)              /* data */
#define PB_DIR_BUF 32768u

/* Fids: what is walked to beforehand, then one for each slot. */
enum { PB_ROOT = 1, PB_MANY, PB_NEW, PB_FIRST_FILE = 50, PB_FIRST_SLOT = 2000 };

struct pb;

struct pb_slot {
    struct p9c c;           /* its request; the tag is the slot's number */
    unsigned n, step, item; /* step: 0 when nothing is left half done */
    uint32_t block, done;   /* bytes of one transfer, and of it so far */
    uint64_t off;
};

struct pb_op {
    const char *name;
    /* Build the first request of a slot. */
    void (*first)(struct pb *b, struct pb_slot *s);
    /* The answer is in s->c, behind its header: build the next request. Returns how much was done.
     */
    double (*next)(struct pb *b, struct pb_slot *s);
    uint32_t block;
    const char *unit;
};

struct pb {
    int fd;
    uint32_t io; /* bytes that one message carries */
    struct p9c c;
    struct pb_slot slot[PB_SLOTS];
    unsigned inflight;
    uint64_t rnd;
    uint8_t *in; /* what was received and not looked at */
    size_t have, in_max;
};

extern const struct pb_op pb_ops[];
extern const unsigned pb_nops;

_Noreturn void pb_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
