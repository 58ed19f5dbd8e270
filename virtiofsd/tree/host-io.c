/* SPDX-License-Identifier: BSD-3-Clause
 * Data on the host: straight between the caller's segments and the file. */
/* #syscalls close copy_file_range fallocate fdatasync fstat fsync lseek preadv preadv2 pwritev
 * #syscalls pwritev2 syncfs
 * #syscalls:lock flock */
#include "virtiofsd/base/iov.h"
#include "virtiofsd/tree/host-priv.h"

#include <limits.h>
#include <sys/file.h>

/* Step over @n bytes of the list. */
static void iov_skip(struct iovec **iov, unsigned *cnt, size_t n)
{
    while (*cnt > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        (*cnt)--;
    }
    if (*cnt > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

/* One system call: a read, or a write with RWF_ flags. */
typedef ssize_t rw_fn(int fd, const struct iovec *iov, int cnt, off_t off, int rwf);

static ssize_t get(int fd, const struct iovec *iov, int cnt, off_t off, int rwf)
{
    (void)rwf;
    return preadv(fd, iov, cnt, off);
}

static ssize_t put(int fd, const struct iovec *iov, int cnt, off_t off, int rwf)
{
    return G_LIKELY(rwf == 0) ? pwritev(fd, iov, cnt, off) : pwritev2(fd, iov, cnt, off, rwf);
}

/* One call when there are at most IOV_MAX segments and nothing is in the way. It goes on after a
 * short write; a short read of a regular file is its end. */
static ssize_t transfer(rw_fn *rw, int fd, int rwf, struct iovec *iov, unsigned cnt, off_t off)
{
    bool retry = rw == put;
    size_t done = 0;

    while (cnt > 0) {
        unsigned part = MIN(cnt, (unsigned)IOV_MAX);
        size_t asked = part < cnt || retry ? iov_len(iov, part) : 0;
        ssize_t n = rw(fd, iov, (int)part, off, rwf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return done > 0 ? (ssize_t)done : -errno;
        done += (size_t)n;
        if (n == 0 || asked == 0 || (!retry && (size_t)n < asked))
            break;
        off += n;
        iov_skip(&iov, &cnt, (size_t)n);
    }
    return (ssize_t)done;
}

/* ---- past the page cache ---- */

/* Two descriptors of one file; @plain goes through the page cache. */
struct pair {
    int direct, plain, rwf;
    unsigned block; /* bytes, a power of two */
};

/* Segments up to byte @n of the list: whole ones, and *keep bytes of the next. */
static unsigned iov_upto(const struct iovec *iov, unsigned cnt, size_t n, size_t *keep)
{
    unsigned i = 0;
    for (; i < cnt && n >= iov[i].iov_len; i++)
        n -= iov[i].iov_len;
    *keep = n;
    return i;
}

/* The first @body bytes past the page cache, the rest through it. -EINVAL: the file system wants
 * other addresses or larger blocks, and nothing was done. */
static ssize_t body_and_rest(rw_fn *rw, const struct pair *p, struct iovec *iov, unsigned cnt,
                             off_t off, size_t body)
{
    size_t keep;
    unsigned i = iov_upto(iov, cnt, body, &keep);
    struct iovec cut = i < cnt ? iov[i] : (struct iovec){0};

    if (keep > 0)
        iov[i].iov_len = keep;
    ssize_t n = transfer(rw, p->direct, p->rwf, iov, keep > 0 ? i + 1 : i, off);
    if (i == cnt || (n >= 0 && (size_t)n < body))
        return n;
    iov[i] = cut;
    if (n < 0)
        return n;
    iov += i;
    cnt -= i;
    iov_skip(&iov, &cnt, keep);
    ssize_t more = transfer(rw, p->plain, p->rwf, iov, cnt, off + n);
    return more < 0 ? n : n + more;
}

/* What is not of whole blocks goes through the page cache. So does an append that is not, as one:
 * nobody else's may come in between. */
static ssize_t transfer_direct(rw_fn *rw, const struct pair *p, struct iovec *iov, unsigned cnt,
                               off_t off, bool append)
{
    size_t len = iov_len(iov, cnt), rest = len & (p->block - 1);
    ssize_t n = -EINVAL;

    if (len > rest && (append ? rest == 0 : ((uint64_t)off & (p->block - 1)) == 0))
        n = body_and_rest(rw, p, iov, cnt, off, len - rest);
    return n == -EINVAL ? transfer(rw, p->plain, p->rwf, iov, cnt, off) : n;
}

/* By the descriptors that have @want of O_DIRECT, O_NOATIME and O_APPEND. @end: an append. */
static ssize_t transfer_as(rw_fn *rw, struct host *h, struct tree_file *file, struct iovec *iov,
                           unsigned cnt, off_t off, int want, int rwf, bool end)
{
    int matters = O_DIRECT | (rw == put ? O_APPEND : O_NOATIME), got;
    int fd = host_side(h, file, want, matters, &got);

    if (fd < 0 || !(got & O_DIRECT))
        return fd < 0 ? fd : transfer(rw, fd, rwf, iov, cnt, off);
    struct pair p = {.direct = fd, .rwf = rwf, .block = host_side_block(file)};
    p.plain = host_side(h, file, want & ~O_DIRECT, matters, &got);
    return p.plain < 0 ? p.plain : transfer_direct(rw, &p, iov, cnt, off, end);
}

/* ---- read, write ---- */

/* A read that notes where the data were: what RWF_NOWAIT brings was in the page cache. */
static ssize_t read_noting(struct host *h, int fd, struct iovec *iov, unsigned cnt, off_t off)
{
    unsigned part = MIN(cnt, (unsigned)IOV_MAX);
    size_t asked = iov_len(iov, part);
    ssize_t n = preadv2(fd, iov, (int)part, off, RWF_NOWAIT), rest = 0;
    enum tree_read where = TREE_READ_CACHED;

    if (n < 0)
        where = errno == EAGAIN ? TREE_READ_UNCACHED : TREE_READ_UNKNOWN;
    n = MAX(n, 0);
    if ((size_t)n < asked || part < cnt) { /* or it is the end of the file */
        iov_skip(&iov, &cnt, (size_t)n);
        rest = transfer(get, fd, 0, iov, cnt, off + n);
        if (where == TREE_READ_CACHED && rest > 0)
            where = n > 0 ? TREE_READ_PARTLY : TREE_READ_UNCACHED;
    }
    atomic_fetch_add_explicit(&h->tree.reads[where], 1, memory_order_relaxed);
    return rest < 0 && n == 0 ? rest : n + MAX(rest, 0);
}

static ssize_t read_plain(struct host *h, int fd, struct iovec *iov, unsigned cnt, off_t off)
{
    static _Thread_local unsigned until; /* the next that is looked at */

    if (G_LIKELY(until-- != 0))
        return transfer(get, fd, 0, iov, cnt, off);
    until = TREE_READ_EVERY - 1;
    return read_noting(h, fd, iov, cnt, off);
}

ssize_t host_read(struct tree *t, struct tree_file *file, struct iovec *iov, unsigned cnt,
                  off_t off, unsigned how)
{
    struct host *h = host_of(t);
    int want = file->kind & O_APPEND;

    if (G_UNLIKELY(how & FS_IO_DIRECT) && h->allow_direct_io)
        want |= O_DIRECT;
    if (G_UNLIKELY(how & FS_IO_NOATIME) && h->preserve_noatime)
        want |= O_NOATIME;
    if (G_LIKELY(want == file->kind))
        return read_plain(h, file->fd, iov, cnt, off);
    return transfer_as(get, h, file, iov, cnt, off, want, 0, false);
}

/* Whether a write has to clear something. The flag comes with every write of an unprivileged
 * process; files with these bits are rare. */
static bool has_suidgid(int fd)
{
    struct stat st;
    return fstat(fd, &st) != 0 || (st.st_mode & (S_ISUID | S_ISGID));
}

/* Let the host's kernel clear the bits of @file during the next call, where that is asked for.
 * Returns whether host_fsetid_restore() must follow. */
static bool kill_begin(struct tree_file *file, unsigned how)
{
    return G_UNLIKELY(how & FS_WRITE_KILL_SUIDGID) && has_suidgid(file->fd) && host_fsetid_drop();
}

/* fdatasync(2) or fsync(2), as @how says. 0 or -errno. */
static int sync_as(int fd, unsigned how)
{
    int rc = how & FS_WRITE_SYNC ? fsync(fd) : how & FS_WRITE_DSYNC ? fdatasync(fd) : 0;
    return rc == 0 ? 0 : -errno;
}

/* A write for which it matters how. -EOPNOTSUPP: the kernel has no such flags. */
static ssize_t write_as(struct host *h, struct tree_file *file, struct iovec *iov, unsigned cnt,
                        off_t off, unsigned how)
{
    bool end = how & FS_WRITE_APPEND, plain = atomic_load(&h->no_rwf);
    int want = 0, rwf = 0;

    if (end && ((file->kind & O_APPEND) || host_appends_by_fd(h, file)))
        want |= O_APPEND;
    else if (end)
        rwf |= RWF_APPEND;
    if ((how & FS_IO_DIRECT) && h->allow_direct_io)
        want |= O_DIRECT;
    if (!plain && (how & (FS_WRITE_SYNC | FS_WRITE_DSYNC)))
        rwf |= how & FS_WRITE_SYNC ? RWF_SYNC : RWF_DSYNC;
    ssize_t n = transfer_as(put, h, file, iov, cnt, off, want, rwf, end);
    if (n == -EOPNOTSUPP && rwf != 0)
        atomic_store(&h->no_rwf, true);
    int rc = plain && n > 0 ? sync_as(file->fd, how) : 0;
    return rc < 0 ? rc : n;
}

#define WRITE_PLAIN (~(unsigned)(FS_WRITE_APPEND | FS_WRITE_SYNC | FS_WRITE_DSYNC | FS_IO_DIRECT))

static ssize_t write_flagged(struct host *h, struct tree_file *file, struct iovec *iov,
                             unsigned cnt, off_t off, unsigned how)
{
    if (G_LIKELY(!(how & ~WRITE_PLAIN) && !(file->kind & O_APPEND)))
        return transfer(put, file->fd, 0, iov, cnt, off);
    ssize_t n = write_as(h, file, iov, cnt, off, how);
    return n == -EOPNOTSUPP && atomic_load(&h->no_rwf) ? write_as(h, file, iov, cnt, off, how) : n;
}

ssize_t host_write(struct tree *t, struct tree_file *file, struct iovec *iov, unsigned cnt,
                   off_t off, unsigned how)
{
    struct host *h = host_of(t);
    int rc = host_caps_drop(h, file->node, file->fd);
    if (rc < 0)
        return rc;
    bool dropped = kill_begin(file, how);
    ssize_t n = write_flagged(h, file, iov, cnt, off, how);
    if (dropped)
        host_fsetid_restore();
    return n;
}

off_t host_lseek(struct tree *t, struct tree_file *file, off_t off, int whence)
{
    off_t at = lseek(file->fd, off, whence);

    (void)t;
    return at < 0 ? -errno : at;
}

int host_fallocate(struct tree *t, struct tree_file *file, int mode, off_t off, off_t len,
                   unsigned how)
{
    int rc = host_caps_drop(host_of(t), file->node, file->fd);
    if (rc < 0)
        return rc;
    bool dropped = kill_begin(file, how);
    do {
        rc = fallocate(file->fd, mode, off, len) == 0 ? 0 : -errno;
    } while (rc == -EINTR);
    if (dropped)
        host_fsetid_restore();
    return rc < 0 ? rc : sync_as(file->fd, how);
}

ssize_t host_copy(struct tree *t, struct tree_file *in, off_t off_in, struct tree_file *out,
                  off_t off_out, size_t len, unsigned how)
{
    int rc = host_caps_drop(host_of(t), out->node, out->fd);
    if (rc < 0)
        return rc;
    bool dropped = kill_begin(out, how);
    ssize_t n = copy_file_range(in->fd, &off_in, out->fd, &off_out, MIN(len, (size_t)SSIZE_MAX), 0);
    if (n < 0)
        n = -errno;
    if (dropped)
        host_fsetid_restore();
    rc = n > 0 ? sync_as(out->fd, how) : 0;
    return rc < 0 ? rc : n;
}

int host_fsync(struct tree *t, struct tree_file *file, bool datasync)
{
    int rc = datasync ? fdatasync(file->fd) : fsync(file->fd);

    (void)t;
    return rc == 0 ? 0 : -errno;
}

int host_syncfs(struct tree *t, struct tree_node *node)
{
    /* syncfs() wants a real descriptor; any on that mount will do. */
    int anchor = atomic_load(&host_mnt(node)->fd);
    if (anchor >= 0)
        return syncfs(anchor) == 0 ? 0 : -errno;
    AUTO_FD int fd = host_open_node(host_of(t), node, O_RDONLY);
    if (fd < 0)
        return fd;
    return syncfs(fd) == 0 ? 0 : -errno;
}

int host_flock(struct tree *t, struct tree_file *file, int op)
{
    (void)t;
    return flock(file->fd, op) == 0 ? 0 : -errno;
}
