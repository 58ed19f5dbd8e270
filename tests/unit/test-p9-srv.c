/* SPDX-License-Identifier: BSD-3-Clause
 * Sessions, names and files over 9P: what a client of good will asks for. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/p9-mem.h"

static void test_version(void **state)
{
    struct p9_mem m;
    struct p9c_attr attr;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    assert_int_equal(c->msize, 1u << 20);
    assert_int_equal(p9_conn_msize(m.conn), 1u << 20);
    assert_int_equal(p9c_version(c, 65536, "9P2000"), -EPROTONOSUPPORT);
    assert_int_equal(p9c_attach(c, 1, "", 0), -EINVAL); /* nothing was agreed on */
    assert_ok(p9c_version(c, 65536, "9P2000.L"));
    assert_int_equal(p9_conn_msize(m.conn), 65536);
    assert_int_equal(p9c_getattr(c, 0, 0x7ff, &attr), -EBADF); /* the session is a new one */
    assert_int_equal(p9c_version(c, 100, "9P2000.L"), -EMSGSIZE);
    assert_ok(p9c_attach(c, 0, "", 0));
    assert_int_equal(p9c_attach(c, 0, "", 0), -EINVAL); /* in use */
    p9c_begin(c, 102);
    p9c_put32(c, 7);
    p9c_put_str(c, "u");
    p9c_put_str(c, "");
    p9c_put32(c, 0);
    assert_int_equal(p9c_send(c), -ENOENT); /* no authentication */
    p9_mem_stop(&m);
}

static void test_walk(void **state)
{
    struct p9_mem m;
    struct p9c_attr a, b;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    assert_ok(mkdir(tree_path(&m.tree, "d"), 0755));
    tree_write(&m.tree, "d/f", "hello");
    assert_ok(p9c_walk(c, 0, 1, ""));
    assert_ok(p9c_walk(c, 0, 2, "d/f"));
    assert_int_equal(p9c_walk(c, 0, 2, "d"), -EINVAL); /* the number is in use */
    assert_int_equal(p9c_walk(c, 0, 3, "x"), -ENOENT);
    assert_int_equal(p9c_walk(c, 0, 3, "d/x"), -ENOENT); /* one qid, no fid */
    assert_int_equal(c->rlen, 7 + 2 + 13);
    assert_int_equal(p9c_clunk(c, 3), -EBADF);
    assert_int_equal(p9c_walk(c, 2, 3, "x"), -ENOTDIR);
    assert_ok(p9c_walk(c, 1, 1, "d")); /* in place */
    assert_ok(p9c_walk(c, 1, 3, "f"));
    assert_ok(p9c_getattr(c, 2, 0x3fff, &a));
    assert_ok(p9c_getattr(c, 3, 0x3fff, &b));
    assert_int_equal(a.qid.path, b.qid.path);
    assert_int_equal(a.gen, b.gen);
    assert_int_equal(a.valid & 0x7ff, 0x7ff);
    assert_int_equal(a.size, 5);
    assert_true(S_ISREG(a.mode));
    assert_ok(p9c_walk(c, 1, 4, "../.."));
    assert_ok(p9c_getattr(c, 4, 0x7ff, &a));
    assert_ok(p9c_getattr(c, 0, 0x7ff, &b));
    assert_int_equal(a.qid.path, b.qid.path);
    assert_int_equal(a.qid.type, 0x80);
    for (uint32_t fid = 0; fid < 5; fid++)
        assert_ok(p9c_clunk(c, fid));
    p9_mem_stop(&m);
}

static void test_attach_below(void **state)
{
    struct p9_mem m;
    struct p9c_attr a, b;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    assert_ok(mkdir(tree_path(&m.tree, "d"), 0755));
    assert_ok(mkdir(tree_path(&m.tree, "d/e"), 0755));
    assert_ok(symlink("d", tree_path(&m.tree, "l")));
    tree_write(&m.tree, "f", "");
    assert_ok(p9c_attach(c, 1, "/d/e/", 0));
    assert_ok(p9c_walk(c, 1, 2, "../.."));
    assert_ok(p9c_getattr(c, 1, 0x7ff, &a));
    assert_ok(p9c_getattr(c, 2, 0x7ff, &b));
    assert_int_equal(a.qid.path, b.qid.path);
    assert_int_equal(p9c_attach(c, 3, "f", 0), -ENOTDIR);
    assert_int_equal(p9c_attach(c, 3, "l", 0), -ENOTDIR);
    assert_int_equal(p9c_attach(c, 3, "..", 0), -EINVAL);
    assert_int_equal(p9c_attach(c, 3, "d/../..", 0), -EINVAL);
    assert_int_equal(p9c_attach(c, 3, "nothing", 0), -ENOENT);
    p9_mem_stop(&m);
}

