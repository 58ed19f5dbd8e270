/* SPDX-License-Identifier: BSD-3-Clause
 * Open files without a handle, for a guest that opens none: its requests name inodes, and any may
 * be the last.
 *
 * A file that was opened for one request is kept for the next of the same inode: so many, in sets
 * by the inode's slot, one making room for another. Directories are read in passes: a pass is gone
 * on with by the same open directory, if it is still there, for not every file system knows the
 * offsets of one in another. What was not used for a second or two (a pass: for a minute) is closed
 * by a thread, which sleeps while nothing is kept: until then the host cannot execute a file that
 * was written to, nor has it back the space of one that it has deleted. */
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-priv.h"

#include <time.h>

#define WAYS     4   /* files of one set */
#define SETS_MAX 256 /* a power of two */
#define PASSES   64
#define PASS_S   60

struct set {
    pthread_mutex_t lock; /* a leaf */
    struct fs_file *file[WAYS];
    bool used[WAYS]; /* since the thread came by */
    unsigned hand;   /* of those that make room */
};

struct pass {
    struct fs_file *file; /* NULL: none */
    uint64_t next;        /* offset that it stands at */
    int64_t since;        /* seconds of a clock that never goes back */
};

struct fs_kept {
    struct fs *fs;
    unsigned n_sets;
    struct set *sets;
    pthread_mutex_t passes_lock; /* a leaf */
    unsigned n_passes;
    struct pass passes[PASSES];

    pthread_mutex_t lock; /* of the rest; a leaf */
    pthread_cond_t wake;
    pthread_t thread;
    bool running, stop;
    atomic_uint count;    /* in sets and passes */
    GPtrArray *over;      /* files to be closed by the thread */
    pthread_mutex_t busy; /* held while the thread has references */
};

static int64_t now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return t.tv_sec;
}

static void put_all(struct fs *fs, GPtrArray *files)
{
    for (guint i = 0; i < files->len; i++)
        fs_file_put(fs, files->pdata[i]);
    g_ptr_array_set_size(files, 0);
}

/* ---- the thread ---- */

/* Take out of the sets what was not used since the last round, or @all, and what is of @inode, if
 * that is not NULL. */
static void take_from(struct fs_kept *k, struct set *s, const struct fs_inode *inode, bool all,
                      GPtrArray *out)
{
    AUTO_LOCK(&s->lock);
    for (unsigned i = 0; i < WAYS; i++) {
        bool goes = inode ? s->file[i] && s->file[i]->inode == inode : all || !s->used[i];
        if (!inode)
            s->used[i] = false;
        if (!goes || !s->file[i])
            continue;
        g_ptr_array_add(out, g_steal_pointer(&s->file[i]));
        atomic_fetch_sub(&k->count, 1);
    }
}

/* The same of passes that nobody has gone on with since @before. */
static void take_passes(struct fs_kept *k, const struct fs_inode *inode, int64_t before,
                        GPtrArray *out)
{
    AUTO_LOCK(&k->passes_lock);
    for (unsigned i = 0; i < k->n_passes; i++) {
        struct pass *p = &k->passes[i];
        if (!p->file || (inode ? p->file->inode != inode : p->since >= before))
            continue;
        g_ptr_array_add(out, g_steal_pointer(&p->file));
        atomic_fetch_sub(&k->count, 1);
    }
}

static void take_old(struct fs_kept *k, bool all, GPtrArray *out)
{
    for (unsigned i = 0; i < k->n_sets; i++)
        take_from(k, &k->sets[i], NULL, all, out);
    take_passes(k, NULL, all ? INT64_MAX : now_s() - PASS_S, out);
}

/* Wait until something is to be closed, or may be: for a second at most while anything is kept. */
static void wait_locked(struct fs_kept *k)
{
    struct timespec until;

    while (!k->stop && k->over->len == 0 && atomic_load(&k->count) == 0)
        pthread_cond_wait(&k->wake, &k->lock);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    while (!k->stop && k->over->len == 0)
        if (pthread_cond_timedwait(&k->wake, &k->lock, &until) == ETIMEDOUT)
            return;
}

