/* SPDX-License-Identifier: BSD-3-Clause
 * Opening regular files and directories by reference, never by name, and never anything else. */
#include "virtiofsd/fs/fs-priv.h"

#include <time.h>

/* Time stamps come from a clock that may lag this much: a file changed that lately can change
 * again and keep its stamps. */
#define COARSE_NS 10000000LL

/* Which open(2) flags of the guest its descriptor gets, and when. The values are those of the
 * guest's architecture, which is ours. O_APPEND, O_SYNC, O_DSYNC and O_DIRECT are not here: each
 * request says anew whether they hold. */
int fs_open_flags(const struct fs *fs, int flags)
{
    int acc = flags & O_ACCMODE;
    int out = flags & O_TRUNC;

    if (acc == O_ACCMODE || (flags & O_CREAT))
        return -EINVAL;
    if (fs->cfg.readonly && (acc != O_RDONLY || (flags & O_TRUNC)))
        return -EROFS;
    if (fs->writeback && acc == O_WRONLY)
        acc = O_RDWR; /* the guest reads pages to fill them */
    if (fs->cfg.preserve_noatime)
        out |= flags & O_NOATIME;
    return out | acc;
}

/* Through the link in /proc/self/fd, which leads to the inode that the descriptor refers to. */
static int open_ref(struct fs *fs, int ref, int flags)
{
    char num[FD_NAME_LEN];
    int fd = openat(fs->cfg.proc_self_fd, fs_fd_name(num, ref), flags | O_CLOEXEC);

    return fd < 0 ? fs_open_errno() : fd;
}

/* What the handle leads to is judged by a reference, and that is what is opened. */
static int open_unproved(struct fs *fs, struct fs_inode *inode, int flags)
{
    AUTO_FD int ref = fs_handle_open(fs, inode, O_PATH | O_NOFOLLOW);
    if (ref < 0)
        return ref;
    /* While it is held the handle leads nowhere else, and that is faster than through /proc. */
    int fd = fs_inode_proved(inode) ? fs_handle_open(fs, inode, flags) : -EPERM;
    return fd != -EPERM ? fd : open_ref(fs, ref, flags);
}

int fs_inode_open(struct fs *fs, struct fs_inode *inode, int flags)
{
    if (!fs_inode_openable(inode))
        return fs_inode_is(inode, S_IFLNK) ? -ELOOP : -ENXIO;
    /* Held by its handle only: that opens it just as well, once it is proved to be the one. */
    if (fs_state_fd(atomic_load_explicit(&inode->state, memory_order_acquire)) < 0) {
        bool proved = fs_inode_proved(inode);
        if (!proved && !fs_inode_is(inode, S_IFDIR)) /* that will want a reference of its own */
            return open_unproved(fs, inode, flags);
        int fd = proved ? fs_handle_open(fs, inode, flags) : -EPERM;
        if (fd != -EPERM)
            return fd;
    }
    int ref = fs_inode_fd(fs, inode);
    return ref < 0 ? ref : open_ref(fs, ref, flags);
}

