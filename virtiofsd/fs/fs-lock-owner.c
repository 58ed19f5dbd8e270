/* SPDX-License-Identifier: BSD-3-Clause
 * Owners of record locks: their descriptors, and what they hold. */
/* #syscalls:lock close dup3 fcntl */
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/random.h"
#include "virtiofsd/fs/fs-lock-priv.h"

#include <stdlib.h>

#define OWNERS_MAX 65536u
/* As many may hold nothing and keep their descriptor, so that who locks and unlocks by turns does
 * not open the file each time. */
#define OWNERS_IDLE 1024u
/* Locks that are taken again, one by one, when an owner that only read wants to write. */
#define MOVED_MAX    1024u
#define REAP_AT_ONCE 256u

/* ---- lock contexts ---- */

static guint id_hash(gconstpointer key)
{
    /* Ids are the guest's: it shall not know which of them meet. */
    static uint64_t salt;
    uint64_t v;

    if (G_UNLIKELY(salt == 0)) /* fs_locks.lock is held */
        random_bytes(&salt, sizeof(salt));
    memcpy(&v, key, sizeof(v));
    return (guint)(((v ^ salt) * 0x9e3779b97f4a7c15u) >> 32);
}

static struct fs_lock_ctx *ctx_find_locked(struct fs_locks *l, const struct fs *fs,
                                           const struct fs_inode *inode)
{
    struct fs_lock_ctx *b = g_hash_table_lookup(l->ctxs, inode);

    while (b && b->fs != fs)
        b = b->next;
    return b;
}

static struct fs_lock_ctx *ctx_make_locked(struct fs_locks *l, struct fs *fs,
                                           struct fs_inode *inode)
{
    struct fs_lock_ctx *b = g_new0(struct fs_lock_ctx, 1);

    *b = (struct fs_lock_ctx){.fs = fs, .inode = inode, .attached = true};
    b->owners = g_hash_table_new(id_hash, g_int64_equal);
    b->next = g_hash_table_lookup(l->ctxs, inode);
    g_hash_table_insert(l->ctxs, inode, b);
    atomic_fetch_or(&inode->node.flags, INODE_LOCKS);
    return b;
}

/* Nobody finds its owners any more. */
static void ctx_detach_locked(struct fs_locks *l, struct fs_lock_ctx *b)
{
    struct fs_lock_ctx *first = g_hash_table_lookup(l->ctxs, b->inode), **p = &first;

    while (*p != b)
        p = &(*p)->next;
    *p = b->next;
    b->next = NULL;
    b->attached = false;
    if (first) {
        g_hash_table_insert(l->ctxs, b->inode, first);
    } else {
        g_hash_table_remove(l->ctxs, b->inode);
        atomic_fetch_and(&b->inode->node.flags, (uint8_t)~INODE_LOCKS);
    }
}

static void ctx_free(struct fs_lock_ctx *b)
{
    g_hash_table_destroy(b->owners);
    g_free(b);
}

/* ---- owners ---- */

static void leave_file_locked(struct fs_owner *o)
{
    if (o->file)
        LIST_REMOVE(o, of_file);
    o->file = NULL;
    o->many = false;
}

static void join_file_locked(struct fs_owner *o, struct fs_file *file)
{
    if (!file || o->many || o->file == file)
        return;
    if (o->file) {
        leave_file_locked(o);
        o->many = true;
        return;
    }
    o->file = file;
    LIST_INSERT_HEAD(&file->owners, o, of_file);
}

/* Take it out of its context, whose reference becomes the caller's. */
static void take_out_locked(struct fs_locks *l, struct fs_owner *o)
{
    struct fs_lock_ctx *b = o->ctx;

    g_assert(b);
    leave_file_locked(o);
    g_hash_table_remove(b->owners, &o->id);
    o->ctx = NULL;
    if (b->attached && g_hash_table_size(b->owners) == 0) {
        ctx_detach_locked(l, b);
        ctx_free(b);
    }
}

/* The last reference is gone. */
static void owner_free(struct fs_owner *o)
{
    struct fs_locks *l = fs_locks_of(o->fs);
    bool held = o->ranges->len > 0;

    close(o->fd); /* all its locks end */
    fs_fds_give(o->fs);
    pthread_mutex_lock(&l->lock);
    l->n_ranges -= o->ranges->len;
    pthread_mutex_unlock(&l->lock);
    atomic_fetch_sub(&l->n_owners, 1);
    if (held)
        fs_clerk_stir(l);
    fs_inode_put(o->fs, o->inode);
    g_array_unref(o->ranges);
    pthread_mutex_destroy(&o->set_lock);
    g_free(o);
}

