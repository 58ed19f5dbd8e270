/* SPDX-License-Identifier: BSD-3-Clause
 * Locks, shared with the host and with other guests.
 *
 * A POSIX lock belongs to (inode, owner), an owner being one process of one guest. Each such pair
 * that holds something gets an open file description of its own, and the kernel's
 * open-file-description locks do the rest: they conflict between descriptions just as POSIX locks
 * do between processes. Deadlocks between owners are not detected, as for all such locks.
 *
 * A blocking wait takes a thread that sits in the system call. It is woken by a signal whose
 * handler does nothing, sent again until the thread is seen to be gone, since a signal that comes
 * just before the call is lost. */
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-priv.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>

#define WAKE_SIGNAL   (SIGRTMIN + 3)
#define WAKE_AGAIN_NS 1000000 /* between two signals */
#define OWNERS_MAX    65536u
#define WAITER_STACK  (256 * 1024)

struct fs_lock_owner {
    struct fs_inode *inode; /* with a reference */
    uint64_t owner;
    int fd;
    unsigned refs; /* the table's and those of calls in progress; fs.locks.lock */
};

struct fs_waiter {
    struct fs_waiter *next;
    struct fs *fs;
    pthread_t thread;
    atomic_bool cancelled;
    struct fs_lock_owner *owner; /* a POSIX lock, */
    struct fs_lock lk;
    struct fs_file *file; /* or flock */
    int op;
    fs_lock_done_fn *done;
    void *user;
};

/* ---- owners ---- */

static guint owner_hash(gconstpointer p)
{
    const struct fs_lock_owner *o = p;
    uint64_t h = ((uint64_t)(uintptr_t)o->inode ^ o->owner) * 0x9e3779b97f4a7c15u;
    return (guint)(h >> 32);
}

static gboolean owner_equal(gconstpointer pa, gconstpointer pb)
{
    const struct fs_lock_owner *a = pa, *b = pb;
    return a->inode == b->inode && a->owner == b->owner;
}

static void owner_free(struct fs *fs, struct fs_lock_owner *o)
{
    close(o->fd); /* all its locks end */
    fs_fds_give(fs);
    fs_inode_put(fs, o->inode);
    g_free(o);
}

static bool owner_unref_locked(struct fs_lock_owner *o)
{
    return --o->refs == 0;
}

static void owner_put(struct fs *fs, struct fs_lock_owner *o)
{
    pthread_mutex_lock(&fs->locks.lock);
    bool last = owner_unref_locked(o);
    pthread_mutex_unlock(&fs->locks.lock);
    if (last)
        owner_free(fs, o);
}

/* The owner of that pair with a reference, or NULL. */
static struct fs_lock_owner *owner_find_locked(struct fs *fs, struct fs_inode *inode,
                                               uint64_t owner)
{
    struct fs_lock_owner key = {.inode = inode, .owner = owner};
    struct fs_lock_owner *o = g_hash_table_lookup(fs->locks.owners, &key);
    if (o)
        o->refs++;
    return o;
}

static struct fs_lock_owner *owner_find(struct fs *fs, struct fs_inode *inode, uint64_t owner)
{
    if (atomic_load(&fs->locks.n_owners) == 0)
        return NULL;
    AUTO_LOCK(&fs->locks.lock);
    return owner_find_locked(fs, inode, owner);
}

static void owner_unlink_locked(struct fs *fs, struct fs_lock_owner *o)
{
    g_hash_table_steal(fs->locks.owners, o);
    atomic_fetch_sub(&fs->locks.n_owners, 1);
}

/* Writable when possible: a write lock wants that. */
static int open_for_locks(struct fs *fs, struct fs_inode *inode)
{
    if (!fs->cfg.readonly && fs_inode_is(inode, S_IFREG)) {
        int fd = fs_inode_open(fs, inode, O_RDWR);
        if (fd != -EACCES && fd != -EPERM && fd != -EROFS && fd != -ETXTBSY)
            return fd;
    }
    return fs_inode_open(fs, inode, O_RDONLY);
}

