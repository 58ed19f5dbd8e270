/* SPDX-License-Identifier: BSD-3-Clause
 * Locks. A lock of a kind that was not negotiated is the guest's own business: ENOSYS.
 *
 * libfuse is not asked: it turns the wire's inclusive end into a length, with 0 for "to end of
 * file", and it cannot answer later. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>

#include "virtiofsd/base/log.h"

/* What the three requests name. */
struct asked {
    struct fuse_lk_in arg;
    struct fs_inode *inode; /* with references */
    struct fs_file *file;
};

static bool is_flock(const struct asked *a)
{
    return a->arg.lk_flags & FUSE_LK_FLOCK;
}

/* 0 or the -errno to answer; to be given back in any case. */
static int read_request(struct fuse_rq *rq, struct asked *a)
{
    struct fs *fs = rq->srv->fs;

    *a = (struct asked){0};
    memcpy(&a->arg, rq->body, sizeof(a->arg));
    if (!(rq->srv->flags & (is_flock(a) ? FUSE_FLOCK_LOCKS : FUSE_POSIX_LOCKS)))
        return -ENOSYS;
    a->inode = fs_inode_get(fs, rq->in->nodeid);
    if (!a->inode)
        return -ENOENT;
    a->file = fs_file_get(fs, a->arg.fh, a->inode);
    return a->file ? 0 : -EBADF;
}

static void give_back(struct fuse_rq *rq, struct asked *a)
{
    if (a->file)
        fs_file_put(rq->srv->fs, a->file);
    if (a->inode)
        fs_inode_put(rq->srv->fs, a->inode);
}

static struct fs_lock lock_of(const struct asked *a)
{
    return (struct fs_lock){
        .type = (short)a->arg.lk.type,
        .start = (off_t)a->arg.lk.start,
        .end = (off_t)a->arg.lk.end,
        .pid = a->arg.lk.pid,
    };
}

static int flock_op(const struct asked *a)
{
    return a->arg.lk.type == F_RDLCK   ? LOCK_SH
           : a->arg.lk.type == F_WRLCK ? LOCK_EX
           : a->arg.lk.type == F_UNLCK ? LOCK_UN
                                       : -1;
}

void fuse_do_getlk(struct fuse_rq *rq)
{
    struct asked a;
    int err = read_request(rq, &a);
    struct fs_lock lk = lock_of(&a);

    if (err == 0 && is_flock(&a))
        err = -EINVAL; /* there is no such question */
    if (err == 0)
        err = fs_getlk(rq->srv->fs, a.inode, a.arg.owner, &lk);
    give_back(rq, &a);
    if (err) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    struct fuse_lk_out out = {.lk = {.start = (uint64_t)lk.start,
                                     .end = (uint64_t)lk.end,
                                     .type = (uint32_t)lk.type,
                                     .pid = lk.type == F_UNLCK ? 0 : lk.pid}};
    fuse_rq_reply_buf(rq, &out, sizeof(out));
}

void fuse_do_setlk(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct asked a;
    int err = read_request(rq, &a);

    if (err == 0 && is_flock(&a)) {
        err = fs_flock(fs, a.file, flock_op(&a));
    } else if (err == 0) {
        struct fs_lock lk = lock_of(&a);
        struct fs_locker who = {.owner = a.arg.owner, .file = a.file};
        err = fs_setlk(fs, a.inode, &who, &lk);
    }
    give_back(rq, &a);
    fuse_rq_reply_err(rq, err);
}

/* ---- a lock that may take long ---- */

struct lock_wait {
    struct fuse_wait w;
    atomic_uint *waiting; /* of its queue */
};

static void lock_wait_done(void *user, int result)
{
    struct lock_wait *w = user;

    atomic_fetch_sub(w->waiting, 1);
    fuse_wait_answer(&w->w, result, 0);
    g_free(w);
}

/* Count one more that waits on the request's queue. 0, or -ENOLCK: its ring would be full of them.
 */
static int take_place(struct fuse_rq *rq, atomic_uint **waiting)
{
    unsigned ring = rq->chain->ring;

    *waiting = &rq->srv->waiting[rq->chain->queue % FUSE_QUEUES];
    if (atomic_fetch_add(*waiting, 1) < chain_ring_share(rq->chain) || ring == 0)
        return 0;
    atomic_fetch_sub(*waiting, 1);
    log_guest_warn("too many wait for locks on a ring of %u", ring);
    return -ENOLCK;
}

/* ---- SETLKW ---- */

void fuse_do_setlkw(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct asked a;
    atomic_uint *waiting = NULL;
    int err = read_request(rq, &a);

    if (err == 0)
        err = take_place(rq, &waiting);
    if (err) {
        give_back(rq, &a);
        fuse_rq_reply_err(rq, err);
        return;
    }
    struct lock_wait *w = g_new(struct lock_wait, 1);
    *w = (struct lock_wait){fuse_wait_begin(rq), waiting};
    uint64_t unique = rq->in->unique;
    if (is_flock(&a)) {
        fs_flock_wait(fs, a.file, flock_op(&a), unique, lock_wait_done, w);
    } else {
        struct fs_lock lk = lock_of(&a);
        struct fs_locker who = {.owner = a.arg.owner, .file = a.file};
        fs_setlk_wait(fs, a.inode, &who, &lk, unique, lock_wait_done, w);
    }
    give_back(rq, &a);
    fuse_wait_interrupt_if_told(rq->srv, unique);
}
