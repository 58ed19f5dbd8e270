/* SPDX-License-Identifier: BSD-3-Clause
 * --profile=rootfs over time: names that go while their files are open, passes over directories,
 * bounds, and when what was opened is closed again. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire-rootfs.h"

#define TMPFILE 51

/* What a READ of @node says from some time on. */
static void comes_to(struct wire *w, uint64_t node, int want)
{
    char c;
    int e = 0;
    for (unsigned ms = 0; ms < ROOTFS_PATIENCE; ms += 100) {
        e = fe_read(&w->f, node, 0, 0, &c, 1);
        if (e == want)
            return;
        usleep(100000);
        /* Each READ keeps the file for another while: ask rarely. */
        usleep(2400000);
    }
    fail_msg("READ: %d, not %d", e, want);
}

/* ---- names that go ---- */

/* All that can is closed, because nobody has used it for a while: @more than at first. Only where
 * that goes fast. */
static void rest(struct wire *w, const char *handles, unsigned more)
{
    if (strstr(handles, "mandatory"))
        assert_true(rootfs_fds(w, more));
}

static void names_gone(struct wire *w, const char *handles)
{
    struct fuse_entry_out e;
    struct fuse_create_in tmp = {.flags = O_RDWR, .mode = S_IFREG | 0600};
    struct {
        struct fuse_entry_out e;
        struct fuse_open_out o;
    } t;
    uint64_t nodes[5];
    struct fuse_rename_in to_root = {.newdir = ROOT};
    rootfs_start(w, (const char *const[]){handles, NULL});
    wire_node(w, "file"); /* what the mount itself costs */
    unsigned fds = fe_daemon_fds(&w->d);
    wire_put(w, "gone", "gone");
    wire_put(w, "replaced", "replaced");
    wire_put(w, "by", "by");
    wire_put(w, "one", "linked");
    assert_int_equal(link(wire_path(w, "one"), wire_path(w, "two")), 0);
    mkdir(wire_path(w, "empty"), 0755);
    nodes[0] = wire_node(w, "gone");
    nodes[1] = wire_node(w, "replaced");
    nodes[2] = wire_node(w, "one");
    nodes[3] = wire_node(w, "by");
    nodes[4] = wire_node(w, "empty");
    assert_int_equal(wire_node(w, "two"), nodes[2]);
    assert_int_equal(fe_lookup(&w->f, ROOT, "by", &e), 0);
    rest(w, handles, fds);
    assert_int_equal(rootfs_remove(w, FUSE_UNLINK, ROOT, "gone"), 0);
    assert_int_equal(fe_call_name(&w->f, FUSE_RENAME, ROOT, &to_root, sizeof(to_root), "by",
                                  "replaced", NULL, 0),
                     0);
    assert_int_equal(rootfs_remove(w, FUSE_UNLINK, ROOT, "one"), 0);
    assert_int_equal(rootfs_remove(w, FUSE_UNLINK, ROOT, "two"), 0);
    assert_int_equal(rootfs_remove(w, FUSE_RMDIR, ROOT, "empty"), 0);
    int rc = fe_call_name(&w->f, TMPFILE, ROOT, &tmp, sizeof(tmp), "x", NULL, &t, sizeof(t));
    assert_true(rc == 0 || rc == -EOPNOTSUPP);
    if (rc == 0) {
        assert_int_equal(t.o.fh, 0);
        assert_int_equal(rootfs_write(w, t.e.nodeid, 0, "nameless", O_RDWR), 8);
    }
    rest(w, handles, fds + 5);
    rootfs_reads(w, nodes[0], "gone");
    rootfs_reads(w, nodes[1], "replaced");
    rootfs_reads(w, nodes[2], "linked");
    rootfs_reads(w, nodes[3], "by");
    assert_int_equal(rootfs_write(w, nodes[0], 4, "!", O_RDWR), 1);
    struct fuse_setattr_in cut = {.valid = FATTR_SIZE | FATTR_FH, .size = 2};
    struct fuse_attr a;
    assert_int_equal(fe_setattr(&w->f, nodes[1], &cut, &a), 0);
    rest(w, handles, fds + 5);
    rootfs_reads(w, nodes[0], "gone!");
    rootfs_reads(w, nodes[1], "re");
    if (rc == 0)
        rootfs_reads(w, t.e.nodeid, "nameless");
    struct fuse_read_in rd = {.size = 4096};
    char out[4096];
    assert_int_equal(
        fe_call(&w->f, FUSE_READDIR, nodes[4], &rd, sizeof(rd), out, sizeof(out), NULL), 0);
    for (unsigned i = 0; i < 5; i++)
        fe_forget(&w->f, nodes[i], 100);
    if (rc == 0)
        fe_forget(&w->f, t.e.nodeid, 1);
    assert_true(rootfs_fds(w, fds + 2));
    assert_int_equal(fe_read(&w->f, nodes[0], 0, 0, out, 1), -EBADF);
}

