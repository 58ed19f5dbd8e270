/* SPDX-License-Identifier: BSD-3-Clause
 * Locks: the core's, so that guests of both protocols and the host exclude each other; or, where
 * they are not to be shared, none: a client that takes the lock in its own kernel first, as Linux
 * does, is told that nobody else is in the way.
 *
 * An owner is (connection, client_id, proc_id). The answer to a blocking Tlock is held back until
 * the lock is there: Linux would ask again only after half a minute. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/base/auto.h"

/* Owners remembered per fid; more than one is a file shared by processes. */
#define OWNERS_MAX 1024

struct request {
    struct p9_fid *fid;
    uint8_t type;
    uint32_t flags;
    uint64_t start, length;
    uint32_t proc_id;
    const char *client_id;
    struct fs_lock lk;
    uint64_t owner;
};

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9fb21c651e98df25u;
    return h ^ h >> 29;
}

static uint64_t owner_of(const struct p9_conn *conn, const char *client_id, uint32_t proc_id)
{
    uint64_t h = mix(conn->owner_salt, proc_id);

    for (const char *p = client_id; *p; p++)
        h = mix(h, (uint8_t)*p);
    return mix(h, conn->owner_salt);
}

static int to_core(struct request *r)
{
    static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};

    if (r->type >= G_N_ELEMENTS(types))
        return -EINVAL;
    if (r->start > INT64_MAX || r->length > INT64_MAX)
        return -EINVAL;
    uint64_t end = r->length == 0 ? INT64_MAX : r->start + r->length - 1;
    if (end > INT64_MAX)
        return -EINVAL;
    r->lk = (struct fs_lock){
        .type = types[r->type], .start = (off_t)r->start, .end = (off_t)end, .pid = r->proc_id};
    return 0;
}

/* Both messages; @with_flags: Tlock. The fid is a reference also on failure, if there is one. */
static int read_request(struct p9_rq *rq, bool with_flags, struct request *r)
{
    *r = (struct request){.fid = p9_rq_fid(rq), .type = p9_get8(&rq->in)};
    r->flags = with_flags ? p9_get32(&rq->in) : 0;
    r->start = p9_get64(&rq->in);
    r->length = p9_get64(&rq->in);
    r->proc_id = p9_get32(&rq->in);
    r->client_id = p9_get_str(&rq->in);
    if (!r->fid || r->fid->kind != P9_FID_FILE)
        return -EBADF;
    if (rq->in.bad || (r->flags & ~(uint32_t)(P9_LOCK_BLOCK | P9_LOCK_RECLAIM)))
        return -EINVAL;
    r->owner = owner_of(rq->conn, r->client_id, r->proc_id);
    return to_core(r);
}

/* Before the lock is taken: it is to end with the fid, whatever comes between. */
static int note_owner(struct p9_conn *conn, struct p9_fid *fid, uint64_t owner)
{
    AUTO_LOCK(&conn->lock);
    if (!fid->owners)
        fid->owners = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    for (guint i = 0; i < fid->owners->len; i++) {
        if (g_array_index(fid->owners, uint64_t, i) == owner)
            return 0;
    }
    if (fid->owners->len >= OWNERS_MAX)
        return -ENOLCK;
    g_array_append_val(fid->owners, owner);
    return 0;
}

int p9_do_lock(struct p9_rq *rq)
{
    struct request r;
    int rc = read_request(rq, true, &r);
    bool shared = rq->conn->srv->cfg.lock, take = rc == 0 && shared && r.lk.type != F_UNLCK;

    if (take)
        rc = p9_may_lock(rq, r.fid, r.lk.type);
    if (rc == 0 && take)
        rc = note_owner(rq->conn, r.fid, r.owner);
    if (rc == 0 && take && (r.flags & P9_LOCK_BLOCK) && p9_wait_lock(rq, r.fid, r.owner, &r.lk))
        return P9_LATER;
    struct fs_locker who = {.owner = r.owner};
    if (rc == 0 && shared)
        rc = fs_setlk(rq->fs, r.fid->inode, &who, &r.lk);
    p9_rq_put(rq, r.fid);
    if (rc < 0 && rc != -EAGAIN)
        return rc;
    p9_put8(&rq->out, rc == 0 ? P9_LOCK_SUCCESS : P9_LOCK_BLOCKED);
    return 0;
}

/* The proc_id to answer with. That of another process of the same client is the holder's; what is
 * held by other connections and by the host has no number here that would mean anything. */
static uint32_t holder_of(const struct p9_conn *conn, const struct request *r)
{
    if (r->lk.type == F_UNLCK)
        return r->proc_id;
    return r->lk.pid && owner_of(conn, r->client_id, r->lk.pid) == r->lk.owner ? r->lk.pid : 0;
}

/* Linux never says which kind of lock it asks about: it sends "unlocked". Then the answer is what
 * stands in the way of any kind, another's write lock: no conflict is claimed that is none. */
int p9_do_getlock(struct p9_rq *rq)
{
    struct request r;
    int rc = read_request(rq, false, &r);
    uint8_t type = r.type;

    if (r.lk.type == F_UNLCK)
        r.lk.type = F_RDLCK;
    if (rc == 0 && rq->conn->srv->cfg.lock)
        rc = fs_getlk(rq->fs, r.fid->inode, r.owner, &r.lk);
    else
        r.lk.type = F_UNLCK;
    if (rc == 0) {
        bool to_eof = r.lk.end == INT64_MAX;
        type = r.lk.type == F_RDLCK   ? P9_LOCK_RDLCK
               : r.lk.type == F_WRLCK ? P9_LOCK_WRLCK
                                      : P9_LOCK_UNLCK;
        p9_put8(&rq->out, type);
        p9_put64(&rq->out, (uint64_t)r.lk.start);
        p9_put64(&rq->out, to_eof ? 0 : (uint64_t)(r.lk.end - r.lk.start) + 1);
        p9_put32(&rq->out, holder_of(rq->conn, &r));
        p9_put_str(&rq->out, r.client_id, strlen(r.client_id));
    }
    p9_rq_put(rq, r.fid);
    return rc;
}
