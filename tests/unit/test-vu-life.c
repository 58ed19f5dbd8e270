/* SPDX-License-Identifier: BSD-3-Clause
 * The device's life: memory that changes or goes away, resets, breaking, reconnecting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/vu-peer.h"
#include "vhost-user/vu-sock.h"
#include "virtiofsd/base/sock-files.h"

static bool closed(struct peer *p)
{
    char c;
    struct pollfd pfd = {p->sock, POLLIN, 0};
    return poll(&pfd, 1, 5000) == 1 && recv(p->sock, &c, 1, 0) == 0;
}

/* ---- memory ---- */

/* The table again, and slots beside it, while a request is held. */
static void test_memory_changes_while_running(void **state)
{
    struct peer *p = *state;
    struct vu_wire_table t = {1, 0, {{PEER_GPA, PEER_MEM, PEER_UADDR, 0}}};
    struct vu_wire_slot more = {0, {PEER_GPA + PEER_MEM, 0x1000, PEER_UADDR + PEER_MEM, 0}};
    peer_up(p, FEATURES);
    p->mode = PEER_HOLD;
    memcpy(p->mem + PEER_DATA, "held", 4);
    peer_desc(p, 1, 4, PEER_GPA + PEER_DATA, 4, VRING_DESC_F_NEXT, 5);
    peer_desc(p, 1, 5, PEER_GPA + PEER_DATA + 0x2000, 4, VRING_DESC_F_WRITE, 0);
    peer_offer(p, 1, 4);
    peer_kick(p, 1);
    assert_true(peer_wait_held(p, 1));
    p->mode = PEER_ECHO;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(peer_ack(p, VU_SET_MEM_TABLE, &t, 40, &p->mem_fd, 1), 0);
        peer_echo(p, 1, "table");
        assert_int_equal(peer_ack(p, VU_ADD_MEM_REG, &more, sizeof(more), &p->mem_fd, 1), 0);
        peer_echo(p, 1, "slot");
        assert_int_equal(peer_ack(p, VU_REM_MEM_REG, &more, sizeof(more), NULL, 0), 0);
    }
    peer_release(p); /* with the table of then */
    assert_true(peer_wait_used(p, 1, 41));
    assert_memory_equal(p->mem + PEER_DATA + 0x2000, "tabl", 0);
    peer_stop(p);
}

static void test_ring_memory_removed(void **state)
{
    struct peer *p = *state;
    struct vu_wire_slot s = {0, {PEER_GPA, PEER_MEM, PEER_UADDR, 0}};
    peer_up(p, FEATURES);
    peer_echo(p, 1, "there");
    assert_int_not_equal(peer_ack(p, VU_REM_MEM_REG, &s, sizeof(s), NULL, 0), 0);
    peer_offer_one(p, 1, 0);
    usleep(20000);
    assert_int_equal(peer_vring(p, 1).used->idx, 1);
    assert_int_equal(peer_ack(p, VU_ADD_MEM_REG, &s, sizeof(s), &p->mem_fd, 1), 0);
    assert_true(peer_wait_used(p, 1, 2));
    peer_stop(p);
}

static void test_memory_file_truncated(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    peer_echo(p, 1, "whole");
    assert_int_equal(ftruncate(p->mem_fd, 0), 0);
    peer_kick(p, 1);
    assert_true(closed(p));
    peer_stop(p);
    assert_int_equal(p->run_result, 0);
    assert_int_equal(p->resets, 1);
    assert_int_equal(ftruncate(p->mem_fd, PEER_MEM), 0);
}

/* ---- the end, in several ways ---- */

