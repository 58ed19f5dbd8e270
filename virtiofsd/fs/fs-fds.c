/* SPDX-License-Identifier: BSD-3-Clause
 * The bound on descriptors, of which inodes, open files and locks have their parts. */
#include "virtiofsd/fs/fs-priv.h"

#define SOFT_INODE_FDS 4096u
#define SOFT_COSTLY    65536u /* where it costs more to do without */

void fs_fds_init(struct fs *fs)
{
    uint64_t max = fs->cfg.max_fds;

    /* Neither inodes nor files may take everything from the other. */
    fs->fds_hard = MAX(max - max / 8, 2);
    fs->inode_fds_soft = fs->cfg.tree->rests_costly ? MIN(MAX(max / 2, 1), SOFT_COSTLY)
                                                    : MIN(MAX(max / 4, 1), SOFT_INODE_FDS);
}

/* One more of those of which there are @mine, beside @others. */
static bool fits(const struct fs *fs, uint64_t mine, uint64_t others)
{
    return mine < fs->fds_hard && mine + others < fs->cfg.max_fds;
}

static uint64_t other_fds(const struct fs *fs)
{
    return atomic_load_explicit(&fs->shared->other_fds, memory_order_relaxed);
}

int fs_fds_take(struct fs *fs)
{
    uint64_t other = atomic_fetch_add_explicit(&fs->shared->other_fds, 1, memory_order_relaxed);

    if (G_LIKELY(fits(fs, other, fs_inode_fds(fs))))
        return 0;
    fs_fds_give(fs);
    return -ENFILE;
}

void fs_fds_give(struct fs *fs)
{
    atomic_fetch_sub_explicit(&fs->shared->other_fds, 1, memory_order_relaxed);
}

bool fs_inode_fds_room(const struct fs *fs)
{
    return fits(fs, fs_inode_fds(fs), other_fds(fs));
}

bool fs_inode_fds_left(const struct fs *fs)
{
    return fs_inode_fds(fs) < fs->fds_hard;
}

uint64_t fs_inode_fds_spare(const struct fs *fs)
{
    return fs->fds_hard > fs->inode_fds_soft ? fs->fds_hard - fs->inode_fds_soft : 1;
}

uint64_t fs_inode_fds_stay(const struct fs *fs, bool *few)
{
    uint64_t quarter = fs->cfg.max_fds / 4;

    *few = fs_inode_fds(fs) + other_fds(fs) >= 3 * quarter;
    return *few ? MIN(fs->inode_fds_soft, MAX(quarter, 1)) : fs->inode_fds_soft;
}
