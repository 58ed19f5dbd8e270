/* SPDX-License-Identifier: BSD-3-Clause
 * A guest moves to another daemon: what it knows and has open is there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fe-served.h"
#include "tests/wire/wire-move.h"

#define ROOT FUSE_ROOT_ID

static void reads(struct wire *w, uint64_t node, uint64_t fh, const char *want)
{
    char buf[64] = {0};
    assert_int_equal(fe_read(&w->f, node, fh, 0, buf, sizeof(buf)), (int)strlen(want));
    assert_string_equal(buf, want);
}

static bool have_handles(void)
{
    return geteuid() == 0;
}

/* Renamed, appended, open for writing, open directories, names that are no text. */
static void test_files(void **state)
{
    struct wire *w = *state;
    static const char odd[] = "no\xfftext\n (deleted)";
    struct fuse_entry_out e;
    uint64_t fh, append, dirfh, oddfh;
    uint64_t file = wire_node(w, "dir/file"), sub = wire_node(w, "dir/sub");
    uint64_t dir = wire_node(w, "dir");

    assert_int_equal(fe_open(&w->f, file, O_RDWR, &fh), 0);
    assert_int_equal(fe_open(&w->f, file, O_WRONLY | O_APPEND, &append), 0);
    assert_int_equal(fe_opendir(&w->f, dir, &dirfh), 0);
    assert_int_equal(fe_create(&w->f, sub, odd, O_RDWR, 0644, &e, &oddfh), 0);
    assert_int_equal(rename(wire_path(w, "dir"), wire_path(w, "moved")), 0);
    assert_int_equal(rename(wire_path(w, "moved/file"), wire_path(w, "moved/sub/f2")), 0);
    for (unsigned i = 0; i < 3; i++) {
        move(w, NULL);
        reads(w, file, fh, i ? "ab23456789+" : "0123456789");
        assert_int_equal(fe_write(&w->f, file, fh, 0, "ab", 2), 2);
        if (i == 0)
            assert_int_equal(fe_write(&w->f, file, append, 10, "+", 1), 1);
        assert_int_equal(fe_write(&w->f, e.nodeid, oddfh, 0, "odd", 3), 3);
        reads(w, e.nodeid, oddfh, "odd");
        /* The same numbers still, and not new ones. */
        assert_int_equal(wire_node(w, "moved"), dir);
        assert_int_equal(wire_node(w, "moved/sub/f2"), file);
        struct fuse_entry_out again;
        assert_int_equal(fe_lookup(&w->f, sub, odd, &again), 0);
        assert_int_equal(again.nodeid, e.nodeid);
    }
    assert_int_equal(fe_release(&w->f, file, fh), 0);
    assert_int_equal(fe_release(&w->f, file, append), 0);
    assert_int_equal(fe_releasedir(&w->f, dir, dirfh), 0);
    assert_int_equal(fe_release(&w->f, e.nodeid, oddfh), 0);
    assert_int_equal(fe_release(&w->f, file, fh), -EBADF);
    assert_int_equal(unlink(wire_path(w, "moved/sub/no\xfftext\n (deleted)")), 0);
    assert_int_equal(rename(wire_path(w, "moved/sub/f2"), wire_path(w, "moved/file")), 0);
    assert_int_equal(rename(wire_path(w, "moved"), wire_path(w, "dir")), 0);
    wire_put(w, "dir/file", "0123456789");
}

/* Saving does not consume: refused, resumed, moved at the second try. */
static void test_refused_and_resumed(void **state)
{
    struct wire *w = *state;
    struct fe_state s;
    uint64_t fh, file = wire_node(w, "file");

    assert_int_equal(fe_open(&w->f, file, O_RDONLY, &fh), 0);
    for (unsigned i = 0; i < 2; i++) {
        move_save(w, &s);
        s.bytes[s.len / 2] ^= 1;
        assert_int_equal(move_to(w, &s, w->options, NULL), 2);
        free(s.bytes);
        assert_int_equal(fe_move_resume(&w->v), 0);
        reads(w, file, fh, "hello\n");
    }
    move(w, NULL);
    reads(w, file, fh, "hello\n");
}