static struct fs_owner *find_locked(struct fs *fs, const struct fs_inode *inode, uint64_t id)
{
    struct fs_lock_ctx *b = ctx_find_locked(fs_locks_of(fs), fs, inode);
    struct fs_owner *o = b ? g_hash_table_lookup(b->owners, &id) : NULL;

    if (o)
        o->refs++;
    return o;
}

struct fs_owner *fs_owner_find(struct fs *fs, struct fs_inode *inode, uint64_t id)
{
    if (!(atomic_load(&inode->node.flags) & INODE_LOCKS))
        return NULL;
    AUTO_LOCK(&fs_locks_of(fs)->lock);
    return find_locked(fs, inode, id);
}

int fs_lock_open(struct fs *fs, struct fs_inode *inode, short type)
{
    struct tree *t = fs_tree(inode);

    if (type == F_WRLCK && fs->cfg.readonly)
        return -EBADF;
    return t->ops->lock_open ? t->ops->lock_open(t, &inode->node, type) : -ENOLCK;
}

/* A new owner, in no context yet. NULL with *rc = -errno. */
static struct fs_owner *owner_make(struct fs *fs, struct fs_inode *inode, uint64_t id, short type,
                                   int *rc)
{
    struct fs_locks *l = fs_locks_of(fs);

    *rc = atomic_load(&l->n_owners) < OWNERS_MAX ? fs_fds_take(fs) : -ENOLCK;
    if (*rc < 0)
        return NULL;
    int fd = fs_lock_open(fs, inode, type);
    if (fd < 0) {
        fs_fds_give(fs);
        *rc = fd;
        return NULL;
    }
    struct fs_owner *o = g_new0(struct fs_owner, 1);
    *o = (struct fs_owner){.fs = fs, .inode = fs_inode_ref(inode), .id = id, .fd = fd};
    o->writable = type == F_WRLCK;
    o->ranges = fs_ranges_new();
    pthread_mutex_init(&o->set_lock, NULL);
    atomic_fetch_add(&l->n_owners, 1);
    return o;
}

static void enter_locked(struct fs_locks *l, struct fs_owner *o)
{
    struct fs_lock_ctx *b = ctx_find_locked(l, o->fs, o->inode);

    if (!b)
        b = ctx_make_locked(l, o->fs, o->inode);
    o->refs = 2; /* the context's and the caller's */
    o->ctx = b;
    g_hash_table_insert(b->owners, &o->id, o);
}

struct fs_owner *fs_owner_get(struct fs *fs, struct fs_inode *inode, const struct fs_locker *who,
                              short type, int *rc)
{
    struct fs_locks *l = fs_locks_of(fs);
    struct fs_owner *o = fs_owner_find(fs, inode, who->owner), *mine = NULL;

    if (!o) {
        mine = owner_make(fs, inode, who->owner, type, rc);
        if (!mine)
            return NULL;
    }
    pthread_mutex_lock(&l->lock);
    if (!o)
        o = find_locked(fs, inode, who->owner);
    if (!o) {
        o = g_steal_pointer(&mine);
        enter_locked(l, o);
    }
    join_file_locked(o, who->file);
    pthread_mutex_unlock(&l->lock);
    if (mine)
        owner_free(mine);
    return o;
}

void fs_owner_put(struct fs_owner *o, bool last)
{
    struct fs_locks *l = fs_locks_of(o->fs);

    pthread_mutex_lock(&l->lock);
    if (o->refs == 2 && o->ctx && o->ranges->len == 0) {
        leave_file_locked(o);
        if (last || atomic_load(&l->n_owners) > OWNERS_IDLE) {
            take_out_locked(l, o);
            o->refs--;
        }
    }
    bool gone = --o->refs == 0;
    pthread_mutex_unlock(&l->lock);
    if (gone)
        owner_free(o);
}

/* ---- what they hold ---- */

static struct flock to_flock(const struct fs_lock *lk)
{
    return (struct flock){
        .l_type = lk->type,
        .l_whence = SEEK_SET,
        .l_start = lk->start,
        .l_len = lk->end == INT64_MAX ? 0 : lk->end - lk->start + 1,
    };
}