static void names_gone_handles(void **state)
{
    names_gone(*state,
               geteuid() == 0 ? "--inode-file-handles=mandatory" : "--inode-file-handles=prefer");
}

static void names_gone_descriptors(void **state)
{
    names_gone(*state, "--inode-file-handles=never");
}

static void names_gone_fenced(void **state)
{
    names_gone(*state, "--inode-file-handles=fenced");
}

/* A file that has one name less rests again: it keeps no descriptor. */
static void one_name_less(void **state)
{
    struct wire *w = *state;
    enum { FILES = 100 };
    char name[32], more[32];
    if (geteuid() != 0)
        skip();
    rootfs_start(w, (const char *const[]){"--inode-file-handles=mandatory", NULL});
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "l%u", i);
        snprintf(more, sizeof(more), "m%u", i);
        wire_put(w, name, name);
        assert_int_equal(link(wire_path(w, name), wire_path(w, more)), 0);
        wire_node(w, name);
        assert_int_equal(rootfs_remove(w, FUSE_UNLINK, ROOT, name), 0);
    }
    assert_true(rootfs_fds(w, FILES / 2));
}

/* What the host takes away is gone for the guest, late, with ESTALE: the price that is named. */
static void host_unlink(void **state)
{
    struct wire *w = *state;
    if (geteuid() != 0)
        skip();
    rootfs_start(w, (const char *const[]){"--inode-file-handles=mandatory", NULL});
    wire_put(w, "victim", "v");
    uint64_t node = wire_node(w, "victim");
    rootfs_reads(w, node, "v");
    assert_int_equal(unlink(wire_path(w, "victim")), 0);
    comes_to(w, node, -ESTALE);
    assert_int_equal(fe_lookup(&w->f, ROOT, "file", &(struct fuse_entry_out){0}), 0);
}

/* ---- directories ---- */

enum { MANY = 1200 };

static void fill(struct wire *w, const char *dir)
{
    char name[64];
    mkdir(wire_path(w, dir), 0755);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "%s/a-name-of-some-length-%04u", dir, i);
        wire_put(w, name, NULL);
    }
}

/* One pass over a directory, in steps. */
struct reader {
    uint64_t fh, off;
    unsigned seen[MANY], others;
    bool end;
};

/* Read some more; with @remove each name goes as it comes. */
static void step(struct wire *w, uint64_t dir, struct reader *r, bool remove)
{
    static char out[4096];
    struct fuse_read_in rd = {.fh = r->fh, .offset = r->off, .size = sizeof(out)};
    size_t len;
    assert_int_equal(fe_call(&w->f, FUSE_READDIR, dir, &rd, sizeof(rd), out, sizeof(out), &len), 0);
    r->end = len == 0;
    for (size_t at = 0; at < len;) {
        const struct fuse_dirent *d = (const void *)(out + at);
        unsigned i = 0;
        char name[64];
        snprintf(name, sizeof(name), "%.*s", (int)d->namelen, d->name);
        r->off = d->off;
        at += FUSE_DIRENT_SIZE(d);
        if (sscanf(name, "a-name-of-some-length-%u", &i) != 1 || i >= MANY) {
            r->others++;
            continue;
        }
        r->seen[i]++;
        if (remove)
            assert_int_equal(rootfs_remove(w, FUSE_UNLINK, dir, name), 0);
    }
}

