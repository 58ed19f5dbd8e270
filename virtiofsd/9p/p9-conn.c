/* SPDX-License-Identifier: BSD-3-Clause
 * Life of servers and connections, and the messages about them. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/base/random.h"

#define VERSION_NAME "9P2000.L"

struct p9_srv *p9_srv_new(const struct p9_config *cfg)
{
    struct p9_srv *srv = g_new0(struct p9_srv, 1);

    srv->cfg = *cfg;
    srv->cfg.max_msize = CLAMP(cfg->max_msize, P9_LEAST_MSIZE, 16u << 20);
    srv->fids.max = cfg->max_fids_all;
    atomic_flag_clear(&srv->told);
    p9_devs_init(&srv->devs);
    random_bytes(&srv->secret, sizeof(srv->secret));
    return srv;
}

void p9_srv_free(struct p9_srv *srv)
{
    if (!srv)
        return;
    p9_devs_fini(&srv->devs);
    g_free(srv);
}

struct p9_conn *p9_conn_new(struct p9_srv *srv)
{
    struct p9_conn *conn = g_new0(struct p9_conn, 1);

    conn->srv = srv;
    conn->fs = srv->cfg.fs;
    conn->owner_salt = srv->secret + atomic_fetch_add(&srv->seq, 1) * 0x9e3779b97f4a7c15u;
    atomic_init(&conn->msize, P9_FIRST_MSIZE);
    pthread_rwlock_init(&conn->session, NULL);
    pthread_mutex_init(&conn->lock, NULL);
    pthread_cond_init(&conn->changed, NULL);
    conn->tags = g_new0(_Atomic uint32_t, (size_t)P9_NOTAG + 1);
    p9_fids_init(&conn->fids, conn->fs, srv->cfg.max_fids, &srv->fids);
    return conn;
}

/* Waits first: they hold fids. */
static void end_session(struct p9_conn *conn)
{
    p9_waits_cancel(conn, NULL);
    p9_waits_drain(conn);
    p9_fid_drop_all(&conn->fids);
    conn->versioned = false;
    atomic_store(&conn->msize, P9_FIRST_MSIZE);
}

void p9_conn_cancel(struct p9_conn *conn)
{
    p9_waits_cancel(conn, NULL);
}

void p9_conn_reset(struct p9_conn *conn)
{
    p9_waits_cancel(conn, NULL);
    pthread_rwlock_wrlock(&conn->session);
    end_session(conn);
    pthread_rwlock_unlock(&conn->session);
}

void p9_conn_free(struct p9_conn *conn)
{
    if (!conn)
        return;
    p9_conn_reset(conn);
    p9_fids_fini(&conn->fids);
    g_free(conn->tags);
    pthread_cond_destroy(&conn->changed);
    pthread_mutex_destroy(&conn->lock);
    pthread_rwlock_destroy(&conn->session);
    g_free(conn);
}

uint32_t p9_conn_msize(struct p9_conn *conn)
{
    return atomic_load(&conn->msize);
}

void p9_conn_bound_values(struct p9_conn *conn, size_t bytes)
{
    conn->fids.max_xattr_bytes = bytes;
}

bool p9_conn_attached(struct p9_conn *conn)
{
    return atomic_load(&conn->attached);
}

/* ---- messages ---- */

int p9_do_version(struct p9_rq *rq)
{
    struct p9_conn *conn = rq->conn;
    uint32_t msize = p9_get32(&rq->in);
    const char *asked = p9_get_str(&rq->in);

    if (rq->in.bad)
        return -EINVAL;
    bool known = strcmp(asked, VERSION_NAME) == 0;
    const char *answer = known ? VERSION_NAME : "unknown";
    if (known && msize < P9_LEAST_MSIZE)
        return -EMSGSIZE;
    end_session(conn);
    msize = MIN(msize, (uint32_t)conn->srv->cfg.max_msize);
    if (known) {
        conn->versioned = true;
        atomic_store(&conn->msize, msize);
    }
    p9_put32(&rq->out, msize);
    p9_put_str(&rq->out, answer, strlen(answer));
    return 0;
}

int p9_do_auth(struct p9_rq *rq)
{
    return -ENOENT; /* none is needed */
}

/* Follow @path from the root of the share, by directories only. Returns a reference. */
static int resolve(struct p9_rq *rq, const char *path, struct fs_inode **out)
{
    struct fs_inode *at = fs_inode_get(rq->fs, FS_ROOT_ID);
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    int rc = at ? 0 : -EIO;

    for (char **name = names; rc == 0 && *name; name++) {
        struct fs_entry e;
        if (**name == '\0')
            continue;
        rc = fs_name_check(*name);
        if (rc == 0)
            rc = p9_may(rq, at, X_OK);
        if (rc == 0)
            rc = fs_lookup(rq->fs, at, *name, &e);
        if (rc == 0) {
            fs_inode_put(rq->fs, at);
            at = e.inode;
        }
    }
    if (rc == 0 && !S_ISDIR(fs_inode_type(at)))
        rc = -ENOTDIR;
    if (rc == 0)
        *out = at;
    else if (at)
        fs_inode_put(rq->fs, at);
    return rc;
}

int p9_do_attach(struct p9_rq *rq)
{
    struct p9_conn *conn = rq->conn;
    const struct p9_config *cfg = &conn->srv->cfg;
    uint32_t id = p9_get32(&rq->in), afid = p9_get32(&rq->in);
    p9_get_str(&rq->in); /* the name: what counts is the number */
    const char *aname = p9_get_str(&rq->in);
    uint32_t uid = p9_get32(&rq->in);
    struct p9_user user = {.uid = uid != P9_NONUNAME ? uid : 0, .known = uid != P9_NONUNAME};
    struct fs_inode *root = NULL;
    struct fs_attr attr;

    if (rq->in.bad || afid != P9_NOFID)
        return -EINVAL;
    if (cfg->squash_uid != UINT32_MAX)
        user = (struct p9_user){.uid = cfg->squash_uid, .known = true};
    int rc = resolve(rq, aname, &root);
    if (rc < 0)
        return rc;
    struct p9_fid *fid = p9_fid_new(id, root, &user, root);
    rc = fs_getattr(rq->fs, root, NULL, &attr);
    if (rc == 0) {
        fid->qid = p9_rq_qid(rq, &attr);
        fid->dev = attr.st.st_dev;
        p9_put_qid(&rq->out, &fid->qid);
        rc = p9_fid_add(&conn->fids, fid);
    }
    if (rc < 0)
        p9_fid_put(&conn->fids, fid);
    else if (!atomic_load(&conn->attached))
        atomic_store(&conn->attached, true);
    return rc;
}

int p9_rq_clunk(struct p9_rq *rq, struct p9_fid *fid)
{
    struct p9_conn *conn = rq->conn;

    pthread_mutex_lock(&conn->lock);
    fid->gone = true;
    pthread_mutex_unlock(&conn->lock);
    p9_waits_cancel(conn, fid);
    int rc = fid->kind == P9_FID_XATTR_WRITE ? p9_xattr_commit(rq, fid) : 0;
    p9_fid_put(&conn->fids, fid);
    return rc;
}

int p9_do_clunk(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_fid_take(&rq->conn->fids, p9_get32(&rq->in));
    return fid ? p9_rq_clunk(rq, fid) : -EBADF;
}
