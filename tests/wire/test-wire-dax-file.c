/* SPDX-License-Identifier: BSD-3-Clause
 * Which files guests are told to map, and with which rights they are mapped. */
#include "tests/wire/wire-dax.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const always[] = {"--dax-policy=always", NULL};
static const char *const readonly[] = {"--readonly", NULL};

/* ---- the negotiation ---- */

static void test_granted(void **state)
{
    struct wire *w = *state;
    const uint64_t both = FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX;

    dax_mount(w, FE_SHMEM_QEMU, NULL);
    assert_int_equal(fe_init_granted(&w->f) & both, both);
    assert_int_equal(1ul << w->f.init.map_alignment, (unsigned long)sysconf(_SC_PAGESIZE));
    /* It said FUSE 7.38, as kernels do that hang when they evict a mapped inode. */
    assert_true(fe_daemon_log_count(&w->d, "can hang when a mapped file is removed") > 0);
    /* A guest mounted with dax=never does not ask. */
    assert_int_equal(fe_init(&w->f, DAX_FLAGS & ~both), 0);
    assert_int_equal(fe_init_granted(&w->f) & both, 0);
    assert_int_equal(w->f.init.map_alignment, 0);
    assert_int_equal(dax_map(w, wire_node(w, "big"), 0, DAX_READ), -ENOSYS);
    assert_false(dax_flagged(w, "big"));
    /* And one with dax=always asks for less. */
    assert_int_equal(fe_init(&w->f, DAX_FLAGS & ~FUSE_HAS_INODE_DAX), 0);
    assert_int_equal(fe_init_granted(&w->f) & both, FUSE_MAP_ALIGNMENT);
    assert_int_equal(dax_map(w, wire_node(w, "big"), 0, DAX_READ), 0);
    assert_false(dax_flagged(w, "big"));
    dax_umount(w);
}

/* Without a window, without one on the other side, and when told so. */
static void test_off(void **state)
{
    static const char *const never[] = {"--dax-window=64M", "--dax-policy=never", NULL};
    static const char *const window[] = {"--dax-window=64M", NULL};
    static const char *const *const options[] = {NULL, never, window};
    struct wire *w = *state;

    for (unsigned n = 0; n < 3; n++) {
        uint32_t none = 0;
        wire_spawn(w, options[n]);
        wire_rings(w);
        assert_int_equal(fe_init(&w->f, DAX_FLAGS), 0);
        assert_int_equal(fe_init_granted(&w->f) & (FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX), 0);
        assert_int_equal(dax_map(w, wire_node(w, "big"), 0, DAX_READ), -ENOSYS);
        assert_int_equal(
            fe_call(&w->f, FUSE_REMOVEMAPPING, FUSE_ROOT_ID, &none, sizeof(none), NULL, 0, NULL),
            -ENOSYS);
        assert_false(dax_flagged(w, "big"));
        wire_finish(w, 0);
    }
}

/* ---- the policy ---- */

static void put_sizes(struct wire *w)
{
    dax_put(w, "empty", 0);
    dax_put(w, "under", 65535);
    dax_put(w, "just", 65536);
    dax_put(w, "program", 100001);
    assert_int_equal(chmod(wire_path(w, "program"), 0755), 0);
}

static void check_names(struct wire *w, const char *const *names, bool flagged)
{
    for (; *names; names++) {
        if (dax_flagged(w, *names) != flagged)
            fail_msg("%s: %s", *names, flagged ? "not flagged" : "flagged");
    }
}

static void test_sizes(void **state)
{
    static const char *const taken[] = {"just", "program", "big", NULL};
    static const char *const left[] = {"empty", "under", "file", NULL};
    static const char *const never[] = {"dir", "link", "fifo", NULL};
    static const char *const small[] = {"--dax-min-size=6", NULL};
    struct wire *w = *state;

    put_sizes(w);
    dax_mount(w, FE_SHMEM_QEMU, NULL);
    check_names(w, taken, true);
    check_names(w, left, false);
    check_names(w, never, false);
    dax_umount(w);
    dax_mount(w, FE_SHMEM_QEMU, always);
    check_names(w, taken, true);
    check_names(w, left, true);
    check_names(w, never, false);
    dax_umount(w);
    dax_mount(w, FE_SHMEM_QEMU, small); /* "file" has just 6 bytes */
    assert_true(dax_flagged(w, "file"));
    assert_false(dax_flagged(w, "empty"));
    dax_umount(w);
}

