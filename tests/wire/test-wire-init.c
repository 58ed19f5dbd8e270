/* SPDX-License-Identifier: BSD-3-Clause
 * INIT and DESTROY in every order that mounts, remounts, reboots and hostile guests produce, and
 * what is granted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/wire/wire.h"

static int rings_only(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, NULL);
    wire_rings(w);
    return 0;
}

static int destroy(struct wire *w)
{
    return fe_call(&w->f, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL);
}

/* INIT of @len bytes of the structure; *@out_len gets the reply's length. */
static int init_len(struct wire *w, const struct fuse_init_in *in, size_t len,
                    struct fuse_init_out *out, size_t *out_len)
{
    memset(out, 0, sizeof(*out));
    return fe_call(&w->f, FUSE_INIT, 0, in, len, out, sizeof(*out), out_len);
}

static void nothing_before_init(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    uint64_t fh;
    assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), -EIO);
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "file", &e), -EIO);
    assert_int_equal(fe_opendir(&w->f, FUSE_ROOT_ID, &fh), -EIO);
    assert_int_equal(fe_create(&w->f, FUSE_ROOT_ID, "early", O_RDWR, 0644, &e, &fh), -EIO);
    assert_int_equal(access(wire_path(w, "early"), F_OK), -1);
    fe_forget(&w->f, FUSE_ROOT_ID, 1);
    fe_forget(&w->f, 77, ~0ULL);
    int d = destroy(w);
    assert_true(d <= 0 && d > -1000);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_alive(w);
}

/* The line of the log has a word for each flag, and names the share and the socket. */
static void is_told(struct wire *w, uint64_t granted)
{
    char *log = fe_daemon_log(&w->d), *line = strstr(log, "guest mounted: "), *with = NULL;
    unsigned words = 0, bits = 0;

    for (int64_t end = fe_now_ms() + FE_TIMEOUT_MS; !line && fe_now_ms() < end;) {
        free(log);
        log = fe_daemon_log(&w->d);
        line = strstr(log, "guest mounted: ");
    }
    if (line) {
        line[strcspn(line, "\n")] = '\0';
        with = strstr(line, " with ");
    }
    for (char *p = with; p && (p = strchr(p + 1, ' '));)
        words++;
    for (; granted; granted &= granted - 1)
        bits++;
    if (!with || strstr(with, "0x") || words != bits || !strstr(line, w->share))
        fail_msg("%u flags: %s", bits, line);
    free(log);
    assert_int_equal(fe_daemon_log_count(&w->d, w->socket), 2); /* waiting, connected */
}

static void what_is_granted(void **state)
{
    struct wire *w = *state;
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    uint64_t got = fe_init_granted(&w->f);
    is_told(w, got);
    const uint64_t must = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
                          FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
                          FUSE_CACHE_SYMLINKS | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS |
                          FUSE_MAX_PAGES | FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2 |
                          FUSE_SETXATTR_EXT | FUSE_INIT_EXT | 1ULL << 34 /* CREATE_SUPP_GROUP */;
    const uint64_t never =
        FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ | FUSE_WRITEBACK_CACHE |
        FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS /* options */ | FUSE_EXPLICIT_INVAL_DATA |
        1ULL << 33 /* INODE_DAX */ | 1ULL << 37 /* PASSTHROUGH */ | 1ULL << 39 /* HAS_RESEND */;
    if ((got & must) != must || (got & never))
        fail_msg("granted %#llx: without %#llx, with %#llx", (unsigned long long)got,
                 (unsigned long long)(must & ~got), (unsigned long long)(got & never));
    assert_int_equal(got & ~(fe_init_linux | FUSE_INIT_EXT), 0);
    assert_int_equal(w->f.init.major, 7);
    assert_true(w->f.init.minor >= 36);
    assert_int_equal(w->f.init.max_write, 1 << 20);
    assert_int_equal(w->f.init.max_pages, (1 << 20) / sysconf(_SC_PAGESIZE));
    assert_int_equal(w->f.init.time_gran, 1);
    assert_int_equal(w->f.init.map_alignment, 0);
}

/* Nothing is granted that was not asked for: bit by bit, and with all 64. */
static void only_what_was_asked(void **state)
{
    struct wire *w = *state;
    for (int bit = -2; bit < 64; bit++) {
        uint64_t ask = bit == -2 ? 0 : bit == -1 ? ~0ULL : 1ULL << bit;
        assert_int_equal(fe_init(&w->f, ask), 0);
        uint64_t got = fe_init_granted(&w->f);
        if (got & ~(ask | FUSE_INIT_EXT))
            fail_msg("asked %#llx, granted %#llx", (unsigned long long)ask,
                     (unsigned long long)got);
        wire_alive(w);
    }
}

/* Without INIT_EXT the upper flags are not valid. */
static void upper_flags_need_init_ext(void **state)
{
    struct wire *w = *state;
    struct fuse_init_out out;
    struct fuse_init_in in = {.major = 7, .minor = 38, .flags2 = ~0u};
    assert_int_equal(init_len(w, &in, sizeof(in), &out, NULL), 0);
    assert_int_equal(out.flags, 0);
    assert_int_equal(out.flags2, 0);
}

static void structure_sizes(void **state)
{
    struct wire *w = *state;
    struct fuse_init_out out;
    struct fuse_init_in in = {.major = 7, .minor = 38, .max_readahead = 4096, .flags = 1};
    size_t len;
    static const size_t good[] = {8, 16, 64};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(init_len(w, &in, good[i], &out, &len), 0);
        assert_int_equal(len, 64);
        assert_int_equal(out.major, 7);
        wire_alive(w);
    }
    for (size_t n = 0; n < 8; n++)
        assert_int_equal(init_len(w, &in, n, &out, &len), -EINVAL);
    wire_alive(w); /* a refused one changes nothing */
}

