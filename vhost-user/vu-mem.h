/* SPDX-License-Identifier: BSD-3-Clause
 * Guest memory: a table of mapped regions.
 *
 * A table never changes: messages make a new one that shares the mappings that stay. Tables and
 * mappings are counted, so that a request keeps the memory that it was translated with. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vhost-user/vu-sigbus.h"
#include "vhost-user/vu-wire.h"

/* One mmap(2) of one memory file. */
struct vu_map {
    atomic_uint refs;
    void *base;
    size_t len;
    unsigned slot; /* in the SIGBUS registry */
    dev_t dev;     /* of which file; while mapped its number is not given to another */
    ino_t ino;
    uint64_t offset; /* of the region in the file */
};

struct vu_region {
    uint64_t gpa, size, uaddr;
    uint8_t *host; /* where gpa is mapped */
    struct vu_map *map;
};

struct vu_mem {
    atomic_uint refs;
    unsigned cnt;
    struct vu_region region[]; /* sorted by gpa, no overlap */
};

/* Make a table with one region more than @old (NULL: none). @fd is mapped, not taken over.
 * @sink is told when the file turns out shorter than it was; it must outlive the table.
 * Returns 0 with *@out set to a new reference, or -EINVAL (size 0, overflow, not a regular file or
 * too short a file), -EEXIST (overlap), -ENOSPC (too many), or what mmap says. */
int vu_mem_add(const struct vu_mem *old, const struct vu_wire_region *r, int fd,
               struct vu_sigbus_sink *sink, struct vu_mem **out);

/* Make a table without the region that has gpa, uaddr and size of @r. *@out becomes NULL when
 * nothing is left. Returns 0 or -ENOENT. */
int vu_mem_remove(const struct vu_mem *old, const struct vu_wire_region *r, struct vu_mem **out);

/* Whether region @r of the file @fd is in @mem (NULL: no) as it is. */
bool vu_mem_has(const struct vu_mem *mem, const struct vu_wire_region *r, int fd);

struct vu_mem *vu_mem_ref(struct vu_mem *mem); /* NULL stays NULL */
void vu_mem_unref(struct vu_mem *mem);

/* Region of @mem that holds @gpa, NULL when none does; @hint is the caller's cache of the last hit.
 */
const struct vu_region *vu_mem_find(const struct vu_mem *mem, uint64_t gpa, unsigned *hint);

/* Host address of guest memory at @gpa, with *@room = bytes that follow it in the same region;
 * NULL when no region holds it. */
static inline void *vu_mem_gpa(const struct vu_mem *mem, uint64_t gpa, unsigned *hint,
                               uint64_t *room)
{
    const struct vu_region *r = &mem->region[*hint];
    if (__builtin_expect(*hint >= mem->cnt || gpa - r->gpa >= r->size, 0)) {
        r = vu_mem_find(mem, gpa, hint);
        if (!r)
            return NULL;
    }
    *room = r->size - (gpa - r->gpa);
    return r->host + (gpa - r->gpa);
}

/* Host address of @len bytes at the front-end's address @uaddr, all in one region; else NULL. */
void *vu_mem_uaddr(const struct vu_mem *mem, uint64_t uaddr, uint64_t len);
