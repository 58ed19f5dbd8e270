/* SPDX-License-Identifier: BSD-3-Clause
 * The device at work: ring states, kicks and calls, draining. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/vu-peer.h"

static void test_echo(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    peer_ring_up(p, 0);
    peer_echo(p, 1, "over the ring");
    assert_true(peer_called(p, 1, 1000) > 0);
    peer_echo(p, 0, "hiprio");
    peer_echo(p, 1, "again");
    assert_int_equal(peer_ring_stop(p, 1), 2);
    assert_int_equal(peer_ring_stop(p, 0), 1);
    peer_stop(p);
    assert_int_equal(p->run_result, 0);
    assert_int_equal(p->resets, 1);
}

static void test_event_idx(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES | BIT(VU_F_EVENT_IDX));
    struct vring r = peer_vring(p, 1);
    for (unsigned i = 0; i < 70; i++) {
        vring_used_event(&r) = r.used->idx; /* signal me at the next */
        peer_echo(p, 1, "many");
        assert_int_equal(peer_called(p, 1, 1000), 1);
    }
    vring_used_event(&r) = (uint16_t)(r.used->idx + 100);
    peer_echo(p, 1, "quiet");
    assert_int_equal(peer_called(p, 1, 50), 0);
    /* Asleep, it asks for a kick at the next request. */
    assert_int_equal(vring_avail_event(&r), p->avail_idx[1]);
    peer_stop(p);
}

static void test_batch_signals_once(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_ENABLE, 1, 0), 0);
    peer_called(p, 1, 0);
    for (uint16_t i = 0; i < PEER_NUM; i++) {
        peer_desc(p, 1, i, PEER_GPA + PEER_DATA, 40, 0, 0);
        peer_offer(p, 1, i);
    }
    /* Found by the scan when it becomes runnable: no kick. */
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_ENABLE, 1, 1), 0);
    assert_true(peer_wait_used(p, 1, PEER_NUM));
    assert_int_equal(peer_called(p, 1, 1000), 1);
    assert_int_equal(peer_called(p, 1, 50), 0);
    peer_stop(p);
}

static void test_disabled_ring_rests(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    peer_echo(p, 1, "before");
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_ENABLE, 1, 0), 0);
    peer_offer_one(p, 1, 3);
    usleep(50000);
    assert_int_equal(peer_vring(p, 1).used->idx, 1);
    assert_int_equal(peer_count(p, &p->drains), 0); /* nothing was in flight */
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_ENABLE, 1, 1), 0);
    assert_true(peer_wait_used(p, 1, 2));
    peer_stop(p);
}

/* User-Mode Linux: ENABLE 0 is its only stop, and it starts over with all settings. */
static void test_disable_and_set_up_again(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    peer_echo(p, 1, "one");
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_ENABLE, 1, 0), 0);
    memset(p->mem + PEER_RING(1), 0, 0x4000);
    p->avail_idx[1] = 0;
    peer_ring_up(p, 1);
    peer_echo(p, 1, "two");
    assert_int_equal(peer_vring(p, 1).used->idx, 1);
    peer_stop(p);
}

static void test_stop_drains(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    p->mode = PEER_HOLD;
    peer_offer_one(p, 1, 5);
    peer_offer_one(p, 1, 6);
    assert_true(peer_wait_held(p, 2));
    assert_int_equal(peer_vring(p, 1).used->idx, 0);
    /* The answers are there before the reply is; they were made by ops->drain. */
    assert_int_equal(peer_ring_stop(p, 1), 2);
    assert_int_equal(peer_vring(p, 1).used->idx, 2);
    assert_true(peer_count(p, &p->drains) > 0);
    /* Started again where it was. */
    p->mode = PEER_ECHO;
    peer_ring_up(p, 1);
    peer_echo(p, 1, "after");
    assert_int_equal(peer_ring_stop(p, 1), 3);
    peer_stop(p);
}

