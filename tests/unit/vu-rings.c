/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/vu-rings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

static struct vu_sigbus_sink sink = {.wake_fd = -1};

static struct vu_mem *make_memory(void)
{
    /* Backwards in the file, so that neighbours by address are not neighbours when mapped. */
    static const struct vu_wire_region regions[] = {
        {GPA, SIZE, GPA, 2 * SIZE}, {GPA2, SIZE, GPA2, 0}, {GPA3, SIZE, GPA3, SIZE}};
    struct vu_mem *mem = NULL, *more;
    int fd = memfd_create("guest", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 3 * SIZE), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(vu_mem_add(mem, &regions[i], fd, &sink, &more), 0);
        vu_mem_unref(mem);
        mem = more;
    }
    close(fd);
    return mem;
}

int rings_setup(void **state)
{
    struct fixture *f = g_new0(struct fixture, 1);
    unsigned hint = 0;
    uint64_t room;
    f->mem = make_memory();
    f->base = vu_mem_gpa(f->mem, GPA, &hint, &room);
    vring_init(&f->r, NUM, f->base, 4096);
    f->a = (struct vu_avail){.at = {f->r.desc, f->r.avail, f->r.used},
                             .mem = f->mem,
                             .num = NUM,
                             .indirect = true,
                             .busy = f->busy};
    f->u = (struct vu_used){.ring = f->r.used, .avail = f->r.avail, .num = NUM};
    f->ch = vu_chain_new(NULL, NULL);
    *state = f;
    return 0;
}

int rings_teardown(void **state)
{
    struct fixture *f = *state;
    vu_chain_free(f->ch);
    g_free(f->a.table);
    vu_mem_unref(f->mem);
    g_free(f);
    return 0;
}

void desc(struct fixture *f, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
    f->r.desc[i] = (struct vring_desc){gpa, len, flags, next};
}

struct vring_desc *table(struct fixture *f)
{
    return (struct vring_desc *)(void *)(f->base + TABLE_OFF);
}

void offer(struct fixture *f, uint16_t head)
{
    f->r.avail->ring[f->r.avail->idx % NUM] = head;
    f->r.avail->idx++;
}

int pop(struct fixture *f)
{
    const char *why = NULL;
    vu_chain_clear(f->ch);
    int rc = vu_avail_pop(&f->a, f->ch, &why);
    assert_true((rc < 0) == (why != NULL) || rc > 0);
    return rc;
}

void good_chain(struct fixture *f)
{
    desc(f, 0, DATA, 40, NEXT, 1);
    desc(f, 1, DATA + PAGE, 100, NEXT | WRITE, 2);
    desc(f, 2, DATA + 3 * PAGE, 200, WRITE, 0);
}
