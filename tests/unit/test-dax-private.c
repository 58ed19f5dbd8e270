/* SPDX-License-Identifier: BSD-3-Clause
 * Ends of files that the front-end cannot map: right for the guest in both directions, whatever
 * the host does to the file meanwhile. */
#include "tests/unit/dax-peer.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"

#define LEN 10000 /* two pages and a part of the third */

static void start(struct peer *p, double timeout, bool write)
{
    peer_start(p, &(struct peer_setup){.timeout = timeout});
    close(peer_file(p, "f", LEN));
    assert_int_equal(peer_map(p, 1, "f", 0, 0, WINDOW_2M, write), 0);
}

static void guest_stores(struct peer *p, uint64_t at, const char *text)
{
    memcpy(p->mem + at, text, strlen(text));
}

static void test_shown_whole(void **state)
{
    struct peer p;
    struct dax_counts c;
    start(&p, 0, false);
    peer_guest_shows(&p, 0, "f", 0, LEN);
    assert_true(peer_mapped(&p, WINDOW_2M - 1));
    dax_window_counts(p.w, &c);
    assert_int_equal(c.private_bytes, WINDOW_2M - 8192);
    assert_int_equal(p.n_maps, 2);
    assert_int_equal(p.commits, 1);
    peer_stop(&p);
}

static void test_file_untouched(void **state)
{
    struct peer p;
    struct stat a, b;
    start(&p, 0.02, true);
    AUTO_FD int fd = peer_open(&p, "f", O_RDONLY);
    assert_int_equal(fstat(fd, &a), 0);
    peer_guest_shows(&p, 0, "f", 0, LEN);
    for (int i = 0; i < 5; i++) {
        g_usleep(15000);
        assert_int_equal(dax_store(p.w, 1), 0);
        assert_int_equal(peer_seen(&p, 1, "f"), 0);
    }
    assert_int_equal(dax_unmap(p.w, 0, WINDOW_2M), 0);
    assert_int_equal(fstat(fd, &b), 0);
    assert_int_equal(a.st_size, b.st_size);
    assert_memory_equal(&a.st_mtim, &b.st_mtim, sizeof(a.st_mtim));
    assert_memory_equal(&a.st_ctim, &b.st_ctim, sizeof(a.st_ctim));
    peer_stop(&p);
}

static void test_stores_written_back(void **state)
{
    struct peer p;
    start(&p, 0, true);
    guest_stores(&p, 9000, "guest");
    guest_stores(&p, LEN - 3, "end and behind");
    assert_int_equal(dax_store(p.w, 1), 0);
    peer_host_shows(&p, "f", 9000, "guest");
    peer_host_shows(&p, "f", LEN - 3, "end");
    assert_int_equal(peer_host_len(&p, "f"), LEN);
    guest_stores(&p, 9100, "last");
    assert_int_equal(dax_unmap(p.w, 0, WINDOW_2M), 0);
    peer_host_shows(&p, "f", 9100, "last");
    peer_stop(&p);
}

static void test_written_back_by_each_end(void **state)
{
    struct peer p;
    for (int how = 0; how < 4; how++) {
        start(&p, 0, true);
        guest_stores(&p, 9000, "guest");
        switch (how) {
        case 0:
            dax_unmap_all(p.w);
            break;
        case 1:
            dax_unmap_file(p.w, 1);
            break;
        case 2:
            dax_window_forget(p.w, false);
            peer_reset(&p);
            break;
        default: /* another file in its place */
            close(peer_file(&p, "g", 4096));
            assert_int_equal(peer_map(&p, 2, "g", 0, 0, WINDOW_2M, false), 0);
        }
        peer_host_shows(&p, "f", 9000, "guest");
        peer_stop(&p);
    }
}

static void wait_for(struct peer *p, bool (*there)(struct peer *p))
{
    for (int i = 0; i < 500 && !there(p); i++)
        g_usleep(10000);
    assert_true(there(p));
}

static bool host_has_it(struct peer *p)
{
    char got[5];
    AUTO_FD int fd = peer_open(p, "f", O_RDONLY);
    return pread(fd, got, 5, 9000) == 5 && memcmp(got, "guest", 5) == 0;
}

static bool guest_has_it(struct peer *p)
{
    return memcmp(p->mem + 9500, "host", 4) == 0;
}

