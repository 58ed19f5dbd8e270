/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/p9-double.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "virtiofsd/base/auto.h"

pthread_mutex_t double_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t double_changed = PTHREAD_COND_INITIALIZER;
bool double_gate;
unsigned double_slow, double_conns;
unsigned double_handled;

struct p9_conn {
    uint32_t msize;
    bool attached;
    struct chain *waiting;
};

struct p9_conn *p9_conn_new(struct p9_srv *srv)
{
    struct p9_conn *c = g_new0(struct p9_conn, 1);
    c->msize = 8192;
    pthread_mutex_lock(&double_lock);
    double_conns++;
    pthread_mutex_unlock(&double_lock);
    return c;
}

void p9_conn_free(struct p9_conn *conn)
{
    assert_null(conn->waiting);
    g_free(conn);
    pthread_mutex_lock(&double_lock);
    double_conns--;
    pthread_cond_broadcast(&double_changed);
    pthread_mutex_unlock(&double_lock);
}

uint32_t p9_conn_msize(struct p9_conn *conn)
{
    AUTO_LOCK(&double_lock);
    return conn->msize;
}

void p9_conn_bound_values(struct p9_conn *conn, size_t bytes)
{
    (void)conn;
    assert_true(bytes > 0 && bytes <= 1u << 20);
}

bool p9_conn_attached(struct p9_conn *conn)
{
    AUTO_LOCK(&double_lock);
    return conn->attached;
}

static void answer(struct chain *c, size_t len)
{
    uint8_t *out = c->out[0].iov_base;
    uint32_t size = GUINT32_TO_LE((uint32_t)len);
    assert_true(len <= c->out_len);
    memset(out, 0x5a, len);
    memcpy(out, c->in[0].iov_base, MIN(len, c->in_len));
    memcpy(out, &size, sizeof(size));
    out[4]++;
    chain_complete(c, len);
}

void p9_conn_cancel(struct p9_conn *conn)
{
    pthread_mutex_lock(&double_lock);
    struct chain *c = g_steal_pointer(&conn->waiting);
    pthread_mutex_unlock(&double_lock);
    if (c)
        answer(c, HEADER);
}

static void work_slowly(void)
{
    pthread_mutex_lock(&double_lock);
    double_slow++;
    pthread_cond_broadcast(&double_changed);
    while (!double_gate)
        pthread_cond_wait(&double_changed, &double_lock);
    double_slow--;
    pthread_mutex_unlock(&double_lock);
}

void p9_conn_arrive(struct p9_conn *conn, struct chain *c)
{
}

void p9_conn_handle(struct p9_conn *conn, struct chain *c)
{
    const uint8_t *in = c->in[0].iov_base;
    uint32_t n = 0;

    pthread_mutex_lock(&double_lock);
    double_handled++;
    pthread_mutex_unlock(&double_lock);
    switch (in[4]) {
    case SLOW:
        work_slowly();
        answer(c, c->in_len);
        return;
    case WAIT:
        pthread_mutex_lock(&double_lock);
        assert_null(conn->waiting);
        conn->waiting = c;
        pthread_cond_broadcast(&double_changed);
        pthread_mutex_unlock(&double_lock);
        return;
    case NOTHING:
        chain_complete(c, 0);
        return;
    case READ:
        memcpy(&n, in + 19, sizeof(n));
        answer(c, MIN(11 + (size_t)GUINT32_FROM_LE(n), c->out_len));
        return;
    case VERSION:
        memcpy(&n, in + HEADER, sizeof(n));
        pthread_mutex_lock(&double_lock);
        conn->msize = GUINT32_FROM_LE(n);
        pthread_mutex_unlock(&double_lock);
        answer(c, c->in_len);
        return;
    default:
        pthread_mutex_lock(&double_lock);
        conn->attached = true;
        pthread_mutex_unlock(&double_lock);
        answer(c, MIN(c->in_len, c->out_len));
    }
}
