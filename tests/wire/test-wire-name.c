/* SPDX-License-Identifier: BSD-3-Clause
 * Names: everything that makes, removes, moves and lists them, good and refused, compared with
 * what the host sees. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT FUSE_ROOT_ID

static int by_name(struct wire *w, uint32_t op, uint64_t parent, const char *name)
{
    return fe_call_name(&w->f, op, parent, NULL, 0, name, NULL, NULL, 0);
}

static int rename2(struct wire *w, uint64_t from, const char *a, uint64_t to, const char *b,
                   uint32_t flags)
{
    struct fuse_rename2_in in = {.newdir = to, .flags = flags};
    return fe_call_name(&w->f, FUSE_RENAME2, from, &in, sizeof(in), a, b, NULL, 0);
}

static int mknod_in(struct wire *w, const char *name, uint32_t mode, uint32_t rdev,
                    struct fuse_entry_out *e)
{
    struct fuse_mknod_in in = {.mode = mode, .rdev = rdev};
    return fe_call_name(&w->f, FUSE_MKNOD, ROOT, &in, sizeof(in), name, NULL, e, sizeof(*e));
}

static struct stat host(struct wire *w, const char *name)
{
    struct stat st;
    if (lstat(wire_path(w, name), &st) != 0)
        fail_msg("%s: not there", name);
    return st;
}

static bool there(struct wire *w, const char *name)
{
    struct stat st;
    return lstat(wire_path(w, name), &st) == 0;
}

static void making(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    static const struct {
        const char *name;
        uint32_t mode;
    } nodes[] = {{"n-file", S_IFREG | 0640},
                 {"n-fifo", S_IFIFO | 0600},
                 {"n-sock", S_IFSOCK | 0700},
                 {"n-whiteout", S_IFCHR | 0}};
    for (unsigned i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        assert_int_equal(mknod_in(w, nodes[i].name, nodes[i].mode, 0, &e), 0);
        struct stat st = host(w, nodes[i].name);
        assert_int_equal(st.st_mode, nodes[i].mode);
        assert_int_equal(st.st_ino, e.attr.ino);
        assert_int_equal(mknod_in(w, nodes[i].name, nodes[i].mode, 0, &e), -EEXIST);
        assert_int_equal(by_name(w, FUSE_RMDIR, ROOT, nodes[i].name), -ENOTDIR);
        assert_int_equal(by_name(w, FUSE_UNLINK, ROOT, nodes[i].name), 0);
        assert_int_equal(by_name(w, FUSE_UNLINK, ROOT, nodes[i].name), -ENOENT);
    }
    assert_int_equal(fe_mkdir(&w->f, ROOT, "n-dir", 0751, &e), 0);
    assert_int_equal(host(w, "n-dir").st_mode, S_IFDIR | 0751);
    assert_int_equal(fe_mkdir(&w->f, e.nodeid, "inner", 0700, NULL), 0);
    assert_int_equal(fe_mkdir(&w->f, ROOT, "n-dir", 0700, NULL), -EEXIST);
    assert_int_equal(by_name(w, FUSE_RMDIR, ROOT, "n-dir"), -ENOTEMPTY);
    assert_int_equal(by_name(w, FUSE_UNLINK, ROOT, "n-dir"), -EISDIR);
    assert_int_equal(by_name(w, FUSE_RMDIR, e.nodeid, "inner"), 0);
    assert_int_equal(by_name(w, FUSE_RMDIR, ROOT, "n-dir"), 0);
    assert_int_equal(fe_mkdir(&w->f, e.nodeid, "orphan", 0700, NULL), -ENOENT);
    assert_int_equal(fe_mkdir(&w->f, wire_node(w, "file"), "x", 0700, NULL), -ENOTDIR);
}

static void creating(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    uint64_t fh, node = wire_node(w, "file");
    assert_int_equal(fe_create(&w->f, ROOT, "c", O_CREAT | O_EXCL | O_RDWR, 0604, &e, &fh), 0);
    assert_int_equal(host(w, "c").st_mode, S_IFREG | 0604);
    assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);
    assert_int_equal(fe_create(&w->f, ROOT, "c", O_CREAT | O_EXCL | O_RDWR, 0604, &e, &fh),
                     -EEXIST);
    /* An existing name without O_EXCL is opened (it ends the old C daemon). */
    assert_int_equal(fe_create(&w->f, ROOT, "file", O_CREAT | O_RDONLY, 0600, &e, &fh), 0);
    assert_int_equal(e.nodeid, node);
    assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);
    assert_int_equal(host(w, "file").st_size, 6);
    assert_int_equal(fe_create(&w->f, ROOT, "dir", O_CREAT | O_RDWR, 0600, &e, &fh), -EISDIR);
    int link = fe_create(&w->f, ROOT, "link", O_CREAT | O_RDWR, 0600, &e, &fh);
    assert_true(link < 0 && link > -1000); /* never through a symbolic link */
    assert_int_equal(by_name(w, FUSE_UNLINK, ROOT, "c"), 0);
}

