/* SPDX-License-Identifier: BSD-3-Clause
 * The DAX window as seen from FUSE: its life, and what requests must tell it. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "dax/dax-window.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

/* ---- life ---- */

/* Whether the front-end lets any file of the share be mapped. */
static bool any_file(const struct fuse_srv *srv)
{
    return srv->dax.readonly_fd || !srv->shared->readonly;
}

uint64_t fuse_dax_init(struct fuse_srv *srv, uint64_t capable)
{
    struct dax_window *window = srv->cfg.window;
    struct dax_caps caps;

    srv->dax.on = srv->dax.show = false;
    if (!window)
        return 0;
    dax_unmap_all(window); /* of the guest before, if it did not say DESTROY */
    if (srv->cfg.dax.policy == FUSE_DAX_NEVER || !(capable & FUSE_MAP_ALIGNMENT))
        return 0;
    if (dax_window_start(window, &caps) != 0) /* which says why */
        return 0;
    srv->dax.on = true;
    srv->dax.readonly_fd = caps.readonly_fd;
    srv->dax.granule = (uint64_t)sysconf(_SC_PAGESIZE);
    srv->dax.show = capable & FUSE_HAS_INODE_DAX && any_file(srv);
    if (!any_file(srv))
        log_warn("the share is read-only and the front-end maps only files open for writing: the "
                 "DAX window stays unused");
    return FUSE_MAP_ALIGNMENT | (capable & FUSE_HAS_INODE_DAX);
}

uint16_t fuse_dax_alignment(const struct fuse_srv *srv)
{
    return srv->dax.on ? (uint16_t)g_bit_nth_lsf((gulong)srv->dax.granule, -1) : 0;
}

/* What SETUPMAPPING cost on this mount. */
static void log_times(struct fuse_srv *srv)
{
    struct dax_times t;
    dax_window_times(srv->cfg.window, &t);
    uint64_t us = atomic_exchange(&srv->dax.map_us, 0);
    if (t.maps == 0)
        return;
    double maps = (double)t.maps, wait = (double)t.wait_ns / 1e3;
    log_info("DAX: %" G_GUINT64_FORMAT " mappings asked for, %.1f us each, of which %.1f us were "
             "waiting for the front-end (%.2f messages each)",
             t.maps, (double)us / maps, wait / maps, (double)t.messages / maps);
}

void fuse_dax_destroy(struct fuse_srv *srv)
{
    if (srv->cfg.window) {
        log_times(srv);
        dax_unmap_all(srv->cfg.window);
    }
    srv->dax.on = srv->dax.show = false;
}

void fuse_dax_reset(struct fuse_srv *srv)
{
    if (srv->cfg.window) {
        log_times(srv);
        dax_window_forget(srv->cfg.window, true);
    }
    srv->dax.on = srv->dax.show = false;
}

void fuse_dax_forget(struct fuse_srv *srv, uint64_t id, uint64_t n, GArray *fds)
{
    if (fs_forget_of_many(srv->fs, id, n, fds) && srv->cfg.window)
        dax_unmap_file(srv->cfg.window, id);
}

/* ---- what other requests tell the window ---- */

static int64_t ns_of(const struct timespec *t)
{
    return (int64_t)((uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec);
}

/* An error of the window, as the guest hears it. */
static int failed(const char *what, uint64_t id, int err)
{
    log_guest_warn("DAX: %s of node %#" G_GINT64_MODIFIER "x: %s", what, id, errno_text(-err));
    return -EIO;
}

int fuse_dax_show(struct fuse_srv *srv, struct fs_inode *inode, const char *name,
                  const struct fs_attr *a, uint32_t *flags)
{
    if (!srv->dax.on || !S_ISREG(a->st.st_mode))
        return 0;
    uint64_t id = fs_inode_id(inode);
    if (fuse_dax_takes(srv, inode, name, a))
        *flags |= FUSE_ATTR_DAX;
    if (!dax_is_mapped(srv->cfg.window, id))
        return 0;
    struct dax_stamp stamp = {
        .size = (uint64_t)a->st.st_size,
        .mtime_ns = ns_of(&a->st.st_mtim),
        .ctime_ns = ns_of(&a->st.st_ctim),
    };
    int err = dax_revalidate(srv->cfg.window, id, &stamp);
    return err ? failed("attributes", id, err) : 0;
}

/* The file that a request changes, and where it may be another one, the file that it reads. */
static uint64_t changed_file(const struct fuse_rq *rq)
{
    struct fuse_copy_file_range_in copy;

    if (!(rq->op->flags & FUSE_OP_OTHER))
        return rq->in->nodeid;
    memcpy(&copy, rq->body, sizeof(copy));
    return copy.nodeid_out;
}

/* Opening a file changes it only when it is cut. */
static bool touches(const struct fuse_rq *rq)
{
    struct fuse_open_in open;

    if (rq->in->opcode != FUSE_OPEN)
        return true;
    memcpy(&open, rq->body, sizeof(open));
    return open.flags & O_TRUNC;
}

/* The bytes that a request reads or writes: all, where it does not say. */
static void bytes_of(const struct fuse_rq *rq, uint64_t *from, uint64_t *len)
{
    struct fuse_write_in wr;
    struct fuse_read_in rd;

    *from = 0;
    *len = UINT64_MAX;
    if (rq->in->opcode == FUSE_WRITE) {
        memcpy(&wr, rq->body, sizeof(wr));
        *from = wr.offset;
        *len = wr.size;
    } else if (rq->in->opcode == FUSE_READ) {
        memcpy(&rd, rq->body, sizeof(rd));
        *from = rd.offset;
        *len = rd.size;
    }
}

int fuse_dax_before(struct fuse_rq *rq)
{
    struct dax_window *w = rq->srv->cfg.window;
    uint64_t from = rq->in->nodeid, to = changed_file(rq), pos, len;

    if (!touches(rq))
        return 0;
    bytes_of(rq, &pos, &len);
    int err = rq->in->opcode == FUSE_SYNCFS ? dax_store_all(w)
              : dax_is_mapped(w, from)      ? dax_store_part(w, from, pos, len)
                                            : 0;
    if (to != from && dax_is_mapped(w, to)) {
        int also = dax_store(w, to);
        err = err ? err : also;
    }
    if (!err)
        return 0;
    failed("storing to the file", from, err);
    return rq->in->opcode == FUSE_RELEASE ? 0 : err; /* the handle must go in any case */
}

int fuse_dax_after(struct fuse_rq *rq)
{
    struct dax_window *w = rq->srv->cfg.window;
    uint64_t id = changed_file(rq), pos, len;

    if (!touches(rq) || !dax_is_mapped(w, id))
        return 0;
    bytes_of(rq, &pos, &len);
    int err = dax_changed_part(w, id, pos, len);
    return err ? failed("a change", id, err) : 0;
}

int fuse_dax_changed(struct fuse_srv *srv, uint64_t id)
{
    struct dax_window *w = srv->cfg.window;

    if (!srv->dax.on || !dax_is_mapped(w, id))
        return 0;
    int err = dax_changed_part(w, id, 0, UINT64_MAX);
    return err ? failed("a change", id, err) : 0;
}
