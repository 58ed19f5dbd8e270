/* SPDX-License-Identifier: BSD-3-Clause
 * Attributes and targets of symbolic links. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static void read_setattr(const struct fuse_setattr_in *in, struct fs_setattr *out)
{
    static const struct {
        uint32_t wire;
        unsigned ours;
    } bits[] = {
        {FATTR_MODE, FS_SET_MODE},
        {FATTR_UID, FS_SET_UID},
        {FATTR_GID, FS_SET_GID},
        {FATTR_SIZE, FS_SET_SIZE},
        {FATTR_ATIME, FS_SET_ATIME},
        {FATTR_MTIME, FS_SET_MTIME},
        {FATTR_ATIME_NOW, FS_SET_ATIME_NOW},
        {FATTR_MTIME_NOW, FS_SET_MTIME_NOW},
        {FATTR_KILL_SUIDGID, FS_SET_KILL_SUIDGID},
    };

    *out = (struct fs_setattr){
        .mode = in->mode,
        .uid = in->uid,
        .gid = in->gid,
        .size = (off_t)in->size,
        .atime = {(time_t)in->atime, in->atimensec},
        .mtime = {(time_t)in->mtime, in->mtimensec},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++)
        out->valid |= in->valid & bits[i].wire ? bits[i].ours : 0;
}

/* Beside libfuse, which leaves out the valid bits that it does not know. */
void fuse_do_setattr(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct fuse_setattr_in in;
    struct fs_setattr set;
    struct fs_attr attr;
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);

    if (!inode) {
        fuse_rq_reply_err(rq, -ENOENT);
        return;
    }
    memcpy(&in, rq->body, sizeof(in));
    read_setattr(&in, &set);
    struct fs_file *file = in.valid & FATTR_FH ? fs_file_get(fs, in.fh, inode) : NULL;
    int err = fs_setattr(fs, inode, file, &set, &attr);
    if (file)
        fs_file_put(fs, file);
    fuse_rq_reply_attr(rq, err, inode, &attr);
    fs_inode_put(fs, inode);
}

void fuse_do_readlink(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);
    ssize_t n = -ENOENT;

    if (inode) {
        n = fs_readlink(fs, inode, (char *)rq->scratch, MIN(fuse_rq_space(rq), (size_t)PATH_MAX));
        fs_inode_put(fs, inode);
    }
    if (n < 0)
        fuse_rq_reply_err(rq, (int)n);
    else
        fuse_rq_reply_buf(rq, rq->scratch, (size_t)n);
}

void fuse_do_statfs(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    struct statvfs st;
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);
    int err = -ENOENT;

    if (inode) {
        err = fs_statfs(fs, inode, &st);
        fs_inode_put(fs, inode);
    }
    if (err) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    struct fuse_statfs_out out = {.st = {.blocks = st.f_blocks,
                                         .bfree = st.f_bfree,
                                         .bavail = st.f_bavail,
                                         .files = st.f_files,
                                         .ffree = st.f_ffree,
                                         .bsize = (uint32_t)st.f_bsize,
                                         .namelen = (uint32_t)st.f_namemax,
                                         .frsize = (uint32_t)st.f_frsize}};
    fuse_rq_reply_buf(rq, &out, sizeof(out));
}

void fuse_do_access(struct fuse_rq *rq)
{
    struct fs *fs = rq->srv->fs;
    const struct fs_cred *cred = fuse_rq_cred(rq, 0);
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);
    int err = !cred ? -EINVAL : !inode ? -ENOENT : 0;

    if (err == 0)
        err = fs_access(fs, fuse_guest_checked(rq) ? NULL : cred, inode, rq->arg->num);
    if (inode)
        fs_inode_put(fs, inode);
    fuse_rq_reply_err(rq, err);
}