/* Every kind of answer that shows attributes; and a file that grows past the threshold. */
static void test_answers(void **state)
{
    struct wire *w = *state;
    struct fuse_setattr_in set = {.valid = FATTR_SIZE, .size = 65536};
    struct fuse_entry_out e;
    struct fuse_attr a;
    uint64_t fh, dir;
    char buf[8192];

    dax_mount(w, FE_SHMEM_QEMU, NULL);
    assert_int_equal(fe_create(&w->f, FUSE_ROOT_ID, "new", O_RDWR, 0644, &e, &fh), 0);
    assert_false(e.attr.flags & FUSE_ATTR_DAX);
    assert_int_equal(fe_setattr(&w->f, e.nodeid, &set, &a), 0);
    assert_true(a.flags & FUSE_ATTR_DAX);
    assert_int_equal(fe_getattr(&w->f, e.nodeid, &a), 0);
    assert_true(a.flags & FUSE_ATTR_DAX);
    assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);
    /* CREATE of a name that is there. */
    assert_int_equal(fe_create(&w->f, FUSE_ROOT_ID, "new", O_RDWR, 0644, &e, &fh), 0);
    assert_true(e.attr.flags & FUSE_ATTR_DAX);
    assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);

    struct fuse_read_in in = {.size = sizeof(buf)};
    size_t len = 0;
    unsigned seen = 0;
    assert_int_equal(fe_opendir(&w->f, FUSE_ROOT_ID, &dir), 0);
    in.fh = dir;
    assert_int_equal(
        fe_call(&w->f, FUSE_READDIRPLUS, FUSE_ROOT_ID, &in, sizeof(in), buf, sizeof(buf), &len), 0);
    for (size_t off = 0; off < len;) {
        struct fuse_direntplus *d = (struct fuse_direntplus *)(buf + off);
        bool is = d->entry_out.attr.flags & FUSE_ATTR_DAX;
        bool want = (d->dirent.namelen == 3 && memcmp(d->dirent.name, "big", 3) == 0) ||
                    (d->dirent.namelen == 3 && memcmp(d->dirent.name, "new", 3) == 0);
        if (want)
            assert_true(is);
        seen += want;
        off += FUSE_DIRENTPLUS_SIZE(d);
    }
    assert_int_equal(seen, 2);
    assert_int_equal(fe_releasedir(&w->f, FUSE_ROOT_ID, dir), 0);
    dax_umount(w);
}

static void test_names(void **state)
{
    static const char *const patterns[] = {"--dax-include=*.so*", "--dax-include=big",
                                           "--dax-exclude=*.so.2", NULL};
    struct wire *w = *state;
    struct fuse_rename_in to = {.newdir = FUSE_ROOT_ID};
    struct fuse_attr a;

    dax_put(w, "lib.so", 70000);
    dax_put(w, "lib.so.1", 70000);
    dax_put(w, "lib.so.2", 70000);
    dax_put(w, "other", 70000);
    dax_mount(w, FE_SHMEM_QEMU, patterns);
    static const char *const taken[] = {"big", "lib.so", "lib.so.1", NULL};
    static const char *const left[] = {"lib.so.2", "other", NULL};
    check_names(w, taken, true);
    check_names(w, left, false);
    /* A renamed file keeps what it got. */
    uint64_t node = wire_node(w, "other");
    assert_int_equal(fe_call_name(&w->f, FUSE_RENAME, FUSE_ROOT_ID, &to, sizeof(to), "other",
                                  "other.so", NULL, 0),
                     0);
    assert_int_equal(fe_getattr(&w->f, node, &a), 0);
    assert_false(a.flags & FUSE_ATTR_DAX);
    assert_false(dax_flagged(w, "other.so"));
    dax_umount(w);
}

/* ---- rights ---- */