static void test_read_write(void **state)
{
    struct p9_mem m;
    static char big[300000], back[300000];
    struct p9c_attr attr;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7 + i / 251);
    assert_ok(p9c_walk(c, 0, 1, ""));
    assert_ok(p9c_lcreate(c, 1, "f", 02 | 0100 | 0200, 0640, 0));
    assert_int_equal(p9c_write(c, 1, 0, big, sizeof(big)), sizeof(big));
    assert_int_equal(p9c_read(c, 1, 0, back, sizeof(back)), sizeof(back));
    assert_memory_equal(big, back, sizeof(big));
    assert_int_equal(p9c_read(c, 1, 299990, back, 100), 10);
    assert_int_equal(p9c_read(c, 1, 400000, back, 100), 0);
    assert_int_equal(p9c_read(c, 1, UINT64_MAX, back, 100), -EINVAL);
    assert_ok(p9c_fsync(c, 1, true));
    assert_ok(p9c_fsync(c, 1, false));
    p9c_begin(c, 50); /* without the last field */
    p9c_put32(c, 1);
    assert_ok(p9c_send(c));
    assert_int_equal(p9c_lopen(c, 1, 0), -EINVAL); /* open already */
    /* It stays when its name goes. */
    assert_ok(p9c_unlinkat(c, 0, "f", 0));
    assert_ok(p9c_getattr(c, 1, 0x7ff, &attr));
    assert_int_equal(attr.nlink, 0);
    struct p9c_set set = {.valid = 8 | 1, .size = 3, .mode = 0600};
    assert_ok(p9c_setattr(c, 1, &set));
    assert_int_equal(p9c_read(c, 1, 0, back, 100), 3);
    assert_ok(p9c_clunk(c, 1));
    assert_int_equal(p9c_read(c, 1, 0, back, 100), -EBADF);
    p9_mem_stop(&m);
}

/* An answer is cut to the room there is, or to the message size. */
static void test_short_room(void **state)
{
    struct p9_mem m;
    char buf[9000];
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    tree_write(&m.tree, "f", "0123456789");
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_ok(p9c_lopen(c, 1, 0));
    m.out_room = 15;
    assert_int_equal(p9c_read(c, 1, 0, buf, 100), 4);
    m.out_room = 11;
    assert_int_equal(p9c_read(c, 1, 0, buf, 100), 0);
    struct p9c_attr attr;
    assert_int_equal(p9c_getattr(c, 1, 0x7ff, &attr), -EMSGSIZE);
    assert_int_equal(p9c_mkdir(c, 0, "d", 0755, 0), -EMSGSIZE);
    assert_false(tree_has(&m.tree, "d")); /* refused before it is done */
    m.out_room = 10;
    p9c_begin(c, 120);
    p9c_put32(c, 1);
    assert_int_equal(c->transact(c->user, c->t, p9c_end(c), c->r, c->max), 0);
    m.out_room = 0;
    assert_ok(p9c_clunk(c, 1));
    assert_ok(p9c_version(c, 4096, "9P2000.L"));
    assert_ok(p9c_attach(c, 0, "", 0));
    assert_ok(truncate(tree_path(&m.tree, "f"), 9000));
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_ok(p9c_lopen(c, 1, 0));
    assert_int_equal(p9c_read(c, 1, 0, buf, 9000), 4096 - 11);
    p9_mem_stop(&m);
}

/* Entries of a listing as the client sees them; returns how many, the last offset in *off. */
static unsigned entries(const uint8_t *p, size_t n, uint64_t *off, unsigned *dots)
{
    unsigned found = 0;
    for (size_t at = 0; at < n; found++) {
        assert_true(at + 24 <= n);
        size_t len = p[at + 22] | (size_t)p[at + 23] << 8;
        *off = 0;
        for (unsigned i = 0; i < 8; i++)
            *off |= (uint64_t)p[at + 13 + i] << (8 * i);
        *dots += len <= 2 && p[at + 24] == '.';
        at += 24 + len;
        assert_true(at <= n);
    }
    return found;
}

