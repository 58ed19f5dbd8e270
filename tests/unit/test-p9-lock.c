/* SPDX-License-Identifier: BSD-3-Clause
 * Locks over 9P: between owners, connections and the host; waiting, and what ends it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/p9-mem.h"

enum { RD, WR, UN };
enum { SUCCESS, BLOCKED };

static struct p9c_lock lock_of(uint8_t type, uint64_t start, uint64_t length, uint32_t proc)
{
    return (struct p9c_lock){
        .type = type, .start = start, .length = length, .proc_id = proc, .client = "guest"};
}

/* Status of a Tlock that is to be answered. */
static uint8_t do_lock(struct p9c *c, uint32_t fid, uint8_t type, uint64_t start, uint64_t length,
                       uint32_t proc)
{
    uint8_t status;
    struct p9c_lock lk = lock_of(type, start, length, proc);
    assert_ok(p9c_lock(c, fid, &lk, &status));
    return status;
}

/* The tree with a file "f", open for the client as fid 1 and 2. */
static void start(struct p9_mem *m)
{
    p9_mem_start(m);
    tree_write(&m->tree, "f", "x");
    for (uint32_t fid = 1; fid <= 2; fid++) {
        assert_ok(p9c_walk(&m->c, 0, fid, "f"));
        assert_ok(p9c_lopen(&m->c, fid, 2));
    }
}

static unsigned ring; /* of the virtqueue by which requests come that wait; 0: a socket */

/* Send a blocking Tlock that waits. */
static struct p9_msg *wait_for(struct p9_mem *m, uint32_t fid, uint32_t proc, uint16_t tag)
{
    struct p9c_lock lk = lock_of(WR, 0, 0, proc);
    uint16_t old = m->c.tag;
    lk.flags = 1;
    m->c.tag = tag;
    size_t len = p9c_build_lock(&m->c, fid, &lk);
    m->c.tag = old;
    struct p9_msg *msg = p9_msg_new(m->c.t, len, 100);
    msg->chain.ring = ring;
    p9_conn_handle(m->conn, &msg->chain);
    return msg;
}

/* The answer to it: 0 and the status, or -errno. */
static int answer_of(struct p9_mem *m, struct p9_msg *msg, uint8_t *status)
{
    size_t n = p9_msg_wait(msg);
    memcpy(m->c.r, msg->rep, n);
    memcpy(m->c.t, msg->req, msg->chain.in_len);
    p9_msg_free(msg);
    int rc = p9c_check(&m->c, n);
    *status = rc == 0 ? p9c_get8(&m->c) : 0xff;
    return rc;
}

static void test_owners(void **state)
{
    struct p9_mem m;
    start(&m);
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 10, 1), SUCCESS);
    assert_int_equal(do_lock(&m.c, 2, WR, 5, 10, 1), SUCCESS); /* the same process */
    assert_int_equal(do_lock(&m.c, 2, RD, 9, 1, 2), BLOCKED);
    assert_int_equal(do_lock(&m.c, 2, RD, 15, 0, 2), SUCCESS);
    struct p9c_lock lk = lock_of(WR, 0, 0, 3);
    assert_ok(p9c_getlock(&m.c, 1, &lk));
    assert_int_equal(lk.type, WR);
    assert_int_equal(lk.start, 0);
    assert_int_equal(lk.length, 15);
    assert_int_equal(lk.proc_id, 1);
    lk = lock_of(WR, 15, 0, 3);
    assert_ok(p9c_getlock(&m.c, 1, &lk));
    assert_int_equal(lk.type, RD);
    assert_int_equal(lk.proc_id, 2);
    lk = lock_of(WR, 15, 0, 3); /* another client, who knows no process of that number */
    lk.client = "other";
    assert_ok(p9c_getlock(&m.c, 1, &lk));
    assert_int_equal(lk.type, RD);
    assert_int_equal(lk.proc_id, 0);
    assert_int_equal(lk.length, 0);
    lk = lock_of(RD, 20, 5, 3);
    assert_ok(p9c_getlock(&m.c, 1, &lk));
    assert_int_equal(lk.type, UN);
    lk = lock_of(UN, 0, 0, 3); /* as Linux asks, for any kind */
    assert_ok(p9c_getlock(&m.c, 1, &lk));
    assert_int_equal(lk.type, WR);
    assert_int_equal(lk.length, 15);
    lk = lock_of(UN, 20, 5, 3);
    assert_ok(p9c_getlock(&m.c, 1, &lk));
    assert_int_equal(lk.type, UN);
    assert_int_equal(do_lock(&m.c, 1, UN, 0, 0, 1), SUCCESS);
    assert_int_equal(do_lock(&m.c, 2, RD, 9, 1, 2), SUCCESS);
    p9_mem_stop(&m);
}

