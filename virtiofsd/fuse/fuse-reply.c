/* SPDX-License-Identifier: BSD-3-Clause
 * What goes back to the guest: the header of an answer, and what all answers have in common on the
 * wire. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

/* ---- answers ---- */

/* The header goes last, when the payload is in place. */
static void reply_header(struct fuse_rq *rq, size_t payload, int err)
{
    struct fuse_out_header oh = {
        .len = (uint32_t)(sizeof(oh) + payload),
        .error = err,
        .unique = rq->in->unique,
    };
    struct chain *c = rq->chain;

    if (trace_wanted())
        trace_tell(&rq->trace, err, payload);
    iov_from_buf(c->out, c->out_cnt, 0, &oh, sizeof(oh));
    rq->replied = true;
    if (err)
        c->note.what |= NOTE_FAILED;
    chain_complete(c, oh.len);
}

/* The request was done: what the DAX window must learn before the guest does. */
static int finish(struct fuse_rq *rq)
{
    if (G_LIKELY(!rq->srv->dax.on) || !rq->op || !(rq->op->flags & FUSE_OP_CHANGE))
        return 0;
    return fuse_dax_after(rq);
}

void fuse_rq_reply_err(struct fuse_rq *rq, int err)
{
    if (err == 0)
        err = finish(rq);
    reply_header(rq, 0, err);
}

void fuse_rq_reply_done(struct fuse_rq *rq, size_t len)
{
    reply_header(rq, len, 0);
}

bool fuse_rq_reply_buf(struct fuse_rq *rq, const void *buf, size_t len)
{
    struct chain *c = rq->chain;

    int err = len > fuse_rq_space(rq) ? -EIO : finish(rq);
    if (err) {
        fuse_rq_reply_err(rq, err);
        return false;
    }
    iov_from_buf(c->out, c->out_cnt, sizeof(struct fuse_out_header), buf, len);
    reply_header(rq, len, 0);
    return true;
}

void fuse_rq_reply_none(struct fuse_rq *rq)
{
    if (trace_wanted())
        trace_tell(&rq->trace, 0, 0);
    rq->replied = true;
    chain_complete(rq->chain, 0);
}

/* ---- wire forms ---- */

void fuse_split_timeout(double t, uint64_t *sec, uint32_t *nsec)
{
    *sec = (uint64_t)t;
    *nsec = (uint32_t)((t - (double)*sec) * 1e9);
}

/* The host clears set-id bits at a write (FUSE_HANDLE_KILLPRIV_V2), and the answers to WRITE,
 * FALLOCATE, COPY_FILE_RANGE and SETXATTR carry no attributes: for as long as the guest trusts the
 * old ones, what a user has just written runs as the file's owner. Under auto it asks again before
 * it reads a file that it has written to, but not when it reads through the window. With a profile
 * it is not relied on. Of directories an ACL can take the set-group-id bit, which lets nobody run
 * anything. */
static bool bits_may_go(const struct fuse_srv *srv, mode_t mode)
{
    return S_ISREG(mode) && (mode & (S_ISUID | S_ISGID)) &&
           (srv->shared->cache != FS_CACHE_AUTO || srv->dax.on ||
            srv->cfg.profile != FUSE_PROFILE_NONE);
}

void fuse_attr_timeout(const struct fuse_srv *srv, mode_t mode, uint64_t *sec, uint32_t *nsec)
{
    bool none = G_UNLIKELY(bits_may_go(srv, mode));
    *sec = none ? 0 : srv->timeout_sec;
    *nsec = none ? 0 : srv->timeout_nsec;
}

