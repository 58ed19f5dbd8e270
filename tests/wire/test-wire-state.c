/* SPDX-License-Identifier: BSD-3-Clause
 * The ring state machine: started and enabled, stopping and going on, new descriptors and a new
 * memory table while requests run, memory that goes away. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define QUICK_MS 100 /* nothing must happen in this time */

/* Connection, memory, rings made but not told to the daemon. */
static void prepare(struct wire *w, uint64_t features, unsigned nrings)
{
    wire_connect(w);
    assert_int_equal(fe_mem_init(&w->mem, 4u << 20, 32u << 20, 32u << 20), 0);
    assert_int_equal(fe_vhost_negotiate(&w->v, features, VU_PF_REPLY_ACK | VU_PF_RESET_DEVICE), 0);
    assert_int_equal(fe_vhost_mem_table(&w->v, &w->mem), 0);
    assert_int_equal(fe_vhost_make_rings(&w->v, &w->mem, nrings, WIRE_QUEUE), 0);
    fe_fuse_init(&w->f, &w->v);
}

#define ALL_FEATURES (VU_F_PROTOCOL | VU_F_VERSION_1 | VU_F_INDIRECT | VU_F_EVENT_IDX)

static int send_getattr(struct wire *w, unsigned queue)
{
    struct fuse_getattr_in in = {0};
    struct iovec part = {&in, sizeof(in)};
    return fe_fuse_send(&w->f, queue, FUSE_GETATTR, FUSE_ROOT_ID, &part, 1, 104);
}

static void addr_of(struct wire *w, unsigned i, struct fe_vu_addr *a)
{
    struct fe_ring *r = &w->v.ring[i];
    *a = (struct fe_vu_addr){.index = i,
                             .desc = fe_mem_uaddr(&w->mem, r->desc_gpa),
                             .used = fe_mem_uaddr(&w->mem, r->used_gpa),
                             .avail = fe_mem_uaddr(&w->mem, r->avail_gpa)};
}

/* The parts of a start in different orders; the request is there before the last of them, and is
 * served without another kick. */
static void start_order(void **state)
{
    struct wire *w = *state;
    static const char *const orders[] = {"nbackce", "enbackc", "ckanbe", "enkbac", "cabnek"};
    wire_spawn(w, (const char *const[]){"--relisten", NULL});
    for (unsigned o = 0; o < sizeof(orders) / sizeof(orders[0]); o++) {
        prepare(w, ALL_FEATURES, 2);
        struct fe_ring *r = &w->v.ring[1];
        struct fe_vu_addr a;
        uint64_t flags = fe_init_linux;
        struct fuse_init_in in = {.major = 7, .minor = 38, .flags = (uint32_t)flags};
        struct iovec part = {&in, sizeof(in)};
        int slot = fe_fuse_send(&w->f, 1, FUSE_INIT, 0, &part, 1, 64);
        addr_of(w, 1, &a);
        for (const char *p = orders[o]; *p; p++) {
            int e = *p == 'n'   ? fe_vhost_ack_state(&w->v, VU_SET_VRING_NUM, 1, r->size)
                    : *p == 'b' ? fe_vhost_ack_state(&w->v, VU_SET_VRING_BASE, 1, 0)
                    : *p == 'a' ? fe_vhost_ack(&w->v, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0)
                    : *p == 'c' ? fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_CALL, 1, r->call_w)
                    : *p == 'k' ? fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_KICK, 1, r->kick)
                                : fe_vhost_ack_state(&w->v, VU_SET_VRING_ENABLE, 1, 1);
            if (e)
                fail_msg("order %s, step %c: %d", orders[o], *p, e);
        }
        int e = fe_fuse_wait(&w->f, slot, NULL, 0, NULL);
        if (e)
            fail_msg("order %s: INIT gives %d", orders[o], e);
        wire_hangup(w);
    }
}

/* Without the protocol feature rings need no ENABLE. */
static void without_protocol_features(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, NULL);
    prepare(w, VU_F_VERSION_1 | VU_F_INDIRECT, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_alive(w);
    wire_finish(w, 0);
}

/* No EVENT_IDX: kicks by the flag in the used ring. */
static void without_event_idx(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, NULL);
    prepare(w, VU_F_VERSION_1 | VU_F_PROTOCOL, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), 0);
    wire_finish(w, 0);
}

/* A disabled ring is left alone; enabling it serves what waited. */
static void disabled_ring_waits(void **state)
{
    struct wire *w = *state;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(fe_vhost_ack_state(&w->v, VU_SET_VRING_ENABLE, 1, 0), 0);
        int slot = send_getattr(w, 1);
        fe_ring_kick(&w->v.ring[1]);
        if (i == 0)
            assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, QUICK_MS), FE_ETIMEOUT);
        assert_int_equal(w->v.ring[1].used->idx, w->v.ring[1].used_seen);
        assert_int_equal(fe_vhost_ack_state(&w->v, VU_SET_VRING_ENABLE, 1, 1), 0);
        assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    }
}