/* A new owner, not yet in the table. NULL with *rc = -errno. */
static struct fs_lock_owner *owner_make(struct fs *fs, struct fs_inode *inode, uint64_t owner,
                                        int *rc)
{
    *rc = atomic_load(&fs->locks.n_owners) < OWNERS_MAX ? fs_fds_take(fs) : -ENOLCK;
    if (*rc < 0)
        return NULL;
    int fd = open_for_locks(fs, inode);
    if (fd < 0) {
        fs_fds_give(fs);
        *rc = fd;
        return NULL;
    }
    struct fs_lock_owner *o = g_new0(struct fs_lock_owner, 1);
    o->inode = fs_inode_ref(inode);
    o->owner = owner;
    o->fd = fd;
    return o;
}

/* Find or make. NULL with *rc = -errno. */
static struct fs_lock_owner *owner_get(struct fs *fs, struct fs_inode *inode, uint64_t owner,
                                       int *rc)
{
    struct fs_lock_owner *o = owner_find(fs, inode, owner);
    if (o)
        return o;
    struct fs_lock_owner *mine = owner_make(fs, inode, owner, rc);
    if (!mine)
        return NULL;
    pthread_mutex_lock(&fs->locks.lock);
    o = owner_find_locked(fs, inode, owner);
    if (!o) {
        o = g_steal_pointer(&mine);
        o->refs = 2;
        g_hash_table_add(fs->locks.owners, o);
        atomic_fetch_add(&fs->locks.n_owners, 1);
        atomic_fetch_or(&inode->flags, INODE_LOCKS);
    }
    pthread_mutex_unlock(&fs->locks.lock);
    if (mine)
        owner_free(fs, mine);
    return o;
}

/* Drop the caller's reference on an owner that has just unlocked everything; the descriptor goes
 * too, unless another call is about to lock something with it. */
static void owner_put_empty(struct fs *fs, struct fs_lock_owner *o)
{
    pthread_mutex_lock(&fs->locks.lock);
    if (o->refs == 2) {
        owner_unlink_locked(fs, o);
        o->refs--;
    }
    bool last = owner_unref_locked(o);
    pthread_mutex_unlock(&fs->locks.lock);
    if (last)
        owner_free(fs, o);
}

/* ---- POSIX locks ---- */

static int to_flock(const struct fs_lock *lk, struct flock *fl)
{
    if (lk->type != F_RDLCK && lk->type != F_WRLCK && lk->type != F_UNLCK)
        return -EINVAL;
    if (lk->start < 0 || lk->end < lk->start)
        return -EINVAL;
    *fl = (struct flock){
        .l_type = lk->type,
        .l_whence = SEEK_SET,
        .l_start = lk->start,
        .l_len = lk->end == INT64_MAX ? 0 : lk->end - lk->start + 1,
    };
    return 0;
}

static bool is_all(const struct fs_lock *lk)
{
    return lk->start == 0 && lk->end == INT64_MAX;
}

int fs_getlk(struct fs *fs, struct fs_inode *inode, uint64_t owner, struct fs_lock *lk)
{
    struct flock fl;
    int rc = to_flock(lk, &fl);
    if (rc < 0)
        return rc;
    if (lk->type == F_UNLCK)
        return -EINVAL;
    /* The owner's own locks are no conflict; if it has none, any description will do. */
    struct fs_lock_owner *o = owner_find(fs, inode, owner);
    AUTO_FD int own = o ? -1 : fs_inode_open(fs, inode, O_RDONLY);
    int fd = o ? o->fd : own;
    if (fd < 0)
        return fd;
    rc = fcntl(fd, F_OFD_GETLK, &fl) == 0 ? 0 : -errno;
    if (o)
        owner_put(fs, o);
    if (rc < 0)
        return rc;
    lk->type = fl.l_type;
    if (fl.l_type != F_UNLCK) {
        lk->start = fl.l_start;
        lk->end = fl.l_len == 0 ? INT64_MAX : fl.l_start + fl.l_len - 1;
    }
    return 0;
}

/* Unlocking; an owner that is not known has nothing. */
static int unlock_range(struct fs *fs, struct fs_inode *inode, uint64_t owner,
                        const struct fs_lock *lk, struct flock *fl)
{
    struct fs_lock_owner *o = owner_find(fs, inode, owner);
    if (!o)
        return 0;
    int rc = fcntl(o->fd, F_OFD_SETLK, fl) == 0 ? 0 : -errno;
    if (rc == 0 && is_all(lk))
        owner_put_empty(fs, o);
    else
        owner_put(fs, o);
    return rc;
}

