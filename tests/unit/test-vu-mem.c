/* SPDX-License-Identifier: BSD-3-Clause
 * Guest memory: what is refused, what is found, what lives how long. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost-user/vu-mem.h"

#define PAGE 4096u
#define SIZE (64 * PAGE)

static struct vu_sigbus_sink sink = {.wake_fd = -1};

static int memory_file(size_t size)
{
    int fd = memfd_create("guest", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

static int setup(void **state)
{
    int *fd = g_new(int, 1);
    *fd = memory_file(SIZE);
    *state = fd;
    return 0;
}

static int teardown(void **state)
{
    close(*(int *)*state);
    g_free(*state);
    return 0;
}

/* Add to a table in place. */
static int add(struct vu_mem **mem, int fd, uint64_t gpa, uint64_t size, uint64_t uaddr,
               uint64_t offset)
{
    struct vu_wire_region r = {gpa, size, uaddr, offset};
    struct vu_mem *more;
    int rc = vu_mem_add(*mem, &r, fd, &sink, &more);
    if (rc == 0) {
        vu_mem_unref(*mem);
        *mem = more;
    }
    return rc;
}

static void test_refused(void **state)
{
    int fd = *(int *)*state;
    static const struct {
        const char *what;
        uint64_t gpa, size, uaddr, offset;
        int rc;
    } rows[] = {
        {"no size", 0, 0, 0, 0, -EINVAL},
        {"gpa overflows", UINT64_MAX - PAGE + 1, 2 * PAGE, 0, 0, -EINVAL},
        {"gpa ends at 2^64", UINT64_MAX - PAGE + 1, PAGE, 0, 0, -EINVAL},
        {"uaddr overflows", 0, 2 * PAGE, UINT64_MAX - PAGE, 0, -EINVAL},
        {"offset overflows", 0, PAGE, 0, UINT64_MAX - PAGE + 2, -EINVAL},
        {"offset beyond signed", 0, PAGE, 0, INT64_MAX, -EINVAL},
        {"size of the address space", 0, UINT64_MAX, 0, 0, -EINVAL},
        {"longer than the file", 0, SIZE + 1, 0, 0, -EINVAL},
        {"file ends before the region", 0, PAGE, 0, SIZE - PAGE + 1, -EINVAL},
        {"region after the file", 0, PAGE, 0, SIZE, -EINVAL},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct vu_mem *mem = NULL;
        int rc = add(&mem, fd, rows[i].gpa, rows[i].size, rows[i].uaddr, rows[i].offset);
        if (rc != rows[i].rc)
            fail_msg("%s: %d", rows[i].what, rc);
        assert_null(mem);
    }
}

static void test_refused_files(void **state)
{
    struct vu_mem *mem = NULL;
    int fd = *(int *)*state, p[2];
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int ro = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(ro >= 0);
    assert_int_equal(add(&mem, ro, 0, PAGE, 0, 0), -EACCES);
    close(ro);
    assert_int_equal(pipe(p), 0);
    assert_int_equal(add(&mem, p[0], 0, PAGE, 0, 0), -EINVAL);
    close(p[0]);
    close(p[1]);
    assert_int_equal(add(&mem, -1, 0, PAGE, 0, 0), -EINVAL);
}

static void test_overlap(void **state)
{
    struct vu_mem *mem = NULL;
    int fd = *(int *)*state;
    const uint64_t g = 0x100000, u = 0x7f0000000000;

    assert_int_equal(add(&mem, fd, g, 4 * PAGE, u, 0), 0);
    assert_int_equal(add(&mem, fd, g, 4 * PAGE, u + SIZE, 0), -EEXIST);
    assert_int_equal(add(&mem, fd, g + PAGE, PAGE, u + SIZE, 0), -EEXIST);
    assert_int_equal(add(&mem, fd, g - PAGE, 8 * PAGE, u + SIZE, 0), -EEXIST);
    assert_int_equal(add(&mem, fd, g - PAGE, PAGE + 1, u + SIZE, 0), -EEXIST);
    assert_int_equal(add(&mem, fd, g + SIZE, PAGE, u + PAGE, 0), -EEXIST);
    assert_int_equal(mem->cnt, 1);
    /* Neighbours on both sides are fine. */
    assert_int_equal(add(&mem, fd, g - PAGE, PAGE, u - PAGE, 8 * PAGE), 0);
    assert_int_equal(add(&mem, fd, g + 4 * PAGE, PAGE, u + 4 * PAGE, 9 * PAGE), 0);
    assert_int_equal(mem->cnt, 3);
    vu_mem_unref(mem);
}

