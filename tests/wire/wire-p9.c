/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/wire/wire-p9.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQ_AT   0x100000u /* in the device's memory */
#define REPLY_AT 0x200000u

/* ---- how messages travel ---- */

ssize_t p9_by_socket(void *user, const void *t, size_t len, void *r, size_t max)
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
ssize_t p9_by_ring(void *user, const void *t, size_t len, void *r, size_t max)
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

char p9_path[96];

int p9_dial(struct wire *w)
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

void p9_mounted(struct p9c *c, p9c_transact_fn *fn, void *user)
{
    p9c_init(c, fn, user, P9_MSIZE);
    assert_int_equal(p9c_mount(c, P9_MSIZE, P9_ROOT, 0), 0);
}

/* 9P only; @listen: its address. */
void p9_spawn(struct wire *w, const char *listen, int keep)
{
    char source[128], addr[128];
    snprintf(source, sizeof(source), "--shared-dir=%s", w->share);
    snprintf(addr, sizeof(addr), "--p9-listen=%s", listen);
    wire_exec(w, (const char *const[]){source, addr, "--protocol=9p", "--xattr", NULL}, keep);
}

void p9_spawn_unix(struct wire *w)
{
    char addr[128];
    snprintf(p9_path, sizeof(p9_path), "%s/p9", w->dir);
    snprintf(addr, sizeof(addr), "unix:%s", p9_path);
    p9_spawn(w, addr, -1);
}

void p9_stopped(struct wire *w)
{
    int status = fe_daemon_stop(&w->d);
    unlink(p9_path);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int p9_listen_tcp(uint16_t *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0); /* some free port */
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    *port = ntohs(in.sin_port);
    return fd;
}

int p9_dial_tcp(uint32_t host, uint16_t port)
{
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(host)}};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

/* ---- both protocols ---- */

void p9_both_up(struct wire *w, struct p9_both *b, bool relisten)
{
    char sock[128];
    snprintf(p9_path, sizeof(p9_path), "%s/p9", w->dir);
    snprintf(sock, sizeof(sock), "--p9-socket-path=%s", p9_path);
    wire_spawn(w, (const char *const[]){"--protocol=both", sock, "--tag=shared", "--posix-lock",
                                        relisten ? "--relisten" : NULL, NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    fe_vhost_init(&b->v, p9_dial(w));
    assert_int_equal(fe_mem_init(&b->mem, 1u << 20, 4u << 20, 1u << 20), 0);
    assert_int_equal(fe_vhost_start(&b->v, &b->mem, 1, WIRE_QUEUE), 0);
    p9_mounted(&b->c, p9_by_ring, &b->v);
}

void p9_both_down(struct p9_both *b)
{
    p9c_free(&b->c);
    fe_vhost_close(&b->v);
    fe_mem_free(&b->mem);
}

/* ---- one life of a file ---- */

static bool dir_has(struct p9c *c, const char *name)
{
    uint8_t buf[8192];
    uint64_t off = 0;
    bool found = false;
    ssize_t n;
    assert_int_equal(p9c_walk(c, P9_ROOT, 90, ""), 0);
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

void p9_live(struct p9c *c, struct wire *w)
{
    char buf[64];
    struct stat st;
    assert_int_equal(p9c_walk(c, P9_ROOT, 2, ""), 0);
    assert_int_equal(p9c_lcreate(c, 2, "new", P9_RDWR, 0640, 0), 0);
    assert_int_equal(p9c_write(c, 2, 0, "hello 9p", 8), 8);
    assert_int_equal(p9c_read(c, 2, 6, buf, sizeof(buf)), 2);
    assert_memory_equal(buf, "9p", 2);
    assert_int_equal(stat(wire_path(w, "new"), &st), 0);
    assert_int_equal(st.st_size, 8);
    assert_true(dir_has(c, "new"));
    assert_int_equal(p9c_clunk(c, 2), 0);
    assert_int_equal(p9c_walk(c, P9_ROOT, 2, "dir/file"), 0);
    assert_int_equal(p9c_lopen(c, 2, 0), 0);
    assert_int_equal(p9c_read(c, 2, 0, buf, sizeof(buf)), 10);
    assert_memory_equal(buf, "0123456789", 10);
    assert_int_equal(p9c_clunk(c, 2), 0);
    assert_int_equal(p9c_unlinkat(c, P9_ROOT, "new", 0), 0);
    assert_int_equal(stat(wire_path(w, "new"), &st), -1);
    assert_false(dir_has(c, "new"));
    assert_int_equal(p9c_walk(c, P9_ROOT, 2, "new"), -ENOENT);
}

int p9_make(void **state)
{
    int rc = wire_make(state);
    if (rc == 0) {
        struct wire *w = *state;
        rc = chmod(w->dir, 0755);
    }
    return rc;
}
