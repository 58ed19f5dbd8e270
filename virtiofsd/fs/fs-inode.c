/* SPDX-License-Identifier: BSD-3-Clause
 * The inode table: ids, keys, references, the guest's lookups.
 *
 * The key of an inode is (device, inode number, mount id); an id is its slot plus a generation
 * that no earlier holder of the slot had. An inode lives as long as it has references; the
 * guest's lookups, however many it claims, are one of them. */
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-priv.h"

#include <sys/sysmacros.h>

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
        atomic_fetch_sub_explicit(&fs->shared->inode_fds, 1, memory_order_relaxed);
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

static dev_t dev_of(const struct statx *stx)
{
    return makedev(stx->stx_dev_major, stx->stx_dev_minor);
}

static uint64_t mnt_of(const struct statx *stx)
{
    return stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0;
}

static struct tree_mnt *mnt_find_locked(struct fs *fs, const struct fs_inode *near,
                                        struct tree *tree, const struct statx *stx)
{
    dev_t dev = dev_of(stx);
    uint64_t mnt_id = mnt_of(stx);

    if (near && near->node.mnt->dev == dev && near->node.mnt->mnt_id == mnt_id)
        return near->node.mnt;
    for (struct tree_mnt *m = fs->shared->mnts; m; m = m->next)
        if (m->tree == tree && m->dev == dev && m->mnt_id == mnt_id)
            return m;
    return NULL;
}

static struct tree_mnt *mnt_add_locked(struct fs *fs, struct tree *tree, const struct statx *stx)
{
    struct tree_mnt *m = tree->ops->mnt_new(tree);

    m->tree = tree;
    m->dev = dev_of(stx);
    m->mnt_id = mnt_of(stx);
    m->salt = fs->shared->next_salt += 0x9e3779b9u;
    m->next = fs->shared->mnts;
    fs->shared->mnts = m;
    return m;
}

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
    atomic_fetch_add_explicit(&inode->node.state, INODE_REF, memory_order_relaxed);
    return inode;
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

/* ---- from attributes to inode ---- */

/* Is what @found describes the @inode with the same key? */
static enum tree_same same_locked(const struct fs_inode *inode, const struct tree_found *found)
{
    const struct tree_ops *ops = fs_tree(inode)->ops;

    return ops->same ? ops->same(&inode->node, found) : TREE_SAME;
}

/* *mnt: the mount, known or not, as the inode. */
static struct fs_inode *find_locked(struct fs *fs, const struct fs_inode *near,
                                    const struct statx *stx, struct tree_mnt **mnt)
{
    *mnt = mnt_find_locked(fs, near, fs_tree(near), stx);
    return *mnt ? fs_hash_find(fs, *mnt, stx->stx_ino) : NULL;
}

struct fs_inode *fs_inode_find(struct fs *fs, const struct fs_inode *near,
                               const struct tree_found *found)
{
    struct tree_mnt *mnt;
    AUTO_LOCK(&fs->shared->table_lock);
    struct fs_inode *inode = find_locked(fs, near, &found->stx, &mnt);
    return inode && same_locked(inode, found) == TREE_SAME ? fs_inode_ref(inode) : NULL;
}

bool fs_inode_known(struct fs *fs, const struct fs_inode *near, uint64_t ino)
{
    AUTO_LOCK(&fs->shared->table_lock);
    return fs_hash_find(fs, near->node.mnt, ino);
}

/* A generation that no slot ever had. */
static uint32_t new_gen_locked(struct fs *fs)
{
    if (fs->shared->next_gen == 0) /* reserved for the root and for free slots */
        fs->shared->next_gen = 1;
    return fs->shared->next_gen++;
}

static void fill_node(struct tree_node *n, const struct tree_found *found)
{
    n->ino = found->stx.stx_ino;
    n->btime_ns = tree_btime(&found->stx);
    n->own = found->in_room ? n->room : found->own;
    if (found->in_room)
        memcpy(n->room, found->room, sizeof(n->room));
    n->type = (uint8_t)((found->stx.stx_mode & S_IFMT) >> 12);
    atomic_store_explicit(&n->flags, INODE_HASHED, memory_order_relaxed);
    atomic_store_explicit(&n->lookup_hint, 0, memory_order_relaxed);
    atomic_store_explicit(&n->map, 0, memory_order_relaxed);
    atomic_store_explicit(&n->state, (uint32_t)found->fd, memory_order_relaxed);
}

/* Fill a slot that was taken, with its generation. @mnt: NULL for a mount that is not known. Until
 * there is a reference nobody else gets at it. */
