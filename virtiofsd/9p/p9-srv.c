/* SPDX-License-Identifier: BSD-3-Clause
 * The path of one request: copy, check, dispatch, answer. */
#include "virtiofsd/9p/p9-srv.h"

#include <errno.h>
#include <string.h>

#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/base/counters.h"
#include "virtiofsd/base/iov.h"
#include "virtiofsd/base/log.h"

/* Largest answer's fixed part: what has no entry is an error of the table. */
const struct p9_op p9_ops[P9_TYPES] = {
    [P9_TSTATFS] = {"Tstatfs", 4, 60, 0, p9_do_statfs},
    [P9_TLOPEN] = {"Tlopen", 8, 17, P9_OP_USER, p9_do_lopen},
    [P9_TLCREATE] = {"Tlcreate", 18, 17, P9_OP_USER, p9_do_lcreate},
    [P9_TSYMLINK] = {"Tsymlink", 12, 13, P9_OP_USER, p9_do_symlink},
    [P9_TMKNOD] = {"Tmknod", 22, 13, P9_OP_USER, p9_do_mknod},
    [P9_TRENAME] = {"Trename", 10, 0, P9_OP_USER, p9_do_rename},
    [P9_TREADLINK] = {"Treadlink", 4, 2, 0, p9_do_readlink},
    [P9_TGETATTR] = {"Tgetattr", 12, 153, 0, p9_do_getattr},
    [P9_TSETATTR] = {"Tsetattr", 60, 0, P9_OP_USER, p9_do_setattr},
    [P9_TXATTRWALK] = {"Txattrwalk", 10, 8, P9_OP_USER, p9_do_xattrwalk},
    [P9_TXATTRCREATE] = {"Txattrcreate", 18, 0, P9_OP_USER, p9_do_xattrcreate},
    [P9_TREADDIR] = {"Treaddir", 16, 4, 0, p9_do_readdir},
    [P9_TFSYNC] = {"Tfsync", 4, 0, P9_OP_SLOW, p9_do_fsync},
    [P9_TLOCK] = {"Tlock", 31, 1, 0, p9_do_lock},
    [P9_TGETLOCK] = {"Tgetlock", 27, 23, 0, p9_do_getlock},
    [P9_TLINK] = {"Tlink", 10, 0, P9_OP_USER, p9_do_link},
    [P9_TMKDIR] = {"Tmkdir", 14, 13, P9_OP_USER, p9_do_mkdir},
    [P9_TRENAMEAT] = {"Trenameat", 12, 0, P9_OP_USER, p9_do_renameat},
    [P9_TUNLINKAT] = {"Tunlinkat", 10, 0, P9_OP_USER, p9_do_unlinkat},
    [P9_TVERSION] = {"Tversion", 6, 14, P9_OP_EXCLUSIVE, p9_do_version},
    [P9_TAUTH] = {"Tauth", 8, 0, 0, p9_do_auth},
    [P9_TATTACH] = {"Tattach", 16, 13, P9_OP_USER, p9_do_attach},
    [P9_TFLUSH] = {"Tflush", 2, 0, P9_OP_SLOW, p9_do_flush},
    [P9_TWALK] = {"Twalk", 10, 2, P9_OP_USER, p9_do_walk},
    [P9_TREAD] = {"Tread", 16, 4, 0, p9_do_read},
    [P9_TWRITE] = {"Twrite", 16, 4, P9_OP_DATA, p9_do_write},
    [P9_TCLUNK] = {"Tclunk", 4, 0, 0, p9_do_clunk},
    [P9_TREMOVE] = {"Tremove", 4, 0, P9_OP_USER, p9_do_remove},
};

static __thread struct p9_rq *current;

static void rq_free(gpointer p)
{
    struct p9_rq *rq = p;
    g_free(rq->scratch);
    g_free(rq);
}

/* Owns each thread's request object; frees it when the thread ends. */
static GPrivate rq_owner = G_PRIVATE_INIT(rq_free);

