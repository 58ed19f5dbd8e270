/* SPDX-License-Identifier: BSD-3-Clause
 * Data: straight between the caller's segments and the file. */
#include "virtiofsd/base/iov.h"
#include "virtiofsd/fs/fs-priv.h"

#include <limits.h>
#include <linux/falloc.h>

static int check_io(const struct fs_file *file, off_t off)
{
    if (file->is_dir)
        return -EISDIR;
    return off < 0 ? -EINVAL : 0;
}

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
static ssize_t transfer_as(rw_fn *rw, struct fs *fs, struct fs_file *file, struct iovec *iov,
                           unsigned cnt, off_t off, int want, int rwf, bool end)
{
    int matters = O_DIRECT | (rw == put ? O_APPEND : O_NOATIME), got;
    int fd = fs_side(fs, file, want, matters, &got);

    if (fd < 0 || !(got & O_DIRECT))
        return fd < 0 ? fd : transfer(rw, fd, rwf, iov, cnt, off);
    struct pair p = {.direct = fd, .rwf = rwf, .block = fs_side_block(file)};
    p.plain = fs_side(fs, file, want & ~O_DIRECT, matters, &got);
    return p.plain < 0 ? p.plain : transfer_direct(rw, &p, iov, cnt, off, end);
}

/* ---- read, write ---- */

unsigned fs_io_how(int flags)
{
    static const struct {
        int flag;
        unsigned how;
    } table[] = {
        {O_APPEND, FS_WRITE_APPEND}, {O_DIRECT, FS_IO_DIRECT}, {O_NOATIME, FS_IO_NOATIME},
        {O_DSYNC, FS_WRITE_DSYNC},   {O_SYNC, FS_WRITE_SYNC}, /* which has the bit of O_DSYNC */
    };
    unsigned how = 0;

    if (G_LIKELY(!(flags & FS_ASKED_FLAGS)))
        return 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(table); i++)
        how |= (flags & table[i].flag) == table[i].flag ? table[i].how : 0;
    return how;
}

unsigned fs_file_how(const struct fs_file *file)
{
    return fs_io_how(file->asked);
}

ssize_t fs_read(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt, off_t off,
                unsigned how)
{
    int rc = check_io(file, off);
    if (rc < 0)
        return rc;
    int want = file->kind & O_APPEND;
    if (G_UNLIKELY(how & FS_IO_DIRECT) && fs->cfg.allow_direct_io)
        want |= O_DIRECT;
    if (G_UNLIKELY(how & FS_IO_NOATIME) && fs->cfg.preserve_noatime)
        want |= O_NOATIME;
    if (G_LIKELY(want == file->kind))
        return transfer(get, file->fd, 0, iov, cnt, off);
    return transfer_as(get, fs, file, iov, cnt, off, want, 0, false);
}

/* Whether a write has to clear something. The flag comes with every write of an unprivileged
 * process; files with these bits are rare. */
static bool has_suidgid(int fd)
{
    struct stat st;
    return fstat(fd, &st) != 0 || (st.st_mode & (S_ISUID | S_ISGID));
}

/* Let the host's kernel clear the bits of @file during the next call, where that is asked for.
 * Returns whether fs_fsetid_restore() must follow. */
static bool kill_begin(struct fs_file *file, unsigned how)
{
    return G_UNLIKELY(how & FS_WRITE_KILL_SUIDGID) && has_suidgid(file->fd) && fs_fsetid_drop();
}

/* fdatasync(2) or fsync(2), as @how says. 0 or -errno. */
static int sync_as(int fd, unsigned how)
{
    int rc = how & FS_WRITE_SYNC ? fsync(fd) : how & FS_WRITE_DSYNC ? fdatasync(fd) : 0;
    return rc == 0 ? 0 : -errno;
}

/* A write for which it matters how. -EOPNOTSUPP: the kernel has no such flags. */
static ssize_t write_as(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt,
                        off_t off, unsigned how)
{
    bool end = how & FS_WRITE_APPEND, plain = atomic_load(&fs->no_rwf);
    int want = 0, rwf = 0;

    if (end && ((file->kind & O_APPEND) || fs_appends_by_fd(fs, file)))
        want |= O_APPEND;
    else if (end)
        rwf |= RWF_APPEND;
    if ((how & FS_IO_DIRECT) && fs->cfg.allow_direct_io)
        want |= O_DIRECT;
    if (!plain && (how & (FS_WRITE_SYNC | FS_WRITE_DSYNC)))
        rwf |= how & FS_WRITE_SYNC ? RWF_SYNC : RWF_DSYNC;
    ssize_t n = transfer_as(put, fs, file, iov, cnt, off, want, rwf, end);
    if (n == -EOPNOTSUPP && rwf != 0)
        atomic_store(&fs->no_rwf, true);
    int rc = plain && n > 0 ? sync_as(file->fd, how) : 0;
    return rc < 0 ? rc : n;
}

#define WRITE_PLAIN (~(unsigned)(FS_WRITE_APPEND | FS_WRITE_SYNC | FS_WRITE_DSYNC | FS_IO_DIRECT))