static void links(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    struct fuse_link_in in = {.oldnodeid = wire_node(w, "file")};
    char text[PATH_MAX];
    size_t len;
    assert_int_equal(
        fe_call_name(&w->f, FUSE_LINK, ROOT, &in, sizeof(in), "hard", NULL, &e, sizeof(e)), 0);
    assert_int_equal(e.nodeid, in.oldnodeid); /* one inode, one number */
    assert_int_equal(e.attr.nlink, 2);
    assert_int_equal(host(w, "hard").st_ino, host(w, "file").st_ino);
    assert_int_equal(
        fe_call_name(&w->f, FUSE_LINK, ROOT, &in, sizeof(in), "hard", NULL, &e, sizeof(e)),
        -EEXIST);
    in.oldnodeid = wire_node(w, "dir");
    assert_int_equal(
        fe_call_name(&w->f, FUSE_LINK, ROOT, &in, sizeof(in), "d2", NULL, &e, sizeof(e)), -EPERM);
    in.oldnodeid = 98765;
    assert_true(fe_call_name(&w->f, FUSE_LINK, ROOT, &in, sizeof(in), "d3", NULL, &e, sizeof(e)) <
                0);
    assert_int_equal(by_name(w, FUSE_UNLINK, ROOT, "hard"), 0);
    /* Symbolic links: any target goes, and is given back as it is, never followed. */
    char longest[4096];
    memset(longest, 'x', sizeof(longest));
    longest[4095] = '\0';
    const char *const targets[] = {"file", "/etc/passwd", "../../..", "a//b/./c", longest};
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(
            fe_call_name(&w->f, FUSE_SYMLINK, ROOT, NULL, 0, "sym", targets[i], &e, sizeof(e)), 0);
        assert_int_equal(e.attr.mode, S_IFLNK | 0777);
        assert_int_equal(fe_call(&w->f, FUSE_READLINK, e.nodeid, NULL, 0, text, 4096, &len), 0);
        assert_int_equal(len, strlen(targets[i]));
        assert_memory_equal(text, targets[i], len);
        uint64_t fh;
        assert_true(fe_open(&w->f, e.nodeid, O_RDONLY, &fh) < 0);
        assert_int_equal(by_name(w, FUSE_UNLINK, ROOT, "sym"), 0);
    }
    int empty = fe_call_name(&w->f, FUSE_SYMLINK, ROOT, NULL, 0, "sym", "", &e, sizeof(e));
    assert_true(empty == -ENOENT || empty == -EINVAL);
    assert_int_equal(fe_call(&w->f, FUSE_READLINK, wire_node(w, "file"), NULL, 0, text, 4096, NULL),
                     -EINVAL);
}

