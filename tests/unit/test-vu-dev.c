/* SPDX-License-Identifier: BSD-3-Clause
 * The whole device: messages, ring states, draining, breaking. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/vu-peer.h"

#define BIT(n)   (UINT64_C(1) << (n))
#define FEATURES (BIT(VU_F_INDIRECT_DESC) | BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_VERSION_1))

static int setup(void **state)
{
    struct peer *p = g_new0(struct peer, 1);
    peer_init(p);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    peer_fini(*state);
    g_free(*state);
    return 0;
}

static void test_echo(void **state)
{
    struct peer *p = *state;
    peer_start(p);
    peer_hello(p, FEATURES);
    peer_ring_up(p, 0);
    peer_ring_up(p, 1);
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

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        unit(test_echo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
