/* SPDX-License-Identifier: BSD-3-Clause
 * Book-keeping of the window against a front-end with QEMU's rules. */
#include "tests/unit/dax-peer.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"

/* They leave less of the address space, and are slow; clang says so in another way than gcc. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || \
    __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
enum { CYCLES = 50000 };
#define HUGE_WINDOW (64ull << 30)
#else
enum { CYCLES = 1000000 };
#define HUGE_WINDOW (1ull << 40)
#endif

static const uint64_t granules[] = {4096, 16384, 65536};
static const uint64_t sizes[] = {2ull << 20, 256ull << 20, HUGE_WINDOW};

static unsigned messages(const struct peer *p)
{
    return p->maps_sent + p->unmaps_sent;
}

static struct dax_counts counts(struct peer *p)
{
    struct dax_counts c;
    dax_window_counts(p->w, &c);
    return c;
}

static int map_raw(struct peer *p, uint64_t foffset, uint64_t moffset, uint64_t len)
{
    return peer_map(p, 1, "f", foffset, moffset, len, true);
}

static void check_bounds(uint64_t size, uint64_t g)
{
    struct peer p;
    peer_start(&p, &(struct peer_setup){.size = size, .granule = g, .accepts = TAIL});
    close(peer_file(&p, "f", 3 * g));
    const uint64_t bad[][3] = {
        {0, 0, 0},
        {0, 0, g - 1},
        {0, 1, g},
        {1, 0, g},
        {0, g / 2, g},
        {0, size, g},
        {0, size - g, 2 * g},
        {0, 0, size + g},
        {0, -g, g},
        {0, g, -g},
        {0, size - g, -size},
        {INT64_MAX - g + 1, 0, g},
        {-g, 0, g},
        {0, UINT64_MAX, UINT64_MAX},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_int_equal(map_raw(&p, bad[i][0], bad[i][1], bad[i][2]), -EINVAL);
    assert_int_equal(messages(&p), 0);
    assert_false(dax_is_mapped(p.w, 1));

    assert_int_equal(map_raw(&p, 0, size - g, g), 0);
    assert_int_equal(map_raw(&p, g, 0, g), 0);
    assert_int_equal(map_raw(&p, INT64_MAX - 2 * g + 1, g, g), 0); /* far behind the end */
    peer_guest_shows(&p, size - g, "f", 0, g);
    peer_guest_shows(&p, 0, "f", g, g);
    assert_false(peer_mapped(&p, g));
    assert_int_equal(dax_unmap(p.w, size, g), -EINVAL);
    assert_int_equal(dax_unmap(p.w, g, UINT64_MAX), -EINVAL);
    assert_int_equal(dax_unmap(p.w, 0, 0), 0);
    assert_int_equal(dax_unmap(p.w, 0, size), 0);
    assert_int_equal(map_raw(&p, 0, 0, size), 0);
    peer_guest_shows(&p, 0, "f", 0, 3 * g);
    assert_int_equal(p.refused, 0);
    peer_stop(&p);
}

static void test_bounds(void **state)
{
    unsigned n =
        G_N_ELEMENTS(sizes) - (getenv("UNDER_VALGRIND") ? 1 : 0); /* its own mmap is short */
    for (unsigned s = 0; s < n; s++)
        for (unsigned g = 0; g < G_N_ELEMENTS(granules); g++)
            check_bounds(sizes[s], granules[g]);
}

/* In pages of 4 KiB: what lives at [8, 12), then a request, and what becomes of it. */
static const struct overlap {
    unsigned at, len;
    int map, unmap;
    bool lives; /* the old one, after the map */
} overlaps[] = {
    {0, 8, 0, 0, true},
    {12, 4, 0, 0, true},
    {8, 12, 0, 0, false},
    {4, 8, 0, 0, false},
    {4, 16, 0, 0, false},
    {7, 2, -EINVAL, -EINVAL, true},
    {8, 3, -EINVAL, -EINVAL, true},
    {9, 3, -EINVAL, -EINVAL, true},
    {9, 2, -EINVAL, -EINVAL, true},
    {11, 9, -EINVAL, -EINVAL, true},
    {0, 11, -EINVAL, -EINVAL, true},
};

