/* SPDX-License-Identifier: BSD-3-Clause
 * Who asks: from the guest's ids and names to those of the tree. */
#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs-priv.h"
#include "virtiofsd/tree/host.h"

void fs_thread_start(void)
{
    host_thread_start();
}

/* The ids of @cred as the host knows them. 0, or -EPERM: one that the guest may not use. */
static int map_ids(const struct fs *fs, struct fs_cred *cred)
{
    int rc = 0;

    if (fs->cfg.uids)
        rc = fs_idmap_to_host(fs->cfg.uids, cred->uid, &cred->uid);
    if (rc == 0 && fs->cfg.gids)
        rc = fs_idmap_to_host(fs->cfg.gids, cred->gid, &cred->gid);
    for (unsigned i = 0; rc == 0 && fs->cfg.gids && i < cred->ngroups; i++)
        rc = fs_idmap_to_host(fs->cfg.gids, cred->groups[i], &cred->groups[i]);
    return rc;
}

int fs_cred_to_tree(struct fs *fs, const struct fs_cred *cred, struct fs_cred_below *room,
                    const struct fs_cred **out)
{
    *out = cred;
    if (!cred)
        return 0;
    if (cred->uid == (uid_t)-1 || cred->gid == (gid_t)-1 || cred->ngroups > FS_MAX_GROUPS)
        return -EINVAL;
    bool named = cred->secctx_name && fs->cfg.xattrmap;
    if (G_LIKELY(!fs->ids && !named))
        return 0;
    room->cred = *cred;
    *out = &room->cred;
    int rc = map_ids(fs, &room->cred);
    if (rc == 0 && named) {
        rc = fs_secctx_name(fs, cred->secctx_name, room->secctx_name);
        room->cred.secctx_name = room->secctx_name;
    }
    return rc;
}

int fs_act_as(struct fs *fs, const struct fs_cred *cred)
{
    struct tree *t = fs_tree(fs->root);
    struct fs_cred_below below;

    if (!t->ops->act_as)
        return 0;
    int rc = fs_cred_to_tree(fs, cred, &below, &cred);
    return rc < 0 ? rc : t->ops->act_as(t, cred);
}

void fs_act_done(struct fs *fs)
{
    struct tree *t = fs_tree(fs->root);
    t->ops->act_done(t);
}