static int set_on(int fd, int cmd, const struct fs_lock *lk)
{
    struct flock fl = to_flock(lk);

    if (fcntl(fd, cmd, &fl) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

int fs_owner_block(struct fs_owner *o, const struct fs_lock *lk)
{
    return set_on(o->fd, F_OFD_SETLKW, lk);
}

/* set_lock is held: nobody else changes the ranges. */
static int take_all_again(const struct fs_owner *o, int fd)
{
    int rc = o->ranges->len > MOVED_MAX ? -ENOLCK : 0;

    for (unsigned i = 0; rc == 0 && i < o->ranges->len; i++) {
        const struct fs_range *r = &g_array_index(o->ranges, struct fs_range, i);
        struct fs_lock lk = {.type = r->type, .start = r->start, .end = r->end};
        rc = set_on(fd, F_OFD_SETLK, &lk);
    }
    return rc;
}

/* An owner that has read so far is going to write: another description, which holds all that the
 * old one held before that ends. */
static int make_writable(struct fs_owner *o)
{
    AUTO_FD int fd = fs_lock_open(o->fs, o->inode, F_WRLCK);
    if (fd < 0)
        return fd;
    int rc = take_all_again(o, fd);
    if (rc < 0)
        return rc;
    if (dup3(fd, o->fd, O_CLOEXEC) < 0)
        return -errno;
    o->writable = true;
    o->changes++; /* who waits with the old description must look again */
    return 0;
}

/* Count what @lk would add. 0, or -ENOLCK: that is more than there may be. */
static int reserve(struct fs_owner *o, const struct fs_lock *lk, unsigned *more)
{
    struct fs_locks *l = fs_locks_of(o->fs);

    AUTO_LOCK(&l->lock);
    unsigned after = fs_ranges_after(o->ranges, lk);
    *more = after > o->ranges->len ? after - o->ranges->len : 0;
    if (*more > 0 && l->n_ranges + *more > o->fs->cfg.max_lock_ranges)
        return -ENOLCK;
    l->n_ranges += *more;
    return 0;
}

/* The kernel did it, or not. */
static void settle(struct fs_owner *o, const struct fs_lock *lk, unsigned more, bool done)
{
    struct fs_locks *l = fs_locks_of(o->fs);

    AUTO_LOCK(&l->lock);
    l->n_ranges -= more;
    if (!done)
        return;
    l->n_ranges -= o->ranges->len;
    fs_ranges_apply(o->ranges, lk);
    l->n_ranges += o->ranges->len;
    if (lk->type != F_UNLCK)
        o->pid = lk->pid;
}

int fs_owner_ready(struct fs_owner *o, short type)
{
    AUTO_LOCK(&o->set_lock);
    return type == F_WRLCK && !o->writable ? make_writable(o) : 0;
}

/* set_lock is held. */
static int set_locked(struct fs_owner *o, const struct fs_lock *lk)
{
    unsigned more = 0;
    int rc = lk->type == F_WRLCK && !o->writable ? make_writable(o) : 0;

    if (rc == 0)
        rc = reserve(o, lk, &more);
    if (rc == -ENOLCK)
        log_guest_warn("no room for one more lock (--max-lock-ranges)");
    if (rc < 0)
        return rc;
    rc = set_on(o->fd, F_OFD_SETLK, lk);
    settle(o, lk, more, rc == 0);
    o->changes++;
    return rc;
}

int fs_owner_set(struct fs_owner *o, const struct fs_lock *lk)
{
    pthread_mutex_lock(&o->set_lock);
    int rc = set_locked(o, lk);
    pthread_mutex_unlock(&o->set_lock);
    if (rc == 0 && lk->type != F_WRLCK)
        fs_clerk_stir(fs_locks_of(o->fs));
    return rc;
}

unsigned fs_owner_changes(struct fs_owner *o)
{
    AUTO_LOCK(&o->set_lock);
    return o->changes;
}

int fs_owner_note(struct fs_owner *o, const struct fs_lock *lk, unsigned changes)
{
    AUTO_LOCK(&o->set_lock);
    if (o->changes != changes)
        return set_locked(o, lk);
    settle(o, lk, 0, true);
    o->changes++;
    return 0;
}

void fs_owners_in_the_way(struct fs_locks *l, const struct fs_inode *inode,
                          const struct fs_owner *self, const struct fs_lock *lk, GPtrArray *out,
                          unsigned *budget)
{
    for (struct fs_lock_ctx *b = g_hash_table_lookup(l->ctxs, inode); b; b = b->next) {
        GHashTableIter it;
        gpointer o;
        g_hash_table_iter_init(&it, b->owners);
        while (*budget > 0 && g_hash_table_iter_next(&it, NULL, &o)) {
            --*budget;
            if (o != self && fs_ranges_conflict(((struct fs_owner *)o)->ranges, lk))
                g_ptr_array_add(out, o);
        }
    }
}

/* ---- the end ---- */

static void free_all(GPtrArray *gone)
{
    for (guint i = 0; i < gone->len; i++)
        owner_free(gone->pdata[i]);
}

/* Take up to @max owners out of a context that nobody finds; unused ones go into @gone. */
static void empty_locked(struct fs_lock_ctx *b, unsigned max, GPtrArray *gone)
{
    GHashTableIter it;
    gpointer p;

    g_hash_table_iter_init(&it, b->owners);
    for (unsigned n = 0; n < max && g_hash_table_iter_next(&it, NULL, &p); n++) {
        struct fs_owner *o = p;
        g_hash_table_iter_remove(&it);
        leave_file_locked(o);
        o->ctx = NULL;
        if (--o->refs == 0)
            g_ptr_array_add(gone, o);
    }
}

void fs_owners_reap_locked(struct fs_locks *l)
{
    g_autoptr(GPtrArray) gone = g_ptr_array_new();
    struct fs_lock_ctx *b = l->reap;

    l->reaping = b->fs;
    empty_locked(b, REAP_AT_ONCE, gone);
    if (g_hash_table_size(b->owners) == 0) {
        l->reap = b->next;
        ctx_free(b);
    }
    pthread_mutex_unlock(&l->lock);
    free_all(gone);
    pthread_mutex_lock(&l->lock);
    l->reaping = NULL;
    pthread_cond_broadcast(&l->ended);
}

void fs_locks_forget(struct fs *fs, struct fs_inode *inode)
{
    struct fs_locks *l = fs_locks_of(fs);

    AUTO_LOCK(&l->lock);
    struct fs_lock_ctx *b = ctx_find_locked(l, fs, inode);
    if (!b)
        return;
    ctx_detach_locked(l, b);
    b->next = l->reap;
    l->reap = b;
    fs_clerk_reap_locked(l);
}

void fs_locks_file_gone(struct fs *fs, struct fs_file *file)
{
    struct fs_locks *l = fs_locks_of(fs);
    g_autoptr(GPtrArray) gone = g_ptr_array_new();
    struct fs_owner *o;

    pthread_mutex_lock(&l->lock);
    while ((o = LIST_FIRST(&file->owners))) {
        take_out_locked(l, o);
        if (--o->refs == 0)
            g_ptr_array_add(gone, o);
    }
    pthread_mutex_unlock(&l->lock);
    free_all(gone);
}

/* All contexts of one client: out of the table and of what is put aside. */
static struct fs_lock_ctx *take_ctxs_locked(struct fs_locks *l, const struct fs *fs)
{
    struct fs_lock_ctx *mine = NULL, *b;

    while (l->reaping == fs)
        pthread_cond_wait(&l->ended, &l->lock);
    g_autoptr(GList) inodes = g_hash_table_get_keys(l->ctxs);
    for (GList *i = inodes; i; i = i->next) {
        b = ctx_find_locked(l, fs, i->data);
        if (!b)
            continue;
        ctx_detach_locked(l, b);
        b->next = mine;
        mine = b;
    }
    for (struct fs_lock_ctx **p = &l->reap; (b = *p);) {
        if (b->fs != fs) {
            p = &b->next;
            continue;
        }
        *p = b->next;
        b->next = mine;
        mine = b;
    }
    return mine;
}

void fs_owners_drop(struct fs *fs)
{
    struct fs_locks *l = fs_locks_of(fs);
    g_autoptr(GPtrArray) gone = g_ptr_array_new();
    struct fs_lock_ctx *b, *next;

    pthread_mutex_lock(&l->lock);
    for (b = take_ctxs_locked(l, fs); b; b = next) {
        next = b->next;
        empty_locked(b, UINT_MAX, gone);
        ctx_free(b);
    }
    pthread_mutex_unlock(&l->lock);
    free_all(gone);
}
