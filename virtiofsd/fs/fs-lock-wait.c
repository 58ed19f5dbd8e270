/* SPDX-License-Identifier: BSD-3-Clause
 * Waiting for locks.
 *
 * The first of those that wait get a thread each that sits in the system call: it takes its turn
 * with programs of the host, and has the lock as soon as it is free. It is woken by a signal whose
 * handler does nothing, sent again until the thread is seen to be gone, since a signal that comes
 * just before the call is lost. Who comes when all threads are taken waits in line for one, and
 * meanwhile a thread of its own, the clerk, tries for it: when an owner of ours gives something up,
 * and from time to time. The clerk also ends waits that took too long, and frees what was put
 * aside. */
/* #syscalls:lock rt_sigaction rt_sigprocmask tgkill */
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-lock-priv.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>

#define WAKE_SIGNAL   (SIGRTMIN + 3)
#define WAKE_AGAIN_NS 1000000 /* between two signals */
#define THREADS_MAX   64u
#define SEARCH_MAX    20000u /* steps in the search for a deadlock */

enum place { IN_LINE, WITH_CLERK, IN_KERNEL };

struct fs_waiter {
    TAILQ_ENTRY(fs_waiter) link;
    struct fs *fs;
    struct fs_owner *owner; /* a POSIX lock, with a reference, */
    struct fs_lock lk;
    struct fs_file *file; /* or flock, with a reference */
    int op;
    uint64_t id;
    int64_t deadline; /* monotonic, ns */
    fs_lock_done_fn *done;
    void *user;
    atomic_int status; /* 0, or the -errno that it is to end with */
    enum place place;  /* fs_locks.lock, as the rest */
    pthread_t thread;  /* IN_KERNEL */
    unsigned search;   /* the last search for a deadlock */
};

/* ---- one wait ---- */

/* Without waiting: -EAGAIN when others are in the way. */
static int try_once(struct fs_waiter *w)
{
    return w->file ? fs_flock(w->fs, w->file, w->op) : fs_owner_set(w->owner, &w->lk);
}

static int block_once(struct fs_waiter *w)
{
    if (w->file)
        return fs_flock_call(w->file, w->op);
    unsigned changes = fs_owner_changes(w->owner);
    int rc = fs_owner_block(w->owner, &w->lk);
    return rc < 0 ? rc : fs_owner_note(w->owner, &w->lk, changes);
}

static int wait_in_kernel(struct fs_waiter *w)
{
    int rc = -EINTR, status;

    while ((rc == -EINTR || rc == -EAGAIN) && (status = atomic_load(&w->status)) == 0)
        rc = block_once(w);
    return rc == -EINTR || rc == -EAGAIN ? status : rc;
}

static void drop_refs(struct fs *fs, struct fs_owner *owner, struct fs_file *file)
{
    if (file)
        fs_file_put(fs, file);
    if (owner)
        fs_owner_put(owner, false);
}

/* References first: a close that follows the answer shall find its owner unused. The list last: who
 * waits for us there relies on done() having been called. Returns who came after @w. */
static struct fs_waiter *finish_locked(struct fs_locks *l, struct fs_waiter *w, int rc)
{
    struct fs_owner *owner = g_steal_pointer(&w->owner);
    struct fs_file *file = g_steal_pointer(&w->file);

    l->n_waiters--; /* who is answered may ask again at once */
    pthread_mutex_unlock(&l->lock);
    drop_refs(w->fs, owner, file);
    w->done(w->user, rc);
    pthread_mutex_lock(&l->lock);
    struct fs_waiter *after = TAILQ_NEXT(w, link);
    TAILQ_REMOVE(&l->waiters, w, link);
    pthread_cond_broadcast(&l->ended);
    g_free(w);
    return after;
}

/* Who has stood in line longest gets the thread; NULL when nobody does. */
static struct fs_waiter *next_in_line_locked(struct fs_locks *l)
{
    struct fs_waiter *w;

    TAILQ_FOREACH(w, &l->waiters, link)
    {
        if (w->place != IN_LINE || atomic_load(&w->status) != 0)
            continue;
        w->place = IN_KERNEL;
        w->thread = pthread_self();
        atomic_fetch_sub(&l->n_parked, 1);
        return w;
    }
    return NULL;
}