/* What of @how holds. A delayed write was placed by the guest, and by any handle; so is every
 * append where writes are delayed at all, but to a file that takes nothing else. */
static unsigned how_indeed(const struct fs *fs, const struct fs_file *file, unsigned how)
{
    if (how & FS_WRITE_CACHE)
        how &= WRITE_PLAIN;
    if (fs->writeback && !(file->kind & O_APPEND))
        how &= ~(unsigned)FS_WRITE_APPEND;
    return how;
}

static ssize_t write_checked(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt,
                             off_t off, unsigned how)
{
    how = how_indeed(fs, file, how);
    if (G_LIKELY(!(how & ~WRITE_PLAIN) && !(file->kind & O_APPEND)))
        return transfer(put, file->fd, 0, iov, cnt, off);
    ssize_t n = write_as(fs, file, iov, cnt, off, how);
    return n == -EOPNOTSUPP && atomic_load(&fs->no_rwf) ? write_as(fs, file, iov, cnt, off, how)
                                                        : n;
}

ssize_t fs_write(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt, off_t off,
                 unsigned how)
{
    int rc = check_io(file, off);
    if (rc < 0)
        return rc;
    if (fs->cfg.readonly)
        return -EROFS;
    rc = fs_caps_drop(fs, file->inode, file->fd);
    if (rc < 0)
        return rc;
    bool dropped = kill_begin(file, how);
    ssize_t n = write_checked(fs, file, iov, cnt, off, how);
    if (dropped)
        fs_fsetid_restore();
    return n;
}

off_t fs_lseek(struct fs *fs, struct fs_file *file, off_t off, int whence)
{
    if (file->is_dir)
        return -EISDIR;
    /* There is no position to be relative to: the guest keeps it. */
    if (whence != SEEK_DATA && whence != SEEK_HOLE && whence != SEEK_SET && whence != SEEK_END)
        return -EINVAL;
    off_t at = lseek(file->fd, off, whence);
    return at < 0 ? -errno : at;
}

int fs_fallocate(struct fs *fs, struct fs_file *file, int mode, off_t off, off_t len, unsigned how)
{
    const int modes = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
                      FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
    int rc = check_io(file, off);
    if (rc < 0)
        return rc;
    if (fs->cfg.readonly)
        return -EROFS;
    if (mode & ~modes)
        return -EOPNOTSUPP;
    rc = fs_caps_drop(fs, file->inode, file->fd);
    if (rc < 0)
        return rc;
    bool dropped = kill_begin(file, how);
    do {
        rc = fallocate(file->fd, mode, off, len) == 0 ? 0 : -errno;
    } while (rc == -EINTR);
    if (dropped)
        fs_fsetid_restore();
    return rc < 0 ? rc : sync_as(file->fd, fs_file_how(file));
}

ssize_t fs_copy_range(struct fs *fs, struct fs_file *in, off_t off_in, struct fs_file *out,
                      off_t off_out, size_t len, unsigned flags, unsigned how)
{
    int rc = check_io(in, off_in);
    if (rc == 0)
        rc = check_io(out, off_out);
    if (rc < 0)
        return rc;
    if (flags != 0)
        return -EINVAL;
    if (fs->cfg.readonly)
        return -EROFS;
    rc = fs_caps_drop(fs, out->inode, out->fd);
    if (rc < 0)
        return rc;
    bool dropped = kill_begin(out, how);
    ssize_t n = copy_file_range(in->fd, &off_in, out->fd, &off_out, MIN(len, (size_t)SSIZE_MAX), 0);
    if (n < 0)
        n = -errno;
    if (dropped)
        fs_fsetid_restore();
    rc = n > 0 ? sync_as(out->fd, fs_file_how(out)) : 0;
    return rc < 0 ? rc : n;
}

int fs_fsync(struct fs *fs, struct fs_file *file, bool datasync)
{
    int rc = datasync ? fdatasync(file->fd) : fsync(file->fd);
    return rc == 0 ? 0 : -errno;
}

int fs_syncfs(struct fs *fs, struct fs_inode *inode)
{
    /* syncfs() wants a real descriptor; any on that mount will do. */
    int anchor = atomic_load(&inode->mnt->fd);
    if (anchor >= 0)
        return syncfs(anchor) == 0 ? 0 : -errno;
    AUTO_FD int fd = fs_inode_open(fs, inode, O_RDONLY);
    if (fd < 0)
        return fd;
    return syncfs(fd) == 0 ? 0 : -errno;
}

/* ---- close ---- */

bool fs_close_speaks(struct fs *fs)
{
    return fs_mount_kind(fs, fs->root) & FS_MAP_SLOW;
}

int fs_close_error(struct fs *fs, struct fs_file *file)
{
    if (!(fs_mount_kind(fs, file->inode) & FS_MAP_SLOW))
        return 0;
    int fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return 0; /* no descriptor to ask with: the last close will not tell either */
    return close(fd) == 0 ? 0 : -errno;
}