static void test_stop_leaves_what_was_not_taken(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_ENABLE, 1, 0), 0);
    peer_offer_one(p, 1, 5);
    assert_int_equal(peer_ring_stop(p, 1), 0);
    peer_vring(p, 1).used->flags = 0;
    p->avail_idx[1] = 0;
    peer_ring_up(p, 1);
    assert_true(peer_wait_used(p, 1, 1));
    peer_stop(p);
}

static void test_held_requests_stall_nothing(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    p->mode = PEER_HOLD;
    peer_offer_one(p, 1, 5);
    assert_true(peer_wait_held(p, 1));
    p->mode = PEER_ECHO;
    peer_echo(p, 1, "passes by");
    assert_int_equal(peer_ask_u64(p, VU_GET_QUEUE_NUM), PEER_QUEUES);
    peer_called(p, 1, 1000);
    peer_release(p);
    assert_true(peer_wait_used(p, 1, 2));
    assert_int_equal(peer_called(p, 1, 1000), 1); /* an answer from elsewhere is signalled */
    assert_int_equal(peer_vring(p, 1).used->ring[1].id, 5);
    peer_stop(p);
}

static void test_pool(void **state)
{
    struct peer *p = *state;
    p->cfg.pool_size = 3;
    peer_up(p, FEATURES | BIT(VU_F_EVENT_IDX));
    peer_ring_up(p, 0);
    for (unsigned i = 0; i < 100; i++) {
        peer_echo(p, 1, "pool");
        peer_echo(p, 0, "hiprio");
    }
    p->mode = PEER_HOLD;
    for (uint16_t i = 2; i < 8; i++)
        peer_offer_one(p, 1, i);
    assert_true(peer_wait_held(p, 6));
    assert_int_equal(peer_ring_stop(p, 1), 106);
    assert_int_equal(peer_vring(p, 1).used->idx, 106);
    peer_stop(p);
}

/* A device whose only queue is an ordinary one (virtio-9p). */
static void test_one_queue(void **state)
{
    struct peer *p = *state;
    p->cfg.pool_size = 2;
    p->cfg.num_queues = 1;
    p->cfg.hiprio = 0;
    peer_start(p);
    peer_hello(p, FEATURES);
    peer_ring_up(p, 0);
    for (unsigned i = 0; i < 20; i++)
        peer_echo(p, 0, "only");
    assert_int_not_equal(peer_ack_vring(p, VU_SET_VRING_NUM, 1, PEER_NUM), 0);
    peer_stop(p);
}

static void test_poll(void **state)
{
    struct peer *p = *state;
    p->cfg.poll_us = 200000;
    peer_up(p, FEATURES);
    peer_echo(p, 1, "kicked");
    /* Within the time no kick is needed. */
    peer_desc(p, 1, 2, PEER_GPA + PEER_DATA, 40, 0, 0);
    peer_offer(p, 1, 2);
    assert_true(peer_wait_used(p, 1, 2));
    peer_stop(p);
}

static void test_no_kick_fd(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    assert_int_equal(peer_ack_u64(p, VU_SET_VRING_KICK, 1 | VU_NO_FD), 0);
    for (uint16_t i = 0; i < 3; i++) {
        peer_desc(p, 1, i, PEER_GPA + PEER_DATA, 40, 0, 0);
        peer_offer(p, 1, i);
        assert_true(peer_wait_used(p, 1, (uint16_t)(i + 1)));
    }
    peer_stop(p);
}

