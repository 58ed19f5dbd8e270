/* SPDX-License-Identifier: BSD-3-Clause
 * Hostile 9P clients: messages that lie, names that lead out, floods, and many at once. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/p9-mem.h"

/* Send what was built with another size in its header. */
static int send_with_size(struct p9_mem *m, uint32_t size, size_t len)
{
    struct p9c *c = &m->c;
    memcpy(c->t, &size, 4);
    ssize_t n = c->transact(c->user, c->t, len, c->r, c->max);
    return n == 0 ? 1 : p9c_check(c, (size_t)n);
}

static void test_sizes(void **state)
{
    struct p9_mem m;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    p9c_begin(c, 120);
    p9c_put32(c, 9);
    size_t len = p9c_end(c);
    assert_int_equal(send_with_size(&m, (uint32_t)len + 1, len), -EINVAL);
    assert_int_equal(send_with_size(&m, (uint32_t)len - 1, len), -EINVAL);
    assert_int_equal(send_with_size(&m, 0, len), -EINVAL);
    assert_int_equal(send_with_size(&m, UINT32_MAX, len), -EINVAL);
    assert_int_equal(send_with_size(&m, (uint32_t)len, len), -EBADF);
    assert_int_equal(send_with_size(&m, 6, 6), 1); /* no answer to less than a header */
    for (unsigned type = 0; type < 256; type++) {  /* every message cut short, and every number */
        p9c_begin(c, (uint8_t)type);
        int rc = p9c_send(c);
        assert_true(rc == -EINVAL || rc == -EOPNOTSUPP);
    }
    /* Longer than agreed on; longer than any message of its kind can be. */
    assert_ok(p9c_mount(c, 65536, 0, 0));
    p9c_begin(c, 72);
    p9c_put32(c, 0);
    p9c_put16(c, 40000);
    for (unsigned i = 0; i < 40000; i++)
        p9c_put8(c, 'a');
    p9c_put64(c, 0);
    assert_int_equal(p9c_send(c), -ENAMETOOLONG);
    for (unsigned i = 0; i < 40000; i++)
        p9c_put8(c, 'a');
    assert_int_equal(p9c_send(c), -EMSGSIZE);
    /* A write that says more or less than it brings. */
    tree_write(&m.tree, "f", "");
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_ok(p9c_lopen(c, 1, 2));
    for (uint32_t lie = 0; lie <= 8; lie += 8) {
        p9c_begin(c, 118);
        p9c_put32(c, 1);
        p9c_put64(c, 0);
        p9c_put32(c, lie);
        p9c_put32(c, 0x41414141);
        assert_int_equal(p9c_send(c), -EINVAL);
    }
    /* Segments that are not in our memory. */
    p9c_begin(c, 120);
    p9c_put32(c, 1);
    struct p9_msg *msg = p9_msg_new(c->t, p9c_end(c), 100);
    msg->chain.unmapped = true;
    p9_conn_handle(m.conn, &msg->chain);
    memcpy(c->r, msg->rep, p9_msg_wait(msg));
    assert_int_equal(p9c_check(c, msg->done), -EFAULT);
    p9_msg_free(msg);
    assert_ok(p9c_clunk(c, 1));
    p9_mem_stop(&m);
}

static void test_tags(void **state)
{
    struct p9_mem m;
    p9_mem_start(&m);
    m.c.tag = 0xffff; /* Tversion's alone */
    assert_int_equal(p9c_clunk(&m.c, 0), -EINVAL);
    m.c.tag = 5;
    p9c_begin(&m.c, 100);
    p9c_put32(&m.c, 8192);
    p9c_put_str(&m.c, "9P2000.L");
    assert_int_equal(p9c_send(&m.c), -EINVAL);
    assert_ok(p9c_clunk(&m.c, 0));
    p9_mem_stop(&m);
}

