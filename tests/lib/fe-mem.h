/* SPDX-License-Identifier: BSD-3-Clause
 * Guest memory of the fake front-end: several memfd regions, like a virtual machine's. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FE_MAX_REGIONS 8

struct fe_region {
    int fd;
    uint64_t gpa;   /* guest physical address */
    uint64_t uaddr; /* "virtual address of the front-end": a number, never our own pointer */
    uint64_t size;
    uint64_t off;  /* where the region starts in the file */
    uint8_t *ptr;  /* our mapping of it */
    uint64_t used; /* bytes handed out by fe_mem_alloc() */
};

struct fe_mem {
    unsigned n;
    struct fe_region r[FE_MAX_REGIONS];
};

/* Three regions: 0 and 1 adjacent in guest addresses, 2 behind a hole; region 1 starts inside its
 * file. Sizes in bytes, multiples of the page size. Returns 0 or -errno. */
int fe_mem_init(struct fe_mem *m, uint64_t size0, uint64_t size1, uint64_t size2);
void fe_mem_free(struct fe_mem *m);

/* Add a region. Returns its index or -errno. */
int fe_mem_add(struct fe_mem *m, uint64_t gpa, uint64_t size, uint64_t off);

/* Take @size bytes of region @r (zero from the start), aligned to @align (a power of two). Returns
 * the guest address; aborts when the region is full (a mistake of the test). Nothing is given back.
 */
uint64_t fe_mem_alloc(struct fe_mem *m, unsigned r, size_t size, size_t align);

/* Our pointer to a guest address; aborts when it is in no region. */
void *fe_mem_ptr(const struct fe_mem *m, uint64_t gpa);
/* The front-end virtual address of a guest address, as SET_VRING_ADDR wants it. */
uint64_t fe_mem_uaddr(const struct fe_mem *m, uint64_t gpa);
