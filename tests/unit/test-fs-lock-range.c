/* SPDX-License-Identifier: BSD-3-Clause
 * Ranges of one owner, beside a byte map that does the same slowly, and beside the kernel's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "virtiofsd/fs/fs-lock-range.h"

#define BYTES  40
#define ROUNDS 20000

static struct fs_lock lock_of(short type, off_t start, off_t end)
{
    return (struct fs_lock){.type = type, .start = start, .end = end};
}

/* The ranges as text: "w0-9 r10-". */
static char *show(const GArray *r)
{
    GString *s = g_string_new(NULL);
    for (unsigned i = 0; i < r->len; i++) {
        const struct fs_range *g = &g_array_index(r, struct fs_range, i);
        g_string_append_printf(s, "%s%c%ld-", i ? " " : "", g->type == F_WRLCK ? 'w' : 'r',
                               (long)g->start);
        if (g->end != INT64_MAX)
            g_string_append_printf(s, "%ld", (long)g->end);
    }
    return g_string_free(s, FALSE);
}

static void test_by_hand(void **state)
{
    static const struct {
        short type;
        off_t start, end;
        const char *then;
    } steps[] = {
        {F_WRLCK, 0, 9, "w0-9"},
        {F_WRLCK, 10, 19, "w0-19"},
        {F_RDLCK, 5, 6, "w0-4 r5-6 w7-19"},
        {F_WRLCK, 21, INT64_MAX, "w0-4 r5-6 w7-19 w21-"},
        {F_WRLCK, 20, 20, "w0-4 r5-6 w7-"},
        {F_UNLCK, INT64_MAX, INT64_MAX, "w0-4 r5-6 w7-9223372036854775806"},
        {F_RDLCK, 0, 4, "r0-6 w7-9223372036854775806"},
        {F_UNLCK, 3, 100, "r0-2 w101-9223372036854775806"},
        {F_RDLCK, INT64_MAX, INT64_MAX, "r0-2 w101-9223372036854775806 r9223372036854775807-"},
        {F_UNLCK, 50, 60, "r0-2 w101-9223372036854775806 r9223372036854775807-"},
        {F_RDLCK, 0, INT64_MAX, "r0-"},
        {F_UNLCK, 0, INT64_MAX, ""},
    };
    GArray *r = fs_ranges_new();
    for (unsigned i = 0; i < G_N_ELEMENTS(steps); i++) {
        struct fs_lock lk = lock_of(steps[i].type, steps[i].start, steps[i].end);
        unsigned after = fs_ranges_after(r, &lk);
        fs_ranges_apply(r, &lk);
        g_autofree char *text = show(r);
        if (strcmp(text, steps[i].then) != 0)
            fail_msg("step %u: \"%s\", not \"%s\"", i, text, steps[i].then);
        assert_int_equal(after, r->len);
    }
    g_array_unref(r);
}

/* Ranges and a map of bytes say the same, however they are locked. */
static void test_map(void **state)
{
    static const short types[] = {F_UNLCK, F_RDLCK, F_WRLCK};
    short map[BYTES];
    GArray *r = fs_ranges_new();

    for (unsigned i = 0; i < BYTES; i++)
        map[i] = F_UNLCK;
    g_autoptr(GRand) rnd = g_rand_new_with_seed(7);
    for (unsigned round = 0; round < ROUNDS; round++) {
        off_t a = g_rand_int_range(rnd, 0, BYTES), b = g_rand_int_range(rnd, (int)a, BYTES);
        struct fs_lock lk = lock_of(types[g_rand_int_range(rnd, 0, 3)], a, b);
        unsigned after = fs_ranges_after(r, &lk), n = 0;
        fs_ranges_apply(r, &lk);
        assert_int_equal(after, r->len);
        for (off_t i = a; i <= b; i++)
            map[i] = lk.type;
        for (off_t i = 0; i < BYTES; i++) {
            if (i == 0 || map[i] != map[i - 1])
                n += map[i] != F_UNLCK;
            struct fs_lock read = lock_of(F_RDLCK, i, i), write = lock_of(F_WRLCK, i, i);
            assert_int_equal(fs_ranges_conflict(r, &read) != NULL, map[i] == F_WRLCK);
            assert_int_equal(fs_ranges_conflict(r, &write) != NULL, map[i] != F_UNLCK);
        }
        assert_int_equal(n, r->len);
    }
    g_array_unref(r);
}

/* How many ranges the kernel has: lines of our file in /proc/locks. */
static unsigned kernel_ranges(unsigned long ino)
{
    char line[256], want[32];
    unsigned n = 0;
    FILE *f = fopen("/proc/locks", "re");
    if (!f)
        return UINT32_MAX;
    snprintf(want, sizeof(want), ":%lu ", ino);
    while (fgets(line, sizeof(line), f))
        n += strstr(line, want) != NULL;
    fclose(f);
    return n;
}

static void test_kernel(void **state)
{
    static const short types[] = {F_UNLCK, F_RDLCK, F_WRLCK};
    char path[] = "/tmp/ranges-XXXXXX";
    int fd = mkstemp(path);
    GArray *r = fs_ranges_new();
    struct stat st;

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(fstat(fd, &st), 0);
    g_autoptr(GRand) rnd = g_rand_new_with_seed(8);
    for (unsigned round = 0; round < 500; round++) {
        off_t a = g_rand_int_range(rnd, 0, BYTES), b = g_rand_int_range(rnd, (int)a, BYTES);
        struct fs_lock lk = lock_of(types[g_rand_int_range(rnd, 0, 3)], a, b);
        struct flock fl = {.l_type = lk.type, .l_start = a, .l_len = b - a + 1};
        assert_int_equal(fcntl(fd, F_OFD_SETLK, &fl), 0);
        fs_ranges_apply(r, &lk);
        unsigned n = kernel_ranges((unsigned long)st.st_ino);
        if (n == UINT32_MAX || (n == 0 && r->len > 0))
            break; /* no /proc/locks, or one of another kernel */
        assert_int_equal(n, r->len);
    }
    close(fd);
    g_array_unref(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
