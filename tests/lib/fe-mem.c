/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fe-mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GPA_BASE   0x100000
#define HOLE       0x1000000
#define UADDR_BASE 0x7f0000000000ULL

int fe_mem_add(struct fe_mem *m, uint64_t gpa, uint64_t size, uint64_t off)
{
    if (m->n == FE_MAX_REGIONS)
        return -ENOSPC;
    struct fe_region *r = &m->r[m->n];
    *r = (struct fe_region){.gpa = gpa, .uaddr = UADDR_BASE + gpa, .size = size, .off = off};
    r->fd = memfd_create("guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (r->fd < 0)
        return -errno;
    if (ftruncate(r->fd, (off_t)(off + size)) < 0) {
        int err = -errno;
        close(r->fd);
        return err;
    }
    r->ptr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, (off_t)off);
    if (r->ptr == MAP_FAILED) {
        int err = -errno;
        close(r->fd);
        return err;
    }
    return (int)m->n++;
}

int fe_mem_init(struct fe_mem *m, uint64_t size0, uint64_t size1, uint64_t size2)
{
    memset(m, 0, sizeof(*m));
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    int r = fe_mem_add(m, GPA_BASE, size0, 0);
    if (r >= 0)
        r = fe_mem_add(m, GPA_BASE + size0, size1, 4 * page);
    if (r >= 0)
        r = fe_mem_add(m, GPA_BASE + size0 + size1 + HOLE, size2, 0);
    if (r < 0)
        fe_mem_free(m);
    return r < 0 ? r : 0;
}

void fe_mem_free(struct fe_mem *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        munmap(m->r[i].ptr, m->r[i].size);
        close(m->r[i].fd);
    }
    m->n = 0;
}

uint64_t fe_mem_alloc(struct fe_mem *m, unsigned r, size_t size, size_t align)
{
    struct fe_region *g = &m->r[r];
    uint64_t at = (g->gpa + g->used + align - 1) & ~((uint64_t)align - 1);
    if (r >= m->n || at + size > g->gpa + g->size) {
        fprintf(stderr, "fe-mem: region %u is full\n", r);
        abort();
    }
    g->used = at + size - g->gpa;
    return at;
}

static const struct fe_region *find(const struct fe_mem *m, uint64_t gpa)
{
    for (unsigned i = 0; i < m->n; i++)
        if (gpa >= m->r[i].gpa && gpa - m->r[i].gpa < m->r[i].size)
            return &m->r[i];
    fprintf(stderr, "fe-mem: no memory at %#llx\n", (unsigned long long)gpa);
    abort();
}

void *fe_mem_ptr(const struct fe_mem *m, uint64_t gpa)
{
    const struct fe_region *r = find(m, gpa);
    return r->ptr + (gpa - r->gpa);
}

uint64_t fe_mem_uaddr(const struct fe_mem *m, uint64_t gpa)
{
    const struct fe_region *r = find(m, gpa);
    return r->uaddr + (gpa - r->gpa);
}
