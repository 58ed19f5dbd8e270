/* SPDX-License-Identifier: BSD-3-Clause
 * The daemon's 9P: over a unix socket, an inherited one, TCP and a virtqueue, and next to virtio-fs
 * on one tree. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/p9-client.h"
#include "tests/wire/wire.h"

#define MSIZE    (64u << 10)
#define ROOT     1
#define O_RDWR_  2
#define LOCK_OK  0
#define LOCK_NO  1
#define WRLCK    1
#define REQ_AT   0x100000u /* in the device's memory */
#define REPLY_AT 0x200000u

/* ---- how messages travel ---- */

static ssize_t by_socket(void *user, const void *t, size_t len, void *r, size_t max)
{
    int fd = *(int *)user;
    uint32_t size;
    if (send(fd, t, len, MSG_NOSIGNAL) != (ssize_t)len)
        return -EPIPE;
    if (recv(fd, r, 4, MSG_WAITALL) != 4)
        return -ENODATA;
    memcpy(&size, r, sizeof(size));
    if (size < 7 || size > max)
        return -EPROTO;
    size_t rest = size - 4;
    return recv(fd, (char *)r + 4, rest, MSG_WAITALL) == (ssize_t)rest ? (ssize_t)size : -ENODATA;
}

/* One request, one reply buffer, descriptors 0 and 1 of ring 0. */
static ssize_t by_ring(void *user, const void *t, size_t len, void *r, size_t max)
{
    struct fe_vhost *v = user;
    struct fe_ring *ring = &v->ring[0];
    struct fe_region *m = &v->mem->r[1];
    uint32_t id, used;

    memcpy(m->ptr + REQ_AT, t, len);
    fe_ring_desc(ring, 0, m->gpa + REQ_AT, (uint32_t)len, VRING_DESC_F_NEXT, 1);
    fe_ring_desc(ring, 1, m->gpa + REPLY_AT, (uint32_t)max, VRING_DESC_F_WRITE, 0);
    fe_ring_push(ring, 0);
    fe_ring_publish(ring);
    while (!fe_ring_pop(ring, &id, &used)) {
        if (fe_ring_wait(ring, FE_TIMEOUT_MS) < 0)
            return -ETIMEDOUT;
    }
    memcpy(r, m->ptr + REPLY_AT, used);
    return used;
}

/* ---- starting ---- */

static char p9_path[96];

