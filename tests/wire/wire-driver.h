/* SPDX-License-Identifier: BSD-3-Clause
 * A virtio-fs driver that is not Linux's, as the daemon sees it: what it takes of the device, its
 * INIT, how it cuts requests into descriptors, and a list of requests with what it expects back. */
#pragma once

#include "tests/wire/wire.h"

/* Numbers that one answer gives and a later request carries. */
enum driver_reg {
    REG_NONE,
    REG_ZERO, /* 0 */
    REG_ROOT, /* FUSE_ROOT_ID */
    REG_WILD, /* what a driver has that did not set it: not given out by anybody */
    REG_A,
    REG_B,
    REG_C,
    REG_FH,
    REG_DH,
    REGS,
};

/* Where descriptors end. */
enum {
    CUT_HEADER = 1 << 0, /* behind the request's header */
    CUT_NAMES = 1 << 1,  /* before each name */
    CUT_NUL = 1 << 2,    /* before a name's NUL */
    CUT_ANSWER = 1 << 3, /* behind the answer's header */
    CUT_EMPTY = 1 << 5,  /* even if nothing stands between: a descriptor of 0 bytes */
    CUT_ENTRY = 1 << 4,  /* in an entry: behind the node's numbers and behind its attributes */
};

struct driver {
    const char *name;
    uint64_t features;   /* of virtio */
    unsigned queue_size; /* of the request queue */
    bool hiprio;         /* it sets that queue up, and sends FORGET there */
    unsigned cuts;       /* CUT_* */
    uint32_t minor, readahead, flags, flags2;
    uint32_t init_len; /* bytes of the structure */
    uint64_t init_node;
    uint32_t padding; /* what it leaves in the last word of a request's header */
    uint32_t id;      /* and in user and group */
    uint64_t unique;  /* of every request; 0: they count */
};

struct step;

/* The answer to one step. */
struct answer {
    struct wire *w;
    const struct driver *d;
    const uint8_t *body;
    size_t len;
};

/* One request. */
struct step {
    const char *what;
    uint32_t op;
    enum driver_reg node; /* whose number stands in the header */
    struct {
        const void *bytes; /* the structure; NULL with a length: zeros */
        uint16_t len;
        enum driver_reg fill; /* goes where the operation has its handle, or the new directory */
    } in;
    const char *name, *name2;
    uint16_t surplus; /* bytes behind all that, counted in the header */
    int16_t lie;      /* what the header's length says besides */
    int room;         /* of the answer, besides its header; -1: no writable part at all */
    int err;          /* 0 or -errno */
    /* A good answer must have this many bytes; 0: any number. */
    uint16_t size;
    enum driver_reg node_to, fh_to; /* where its numbers go */
    void (*look)(const struct answer *a);
};

/* Daemon with @extra options (NULL: none), rings as the driver makes them, INIT, the steps. Fails
 * the test with the driver's and the step's name. The connection stays. */
void driver_run(struct wire *w, const struct driver *d, const char *const *extra,
                const struct step *steps, size_t n);
