/* SPDX-License-Identifier: BSD-3-Clause
 * Extended attributes: fids that hold a value.
 *
 * Txattrwalk reads the whole value at once, so that size and bytes belong together; Txattrcreate
 * gathers one, which is set when the fid is clunked. */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <linux/limits.h>

#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/iov.h"

/* ---- reading ---- */

/* Value of @name, or the list of names when it is "", into the scratch buffer, which is not used
 * for the answer yet. */
static ssize_t fetch(struct p9_rq *rq, const struct p9_fid *fid, const char *name)
{
    if (!fs_policy_of(rq->conn->fs)->xattr)
        return -EOPNOTSUPP;
    if (*name == '\0')
        return fs_listxattr(rq->fs, fid->inode, (char *)rq->scratch, P9_SCRATCH);
    return fs_getxattr(rq->fs, fid->inode, name, rq->scratch, P9_SCRATCH);
}

static int walk_to(struct p9_rq *rq, const struct p9_fid *from, uint32_t id, const char *name)
{
    struct p9_fids *fids = &rq->conn->fids;
    ssize_t n = fetch(rq, from, name);
    if (n < 0)
        return (int)n;
    struct p9_xattr *x = p9_xattr_new(fids, (size_t)n);
    if (!x)
        return -ENOMEM;
    memcpy(x->value, rq->scratch, (size_t)n);
    struct p9_fid *fid = p9_fid_dup(from, id);
    fid->kind = P9_FID_XATTR_READ;
    fid->xattr = x;
    int rc = p9_fid_add(fids, fid);
    if (rc < 0) {
        p9_rq_put(rq, fid);
        return rc;
    }
    p9_put64(&rq->out, (uint64_t)n);
    return 0;
}

int p9_do_xattrwalk(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    uint32_t id = p9_get32(&rq->in);
    const char *name = p9_get_str(&rq->in);
    int rc = !fid ? -EBADF : rq->in.bad ? -EINVAL : 0;

    if (rc == 0)
        rc = p9_may_read_xattr(rq, fid->inode, name);
    if (rc == 0)
        rc = walk_to(rq, fid, id, name);
    p9_rq_put(rq, fid);
    return rc;
}

int p9_xattr_read(struct p9_rq *rq, struct p9_fid *fid, uint64_t off, uint32_t count)
{
    const struct p9_xattr *x = fid->xattr;
    struct chain *c = rq->chain;
    size_t n = off < x->size ? MIN(count, x->size - (size_t)off) : 0;

    if (n > 0)
        iov_from_buf(c->out, c->out_cnt, P9_IO_HEAD, x->value + off, n);
    p9_put32(&rq->out, (uint32_t)n);
    rq->data = n;
    return 0;
}

/* ---- writing ---- */

static int start_value(struct p9_rq *rq, struct p9_fid *old, const char *name, uint64_t size,
                       uint32_t flags)
{
    struct p9_fids *fids = &rq->conn->fids;

    if (old->kind != P9_FID_PATH)
        return -EINVAL;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    if (*name == '\0' || strlen(name) > XATTR_NAME_MAX)
        return -ERANGE;
    if (flags & ~(uint32_t)(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    struct p9_xattr *x = p9_xattr_new(fids, (size_t)size);
    if (!x)
        return -ENOMEM;
    x->name = g_strdup(name);
    x->flags = (int)flags;
    struct p9_fid *fid = p9_fid_dup(old, old->id);
    fid->kind = P9_FID_XATTR_WRITE;
    fid->xattr = x;
    int rc = p9_fid_replace(fids, old, fid);
    p9_rq_put(rq, rc == 0 ? old : fid); /* the table's, or what found no place */
    return rc;
}

int p9_do_xattrcreate(struct p9_rq *rq)
{
    const struct fs_policy *shared = fs_policy_of(rq->conn->fs);
    struct p9_fid *fid = p9_rq_fid(rq);
    const char *name = p9_get_str(&rq->in);
    uint64_t size = p9_get64(&rq->in);
    uint32_t flags = p9_get32(&rq->in);
    int rc = !fid ? -EBADF : rq->in.bad ? -EINVAL : 0;

    if (rc == 0 && !shared->xattr)
        rc = -EOPNOTSUPP;
    if (rc == 0 && shared->readonly)
        rc = -EROFS;
    if (rc == 0)
        rc = p9_may_xattr(rq, fid->inode, name);
    if (rc == 0)
        rc = start_value(rq, fid, name, size, flags);
    p9_rq_put(rq, fid);
    return rc;
}

/* Without gaps; bytes may come twice. */
int p9_xattr_write(struct p9_rq *rq, struct p9_fid *fid, uint64_t off, uint32_t count)
{
    struct p9_xattr *x = fid->xattr;
    struct chain *c = rq->chain;

    AUTO_LOCK(&x->lock);
    if (off > x->done)
        return -EINVAL;
    if (count > x->size - (size_t)off)
        return -ENOSPC;
    iov_to_buf(c->in, c->in_cnt, P9_HEAD + rq->op->fixed, x->value + off, count);
    x->done = MAX(x->done, (size_t)off + count);
    p9_put32(&rq->out, count);
    return 0;
}

/* A new ACL by one who is not in the file's group takes set-group-id away. A guest's kernel sees to
 * that itself; for squashed clients nobody else does. */
static unsigned how_to_set(const struct p9_conn *conn, struct fs_inode *inode, const char *name)
{
    const struct p9_config *cfg = &conn->srv->cfg;
    struct fs_attr attr;

    if (cfg->squash_uid == UINT32_MAX || cfg->squash_uid == 0 ||
        strcmp(name, "system.posix_acl_access") != 0)
        return 0;
    gid_t group = cfg->squash_gid != UINT32_MAX ? cfg->squash_gid : cfg->squash_uid;
    bool member = fs_getattr(conn->fs, inode, NULL, &attr) == 0 && attr.st.st_gid == group;
    return member ? 0 : FS_XATTR_ACL_KILL_SGID;
}

/* Linux removes an attribute by replacing it with nothing. */
static int set(struct p9_rq *rq, struct fs_inode *inode, const struct p9_xattr *x)
{
    if (x->size == 0 && x->flags == XATTR_REPLACE)
        return fs_removexattr(rq->fs, inode, x->name);
    return fs_setxattr(rq->fs, inode, x->name, x->value, x->size, x->flags,
                       how_to_set(rq->conn, inode, x->name));
}

/* What Txattrcreate was allowed may be so no longer: the file may be another's by now. */
int p9_xattr_commit(struct p9_rq *rq, struct p9_fid *fid)
{
    struct p9_xattr *x = fid->xattr;

    AUTO_LOCK(&x->lock);
    if (x->done != x->size)
        return -EINVAL;
    int rc = p9_may_xattr(rq, fid->inode, x->name);
    if (rc < 0)
        return rc;
    bool acting = p9_act_as(rq);
    rc = set(rq, fid->inode, x);
    if (acting)
        p9_act_done(rq);
    return rc;
}