static void test_timeout(void **state)
{
    struct peer p;
    start(&p, 0.03, true);
    guest_stores(&p, 9000, "guest");
    wait_for(&p, host_has_it);
    peer_host_write(&p, "f", 9500, "host");
    wait_for(&p, guest_has_it);
    /* The thread sleeps without private pages, and wakes for new ones. */
    assert_int_equal(dax_unmap(p.w, 0, WINDOW_2M), 0);
    peer_host_write(&p, "f", 9000, "-----");
    g_usleep(50000);
    assert_int_equal(peer_map(&p, 1, "f", 0, 0, WINDOW_2M, true), 0);
    guest_stores(&p, 9000, "guest");
    wait_for(&p, host_has_it);
    peer_stop(&p);
}

static void test_host_changes(void **state)
{
    struct peer p;
    start(&p, 0, false);
    peer_host_write(&p, "f", 9000, "host");
    assert_int_equal(peer_seen(&p, 1, "f"), 0);
    peer_guest_shows(&p, 0, "f", 0, LEN);
    peer_host_write(&p, "f", 9001, "OS"); /* within one tick of the clock of file times */
    assert_int_equal(dax_changed(p.w, 1), 0);
    peer_guest_shows(&p, 0, "f", 0, LEN);
    peer_stop(&p);
}

static void test_both_change(void **state)
{
    struct peer p;
    start(&p, 0, true);
    guest_stores(&p, 9000, "guest");
    peer_host_write(&p, "f", 9005, "host");
    guest_stores(&p, 9009, "guest");
    assert_int_equal(peer_seen(&p, 1, "f"), 0);
    peer_host_shows(&p, "f", 9000, "guesthostguest");
    peer_guest_shows(&p, 0, "f", 0, LEN);
    /* Other bytes of the same page, the guest's first. */
    for (int i = 0; i < 1000; i++) {
        uint64_t at = 8192 + (uint64_t)i % 900 * 2;
        char g[2] = {(char)('a' + i % 26)}, h[2] = {(char)('A' + i % 26)};
        guest_stores(&p, at, g);
        peer_host_write(&p, "f", at + 1, h);
        assert_int_equal(i % 2 ? dax_changed(p.w, 1) : peer_seen(&p, 1, "f"), 0);
        peer_host_shows(&p, "f", at, g);
        assert_int_equal(p.mem[at + 1], h[0]);
    }
    peer_stop(&p);
}

static void test_no_right_to_store(void **state)
{
    struct peer p;
    start(&p, 0, false);
    uint8_t before = p.mem[9000];
    guest_stores(&p, 9000, "\377");
    assert_int_equal(dax_store(p.w, 1), 0);
    assert_int_equal(peer_seen(&p, 1, "f"), 0);
    assert_int_equal(p.mem[9000], before);
    guest_stores(&p, 9000, "\377");
    /* Nor when the right comes later. */
    unsigned sent = p.maps_sent + p.unmaps_sent;
    assert_int_equal(peer_map(&p, 1, "f", 0, 0, WINDOW_2M, true), 0);
    assert_int_equal(p.maps_sent + p.unmaps_sent, sent);
    assert_int_equal(dax_store(p.w, 1), 0);
    peer_guest_shows(&p, 0, "f", 0, LEN);
    assert_int_equal(p.mem[9000], before);
    guest_stores(&p, 9000, "now");
    assert_int_equal(dax_store(p.w, 1), 0);
    peer_host_shows(&p, "f", 9000, "now");
    peer_stop(&p);
}

static void test_growth(void **state)
{
    struct peer p;
    start(&p, 0, true);
    guest_stores(&p, LEN, "void"); /* a store that no file keeps */
    peer_host_size(&p, "f", LEN + 5);
    peer_host_write(&p, "f", LEN + 5, "appended");
    assert_int_equal(peer_seen(&p, 1, "f"), 0);
    peer_guest_shows(&p, 0, "f", 0, LEN + 13);
    peer_host_shows(&p, "f", LEN + 5, "appended");
    /* Over the page's end, and to the end of the slot and beyond. */
    for (uint64_t len = LEN + 13; len < 2 * WINDOW_2M; len += 1000 + len / 3) {
        peer_host_write(&p, "f", len, "more");
        assert_int_equal(peer_seen(&p, 1, "f"), 0);
        uint64_t shown = MIN(len + 4, WINDOW_2M);
        peer_guest_shows(&p, 0, "f", 0, shown);
        guest_stores(&p, shown - 2, "!?");
        assert_int_equal(dax_store(p.w, 1), 0);
        peer_host_shows(&p, "f", shown - 2, "!?");
    }
    peer_stop(&p);
}

