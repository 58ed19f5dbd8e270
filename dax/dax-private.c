/* SPDX-License-Identifier: BSD-3-Clause
 * Pages of our own in place of what the front-end cannot map. Three copies of each byte: the
 * file's, the one the guest sees (pool) and what both were when they were last alike (baseline). A
 * byte that differs from the baseline in the pool was stored by the guest, one that differs in the
 * file was changed by others. Only bytes that differ are ever written: the guest stores at any
 * moment. */
/* #syscalls close fallocate fcntl fstat ftruncate memfd_create pread64 pwrite64 */
#include "dax/dax-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes compared at a time. */
#define CHUNK 16384

struct bufs {
    uint8_t pool[CHUNK], baseline[CHUNK], file[CHUNK];
};

/* What is looked at: the file's size as it is now, and which of its bytes. */
struct look {
    uint64_t size;
    struct dax_span span;
};

static int sparse_memfd(const char *name, uint64_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    /* Whoever maps it must not make it shorter under us or longer than the window. */
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

int dax_private_open(struct dax_window *w)
{
    w->pool = sparse_memfd("dax-pool", w->cfg.size);
    if (w->pool < 0)
        return w->pool;
    w->baseline = sparse_memfd("dax-baseline", w->cfg.size);
    return MIN(w->baseline, 0);
}

static int punch(int fd, uint64_t at, uint64_t len)
{
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return fallocate(fd, mode, (off_t)at, (off_t)len) < 0 ? -errno : 0;
}

int dax_private_clear(struct dax_window *w, uint64_t at, uint64_t len)
{
    int rc = punch(w->pool, at, len);
    int rc2 = punch(w->baseline, at, len);
    return rc ? rc : rc2;
}

/* Up to @len bytes; fewer only at the end of the file. The count, or -errno. */
static ssize_t read_full(int fd, uint8_t *buf, size_t len, uint64_t at)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pread(fd, buf + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int write_full(int fd, const uint8_t *buf, size_t len, uint64_t at)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(fd, buf + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        done += (size_t)n;
    }
    return 0;
}

/* Pool and baseline of @len bytes at window offset @at. */
static int read_pages(struct dax_window *w, struct bufs *b, uint64_t at, size_t len)
{
    ssize_t n = read_full(w->pool, b->pool, len, at);
    if (n == (ssize_t)len)
        n = read_full(w->baseline, b->baseline, len, at);
    if (n < 0)
        return (int)n;
    return n == (ssize_t)len ? 0 : -EIO;
}

/* The next run of bytes in which @a and @b differ, from *@i on; false when there is none. */
static bool next_run(const uint8_t *a, const uint8_t *b, size_t len, size_t *i, size_t *end)
{
    while (*i < len && a[*i] == b[*i])
        ++*i;
    for (*end = *i; *end < len && a[*end] != b[*end];)
        ++*end;
    return *end > *i;
}

/* Write @now over @old where they differ. */
static int write_runs(int fd, const uint8_t *old, const uint8_t *now, size_t len, uint64_t at)
{
    int rc = 0;
    if (memcmp(old, now, len) == 0)
        return 0;
    for (size_t i = 0, end; rc == 0 && next_run(old, now, len, &i, &end); i = end)
        rc = write_full(fd, now + i, end - i, at + i);
    return rc;
}

/* The guest's stores in @len bytes to the file at @pos. The file's bytes are written before the
 * baseline's: what fails is tried again. Returns 1 when there were any, 0, or -errno. */
static int push_chunk(struct dax_window *w, const struct dax_file *f, struct bufs *b, uint64_t at,
                      uint64_t pos, size_t len)
{
    int rc = read_pages(w, b, at, len);
    atomic_fetch_add(&w->compared, len);
    if (rc || memcmp(b->pool, b->baseline, len) == 0)
        return rc;
    rc = write_runs(f->fd, b->baseline, b->pool, len, pos);
    if (rc == 0)
        rc = write_runs(w->baseline, b->baseline, b->pool, len, at);
    return rc ? rc : 1;
}

/* The file's bytes to the private page. Of the first @shared bytes, those that the guest has stored
 * and that were not written back yet stay. */
static int pull_chunk(struct dax_window *w, const struct dax_file *f, struct bufs *b, uint64_t at,
                      uint64_t pos, size_t len, size_t shared)
{
    ssize_t n = read_full(f->fd, b->file, len, pos);
    atomic_fetch_add(&w->compared, len);
    if (n <= 0)
        return (int)n;
    len = (size_t)n; /* shorter meanwhile: the next look finds the new size */
    int rc = read_pages(w, b, at, len);
    if (rc)
        return rc;
    shared = MIN(shared, len);
    for (size_t i = 0; i < shared; i++)
        if (b->pool[i] != b->baseline[i])
            b->file[i] = b->pool[i];
    rc = write_runs(w->pool, b->pool, b->file, len, at);
    for (size_t i = 0; i < shared; i++)
        if (b->pool[i] != b->baseline[i])
            b->file[i] = b->baseline[i];
    return rc ? rc : write_runs(w->baseline, b->baseline, b->file, len, at);
}

/* Where a private piece is in its file, and how much of it. */
static uint64_t piece_pos(const struct dax_slot *s, const struct dax_piece *p)
{
    return s->foffset + (p->at - s->moffset);
}

static uint64_t piece_inside(const struct dax_slot *s, const struct dax_piece *p, uint64_t size)
{
    uint64_t pos = piece_pos(s, p);
    return size > pos ? MIN(size - pos, p->len) : 0;
}

/* What of @len bytes from @pos on is in @span, counted from @pos. */
static struct dax_span clip(struct dax_span span, uint64_t pos, uint64_t len)
{
    return (struct dax_span){span.from > pos ? MIN(span.from - pos, len) : 0,
                             span.to > pos ? MIN(span.to - pos, len) : 0};
}

static int push_piece(struct dax_window *w, struct dax_file *f, struct bufs *b,
                      const struct dax_slot *s, const struct dax_piece *p, const struct look *l)
{
    uint64_t len = piece_inside(s, p, MIN(l->size, f->valid)), pos = piece_pos(s, p);
    struct dax_span in = clip(l->span, pos, len);
    int any = 0;
    if (p->uncopied || !s->write)
        return 0;
    for (uint64_t i = in.from; i < in.to; i += CHUNK) {
        int rc = push_chunk(w, f, b, p->at + i, pos + i, MIN(CHUNK, in.to - i));
        if (rc < 0)
            return rc;
        any |= rc;
    }
    return any;
}

static int pull_piece(struct dax_window *w, struct dax_file *f, struct bufs *b,
                      const struct dax_slot *s, struct dax_piece *p, const struct look *l)
{
    uint64_t len = piece_inside(s, p, l->size), pos = piece_pos(s, p);
    struct dax_span in = clip(p->uncopied ? DAX_ALL : l->span, pos, len);
    uint64_t before = p->uncopied ? 0 : piece_inside(s, p, f->valid);
    uint64_t shared = s->write ? MIN(before, len) : 0;
    int rc = 0;
    if (before > len)
        rc = dax_private_clear(w, p->at + len, before - len);
    for (uint64_t i = in.from; rc == 0 && i < in.to; i += CHUNK)
        rc = pull_chunk(w, f, b, p->at + i, pos + i, MIN(CHUNK, in.to - i),
                        shared > i ? MIN(CHUNK, shared - i) : 0);
    /* Once, with `order` held: who has that may read pieces without the file's lock. */
    if (rc == 0 && p->uncopied)
        p->uncopied = false;
    return rc;
}

/* All private pieces, until one fails. The results or'ed, or -errno. */
static int each_piece(struct dax_window *w, struct dax_file *f, struct bufs *b,
                      const struct look *l, bool pull)
{
    int any = 0;
    for (unsigned i = 0; i < f->slots->len; i++) {
        const struct dax_slot *s = g_ptr_array_index(f->slots, i);
        for (unsigned k = 0; k < s->pieces->len; k++) {
            struct dax_piece *p = &g_array_index(s->pieces, struct dax_piece, k);
            if (!p->private)
                continue;
            int rc = pull ? pull_piece(w, f, b, s, p, l) : push_piece(w, f, b, s, p, l);
            if (rc < 0)
                return rc;
            any |= rc;
        }
    }
    return any;
}

int dax_private_sync(struct dax_window *w, struct dax_file *f, bool pull, struct dax_span span)
{
    g_autofree struct bufs *b = g_new(struct bufs, 1);
    struct stat st;
    if (fstat(f->fd, &st) < 0)
        return -errno;
    struct look l = {(uint64_t)st.st_size, span};
    int rc = each_piece(w, f, b, &l, false);
    if (rc < 0)
        return rc;
    /* What was stored through one piece may be seen through another. */
    if (!pull && rc == 0 && l.size == f->valid)
        return 0;
    if (l.size > f->valid) {
        l.span.from = MIN(l.span.from, f->valid);
        l.span.to = MAX(l.span.to, l.size);
    }
    rc = each_piece(w, f, b, &l, true);
    if (rc == 0)
        f->valid = l.size;
    return rc;
}