/* Every message that takes a name, each as it sends it. */
static int by_name(struct p9c *c, unsigned which, const char *name)
{
    switch (which) {
    case 0:
        return p9c_mkdir(c, 0, name, 0755, 0);
    case 1:
        return p9c_symlink(c, 0, name, "t", 0);
    case 2:
        return p9c_mknod(c, 0, name, S_IFREG | 0644, 0, 0, 0);
    case 3:
        return p9c_link(c, 0, 1, name);
    case 4:
        return p9c_rename(c, 1, 0, name);
    case 5:
        return p9c_renameat(c, 0, "f", 0, name);
    case 6:
        return p9c_renameat(c, 0, name, 0, "g");
    case 7:
        return p9c_unlinkat(c, 0, name, 0);
    case 8:
        return p9c_unlinkat(c, 0, name, 0x200);
    case 9:
        return p9c_lcreate(c, 0, name, 2, 0644, 0);
    default: /* p9c_walk() would take it apart */
        p9c_begin(c, 110);
        p9c_put32(c, 0);
        p9c_put32(c, 5);
        p9c_put16(c, 1);
        p9c_put_str(c, name);
        return p9c_send(c);
    }
}

static void test_names(void **state)
{
    struct p9_mem m;
    char outside[256], abs[256], longname[300];
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    assert_ok(mkdir(tree_path(&m.tree, "d"), 0755));
    tree_write(&m.tree, "f", "");
    assert_ok(p9c_walk(c, 0, 1, "f"));
    snprintf(outside, sizeof(outside), "../%s-out", m.tree.dir + 5);
    snprintf(abs, sizeof(abs), "%s-abs", m.tree.dir);
    memset(longname, 'n', sizeof(longname) - 1);
    longname[sizeof(longname) - 1] = '\0';
    const char *bad[] = {"", ".", "..", "/", "d/x", "d/..", outside, abs, longname};
    for (unsigned which = 0; which <= 10; which++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
            int rc = by_name(c, which, bad[i]);
            if (which == 10 && strcmp(bad[i], "..") == 0) {
                assert_ok(rc); /* the root again */
                assert_ok(p9c_clunk(c, 5));
            } else {
                assert_int_equal(rc, bad[i] == longname ? -ENAMETOOLONG : -EINVAL);
            }
        }
    }
    assert_true(access(abs, F_OK) != 0);
    p9c_begin(c, 72); /* a NUL in the middle */
    p9c_put32(c, 0);
    p9c_put16(c, 3);
    p9c_put_bytes(c, "a\0b", 3);
    p9c_put64(c, 0);
    assert_int_equal(p9c_send(c), -EINVAL);
    assert_false(tree_has(&m.tree, "a"));
    p9_mem_stop(&m);
}

/* CVE-2023-2861, CVE-2020-35517: what the guest makes is not opened for it. Links are not followed:
 * CVE-2016-9602. */
static void test_special(void **state)
{
    struct p9_mem m;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    assert_ok(p9c_mknod(c, 0, "fifo", S_IFIFO | 0666, 0, 0, 0));
    assert_ok(p9c_mknod(c, 0, "sock", S_IFSOCK | 0666, 0, 0, 0));
    int rc = p9c_mknod(c, 0, "null", S_IFCHR | 0666, 1, 3, 0);
    assert_true(rc == 0 || rc == -EPERM);
    assert_int_equal(p9c_mknod(c, 0, "dir", S_IFDIR | 0755, 0, 0, 0), -EINVAL);
    assert_ok(p9c_symlink(c, 0, "etc", "/etc", 0));
    const char *names[] = {"fifo", "sock", "null"};
    for (unsigned i = 0; i < (rc == 0 ? 3 : 2); i++) {
        assert_ok(p9c_walk(c, 0, 1, names[i]));
        assert_int_equal(p9c_lopen(c, 1, 0), -ENXIO);
        assert_int_equal(p9c_lopen(c, 1, 1), -ENXIO);
        assert_ok(p9c_clunk(c, 1));
        assert_ok(p9c_walk(c, 0, 1, ""));
        assert_int_equal(p9c_lcreate(c, 1, names[i], 2, 0644, 0), -ENXIO);
        assert_ok(p9c_clunk(c, 1));
    }
    assert_int_equal(p9c_walk(c, 0, 1, "etc/passwd"), -ENOENT); /* one qid: the link itself */
    assert_ok(p9c_walk(c, 0, 1, "etc"));
    assert_int_equal(p9c_walk(c, 1, 2, "passwd"), -ENOTDIR);
    assert_int_equal(p9c_lopen(c, 1, 0), -ELOOP);
    p9_mem_stop(&m);
}