static void test_readonly(void **state)
{
    struct wire *w = *state;
    struct fe_shmem_map m;

    dax_mount(w, FE_SHMEM_QEMU, readonly);
    assert_int_equal(fe_daemon_log_count(&w->d, "the DAX window stays unused"), 1);
    assert_false(dax_flagged(w, "big"));
    uint64_t node = wire_node(w, "big");
    assert_int_equal(dax_map(w, node, 0, DAX_READ), -EACCES);
    assert_int_equal(dax_map(w, node, 0, DAX_WRITE), -EROFS);
    assert_int_equal(dax_mapped(), 0);
    assert_true(fe_daemon_log_count(&w->d, "cannot be mapped for reading") > 0);
    dax_umount(w);

    dax_mount(w, FE_SHMEM_CROSVM, readonly);
    assert_true(dax_flagged(w, "big"));
    node = wire_node(w, "big");
    assert_int_equal(dax_map(w, node, 0, DAX_READ), 0);
    assert_true(fe_shmem_find(&dax_vmm, 0, &m));
    assert_false(m.writable);
    assert_true(dax_shows(0, 1 << 20));
    assert_int_equal(dax_map(w, node, 0, DAX_WRITE), -EROFS);
    assert_true(dax_shows(0, 1 << 20));
    dax_umount(w);
}

/* What a guest stores in the last page of a file is brought home when that is closed: with a window
 * a guest that may write says so. One that may not opens nothing. */