static void test_bad_requests(void **state)
{
    struct p9_mem m;
    uint8_t status;
    struct p9c_lock lk = lock_of(3, 0, 0, 1);
    start(&m);
    assert_int_equal(p9c_lock(&m.c, 1, &lk, &status), -EINVAL);
    lk = lock_of(WR, 1ull << 63, 1, 1);
    assert_int_equal(p9c_lock(&m.c, 1, &lk, &status), -EINVAL);
    lk = lock_of(WR, INT64_MAX, 2, 1);
    assert_int_equal(p9c_lock(&m.c, 1, &lk, &status), -EINVAL);
    lk = lock_of(WR, 0, UINT64_MAX, 1);
    assert_int_equal(p9c_getlock(&m.c, 1, &lk), -EINVAL);
    lk = lock_of(WR, 0, 0, 1);
    assert_int_equal(p9c_lock(&m.c, 0, &lk, &status), -EBADF); /* not open */
    lk.flags = 4;
    assert_int_equal(p9c_lock(&m.c, 1, &lk, &status), -EINVAL);
    p9_mem_stop(&m);
}

/* The host, and a second connection, which may use the same numbers. */
static void test_others(void **state)
{
    struct p9_mem m;
    struct p9c c2;
    struct flock fl = {.l_type = F_WRLCK, .l_start = 100, .l_len = 1};
    start(&m);
    struct p9_conn *conn2 = p9_conn_new(m.srv);
    p9_mem_client(&c2, conn2);
    assert_ok(p9c_mount(&c2, 65536, 0, 0));
    assert_ok(p9c_walk(&c2, 0, 1, "f"));
    assert_ok(p9c_lopen(&c2, 1, 2));
    int fd = open(tree_path(&m.tree, "f"), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(fcntl(fd, F_OFD_SETLK, &fl));
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), BLOCKED);
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 100, 1), SUCCESS);
    assert_int_equal(do_lock(&c2, 1, WR, 0, 1, 1), BLOCKED);
    assert_int_equal(do_lock(&c2, 1, UN, 0, 0, 1), SUCCESS); /* its own, not the other's */
    assert_int_equal(do_lock(&c2, 1, WR, 0, 1, 1), BLOCKED);
    p9_conn_reset(m.conn);
    assert_int_equal(do_lock(&c2, 1, WR, 0, 1, 1), SUCCESS);
    close(fd);
    p9c_free(&c2);
    p9_conn_free(conn2);
    p9_mem_stop(&m);
}

static void test_clunk_unlocks(void **state)
{
    struct p9_mem m;
    start(&m);
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), SUCCESS);
    assert_int_equal(do_lock(&m.c, 2, WR, 0, 0, 2), BLOCKED);
    assert_ok(p9c_clunk(&m.c, 1));
    assert_int_equal(do_lock(&m.c, 2, WR, 0, 0, 2), SUCCESS);
    p9_mem_stop(&m);
}

static void test_wait(void **state)
{
    struct p9_mem m;
    uint8_t status;
    start(&m);
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), SUCCESS);
    struct p9_msg *msg = wait_for(&m, 2, 2, 50);
    usleep(20000);
    assert_false(p9_msg_done(msg));
    /* Its tag is in use. */
    m.c.tag = 50;
    p9c_begin(&m.c, 120);
    p9c_put32(&m.c, 77);
    assert_int_equal(p9c_send(&m.c), -EINVAL);
    m.c.tag = 1;
    assert_int_equal(do_lock(&m.c, 1, UN, 0, 0, 1), SUCCESS);
    assert_ok(answer_of(&m, msg, &status));
    assert_int_equal(status, SUCCESS);
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), BLOCKED);
    p9_mem_stop(&m);
}

static void test_flush(void **state)
{
    struct p9_mem m;
    uint8_t status;
    start(&m);
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), SUCCESS);
    struct p9_msg *msg = wait_for(&m, 2, 2, 50), *other = wait_for(&m, 2, 3, 51);
    assert_ok(p9c_flush(&m.c, 50));
    assert_true(p9_msg_done(msg)); /* before the Rflush */
    assert_int_equal(answer_of(&m, msg, &status), -EINTR);
    assert_ok(p9c_flush(&m.c, 50)); /* of nothing */
    assert_ok(p9c_flush(&m.c, 0xffff));
    assert_ok(p9c_flush(&m.c, m.c.tag)); /* of itself */
    usleep(5000);
    assert_false(p9_msg_done(other));
    assert_ok(p9c_flush(&m.c, 51));
    assert_int_equal(answer_of(&m, other, &status), -EINTR);
    assert_int_equal(do_lock(&m.c, 1, UN, 0, 0, 1), SUCCESS);
    assert_int_equal(do_lock(&m.c, 2, WR, 0, 0, 9), SUCCESS); /* none got it afterwards */
    p9_mem_stop(&m);
}

