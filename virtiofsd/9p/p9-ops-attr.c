/* SPDX-License-Identifier: BSD-3-Clause
 * Messages about attributes. */
#include <errno.h>
#include <limits.h>
#include <sys/sysmacros.h>

#include "virtiofsd/9p/p9-priv.h"

/* What statfs(2) shows as the kind of file system: the client's own. */
#define V9FS_MAGIC 0x01021997u

static void put_time(struct p9_out *out, const struct timespec *t)
{
    p9_put64(out, (uint64_t)t->tv_sec);
    p9_put64(out, (uint64_t)t->tv_nsec);
}

/* Tells a file from an earlier one of the same number; 0 = unknown. Linux keeps 32 bits of it. */
static uint32_t generation(const struct timespec *btime)
{
    uint64_t ns = (uint64_t)btime->tv_sec * 1000000000u + (uint64_t)btime->tv_nsec;
    return (uint32_t)((ns * 0x9e3779b97f4a7c15u) >> 32);
}

static void put_attr(struct p9_rq *rq, uint64_t asked, const struct fs_attr *attr)
{
    const struct stat *st = &attr->st;
    struct p9_out *out = &rq->out;
    struct p9_qid qid = p9_rq_qid(rq, attr);
    uint32_t gen = generation(&attr->btime);
    uint64_t more = gen != 0 ? P9_GETATTR_BTIME | P9_GETATTR_GEN : 0;

    p9_put64(out, P9_GETATTR_BASIC | (asked & more));
    p9_put_qid(out, &qid);
    p9_put32(out, st->st_mode);
    p9_put32(out, st->st_uid);
    p9_put32(out, st->st_gid);
    p9_put64(out, st->st_nlink);
    p9_put64(out, (uint64_t)minor(st->st_rdev) % 256 | (uint64_t)(major(st->st_rdev) & 0xfff) << 8 |
                      (uint64_t)(minor(st->st_rdev) & ~0xffu) << 12);
    p9_put64(out, (uint64_t)st->st_size);
    p9_put64(out, (uint64_t)st->st_blksize);
    p9_put64(out, (uint64_t)st->st_blocks);
    put_time(out, &st->st_atim);
    put_time(out, &st->st_mtim);
    put_time(out, &st->st_ctim);
    put_time(out, &attr->btime);
    p9_put64(out, gen);
    p9_put64(out, 0); /* no data version */
}

int p9_do_getattr(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    uint64_t asked = p9_get64(&rq->in);
    struct fs_attr attr;
    int rc = fid ? fs_getattr(rq->fs, fid->inode, fid->file, &attr) : -EBADF;

    if (rc == 0)
        put_attr(rq, asked, &attr);
    p9_rq_put(rq, fid);
    return rc;
}

/* A time without its SET bit is now. */
static unsigned time_bit(uint32_t valid, uint32_t bit, uint32_t given, unsigned set, unsigned now)
{
    return !(valid & bit) ? 0 : valid & given ? set : now;
}

static void read_setattr(struct p9_in *in, bool kill, struct fs_setattr *set)
{
    uint32_t valid = p9_get32(in);

    *set = (struct fs_setattr){.mode = p9_get32(in)};
    set->uid = p9_get32(in);
    set->gid = p9_get32(in);
    set->size = (off_t)p9_get64(in);
    set->atime.tv_sec = (time_t)p9_get64(in);
    set->atime.tv_nsec = (long)p9_get64(in);
    set->mtime.tv_sec = (time_t)p9_get64(in);
    set->mtime.tv_nsec = (long)p9_get64(in);
    set->valid =
        (valid & P9_SETATTR_MODE ? FS_SET_MODE : 0u) | (valid & P9_SETATTR_UID ? FS_SET_UID : 0u) |
        (valid & P9_SETATTR_GID ? FS_SET_GID : 0u) | (valid & P9_SETATTR_SIZE ? FS_SET_SIZE : 0u) |
        (kill && (valid & P9_SETATTR_SIZE) ? FS_SET_KILL_SUIDGID : 0u) |
        time_bit(valid, P9_SETATTR_ATIME, P9_SETATTR_ATIME_SET, FS_SET_ATIME, FS_SET_ATIME_NOW) |
        time_bit(valid, P9_SETATTR_MTIME, P9_SETATTR_MTIME_SET, FS_SET_MTIME, FS_SET_MTIME_NOW);
}

int p9_do_setattr(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    struct fs_setattr set;
    struct fs_attr attr;
    int rc = fid ? 0 : -EBADF;

    if (rc == 0) {
        read_setattr(&rq->in, p9_fid_kills(fid), &set);
        rc = p9_may_set(rq, fid, &set);
    }
    if (rc == 0)
        rc = fs_setattr(rq->fs, fid->inode, fid->file, &set, &attr);
    p9_rq_put(rq, fid);
    return rc;
}

/* The client has one size for blocks: the one in which they are counted. */
int p9_do_statfs(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    struct statvfs st;
    int rc = fid ? fs_statfs(rq->fs, fid->inode, &st) : -EBADF;

    p9_rq_put(rq, fid);
    if (rc < 0)
        return rc;
    p9_put32(&rq->out, V9FS_MAGIC);
    p9_put32(&rq->out, (uint32_t)(st.f_frsize ? st.f_frsize : st.f_bsize));
    p9_put64(&rq->out, st.f_blocks);
    p9_put64(&rq->out, st.f_bfree);
    p9_put64(&rq->out, st.f_bavail);
    p9_put64(&rq->out, st.f_files);
    p9_put64(&rq->out, st.f_ffree);
    p9_put64(&rq->out, st.f_fsid);
    p9_put32(&rq->out, (uint32_t)st.f_namemax);
    return 0;
}

int p9_do_readlink(struct p9_rq *rq)
{
    struct p9_fid *fid = p9_rq_fid(rq);
    char target[PATH_MAX];
    ssize_t n = fid ? fs_readlink(rq->fs, fid->inode, target, sizeof(target)) : -EBADF;

    p9_rq_put(rq, fid);
    if (n < 0)
        return (int)n;
    p9_put_str(&rq->out, target, (size_t)n);
    return 0;
}