int fs_setlk(struct fs *fs, struct fs_inode *inode, uint64_t owner, const struct fs_lock *lk)
{
    struct flock fl;
    int rc = to_flock(lk, &fl);
    if (rc < 0)
        return rc;
    if (lk->type == F_UNLCK)
        return unlock_range(fs, inode, owner, lk, &fl);
    struct fs_lock_owner *o = owner_get(fs, inode, owner, &rc);
    if (!o)
        return rc;
    rc = fcntl(o->fd, F_OFD_SETLK, &fl) == 0 ? 0 : (errno == EACCES ? -EAGAIN : -errno);
    owner_put(fs, o);
    return rc;
}

int fs_flush(struct fs *fs, struct fs_inode *inode, uint64_t owner)
{
    struct fs_lock all = {.type = F_UNLCK, .start = 0, .end = INT64_MAX};
    struct flock fl;

    if (G_LIKELY(!(atomic_load_explicit(&inode->flags, memory_order_relaxed) & INODE_LOCKS)))
        return 0;
    to_flock(&all, &fl);
    return unlock_range(fs, inode, owner, &all, &fl);
}

/* Take owners out of the table: all (inode NULL) or those of one inode. */
static void drop_owners(struct fs *fs, const struct fs_inode *inode)
{
    g_autoptr(GPtrArray) gone = g_ptr_array_new();
    GHashTableIter it;
    gpointer key;

    pthread_mutex_lock(&fs->locks.lock);
    g_hash_table_iter_init(&it, fs->locks.owners);
    while (g_hash_table_iter_next(&it, &key, NULL)) {
        struct fs_lock_owner *o = key;
        if (inode && o->inode != inode)
            continue;
        g_hash_table_iter_steal(&it);
        atomic_fetch_sub(&fs->locks.n_owners, 1);
        if (owner_unref_locked(o))
            g_ptr_array_add(gone, o);
    }
    pthread_mutex_unlock(&fs->locks.lock);
    for (guint i = 0; i < gone->len; i++)
        owner_free(fs, gone->pdata[i]);
}

void fs_locks_forget(struct fs *fs, struct fs_inode *inode)
{
    if (atomic_load(&fs->tree->views) == 0) /* else another client may have locks on it */
        atomic_fetch_and(&inode->flags, (uint8_t)~INODE_LOCKS);
    drop_owners(fs, inode);
}

/* ---- flock ---- */

static int do_flock(const struct fs_file *file, int op)
{
    return flock(file->fd, op) == 0 ? 0 : -errno;
}

int fs_flock(struct fs *fs, struct fs_file *file, int op)
{
    if (op != LOCK_SH && op != LOCK_EX && op != LOCK_UN)
        return -EINVAL;
    return do_flock(file, op | LOCK_NB);
}

/* ---- waiting ---- */

static int wait_once(struct fs_waiter *w)
{
    struct flock fl;
    if (w->file)
        return do_flock(w->file, w->op);
    int rc = to_flock(&w->lk, &fl);
    if (rc == 0 && fcntl(w->owner->fd, F_OFD_SETLKW, &fl) != 0)
        rc = -errno;
    return rc;
}

static void drop_refs(struct fs_waiter *w)
{
    if (w->file)
        fs_file_put(w->fs, w->file);
    if (w->owner)
        owner_put(w->fs, w->owner);
}

static void forget_waiter_locked(struct fs_waiter *w)
{
    struct fs_waiter **p = &w->fs->locks.list;
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
    w->fs->locks.n_waiters--;
}

static void *waiter_main(void *arg)
{
    struct fs_waiter *w = arg;
    struct fs_locks *l = &w->fs->locks;
    sigset_t wake;
    int rc = -EINTR;

    if (w->fs->cfg.lock_thread_start)
        w->fs->cfg.lock_thread_start(w->fs->cfg.user);
    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
    while (rc == -EINTR && !atomic_load(&w->cancelled))
        rc = wait_once(w);

    /* References first: a close that follows the answer shall find its owner unused. The list
     * last: who waits for us there relies on done() having been called. */
    drop_refs(w);
    w->done(w->user, rc);
    pthread_mutex_lock(&l->lock);
    forget_waiter_locked(w);
    pthread_cond_broadcast(&l->ended);
    pthread_mutex_unlock(&l->lock);
    g_free(w);
    return NULL;
}

static int start_thread(struct fs_waiter *w)
{
    sigset_t all, old;
    pthread_attr_t attr;

    /* Only the wake signal may ever reach the new thread. */
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WAITER_STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&w->thread, &attr, waiter_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0 ? 0 : -ENOLCK;
}

