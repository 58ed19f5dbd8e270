/* SPDX-License-Identifier: BSD-3-Clause
 * What the tree says of a file, as the guest is to see it. */
#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs-priv.h"

#include <sys/sysmacros.h>

#define SUBVOLUME_INO 256u

static struct timespec ts_from_statx(const struct statx_timestamp *t)
{
    return (struct timespec){.tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec};
}

static uint32_t guest_id(const struct fs_idmap *map, uint32_t id)
{
    return map ? fs_idmap_to_guest(map, id) : id;
}

void fs_ids_to_guest(const struct fs *fs, struct fs_attr *attr)
{
    attr->st.st_uid = guest_id(fs->cfg.uids, attr->st.st_uid);
    attr->st.st_gid = guest_id(fs->cfg.gids, attr->st.st_gid);
}

void fs_attr_from_statx(const struct fs *fs, const struct statx *stx, struct fs_attr *out)
{
    *out = (struct fs_attr){
        .st =
            {
                .st_dev = makedev(stx->stx_dev_major, stx->stx_dev_minor),
                .st_ino = fs_shown_ino(fs, stx),
                .st_mode = stx->stx_mode,
                .st_nlink = stx->stx_nlink,
                .st_uid = stx->stx_uid,
                .st_gid = stx->stx_gid,
                .st_rdev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor),
                .st_size = (off_t)stx->stx_size,
                .st_blksize = (blksize_t)stx->stx_blksize,
                .st_blocks = (blkcnt_t)stx->stx_blocks,
                .st_atim = ts_from_statx(&stx->stx_atime),
                .st_mtim = ts_from_statx(&stx->stx_mtime),
                .st_ctim = ts_from_statx(&stx->stx_ctime),
            },
        .mnt_id = stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0,
        .immutable =
            stx->stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_VERITY),
    };
    if (stx->stx_mask & STATX_BTIME)
        out->btime = ts_from_statx(&stx->stx_btime);
    if (G_UNLIKELY(fs->ids))
        fs_ids_to_guest(fs, out);
}

void fs_attr_for_child(const struct fs *fs, const struct fs_inode *parent, const struct statx *stx,
                       struct fs_attr *out)
{
    fs_attr_from_statx(fs, stx, out);
    out->submount =
        fs->submounts && S_ISDIR(stx->stx_mode) &&
        (out->mnt_id != parent->node.mnt->mnt_id || out->st.st_dev != parent->node.mnt->dev);
}

/* Whether a number of the file system that @stx is of may be taken for one of another: where they
 * are all one device to the guest, or of the first directory of a mount or of a subvolume of btrfs,
 * which the guest sees from outside first. */
static bool ambiguous(const struct fs *fs, const struct statx *stx)
{
    if (G_LIKELY(makedev(stx->stx_dev_major, stx->stx_dev_minor) == fs->shared->dev))
        return false;
    return !fs->submounts ||
           (S_ISDIR(stx->stx_mode) &&
            ((stx->stx_attributes & STATX_ATTR_MOUNT_ROOT) || stx->stx_ino == SUBVOLUME_INO));
}

uint64_t fs_shown_ino(const struct fs *fs, const struct statx *stx)
{
    if (G_LIKELY(!ambiguous(fs, stx)))
        return stx->stx_ino;
    uint64_t dev = makedev(stx->stx_dev_major, stx->stx_dev_minor);
    return stx->stx_ino ^ ((dev * 0x9e3779b97f4a7c15u >> 48 | 1) << 32);
}
