/* SPDX-License-Identifier: BSD-3-Clause
 * Requests in flight: tags, Tflush, and what is waited for: locks, and data that the core's tree
 * must fetch first.
 *
 * A tag's word counts its uses and tells whether the current one is being answered. Two steps,
 * because the client may use the tag again when it sees the answer, while Tflush must not be
 * answered before the old request is: a use that is being answered no longer blocks the tag, and
 * ends when its answer is out. */
#include <errno.h>
#include <fcntl.h>

#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/base/auto.h"

enum { TAG_FREE, TAG_BUSY, TAG_ANSWERING, TAG_STATE = 3, TAG_USE = 4 };

uint32_t p9_tag_word(struct p9_conn *conn, uint16_t tag)
{
    return atomic_load(&conn->tags[tag]);
}

bool p9_tag_claim(struct p9_conn *conn, uint16_t tag)
{
    uint32_t w = atomic_load(&conn->tags[tag]);

    do {
        if ((w & TAG_STATE) == TAG_BUSY)
            return false;
    } while (!atomic_compare_exchange_weak(&conn->tags[tag], &w,
                                           ((w & ~(uint32_t)TAG_STATE) + TAG_USE) | TAG_BUSY));
    return true;
}

uint32_t p9_tag_answering(struct p9_conn *conn, uint16_t tag)
{
    return atomic_fetch_add(&conn->tags[tag], TAG_ANSWERING - TAG_BUSY) + TAG_ANSWERING - TAG_BUSY;
}

void p9_tag_free(struct p9_conn *conn, uint16_t tag, uint32_t word)
{
    /* Fails when the tag is in use again: then that use ends this one. */
    atomic_compare_exchange_strong(&conn->tags[tag], &word, word & ~(uint32_t)TAG_STATE);
    if (atomic_load(&conn->flushers) > 0) {
        AUTO_LOCK(&conn->lock);
        pthread_cond_broadcast(&conn->changed);
    }
}

/* ---- waits ---- */

struct p9_wait {
    struct p9_wait *next;
    struct p9_conn *conn;
    struct chain *chain;
    struct p9_fid *fid;  /* with a reference */
    unsigned refs;       /* the wait's own and those of who cancels it; conn.lock */
    struct trace *trace; /* or NULL */
    uint16_t tag;
    bool bounded;   /* counted by conn.n_waits */
    bool cancelled; /* conn.lock */
};

static void unref_locked(struct p9_wait *w)
{
    if (--w->refs == 0)
        g_free(w);
}

/* Take it off the list; afterwards the connection may be freed. */
static void wait_end(struct p9_wait *w)
{
    struct p9_conn *conn = w->conn;

    AUTO_LOCK(&conn->lock);
    struct p9_wait **p = &conn->waits;
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
    conn->n_waits -= w->bounded;
    unref_locked(w);
    pthread_cond_broadcast(&conn->changed);
}

static void lock_done(void *user, int result)
{
    struct p9_wait *w = user;
    struct p9_conn *conn = w->conn;
    uint8_t status = result == 0 ? P9_LOCK_SUCCESS : P9_LOCK_BLOCKED;

    p9_fid_put(&conn->fids, w->fid);
    trace_tell_later(w->trace, result == -ENOLCK ? 0 : result, result == 0 || result == -ENOLCK);
    uint32_t word = p9_tag_answering(conn, w->tag);
    /* Too many wait already: the client asks again after a while. */
    if (result == 0 || result == -ENOLCK)
        p9_answer(conn, w->chain, P9_TLOCK + 1, w->tag, &status, 1, 0);
    else
        p9_answer_err(conn, w->chain, w->tag, result);
    p9_tag_free(conn, w->tag, word);
    wait_end(w);
}

static void read_done(void *user, ssize_t result)
{
    struct p9_wait *w = user;
    struct p9_conn *conn = w->conn;
    uint8_t count[4];
    struct p9_out out = {.p = count, .max = sizeof(count)};

    p9_fid_put(&conn->fids, w->fid);
    trace_tell_later(w->trace, (int)MIN(result, 0), (size_t)MAX(result, 0));
    uint32_t word = p9_tag_answering(conn, w->tag);
    p9_put32(&out, (uint32_t)result);
    chain_note_bytes(w->chain, NOTE_READ, (size_t)MAX(result, 0));
    if (result >= 0)
        p9_answer(conn, w->chain, P9_TREAD + 1, w->tag, count, sizeof(count), (size_t)result);
    else
        p9_answer_err(conn, w->chain, w->tag, (int)result);
    p9_tag_free(conn, w->tag, word);
    wait_end(w);
}

/* Enter a wait into the list; it is cancelled at once when its fid is gone already. NULL: it is
 * @bounded, and the ring would be full of them. (Data come within a time; a lock need not.) */
