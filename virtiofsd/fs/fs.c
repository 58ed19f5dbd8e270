/* SPDX-License-Identifier: BSD-3-Clause
 * The context: start, reset, end. */
#include "virtiofsd/fs/fs.h"

#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/fs/fs-priv.h"

#include <sys/sysmacros.h>

/* ---- what a tree asks of us ---- */

static void tree_gone(void *user, struct tree_node *node)
{
    fs_inode_unhash(user, fs_inode_of(node));
}

static int tree_node_fd_room(void *user)
{
    struct fs *fs = user;

    if (G_LIKELY(fs_inode_fds_room(fs)))
        return 0;
    fs_sweep(fs);
    return fs_inode_fds_left(fs) ? 0 : -ENFILE;
}

static void tree_node_fd_added(void *user)
{
    struct fs *fs = user;

    fs_inode_fds_add(fs);
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
    fs_fds_init(fs);
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
        .fds_hard = first->fds_hard,
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
    fs_kept_reset(fs);
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

void fs_gauges(struct fs *fs, struct fs_gauges *out)
{
    struct fs_shared *s = fs->shared;

    *out = (struct fs_gauges){
        .inode_descriptors = atomic_load(&s->inode_fds),
        .other_descriptors = atomic_load(&s->other_fds),
        .reads_late = atomic_load(&s->reads_late),
        .lock_owners = atomic_load(&s->locks.n_owners),
    };
    for (unsigned i = 0; i < TREE_READS; i++)
        out->reads[i] = atomic_load(&s->tree->reads[i]);
    pthread_mutex_lock(&s->table_lock);
    out->inodes = s->n_inodes;
    pthread_mutex_unlock(&s->table_lock);
    pthread_mutex_lock(&s->locks.lock);
    out->lock_waiters = s->locks.n_waiters;
    pthread_mutex_unlock(&s->locks.lock);
    AUTO_LOCK(&fs->files_lock);
    out->files = fs->n_files;
}

void fs_free(struct fs *fs)
{
    if (!fs)
        return;
    if (fs->root)
        fs_reset(fs);
    fs_kept_fini(fs);
    fs_files_fini(fs);
    if (fs->shares)
        atomic_fetch_sub(&fs->shared->clients, 1);
    else
        free_shared(fs);
    fs_fetches_fini(fs);
    pthread_mutex_destroy(&fs->files_lock);
    g_free(fs);
}