static void test_readdir(void **state)
{
    struct p9_mem m;
    uint8_t buf[500];
    char name[32];
    uint64_t off = 0;
    unsigned found = 0, dots = 0;
    ssize_t n;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "file-%u", i);
        tree_write(&m.tree, name, "");
    }
    assert_ok(p9c_walk(c, 0, 1, ""));
    assert_int_equal(p9c_readdir(c, 1, 0, buf, 100), -ENOTDIR);
    assert_ok(p9c_lopen(c, 1, 0200000));
    assert_int_equal(p9c_read(c, 1, 0, buf, 100), -EISDIR);
    while ((n = p9c_readdir(c, 1, off, buf, sizeof(buf))) > 0)
        found += entries(buf, (size_t)n, &off, &dots);
    assert_int_equal(n, 0);
    assert_int_equal(found, 102);
    assert_int_equal(dots, 2);
    assert_true(p9c_readdir(c, 1, 0, buf, sizeof(buf)) > 0);  /* from the start again */
    assert_int_equal(p9c_readdir(c, 1, 0, buf, 24), -EINVAL); /* no entry fits: not the end */
    assert_true(p9c_readdir(c, 1, 0, buf, 40) > 0);
    assert_ok(p9c_walk(c, 0, 2, "file-1"));
    assert_int_equal(p9c_lopen(c, 2, 0200000), -ENOTDIR);
    assert_ok(p9c_walk(c, 0, 3, ""));
    assert_int_equal(p9c_lopen(c, 3, 2), -EISDIR);
    p9_mem_stop(&m);
}

static void test_names(void **state)
{
    struct p9_mem m;
    char buf[100];
    struct stat st;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    assert_ok(p9c_mkdir(c, 0, "d", 0750, 0));
    assert_int_equal(p9c_mkdir(c, 0, "d", 0750, 0), -EEXIST);
    assert_ok(p9c_symlink(c, 0, "l", "some/where", 0));
    assert_ok(p9c_walk(c, 0, 1, "l"));
    assert_ok(p9c_readlink(c, 1, buf, sizeof(buf)));
    assert_string_equal(buf, "some/where");
    assert_int_equal(p9c_lopen(c, 1, 0), -ELOOP);
    tree_write(&m.tree, "f", "1");
    assert_ok(p9c_walk(c, 0, 2, "f"));
    assert_int_equal(p9c_readlink(c, 2, buf, sizeof(buf)), -EINVAL);
    assert_ok(p9c_link(c, 0, 2, "f2"));
    assert_ok(p9c_walk(c, 0, 3, "d"));
    assert_ok(p9c_renameat(c, 0, "f2", 3, "f3"));
    assert_true(tree_has(&m.tree, "d/f3"));
    assert_int_equal(p9c_unlinkat(c, 0, "d", 0), -EISDIR);
    assert_int_equal(p9c_unlinkat(c, 0, "d", 0x200), -ENOTEMPTY);
    assert_int_equal(p9c_unlinkat(c, 0, "f", 1), -EINVAL);
    assert_ok(p9c_rename(c, 2, 3, "f4"));
    assert_true(tree_has(&m.tree, "d/f4"));
    assert_ok(p9c_rename(c, 2, 0, "f5")); /* the fid goes along */
    assert_true(tree_has(&m.tree, "f5"));
    assert_ok(p9c_remove(c, 2));
    assert_false(tree_has(&m.tree, "f5"));
    assert_int_equal(p9c_remove(c, 2), -EBADF);
    assert_ok(p9c_mknod(c, 0, "p", S_IFIFO | 0600, 0, 0, 0));
    assert_ok(lstat(tree_path(&m.tree, "p"), &st));
    assert_true(S_ISFIFO(st.st_mode));
    /* A name that leads to another file by now is not touched. */
    assert_ok(p9c_walk(c, 0, 4, "p"));
    assert_ok(unlink(tree_path(&m.tree, "p")));
    tree_write(&m.tree, "p", "another");
    assert_int_equal(p9c_remove(c, 4), -ENOENT);
    assert_true(tree_has(&m.tree, "p"));
    assert_int_equal(p9c_clunk(c, 4), -EBADF); /* the fid is gone all the same */
    assert_int_equal(p9c_remove(c, 0), -EBUSY);
    p9_mem_stop(&m);
}

