/* SPDX-License-Identifier: BSD-3-Clause
 * The daemon's 9P: over a unix socket, an inherited one, TCP and a virtqueue, and next to virtio-fs
 * on one tree. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/wire/wire-p9.h"

#define LOCK_OK 0
#define LOCK_NO 1
#define WRLCK   1

/* ---- tests ---- */

static void over_unix(void **state)
{
    struct wire *w = *state;
    struct p9c c;
    struct stat st;
    p9_spawn_unix(w);
    int fd = p9_dial(w);
    assert_int_equal(stat(p9_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    p9_mounted(&c, p9_by_socket, &fd);
    p9_live(&c, w);
    p9c_free(&c);
    close(fd);
    p9_stopped(w);
}

/* The daemon ends with the connection it was given. */
static void over_inherited(void **state)
{
    struct wire *w = *state;
    struct p9c c;
    int pair[2], status = -1;
    char addr[32];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    snprintf(addr, sizeof(addr), "fd:%d", pair[0]);
    p9_spawn(w, addr, pair[0]);
    close(pair[0]);
    p9_mounted(&c, p9_by_socket, &pair[1]);
    p9_live(&c, w);
    p9c_free(&c);
    close(pair[1]);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fe_daemon_stop(&w->d);
}

/* Whoever comes by TCP is nobody, whatever he says; root's files stay closed. */
static void over_tcp(void **state)
{
    struct wire *w = *state;
    struct p9c c;
    uint16_t port;
    char addr[32], buf[16];
    if (geteuid() != 0)
        skip();
    int l = p9_listen_tcp(&port);
    snprintf(addr, sizeof(addr), "fd:%d", l);
    p9_spawn(w, addr, l);
    close(l);
    int fd = p9_dial_tcp(INADDR_LOOPBACK, port);
    assert_true(fd >= 0);
    p9_mounted(&c, p9_by_socket, &fd);
    wire_put(w, "secret", "x");
    assert_int_equal(chmod(wire_path(w, "secret"), 0600), 0);
    assert_int_equal(p9c_walk(&c, P9_ROOT, 2, "secret"), 0);
    assert_int_equal(p9c_lopen(&c, 2, 0), -EACCES);
    assert_int_equal(p9c_mkdir(&c, P9_ROOT, "mine", 0777, 0), -EACCES);
    assert_int_equal(p9c_walk(&c, P9_ROOT, 3, "file"), 0);
    assert_int_equal(p9c_lopen(&c, 3, 0), 0);
    assert_int_equal(p9c_read(&c, 3, 0, buf, sizeof(buf)), 6);
    struct p9c_set cut = {.valid = 8};
    assert_int_equal(p9c_setattr(&c, 3, &cut), -EACCES);              /* open, but not for that */
    assert_int_equal(fe_daemon_log_count(&w->d, "cannot act as"), 0); /* the kernel has checked */
    p9c_free(&c);
    close(fd);
    unlink(wire_path(w, "secret"));
    p9_stopped(w);
}

/* ---- both protocols ---- */

static void over_ring(void **state)
{
    struct wire *w = *state;
    struct p9_both b;
    p9_both_up(w, &b, false);
    p9_live(&b.c, w);
    p9_both_down(&b);
    wire_alive(w); /* virtio-fs goes on */
    wire_finish(w, 0);
    unlink(p9_path);
}

static void one_tree(void **state)
{
    struct wire *w = *state;
    struct p9_both b;
    struct fuse_entry_out e;
    uint64_t fh;
    char buf[32];
    p9_both_up(w, &b, false);
    /* Made by 9P, read by virtio-fs. */
    assert_int_equal(p9c_walk(&b.c, P9_ROOT, 2, ""), 0);
    assert_int_equal(p9c_lcreate(&b.c, 2, "by9p", P9_RDWR, 0644, 0), 0);
    assert_int_equal(p9c_write(&b.c, 2, 0, "from 9p", 7), 7);
    uint64_t node = wire_node(w, "by9p");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    assert_int_equal(fe_read(&w->f, node, fh, 0, buf, sizeof(buf)), 7);
    assert_memory_equal(buf, "from 9p", 7);
    /* And the other way. */
    uint64_t fh2;
    assert_int_equal(fe_create(&w->f, FUSE_ROOT_ID, "byfuse", O_RDWR, 0644, &e, &fh2), 0);
    assert_int_equal(fe_write(&w->f, e.nodeid, fh2, 0, "from fuse", 9), 9);
    assert_int_equal(p9c_walk(&b.c, P9_ROOT, 3, "byfuse"), 0);
    assert_int_equal(p9c_lopen(&b.c, 3, 0), 0);
    assert_int_equal(p9c_read(&b.c, 3, 0, buf, sizeof(buf)), 9);
    assert_memory_equal(buf, "from fuse", 9);
    /* Locks exclude each other, both ways. */
    struct p9c_lock lk = {.type = WRLCK, .proc_id = 1, .client = "guest"};
    uint8_t status = 77;
    struct fuse_lk_in in = {
        .fh = fh, .owner = 1, .lk = {.start = 0, .end = INT64_MAX, .type = F_WRLCK}};
    assert_int_equal(p9c_lock(&b.c, 2, &lk, &status), 0);
    assert_int_equal(status, LOCK_OK);
    assert_int_equal(fe_call(&w->f, FUSE_SETLK, node, &in, sizeof(in), NULL, 0, NULL), -EAGAIN);
    lk.type = 2; /* unlock */
    assert_int_equal(p9c_lock(&b.c, 2, &lk, &status), 0);
    assert_int_equal(fe_call(&w->f, FUSE_SETLK, node, &in, sizeof(in), NULL, 0, NULL), 0);
    lk.type = WRLCK;
    assert_int_equal(p9c_lock(&b.c, 2, &lk, &status), 0);
    assert_int_equal(status, LOCK_NO);
    unlink(wire_path(w, "by9p"));
    unlink(wire_path(w, "byfuse"));
    p9_both_down(&b);
    wire_finish(w, 0);
    unlink(p9_path);
}

/* One guest's end takes nothing from the other. */
static void one_resets(void **state)
{
    struct wire *w = *state;
    struct p9_both b;
    uint8_t status = 77;
    uint64_t fh, node;
    char buf[32];
    p9_both_up(w, &b, true);
    struct p9c_lock lk = {.type = WRLCK, .proc_id = 1, .client = "guest"};
    assert_int_equal(p9c_walk(&b.c, P9_ROOT, 2, "file"), 0);
    assert_int_equal(p9c_lopen(&b.c, 2, P9_RDWR), 0);
    assert_int_equal(p9c_lock(&b.c, 2, &lk, &status), 0);
    assert_int_equal(status, LOCK_OK);
    node = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);

    wire_hangup(w); /* virtio-fs: gone, and there again */
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    assert_int_equal(p9c_read(&b.c, 2, 0, buf, sizeof(buf)), 6);
    node = wire_node(w, "file");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    struct fuse_lk_in in = {
        .fh = fh, .owner = 1, .lk = {.start = 0, .end = INT64_MAX, .type = F_WRLCK}};
    assert_int_equal(fe_call(&w->f, FUSE_SETLK, node, &in, sizeof(in), NULL, 0, NULL), -EAGAIN);

    p9_both_down(&b); /* 9P: gone; its lock goes soon */
    int rc = -EAGAIN;
    for (unsigned i = 0; i < 500 && rc == -EAGAIN; i++) {
        usleep(10000);
        rc = fe_call(&w->f, FUSE_SETLK, node, &in, sizeof(in), NULL, 0, NULL);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(fe_read(&w->f, node, fh, 0, buf, sizeof(buf)), 6);
    wire_hangup(w);
    p9_stopped(w);
    unlink(w->socket);
}

#define OWN(t) cmocka_unit_test_teardown(t, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN(over_unix), OWN(over_inherited), OWN(over_tcp),
        OWN(over_ring), OWN(one_tree),       OWN(one_resets),
    };
    return cmocka_run_group_tests(tests, p9_make, wire_teardown);
}
