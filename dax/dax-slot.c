/* SPDX-License-Identifier: BSD-3-Clause
 * The pieces of a slot. QEMU 11.1 refuses a mapping that overlaps a live one and takes one back
 * only by its exact place and length, so every piece is remembered as it was sent. */
#include "dax/dax-priv.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

/* Most mappings remembered that could not be taken back. */
#define STALE_MAX 256

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct dax_slot *dax_slot_new(struct dax_window *w, struct dax_file *f,
                              const struct dax_request *rq)
{
    struct dax_slot *s = g_new0(struct dax_slot, 1);
    s->file = f;
    s->foffset = rq->foffset;
    s->moffset = rq->moffset;
    s->len = rq->len;
    s->write = rq->write;
    s->pieces = g_array_new(FALSE, FALSE, sizeof(struct dax_piece));
    g_tree_insert(w->slots, &s->moffset, s);

    dax_file_enter(w, f);
    AUTO_LOCK(&f->lock);
    g_ptr_array_add(f->slots, s);
    AUTO_LOCK(&w->table);
    f->grown = 0; /* who sees the file grow waits until the slot is as it should */
    f->incomplete++;
    w->counts.slots++;
    return s;
}

static struct dax_piece *piece_at(const struct dax_slot *s, unsigned i)
{
    return &g_array_index(s->pieces, struct dax_piece, i);
}

static void remember_stale(struct dax_window *w, uint64_t at, uint64_t len)
{
    struct dax_piece p = {.at = at, .len = len};
    if (w->stale->len == STALE_MAX)
        g_array_remove_index(w->stale, 0);
    g_array_append_val(w->stale, p);
}

/* A message was answered that was sent at @start. */
static void count_asked(struct dax_window *w, int64_t start)
{
    w->asked.messages++;
    w->asked.wait_ns += (uint64_t)(now_ns() - start);
}

static int send_unmap(struct dax_window *w, uint64_t at, uint64_t len)
{
    pthread_mutex_lock(&w->table);
    w->counts.unmaps++;
    pthread_mutex_unlock(&w->table);
    int64_t start = now_ns();
    int rc = w->cfg.ops->unmap(w->cfg.user, at, len);
    count_asked(w, start);
    return rc;
}

static void unmap_piece(struct dax_window *w, const struct dax_piece *p)
{
    int rc = send_unmap(w, p->at, p->len);
    if (rc == 0)
        return;
    log_guest_warn("dax: cannot unmap 0x%" PRIx64 "+0x%" PRIx64 ": %s", p->at, p->len,
                   errno_text(-rc));
    remember_stale(w, p->at, p->len);
}

/* A refused mapping: what we failed to take back may be in its way. True when something was
 * removed now. What is not live by our own table is free to be unmapped. */
static bool unmap_stale(struct dax_window *w, uint64_t at, uint64_t len)
{
    bool any = false;
    for (unsigned i = w->stale->len; i-- > 0;) {
        struct dax_piece p = g_array_index(w->stale, struct dax_piece, i);
        if (p.at >= at + len || at >= p.at + p.len)
            continue;
        g_array_remove_index(w->stale, i);
        any |= send_unmap(w, p.at, p.len) == 0;
    }
    return any || send_unmap(w, at, len) == 0;
}

static int send_map(struct dax_window *w, const struct dax_slot *s, const struct dax_piece *p)
{
    int fd = p->private ? w->pool : s->file->fd;
    uint64_t fd_offset = p->private ? p->at : s->foffset + (p->at - s->moffset);
    int rc = 0;
    for (int i = 0; i < 2; i++) {
        pthread_mutex_lock(&w->table);
        w->counts.maps++;
        pthread_mutex_unlock(&w->table);
        int64_t start = now_ns();
        rc = w->cfg.ops->map(w->cfg.user, fd, fd_offset, p->at, p->len, p->writable);
        count_asked(w, start);
        if (rc == 0) {
            w->uncommitted = true;
            return 0;
        }
        if (i == 0 && !unmap_stale(w, p->at, p->len))
            break;
    }
    log_guest_warn("dax: the front-end does not map 0x%" PRIx64 "+0x%" PRIx64 ": %s", p->at, p->len,
                   errno_text(-rc));
    /* An answer that came too late may have been yes. */
    remember_stale(w, p->at, p->len);
    return rc;
}

int dax_commit(struct dax_window *w)
{
    if (!w->uncommitted)
        return 0;
    int64_t start = now_ns();
    int rc = w->cfg.ops->commit(w->cfg.user);
    count_asked(w, start);
    if (rc == 0)
        w->uncommitted = false;
    return rc;
}

static void count_private(struct dax_window *w, struct dax_file *f, uint64_t len, int by)
{
    AUTO_LOCK(&w->table);
    f->private += (unsigned)by;
    w->private += (unsigned)by;
    w->counts.private_bytes += by > 0 ? len : -len;
}

