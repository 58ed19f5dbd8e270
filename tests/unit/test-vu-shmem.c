/* SPDX-License-Identifier: BSD-3-Clause
 * The device with a window: what is offered and told, and a front-end that stops the device while
 * a request of ours is not answered. */
#include "tests/unit/vu-peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/fe-shmem.h"
#include "tests/lib/fe-time.h"
#include "vhost-user/vu-backend.h"

#define WINDOW   (UINT64_C(2) << 20)
#define SOON_MS  1000
#define ASK_MS   20000 /* longer than any test */
#define PAGE     0x1000u
#define NO_CALLS 1000

struct fixture {
    struct peer p;
    struct fe_shmem fe;
    int fd;
    atomic_int last; /* what the last call returned; NO_CALLS = none yet */
    atomic_uint calls;
};

/* Every request maps a page of its own. */
static void ask(struct peer *p, struct chain *c)
{
    struct fixture *f = (struct fixture *)p;
    uint64_t value;
    uint64_t at = atomic_fetch_add(&f->calls, 1) * (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t w[5] = {0, 0, at, (uint64_t)sysconf(_SC_PAGESIZE), 1};
    int rc = vu_backend_call(vu_dev_backend(p->dev), VU_BACKEND_SHMEM_MAP, w, sizeof(w), f->fd,
                             ASK_MS, &value);
    atomic_store(&f->last, rc < 0 ? rc : (int)value);
}

static int setup(void **state)
{
    struct fixture *f = g_new0(struct fixture, 1);
    peer_init(&f->p);
    f->p.cfg.shmem_size = WINDOW;
    f->p.cfg.shmem_bit = VU_PROTO_SHMEM;
    f->p.work = ask;
    f->last = NO_CALLS;
    f->fd = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(ftruncate(f->fd, 1 << 20), 0);
    assert_int_equal(fe_shmem_start(&f->fe, FE_SHMEM_QEMU, WINDOW), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fe_shmem_stop(&f->fe);
    assert_int_equal(f->fe.malformed, 0);
    assert_int_equal(f->fe.overlapped, 0);
    peer_fini(&f->p);
    close(f->fd);
    g_free(f);
    return 0;
}

static void ask_shmem(struct peer *p, struct vu_wire_shmem *s)
{
    peer_send(p, VU_GET_SHMEM_CONFIG, VU_VERSION, NULL, 0, NULL, 0);
    assert_int_equal(peer_recv(p, VU_GET_SHMEM_CONFIG, s, sizeof(*s)), sizeof(*s));
}

/* Up to the point where rings may start. */
static void up(struct fixture *f)
{
    struct vu_wire_shmem s;
    peer_start(&f->p);
    peer_hello(&f->p, FEATURES);
    assert_int_equal(peer_ack(&f->p, VU_SET_BACKEND_REQ_FD, NULL, 0, &f->fe.channel, 1), 0);
    ask_shmem(&f->p, &s);
}

/* A ring runs and its worker waits for an answer that does not come. */
static void up_and_waiting(struct fixture *f)
{
    up(f);
    peer_ring_up(&f->p, 1);
    fe_shmem_set_fault(&f->fe, FE_SHMEM_SILENT, 0);
    peer_offer_one(&f->p, 1, 0);
    assert_true(fe_shmem_wait(&f->fe, 1, SOON_MS));
}

static void window_is_told(void **state)
{
    struct fixture *f = *state;
    struct peer *p = &f->p;
    for (unsigned shift = 21; shift <= 40; shift++) {
        struct vu_wire_shmem s;
        p->cfg.shmem_size = UINT64_C(1) << shift;
        peer_start(p);
        uint64_t bits = peer_ask_u64(p, VU_GET_PROTOCOL_FEATURES);
        assert_true(bits & BIT(VU_PROTO_SHMEM));
        assert_true(bits & BIT(VU_PROTO_BACKEND_SEND_FD));
        assert_false(bits & BIT(VU_PROTO_MEM_SLOTS));
        /* Not before it was negotiated. */
        peer_send(p, VU_GET_SHMEM_CONFIG, VU_VERSION, NULL, 0, NULL, 0);
        assert_int_equal(peer_recv(p, VU_GET_SHMEM_CONFIG, &s, sizeof(s)), 0);
        assert_false(vu_backend_has_shmem(vu_dev_backend(p->dev)));
        peer_send(p, VU_SET_PROTOCOL_FEATURES, VU_VERSION, &bits, sizeof(bits), NULL, 0);
        ask_shmem(p, &s);
        assert_int_equal(s.nregions, 1);
        assert_int_equal(s.size[0], p->cfg.shmem_size);
        for (unsigned i = 1; i < VU_SHMEM_REGIONS; i++)
            assert_int_equal(s.size[i], 0);
        assert_true(vu_backend_has_shmem(vu_dev_backend(p->dev)));
        peer_stop(p);
        int sv[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
        p->sock = sv[0];
        p->cfg.conn_fd = sv[1];
    }
    close(p->sock);
    close(p->cfg.conn_fd);
}

static void no_window(void **state)
{
    struct fixture *f = *state;
    uint8_t nothing[8];
    f->p.cfg.shmem_size = 0;
    peer_start(&f->p);
    uint64_t bits = peer_ask_u64(&f->p, VU_GET_PROTOCOL_FEATURES);
    assert_false(bits & (BIT(VU_PROTO_SHMEM) | BIT(VU_PROTO_BACKEND_SEND_FD)));
    assert_true(bits & BIT(VU_PROTO_MEM_SLOTS));
    peer_hello(&f->p, FEATURES);
    peer_send(&f->p, VU_GET_SHMEM_CONFIG, VU_VERSION, NULL, 0, NULL, 0);
    assert_int_equal(peer_recv(&f->p, VU_GET_SHMEM_CONFIG, nothing, sizeof(nothing)), 0);
    peer_stop(&f->p);
}

/* Where the bit is another, there is no question for the size, and memory slots may be needed. */
static void other_bit(void **state)
{
    struct fixture *f = *state;
    f->p.cfg.shmem_bit = 21;
    f->p.cfg.shmem_mem_slots = true;
    peer_start(&f->p);
    uint64_t bits = peer_ask_u64(&f->p, VU_GET_PROTOCOL_FEATURES);
    assert_true(bits & BIT(21));
    assert_false(bits & BIT(VU_PROTO_SHMEM));
    assert_true(bits & BIT(VU_PROTO_MEM_SLOTS));
    peer_hello(&f->p, FEATURES);
    assert_true(vu_backend_has_shmem(vu_dev_backend(f->p.dev)));
    peer_stop(&f->p);
}

static void asks_while_it_runs(void **state)
{
    struct fixture *f = *state;
    up(f);
    peer_ring_up(&f->p, 1);
    peer_offer_one(&f->p, 1, 0);
    assert_true(peer_wait_used(&f->p, 1, 1));
    assert_int_equal(f->last, 0);
    assert_int_equal(fe_shmem_get(&f->fe, &f->fe.nmaps), 1);
    peer_stop(&f->p);
}

static int call_now(struct fixture *f)
{
    ask(&f->p, NULL);
    return f->last;
}

static void silent_before_start_and_after_stop(void **state)
{
    struct fixture *f = *state;
    up(f);
    assert_int_equal(call_now(f), -ENOTCONN);
    peer_ring_up(&f->p, 1);
    assert_int_equal(call_now(f), 0);
    peer_ring_up(&f->p, 2);
    peer_ring_stop(&f->p, 1); /* the first of those that are going to stop */
    assert_int_equal(call_now(f), -ENOTCONN);
    peer_ring_stop(&f->p, 2);
    assert_int_equal(call_now(f), -ENOTCONN);
    peer_ring_up(&f->p, 1);
    assert_int_equal(call_now(f), 0);
    assert_int_equal(peer_ack_vring(&f->p, VU_SET_VRING_ENABLE, 2, 0), 0); /* was enabled */
    assert_int_equal(call_now(f), -ENOTCONN);
    assert_int_equal(peer_ack_vring(&f->p, VU_SET_VRING_ENABLE, 1, 0), 0);
    assert_int_equal(peer_ack_vring(&f->p, VU_SET_VRING_ENABLE, 1, 1), 0);
    assert_int_equal(call_now(f), 0);
    assert_int_equal(peer_ack_vring(&f->p, VU_SET_VRING_ENABLE, 0, 0), 0); /* never was */
    assert_int_equal(call_now(f), 0);
    assert_int_equal(peer_ack(&f->p, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_int_equal(call_now(f), -ENOTCONN);
    assert_int_equal(fe_shmem_get(&f->fe, &f->fe.maps), 4);
    peer_stop(&f->p);
}

/* The stop that began at @begin (ms) did not wait for the front-end's answer. */
static void stopped_in_time(struct fixture *f, int64_t begin)
{
    assert_in_range(fe_now_ms() - begin, 0, SOON_MS);
    assert_int_equal(f->last, -ECANCELED);
    assert_int_equal(fe_shmem_requests(&f->fe), 1);
}

static void stop_with_a_map_unanswered(void **state)
{
    struct fixture *f = *state;
    up_and_waiting(f);
    int64_t begin = fe_now_ms();
    assert_int_equal(peer_ring_stop(&f->p, 1), 1);
    stopped_in_time(f, begin);
    /* Started again, the late answer is nobody's. */
    fe_shmem_set_fault(&f->fe, FE_SHMEM_GOOD, 0);
    peer_ring_up(&f->p, 1);
    peer_offer_one(&f->p, 1, 1);
    assert_true(peer_wait_used(&f->p, 1, 2));
    assert_int_equal(f->last, 0);
    peer_stop(&f->p);
}

static void reset_with_a_map_unanswered(void **state)
{
    struct fixture *f = *state;
    up_and_waiting(f);
    int64_t begin = fe_now_ms();
    assert_int_equal(peer_ack(&f->p, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    stopped_in_time(f, begin);
    peer_stop(&f->p);
}

static void owner_reset_with_a_map_unanswered(void **state)
{
    struct fixture *f = *state;
    up_and_waiting(f);
    int64_t begin = fe_now_ms();
    assert_int_equal(peer_ack(&f->p, VU_RESET_OWNER, NULL, 0, NULL, 0), 0);
    stopped_in_time(f, begin);
    peer_stop(&f->p);
}

static void disabled_with_a_map_unanswered(void **state)
{
    struct fixture *f = *state;
    up_and_waiting(f);
    int64_t begin = fe_now_ms();
    assert_int_equal(peer_ack_vring(&f->p, VU_SET_VRING_ENABLE, 1, 0), 0);
    stopped_in_time(f, begin);
    peer_stop(&f->p);
}

static void gone_with_a_map_unanswered(void **state)
{
    struct fixture *f = *state;
    up_and_waiting(f);
    int64_t begin = fe_now_ms();
    peer_stop(&f->p);
    stopped_in_time(f, begin);
}

/* The front-end says things and waits for our word before it answers us. */
static void messages_with_a_map_unanswered(void **state)
{
    struct fixture *f = *state;
    up_and_waiting(f);
    int64_t begin = fe_now_ms();
    struct vu_wire_table t = {1, 0, {{PEER_GPA, PEER_MEM, PEER_UADDR, 0}}};
    assert_int_equal(peer_ack(&f->p, VU_SET_MEM_TABLE, &t, 40, &f->p.mem_fd, 1), 0);
    assert_int_equal(peer_ask_u64(&f->p, VU_GET_QUEUE_NUM), PEER_QUEUES);
    assert_in_range(fe_now_ms() - begin, 0, SOON_MS);
    fe_shmem_release(&f->fe);
    assert_true(peer_wait_used(&f->p, 1, 1));
    assert_int_equal(f->last, 0);
    peer_stop(&f->p);
}

/* The window comes back as memory: nothing of it is mapped, and what is there stays. */
static void window_in_the_table(void **state)
{
    struct fixture *f = *state;
    struct vu_wire_table t = {3,
                              0,
                              {{0x8000000000, PAGE, 0x7e0000000000, 0},
                               {PEER_GPA, PEER_MEM, PEER_UADDR, 0},
                               {0x8000200000, PAGE, 0x7e0000200000, PAGE}}};
    int fds[3] = {f->fd, f->p.mem_fd, f->fd};
    up(f);
    peer_ring_up(&f->p, 1);
    assert_int_equal(call_now(f), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(peer_ack(&f->p, VU_SET_MEM_TABLE, &t, 8 + 3 * 32, fds, 3), 0);
    f->p.work = NULL;
    peer_echo(&f->p, 1, "memory is as before");
    /* The file may be shortened, and a request that points there is answered with an error. */
    assert_int_equal(ftruncate(f->fd, 0), 0);
    peer_desc(&f->p, 1, 3, t.region[0].gpa, 16, 0, 0);
    peer_offer(&f->p, 1, 3);
    peer_kick(&f->p, 1);
    assert_true(peer_wait_used(&f->p, 1, 2));
    assert_int_equal(peer_count(&f->p, &f->p.unmapped), 1);
    peer_echo(&f->p, 1, "and goes on");
    peer_stop(&f->p);
}

/* A table that looks the same, but is of another file, is another. */
static void table_that_changed(void **state)
{
    struct fixture *f = *state;
    int other = memfd_create("guest", MFD_CLOEXEC);
    struct vu_wire_table t = {1, 0, {{PEER_GPA, PEER_MEM, PEER_UADDR, 0}}};
    f->p.work = NULL;
    assert_int_equal(ftruncate(other, PEER_MEM), 0);
    up(f);
    peer_ring_up(&f->p, 1);
    peer_echo(&f->p, 1, "first");
    peer_ring_stop(&f->p, 1);
    assert_int_equal(peer_ack(&f->p, VU_SET_MEM_TABLE, &t, 40, &other, 1), 0);
    assert_ptr_equal(
        mmap(f->p.mem, PEER_MEM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, other, 0),
        f->p.mem);
    f->p.avail_idx[1] = 0;
    peer_ring_up(&f->p, 1);
    peer_echo(&f->p, 1, "second");
    peer_stop(&f->p);
    close(other);
}

static void two_queues_at_once(void **state)
{
    struct fixture *f = *state;
    up(f);
    fe_shmem_set_fault(&f->fe, FE_SHMEM_LATE, 0);
    peer_ring_up(&f->p, 1);
    peer_ring_up(&f->p, 2);
    for (uint16_t i = 0; i < 3; i++) {
        peer_offer_one(&f->p, 1, i);
        peer_offer_one(&f->p, 2, i);
    }
    assert_true(peer_wait_used(&f->p, 1, 3));
    assert_true(peer_wait_used(&f->p, 2, 3));
    assert_int_equal(fe_shmem_get(&f->fe, &f->fe.nmaps), 6);
    peer_stop(&f->p);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(window_is_told),
        T(no_window),
        T(other_bit),
        T(asks_while_it_runs),
        T(silent_before_start_and_after_stop),
        T(stop_with_a_map_unanswered),
        T(reset_with_a_map_unanswered),
        T(owner_reset_with_a_map_unanswered),
        T(disabled_with_a_map_unanswered),
        T(gone_with_a_map_unanswered),
        T(messages_with_a_map_unanswered),
        T(window_in_the_table),
        T(table_that_changed),
        T(two_queues_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
