/* SPDX-License-Identifier: BSD-3-Clause
 * INIT and DESTROY: the negotiation is ours, because libfuse cannot answer most of what a
 * passthrough honours (sub-mounts, supplementary groups, KILLPRIV_V2 on 3.14...), and because it
 * refuses a second INIT. So every INIT makes a new libfuse session, which is told of it by an INIT
 * of our own making whose answer nobody sees. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/fuse/fuse-flags.h"

/* Linux 6.12, the oldest that was seen not to hang when it evicts a mapped inode; 6.1 has 38. */
#define DAX_SAFE_MINOR 41
/* Linux 5.17: some before leave mapped pages dirty at close once FLUSH was refused. */
#define FLUSH_SPARED_MINOR 36
#define MAX_WRITE          (1u << 20)

void fuse_srv_drop_session(struct fuse_srv *srv)
{
    if (srv->se) {
        fs_waits_cancel(srv->fs); /* what waits may be about to use the window */
        fuse_session_free(srv->se);
    }
    srv->se = NULL;
    srv->flags = 0;
    for (unsigned i = 0; i < FUSE_INTERRUPTS; i++) /* the next guest counts from the beginning */
        atomic_store(&srv->interrupted[i], 0);
    srv->minor = 0;
    srv->linux_guest = false;
}

/* ---- INIT ---- */

/* Every flag that a passthrough can honour, and when. A flag is granted when the guest asks for it
 * and the condition holds. */
static uint64_t flags_wanted(const struct fuse_srv *srv, bool linux_guest)
{
    const struct fuse_policy *cfg = &srv->cfg.policy;
    const struct fs_policy *shared = srv->shared;
    const struct {
        uint64_t flag;
        bool when;
    } table[] = {
        {FUSE_ASYNC_READ, true},
        {FUSE_POSIX_LOCKS, cfg->posix_lock},
        {FUSE_ATOMIC_O_TRUNC, true},
        {FUSE_EXPORT_SUPPORT, true},
        {FUSE_BIG_WRITES, true},
        {FUSE_DONT_MASK, true}, /* the host applies the umask, where there is no default ACL */
        {FUSE_FLOCK_LOCKS, cfg->flock},
        {FUSE_AUTO_INVAL_DATA, shared->cache != FS_CACHE_ALWAYS},
        /* To others it is no matter of what they keep: UEFI knows no other way to list. */
        {FUSE_DO_READDIRPLUS, cfg->readdirplus || !linux_guest},
        {FUSE_READDIRPLUS_AUTO, cfg->readdirplus},
        {FUSE_ASYNC_DIO, true},
        {FUSE_WRITEBACK_CACHE, cfg->writeback},
        {FUSE_PARALLEL_DIROPS, true},
        {FUSE_MAX_PAGES, true},
        {FUSE_CACHE_SYMLINKS, shared->cache == FS_CACHE_ALWAYS || shared->cache == FS_CACHE_AUTO},
        {FUSE_SUBMOUNTS, shared->announce_submounts},
        {FUSE_HANDLE_KILLPRIV_V2, cfg->killpriv_v2},
        {FUSE_SETXATTR_EXT, true},
        {FUSE_INIT_EXT, true},
        {FUSE_CREATE_SUPP_GROUP, true},
        {FUSE_ALLOW_IDMAP, true}, /* see fuse-ids.c for what requests carry then */
        {FUSE_DIRECT_IO_ALLOW_MMAP, cfg->allow_mmap},
    };
    uint64_t want = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
        want |= table[i].when ? table[i].flag : 0;
    return want;
}

/* Features for which flags must come together, and that a user may insist on. */
static const struct optional {
    size_t ask; /* offset of the enum fuse_ask in the policy */
    uint64_t flags;
    const char *what;
} optional_features[] = {
    {offsetof(struct fuse_policy, posix_acl), FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT,
     "POSIX ACLs"},
    {offsetof(struct fuse_policy, security_label), FUSE_SECURITY_CTX, "security labels"},
};

/* Add what the guest is @capable of to *flags. False: it lacks what it must have. */
static bool grant_optional(const struct fuse_policy *cfg, uint64_t capable, uint64_t *flags)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(optional_features); i++) {
        const struct optional *w = &optional_features[i];
        enum fuse_ask ask = *(const enum fuse_ask *)((const char *)cfg + w->ask);
        if (ask == FUSE_ASK_NEVER)
            continue;
        if ((capable & w->flags) == w->flags) {
            *flags |= w->flags;
        } else if (ask == FUSE_ASK_ALWAYS) {
            log_guest_warn("the guest does not know %s, which must be: its mount fails", w->what);
            return false;
        }
    }
    return true;
}

static uint16_t max_pages(void)
{
    long page = sysconf(_SC_PAGESIZE);
    return (uint16_t)(page > 0 && MAX_WRITE > page ? MAX_WRITE / page : 1);
}

/* FLUSH ends locks, moves private pages of a DAX window into the file, and brings errors of network
 * file systems, where there can be any; and guests so old that they do not write back mapped pages
 * at close without it do so with it. Else it can be spared, but see fs_close_mute(). Linux
 * remembers ENOSYS, for the whole mount, and asks no more; other drivers report it to their
 * programs. */
static bool flush_needed(const struct fuse_srv *srv)
{
    return !srv->linux_guest || srv->minor < FLUSH_SPARED_MINOR ||
           (srv->flags & (FUSE_POSIX_LOCKS | FUSE_WRITEBACK_CACHE)) ||
           (!srv->shared->readonly && (srv->dax.on || fs_close_speaks(srv->fs)));
}

