/* SPDX-License-Identifier: BSD-3-Clause
 * From what the tree has found to the inode: by key, or a new one, within the bounds. */
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-priv.h"

#include <sys/sysmacros.h>

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

/* ---- found and made ---- */

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
    return inode && same_locked(inode, found) == TREE_SAME ? fs_inode_hold(inode) : NULL;
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
        fs_inode_fds_add(fs);
    return tree->ops->settle ? tree->ops->settle(tree, &fs->root->node) : 0;
}

/* The bounds on inodes and, when one more is wanted, on their descriptors. */
static bool room_locked(const struct fs *fs, bool with_fd)
{
    uint64_t inodes = fs->shared->n_inodes + fs->shared->promised;

    if (fs->cfg.max_inodes && inodes > fs->cfg.max_inodes)
        return false;
    if (inodes + 1 >= fs->shared->inodes.max) /* slots begin with 1 */
        return false;
    return !with_fd || fs_inode_fds_room(fs);
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
        fs_inode_fds_add(fs);
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
    fs_inode_fds_sub(fs);
}

/* A promise of room is used by an inode with a descriptor, or without. */
static void room_use_locked(struct fs *fs, const struct tree_found *found, bool promised)
{
    bool with_fd = found->fd >= 0;

    if (promised)
        fs->shared->promised--;
    if (promised && !with_fd)
        fs_inode_fds_sub(fs);
    if (!promised && with_fd)
        fs_inode_fds_add(fs);
}

/* Whether @id was reserved, and is not in use yet. */
static bool is_reserved_locked(struct fs *fs, uint64_t id)
{
    uint32_t slot = (uint32_t)id, gen = (uint32_t)(id >> 32);
    struct fs_inode *i = fs_table_peek(&fs->shared->inodes, slot);

    return i && slot != FS_ROOT_ID && i->next == INODE_RESERVED && atomic_load(&i->gen) == gen &&
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
            *out = fs_inode_hold(inode);
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
    if (tree_node_fd(&inode->node) >= 0) { /* which may be one more */
        fs_idle_note(fs, inode);
        fs_sweep(fs);
    }
    if (isnew)
        *isnew = made;
    *out = inode;
    return 0;
}