/* A clunk of the fid, a new session, p9_conn_cancel() and the end of the connection. */
static void test_other_ends(void **state)
{
    struct p9_mem m;
    uint8_t status;
    start(&m);
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), SUCCESS);
    struct p9_msg *msg = wait_for(&m, 2, 2, 50);
    assert_ok(p9c_clunk(&m.c, 2));
    assert_int_equal(answer_of(&m, msg, &status), -EINTR);
    msg = wait_for(&m, 1, 2, 50);
    p9_conn_cancel(m.conn);
    assert_int_equal(answer_of(&m, msg, &status), -EINTR);
    msg = wait_for(&m, 1, 2, 50);
    assert_ok(p9c_mount(&m.c, 65536, 0, 0));
    assert_int_equal(answer_of(&m, msg, &status), -EINTR);
    assert_ok(p9c_walk(&m.c, 0, 1, "f"));
    assert_ok(p9c_lopen(&m.c, 1, 2));
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), SUCCESS);
    msg = wait_for(&m, 1, 2, 50);
    p9_conn_reset(m.conn);
    assert_int_equal(answer_of(&m, msg, &status), -EINTR);
    p9_mem_stop(&m);
}

/* More than the core lets wait are told to come back. */
static void test_flood(void **state)
{
    struct p9_mem m;
    struct p9_msg *msg[8];
    uint8_t status;
    unsigned blocked = 0, cancelled = 0;
    start(&m);
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), SUCCESS);
    for (uint16_t i = 0; i < 8; i++)
        msg[i] = wait_for(&m, 2, 2 + i, 50 + i);
    p9_conn_cancel(m.conn);
    for (unsigned i = 0; i < 8; i++) {
        int rc = answer_of(&m, msg[i], &status);
        blocked += rc == 0 && status == BLOCKED;
        cancelled += rc == -EINTR;
    }
    assert_int_equal(cancelled, 4); /* tree_config() */
    assert_int_equal(blocked, 4);
    p9_mem_stop(&m);
}

/* A ring is not filled up with requests that wait. */
static void test_ring(void **state)
{
    struct p9_mem m;
    uint8_t status;
    start(&m);
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), SUCCESS);
    ring = 4;
    struct p9_msg *msg[4];
    for (uint16_t i = 0; i < 4; i++)
        msg[i] = wait_for(&m, 2, 2 + i, 50 + i);
    ring = 0;
    assert_ok(answer_of(&m, msg[3], &status));
    assert_int_equal(status, BLOCKED); /* it may ask again */
    p9_conn_cancel(m.conn);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(answer_of(&m, msg[i], &status), -EINTR);
    p9_mem_stop(&m);
}

/* Locks that are not shared: each is granted, and nobody else notices. */
static void test_not_shared(void **state)
{
    struct p9_mem m;
    struct p9_config cfg = p9_mem_config();
    struct flock fl = {.l_type = F_WRLCK};
    cfg.lock = false;
    tree_start(&m.tree);
    p9_mem_open(&m, &cfg);
    assert_ok(p9c_mount(&m.c, 65536, 0, 0));
    tree_write(&m.tree, "f", "x");
    for (uint32_t fid = 1; fid <= 2; fid++) {
        assert_ok(p9c_walk(&m.c, 0, fid, "f"));
        assert_ok(p9c_lopen(&m.c, fid, 2));
    }
    assert_int_equal(do_lock(&m.c, 1, WR, 0, 0, 1), SUCCESS);
    assert_int_equal(do_lock(&m.c, 2, WR, 0, 0, 2), SUCCESS);
    struct p9c_lock lk = lock_of(WR, 0, 0, 3);
    assert_ok(p9c_getlock(&m.c, 1, &lk));
    assert_int_equal(lk.type, UN);
    int fd = open(tree_path(&m.tree, "f"), O_RDWR | O_CLOEXEC);
    assert_ok(fcntl(fd, F_SETLK, &fl));
    assert_int_equal(do_lock(&m.c, 1, RD, 0, 0, 1), SUCCESS);
    assert_int_equal(do_lock(&m.c, 1, UN, 0, 0, 1), SUCCESS);
    lk = lock_of(3, 0, 0, 1);
    uint8_t status;
    assert_int_equal(p9c_lock(&m.c, 1, &lk, &status), -EINVAL);
    close(fd);
    p9_mem_stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owners),     cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_others),     cmocka_unit_test(test_clunk_unlocks),
        cmocka_unit_test(test_wait),       cmocka_unit_test(test_flush),
        cmocka_unit_test(test_other_ends), cmocka_unit_test(test_flood),
        cmocka_unit_test(test_ring),       cmocka_unit_test(test_not_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
