/* SPDX-License-Identifier: BSD-3-Clause
 * A front-end for tests of the DAX window that has QEMU's rules: nothing replaced, taken back only
 * as it was put, no page that is not whole in the file, no read-only descriptors. What is mapped
 * can be loaded and stored as by a guest. What must never be sent to it is a note in `broken`. */
#pragma once

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dax/dax-window.h"

struct peer_map {
    uint64_t at, len;
};

struct peer {
    struct dax_window *w;
    struct dax_caps caps; /* what it accepts */
    uint64_t size, granule;
    uint8_t *mem;          /* the window as the guest sees it; NULL: only rules */
    struct peer_map *maps; /* live ones, in no order */
    unsigned n_maps, max_maps;
    unsigned maps_sent, unmaps_sent, commits, probes;
    unsigned fail_in;   /* the message so far in the future is refused; 0 = none */
    unsigned refused;   /* messages refused by the rules */
    bool in_place;      /* nothing was mapped since the last commit */
    const char *broken; /* the first thing that must not be */
    atomic_int inside;  /* threads in a message */
    unsigned slow_us;   /* how long a message takes */
    char dir[32];       /* for files */
};

#define WINDOW_2M (2ull << 20)
#define TAIL      (1 << 0) /* maps partial last pages */
#define READONLY  (1 << 1) /* maps read-only descriptors */
#define BLIND     (1 << 2) /* maps nothing really */

struct peer_setup {
    uint64_t size, granule; /* 0: 16 MiB, 4 KiB */
    int accepts;            /* TAIL ... */
    unsigned max_slots;
    double timeout;
};

/* A window in front of it, started. */
void peer_start(struct peer *p, const struct peer_setup *how);
/* Checks that nothing forbidden was done and that nothing is left mapped. */
void peer_stop(struct peer *p);
/* The guest is reset: the front-end drops everything by itself. */
void peer_reset(struct peer *p);

/* A file of @len bytes, byte i being peer_byte(i). Returns a descriptor open for both. */
int peer_file(struct peer *p, const char *name, uint64_t len);
int peer_open(struct peer *p, const char *name, int flags);
uint8_t peer_byte(uint64_t i);
/* Bytes of the file by another descriptor, as a host process would write and see them. */
void peer_host_write(struct peer *p, const char *name, uint64_t at, const char *text);
void peer_host_size(struct peer *p, const char *name, uint64_t len);
void peer_host_shows(struct peer *p, const char *name, uint64_t at, const char *text);
uint64_t peer_host_len(struct peer *p, const char *name);

/* dax_map() of @len bytes with a descriptor of @name as numbered file @file. */
int peer_map(struct peer *p, uint64_t file, const char *name, uint64_t foffset, uint64_t moffset,
             uint64_t len, bool write);
/* dax_revalidate() with what fstat says of the file. */
int peer_seen(struct peer *p, uint64_t file, const char *name);
/* The guest's window from @at on is the file from @pos on, @len bytes; and zeroes to the page end.
 */
void peer_guest_shows(struct peer *p, uint64_t at, const char *name, uint64_t pos, uint64_t len);
/* Whether the guest would find anything at all there. */
bool peer_mapped(const struct peer *p, uint64_t at);

unsigned peer_open_fds(void);