static void test_fid_flood(void **state)
{
    struct p9_mem m;
    unsigned made = 1;
    p9_mem_start(&m);
    struct p9c *c = &m.c;
    unsigned fds = count_fds();
    while (p9c_walk(c, 0, made, "") == 0)
        made++;
    assert_int_equal(made, 100); /* p9_mem_config() */
    assert_int_equal(p9c_walk(c, 0, made, ""), -ENFILE);
    assert_int_equal(p9c_attach(c, made, "", 0), -ENFILE);
    assert_int_equal(p9c_walk(c, 0, UINT32_MAX, ""), -EINVAL);
    assert_ok(p9c_clunk(c, 7));
    assert_ok(p9c_walk(c, 0, 7, ""));
    p9_conn_reset(m.conn);
    assert_int_equal(count_fds(), fds);
    p9_mem_stop(&m);
}

/* Many connections, each with as many as it may have. */
static void test_fid_flood_by_many(void **state)
{
    struct p9_mem m;
    struct p9_conn *conn[6];
    unsigned made = 1; /* the root of m.conn */
    p9_mem_start(&m);
    for (unsigned i = 0; i < G_N_ELEMENTS(conn); i++) {
        struct p9c c;
        conn[i] = p9_conn_new(m.srv);
        p9_mem_client(&c, conn[i]);
        assert_int_equal(p9c_mount(&c, 65536, 0, 0), i < 4 ? 0 : -ENFILE);
        for (uint32_t fid = 1; i < 4 && p9c_walk(&c, 0, fid, "") == 0; fid++)
            made++;
        made += i < 4;
        p9c_free(&c);
    }
    assert_int_equal(made, 400);
    assert_int_equal(p9c_walk(&m.c, 0, 1, ""), -ENFILE);
    assert_ok(p9c_clunk(&m.c, 0));
    assert_ok(p9c_attach(&m.c, 0, "", 0)); /* one's own place is there */
    for (unsigned i = 0; i < G_N_ELEMENTS(conn); i++)
        p9_conn_free(conn[i]);
    assert_ok(p9c_walk(&m.c, 0, 1, ""));
    p9_mem_stop(&m);
}

/* As many as a device may have: made and dropped in time that grows with the number. */
static void test_many_fids(void **state)
{
    struct p9_mem m;
    struct p9_config cfg = p9_mem_config();
    const uint32_t n = 60000;
    tree_start(&m.tree);
    cfg.max_fids = cfg.max_fids_all = n + 1;
    p9_mem_open(&m, &cfg);
    assert_ok(p9c_mount(&m.c, 65536, 0, 0));
    m.out_room = 64;
    gint64 begin = g_get_monotonic_time();
    for (uint32_t fid = 1; fid <= n; fid++)
        assert_ok(p9c_walk(&m.c, 0, fid, ""));
    gint64 made = g_get_monotonic_time();
    p9_conn_reset(m.conn);
    gint64 dropped = g_get_monotonic_time();
    assert_true(dropped - made < (made - begin) + G_USEC_PER_SEC);
    p9_mem_stop(&m);
}

