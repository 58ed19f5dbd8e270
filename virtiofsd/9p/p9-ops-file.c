/* SPDX-License-Identifier: BSD-3-Clause
 * Messages about open files and directories. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/base/iov.h"

/* Transfers from this size on may take long enough that earlier answers should not wait. */
#define BIG_TRANSFER (256 * 1024)

/* Enough for 4 MiB in 4 KiB pages; more is clipped by the slice. */
#define MAX_SEGMENTS 1024

/* ---- opening ---- */

/* Put the open file into the place of the fid that was opened. From here on the core's handle is
 * not needed: the fid's reference keeps the file open. */
static int install(struct p9_rq *rq, struct p9_fid *old, struct p9_fid *fid, uint64_t fh)
{
    struct p9_fids *fids = &rq->conn->fids;
    const struct p9_qid qid = fid->qid; /* once the table has it, another message may remove it */

    fid->file = fs_file_get(rq->fs, fh, fid->inode);
    fs_release(rq->fs, fh);
    int rc = fid->file ? p9_fid_replace(fids, old, fid) : -EBADF;
    if (rc < 0)
        return rc;
    p9_rq_put(rq, old); /* the table's */
    p9_put_qid(&rq->out, &qid);
    p9_put32(&rq->out, 0); /* no unit: as much as a message holds */
    return 0;
}

static int may_open(struct p9_rq *rq, struct fs_inode *inode, int flags)
{
    int acc = flags & O_ACCMODE;
    int mask = acc == O_RDONLY ? R_OK : acc == O_WRONLY ? W_OK : R_OK | W_OK;

    return p9_may(rq, inode, mask | (flags & O_TRUNC ? W_OK : 0));
}

/* Open what @fid names. 0 or -errno. */
static int open_fid(struct p9_rq *rq, const struct p9_fid *fid, int flags, struct fs_opened *o)
{
    bool dir = S_ISDIR(fs_inode_type(fid->inode));
    int rc = may_open(rq, fid->inode, flags);

    if (rc < 0)
        return rc;
    if (!dir && (flags & O_DIRECTORY))
        return -ENOTDIR;
    if (dir && ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)))
        return -EISDIR;
    if (dir)
        return fs_opendir(rq->fs, fid->inode, o);
    return fs_open(rq->fs, fid->inode, flags & ~O_EXCL,
                   p9_fid_kills(fid) ? FS_OPEN_KILL_SUIDGID : 0, o);
}

int p9_do_lopen(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    int flags = p9_open_flags(p9_get32(&rq->in));
    struct fs_opened opened;
    int rc = !fid ? -EBADF : fid->kind != P9_FID_PATH ? -EINVAL : 0;

    if (rc == 0)
        rc = open_fid(rq, fid, flags, &opened);
    if (rc == 0) {
        struct p9_fid *open = p9_fid_dup(fid, fid->id);
        open->kind = S_ISDIR(fs_inode_type(fid->inode)) ? P9_FID_DIR : P9_FID_FILE;
        open->stores = (flags & O_ACCMODE) != O_RDONLY;
        rc = install(rq, fid, open, opened.fh);
        if (rc < 0)
            p9_rq_put(rq, open);
    }
    p9_rq_put(rq, fid);
    return rc;
}

/* What Tlcreate asks for. */
struct creation {
    const char *name;
    mode_t mode;
    int flags;
    gid_t gid;
};

static int create_named(struct p9_rq *rq, struct p9_fid *dir, const struct creation *c, int excl,
                        struct fs_entry *e, struct fs_opened *o)
{
    struct fs_cred cred = p9_cred(rq, dir, c->gid);
    unsigned how = p9_fid_kills(dir) ? FS_OPEN_KILL_SUIDGID : 0;

    return fs_create(rq->fs, &cred, dir->inode, c->name, c->mode & 07777, c->flags | excl, how, e,
                     o);
}

/* The same for one who may not open everything. The name may lead elsewhere from one moment to the
 * next: what is there is opened as the inode that was checked, what is not there is created. */
static int create_checked(struct p9_rq *rq, struct p9_fid *dir, const struct creation *c,
                          struct fs_entry *e, struct fs_opened *o)
{
    int rc = p9_may(rq, dir->inode, X_OK);

