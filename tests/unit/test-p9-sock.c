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

#include "tests/unit/p9-double.h"
#include "virtiofsd/9p/p9-sock.h"
#include "virtiofsd/base/auto.h"

/* ---- the server under test ---- */

struct state {
    char dir[32];
    struct sockaddr_un un;
    struct p9_sock *s;
    pthread_t thread;
    int rc;
};

static void *run(void *arg)
{
    struct state *t = arg;
    t->rc = p9_sock_run(t->s, NULL);
    return NULL;
}

static void start(struct state *t, const struct p9_endpoint *ep)
{
    struct p9_sock_config cfg = {.threads = 3, .group = (gid_t)-1};
    t->s = p9_sock_new(&cfg);
    p9_sock_add(t->s, ep);
    assert_int_equal(pthread_create(&t->thread, NULL, run, t), 0);
}

static int setup(void **state)
{
    struct state *t = g_new0(struct state, 1);
    struct p9_endpoint ep;
    g_autofree char *addr = NULL;

    strcpy(t->dir, "/tmp/p9-sock-XXXXXX");
    if (!mkdtemp(t->dir))
        return -1;
    t->un.sun_family = AF_UNIX;
    snprintf(t->un.sun_path, sizeof(t->un.sun_path), "%s/s", t->dir);
    addr = g_strdup_printf("unix:%s", t->un.sun_path);
    assert_true(p9_listen_open(addr, NULL, &ep, NULL));
    ep.judge = true; /* as if it was inherited */
    double_gate = false;
    double_handled = 0;
    start(t, &ep);
    *state = t;
    return 0;
}

static void stop(struct state *t)
{
    pthread_mutex_lock(&double_lock);
    double_gate = true;
    pthread_cond_broadcast(&double_changed);
    pthread_mutex_unlock(&double_lock);
    p9_sock_stop(t->s);
    pthread_join(t->thread, NULL);
    assert_int_equal(t->rc, 0);
    p9_sock_free(t->s);
    assert_int_equal(double_conns, 0); /* nothing is left */
    assert_int_equal(double_slow, 0);
}

static int teardown(void **state)
{
    struct state *t = *state;
    stop(t);
    unlink(t->un.sun_path);
    int rc = rmdir(t->dir);
    g_free(t);
    return rc;
}

/* ---- the peer ---- */

static int dial(struct state *t)
{
    struct timeval limit = {.tv_sec = 10}; /* a server that hangs is a failed test */
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(fd, (struct sockaddr *)&t->un, sizeof(t->un)), 0);
    return fd;
}

