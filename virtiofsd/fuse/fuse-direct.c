/* SPDX-License-Identifier: BSD-3-Clause
 * Operations beside libfuse: those that would cost a copy of the payload, and those that libfuse
 * does not know or gets wrong in some version. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "virtiofsd/base/log.h"

/* Transfers from this size on may take long enough that earlier answers should not wait. */
#define BIG_TRANSFER (256 * 1024)

/* Enough for 1 MiB in 4 KiB pages at any alignment, and the header; more is clipped by the slice.
 */
#define MAX_SEGMENTS 1024

/* ---- data ---- */

/* How a request with these @flags of an open file goes about it. Linux' say it each time;
 * others leave them 0, and what they said when they opened the file holds. */
static unsigned how_of(const struct fuse_rq *rq, const struct fs_file *file, uint32_t flags)
{
    unsigned how = fs_io_how((int)flags);
    return G_LIKELY(rq->srv->linux_guest) ? how : how | fs_file_how(file);
}

void fuse_do_read(struct fuse_rq *rq)
{
    struct fuse_read_in arg;
    struct iovec iov[MAX_SEGMENTS];
    struct chain *c = rq->chain;

    memcpy(&arg, rq->body, sizeof(arg));
    int err;
    struct fs_file *file = fuse_file_get(rq, rq->in->nodeid, arg.fh, O_RDONLY, &err);
    if (!file) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    size_t size = MIN(arg.size, fuse_rq_space(rq));
    if (size >= BIG_TRANSFER)
        chain_flush(c);
    unsigned n =
        iov_slice(c->out, c->out_cnt, sizeof(struct fuse_out_header), size, iov, G_N_ELEMENTS(iov));
    ssize_t done =
        fs_read(rq->srv->fs, file, iov, n, (off_t)arg.offset, how_of(rq, file, arg.flags));
    if (G_UNLIKELY(done == FS_LATER))
        fuse_read_later(rq, file, iov, n, (off_t)arg.offset, how_of(rq, file, arg.flags));
    fs_file_put(rq->srv->fs, file);
    if (done == FS_LATER)
        return;
    if (done < 0) {
        fuse_rq_reply_err(rq, (int)done);
        return;
    }
    chain_note_bytes(c, NOTE_READ, (size_t)done);
    fuse_rq_reply_done(rq, (size_t)done);
}

void fuse_do_write(struct fuse_rq *rq)
{
    struct fuse_write_in arg;
    struct iovec iov[MAX_SEGMENTS];
    struct chain *c = rq->chain;
    size_t head = sizeof(struct fuse_in_header) + sizeof(arg);

    memcpy(&arg, rq->body, sizeof(arg));
    if (arg.size != c->in_len - head) {
        fuse_rq_reply_err(rq, -EINVAL);
        return;
    }
    int err, want = O_WRONLY | (int)(arg.flags & O_APPEND);
    struct fs_file *file = fuse_file_get(rq, rq->in->nodeid, arg.fh, want, &err);
    if (!file) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    if (arg.size >= BIG_TRANSFER)
        chain_flush(c);
    unsigned how = how_of(rq, file, arg.flags) |
                   (arg.write_flags & FUSE_WRITE_KILL_SUIDGID ? FS_WRITE_KILL_SUIDGID : 0) |
                   (arg.write_flags & FUSE_WRITE_CACHE ? FS_WRITE_CACHE : 0);
    unsigned n = iov_slice(c->in, c->in_cnt, head, arg.size, iov, G_N_ELEMENTS(iov));
    ssize_t done = fs_write(rq->srv->fs, file, iov, n, (off_t)arg.offset, how);
    fs_file_put(rq->srv->fs, file);
    if (done < 0) {
        fuse_rq_reply_err(rq, (int)done);
    } else {
        struct fuse_write_out out = {.size = (uint32_t)done};
        chain_note_bytes(c, NOTE_WRITTEN, (size_t)done);
        fuse_rq_reply_buf(rq, &out, sizeof(out));
    }
}

void fuse_do_syncfs(struct fuse_rq *rq)
{
    struct fs_inode *inode = fs_inode_get(rq->srv->fs, rq->in->nodeid);

    if (!inode) {
        fuse_rq_reply_err(rq, -ENOENT);
        return;
    }
    int err = fs_syncfs(rq->srv->fs, inode);
    fs_inode_put(rq->srv->fs, inode);
    fuse_rq_reply_err(rq, err);
}

/* ---- lookups given back ---- */

