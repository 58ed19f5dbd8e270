/* SPDX-License-Identifier: BSD-3-Clause
 * Waiting for what a tree must fetch first.
 *
 * A verb that wants bytes which are not there says FS_LATER, and its waiting form comes here: the
 * tree is asked for them, and when they have come the verb is done by the thread that brings them.
 * How long that may take is bounded by the tree. One of three ends a wait, and each knows that it
 * is the one: who asks, when the tree answers at once; the tree's done(); or who cancels, when the
 * tree says that done() will not be called. How many may wait at once is for the protocols to
 * bound, by their rings and messages. */
#include "virtiofsd/fs/fs-priv.h"

#define TRIES 16 /* what was fetched may be gone again before it is read */

enum kind { KIND_READ, KIND_COPY, KIND_MAP };

struct fs_fetch {
    struct tree_wait w; /* first */
    TAILQ_ENTRY(fs_fetch) link;
    struct fs *fs;
    struct tree *tree; /* of the inode: who cancels may come when that is gone */
    enum kind kind;
    struct fs_inode *inode;     /* whose bytes: with a reference */
    struct fs_file *file, *out; /* the same, or NULL */
    struct iovec *iov;          /* ours; where they point to is the caller's */
    unsigned cnt, how, tries;
    off_t off, off_out;
    size_t len;
    uint64_t id;
    fs_late_fn *done;
    void *user;
    /* fs_fetches.lock: */
    unsigned refs; /* of the wait, and of who looks at it: as long it is in the list */
    bool cancelled, ended;
};

static struct fs_fetches *fetches_of(const struct fs_fetch *f)
{
    return &f->fs->fetches;
}

static void unref_locked(struct fs_fetch *f)
{
    struct fs_fetches *all = fetches_of(f);

    if (--f->refs > 0)
        return;
    TAILQ_REMOVE(&all->list, f, link);
    pthread_cond_broadcast(&all->ended);
    g_free(f->iov);
    g_free(f);
}

static void unref(struct fs_fetch *f)
{
    AUTO_LOCK(&fetches_of(f)->lock);
    unref_locked(f);
}

/* References first: a close that follows the answer shall find the file unused. The list last: who
 * waits for us there relies on done() having been called, and frees the client then. */
static void finish(struct fs_fetch *f, ssize_t result)
{
    if (f->file)
        fs_file_put(f->fs, f->file);
    if (f->out)
        fs_file_put(f->fs, f->out);
    fs_inode_put(f->fs, f->inode);
    f->done(f->user, result);
    AUTO_LOCK(&fetches_of(f)->lock);
    f->ended = true;
    unref_locked(f);
}

/* The bytes should be there. */
static ssize_t try_verb(struct fs_fetch *f)
{
    struct iovec *copy;
    ssize_t n = 0;

    switch (f->kind) {
    case KIND_READ:
        copy = g_memdup2(f->iov, f->cnt * sizeof(*f->iov));
        n = fs_read(f->fs, f->file, copy, f->cnt, f->off, f->how);
        g_free(copy);
        break;
    case KIND_COPY:
        n = fs_copy_range(f->fs, f->file, f->off, f->out, f->off_out, f->len, 0, f->how);
        break;
    case KIND_MAP:
        break;
    }
    return n;
}

static bool is_cancelled(struct fs_fetch *f)
{
    AUTO_LOCK(&fetches_of(f)->lock);
    return f->cancelled;
}

/* The caller's reference keeps it. Returns whether the wait is ours to end, with *result. */
static bool ask_tree(struct fs_fetch *f, ssize_t *result)
{
    struct tree *t = f->tree;

    for (;;) {
        if (is_cancelled(f))
            *result = -EINTR;
        else if (f->tries++ == TRIES || !t->ops->fetch)
            *result = -EIO;
        else
            *result = t->ops->fetch(t, &f->inode->node, f->off, f->len, &f->w);
        if (*result < 0)
            return true;
        if (*result == 0) /* who cancelled it before the tree knew of it could not reach it */
            break;
        *result = try_verb(f);
        if (*result != FS_LATER)
            return true;
    }
    *result = -EINTR;
    return is_cancelled(f) && t->ops->cancel(t, &f->w);
}

static void go_on(struct fs_fetch *f)
{
    ssize_t result;

    pthread_mutex_lock(&fetches_of(f)->lock);
    f->refs++;
    pthread_mutex_unlock(&fetches_of(f)->lock);
    if (ask_tree(f, &result))
        finish(f, result);
    unref(f);
}

/* The tree has it, or says why not. */
static void fetched(struct tree_wait *w, int result)
{
    struct fs_fetch *f = (struct fs_fetch *)w;
    ssize_t n = is_cancelled(f) ? -EINTR : result < 0 ? result : try_verb(f);

    if (n == FS_LATER)
        go_on(f);
    else
        finish(f, n);
}

/* ---- begin ---- */