static void all_once(const struct reader *r)
{
    for (unsigned i = 0; i < MANY; i++)
        if (r->seen[i] != 1)
            fail_msg("name %u was listed %u times", i, r->seen[i]);
    assert_int_equal(r->others, 2);
}

/* Two readers side by side, a third that goes on after a long while, and rm -r. */
static void passes(struct wire *w, const char *name, bool handles)
{
    uint64_t dir = wire_node(w, name), fh = 0;
    struct reader a = {0}, b = {0}, c = {0}, d = {0};
    if (handles)
        assert_int_equal(fe_opendir(&w->f, dir, &fh), 0);
    a.fh = b.fh = c.fh = d.fh = fh;
    step(w, dir, &c, false);
    while (!a.end || !b.end) {
        if (!a.end)
            step(w, dir, &a, false);
        if (!b.end)
            step(w, dir, &b, false);
        if (!b.end)
            step(w, dir, &b, false);
    }
    all_once(&a);
    all_once(&b);
    usleep(2500000); /* longer than a file is kept that nobody uses */
    while (!c.end)
        step(w, dir, &c, false);
    all_once(&c);
    while (!d.end)
        step(w, dir, &d, true);
    all_once(&d);
    struct dirent *left;
    DIR *host = opendir(wire_path(w, name));
    while ((left = readdir(host)))
        assert_int_equal(left->d_name[0], '.');
    closedir(host);
}

static void directories(void **state)
{
    struct wire *w = *state;
    rootfs_start(w, NULL);
    fill(w, "d");
    passes(w, "d", false);
}

/* The offsets that overlayfs gives in a directory of both layers count the names of one open file:
 * there the root's directories are opened; one that is mounted below goes on by the same open
 * directory. */
static void overlay(struct wire *w, bool root)
{
    char lower[100], upper[100], work[100], mnt[100], what[400];
    struct fuse_open_in in = {0};
    if (geteuid() != 0)
        skip();
    snprintf(lower, sizeof(lower), "%s/lower", w->dir);
    snprintf(upper, sizeof(upper), "%s/up", w->dir);
    snprintf(work, sizeof(work), "%s/up/work", w->dir);
    snprintf(mnt, sizeof(mnt), "%s%s", w->share, root ? "" : "/overlay");
    mkdir(lower, 0755);
    mkdir(upper, 0755);
    mkdir(mnt, 0755);
    /* Not of the machine's disk: an overlay as the upper layer is refused in some containers. */
    assert_int_equal(mount("tmpfs", upper, "tmpfs", 0, NULL), 0);
    mkdir(work, 0755);
    snprintf(what, sizeof(what), "%s/upper", upper);
    mkdir(what, 0755);
    snprintf(what, sizeof(what), "%s/upper/d", upper);
    mkdir(what, 0755);
    snprintf(what, sizeof(what), "%s/d", lower);
    mkdir(what, 0755);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(what, sizeof(what), "%s%s/d/a-name-of-some-length-%04u", i % 2 ? upper : lower,
                 i % 2 ? "/upper" : "", i);
        assert_true(mknod(what, S_IFREG | 0644, 0) == 0 || errno == EEXIST);
    }
    snprintf(what, sizeof(what), "lowerdir=%s,upperdir=%s/upper,workdir=%s", lower, upper, work);
    if (mount("overlay", mnt, "overlay", 0, what) != 0) {
        umount(upper);
        skip();
    }
    if (root)
        wire_put(w, "file", "hello\n");
    snprintf(what, sizeof(what), "%sd", root ? "" : "overlay/");
    rootfs_start(w, NULL);
    if (root) {
        assert_int_equal(fe_init_granted(&w->f) & ROOTFS_SPARED, FUSE_NO_OPEN_SUPPORT);
        assert_int_equal(rootfs_call(w, FUSE_OPEN, wire_node(w, "file"), &in, sizeof(in)), -ENOSYS);
        assert_int_not_equal(fe_daemon_log_count(&w->d, "directories are opened by messages: on"),
                             0);
        rootfs_reads(w, wire_node(w, "file"), "hello\n");
        passes(w, what, true);
    } else {
        assert_int_equal(fe_init_granted(&w->f) & ROOTFS_SPARED, ROOTFS_SPARED);
        passes(w, what, false);
    }
    wire_finish(w, 0);
    assert_int_equal(umount2(mnt, MNT_DETACH), 0);
    assert_int_equal(umount2(upper, MNT_DETACH), 0);
}