static void renames(void **state)
{
    struct wire *w = *state;
    enum { NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4 };
    uint64_t dir = wire_node(w, "dir"), sub = wire_node(w, "dir/sub");
    wire_put(w, "a", "A");
    wire_put(w, "b", "BB");
    assert_int_equal(rename2(w, ROOT, "a", ROOT, "b", NOREPLACE), -EEXIST);
    assert_int_equal(rename2(w, ROOT, "a", ROOT, "b", EXCHANGE), 0);
    assert_int_equal(host(w, "a").st_size, 2);
    assert_int_equal(rename2(w, ROOT, "a", dir, "moved", NOREPLACE), 0);
    assert_true(!there(w, "a") && there(w, "dir/moved"));
    assert_int_equal(rename2(w, dir, "moved", ROOT, "b", 0), 0);
    assert_int_equal(host(w, "b").st_size, 2);
    assert_int_equal(rename2(w, ROOT, "b", ROOT, "a", WHITEOUT), 0);
    struct stat st = host(w, "b");
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
    assert_int_equal(rename2(w, ROOT, "a", ROOT, "c", NOREPLACE | EXCHANGE), -EINVAL);
    assert_int_equal(rename2(w, ROOT, "a", ROOT, "c", 64), -EINVAL);
    assert_int_equal(rename2(w, ROOT, "missing", ROOT, "c", 0), -ENOENT);
    assert_int_equal(rename2(w, ROOT, "dir", sub, "loop", 0), -EINVAL);
    assert_int_equal(rename2(w, ROOT, "a", ROOT, "dir", 0), -EISDIR);
    assert_int_equal(rename2(w, ROOT, "dir", ROOT, "a", 0), -ENOTDIR);
    assert_true(rename2(w, ROOT, "a", 4242, "x", 0) < 0);
    struct fuse_rename_in in = {.newdir = ROOT};
    assert_int_equal(fe_call_name(&w->f, FUSE_RENAME, ROOT, &in, sizeof(in), "a", "b", NULL, 0), 0);
    /* A number stays with its inode across renames of the path to it. */
    uint64_t inner = wire_node(w, "dir/file");
    assert_int_equal(rename2(w, ROOT, "dir", ROOT, "dir2", 0), 0);
    assert_int_equal(fe_getattr(&w->f, inner, NULL), 0);
    assert_int_equal(wire_node(w, "dir2/file"), inner);
    assert_int_equal(rename2(w, ROOT, "dir2", ROOT, "dir", 0), 0);
    assert_int_equal(by_name(w, FUSE_UNLINK, ROOT, "b"), 0);
}

/* Number and name are looked up again when the host puts another file in the place. */
static void replaced_by_the_host(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e1, e2;
    wire_put(w, "r", "1");
    wire_put(w, "r2", "22");
    assert_int_equal(fe_lookup(&w->f, ROOT, "r", &e1), 0);
    assert_int_equal(rename(wire_path(w, "r2"), wire_path(w, "r")), 0);
    assert_int_equal(fe_lookup(&w->f, ROOT, "r", &e2), 0);
    assert_true(e1.nodeid != e2.nodeid);
    assert_int_equal(e2.attr.size, 2);
    struct fuse_attr a;
    int old = fe_getattr(&w->f, e1.nodeid, &a);
    assert_true(old == 0 ? a.size == 1 && a.nlink == 0 : old == -ESTALE);
    unlink(wire_path(w, "r"));
    int gone = fe_lookup(&w->f, ROOT, "r", &e2);
    assert_true(gone == -ENOENT || (gone == 0 && e2.nodeid == 0));
}

static void tmpfiles(void **state)
{
    struct wire *w = *state;
    struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0640};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    assert_int_equal(
        fe_call_name(&w->f, FUSE_TMPFILE, ROOT, &in, sizeof(in), "/", NULL, &out, sizeof(out)), 0);
    assert_int_equal(out.entry.attr.nlink, 0);
    /* Linux before 6.6 (overlayfs) looks again for a name when its time is over: there is none. */
    assert_true(out.entry.entry_valid == UINT64_MAX && out.entry.entry_valid_nsec == 0);
    assert_true(out.entry.attr_valid < 86400);
    assert_int_equal(fe_write(&w->f, out.entry.nodeid, out.open.fh, 0, "tmp", 3), 3);
    struct fuse_link_in link = {.oldnodeid = out.entry.nodeid};
    assert_int_equal(fe_call_name(&w->f, FUSE_LINK, ROOT, &link, sizeof(link), "from-tmp", NULL,
                                  &out.entry, sizeof(out.entry)),
                     0);
    assert_int_equal(host(w, "from-tmp").st_size, 3);
    assert_int_equal(fe_release(&w->f, link.oldnodeid, out.open.fh), 0);
    unlink(wire_path(w, "from-tmp"));
}