static struct fs_fetch *new_fetch(struct fs *fs, struct fs_inode *inode, uint64_t id,
                                  fs_late_fn *done, void *user)
{
    struct fs_fetch *f = g_new0(struct fs_fetch, 1);

    *f = (struct fs_fetch){
        .w = {.done = fetched},
        .fs = fs,
        .tree = fs_tree(inode),
        .inode = fs_inode_ref(inode),
        .id = id,
        .done = done,
        .user = user,
        .refs = 1,
    };
    return f;
}

static void start(struct fs_fetch *f)
{
    pthread_mutex_lock(&fetches_of(f)->lock);
    TAILQ_INSERT_TAIL(&fetches_of(f)->list, f, link);
    pthread_mutex_unlock(&fetches_of(f)->lock);
    go_on(f);
}

void fs_read_wait(struct fs *fs, struct fs_file *file, const struct iovec *iov, unsigned cnt,
                  off_t off, unsigned how, uint64_t id, fs_late_fn *done, void *user)
{
    struct fs_fetch *f = new_fetch(fs, file->inode, id, done, user);

    f->kind = KIND_READ;
    f->file = fs_file_ref(file);
    f->iov = g_memdup2(iov, cnt * sizeof(*iov));
    f->cnt = cnt;
    f->off = off;
    f->how = how;
    for (unsigned i = 0; i < cnt; i++)
        f->len += iov[i].iov_len;
    start(f);
}

void fs_copy_range_wait(struct fs *fs, struct fs_file *in, off_t off_in, struct fs_file *out,
                        off_t off_out, size_t len, unsigned how, uint64_t id, fs_late_fn *done,
                        void *user)
{
    struct fs_fetch *f = new_fetch(fs, in->inode, id, done, user);

    f->kind = KIND_COPY;
    f->file = fs_file_ref(in);
    f->out = fs_file_ref(out);
    f->off = off_in;
    f->off_out = off_out;
    f->len = len;
    f->how = how;
    start(f);
}

bool fs_map_fetches(const struct fs_inode *inode)
{
    return fs_inode_is(inode, S_IFREG) && fs_tree(inode)->ops->fetch;
}

void fs_map_wait(struct fs *fs, struct fs_inode *inode, off_t off, size_t len, uint64_t id,
                 fs_late_fn *done, void *user)
{
    struct fs_fetch *f = new_fetch(fs, inode, id, done, user);

    f->kind = KIND_MAP;
    f->off = off;
    f->len = len;
    start(f);
}

/* ---- cancel ---- */

/* Tell the tree about @f, which is marked; the lock is held, and given up meanwhile. */
static void cancel_locked(struct fs_fetches *all, struct fs_fetch *f)
{
    f->refs++;
    pthread_mutex_unlock(&all->lock);
    if (f->tree->ops->cancel(f->tree, &f->w))
        finish(f, -EINTR);
    unref(f);
    pthread_mutex_lock(&all->lock);
}

/* The next that is to be cancelled and is not yet. */
static struct fs_fetch *next_locked(struct fs_fetches *all, const void *user, const uint64_t *id)
{
    struct fs_fetch *f;

    TAILQ_FOREACH(f, &all->list, link)
    {
        if (!f->cancelled && !f->ended && (!user || f->user == user) && (!id || f->id == *id))
            break;
    }
    if (f)
        f->cancelled = true;
    return f;
}

static bool any_locked(struct fs_fetches *all, const void *user)
{
    struct fs_fetch *f;

    TAILQ_FOREACH(f, &all->list, link)
    {
        if (f->cancelled && (!user || f->user == user))
            return true;
    }
    return false;
}

void fs_fetches_cancel(struct fs *fs, const void *user)
{
    struct fs_fetches *all = &fs->fetches;
    struct fs_fetch *f;

    AUTO_LOCK(&all->lock);
    while ((f = next_locked(all, user, NULL)))
        cancel_locked(all, f);
    while (any_locked(all, user))
        pthread_cond_wait(&all->ended, &all->lock);
}

void fs_fetch_interrupt(struct fs *fs, uint64_t id)
{
    struct fs_fetches *all = &fs->fetches;
    struct fs_fetch *f;

    AUTO_LOCK(&all->lock);
    while ((f = next_locked(all, NULL, &id)))
        cancel_locked(all, f);
}

/* ---- all that waits, for data or for locks ---- */

void fs_waits_cancel(struct fs *fs)
{
    fs_fetches_cancel(fs, NULL);
    fs_locks_cancel(fs);
}

void fs_wait_cancel(struct fs *fs, const void *user)
{
    fs_fetches_cancel(fs, user);
    fs_lock_cancel(fs, user);
}

void fs_wait_interrupt(struct fs *fs, uint64_t id)
{
    fs_fetch_interrupt(fs, id);
    fs_lock_interrupt(fs, id);
}

/* ---- start and end ---- */

void fs_fetches_init(struct fs *fs)
{
    TAILQ_INIT(&fs->fetches.list);
    pthread_mutex_init(&fs->fetches.lock, NULL);
    pthread_cond_init(&fs->fetches.ended, NULL);
}

void fs_fetches_fini(struct fs *fs)
{
    pthread_cond_destroy(&fs->fetches.ended);
    pthread_mutex_destroy(&fs->fetches.lock);
}