static void test_setattr(void **state)
{
    struct p9_mem m;
    struct p9c_attr a;
    need_root();
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    tree_write(&m.tree, "f", "12345");
    assert_ok(p9c_walk(c, 0, 1, "f"));
    struct p9c_set set = {.valid = 0x1bf,
                          .mode = 0606,
                          .uid = 12,
                          .gid = 13,
                          .size = 2,
                          .atime = {1000, 5},
                          .mtime = {2000, 6}};
    assert_ok(p9c_setattr(c, 1, &set));
    assert_ok(p9c_getattr(c, 1, 0x3fff, &a));
    assert_int_equal(a.mode, S_IFREG | 0606);
    assert_int_equal(a.uid, 12);
    assert_int_equal(a.gid, 13);
    assert_int_equal(a.size, 2);
    assert_int_equal(a.atime[0], 1000);
    assert_int_equal(a.atime[1], 5);
    assert_int_equal(a.mtime[0], 2000);
    assert_int_equal(a.mtime[1], 6);
    set.valid = 0x20; /* now */
    assert_ok(p9c_setattr(c, 1, &set));
    assert_ok(p9c_getattr(c, 1, 0x3fff, &a));
    assert_true(a.mtime[0] > 1000000000);
    assert_int_equal(a.atime[0], 1000);
    set = (struct p9c_set){.valid = 0x80 | 0x10, .atime = {0, 1000000000}};
    assert_int_equal(p9c_setattr(c, 1, &set), -EINVAL);
    p9c_begin(c, 8);
    p9c_put32(c, 1);
    assert_ok(p9c_send(c));
    assert_int_equal(c->rlen, 7 + 60);
    assert_int_equal(p9c_get32(c), 0x01021997);
    assert_true(p9c_get32(c) >= 512);
    assert_true(p9c_get64(c) > 0);
    p9_mem_stop(&m);
}

/* What is made belongs to the one who attached and the group of the message. */
static void test_owner(void **state)
{
    struct p9_mem m;
    struct stat st;
    need_root();
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    assert_ok(chmod(m.tree.dir, 0777));
    assert_ok(p9c_attach(c, 1, "", USER_ID));
    assert_ok(p9c_mkdir(c, 1, "d", 0755, 77));
    assert_ok(lstat(tree_path(&m.tree, "d"), &st));
    assert_int_equal(st.st_uid, USER_ID);
    assert_int_equal(st.st_gid, 77);
    assert_ok(p9c_lcreate(c, 1, "f", 2, 04755, 77));
    assert_ok(lstat(tree_path(&m.tree, "f"), &st));
    assert_int_equal(st.st_uid, USER_ID);
    assert_int_equal(st.st_mode & 07777, 04755);
    assert_int_equal(p9c_write(c, 1, 0, "x", 1), 1); /* set-user-id ends with a write */
    assert_ok(lstat(tree_path(&m.tree, "f"), &st));
    assert_int_equal(st.st_mode & 07777, 0755);
    p9_mem_stop(&m);
}

static void test_xattr(void **state)
{
    struct p9_mem m;
    char buf[100];
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    tree_write(&m.tree, "f", "");
    if (setxattr(tree_path(&m.tree, "f"), "user.a", "one", 3, 0) != 0) {
        p9_mem_stop(&m);
        skip();
    }
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_int_equal(p9c_xattrwalk(c, 1, 2, "user.a"), 3);
    assert_int_equal(p9c_read(c, 2, 1, buf, 100), 2);
    assert_memory_equal(buf, "ne", 2);
    assert_int_equal(p9c_read(c, 2, UINT64_MAX, buf, 100), 0);
    assert_int_equal(p9c_xattrwalk(c, 1, 2, "user.a"), -EINVAL); /* in use */
    assert_ok(p9c_clunk(c, 2));
    assert_int_equal(p9c_xattrwalk(c, 1, 2, "user.b"), -ENODATA);
    assert_true(p9c_xattrwalk(c, 1, 2, "") >= 7);
    assert_ok(p9c_clunk(c, 2));

    assert_ok(p9c_walk(c, 1, 2, ""));
    assert_ok(p9c_xattrcreate(c, 2, "user.b", 6, 0));
    assert_int_equal(p9c_write(c, 2, 0, "abc", 3), 3);
    assert_int_equal(p9c_write(c, 2, 4, "f", 1), -EINVAL); /* a gap */
    assert_int_equal(p9c_write(c, 2, 3, "defg", 4), -ENOSPC);
    assert_int_equal(p9c_write(c, 2, 3, "def", 3), 3);
    assert_ok(p9c_clunk(c, 2));
    assert_int_equal(getxattr(tree_path(&m.tree, "f"), "user.b", buf, sizeof(buf)), 6);
    assert_memory_equal(buf, "abcdef", 6);

    assert_ok(p9c_walk(c, 1, 2, ""));
    assert_ok(p9c_xattrcreate(c, 2, "user.b", 0, XATTR_REPLACE));
    assert_ok(p9c_clunk(c, 2)); /* removes */
    assert_true(getxattr(tree_path(&m.tree, "f"), "user.b", buf, sizeof(buf)) < 0);
    assert_ok(p9c_walk(c, 1, 2, ""));
    assert_ok(p9c_xattrcreate(c, 2, "user.b", 0, 0));
    assert_ok(p9c_clunk(c, 2)); /* an empty one */
    assert_int_equal(getxattr(tree_path(&m.tree, "f"), "user.b", buf, sizeof(buf)), 0);
    assert_ok(p9c_walk(c, 1, 2, ""));
    assert_ok(p9c_xattrcreate(c, 2, "user.a", 3, XATTR_CREATE));
    assert_int_equal(p9c_write(c, 2, 0, "two", 3), 3);
    assert_int_equal(p9c_clunk(c, 2), -EEXIST); /* the error is the clunk's */
    p9_mem_stop(&m);
}