static struct p9_wait *wait_begin(struct p9_rq *rq, struct p9_fid *fid, bool bounded)
{
    struct p9_conn *conn = rq->conn;
    struct p9_wait *w = g_new0(struct p9_wait, 1);

    *w = (struct p9_wait){.conn = conn,
                          .chain = rq->chain,
                          .fid = fid,
                          .refs = 2,
                          .tag = rq->tag,
                          .bounded = bounded};
    AUTO_LOCK(&conn->lock);
    if (bounded && rq->chain->ring && conn->n_waits >= chain_ring_share(rq->chain)) {
        g_free(w);
        return NULL;
    }
    w->trace = trace_later(&rq->trace);
    w->cancelled = fid->gone;
    w->next = conn->waits;
    conn->waits = w;
    conn->n_waits += bounded;
    if (atomic_load(&conn->flushers) > 0) /* one may be about it */
        pthread_cond_broadcast(&conn->changed);
    return w;
}

/* The core knows of it now. Who cancelled it before could not reach it. */
static void wait_begun(struct p9_conn *conn, struct p9_wait *w)
{
    pthread_mutex_lock(&conn->lock);
    bool cancelled = w->cancelled;
    pthread_mutex_unlock(&conn->lock);
    if (cancelled)
        fs_wait_cancel(conn->fs, w);
    AUTO_LOCK(&conn->lock);
    unref_locked(w);
}

bool p9_wait_lock(struct p9_rq *rq, struct p9_fid *fid, uint64_t owner, const struct fs_lock *lk)
{
    struct p9_wait *w = wait_begin(rq, fid, true);

    if (!w)
        return false;
    struct fs_locker who = {.owner = owner};
    fs_setlk_wait(rq->fs, fid->inode, &who, lk, 0, lock_done, w);
    wait_begun(rq->conn, w);
    return true;
}

void p9_wait_read(struct p9_rq *rq, struct p9_fid *fid, const struct iovec *iov, unsigned cnt,
                  off_t off)
{
    struct p9_wait *w = wait_begin(rq, p9_fid_ref(fid), false);

    fs_read_wait(rq->fs, fid->file, iov, cnt, off, fs_file_how(fid->file), 0, read_done, w);
    wait_begun(rq->conn, w);
}

/* The next wait to be cancelled, with a reference. */
static struct p9_wait *next_locked(struct p9_conn *conn, const struct p9_fid *fid)
{
    for (struct p9_wait *w = conn->waits; w; w = w->next) {
        if (!w->cancelled && (!fid || w->fid == fid)) {
            w->cancelled = true;
            w->refs++;
            return w;
        }
    }
    return NULL;
}

/* conn.lock is given up meanwhile. */
static void cancel_locked(struct p9_conn *conn, struct p9_wait *w)
{
    pthread_mutex_unlock(&conn->lock);
    fs_wait_cancel(conn->fs, w);
    pthread_mutex_lock(&conn->lock);
    unref_locked(w);
}

void p9_waits_cancel(struct p9_conn *conn, const struct p9_fid *fid)
{
    struct p9_wait *w;

    AUTO_LOCK(&conn->lock);
    while ((w = next_locked(conn, fid)))
        cancel_locked(conn, w);
}

void p9_waits_drain(struct p9_conn *conn)
{
    AUTO_LOCK(&conn->lock);
    while (conn->waits)
        pthread_cond_wait(&conn->changed, &conn->lock);
}

/* ---- Tflush ---- */

/* Whether there was one: conn.lock was given up, and what was seen before may have changed. An
 * earlier use of the tag, whose answer is out, may be among them, too. */
static bool cancel_tag_locked(struct p9_conn *conn, uint16_t tag)
{
    struct p9_wait *w = conn->waits;

    while (w && (w->tag != tag || w->cancelled))
        w = w->next;
    if (!w)
        return false;
    w->cancelled = true;
    w->refs++;
    cancel_locked(conn, w);
    return true;
}

/* Wait until that use of @old has been answered which was in flight when the Tflush arrived: a
 * later one may be handled after us, by this very thread. */
static void await_tag_locked(struct p9_conn *conn, uint16_t old, uint32_t word)
{
    uint32_t now, use = word & ~(uint32_t)TAG_STATE;

    while ((now = atomic_load(&conn->tags[old])),
           (now & TAG_STATE) != TAG_FREE && (now & ~(uint32_t)TAG_STATE) == use) {
        if (!cancel_tag_locked(conn, old) && atomic_load(&conn->tags[old]) == now)
            pthread_cond_wait(&conn->changed, &conn->lock);
    }
}

int p9_do_flush(struct p9_rq *rq)
{
    struct p9_conn *conn = rq->conn;

    if (!rq->flush)
        return 0;
    AUTO_LOCK(&conn->lock);
    atomic_fetch_add(&conn->flushers, 1);
    await_tag_locked(conn, rq->flush_tag, rq->flush_word);
    atomic_fetch_sub(&conn->flushers, 1);
    return 0;
}