static void test_reset_device(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    p->mode = PEER_HOLD;
    peer_offer_one(p, 1, 0);
    assert_true(peer_wait_held(p, 1));
    assert_int_equal(peer_ack(p, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(peer_vring(p, 1).used->idx, 1);
    assert_int_equal(peer_count(p, &p->resets), 1);
    p->mode = PEER_ECHO;
    peer_ring_up(p, 1); /* memory and features are still there */
    peer_echo(p, 1, "after reset");
    peer_stop(p);
}

static void test_closed_in_the_middle(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    p->mode = PEER_HOLD;
    peer_offer_one(p, 1, 0);
    peer_offer_one(p, 1, 1);
    assert_true(peer_wait_held(p, 2));
    peer_stop(p);
    assert_int_equal(p->run_result, 0);
    assert_int_equal(p->nheld, 0);
    assert_int_equal(p->resets, 1);
}

/* A reset is the guest's end; a closed connection is the front-end's, and said apart where the
 * device wants to know. Both come when everything is drained. */
static void test_hang_up_is_no_reset(void **state)
{
    struct peer *p = *state;
    p->cfg.ops = &peer_ops_hang_up;
    peer_up(p, FEATURES);
    assert_int_equal(peer_ack(p, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(peer_count(p, &p->resets), 1);
    assert_int_equal(peer_count(p, &p->hang_ups), 0);
    p->mode = PEER_HOLD;
    peer_ring_up(p, 1);
    peer_offer_one(p, 1, 0);
    assert_true(peer_wait_held(p, 1));
    peer_stop(p);
    assert_int_equal(p->run_result, 0);
    assert_int_equal(p->nheld, 0);
    assert_int_equal(p->resets, 1);
    assert_int_equal(p->hang_ups, 1);
}

static void test_told_to_stop(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    peer_echo(p, 1, "busy");
    vu_dev_stop(p->dev);
    assert_true(closed(p));
    peer_stop(p);
    assert_int_equal(p->run_result, 0);
}

static void test_broken_ring(void **state)
{
    struct peer *p = *state;
    eventfd_t v;
    peer_up(p, FEATURES);
    peer_ring_up(p, 2);
    p->mode = PEER_HOLD;
    peer_offer_one(p, 2, 0);
    assert_true(peer_wait_held(p, 1));
    peer_offer(p, 1, PEER_NUM + 7);
    peer_kick(p, 1);
    assert_true(closed(p));
    assert_int_equal(eventfd_read(p->err[1], &v), 0);
    peer_stop(p);
    assert_int_equal(p->run_result, 0);
    assert_int_equal(p->resets, 1);
    assert_int_equal(peer_vring(p, 2).used->idx, 1); /* what was held was answered */
}

static int dial(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strcpy(a.sun_path, path);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
        return fd;
    close(fd);
    return -1;
}

static struct sock_files *files;

static void listen_in(struct peer *p, const char *dir, char *path, size_t size)
{
    snprintf(path, size, "%s/sock", dir);
    close(p->sock);
    close(p->cfg.conn_fd);
    p->cfg.conn_fd = -1;
    p->cfg.listen_fd = vu_sock_listen(path, NULL, &files, NULL);
    assert_true(p->cfg.listen_fd >= 0);
    p->sock = dial(path);
    assert_true(p->sock >= 0);
}

/* Neither a broken ring nor broken framing ends a daemon that listens again. */
static void test_relisten(void **state)
{
    struct peer *p = *state;
    char dir[] = "/tmp/vu-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    listen_in(p, dir, path, sizeof(path));
    p->cfg.relisten = true;
    peer_up(p, FEATURES);
    peer_echo(p, 1, "first");
    peer_offer(p, 1, PEER_NUM);
    peer_kick(p, 1);
    assert_true(closed(p));
    for (unsigned i = 0; i < 3; i++) {
        close(p->sock);
        p->sock = dial(path);
        assert_true(p->sock >= 0);
        memset(p->mem, 0, PEER_MEM);
        p->avail_idx[1] = 0;
        peer_hello(p, FEATURES);
        peer_ring_up(p, 1);
        peer_echo(p, 1, "next");
        if (i == 1) {
            peer_send(p, VU_GET_FEATURES, 2, NULL, 0, NULL, 0);
            assert_true(closed(p));
        }
    }
    vu_dev_stop(p->dev);
    peer_stop(p);
    assert_int_equal(p->run_result, 0);
    assert_int_equal(p->resets, 4);
    sock_files_remove(files);
    sock_files_free(files);
    assert_int_equal(rmdir(dir), 0);
}

static void test_serves_one_without_relisten(void **state)
{
    struct peer *p = *state;
    char dir[] = "/tmp/vu-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    listen_in(p, dir, path, sizeof(path));
    peer_up(p, FEATURES);
    peer_echo(p, 1, "served");
    assert_int_equal(dial(path), -1);
    peer_stop(p);
    assert_int_equal(p->run_result, 0);
    sock_files_remove(files);
    sock_files_free(files);
    assert_int_equal(rmdir(dir), 0);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(test_memory_changes_while_running),
        unit(test_ring_memory_removed),
        unit(test_memory_file_truncated),
        unit(test_reset_device),
        unit(test_closed_in_the_middle),
        unit(test_hang_up_is_no_reset),
        unit(test_told_to_stop),
        unit(test_broken_ring),
        unit(test_relisten),
        unit(test_serves_one_without_relisten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