static void test_shrink(void **state)
{
    struct peer p;
    start(&p, 0, true);
    for (uint64_t len = LEN - 1; len > 8192; len = len * 97 / 100) {
        guest_stores(&p, len, "!"); /* never written back: it is cut off */
        peer_host_size(&p, "f", len);
        assert_int_equal(peer_seen(&p, 1, "f"), 0);
        peer_guest_shows(&p, 0, "f", 0, len);
        assert_int_equal(peer_host_len(&p, "f"), len);
    }
    peer_host_size(&p, "f", 100);
    assert_int_equal(peer_seen(&p, 1, "f"), 0);
    guest_stores(&p, 9000, "void");
    assert_int_equal(dax_store(p.w, 1), 0);
    assert_int_equal(peer_host_len(&p, "f"), 100);
    peer_host_size(&p, "f", 20000); /* grown again: zeroes */
    assert_int_equal(dax_changed(p.w, 1), 0);
    peer_guest_shows(&p, 0, "f", 0, 20000);
    peer_host_size(&p, "f", 0);
    assert_int_equal(dax_changed(p.w, 1), 0);
    peer_host_write(&p, "f", 0, "new");
    assert_int_equal(dax_changed(p.w, 1), 0);
    peer_guest_shows(&p, 0, "f", 0, 3);
    peer_stop(&p);
}

/* Two views of the same end: what is stored in one is in the other after a request. */
static void test_two_views(void **state)
{
    struct peer p;
    start(&p, 0, true);
    assert_int_equal(peer_map(&p, 1, "f", 0, WINDOW_2M, WINDOW_2M, true), 0);
    guest_stores(&p, 9000, "one");
    guest_stores(&p, WINDOW_2M + 9003, "two");
    assert_int_equal(dax_store(p.w, 1), 0);
    assert_memory_equal(p.mem + 9000, "onetwo", 6);
    assert_memory_equal(p.mem + WINDOW_2M + 9000, "onetwo", 6);
    peer_host_shows(&p, "f", 9000, "onetwo");
    peer_stop(&p);
}

/* A place used before is empty for the next file. */
static void test_nothing_left(void **state)
{
    struct peer p;
    start(&p, 0, true);
    memset(p.mem + 8192, 'x', WINDOW_2M - 8192);
    assert_int_equal(dax_unmap(p.w, 0, WINDOW_2M), 0);
    close(peer_file(&p, "g", 5));
    assert_int_equal(peer_map(&p, 2, "g", 0, 0, WINDOW_2M, false), 0);
    peer_guest_shows(&p, 0, "g", 0, 5);
    for (uint64_t i = 5; i < WINDOW_2M; i++)
        assert_int_equal(p.mem[i], 0);
    peer_stop(&p);
}

/* A weaker descriptor does not take the place of a better one. */
static void test_weaker_descriptor(void **state)
{
    struct peer p;
    start(&p, 0, true);
    guest_stores(&p, 9000, "kept");
    struct dax_request rq = {1, 0, 0, WINDOW_2M, true};
    assert_int_equal(dax_map(p.w, &rq, peer_open(&p, "f", O_RDONLY), false), 0);
    assert_int_equal(dax_store(p.w, 1), 0);
    peer_host_shows(&p, "f", 9000, "kept");
    peer_stop(&p);
}

struct racer {
    struct peer *p;
    atomic_bool stop;
};

/* Appending to a file whose private part is long looks at what was written, not at all of it; what
 * the guest stored elsewhere waits for another request. */
