/* SPDX-License-Identifier: BSD-3-Clause
 * What libfuse's callbacks need of libfuse, and it does not give them: answers straight into guest
 * memory, after which fuse_reply_none() only ends its request object (see fuse-session.c for why
 * its other replies are not used), and arguments that it leaves out. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <string.h>

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

void fuse_answer_entry(fuse_req_t req, int err, const char *name, struct fs_entry *e)
{
    fuse_rq_reply_entry(fuse_rq_current(), err, name, e);
    fuse_reply_none(req);
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

void fuse_answer_attr(fuse_req_t req, int err, struct fs_inode *inode, const struct fs_attr *a)
{
    fuse_rq_reply_attr(fuse_rq_current(), err, inode, a);
    fuse_reply_none(req);
}

mode_t fuse_callback_umask(fuse_req_t req)
{
    return fuse_req_ctx(req)->umask;
}

void fuse_callback_args(void *arg, size_t size)
{
    memcpy(arg, fuse_rq_current()->body, size);
}
