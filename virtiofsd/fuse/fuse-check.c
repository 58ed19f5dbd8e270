/* SPDX-License-Identifier: BSD-3-Clause
 * The one place where a request from the guest is checked. libfuse trusts lengths and strings
 * because the kernel checked them before; a guest has not. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

/* The header's length is that of the request; or less, where more does not matter. */
static bool length_fits(const struct fuse_rq *rq)
{
    size_t len = rq->in->len, have = rq->chain->in_len;

    return len == have ||
           ((rq->op->flags & FUSE_OP_SURPLUS) && len >= sizeof(*rq->in) && len < have);
}

/* Bytes of extensions that the header announces. Before 7.38, and before anything was negotiated,
 * that was padding, which need not be 0. */
static size_t announced(const struct fuse_rq *rq)
{
    if (rq->srv->minor < FUSE_WIRE_EXT_MINOR || (rq->op->flags & FUSE_OP_NOINIT))
        return 0;
    return (size_t)fuse_wire_extlen(rq->in) * 8;
}

/* Split the extensions off the end of the body. */
static int check_ext(struct fuse_rq *rq)
{
    size_t ext = announced(rq);

    rq->ext = NULL;
    rq->ext_len = 0;
    if (ext == 0)
        return 0;
    if (!(rq->op->flags & FUSE_OP_EXT) || ext > rq->body_len)
        return -EINVAL;
    rq->body_len -= ext;
    rq->ext = rq->body + rq->body_len;
    rq->ext_len = ext;
    return 0;
}

/* All strings must end inside the body, and nothing may follow the last one. Kernels before 7.38
 * put a security context there without counting it in the header: only when it was negotiated. */
static int check_strings(struct fuse_rq *rq)
{
    size_t off = rq->op->fixed;

    for (unsigned i = 0; i < rq->op->strings; i++) {
        const uint8_t *end = memchr(rq->body + off, 0, rq->body_len - off);
        if (!end)
            return -EINVAL;
        off = (size_t)(end - rq->body) + 1;
    }
    if (off == rq->body_len || (rq->op->flags & (FUSE_OP_ANYLEN | FUSE_OP_DATA)))
        return 0;
    if ((rq->op->flags & FUSE_OP_EXT) && !rq->ext && (rq->srv->flags & FUSE_SECURITY_CTX)) {
        rq->ext = rq->body + off;
        rq->ext_len = rq->body_len - off;
        rq->body_len = off;
        return 0;
    }
    return -EINVAL;
}

/* Bytes of payload that the answer must have room for. GETXATTR and LISTXATTR ask for a length, or
 * for up to as many bytes of value, which may be fewer than a length takes. */
static size_t reply_room(const struct fuse_rq *rq)
{
    struct fuse_getxattr_in arg;

    if (!(rq->op->flags & FUSE_OP_XATTR) || rq->op->reply == 0)
        return rq->op->reply;
    memcpy(&arg, rq->body, sizeof(arg));
    return arg.size == 0 ? rq->op->reply : MIN(arg.size, rq->op->reply);
}

int fuse_check(struct fuse_rq *rq)
{
    const struct fuse_op *op = rq->op;

    if (rq->chain->unmapped)
        return -EFAULT;
    if (!length_fits(rq))
        return -EINVAL;
    if (!rq->srv->se && !(op->flags & FUSE_OP_NOINIT))
        return -EIO;
    if ((op->flags & FUSE_OP_XATTR) && !rq->srv->shared->xattr)
        return -ENOSYS;
    if ((op->flags & FUSE_OP_LOCK) && !(rq->srv->flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS)))
        return -ENOSYS;
    if ((op->flags & FUSE_OP_DAX) && !rq->srv->dax.on)
        return -ENOSYS;
    if (rq->in->nodeid == 0 && !(op->flags & FUSE_OP_ZERO_NODEID))
        return -EINVAL;
    if (!(op->flags & FUSE_OP_DATA) && rq->in->len > FUSE_RQ_MAX)
        return -E2BIG;
    if (rq->body_len < op->fixed)
        return -EINVAL;
    if (fuse_rq_space(rq) < reply_room(rq))
        return -EINVAL;
    int err = fuse_check_ids(rq);
    if (err == 0)
        err = check_ext(rq);
    if (err)
        return err;
    if (rq->body_len < op->fixed)
        return -EINVAL;
    if (op->flags & FUSE_OP_SURPLUS) {
        rq->body_len = op->fixed;
        rq->in->len = (uint32_t)(sizeof(*rq->in) + op->fixed);
        return 0;
    }
    return check_strings(rq);
}
