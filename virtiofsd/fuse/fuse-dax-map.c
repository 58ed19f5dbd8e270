/* SPDX-License-Identifier: BSD-3-Clause
 * SETUPMAPPING and REMOVEMAPPING. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

#include "dax/dax-window.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

/* What the guest asks for in the window is whole pages inside it. */
static bool range_fits(const struct fuse_srv *srv, uint64_t moffset, uint64_t len)
{
    uint64_t size = dax_window_size(srv->cfg.window);

    return len > 0 && (moffset | len) % srv->dax.granule == 0 && len <= size &&
           moffset <= size - len;
}

static int check_setup(const struct fuse_srv *srv, const struct fuse_setupmapping_in *arg)
{
    const uint64_t known = FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE;

    /* Without a flag it is for reading, which has one since 7.32 only. */
    if ((arg->flags & ~known) || !range_fits(srv, arg->moffset, arg->len))
        return -EINVAL;
    if (arg->foffset % srv->dax.granule != 0 || arg->foffset > (uint64_t)INT64_MAX - arg->len)
        return -EINVAL;
    return (arg->flags & FUSE_SETUPMAPPING_FLAG_WRITE) && srv->shared->readonly ? -EROFS : 0;
}

/* Map with a descriptor of the wanted kind, or with the one that the window holds already. */
static int map_as(struct fuse_srv *srv, struct fs_inode *inode, const struct dax_request *rq,
                  bool writable)
{
    struct dax_window *w = srv->cfg.window;

    if (dax_has_file(w, rq->file, writable)) {
        int err = dax_map(w, rq, -1, writable);
        if (err != -EBADF) /* else it went meanwhile */
            return err;
    }
    int fd = fs_map_open(srv->fs, inode, writable);
    return fd < 0 ? fd : dax_map(w, rq, fd, writable);
}

/* Open for writing where that may be, so that the guest's first store needs no other mapping; and
 * for reading only where the front-end takes that. */
static int map_file(struct fuse_srv *srv, struct fs_inode *inode, const struct dax_request *rq,
                    unsigned how)
{
    unsigned kind = fs_map_kind(srv->fs, inode, NULL);
    int err = -EACCES;

    if (!(kind & FS_MAP))
        return -EOPNOTSUPP;
    if (kind & FS_MAP_WRITE) {
        err = rq->write ? fs_map_store(srv->fs, inode, how) : 0;
        err = err ? err : map_as(srv, inode, rq, true);
        /* What has changed since it was found to be writable is known by now. */
        if (err == 0 || (fs_map_kind(srv->fs, inode, NULL) & FS_MAP_WRITE))
            return err;
    }
    return !rq->write && srv->dax.readonly_fd ? map_as(srv, inode, rq, false) : err;
}

/* A SETUPMAPPING that is being done. */
struct setup {
    struct dax_request want;
    unsigned how; /* of fs_map_store() */
    gint64 start;
};

/* 0 or the -errno to answer. */
static int set_up(struct fuse_srv *srv, struct fs_inode *inode, const struct setup *s)
{
    bool regular = S_ISREG(fs_inode_type(inode));
    int err = regular ? map_file(srv, inode, &s->want, s->how) : -EINVAL;

    if (err)
        log_guest_warn("DAX: node %#" G_GINT64_MODIFIER "x at %" G_GUINT64_FORMAT
                       " cannot be mapped for %s: %s",
                       s->want.file, s->want.foffset, s->want.write ? "writing" : "reading",
                       errno_text(-err));
    else
        atomic_fetch_add(&srv->dax.map_us, (uint64_t)(g_get_monotonic_time() - s->start));
    return err;
}

struct setup_wait {
    struct fuse_wait w;
    struct fs_inode *inode; /* with a reference */
    struct setup s;
};

static void setup_fetched(void *user, ssize_t result)
{
    struct setup_wait *sw = user;
    struct fuse_srv *srv = sw->w.srv;
    int err = result < 0 ? (int)result : set_up(srv, sw->inode, &sw->s);

    fs_inode_put(srv->fs, sw->inode);
    fuse_wait_answer(&sw->w, err, 0);
    g_free(sw);
}

/* When what is to be mapped is there. */
static void set_up_later(struct fuse_rq *rq, struct fs_inode *inode, const struct setup *s)
{
    struct fuse_srv *srv = rq->srv;
    struct setup_wait *sw = g_new(struct setup_wait, 1);
    uint64_t unique = rq->in->unique;

    *sw = (struct setup_wait){fuse_wait_begin(rq), fs_inode_ref(inode), *s};
    fs_map_wait(srv->fs, inode, (off_t)s->want.foffset, s->want.len, unique, setup_fetched, sw);
    fuse_wait_interrupt_if_told(srv, unique);
}

void fuse_do_setupmapping(struct fuse_rq *rq)
{
    struct fuse_srv *srv = rq->srv;
    struct fuse_setupmapping_in arg;
    gint64 start = g_get_monotonic_time();

    memcpy(&arg, rq->body, sizeof(arg));
    int err = check_setup(srv, &arg);
    if (err) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    /* The handle is of no use: Linux sends none. */
    struct fs_inode *inode = fs_inode_get(srv->fs, rq->in->nodeid);
    if (!inode) {
        fuse_rq_reply_err(rq, -ENOENT);
        return;
    }
    struct setup s = {
        .want =
            {
                .file = rq->in->nodeid,
                .foffset = arg.foffset,
                .moffset = arg.moffset,
                .len = arg.len,
                .write = arg.flags & FUSE_SETUPMAPPING_FLAG_WRITE,
            },
        .how = fuse_kill_of(rq),
        .start = start,
    };
    bool later = fs_map_fetches(inode);
    if (later)
        set_up_later(rq, inode, &s);
    else
        err = set_up(srv, inode, &s);
    fs_inode_put(srv->fs, inode);
    if (!later)
        fuse_rq_reply_err(rq, err);
}

/* Entry @i of a REMOVEMAPPING. */
static struct fuse_removemapping_one range_at(const struct fuse_rq *rq, size_t i)
{
    struct fuse_removemapping_one one;

    memcpy(&one, rq->body + sizeof(struct fuse_removemapping_in) + i * sizeof(one), sizeof(one));
    return one;
}

static int check_remove(const struct fuse_rq *rq, size_t count)
{
    size_t room = rq->body_len - sizeof(struct fuse_removemapping_in);

    if (count == 0 || room / sizeof(struct fuse_removemapping_one) != count ||
        room % sizeof(struct fuse_removemapping_one) != 0)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        struct fuse_removemapping_one one = range_at(rq, i);
        if (!range_fits(rq->srv, one.moffset, one.len))
            return -EINVAL;
    }
    return 0;
}

void fuse_do_removemapping(struct fuse_rq *rq)
{
    struct fuse_removemapping_in arg;

    memcpy(&arg, rq->body, sizeof(arg));
    int err = check_remove(rq, arg.count);
    if (err) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    /* The guest uses the ranges again whatever we say, so one failure keeps no other. */
    for (size_t i = 0; i < arg.count; i++) {
        struct fuse_removemapping_one one = range_at(rq, i);
        int rc = dax_unmap(rq->srv->cfg.window, one.moffset, one.len);
        err = err ? err : rc;
    }
    fuse_rq_reply_err(rq, err);
}