static void *waiter_main(void *arg)
{
    struct fs_waiter *w = arg;
    struct fs_locks *l = fs_locks_of(w->fs);
    sigset_t wake;

    if (w->fs->cfg.lock_thread_start)
        w->fs->cfg.lock_thread_start(w->fs->cfg.user);
    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
    while (w) {
        int rc = wait_in_kernel(w);
        pthread_mutex_lock(&l->lock);
        finish_locked(l, w, rc);
        w = next_in_line_locked(l);
        if (w)
            pthread_mutex_unlock(&l->lock);
    }
    l->n_threads--;
    pthread_cond_broadcast(&l->ended);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- deadlocks ---- */

static bool is_of(const struct fs_waiter *w, const struct fs_owner *o)
{
    return w->owner && w->owner->fs == o->fs && w->owner->id == o->id;
}

/* Whether somebody waits, through others, for @w's owner, while he is in the way of @w. A search of
 * bounded length: a guest can make it arbitrarily long, and the wait ends in any case. */
static bool deadlock_locked(struct fs_locks *l, struct fs_waiter *w)
{
    g_autoptr(GPtrArray) next = g_ptr_array_new(), holders = g_ptr_array_new();
    unsigned budget = SEARCH_MAX;
    struct fs_waiter *v;

    l->search++;
    g_ptr_array_add(next, w);
    for (guint i = 0; i < next->len && budget > 0; i++) {
        const struct fs_waiter *from = next->pdata[i];
        g_ptr_array_set_size(holders, 0);
        fs_owners_in_the_way(l, from->owner->inode, from->owner, &from->lk, holders, &budget);
        for (guint k = 0; k < holders->len && budget > 0; k++) {
            if (is_of(w, holders->pdata[k]))
                return true;
            TAILQ_FOREACH(v, &l->waiters, link)
            {
                if (budget == 0 || v->search == l->search || !is_of(v, holders->pdata[k])) {
                    budget -= budget > 0;
                    continue;
                }
                v->search = l->search;
                g_ptr_array_add(next, v);
            }
        }
    }
    return false;
}

/* ---- what the clerk does ---- */

/* -EAGAIN: still in line. */
static int try_in_line_locked(struct fs_locks *l, struct fs_waiter *w)
{
    w->place = WITH_CLERK;
    pthread_mutex_unlock(&l->lock);
    int rc = try_once(w);
    pthread_mutex_lock(&l->lock);
    w->place = IN_LINE;
    return rc;
}

/* Let a thread's wait end if it is over. Returns when it wants to be looked at again. */
static int64_t look_in_kernel(struct fs_waiter *w, int64_t now)
{
    if (atomic_load(&w->status) == 0)
        return w->deadline;
    pthread_kill(w->thread, WAKE_SIGNAL);
    return now + WAKE_AGAIN_NS;
}

int64_t fs_waits_round_locked(struct fs_locks *l, bool try_all, int64_t now)
{
    struct fs_waiter *w = TAILQ_FIRST(&l->waiters);
    int64_t next = FS_NEVER;

    while (w) {
        int rc = -EAGAIN, none = 0;
        if (w->deadline <= now)
            atomic_compare_exchange_strong(&w->status, &none, -ENOLCK);
        if (w->place == IN_KERNEL) {
            next = MIN(next, look_in_kernel(w, now));
            w = TAILQ_NEXT(w, link);
            continue;
        }
        if (try_all && atomic_load(&w->status) == 0)
            rc = try_in_line_locked(l, w);
        if (rc == -EAGAIN && atomic_load(&w->status) != 0)
            rc = atomic_load(&w->status);
        if (rc == -EAGAIN) {
            next = MIN(next, w->deadline);
            w = TAILQ_NEXT(w, link);
            continue;
        }
        w->place = WITH_CLERK;
        atomic_fetch_sub(&l->n_parked, 1);
        w = finish_locked(l, w, rc);
    }
    return next;
}

/* ---- begin ---- */

static int enter_locked(struct fs_locks *l, struct fs_waiter *w)
{
    if (w->owner && deadlock_locked(l, w))
        return -EDEADLK;
    if (l->n_waiters >= w->fs->cfg.max_lock_waiters || !fs_clerk_wake_locked(l)) {
        log_guest_warn("too many wait for locks (--max-lock-waiters)");
        return -ENOLCK;
    }
    TAILQ_INSERT_TAIL(&l->waiters, w, link);
    l->n_waiters++;
    w->place = IN_KERNEL;
    if (l->n_threads < THREADS_MAX && fs_thread_new(&w->thread, waiter_main, w, true) == 0) {
        l->n_threads++;
        return 0;
    }
    w->place = IN_LINE;
    atomic_fetch_add(&l->n_parked, 1);
    return 0;
}

/* Let @w (taken over) wait, or answer at once. */
static void start_wait(struct fs_waiter *w)
{
    struct fs_locks *l = fs_locks_of(w->fs);
    double seconds = w->fs->cfg.lock_wait;

    w->deadline = seconds > 0 ? fs_now_ns() + (int64_t)(seconds * 1e9) : FS_NEVER;
    pthread_mutex_lock(&l->lock);
    int rc = enter_locked(l, w);
    pthread_mutex_unlock(&l->lock);
    if (rc == 0)
        return;
    drop_refs(w->fs, w->owner, w->file);
    w->done(w->user, rc);
    g_free(w);
}

static struct fs_waiter *new_waiter(struct fs *fs, uint64_t id, fs_lock_done_fn *done, void *user)
{
    struct fs_waiter *w = g_new0(struct fs_waiter, 1);

    w->fs = fs;
    w->id = id;
    w->done = done;
    w->user = user;
    return w;
}

void fs_setlk_wait(struct fs *fs, struct fs_inode *inode, const struct fs_locker *who,
                   const struct fs_lock *lk, uint64_t id, fs_lock_done_fn *done, void *user)
{
    int rc = fs_setlk(fs, inode, who, lk);
    if (rc != -EAGAIN) {
        done(user, rc);
        return;
    }
    struct fs_owner *o = fs_owner_get(fs, inode, who, lk->type, &rc);
    rc = o ? fs_owner_ready(o, lk->type) : rc;
    if (rc < 0) {
        if (o)
            fs_owner_put(o, false);
        done(user, rc);
        return;
    }
    struct fs_waiter *w = new_waiter(fs, id, done, user);
    w->owner = o;
    w->lk = *lk;
    start_wait(w);
}

void fs_flock_wait(struct fs *fs, struct fs_file *file, int op, uint64_t id, fs_lock_done_fn *done,
                   void *user)
{
    int rc = fs_flock(fs, file, op);
    if (rc != -EWOULDBLOCK) {
        done(user, rc);
        return;
    }
    struct fs_waiter *w = new_waiter(fs, id, done, user);
    w->file = fs_file_ref(file);
    w->op = op;
    start_wait(w);
}

/* ---- cancel ---- */

/* Signal all of @fs that are to end; whether there are any. Waits that began later go on. */
static bool wake_cancelled_locked(struct fs_locks *l, const struct fs *fs)
{
    struct fs_waiter *w;
    bool any = false;

    TAILQ_FOREACH(w, &l->waiters, link)
    {
        if (w->fs != fs || atomic_load(&w->status) == 0)
            continue;
        if (w->place == IN_KERNEL)
            pthread_kill(w->thread, WAKE_SIGNAL);
        any = true;
    }
    pthread_cond_signal(&l->work);
    return any;
}

/* End those waits whose done() gets @user (NULL: all) and see them gone. */
static void cancel(struct fs *fs, const void *user)
{
    struct fs_locks *l = fs_locks_of(fs);
    struct fs_waiter *w;

    AUTO_LOCK(&l->lock);
    TAILQ_FOREACH(w, &l->waiters, link)
    {
        if (w->fs == fs && (!user || w->user == user))
            atomic_store(&w->status, -EINTR);
    }
    while (wake_cancelled_locked(l, fs))
        fs_wait_until_locked(l, &l->ended, fs_now_ns() + WAKE_AGAIN_NS);
}

void fs_locks_cancel(struct fs *fs)
{
    cancel(fs, NULL);
}

void fs_lock_cancel(struct fs *fs, const void *user)
{
    cancel(fs, user);
}

void fs_lock_interrupt(struct fs *fs, uint64_t id)
{
    struct fs_locks *l = fs_locks_of(fs);
    struct fs_waiter *w;

    AUTO_LOCK(&l->lock);
    TAILQ_FOREACH(w, &l->waiters, link)
    {
        if (w->fs == fs && w->id == id)
            atomic_store(&w->status, -EINTR);
    }
    pthread_cond_signal(&l->work);
}

/* ---- start and end ---- */

static void on_wake(int sig)
{
    (void)sig;
}

int fs_waits_init(struct fs_locks *l)
{
    struct sigaction sa = {.sa_handler = on_wake}; /* no SA_RESTART: the call must end */

    TAILQ_INIT(&l->waiters);
    fs_cond_init(&l->ended);
    return sigaction(WAKE_SIGNAL, &sa, NULL) == 0 ? 0 : -errno;
}

void fs_waits_fini(struct fs_locks *l)
{
    pthread_mutex_lock(&l->lock);
    while (l->n_threads > 0)
        pthread_cond_wait(&l->ended, &l->lock);
    pthread_mutex_unlock(&l->lock);
    pthread_cond_destroy(&l->ended);
}
