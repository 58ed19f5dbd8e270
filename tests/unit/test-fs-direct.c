/* SPDX-License-Identifier: BSD-3-Clause
 * Transfers past the page cache, whole blocks or not, and the time of access: by descriptors of
 * their own, which are few. */
#include "tests/unit/fs-opened.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* ---- direct transfers ---- */

static void fill(struct open_tree *o, unsigned seed)
{
    for (unsigned n = 0; n < 8 * BLOCK; n++)
        o->mem[n] = (char)(n * 7 + n / 251 + seed);
}

static void same(struct open_tree *o, off_t off, const char *want, size_t n)
{
    char *buf = malloc(n + 1);
    int fd = open(tree_path(&o->t, "f"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, buf, n + 1, off), n);
    close(fd);
    assert_memory_equal(buf, want, n);
    free(buf);
}

static ssize_t put_mem(struct open_tree *o, size_t from, size_t n, off_t off, unsigned how)
{
    /* In three pieces, one of which ends in the middle of a block. */
    struct iovec iov[] = {{o->mem + from, MIN(n, BLOCK)}, {NULL, 0}, {NULL, 0}};
    if (n > BLOCK)
        iov[1] = (struct iovec){o->mem + from + BLOCK, MIN(n - BLOCK, BLOCK / 2)};
    if (n > BLOCK + BLOCK / 2)
        iov[2] = (struct iovec){o->mem + from + BLOCK + BLOCK / 2, n - BLOCK - BLOCK / 2};
    return fs_write(o->t.fs, o->f, iov, 3, off, how);
}

static ssize_t get_mem(struct open_tree *o, size_t n, off_t off, unsigned how)
{
    struct iovec iov[] = {{o->mem, MIN(n, BLOCK)}, {o->mem + BLOCK, n > BLOCK ? n - BLOCK : 0}};
    memset(o->mem, 0, (size_t)8 * BLOCK);
    return fs_read(o->t.fs, o->f, iov, 2, off, how);
}

/* Whether pwritev2(2) is more than pwritev(2): qemu-user does not have it. */
static bool knows_flags(void)
{
    return pwritev2(-1, NULL, 0, 0, RWF_DSYNC) < 0 && errno == EBADF;
}

static void test_direct(void **state)
{
    struct open_tree o;
    struct share_config cfg = tree_config();
    static char want[8 * BLOCK];
    cfg.host.policy.allow_direct_io = true;
    prepare(&o);
    start(&o, &cfg, O_RDWR);
    if (reopen(&o, O_RDWR | O_DIRECT) == -EINVAL) {
        print_message("no O_DIRECT on this file system\n");
        assert_ok(reopen(&o, O_RDWR));
        stop(&o);
        skip();
    }
    assert_int_equal(fds_with(&o, 0), 2);
    assert_int_equal(fds_with(&o, O_DIRECT), 1);
    fill(&o, 0);
    memcpy(want, o.mem, sizeof(want));
    /* Every length and offset is taken, whole blocks or not. */
    static const struct {
        size_t n;
        off_t off;
    } w[] = {{10001, 0}, {4096, 4096}, {8192, 0},   {512, 512},
             {1, 10000}, {100, 9901},  {6000, 512}, {10001, 1}};
    for (unsigned i = 0; i < G_N_ELEMENTS(w); i++) {
        assert_int_equal(put_mem(&o, 0, w[i].n, w[i].off, FS_IO_DIRECT), w[i].n);
        assert_int_equal(get_mem(&o, w[i].n, w[i].off, FS_IO_DIRECT), w[i].n);
        assert_memory_equal(o.mem, want, w[i].n);
        memcpy(o.mem, want, sizeof(want));
    }
    /* To the end, and behind it; from a buffer that no device could take. */
    assert_int_equal(get_mem(&o, (size_t)8 * BLOCK, 0, FS_IO_DIRECT), 10002);
    assert_int_equal(get_mem(&o, BLOCK, (off_t)4 * BLOCK, FS_IO_DIRECT), 0);
    struct iovec odd = {o.mem + 1, BLOCK};
    assert_int_equal(fs_read(o.t.fs, o.f, &odd, 1, 0, FS_IO_DIRECT), BLOCK);
    assert_int_equal(fs_write(o.t.fs, o.f, &odd, 1, 0, FS_IO_DIRECT), BLOCK);
    /* A delayed write to the unaligned end, as the guest's cache makes it for a mapping. */
    assert_int_equal(put(&o, "end", 9999, FS_WRITE_CACHE), 3);
    same(&o, 9999, "end", 3);
    /* Appends, of whole blocks and not, to an end that is at a block's or is not. */
    assert_ok(truncate(tree_path(&o.t, "f"), 0));
    memcpy(o.mem, want, sizeof(want));
    assert_int_equal(put_mem(&o, 0, BLOCK, 0, FS_IO_DIRECT | FS_WRITE_APPEND), BLOCK);
    assert_int_equal(put_mem(&o, BLOCK, 100, 0, FS_IO_DIRECT | FS_WRITE_APPEND), 100);
    assert_int_equal(put_mem(&o, BLOCK, BLOCK, 0, FS_IO_DIRECT | FS_WRITE_APPEND), BLOCK);
    same(&o, BLOCK + 100, want + BLOCK, BLOCK);
    /* Where the call knows no flags (an emulator), appends have descriptors of their own. */
    assert_int_equal(fds_with(&o, 0), knows_flags() ? 2 : 4);
    stop(&o);
}

