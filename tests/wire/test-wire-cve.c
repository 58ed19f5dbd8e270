/* SPDX-License-Identifier: BSD-3-Clause
 * What hurt other daemons of this kind, one test each. The names say which report; docs/security.md
 * tells what happened there. CVE-2026-47243 (absolute names) is in test-wire-request.c; truncated
 * memory and indirect tables across regions are in test-wire-state.c and test-wire-ring.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT FUSE_ROOT_ID

static struct stat host(struct wire *w, const char *name)
{
    struct stat st;
    assert_int_equal(lstat(wire_path(w, name), &st), 0);
    return st;
}

/* CVE-2020-10717: a guest opens files until nothing is left. It gets ENFILE, and the daemon goes
 * on: also KubeVirt's issue 13589, in which the control socket then lost its descriptors. */
static void cve_2020_10717_descriptors(void **state)
{
    struct wire *w = *state;
    static uint64_t fh[4096];
    uint64_t node, extra;
    unsigned n = 0;
    int e = 0;
    wire_spawn(w, (const char *const[]){"--rlimit-nofile=1024", NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    node = wire_node(w, "file");
    while (n < 4096 && (e = fe_open(&w->f, node, O_RDONLY, &fh[n])) == 0)
        n++;
    assert_true(n > 100 && n < 1024);
    assert_int_equal(e, -ENFILE);
    assert_int_equal(fe_opendir(&w->f, ROOT, &extra), -ENFILE);
    wire_alive(w);
    /* Our own descriptors still get through: a new kick, new memory, locks. */
    assert_int_equal(
        fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_KICK, FE_REQ, w->v.ring[FE_REQ].kick), 0);
    assert_int_equal(
        fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_CALL, FE_REQ, w->v.ring[FE_REQ].call_w), 0);
    assert_int_equal(fe_vhost_mem_table(&w->v, &w->mem), 0);
    wire_alive(w);
    while (n-- > 0)
        assert_int_equal(fe_release(&w->f, node, fh[n]), 0);
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &extra), 0);
    wire_finish(w, 0);
}

/* The same by looking up more files than there are descriptors. */
static void cve_2020_10717_lookups(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    uint64_t fh;
    mkdir(wire_path(w, "lots"), 0755);
    for (unsigned i = 0; i < 2000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "lots/%u", i);
        wire_put(w, name, NULL);
    }
    static const char *const modes[] = {"--inode-file-handles=never",
                                        "--inode-file-handles=prefer"};
    for (unsigned m = 0; m < 2; m++) {
        wire_spawn(w, (const char *const[]){"--rlimit-nofile=1024", modes[m], NULL});
        wire_rings(w);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        uint64_t dir = wire_node(w, "lots");
        for (unsigned i = 0; i < 2000; i++) {
            char name[16];
            snprintf(name, sizeof(name), "%u", i);
            int err = fe_lookup(&w->f, dir, name, &e);
            if (err != 0 && err != -ENFILE)
                fail_msg("lookup %u: %d", i, err);
        }
        wire_alive(w);
        assert_int_equal(fe_getattr(&w->f, dir, NULL), 0);
        int err = fe_opendir(&w->f, ROOT, &fh);
        assert_true(err == 0 || err == -ENFILE);
        wire_finish(w, 0);
    }
}

/* CVE-2020-35517, CVE-2023-2861: special files are never opened, so neither a device nor a FIFO
 * without a reader can do harm. */
static void cve_2020_35517_special_files(void **state)
{
    struct wire *w = *state;
    const struct {
        const char *name;
        mode_t mode;
        dev_t dev;
    } specials[] = {{"sp-chr", S_IFCHR | 0666, makedev(1, 3)},
                    {"sp-blk", S_IFBLK | 0666, makedev(7, 0)},
                    {"sp-fifo", S_IFIFO | 0666, 0},
                    {"sp-sock", S_IFSOCK | 0666, 0}};
    for (unsigned i = 0; i < 4; i++) {
        struct fuse_mknod_in in = {.mode = specials[i].mode};
        struct fuse_entry_out e;
        uint64_t fh;
        in.rdev = (uint32_t)((major(specials[i].dev) << 8) | minor(specials[i].dev));
        if (fe_call_name(&w->f, FUSE_MKNOD, ROOT, &in, sizeof(in), specials[i].name, NULL, &e,
                         sizeof(e)))
            continue; /* not allowed here */
        static const int flags[] = {O_RDONLY, O_WRONLY, O_RDWR | O_NONBLOCK, O_RDONLY | O_TRUNC};
        for (unsigned k = 0; k < 4; k++) {
            int64_t start = fe_now_ms();
            int err = fe_open(&w->f, e.nodeid, flags[k], &fh);
            if (err >= 0 || err < -1000)
                fail_msg("%s opened with flags %#x: %d", specials[i].name, flags[k], err);
            err = fe_create(&w->f, ROOT, specials[i].name, flags[k] | O_CREAT, 0666, &e, &fh);
            if (err >= 0 || err < -1000)
                fail_msg("%s created with flags %#x: %d", specials[i].name, flags[k], err);
            assert_true(fe_now_ms() - start < 1000);
        }
        struct fuse_setattr_in set = {.valid = FATTR_SIZE, .size = 1};
        uint64_t node = wire_node(w, specials[i].name);
        assert_true(fe_setattr(&w->f, node, &set, NULL) < 0);
        assert_true(fe_opendir(&w->f, node, &fh) < 0);
        unlink(wire_path(w, specials[i].name));
    }
    wire_alive(w);
}