    if (rc == 0)
        rc = fs_lookup(rq->fs, dir->inode, c->name, e);
    if (rc == -ENOENT) {
        rc = p9_may(rq, dir->inode, W_OK);
        return rc < 0 ? rc : create_named(rq, dir, c, O_EXCL, e, o);
    }
    if (rc < 0)
        return rc;
    rc = c->flags & O_EXCL ? -EEXIST : may_open(rq, e->inode, c->flags);
    if (rc == 0)
        rc = fs_open(rq->fs, e->inode, c->flags, p9_fid_kills(dir) ? FS_OPEN_KILL_SUIDGID : 0, o);
    if (rc < 0)
        fs_inode_put(rq->fs, e->inode);
    return rc;
}

static int create(struct p9_rq *rq, struct p9_fid *dir, const struct creation *c)
{
    struct fs_entry e;
    struct fs_opened opened;
    int rc = fs_name_check(c->name);

    if (rc == 0 && !p9_squashed(rq))
        rc = create_named(rq, dir, c, 0, &e, &opened);
    else if (rc == 0) /* made by another one between two steps: look again */
        for (int i = 0; i == 0 || (i < 3 && rc == -EEXIST && !(c->flags & O_EXCL)); i++)
            rc = create_checked(rq, dir, c, &e, &opened);
    if (rc < 0)
        return rc;
    struct p9_fid *fid = p9_fid_new(dir->id, e.inode, &dir->user, dir->root);
    p9_fid_set_place(&rq->conn->fids, fid, dir->inode, c->name);
    fid->kind = P9_FID_FILE;
    fid->stores = (c->flags & O_ACCMODE) != O_RDONLY;
    fid->qid = p9_rq_qid(rq, &e.attr);
    fid->dev = e.attr.st.st_dev;
    rc = install(rq, dir, fid, opened.fh);
    if (rc < 0)
        p9_rq_put(rq, fid);
    return rc;
}

int p9_do_lcreate(struct p9_rq *rq)
{
    struct p9_fid *dir = p9_rq_fid(rq);
    struct creation c = {.name = p9_get_str(&rq->in)};
    c.flags = p9_open_flags(p9_get32(&rq->in)) & ~O_DIRECTORY;
    c.mode = p9_get32(&rq->in);
    c.gid = p9_get32(&rq->in);
    int rc = !dir ? -EBADF : rq->in.bad || dir->kind != P9_FID_PATH ? -EINVAL : 0;

    if (rc == 0 && !S_ISDIR(fs_inode_type(dir->inode)))
        rc = -ENOTDIR;
    if (rc == 0)
        rc = create(rq, dir, &c);
    p9_rq_put(rq, dir);
    return rc;
}

/* ---- data ---- */

static int read_file(struct p9_rq *rq, struct p9_fid *fid, uint64_t off, uint32_t count)
{
    struct iovec iov[MAX_SEGMENTS];
    struct chain *c = rq->chain;

    if (count >= BIG_TRANSFER)
        chain_flush(c);
    unsigned n = iov_slice(c->out, c->out_cnt, P9_IO_HEAD, count, iov, G_N_ELEMENTS(iov));
    ssize_t done = fs_read(rq->fs, fid->file, iov, n, (off_t)off, fs_file_how(fid->file));
    if (G_UNLIKELY(done == FS_LATER)) {
        p9_wait_read(rq, fid, iov, n, (off_t)off);
        return P9_LATER;
    }
    if (done < 0)
        return (int)done;
    p9_put32(&rq->out, (uint32_t)done);
    rq->data = (size_t)done;
    chain_note_bytes(c, NOTE_READ, (size_t)done);
    return 0;
}

int p9_do_read(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    uint64_t off = p9_get64(&rq->in);
    uint32_t count = p9_get32(&rq->in);
    int rc = -EBADF;

    count = (uint32_t)MIN(count, rq->room - P9_IO_HEAD);
    if (fid && fid->kind == P9_FID_FILE)
        rc = read_file(rq, fid, off, count);
    else if (fid && fid->kind == P9_FID_XATTR_READ)
        rc = p9_xattr_read(rq, fid, off, count);
    else if (fid && fid->kind == P9_FID_DIR)
        rc = -EISDIR;
    p9_rq_put(rq, fid);
    return rc;
}

/* Whether a Twrite at @off is the append that O_APPEND of its fid makes it. It has no flags: pages
 * of the client's cache come by any fid, and of a program that takes O_APPEND away nobody hears. A
 * client appends where it believes the end to be, so before the end of its own writes it means
 * the place; unless the file was cut meanwhile, and that place is the end. */
static bool is_append(struct p9_rq *rq, const struct p9_fid *fid, uint64_t off)
{
    struct fs_attr attr;

    return off >= atomic_load(&fid->end) ||
           (fs_getattr(rq->fs, fid->inode, fid->file, &attr) == 0 &&
            off >= (uint64_t)attr.st.st_size);
}

