/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/9p/p9-spare.h"

#include <glib.h>
#include <string.h>

#include "virtiofsd/base/auto.h"

void p9_spare_init(struct p9_spare *s)
{
    *s = (struct p9_spare){.n = 0};
    pthread_mutex_init(&s->lock, NULL);
}

void p9_spare_fini(struct p9_spare *s)
{
    p9_spare_empty(s);
    pthread_mutex_destroy(&s->lock);
}

/* Take buffer @i out of the list. */
static struct p9_buf take_locked(struct p9_spare *s, unsigned i)
{
    struct p9_buf buf = s->bufs[i];

    s->bytes -= buf.size;
    s->n--;
    memmove(&s->bufs[i], &s->bufs[i + 1], (s->n - i) * sizeof(buf));
    return buf;
}

void p9_spare_empty(struct p9_spare *s)
{
    AUTO_LOCK(&s->lock);
    while (s->n > 0)
        g_free(take_locked(s, s->n - 1).at);
}

struct p9_buf p9_spare_get(struct p9_spare *s, size_t size)
{
    size = p9_spare_size(size);
    if (size >= P9_SPARE_LEAST) {
        AUTO_LOCK(&s->lock);
        /* The latest one's pages are the likeliest to be in the processor's cache. */
        for (unsigned i = s->n; i > 0; i--) {
            if (s->bufs[i - 1].size == size)
                return take_locked(s, i - 1);
        }
    }
    return (struct p9_buf){g_malloc(size), size};
}

void p9_spare_put(struct p9_spare *s, struct p9_buf buf)
{
    if (buf.size < P9_SPARE_LEAST || buf.size > P9_SPARE_BYTES) {
        g_free(buf.at);
        return;
    }
    AUTO_LOCK(&s->lock);
    while (s->n == P9_SPARE_MOST || s->bytes + buf.size > P9_SPARE_BYTES)
        g_free(take_locked(s, 0).at);
    s->bufs[s->n++] = buf;
    s->bytes += buf.size;
}
