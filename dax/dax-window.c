/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls close fstat */
#include "dax/dax-priv.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

#define WINDOW_MIN (2u << 20)
#define SLOTS_MIN  64

static int by_offset(gconstpointer a, gconstpointer b, gpointer unused)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool power_of_two(uint64_t n)
{
    return n && (n & (n - 1)) == 0;
}

struct dax_window *dax_window_new(const struct dax_config *cfg)
{
    if (!power_of_two(cfg->size) || cfg->size < WINDOW_MIN || cfg->size > INT64_MAX ||
        !power_of_two(cfg->granule) || cfg->granule > WINDOW_MIN) {
        errno = EINVAL;
        return NULL;
    }
    struct dax_window *w = g_new0(struct dax_window, 1);
    w->cfg = *cfg;
    if (w->cfg.max_slots == 0)
        w->cfg.max_slots = (unsigned)MAX(cfg->size / WINDOW_MIN, SLOTS_MIN);
    if (w->cfg.max_files == 0)
        w->cfg.max_files = w->cfg.max_slots;
    w->pool = w->baseline = -1;
    w->slots = g_tree_new_full(by_offset, NULL, NULL, NULL);
    w->files = g_hash_table_new(g_int64_hash, g_int64_equal);
    w->stale = g_array_new(FALSE, FALSE, sizeof(struct dax_piece));
    pthread_mutex_init(&w->order, NULL);
    pthread_mutex_init(&w->table, NULL);
    dax_timer_init(w);
    int rc = dax_private_open(w);
    if (rc < 0) {
        log_error("dax: no memory for a window of %" PRIu64 " bytes: %s", cfg->size,
                  errno_text(-rc));
        dax_window_free(w);
        errno = -rc;
        return NULL;
    }
    return w;
}

/* All slots, now: removing one while walking the tree would be wrong. */
static void remove_all(struct dax_window *w, bool tell)
{
    GTreeNode *n;
    while ((n = g_tree_node_first(w->slots)))
        dax_slot_remove(w, g_tree_node_value(n), tell);
}

void dax_window_free(struct dax_window *w)
{
    if (!w)
        return;
    dax_timer_stop(w);
    remove_all(w, false);
    g_tree_unref(w->slots);
    g_hash_table_unref(w->files);
    g_array_unref(w->stale);
    if (w->pool >= 0)
        close(w->pool);
    if (w->baseline >= 0)
        close(w->baseline);
    pthread_mutex_destroy(&w->order);
    pthread_mutex_destroy(&w->table);
    g_free(w);
}

uint64_t dax_window_size(const struct dax_window *w)
{
    return w->cfg.size;
}

int dax_window_start(struct dax_window *w, struct dax_caps *caps)
{
    AUTO_LOCK(&w->order);
    if (!w->probed) {
        struct dax_caps found = {0};
        int rc = w->cfg.ops->probe(w->cfg.user, &found);
        if (rc < 0)
            return rc;
        w->caps = found;
        w->probed = true;
    }
    *caps = w->caps;
    return 0;
}

static int check_request(const struct dax_window *w, const struct dax_request *rq)
{
    uint64_t size = w->cfg.size;
    if ((rq->foffset | rq->moffset | rq->len) & (w->cfg.granule - 1))
        return -EINVAL;
    if (rq->len == 0 || rq->moffset >= size || rq->len > size - rq->moffset)
        return -EINVAL;
    return rq->foffset > INT64_MAX - rq->len ? -EINVAL : 0;
}

static bool in_range(const struct dax_slot *s, uint64_t at, uint64_t len)
{
    return s->moffset >= at && s->moffset + s->len <= at + len;
}

/* The live slots in [at, at + len), into @out. -EINVAL when one lies partly in it. */
static int find_slots(struct dax_window *w, uint64_t at, uint64_t len, GPtrArray *out)
{
    GTreeNode *n = g_tree_upper_bound(w->slots, &at);
    GTreeNode *before = n ? g_tree_node_previous(n) : g_tree_node_last(w->slots);
    for (n = before ? before : n; n; n = g_tree_node_next(n)) {
        struct dax_slot *s = g_tree_node_value(n);
        if (s->moffset >= at + len)
            break;
        if (s->moffset + s->len <= at)
            continue;
        if (!in_range(s, at, len))
            return -EINVAL;
        g_ptr_array_add(out, s);
    }
    return 0;
}

static bool same_slot(const struct dax_slot *s, const struct dax_request *rq)
{
    return s->file->number == rq->file && s->moffset == rq->moffset && s->len == rq->len &&
           s->foffset == rq->foffset;
}

/* Whether what is held of the file, or comes with the request, grants it. */
static int check_rights(struct dax_window *w, const struct dax_request *rq, int fd,
                        bool fd_writable)
{
    bool writable = fd >= 0 && fd_writable, any = fd >= 0;
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) < 0)
        return -errno;
    if (fd >= 0 && !S_ISREG(st.st_mode))
        return -EINVAL;
    struct dax_file *f = dax_file_get(w, rq->file);
    if (f) {
        any = true;
        writable |= f->writable;
        dax_file_put(w, f);
    }
    if (!any)
        return -EBADF;
    return !writable && (rq->write || !w->caps.readonly_fd) ? -EACCES : 0;
}