static void test_overlaps(void **state)
{
    struct peer p;
    peer_start(&p, &(struct peer_setup){0});
    close(peer_file(&p, "f", 65536));
    close(peer_file(&p, "g", 65536 + 1));
    for (unsigned i = 0; i < G_N_ELEMENTS(overlaps); i++) {
        const struct overlap *o = &overlaps[i];
        assert_int_equal(map_raw(&p, 4096, 32768, 16384), 0);
        unsigned before = messages(&p);
        assert_int_equal(peer_map(&p, 2, "g", 0, o->at * 4096u, o->len * 4096u, false), o->map);
        assert_int_equal(dax_is_mapped(p.w, 1), o->lives);
        if (o->map)
            assert_int_equal(messages(&p), before);
        else
            peer_guest_shows(&p, o->at * 4096u, "g", 0, o->len * 4096u);
        if (o->lives)
            peer_guest_shows(&p, 32768, "f", 4096, 16384);
        if (o->map)
            assert_int_equal(dax_unmap(p.w, o->at * 4096u, o->len * 4096u), o->unmap);
        assert_int_equal(dax_unmap(p.w, 0, p.size), 0);
        assert_int_equal(p.n_maps, 0);
    }
    /* The same file and place, another part of it. */
    assert_int_equal(map_raw(&p, 0, 0, 8192), 0);
    assert_int_equal(map_raw(&p, 8192, 0, 8192), 0);
    peer_guest_shows(&p, 0, "f", 8192, 8192);
    assert_int_equal(counts(&p).slots, 1);
    assert_int_equal(counts(&p).files, 1);
    assert_int_equal(p.refused, 0);
    peer_stop(&p);
}

static int map_fd(struct peer *p, uint64_t file, int fd, bool writable, bool write)
{
    struct dax_request rq = {file, 0, 0, 8192, write};
    return dax_map(p->w, &rq, fd, writable);
}

static void test_rights(void **state)
{
    struct peer p;
    unsigned fds;
    peer_start(&p, &(struct peer_setup){0});
    close(peer_file(&p, "f", 8192));
    fds = peer_open_fds();
    assert_int_equal(map_fd(&p, 1, peer_open(&p, "f", O_RDONLY), false, false), -EACCES);
    assert_int_equal(map_fd(&p, 1, peer_open(&p, "f", O_RDONLY), false, true), -EACCES);
    assert_int_equal(map_fd(&p, 1, -1, false, false), -EBADF);
    assert_int_equal(map_fd(&p, 1, open("/dev/null", O_RDWR), true, false), -EINVAL);
    assert_int_equal(messages(&p), 0);
    assert_int_equal(peer_open_fds(), fds);
    assert_false(dax_has_file(p.w, 1, false));
    assert_int_equal(map_fd(&p, 1, peer_open(&p, "f", O_RDWR), true, false), 0);
    assert_true(dax_has_file(p.w, 1, true));
    assert_int_equal(map_fd(&p, 1, -1, false, true), 0); /* to writing, with what is held */
    assert_int_equal(map_fd(&p, 1, peer_open(&p, "f", O_RDWR), true, true), 0);
    assert_int_equal(messages(&p), 1);
    assert_int_equal(peer_open_fds(), fds + 1);
    dax_unmap_file(p.w, 1);
    assert_int_equal(peer_open_fds(), fds);
    assert_false(dax_has_file(p.w, 1, false));
    peer_stop(&p);
}

/* A front-end that takes read-only descriptors: writing later needs it all again. */
static void test_upgrade_read_only(void **state)
{
    struct peer p;
    peer_start(&p, &(struct peer_setup){.accepts = READONLY});
    close(peer_file(&p, "f", 8000));
    assert_int_equal(map_fd(&p, 1, peer_open(&p, "f", O_RDONLY), false, false), 0);
    assert_false(dax_has_file(p.w, 1, true));
    assert_true(dax_has_file(p.w, 1, false));
    assert_int_equal(map_fd(&p, 1, -1, false, true), -EACCES);
    assert_int_equal(messages(&p), 2);
    assert_int_equal(map_fd(&p, 1, peer_open(&p, "f", O_RDWR), true, true), 0);
    assert_int_equal(messages(&p), 4); /* the private page stays */
    peer_guest_shows(&p, 0, "f", 0, 8000);
    memcpy(p.mem + 10, "real", 4);
    memcpy(p.mem + 5000, "private", 7);
    assert_int_equal(dax_store(p.w, 1), 0);
    peer_host_shows(&p, "f", 10, "real");
    peer_host_shows(&p, "f", 5000, "private");
    peer_stop(&p);
}

#define SLOT (256ull << 10)