static void note_end(struct p9_fid *fid, uint64_t end)
{
    uint64_t was = atomic_load(&fid->end);
    while (was < end && !atomic_compare_exchange_weak(&fid->end, &was, end))
        ;
}

static int write_file(struct p9_rq *rq, struct p9_fid *fid, uint64_t off, uint32_t count)
{
    struct iovec iov[MAX_SEGMENTS];
    struct chain *c = rq->chain;
    unsigned how = fs_file_how(fid->file) | (p9_fid_kills(fid) ? FS_WRITE_KILL_SUIDGID : 0);

    if ((how & FS_WRITE_APPEND) && !is_append(rq, fid, off))
        how &= ~(unsigned)FS_WRITE_APPEND;
    if (count >= BIG_TRANSFER)
        chain_flush(c);
    unsigned n =
        iov_slice(c->in, c->in_cnt, P9_HEAD + rq->op->fixed, count, iov, G_N_ELEMENTS(iov));
    ssize_t done = fs_write(rq->fs, fid->file, iov, n, (off_t)off, how);
    if (done < 0)
        return (int)done;
    note_end(fid, off + (uint64_t)done);
    chain_note_bytes(c, NOTE_WRITTEN, (size_t)done);
    p9_put32(&rq->out, (uint32_t)done);
    return 0;
}

int p9_do_write(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    uint64_t off = p9_get64(&rq->in);
    uint32_t count = p9_get32(&rq->in);
    int rc = -EBADF;

    if (count != rq->size - P9_HEAD - rq->op->fixed)
        rc = -EINVAL;
    else if (fid && fid->kind == P9_FID_FILE)
        rc = write_file(rq, fid, off, count);
    else if (fid && fid->kind == P9_FID_XATTR_WRITE)
        rc = p9_xattr_write(rq, fid, off, count);
    p9_rq_put(rq, fid);
    return rc;
}

/* ---- directories ---- */

#define ENTRY_MAX (P9_QID_SIZE + 8 + 1 + 2 + NAME_MAX + 8)

struct listing {
    struct p9_rq *rq;
    struct p9_fid *fid;
    size_t end;   /* of what rq->out may hold */
    bool refused; /* an entry did not fit */
};

static bool add_entry(void *user, const struct fs_dirent *d, struct fs_entry *unused)
{
    struct listing *l = user;
    struct p9_out *out = &l->rq->out;

    if (out->len + P9_QID_SIZE + 8 + 1 + 2 + d->name_len > l->end) {
        l->refused = true;
        return false;
    }
    struct p9_qid qid = {
        .type = p9_qid_type((mode_t)d->type << 12), /* DT_* are S_IF* >> 12 */
        .path = p9_qid_path(&l->rq->conn->srv->devs, l->fid->dev, d->ino),
    };
    p9_put_qid(out, &qid);
    p9_put64(out, d->off);
    p9_put8(out, (uint8_t)d->type);
    p9_put_str(out, d->name, d->name_len);
    return true;
}

static int list(struct p9_rq *rq, struct p9_fid *fid, uint64_t off, uint32_t count)
{
    struct listing l = {.rq = rq, .fid = fid, .end = MIN(rq->out.max, 4 + (size_t)count)};

    p9_put32(&rq->out, 0);
    /* The end of the answer is found here, not by the core, so that it shows. */
    int rc =
        fs_readdir(rq->fs, fid->inode, fid->file, off, false, l.end + ENTRY_MAX, add_entry, &l);
    if (rc == 0 && rq->out.len == 4 && l.refused)
        rc = -EINVAL; /* nothing would mean the end */
    struct p9_out head = {.p = rq->out.p, .max = 4};
    p9_put32(&head, (uint32_t)(rq->out.len - 4));
    return rc;
}

int p9_do_readdir(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    uint64_t off = p9_get64(&rq->in);
    uint32_t count = p9_get32(&rq->in);
    int rc = !fid ? -EBADF : fid->kind == P9_FID_DIR ? 0 : -ENOTDIR;

    if (rc == 0)
        rc = list(rq, fid, off, count);
    p9_rq_put(rq, fid);
    return rc;
}

/* Older clients leave the last field out. */
int p9_do_fsync(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    bool datasync = rq->in.left >= 4 && p9_get32(&rq->in) != 0;
    int rc = fid && fid->file ? fs_fsync(rq->fs, fid->file, datasync) : -EBADF;

    p9_rq_put(rq, fid);
    return rc;
}
