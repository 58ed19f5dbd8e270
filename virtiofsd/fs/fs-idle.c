/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptors of files that nobody uses for the moment.
 *
 * A descriptor, also an O_PATH one, keeps the space of a file that the host has deleted. Where a
 * file can be opened again by its handle, its descriptor is closed when it was not used for a
 * second or two (ten or twenty, where a broker has to sign it). Each regular file that has one
 * stands in a queue; a thread looks at the queue once in a second while there is something in it,
 * and sleeps else. Files that are open in the guest are let go here and come back when they are
 * used or closed. */
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-priv.h"
#include "virtiofsd/tree/host.h"

#include <stdlib.h>
#include <time.h>

#define QUEUE_MAX 8192u /* more are left to the sweep */
#define CHEAP_S   1     /* between two looks at the queue */
#define COSTLY_S  10    /* where it costs more to do without a descriptor */

struct fs_idle {
    pthread_mutex_t lock; /* of all below; a leaf */
    pthread_cond_t wake;
    pthread_t thread;
    bool running, stop;
    struct fs *owner; /* the first client: it lives as long as the tree */
    unsigned count;
    uint64_t ids[QUEUE_MAX];

    pthread_mutex_t busy; /* held while the thread has references */
    uint64_t now[QUEUE_MAX];
};

int fs_idle_init(struct fs *fs)
{
    struct fs_idle *q = calloc(1, sizeof(*q));
    pthread_condattr_t attr;

    if (!q)
        return -ENOMEM;
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->busy, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->wake, &attr);
    pthread_condattr_destroy(&attr);
    q->owner = fs;
    fs->shared->idle = q;
    return 0;
}

/* ---- the thread ---- */

/* Look at all that stand in the queue now. */
static void visit_all(struct fs *fs, struct fs_idle *q)
{
    pthread_mutex_lock(&q->lock);
    unsigned n = q->count;
    memcpy(q->now, q->ids, n * sizeof(q->now[0]));
    q->count = 0;
    pthread_mutex_unlock(&q->lock);

    AUTO_LOCK(&q->busy);
    struct fs_batch batch = {0};
    for (unsigned i = 0; i < n; i++) {
        struct fs_inode *again = fs_sweep_one(fs, q->now[i], &batch);
        if (!again)
            continue;
        fs_idle_note(fs, again);
        fs_inode_put(fs, again);
    }
    fs_batch_close(fs, &batch);
}

static void *idle_main(void *arg)
{
    struct fs *fs = arg;
    struct fs_idle *q = fs->shared->idle;
    struct timespec until;

    pthread_mutex_lock(&q->lock);
    while (!q->stop) {
        if (q->count == 0) {
            pthread_cond_wait(&q->wake, &q->lock);
            continue;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += fs->shared->tree->rests_costly ? COSTLY_S : CHEAP_S;
        while (!q->stop && pthread_cond_timedwait(&q->wake, &q->lock, &until) != ETIMEDOUT)
            ;
        if (q->stop)
            break;
        pthread_mutex_unlock(&q->lock);
        visit_all(fs, q);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

static void start_locked(struct fs *fs, struct fs_idle *q)
{
    if (host_cred_acting()) /* it would inherit whom we act for */
        return;
    q->running = fs_thread_new(&q->thread, idle_main, fs, false) == 0;
    if (!q->running)
        log_guest_warn("no thread to close unused descriptors");
}

/* ---- what others call ---- */

void fs_idle_enter(struct fs *fs, struct fs_inode *inode)
{
    struct fs_idle *q = fs->shared->idle;

    if (!q || atomic_load_explicit(&inode->node.mnt->no_rest, memory_order_relaxed) ||
        (atomic_fetch_or(&inode->node.flags, INODE_QUEUED) & INODE_QUEUED))
        return;
    AUTO_LOCK(&q->lock);
    if (q->count == QUEUE_MAX) {
        atomic_fetch_and(&inode->node.flags, (uint8_t)~INODE_QUEUED);
        return;
    }
    q->ids[q->count++] = fs_inode_id(inode);
    if (!q->running)
        start_locked(q->owner, q);
    if (q->count == 1)
        pthread_cond_signal(&q->wake);
}

void fs_idle_pause(struct fs *fs)
{
    if (fs->shared->idle)
        pthread_mutex_lock(&fs->shared->idle->busy);
}

void fs_idle_resume(struct fs *fs)
{
    if (fs->shared->idle)
        pthread_mutex_unlock(&fs->shared->idle->busy);
}

void fs_idle_fini(struct fs *fs)
{
    struct fs_idle *q = fs->shared->idle;

    if (!q)
        return;
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->lock);
    if (q->running)
        pthread_join(q->thread, NULL);
    pthread_cond_destroy(&q->wake);
    pthread_mutex_destroy(&q->busy);
    pthread_mutex_destroy(&q->lock);
    free(q);
    fs->shared->idle = NULL;
}