/* ---- directories ---- */

#define ENTRIES 500

/* Read all of a directory in replies of @size. Marks seen["e000".."e499"]; counts "." and "..". */
static unsigned list(struct wire *w, uint64_t node, uint64_t dh, bool plus, uint32_t size,
                     unsigned *seen, uint64_t *offs)
{
    static uint8_t buf[65536];
    struct fuse_read_in in = {.fh = dh, .size = size};
    unsigned total = 0;
    memset(seen, 0, ENTRIES * sizeof(*seen));
    for (;;) {
        size_t len = 0;
        int e = fe_call(&w->f, plus ? FUSE_READDIRPLUS : FUSE_READDIR, node, &in, sizeof(in), buf,
                        size, &len);
        assert_int_equal(e, 0);
        if (len == 0)
            return total;
        for (size_t at = 0; at < len;) {
            const struct fuse_direntplus *p = (const void *)(buf + at);
            const struct fuse_dirent *d = plus ? &p->dirent : (const void *)(buf + at);
            size_t fixed = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
            assert_true(at + fixed + d->namelen <= len);
            if (d->name[0] == 'e')
                seen[atoi(d->name + 1)]++;
            else
                assert_true(d->name[0] == '.');
            if (plus && d->name[0] == 'e') {
                assert_true(p->entry_out.nodeid != 0);
                assert_int_equal(p->entry_out.attr.ino, d->ino);
                fe_forget(&w->f, p->entry_out.nodeid, 1);
            }
            in.offset = d->off;
            if (offs)
                offs[total] = d->off;
            total++;
            at += (fixed + d->namelen + 7) & ~(size_t)7;
        }
    }
}

static void listing(void **state)
{
    struct wire *w = *state;
    unsigned seen[ENTRIES];
    uint64_t dh, offs[ENTRIES + 2], node;
    assert_int_equal(fe_mkdir(&w->f, ROOT, "many", 0755, NULL), 0);
    for (unsigned i = 0; i < ENTRIES; i++) {
        char name[32];
        snprintf(name, sizeof(name), "many/e%03u", i);
        wire_put(w, name, NULL);
    }
    node = wire_node(w, "many");
    static const uint32_t sizes[] = {200, 512, 4096, 32768, 65536};
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(fe_opendir(&w->f, node, &dh), 0);
        assert_int_equal(list(w, node, dh, i % 2, sizes[i / 2], seen, offs), ENTRIES + 2);
        for (unsigned k = 0; k < ENTRIES; k++)
            assert_int_equal(seen[k], 1);
        /* Back to an offset in the middle: the same entry follows. */
        for (unsigned k = 10; k < ENTRIES; k += 97) {
            static uint8_t buf[4096];
            struct fuse_read_in in = {.fh = dh, .offset = offs[k], .size = sizeof(buf)};
            size_t len = 0;
            assert_int_equal(
                fe_call(&w->f, FUSE_READDIR, node, &in, sizeof(in), buf, sizeof(buf), &len), 0);
            assert_true(len > 0);
            assert_int_equal(((struct fuse_dirent *)buf)->off, offs[k + 1]);
        }
        assert_int_equal(fe_releasedir(&w->f, node, dh), 0);
    }
    /* No room for one entry. */
    assert_int_equal(fe_opendir(&w->f, node, &dh), 0);
    for (uint32_t size = 0; size < 24; size += 8) {
        struct fuse_read_in in = {.fh = dh, .size = size};
        size_t len = 0;
        int e = fe_call(&w->f, FUSE_READDIR, node, &in, sizeof(in), NULL, size, &len);
        assert_true(e == -EINVAL || (e == 0 && len == 0));
    }
    assert_int_equal(fe_releasedir(&w->f, node, dh), 0);
}