static struct p9_rq *rq_of_thread(void)
{
    if (G_UNLIKELY(!current)) {
        current = g_malloc0(sizeof(*current));
        current->scratch = g_malloc(P9_SCRATCH);
        g_private_set(&rq_owner, current);
    }
    return current;
}

/* ---- answers ---- */

static void rq_answer(struct p9_rq *rq, int err)
{
    if (err == 0 && (rq->out.full || P9_HEAD + rq->out.len + rq->data > rq->room))
        err = -EMSGSIZE;
    if (trace_wanted())
        trace_tell(&rq->trace, err, rq->out.len + rq->data);
    if (err < 0) {
        p9_answer_err(rq->conn, rq->chain, rq->tag, err);
        return;
    }
    p9_answer(rq->conn, rq->chain, rq->type + 1, rq->tag, rq->out.p, rq->out.len, rq->data);
}

/* ---- requests ---- */

/* T-messages have even numbers. */
#define P9_PER_PLACE 2
_Static_assert(P9_TYPES <= COUNTER_OPS * P9_PER_PLACE, "each message has a place of its own");

const char *p9_srv_op_name(unsigned place)
{
    return place < P9_TYPES / P9_PER_PLACE ? p9_ops[(size_t)place * P9_PER_PLACE].name : NULL;
}

static const struct p9_op *find_op(uint8_t type)
{
    return type < P9_TYPES && p9_ops[type].name ? &p9_ops[type] : NULL;
}

/* chain.arrived[0]: the tag, what became of it, and in the upper half the tag that a Tflush names;
 * [1]: that tag's word. */
enum { ARRIVED = 1u << 16, ARRIVED_BUSY = 1u << 17, ARRIVED_FLUSH = 1u << 18 };

/* It has arrived. Copy the request, or of a Twrite what stands before the data, out of the client's
 * reach. */
static void rq_begin(struct p9_rq *rq, struct p9_conn *conn, struct chain *c)
{
    uint8_t head[P9_HEAD] = {0};
    struct p9_in in = {.p = head, .left = sizeof(head)};

    iov_to_buf(c->in, c->in_cnt, 0, head, sizeof(head));
    rq->conn = conn;
    rq->fs = conn->fs;
    rq->chain = c;
    rq->size = p9_get32(&in);
    rq->type = p9_get8(&in);
    rq->tag = (uint16_t)c->arrived[0]; /* the guest may have changed it since */
    rq->flush = c->arrived[0] & ARRIVED_FLUSH;
    rq->flush_tag = (uint16_t)(c->arrived[0] >> 32);
    rq->flush_word = (uint32_t)c->arrived[1];
    c->arrived[0] = 0;
    rq->op = find_op(rq->type);
    c->note.op = rq->op ? (uint8_t)(rq->type / P9_PER_PLACE) : 0;
    size_t want = MIN(c->in_len - P9_HEAD, sizeof(rq->buf));
    if (rq->op && (rq->op->flags & P9_OP_DATA))
        want = MIN(want, rq->op->fixed);
    size_t got = iov_to_buf(c->in, c->in_cnt, P9_HEAD, rq->buf, want);
    rq->in = (struct p9_in){.p = rq->buf, .left = got};
    rq->room = MIN(c->out_len, MAX(atomic_load(&conn->msize), P9_RLERROR_SIZE));
    rq->out = (struct p9_out){.p = rq->scratch, .max = MIN(P9_SCRATCH, rq->room - P9_HEAD)};
    rq->data = 0;
    rq->trace.begin_us = 0;
    if (trace_wanted())
        p9_trace_begin(rq);
}

/* All that can be said before anything is done. 0 or the -errno to answer. */
static int rq_check(const struct p9_rq *rq)
{
    const struct chain *c = rq->chain;

    if (c->unmapped)
        return -EFAULT;
    if (rq->size != c->in_len)
        return -EINVAL;
    if (rq->size > atomic_load(&rq->conn->msize))
        return -EMSGSIZE;
    if (!rq->op)
        return -EOPNOTSUPP;
    if ((rq->type == P9_TVERSION) != (rq->tag == P9_NOTAG))
        return -EINVAL;
    if (rq->in.left < rq->op->fixed)
        return -EINVAL;
    if (rq->size - P9_HEAD > sizeof(rq->buf) && !(rq->op->flags & P9_OP_DATA))
        return -ENAMETOOLONG;
    return rq->room < (size_t)P9_HEAD + rq->op->reply ? -EMSGSIZE : 0;
}

