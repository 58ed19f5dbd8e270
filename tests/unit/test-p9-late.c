/* SPDX-License-Identifier: BSD-3-Clause
 * Tread of data that come late: other messages go on, Tflush, Tclunk and the end of the session end
 * it. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/p9-mem.h"
#include "tests/unit/tree-mem.h"

enum { TFLUSH = 108, TREAD = 116 };
#define COUNT 500

/* fid 1: "late", 2: "held", 3: "now", open. */
static void start(struct p9_mem *m)
{
    static const char *const names[] = {"late", "held", "now"};

    p9_mem_start(m);
    for (uint32_t i = 0; i < 3; i++) {
        assert_ok(p9c_walk(&m->c, 0, i + 1, names[i]));
        assert_ok(p9c_lopen(&m->c, i + 1, 0));
    }
}

/* A Tread with its own tag, which has not been sent. */
static struct p9_msg *make_read(struct p9_mem *m, uint32_t fid, uint64_t off, uint16_t tag)
{
    uint16_t old = m->c.tag;

    m->c.tag = tag;
    p9c_begin(&m->c, TREAD);
    p9c_put32(&m->c, fid);
    p9c_put64(&m->c, off);
    p9c_put32(&m->c, COUNT);
    size_t len = p9c_end(&m->c);
    m->c.tag = old;
    return p9_msg_new(m->c.t, len, 11 + COUNT);
}

/* Send one that waits. */
static struct p9_msg *send_read(struct p9_mem *m, uint32_t fid, uint64_t off, uint16_t tag)
{
    struct p9_msg *msg = make_read(m, fid, off, tag);
    p9_conn_handle(m->conn, &msg->chain);
    return msg;
}

/* Bytes, compared with what should be there, or -errno. */
static int answer_of(struct p9_mem *m, struct p9_msg *msg, uint64_t off)
{
    size_t n = p9_msg_wait(msg);

    memcpy(m->c.r, msg->rep, n);
    memcpy(m->c.t, msg->req, msg->chain.in_len);
    p9_msg_free(msg);
    int rc = p9c_check(&m->c, n);
    if (rc < 0)
        return rc;
    uint32_t count = p9c_get32(&m->c);
    assert_int_equal(n, 11 + count);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(p9c_get8(&m->c), tree_mem_byte(off + i));
    return (int)count;
}

static void test_late(void **state)
{
    struct p9_mem m;
    unsigned char buf[COUNT];

    start(&m);
    struct p9_msg *a = send_read(&m, 1, 0, 100), *b = send_read(&m, 1, 12345, 101);
    struct p9_msg *c = send_read(&m, 2, 7, 102);
    assert_int_equal(p9c_read(&m.c, 3, 0, buf, COUNT), COUNT); /* what is there passes them */
    assert_int_equal(answer_of(&m, a, 0), COUNT);
    assert_int_equal(answer_of(&m, b, 12345), COUNT);
    assert_false(p9_msg_done(c));
    tree_waits_let_go(tree_mem_waits());
    assert_int_equal(answer_of(&m, c, 7), COUNT);
    assert_int_equal(p9c_read(&m.c, 1, TREE_MEM_SIZE - 3, buf, COUNT), 3);
    assert_int_equal(p9c_read(&m.c, 1, TREE_MEM_SIZE, buf, COUNT), 0);
    p9_mem_stop(&m);
}

static void test_flush(void **state)
{
    struct p9_mem m;

    start(&m);
    struct p9_msg *a = send_read(&m, 2, 0, 100), *b = send_read(&m, 2, 0, 101);
    assert_ok(p9c_flush(&m.c, 101));
    assert_true(p9_msg_done(b)); /* before the flush was answered */
    assert_false(p9_msg_done(a));
    assert_int_equal(answer_of(&m, b, 0), -EINTR);
    struct p9_msg *again = send_read(&m, 3, 0, 101); /* the tag is free */
    assert_int_equal(answer_of(&m, again, 0), COUNT);
    assert_ok(p9c_flush(&m.c, 100));
    assert_int_equal(answer_of(&m, a, 0), -EINTR);
    p9_mem_stop(&m);
}

static struct p9_msg *make_flush(struct p9_mem *m, uint16_t old, uint16_t tag)
{
    uint16_t mine = m->c.tag;

    m->c.tag = tag;
    p9c_begin(&m->c, TFLUSH);
    p9c_put16(&m->c, old);
    size_t len = p9c_end(&m->c);
    m->c.tag = mine;
    return p9_msg_new(m->c.t, len, 11);
}

struct handled {
    struct p9_mem *m;
    struct p9_msg *msg;
};

static void *handle(void *arg)
{
    struct handled *h = arg;

    p9_conn_handle(h->m->conn, &h->msg->chain);
    return NULL;
}

/* Two threads took the request and its Tflush, and the flush gets ahead. */
static void test_overtaken(void **state)
{
    struct p9_mem m;
    pthread_t thread;

    start(&m);
    struct p9_msg *read = make_read(&m, 3, 0, 100), *flush = make_flush(&m, 100, 101);
    struct handled h = {&m, flush};
    p9_conn_arrive(m.conn, &read->chain);
    p9_conn_arrive(m.conn, &flush->chain);
    assert_int_equal(pthread_create(&thread, NULL, handle, &h), 0);
    usleep(20000); /* long enough for it to be wrong */
    assert_false(p9_msg_done(flush));
    p9_conn_handle(m.conn, &read->chain);
    assert_int_equal(answer_of(&m, read, 0), COUNT);
    assert_int_equal(p9_msg_wait(flush), 7);
    assert_int_equal(pthread_join(thread, NULL), 0);
    p9_msg_free(flush);
    p9_mem_stop(&m);
}

