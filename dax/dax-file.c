/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls close */
#include "dax/dax-priv.h"

#include <unistd.h>

#include "virtiofsd/base/auto.h"

struct dax_file *dax_file_get(struct dax_window *w, uint64_t number)
{
    AUTO_LOCK(&w->table);
    struct dax_file *f = g_hash_table_lookup(w->files, &number);
    if (f)
        f->refs++;
    return f;
}

static void file_free(struct dax_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    g_ptr_array_unref(f->slots);
    pthread_mutex_destroy(&f->lock);
    g_free(f);
}

void dax_file_put(struct dax_window *w, struct dax_file *f)
{
    pthread_mutex_lock(&w->table);
    bool last = --f->refs == 0;
    pthread_mutex_unlock(&w->table);
    if (last)
        file_free(f);
}

static struct dax_file *file_new(uint64_t number)
{
    struct dax_file *f = g_new0(struct dax_file, 1);
    f->number = number;
    f->fd = -1;
    f->refs = 1; /* the caller's */
    f->slots = g_ptr_array_new();
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

void dax_file_enter(struct dax_window *w, struct dax_file *f)
{
    AUTO_LOCK(&w->table);
    if (g_hash_table_contains(w->files, &f->number))
        return;
    g_hash_table_insert(w->files, &f->number, f);
    f->refs++;
    w->counts.files++;
}

struct dax_file *dax_file_take(struct dax_window *w, uint64_t number, int *fd, bool writable)
{
    struct dax_file *f = dax_file_get(w, number);
    if (!f)
        f = file_new(number);
    if (*fd < 0 || (f->fd >= 0 && (f->writable || !writable)))
        return f;
    pthread_mutex_lock(&f->lock);
    int old = f->fd;
    f->fd = steal_fd(fd);
    f->writable = writable;
    pthread_mutex_unlock(&f->lock);
    if (old >= 0)
        close(old);
    return f;
}

void dax_file_drop_unused(struct dax_window *w, struct dax_file *f)
{
    if (f->slots->len > 0)
        return;
    pthread_mutex_lock(&w->table);
    bool entered = g_hash_table_remove(w->files, &f->number);
    if (entered)
        w->counts.files--;
    pthread_mutex_unlock(&w->table);
    if (entered)
        dax_file_put(w, f);
}

GPtrArray *dax_file_list_private(struct dax_window *w)
{
    GPtrArray *list = g_ptr_array_new();
    GHashTableIter it;
    gpointer value;
    AUTO_LOCK(&w->table);
    g_hash_table_iter_init(&it, w->files);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        struct dax_file *f = value;
        if (f->private == 0)
            continue;
        f->refs++;
        g_ptr_array_add(list, f);
    }
    return list;
}
