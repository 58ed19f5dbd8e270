/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/p9-mem.h"

#include <stdlib.h>
#include <string.h>

#define CLIENT_MAX (1u << 20)
/* Of those that send many messages, each with so much room. */
#define SMALL_CLIENT_MAX (64u << 10)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void complete(struct chain *c, size_t len)
{
    struct p9_msg *m = (struct p9_msg *)(void *)c;

    if (len > c->out_len)
        abort();
    pthread_mutex_lock(&lock);
    m->done = len;
    m->completed++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void flush(struct chain *c)
{
}

static const struct chain_ops ops = {complete, flush};

/* Three segments over @len bytes, cut after @a and after @b. */
static void cut(struct iovec iov[3], uint8_t *p, size_t len, size_t a, size_t b)
{
    a = MIN(a, len);
    b = MIN(b, len);
    iov[0] = (struct iovec){p, a};
    iov[1] = (struct iovec){p + a, b - a};
    iov[2] = (struct iovec){p + b, len - b};
}

struct p9_msg *p9_msg_new(const void *req, size_t len, size_t room)
{
    struct p9_msg *m = calloc(1, sizeof(*m));

    assert_non_null(m);
    m->req = malloc(len ? len : 1);
    m->rep = malloc(room ? room : 1);
    assert_non_null(m->req);
    assert_non_null(m->rep);
    memcpy(m->req, req, len);
    memset(m->rep, 0xa5, room);
    cut(m->in, m->req, len, 3, 25);
    cut(m->out, m->rep, room, 5, 12);
    m->chain = (struct chain){.ops = &ops,
                              .in = m->in,
                              .out = m->out,
                              .in_cnt = 3,
                              .out_cnt = 3,
                              .in_len = len,
                              .out_len = room};
    return m;
}

void p9_msg_free(struct p9_msg *m)
{
    assert_int_equal(m->completed, 1);
    free(m->req);
    free(m->rep);
    free(m);
}

bool p9_msg_done(struct p9_msg *m)
{
    pthread_mutex_lock(&lock);
    bool done = m->completed > 0;
    pthread_mutex_unlock(&lock);
    return done;
}

size_t p9_msg_wait(struct p9_msg *m)
{
    pthread_mutex_lock(&lock);
    while (m->completed == 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return m->done;
}

static ssize_t on_conn(struct p9_conn *conn, const void *t, size_t len, void *r, size_t room)
{
    struct p9_msg *m = p9_msg_new(t, len, room);

    p9_conn_handle(conn, &m->chain);
    size_t n = p9_msg_wait(m);
    memcpy(r, m->rep, n);
    p9_msg_free(m);
    return (ssize_t)n;
}

static ssize_t transact_conn(void *user, const void *t, size_t len, void *r, size_t max)
{
    return on_conn(user, t, len, r, max);
}

static ssize_t transact(void *user, const void *t, size_t len, void *r, size_t max)
{
    struct p9_mem *m = user;
    return on_conn(m->conn, t, len, r, m->out_room ? m->out_room : max);
}

void p9_mem_client(struct p9c *c, struct p9_conn *conn)
{
    p9c_init(c, transact_conn, conn, SMALL_CLIENT_MAX);
}

struct p9_config p9_mem_config(void)
{
    return (struct p9_config){.max_msize = CLIENT_MAX,
                              .max_fids = 100,
                              .max_fids_all = 400,
                              .lock = true,
                              .squash_uid = UINT32_MAX,
                              .squash_gid = UINT32_MAX};
}

void p9_mem_open(struct p9_mem *m, const struct p9_config *cfg)
{
    struct p9_config c = *cfg;

    c.fs = m->tree.fs;
    m->srv = p9_srv_new(&c);
    m->conn = p9_conn_new(m->srv);
    m->out_room = 0;
    p9c_init(&m->c, transact, m, CLIENT_MAX);
}

void p9_mem_start(struct p9_mem *m)
{
    struct p9_config cfg = p9_mem_config();

    tree_start(&m->tree);
    p9_mem_open(m, &cfg);
    assert_ok(p9c_mount(&m->c, CLIENT_MAX, 0, 0));
}

void p9_mem_stop(struct p9_mem *m)
{
    p9c_free(&m->c);
    p9_conn_free(m->conn);
    p9_srv_free(m->srv);
    tree_stop(&m->tree);
}