/* CVE-2016-9104 and its kind: sizes and offsets of attribute values. */
static void test_xattr_lies(void **state)
{
    struct p9_mem m;
    struct p9_config cfg = p9_mem_config();
    char big[100] = {0};
    uint32_t fid = 10;
    tree_start(&m.tree);
    cfg.max_fids = cfg.max_fids_all = 1000;
    p9_mem_open(&m, &cfg);
    struct p9c *c = &m.c;
    assert_ok(p9c_mount(c, 1u << 20, 0, 0));
    tree_write(&m.tree, "f", "");
    assert_ok(p9c_walk(c, 0, 1, "f"));
    assert_ok(p9c_walk(c, 0, 2, "f"));
    assert_int_equal(p9c_xattrcreate(c, 1, "user.a", 65537, 0), -E2BIG);
    assert_int_equal(p9c_xattrcreate(c, 1, "user.a", UINT64_MAX, 0), -E2BIG);
    assert_int_equal(p9c_xattrcreate(c, 1, "", 1, 0), -ERANGE);
    assert_int_equal(p9c_xattrcreate(c, 1, "user.a", 1, 4), -EINVAL);
    assert_ok(p9c_xattrcreate(c, 1, "user.a", 10, 0));
    assert_int_equal(p9c_xattrcreate(c, 1, "user.a", 10, 0), -EINVAL); /* once */
    assert_int_equal(p9c_read(c, 1, 0, big, 10), -EBADF);
    assert_int_equal(p9c_write(c, 1, UINT64_MAX, big, 1), -EINVAL);
    assert_int_equal(p9c_write(c, 1, UINT64_MAX - 5, big, 100), -EINVAL);
    assert_int_equal(p9c_write(c, 1, 0, big, 11), -ENOSPC);
    assert_int_equal(p9c_write(c, 1, 0, big, 9), 9);
    assert_int_equal(p9c_clunk(c, 1), -EINVAL); /* not all of it came */
    assert_int_equal(p9c_clunk(c, 1), -EBADF);
    assert_int_equal(p9c_xattrwalk(c, 2, 3, "user.a"), -ENODATA);
    /* Memory that many values hold together is bounded. */
    while (p9c_walk(c, 2, fid, "") == 0 && p9c_xattrcreate(c, fid, "user.a", 65536, 0) == 0)
        fid++;
    assert_true(fid > 100 && fid < 300);
    assert_int_equal(p9c_xattrcreate(c, fid, "user.a", 65536, 0), -ENOMEM);
    /* More tightly for who came by a socket; what was not set is given back. */
    assert_ok(p9c_mount(c, 1u << 20, 0, 0));
    p9_conn_bound_values(m.conn, 256 << 10);
    for (fid = 1; fid < 4; fid++) {
        assert_ok(p9c_walk(c, 0, fid, "f"));
        assert_ok(p9c_xattrcreate(c, fid, "user.a", 65536, 0));
    }
    assert_ok(p9c_walk(c, 0, fid, "f"));
    assert_int_equal(p9c_xattrcreate(c, fid, "user.a", 65536, 0), -ENOMEM);
    p9_mem_stop(&m);
}

/* ---- many at once ---- */

#define THREADS 4
#define ROUNDS  3000

struct crowd {
    struct p9_conn *conn;
    unsigned seed, rounds;
    atomic_bool *stop;
};

/* Any of these may fail, none may harm: all threads use the same few numbers and names.
 * CVE-2021-20181, CVE-2018-19364, CVE-2018-19489. */