static struct fs_inode *fill_locked(struct fs *fs, struct tree_mnt *mnt, struct tree *tree,
                                    const struct tree_found *found, uint32_t slot, uint32_t gen)
{
    struct fs_inode *i = fs_table_at(&fs->shared->inodes, slot);

    i->node.mnt = mnt ? mnt : mnt_add_locked(fs, tree, &found->stx);
    i->node.mnt->nodes++;
    i->node.slot = slot;
    fill_node(&i->node, found);
    atomic_store_explicit(&i->nlookup, 0, memory_order_relaxed);
    atomic_store_explicit(&i->version, fs_digest(&found->stx), memory_order_relaxed);
    atomic_store_explicit(&i->gen, gen, memory_order_relaxed);
    fs->shared->n_inodes++;
    fs_hash_add(fs, i);
    if (tree->ops->enter)
        tree->ops->enter(tree, &i->node);
    uint64_t state = INODE_REF | (uint32_t)found->fd;
    atomic_store_explicit(&i->node.state, state, memory_order_release);
    return i;
}

/* The same of any slot. Returns NULL when the table is full. */
static struct fs_inode *new_locked(struct fs *fs, struct tree_mnt *mnt, struct tree *tree,
                                   const struct tree_found *found)
{
    uint32_t slot = fs_table_take(&fs->shared->inodes);
    if (slot == 0)
        return NULL;
    uint32_t gen = slot == FS_ROOT_ID ? 0 : new_gen_locked(fs);
    return fill_locked(fs, mnt, tree, found, slot, gen);
}

int fs_inodes_add_root(struct fs *fs, const struct tree_found *found)
{
    struct tree *tree = fs->shared->tree;

    pthread_mutex_lock(&fs->shared->table_lock);
    fs->root = new_locked(fs, NULL, tree, found);
    pthread_mutex_unlock(&fs->shared->table_lock);
    if (!fs->root) {
        tree->ops->drop(tree, found->fd, found->own);
        return -ENOMEM;
    }
    g_assert(fs->root->node.slot == FS_ROOT_ID);
    if (found->fd >= 0)
        atomic_fetch_add(&fs->shared->inode_fds, 1);
    return tree->ops->settle ? tree->ops->settle(tree, &fs->root->node) : 0;
}

/* The bounds on inodes and, when one more is wanted, on their descriptors. */
static bool room_locked(const struct fs *fs, bool with_fd)
{
    uint64_t fds = atomic_load_explicit(&fs->shared->inode_fds, memory_order_relaxed);
    uint64_t other = atomic_load_explicit(&fs->shared->other_fds, memory_order_relaxed);

    uint64_t inodes = fs->shared->n_inodes + fs->shared->promised;

    if (fs->cfg.max_inodes && inodes > fs->cfg.max_inodes)
        return false;
    if (inodes + 1 >= fs->shared->inodes.max) /* slots begin with 1 */
        return false;
    return !with_fd || (fds < fs->inode_fds_hard && fds + other < fs->cfg.max_fds);
}

static void warn_no_room(void)
{
    log_guest_warn("no room for one more inode of the guest's (--max-inodes, --max-fds)");
}

