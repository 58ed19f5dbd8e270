/* SPDX-License-Identifier: BSD-3-Clause
 * User and group in a request's header: which operations look at them, and what -1 means there.
 *
 * Once FUSE_ALLOW_IDMAP was granted (Linux 6.12, for id-mapped mounts), the guest sends real ids
 * with what creates an inode only, as the mapping of the mount makes them; all other requests carry
 * -1, id-mapped mount or not. It asks for that only where its own kernel judges by mode, owner and
 * ACL (default_permissions, which virtio-fs always has). */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>

enum ids {
    IDS_UNUSED = 1, /* who asks does not matter: the guest's kernel has judged */
    IDS_MAKER,      /* the new inode is theirs: -1 is EINVAL */
    IDS_JUDGED,     /* we judge; -1: the guest's kernel does, so only what nobody may is refused */
    IDS_RIGHTS,     /* whether set-id bits go; -1: they do, as for who lacks CAP_FSETID */
};

/* SETATTR's new owner, record locks' owners, groups and labels behind a request are not meant.
 * RENAME2 with a whiteout carries ids, but the whiteout is made by us: see fs_rename(). */
static const enum ids table[FUSE_WIRE_OPS] = {
    [FUSE_LOOKUP] = IDS_UNUSED,
    [FUSE_FORGET] = IDS_UNUSED,
    [FUSE_GETATTR] = IDS_UNUSED,
    [FUSE_SETATTR] = IDS_UNUSED,
    [FUSE_READLINK] = IDS_UNUSED,
    [FUSE_SYMLINK] = IDS_MAKER,
    [FUSE_MKNOD] = IDS_MAKER,
    [FUSE_MKDIR] = IDS_MAKER,
    [FUSE_UNLINK] = IDS_UNUSED,
    [FUSE_RMDIR] = IDS_UNUSED,
    [FUSE_RENAME] = IDS_UNUSED,
    [FUSE_LINK] = IDS_UNUSED,
    [FUSE_OPEN] = IDS_UNUSED,
    [FUSE_READ] = IDS_UNUSED,
    [FUSE_WRITE] = IDS_UNUSED, /* set-id bits: a flag of the request */
    [FUSE_STATFS] = IDS_UNUSED,
    [FUSE_RELEASE] = IDS_UNUSED,
    [FUSE_FSYNC] = IDS_UNUSED,
    [FUSE_SETXATTR] = IDS_UNUSED, /* set-group-id of an ACL: a flag of the request */
    [FUSE_GETXATTR] = IDS_UNUSED,
    [FUSE_LISTXATTR] = IDS_UNUSED,
    [FUSE_REMOVEXATTR] = IDS_UNUSED,
    [FUSE_FLUSH] = IDS_UNUSED,
    [FUSE_INIT] = IDS_UNUSED,
    [FUSE_OPENDIR] = IDS_UNUSED,
    [FUSE_READDIR] = IDS_UNUSED,
    [FUSE_RELEASEDIR] = IDS_UNUSED,
    [FUSE_FSYNCDIR] = IDS_UNUSED,
    [FUSE_GETLK] = IDS_UNUSED,
    [FUSE_SETLK] = IDS_UNUSED,
    [FUSE_SETLKW] = IDS_UNUSED,
    [FUSE_ACCESS] = IDS_JUDGED,
    [FUSE_CREATE] = IDS_MAKER,
    [FUSE_INTERRUPT] = IDS_UNUSED,
    [FUSE_DESTROY] = IDS_UNUSED,
    [FUSE_NOTIFY_REPLY] = IDS_UNUSED,
    [FUSE_BATCH_FORGET] = IDS_UNUSED,
    [FUSE_FALLOCATE] = IDS_RIGHTS,
    [FUSE_READDIRPLUS] = IDS_UNUSED,
    [FUSE_RENAME2] = IDS_UNUSED,
    [FUSE_LSEEK] = IDS_UNUSED,
    [FUSE_COPY_FILE_RANGE] = IDS_RIGHTS,
    [FUSE_SETUPMAPPING] = IDS_RIGHTS,
    [FUSE_REMOVEMAPPING] = IDS_UNUSED,
    [FUSE_SYNCFS] = IDS_UNUSED,
    [FUSE_TMPFILE] = IDS_MAKER,
    [FUSE_STATX] = IDS_UNUSED,
    [FUSE_COPY_FILE_RANGE_64] = IDS_RIGHTS,
};

/* Half of an id is none. */
static bool known(const struct fuse_in_header *in)
{
    return in->uid != FUSE_NO_ID && in->gid != FUSE_NO_ID;
}

int fuse_check_ids(const struct fuse_rq *rq)
{
    if (!table[rq->in->opcode]) /* a new operation whose row was forgotten */
        return -ENOSYS;
    return table[rq->in->opcode] == IDS_MAKER && !known(rq->in) ? -EINVAL : 0;
}

bool fuse_guest_judged(const struct fuse_rq *rq)
{
    return table[rq->in->opcode] == IDS_JUDGED && !known(rq->in) &&
           (rq->srv->flags & FUSE_ALLOW_IDMAP);
}

unsigned fuse_kill_of(const struct fuse_rq *rq)
{
    return table[rq->in->opcode] == IDS_RIGHTS && rq->in->uid != 0 ? FS_WRITE_KILL_SUIDGID : 0;
}
