/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/wire/wire-dax.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fe_shmem dax_vmm;
static bool running;

#define MAX_OPTIONS 12

void dax_mount(struct wire *w, enum fe_shmem_kind kind, const char *const *extra)
{
    const char *options[MAX_OPTIONS] = {"--dax-window=64M", "--tag=dax"};
    for (unsigned n = 2; extra && *extra; extra++) {
        assert_true(n < MAX_OPTIONS - 1);
        options[n++] = *extra;
    }
    assert_int_equal(fe_shmem_start(&dax_vmm, kind, DAX_WINDOW), 0);
    running = true;
    wire_spawn(w, options);
    wire_rings_shmem(w, dax_vmm.channel);
    assert_int_equal(fe_init(&w->f, DAX_FLAGS), 0);
}

static void stop(void)
{
    if (running)
        fe_shmem_stop(&dax_vmm);
    running = false;
}

void dax_umount(struct wire *w)
{
    unsigned malformed = fe_shmem_get(&dax_vmm, &dax_vmm.malformed);
    unsigned grown = fe_shmem_get(&dax_vmm, &dax_vmm.grown);
    wire_finish(w, 0);
    stop();
    assert_int_equal(malformed, 0);
    assert_int_equal(grown, 0);
}

int dax_cleanup(void **state)
{
    int rc = wire_cleanup(state);
    stop();
    return rc;
}

int dax_map_len(struct wire *w, uint64_t node, uint64_t foffset, uint64_t moffset, uint64_t len,
                uint64_t flags)
{
    struct fuse_setupmapping_in in = {
        .fh = UINT64_MAX, .foffset = foffset, .len = len, .flags = flags, .moffset = moffset};
    return fe_call(&w->f, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0, NULL);
}

int dax_map(struct wire *w, uint64_t node, uint64_t moffset, uint64_t flags)
{
    return dax_map_len(w, node, 0, moffset, DAX_PIECE, flags);
}

int dax_unmap(struct wire *w, uint64_t node, uint64_t moffset)
{
    struct {
        uint32_t count;
        struct fuse_removemapping_one one;
    } __attribute__((packed)) in = {1, {.moffset = moffset, .len = DAX_PIECE}};
    return fe_call(&w->f, FUSE_REMOVEMAPPING, node, &in, sizeof(in), NULL, 0, NULL);
}

void dax_put(struct wire *w, const char *name, size_t size)
{
    int fd = open(wire_path(w, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    uint8_t *buf = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        buf[i] = wire_pattern(i);
    assert_int_equal(write(fd, buf, size), size);
    close(fd);
    free(buf);
}

bool dax_shows(uint64_t moffset, size_t size)
{
    const uint8_t *p = dax_at(moffset);
    for (size_t i = 0; i < size; i++) {
        if (p[i] != wire_pattern(i)) {
            print_message("byte %zu of %zu: %u, not %u\n", i, size, p[i], wire_pattern(i));
            return false;
        }
    }
    return true;
}

bool dax_flagged(struct wire *w, const char *name)
{
    struct fuse_entry_out e;
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, name, &e), 0);
    return e.attr.flags & FUSE_ATTR_DAX;
}

unsigned dax_mapped(void)
{
    return fe_shmem_get(&dax_vmm, &dax_vmm.nmaps);
}