int fs_room_take(struct fs *fs)
{
    pthread_mutex_lock(&fs->shared->table_lock);
    bool room = room_locked(fs, true);
    if (room) {
        fs->shared->promised++;
        atomic_fetch_add_explicit(&fs->shared->inode_fds, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&fs->shared->table_lock);
    if (!room)
        warn_no_room();
    return room ? 0 : -ENFILE;
}

void fs_room_give(struct fs *fs)
{
    AUTO_LOCK(&fs->shared->table_lock);
    fs->shared->promised--;
    atomic_fetch_sub_explicit(&fs->shared->inode_fds, 1, memory_order_relaxed);
}

/* A promise of room is used by an inode with a descriptor, or without. */
static void room_use_locked(struct fs *fs, const struct tree_found *found, bool promised)
{
    bool with_fd = found->fd >= 0;

    if (promised)
        fs->shared->promised--;
    if (promised && !with_fd)
        atomic_fetch_sub_explicit(&fs->shared->inode_fds, 1, memory_order_relaxed);
    if (!promised && with_fd)
        atomic_fetch_add_explicit(&fs->shared->inode_fds, 1, memory_order_relaxed);
}

/* Whether @id was reserved, and is not in use yet. */
static bool is_reserved_locked(struct fs *fs, uint64_t id)
{
    uint32_t slot = (uint32_t)id, gen = (uint32_t)(id >> 32);
    struct fs_inode *i = fs_table_peek(&fs->shared->inodes, slot);

    return i && slot != FS_ROOT_ID && gen != 0 && atomic_load(&i->gen) == gen &&
           fs_state_refs(atomic_load(&i->node.state)) == 0;
}

int fs_inode_intern_at(struct fs *fs, const struct fs_inode *near, struct tree_found *found,
                       uint64_t id, struct fs_inode **out)
{
    struct tree *tree = fs_tree(near);
    struct tree_mnt *mnt;
    int rc = 0;

    pthread_mutex_lock(&fs->shared->table_lock);
    if (!is_reserved_locked(fs, id))
        rc = -EINVAL;
    else if (find_locked(fs, near, &found->stx, &mnt))
        rc = -EEXIST;
    else if (!room_locked(fs, found->fd >= 0))
        rc = -ENFILE;
    if (rc == 0) {
        *out = fill_locked(fs, mnt, tree, found, (uint32_t)id, (uint32_t)(id >> 32));
        room_use_locked(fs, found, false);
    }
    pthread_mutex_unlock(&fs->shared->table_lock);
    if (rc < 0)
        tree->ops->drop(tree, found->fd, found->own);
    else if (tree->ops->settle)
        tree->ops->settle(tree, &(*out)->node);
    return rc;
}

int fs_inode_enter_lost(struct fs *fs, const struct tree_found *found, uint64_t id,
                        struct fs_inode **out)
{
    AUTO_LOCK(&fs->shared->table_lock);
    if (!is_reserved_locked(fs, id))
        return -EINVAL;
    if (!room_locked(fs, false))
        return -ENFILE;
    *out = fill_locked(fs, NULL, &fs_lost_tree, found, (uint32_t)id, (uint32_t)(id >> 32));
    fs_inode_unhash_locked(fs, *out); /* nothing will ever be found to be it */
    return 0;
}

/* One try of fs_inode_intern(): 1 = *out is a candidate of which the tree is unsure. */
static int intern_once(struct fs *fs, const struct fs_inode *near, const struct tree_found *found,
                       struct fs_inode **out, bool *isnew, bool *room)
{
    struct tree_mnt *mnt;
    AUTO_LOCK(&fs->shared->table_lock);
    struct fs_inode *inode = find_locked(fs, near, &found->stx, &mnt);

    *isnew = false;
    if (inode) {
        enum tree_same same = same_locked(inode, found);
        if (same != TREE_OTHER) {
            *out = fs_inode_ref(inode);
            return same == TREE_SAME ? 0 : 1;
        }
        fs_inode_unhash_locked(fs, inode);
    }
    if (!*room && !room_locked(fs, found->fd >= 0))
        return -ENFILE;
    inode = new_locked(fs, mnt, fs_tree(near), found);
    if (!inode)
        return -ENFILE;
    room_use_locked(fs, found, *room);
    *room = false;
    *isnew = true;
    *out = inode;
    return 0;
}

/* The same inode, or a new one. 0 or -errno. */
static int intern(struct fs *fs, const struct fs_inode *near, const struct tree_found *found,
                  struct fs_inode **out, bool *made, bool *room)
{
    int rc;

    while ((rc = intern_once(fs, near, found, out, made, room)) == 1) {
        if (found->fd == TREE_NO_FD) { /* it must be held to tell */
            fs_inode_put(fs, *out);
            return -EAGAIN;
        }
        if (fs_tree(*out)->ops->same_for_sure(&(*out)->node, found) == 1)
            return 0;
        fs_inode_unhash(fs, *out);
        fs_inode_put(fs, *out);
    }
    if (rc == -ENFILE)
        warn_no_room();
    return rc;
}

int fs_inode_intern(struct fs *fs, const struct fs_inode *near, struct tree_found *found,
                    struct fs_inode **out, bool *isnew, bool *room)
{
    struct tree *tree = fs_tree(near);
    struct fs_inode *inode = NULL;
    bool made = false, none = false;
    int rc = intern(fs, near, found, &inode, &made, room ? room : &none);

    if (rc == 0 && !made && tree->ops->adopt)
        tree->ops->adopt(tree, &inode->node, found);
    if (!made && (found->fd != TREE_NO_FD || found->own))
        tree->ops->drop(tree, found->fd, found->own);
    if (rc < 0)
        return rc;
    if (made && tree->ops->settle)
        tree->ops->settle(tree, &inode->node);
    fs_idle_note(fs, inode);
    fs_sweep(fs);
    if (isnew)
        *isnew = made;
    *out = inode;
    return 0;
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
