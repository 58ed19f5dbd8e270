/* SPDX-License-Identifier: BSD-3-Clause
 * The path of one request. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

#include "virtiofsd/base/counters.h"
#include "virtiofsd/base/log.h"

static __thread struct fuse_rq *current;

static void rq_free(gpointer p)
{
    struct fuse_rq *rq = p;
    g_free(rq->scratch);
    g_free(rq);
}

/* Owns each thread's request object; frees it when the thread ends. */
static GPrivate rq_owner = G_PRIVATE_INIT(rq_free);

static struct fuse_rq *rq_of_thread(void)
{
    if (G_UNLIKELY(!current)) {
        current = g_malloc0(sizeof(*current));
        current->scratch = g_malloc(FUSE_SCRATCH);
        g_private_set(&rq_owner, current);
    }
    return current;
}

/* ---- the path of one request ---- */

_Static_assert(FUSE_WIRE_OPS <= COUNTER_OPS, "each operation has a place of its own");

const char *fuse_srv_op_name(unsigned place)
{
    return place < G_N_ELEMENTS(fuse_ops) ? fuse_ops[place].name : NULL;
}

static const struct fuse_op *find_op(uint32_t opcode)
{
    if (opcode >= G_N_ELEMENTS(fuse_ops) || !fuse_ops[opcode].name)
        return NULL;
    return &fuse_ops[opcode];
}

/* Copy the request out of guest memory. Returns false when there is not even a header. The length
 * in the header is the guest's claim; fuse_check() compares it. */
static bool rq_begin(struct fuse_rq *rq, struct fuse_srv *srv, struct chain *c)
{
    rq->srv = srv;
    rq->chain = c;
    rq->in = (struct fuse_in_header *)rq->buf;
    rq->body = rq->buf + sizeof(*rq->in);
    rq->replied = false;
    rq->trace.begin_us = 0;

    size_t len = iov_to_buf(c->in, c->in_cnt, 0, rq->buf, sizeof(*rq->in));
    if (len < sizeof(*rq->in))
        return false;
    rq->op = find_op(rq->in->opcode);
    c->note.op = rq->op ? (uint8_t)rq->in->opcode : 0;
    size_t want = MIN(c->in_len, (size_t)FUSE_RQ_MAX);
    if (rq->op && (rq->op->flags & FUSE_OP_DATA))
        want = MIN(want, sizeof(*rq->in) + rq->op->fixed);
    len += iov_to_buf(c->in, c->in_cnt, len, rq->buf + len, want - len);
    memset(rq->buf + len, 0, FUSE_RQ_PAD);
    rq->body_len = c->in_len - sizeof(*rq->in);
    if (c->in_len > FUSE_RQ_MAX && !(rq->op && (rq->op->flags & FUSE_OP_DATA)))
        rq->body_len = FUSE_RQ_MAX - sizeof(*rq->in);
    return true;
}

static void dispatch(struct fuse_rq *rq)
{
    if (G_LIKELY(!(rq->op->flags & FUSE_OP_DECODE))) {
        rq->op->handle(rq);
        return;
    }
    fuse_session_dispatch(rq);
    if (G_UNLIKELY(!rq->replied))
        fuse_rq_reply_err(rq, -EIO);
}

/* An answer that cannot be delivered, or that nobody waits for. */
static bool without_reply(const struct fuse_rq *rq)
{
    return (rq->op && (rq->op->flags & FUSE_OP_NOREPLY)) ||
           rq->chain->out_len < sizeof(struct fuse_out_header);
}

void fuse_srv_handle(struct fuse_srv *srv, struct chain *c)
{
    struct fuse_rq *rq = rq_of_thread();

    if (!rq_begin(rq, srv, c)) {
        log_guest_warn("request without a whole FUSE header: %zu bytes", c->in_len);
        c->note.what |= NOTE_FAILED;
        fuse_rq_reply_none(rq);
        return;
    }
    if (rq->op && (rq->op->flags & FUSE_OP_EXCLUSIVE))
        pthread_rwlock_wrlock(&srv->lock);
    else
        pthread_rwlock_rdlock(&srv->lock);
    if (trace_wanted())
        fuse_trace_begin(rq);

    int err = rq->op ? fuse_check(rq) : -ENOSYS;
    if (err == 0 && without_reply(rq) && !(rq->op->flags & FUSE_OP_NOREPLY))
        err = -EINVAL; /* never act when the guest cannot learn of it */
    if (err == 0 && G_UNLIKELY(srv->dax.on) && (rq->op->flags & FUSE_OP_WRITE_BACK))
        err = fuse_dax_before(rq);
    if (err == 0) {
        if (rq->op->flags & FUSE_OP_SLOW)
            chain_flush(c);
        dispatch(rq);
    } else if (without_reply(rq)) {
        if (trace_wanted())
            trace_tell(&rq->trace, err, 0);
        c->note.what |= NOTE_FAILED;
        fuse_rq_reply_none(rq);
    } else {
        fuse_rq_reply_err(rq, err);
    }
    pthread_rwlock_unlock(&srv->lock);
}

/* ---- life ---- */

struct fuse_srv *fuse_srv_new(const struct fuse_srv_config *cfg)
{
    struct fuse_srv *srv = g_new0(struct fuse_srv, 1);

    srv->cfg = *cfg;
    srv->fs = cfg->fs;
    srv->shared = fs_policy_of(cfg->fs);
    fuse_split_timeout(cfg->timeout, &srv->timeout_sec, &srv->timeout_nsec);
    pthread_rwlock_init(&srv->lock, NULL);
    return srv;
}

void fuse_srv_reset(struct fuse_srv *srv)
{
    pthread_rwlock_wrlock(&srv->lock);
    fuse_srv_drop_session(srv);
    fuse_dax_reset(srv);
    fs_reset(srv->fs);
    pthread_rwlock_unlock(&srv->lock);
}

void fuse_srv_hang_up(struct fuse_srv *srv)
{
    fs_hang_up(srv->fs);
}

void fuse_srv_cancel(struct fuse_srv *srv)
{
    fs_waits_cancel(srv->fs);
}

void fuse_srv_free(struct fuse_srv *srv)
{
    if (!srv)
        return;
    fuse_srv_drop_session(srv);
    pthread_rwlock_destroy(&srv->lock);
    g_free(srv);
}
