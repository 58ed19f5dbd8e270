/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/fuse-window.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SIZE = FUSE_WINDOW_PAGE * FUSE_WINDOW_PAGES, REFUSED = 7 };

static atomic_uint asked;

static int front_map(void *user, int fd, uint64_t pos, uint64_t at, uint64_t len, bool writable)
{
    if (len == 0 || at + len > SIZE || (pos | at | len) % FUSE_WINDOW_PAGE || fd < 0)
        abort();
    return atomic_fetch_add(&asked, 1) % REFUSED == REFUSED - 1 ? -EIO : 0;
}

static int front_unmap(void *user, uint64_t at, uint64_t len)
{
    if (len == 0 || at + len > SIZE || (at | len) % FUSE_WINDOW_PAGE)
        abort();
    return 0;
}

static int front_commit(void *user)
{
    return 0;
}

static int front_probe(void *user, struct dax_caps *caps)
{
    *caps = (struct dax_caps){.tail = true};
    return 0;
}

struct dax_window *fuse_window_new(void)
{
    static const struct dax_ops front = {front_map, front_unmap, front_commit, front_probe, NULL};
    struct dax_config dc = {.ops = &front, .size = SIZE, .granule = FUSE_WINDOW_PAGE};
    struct dax_window *w = dax_window_new(&dc);
    if (!w)
        abort();
    return w;
}

void fuse_window_begin(void)
{
    atomic_store(&asked, 0);
}