static void test_translate(void **state)
{
    struct vu_mem *mem = NULL;
    int fd = *(int *)*state;
    unsigned hint = 0;
    uint64_t room;
    const uint64_t u = 0x7f0000000000;

    /* In another order than their addresses, at odd offsets of the file. */
    assert_int_equal(add(&mem, fd, 0x30000, 2 * PAGE, u + 0x30000, 5 * PAGE + 16), 0);
    assert_int_equal(add(&mem, fd, 0x10000, PAGE, u + 0x10000, PAGE), 0);
    assert_int_equal(add(&mem, fd, 0x20000, PAGE, u + 0x20000, 0), 0);
    for (unsigned i = 1; i < mem->cnt; i++)
        assert_true(mem->region[i - 1].gpa < mem->region[i].gpa);

    char *p = vu_mem_gpa(mem, 0x30000 + 8, &hint, &room);
    assert_non_null(p);
    assert_int_equal(room, 2 * PAGE - 8);
    strcpy(p, "here");
    char buf[8];
    assert_int_equal(pread(fd, buf, 5, 5 * PAGE + 16 + 8), 5);
    assert_string_equal(buf, "here");
    assert_ptr_equal(vu_mem_uaddr(mem, u + 0x30000 + 8, 2 * PAGE - 8), p);

    assert_non_null(vu_mem_gpa(mem, 0x10000, &hint, &room));
    assert_non_null(vu_mem_gpa(mem, 0x20000 + PAGE - 1, &hint, &room));
    assert_int_equal(room, 1);
    static const uint64_t outside[] = {0, 0xffff, 0x11000, 0x32000, UINT64_MAX};
    for (unsigned i = 0; i < G_N_ELEMENTS(outside); i++) {
        assert_null(vu_mem_gpa(mem, outside[i], &hint, &room));
        assert_null(vu_mem_uaddr(mem, u + outside[i], 1));
    }
    hint = 77; /* of a larger table */
    assert_non_null(vu_mem_gpa(mem, 0x10000, &hint, &room));
    assert_null(vu_mem_uaddr(mem, u + 0x10000, PAGE + 1));
    assert_null(vu_mem_uaddr(mem, u + 0x10000 + 1, UINT64_MAX));
    assert_null(vu_mem_uaddr(NULL, u, 1));
    vu_mem_unref(mem);
}

static void test_lifetime(void **state)
{
    struct vu_mem *mem = NULL, *less;
    int fd = *(int *)*state;
    unsigned hint = 0;
    uint64_t room;
    struct vu_wire_region a = {0x1000, PAGE, 0x1000, 0}, b = {0x2000, PAGE, 0x2000, PAGE};

    assert_int_equal(add(&mem, fd, a.gpa, a.size, a.uaddr, a.mmap_offset), 0);
    assert_int_equal(add(&mem, fd, b.gpa, b.size, b.uaddr, b.mmap_offset), 0);
    char *pa = vu_mem_gpa(mem, 0x1000, &hint, &room), *pb = vu_mem_gpa(mem, 0x2000, &hint, &room);

    a.size += 1;
    assert_int_equal(vu_mem_remove(mem, &a, &less), -ENOENT);
    a.size -= 1;
    a.mmap_offset = 99; /* means nothing here */
    assert_int_equal(vu_mem_remove(mem, &a, &less), 0);
    assert_int_equal(less->cnt, 1);
    assert_null(vu_mem_gpa(less, 0x1000, &hint, &room));
    /* The mapping that stays is the same, and the old table keeps the other one. */
    assert_ptr_equal(vu_mem_gpa(less, 0x2000, &hint, &room), pb);
    *pa = 'a';
    vu_mem_unref(mem);
    assert_int_equal(msync(pa, PAGE, MS_ASYNC), -1);
    assert_int_equal(errno, ENOMEM);
    *pb = 'b';
    mem = less;
    assert_int_equal(vu_mem_remove(mem, &b, &less), 0);
    assert_null(less);
    vu_mem_unref(mem);
    assert_int_equal(vu_mem_remove(NULL, &b, &less), -ENOENT);
}

static void test_many_slots(void **state)
{
    struct vu_mem *mem = NULL;
    int fd = *(int *)*state;
    unsigned hint = 0;
    uint64_t room;
    for (uint64_t i = 0; i < VU_MEM_SLOTS; i++)
        assert_int_equal(add(&mem, fd, i * 2 * PAGE, PAGE, i * 2 * PAGE, 0), 0);
    assert_int_equal(add(&mem, fd, UINT64_C(1) << 40, PAGE, UINT64_C(1) << 40, 0), -ENOSPC);
    for (uint64_t i = 0; i < VU_MEM_SLOTS; i++) {
        assert_non_null(vu_mem_gpa(mem, i * 2 * PAGE, &hint, &room));
        assert_int_equal(hint, i);
        assert_null(vu_mem_gpa(mem, (i * 2 + 1) * PAGE, &hint, &room));
    }
    vu_mem_unref(mem);
}

static void test_truncated_file(void **state)
{
    struct vu_mem *mem = NULL;
    int fd = *(int *)*state;
    unsigned hint = 0;
    uint64_t room;
    vu_sigbus_install();
    atomic_store(&sink.hit, false);
    assert_int_equal(add(&mem, fd, 0, SIZE, 0, 0), 0);
    volatile char *p = vu_mem_gpa(mem, 0, &hint, &room);
    p[PAGE] = 'x';
    assert_int_equal(ftruncate(fd, PAGE), 0);
    assert_false(atomic_load(&sink.hit));
    assert_int_equal(p[PAGE], 0); /* would be the end of the process */
    assert_true(atomic_load(&sink.hit));
    p[SIZE - 1] = 'y';
    assert_int_equal(p[SIZE - 1], 'y');
    vu_mem_unref(mem);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(test_refused),        unit(test_refused_files), unit(test_overlap),
        unit(test_translate),      unit(test_lifetime),      unit(test_many_slots),
        unit(test_truncated_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
