/* SPDX-License-Identifier: BSD-3-Clause
 * READDIR and READDIRPLUS: entries are formatted in private memory and copied to the guest once. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

struct dir_reply {
    struct fuse_srv *srv;
    uint8_t *buf;
    size_t used, size;
    bool plus;
    uint64_t dir;  /* node id */
    uint64_t next; /* offset behind the last entry */
};

/* For a name that is listed without its inode, as "." and ".." are: Linux looks at nothing then,
 * others at the type. */
static struct fuse_entry_out type_only(const struct fs_dirent *d)
{
    return (struct fuse_entry_out){.attr = {.ino = d->ino, .mode = DTTOIF((mode_t)d->type)}};
}

/* One fuse_direntplus: entry, then the dirent and its name, padded to 8 bytes. */
static bool emit(void *user, const struct fs_dirent *d, struct fs_entry *entry)
{
    struct dir_reply *r = user;
    size_t head = r->plus ? sizeof(struct fuse_entry_out) : 0;
    size_t plain = FUSE_NAME_OFFSET + d->name_len;
    size_t len = head + FUSE_DIRENT_ALIGN(plain);

    if (len > r->size - r->used)
        return false;
    uint8_t *p = r->buf + r->used;
    if (r->plus) {
        struct fuse_entry_out out;
        if (!entry || fuse_fill_entry(r->srv, &out, d->name, entry) != 0)
            out = type_only(d);
        else
            fuse_listing_child(r->srv, r->dir, out.nodeid);
        memcpy(p, &out, sizeof(out));
        p += sizeof(out);
    }
    struct fuse_dirent de = {
        .ino = d->ino,
        .off = d->off,
        .namelen = (uint32_t)d->name_len,
        .type = d->type,
    };
    memcpy(p, &de, FUSE_NAME_OFFSET);
    memcpy(p + FUSE_NAME_OFFSET, d->name, d->name_len);
    memset(p + plain, 0, FUSE_DIRENT_ALIGN(plain) - plain);
    r->used += len;
    r->next = d->off;
    return true;
}

/* The directory that the request reads, by its handle or where its pass has come to. 0 or -errno.
 */
static int begin(struct fuse_rq *rq, struct fs_inode *inode, const struct fuse_read_in *arg,
                 struct fs_file **dir)
{
    if (fuse_spares(rq->srv, FUSE_NO_OPENDIR_SUPPORT))
        return arg->fh ? -EBADF : fs_pass_take(rq->srv->fs, inode, arg->offset, dir);
    *dir = fs_file_get(rq->srv->fs, arg->fh, inode);
    return *dir ? 0 : -EBADF;
}

/* Linux reads until nothing comes. */
static void end(struct fuse_rq *rq, struct fs_file *dir, const struct dir_reply *r)
{
    if (fuse_spares(rq->srv, FUSE_NO_OPENDIR_SUPPORT))
        fs_pass_give(rq->srv->fs, dir, r->next, r->used == 0);
    else
        fs_file_put(rq->srv->fs, dir);
}

void fuse_do_readdir(struct fuse_rq *rq)
{
    struct fuse_read_in arg;
    struct fs *fs = rq->srv->fs;

    memcpy(&arg, rq->body, sizeof(arg));
    struct dir_reply r = {
        .srv = rq->srv,
        .buf = rq->scratch,
        .size = MIN(MIN(arg.size, fuse_rq_space(rq)), (size_t)FUSE_SCRATCH),
        .plus = rq->in->opcode == FUSE_READDIRPLUS,
        .dir = rq->in->nodeid,
    };
    struct fs_inode *inode = fs_inode_get(fs, rq->in->nodeid);
    struct fs_file *file = NULL;
    int err = inode ? begin(rq, inode, &arg, &file) : -EBADF;
    if (err == 0) {
        err = fs_readdir(fs, inode, file, arg.offset, r.plus, r.size, emit, &r);
        end(rq, file, &r);
    }
    if (inode)
        fs_inode_put(fs, inode);
    /* An error after some entries comes back with the next call, when nothing was read before it.
     */
    if (r.used > 0)
        fuse_listing_note(rq->srv, rq->in->nodeid, arg.offset, r.plus);
    if (err && r.used == 0)
        fuse_rq_reply_err(rq, err);
    else
        fuse_rq_reply_buf(rq, r.buf, r.used);
}