void fuse_do_forget(struct fuse_rq *rq)
{
    struct fuse_forget_in arg;

    memcpy(&arg, rq->body, sizeof(arg));
    fuse_dax_forget(rq->srv, rq->in->nodeid, arg.nlookup, NULL);
    fuse_rq_reply_none(rq);
}

void fuse_do_batch_forget(struct fuse_rq *rq)
{
    struct fuse_batch_forget_in arg;
    struct fuse_forget_one one;

    memcpy(&arg, rq->body, sizeof(arg));
    size_t room = (rq->body_len - sizeof(arg)) / sizeof(one);
    if (arg.count > room)
        log_guest_warn("BATCH_FORGET of %u entries has only %zu", arg.count, room);
    GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
    for (size_t i = 0; i < MIN(arg.count, room); i++) {
        memcpy(&one, rq->body + sizeof(arg) + i * sizeof(one), sizeof(one));
        fuse_dax_forget(rq->srv, one.nodeid, one.nlookup, fds);
    }
    fs_close_later(rq->srv->fs, fds);
    fuse_rq_reply_none(rq);
}

/* NOTIFY_REPLY: we never notify. */
void fuse_do_ignore(struct fuse_rq *rq)
{
    fuse_rq_reply_none(rq);
}

/* ---- newer operations ---- */

void fuse_do_tmpfile(struct fuse_rq *rq)
{
    struct fuse_create_in arg;
    struct fs *fs = rq->srv->fs;
    struct fs_entry entry;
    struct fs_opened opened;

    memcpy(&arg, rq->body, sizeof(arg));
    const struct fs_cred *cred = fuse_rq_cred(rq, arg.umask);
    struct fs_inode *parent = fs_inode_get(fs, rq->in->nodeid);
    int err = !cred ? -EINVAL : !parent ? -ENOENT : 0;
    if (err == 0)
        err = fs_tmpfile(fs, cred, parent, arg.mode, (int)arg.flags, &entry, &opened);
    if (parent)
        fs_inode_put(fs, parent);
    if (err) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    fuse_rq_reply_create(rq, NULL, &entry, &opened);
}

static struct fuse_sx_time sx_time(const struct statx_timestamp *t)
{
    return (struct fuse_sx_time){.tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec};
}

static void fill_statx(struct fuse_statx *out, const struct statx *s)
{
    *out = (struct fuse_statx){
        .mask = s->stx_mask,
        .blksize = s->stx_blksize,
        .attributes = s->stx_attributes,
        .nlink = s->stx_nlink,
        .uid = s->stx_uid,
        .gid = s->stx_gid,
        .mode = s->stx_mode,
        .ino = s->stx_ino,
        .size = s->stx_size,
        .blocks = s->stx_blocks,
        .attributes_mask = s->stx_attributes_mask,
        .atime = sx_time(&s->stx_atime),
        .btime = sx_time(&s->stx_btime),
        .ctime = sx_time(&s->stx_ctime),
        .mtime = sx_time(&s->stx_mtime),
        .rdev_major = s->stx_rdev_major,
        .rdev_minor = s->stx_rdev_minor,
        .dev_major = s->stx_dev_major,
        .dev_minor = s->stx_dev_minor,
    };
}

void fuse_do_statx(struct fuse_rq *rq)
{
    struct fuse_statx_in arg;
    struct fuse_statx_out out = {0};
    struct fs *fs = rq->srv->fs;
    struct statx stx;

    memcpy(&arg, rq->body, sizeof(arg));
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);
    if (!inode) {
        fuse_rq_reply_err(rq, -ENOENT);
        return;
    }
    struct fs_file *file =
        arg.getattr_flags & FUSE_GETATTR_FH ? fs_file_get(fs, arg.fh, inode) : NULL;
    int err = fs_statx(fs, inode, file, arg.sx_flags, arg.sx_mask, &stx);
    if (file)
        fs_file_put(fs, file);
    fs_inode_put(fs, inode);
    if (err == 0 && rq->srv->dax.on)
        err = fuse_dax_after(rq); /* of others: the size is shown */
    if (err) {
        fuse_rq_reply_err(rq, err);
        return;
    }
    /* Asked for less, the mode may not be there. */
    const unsigned whole = STATX_TYPE | STATX_MODE;
    mode_t mode = (stx.stx_mask & whole) == whole ? stx.stx_mode : S_IFREG | S_ISUID;
    fuse_attr_timeout(rq->srv, mode, &out.attr_valid, &out.attr_valid_nsec);
    fill_statx(&out.stat, &stx);
    fuse_rq_reply_buf(rq, &out, sizeof(out));
}