static void check_growth(int accepts, uint64_t step)
{
    struct peer p;
    peer_start(&p, &(struct peer_setup){.accepts = accepts});
    close(peer_file(&p, "f", 0));
    assert_int_equal(map_raw(&p, 0, 0, SLOT), 0);
    assert_int_equal(map_raw(&p, SLOT, SLOT, SLOT), 0);
    assert_int_equal(messages(&p), 0);
    assert_int_equal(p.commits, 0);
    for (uint64_t len = step; len <= 2 * SLOT; len += step) {
        peer_host_size(&p, "f", len);
        peer_host_write(&p, "f", len - 4, "last");
        assert_int_equal(peer_seen(&p, 1, "f"), 0);
        uint64_t from = len > 65536 ? (len - 65536) & ~4095ull : 0;
        peer_guest_shows(&p, from, "f", from, len - from);
        assert_true(p.n_maps <= 2 * 18);
    }
    unsigned before = messages(&p);
    assert_int_equal(peer_seen(&p, 1, "f"), 0);
    assert_int_equal(messages(&p), before);
    peer_host_size(&p, "f", 5000);
    assert_int_equal(dax_changed(p.w, 1), 0);
    peer_guest_shows(&p, 0, "f", 0, 5000);
    peer_host_size(&p, "f", 3 * SLOT);
    assert_int_equal(dax_changed(p.w, 1), 0);
    peer_guest_shows(&p, 0, "f", 0, 2 * SLOT);
    assert_int_equal(p.refused, 0);
    peer_stop(&p);
}

static void test_growth(void **state)
{
    for (int tail = 0; tail <= TAIL; tail += TAIL) {
        check_growth(tail, 4096);
        check_growth(tail, 5 * 4096);
        check_growth(tail, 100000);
        check_growth(tail, SLOT);
    }
}

/* A slot longer than a private part can be. */
static void test_long_slot(void **state)
{
    struct peer p;
    peer_start(&p, &(struct peer_setup){.size = 64ull << 20});
    close(peer_file(&p, "f", 4097));
    assert_int_equal(map_raw(&p, 0, 0, 64ull << 20), 0);
    assert_int_equal(counts(&p).private_bytes, WINDOW_2M);
    for (uint64_t len = 4097; len < 80ull << 20; len = len * 3 + 1) {
        peer_host_size(&p, "f", len);
        peer_host_write(&p, "f", len - 4, "last");
        assert_int_equal(dax_changed(p.w, 1), 0);
        peer_guest_shows(&p, 0, "f", 0, MIN(len, 64ull << 20));
    }
    assert_true(p.n_maps > 2);
    peer_stop(&p);
}

/* Every message of a request refused in turn: an error, and nothing of it is left. */
static void test_refusals(void **state)
{
    int accepts[] = {0, TAIL};
    for (unsigned a = 0; a < 2; a++) {
        struct peer p;
        peer_start(&p, &(struct peer_setup){.accepts = accepts[a]});
        close(peer_file(&p, "f", 10000));
        unsigned fds = peer_open_fds();
        /* Maps and commit; a refused map is followed by attempts to unmap what is stale. */
        unsigned n = accepts[a] == TAIL ? 2 : 3;
        for (unsigned i = 1; i <= n; i++) {
            p.fail_in = i;
            assert_int_equal(map_raw(&p, 0, 0, WINDOW_2M), -EIO);
            assert_int_equal(p.n_maps, 0);
            assert_int_equal(counts(&p).slots + counts(&p).files, 0);
            assert_int_equal(counts(&p).private_bytes, 0);
            assert_int_equal(peer_open_fds(), fds);
        }
        p.fail_in = 0;
        assert_int_equal(map_raw(&p, 0, 0, WINDOW_2M), 0);
        peer_guest_shows(&p, 0, "f", 0, 10000);
        peer_stop(&p);
    }
}

static void test_growth_refused(void **state)
{
    struct peer p;
    peer_start(&p, &(struct peer_setup){0});
    close(peer_file(&p, "f", 8192));
    assert_int_equal(map_raw(&p, 0, 0, WINDOW_2M), 0);
    peer_host_size(&p, "f", 20000);
    for (unsigned i = 1; i <= 3; i++) {
        p.fail_in = i == 3 ? 1 : i;
        assert_int_equal(dax_changed(p.w, 1), -EIO); /* the size must not be shown */
    }
    assert_int_equal(p.fail_in, 0);
    assert_int_equal(dax_changed(p.w, 1), 0);
    peer_guest_shows(&p, 0, "f", 0, 20000);
    peer_stop(&p);
}