/* Every operation that changes something is refused on a read-only share, by the daemon itself. */
static void readonly(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    uint64_t fh, node, dir;
    char buf[8];
    wire_spawn(w, (const char *const[]){"--readonly", NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    node = wire_node(w, "file");
    dir = wire_node(w, "dir");
    assert_int_equal(fe_create(&w->f, ROOT, "x", O_RDWR | O_CREAT, 0600, &e, &fh), -EROFS);
    assert_int_equal(fe_mkdir(&w->f, ROOT, "x", 0700, NULL), -EROFS);
    assert_int_equal(mknod_in(w, "x", S_IFREG | 0600, 0, &e), -EROFS);
    assert_int_equal(fe_call_name(&w->f, FUSE_SYMLINK, ROOT, NULL, 0, "x", "t", &e, sizeof(e)),
                     -EROFS);
    struct fuse_link_in link = {.oldnodeid = node};
    assert_int_equal(
        fe_call_name(&w->f, FUSE_LINK, ROOT, &link, sizeof(link), "x", NULL, &e, sizeof(e)),
        -EROFS);
    assert_int_equal(by_name(w, FUSE_UNLINK, ROOT, "file"), -EROFS);
    assert_int_equal(by_name(w, FUSE_RMDIR, dir, "sub"), -EROFS);
    assert_int_equal(rename2(w, ROOT, "file", ROOT, "x", 0), -EROFS);
    struct fuse_create_in tmp = {.flags = O_RDWR, .mode = S_IFREG | 0600};
    char out[144];
    assert_int_equal(
        fe_call_name(&w->f, FUSE_TMPFILE, ROOT, &tmp, sizeof(tmp), "/", NULL, out, sizeof(out)),
        -EROFS);
    static const int flags[] = {O_RDWR, O_WRONLY, O_RDONLY | O_TRUNC};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(fe_open(&w->f, node, flags[i], &fh), -EROFS);
    struct fuse_setattr_in set = {.valid = FATTR_MODE, .mode = 0600};
    assert_int_equal(fe_setattr(&w->f, node, &set, NULL), -EROFS);
    set.valid = FATTR_SIZE;
    assert_int_equal(fe_setattr(&w->f, node, &set, NULL), -EROFS);
    set.valid = FATTR_ATIME | FATTR_ATIME_NOW;
    assert_int_equal(fe_setattr(&w->f, node, &set, NULL), -EROFS);
    struct {
        struct fuse_setxattr_in in;
        char rest[8];
    } xa = {.in.size = 1, .rest = "user.a\0v"};
    assert_int_equal(fe_call(&w->f, FUSE_SETXATTR, node, &xa, sizeof(xa.in) + 8, NULL, 0, NULL),
                     -EROFS);
    assert_int_equal(by_name(w, FUSE_REMOVEXATTR, node, "user.a"), -EROFS);
    assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    assert_int_equal(fe_read(&w->f, node, fh, 0, buf, 8), 6);
    assert_true(fe_write(&w->f, node, fh, 0, "x", 1) < 0);
    struct fuse_fallocate_in fa = {.fh = fh, .length = 100};
    assert_true(fe_call(&w->f, FUSE_FALLOCATE, node, &fa, sizeof(fa), NULL, 0, NULL) < 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_true(!there(w, "x") && host(w, "file").st_size == 6);
    wire_finish(w, 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, wire_mount, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(making),
        TEST(creating),
        TEST(links),
        TEST(renames),
        TEST(replaced_by_the_host),
        TEST(tmpfiles),
        TEST(listing),
        cmocka_unit_test_teardown(readonly, wire_cleanup),
    };
    return cmocka_run_group_tests_name("wire-name", tests, wire_make, wire_teardown);
}
