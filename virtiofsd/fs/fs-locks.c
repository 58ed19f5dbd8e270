/* SPDX-License-Identifier: BSD-3-Clause
 * Start and end of all that has to do with locks. */
#include "virtiofsd/fs/fs-lock-priv.h"

int fs_locks_init(struct fs_shared *s, const struct fs_config *cfg)
{
    static const struct fs_clerk_work work = {fs_owners_reap_locked, fs_waits_round_locked};
    struct fs_locks *l = &s->locks;

    pthread_mutex_init(&l->lock, NULL);
    fs_clerk_init(l, cfg, &s->inode_fds, &work);
    l->ctxs = g_hash_table_new(g_direct_hash, g_direct_equal);
    return fs_waits_init(l);
}

void fs_locks_reset(struct fs *fs)
{
    fs_locks_cancel(fs);
    fs_owners_drop(fs);
}

void fs_locks_fini(struct fs_shared *s)
{
    struct fs_locks *l = &s->locks;

    fs_waits_fini(l);
    fs_clerk_fini(l);
    g_hash_table_destroy(l->ctxs);
    pthread_mutex_destroy(&l->lock);
}