/* CVE-2021-20263: file capabilities must not survive a write. */
static void cve_2021_20263_file_capabilities(void **state)
{
    struct wire *w = *state;
    static const uint8_t caps[20] = {1, 0, 0, 2, 0xff}; /* VFS_CAP_REVISION_2 */
    char buf[64];
    uint64_t fh;
    wire_put(w, "capable", "x");
    if (setxattr(wire_path(w, "capable"), "security.capability", caps, sizeof(caps), 0) < 0)
        skip();
    uint64_t node = wire_node(w, "capable");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    assert_int_equal(fe_write(&w->f, node, fh, 0, "y", 1), 1);
    assert_int_equal(getxattr(wire_path(w, "capable"), "security.capability", buf, 64), -1);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* CVE-2022-0358, CVE-2018-13405: a file made in a set-group-id directory by somebody who is not
 * in that group must not be set-group-id to it. */
static void cve_2022_0358_setgid(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    uint64_t fh;
    assert_int_equal(mkdir(wire_path(w, "sgid"), 0777), 0);
    assert_int_equal(chmod(wire_path(w, "sgid"), 03777), 0);
    uint64_t dir = wire_node(w, "sgid");
    w->f.uid = 1000;
    w->f.gid = 1000;
    assert_int_equal(fe_create(&w->f, dir, "f", O_CREAT | O_WRONLY, 02755, &e, &fh), 0);
    struct stat st = host(w, "sgid/f");
    assert_int_equal(st.st_uid, 1000);
    assert_false((st.st_mode & S_ISGID) && st.st_gid == 0);
    assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);
    struct fuse_mknod_in in = {.mode = S_IFREG | 02755};
    assert_int_equal(
        fe_call_name(&w->f, FUSE_MKNOD, dir, &in, sizeof(in), "n", NULL, &e, sizeof(e)), 0);
    st = host(w, "sgid/n");
    assert_false((st.st_mode & S_ISGID) && st.st_gid == 0);
    assert_int_equal(fe_mkdir(&w->f, dir, "d", 0755, &e), 0);
    st = host(w, "sgid/d");
    assert_true(st.st_uid == 1000 && (st.st_mode & S_ISGID)); /* directories inherit it */
    w->f.uid = w->f.gid = 0;
}

/* GHSA-ppj8-867g-rgjr: set-user-id and set-group-id bits fall with a write that asks for it. */
static void ghsa_ppj8_suid_dropped_on_write(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node;
    wire_put(w, "suid", "x");
    assert_int_equal(chmod(wire_path(w, "suid"), 06755), 0);
    node = wire_node(w, "suid");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    struct fuse_write_in in = {.fh = fh, .size = 1, .write_flags = FUSE_WRITE_KILL_SUIDGID};
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)"y", 1}};
    int s = fe_fuse_send(&w->f, FE_REQ, FUSE_WRITE, node, part, 2, 8);
    assert_int_equal(fe_fuse_wait(&w->f, s, NULL, 0, NULL), 0);
    assert_int_equal(host(w, "suid").st_mode & 06000, 0);
    /* And with a truncation, by SETATTR or OPEN. */
    assert_int_equal(chmod(wire_path(w, "suid"), 06755), 0);
    struct fuse_setattr_in set = {.valid = FATTR_SIZE | FATTR_KILL_SUIDGID, .size = 0};
    assert_int_equal(fe_setattr(&w->f, node, &set, NULL), 0);
    assert_int_equal(host(w, "suid").st_mode & 06000, 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_int_equal(chmod(wire_path(w, "suid"), 06755), 0);
    struct fuse_open_in open_in = {.flags = O_WRONLY | O_TRUNC,
                                   .open_flags = FUSE_OPEN_KILL_SUIDGID};
    struct fuse_open_out open_out;
    assert_int_equal(fe_call(&w->f, FUSE_OPEN, node, &open_in, sizeof(open_in), &open_out,
                             sizeof(open_out), NULL),
                     0);
    assert_int_equal(host(w, "suid").st_mode & 06000, 0);
    assert_int_equal(fe_release(&w->f, node, open_out.fh), 0);
}

/* A directory that the host moves out of the share while the guest holds it. Without a sandbox
 * nothing but the names stops the guest: ".." must not lead outside. */
