/* SPDX-License-Identifier: BSD-3-Clause
 * Memory that 9P peers hold together, and peers that only hold: the bound, who comes next, and who
 * has to go. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/p9-peer.h"
#include "virtiofsd/9p/p9-room.h"

#define MIB   ((size_t)1 << 20)
#define BIG   (MIB + 11) /* an answer with that much data */
#define CROWD 40

/* ---- the count itself ---- */

static void test_shares(void **state)
{
    struct p9_room r;
    struct p9_claim a = {.id = 1}, b = {.id = 2}, c = {.id = 3};
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    uint64_t id, woken;
    (void)state;
    p9_room_init(&r, fd);
    while (p9_room_take(&r, &a, MIB))
        ;
    assert_in_range(a.held, 16 * MIB, P9_ROOM_BYTES);
    assert_true(p9_room_over(&r, &a));
    /* Everybody's own is there all the same, and no more. */
    assert_true(p9_room_take(&r, &b, P9_ROOM_OWN));
    assert_false(p9_room_over(&r, &b));
    assert_false(p9_room_take(&r, &b, MIB));
    assert_false(p9_room_take(&r, &c, P9_ROOM_OWN + 1));
    assert_true(read(fd, &woken, sizeof(woken)) == sizeof(woken));
    assert_false(p9_room_grant(&r, &id));
    /* What comes free goes to who asked first. */
    p9_room_quit(&r, &a);
    p9_room_give(&r, &a, MIB);
    assert_true(read(fd, &woken, sizeof(woken)) == sizeof(woken));
    assert_true(p9_room_grant(&r, &id));
    assert_int_equal(id, b.id);
    assert_int_equal(b.held, P9_ROOM_OWN + MIB);
    assert_true(p9_room_take(&r, &b, MIB)); /* that was it */
    assert_int_equal(b.held, P9_ROOM_OWN + MIB);
    p9_room_give(&r, &b, b.held);
    assert_true(p9_room_grant(&r, &id));
    assert_int_equal(id, c.id);
    /* Who leaves takes nothing with him, waiting or not. */
    assert_false(p9_room_take(&r, &b, 32 * MIB));
    p9_room_leave(&r, &b);
    p9_room_leave(&r, &c);
    p9_room_leave(&r, &a);
    assert_int_equal(r.common + a.held + b.held + c.held, 0);
    assert_int_equal(atomic_load(&r.waiting), 0);
    assert_null(r.first);
    /* The largest message of all, when nobody else wants anything. */
    assert_true(p9_room_take(&r, &a, 16 * MIB + (MIB >> 3)));
    p9_room_leave(&r, &a);
    p9_room_fini(&r);
    close(fd);
}

/* ---- peers ---- */

