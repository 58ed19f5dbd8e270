/* SPDX-License-Identifier: BSD-3-Clause
 * A thread that sees to what nobody waits for, or has no thread to wait for: it tries for those
 * that stand in line for a lock, ends waits that are over, and frees and closes what may take long.
 * It begins when there is something to do for the first time. */
/* #syscalls:lock close prctl */
#include "virtiofsd/fs/fs-lock-priv.h"

#define RETRY_NS   5000000 /* between two tries of those in line, */
#define RETRY_IDLE 9       /* or so many times as long as the last ones took */
#define CLOSE_HERE 64u     /* as many descriptors are closed at once */

/* When to try again: what the tries cost may not become all that the clerk does. */
struct pace {
    int64_t stirred, idle; /* not before; of itself */
};

static int64_t work_locked(struct fs_locks *l, struct pace *pace)
{
    int64_t now = fs_now_ns();
    bool due = l->stirred ? now >= pace->stirred : now >= pace->idle;

    if (due)
        l->stirred = false;
    int64_t next = l->work_of->round(l, due, now);
    if (due) {
        int64_t end = fs_now_ns(), took = end - now;
        *pace = (struct pace){end + took, end + MAX(RETRY_NS, RETRY_IDLE * took)};
    }
    if (atomic_load(&l->n_parked) > 0)
        next = MIN(next, l->stirred ? pace->stirred : pace->idle);
    return next;
}

static void close_all(struct fs_locks *l, GArray *fds)
{
    for (guint i = 0; i < fds->len; i++)
        close(g_array_index(fds, int, i));
    atomic_fetch_sub(l->inode_fds, fds->len);
    g_array_unref(fds);
}

static void close_some_locked(struct fs_locks *l)
{
    GArray *fds = g_steal_pointer(&l->fds);

    pthread_mutex_unlock(&l->lock);
    close_all(l, fds);
    pthread_mutex_lock(&l->lock);
}

static void *clerk_main(void *arg)
{
    struct fs_locks *l = arg;
    struct pace pace = {0, 0};

    pthread_setname_np(pthread_self(), "lock-clerk");
    if (l->thread_start)
        l->thread_start(l->user);
    pthread_mutex_lock(&l->lock);
    while (!l->closing) {
        if (l->reap) {
            l->work_of->reap(l);
            continue;
        }
        if (l->fds) {
            close_some_locked(l);
            continue;
        }
        int64_t next = work_locked(l, &pace);
        if (!l->reap && !l->fds && !l->closing)
            fs_wait_until_locked(l, &l->work, next);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

bool fs_clerk_wake_locked(struct fs_locks *l)
{
    if (!l->has_clerk)
        l->has_clerk = fs_thread_new(&l->clerk, clerk_main, l, false) == 0;
    pthread_cond_signal(&l->work);
    return l->has_clerk;
}

void fs_clerk_stir(struct fs_locks *l)
{
    if (G_LIKELY(atomic_load(&l->n_parked) == 0))
        return;
    AUTO_LOCK(&l->lock);
    l->stirred = true;
    pthread_cond_signal(&l->work);
}

void fs_clerk_reap_locked(struct fs_locks *l)
{
    if (!fs_clerk_wake_locked(l))
        while (l->reap)
            l->work_of->reap(l);
}

void fs_close_later(struct fs *fs, GArray *fds)
{
    struct fs_locks *l = fs_locks_of(fs);

    pthread_mutex_lock(&l->lock);
    bool later = fds->len > CLOSE_HERE && fs_clerk_wake_locked(l);
    if (later && l->fds) {
        g_array_append_vals(l->fds, fds->data, fds->len);
        g_array_unref(fds);
    } else if (later) {
        l->fds = fds;
    }
    pthread_mutex_unlock(&l->lock);
    if (!later)
        close_all(l, fds);
}

void fs_clerk_init(struct fs_locks *l, const struct fs_config *cfg, _Atomic uint64_t *inode_fds,
                   const struct fs_clerk_work *work)
{
    l->work_of = work;
    l->thread_start = cfg->lock_thread_start;
    l->user = cfg->user;
    l->inode_fds = inode_fds;
    fs_cond_init(&l->work);
}

void fs_clerk_fini(struct fs_locks *l)
{
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_signal(&l->work);
    pthread_mutex_unlock(&l->lock);
    if (l->has_clerk)
        pthread_join(l->clerk, NULL);
    if (l->fds)
        close_all(l, l->fds);
    pthread_cond_destroy(&l->work);
}
