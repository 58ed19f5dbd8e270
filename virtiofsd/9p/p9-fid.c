/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/9p/p9-fid.h"

#include <errno.h>

#include "virtiofsd/base/auto.h"

/* Bytes of attribute values that the fids of one connection may hold together, if not less. */
#define XATTR_BYTES_MAX (16u << 20)

void p9_fids_init(struct p9_fids *fids, struct fs *fs, unsigned max, struct p9_budget *all)
{
    fids->all = all;
    fids->fs = fs;
    fids->max = max;
    fids->max_xattr_bytes = XATTR_BYTES_MAX;
    fids->table = g_hash_table_new(g_direct_hash, g_direct_equal);
    pthread_mutex_init(&fids->lock, NULL);
}

void p9_fids_fini(struct p9_fids *fids)
{
    g_hash_table_destroy(fids->table);
    pthread_mutex_destroy(&fids->lock);
}

/* ---- objects ---- */

struct p9_fid *p9_fid_new(uint32_t id, struct fs_inode *inode, const struct p9_user *user,
                          struct fs_inode *root)
{
    struct p9_fid *fid = g_new0(struct p9_fid, 1);

    atomic_init(&fid->refs, 1);
    fid->id = id;
    fid->inode = inode;
    fid->root = fs_inode_ref(root);
    fid->user = *user;
    return fid;
}

struct p9_fid *p9_fid_dup(const struct p9_fid *fid, uint32_t id)
{
    struct p9_fid *new = p9_fid_new(id, fs_inode_ref(fid->inode), &fid->user, fid->root);

    new->parent = fid->parent ? fs_inode_ref(fid->parent) : NULL;
    new->name = g_strdup(fid->name);
    new->qid = fid->qid;
    new->dev = fid->dev;
    return new;
}

void p9_fid_set_place(struct p9_fids *fids, struct p9_fid *fid, struct fs_inode *parent,
                      const char *name)
{
    if (fid->parent)
        fs_inode_put(fids->fs, fid->parent);
    g_free(fid->name);
    fid->parent = parent ? fs_inode_ref(parent) : NULL;
    fid->name = g_strdup(name);
}

static void fid_free(struct p9_fids *fids, struct p9_fid *fid)
{
    struct fs *fs = fids->fs;

    /* POSIX: closing a file ends the process's locks on it. */
    for (guint i = 0; fid->owners && i < fid->owners->len; i++)
        fs_flush(fs, fid->inode, g_array_index(fid->owners, uint64_t, i));
    if (fid->owners)
        g_array_unref(fid->owners);
    if (fid->file)
        fs_file_put(fs, fid->file);
    if (fid->parent)
        fs_inode_put(fs, fid->parent);
    p9_xattr_free(fids, fid->xattr);
    fs_inode_put(fs, fid->root);
    fs_inode_put(fs, fid->inode);
    g_free(fid->name);
    g_free(fid);
}

void p9_fid_put(struct p9_fids *fids, struct p9_fid *fid)
{
    if (fid && atomic_fetch_sub_explicit(&fid->refs, 1, memory_order_acq_rel) == 1)
        fid_free(fids, fid);
}

/* ---- the table ---- */

static struct p9_fid *find_locked(struct p9_fids *fids, uint32_t id)
{
    return g_hash_table_lookup(fids->table, GUINT_TO_POINTER(id));
}

struct p9_fid *p9_fid_get(struct p9_fids *fids, uint32_t id)
{
    AUTO_LOCK(&fids->lock);
    struct p9_fid *fid = find_locked(fids, id);
    if (fid)
        atomic_fetch_add_explicit(&fid->refs, 1, memory_order_relaxed);
    return fid;
}

struct p9_fid *p9_fid_ref(struct p9_fid *fid)
{
    atomic_fetch_add_explicit(&fid->refs, 1, memory_order_relaxed);
    return fid;
}

int p9_fid_add(struct p9_fids *fids, struct p9_fid *fid)
{
    if (fid->id == P9_NOFID)
        return -EINVAL;
    AUTO_LOCK(&fids->lock);
    if (find_locked(fids, fid->id))
        return -EINVAL;
    if (g_hash_table_size(fids->table) >= fids->max)
        return -ENFILE;
    if (atomic_fetch_add(&fids->all->used, 1) >= fids->all->max) {
        atomic_fetch_sub(&fids->all->used, 1);
        return -ENFILE;
    }
    g_hash_table_insert(fids->table, GUINT_TO_POINTER(fid->id), fid);
    return 0;
}

int p9_fid_replace(struct p9_fids *fids, struct p9_fid *old, struct p9_fid *fid)
{
    AUTO_LOCK(&fids->lock);
    if (find_locked(fids, old->id) != old)
        return -EBADF;
    g_hash_table_insert(fids->table, GUINT_TO_POINTER(fid->id), fid);
    return 0;
}

struct p9_fid *p9_fid_take(struct p9_fids *fids, uint32_t id)
{
    AUTO_LOCK(&fids->lock);
    struct p9_fid *fid = find_locked(fids, id);
    if (fid) {
        g_hash_table_remove(fids->table, GUINT_TO_POINTER(id));
        atomic_fetch_sub(&fids->all->used, 1);
    }
    return fid;
}

void p9_fid_drop_all(struct p9_fids *fids)
{
    GHashTable *fresh = g_hash_table_new(g_direct_hash, g_direct_equal), *old;
    GHashTableIter it;
    gpointer fid;

    pthread_mutex_lock(&fids->lock);
    old = fids->table;
    fids->table = fresh;
    atomic_fetch_sub(&fids->all->used, g_hash_table_size(old));
    pthread_mutex_unlock(&fids->lock);
    g_hash_table_iter_init(&it, old);
    while (g_hash_table_iter_next(&it, NULL, &fid))
        p9_fid_put(fids, fid);
    g_hash_table_destroy(old);
}

/* ---- attribute values ---- */

struct p9_xattr *p9_xattr_new(struct p9_fids *fids, size_t size)
{
    size_t cost = size + sizeof(struct p9_xattr);

    if (atomic_fetch_add(&fids->xattr_bytes, cost) + cost > fids->max_xattr_bytes) {
        atomic_fetch_sub(&fids->xattr_bytes, cost);
        return NULL;
    }
    struct p9_xattr *x = g_new0(struct p9_xattr, 1);
    pthread_mutex_init(&x->lock, NULL);
    x->value = g_malloc0(MAX(size, 1)); /* an empty value is a value too */
    x->size = size;
    return x;
}

void p9_xattr_free(struct p9_fids *fids, struct p9_xattr *x)
{
    if (!x)
        return;
    atomic_fetch_sub(&fids->xattr_bytes, x->size + sizeof(*x));
    pthread_mutex_destroy(&x->lock);
    g_free(x->name);
    g_free(x->value);
    g_free(x);
}
