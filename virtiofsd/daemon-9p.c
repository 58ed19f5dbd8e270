/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls clone close */
#include "virtiofsd/daemon-9p.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "vhost-user/vu-dev.h"
#include "vhost-user/vu-sock.h"
#include "virtiofsd/9p/p9-listen.h"
#include "virtiofsd/9p/p9-sock.h"
#include "virtiofsd/9p/p9-srv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/daemon-stats.h"

#define MOUNT_TAG    (UINT64_C(1) << 0) /* VIRTIO_9P_MOUNT_TAG: linux/virtio_9p.h */
#define SOCK_THREADS 4
#define NOBODY       65534

/* Fids of all connections of a server together, and as many of one. Linux with cache=loose keeps
 * one for each name that it has cached, and hears of none that it should give back. */
#define FIDS_LOCAL  (1u << 20)
#define FIDS_REMOTE (1u << 18)

struct daemon_9p {
    const struct options *o;
    const struct daemon_policy *policy;
    const char *tag;
    char *where;                     /* the device's socket, as the log calls it */
    int listen_fd, conn_fd;          /* of the device; -1: none, or handed over */
    GArray *endpoints;               /* struct p9_endpoint, until they are handed over */
    uint32_t squash_uid, squash_gid; /* of peers by network; UINT32_MAX: believe them */

    struct fs *fs;         /* a client of its own */
    struct p9_srv *srv;    /* for guests, and peers of this host */
    struct p9_srv *remote; /* for peers by network */
    struct p9_conn *conn;  /* the device's */
    struct vu_dev *dev;    /* or NULL */
    struct p9_sock *sock;  /* or NULL */
    GThread *dev_thread, *sock_thread;
    atomic_bool failed; /* it was logged */
    void (*thread_start)(void *user);
    void (*session)(void *user, bool begins);
    void *user;
};

uint64_t daemon_9p_fds(const struct options *o)
{
    return o->protocol == OPT_PROTOCOL_VIRTIOFS ? 0 : 32 + P9_SOCK_MAX_CONNS;
}

/* ---- sockets ---- */

static bool parse_squash(struct daemon_9p *x, const char *text, GError **err)
{
    g_auto(GStrv) part = g_strsplit(text, ":", 3);
    guint64 uid, gid;

    if (strcmp(text, "none") == 0) {
        x->squash_uid = x->squash_gid = UINT32_MAX;
        return true;
    }
    if (g_strv_length(part) != 2 ||
        !g_ascii_string_to_unsigned(part[0], 10, 0, UINT32_MAX - 1, &uid, NULL) ||
        !g_ascii_string_to_unsigned(part[1], 10, 0, UINT32_MAX - 1, &gid, NULL)) {
        g_set_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--p9-squash: \"%s\" is neither UID:GID nor none", text);
        return false;
    }
    x->squash_uid = (uint32_t)uid;
    x->squash_gid = (uint32_t)gid;
    return true;
}

static bool open_endpoints(struct daemon_9p *x, GPtrArray *files, GError **err)
{
    const struct options *o = x->o;

    for (unsigned i = 0; i < o->p9_listen->len; i++) {
        const char *addr = g_ptr_array_index(o->p9_listen, i);
        struct p9_endpoint ep;
        bool ok = p9_listen_open(addr, x->policy->group, &ep, err);
        if (ep.files)
            g_ptr_array_add(files, ep.files);
        if (!ok) {
            g_prefix_error(err, "--p9-listen=");
            return false;
        }
        g_array_append_val(x->endpoints, ep);
    }
    return true;
}

GArray *daemon_9p_inherited(const struct options *o)
{
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));

    for (unsigned i = 0; i < o->p9_listen->len; i++) {
        int fd = p9_listen_inherited(g_ptr_array_index(o->p9_listen, i));
        g_array_append_val(fds, fd);
    }
    return fds;
}

static bool open_device(struct daemon_9p *x, GPtrArray *files, GError **err)
{
    struct sock_files *f;

    if (!x->o->p9_socket_path)
        return true;
    x->listen_fd = vu_sock_listen(x->o->p9_socket_path, x->policy->group, &f, err);
    if (f)
        g_ptr_array_add(files, f);
    return x->listen_fd >= 0;
}