static void test_pipes(void **state)
{
    struct peer *p = *state;
    int kick[2], call[2];
    uint64_t index = 1, one = 1;
    char buf[64];
    peer_up(p, FEATURES);
    assert_int_equal(pipe2(kick, O_CLOEXEC), 0);
    assert_int_equal(pipe2(call, O_CLOEXEC), 0);
    assert_int_equal(peer_ack(p, VU_SET_VRING_KICK, &index, 8, &kick[0], 1), 0);
    assert_int_equal(peer_ack(p, VU_SET_VRING_CALL, &index, 8, &call[1], 1), 0);
    assert_int_equal(read(call[0], buf, sizeof(buf)), 8); /* sent at the change of a running ring */
    for (uint16_t i = 0; i < 5; i++) {
        peer_desc(p, 1, i, PEER_GPA + PEER_DATA, 40, 0, 0);
        peer_offer(p, 1, i);
        assert_int_equal(write(kick[1], &one, 8), 8);
        assert_true(peer_wait_used(p, 1, (uint16_t)(i + 1)));
        assert_int_equal(read(call[0], buf, sizeof(buf)), 8);
    }
    /* A full pipe stops nothing. */
    fcntl(call[1], F_SETFL, O_NONBLOCK);
    while (write(call[1], buf, sizeof(buf)) > 0)
        ;
    peer_offer(p, 1, 0);
    assert_int_equal(write(kick[1], &one, 8), 8);
    assert_true(peer_wait_used(p, 1, 6));
    close(kick[1]); /* and neither does one without a writer */
    assert_int_equal(peer_ring_stop(p, 1), 6);
    close(kick[0]);
    close(call[0]);
    close(call[1]);
    peer_stop(p);
}

/* A front-end that fills the counter of its own call stops neither messages nor the end. */
static void test_full_call(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    assert_int_equal(eventfd_write(p->call[1], UINT64_MAX - 1), 0);
    peer_offer_one(p, 1, 0);
    assert_true(peer_wait_used(p, 1, 1));
    assert_int_equal(peer_ring_stop(p, 1), 1);
    peer_stop(p);
}

static void test_swap_kick(void **state)
{
    struct peer *p = *state;
    uint64_t index = 1;
    peer_up(p, FEATURES);
    peer_echo(p, 1, "old");
    int fresh = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(peer_ack(p, VU_SET_VRING_KICK, &index, 8, &fresh, 1), 0);
    close(p->kick[1]);
    p->kick[1] = fresh;
    peer_echo(p, 1, "new");
    peer_stop(p);
}

static void test_without_protocol_features(void **state)
{
    struct peer *p = *state;
    uint64_t index = 1;
    struct vring r = peer_vring(p, 1);
    peer_up(p, FEATURES);
    assert_int_equal(peer_ring_stop(p, 1), 0);
    assert_int_equal(peer_ack_vring(p, VU_SET_VRING_ENABLE, 1, 0), 0);
    /* Without bit 30 there is no ENABLE: the kick is enough. */
    assert_int_equal(peer_ack_u64(p, VU_SET_FEATURES, BIT(VU_F_VERSION_1)), 0);
    peer_offer_one(p, 1, 0);
    assert_int_equal(peer_ack(p, VU_SET_VRING_KICK, &index, 8, &p->kick[1], 1), 0);
    assert_true(peer_wait_used(p, 1, 1));
    assert_int_equal(r.used->ring[0].len, 0);
    peer_stop(p);
}

static void test_unmapped_segment(void **state)
{
    struct peer *p = *state;
    peer_up(p, FEATURES);
    peer_desc(p, 1, 0, PEER_GPA + PEER_MEM - 8, 16, VRING_DESC_F_NEXT, 1);
    peer_desc(p, 1, 1, PEER_GPA + PEER_DATA, 16, VRING_DESC_F_WRITE, 0);
    peer_offer(p, 1, 0);
    peer_kick(p, 1);
    assert_true(peer_wait_used(p, 1, 1));
    assert_int_equal(peer_count(p, &p->unmapped), 1);
    peer_echo(p, 1, "goes on");
    peer_stop(p);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, peer_setup, peer_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(test_echo),
        unit(test_event_idx),
        unit(test_batch_signals_once),
        unit(test_disabled_ring_rests),
        unit(test_disable_and_set_up_again),
        unit(test_stop_drains),
        unit(test_stop_leaves_what_was_not_taken),
        unit(test_held_requests_stall_nothing),
        unit(test_pool),
        unit(test_one_queue),
        unit(test_poll),
        unit(test_no_kick_fd),
        unit(test_pipes),
        unit(test_full_call),
        unit(test_swap_kick),
        unit(test_without_protocol_features),
        unit(test_unmapped_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
