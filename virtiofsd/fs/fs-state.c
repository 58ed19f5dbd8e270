/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/fs/fs-state.h"

#include "virtiofsd/fs/fs-lock-priv.h"

/* ---- lists ---- */

GArray *fs_inodes_list(struct fs *fs)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(struct fs_inode_state));
    uint32_t high = atomic_load(&fs->shared->inodes.high);

    AUTO_LOCK(&fs->shared->table_lock);
    for (uint32_t slot = FS_ROOT_ID + 1; slot < high; slot++) {
        const struct fs_inode *i = fs_table_at(&fs->shared->inodes, slot);
        struct fs_inode_state s = {.nlookup = atomic_load(&i->nlookup)};
        if (fs_state_refs(atomic_load(&i->node.state)) == 0)
            continue;
        s.id = fs_inode_id(i);
        g_array_append_val(list, s);
    }
    return list;
}

GArray *fs_files_list(struct fs *fs)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(struct fs_file_state));
    uint32_t high = atomic_load(&fs->files.high);

    for (uint32_t slot = 1; slot < high; slot++) {
        const struct fs_file *f = fs_table_at(&fs->files, slot);
        if (!(atomic_load(&f->state) & FILE_OPEN))
            continue;
        struct fs_file_state s = {
            .fh = fs_file_id(f),
            .inode = fs_inode_id(f->inode),
            .flags = f->flags,
            .flock = atomic_load(&f->flock),
        };
        g_array_append_val(list, s);
    }
    return list;
}

static void list_owner(const struct fs_owner *o, GArray *list)
{
    for (guint i = 0; i < o->ranges->len; i++) {
        const struct fs_range *r = &g_array_index(o->ranges, struct fs_range, i);
        struct fs_lock_state s = {
            .inode = fs_inode_id(o->inode),
            .owner = o->id,
            .fh = o->file ? fs_file_id(o->file) : 0,
            .lk = {.type = r->type, .start = r->start, .end = r->end, .pid = o->pid},
        };
        g_array_append_val(list, s);
    }
}

GArray *fs_locks_list(struct fs *fs)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(struct fs_lock_state));
    struct fs_locks *l = fs_locks_of(fs);
    GHashTableIter ctxs, owners;
    gpointer first, o;

    AUTO_LOCK(&l->lock);
    g_hash_table_iter_init(&ctxs, l->ctxs);
    while (g_hash_table_iter_next(&ctxs, NULL, &first)) {
        for (struct fs_lock_ctx *b = first; b; b = b->next) {
            if (b->fs != fs)
                continue;
            g_hash_table_iter_init(&owners, b->owners);
            while (g_hash_table_iter_next(&owners, NULL, &o))
                list_owner(o, list);
        }
    }
    return list;
}

/* ---- numbers ---- */

static uint32_t slot_of(uint64_t number)
{
    return (uint32_t)number;
}

static uint32_t gen_of(uint64_t number)
{
    return (uint32_t)(number >> 32);
}

/* Those that are made from now on are newer. */
static uint32_t gen_after(uint32_t next, uint64_t number)
{
    return gen_of(number) >= next ? gen_of(number) + 1 : next;
}

/* Whether there may be @n more besides those that there are. */
static bool fits(const struct fs *fs, size_t n)
{
    return !fs->cfg.max_inodes || n + fs->shared->n_inodes <= fs->cfg.max_inodes + 1;
}

int fs_inodes_reserve(struct fs *fs, const uint64_t *ids, size_t n)
{
    struct fs_shared *s = fs->shared;
    int rc = 0;

    AUTO_LOCK(&s->table_lock);
    if (!fits(fs, n))
        return -ENFILE;
    for (size_t i = 0; i < n; i++) {
        rc = gen_of(ids[i]) == 0 ? -EINVAL : fs_table_take_at(&s->inodes, slot_of(ids[i]));
        if (rc < 0)
            return rc;
        struct fs_inode *inode = fs_table_at(&s->inodes, slot_of(ids[i]));
        atomic_store(&inode->gen, gen_of(ids[i]));
        s->next_gen = gen_after(s->next_gen, ids[i]);
    }
    return 0;
}

int fs_files_reserve(struct fs *fs, const uint64_t *fhs, size_t n)
{
    AUTO_LOCK(&fs->files_lock);
    for (size_t i = 0; i < n; i++) {
        int rc = gen_of(fhs[i]) == 0 ? -EINVAL : fs_table_take_at(&fs->files, slot_of(fhs[i]));
        if (rc < 0)
            return rc;
        struct fs_file *f = fs_table_at(&fs->files, slot_of(fhs[i]));
        atomic_store(&f->state, (uint64_t)gen_of(fhs[i]) << 32);
        fs->next_file_gen = gen_after(fs->next_file_gen, fhs[i]);
    }
    return 0;
}

/* ---- back again ---- */

int fs_inode_restore(struct fs *fs, struct fs_inode *parent, const char *name, uint64_t id,
                     uint64_t nlookup, struct fs_inode **out)
{
    struct tree *t = fs_tree(parent);
    struct tree_found found;
    struct fs_inode *inode;
    int rc = fs_name_check(name);

    if (rc == 0)
        rc = t->ops->lookup(t, &parent->node, name, true, &found);
    if (rc == 0 && !found.complete)
        rc = t->ops->complete(t, &parent->node, name, true, &found);
    if (rc == 0)
        rc = fs_inode_intern_at(fs, parent, &found, id, &inode);
    if (rc < 0)
        return rc;
    if (nlookup == 0) {
        *out = inode;
        return 0;
    }
    fs_inode_remember(fs, inode); /* the reference is theirs */
    atomic_fetch_add(&inode->nlookup, nlookup - 1);
    return 0;
}
