/* SPDX-License-Identifier: BSD-3-Clause
 * What the log says of a request, before it is known to be well formed. */
#include <string.h>

#include "virtiofsd/fuse/fuse-priv.h"

/* Where in the fixed part the flags are; -1: it has none. */
static int flags_at(uint32_t opcode)
{
    switch (opcode) {
    case FUSE_OPEN:
    case FUSE_OPENDIR:
    case FUSE_CREATE:
    case FUSE_TMPFILE:
        return offsetof(struct fuse_open_in, flags);
    case FUSE_GETATTR:
        return offsetof(struct fuse_getattr_in, getattr_flags);
    case FUSE_SETATTR:
        return offsetof(struct fuse_setattr_in, valid);
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
        return offsetof(struct fuse_read_in, flags);
    case FUSE_WRITE:
        return offsetof(struct fuse_write_in, flags);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        return offsetof(struct fuse_release_in, flags);
    case FUSE_RENAME2:
        return offsetof(struct fuse_rename2_in, flags);
    case FUSE_SETXATTR:
        return offsetof(struct fuse_setxattr_in, flags);
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
        return offsetof(struct fuse_fsync_in, fsync_flags);
    case FUSE_FALLOCATE:
        return offsetof(struct fuse_fallocate_in, mode);
    default:
        return -1;
    }
}

static void names(struct fuse_rq *rq, size_t have, size_t off, unsigned n)
{
    for (unsigned i = 0; i < n && off < have; i++) {
        size_t len = strnlen((const char *)rq->body + off, have - off);
        trace_name(&rq->trace, (const char *)rq->body + off, len);
        off += len + 1;
    }
}

void fuse_trace_begin(struct fuse_rq *rq)
{
    size_t have = rq->body_len; /* copied, but for the data of WRITE */
    const struct fuse_op *op = rq->op;
    int at = flags_at(rq->in->opcode);

    trace_begin(&rq->trace, op ? op->name : NULL, rq->in->opcode, "nodeid", rq->in->nodeid);
    if (!op)
        return;
    if (at >= 0 && (size_t)at + sizeof(rq->trace.flags) <= have)
        memcpy(&rq->trace.flags, rq->body + at, sizeof(rq->trace.flags));
    if (rq->in->opcode == FUSE_SETXATTR) /* the layout depends on what INIT agreed on */
        names(rq, have,
              rq->srv->flags & FUSE_SETXATTR_EXT ? sizeof(struct fuse_setxattr_in)
                                                 : FUSE_COMPAT_SETXATTR_IN_SIZE,
              1);
    else
        names(rq, have, op->fixed, op->strings);
}