static void tell_mounted(const struct fuse_srv *srv, const struct fuse_init_in *init)
{
    if (log_level < LOG_LVL_INFO)
        return;
    g_autofree char *names = fuse_flags_text(srv->flags);
    log_guest(LOG_LVL_INFO, "guest mounted: %s, FUSE %u.%u with %s%s", srv->cfg.name, init->major,
              init->minor, *names ? names : "no feature", srv->linux_guest ? "" : ", not Linux");
    log_debug("flags %#" G_GINT64_MODIFIER "x", srv->flags);
}

int fuse_srv_begin(struct fuse_srv *srv, const struct fuse_negotiated *n)
{
    srv->se = fuse_session_make(srv, n->minor);
    if (!srv->se) {
        log_guest(LOG_LVL_ERROR, "libfuse did not accept the session");
        return -EIO;
    }
    srv->flags = n->flags;
    srv->minor = n->minor;
    srv->linux_guest = n->linux_guest;
    /* Under auto only as long as a change shows; always promises nothing. */
    if (srv->shared->cache == FS_CACHE_AUTO && (srv->flags & FUSE_CACHE_SYMLINKS) &&
        !fs_links_enable(srv->fs, true))
        srv->flags &= ~(uint64_t)FUSE_CACHE_SYMLINKS;
    srv->flush = flush_needed(srv);
    fs_acl_enable(srv->fs, srv->flags & FUSE_POSIX_ACL);
    fs_writeback_enable(srv->fs, srv->flags & FUSE_WRITEBACK_CACHE);
    fs_submounts_enable(srv->fs, srv->flags & FUSE_SUBMOUNTS);
    if (fuse_spares(srv, FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT))
        fs_handleless_enable(srv->fs);
    return 0;
}

void fuse_do_init(struct fuse_rq *rq)
{
    struct fuse_srv *srv = rq->srv;
    struct fuse_init_in init = {0};
    struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_WIRE_MINOR};

    memcpy(&init, rq->body, MIN(rq->body_len, sizeof(init)));
    if (init.major < FUSE_KERNEL_VERSION ||
        (init.major == FUSE_KERNEL_VERSION && init.minor < FUSE_WIRE_MIN_MINOR)) {
        log_guest(LOG_LVL_ERROR, "the guest speaks FUSE %u.%u; %u.%u is the oldest supported",
                  init.major, init.minor, FUSE_KERNEL_VERSION, FUSE_WIRE_MIN_MINOR);
        fuse_rq_reply_err(rq, -EPROTO);
        return;
    }
    if (init.major > FUSE_KERNEL_VERSION) { /* the guest comes back with ours */
        fuse_rq_reply_buf(rq, &out, sizeof(out));
        return;
    }

    uint64_t capable = init.flags;
    if (capable & FUSE_INIT_EXT)
        capable |= (uint64_t)init.flags2 << 32;
    uint64_t granted = capable & flags_wanted(srv, fuse_guest_is_linux(&init));
    bool acceptable = grant_optional(&srv->cfg.policy, capable, &granted);

    /* A guest that was reset does not say DESTROY. */
    fuse_srv_drop_session(srv);
    granted |= fuse_dax_init(srv, acceptable ? capable : 0);
    fs_reset(srv->fs);
    if (!acceptable) {
        fuse_rq_reply_err(rq, -EPROTO);
        return;
    }
    bool linux_guest = fuse_guest_is_linux(&init);
    uint64_t spare = fuse_file_init(srv, capable, linux_guest);
    granted = (granted & ~fuse_file_denies(srv, spare)) | spare;
    const struct fuse_negotiated n = {init.minor, linux_guest, granted};
    if (fuse_srv_begin(srv, &n) < 0) {
        fuse_rq_reply_err(rq, -EIO);
        return;
    }
    if (srv->dax.on && init.minor < DAX_SAFE_MINOR)
        log_guest_warn(
            "DAX: a guest kernel of FUSE 7.%u can hang when a mapped file is removed and "
            "then closed (docs/dax.md); Linux 6.12 does not",
            init.minor);

    out.max_readahead = init.max_readahead;
    out.flags = (uint32_t)srv->flags;
    out.flags2 = (uint32_t)(srv->flags >> 32);
    out.max_background = G_MAXUINT16;
    out.congestion_threshold = G_MAXUINT16 / 4 * 3;
    out.max_write = MAX_WRITE;
    out.time_gran = 1;
    out.map_alignment = fuse_dax_alignment(srv);
    if (srv->flags & FUSE_MAX_PAGES)
        out.max_pages = max_pages();
    tell_mounted(srv, &init);
    rq->chain->at_once = true;
    fuse_rq_reply_buf(rq, &out, sizeof(out));
    if (srv->cfg.mounted)
        srv->cfg.mounted(srv->cfg.user);
}

void fuse_do_destroy(struct fuse_rq *rq)
{
    if (!rq->srv->se) {
        fuse_rq_reply_err(rq, -EIO);
        return;
    }
    fuse_srv_drop_session(rq->srv);
    fuse_dax_destroy(rq->srv);
    fs_reset(rq->srv->fs);
    log_guest(LOG_LVL_INFO, "guest unmounted: %s", rq->srv->cfg.name);
    fuse_rq_reply_err(rq, 0);
}