/* The answer to GET_VRING_BASE comes when all that was taken is in the used ring. */
static void get_base_drains(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "big"), fh = 0;
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    struct fe_ring *r = &w->v.ring[1];
    for (unsigned round = 0; round < 30; round++) {
        int slot[8];
        uint32_t base = 0;
        for (unsigned i = 0; i < 8; i++) {
            struct fuse_read_in in = {.fh = fh, .offset = i * 4096u, .size = 512 << 10};
            struct iovec part = {&in, sizeof(in)};
            slot[i] = fe_fuse_send(&w->f, 1, FUSE_READ, node, &part, 1, 512 << 10);
        }
        assert_int_equal(fe_vhost_get_base(&w->v, 1, &base), 0);
        uint16_t used = r->used->idx;
        assert_int_equal(used, (uint16_t)base); /* nothing is in flight */
        usleep(2000);
        assert_int_equal(r->used->idx, used); /* and nothing is written any more */
        /* Go on from there: what was not taken is served now. */
        uint16_t shown = r->avail_shown;
        r->avail_shown = (uint16_t)base;
        assert_int_equal(fe_vhost_start_ring(&w->v, 1), 0);
        r->avail_shown = shown;
        for (unsigned i = 0; i < 8; i++) {
            static uint8_t buf[512 << 10];
            size_t len = 0;
            assert_int_equal(fe_fuse_wait(&w->f, slot[i], buf, sizeof(buf), &len), 0);
            assert_int_equal(len, sizeof(buf));
            assert_int_equal(buf[12345], wire_pattern(i * 4096u + 12345));
        }
    }
}

/* User-Mode Linux stops by ENABLE 0 alone, then sets everything up again. */
static void stop_by_disable(void **state)
{
    struct wire *w = *state;
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(fe_vhost_ack_state(&w->v, VU_SET_VRING_ENABLE, i, 0), 0);
        for (unsigned i = 0; i < 2; i++) {
            fe_ring_reset(&w->v.ring[i]);
            assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
        }
        fe_fuse_reset(&w->f);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        wire_alive(w);
    }
}

/* Its call descriptor is a pipe; a full one must not stop the daemon. */
static void call_by_pipe(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, NULL);
    prepare(w, VU_F_VERSION_1 | VU_F_PROTOCOL, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(fe_ring_use_pipe(&w->v.ring[i]), 0);
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    }
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_alive(w);
    struct fe_ring *r = &w->v.ring[1];
    char junk[4096] = {0};
    while (write(r->call_w, junk, sizeof(junk)) > 0) /* O_NONBLOCK is shared with the daemon */
        ;
    int slot = send_getattr(w, 1);
    int64_t end = fe_now_ms() + FE_TIMEOUT_MS;
    while (r->used->idx == r->used_seen && fe_now_ms() < end)
        usleep(1000);
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    fe_ring_take_calls(r);
    wire_alive(w);
    wire_finish(w, 0);
}

static void new_kick_and_call(void **state)
{
    struct wire *w = *state;
    struct fe_ring *r = &w->v.ring[1];
    for (unsigned i = 0; i < 20; i++) {
        int kick = eventfd(0, EFD_CLOEXEC), call = eventfd(0, EFD_CLOEXEC);
        assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_KICK, 1, kick), 0);
        assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_CALL, 1, call), 0);
        close(r->kick);
        close(r->call);
        r->kick = kick;
        r->call = r->call_w = call;
        wire_alive(w);
    }
}

/* No kick descriptor: the daemon has to look by itself. No call descriptor: we do. */
static void without_descriptors(void **state)
{
    struct wire *w = *state;
    struct fe_ring *r = &w->v.ring[1];
    assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_KICK, 1, -1), 0);
    assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_CALL, 1, -1), 0);
    for (unsigned i = 0; i < 10; i++) {
        int slot = send_getattr(w, 1);
        int64_t end = fe_now_ms() + FE_TIMEOUT_MS;
        while (*(volatile uint16_t *)&r->used->idx == r->used_seen && fe_now_ms() < end)
            usleep(100);
        assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    }
}