/* The session is held. */
static int rq_dispatch(struct p9_rq *rq)
{
    if (rq->type != P9_TVERSION && !rq->conn->versioned)
        return -EINVAL;
    if (rq->op->flags & P9_OP_SLOW)
        chain_flush(rq->chain);
    rq->acting = (rq->op->flags & P9_OP_USER) && p9_act_as(rq);
    int err = rq->op->handle(rq);
    if (rq->acting)
        p9_act_done(rq);
    return err;
}

static void rq_run(struct p9_rq *rq)
{
    struct p9_conn *conn = rq->conn;

    if (rq->op->flags & P9_OP_EXCLUSIVE) {
        p9_waits_cancel(conn, NULL);
        pthread_rwlock_wrlock(&conn->session);
    } else {
        pthread_rwlock_rdlock(&conn->session);
    }
    int err = rq_dispatch(rq);
    if (err != P9_LATER) {
        uint16_t tag = rq->tag;
        uint32_t word = p9_tag_answering(conn, tag);
        rq_answer(rq, err);
        p9_tag_free(conn, tag, word);
    }
    pthread_rwlock_unlock(&conn->session);
}

static bool has_room(const struct chain *c)
{
    return c->in_len >= P9_HEAD && c->out_len >= P9_RLERROR_SIZE;
}

/* The other tag is looked at before the own one is taken, so that no flush waits for itself, nor
 * two for each other. */
void p9_conn_arrive(struct p9_conn *conn, struct chain *c)
{
    uint8_t head[P9_HEAD + 2] = {0};
    struct p9_in in = {.p = head + 4, .left = sizeof(head) - 4};
    uint64_t note = ARRIVED;

    if (!has_room(c))
        return;
    iov_to_buf(c->in, c->in_cnt, 0, head, sizeof(head));
    uint8_t type = p9_get8(&in);
    uint16_t tag = p9_get16(&in), old = p9_get16(&in);
    if (type == P9_TFLUSH && old != P9_NOTAG) { /* Tversion waits for us */
        c->arrived[1] = p9_tag_word(conn, old);
        note |= ARRIVED_FLUSH | (uint64_t)old << 32;
    }
    c->arrived[0] = note | tag | (p9_tag_claim(conn, tag) ? 0 : ARRIVED_BUSY);
}

/* Refuse it before anything was done. @busy: its tag is another request's. */
static void rq_refuse(struct p9_rq *rq, bool busy, int err)
{
    if (trace_wanted())
        trace_tell(&rq->trace, err, 0);
    if (busy) {
        p9_answer_err(rq->conn, rq->chain, rq->tag, err);
        return;
    }
    struct p9_conn *conn = rq->conn;
    uint16_t tag = rq->tag;
    uint32_t word = p9_tag_answering(conn, tag);
    p9_answer_err(conn, rq->chain, tag, err);
    p9_tag_free(conn, tag, word);
}

void p9_conn_handle(struct p9_conn *conn, struct chain *c)
{
    struct p9_rq *rq = rq_of_thread();

    if (!has_room(c)) {
        log_guest_warn("9p request of %zu bytes with room for %zu", c->in_len, c->out_len);
        c->note.what |= NOTE_FAILED;
        chain_complete(c, 0);
        return;
    }
    if (!c->arrived[0])
        p9_conn_arrive(conn, c);
    bool busy = c->arrived[0] & ARRIVED_BUSY;
    rq_begin(rq, conn, c);
    int err = rq_check(rq);
    if (err == 0 && busy)
        err = -EINVAL;
    if (err < 0)
        rq_refuse(rq, busy, err);
    else
        rq_run(rq);
}
