/* SPDX-License-Identifier: BSD-3-Clause
 * Large buffers that go round instead of back to malloc(), which gives their pages to the system
 * each time: with several large reads in flight the page faults then cost as much as the copy. */
#pragma once

#include <pthread.h>
#include <stddef.h>

#define P9_SPARE_LEAST ((size_t)64 << 10) /* smaller ones are malloc's business */
#define P9_SPARE_BYTES ((size_t)4 << 20)  /* kept at most */
#define P9_SPARE_MOST  16u                /* as a number */

struct p9_spare {
    pthread_mutex_t lock; /* a leaf */
    struct p9_buf {
        void *at;
        size_t size;
    } bufs[P9_SPARE_MOST]; /* the oldest first */
    unsigned n;
    size_t bytes;
};

void p9_spare_init(struct p9_spare *s);
void p9_spare_fini(struct p9_spare *s);
/* Free what is kept: nobody is there to use it. */
void p9_spare_empty(struct p9_spare *s);

/* How much memory a buffer of @size bytes takes: large ones come in steps, so that they can be used
 * again and all that is held is counted. */
static inline size_t p9_spare_size(size_t size)
{
    return size < P9_SPARE_LEAST ? size : (size + P9_SPARE_LEAST - 1) & ~(P9_SPARE_LEAST - 1);
}

/* A buffer of p9_spare_size(@size) bytes, of unknown contents. */
struct p9_buf p9_spare_get(struct p9_spare *s, size_t size);
/* Give one back. */
void p9_spare_put(struct p9_spare *s, struct p9_buf buf);