/* A mapping that could not be taken back is in the way of the next, which is of another length. */
static void test_stale_mapping(void **state)
{
    struct peer p;
    peer_start(&p, &(struct peer_setup){0});
    close(peer_file(&p, "f", 16384));
    close(peer_file(&p, "g", 4096));
    for (int i = 0; i < 50; i++) {
        assert_int_equal(map_raw(&p, 0, 0, WINDOW_2M), 0);
        p.fail_in = 1;
        assert_int_equal(dax_unmap(p.w, 0, WINDOW_2M), 0);
        assert_int_equal(p.n_maps, 1);
        assert_int_equal(counts(&p).slots, 0);
        assert_int_equal(peer_map(&p, 2, "g", 0, 0, WINDOW_2M, false), 0);
        peer_guest_shows(&p, 0, "g", 0, 4096);
        assert_int_equal(p.n_maps, 1);
    }
    peer_stop(&p);
}

static void test_forget(void **state)
{
    struct peer p;
    struct dax_caps caps;
    peer_start(&p, &(struct peer_setup){0});
    unsigned fds = peer_open_fds();
    for (int again = 0; again < 2; again++) {
        close(peer_file(&p, "f", 10000));
        assert_int_equal(map_raw(&p, 0, 0, WINDOW_2M), 0);
        assert_int_equal(peer_map(&p, 2, "f", 0, WINDOW_2M, WINDOW_2M, false), 0);
        memcpy(p.mem + 9000, "late", 4);
        unsigned before = messages(&p), commits = p.commits;
        dax_window_forget(p.w, again == 1);
        assert_int_equal(messages(&p), before);
        assert_int_equal(p.commits, commits);
        peer_host_shows(&p, "f", 9000, "late");
        assert_int_equal(counts(&p).slots + counts(&p).files, 0);
        assert_int_equal(peer_open_fds(), fds);
        peer_reset(&p);
        if (again == 1)
            assert_int_equal(map_raw(&p, 0, 0, WINDOW_2M), -ENODEV);
        assert_int_equal(dax_window_start(p.w, &caps), 0);
        assert_int_equal(p.probes, 1 + again);
    }
    dax_window_forget(p.w, true);
    p.fail_in = 1;
    assert_int_equal(dax_window_start(p.w, &caps), -EIO);
    assert_int_equal(dax_window_start(p.w, &caps), 0);
    peer_stop(&p);
}

static void test_most_slots(void **state)
{
    struct peer p;
    peer_start(&p, &(struct peer_setup){.max_slots = 3});
    close(peer_file(&p, "f", 65536));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(map_raw(&p, 0, i * 4096, 4096), 0);
    unsigned before = messages(&p);
    assert_int_equal(map_raw(&p, 0, 12288, 4096), -ENOSPC);
    assert_int_equal(messages(&p), before);
    assert_int_equal(map_raw(&p, 4096, 8192, 4096), 0); /* in the place of one */
    assert_int_equal(map_raw(&p, 0, 4096, 8192), 0);    /* of two */
    assert_int_equal(map_raw(&p, 0, 12288, 4096), 0);
    peer_stop(&p);
}

static void test_unmap_file(void **state)
{
    struct peer p;
    peer_start(&p, &(struct peer_setup){.max_slots = 100});
    close(peer_file(&p, "f", 100000));
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(peer_map(&p, i % 3, "f", 0, i * 131072, 131072, false), 0);
    dax_unmap_file(p.w, 1);
    dax_unmap_file(p.w, 7);
    assert_int_equal(counts(&p).slots, 67);
    assert_false(dax_is_mapped(p.w, 1));
    assert_true(dax_is_mapped(p.w, 0) && dax_is_mapped(p.w, 2));
    assert_false(peer_mapped(&p, 131072));
    peer_guest_shows(&p, 0, "f", 0, 100000);
    dax_unmap_all(p.w);
    assert_int_equal(p.n_maps, 0);
    assert_int_equal(dax_store(p.w, 0), 0);
    assert_int_equal(dax_changed(p.w, 0), 0);
    peer_stop(&p);
}

static void cycle(struct peer *p, unsigned i, bool private)
{
    uint64_t at = i % 7 * WINDOW_2M;
    struct dax_request rq = {private ? 2 : 1, 0, at, WINDOW_2M, true};
    int fd = peer_open(p, private ? "tail" : "f", O_RDWR);
    assert_int_equal(dax_map(p->w, &rq, fd, true), 0);
    if (i % 3)
        assert_int_equal(dax_unmap(p->w, at, WINDOW_2M), 0);
    else
        dax_unmap_file(p->w, rq.file);
}