static int dial_unix(struct wire *w)
{
    struct timeval limit = {.tv_sec = 20};
    int fd = fe_daemon_connect(&w->d, p9_path, FE_TIMEOUT_MS);
    if (fd < 0) {
        char *log = fe_daemon_log(&w->d);
        print_message("the daemon said:\n%s\n", log);
        free(log);
    }
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static void mounted(struct p9c *c, p9c_transact_fn *fn, void *user)
{
    p9c_init(c, fn, user, MSIZE);
    assert_int_equal(p9c_mount(c, MSIZE, ROOT, 0), 0);
}

/* 9P only; @listen: its address. */
static void spawn_9p(struct wire *w, const char *listen, int keep)
{
    char source[128], addr[128];
    snprintf(source, sizeof(source), "--shared-dir=%s", w->share);
    snprintf(addr, sizeof(addr), "--p9-listen=%s", listen);
    wire_exec(w, (const char *const[]){source, addr, "--protocol=9p", "--xattr", NULL}, keep);
}

static void spawn_unix(struct wire *w)
{
    char addr[128];
    snprintf(p9_path, sizeof(p9_path), "%s/p9", w->dir);
    snprintf(addr, sizeof(addr), "unix:%s", p9_path);
    spawn_9p(w, addr, -1);
}

static void stopped(struct wire *w)
{
    int status = fe_daemon_stop(&w->d);
    unlink(p9_path);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- one life of a file ---- */

static bool dir_has(struct p9c *c, const char *name)
{
    uint8_t buf[8192];
    uint64_t off = 0;
    bool found = false;
    ssize_t n;
    assert_int_equal(p9c_walk(c, ROOT, 90, ""), 0);
    assert_int_equal(p9c_lopen(c, 90, 0), 0);
    while ((n = p9c_readdir(c, 90, off, buf, sizeof(buf))) > 0) {
        for (ssize_t at = 0; at < n;) {
            uint16_t len;
            memcpy(&off, buf + at + 13, sizeof(off));
            memcpy(&len, buf + at + 22, sizeof(len));
            found |= len == strlen(name) && memcmp(buf + at + 24, name, len) == 0;
            at += 24 + len;
        }
    }
    assert_int_equal(n, 0);
    assert_int_equal(p9c_clunk(c, 90), 0);
    return found;
}

static void live(struct p9c *c, struct wire *w)
{
    char buf[64];
    struct stat st;
    assert_int_equal(p9c_walk(c, ROOT, 2, ""), 0);
    assert_int_equal(p9c_lcreate(c, 2, "new", O_RDWR_, 0640, 0), 0);
    assert_int_equal(p9c_write(c, 2, 0, "hello 9p", 8), 8);
    assert_int_equal(p9c_read(c, 2, 6, buf, sizeof(buf)), 2);
    assert_memory_equal(buf, "9p", 2);
    assert_int_equal(stat(wire_path(w, "new"), &st), 0);
    assert_int_equal(st.st_size, 8);
    assert_true(dir_has(c, "new"));
    assert_int_equal(p9c_clunk(c, 2), 0);
    assert_int_equal(p9c_walk(c, ROOT, 2, "dir/file"), 0);
    assert_int_equal(p9c_lopen(c, 2, 0), 0);
    assert_int_equal(p9c_read(c, 2, 0, buf, sizeof(buf)), 10);
    assert_memory_equal(buf, "0123456789", 10);
    assert_int_equal(p9c_clunk(c, 2), 0);
    assert_int_equal(p9c_unlinkat(c, ROOT, "new", 0), 0);
    assert_int_equal(stat(wire_path(w, "new"), &st), -1);
    assert_false(dir_has(c, "new"));
    assert_int_equal(p9c_walk(c, ROOT, 2, "new"), -ENOENT);
}

/* ---- tests ---- */

static void over_unix(void **state)
{
    struct wire *w = *state;
    struct p9c c;
    struct stat st;
    spawn_unix(w);
    int fd = dial_unix(w);
    assert_int_equal(stat(p9_path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    mounted(&c, by_socket, &fd);
    live(&c, w);
    p9c_free(&c);
    close(fd);
    stopped(w);
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
    spawn_9p(w, addr, pair[0]);
    close(pair[0]);
    mounted(&c, by_socket, &pair[1]);
    live(&c, w);
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
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    struct p9c c;
    char addr[32], buf[16];
    if (geteuid() != 0)
        skip();
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(l, (struct sockaddr *)&in, sizeof(in)), 0); /* some free port */
    assert_int_equal(listen(l, 4), 0);
    assert_int_equal(getsockname(l, (struct sockaddr *)&in, &len), 0);
    snprintf(addr, sizeof(addr), "fd:%d", l);
    spawn_9p(w, addr, l);
    close(l);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    mounted(&c, by_socket, &fd);
    wire_put(w, "secret", "x");
    assert_int_equal(chmod(wire_path(w, "secret"), 0600), 0);
    assert_int_equal(p9c_walk(&c, ROOT, 2, "secret"), 0);
    assert_int_equal(p9c_lopen(&c, 2, 0), -EACCES);
    assert_int_equal(p9c_mkdir(&c, ROOT, "mine", 0777, 0), -EACCES);
    assert_int_equal(p9c_walk(&c, ROOT, 3, "file"), 0);
    assert_int_equal(p9c_lopen(&c, 3, 0), 0);
    assert_int_equal(p9c_read(&c, 3, 0, buf, sizeof(buf)), 6);
    p9c_free(&c);
    close(fd);
    unlink(wire_path(w, "secret"));
    stopped(w);
}

static void hung_up(int fd)
{
    char b;
    ssize_t n = recv(fd, &b, 1, 0);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(fd);
}

static void hostile(void **state)
{
    static const uint32_t sizes[] = {0, 6, 0xffffffff, 8193};
    struct wire *w = *state;
    struct p9c c;
    uint8_t junk[256];
    spawn_unix(w);
    for (unsigned i = 0; i < 4; i++) {
        int fd = dial_unix(w);
        assert_int_equal(send(fd, &sizes[i], 4, MSG_NOSIGNAL), 4);
        hung_up(fd);
    }
    for (unsigned i = 0; i < 200; i++) { /* nonsense of all kinds, and gone */
        int fd = dial_unix(w);
        uint32_t size = i + 7;
        for (unsigned k = 0; k < sizeof(junk); k++)
            junk[k] = (uint8_t)(k * 37 + i * 11);
        memcpy(junk, &size, sizeof(size));
        (void)!send(fd, junk, sizeof(junk), MSG_NOSIGNAL);
        close(fd);
    }
    int slow = dial_unix(w), fd = dial_unix(w);
    static const uint8_t version[] = {21, 0, 0,   0,   100, 255, 255, 0,   16,  0,  0,
                                      8,  0, '9', 'P', '2', '0', '0', '0', '.', 'L'};
    for (unsigned i = 0; i < sizeof(version); i++)
        assert_int_equal(send(slow, version + i, 1, MSG_NOSIGNAL), 1);
    assert_int_equal(recv(slow, junk, 21, MSG_WAITALL), 21);
    assert_int_equal(junk[4], 101);
    mounted(&c, by_socket, &fd);
    live(&c, w);
    p9c_free(&c);
    close(fd);
    close(slow);
    stopped(w);
}

/* ---- both protocols ---- */

struct both {
    struct fe_mem mem;
    struct fe_vhost v;
    struct p9c c;
};

static void both_up(struct wire *w, struct both *b, bool relisten)
{
    char sock[128];
    snprintf(p9_path, sizeof(p9_path), "%s/p9", w->dir);
    snprintf(sock, sizeof(sock), "--p9-socket-path=%s", p9_path);
    wire_spawn(w, (const char *const[]){"--protocol=both", sock, "--tag=shared",
                                        relisten ? "--relisten" : NULL, NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    fe_vhost_init(&b->v, dial_unix(w));
    assert_int_equal(fe_mem_init(&b->mem, 1u << 20, 4u << 20, 1u << 20), 0);
    assert_int_equal(fe_vhost_start(&b->v, &b->mem, 1, WIRE_QUEUE), 0);
    mounted(&b->c, by_ring, &b->v);
}

static void p9_down(struct both *b)
{
    p9c_free(&b->c);
    fe_vhost_close(&b->v);
    fe_mem_free(&b->mem);
}

static void over_ring(void **state)
{
    struct wire *w = *state;
    struct both b;
    both_up(w, &b, false);
    live(&b.c, w);
    p9_down(&b);
    wire_alive(w); /* virtio-fs goes on */
    wire_finish(w, 0);
    unlink(p9_path);
}

static void one_tree(void **state)
{
    struct wire *w = *state;
    struct both b;
    struct fuse_entry_out e;
    uint64_t fh;
    char buf[32];
    both_up(w, &b, false);
    /* Made by 9P, read by virtio-fs. */
    assert_int_equal(p9c_walk(&b.c, ROOT, 2, ""), 0);
    assert_int_equal(p9c_lcreate(&b.c, 2, "by9p", O_RDWR_, 0644, 0), 0);
    assert_int_equal(p9c_write(&b.c, 2, 0, "from 9p", 7), 7);
    uint64_t node = wire_node(w, "by9p");
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh), 0);
    assert_int_equal(fe_read(&w->f, node, fh, 0, buf, sizeof(buf)), 7);
    assert_memory_equal(buf, "from 9p", 7);
    /* And the other way. */
    uint64_t fh2;
    assert_int_equal(fe_create(&w->f, FUSE_ROOT_ID, "byfuse", O_RDWR, 0644, &e, &fh2), 0);
    assert_int_equal(fe_write(&w->f, e.nodeid, fh2, 0, "from fuse", 9), 9);
    assert_int_equal(p9c_walk(&b.c, ROOT, 3, "byfuse"), 0);
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
    p9_down(&b);
    wire_finish(w, 0);
    unlink(p9_path);
}

/* One guest's end takes nothing from the other. */
static void one_resets(void **state)
{
    struct wire *w = *state;
    struct both b;
    uint8_t status = 77;
    uint64_t fh, node;
    char buf[32];
    both_up(w, &b, true);
    struct p9c_lock lk = {.type = WRLCK, .proc_id = 1, .client = "guest"};
    assert_int_equal(p9c_walk(&b.c, ROOT, 2, "file"), 0);
    assert_int_equal(p9c_lopen(&b.c, 2, O_RDWR_), 0);
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

    p9_down(&b); /* 9P: gone; its lock goes soon */
    int rc = -EAGAIN;
    for (unsigned i = 0; i < 500 && rc == -EAGAIN; i++) {
        usleep(10000);
        rc = fe_call(&w->f, FUSE_SETLK, node, &in, sizeof(in), NULL, 0, NULL);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(fe_read(&w->f, node, fh, 0, buf, sizeof(buf)), 6);
    wire_hangup(w);
    stopped(w);
    unlink(w->socket);
}

static int make(void **state)
{
    int rc = wire_make(state);
    if (rc == 0) {
        struct wire *w = *state;
        rc = chmod(w->dir, 0755);
    }
    return rc;
}

#define OWN(t) cmocka_unit_test_teardown(t, wire_cleanup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN(over_unix), OWN(over_inherited), OWN(over_tcp),   OWN(hostile),
        OWN(over_ring), OWN(one_tree),       OWN(one_resets),
    };
    return cmocka_run_group_tests(tests, make, wire_unmake);
}
