/* SPDX-License-Identifier: BSD-3-Clause
 * User and group in a request's header: which operations look at them, and what -1 means there.
 *
 * Once FUSE_ALLOW_IDMAP was granted (Linux 6.12, for id-mapped mounts), the guest sends real ids
 * with what creates an inode only, as the mapping of the mount makes them; all other requests carry
 * -1, id-mapped mount or not. It asks for that only where its own kernel checks by mode, owner and
 * ACL (default_permissions, which virtio-fs always has). */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>

/* Half of an id is none. */
static bool known(const struct fuse_in_header *in)
{
    return in->uid != FUSE_NO_ID && in->gid != FUSE_NO_ID;
}

int fuse_check_ids(const struct fuse_rq *rq)
{
    if (rq->op->ids == IDS_FORGOTTEN)
        return -ENOSYS;
    return rq->op->ids == IDS_MAKER && !known(rq->in) ? -EINVAL : 0;
}

bool fuse_guest_checked(const struct fuse_rq *rq)
{
    return rq->op->ids == IDS_CHECKED && !known(rq->in) && (rq->srv->flags & FUSE_ALLOW_IDMAP);
}

unsigned fuse_kill_of(const struct fuse_rq *rq)
{
    return rq->op->ids == IDS_RIGHTS && rq->in->uid != 0 ? FS_WRITE_KILL_SUIDGID : 0;
}
