/* SPDX-License-Identifier: BSD-3-Clause
 * A ring in guest memory without a device, for the tests of rings. */
#pragma once

#include "vhost-user/vu-ring.h"

#define NUM  16u
#define PAGE 4096u
#define SIZE (64 * PAGE)
#define GPA  UINT64_C(0x100000)
/* A second region follows the first in guest addresses, but not in ours; a third stands alone. */
#define GPA2      (GPA + SIZE)
#define GPA3      (GPA + 4 * SIZE)
#define DATA      (GPA + 16 * PAGE)
#define TABLE_OFF (8 * PAGE)
#define TABLE     (GPA + TABLE_OFF)

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

struct fixture {
    struct vu_mem *mem;
    uint8_t *base; /* of the first region */
    struct vring r;
    struct vu_avail a;
    struct vu_used u;
    struct vu_chain *ch;
    uint8_t busy[NUM];
};

/* For cmocka: *state becomes a struct fixture with an empty ring. */
int rings_setup(void **state);
int rings_teardown(void **state);

/* Write descriptor @i; the first entry of the page that indirect tables are in. */
void desc(struct fixture *f, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next);
struct vring_desc *table(struct fixture *f);
/* A chain of one readable and two writable segments at descriptor 0. */
void good_chain(struct fixture *f);
void offer(struct fixture *f, uint16_t head);
/* Take into f->ch: 1, 0 or -1. */
int pop(struct fixture *f);