static void test_profile(void **state)
{
    static const char *const rootfs[] = {"--profile=rootfs", "--log-level=info", NULL};
    static const char *const readonly_too[] = {"--profile=rootfs", "--readonly", NULL};
    struct fuse_open_in in = {0};
    struct fuse_flush_in flush = {0};
    struct wire *w = *state;
    uint64_t fh, opens_none = FUSE_NO_OPEN_SUPPORT;
    char byte;

    dax_mount(w, FE_SHMEM_QEMU, rootfs);
    assert_int_equal(fe_init_granted(&w->f) & opens_none, 0);
    assert_true(fe_init_granted(&w->f) & FUSE_ATOMIC_O_TRUNC);
    assert_true(fe_daemon_log_count(&w->d, "must know when a file is closed") > 0);
    uint64_t node = wire_node(w, "big");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    flush.fh = fh;
    assert_int_equal(fe_call(&w->f, FUSE_FLUSH, node, &flush, sizeof(flush), NULL, 0, NULL), 0);
    assert_int_equal(dax_map(w, node, 0, DAX_WRITE), 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    dax_umount(w);

    dax_mount(w, FE_SHMEM_CROSVM, readonly_too);
    assert_int_equal(fe_init_granted(&w->f) & opens_none, opens_none);
    node = wire_node(w, "big");
    assert_int_equal(fe_call(&w->f, FUSE_OPEN, node, &in, sizeof(in), NULL, 16, NULL), -ENOSYS);
    assert_int_equal(fe_call(&w->f, FUSE_FLUSH, node, &flush, sizeof(flush), NULL, 0, NULL),
                     -ENOSYS);
    assert_true(dax_flagged(w, "big"));
    assert_int_equal(dax_map(w, node, 0, DAX_READ), 0);
    assert_true(dax_shows(0, 1 << 20));
    assert_int_equal(fe_read(&w->f, node, 0, 5, &byte, 1), 1);
    assert_int_equal((uint8_t)byte, wire_pattern(5));
    dax_umount(w);
}

/* One mapping does for reading and, later, for writing. */
static void test_upgrade(void **state)
{
    struct wire *w = *state;
    uint8_t byte = 0;

    dax_mount(w, FE_SHMEM_QEMU, NULL);
    uint64_t node = wire_node(w, "big");
    assert_int_equal(dax_map(w, node, 0, DAX_READ), 0);
    assert_true(dax_shows(0, 1 << 20));
    unsigned maps = fe_shmem_get(&dax_vmm, &dax_vmm.maps);
    assert_int_equal(dax_map(w, node, 0, DAX_WRITE), 0);
    assert_int_equal(fe_shmem_get(&dax_vmm, &dax_vmm.maps), maps);
    int fd = open(wire_path(w, "big"), O_RDWR | O_CLOEXEC);
    dax_at(0)[5] = 'G';
    assert_int_equal(pread(fd, &byte, 1, 5), 1);
    assert_int_equal(byte, 'G');
    assert_int_equal(pwrite(fd, "H", 1, 6), 1);
    assert_int_equal(dax_at(0)[6], 'H');
    byte = wire_pattern(5);
    assert_int_equal(pwrite(fd, &byte, 1, 5), 1);
    byte = wire_pattern(6);
    assert_int_equal(pwrite(fd, &byte, 1, 6), 1);
    close(fd);
    dax_umount(w);
}

/* A copy of a program in the share. */
static void put_program(struct wire *w, const char *name)
{
    int from = open("/bin/sleep", O_RDONLY | O_CLOEXEC);
    int to = open(wire_path(w, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
    assert_true(from >= 0 && to >= 0);
    ssize_t n;
    while ((n = sendfile(to, from, NULL, 1 << 20)) > 0)
        ;
    assert_int_equal(n, 0);
    if (lseek(to, 0, SEEK_END) <
        131072) /* large enough for a mapping; a busybox is, and must stay whole */
        assert_int_equal(ftruncate(to, 131072), 0);
    close(from);
    close(to);
}

/* What the host runs cannot be opened for writing: not flagged where that is needed. */
static void test_running(void **state)
{
    struct wire *w = *state;
    int started[2], status;

    put_program(w, "runs");
    put_program(w, "idle");
    assert_int_equal(pipe2(started, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        execl(wire_path(w, "runs"), "sleep", "100", NULL);
        _exit(1);
    }
    close(started[1]);
    assert_int_equal(read(started[0], &(char){0}, 1), 0);
    close(started[0]);
    for (int crosvm = 0; crosvm < 2; crosvm++) {
        dax_mount(w, crosvm ? FE_SHMEM_CROSVM : FE_SHMEM_QEMU, NULL);
        assert_true(dax_flagged(w, "idle"));
        assert_int_equal(dax_flagged(w, "runs"), crosvm);
        uint64_t node = wire_node(w, "runs");
        assert_int_equal(dax_map(w, node, 0, DAX_READ), crosvm ? 0 : -EACCES);
        assert_int_equal(dax_map(w, node, 0, DAX_WRITE), -EACCES);
        dax_umount(w);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

/* Few descriptors, and a window with places for more files: no more are offered to the guest when
 * there are many, and one too many is refused, until another goes. */
static void test_few_descriptors(void **state)
{
    static const char *const few[] = {"--rlimit-nofile=1024", "--dax-window=1T", "--dax-min-size=1",
                                      NULL};
    enum { MOST = 64, OFFERED = MOST / 4 * 3 };
    struct wire *w = *state;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), node[MOST + 1];
    char name[16];

    for (unsigned n = 0; n <= MOST; n++) {
        snprintf(name, sizeof(name), "few%u", n);
        dax_put(w, name, page);
    }
    dax_mount(w, FE_SHMEM_QEMU, few);
    unsigned fds = fe_daemon_fds(&w->d);
    for (unsigned n = 0; n <= MOST; n++) {
        snprintf(name, sizeof(name), "few%u", n);
        node[n] = wire_node(w, name);
        assert_int_equal(dax_flagged(w, name), n < OFFERED);
        assert_int_equal(dax_map_len(w, node[n], 0, n * page, page, DAX_READ),
                         n < MOST ? 0 : -ENOSPC);
    }
    assert_int_equal(dax_mapped(), MOST);
    assert_in_range(fe_daemon_fds(&w->d), fds, fds + 2 * MOST + 8); /* and one for each inode */
    assert_true(dax_flagged(w, "few3"));                            /* what was offered stays so */
    assert_int_equal(dax_map_len(w, node[3], 0, MOST * page, page, DAX_READ), 0); /* once more */
    fe_forget(&w->f, node[0], 2);
    wire_alive(w);
    for (unsigned n = 0; n < 100 && dax_mapped() > MOST; n++)
        usleep(10000);
    assert_int_equal(dax_map_len(w, node[MOST], 0, 0, page, DAX_READ), 0);
    assert_true(dax_shows(0, page));
    dax_umount(w);
}

int main(void)
{
#define OWN(t) cmocka_unit_test_teardown(t, dax_cleanup)
    const struct CMUnitTest tests[] = {
        OWN(test_granted),         OWN(test_off),      OWN(test_sizes),   OWN(test_answers),
        OWN(test_names),           OWN(test_readonly), OWN(test_upgrade), OWN(test_running),
        OWN(test_few_descriptors), OWN(test_profile),
    };
    return cmocka_run_group_tests(tests, wire_make, wire_teardown);
}
