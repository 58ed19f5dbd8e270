/* SPDX-License-Identifier: BSD-3-Clause
 * The path of one request, and the answers. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

static __thread struct fuse_rq *current;

static void rq_free(gpointer p)
{
    struct fuse_rq *rq = p;
    g_free(rq->scratch);
    g_free(rq);
}

/* Owns each thread's request object; frees it when the thread ends. */
static GPrivate rq_owner = G_PRIVATE_INIT(rq_free);

static struct fuse_rq *rq_of_thread(void)
{
    if (G_UNLIKELY(!current)) {
        current = g_malloc0(sizeof(*current));
        current->scratch = g_malloc(FUSE_SCRATCH);
        g_private_set(&rq_owner, current);
    }
    return current;
}

struct fuse_rq *fuse_rq_current(void)
{
    return current;
}

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

    iov_from_buf(c->out, c->out_cnt, 0, &oh, sizeof(oh));
    rq->replied = true;
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
    log_debug("%s nodeid %" G_GUINT64_FORMAT ": %s", rq->op ? rq->op->name : "?", rq->in->nodeid,
              err ? errno_text(-err) : "ok");
    reply_header(rq, 0, err);
}

void fuse_rq_reply_done(struct fuse_rq *rq, size_t len)
{
    log_debug("%s nodeid %" G_GUINT64_FORMAT ": %zu bytes", rq->op ? rq->op->name : "?",
              rq->in->nodeid, len);
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
 * it reads a file that it has written to, but not when it reads through the window. Of directories
 * an ACL can take the set-group-id bit, which lets nobody run anything. */
static bool bits_may_go(const struct fuse_srv *srv, mode_t mode)
{
    return S_ISREG(mode) && (mode & (S_ISUID | S_ISGID)) &&
           (srv->shared->cache != FS_CACHE_AUTO || srv->dax.on);
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
        return !dir && o->keep_cache ? FOPEN_KEEP_CACHE : 0;
    case FS_CACHE_ALWAYS:
        return FOPEN_KEEP_CACHE | (dir ? FOPEN_CACHE_DIR : 0);
    }
    return 0;
}

/* ---- who asks ---- */

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

/* ---- the path of one request ---- */

static const struct fuse_op *find_op(uint32_t opcode)
{
    if (opcode >= G_N_ELEMENTS(fuse_ops) || !fuse_ops[opcode].name)
        return NULL;
    return &fuse_ops[opcode];
}

/* Copy the request out of guest memory. Returns false when there is not even a header. The length
 * in the header is the guest's claim; fuse_check() compares it. */
static bool rq_begin(struct fuse_rq *rq, struct fuse_srv *srv, struct chain *c)
{
    rq->srv = srv;
    rq->chain = c;
    rq->in = (struct fuse_in_header *)rq->buf;
    rq->body = rq->buf + sizeof(*rq->in);
    rq->replied = false;

    size_t len = iov_to_buf(c->in, c->in_cnt, 0, rq->buf, sizeof(*rq->in));
    if (len < sizeof(*rq->in))
        return false;
    rq->op = find_op(rq->in->opcode);
    size_t want = MIN(c->in_len, (size_t)FUSE_RQ_MAX);
    if (rq->op && (rq->op->flags & FUSE_OP_DATA))
        want = MIN(want, sizeof(*rq->in) + rq->op->fixed);
    len += iov_to_buf(c->in, c->in_cnt, len, rq->buf + len, want - len);
    memset(rq->buf + len, 0, FUSE_RQ_PAD);
    rq->body_len = c->in_len - sizeof(*rq->in);
    if (c->in_len > FUSE_RQ_MAX && !(rq->op && (rq->op->flags & FUSE_OP_DATA)))
        rq->body_len = FUSE_RQ_MAX - sizeof(*rq->in);
    return true;
}

static void dispatch(struct fuse_rq *rq)
{
    if (rq->op->handle) {
        rq->op->handle(rq);
        return;
    }
    struct fuse_buf buf = {.size = rq->in->len, .mem = rq->buf};
    fuse_session_process_buf(rq->srv->se, &buf);
    if (G_UNLIKELY(!rq->replied))
        fuse_rq_reply_err(rq, -EIO);
}

/* An answer that cannot be delivered, or that nobody waits for. */
static bool without_reply(const struct fuse_rq *rq)
{
    return (rq->op && (rq->op->flags & FUSE_OP_NOREPLY)) ||
           rq->chain->out_len < sizeof(struct fuse_out_header);
}

void fuse_srv_handle(struct fuse_srv *srv, struct chain *c)
{
    struct fuse_rq *rq = rq_of_thread();

    if (!rq_begin(rq, srv, c)) {
        log_guest_warn("request without a whole FUSE header: %zu bytes", c->in_len);
        fuse_rq_reply_none(rq);
        return;
    }
    if (rq->op && (rq->op->flags & FUSE_OP_ALONE))
        pthread_rwlock_wrlock(&srv->lock);
    else
        pthread_rwlock_rdlock(&srv->lock);

    int err = rq->op ? fuse_check(rq) : -ENOSYS;
    if (err == 0 && without_reply(rq) && !(rq->op->flags & FUSE_OP_NOREPLY))
        err = -EINVAL; /* never act when the guest cannot learn of it */
    if (err == 0 && G_UNLIKELY(srv->dax.on) && (rq->op->flags & FUSE_OP_STORE))
        err = fuse_dax_before(rq);
    if (err == 0) {
        if (rq->op->flags & FUSE_OP_SLOW)
            chain_flush(c);
        dispatch(rq);
    } else if (without_reply(rq)) {
        fuse_rq_reply_none(rq);
    } else {
        if (rq->op)
            log_guest_debug("%s refused: %s", rq->op->name, errno_text(-err));
        fuse_rq_reply_err(rq, err);
    }
    pthread_rwlock_unlock(&srv->lock);
}

/* ---- life ---- */

struct fuse_srv *fuse_srv_new(const struct fuse_srv_config *cfg)
{
    struct fuse_srv *srv = g_new0(struct fuse_srv, 1);

    srv->cfg = *cfg;
    srv->fs = cfg->fs;
    srv->shared = fs_policy_of(cfg->fs);
    fuse_split_timeout(cfg->timeout, &srv->timeout_sec, &srv->timeout_nsec);
    pthread_rwlock_init(&srv->lock, NULL);
    return srv;
}

void fuse_srv_reset(struct fuse_srv *srv)
{
    pthread_rwlock_wrlock(&srv->lock);
    fuse_srv_drop_session(srv);
    fuse_dax_reset(srv);
    fs_reset(srv->fs);
    pthread_rwlock_unlock(&srv->lock);
}

void fuse_srv_hang_up(struct fuse_srv *srv)
{
    fs_hang_up(srv->fs);
}

void fuse_srv_cancel(struct fuse_srv *srv)
{
    fs_waits_cancel(srv->fs);
}

void fuse_srv_free(struct fuse_srv *srv)
{
    if (!srv)
        return;
    fuse_srv_drop_session(srv);
    pthread_rwlock_destroy(&srv->lock);
    g_free(srv);
}
