/* SPDX-License-Identifier: BSD-3-Clause
 * Answers in the forms of the wire, straight into guest memory; for libfuse's callbacks, too, where
 * fuse_reply_none() only ends libfuse's request object: see fuse-session.c for why its other
 * replies are not used. */
#include "virtiofsd/fuse/fuse-priv.h"

void fuse_answer_err(fuse_req_t req, int err)
{
    fuse_rq_reply_err(fuse_rq_current(), err);
    fuse_reply_none(req);
}

void fuse_answer_buf(fuse_req_t req, const void *buf, size_t len)
{
    fuse_rq_reply_buf(fuse_rq_current(), buf, len);
    fuse_reply_none(req);
}

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

void fuse_answer_entry(fuse_req_t req, int err, const char *name, struct fs_entry *e)
{
    fuse_rq_reply_entry(fuse_rq_current(), err, name, e);
    fuse_reply_none(req);
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
    out.open.fh = o->fh;
    out.open.open_flags = fuse_open_flags(srv, false, o);
    if (!fuse_rq_reply_buf(rq, &out, sizeof(out))) {
        fs_release(srv->fs, o->fh);
        fs_forget(srv->fs, out.entry.nodeid, 1);
    }
}

void fuse_answer_create(fuse_req_t req, int err, const char *name, struct fs_entry *e,
                        const struct fs_opened *o)
{
    if (err) {
        fuse_answer_err(req, err);
        return;
    }
    fuse_rq_reply_create(fuse_rq_current(), name, e, o);
    fuse_reply_none(req);
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

void fuse_answer_attr(fuse_req_t req, int err, struct fs_inode *inode, const struct fs_attr *a)
{
    fuse_rq_reply_attr(fuse_rq_current(), err, inode, a);
    fuse_reply_none(req);
}