/* What a running ring stands on cannot be changed under it. */
static void settings_of_a_running_ring(void **state)
{
    struct wire *w = *state;
    struct fe_vu_addr a;
    addr_of(w, 1, &a);
    assert_int_equal(fe_vhost_ack_state(&w->v, VU_SET_VRING_NUM, 1, 64), 1);
    assert_int_equal(fe_vhost_ack_state(&w->v, VU_SET_VRING_BASE, 1, 5), 1);
    a.desc += 16;
    assert_int_equal(fe_vhost_ack(&w->v, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 1);
    wire_alive(w);
}

/* Addresses that are not in the table, or not aligned: the ring does not start. */
static void bad_addresses(void **state)
{
    struct wire *w = *state;
    struct fe_vu_addr good;
    wire_spawn(w, NULL);
    prepare(w, ALL_FEATURES, 2);
    addr_of(w, 1, &good);
    const uint64_t end = w->mem.r[2].uaddr + w->mem.r[2].size;
    const struct fe_vu_addr bad[] = {
        {1, 0, good.desc + 8, good.used, good.avail, 0},
        {1, 0, good.desc, good.used + 2, good.avail, 0},
        {1, 0, good.desc, good.used, good.avail + 1, 0},
        {1, 0, 0, good.used, good.avail, 0},
        {1, 0, good.desc, 0x1000, good.avail, 0},
        {1, 0, good.desc, good.used, ~0ULL - 1, 0},
        {1, 0, end - 16, good.used, good.avail, 0},
        {1, 0, good.desc, end - 8, good.avail, 0},
        {1, 0, good.desc, good.used, end - 4, 0},
    };
    assert_int_equal(fe_vhost_ack_state(&w->v, VU_SET_VRING_NUM, 1, WIRE_QUEUE), 0);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(fe_vhost_ack(&w->v, VU_SET_VRING_ADDR, &bad[i], sizeof(bad[i]), NULL, 0),
                         1);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_finish(w, 0);
}

/* Large rings, and more queues than one. */
static void many_queues(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, (const char *const[]){"--num-request-queues=7", NULL});
    wire_connect(w);
    assert_int_equal(fe_mem_init(&w->mem, 4u << 20, 32u << 20, 32u << 20), 0);
    assert_int_equal(fe_vhost_negotiate(&w->v, ALL_FEATURES, VU_PF_REPLY_ACK), 0);
    assert_int_equal(fe_vhost_mem_table(&w->v, &w->mem), 0);
    assert_int_equal(fe_vhost_make_rings(&w->v, &w->mem, 8, 1024), 0);
    fe_fuse_init(&w->f, &w->v);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    for (unsigned round = 0; round < 100; round++) {
        int slot[14];
        for (unsigned i = 0; i < 14; i++)
            slot[i] = send_getattr(w, 1 + i % 7);
        for (unsigned i = 0; i < 14; i++)
            assert_int_equal(fe_fuse_wait(&w->f, slot[i], NULL, 0, NULL), 0);
    }
    wire_finish(w, 0);
}

/* The 16-bit indices wrap, with every number of requests in flight. */
static void indices_wrap(void **state)
{
    struct wire *w = *state;
    for (unsigned done = 0; done < 140000;) {
        int slot[FE_SLOTS];
        unsigned n = 1 + done % FE_SLOTS;
        for (unsigned i = 0; i < n; i++)
            slot[i] = send_getattr(w, 1);
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(fe_fuse_wait(&w->f, slot[i], NULL, 0, NULL), 0);
        done += n;
    }
}

/* The table is sent again and again while reads are in flight. */
static void mem_table_in_traffic(void **state)
{
    struct wire *w = *state;
    static uint8_t buf[512 << 10];
    uint64_t node = wire_node(w, "big"), fh = 0;
    unsigned fds = 0;
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    for (unsigned round = 0; round < 100; round++) {
        int slot[8];
        for (unsigned i = 0; i < 8; i++) {
            struct fuse_read_in in = {.fh = fh, .offset = i * 65536u, .size = sizeof(buf)};
            struct iovec part = {&in, sizeof(in)};
            slot[i] = fe_fuse_send(&w->f, 1, FUSE_READ, node, &part, 1, sizeof(buf));
        }
        for (unsigned k = 0; k < 3; k++)
            assert_int_equal(fe_vhost_mem_table(&w->v, &w->mem), 0);
        for (unsigned i = 0; i < 8; i++) {
            size_t len = 0;
            assert_int_equal(fe_fuse_wait(&w->f, slot[i], buf, sizeof(buf), &len), 0);
            assert_int_equal(len, sizeof(buf));
            for (unsigned k = 0; k < sizeof(buf); k += 4093)
                assert_int_equal(buf[k], wire_pattern(i * 65536u + k));
        }
        /* An answer of its own: by then the descriptors of the message before are closed. */
        uint64_t v;
        assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &v), 0);
        if (round == 10)
            fds = fe_daemon_fds(&w->d);
    }
    assert_int_equal(fe_daemon_fds(&w->d), fds);
}