static void test_readonly(void **state)
{
    struct p9_mem m;
    struct share_config fc = tree_config();
    struct p9_config cfg = p9_mem_config();
    fc.readonly = true;
    tree_make(&m.tree);
    tree_write(&m.tree, "f", "x");
    tree_open(&m.tree, &fc);
    p9_mem_open(&m, &cfg);
    struct p9c *c = &m.c;
    struct p9c_set set = {.valid = 1};
    assert_ok(p9c_mount(c, 65536, 0, 0));
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_int_equal(p9c_lopen(c, 1, 1), -EROFS);
    assert_int_equal(p9c_lopen(c, 1, 01000), -EROFS);
    assert_int_equal(p9c_setattr(c, 1, &set), -EROFS);
    assert_int_equal(p9c_xattrcreate(c, 1, "user.a", 3, 0), -EROFS);
    assert_int_equal(p9c_mkdir(c, 0, "d", 0755, 0), -EROFS);
    assert_int_equal(p9c_unlinkat(c, 0, "f", 0), -EROFS);
    assert_int_equal(p9c_rename(c, 1, 0, "g"), -EROFS);
    assert_int_equal(p9c_link(c, 0, 1, "g"), -EROFS);
    assert_int_equal(p9c_lcreate(c, 0, "g", 2, 0600, 0), -EROFS);
    assert_ok(p9c_lopen(c, 1, 0));
    p9_mem_stop(&m);
}

static void host_line(struct p9_mem *m, const char *s)
{
    int fd = open(tree_path(&m->tree, "f"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, s, strlen(s)), strlen(s));
    close(fd);
}

static void host_has(struct p9_mem *m, const char *want)
{
    char buf[64] = "";
    int fd = open(tree_path(&m->tree, "f"), O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, buf, sizeof(buf) - 1) >= 0);
    close(fd);
    assert_string_equal(buf, want);
}

/* Through a fid with O_APPEND come appends, and pages of the client's cache. */
static void test_append(void **state)
{
    struct p9_mem m;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    tree_write(&m.tree, "f", "");
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_ok(p9c_lopen(c, 1, 02 | 02000 | 010000)); /* and O_DSYNC */
    assert_int_equal(p9c_write(c, 1, 0, "AAAA", 4), 4);
    host_line(&m, "HH");
    assert_int_equal(p9c_write(c, 1, 4, "BB", 2), 2); /* where it believes the end */
    host_has(&m, "AAAAHHBB");
    assert_int_equal(p9c_write(c, 1, 0, "aa", 2), 2); /* its first page once more */
    host_has(&m, "aaAAHHBB");
    assert_int_equal(p9c_write(c, 1, 8, "CC", 2), 2);
    host_has(&m, "aaAAHHBBCC");
    assert_ok(truncate(tree_path(&m.tree, "f"), 0));
    assert_int_equal(p9c_write(c, 1, 10, "D", 1), 1); /* it does not know yet */
    host_has(&m, "D");
    assert_int_equal(p9c_write(c, 1, 1, "E", 1), 1); /* and now it does */
    host_has(&m, "DE");
    p9_mem_stop(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),      cmocka_unit_test(test_walk),
        cmocka_unit_test(test_attach_below), cmocka_unit_test(test_read_write),
        cmocka_unit_test(test_short_room),   cmocka_unit_test(test_readdir),
        cmocka_unit_test(test_append),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_setattr),      cmocka_unit_test(test_owner),
        cmocka_unit_test(test_xattr),        cmocka_unit_test(test_readonly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
