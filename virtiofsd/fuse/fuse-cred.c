/* SPDX-License-Identifier: BSD-3-Clause
 * Who asks: user and group of the header, and the extensions behind a request, which bring groups
 * and security contexts. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <string.h>

/* {u32 size, u32 count}, then per context {u32 size, u32 pad, name NUL, value, pad to 8}. We take
 * the first; Linux never sends more. */
static bool parse_secctx(struct fuse_rq *rq, const uint8_t *p, size_t len)
{
    struct fuse_secctx sc;

    if (len < sizeof(sc))
        return false;
    memcpy(&sc, p, sizeof(sc));
    p += sizeof(sc);
    len -= sizeof(sc);
    const uint8_t *end = memchr(p, 0, len);
    if (!end || end == p)
        return false;
    size_t name_len = (size_t)(end - p) + 1;
    if (sc.size > len - name_len)
        return false;
    rq->cred.secctx_name = (const char *)p;
    rq->cred.secctx = p + name_len;
    rq->cred.secctx_len = sc.size;
    return true;
}

static bool parse_groups(struct fuse_rq *rq, const uint8_t *p, size_t len)
{
    uint32_t n;

    if (len < sizeof(n))
        return false;
    memcpy(&n, p, sizeof(n));
    if (n > FS_MAX_GROUPS || (len - sizeof(n)) / sizeof(uint32_t) < n)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t g;
        memcpy(&g, p + sizeof(n) + i * sizeof(g), sizeof(g));
        rq->cred.groups[i] = g;
    }
    rq->cred.ngroups = n;
    return true;
}

/* Each extension starts with {u32 size, u32 type}; its size includes this header. */
static bool parse_extensions(struct fuse_rq *rq)
{
    const uint8_t *p = rq->ext;
    size_t left = rq->ext_len;

    while (left > 0) {
        uint32_t head[2];
        if (left < sizeof(head))
            return false;
        memcpy(head, p, sizeof(head));
        if (head[0] < sizeof(head) || head[0] > left)
            return false;
        const uint8_t *data = p + sizeof(head);
        size_t len = head[0] - sizeof(head);
        if (head[1] == FUSE_EXT_GROUPS_) {
            if (!parse_groups(rq, data, len))
                return false;
        } else if (head[1] > FUSE_MAX_NR_SECCTX_) {
            return false;
        } else if (head[1] > 0 && !parse_secctx(rq, data, len)) {
            return false;
        }
        size_t step = MIN((head[0] + 7u) & ~7u, left);
        p += step;
        left -= step;
    }
    return true;
}

const struct fs_cred *fuse_rq_cred(struct fuse_rq *rq, mode_t umask_)
{
    rq->cred.uid = rq->in->uid;
    rq->cred.gid = rq->in->gid;
    rq->cred.umask = umask_ & 0777;
    rq->cred.ngroups = 0;
    rq->cred.strict = false;
    rq->cred.secctx_name = NULL;
    rq->cred.secctx = NULL;
    rq->cred.secctx_len = 0;
    return parse_extensions(rq) ? &rq->cred : NULL;
}