bool daemon_9p_open(const struct options *o, const struct daemon_policy *p,
                    const struct daemon_9p_device *dev, GPtrArray *files, struct daemon_9p **out,
                    GError **err)
{
    *out = NULL;
    if (o->protocol == OPT_PROTOCOL_VIRTIOFS)
        return true;
    struct daemon_9p *x = g_new0(struct daemon_9p, 1);

    x->o = o;
    x->policy = p;
    x->tag = dev->tag;
    x->listen_fd = x->conn_fd = -1;
    x->endpoints = g_array_new(FALSE, FALSE, sizeof(struct p9_endpoint));
    x->squash_uid = x->squash_gid = NOBODY;
    x->where = o->p9_socket_path ? vu_sock_name(o->p9_socket_path, -1) : g_strdup(dev->where);
    if (o->protocol == OPT_PROTOCOL_9P) {
        x->listen_fd = steal_fd(dev->listen_fd);
        x->conn_fd = steal_fd(dev->conn_fd);
    }
    bool ok = (!o->p9_squash || parse_squash(x, o->p9_squash, err)) &&
              open_endpoints(x, files, err) && open_device(x, files, err);
    if (ok)
        *out = x;
    else
        daemon_9p_free(x);
    return ok;
}

/* ---- the device ---- */

static void dev_handle(void *user, struct chain *c)
{
    struct daemon_9p *x = user;
    p9_conn_handle(x->conn, c);
}

static void dev_arrive(void *user, struct chain *c)
{
    struct daemon_9p *x = user;
    p9_conn_arrive(x->conn, c);
}

static void dev_drain(void *user)
{
    struct daemon_9p *x = user;
    p9_conn_cancel(x->conn);
}

static void dev_reset(void *user)
{
    struct daemon_9p *x = user;
    p9_conn_reset(x->conn);
}

static void dev_session(void *user, bool begins)
{
    struct daemon_9p *x = user;
    x->session(x->user, begins);
}

static void thread_start(void *user)
{
    struct daemon_9p *x = user;
    x->thread_start(x->user);
}

/* VIRTIO's device 9: le16 tag_len, u8 tag[tag_len]; one queue. */
static void make_dev(struct daemon_9p *x)
{
    static const struct vu_dev_ops ops = {.handle = dev_handle,
                                          .drain = dev_drain,
                                          .reset = dev_reset,
                                          .session = dev_session,
                                          .thread_start = thread_start,
                                          .arrive = dev_arrive};
    const struct options *o = x->o;
    uint8_t config[sizeof(uint16_t) + OPT_TAG_MAX];
    size_t len = MIN(strlen(x->tag), (size_t)OPT_TAG_MAX);

    config[0] = (uint8_t)len;
    config[1] = 0;
    memcpy(config + sizeof(uint16_t), x->tag, len);
    struct vu_config vc = {
        .ops = &ops,
        .user = x,
        .listen_fd = steal_fd(&x->listen_fd),
        .conn_fd = steal_fd(&x->conn_fd),
        .name = x->where,
        .policy = o->vu,
        .num_queues = 1,
        .features = MOUNT_TAG,
        .config = config,
        .config_len = (unsigned)(sizeof(uint16_t) + len),
    };
    x->conn = p9_conn_new(x->srv);
    x->dev = vu_dev_new(&vc);
}

/* ---- all ---- */

static void make_sock(struct daemon_9p *x)
{
    struct p9_sock_config sc = {
        .local = x->srv,
        .remote = x->remote,
        .threads = MAX(x->o->vu.pool_size, SOCK_THREADS),
        .group = x->policy->gid,
        .thread_start = thread_start,
        .user = x,
    };

    x->sock = p9_sock_new(&sc);
    for (unsigned i = 0; i < x->endpoints->len; i++)
        p9_sock_add(x->sock, &g_array_index(x->endpoints, struct p9_endpoint, i));
    g_array_set_size(x->endpoints, 0);
}