int fuse_fill_attr(struct fuse_srv *srv, struct fuse_attr *out, struct fs_inode *inode,
                   const char *name, const struct fs_attr *a)
{
    const struct stat *st = &a->st;

    *out = (struct fuse_attr){
        .ino = st->st_ino,
        .size = (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks,
        .atime = (uint64_t)st->st_atim.tv_sec,
        .mtime = (uint64_t)st->st_mtim.tv_sec,
        .ctime = (uint64_t)st->st_ctim.tv_sec,
        .atimensec = (uint32_t)st->st_atim.tv_nsec,
        .mtimensec = (uint32_t)st->st_mtim.tv_nsec,
        .ctimensec = (uint32_t)st->st_ctim.tv_nsec,
        .mode = st->st_mode,
        .nlink = (uint32_t)st->st_nlink,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev = (uint32_t)st->st_rdev,
        .blksize = (uint32_t)st->st_blksize,
        .flags = a->submount ? FUSE_ATTR_SUBMOUNT : 0,
    };
    return fuse_dax_show(srv, inode, name, a, &out->flags);
}

int fuse_fill_entry(struct fuse_srv *srv, struct fuse_entry_out *out, const char *name,
                    struct fs_entry *e)
{
    *out = (struct fuse_entry_out){.nodeid = fs_inode_id(e->inode)};
    out->entry_valid = srv->timeout_sec;
    out->entry_valid_nsec = srv->timeout_nsec;
    fuse_attr_timeout(srv, e->attr.st.st_mode, &out->attr_valid, &out->attr_valid_nsec);
    int err = fuse_fill_attr(srv, &out->attr, e->inode, name, &e->attr);
    if (err)
        fs_inode_put(srv->fs, e->inode);
    else
        fs_inode_remember(srv->fs, e->inode);
    return err;
}

uint32_t fuse_open_flags(const struct fuse_srv *srv, bool dir, const struct fs_opened *o)
{
    /* The guest would delay appends that the host then refuses: none of them through its cache. */
    if (o->append_only && (srv->flags & FUSE_WRITEBACK_CACHE))
        return FOPEN_DIRECT_IO;
    /* Of a file with O_DIRECT Linux sends a long write in pieces all at once, which would be
     * appended as they arrive; of one that says this, one after the other. */
    if (o->in_order)
        return FOPEN_DIRECT_IO;
    switch (srv->shared->cache) {
    case FS_CACHE_NEVER:
    case FS_CACHE_METADATA:
        return dir ? 0 : FOPEN_DIRECT_IO;
    case FS_CACHE_AUTO:
        return (dir && o->steady ? FOPEN_CACHE_DIR : 0) | (o->keep_cache ? FOPEN_KEEP_CACHE : 0);
    case FS_CACHE_ALWAYS:
        return FOPEN_KEEP_CACHE | (dir ? FOPEN_CACHE_DIR : 0);
    }
    return 0;
}

/* ---- answers in the forms of the wire ---- */

void fuse_rq_reply_entry(struct fuse_rq *rq, int err, const char *name, struct fs_entry *e)
{
    struct fuse_entry_out out;

    if (err == 0)
        err = fuse_fill_entry(rq->srv, &out, name, e);
    if (err)
        fuse_rq_reply_err(rq, err);
    else if (!fuse_rq_reply_buf(rq, &out, sizeof(out)))
        fs_forget(rq->srv->fs, out.nodeid, 1);
}

void fuse_rq_reply_create(struct fuse_rq *rq, const char *name, struct fs_entry *e,
                          const struct fs_opened *o)
{
    struct fuse_srv *srv = rq->srv;
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out = {0};

    int err = fuse_fill_entry(srv, &out.entry, name, e);
    if (err) {
        fs_release(srv->fs, o->fh);
        fuse_rq_reply_err(rq, err);
        return;
    }
    if (!name) /* what has no name cannot be looked up again: it stays what it is */
        out.entry.entry_valid = UINT64_MAX;
    bool spared = fuse_spares(srv, FUSE_NO_OPEN_SUPPORT);
    if (spared) { /* no RELEASE will come; what the guest may have cached goes */
        fs_file_keep(srv->fs, o->fh);
    } else {
        out.open.fh = o->fh;
        out.open.open_flags = fuse_open_flags(srv, false, o);
    }
    if (!fuse_rq_reply_buf(rq, &out, sizeof(out))) {
        if (!spared)
            fs_release(srv->fs, o->fh);
        fs_forget(srv->fs, out.entry.nodeid, 1);
    }
}

void fuse_rq_reply_open(struct fuse_rq *rq, bool dir, int err, const struct fs_opened *o)
{
    if (err) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    struct fuse_open_out out = {.fh = o->fh, .open_flags = fuse_open_flags(rq->srv, dir, o)};
    if (!fuse_rq_reply_buf(rq, &out, sizeof(out)))
        fs_release(rq->srv->fs, o->fh);
}

void fuse_rq_reply_attr(struct fuse_rq *rq, int err, struct fs_inode *inode,
                        const struct fs_attr *a)
{
    struct fuse_attr_out out = {0};

    if (err == 0)
        err = fuse_fill_attr(rq->srv, &out.attr, inode, NULL, a);
    if (err) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    fuse_attr_timeout(rq->srv, a->st.st_mode, &out.attr_valid, &out.attr_valid_nsec);
    fuse_rq_reply_buf(rq, &out, sizeof(out));
}