/* Whether one file more would be too many. What is going to be replaced counts. */
static bool too_many_files(struct dax_window *w, uint64_t file)
{
    AUTO_LOCK(&w->table);
    return w->counts.files >= w->cfg.max_files && !g_hash_table_contains(w->files, &file);
}

/* All that can be refused before anything is sent. The slots in the range go to @old. */
static int check_map(struct dax_window *w, const struct dax_request *rq, int fd, bool fd_writable,
                     GPtrArray *old)
{
    int rc = check_request(w, rq);
    if (rc == 0)
        rc = w->probed ? 0 : -ENODEV;
    if (rc == 0)
        rc = find_slots(w, rq->moffset, rq->len, old);
    if (rc == 0)
        rc = check_rights(w, rq, fd, fd_writable);
    if (rc == 0 && ((guint)g_tree_nnodes(w->slots) - old->len >= w->cfg.max_slots ||
                    too_many_files(w, rq->file)))
        rc = -ENOSPC;
    return rc;
}

/* Map what the slot lacks by the size that the file has now. */
static int fit_slot(struct dax_window *w, struct dax_slot *s)
{
    struct stat st;
    if (fstat(s->file->fd, &st) < 0)
        return -errno;
    return dax_slot_grow(w, s, (uint64_t)st.st_size);
}

/* The guest asks again for a slot that it has. What does not need to go stays on failure: it goes
 * on reading there. */
static int map_again(struct dax_window *w, struct dax_slot *s, const struct dax_request *rq)
{
    unsigned pieces = s->pieces->len;
    int rc = rq->write && !s->write ? dax_slot_grant(w, s) : 0;
    if (s->pieces->len < pieces) {
        dax_slot_remove(w, s, true);
        return rc;
    }
    if (rc == 0)
        rc = fit_slot(w, s);
    return rc ? rc : dax_commit(w);
}

static int map_new(struct dax_window *w, struct dax_file *f, const struct dax_request *rq)
{
    struct dax_slot *s = dax_slot_new(w, f, rq);
    int rc = fit_slot(w, s);
    if (rc == 0)
        rc = dax_commit(w);
    if (rc)
        dax_slot_remove(w, s, true);
    return rc;
}

/* One more dax_map(), which began at @before. */
static void count_times(struct dax_window *w, const struct dax_times *before)
{
    AUTO_LOCK(&w->table);
    w->times.maps++;
    w->times.messages += w->asked.messages - before->messages;
    w->times.wait_ns += w->asked.wait_ns - before->wait_ns;
}

int dax_map(struct dax_window *w, const struct dax_request *rq, int fd, bool fd_writable)
{
    AUTO_FD int own = fd;
    g_autoptr(GPtrArray) old = g_ptr_array_new();
    AUTO_LOCK(&w->order);
    int rc = check_map(w, rq, own, fd_writable, old);
    if (rc)
        return rc;
    struct dax_times before = w->asked;
    bool again = old->len == 1 && same_slot(g_ptr_array_index(old, 0), rq);
    struct dax_file *f = dax_file_take(w, rq->file, &own, fd_writable);
    if (again) {
        rc = map_again(w, g_ptr_array_index(old, 0), rq);
    } else {
        for (unsigned i = 0; i < old->len; i++)
            dax_slot_remove(w, g_ptr_array_index(old, i), true);
        rc = map_new(w, f, rq);
    }
    dax_file_put(w, f);
    if (rc == 0)
        count_times(w, &before);
    return rc;
}

bool dax_has_file(struct dax_window *w, uint64_t file, bool writable)
{
    struct dax_file *f = dax_file_get(w, file);
    if (!f)
        return false;
    pthread_mutex_lock(&f->lock);
    bool fits = f->writable || !writable;
    pthread_mutex_unlock(&f->lock);
    dax_file_put(w, f);
    return fits;
}

static int remove_slots(struct dax_window *w, const GPtrArray *slots)
{
    int rc = 0;
    for (unsigned i = 0; i < slots->len; i++) {
        int one = dax_slot_remove(w, g_ptr_array_index(slots, i), true);
        rc = rc ? rc : one;
    }
    return rc;
}

int dax_unmap(struct dax_window *w, uint64_t moffset, uint64_t len)
{
    g_autoptr(GPtrArray) slots = g_ptr_array_new();
    if (moffset > w->cfg.size || len > w->cfg.size - moffset)
        return -EINVAL;
    if (len == 0)
        return 0;
    AUTO_LOCK(&w->order);
    int rc = find_slots(w, moffset, len, slots);
    return rc ? rc : remove_slots(w, slots);
}

void dax_unmap_file(struct dax_window *w, uint64_t file)
{
    if (!dax_is_mapped(w, file))
        return;
    AUTO_LOCK(&w->order);
    struct dax_file *f = dax_file_get(w, file);
    if (!f)
        return;
    while (f->slots->len > 0)
        dax_slot_remove(w, g_ptr_array_index(f->slots, f->slots->len - 1), true);
    dax_file_put(w, f);
}

