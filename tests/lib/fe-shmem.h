/* SPDX-License-Identifier: BSD-3-Clause
 * The front-end's side of the back-end channel: a virtual machine monitor with a window into which
 * it maps what it is asked to. The window is memory of ours, so a test loads and stores there as a
 * guest would: fe_shmem.window + offset. What is not mapped reads as zeroes.
 *
 * A thread of its own answers. Everything can be asked and changed while it runs. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Whose rules. */
enum fe_shmem_kind {
    /* QEMU 11.1: refuses read-only descriptors, overlaps, what ends behind the end of the file to
     * the byte (a partial last page), unmapping anything but a mapping as it was made; maps all
     * writable; grows an empty file. */
    FE_SHMEM_QEMU,
    /* crosvm: takes read-only descriptors (flags say what the guest may do) and partial last pages;
     * refuses overlaps; unmaps by the offset alone. */
    FE_SHMEM_CROSVM,
};

/* What it does wrong. */
enum fe_shmem_fault {
    FE_SHMEM_GOOD,
    FE_SHMEM_REFUSE,        /* everything */
    FE_SHMEM_REFUSE_MAP,    /* maps only */
    FE_SHMEM_SILENT,        /* does, but keeps the answer until fe_shmem_release() */
    FE_SHMEM_LATE,          /* does, answers after 100 ms */
    FE_SHMEM_WRONG_REQUEST, /* the answer names another request */
    FE_SHMEM_WRONG_FLAGS,   /* the answer is not marked as one */
    FE_SHMEM_WRONG_SIZE,    /* the answer has four bytes */
    FE_SHMEM_CLOSE,         /* closes the channel instead of answering */
    FE_SHMEM_CLOSE_HALF,    /* closes it after half of the answer */
    FE_SHMEM_TWICE,         /* answers twice */
    FE_SHMEM_BYTES,         /* answers byte by byte: not wrong, only rare */
    FE_SHMEM_FDS,           /* two descriptors come with the answer */
    FE_SHMEM_EARLY,         /* answers a map well, and does it 200 ms later: QEMU 11.1 may */
    FE_SHMEM_FREEZE,        /* does not read until fe_shmem_release() */
};

struct fe_shmem_map {
    uint64_t offset, len; /* in the window */
    uint64_t fd_offset;
    uint64_t dev, ino; /* which file */
    bool writable;     /* for the guest */
};

#define FE_SHMEM_MAPS 4096

struct fe_shmem {
    enum fe_shmem_kind kind;
    uint64_t size;
    uint8_t *window;
    int sock;    /* ours; -1 after it was closed */
    int channel; /* the other end, for SET_BACKEND_REQ_FD; stays ours */
    int wake_fd;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum fe_shmem_fault fault;
    unsigned good_first; /* requests to serve well before the fault begins */
    bool suspended;      /* the device does not run: QEMU would die of a request */
    bool quit, released;
    unsigned nmaps;
    struct fe_shmem_map map[FE_SHMEM_MAPS];
    /* What was seen. */
    unsigned maps, unmaps, others; /* requests, refused ones included */
    unsigned refused;
    unsigned while_suspended; /* requests that would have killed QEMU */
    unsigned overlapped;      /* requests that came before the one before was answered */
    unsigned malformed;       /* requests that break the protocol; the reason is printed */
    unsigned grown;           /* empty files mapped, which grew: QEMU only */
};

/* Make the window (@size: a multiple of the page size) and the channel, and serve it. Returns 0 or
 * -errno. */
int fe_shmem_start(struct fe_shmem *s, enum fe_shmem_kind kind, uint64_t size);
void fe_shmem_stop(struct fe_shmem *s);

/* Do this wrong from the next request but @good_first on. Ends an earlier SILENT or FREEZE. */
void fe_shmem_set_fault(struct fe_shmem *s, enum fe_shmem_fault fault, unsigned good_first);
/* Give the answer that is kept (SILENT), or go on reading (FREEZE); and so for each later request.
 */
void fe_shmem_release(struct fe_shmem *s);
/* The device stops running, or runs again. */
void fe_shmem_suspend(struct fe_shmem *s, bool suspended);
/* Drop all mappings, as a device reset does. */
void fe_shmem_reset(struct fe_shmem *s);

/* The window's memory at @offset, after all that the monitor has done so far. */
uint8_t *fe_shmem_at(struct fe_shmem *s, uint64_t offset);
/* A counter of @s, read under its lock: fe_shmem_get(s, &s->maps). */
unsigned fe_shmem_get(struct fe_shmem *s, const unsigned *field);
/* Requests so far. */
unsigned fe_shmem_requests(struct fe_shmem *s);
/* Wait until there were @n requests. Returns whether that happened in @ms. */
bool fe_shmem_wait(struct fe_shmem *s, unsigned n, int ms);
/* The mapping that begins at @offset of the window. Returns false when there is none. */
bool fe_shmem_find(struct fe_shmem *s, uint64_t offset, struct fe_shmem_map *out);