/* The guest's F_SETFL: the descriptor comes with the first such request. */
static void test_direct_later(void **state)
{
    struct open_tree o;
    struct share_config cfg = tree_config();
    cfg.host.policy.allow_direct_io = true;
    prepare(&o);
    start(&o, &cfg, O_RDWR);
    assert_int_equal(put_mem(&o, 0, BLOCK, 0, 0), BLOCK);
    assert_int_equal(fds_with(&o, 0), 1);
    assert_int_equal(get_mem(&o, BLOCK, 0, FS_IO_DIRECT), BLOCK);
    assert_int_equal(fds_with(&o, O_DIRECT), fds_with(&o, 0) - 1);
    stop(&o);

    cfg.host.policy.allow_direct_io = false;
    prepare(&o);
    start(&o, &cfg, O_RDWR | O_DIRECT);
    assert_int_equal(put_mem(&o, 0, BLOCK, 0, FS_IO_DIRECT), BLOCK);
    assert_int_equal(fds_with(&o, 0), 1);
    assert_int_equal(fds_with(&o, O_DIRECT), 0);
    stop(&o);
}

/* A file system that has none: its answer to open(2), and nothing lost else. */
static void test_direct_refused(void **state)
{
    struct open_tree o;
    struct share_config cfg = tree_config();
    struct fs_entry e;
    struct fs_opened made;
    need_root();
    cfg.host.policy.allow_direct_io = true;
    memset(&o, 0, sizeof(o));
    tree_make_tmpfs(&o.t);
    o.mem = aligned_alloc(BLOCK, (size_t)8 * BLOCK);
    assert_ok(mount("none", o.t.dir, "ramfs", 0, NULL));
    tree_write(&o.t, "f", "");
    start(&o, &cfg, O_RDWR);
    unsigned fds = count_fds();
    assert_int_equal(fs_open(o.t.fs, o.i, O_RDWR | O_DIRECT, 0, &made), -EINVAL);
    assert_int_equal(
        fs_create(o.t.fs, &cred_root, o.t.root, "n", 0644, O_RDWR | O_DIRECT, 0, &e, &made),
        -EINVAL);
    assert_int_equal(count_fds(), fds);
    fill(&o, 1);
    assert_int_equal(put_mem(&o, 0, 10001, 0, FS_IO_DIRECT), 10001);
    same(&o, 0, o.mem, 10001);
    assert_int_equal(get_mem(&o, BLOCK, 0, FS_IO_DIRECT), BLOCK);
    stop(&o);
}

/* ---- the time of access ---- */

static bool read_moves_atime(struct open_tree *o, unsigned how)
{
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
    struct stat st;
    char c;
    struct iovec iov = {&c, 1};
    assert_ok(utimensat(AT_FDCWD, tree_path(&o->t, "f"), old, 0));
    assert_int_equal(fs_read(o->t.fs, o->f, &iov, 1, 0, how), 1);
    assert_ok(stat(tree_path(&o->t, "f"), &st));
    return st.st_atim.tv_sec != 1000;
}

static void test_noatime(void **state)
{
    struct open_tree o;
    struct share_config cfg = tree_config();
    static const int flags[] = {O_RDONLY, O_RDWR | O_NOATIME};
    cfg.host.policy.preserve_noatime = true;
    for (unsigned n = 0; n < 2; n++) {
        prepare(&o);
        tree_write(&o.t, "f", "x");
        start(&o, &cfg, flags[n]);
        assert_int_equal(fds_with(&o, 0), 1);
        bool moves = read_moves_atime(&o, 0);
        if (!moves)
            print_message("this file system keeps no times of access\n");
        for (int i = 0; i < 3; i++) {
            assert_false(read_moves_atime(&o, FS_IO_NOATIME));
            assert_int_equal(read_moves_atime(&o, 0), moves);
        }
        assert_int_equal(fds_with(&o, 0), 2);
        assert_int_equal(fds_with(&o, O_NOATIME), 1);
        stop(&o);
    }
    cfg.host.policy.preserve_noatime = false;
    prepare(&o);
    start(&o, &cfg, O_RDWR | O_NOATIME);
    assert_int_equal(put(&o, "x", 0, FS_IO_NOATIME), 1);
    read_moves_atime(&o, FS_IO_NOATIME);
    assert_int_equal(fds_with(&o, 0), 1);
    assert_int_equal(fds_with(&o, O_NOATIME), 0);
    stop(&o);
}

/* ---- bounds ---- */

/* All combinations, and not one descriptor more than the bound. */
static void test_bound(void **state)
{
    struct open_tree o;
    struct share_config cfg = tree_config();
    cfg.host.policy.allow_direct_io = cfg.host.policy.preserve_noatime = true;
    for (unsigned max = 3; max < 12; max++) {
        cfg.max_fds = max;
        prepare(&o);
        tree_open(&o.t, &cfg);
        unsigned before = count_fds();
        o.i = tree_look(&o.t, o.t.root, "f");
        int rc = reopen(&o, O_RDWR);
        for (unsigned how = 0; rc == 0 && how < 1 << 7; how++) {
            ssize_t n = put_mem(&o, 0, BLOCK, 0, how & ~3u);
            if (n != -ENFILE || knows_flags())
                assert_int_equal(n, BLOCK);
            assert_int_equal(get_mem(&o, BLOCK, 0, how), BLOCK);
            assert_true(count_fds() <= before + max);
        }
        if (rc == 0 && max > 8)
            assert_true(fds_with(&o, 0) > 2);
        stop(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_direct),         cmocka_unit_test(test_direct_later),
        cmocka_unit_test(test_direct_refused), cmocka_unit_test(test_noatime),
        cmocka_unit_test(test_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
