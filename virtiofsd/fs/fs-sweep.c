/* SPDX-License-Identifier: BSD-3-Clause
 * A bound on descriptors of inodes, where the tree can do without them.
 *
 * With more of them open than the soft limit, a clock sweep closes those that were not used since
 * its last round and that nobody but the guest's lookups refers to. */
#include "virtiofsd/fs/fs-priv.h"

#include <unistd.h>

#define SWEEP_LOOK  64 /* inodes looked at for one that may go */
#define SWEEP_CLOSE 4  /* descriptors closed in one go, so that one request pays little */

static bool may_go(const struct fs *fs, struct fs_inode *i)
{
    uint64_t s = atomic_load_explicit(&i->node.state, memory_order_acquire);

    if (fs_state_refs(s) != 1 || fs_state_fd(s) < 0 || atomic_load(&i->nlookup) == 0 ||
        i == fs->root || atomic_load_explicit(&i->node.mnt->no_rest, memory_order_relaxed) ||
        (atomic_load_explicit(&i->node.flags, memory_order_relaxed) & INODE_NAMELESS))
        return false;
    return !(atomic_fetch_and(&i->node.flags, (uint8_t)~NODE_USED) & NODE_USED);
}

/* How far the hand goes in one move. It passes every inode, with a descriptor or without, and lets
 * each go at its second visit: twice around must take fewer moves than there are descriptors
 * between the limits, however many inodes are known. */
static uint64_t reach(const struct fs *fs)
{
    return SWEEP_LOOK + 4 * (uint64_t)fs->shared->n_inodes / fs_inode_fds_spare(fs);
}

/* Move the hand to the next inode that may go and take a reference on it. */
static struct fs_inode *pick(struct fs *fs)
{
    AUTO_LOCK(&fs->shared->table_lock);
    uint32_t high = atomic_load(&fs->shared->inodes.high);
    uint64_t look = reach(fs);

    for (uint64_t n = 0; n < look; n++) {
        if (fs->shared->hand >= high)
            fs->shared->hand = FS_ROOT_ID + 1;
        if (fs->shared->hand >= high)
            return NULL;
        struct fs_inode *i = fs_table_at(&fs->shared->inodes, fs->shared->hand++);
        if (may_go(fs, i))
            return fs_inode_ref(i);
    }
    return NULL;
}

/* Close the descriptor of an inode from pick(), with what the tree's rest() gave (@rc, @own), and
 * drop that reference, unless somebody else has come to use it: then only the latter. */
static void close_picked(struct fs *fs, struct fs_inode *inode, int fd, int rc, void *own)
{
    struct tree *tree = fs_tree(inode);
    bool closed = false;

    if (fd >= 0 && rc == 0) {
        AUTO_LOCK(&fs->shared->table_lock);
        /* Nobody but us and, since they cannot end without the lock, the guest's lookups. */
        uint64_t alone = 2 * INODE_REF | (uint32_t)fd;
        if (!inode->node.own)
            inode->node.own = g_steal_pointer(&own);
        if (atomic_load(&inode->nlookup) > 0)
            closed = atomic_compare_exchange_strong(&inode->node.state, &alone,
                                                    INODE_REF | (uint32_t)TREE_NO_FD);
    }
    if (!closed)
        fd = TREE_NO_FD;
    tree->ops->drop(tree, fd, own);
    if (!closed) {
        fs_inode_put(fs, inode);
        return;
    }
    fs_inode_fds_sub(fs);
}

void fs_batch_close(struct fs *fs, struct fs_batch *batch)
{
    struct tree_node *node[TREE_BATCH];
    int fd[TREE_BATCH], rc[TREE_BATCH];
    void *own[TREE_BATCH];

    if (batch->n == 0)
        return;
    for (unsigned i = 0; i < batch->n; i++) {
        node[i] = &batch->inode[i]->node;
        fd[i] = tree_node_fd(node[i]); /* which our reference keeps */
    }
    struct tree *tree = fs_tree(batch->inode[0]);
    tree->ops->rest_some(tree, node, fd, batch->n, own, rc);
    for (unsigned i = 0; i < batch->n; i++)
        close_picked(fs, batch->inode[i], fd[i], rc[i], own[i]);
    batch->n = 0;
}

/* Close the descriptor of an inode from pick(), or have it closed with others. */
static void close_some_time(struct fs *fs, struct fs_inode *inode, struct fs_batch *batch)
{
    struct tree *tree = fs_tree(inode);
    int fd = tree_node_fd(&inode->node), rc = -EOPNOTSUPP;
    void *own = NULL;

    if (!tree->rests_costly) {
        if (fd >= 0 && tree->ops->rest)
            rc = tree->ops->rest(tree, &inode->node, fd, &own);
        close_picked(fs, inode, fd, rc, own);
        return;
    }
    if (batch->n == TREE_BATCH || (batch->n > 0 && fs_tree(batch->inode[0]) != tree))
        fs_batch_close(fs, batch);
    if (fd >= 0)
        batch->inode[batch->n++] = inode;
    else
        fs_inode_put(fs, inode);
}

/* Where it is costly: when there is a batch of them, or they are few. */
static bool is_due(const struct fs *fs)
{
    uint64_t fds = fs_inode_fds(fs);
    bool few;

    if (!fs->shared->tree->rests_costly)
        return fds > fs->inode_fds_soft;
    uint64_t stay = fs_inode_fds_stay(fs, &few);
    return few ? fds > stay : fds >= stay + TREE_BATCH;
}

void fs_sweep(struct fs *fs)
{
    if (!fs->rests || !is_due(fs))
        return;
    struct fs_batch batch = {0};
    bool few, costly = fs->shared->tree->rests_costly;
    uint64_t stay = costly ? fs_inode_fds_stay(fs, &few) : fs->inode_fds_soft;
    int most = costly ? TREE_BATCH : SWEEP_CLOSE;
    for (int n = 0; n < most; n++) {
        if (fs_inode_fds(fs) <= stay + batch.n)
            break;
        struct fs_inode *inode = pick(fs);
        if (!inode)
            break;
        close_some_time(fs, inode, &batch);
    }
    fs_batch_close(fs, &batch);
}

struct fs_inode *fs_sweep_one(struct fs *fs, uint64_t id, struct fs_batch *batch)
{
    struct fs_inode *inode = fs_inode_get(fs, id);

    if (!inode)
        return NULL;
    atomic_fetch_and(&inode->node.flags, (uint8_t)~INODE_QUEUED);
    uint64_t s = atomic_load(&inode->node.state);
    bool used = atomic_fetch_and(&inode->node.flags, (uint8_t)~NODE_USED) & NODE_USED;
    if (fs_state_fd(s) >= 0 && (used || tree_node_is_young(&inode->node)))
        return inode;
    bool nameless = atomic_load(&inode->node.flags) & INODE_NAMELESS;
    if (fs_state_fd(s) >= 0 && fs_state_refs(s) == 2 && !nameless)
        close_some_time(fs, inode, batch);
    else
        fs_inode_put_later(fs, inode, NULL); /* without entering it into the queue again */
    return NULL;
}
