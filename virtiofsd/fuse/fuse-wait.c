/* SPDX-License-Identifier: BSD-3-Clause
 * Requests that are answered later than they are handled, by another thread: data that the core's
 * tree must fetch first, and (fuse-lock.c) locks. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

struct fuse_wait fuse_wait_begin(struct fuse_rq *rq)
{
    rq->replied = true; /* by fuse_wait_answer() from here on */
    return (struct fuse_wait){.srv = rq->srv,
                              .chain = rq->chain,
                              .unique = rq->in->unique,
                              .trace = trace_later(&rq->trace)};
}

void fuse_wait_answer(const struct fuse_wait *w, int err, size_t payload)
{
    size_t len = err ? 0 : payload;
    struct fuse_out_header oh = {
        .len = (uint32_t)(sizeof(oh) + len), .error = err, .unique = w->unique};

    trace_tell_later(w->trace, err, len);
    if (err == -EINTR && chain_again(w->chain))
        return;
    iov_from_buf(w->chain->out, w->chain->out_cnt, 0, &oh, sizeof(oh));
    if (err)
        w->chain->note.what |= NOTE_FAILED;
    chain_complete(w->chain, oh.len);
}

/* ---- INTERRUPT ---- */

/* It comes by another queue and may overtake its request: the last ones are remembered, before it
 * is looked whether the request waits, and looked for when one has begun to. */
void fuse_do_interrupt(struct fuse_rq *rq)
{
    struct fuse_srv *srv = rq->srv;
    struct fuse_interrupt_in arg;

    memcpy(&arg, rq->body, sizeof(arg));
    unsigned at = atomic_fetch_add(&srv->interrupts, 1) % FUSE_INTERRUPTS;
    atomic_store(&srv->interrupted[at], arg.unique);
    fs_wait_interrupt(srv->fs, arg.unique);
    fuse_rq_reply_none(rq);
}

void fuse_wait_interrupt_if_told(struct fuse_srv *srv, uint64_t unique)
{
    for (unsigned i = 0; i < FUSE_INTERRUPTS; i++)
        if (unique != 0 && atomic_load(&srv->interrupted[i]) == unique)
            fs_wait_interrupt(srv->fs, unique);
}

/* ---- data that must be fetched first ---- */

static void read_done(void *user, ssize_t result)
{
    struct fuse_wait *w = user;

    chain_note_bytes(w->chain, NOTE_READ, (size_t)MAX(result, 0));
    fuse_wait_answer(w, result < 0 ? (int)result : 0, (size_t)result);
    g_free(w);
}

void fuse_read_later(struct fuse_rq *rq, struct fs_file *file, const struct iovec *iov,
                     unsigned cnt, off_t off, unsigned how)
{
    struct fuse_srv *srv = rq->srv;
    struct fuse_wait *w = g_new(struct fuse_wait, 1);
    uint64_t unique = rq->in->unique;

    *w = fuse_wait_begin(rq);
    fs_read_wait(srv->fs, file, iov, cnt, off, how, unique, read_done, w);
    fuse_wait_interrupt_if_told(srv, unique);
}
