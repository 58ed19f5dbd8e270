/* SPDX-License-Identifier: BSD-3-Clause
 * The context: start, reset, end; and the small things that all verbs share. */
#include "virtiofsd/fs/fs.h"

#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs-priv.h"

#include <sys/sysmacros.h>

#define SOFT_INODE_FDS 4096u
#define SOFT_COSTLY    65536u /* where it costs more to do without */
#define SUBVOLUME_INO  256u

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

int fs_fds_take(struct fs *fs)
{
    uint64_t other = atomic_fetch_add_explicit(&fs->shared->other_fds, 1, memory_order_relaxed);
    uint64_t inodes = atomic_load_explicit(&fs->shared->inode_fds, memory_order_relaxed);

    if (G_LIKELY(other < fs->other_fds_hard && other + inodes < fs->cfg.max_fds))
        return 0;
    fs_fds_give(fs);
    return -ENFILE;
}

void fs_fds_give(struct fs *fs)
{
    atomic_fetch_sub_explicit(&fs->shared->other_fds, 1, memory_order_relaxed);
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

/* ---- what a tree asks of us ---- */

static void tree_gone(void *user, struct tree_node *node)
{
    fs_inode_unhash(user, fs_inode_of(node));
}

static int tree_node_fd_room(void *user)
{
    struct fs *fs = user;
    uint64_t fds = atomic_load_explicit(&fs->shared->inode_fds, memory_order_relaxed);
    uint64_t other = atomic_load_explicit(&fs->shared->other_fds, memory_order_relaxed);

    if (G_LIKELY(fds < fs->inode_fds_hard && fds + other < fs->cfg.max_fds))
        return 0;
    fs_sweep(fs);
    fds = atomic_load_explicit(&fs->shared->inode_fds, memory_order_relaxed);
    return fds < fs->inode_fds_hard ? 0 : -ENFILE;
}

static void tree_node_fd_added(void *user)
{
    struct fs *fs = user;

    atomic_fetch_add_explicit(&fs->shared->inode_fds, 1, memory_order_relaxed);
    fs_sweep(fs);
}

static int tree_file_fd_take(void *user)
{
    return fs_fds_take(user);
}

static void tree_file_fd_give(void *user)
{
    fs_fds_give(user);
}

/* ---- start and end ---- */

static int open_root(struct fs *fs, GError **err)
{
    struct tree *t = fs->shared->tree;
    struct tree_found *root = &t->root;

    fs->shared->dev = makedev(root->stx.stx_dev_major, root->stx.stx_dev_minor);
    fs->rests = t->rests;
    fs->inode_fds_soft = t->rests_costly ? MIN(MAX(fs->cfg.max_fds / 2, 1), SOFT_COSTLY)
                                         : MIN(MAX(fs->cfg.max_fds / 4, 1), SOFT_INODE_FDS);
    int rc = t->rests ? fs_idle_init(fs) : 0;
    if (rc == 0)
        rc = fs_inodes_add_root(fs, root);
    else
        t->ops->drop(t, root->fd, root->own);
    if (rc < 0)
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(-rc), "shared directory: %s",
                    errno_text(-rc));
    return rc;
}

static void take_tree(struct fs *fs)
{
    struct tree *t = fs->cfg.tree;

    fs->shared->tree = t;
    fs->shared->cap_name = fs_xattr_cap_name(fs);
    t->core = (struct tree_core){
        .user = fs,
        .cap_name = fs->shared->cap_name,
        .gone = tree_gone,
        .node_fd_room = tree_node_fd_room,
        .node_fd_added = tree_node_fd_added,
        .file_fd_take = tree_file_fd_take,
        .file_fd_give = tree_file_fd_give,
    };
}

struct fs *fs_new(const struct fs_config *cfg, GError **err)
{
    struct fs *fs = g_new0(struct fs, 1);

    fs->shared = g_new0(struct fs_shared, 1);
    fs->cfg = *cfg;
    fs->ids = cfg->uids || cfg->gids;
    fs->submounts = cfg->announce_submounts;
    /* Neither inodes nor files may take everything from the other. */
    fs->inode_fds_hard = fs->other_fds_hard = MAX(cfg->max_fds - cfg->max_fds / 8, 2);
    pthread_mutex_init(&fs->shared->table_lock, NULL);
    pthread_mutex_init(&fs->files_lock, NULL);
    fs_fetches_init(fs);
    take_tree(fs);

    if (fs_locks_init(fs->shared, cfg) < 0 || fs_inodes_init(fs) < 0 || fs_files_init(fs) < 0) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_NOMEM,
                    "no address space for the inode table: raise the limit (ulimit -v)");
        cfg->tree->ops->drop(cfg->tree, cfg->tree->root.fd, cfg->tree->root.own);
        fs_free(fs);
        return NULL;
    }
    if (open_root(fs, err) < 0) {
        fs_free(fs);
        return NULL;
    }
    return fs;
}

struct fs *fs_client_new(struct fs *first)
{
    struct fs *fs = g_new0(struct fs, 1);

    *fs = (struct fs){
        .cfg = first->cfg,
        .rests = first->rests,
        .ids = first->ids,
        .inode_fds_soft = first->inode_fds_soft,
        .inode_fds_hard = first->inode_fds_hard,
        .other_fds_hard = first->other_fds_hard,
        .shared = first->shared,
        .shares = true,
        .submounts = true, /* its protocol's numbers are of one device each */
        .root = first->root,
    };
    pthread_mutex_init(&fs->files_lock, NULL);
    fs_fetches_init(fs);
    atomic_fetch_add(&fs->shared->clients, 1);
    if (fs_files_init(fs) == 0)
        return fs;
    fs_free(fs);
    return NULL;
}

void fs_acl_enable(struct fs *fs, bool on)
{
    fs->acl = on;
}

void fs_writeback_enable(struct fs *fs, bool on)
{
    fs->writeback = on;
}

void fs_submounts_enable(struct fs *fs, bool on)
{
    fs->submounts = on;
}

bool fs_links_enable(struct fs *fs, bool on)
{
    fs->links = on && !(fs_mount_kind(fs, fs->root) & (FS_MAP_SLOW | FS_MADE_UP));
    return fs->links;
}

void fs_reset(struct fs *fs)
{
    fs->links = false;
    fs->acl = false;
    fs->writeback = false;
    atomic_store(&fs->closes_speak, false);
    atomic_store(&fs->closes_mute, false);
    fs_fetches_cancel(fs, NULL);
    fs_locks_reset(fs);
    fs_files_reset(fs);
    if (fs->shares)
        return;
    fs_idle_pause(fs);
    fs_inodes_reset(fs);
    fs_idle_resume(fs);
}

void fs_hang_up(struct fs *fs)
{
    fs_waits_cancel(fs);
}

static void free_shared(struct fs *fs)
{
    struct tree *t = fs->shared->tree;

    fs_idle_fini(fs);
    fs_locks_fini(fs->shared);
    fs_inodes_fini(fs);
    t->ops->free(t);
    g_free(fs->shared->cap_name);
    pthread_mutex_destroy(&fs->shared->table_lock);
    g_free(fs->shared);
}

const struct fs_policy *fs_policy_of(const struct fs *fs)
{
    return &fs->cfg.policy;
}

void fs_free(struct fs *fs)
{
    if (!fs)
        return;
    if (fs->root)
        fs_reset(fs);
    fs_files_fini(fs);
    if (fs->shares)
        atomic_fetch_sub(&fs->shared->clients, 1);
    else
        free_shared(fs);
    fs_fetches_fini(fs);
    pthread_mutex_destroy(&fs->files_lock);
    g_free(fs);
}
