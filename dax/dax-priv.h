/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the DAX window share. The locks are those of dax-window.h: `order` -> a file's
 * -> `table`; beside each field stands which of them guards it. A field with two is written with
 * both held and read with either. */
#pragma once

#include "dax/dax-window.h"

#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>

/* A private part is at most so long: what a guest can make us compare at each request is bounded
 * whatever the size of its slots. Linux maps 2 MiB at a time. */
#define DAX_PRIVATE_MAX (2u << 20)
/* A slot that grew in so many pieces goes on with private pages: a file that grows page by page
 * must not fill the front-end with mappings. */
#define DAX_PIECES_MANY 16

/* One message's mapping: it can only be taken back as a whole. */
struct dax_piece {
    uint64_t at; /* window offset */
    uint64_t len;
    bool private;
    bool uncopied; /* private, and no byte of it copied yet */
    bool writable; /* as it was said to the front-end */
};

struct dax_slot {
    struct dax_file *file;
    uint64_t foffset, moffset, len;
    uint64_t covered; /* bytes from its start that are mapped, without gaps; order */
    bool write;       /* the guest may store; order and file */
    GArray *pieces;   /* of struct dax_piece, by offset; order and file */
};

struct dax_file {
    uint64_t number;
    unsigned refs; /* table */
    pthread_mutex_t lock;
    int fd;              /* order and file */
    bool writable;       /* order and file */
    GPtrArray *slots;    /* order and file */
    uint64_t valid;      /* size that the private pages show; file */
    uint64_t grown;      /* all slots are mapped as for a file of this size; table */
    unsigned incomplete; /* slots not covered to their end; table */
    unsigned private;    /* private pieces; table */
};

struct dax_timer {
    pthread_t thread;
    pthread_cond_t wake; /* with the table's lock */
    bool started, stop;  /* table */
};

struct dax_window {
    struct dax_config cfg;
    pthread_mutex_t order, table;
    GTree *slots;             /* moffset to struct dax_slot; order */
    GHashTable *files;        /* number to struct dax_file; table, written with order held too */
    int pool;                 /* the private pages; the front-end gets this descriptor */
    int baseline;             /* what they were when last alike with the file; ours alone */
    struct dax_caps caps;     /* order */
    bool probed;              /* order */
    bool uncommitted;         /* mapped since the last commit; order */
    struct dax_times asked;   /* messages and waiting of all kinds; order */
    GArray *stale;            /* of struct dax_piece: may still be mapped there; order */
    struct dax_counts counts; /* table */
    atomic_ullong compared;   /* bytes of private pages */
    struct dax_times times;   /* table */
    unsigned private;         /* private pieces of all files; table */
    struct dax_timer timer;
};

/* dax-file.c: the files that have slots. */

/* A reference on the file called @number, or NULL. */
struct dax_file *dax_file_get(struct dax_window *w, uint64_t number);
void dax_file_put(struct dax_window *w, struct dax_file *f);
/* The file for a slot; takes the descriptor out of *@fd when it is better than the one held.
 * Returns a reference. A file without slots is not in the table yet. Needs order. */
struct dax_file *dax_file_take(struct dax_window *w, uint64_t number, int *fd, bool writable);
/* Put a file into the table that gets a slot. Needs order. */
void dax_file_enter(struct dax_window *w, struct dax_file *f);
/* Forget a file without slots. Needs order. */
void dax_file_drop_unused(struct dax_window *w, struct dax_file *f);
/* All files with private pages, a reference on each. */
GPtrArray *dax_file_list_private(struct dax_window *w);

/* dax-slot.c: what is said to the front-end. All need order. */

/* Enter a slot without pieces. */
struct dax_slot *dax_slot_new(struct dax_window *w, struct dax_file *f,
                              const struct dax_request *rq);
/* Map what is missing for a file of @size bytes; what was mapped stays so on failure. */
int dax_slot_grow(struct dax_window *w, struct dax_slot *s, uint64_t size);
/* Give the guest the right to store; pieces mapped for reading only are mapped again. */
int dax_slot_grant(struct dax_window *w, struct dax_slot *s);
/* Write private bytes back, take the pieces back (when @tell), free. The first error of writing. */
int dax_slot_remove(struct dax_window *w, struct dax_slot *s, bool tell);
int dax_commit(struct dax_window *w);

/* dax-private.c: pages of our own. */

/* Bytes of a file. */
struct dax_span {
    uint64_t from, to;
};
#define DAX_ALL ((struct dax_span){0, UINT64_MAX})

/* Descriptors of pool and baseline; 0 or -errno. */
int dax_private_open(struct dax_window *w);
/* Write the guest's stores back to the file, then (@pull, or the size changed) the file's bytes to
 * the private pages: those of @span, and what the file grew by. Needs the file's lock. */
int dax_private_sync(struct dax_window *w, struct dax_file *f, bool pull, struct dax_span span);
/* Make @len bytes at window offset @at zeroes, their memory free. */
int dax_private_clear(struct dax_window *w, uint64_t at, uint64_t len);

/* dax-timer.c: the thread that writes stores back without a request. */
void dax_timer_init(struct dax_window *w);
void dax_timer_wake(struct dax_window *w); /* there are private pages */
void dax_timer_stop(struct dax_window *w);
