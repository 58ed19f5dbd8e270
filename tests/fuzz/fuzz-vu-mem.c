/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: memory tables and where rings lie in them.
 *
 * Input: records of {u8 action, u8 region, u64 gpa, u64 size, u64 uaddr, u64 offset}: add a region
 * of the file, remove one, look an address up, locate a ring. All is compared with a plain list. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/target.h"
#include "vhost-user/vu-ring.h"

enum { ADD, REMOVE, FIND, LOCATE, ACTIONS, RECORD = 34, FILE_SIZE = 0x8000, MAX_RECORDS = 64 };

static int fd;
static struct vu_sigbus_sink sink = {.wake_fd = -1};
static struct vu_mem *mem;
static struct vu_wire_region list[MAX_RECORDS];
static unsigned listed;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fd = memfd_create("guest", MFD_CLOEXEC);
    return fd < 0 || ftruncate(fd, FILE_SIZE) < 0 ? -1 : 0;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a - b < b_len || b - a < a_len;
}

/* Whether a table of what is listed and @r would be a good one. */
static bool fits(const struct vu_wire_region *r)
{
    if (r->size == 0 || r->size > FILE_SIZE || r->mmap_offset > FILE_SIZE - r->size ||
        r->gpa + r->size < r->gpa || r->uaddr + r->size < r->uaddr)
        return false;
    for (unsigned i = 0; i < listed; i++) {
        if (overlap(list[i].gpa, list[i].size, r->gpa, r->size) ||
            overlap(list[i].uaddr, list[i].size, r->uaddr, r->size))
            return false;
    }
    return true;
}

static void use(struct vu_mem *fresh)
{
    vu_mem_unref(mem);
    mem = fresh;
}

static void add(const struct vu_wire_region *r)
{
    struct vu_mem *more;
    bool good = fits(r);
    if ((vu_mem_add(mem, r, fd, &sink, &more) == 0) != good)
        abort();
    if (!good)
        return;
    list[listed++] = *r;
    use(more);
}

/* Of the list, or one made up. */
static void take_out(const struct vu_wire_region *r, uint8_t which)
{
    struct vu_mem *less;
    unsigned i = 0;
    if (which & 0x80 && listed > 0)
        r = &list[which % listed];
    while (i < listed &&
           (list[i].gpa != r->gpa || list[i].size != r->size || list[i].uaddr != r->uaddr))
        i++;
    if ((vu_mem_remove(mem, r, &less) == 0) != (i < listed))
        abort();
    if (i == listed)
        return;
    list[i] = list[--listed];
    use(less);
}

/* Every address in the table leads to the file's byte that it should. */
static void find(uint64_t gpa, unsigned hint)
{
    const struct vu_wire_region *r = NULL;
    uint64_t room = 0;
    const uint8_t *p = mem ? vu_mem_gpa(mem, gpa, &hint, &room) : NULL;
    for (unsigned i = 0; i < listed; i++) {
        if (gpa - list[i].gpa < list[i].size)
            r = &list[i];
    }
    if (!p != !r)
        abort();
    if (!p)
        return;
    uint64_t want = r->mmap_offset + (gpa - r->gpa);
    uint8_t byte;
    if (room != r->size - (gpa - r->gpa) || pread(fd, &byte, 1, (off_t)want) != 1 || byte != p[0])
        abort();
    (void)*(const volatile uint8_t *)(p + room - 1);
}

/* A ring that was found can be written to its last byte. */
static void locate(uint8_t order, const struct vu_wire_region *at)
{
    struct vu_ring_parts p;
    unsigned num = 1u << (order & 15);
    if (vu_ring_locate(mem, num, at->gpa, at->size, at->uaddr, &p) != 0)
        return;
    uint16_t *used_end = (uint16_t *)(void *)&p.used->ring[num];
    p.desc[num - 1].next++;
    p.avail->ring[num]++;
    *used_end += 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vu_wire_region r;
    for (unsigned i = 0; i < MAX_RECORDS && size >= RECORD; i++) {
        memcpy(&r, data + 2, sizeof(r));
        switch (data[0] % ACTIONS) {
        case ADD:
            add(&r);
            break;
        case REMOVE:
            take_out(&r, data[1]);
            break;
        case FIND:
            find(r.gpa, data[1]);
            break;
        case LOCATE:
            locate(data[1], &r);
            break;
        }
        data += RECORD;
        size -= RECORD;
    }
    if ((mem ? mem->cnt : 0) != listed)
        abort();
    use(NULL);
    listed = 0;
    return 0;
}