static void drop_piece(struct dax_window *w, struct dax_slot *s, unsigned i)
{
    struct dax_piece p = *piece_at(s, i);
    pthread_mutex_lock(&s->file->lock);
    g_array_remove_index(s->pieces, i);
    pthread_mutex_unlock(&s->file->lock);
    if (!p.private)
        return;
    count_private(w, s->file, p.len, -1);
    dax_private_clear(w, p.at, p.len);
}

/* Enter a piece, with its private pages filled. It counts before they are: who changes the file
 * meanwhile must find it. */
static int enter_piece(struct dax_window *w, struct dax_slot *s, const struct dax_piece *p)
{
    AUTO_LOCK(&s->file->lock);
    int rc = p->private ? dax_private_clear(w, p->at, p->len) : 0;
    if (rc)
        return rc;
    g_array_append_val(s->pieces, *p);
    if (!p->private)
        return 0;
    count_private(w, s->file, p->len, 1);
    return dax_private_sync(w, s->file, true, DAX_ALL);
}

static void count_covered(struct dax_window *w, struct dax_slot *s, uint64_t len)
{
    AUTO_LOCK(&w->table);
    s->covered += len;
    if (s->covered == s->len)
        s->file->incomplete--;
}

/* Map the next @len bytes of the slot. */
static int add_piece(struct dax_window *w, struct dax_slot *s, uint64_t len, bool private)
{
    struct dax_piece p = {.at = s->moffset + s->covered,
                          .len = len,
                          .private = private,
                          .uncopied = private,
                          .writable = private || s->file->writable};
    unsigned before = s->pieces->len;
    int rc = enter_piece(w, s, &p);
    if (rc == 0)
        rc = send_map(w, s, &p);
    if (rc) {
        if (s->pieces->len > before)
            drop_piece(w, s, before);
        return rc;
    }
    count_covered(w, s, len);
    if (private)
        dax_timer_wake(w);
    return 0;
}

int dax_slot_grow(struct dax_window *w, struct dax_slot *s, uint64_t size)
{
    uint64_t page = w->cfg.granule;
    uint64_t inside = size > s->foffset ? MIN(size - s->foffset, s->len) : 0;
    uint64_t whole = (w->caps.tail ? inside + page - 1 : inside) & ~(page - 1);
    bool many = false;
    if (whole > s->covered) {
        int rc = add_piece(w, s, whole - s->covered, false);
        if (rc)
            return rc;
        many = s->pieces->len >= DAX_PIECES_MANY && s->covered < s->len;
    }
    if (inside <= s->covered && !many)
        return 0;
    return add_piece(w, s, MIN(s->len - s->covered, MAX(DAX_PRIVATE_MAX, page)), true);
}

/* Map pieces again that were mapped when there was no writable descriptor. */
static int remap_writable(struct dax_window *w, struct dax_slot *s)
{
    for (unsigned i = 0; i < s->pieces->len; i++) {
        struct dax_piece p = *piece_at(s, i);
        if (p.writable)
            continue;
        p.writable = true;
        unmap_piece(w, &p);
        int rc = send_map(w, s, &p);
        if (rc) {
            drop_piece(w, s, i);
            return rc;
        }
        piece_at(s, i)->writable = true;
    }
    return 0;
}

int dax_slot_grant(struct dax_window *w, struct dax_slot *s)
{
    int rc = remap_writable(w, s);
    if (rc)
        return rc;
    AUTO_LOCK(&s->file->lock);
    /* What a guest stored without the right to is gone by this, and its baseline is right. */
    if (s->file->private)
        rc = dax_private_sync(w, s->file, true, DAX_ALL);
    if (rc == 0)
        s->write = true;
    return rc;
}

/* Take the slot away from whoever finds it by its file. */
static int leave_file(struct dax_window *w, struct dax_slot *s)
{
    struct dax_file *f = s->file;
    int rc = 0;
    AUTO_LOCK(&f->lock);
    if (f->private && s->write)
        rc = dax_private_sync(w, f, false, DAX_ALL);
    g_ptr_array_remove_fast(f->slots, s);
    for (unsigned i = 0; i < s->pieces->len; i++)
        if (piece_at(s, i)->private)
            count_private(w, f, piece_at(s, i)->len, -1);
    AUTO_LOCK(&w->table);
    w->counts.slots--;
    if (s->covered < s->len)
        f->incomplete--;
    return rc;
}

int dax_slot_remove(struct dax_window *w, struct dax_slot *s, bool tell)
{
    int rc = leave_file(w, s);
    if (rc < 0)
        log_guest_warn("dax: what the guest stored at the end of a file is lost: %s",
                       errno_text(-rc));
    for (unsigned i = 0; i < s->pieces->len; i++) {
        const struct dax_piece *p = piece_at(s, i);
        if (tell)
            unmap_piece(w, p);
        if (p->private)
            dax_private_clear(w, p->at, p->len);
    }
    g_tree_remove(w->slots, &s->moffset);
    dax_file_drop_unused(w, s->file);
    g_array_unref(s->pieces);
    g_free(s);
    return rc;
}
