/* SPDX-License-Identifier: BSD-3-Clause
 * Virtual machines whose memory the front-end keeps to itself, as QEMU 7.2 and 11.1 start them: one
 * line says so, and what to do. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ELSEWHERE UINT64_C(0x7000000000)

static unsigned told(struct wire *w)
{
    return fe_daemon_log_count(&w->d, "memory is not shared");
}

/* Within the usual time. */
static void is_told(struct wire *w, const char *sign)
{
    for (unsigned ms = 0; ms < FE_TIMEOUT_MS && told(w) == 0; ms += 5)
        usleep(5000);
    assert_int_equal(told(w), 1);
    assert_int_equal(fe_daemon_log_count(&w->d, sign), 1);
    assert_int_equal(fe_daemon_log_count(&w->d, "start QEMU with share=on"), 1);
}

/* A connection, and memory that nobody was told of. */
static void prepare(struct wire *w)
{
    wire_spawn(w, NULL);
    wire_connect(w);
    assert_int_equal(fe_mem_init(&w->mem, 4u << 20, 32u << 20, 32u << 20), 0);
    assert_int_equal(fe_vhost_negotiate(&w->v, VU_F_PROTOCOL | VU_F_VERSION_1, VU_PF_REPLY_ACK), 0);
}

static void send_init(struct wire *w)
{
    struct fuse_init_in in = {.major = 7, .minor = 38};
    struct iovec part = {&in, sizeof(in)};
    assert_true(fe_fuse_send(&w->f, 1, FUSE_INIT, 0, &part, 1, 64) >= 0);
}

static void start_rings(struct wire *w)
{
    assert_int_equal(fe_vhost_make_rings(&w->v, &w->mem, 2, WIRE_QUEUE), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    fe_fuse_init(&w->f, &w->v);
}

/* Memory without a file, or (QEMU 11.1) privately mapped: no table at all. */
static void none_sent(void **state)
{
    struct wire *w = *state;
    prepare(w);
    start_rings(w);
    is_told(w, "has sent none of it");
    send_init(w);
    assert_int_equal(told(w), 1);
    wire_finish(w, 0);
}

/* What is written here does not get into the file. */
static void map_privately(struct fe_mem *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        struct fe_region *r = &m->r[i];
        void *p = mmap(r->ptr, r->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, r->fd,
                       (off_t)r->off);
        assert_ptr_equal(p, r->ptr);
        r->ptr[0] = 0xf0; /* as firmware does */
    }
}

/* share=off with QEMU 7.2: the file comes, and stays as it was. */
static void private_file(void **state)
{
    struct wire *w = *state;
    prepare(w);
    map_privately(&w->mem);
    assert_int_equal(fe_vhost_mem_table(&w->v, &w->mem), 0);
    start_rings(w);
    assert_int_equal(told(w), 0);
    send_init(w);
    is_told(w, "all that is here is zero");
    send_init(w); /* and no more of it */
    usleep(50000);
    assert_int_equal(told(w), 1);
    wire_finish(w, 0);
}

/* Some of the memory is shared, and the rings are in the rest. */
static void ring_elsewhere(void **state)
{
    struct wire *w = *state;
    prepare(w);
    struct fe_mem part = {.n = 1, .r = {w->mem.r[2]}};
    assert_int_equal(fe_vhost_mem_table(&w->v, &part), 0);
    assert_int_equal(fe_vhost_make_rings(&w->v, &w->mem, 2, WIRE_QUEUE), 0);
    assert_int_not_equal(fe_vhost_start_ring(&w->v, 1), 0);
    is_told(w, "a ring is in none of it");
    wire_finish(w, 0);
}

/* The buffers of a request are. */
static void request_elsewhere(void **state)
{
    struct wire *w = *state;
    wire_mount(state);
    struct fe_ring *r = &w->v.ring[1];
    assert_int_equal(told(w), 0);
    fe_ring_desc(r, 0, ELSEWHERE, 56, VRING_DESC_F_NEXT, 1);
    fe_ring_desc(r, 1, ELSEWHERE + 4096, 104, VRING_DESC_F_WRITE, 0);
    fe_ring_push(r, 0);
    fe_ring_publish(r);
    is_told(w, "points to what the front-end has not sent");
    wire_finish(w, 0);
}

/* All is well: kicks without a request say nothing. */
static void shared(void **state)
{
    struct wire *w = *state;
    prepare(w);
    w->mem.r[0].ptr[0] = 0xf0;
    assert_int_equal(fe_vhost_mem_table(&w->v, &w->mem), 0);
    start_rings(w);
    uint64_t one = 1;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(write(w->v.ring[1].kick, &one, sizeof(one)), sizeof(one));
        usleep(10000);
    }
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_alive(w);
    assert_int_equal(told(w), 0);
    wire_finish(w, 0);
}

#define TEST(t) cmocka_unit_test_teardown(t, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(none_sent),         TEST(private_file), TEST(ring_elsewhere),
        TEST(request_elsewhere), TEST(shared),
    };
    return cmocka_run_group_tests(tests, wire_make, wire_teardown);
}