void dax_unmap_all(struct dax_window *w)
{
    AUTO_LOCK(&w->order);
    bool dropped = w->cfg.ops->dropped && w->cfg.ops->dropped(w->cfg.user);
    remove_all(w, !dropped);
    if (dropped)
        g_array_set_size(w->stale, 0);
}

void dax_window_forget(struct dax_window *w, bool new_peer)
{
    AUTO_LOCK(&w->order);
    remove_all(w, false);
    g_array_set_size(w->stale, 0);
    w->uncommitted = false;
    if (new_peer)
        w->probed = false;
}

bool dax_crowded(struct dax_window *w)
{
    AUTO_LOCK(&w->table);
    return w->counts.files >= w->cfg.max_files - w->cfg.max_files / 4;
}

bool dax_is_mapped(struct dax_window *w, uint64_t file)
{
    AUTO_LOCK(&w->table);
    return g_hash_table_contains(w->files, &file);
}

static bool must_grow(struct dax_window *w, const struct dax_file *f, uint64_t size)
{
    AUTO_LOCK(&w->table);
    return f->incomplete > 0 && size > f->grown;
}

static bool has_private(struct dax_window *w, const struct dax_file *f)
{
    AUTO_LOCK(&w->table);
    return f->private > 0;
}

/* Map what the file grew by, in all its slots. */
static int grow_file(struct dax_window *w, struct dax_file *f)
{
    struct stat st;
    int rc = 0;
    AUTO_LOCK(&w->order);
    if (fstat(f->fd, &st) < 0)
        return -errno;
    for (unsigned i = 0; rc == 0 && i < f->slots->len; i++)
        rc = dax_slot_grow(w, g_ptr_array_index(f->slots, i), (uint64_t)st.st_size);
    if (rc == 0)
        rc = dax_commit(w);
    if (rc)
        return rc;
    AUTO_LOCK(&w->table);
    f->grown = (uint64_t)st.st_size;
    return 0;
}

static int sync_file(struct dax_window *w, struct dax_file *f, bool pull, struct dax_span span)
{
    if (!has_private(w, f))
        return 0;
    AUTO_LOCK(&f->lock);
    return dax_private_sync(w, f, pull, span);
}

/* The file has @size bytes or had when it was looked at; those of @span may be others. */
static int file_revalidate(struct dax_window *w, struct dax_file *f, uint64_t size,
                           struct dax_span span)
{
    int rc = must_grow(w, f, size) ? grow_file(w, f) : 0;
    return rc ? rc : sync_file(w, f, true, span);
}

int dax_revalidate(struct dax_window *w, uint64_t file, const struct dax_stamp *stamp)
{
    struct dax_file *f = dax_file_get(w, file);
    if (!f)
        return 0;
    int rc = file_revalidate(w, f, stamp->size, DAX_ALL);
    dax_file_put(w, f);
    return rc;
}

static int file_stat(struct dax_file *f, struct stat *st)
{
    AUTO_LOCK(&f->lock);
    return fstat(f->fd, st) < 0 ? -errno : 0;
}

static struct dax_span span_of(uint64_t from, uint64_t len)
{
    return (struct dax_span){from, from + MIN(len, UINT64_MAX - from)};
}

int dax_changed(struct dax_window *w, uint64_t file)
{
    return dax_changed_part(w, file, 0, UINT64_MAX);
}

int dax_changed_part(struct dax_window *w, uint64_t file, uint64_t from, uint64_t len)
{
    struct dax_file *f = dax_file_get(w, file);
    struct stat st;
    if (!f)
        return 0;
    int rc = file_stat(f, &st);
    if (rc == 0)
        rc = file_revalidate(w, f, (uint64_t)st.st_size, span_of(from, len));
    dax_file_put(w, f);
    return rc;
}

int dax_store(struct dax_window *w, uint64_t file)
{
    return dax_store_part(w, file, 0, UINT64_MAX);
}

int dax_store_part(struct dax_window *w, uint64_t file, uint64_t from, uint64_t len)
{
    struct dax_file *f = dax_file_get(w, file);
    if (!f)
        return 0;
    int rc = sync_file(w, f, false, span_of(from, len));
    dax_file_put(w, f);
    return rc;
}

int dax_store_all(struct dax_window *w)
{
    g_autoptr(GPtrArray) files = dax_file_list_private(w);
    int rc = 0;
    for (unsigned i = 0; i < files->len; i++) {
        int one = sync_file(w, g_ptr_array_index(files, i), false, DAX_ALL);
        rc = rc ? rc : one;
        dax_file_put(w, g_ptr_array_index(files, i));
    }
    return rc;
}

void dax_window_counts(struct dax_window *w, struct dax_counts *out)
{
    AUTO_LOCK(&w->table);
    *out = w->counts;
    out->compared = atomic_load(&w->compared);
}

void dax_window_times(struct dax_window *w, struct dax_times *out)
{
    AUTO_LOCK(&w->table);
    *out = w->times;
    w->times = (struct dax_times){0};
}