/* Give @w (taken over) a thread, or answer at once. */
static void start_wait(struct fs *fs, struct fs_waiter *w)
{
    fs_lock_done_fn *done = w->done;
    void *user = w->user;
    int rc = -ENOLCK;

    pthread_mutex_lock(&fs->locks.lock);
    if (fs->locks.n_waiters < fs->cfg.max_lock_waiters) {
        w->next = fs->locks.list;
        fs->locks.list = w;
        fs->locks.n_waiters++;
        rc = start_thread(w);
        if (rc < 0)
            forget_waiter_locked(w);
    }
    pthread_mutex_unlock(&fs->locks.lock);
    if (rc < 0) {
        log_guest_warn("too many threads wait for locks");
        drop_refs(w);
        g_free(w);
        done(user, rc);
    }
}

static struct fs_waiter *new_waiter(struct fs *fs, fs_lock_done_fn *done, void *user)
{
    struct fs_waiter *w = g_new0(struct fs_waiter, 1);
    w->fs = fs;
    w->done = done;
    w->user = user;
    return w;
}

void fs_setlk_wait(struct fs *fs, struct fs_inode *inode, uint64_t owner, const struct fs_lock *lk,
                   fs_lock_done_fn *done, void *user)
{
    int rc = fs_setlk(fs, inode, owner, lk);
    if (rc != -EAGAIN) {
        done(user, rc);
        return;
    }
    struct fs_lock_owner *o = owner_get(fs, inode, owner, &rc);
    if (!o) {
        done(user, rc);
        return;
    }
    struct fs_waiter *w = new_waiter(fs, done, user);
    w->owner = o;
    w->lk = *lk;
    start_wait(fs, w);
}

void fs_flock_wait(struct fs *fs, struct fs_file *file, int op, fs_lock_done_fn *done, void *user)
{
    int rc = fs_flock(fs, file, op);
    if (rc != -EWOULDBLOCK) {
        done(user, rc);
        return;
    }
    struct fs_waiter *w = new_waiter(fs, done, user);
    atomic_fetch_add_explicit(&file->state, 1, memory_order_relaxed);
    w->file = file;
    w->op = op;
    start_wait(fs, w);
}

/* Signal all that are to end; whether there are any. Waits that began later go on. */
static bool wake_cancelled_locked(struct fs_locks *l)
{
    bool any = false;
    for (struct fs_waiter *w = l->list; w; w = w->next) {
        if (atomic_load(&w->cancelled)) {
            pthread_kill(w->thread, WAKE_SIGNAL);
            any = true;
        }
    }
    return any;
}

/* End those waits whose done() gets @user (NULL: all) and see them gone. */
static void cancel(struct fs *fs, const void *user)
{
    struct fs_locks *l = &fs->locks;

    AUTO_LOCK(&l->lock);
    for (struct fs_waiter *w = l->list; w; w = w->next)
        if (!user || w->user == user)
            atomic_store(&w->cancelled, true);
    while (wake_cancelled_locked(l)) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WAKE_AGAIN_NS;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&l->ended, &l->lock, &until);
    }
}

void fs_locks_cancel(struct fs *fs)
{
    cancel(fs, NULL);
}

void fs_lock_cancel(struct fs *fs, const void *user)
{
    cancel(fs, user);
}

/* ---- start and end ---- */

static void on_wake(int sig)
{
    (void)sig;
}

int fs_locks_init(struct fs *fs)
{
    struct sigaction sa = {.sa_handler = on_wake}; /* no SA_RESTART: the call must end */
    pthread_condattr_t attr;

    pthread_mutex_init(&fs->locks.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&fs->locks.ended, &attr);
    pthread_condattr_destroy(&attr);
    fs->locks.owners = g_hash_table_new(owner_hash, owner_equal);
    return sigaction(WAKE_SIGNAL, &sa, NULL) == 0 ? 0 : -errno;
}

void fs_locks_reset(struct fs *fs)
{
    fs_locks_cancel(fs);
    drop_owners(fs, NULL);
}

void fs_locks_fini(struct fs *fs)
{
    g_hash_table_destroy(fs->locks.owners);
    pthread_cond_destroy(&fs->locks.ended);
    pthread_mutex_destroy(&fs->locks.lock);
}