static void test_part(void **state)
{
    struct peer p;
    struct dax_counts before, after;
    enum { STEP = 100, STEPS = 1000 };
    char text[STEP + 1] = "";
    peer_start(&p, &(struct peer_setup){0});
    close(peer_file(&p, "f", 100));
    assert_int_equal(peer_map(&p, 1, "f", 0, 0, WINDOW_2M, true), 0);
    dax_window_counts(p.w, &before);
    memset(text, 'a', STEP);
    for (uint64_t at = 100; at < 100 + STEP * STEPS; at += STEP) {
        assert_int_equal(dax_store_part(p.w, 1, at, STEP), 0);
        peer_host_write(&p, "f", at, text);
        assert_int_equal(dax_changed_part(p.w, 1, at, STEP), 0);
    }
    dax_window_counts(p.w, &after);
    assert_in_range(after.compared - before.compared, STEP * STEPS, 4 * STEP * STEPS);
    peer_guest_shows(&p, 0, "f", 0, 100 + STEP * STEPS);
    guest_stores(&p, 10, "here");
    guest_stores(&p, 50000, "there");
    assert_int_equal(dax_store_part(p.w, 1, 8, 4), 0);
    peer_host_shows(&p, "f", 10, "he");
    peer_host_shows(&p, "f", 50000, "aaaaa");
    assert_int_equal(dax_store(p.w, 1), 0);
    peer_host_shows(&p, "f", 10, "here");
    peer_host_shows(&p, "f", 50000, "there");
    peer_stop(&p);
}

static void *host_and_requests(void *arg)
{
    struct racer *r = arg;
    while (!atomic_load(&r->stop)) {
        dax_store(r->p->w, 1);
        dax_changed(r->p->w, 1);
    }
    return NULL;
}

/* The guest counts up in its bytes, the host in others of the same page: nobody's get lost. */
static void test_race(void **state)
{
    struct peer p;
    struct racer r = {.p = &p};
    pthread_t t;
    start(&p, 0.001, true);
    AUTO_FD int fd = peer_open(&p, "f", O_RDWR);
    assert_int_equal(pthread_create(&t, NULL, host_and_requests, &r), 0);
    for (int i = 0; i < 20000; i++) {
        uint8_t v = (uint8_t)i;
        uint64_t at = 8200 + (uint64_t)(i % 500) * 3;
        __atomic_store_n(p.mem + at, v, __ATOMIC_RELAXED);
        assert_int_equal(pwrite(fd, &v, 1, (off_t)at + 1), 1);
    }
    atomic_store(&r.stop, true);
    pthread_join(t, NULL);
    assert_int_equal(dax_store(p.w, 1), 0);
    assert_int_equal(dax_changed(p.w, 1), 0);
    peer_guest_shows(&p, 0, "f", 0, LEN);
    for (int i = 19500; i < 20000; i++) {
        uint64_t at = 8200 + (uint64_t)(i % 500) * 3;
        assert_int_equal(p.mem[at], (uint8_t)i);
        assert_int_equal(p.mem[at + 1], (uint8_t)i);
    }
    peer_stop(&p);
}

/* The right to store is granted while the timer and requests look at the same slot. */
static void test_upgrade_race(void **state)
{
    struct peer p;
    struct racer r = {.p = &p};
    struct peer_setup how = {.accepts = READONLY, .timeout = 0.001};
    struct dax_request rq = {.file = 1, .len = WINDOW_2M};
    pthread_t t;
    peer_start(&p, &how);
    close(peer_file(&p, "f", LEN));
    assert_int_equal(pthread_create(&t, NULL, host_and_requests, &r), 0);
    for (int i = 0; i < 300; i++) {
        rq.write = false;
        assert_int_equal(dax_map(p.w, &rq, peer_open(&p, "f", O_RDONLY), false), 0);
        rq.write = true;
        assert_int_equal(dax_map(p.w, &rq, peer_open(&p, "f", O_RDWR), true), 0);
        p.mem[9000] = (uint8_t)i;
        assert_int_equal(dax_unmap(p.w, 0, WINDOW_2M), 0);
        AUTO_FD int fd = peer_open(&p, "f", O_RDONLY);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, 9000), 1);
        assert_int_equal(byte, (uint8_t)i);
    }
    atomic_store(&r.stop, true);
    pthread_join(t, NULL);
    peer_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shown_whole),
        cmocka_unit_test(test_file_untouched),
        cmocka_unit_test(test_stores_written_back),
        cmocka_unit_test(test_written_back_by_each_end),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_host_changes),
        cmocka_unit_test(test_both_change),
        cmocka_unit_test(test_no_right_to_store),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_shrink),
        cmocka_unit_test(test_two_views),
        cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_weaker_descriptor),
        cmocka_unit_test(test_part),
        cmocka_unit_test(test_race),
        cmocka_unit_test(test_upgrade_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