/* Unlinked and open: by its handle, else it is lost, which the policy decides about. */
static void test_unlinked_and_open(void **state)
{
    struct wire *w = *state;
    static const char *const lenient[] = {"--migration-on-error=guest-error", NULL};
    struct fuse_entry_out e;
    struct fe_state s;
    uint64_t fh, file = wire_node(w, "file"), other;
    struct fe_daemon old;
    char c;

    assert_int_equal(fe_create(&w->f, ROOT, "gone", O_RDWR, 0644, &e, &fh), 0);
    assert_int_equal(fe_write(&w->f, e.nodeid, fh, 0, "still here", 10), 10);
    assert_int_equal(fe_open(&w->f, file, O_RDONLY, &other), 0);
    assert_int_equal(unlink(wire_path(w, "gone")), 0);
    move_save(w, &s);
    if (have_handles()) {
        assert_int_equal(move_to(w, &s, w->options, &old), 0);
        reads(w, e.nodeid, fh, "still here");
        fe_daemon_stop(&old);
        reads(w, e.nodeid, fh, "still here");
        move_save(w, &s);
    }
    static const char *const by_name[] = {"--inode-file-handles=never", NULL};
    assert_int_equal(move_to(w, &s, by_name, NULL), 2);
    static const char *const both[] = {"--inode-file-handles=never",
                                       "--migration-on-error=guest-error", NULL};
    (void)lenient;
    assert_int_equal(move_to(w, &s, both, NULL), 0);
    assert_int_equal(fe_read(&w->f, e.nodeid, fh, 0, &c, 1), -EIO);
    assert_int_equal(fe_write(&w->f, e.nodeid, fh, 0, "x", 1), -EIO);
    assert_int_equal(fe_getattr(&w->f, e.nodeid, NULL), -ESTALE);
    reads(w, file, other, "hello\n");
    assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);
    fe_forget(&w->f, e.nodeid, 1);
    free(s.bytes);
}

/* What nobody holds open fails no migration: it answers ESTALE, and one line says how many. */
static void test_not_open_never_fails(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    uint64_t ids[5];
    char name[16];

    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        wire_put(w, name, "x");
        ids[i] = wire_node(w, name);
        assert_int_equal(unlink(wire_path(w, name)), 0);
    }
    wire_put(w, "n0", "another");
    move(w, NULL);
    for (unsigned i = 0; i < 5; i++)
        assert_true(fe_getattr(&w->f, ids[i], NULL) == -ESTALE ||
                    fe_getattr(&w->f, ids[i], NULL) == 0); /* the old daemon may hold it open */
    assert_int_equal(fe_lookup(&w->f, ROOT, "n0", &e), 0);
    assert_int_not_equal(e.nodeid, ids[0]);
    assert_true(fe_daemon_log_count(&w->d, "were not found again") <= 1);
    assert_int_equal(unlink(wire_path(w, "n0")), 0);
    move(w, NULL);
    wire_alive(w);
}

/* A swap between the two daemons: number and birth tell. */
static void test_swapped(void **state)
{
    struct wire *w = *state;
    struct fe_state s;
    static const char *const o[] = {"--inode-file-handles=never",
                                    "--migration-on-error=guest-error", NULL};
    uint64_t fh, other, file;
    char c;

    wire_put(w, "one", "one");
    wire_put(w, "two", "two");
    file = wire_node(w, "one");
    uint64_t two = wire_node(w, "two");
    assert_int_equal(fe_open(&w->f, file, O_RDWR, &fh), 0);
    assert_int_equal(fe_open(&w->f, two, O_RDWR, &other), 0);
    move_save(w, &s);
    assert_int_equal(rename(wire_path(w, "one"), wire_path(w, "three")), 0);
    wire_put(w, "one", "a new one");
    assert_int_equal(move_to(w, &s, o, NULL), 0);
    assert_int_equal(fe_read(&w->f, file, fh, 0, &c, 1), -EIO);
    reads(w, two, other, "two");
    free(s.bytes);
    unlink(wire_path(w, "one"));
    unlink(wire_path(w, "two"));
    unlink(wire_path(w, "three"));
}

/* A lock that is waited for goes along, and is had there when it becomes free. */
static void test_waiting_lock(void **state)
{
    struct wire *w = *state;
    static const char *const o[] = {"--posix-lock", "--flock", NULL};
    uint64_t fh, file;

    move_mount_with(w, o);
    file = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, file, O_RDWR, &fh), 0);
    int host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(host, F_OFD_SETLK, &fl), 0);
    struct fuse_lk_in lk = {
        .fh = fh, .owner = 7, .lk = {.end = INT64_MAX, .type = F_WRLCK, .pid = 1}};
    struct iovec part = {&lk, sizeof(lk)};
    int slot = fe_fuse_send(&w->f, FE_REQ, FUSE_SETLKW, file, &part, 1, 0);
    usleep(50000);
    for (unsigned i = 0; i < 2; i++) {
        move(w, o);
        assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, 100), FE_ETIMEOUT);
    }
    close(host);
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
    assert_int_equal(fcntl(host, F_OFD_SETLK, &fl), -1);
    close(host);
    wire_finish(w, 0);
}

/* A guest whose FLUSH was refused elsewhere sends none here: what close(2) of a network file system
 * below the share would say, each write says. */
