/* SPDX-License-Identifier: BSD-3-Clause
 * The host's directory: its table of verbs, start and end. */
/* #syscalls close getegid geteuid */
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/tree/host-priv.h"

#include <stdlib.h>

static void close_if(int fd, int none)
{
    if (fd > none)
        close(fd);
}

static void host_free(struct tree *t)
{
    struct host *h = host_of(t);

    host_proofs_fini(h);
    host_broker_free(h->broker);
    close_if(h->proc_self_fd, -1);
    close_if(h->task_fd, 0);
    close_if(h->thread_fd, 0);
    g_free(h);
}

static const struct tree_ops host_ops = {
    .mnt_new = host_mnt_new,
    .mnt_free = host_mnt_free,
    .same = host_same,
    .same_for_sure = host_same_for_sure,
    .enter = host_enter,
    .settle = host_settle,
    .adopt = host_adopt,
    .rest = host_rest,
    .rest_some = host_rest_some,
    .drop = host_drop,
    .free = host_free,
    .act_as = host_act_as,
    .act_done = host_act_done,
    .lookup = host_lookup,
    .complete = host_complete,
    .up = host_up,
    .make = host_make,
    .link = host_link,
    .unlink = host_unlink,
    .rename = host_rename,
    .readlink = host_readlink,
    .statx = host_statx,
    .stat = host_stat,
    .setattr = host_setattr,
    .statfs = host_statfs,
    .open = host_open,
    .create = host_create,
    .close = host_close,
    .close_error = host_close_error,
    .reopens = host_reopens,
    .read = host_read,
    .write = host_write,
    .lseek = host_lseek,
    .fallocate = host_fallocate,
    .copy = host_copy,
    .fsync = host_fsync,
    .syncfs = host_syncfs,
    .readdir = host_readdir,
    .mount_kind = host_mount_kind,
    .may_map_write = host_may_map_write,
    .map_open = host_map_open,
    .map_store = host_map_store,
    .getxattr = host_getxattr,
    .listxattr = host_listxattr,
    .setxattr = host_setxattr,
    .removexattr = host_removexattr,
    .kill_sgid = host_kill_sgid,
    .where = host_where,
    .locate = host_locate,
    .lock_open = host_lock_open,
    .flock = host_flock,
};

static int start(struct host *h, const struct host_config *cfg, GError **err)
{
    struct tree_found *root = &h->tree.root;
    enum host_handles handles = cfg->policy.handles;
    int root_fd = cfg->root_fd;

    *root = (struct tree_found){.complete = true, .fd = root_fd};
    int rc = host_statx_at(root_fd, "", &root->stx);

    if (rc == 0 && !S_ISDIR(root->stx.stx_mode))
        rc = -ENOTDIR;
    if (rc == 0) {
        h->root_is_mount = (root->stx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
        rc = handles != HOST_HANDLES_NEVER ? host_handles_init(h, root_fd, err) : 0;
        if (rc < 0)
            return rc; /* which has said why */
        h->tree.rests = h->handles;
        h->tree.rests_costly = h->broker != NULL;
        rc = h->handles && !h->broker ? host_proofs_init(h) : 0;
    }
    if (rc < 0)
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(-rc), "shared directory: %s",
                    errno_text(-rc));
    return rc;
}

struct tree *host_new(const struct host_config *cfg, GError **err)
{
    static atomic_uint serial;
    struct host *h = g_new0(struct host, 1);

    *h = (struct host){
        .tree.ops = &host_ops,
        .proc_self_fd = cfg->proc_self_fd,
        .task_fd = cfg->task_fd,
        .thread_fd = cfg->thread_fd,
        .handles_must = cfg->policy.handles == HOST_HANDLES_MANDATORY,
        .brokered = cfg->policy.handles == HOST_HANDLES_FENCED,
        .broker = cfg->channels ? host_broker_new(cfg->channel, cfg->channels) : NULL,
        .fenced = cfg->fenced,
        .allow_direct_io = cfg->policy.allow_direct_io,
        .preserve_noatime = cfg->policy.preserve_noatime,
        .uid = geteuid(),
        .gid = getegid(),
        .serial = atomic_fetch_add(&serial, 1) + 1,
    };
    if (start(h, cfg, err) == 0)
        return &h->tree;
    close_if(cfg->root_fd, -1);
    host_free(&h->tree);
    return NULL;
}