/* What mappings cost: only good ones count, and each once. */
static void test_times(void **state)
{
    struct peer p;
    struct dax_times t;
    peer_start(&p, &(struct peer_setup){.accepts = TAIL});
    close(peer_file(&p, "f", 8 * WINDOW_2M));
    p.slow_us = 2000;
    assert_int_equal(map_raw(&p, 0, 0, WINDOW_2M), 0);
    assert_int_equal(map_raw(&p, 0, 0, WINDOW_2M), 0); /* is there: no message */
    assert_int_equal(map_raw(&p, 1, 0, WINDOW_2M), -EINVAL);
    dax_window_times(p.w, &t);
    assert_int_equal(t.maps, 2);
    assert_int_equal(t.messages, p.maps_sent + p.commits);
    assert_int_equal(t.messages, 2);
    assert_true(t.wait_ns >= 2000000);
    assert_int_equal(dax_unmap(p.w, 0, WINDOW_2M), 0);
    dax_window_times(p.w, &t);
    assert_true(t.maps == 0 && t.messages == 0 && t.wait_ns == 0);
    peer_stop(&p);
}

/* Nothing leaks over a million of them. */
static void test_million(void **state)
{
    struct peer p;
    size_t used = 0;
    unsigned fds = 0;
    peer_start(&p, &(struct peer_setup){.accepts = BLIND});
    close(peer_file(&p, "f", WINDOW_2M));
    close(peer_file(&p, "tail", 5000));
    unsigned cycles = getenv("UNDER_VALGRIND") ? CYCLES / 50 : CYCLES;
    for (unsigned i = 0; i < cycles; i++) {
        cycle(&p, i, i % 16 == 0);
        if (i == 1000) {
            used = mallinfo2().uordblks;
            fds = peer_open_fds();
        }
    }
    assert_int_equal(peer_open_fds(), fds);
    assert_true(mallinfo2().uordblks <= used + 4096);
    assert_int_equal(p.refused, 0);
    assert_int_equal(counts(&p).maps, counts(&p).unmaps);
    peer_stop(&p);
}

static void *map_and_unmap(void *arg)
{
    struct peer *p = arg;
    static atomic_uint turn;
    unsigned me = atomic_fetch_add(&turn, 1) % 2;
    uint64_t at = me * 4 * WINDOW_2M;
    for (unsigned i = 0; i < 300; i++) {
        struct dax_request rq = {i % 5, 0, at + i % 4 * WINDOW_2M, WINDOW_2M, i % 2};
        if (dax_map(p->w, &rq, peer_open(p, "f", O_RDWR), true) < 0)
            p->broken = "a map failed";
        dax_store(p->w, i % 5);
        dax_changed(p->w, (i + 1) % 5);
        if (i % 3 == 0)
            dax_unmap(p->w, at, 4 * WINDOW_2M);
        if (i % 7 == 0)
            dax_unmap_file(p->w, i % 5);
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    struct peer p;
    pthread_t t[2];
    peer_start(&p, &(struct peer_setup){.timeout = 0.002});
    close(peer_file(&p, "f", 10000));
    p.slow_us = 20;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, map_and_unmap, &p), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(p.refused, 0);
    peer_stop(&p);
}

static void test_bad_config(void **state)
{
    struct peer p;
    static const uint64_t bad[][2] = {{0, 4096},       {1 << 20, 4096},  {3 << 20, 4096},
                                      {2 << 20, 0},    {2 << 20, 12288}, {2 << 20, 4 << 20},
                                      {1ull << 63, 1}, {4096, 4096}};
    peer_start(&p, &(struct peer_setup){0});
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct dax_config cfg = {.size = bad[i][0], .granule = bad[i][1]};
        errno = 0;
        assert_null(dax_window_new(&cfg));
        assert_int_equal(errno, EINVAL);
    }
    assert_int_equal(dax_window_size(p.w), p.size);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_rights),        cmocka_unit_test(test_upgrade_read_only),
        cmocka_unit_test(test_growth),        cmocka_unit_test(test_long_slot),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_growth_refused),
        cmocka_unit_test(test_stale_mapping), cmocka_unit_test(test_forget),
        cmocka_unit_test(test_most_slots),    cmocka_unit_test(test_unmap_file),
        cmocka_unit_test(test_times),         cmocka_unit_test(test_million),
        cmocka_unit_test(test_two_threads),   cmocka_unit_test(test_bad_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
