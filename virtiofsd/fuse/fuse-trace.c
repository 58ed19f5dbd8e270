/* SPDX-License-Identifier: BSD-3-Clause
 * What the log says of a request, before it is known to be well formed. */
#include <string.h>

#include "virtiofsd/fuse/fuse-priv.h"

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

    trace_begin(&rq->trace, op ? op->name : NULL, rq->in->opcode, "nodeid", rq->in->nodeid);
    if (!op)
        return;
    if (op->shown && op->shown - 1 + sizeof(rq->trace.flags) <= have)
        memcpy(&rq->trace.flags, rq->body + op->shown - 1, sizeof(rq->trace.flags));
    if ((op->flags & FUSE_OP_XATTR) && (op->flags & FUSE_OP_ANYLEN))
        /* It sets one: the layout depends on what INIT agreed on. */
        names(rq, have,
              rq->srv->flags & FUSE_SETXATTR_EXT ? sizeof(struct fuse_setxattr_in)
                                                 : FUSE_COMPAT_SETXATTR_IN_SIZE,
              1);
    else
        names(rq, have, op->fixed, op->strings);
}
