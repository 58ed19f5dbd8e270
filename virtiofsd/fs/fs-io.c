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

typedef ssize_t rw_fn(int fd, const struct iovec *iov, int cnt, off_t off);

/* One call when there are at most IOV_MAX segments and nothing is in the way. @retry: go on after
 * a short transfer (a write); a short read of a regular file is its end. */
static ssize_t transfer(rw_fn *rw, int fd, struct iovec *iov, unsigned cnt, off_t off, bool retry)
{
    size_t done = 0;

    while (cnt > 0) {
        unsigned part = MIN(cnt, (unsigned)IOV_MAX);
        size_t asked = part < cnt || retry ? iov_len(iov, part) : 0;
        ssize_t n = rw(fd, iov, (int)part, off);
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

ssize_t fs_read(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt, off_t off)
{
    int rc = check_io(file, off);
    return rc < 0 ? rc : transfer(preadv, file->fd, iov, cnt, off, false);
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
    ssize_t n = transfer(pwritev, file->fd, iov, cnt, off, true);
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
    return rc;
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
    return n;
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