static void overlay_root(void **state)
{
    overlay(*state, true);
}

static void overlay_below(void **state)
{
    overlay(*state, false);
}

/* ---- bounds ---- */

/* More files than there may be descriptors, and as many passes that nobody ends. */
static void bounded(void **state)
{
    struct wire *w = *state;
    enum { FDS = 128, FILES = 600 };
    char name[32], out[256];
    struct fuse_read_in rd = {.size = 80}; /* "." and ".." are not all */
    static uint64_t nodes[FILES], dirs[FILES];
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        wire_put(w, name, name);
        snprintf(name, sizeof(name), "dir%u", i);
        mkdir(wire_path(w, name), 0755);
        snprintf(name, sizeof(name), "dir%u/x-name-that-does-not-fit", i);
        wire_put(w, name, NULL);
    }
    rootfs_start(w, (const char *const[]){"--max-fds=128", NULL});
    unsigned before = fe_daemon_fds(&w->d);
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        nodes[i] = wire_node(w, name);
        snprintf(name, sizeof(name), "dir%u", i);
        dirs[i] = wire_node(w, name);
    }
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        rootfs_reads(w, nodes[i], name);
        assert_int_equal(
            fe_call(&w->f, FUSE_READDIR, dirs[i], &rd, sizeof(rd), out, sizeof(out), NULL), 0);
        assert_int_equal(rootfs_write(w, nodes[i], 0, "W", O_RDWR), 1);
        assert_true(fe_daemon_fds(&w->d) <=
                    before + FDS + 8); /* and what the daemon opens itself */
    }
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "W%u", i);
        rootfs_reads(w, nodes[i], name);
    }
    /* Nothing is kept of what nobody uses. */
    for (unsigned i = 0; i < FILES; i++) {
        fe_forget(&w->f, nodes[i], 1);
        fe_forget(&w->f, dirs[i], 1);
    }
    assert_true(rootfs_fds(w, before + 2));
}

/* A file that was written to can be executed on the host soon. */
static void executed(void **state)
{
    struct wire *w = *state;
    if (w->mode == WIRE_SANDBOX)
        skip();
    rootfs_start(w, NULL);
    wire_put(w, "prog", "#!/bin/true\n");
    uint64_t node = wire_node(w, "prog");
    assert_int_equal(rootfs_write(w, node, 0, "#", O_RDWR), 1);
    unsigned ms = 0;
    int fd;
    /* Who has it open for writing: a lease for reading is refused meanwhile. */
    for (; ms < ROOTFS_PATIENCE; ms += 100) {
        fd = open(wire_path(w, "prog"), O_RDONLY | O_CLOEXEC);
        int rc = fcntl(fd, F_SETLEASE, F_RDLCK);
        close(fd);
        if (rc == 0)
            break;
        usleep(100000);
    }
    assert_true(ms < ROOTFS_PATIENCE);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, NULL, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_gone_handles),
        TEST(names_gone_descriptors),
        TEST(names_gone_fenced),
        TEST(one_name_less),
        TEST(host_unlink),
        TEST(directories),
        TEST(overlay_below),
        TEST(overlay_root),
        TEST(bounded),
        TEST(executed),
    };
    return cmocka_run_group_tests_name("wire-rootfs-gone", tests, wire_make, wire_teardown);
}