/* A table without the memory of the rings: refused or the rings stop; a good one starts them. */
static void mem_table_without_rings(void **state)
{
    struct wire *w = *state;
    struct fe_mem other = {0};
    assert_true(fe_mem_add(&other, 0x1000, 1 << 20, 0) >= 0);
    int e = fe_vhost_mem_table(&w->v, &other);
    assert_true(e == 0 || e == 1);
    int slot = send_getattr(w, 1);
    fe_ring_kick(&w->v.ring[1]);
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, QUICK_MS), FE_ETIMEOUT);
    assert_int_equal(fe_vhost_mem_table(&w->v, &w->mem), 0);
    for (unsigned i = 0; i < 2; i++) { /* harmless where they run again by themselves */
        fe_vhost_ack_state(&w->v, VU_SET_VRING_ENABLE, i, 0);
        assert_int_equal(fe_vhost_ack_state(&w->v, VU_SET_VRING_ENABLE, i, 1), 0);
    }
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    wire_alive(w);
    fe_mem_free(&other);
}

/* RESET_DEVICE: no INIT, no inodes, rings disabled; everything can start over. */
static void reset_device(void **state)
{
    struct wire *w = *state;
    uint64_t node = wire_node(w, "file");
    for (unsigned round = 0; round < 5; round++) {
        assert_int_equal(fe_vhost_ack(&w->v, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
        for (unsigned i = 0; i < 2; i++) {
            fe_ring_reset(&w->v.ring[i]);
            assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
        }
        fe_fuse_reset(&w->f);
        assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), -EIO);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        assert_true(fe_getattr(&w->f, node, NULL) < 0);
        node = wire_node(w, "file");
    }
}

/* ---- memory that goes away ---- */

static void stopped_once(struct wire *w, unsigned lines)
{
    assert_int_equal(fe_vhost_wait_closed(&w->v, FE_TIMEOUT_MS), 0);
    wire_hangup(w);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_alive(w);
    wire_hangup(w);
    assert_int_equal(fe_daemon_log_count(&w->d, "device stopped"), lines);
}

/* The file of the rings is truncated: every access of the daemon is a SIGBUS. */
static void ring_memory_truncated(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, (const char *const[]){"--relisten", NULL});
    for (unsigned i = 1; i <= 3; i++) {
        wire_rings(w);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        send_getattr(w, 1);
        assert_int_equal(ftruncate(w->mem.r[0].fd, 0), 0);
        fe_ring_kick(&w->v.ring[1]);
        fe_ring_kick(&w->v.ring[0]);
        stopped_once(w, i);
    }
}

/* The file of the buffers: system calls give EFAULT, direct accesses SIGBUS. */
static void buffers_truncated(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, (const char *const[]){"--relisten", NULL});
    for (unsigned i = 1; i <= 3; i++) {
        wire_rings(w);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        uint64_t node = wire_node(w, "big"), fh = 0;
        assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
        struct fuse_read_in in = {.fh = fh, .size = 1 << 20};
        struct iovec part = {&in, sizeof(in)};
        for (unsigned k = 0; k < 8; k++)
            fe_fuse_send(&w->f, 1, FUSE_READ, node, &part, 1, 1 << 20);
        assert_int_equal(ftruncate(w->mem.r[i % 2 + 1].fd, 0), 0);
        /* One more, whose header or reply lies in what is gone. */
        struct fe_ring *r = &w->v.ring[1];
        fe_ring_desc(r, 100, w->mem.r[1].gpa + (20u << 20), 56, VRING_DESC_F_NEXT, 101);
        fe_ring_desc(r, 101, w->mem.r[2].gpa + (20u << 20), 120, VRING_DESC_F_WRITE, 0);
        fe_ring_push(r, 100);
        fe_ring_publish(r);
        fe_ring_kick(r);
        stopped_once(w, i);
    }
}

#define MOUNTED(t) cmocka_unit_test_setup_teardown(t, wire_mount, wire_umount)
#define BARE(t)    cmocka_unit_test_teardown(t, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BARE(start_order),
        BARE(without_protocol_features),
        BARE(without_event_idx),
        MOUNTED(disabled_ring_waits),
        MOUNTED(get_base_drains),
        MOUNTED(stop_by_disable),
        BARE(call_by_pipe),
        MOUNTED(new_kick_and_call),
        MOUNTED(without_descriptors),
        MOUNTED(settings_of_a_running_ring),
        BARE(bad_addresses),
        BARE(many_queues),
        MOUNTED(indices_wrap),
        MOUNTED(mem_table_in_traffic),
        MOUNTED(mem_table_without_rings),
        MOUNTED(reset_device),
        BARE(ring_memory_truncated),
        BARE(buffers_truncated),
    };
    return cmocka_run_group_tests_name("wire-state", tests, wire_make, wire_teardown);
}