/* ---- whether the guest's page cache is still good ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h ^= v;
    h *= 0x9fb21c651e98df25u;
    return h ^ (h >> 32);
}

/* A guest may set any year: what does not fit becomes the end of time. */
static int64_t ns_of(int64_t sec, int64_t nsec)
{
    int64_t ns;
    if (__builtin_mul_overflow(sec, (int64_t)1000000000, &ns) ||
        __builtin_add_overflow(ns, nsec, &ns))
        return sec < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

/* Digest of what changes when a file does; 0 when the stamps are so young that the next change
 * might not show in them. */
static uint64_t digest(int64_t mtime, int64_t ctime, int64_t size)
{
    struct timespec now;
    uint64_t h =
        mix(mix(mix(0x243f6a8885a308d3u, (uint64_t)mtime), (uint64_t)ctime), (uint64_t)size);

    clock_gettime(CLOCK_REALTIME, &now);
    if (MAX(mtime, ctime) >= ns_of(now.tv_sec, now.tv_nsec) - COARSE_NS)
        return 0;
    return h ? h : 1;
}

uint64_t fs_digest(const struct statx *stx)
{
    return digest(ns_of(stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec),
                  ns_of(stx->stx_ctime.tv_sec, stx->stx_ctime.tv_nsec), (int64_t)stx->stx_size);
}

static bool keep_cache(struct fs *fs, struct fs_inode *inode, int fd)
{
    struct stat st;

    if (fs->cfg.cache == FS_CACHE_ALWAYS)
        return true;
    if (fs->cfg.cache != FS_CACHE_AUTO)
        return false;
    /* At the first open the guest has nothing cached, and what was seen when it looked the file up
     * is no newer than what it is going to read: no need to look again. */
    uint64_t then = atomic_load_explicit(&inode->seen, memory_order_relaxed);
    if (!(atomic_fetch_or_explicit(&inode->flags, INODE_OPENED, memory_order_relaxed) &
          INODE_OPENED) &&
        then != 0)
        return false;
    if (fstat(fd, &st) != 0)
        return false;
    uint64_t now = digest(ns_of(st.st_mtim.tv_sec, st.st_mtim.tv_nsec),
                          ns_of(st.st_ctim.tv_sec, st.st_ctim.tv_nsec), st.st_size);
    then = atomic_exchange_explicit(&inode->seen, now, memory_order_relaxed);
    return now != 0 && then == now;
}

/* ---- the verbs ---- */

/* Open with *flags, less O_NOATIME where we do not own the file, and with O_APPEND where it is
 * append-only and the guest @asked for that. Returns the descriptor or -errno; *flags are those
 * that it has. */
static int open_as(struct fs *fs, struct fs_inode *inode, int *flags, int asked)
{
    int fd = fs_inode_open(fs, inode, *flags);

    if (fd == -EPERM && (*flags & O_NOATIME)) {
        *flags &= ~O_NOATIME;
        fd = fs_inode_open(fs, inode, *flags);
    }
    if (fd == -EPERM && (asked & O_APPEND) && (*flags & O_ACCMODE) != O_RDONLY) {
        *flags |= O_APPEND;
        fd = fs_inode_open(fs, inode, *flags);
    }
    return fd;
}

/* Empty a file that could be opened with @flags. 0 or -errno. */
static int empty_file(struct fs *fs, struct fs_inode *inode, int flags)
{
    int fd = fs_inode_open(fs, inode, flags | O_TRUNC);
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

/* Open and enter into the table. Returns 0 or -errno. */
static int open_counted(struct fs *fs, struct fs_inode *inode, int *flags, int asked, uint64_t *fh,
                        int *fd)
{
    int rc = fs_fds_take(fs);
    if (rc < 0)
        return rc;
    /* A file that is refused in the end keeps its data: it is emptied when all else is done. */
    bool empty = (*flags & O_TRUNC) && fs_sides_asked(fs, inode, asked);
    if (empty)
        *flags &= ~O_TRUNC;
    *fd = open_as(fs, inode, flags, asked);
    if (*fd < 0) {
        fs_fds_give(fs);
        return *fd;
    }
    rc = fs_file_add(fs, inode, *fd, *flags, asked, fh);
    if (rc == 0)
        rc = fs_open_ready(fs, *fh, asked);
    if (rc == 0 && empty) {
        rc = empty_file(fs, inode, *flags);
        if (rc < 0)
            fs_release(fs, *fh);
    }
    return rc;
}

int fs_open_ready(struct fs *fs, uint64_t fh, int asked)
{
    if (G_LIKELY(!(asked & (O_APPEND | O_DIRECT))))
        return 0;
    struct fs_file *f = fs_file_get(fs, fh, NULL);
    if (!f)
        return -EBADF;
    int rc = fs_sides_ready(fs, f);
    fs_file_put(fs, f);
    if (rc < 0)
        fs_release(fs, fh);
    return rc;
}

int fs_open(struct fs *fs, struct fs_inode *inode, int flags, unsigned how, struct fs_opened *out)
{
    int fd, clean = fs_open_flags(fs, flags);
    if (clean < 0)
        return clean;
    if (fs_inode_is(inode, S_IFDIR))
        return -EISDIR;

    int ref;
    if (G_UNLIKELY(fs->cap_name) && (clean & O_TRUNC) &&
        ((ref = fs_inode_fd(fs, inode)) < 0 || (ref = fs_caps_drop(fs, inode, ref)) < 0))
        return ref;
    struct fs_opened o = {0};
    bool dropped = (how & FS_OPEN_KILL_SUIDGID) && (clean & O_TRUNC) && fs_fsetid_drop();
    int rc = open_counted(fs, inode, &clean, flags, &o.fh, &fd);
    if (dropped)
        fs_fsetid_restore();
    if (rc < 0)
        return rc;
    o.append_only = clean & O_APPEND;
    o.in_order = fs_in_order(flags);
    o.keep_cache = keep_cache(fs, inode, fd);
    *out = o;
    return 0;
}

int fs_opendir(struct fs *fs, struct fs_inode *inode, struct fs_opened *out)
{
    int fd, flags = O_RDONLY | O_DIRECTORY;
    struct fs_opened o = {.keep_cache = fs->cfg.cache == FS_CACHE_ALWAYS};
    if (!fs_inode_is(inode, S_IFDIR))
        return -ENOTDIR;
    int rc = open_counted(fs, inode, &flags, 0, &o.fh, &fd);
    if (rc == 0)
        *out = o;
    return rc;
}