static void one_step(struct p9c *c, unsigned r)
{
    static const char *names[] = {"a", "b", "d/a", "d"};
    char buf[64];
    uint8_t status;
    struct p9c_attr attr;
    uint32_t fid = 1 + r / 16 % 3;
    const char *name = names[r / 64 % 4];
    struct p9c_lock lk = {
        .type = (uint8_t)(r / 256 % 3), .flags = r / 1024 % 2, .proc_id = r, .client = "x"};

    switch (r % 16) {
    case 0:
    case 1:
        p9c_walk(c, 0, fid, name);
        break;
    case 2:
        p9c_walk(c, fid, fid, r & 64 ? ".." : "a");
        break;
    case 3:
    case 4:
        p9c_lopen(c, fid, r & 64 ? 2 : 0);
        break;
    case 5:
        p9c_lcreate(c, fid, "a", 2 | 0100, 0644, 0);
        break;
    case 6:
        p9c_read(c, fid, 0, buf, sizeof(buf));
        break;
    case 7:
        p9c_write(c, fid, r % 1000, "data", 4);
        break;
    case 8:
        p9c_getattr(c, fid, 0x3fff, &attr);
        break;
    case 9:
        p9c_rename(c, fid, 0, name[1] ? "b" : name);
        break;
    case 10:
        p9c_renameat(c, 0, r & 64 ? "a" : "b", 0, r & 64 ? "b" : "a");
        break;
    case 11:
        p9c_readdir(c, fid, 0, buf, sizeof(buf));
        break;
    case 12:
        p9c_lock(c, fid, &lk, &status);
        break;
    case 13:
        p9c_xattrcreate(c, fid, "user.a", 4, 0);
        break;
    case 14:
        if (r & 64)
            p9c_remove(c, fid);
        else
            p9c_flush(c, (uint16_t)(1 + r / 256 % THREADS));
        break;
    case 15:
        p9c_clunk(c, fid);
        break;
    }
}

static void *crowd_main(void *arg)
{
    struct crowd *w = arg;
    struct p9c c;

    fs_thread_start();
    p9_mem_client(&c, w->conn);
    c.tag = (uint16_t)w->seed;
    for (unsigned i = 0; i < w->rounds; i++)
        one_step(&c, (unsigned)rand_r(&w->seed) >> 4);
    p9c_free(&c);
    return NULL;
}

/* Locks that wait are ended from here, so that all threads come to their end. */
static void *cancel_main(void *arg)
{
    struct crowd *w = arg;

    while (!atomic_load(w->stop)) {
        p9_conn_cancel(w->conn);
        usleep(200);
    }
    return NULL;
}

/* A new session again and again: it ends the waits, takes all fids, and waits for no one who waits
 * for it. */
static void *version_main(void *arg)
{
    struct crowd *w = arg;
    struct p9c c;

    fs_thread_start();
    p9_mem_client(&c, w->conn);
    while (!atomic_load(w->stop)) {
        p9c_mount(&c, 65536, 0, 0);
        usleep(500);
    }
    p9c_free(&c);
    return NULL;
}

/* Four clients on one connection, and @other beside them. */
static void run_crowd(void *(*other)(void *), unsigned rounds)
{
    struct p9_mem m;
    pthread_t thread[THREADS + 1];
    struct crowd w[THREADS + 1];
    atomic_bool stop = false;
    p9_mem_start(&m);
    unsigned fds = count_fds();
    assert_ok(mkdir(tree_path(&m.tree, "d"), 0755));
    tree_write(&m.tree, "a", "aaaa");
    tree_write(&m.tree, "d/a", "bbbb");
    for (unsigned i = 0; i <= THREADS; i++) {
        w[i] = (struct crowd){.conn = m.conn, .seed = i + 1, .rounds = rounds, .stop = &stop};
        assert_ok(pthread_create(&thread[i], NULL, i < THREADS ? crowd_main : other, &w[i]));
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    atomic_store(&stop, true);
    pthread_join(thread[THREADS], NULL);
    p9_conn_reset(m.conn);
    assert_int_equal(count_fds(), fds);
    p9_mem_stop(&m);
}

static void test_crowd(void **state)
{
    run_crowd(cancel_main, ROUNDS);
}

static void test_version_in_a_crowd(void **state)
{
    run_crowd(version_main, ROUNDS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),     cmocka_unit_test(test_tags),
        cmocka_unit_test(test_names),     cmocka_unit_test(test_special),
        cmocka_unit_test(test_fid_flood), cmocka_unit_test(test_fid_flood_by_many),
        cmocka_unit_test(test_many_fids), cmocka_unit_test(test_xattr_lies),
        cmocka_unit_test(test_crowd),     cmocka_unit_test(test_version_in_a_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
