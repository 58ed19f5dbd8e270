/* SPDX-License-Identifier: BSD-3-Clause
 * The socket server against a double of the 9P server: framing, several requests at once, peers
 * that do not read, do not finish, or go. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/p9-peer.h"
#include "virtiofsd/base/auto.h"

/* ---- tests ---- */

static void test_echo(void **state)
{
    int fd = peer_dial(*state);
    for (uint16_t tag = 0; tag < 200; tag++) {
        peer_ask(fd, ECHO, tag, HEADER + tag);
        assert_int_equal(peer_answered(fd, ECHO, HEADER + tag), tag);
    }
    peer_ask(fd, NOTHING, 1, HEADER); /* has no answer; the connection goes on */
    peer_ask(fd, ECHO, 2, HEADER);
    assert_int_equal(peer_answered(fd, ECHO, HEADER), 2);
    close(fd);
}

static void test_byte_by_byte(void **state)
{
    int fd = peer_dial(*state), other = peer_dial(*state);
    uint8_t buf[40];
    peer_make(buf, ECHO, 7, sizeof(buf));
    for (unsigned i = 0; i < sizeof(buf); i++) {
        peer_put(fd, buf + i, 1);
        peer_ask(other, ECHO, (uint16_t)i, HEADER); /* nobody waits for it */
        assert_int_equal(peer_answered(other, ECHO, HEADER), i);
    }
    assert_int_equal(peer_answered(fd, ECHO, sizeof(buf)), 7);
    close(other);
    close(fd);
}

static void test_many_in_one_write(void **state)
{
    int fd = peer_dial(*state);
    uint8_t buf[100 * 20], seen[100] = {0};
    for (uint16_t i = 0; i < 100; i++)
        peer_make(buf + i * 20, ECHO, i, 20);
    peer_put(fd, buf, sizeof(buf));
    for (unsigned i = 0; i < 100; i++)
        seen[peer_answered(fd, ECHO, 20)]++;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    close(fd);
}

static void test_bad_sizes(void **state)
{
    static const uint32_t bad[] = {0, 1, 4, 6, 8193, 0x7fffffff, 0x80000000, 0xffffffff};
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        int fd = peer_dial(*state);
        uint32_t size = GUINT32_TO_LE(bad[i]);
        peer_put(fd, &size, sizeof(size));
        peer_hung_up(fd);
        close(fd);
    }
    assert_int_equal(peer_number(&double_handled), 0);
    int fd = peer_dial(*state);
    peer_ask(fd, ECHO, 1, 8192); /* the largest before a version is agreed on */
    assert_int_equal(peer_answered(fd, ECHO, 8192), 1);
    peer_set_msize(fd, MSIZE);
    peer_ask(fd, ECHO, 2, MSIZE);
    assert_int_equal(peer_answered(fd, ECHO, 8192), 2);
    uint32_t size = GUINT32_TO_LE(MSIZE + 1);
    peer_put(fd, &size, sizeof(size));
    peer_hung_up(fd);
    close(fd);
}

static void test_truncated(void **state)
{
    uint8_t buf[20];
    for (size_t n = 0; n < sizeof(buf); n++) {
        int fd = peer_dial(*state);
        peer_make(buf, ECHO, 1, sizeof(buf));
        if (n > 0)
            peer_put(fd, buf, n);
        shutdown(fd, SHUT_WR);
        peer_hung_up(fd);
        close(fd);
    }
    assert_int_equal(peer_number(&double_handled), 0);
}

static void test_slow_blocks_nobody(void **state)
{
    int fd = peer_dial(*state), other = peer_dial(*state);
    /* One connection gets all threads but one; the rest of its messages wait. */
    for (uint16_t i = 0; i < 5; i++)
        peer_ask(fd, SLOW, i, HEADER);
    peer_wait_slow(2);
    peer_ask(other, ECHO, 9, HEADER);
    assert_int_equal(peer_answered(other, ECHO, HEADER), 9);
    assert_int_equal(peer_number(&double_slow), 2);
    pthread_mutex_lock(&double_lock);
    double_gate = true;
    pthread_cond_broadcast(&double_changed);
    pthread_mutex_unlock(&double_lock);
    unsigned seen = 0;
    for (unsigned i = 0; i < 5; i++)
        seen |= 1u << peer_answered(fd, SLOW, HEADER);
    assert_int_equal(seen, 31);
    close(fd);
    close(other);
}