/* Bytes that this process has got from malloc(). */
static size_t allocated(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void nap(unsigned ms)
{
    poll(NULL, 0, (int)ms);
}

/* It asks for @n large answers and reads none. Never waits for the server. */
static void ask_much(int fd, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        peer_ask_read(fd, (uint16_t)i, MIB);
}

/* Until the server has done what it can; the most memory meanwhile. */
static size_t settled(void)
{
    size_t most = 0;
    unsigned then = 0, now = peer_number(&double_handled);

    for (unsigned quiet = 0; quiet < 100; quiet = now == then ? quiet + 1 : 0) {
        most = MAX(most, allocated());
        nap(3);
        then = now;
        now = peer_number(&double_handled);
    }
    return most;
}

static int attached(struct peer_server *t, uint32_t msize)
{
    int fd = peer_dial(t);

    peer_set_msize(fd, msize);
    peer_ask(fd, ECHO, 1, HEADER);
    assert_int_equal(peer_answered(fd, ECHO, HEADER), 1);
    return fd;
}

static void crowd(struct peer_server *t, int *fd)
{
    for (unsigned i = 0; i < CROWD; i++)
        fd[i] = attached(t, 2 * MIB);
}

static unsigned hung_up(const int *fd, unsigned n)
{
    unsigned gone = 0;

    for (unsigned i = 0; i < n; i++) {
        struct pollfd p = {fd[i], POLLRDHUP, 0};
        gone += poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
    }
    return gone;
}

static void close_all(const int *fd, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        close(fd[i]);
}

/* Many peers that ask for much and read nothing: memory is bounded, and who wants no more than its
 * share gets it at once. */
static void test_sum(void **state)
{
    struct peer_server *t = *state;
    int fd[CROWD], other = attached(t, 131096);
    size_t before = allocated();

    crowd(t, fd);
    for (unsigned i = 0; i < CROWD; i++)
        ask_much(fd[i], 16);
    size_t most = settled();
    if (most > before)
        assert_in_range(most - before, 0, P9_ROOM_BYTES);
    for (uint16_t i = 0; i < 50; i++) {
        peer_ask_read(other, i, 131072);
        assert_int_equal(peer_answered(other, READ, 131072 + 11), i);
    }
    assert_int_equal(hung_up(fd, CROWD), 0); /* nobody has waited long enough to make them go */
    /* Who reads after all gets everything. */
    unsigned got[CROWD] = {0};
    for (unsigned n = 0; n < CROWD * 16;) {
        for (unsigned i = 0; i < CROWD; i++) {
            struct pollfd p = {fd[i], POLLIN, 0};
            if (got[i] == 16 || poll(&p, 1, 1) != 1)
                continue;
            peer_answered(fd[i], READ, BIG);
            got[i]++;
            n++;
        }
    }
    close_all(fd, CROWD);
    close(other);
}

/* @late, who came last, wants more than its share, and @steady reads, however slowly. */
static void others_go(struct peer_server *t, const int *fd)
{
    int late = attached(t, 2 * MIB), steady = attached(t, 2 * MIB);
    unsigned done = 0;

    peer_ask_read(steady, 1, MIB);
    peer_ask_read(late, 1, MIB);
    for (struct pollfd p = {late, POLLIN, 0}; poll(&p, 1, 50) == 0;) {
        struct pollfd q = {steady, POLLIN, 0};
        if (poll(&q, 1, 0) == 1) {
            assert_int_equal(peer_answered(steady, READ, BIG), 1);
            peer_ask_read(steady, 1, MIB);
            done++;
        }
        assert_true(done < 1000);
    }
    assert_int_equal(peer_answered(late, READ, BIG), 1);
    assert_true(hung_up(fd, CROWD) > 0);
    assert_int_equal(peer_answered(steady, READ, BIG), 1);
    close(late);
    close(steady);
}

static void test_unread(void **state)
{
    int fd[CROWD];
    crowd(*state, fd);
    for (unsigned i = 0; i < CROWD; i++)
        ask_much(fd[i], 4);
    settled();
    others_go(*state, fd);
    close_all(fd, CROWD);
}

/* The same with messages that begin and do not go on. */
static void test_unfinished(void **state)
{
    int fd[CROWD];
    uint8_t buf[100];
    crowd(*state, fd);
    peer_make(buf, 118, 1, sizeof(buf));
    uint32_t size = GUINT32_TO_LE((uint32_t)MIB);
    memcpy(buf, &size, sizeof(size));
    for (unsigned i = 0; i < CROWD; i++)
        peer_put(fd[i], buf, sizeof(buf));
    nap(100);
    others_go(*state, fd);
    close_all(fd, CROWD);
}

/* ---- peers that do not attach ---- */

static void test_no_attach(void **state)
{
    struct peer_server *t = *state;
    int silent = peer_dial(t), speaks = peer_dial(t), in = peer_dial(t);

    peer_ask(in, ECHO, 1, HEADER); /* attached */
    assert_int_equal(peer_answered(in, ECHO, HEADER), 1);
    peer_set_msize(speaks, MSIZE); /* that is not enough */
    peer_hung_up(silent);
    peer_hung_up(speaks);
    peer_ask(in, ECHO, 2, HEADER);
    assert_int_equal(peer_answered(in, ECHO, HEADER), 2);
    close(silent);
    close(speaks);
    close(in);
}

/* A connection that was given to us has all the time. */
static void test_given(void **state)
{
    int pair[2];
    struct peer_server t = {.rc = -1};
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct p9_endpoint ep = {.fd = pair[0], .connected = true, .local = true};
    peer_patience_ms = 100;
    peer_start(&t, &ep);
    nap(500);
    peer_ask(pair[1], ECHO, 5, 100);
    assert_int_equal(peer_answered(pair[1], ECHO, 100), 5);
    close(pair[1]);
    pthread_join(t.thread, NULL);
    p9_sock_free(t.s);
}

/* Who speaks and does not attach makes room as who says nothing, oldest first. */
static void test_speaking_crowd(void **state)
{
    int fd[P9_SOCK_MAX_CONNS + 10];

    for (unsigned i = 0; i < P9_SOCK_MAX_CONNS; i++) {
        fd[i] = peer_dial(*state);
        peer_set_msize(fd[i], MSIZE);
    }
    for (unsigned i = 0; i < 10; i++) {
        int late = fd[P9_SOCK_MAX_CONNS + i] = peer_dial(*state);
        peer_ask(late, ECHO, 7, HEADER);
        assert_int_equal(peer_answered(late, ECHO, HEADER), 7);
        peer_hung_up(fd[i]);
    }
    close_all(fd, P9_SOCK_MAX_CONNS + 10);
}

static int setup(void **state)
{
    peer_patience_ms = 60000;
    return peer_setup(state);
}

/* Long enough for a loaded machine to read something in. */
static int setup_hasty(void **state)
{
    peer_patience_ms = 2000;
    return peer_setup(state);
}

#define TEST(t)  cmocka_unit_test_setup_teardown(t, setup, peer_teardown)
#define HASTY(t) cmocka_unit_test_setup_teardown(t, setup_hasty, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares), TEST(test_sum),        HASTY(test_unread),
        HASTY(test_unfinished),        HASTY(test_no_attach), cmocka_unit_test(test_given),
        TEST(test_speaking_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
