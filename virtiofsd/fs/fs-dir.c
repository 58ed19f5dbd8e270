/* SPDX-License-Identifier: BSD-3-Clause
 * Reading directories.
 *
 * Entries come from the kernel in blocks of BUF_SIZE and are handed out from there over as many
 * calls as the caller needs; a seek happens only when the caller asks for another place than the
 * one where it stopped. Buffers exist from the first read to the end of the directory, and only so
 * many of them: a guest that opens a million directories and reads one entry of each gets none,
 * and pays with more system calls. */
#include "virtiofsd/fs/fs-priv.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/syscall.h>

#define BUF_SIZE (32 * 1024)
#define BUFS_MAX 1024

/* Room that one entry takes in a reply, about: head and name, padded. */
#define COST_PLAIN 24
#define COST_PLUS  152

struct dirent64_raw { /* struct linux_dirent64 of getdents64(2) */
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

struct fs_dir {
    pthread_mutex_t lock;
    char *buf; /* NULL or BUF_SIZE */
    size_t len, pos;
    uint64_t at;     /* offset of the entry at pos */
    uint64_t kernel; /* where the descriptor stands */
    bool end;        /* nothing follows kernel */
};

struct fs_dir *fs_dir_new(void)
{
    struct fs_dir *d = g_new0(struct fs_dir, 1);
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

static void drop_buf(struct fs *fs, struct fs_dir *d)
{
    if (!d->buf)
        return;
    free(d->buf);
    d->buf = NULL;
    atomic_fetch_sub(&fs->tree->dir_bufs, 1);
}

void fs_dir_free(struct fs *fs, struct fs_dir *d)
{
    drop_buf(fs, d);
    pthread_mutex_destroy(&d->lock);
    g_free(d);
}

static void take_buf(struct fs *fs, struct fs_dir *d)
{
    if (atomic_fetch_add(&fs->tree->dir_bufs, 1) < BUFS_MAX)
        d->buf = malloc(BUF_SIZE);
    if (!d->buf)
        atomic_fetch_sub(&fs->tree->dir_bufs, 1);
}

/* What a read in progress works on. */
struct reading {
    struct fs *fs;
    struct fs_inode *inode;
    struct fs_dir *d;
    int fd;
    char *buf;
    bool plus;
    size_t room;
    fs_dirent_fn *fn;
    void *user;
};

/* Go to @off: nothing to do when that is where the last call stopped. */
static int seek_to(struct reading *r, uint64_t off)
{
    struct fs_dir *d = r->d;

    if (off == d->at && d->pos < d->len && off != 0)
        return 0;
    d->len = d->pos = 0;
    /* From the start always by a seek (unless nothing was read yet): that shows new entries. */
    if (off != d->kernel || (off == 0 && d->end)) {
        if (off > INT64_MAX || lseek(r->fd, (off_t)off, SEEK_SET) < 0)
            return -EINVAL;
        d->kernel = off;
        d->end = false;
    }
    d->at = off;
    return 0;
}

/* Next block. 1 = there are entries, 0 = end, or -errno. */
static int fill(struct reading *r)
{
    struct fs_dir *d = r->d;

    if (d->end)
        return 0;
    long n = syscall(SYS_getdents64, r->fd, r->buf, BUF_SIZE);
    if (n < 0)
        return errno == ENOENT ? 0 : -errno; /* removed while open */
    d->len = (size_t)n;
    d->pos = 0;
    if (n == 0) {
        d->end = true;
        return 0;
    }
    for (size_t p = 0; p < d->len;) {
        const struct dirent64_raw *e = (const void *)(r->buf + p);
        d->kernel = (uint64_t)e->off;
        p += e->reclen;
    }
    return 1;
}

/* The entry for a plus reading: 0 with a reference in *out, 1 = list it without, -ENOENT = it is
 * gone, leave it out. */
static int look_up(struct reading *r, const struct dirent64_raw *e, struct fs_entry *out)
{
    bool isnew;
    bool stat_first =
        fs_handles_by_name(r->fs, r->inode->mnt) || fs_inode_known(r->fs, r->inode, e->ino);
    int rc = stat_first ? fs_lookup_stat(r->fs, r->inode, e->name, out, &isnew)
                        : fs_lookup_open(r->fs, r->inode, e->name, out, &isnew, NULL);
    return rc < 0 && rc != -ENOENT ? 1 : rc;
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Hand one entry out. Returns false when the caller has enough. */
static bool emit(struct reading *r, const struct dirent64_raw *e)
{
    struct fs_entry entry;
    bool dots = is_dots(e->name);
    struct fs_dirent d = {
        .ino = e->ino,
        .off = (uint64_t)e->off,
        .type = dots ? DT_DIR : e->type, /* some file systems do not say */
        .name = e->name,
        .name_len = strlen(e->name),
    };
    size_t cost = (r->plus ? COST_PLUS : COST_PLAIN) + ((d.name_len + 7) & ~(size_t)7);

    if (cost > r->room)
        return false;
    if (dots && e->name[1] && r->inode == r->fs->root)
        d.ino = r->inode->ino; /* what is above is not the guest's business */
    int rc = r->plus && !dots ? look_up(r, e, &entry) : 1;
    if (rc == -ENOENT)
        return true;
    if (rc == 0) { /* the name may mean another file than when it was listed */
        d.ino = entry.attr.st.st_ino;
        d.type = (unsigned)fs_inode_type(entry.inode) >> 12;
    }
    if (!r->fn(r->user, &d, rc == 0 ? &entry : NULL)) {
        if (rc == 0)
            fs_inode_put(r->fs, entry.inode);
        return false;
    }
    r->room -= cost;
    return true;
}

static int read_entries(struct reading *r)
{
    struct fs_dir *d = r->d;

    for (;;) {
        while (d->pos < d->len) {
            const struct dirent64_raw *e = (const void *)(r->buf + d->pos);
            if (!emit(r, e))
                return 0;
            d->pos += e->reclen;
            d->at = (uint64_t)e->off;
        }
        int rc = fill(r);
        if (rc <= 0)
            return rc;
    }
}

static int read_from(struct reading *r, uint64_t off)
{
    int rc = seek_to(r, off);
    return rc < 0 ? rc : read_entries(r);
}

/* Without a kept buffer; not inlined, so that only this path pays for the stack. */
static __attribute__((noinline)) int read_local(struct reading *r, uint64_t off)
{
    _Alignas(struct dirent64_raw) char local[BUF_SIZE];
    r->buf = local;
    int rc = read_from(r, off);
    r->d->len = r->d->pos = 0; /* the block goes away with this call */
    r->buf = NULL;
    return rc;
}

int fs_readdir(struct fs *fs, struct fs_inode *inode, struct fs_file *file, uint64_t off, bool plus,
               size_t budget, fs_dirent_fn *fn, void *user)
{
    struct fs_dir *d = file->dir;
    if (!d)
        return -ENOTDIR;

    AUTO_LOCK(&d->lock);
    if (!d->buf && !(d->end && off == d->kernel))
        take_buf(fs, d);
    struct reading r = {
        .fs = fs,
        .inode = inode,
        .d = d,
        .fd = file->fd,
        .buf = d->buf,
        .plus = plus,
        .room = budget,
        .fn = fn,
        .user = user,
    };
    int rc = d->buf ? read_from(&r, off) : read_local(&r, off);
    if (d->end && d->pos == d->len)
        drop_buf(fs, d);
    return rc;
}