static void test_flush_refused(void **state)
{
    struct wire *w = *state;
    struct fe_served s;
    struct fuse_flush_in fl = {0};
    struct fuse_entry_out e;
    uint64_t fh, file = wire_node(w, "file");

    if (getenv("MESON_EXE_WRAPPER") || fe_served_mount(&s, wire_path(w, "dir/sub")) < 0)
        skip();
    assert_int_equal(fe_open(&w->f, file, O_RDWR, &fl.fh), 0);
    assert_int_equal(fe_call(&w->f, FUSE_FLUSH, file, &fl, sizeof(fl), NULL, 0, NULL), -ENOSYS);
    assert_int_equal(fe_release(&w->f, file, fl.fh), 0);
    move(w, NULL);
    if (fe_lookup(&w->f, wire_node(w, "dir/sub"), "f", &e) == 0) { /* not in a sandbox of before */
        assert_int_equal(fe_open(&w->f, e.nodeid, O_RDWR, &fh), 0);
        fe_served_set(&s, FE_SERVED_FULL);
        assert_int_equal(fe_write(&w->f, e.nodeid, fh, 0, "lost", 4), -EDQUOT);
        fe_served_set(&s, FE_SERVED_WELL);
        assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);
        fe_forget(&w->f, e.nodeid, 1);
    }
    fe_served_unmount(&s);
}

/* A guest that opens nothing goes on so, whatever the next daemon's options are: by the node, what
 * it has unlinked too, in the middle of a directory, and no longer than that has descriptors for
 * what nobody uses. */
static void test_handleless(void **state)
{
    struct wire *w = *state;
    static const char *const rootfs[] = {"--profile=rootfs", NULL};
    struct fuse_read_in rd = {.size = 40};
    struct fuse_open_in in = {0};
    struct fe_daemon old;
    struct fe_state s;
    char out[64];

    move_mount_with(w, rootfs);
    wire_put(w, "unlinked", "no name");
    uint64_t file = wire_node(w, "file"), gone = wire_node(w, "unlinked");
    reads(w, gone, 0, "no name");
    assert_int_equal(fe_call_name(&w->f, FUSE_UNLINK, ROOT, NULL, 0, "unlinked", NULL, NULL, 0), 0);
    assert_int_equal(fe_call(&w->f, FUSE_READDIR, ROOT, &rd, sizeof(rd), out, sizeof(out), NULL),
                     0);
    rd.offset = ((const struct fuse_dirent *)out)->off;
    for (unsigned i = 0; i < 2; i++) {
        move_save(w, &s);
        assert_int_equal(move_to(w, &s, i ? rootfs : NULL, &old), 0);
        fe_daemon_stop(&old);
        assert_int_equal(fe_call(&w->f, FUSE_OPEN, file, &in, sizeof(in), out, 16, NULL), -ENOSYS);
        reads(w, file, 0, "hello\n");
        assert_int_equal(fe_write(&w->f, file, 0, 0, "h", 1), 1);
        assert_int_equal(
            fe_call(&w->f, FUSE_READDIR, ROOT, &rd, sizeof(rd), out, sizeof(out), NULL), 0);
        assert_int_equal(fe_read(&w->f, file, (uint64_t)1 << 32 | 1, 0, out, 1), -EBADF);
        if (!have_handles())
            continue;
        reads(w, gone, 0, "no name");
        usleep(4500000); /* what is not used rests by now, and is found by its handle; but that */
        reads(w, gone, 0, "no name");
    }
    wire_finish(w, 0);
}

/* Locks that the host sees do not move yet: refused, and the guest goes on. */
static void test_held_locks(void **state)
{
    struct wire *w = *state;
    static const char *const o[] = {"--posix-lock", "--flock", NULL};
    uint64_t fh, file;
    struct fe_state s;

    move_mount_with(w, o);
    file = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, file, O_RDWR, &fh), 0);
    struct fuse_lk_in lk = {
        .fh = fh, .owner = 7, .lk = {.end = INT64_MAX, .type = F_WRLCK, .pid = 1}};
    assert_int_equal(fe_call(&w->f, FUSE_SETLK, file, &lk, sizeof(lk), NULL, 0, NULL), 0);
    assert_int_equal(fe_move_stop(&w->v), 0);
    assert_int_equal(fe_move_save(&w->v, &s), 2);
    free(s.bytes);
    assert_int_equal(fe_move_resume(&w->v), 0);
    reads(w, file, fh, "hello\n");
    lk.lk.type = F_UNLCK;
    assert_int_equal(fe_call(&w->f, FUSE_SETLK, file, &lk, sizeof(lk), NULL, 0, NULL), 0);
    move(w, o);
    reads(w, file, fh, "hello\n");
    wire_finish(w, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, move_mount, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_files),
        T(test_refused_and_resumed),
        T(test_unlinked_and_open),
        T(test_not_open_never_fails),
        T(test_swapped),
        T(test_flush_refused),
        cmocka_unit_test_setup_teardown(test_waiting_lock, NULL, wire_cleanup),
        cmocka_unit_test_setup_teardown(test_handleless, NULL, wire_cleanup),
        cmocka_unit_test_setup_teardown(test_held_locks, NULL, wire_cleanup),
    };
    return cmocka_run_group_tests(tests, wire_make, wire_teardown);
}
