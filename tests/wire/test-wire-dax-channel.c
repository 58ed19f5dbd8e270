/* SPDX-License-Identifier: BSD-3-Clause
 * The window over the real daemon and a monitor that refuses, lies, is late, hangs up, or stops the
 * device while it owes an answer. What the guest gets is an error, and everything else goes on. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/wire/wire-dax.h"

#define WINDOW  (UINT64_C(8) << 20)
#define CHUNK   (UINT64_C(2) << 20) /* what Linux maps at a time */
#define SOON_MS 2000
#define BIG     (1u << 20) /* bytes of the file "big" */

static struct fe_shmem fe;

static void spawn(struct wire *w, uint64_t window)
{
    char option[64];
    const char *const extra[] = {option, "--dax-min-size=0", "--thread-pool-size=0",
                                 "--rlimit-nofile=1024", NULL};
    snprintf(option, sizeof(option), "--dax-window=%llu", (unsigned long long)window);
    wire_spawn(w, extra);
    wire_connect(w);
    assert_int_equal(fe_mem_init(&w->mem, 4 << 20, 32 << 20, 32 << 20), 0);
}

/* Everything but INIT, with a monitor of that kind. */
static void start(struct wire *w, enum fe_shmem_kind kind, unsigned nrings)
{
    uint64_t told = 0;
    spawn(w, WINDOW);
    assert_int_equal(fe_shmem_start(&fe, kind, WINDOW), 0);
    fe_shmem_suspend(&fe, true);
    assert_int_equal(fe_vhost_start_shmem(&w->v, &w->mem, nrings, WIRE_QUEUE, fe.channel,
                                          VU_PF_SHMEM, &told, false),
                     0);
    assert_int_equal(told, WINDOW);
    fe_shmem_suspend(&fe, false);
    for (unsigned i = 0; i < nrings; i++)
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    fe_fuse_init(&w->f, &w->v);
}

static bool init(struct wire *w)
{
    uint64_t dax = FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX;
    assert_int_equal(fe_init(&w->f, fe_init_linux | dax), 0);
    return fe_init_granted(&w->f) & FUSE_MAP_ALIGNMENT;
}

/* What is true at the end of each test. */
static void end(struct wire *w)
{
    wire_finish(w, 0);
    fe_shmem_stop(&fe);
    assert_int_equal(fe.malformed, 0);
    assert_int_equal(fe.overlapped, 0);
    assert_int_equal(fe.while_suspended, 0);
    assert_int_equal(fe.grown, 0);
}

static int send_map(struct wire *w, unsigned queue, uint64_t node, uint64_t at, bool write)
{
    struct fuse_setupmapping_in in = {
        .fh = UINT64_MAX,
        .len = CHUNK,
        .flags = FUSE_SETUPMAPPING_FLAG_READ | (write ? FUSE_SETUPMAPPING_FLAG_WRITE : 0),
        .moffset = at,
    };
    struct iovec part = {&in, sizeof(in)};
    return fe_fuse_send(&w->f, queue, FUSE_SETUPMAPPING, node, &part, 1, 0);
}

static int map(struct wire *w, uint64_t node, uint64_t at, bool write)
{
    return fe_fuse_wait(&w->f, send_map(w, FE_REQ, node, at, write), NULL, 0, NULL);
}

static int unmap(struct wire *w, uint64_t node, uint64_t at)
{
    struct {
        struct fuse_removemapping_in in;
        struct fuse_removemapping_one one;
    } __attribute__((packed)) m = {{1}, {at, CHUNK}};
    return fe_call(&w->f, FUSE_REMOVEMAPPING, node, &m, sizeof(m), NULL, 0, NULL);
}

