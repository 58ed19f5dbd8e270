/* SPDX-License-Identifier: BSD-3-Clause
 * The guest's lookups: counted, and given back. However many it claims, they are one reference. */
#include "virtiofsd/fs/fs-priv.h"

void fs_inode_remember(struct fs *fs, struct fs_inode *inode)
{
    /* At 0 the caller's reference becomes the one that the lookups own. */
    if (atomic_fetch_add_explicit(&inode->nlookup, 1, memory_order_acq_rel) > 0)
        fs_inode_put(fs, inode);
}

/* Take @n lookups away. Returns whether the reference that they owned is the caller's now. A file
 * that was mapped is not found under its id again then: a mapping that is about to be removed must
 * not be taken for a new one. */
static bool lookups_sub(struct fs *fs, struct fs_inode *inode, uint64_t n)
{
    uint64_t have = atomic_load_explicit(&inode->nlookup, memory_order_relaxed);
    while (have > n) {
        if (atomic_compare_exchange_weak_explicit(&inode->nlookup, &have, have - n,
                                                  memory_order_relaxed, memory_order_relaxed))
            return false;
    }
    AUTO_LOCK(&fs->shared->table_lock);
    have = atomic_load(&inode->nlookup);
    while (!atomic_compare_exchange_weak(&inode->nlookup, &have, have > n ? have - n : 0))
        ;
    bool last = have > 0 && have <= n;
    if (last && fs_map_opened(inode))
        fs_inode_unhash_locked(fs, inode);
    return last;
}

bool fs_forget_of_many(struct fs *fs, uint64_t id, uint64_t n, GArray *fds)
{
    struct fs_inode *inode = n > 0 ? fs_inode_get(fs, id) : NULL;
    if (!inode)
        return false;
    bool last = lookups_sub(fs, inode, n), mapped = last && fs_map_opened(inode);
    if (last) {
        if (atomic_load(&inode->node.flags) & INODE_LOCKS)
            fs_locks_forget(fs, inode);
        if (fs->kept)
            fs_kept_forget(fs, inode);
        fs_inode_put_later(fs, inode, fds);
    }
    fs_inode_put_later(fs, inode, fds);
    return mapped;
}

bool fs_forget(struct fs *fs, uint64_t id, uint64_t n)
{
    return fs_forget_of_many(fs, id, n, NULL);
}