static void put(int fd, const void *p, size_t len)
{
    assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

static size_t make(uint8_t *buf, uint8_t type, uint16_t tag, size_t size)
{
    uint32_t s = GUINT32_TO_LE((uint32_t)size);
    memset(buf, 0, size);
    memcpy(buf, &s, sizeof(s));
    buf[4] = type;
    buf[5] = (uint8_t)tag;
    buf[6] = (uint8_t)(tag >> 8);
    return size;
}

static void ask(int fd, uint8_t type, uint16_t tag, size_t size)
{
    g_autofree uint8_t *buf = g_malloc(size);
    put(fd, buf, make(buf, type, tag, size));
}

static void get(int fd, void *p, size_t len)
{
    assert_int_equal(recv(fd, p, len, MSG_WAITALL), (ssize_t)len);
}

/* The next answer's tag; its type must be @type + 1. */
static uint16_t answered(int fd, uint8_t type, size_t want)
{
    uint8_t head[HEADER];
    uint32_t size;
    get(fd, head, sizeof(head));
    memcpy(&size, head, sizeof(size));
    size = GUINT32_FROM_LE(size);
    assert_int_equal(size, want);
    assert_int_equal(head[4], type + 1);
    g_autofree uint8_t *rest = g_malloc(size);
    if (size > HEADER)
        get(fd, rest, size - HEADER);
    return (uint16_t)(head[5] | head[6] << 8);
}

static void assert_hung_up(int fd)
{
    char c;
    ssize_t n = recv(fd, &c, 1, 0);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

static void set_msize(int fd, uint32_t msize)
{
    uint8_t buf[11];
    make(buf, VERSION, 0xffff, sizeof(buf));
    msize = GUINT32_TO_LE(msize);
    memcpy(buf + HEADER, &msize, sizeof(msize));
    put(fd, buf, sizeof(buf));
    assert_int_equal(answered(fd, VERSION, sizeof(buf)), 0xffff);
}

static void ask_read(int fd, uint16_t tag, uint32_t count)
{
    uint8_t buf[23];
    make(buf, READ, tag, sizeof(buf));
    count = GUINT32_TO_LE(count);
    memcpy(buf + 19, &count, sizeof(count));
    put(fd, buf, sizeof(buf));
}

/* One of the double's numbers. */
static unsigned number(const unsigned *n)
{
    AUTO_LOCK(&double_lock);
    return *n;
}

static void wait_slow(unsigned n)
{
    AUTO_LOCK(&double_lock);
    while (double_slow < n)
        pthread_cond_wait(&double_changed, &double_lock);
}

/* ---- tests ---- */

static void test_echo(void **state)
{
    int fd = dial(*state);
    for (uint16_t tag = 0; tag < 200; tag++) {
        ask(fd, ECHO, tag, HEADER + tag);
        assert_int_equal(answered(fd, ECHO, HEADER + tag), tag);
    }
    ask(fd, NOTHING, 1, HEADER); /* has no answer; the connection goes on */
    ask(fd, ECHO, 2, HEADER);
    assert_int_equal(answered(fd, ECHO, HEADER), 2);
    close(fd);
}

static void test_byte_by_byte(void **state)
{
    int fd = dial(*state), other = dial(*state);
    uint8_t buf[40];
    make(buf, ECHO, 7, sizeof(buf));
    for (unsigned i = 0; i < sizeof(buf); i++) {
        put(fd, buf + i, 1);
        ask(other, ECHO, (uint16_t)i, HEADER); /* nobody waits for it */
        assert_int_equal(answered(other, ECHO, HEADER), i);
    }
    assert_int_equal(answered(fd, ECHO, sizeof(buf)), 7);
    close(other);
    close(fd);
}

static void test_many_in_one_write(void **state)
{
    int fd = dial(*state);
    uint8_t buf[100 * 20], seen[100] = {0};
    for (uint16_t i = 0; i < 100; i++)
        make(buf + i * 20, ECHO, i, 20);
    put(fd, buf, sizeof(buf));
    for (unsigned i = 0; i < 100; i++)
        seen[answered(fd, ECHO, 20)]++;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    close(fd);
}

static void test_bad_sizes(void **state)
{
    static const uint32_t bad[] = {0, 1, 4, 6, 8193, 0x7fffffff, 0x80000000, 0xffffffff};
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        int fd = dial(*state);
        uint32_t size = GUINT32_TO_LE(bad[i]);
        put(fd, &size, sizeof(size));
        assert_hung_up(fd);
        close(fd);
    }
    assert_int_equal(number(&double_handled), 0);
    int fd = dial(*state);
    ask(fd, ECHO, 1, 8192); /* the largest before a version is agreed on */
    assert_int_equal(answered(fd, ECHO, 8192), 1);
    set_msize(fd, MSIZE);
    ask(fd, ECHO, 2, MSIZE);
    assert_int_equal(answered(fd, ECHO, MSIZE), 2);
    uint32_t size = GUINT32_TO_LE(MSIZE + 1);
    put(fd, &size, sizeof(size));
    assert_hung_up(fd);
    close(fd);
}

static void test_truncated(void **state)
{
    uint8_t buf[20];
    for (size_t n = 0; n < sizeof(buf); n++) {
        int fd = dial(*state);
        make(buf, ECHO, 1, sizeof(buf));
        if (n > 0)
            put(fd, buf, n);
        shutdown(fd, SHUT_WR);
        assert_hung_up(fd);
        close(fd);
    }
    assert_int_equal(number(&double_handled), 0);
}

static void test_slow_blocks_nobody(void **state)
{
    int fd = dial(*state), other = dial(*state);
    /* One connection gets all threads but one; the rest of its messages wait. */
    for (uint16_t i = 0; i < 5; i++)
        ask(fd, SLOW, i, HEADER);
    wait_slow(2);
    ask(other, ECHO, 9, HEADER);
    assert_int_equal(answered(other, ECHO, HEADER), 9);
    assert_int_equal(number(&double_slow), 2);
    pthread_mutex_lock(&double_lock);
    double_gate = true;
    pthread_cond_broadcast(&double_changed);
    pthread_mutex_unlock(&double_lock);
    unsigned seen = 0;
    for (unsigned i = 0; i < 5; i++)
        seen |= 1u << answered(fd, SLOW, HEADER);
    assert_int_equal(seen, 31);
    close(fd);
    close(other);
}

static void test_answers_out_of_order(void **state)
{
    int fd = dial(*state);
    ask(fd, SLOW, 1, HEADER);
    wait_slow(1);
    ask(fd, ECHO, 2, HEADER);
    assert_int_equal(answered(fd, ECHO, HEADER), 2);
    pthread_mutex_lock(&double_lock);
    double_gate = true;
    pthread_cond_broadcast(&double_changed);
    pthread_mutex_unlock(&double_lock);
    assert_int_equal(answered(fd, SLOW, HEADER), 1);
    close(fd);
}

/* A peer that asks and never reads: it is not read any more after a while, costs no thread, and
 * gets everything when it reads after all. */
static void test_reads_nothing(void **state)
{
    int fd = dial(*state), other = dial(*state);
    unsigned asked = 0, got = 0;
    uint8_t buf[23];
    uint32_t count = GUINT32_TO_LE(MSIZE - 11);

    set_msize(fd, MSIZE);
    make(buf, READ, 3, sizeof(buf));
    memcpy(buf + 19, &count, sizeof(count));
    for (struct pollfd p = {fd, POLLOUT, 0}; asked < 100000; asked++) {
        if (poll(&p, 1, 200) <= 0 || !(p.revents & POLLOUT))
            break;
        put(fd, buf, sizeof(buf));
    }
    assert_true(asked < 100000);
    assert_true(number(&double_handled) < 70);
    for (uint16_t i = 0; i < 50; i++) {
        ask(other, ECHO, i, HEADER);
        assert_int_equal(answered(other, ECHO, HEADER), i);
    }
    for (; got < asked && got < 200; got++)
        assert_int_equal(answered(fd, READ, MSIZE), 3);
    close(fd);
    close(other);
}

static void test_gone_while_it_waits(void **state)
{
    struct state *t = *state;
    int fd = dial(t), slow_fd = dial(t);
    ask(fd, WAIT, 1, HEADER);
    ask(slow_fd, SLOW, 1, HEADER);
    wait_slow(1);
    ask(fd, ECHO, 2, HEADER);
    assert_int_equal(answered(fd, ECHO, HEADER), 2);
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
    struct state *t = *state;
    for (unsigned i = 0; i < 4; i++) { /* the ends stay open: the server is the one who hangs up */
        int fd = dial(t);
        ask(fd, i % 2 ? WAIT : SLOW, 1, HEADER);
        ask_read(fd, 2, 100);
    }
    wait_slow(1);
}

static void test_too_many(void **state)
{
    int fd[P9_SOCK_MAX_CONNS];
    for (unsigned i = 0; i < P9_SOCK_MAX_CONNS; i++) {
        fd[i] = dial(*state);
        ask(fd[i], ECHO, (uint16_t)i, HEADER);
        assert_int_equal(answered(fd[i], ECHO, HEADER), i);
    }
    int more = dial(*state);
    assert_hung_up(more);
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
        more = dial(*state);
        make(msg, ECHO, 1, sizeof(msg));
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
    int first = dial(*state);
    ask(first, ECHO, 1, HEADER);
    assert_int_equal(answered(first, ECHO, HEADER), 1);
    for (; n < P9_SOCK_MAX_CONNS - 1; n++) {
        fd[n] = dial(*state);
        if (n % 2)
            put(fd[n], "\x20\0\0", 3);
    }
    for (int i = 0; i < 20; i++) {
        int late = fd[n + i] = dial(*state);
        ask(late, ECHO, 7, HEADER);
        assert_int_equal(answered(late, ECHO, HEADER), 7);
        assert_hung_up(fd[i]);
    }
    ask(first, ECHO, 2, HEADER);
    assert_int_equal(answered(first, ECHO, HEADER), 2);
    int young = fd[n - 1]; /* of the silent ones, and still there */
    ask(young, ECHO, 3, HEADER);
    assert_int_equal(answered(young, ECHO, HEADER), 3);
    for (int i = 0; i < n + 20; i++)
        close(fd[i]);
    close(first);
}

/* An inherited connection: the server ends with it. */
static void test_inherited(void **state)
{
    int pair[2];
    struct state t = {.rc = -1};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    struct p9_endpoint ep = {.fd = pair[0], .connected = true, .local = true};
    start(&t, &ep);
    ask(pair[1], ECHO, 5, 100);
    assert_int_equal(answered(pair[1], ECHO, 100), 5);
    close(pair[1]);
    pthread_join(t.thread, NULL);
    assert_int_equal(t.rc, 0);
    p9_sock_free(t.s);
    assert_int_equal(double_conns, 0);
}

/* Only we, root and the group; tried as another user. */
static void test_stranger(void **state)
{
    struct state *t = *state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(t->dir, 0755), 0);
    assert_int_equal(chmod(t->un.sun_path, 0666), 0); /* as a careless manager makes it */
    assert_int_equal(seteuid(12345), 0);
    int fd = dial(t);
    assert_int_equal(seteuid(0), 0);
    /* The kernel notes the effective user at connect(). */
    assert_hung_up(fd);
    close(fd);
    assert_int_equal(number(&double_handled), 0);
}

static void *chatter(void *arg)
{
    struct state *t = arg;
    for (unsigned round = 0; round < 20; round++) {
        int fd = dial(t);
        for (uint16_t i = 0; i < 40; i++)
            ask(fd, i % 8 == 3 ? NOTHING : ECHO, i, HEADER + i);
        if (round % 2) /* gone with answers on their way */
            for (unsigned i = 0; i < 35; i++) {
                uint8_t head[4];
                get(fd, head, 4);
                uint32_t size;
                memcpy(&size, head, 4);
                g_autofree uint8_t *rest = g_malloc(size);
                get(fd, rest, GUINT32_FROM_LE(size) - 4);
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

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

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