static void *kept_main(void *arg)
{
    struct fs_kept *k = arg;
    g_autoptr(GPtrArray) files = g_ptr_array_new();
    int64_t round = now_s();

    pthread_mutex_lock(&k->lock);
    while (!k->stop) {
        wait_locked(k);
        pthread_mutex_unlock(&k->lock);
        pthread_mutex_lock(&k->busy);
        pthread_mutex_lock(&k->lock);
        g_ptr_array_extend(files, k->over, NULL, NULL);
        g_ptr_array_set_size(k->over, 0);
        pthread_mutex_unlock(&k->lock);
        if (now_s() > round) {
            take_old(k, false, files);
            round = now_s();
        }
        put_all(k->fs, files);
        pthread_mutex_unlock(&k->busy);
        pthread_mutex_lock(&k->lock);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

static void start_locked(struct fs_kept *k)
{
    k->running = fs_thread_new(&k->thread, kept_main, k, false) == 0;
    if (!k->running)
        log_guest_warn("no thread to close files that the guest does not use");
}

/* One more is kept. */
static void counted(struct fs_kept *k)
{
    if (atomic_fetch_add(&k->count, 1) > 0)
        return;
    AUTO_LOCK(&k->lock);
    if (!k->running)
        start_locked(k);
    pthread_cond_signal(&k->wake);
}

/* Close what has become too much: by the thread, if there is one. */
static void close_over(struct fs_kept *k, GPtrArray *files)
{
    pthread_mutex_lock(&k->lock);
    if (k->running && files->len > 0) {
        g_ptr_array_extend(k->over, files, NULL, NULL);
        g_ptr_array_set_size(files, 0);
        pthread_cond_signal(&k->wake);
    }
    pthread_mutex_unlock(&k->lock);
    put_all(k->fs, files);
}

/* ---- files ---- */

static struct set *set_of(struct fs_kept *k, const struct fs_inode *inode)
{
    return &k->sets[inode->node.slot & (k->n_sets - 1)];
}

static bool serves(const struct fs_file *f, const struct fs_inode *inode, bool write)
{
    return f && f->inode == inode && f->f.accmode != (write ? O_RDONLY : O_WRONLY);
}

/* With a reference, or NULL. */
static struct fs_file *find(struct set *s, const struct fs_inode *inode, bool write)
{
    AUTO_LOCK(&s->lock);
    for (unsigned i = 0; i < WAYS; i++) {
        if (!serves(s->file[i], inode, write))
            continue;
        s->used[i] = true;
        return fs_file_ref(s->file[i]);
    }
    return NULL;
}

/* The place that is free, or not used for a while, or the next one's turn. */
static unsigned place_locked(struct set *s)
{
    for (unsigned i = 0; i < WAYS; i++)
        if (!s->file[i])
            return i;
    for (unsigned i = 0; i < WAYS; i++)
        if (!s->used[i])
            return i;
    return s->hand++ % WAYS;
}

/* Keep it, by a reference of its own. */
static void keep(struct fs_kept *k, struct fs_file *f)
{
    struct set *s = set_of(k, f->inode);

    pthread_mutex_lock(&s->lock);
    unsigned at = place_locked(s);
    struct fs_file *old = s->file[at];
    s->file[at] = fs_file_ref(f);
    s->used[at] = true;
    pthread_mutex_unlock(&s->lock);
    if (old)
        fs_file_put(k->fs, old);
    else
        counted(k);
}

/* Open it; when there are no descriptors left, once more without all that is kept. */
static int open_one(struct fs *fs, struct fs_inode *inode, int flags, struct fs_file **out)
{
    int rc = fs_file_open(fs, inode, flags, out);
    if (rc != -ENFILE && rc != -EMFILE)
        return rc;
    g_autoptr(GPtrArray) files = g_ptr_array_new();
    take_old(fs->kept, true, files);
    put_all(fs, files);
    return fs_file_open(fs, inode, flags, out);
}

/* One that may write serves both, where it can be had. */
static int open_kept(struct fs *fs, struct fs_inode *inode, int flags, struct fs_file **out)
{
    bool write = (flags & O_ACCMODE) != O_RDONLY;
    int rc = open_one(fs, inode, (flags & O_APPEND) | (write ? O_RDWR : O_RDONLY), out);

    return rc == -EACCES && write ? open_one(fs, inode, (flags & O_APPEND) | O_WRONLY, out) : rc;
}

int fs_kept_file(struct fs *fs, struct fs_inode *inode, int flags, struct fs_file **out)
{
    bool write = (flags & O_ACCMODE) != O_RDONLY;

    if (!fs->handleless)
        return -EBADF;
    *out = find(set_of(fs->kept, inode), inode, write);
    if (*out)
        return 0;
    int rc = open_kept(fs, inode, flags, out);
    if (rc == 0)
        keep(fs->kept, *out);
    return rc;
}

void fs_file_keep(struct fs *fs, uint64_t fh)
{
    struct fs_file *f = fs_file_get(fs, fh, NULL);

    fs_release(fs, fh);
    if (!f)
        return;
    if (fs->handleless)
        keep(fs->kept, f);
    fs_file_put(fs, f);
}

/* ---- passes over directories ---- */

int fs_pass_take(struct fs *fs, struct fs_inode *dir, uint64_t off, struct fs_file **out)
{
    struct fs_kept *k = fs->kept;

    if (!fs->handleless)
        return -EBADF;
    if (!fs_inode_is(dir, S_IFDIR))
        return -ENOTDIR;
    pthread_mutex_lock(&k->passes_lock);
    *out = NULL;
    for (unsigned i = 0; i < k->n_passes && off != 0 && !*out; i++)
        if (k->passes[i].file && k->passes[i].next == off && k->passes[i].file->inode == dir)
            *out = g_steal_pointer(&k->passes[i].file);
    pthread_mutex_unlock(&k->passes_lock);
    if (!*out)
        return open_one(fs, dir, O_RDONLY, out);
    atomic_fetch_sub(&k->count, 1);
    return 0;
}

void fs_pass_give(struct fs *fs, struct fs_file *dir, uint64_t next, bool over)
{
    struct fs_kept *k = fs->kept;
    unsigned at = 0;

    if (over || !fs->handleless) {
        fs_file_put(fs, dir);
        return;
    }
    pthread_mutex_lock(&k->passes_lock);
    for (unsigned i = 0; i < k->n_passes && k->passes[at].file; i++)
        if (!k->passes[i].file || k->passes[i].since < k->passes[at].since)
            at = i;
    struct fs_file *old = k->passes[at].file;
    k->passes[at] = (struct pass){dir, next, now_s()};
    pthread_mutex_unlock(&k->passes_lock);
    if (old)
        fs_file_put(fs, old);
    else
        counted(k);
}

/* ---- life ---- */

void fs_kept_forget(struct fs *fs, const struct fs_inode *inode)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new();

    if (atomic_load(&fs->kept->count) == 0)
        return;
    take_from(fs->kept, set_of(fs->kept, inode), inode, true, files);
    if (fs_inode_is(inode, S_IFDIR))
        take_passes(fs->kept, inode, 0, files);
    if (files->len > 0)
        close_over(fs->kept, files);
}

static struct fs_kept *kept_new(struct fs *fs)
{
    struct fs_kept *k = g_new0(struct fs_kept, 1);
    pthread_condattr_t attr;

    k->fs = fs;
    for (k->n_sets = 1; k->n_sets < SETS_MAX && k->n_sets * WAYS < fs->cfg.max_fds / 16;)
        k->n_sets *= 2;
    k->sets = g_new0(struct set, k->n_sets);
    k->n_passes = (unsigned)CLAMP(fs->cfg.max_fds / 16, 1, PASSES);
    for (unsigned i = 0; i < k->n_sets; i++)
        pthread_mutex_init(&k->sets[i].lock, NULL);
    pthread_mutex_init(&k->passes_lock, NULL);
    pthread_mutex_init(&k->lock, NULL);
    pthread_mutex_init(&k->busy, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &attr);
    pthread_condattr_destroy(&attr);
    k->over = g_ptr_array_new();
    return k;
}

void fs_handleless_enable(struct fs *fs)
{
    if (!fs->kept)
        fs->kept = kept_new(fs);
    fs->handleless = true;
    atomic_store(&fs->shared->handleless, true);
    atomic_store(&fs->closes_mute, true);
}

void fs_kept_reset(struct fs *fs)
{
    struct fs_kept *k = fs->kept;

    if (!k)
        return;
    fs->handleless = false;
    atomic_store(&fs->shared->handleless, false);
    AUTO_LOCK(&k->busy);
    g_autoptr(GPtrArray) files = g_ptr_array_new();
    take_old(k, true, files);
    pthread_mutex_lock(&k->lock);
    g_ptr_array_extend(files, k->over, NULL, NULL);
    g_ptr_array_set_size(k->over, 0);
    pthread_mutex_unlock(&k->lock);
    put_all(fs, files);
}

void fs_kept_fini(struct fs *fs)
{
    struct fs_kept *k = fs->kept;

    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->stop = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    if (k->running)
        pthread_join(k->thread, NULL);
    for (unsigned i = 0; i < k->n_sets; i++)
        pthread_mutex_destroy(&k->sets[i].lock);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->busy);
    pthread_mutex_destroy(&k->lock);
    pthread_mutex_destroy(&k->passes_lock);
    g_ptr_array_unref(k->over);
    g_free(k->sets);
    g_free(k);
    fs->kept = NULL;
}
