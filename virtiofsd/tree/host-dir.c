/* SPDX-License-Identifier: BSD-3-Clause
 * Reading directories of the host.
 *
 * Entries come from the kernel in blocks of BUF_SIZE and are handed out from there over as many
 * calls as the caller needs; a seek happens only when the caller asks for another place than the
 * one where it stopped. Buffers exist from the first read to the end of the directory, and only so
 * many of them: a guest that opens a million directories and reads one entry of each gets none,
 * and pays with more system calls. */
/* #syscalls getdents64 lseek */
#include "virtiofsd/tree/host-priv.h"

#include <stdlib.h>
#include <sys/syscall.h>

#define BUF_SIZE (32 * 1024)
#define BUFS_MAX 1024

struct dirent64_raw { /* struct linux_dirent64 of getdents64(2) */
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

struct host_dir {
    pthread_mutex_t lock;
    char *buf; /* NULL or BUF_SIZE */
    size_t len, pos;
    uint64_t at;     /* offset of the entry at pos */
    uint64_t kernel; /* where the descriptor stands */
    bool end;        /* nothing follows kernel */
};

void *host_dir_new(void)
{
    struct host_dir *d = g_new0(struct host_dir, 1);
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

static void drop_buf(struct host *h, struct host_dir *d)
{
    if (!d->buf)
        return;
    free(d->buf);
    d->buf = NULL;
    atomic_fetch_sub(&h->dir_bufs, 1);
}

void host_dir_free(struct host *h, struct host_dir *d)
{
    drop_buf(h, d);
    pthread_mutex_destroy(&d->lock);
    g_free(d);
}

static void take_buf(struct host *h, struct host_dir *d)
{
    if (atomic_fetch_add(&h->dir_bufs, 1) < BUFS_MAX)
        d->buf = malloc(BUF_SIZE);
    if (!d->buf)
        atomic_fetch_sub(&h->dir_bufs, 1);
}

/* What a read in progress works on. */
struct reading {
    struct host_dir *d;
    int fd;
    char *buf;
    tree_dirent_fn *fn;
    void *user;
};

/* Go to @off: nothing to do when that is where the last call stopped. */
static int seek_to(struct reading *r, uint64_t off)
{
    struct host_dir *d = r->d;

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
    struct host_dir *d = r->d;

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

static int read_entries(struct reading *r)
{
    struct host_dir *d = r->d;

    for (;;) {
        while (d->pos < d->len) {
            const struct dirent64_raw *e = (const void *)(r->buf + d->pos);
            struct tree_dirent out = {
                .ino = e->ino, .off = (uint64_t)e->off, .type = e->type, .name = e->name};
            if (!r->fn(r->user, &out))
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

int host_readdir(struct tree *t, struct tree_file *file, uint64_t off, tree_dirent_fn *fn,
                 void *user)
{
    struct host *h = host_of(t);
    struct host_dir *d = atomic_load_explicit(&file->own, memory_order_relaxed);

    AUTO_LOCK(&d->lock);
    if (!d->buf && !(d->end && off == d->kernel))
        take_buf(h, d);
    struct reading r = {.d = d, .fd = file->fd, .buf = d->buf, .fn = fn, .user = user};
    int rc = d->buf ? read_from(&r, off) : read_local(&r, off);
    if (d->end && d->pos == d->len)
        drop_buf(h, d);
    return rc;
}