static void test_answers_out_of_order(void **state)
{
    int fd = peer_dial(*state);
    peer_ask(fd, SLOW, 1, HEADER);
    peer_wait_slow(1);
    peer_ask(fd, ECHO, 2, HEADER);
    assert_int_equal(peer_answered(fd, ECHO, HEADER), 2);
    pthread_mutex_lock(&double_lock);
    double_gate = true;
    pthread_cond_broadcast(&double_changed);
    pthread_mutex_unlock(&double_lock);
    assert_int_equal(peer_answered(fd, SLOW, HEADER), 1);
    close(fd);
}

/* A peer that asks and never reads: it is not read any more after a while, costs no thread, and
 * gets everything when it reads after all. */
static void test_reads_nothing(void **state)
{
    int fd = peer_dial(*state), other = peer_dial(*state);
    unsigned asked = 0, got = 0;
    uint8_t buf[23];
    uint32_t count = GUINT32_TO_LE(MSIZE - 11);

    peer_set_msize(fd, MSIZE);
    peer_make(buf, READ, 3, sizeof(buf));
    memcpy(buf + 19, &count, sizeof(count));
    for (struct pollfd p = {fd, POLLOUT, 0}; asked < 100000; asked++) {
        if (poll(&p, 1, 200) <= 0 || !(p.revents & POLLOUT))
            break;
        peer_put(fd, buf, sizeof(buf));
    }
    assert_true(asked < 100000);
    assert_true(peer_number(&double_handled) < 70);
    for (uint16_t i = 0; i < 50; i++) {
        peer_ask(other, ECHO, i, HEADER);
        assert_int_equal(peer_answered(other, ECHO, HEADER), i);
    }
    for (; got < asked && got < 200; got++)
        assert_int_equal(peer_answered(fd, READ, MSIZE), 3);
    close(fd);
    close(other);
}

static void test_gone_while_it_waits(void **state)
{
    struct peer_server *t = *state;
    int fd = peer_dial(t), slow_fd = peer_dial(t);
    peer_ask(fd, WAIT, 1, HEADER);
    peer_ask(slow_fd, SLOW, 1, HEADER);
    peer_wait_slow(1);
    peer_ask(fd, ECHO, 2, HEADER);
    assert_int_equal(peer_answered(fd, ECHO, HEADER), 2);
    close(fd);
    close(slow_fd);
    pthread_mutex_lock(&double_lock);
    while (double_conns > 1) /* the one that waits was cancelled */
        pthread_cond_wait(&double_changed, &double_lock);
    double_gate = true;
    pthread_cond_broadcast(&double_changed);
    while (double_conns > 0)
        pthread_cond_wait(&double_changed, &double_lock);
    pthread_mutex_unlock(&double_lock);
}

static void test_stop_with_everything_in_flight(void **state)
{
    struct peer_server *t = *state;
    for (unsigned i = 0; i < 4; i++) { /* the ends stay open: the server is the one who hangs up */
        int fd = peer_dial(t);
        peer_ask(fd, i % 2 ? WAIT : SLOW, 1, HEADER);
        peer_ask_read(fd, 2, 100);
    }
    peer_wait_slow(1);
}

static void test_too_many(void **state)
{
    int fd[P9_SOCK_MAX_CONNS];
    for (unsigned i = 0; i < P9_SOCK_MAX_CONNS; i++) {
        fd[i] = peer_dial(*state);
        peer_ask(fd[i], ECHO, (uint16_t)i, HEADER);
        assert_int_equal(peer_answered(fd[i], ECHO, HEADER), i);
    }
    int more = peer_dial(*state);
    peer_hung_up(more);
    close(more);
    for (unsigned i = 0; i < P9_SOCK_MAX_CONNS; i++)
        close(fd[i]);
    pthread_mutex_lock(&double_lock);
    while (double_conns > 0)
        pthread_cond_wait(&double_changed, &double_lock);
    pthread_mutex_unlock(&double_lock);
    /* There is room again, at the latest a moment after the last one's server is gone. */
    uint8_t head[HEADER], msg[HEADER];
    ssize_t n = 0;
    for (unsigned i = 0; i < 1000 && n != HEADER; i++) {
        more = peer_dial(*state);
        peer_make(msg, ECHO, 1, sizeof(msg));
        (void)!send(more, msg, sizeof(msg), MSG_NOSIGNAL);
        n = recv(more, head, sizeof(head), MSG_WAITALL);
        close(more);
    }
    assert_int_equal(n, HEADER);
}

