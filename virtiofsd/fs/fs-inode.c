/* SPDX-License-Identifier: BSD-3-Clause
 * The inode table: ids, keys, references, the guest's lookups.
 *
 * The key of an inode is (device, inode number, mount id); an id is its slot plus a generation
 * that no earlier holder of the slot had. An inode lives as long as it has references; the
 * guest's lookups, however many it claims, are one of them. */
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-priv.h"

#define INODES_MAX (1u << 26)

/* What must be freed or closed after table_lock was dropped. */
struct deferred_release {
    struct tree *tree;
    int fd;
    void *own;
    struct tree_mnt *mnt;
};

/* @later: NULL, or where the inode's descriptor goes in place of being closed. */
static void deferred_release_run(struct fs *fs, struct deferred_release *g, GArray *later)
{
    if (!g->tree)
        return;
    if (g->fd >= 0 && later) {
        g_array_append_val(later, g->fd);
        g->fd = TREE_NO_FD;
    } else if (g->fd >= 0) {
        fs_inode_fds_sub(fs);
    }
    g->tree->ops->drop(g->tree, g->fd, g->own);
    if (g->mnt)
        g->tree->ops->mnt_free(g->mnt);
}

int fs_inodes_init(struct fs *fs)
{
    uint32_t max = INODES_MAX;
    if (fs->cfg.max_inodes && fs->cfg.max_inodes < max - 2)
        max = (uint32_t)fs->cfg.max_inodes + 2;
    fs->shared->next_gen = 1;
    fs->shared->hand = FS_ROOT_ID + 1;
    int rc = fs_hash_init(fs);
    if (rc < 0)
        return rc;
    return fs_table_init(&fs->shared->inodes, sizeof(struct fs_inode),
                         offsetof(struct fs_inode, next), max);
}

/* ---- mounts ---- */

static void mnt_drop_locked(struct fs *fs, struct tree_mnt *m, struct deferred_release *g)
{
    if (--m->nodes > 0)
        return;
    for (struct tree_mnt **p = &fs->shared->mnts; *p; p = &(*p)->next) {
        if (*p == m) {
            *p = m->next;
            break;
        }
    }
    g->mnt = m;
}

/* ---- found by key ---- */

void fs_inode_unhash_locked(struct fs *fs, struct fs_inode *inode)
{
    if (!(atomic_fetch_and(&inode->node.flags, (uint8_t)~INODE_HASHED) & INODE_HASHED))
        return;
    fs_hash_remove(fs, inode);
}

void fs_inode_unhash(struct fs *fs, struct fs_inode *inode)
{
    AUTO_LOCK(&fs->shared->table_lock);
    fs_inode_unhash_locked(fs, inode);
}

/* ---- references ---- */

struct fs_inode *fs_inode_get(struct fs *fs, uint64_t id)
{
    uint32_t gen = (uint32_t)(id >> 32);
    struct fs_inode *inode = fs_table_peek(&fs->shared->inodes, (uint32_t)id);
    if (!inode)
        return NULL;

    uint64_t s = atomic_load_explicit(&inode->node.state, memory_order_relaxed);
    do {
        if (fs_state_refs(s) == 0 || atomic_load_explicit(&inode->gen, memory_order_relaxed) != gen)
            return NULL;
    } while (!atomic_compare_exchange_weak_explicit(&inode->node.state, &s, s + INODE_REF,
                                                    memory_order_acquire, memory_order_relaxed));
    /* The slot may have changed hands before the reference was there. */
    if (G_UNLIKELY(atomic_load_explicit(&inode->gen, memory_order_relaxed) != gen)) {
        fs_inode_put(fs, inode);
        return NULL;
    }
    return inode;
}

struct fs_inode *fs_inode_ref(struct fs_inode *inode)
{
    return fs_inode_hold(inode);
}

static void remove_locked(struct fs *fs, struct fs_inode *inode, struct deferred_release *g)
{
    fs_inode_unhash_locked(fs, inode);
    g->fd = fs_state_fd(atomic_load(&inode->node.state));
    g->own = inode->node.own == inode->node.room ? NULL : inode->node.own;
    inode->node.own = NULL;
    g->tree = fs_tree(inode);
    mnt_drop_locked(fs, inode->node.mnt, g);
    atomic_store(&inode->gen, 0);
    atomic_store(&inode->node.state, 0);
    fs->shared->n_inodes--;
    fs_table_give(&fs->shared->inodes, inode->node.slot);
}

static void put_locked(struct fs *fs, struct fs_inode *inode, struct deferred_release *g)
{
    uint64_t s = atomic_fetch_sub_explicit(&inode->node.state, INODE_REF, memory_order_acq_rel);
    if (fs_state_refs(s) == 1)
        remove_locked(fs, inode, g);
}

void fs_inode_put_later(struct fs *fs, struct fs_inode *inode, GArray *later)
{
    uint64_t s = atomic_load_explicit(&inode->node.state, memory_order_relaxed);
    while (fs_state_refs(s) > 1) {
        if (atomic_compare_exchange_weak_explicit(&inode->node.state, &s, s - INODE_REF,
                                                  memory_order_release, memory_order_relaxed))
            return;
    }
    /* Only under the lock may a count reach 0, so the table never shows a dead inode. */
    struct deferred_release g = {.fd = TREE_NO_FD};
    pthread_mutex_lock(&fs->shared->table_lock);
    put_locked(fs, inode, &g);
    pthread_mutex_unlock(&fs->shared->table_lock);
    deferred_release_run(fs, &g, later);
}

void fs_inode_put(struct fs *fs, struct fs_inode *inode)
{
    fs_idle_note(fs, inode);
    fs_inode_put_later(fs, inode, NULL);
}

uint64_t fs_inode_id(const struct fs_inode *inode)
{
    return (uint64_t)atomic_load_explicit(&inode->gen, memory_order_relaxed) << 32 |
           inode->node.slot;
}

mode_t fs_inode_type(const struct fs_inode *inode)
{
    return (mode_t)inode->node.type << 12;
}

/* ---- the end ---- */

/* Whether @inode had lookups, which it has no more; their reference is the caller's then. */
static bool lookups_end(struct fs *fs, struct fs_inode *inode)
{
    AUTO_LOCK(&fs->shared->table_lock); /* other clients of the tree may be at work */
    return fs_state_refs(atomic_load(&inode->node.state)) > 0 &&
           atomic_exchange(&inode->nlookup, 0) > 0;
}

void fs_inodes_reset(struct fs *fs)
{
    uint32_t high = atomic_load(&fs->shared->inodes.high);
    for (uint32_t s = FS_ROOT_ID; s < high; s++) {
        struct fs_inode *i = fs_table_at(&fs->shared->inodes, s);
        if (atomic_load(&i->nlookup) > 0 && lookups_end(fs, i))
            fs_inode_put(fs, i);
    }
    if (atomic_load(&fs->shared->clients) > 0)
        return; /* they hold inodes, too */
    AUTO_LOCK(&fs->shared->table_lock);
    fs->shared->hand = FS_ROOT_ID + 1;
    if (fs->shared->n_inodes == 1)
        fs_table_clear(&fs->shared->inodes, FS_ROOT_ID + 1);
    else
        log_error("%" G_GUINT64_FORMAT " inodes still referenced after a reset",
                  fs->shared->n_inodes - 1);
}

void fs_inodes_fini(struct fs *fs)
{
    if (fs->root)
        fs_inode_put(fs, fs->root);
    fs->root = NULL;
    fs_table_fini(&fs->shared->inodes);
    fs_hash_fini(fs);
}
