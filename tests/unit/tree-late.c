/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/tree-over.h"
#include "tests/unit/tree-wait.h"

#include <stdatomic.h>

#define MS 1

static const struct tree_ops *host_ops;
static struct tree_ops late_ops;
static struct tree_waits *waits;
static atomic_uint reads;

/* Whether this read has to come again. */
static bool is_late(void)
{
    return !tree_waits_serving() || atomic_fetch_add(&reads, 1) % 5 == 4;
}

static ssize_t late_read(struct tree *t, struct tree_file *file, struct iovec *iov, unsigned cnt,
                         off_t off, unsigned how)
{
    return is_late() ? TREE_NOT_YET : host_ops->read(t, file, iov, cnt, off, how);
}

static ssize_t late_copy(struct tree *t, struct tree_file *in, off_t off_in, struct tree_file *out,
                         off_t off_out, size_t len, unsigned how)
{
    return is_late() ? TREE_NOT_YET : host_ops->copy(t, in, off_in, out, off_out, len, how);
}

static int fetch(struct tree *t, struct tree_node *node, off_t off, size_t len, struct tree_wait *w)
{
    tree_waits_add(waits, w, MS, 0);
    return 0;
}

static bool cancel(struct tree *t, struct tree_wait *w)
{
    return tree_waits_cancel(waits, w);
}

static void free_late(struct tree *t)
{
    tree_waits_free(waits);
    waits = NULL;
    host_ops->free(t);
}

struct tree *tree_late_over(struct tree *t)
{
    if (!t)
        return NULL;
    host_ops = t->ops;
    late_ops = *host_ops;
    late_ops.read = late_read;
    late_ops.copy = late_copy;
    late_ops.fetch = fetch;
    late_ops.cancel = cancel;
    late_ops.free = free_late;
    t->ops = &late_ops;
    waits = tree_waits_new();
    return t;
}
