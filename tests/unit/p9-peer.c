/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/p9-peer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/sock-files.h"

unsigned peer_patience_ms;

/* ---- the server under test ---- */

static void *run(void *arg)
{
    struct peer_server *t = arg;
    t->rc = p9_sock_run(t->s, NULL);
    return NULL;
}

void peer_start(struct peer_server *t, const struct p9_endpoint *ep)
{
    struct p9_sock_config cfg = {.threads = 3, .group = (gid_t)-1, .patience_ms = peer_patience_ms};
    t->s = p9_sock_new(&cfg);
    p9_sock_add(t->s, ep);
    assert_int_equal(pthread_create(&t->thread, NULL, run, t), 0);
}

int peer_setup(void **state)
{
    struct peer_server *t = g_new0(struct peer_server, 1);
    struct p9_endpoint ep;
    g_autofree char *addr = NULL;

    strcpy(t->dir, "/tmp/p9-sock-XXXXXX");
    if (!mkdtemp(t->dir))
        return -1;
    t->un.sun_family = AF_UNIX;
    snprintf(t->un.sun_path, sizeof(t->un.sun_path), "%s/s", t->dir);
    addr = g_strdup_printf("unix:%s", t->un.sun_path);
    assert_true(p9_listen_open(addr, NULL, &ep, NULL));
    t->files = ep.files;
    ep.check_peer = true; /* as if it was inherited */
    double_gate = false;
    double_handled = 0;
    peer_start(t, &ep);
    *state = t;
    return 0;
}

static void stop(struct peer_server *t)
{
    pthread_mutex_lock(&double_lock);
    double_gate = true;
    pthread_cond_broadcast(&double_changed);
    pthread_mutex_unlock(&double_lock);
    p9_sock_stop(t->s);
    pthread_join(t->thread, NULL);
    assert_int_equal(t->rc, 0);
    p9_sock_free(t->s);
    assert_int_equal(double_conns, 0); /* nothing is left */
    assert_int_equal(double_slow, 0);
}

int peer_teardown(void **state)
{
    struct peer_server *t = *state;
    stop(t);
    sock_files_remove(t->files);
    sock_files_free(t->files);
    int rc = rmdir(t->dir);
    g_free(t);
    return rc;
}

/* ---- the peer ---- */

int peer_dial(struct peer_server *t)
{
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    assert_int_equal(connect(fd, (struct sockaddr *)&t->un, sizeof(t->un)), 0);
    return fd;
}

void peer_put(int fd, const void *p, size_t len)
{
    assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

size_t peer_make(uint8_t *buf, uint8_t type, uint16_t tag, size_t size)
{
    uint32_t s = GUINT32_TO_LE((uint32_t)size);
    memset(buf, 0, size);
    memcpy(buf, &s, sizeof(s));
    buf[4] = type;
    buf[5] = (uint8_t)tag;
    buf[6] = (uint8_t)(tag >> 8);
    return size;
}

void peer_ask(int fd, uint8_t type, uint16_t tag, size_t size)
{
    g_autofree uint8_t *buf = g_malloc(size);
    peer_put(fd, buf, peer_make(buf, type, tag, size));
}

void peer_get(int fd, void *p, size_t len)
{
    assert_int_equal(recv(fd, p, len, MSG_WAITALL), (ssize_t)len);
}

/* The next answer's tag; its type must be @type + 1. */
uint16_t peer_answered(int fd, uint8_t type, size_t want)
{
    uint8_t head[HEADER];
    uint32_t size;
    peer_get(fd, head, sizeof(head));
    memcpy(&size, head, sizeof(size));
    size = GUINT32_FROM_LE(size);
    assert_int_equal(size, want);
    assert_int_equal(head[4], type + 1);
    g_autofree uint8_t *rest = g_malloc(size);
    if (size > HEADER)
        peer_get(fd, rest, size - HEADER);
    return (uint16_t)(head[5] | head[6] << 8);
}

void peer_hung_up(int fd)
{
    char c;
    ssize_t n = recv(fd, &c, 1, 0);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

void peer_set_msize(int fd, uint32_t msize)
{
    uint8_t buf[11];
    peer_make(buf, VERSION, 0xffff, sizeof(buf));
    msize = GUINT32_TO_LE(msize);
    memcpy(buf + HEADER, &msize, sizeof(msize));
    peer_put(fd, buf, sizeof(buf));
    assert_int_equal(peer_answered(fd, VERSION, sizeof(buf)), 0xffff);
}

void peer_ask_read(int fd, uint16_t tag, uint32_t count)
{
    uint8_t buf[23];
    peer_make(buf, READ, tag, sizeof(buf));
    count = GUINT32_TO_LE(count);
    memcpy(buf + 19, &count, sizeof(count));
    peer_put(fd, buf, sizeof(buf));
}

/* One of the double's numbers. */
unsigned peer_number(const unsigned *n)
{
    AUTO_LOCK(&double_lock);
    return *n;
}

void peer_wait_slow(unsigned n)
{
    AUTO_LOCK(&double_lock);
    while (double_slow < n)
        pthread_cond_wait(&double_changed, &double_lock);
}