static void directory_moved_outside(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    char outside[96], back[96];
    assert_int_equal(mkdir(wire_path(w, "held"), 0755), 0);
    assert_int_equal(mkdir(wire_path(w, "held/in"), 0755), 0);
    uint64_t held = wire_node(w, "held"), in = wire_node(w, "held/in");
    snprintf(outside, sizeof(outside), "%s/outside", w->dir);
    snprintf(back, sizeof(back), "%s", wire_path(w, "held"));
    assert_int_equal(rename(back, outside), 0);
    struct stat parent;
    assert_int_equal(stat(w->dir, &parent), 0);
    const uint64_t from[] = {held, in};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t node = from[i];
        for (unsigned up = 0; up < 4 && fe_lookup(&w->f, node, "..", &e) == 0; up++) {
            assert_true(e.attr.ino != parent.st_ino);
            node = e.nodeid;
        }
    }
    assert_int_equal(rename(outside, back), 0);
    wire_alive(w);
}

/* Symbolic links are the guest's to follow: never the daemon's, whatever they point to. */
static void symlinks_are_not_followed(void **state)
{
    struct wire *w = *state;
    static const uint32_t ops[] = {FUSE_UNLINK, FUSE_RMDIR};
    struct fuse_entry_out e;
    struct fuse_attr a;
    uint64_t fh;
    assert_int_equal(symlink("/", wire_path(w, "to-root")), 0);
    assert_int_equal(symlink("..", wire_path(w, "to-parent")), 0);
    static const char *const names[] = {"to-root", "to-parent"};
    for (unsigned i = 0; i < 2; i++) {
        uint64_t node = wire_node(w, names[i]);
        assert_int_equal(fe_getattr(&w->f, node, &a), 0);
        assert_true(S_ISLNK(a.mode));
        assert_int_equal(fe_lookup(&w->f, node, "etc", &e), -ENOTDIR);
        assert_int_equal(fe_lookup(&w->f, node, "..", &e), -ENOTDIR);
        assert_true(fe_opendir(&w->f, node, &fh) < 0);
        assert_true(fe_open(&w->f, node, O_RDONLY, &fh) < 0);
        assert_true(fe_mkdir(&w->f, node, "made", 0755, NULL) < 0);
        for (unsigned k = 0; k < 2; k++)
            assert_true(fe_call_name(&w->f, ops[k], node, NULL, 0, "share", NULL, NULL, 0) < 0);
        assert_int_equal(unlink(wire_path(w, names[i])), 0);
    }
    assert_int_equal(access(w->share, F_OK), 0);
    wire_alive(w);
}

/* A guest can cause log lines; it cannot fill the disk with them. */
static void log_lines_are_limited(void **state)
{
    struct wire *w = *state;
    char zero[16] = {0};
    for (unsigned i = 0; i < 3000; i++) {
        fe_call(&w->f, FUSE_OPEN, 12345678 + i, zero, 8, NULL, 16, NULL);
        fe_call(&w->f, 4000 + i, ROOT, zero, 16, NULL, 16, NULL);
        fe_call(&w->f, FUSE_GETATTR, ROOT, zero, 3, NULL, 104, NULL);
        fe_vhost_ack(&w->v, 5000 + i, zero, 8, NULL, 0);
    }
    assert_true(fe_daemon_log_count(&w->d, "\n") < 100);
}

/* Memory stays bounded: held lookups, failed requests and FORGETs of all kinds. */
static void memory_is_bounded(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    for (unsigned pass = 0; pass < 3; pass++) {
        uint64_t before = fe_daemon_rss_kib(&w->d);
        for (unsigned i = 0; i < 20000; i++) {
            char name[24];
            snprintf(name, sizeof(name), "absent-%u-%u", pass, i);
            int err = fe_lookup(&w->f, ROOT, name, &e);
            assert_true(err == -ENOENT || (err == 0 && e.nodeid == 0));
            if (i % 4 == 0) {
                assert_int_equal(fe_lookup(&w->f, ROOT, "file", &e), 0);
                fe_forget(&w->f, e.nodeid, 1);
                fe_forget(&w->f, 1000 + i, 1);
            }
        }
        if (pass > 0 && !getenv("ASAN_OPTIONS"))
            assert_true(fe_daemon_rss_kib(&w->d) < before + 1024);
    }
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, wire_mount, wire_umount)
#define BARE(t) cmocka_unit_test_teardown(t, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BARE(cve_2020_10717_descriptors),   BARE(cve_2020_10717_lookups),
        TEST(cve_2020_35517_special_files), TEST(cve_2021_20263_file_capabilities),
        TEST(cve_2022_0358_setgid),         TEST(ghsa_ppj8_suid_dropped_on_write),
        TEST(directory_moved_outside),      TEST(symlinks_are_not_followed),
        TEST(log_lines_are_limited),        TEST(memory_is_bounded),
    };
    return cmocka_run_group_tests_name("wire-cve", tests, wire_make, wire_unmake);
}