/* The file is there by the other way in. */
static void read_works(struct wire *w, uint64_t node)
{
    uint8_t byte = 0;
    uint64_t fh = 0;
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    assert_int_equal(fe_read(&w->f, node, fh, 4711, &byte, 1), 1);
    assert_int_equal(byte, wire_pattern(4711));
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

static void looks_right(uint64_t at)
{
    const uint8_t *p = fe_shmem_at(&fe, at);
    for (uint64_t off = 0; off < BIG; off += 4093)
        assert_int_equal(p[off], wire_pattern(off));
}

/* From 2 MiB to 1 TiB, whatever descriptors there may be. */
static void window_sizes(void **state)
{
    static const unsigned shifts[] = {21, 24, 28, 32, 36, 40};
    struct wire *w = *state;
    for (unsigned n = 0; n < sizeof(shifts) / sizeof(shifts[0]); n++) {
        unsigned shift = shifts[n];
        struct fe_vu_shmem s;
        spawn(w, UINT64_C(1) << shift);
        assert_int_equal(fe_vhost_negotiate(&w->v, VU_F_PROTOCOL | VU_F_VERSION_1,
                                            VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ | VU_PF_SEND_FD |
                                                VU_PF_SHMEM | VU_PF_MEM_SLOTS),
                         0);
        assert_false(w->v.proto & VU_PF_MEM_SLOTS);
        assert_int_equal(fe_vhost_get_shmem(&w->v, &s), 0);
        assert_int_equal(s.n, 1);
        assert_int_equal(s.size[0], UINT64_C(1) << shift);
        for (unsigned i = 1; i < 256; i++)
            assert_int_equal(s.size[i], 0);
        wire_finish(w, 0);
    }
}

static void maps_and_unmaps(struct wire *w, enum fe_shmem_kind kind)
{
    start(w, kind, 2);
    assert_true(init(w));
    assert_int_equal(fe_shmem_get(&fe, &fe.nmaps), 0); /* of the probe nothing is left */
    uint64_t node = wire_node(w, "big");
    assert_int_equal(map(w, node, CHUNK, false), 0);
    looks_right(CHUNK);
    assert_int_equal(unmap(w, node, CHUNK), 0);
    assert_int_equal(*fe_shmem_at(&fe, CHUNK + 1), 0);
    assert_int_equal(fe_shmem_get(&fe, &fe.nmaps), 0);
    end(w);
}

static void good_monitors(void **state)
{
    maps_and_unmaps(*state, FE_SHMEM_QEMU);
    maps_and_unmaps(*state, FE_SHMEM_CROSVM);
}

/* No window for this guest, and a mount all the same. */
static void refuses_the_probe(void **state)
{
    struct wire *w = *state;
    start(w, FE_SHMEM_QEMU, 2);
    fe_shmem_set_fault(&fe, FE_SHMEM_REFUSE, 0);
    assert_false(init(w));
    fe_shmem_set_fault(&fe, FE_SHMEM_GOOD, 0);
    uint64_t node = wire_node(w, "big");
    unsigned before = fe_shmem_requests(&fe);
    assert_true(map(w, node, 0, false) < 0);
    assert_int_equal(fe_shmem_requests(&fe), before);
    read_works(w, node);
    end(w);
}

static void refuses_a_map(void **state)
{
    struct wire *w = *state;
    start(w, FE_SHMEM_QEMU, 2);
    assert_true(init(w));
    uint64_t node = wire_node(w, "big");
    fe_shmem_set_fault(&fe, FE_SHMEM_REFUSE_MAP, 0);
    assert_int_equal(map(w, node, 0, false), -EIO);
    assert_int_equal(fe_shmem_get(&fe, &fe.nmaps), 0);
    read_works(w, node);
    fe_shmem_set_fault(&fe, FE_SHMEM_GOOD, 0);
    assert_int_equal(map(w, node, 0, false), 0);
    looks_right(0);
    end(w);
}

static void answers_late(void **state)
{
    static const enum fe_shmem_fault fault[] = {FE_SHMEM_LATE, FE_SHMEM_BYTES, FE_SHMEM_FDS};
    struct wire *w = *state;
    start(w, FE_SHMEM_QEMU, 2);
    assert_true(init(w));
    uint64_t node = wire_node(w, "big");
    for (unsigned i = 0; i < 3; i++) {
        fe_shmem_set_fault(&fe, fault[i], 0);
        assert_int_equal(map(w, node, i * CHUNK, false), 0);
        looks_right(i * CHUNK);
    }
    end(w);
}

/* The guest is answered when the file is there, not when the monitor says that it is going to be.
 */
static void answers_early(void **state)
{
    struct wire *w = *state;
    dax_put(w, "whole", CHUNK); /* one message maps it */
    start(w, FE_SHMEM_QEMU, 2);
    assert_true(init(w));
    uint64_t node = wire_node(w, "whole");
    fe_shmem_set_fault(&fe, FE_SHMEM_EARLY, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(map(w, node, i * CHUNK, false), 0);
        looks_right(i * CHUNK);
    }
    end(w);
}

/* The channel is given up: an error for this mapping and all later ones, nothing else. */
static void gives_up_after(struct wire *w, enum fe_shmem_fault fault)
{
    start(w, FE_SHMEM_QEMU, 2);
    assert_true(init(w));
    uint64_t node = wire_node(w, "big");
    fe_shmem_set_fault(&fe, fault, 0);
    assert_true(map(w, node, 0, false) < 0);
    unsigned before = fe_shmem_requests(&fe);
    assert_true(map(w, node, CHUNK, false) < 0);
    assert_int_equal(fe_shmem_requests(&fe), before);
    read_works(w, node);
    assert_int_equal(fe_daemon_log_count(&w->d, "back-end request"), 1);
    end(w);
}

static void answers_wrong(void **state)
{
    gives_up_after(*state, FE_SHMEM_WRONG_REQUEST);
    gives_up_after(*state, FE_SHMEM_WRONG_FLAGS);
    gives_up_after(*state, FE_SHMEM_WRONG_SIZE);
}

static void hangs_up(void **state)
{
    gives_up_after(*state, FE_SHMEM_CLOSE);
    gives_up_after(*state, FE_SHMEM_CLOSE_HALF);
}

/* A mapping is asked for, and the monitor does not answer. Returns the request's slot. */
static int start_and_wait(struct wire *w)
{
    start(w, FE_SHMEM_QEMU, 2);
    assert_true(init(w));
    uint64_t node = wire_node(w, "big");
    unsigned before = fe_shmem_requests(&fe);
    fe_shmem_set_fault(&fe, FE_SHMEM_SILENT, 0);
    int slot = send_map(w, FE_REQ, node, 0, false);
    assert_true(fe_shmem_wait(&fe, before + 1, SOON_MS));
    return slot;
}

static void stop_with_a_map_unanswered(void **state)
{
    struct wire *w = *state;
    uint32_t base;
    int slot = start_and_wait(w);
    unsigned before = fe_shmem_requests(&fe);
    int64_t begin = fe_now_ms();
    assert_int_equal(fe_vhost_get_base(&w->v, FE_REQ, &base), 0);
    assert_in_range(fe_now_ms() - begin, 0, SOON_MS);
    assert_true(fe_fuse_wait(&w->f, slot, NULL, 0, NULL) < 0);
    assert_int_equal(fe_vhost_get_base(&w->v, FE_HIPRIO, &base), 0);
    fe_shmem_suspend(&fe, true);
    fe_shmem_set_fault(&fe, FE_SHMEM_GOOD, 0);
    usleep(50000);
    assert_int_equal(fe_shmem_requests(&fe), before);
    end(w);
}

static void reset_with_a_map_unanswered(void **state)
{
    struct wire *w = *state;
    start_and_wait(w);
    unsigned before = fe_shmem_requests(&fe);
    int64_t begin = fe_now_ms();
    assert_int_equal(fe_vhost_ack(&w->v, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    assert_in_range(fe_now_ms() - begin, 0, SOON_MS);
    fe_shmem_suspend(&fe, true);
    fe_shmem_set_fault(&fe, FE_SHMEM_GOOD, 0);
    usleep(50000);
    assert_int_equal(fe_shmem_requests(&fe), before);
    end(w);
}

static void gone_with_a_map_unanswered(void **state)
{
    struct wire *w = *state;
    start_and_wait(w);
    int64_t begin = fe_now_ms();
    wire_finish(w, 0);
    assert_in_range(fe_now_ms() - begin, 0, SOON_MS);
    fe_shmem_stop(&fe);
}

/* Live mappings at a reset are the monitor's to drop, and nothing is said about them; the next
 * guest begins with an empty window, whether the reset was said or is only seen from rings that
 * start again. */
static void reset_with_live(struct wire *w, bool said)
{
    uint32_t base;
    start(w, FE_SHMEM_QEMU, 2);
    assert_true(init(w));
    uint64_t node = wire_node(w, "big");
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(map(w, node, i * CHUNK, true), 0);
    unsigned unmaps = fe_shmem_get(&fe, &fe.unmaps);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(fe_vhost_get_base(&w->v, i, &base), 0);
        fe_shmem_suspend(&fe, true);
    }
    if (said)
        assert_int_equal(fe_vhost_ack(&w->v, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    fe_shmem_reset(&fe);
    usleep(50000);
    assert_int_equal(fe_shmem_get(&fe, &fe.unmaps), unmaps);
    fe_shmem_suspend(&fe, false);
    for (unsigned i = 0; i < 2; i++) {
        fe_ring_reset(&w->v.ring[i]);
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    }
    fe_fuse_reset(&w->f);
    unsigned refused = fe_shmem_get(&fe, &fe.refused);
    assert_true(init(w));
    if (!said) /* else it probes, and some of that is refused */
        assert_int_equal(fe_shmem_get(&fe, &fe.unmaps), unmaps);
    node = wire_node(w, "big");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(map(w, node, i * CHUNK, false), 0);
        looks_right(i * CHUNK);
    }
    if (!said)
        assert_int_equal(fe_shmem_get(&fe, &fe.refused), refused);
    end(w);
}

/* A machine that was paused keeps its mappings: rings go on where they stopped. */
static void pause_with_live_mappings(void **state)
{
    struct wire *w = *state;
    uint32_t base;
    start(w, FE_SHMEM_QEMU, 2);
    assert_true(init(w));
    uint64_t node = wire_node(w, "big");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(map(w, node, i * CHUNK, true), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(fe_vhost_get_base(&w->v, i, &base), 0);
        fe_shmem_suspend(&fe, true);
        assert_int_equal(base, w->v.ring[i].avail_shown);
    }
    fe_shmem_suspend(&fe, false);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
    assert_int_equal(unmap(w, node, 0), 0);
    assert_int_equal(fe_shmem_get(&fe, &fe.nmaps), 2);
    looks_right(CHUNK);
    assert_true(init(w)); /* a guest that forgot: they are still there, and are taken back */
    assert_int_equal(fe_shmem_get(&fe, &fe.nmaps), 0);
    end(w);
}

static void reset_with_live_mappings(void **state)
{
    reset_with_live(*state, true);
}

static void restart_with_live_mappings(void **state)
{
    reset_with_live(*state, false);
}

/* Two request queues; the monitor sees one request at a time (end: never overlapped). */
static void two_queues_at_once(void **state)
{
    struct wire *w = *state;
    int slot[4];
    start(w, FE_SHMEM_QEMU, 3);
    assert_true(init(w));
    uint64_t node = wire_node(w, "big");
    fe_shmem_set_fault(&fe, FE_SHMEM_LATE, 0);
    for (unsigned i = 0; i < 4; i++)
        slot[i] = send_map(w, FE_REQ + i % 2, node, i * CHUNK, false);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(fe_fuse_wait(&w->f, slot[i], NULL, 0, NULL), 0);
    for (unsigned i = 0; i < 4; i++)
        looks_right(i * CHUNK);
    end(w);
}

/* QEMU's own vhost-user-fs takes the feature and has no window: it never asks for the size. */
static void took_the_feature_only(void **state)
{
    struct wire *w = *state;
    spawn(w, WINDOW);
    assert_int_equal(fe_shmem_start(&fe, FE_SHMEM_QEMU, WINDOW), 0);
    assert_int_equal(
        fe_vhost_start_shmem(&w->v, &w->mem, 2, WIRE_QUEUE, fe.channel, VU_PF_SHMEM, NULL, true),
        0);
    fe_fuse_init(&w->f, &w->v);
    assert_false(init(w));
    read_works(w, wire_node(w, "big"));
    assert_int_equal(fe_shmem_requests(&fe), 0);
    end(w);
}

int main(void)
{
#define T(t) cmocka_unit_test_teardown(t, wire_cleanup)
    const struct CMUnitTest tests[] = {
        T(window_sizes),
        T(good_monitors),
        T(refuses_the_probe),
        T(refuses_a_map),
        T(answers_late),
        T(answers_early),
        T(answers_wrong),
        T(hangs_up),
        T(stop_with_a_map_unanswered),
        T(reset_with_a_map_unanswered),
        T(gone_with_a_map_unanswered),
        T(reset_with_live_mappings),
        T(restart_with_live_mappings),
        T(pause_with_live_mappings),
        T(two_queues_at_once),
        T(took_the_feature_only),
    };
    return cmocka_run_group_tests(tests, wire_make, wire_teardown);
}