static void versions(void **state)
{
    struct wire *w = *state;
    struct fuse_init_out out;
    size_t len;
    /* A newer major: we answer with ours, and the kernel tries again. */
    struct fuse_init_in newer = {.major = 8};
    assert_int_equal(init_len(w, &newer, 64, &out, &len), 0);
    assert_int_equal(out.major, 7);
    struct fuse_init_in older = {.major = 6, .minor = 1};
    int e = init_len(w, &older, 64, &out, &len);
    assert_true(e < 0 && e > -1000);
    struct fuse_init_in next = {.major = 7, .minor = 999};
    assert_int_equal(init_len(w, &next, 64, &out, &len), 0);
    assert_int_equal(out.major, 7);
    wire_alive(w);
}

static void no_room_for_reply(void **state)
{
    struct wire *w = *state;
    struct fuse_init_in in = {.major = 7, .minor = 38};
    int e = fe_call(&w->f, FUSE_INIT, 0, &in, sizeof(in), NULL, 8, NULL);
    assert_true(e < 0);
    assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), -EIO);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

/* Some of Linux before 5.17 write back what is mapped as they close only where FLUSH is served. */
static void flush_of_old_guests(void **state)
{
    struct wire *w = *state;
    static const struct {
        uint32_t minor;
        int flush;
    } rows[] = {{31, 0}, {35, 0}, {36, -ENOSYS}, {38, -ENOSYS}, {45, -ENOSYS}};
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fuse_init_in in = {
            .major = 7,
            .minor = rows[i].minor,
            .flags = (uint32_t)(fe_init_linux & ~(uint64_t)FUSE_INIT_EXT),
        };
        struct fuse_flush_in fl = {0};
        uint64_t node;
        assert_int_equal(
            fe_call(&w->f, FUSE_INIT, 0, &in, sizeof(in), &w->f.init, sizeof(w->f.init), NULL), 0);
        node = wire_node(w, "file");
        assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fl.fh), 0);
        assert_int_equal(fe_call(&w->f, FUSE_FLUSH, node, &fl, sizeof(fl), NULL, 0, NULL),
                         rows[i].flush);
        assert_int_equal(fe_release(&w->f, node, fl.fh), 0);
    }
}

/* Umount and mount again on the same device. */
static void after_destroy(void **state)
{
    struct wire *w = *state;
    uint64_t old = 0;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        if (old)
            assert_true(fe_getattr(&w->f, old, NULL) < 0);
        old = wire_node(w, "dir/file");
        assert_int_equal(fe_getattr(&w->f, old, NULL), 0);
        assert_int_equal(destroy(w), 0);
        assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), -EIO);
    }
    int again = destroy(w);
    assert_true(again <= 0 && again > -1000);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    wire_alive(w);
}

/* The guest was rebooted: INIT with everything still open. */
static void without_destroy(void **state)
{
    struct wire *w = *state;
    unsigned fds = 0;
    for (unsigned i = 0; i < 10; i++) {
        uint64_t node, fh[8];
        char buf[8];
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        node = wire_node(w, "big");
        for (unsigned k = 0; k < 8; k++)
            assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh[k]), 0);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        assert_true(fe_read(&w->f, node, fh[0], 0, buf, 8) < 0);
        assert_true(fe_getattr(&w->f, node, NULL) < 0);
        if (i == 1)
            fds = fe_daemon_fds(&w->d);
    }
    assert_int_equal(fe_daemon_fds(&w->d), fds);
}

/* INIT and DESTROY among requests in flight: all are answered, by one life or the other. */
static void in_traffic(void **state)
{
    struct wire *w = *state;
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    for (unsigned round = 0; round < 50; round++) {
        uint64_t node = wire_node(w, "big"), fh = 0;
        int slot[12], n = 0;
        assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
        struct fuse_read_in rd = {.fh = fh, .size = 256 << 10};
        struct fuse_init_in in = {.major = 7, .minor = 38, .flags = (uint32_t)fe_init_linux};
        struct iovec read_part = {&rd, sizeof(rd)}, init_part = {&in, sizeof(in)};
        for (unsigned i = 0; i < 5; i++)
            slot[n++] = fe_fuse_send(&w->f, FE_REQ, FUSE_READ, node, &read_part, 1, 256 << 10);
        if (round % 2)
            slot[n++] = fe_fuse_send(&w->f, FE_REQ, FUSE_DESTROY, 0, NULL, 0, 0);
        slot[n++] = fe_fuse_send(&w->f, FE_HIPRIO, FUSE_INIT, 0, &init_part, 1, 64);
        for (unsigned i = 0; i < 5; i++)
            slot[n++] = fe_fuse_send(&w->f, FE_REQ, FUSE_READ, node, &read_part, 1, 256 << 10);
        for (int i = 0; i < n; i++) {
            int e = fe_fuse_wait(&w->f, slot[i], NULL, 0, NULL);
            assert_true(e <= 0 && e > -1000);
        }
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        wire_alive(w);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, rings_only, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_before_init),       TEST(what_is_granted), TEST(only_what_was_asked),
        TEST(upper_flags_need_init_ext), TEST(structure_sizes), TEST(versions),
        TEST(no_room_for_reply),         TEST(after_destroy),   TEST(flush_of_old_guests),
        TEST(without_destroy),           TEST(in_traffic),
    };
    return cmocka_run_group_tests_name("wire-init", tests, wire_make, wire_teardown);
}