bool daemon_9p_make(struct daemon_9p *x, struct fs *fs, void (*start)(void *user),
                    void (*session)(void *user, bool begins), void *user, GError **err)
{
    const struct options *o = x->o;

    x->thread_start = start;
    x->session = session;
    x->user = user;
    x->fs = fs_client_new(fs);
    if (!x->fs) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_NOMEM,
                    "no address space for 9P: raise the limit (ulimit -v)");
        return false;
    }
    /* Nothing is negotiated: mode and ACL are kept in step by the host, and by the client. */
    fs_acl_enable(x->fs, x->policy->acl);
    struct p9_config pc = {
        .fs = x->fs,
        .policy = o->p9,
        .max_fids = FIDS_LOCAL,
        .max_fids_all = FIDS_LOCAL,
        .squash_uid = UINT32_MAX,
        .squash_gid = UINT32_MAX,
    };
    x->srv = p9_srv_new(&pc);
    pc.max_fids = pc.max_fids_all = FIDS_REMOTE;
    pc.squash_uid = x->squash_uid;
    pc.squash_gid = x->squash_gid;
    x->remote = p9_srv_new(&pc);
    if (x->listen_fd >= 0 || x->conn_fd >= 0)
        make_dev(x);
    if (x->endpoints->len > 0)
        make_sock(x);
    return true;
}

static void ended(struct daemon_9p *x, int rc, GError *err)
{
    if (rc == 0)
        return;
    log_error("9P: %s", err ? err->message : "failed");
    g_clear_error(&err);
    x->failed = true;
}

static gpointer run_dev(gpointer arg)
{
    struct daemon_9p *x = arg;
    GError *err = NULL;
    int rc = vu_dev_run(x->dev, &err);
    ended(x, rc, err);
    return NULL;
}

static gpointer run_sock(gpointer arg)
{
    struct daemon_9p *x = arg;
    GError *err = NULL;
    int rc = p9_sock_run(x->sock, &err);
    ended(x, rc, err);
    return NULL;
}

bool daemon_9p_begin(struct daemon_9p *x, GError **err)
{
    if (x->sock && !(x->sock_thread = g_thread_try_new("9p-sock", run_sock, x, err)))
        return false;
    return !x->dev || (x->dev_thread = g_thread_try_new("9p-dev", run_dev, x, err));
}

bool daemon_9p_wait(struct daemon_9p *x, bool front_end)
{
    if (x->dev_thread)
        g_thread_join(g_steal_pointer(&x->dev_thread));
    if (x->sock && (x->dev || front_end))
        p9_sock_stop(x->sock);
    if (x->sock_thread)
        g_thread_join(g_steal_pointer(&x->sock_thread));
    return !x->failed;
}

void daemon_9p_stats(struct daemon_9p *x, struct stats *s)
{
    if (x->dev)
        daemon_stats_device(s, "9p", x->dev, p9_srv_op_name);
    if (!x->sock)
        return;
    struct stats_part *part = stats_part(s, "9p", "socket", p9_srv_op_name, false);
    part->connections = p9_sock_counts(x->sock, &part->sum);
}

struct fs *daemon_9p_fs(const struct daemon_9p *x)
{
    return x->fs;
}

void daemon_9p_stop(struct daemon_9p *x)
{
    if (x->dev)
        vu_dev_stop(x->dev);
    if (x->sock)
        p9_sock_stop(x->sock);
}

void daemon_9p_free(struct daemon_9p *x)
{
    if (!x)
        return;
    vu_dev_free(x->dev);
    p9_sock_free(x->sock);
    p9_conn_free(x->conn);
    p9_srv_free(x->srv);
    p9_srv_free(x->remote);
    fs_free(x->fs);
    for (unsigned i = 0; i < x->endpoints->len; i++)
        close(g_array_index(x->endpoints, struct p9_endpoint, i).fd);
    g_array_unref(x->endpoints);
    if (x->listen_fd >= 0)
        close(x->listen_fd);
    if (x->conn_fd >= 0)
        close(x->conn_fd);
    g_free(x->where);
    g_free(x);
}
