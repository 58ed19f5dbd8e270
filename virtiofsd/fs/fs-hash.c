/* SPDX-License-Identifier: BSD-3-Clause
 * Inodes by key: (mount, inode number). All under table_lock.
 *
 * Linear hashing: with each inode that has no bucket of its own yet, one bucket is added and only
 * the chain that it takes its inodes from is looked at. No lookup ever pays for all the others, as
 * it would where a full table is rebuilt. Bucket b lies in slot b + 1 of its table. */
#include "virtiofsd/fs/fs-priv.h"

#define BUCKETS_FIRST 64u /* a power of two; each one costs a start some instructions */
#define BUCKETS_MAX   (1u << 26)

int fs_hash_init(struct fs *fs)
{
    struct fs_shared *t = fs->shared;
    int rc = fs_table_init(&t->buckets, sizeof(uint32_t), 0, BUCKETS_MAX);

    for (t->n_buckets = 0; rc == 0 && t->n_buckets < BUCKETS_FIRST; t->n_buckets++)
        rc = fs_table_take(&t->buckets) ? 0 : -ENOMEM;
    t->half = BUCKETS_FIRST;
    return rc;
}

void fs_hash_fini(struct fs *fs)
{
    fs_table_fini(&fs->shared->buckets);
}

static uint32_t hash_key(const struct tree_mnt *mnt, uint64_t ino)
{
    uint64_t h = (ino ^ ((uint64_t)mnt->salt << 32)) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h >> 32);
}

/* half is the largest power of two that is not above n_buckets. */
static uint32_t bucket_of(const struct fs_shared *t, const struct tree_mnt *mnt, uint64_t ino)
{
    uint32_t h = hash_key(mnt, ino), b = h & (2 * t->half - 1);
    return b < t->n_buckets ? b : h & (t->half - 1);
}

static uint32_t *chain(const struct fs_shared *t, uint32_t bucket)
{
    return fs_table_at(&t->buckets, bucket + 1);
}

static void push(const struct fs_shared *t, struct fs_inode *inode)
{
    uint32_t *head = chain(t, bucket_of(t, inode->node.mnt, inode->node.ino));
    inode->next = *head;
    *head = inode->node.slot;
}

/* One bucket more. A failed allocation only makes the chains longer. Returns how many inodes were
 * looked at. */
static unsigned split(struct fs_shared *t)
{
    if (t->n_buckets >= BUCKETS_MAX || !fs_table_take(&t->buckets))
        return 0;
    uint32_t *from = chain(t, t->n_buckets - t->half), all = *from;
    unsigned looked = 0;

    *from = 0;
    if (++t->n_buckets == 2 * t->half)
        t->half *= 2;
    for (; all != 0; looked++) {
        struct fs_inode *i = fs_table_at(&t->inodes, all);
        all = i->next;
        push(t, i);
    }
    return looked;
}

unsigned fs_hash_add(struct fs *fs, struct fs_inode *inode)
{
    push(fs->shared, inode);
    return fs->shared->n_inodes > fs->shared->n_buckets ? split(fs->shared) : 0;
}

void fs_hash_remove(struct fs *fs, struct fs_inode *inode)
{
    uint32_t *p = chain(fs->shared, bucket_of(fs->shared, inode->node.mnt, inode->node.ino));
    while (*p != inode->node.slot)
        p = &((struct fs_inode *)fs_table_at(&fs->shared->inodes, *p))->next;
    *p = inode->next;
}

struct fs_inode *fs_hash_find(const struct fs *fs, const struct tree_mnt *mnt, uint64_t ino)
{
    for (uint32_t s = *chain(fs->shared, bucket_of(fs->shared, mnt, ino)); s != 0;) {
        struct fs_inode *i = fs_table_at(&fs->shared->inodes, s);
        if (i->node.ino == ino && i->node.mnt == mnt)
            return i;
        s = i->next;
    }
    return NULL;
}