/* Who connects and says nothing, or not all of a message, makes room for others, oldest first. */
static void test_silent_crowd(void **state)
{
    int fd[P9_SOCK_MAX_CONNS + 20], n = 0;
    int first = peer_dial(*state);
    peer_ask(first, ECHO, 1, HEADER);
    assert_int_equal(peer_answered(first, ECHO, HEADER), 1);
    for (; n < P9_SOCK_MAX_CONNS - 1; n++) {
        fd[n] = peer_dial(*state);
        if (n % 2)
            peer_put(fd[n], "\x20\0\0", 3);
    }
    for (int i = 0; i < 20; i++) {
        int late = fd[n + i] = peer_dial(*state);
        peer_ask(late, ECHO, 7, HEADER);
        assert_int_equal(peer_answered(late, ECHO, HEADER), 7);
        peer_hung_up(fd[i]);
    }
    peer_ask(first, ECHO, 2, HEADER);
    assert_int_equal(peer_answered(first, ECHO, HEADER), 2);
    int young = fd[n - 1]; /* of the silent ones, and still there */
    peer_ask(young, ECHO, 3, HEADER);
    assert_int_equal(peer_answered(young, ECHO, HEADER), 3);
    for (int i = 0; i < n + 20; i++)
        close(fd[i]);
    close(first);
}

/* An inherited connection: the server ends with it. */
static void test_inherited(void **state)
{
    int pair[2];
    struct peer_server t = {.rc = -1};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct p9_endpoint ep = {.fd = pair[0], .connected = true, .local = true};
    peer_start(&t, &ep);
    peer_ask(pair[1], ECHO, 5, 100);
    assert_int_equal(peer_answered(pair[1], ECHO, 100), 5);
    close(pair[1]);
    pthread_join(t.thread, NULL);
    assert_int_equal(t.rc, 0);
    p9_sock_free(t.s);
    assert_int_equal(double_conns, 0);
}

/* Only we, root and the group; tried as another user. */
static void test_stranger(void **state)
{
    struct peer_server *t = *state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(t->dir, 0755), 0);
    assert_int_equal(chmod(t->un.sun_path, 0666), 0); /* as a careless manager makes it */
    assert_int_equal(seteuid(12345), 0);
    int fd = peer_dial(t);
    assert_int_equal(seteuid(0), 0);
    /* The kernel notes the effective user at connect(). */
    peer_hung_up(fd);
    close(fd);
    assert_int_equal(peer_number(&double_handled), 0);
}

static void *chatter(void *arg)
{
    struct peer_server *t = arg;
    for (unsigned round = 0; round < 20; round++) {
        int fd = peer_dial(t);
        for (uint16_t i = 0; i < 40; i++)
            peer_ask(fd, i % 8 == 3 ? NOTHING : ECHO, i, HEADER + i);
        if (round % 2) /* gone with answers on their way */
            for (unsigned i = 0; i < 35; i++) {
                uint8_t head[4];
                peer_get(fd, head, 4);
                uint32_t size;
                memcpy(&size, head, 4);
                g_autofree uint8_t *rest = g_malloc(size);
                peer_get(fd, rest, GUINT32_FROM_LE(size) - 4);
            }
        close(fd);
    }
    return NULL;
}

static void test_many_peers(void **state)
{
    pthread_t th[4];
    for (unsigned i = 0; i < G_N_ELEMENTS(th); i++)
        assert_int_equal(pthread_create(&th[i], NULL, chatter, *state), 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(th); i++)
        pthread_join(th[i], NULL);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_echo),
        TEST(test_byte_by_byte),
        TEST(test_many_in_one_write),
        TEST(test_bad_sizes),
        TEST(test_truncated),
        TEST(test_slow_blocks_nobody),
        TEST(test_answers_out_of_order),
        TEST(test_reads_nothing),
        TEST(test_gone_while_it_waits),
        TEST(test_stop_with_everything_in_flight),
        TEST(test_too_many),
        TEST(test_silent_crowd),
        cmocka_unit_test(test_inherited),
        TEST(test_stranger),
        TEST(test_many_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
