/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/fs/fs-lock-range.h"

#include <fcntl.h>

GArray *fs_ranges_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(struct fs_range));
}

static const struct fs_range *at(const GArray *r, unsigned i)
{
    return &((const struct fs_range *)(const void *)r->data)[i];
}

/* The first range that ends at @off or later. */
static unsigned first_from(const GArray *r, off_t off)
{
    unsigned low = 0, high = r->len;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (at(r, mid)->end < off)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* What a lock does: ranges from .from up to .to are replaced by the .n of .with. */
struct splice {
    unsigned from, to, n;
    struct fs_range with[3];
};

/* Neighbours of the same type, which become one with @lk. */
static void take_neighbours(const GArray *r, const struct fs_lock *lk, struct splice *s)
{
    if (lk->type == F_UNLCK)
        return;
    if (s->from > 0 && lk->start > 0 && at(r, s->from - 1)->end == lk->start - 1 &&
        at(r, s->from - 1)->type == lk->type)
        s->from--;
    if (s->to < r->len && lk->end < INT64_MAX && at(r, s->to)->start == lk->end + 1 &&
        at(r, s->to)->type == lk->type)
        s->to++;
}

static struct splice plan(const GArray *r, const struct fs_lock *lk)
{
    struct splice s = {.from = first_from(r, lk->start)};
    struct fs_range mid = {lk->start, lk->end, lk->type}, right = {0, 0, F_UNLCK};

    s.to = lk->end == INT64_MAX ? r->len : first_from(r, lk->end + 1);
    if (s.to < r->len && at(r, s.to)->start <= lk->end)
        s.to++; /* reaches beyond the end */
    take_neighbours(r, lk, &s);
    if (s.from < s.to) {
        const struct fs_range *a = at(r, s.from), *b = at(r, s.to - 1);
        if (a->start < lk->start && a->type == lk->type)
            mid.start = a->start;
        else if (a->start < lk->start)
            s.with[s.n++] = (struct fs_range){a->start, lk->start - 1, a->type};
        if (b->end > lk->end && b->type == lk->type)
            mid.end = b->end;
        else if (b->end > lk->end)
            right = (struct fs_range){lk->end + 1, b->end, b->type};
    }
    if (lk->type != F_UNLCK)
        s.with[s.n++] = mid;
    if (right.type != F_UNLCK)
        s.with[s.n++] = right;
    return s;
}

unsigned fs_ranges_after(const GArray *r, const struct fs_lock *lk)
{
    struct splice s = plan(r, lk);

    return r->len - (s.to - s.from) + s.n;
}

void fs_ranges_apply(GArray *r, const struct fs_lock *lk)
{
    struct splice s = plan(r, lk);
    unsigned gone = s.to - s.from;

    /* As many as possible in their place: most often nothing has to move. */
    for (unsigned i = 0; i < MIN(gone, s.n); i++)
        g_array_index(r, struct fs_range, s.from + i) = s.with[i];
    if (gone > s.n)
        g_array_remove_range(r, s.from + s.n, gone - s.n);
    else if (gone < s.n)
        g_array_insert_vals(r, s.from + gone, &s.with[gone], s.n - gone);
}

const struct fs_range *fs_ranges_conflict(const GArray *r, const struct fs_lock *lk)
{
    for (unsigned i = first_from(r, lk->start); i < r->len && at(r, i)->start <= lk->end; i++)
        if (lk->type == F_WRLCK || at(r, i)->type == F_WRLCK)
            return at(r, i);
    return NULL;
}