/* What came after a Tflush is not its business: one thread may have to handle both, in order. */
static void test_flush_first(void **state)
{
    struct p9_mem m;

    start(&m);
    struct p9_msg *flush = make_flush(&m, 100, 101), *read = make_read(&m, 3, 0, 100);
    struct p9_msg *own = make_flush(&m, 102, 102), *there = make_flush(&m, 104, 103);
    struct p9_msg *back = make_flush(&m, 103, 104), *all[] = {flush, own, there, back};
    p9_conn_arrive(m.conn, &flush->chain);
    p9_conn_arrive(m.conn, &read->chain);
    p9_conn_arrive(m.conn, &own->chain);
    p9_conn_arrive(m.conn, &there->chain);
    flush->req[7] = 99; /* the client changes its mind */
    p9_conn_arrive(m.conn, &back->chain);
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++) {
        p9_conn_handle(m.conn, &all[i]->chain);
        assert_int_equal(p9_msg_wait(all[i]), 7);
        p9_msg_free(all[i]);
    }
    p9_conn_handle(m.conn, &read->chain);
    assert_int_equal(answer_of(&m, read, 0), COUNT);
    p9_mem_stop(&m);
}

/* An answer that is out, and whose request is not gone before the gate opens. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static const struct chain_ops *quick;

static void linger(struct chain *c, size_t len)
{
    quick->complete(c, len);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
}

/* The client has used the tag again when it saw the answer: the flush is about the new request,
 * which begins to wait while the old one ends. */
static void test_flush_used_again(void **state)
{
    static struct chain_ops slow;
    struct p9_mem m;
    pthread_t thread;

    start(&m);
    struct p9_msg *old = make_read(&m, 1, 0, 100), *again = make_read(&m, 2, 0, 100);
    struct p9_msg *flush = make_flush(&m, 100, 101);
    struct handled h = {&m, flush};
    quick = old->chain.ops;
    slow = (struct chain_ops){linger, quick->flush};
    old->chain.ops = &slow;
    pthread_mutex_lock(&gate);
    p9_conn_handle(m.conn, &old->chain);
    p9_msg_wait(old);
    p9_conn_arrive(m.conn, &again->chain);
    p9_conn_arrive(m.conn, &flush->chain);
    assert_int_equal(pthread_create(&thread, NULL, handle, &h), 0);
    usleep(20000); /* it ends the old one's wait, and looks no further */
    p9_conn_handle(m.conn, &again->chain);
    pthread_mutex_unlock(&gate);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(answer_of(&m, old, 0), COUNT);
    assert_int_equal(answer_of(&m, again, 0), -EINTR);
    assert_int_equal(p9_msg_wait(flush), 7);
    p9_msg_free(flush);
    p9_mem_stop(&m);
}

static void test_clunk(void **state)
{
    struct p9_mem m;

    start(&m);
    assert_ok(p9c_walk(&m.c, 0, 9, "held"));
    assert_ok(p9c_lopen(&m.c, 9, 0));
    struct p9_msg *a = send_read(&m, 2, 0, 100), *b = send_read(&m, 9, 0, 101);
    assert_ok(p9c_clunk(&m.c, 9));
    assert_int_equal(answer_of(&m, b, 0), -EINTR);
    assert_false(p9_msg_done(a));
    tree_waits_let_go(tree_mem_waits());
    assert_int_equal(answer_of(&m, a, 0), COUNT);
    p9_mem_stop(&m);
}

static void test_end(void **state)
{
    struct p9_mem m;

    for (int how = 0; how < 3; how++) {
        start(&m);
        struct p9_msg *a = send_read(&m, 2, 0, 100), *b = send_read(&m, 2, 0, 101);
        if (how == 0)
            assert_ok(p9c_version(&m.c, 8192, "9P2000.L"));
        else if (how == 1)
            p9_conn_reset(m.conn);
        else
            p9_conn_cancel(m.conn); /* the peer is gone, or the ring stops */
        assert_int_equal(answer_of(&m, a, 0), -EINTR);
        assert_int_equal(answer_of(&m, b, 0), -EINTR);
        assert_int_equal(tree_waits_count(tree_mem_waits()), 0);
        p9_mem_stop(&m);
    }
}

/* ---- all at once ---- */

static void *let_go(void *arg)
{
    struct tree_waits *w = arg;

    for (int i = 0; i < 300; i++) {
        struct timespec ts = {.tv_nsec = 100000};
        tree_waits_let_go(w);
        nanosleep(&ts, NULL);
    }
    return NULL;
}

/* Each read ends once, whoever is first. */
static void test_race(void **state)
{
    struct p9_mem m;
    pthread_t thread;
    unsigned data = 0;

    start(&m);
    assert_ok(pthread_create(&thread, NULL, let_go, tree_mem_waits()));
    for (unsigned i = 0; i < 200; i++) {
        struct p9_msg *a = send_read(&m, 2, i, 100), *b = send_read(&m, 1, i, 101);
        assert_ok(p9c_flush(&m.c, i % 2 ? 100 : 101));
        if (i % 2 == 0)
            assert_ok(p9c_flush(&m.c, 100));
        int rc = answer_of(&m, a, i), rc2 = answer_of(&m, b, i);
        assert_true(rc == COUNT || rc == -EINTR);
        assert_true(rc2 == COUNT || rc2 == -EINTR);
        data += rc == COUNT;
        data += rc2 == COUNT;
    }
    pthread_join(thread, NULL);
    assert_true(data > 0);
    p9_mem_stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_flush),
        cmocka_unit_test(test_overtaken),
        cmocka_unit_test(test_flush_first),
        cmocka_unit_test(test_flush_used_again),
        cmocka_unit_test(test_clunk),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
