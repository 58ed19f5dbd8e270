/* SPDX-License-Identifier: BSD-3-Clause
 * Wire tests with a DAX window: the daemon, and a monitor that maps what it is asked to. The window
 * is memory here: load and store at dax_at() as a guest would. */
#pragma once

#include "tests/lib/fe-shmem.h"
#include "tests/wire/wire.h"

#define DAX_WINDOW (64u << 20)
#define DAX_PIECE  (2u << 20)

#define DAX_FLAGS (fe_init_linux | FUSE_MAP_ALIGNMENT)

#define DAX_READ  2
#define DAX_WRITE 3

extern struct fe_shmem dax_vmm;

/* The daemon with a window and @extra options, connected to a monitor of that @kind, mounted. */
void dax_mount(struct wire *w, enum fe_shmem_kind kind, const char *const *extra);
/* Hang up; the daemon ends well. Checks that the monitor saw no wrong request. */
void dax_umount(struct wire *w);
/* Test tear-down in any case. */
int dax_cleanup(void **state);

/* One SETUPMAPPING; @flags DAX_READ or DAX_WRITE. */
int dax_map_len(struct wire *w, uint64_t node, uint64_t foffset, uint64_t moffset, uint64_t len,
                uint64_t flags);
/* The first 2 MiB of the file at @moffset. */
int dax_map(struct wire *w, uint64_t node, uint64_t moffset, uint64_t flags);
int dax_unmap(struct wire *w, uint64_t node, uint64_t moffset);

static inline uint8_t *dax_at(uint64_t moffset)
{
    return fe_shmem_at(&dax_vmm, moffset);
}

/* A file of @size bytes of the pattern (wire_pattern()) in the share. */
void dax_put(struct wire *w, const char *name, size_t size);
/* Whether the window shows the pattern at @moffset for @size bytes. */
bool dax_shows(uint64_t moffset, size_t size);
/* Whether attributes of a name carry the flag: by LOOKUP. */
bool dax_flagged(struct wire *w, const char *name);
/* Mappings that the monitor has. */
unsigned dax_mapped(void);
