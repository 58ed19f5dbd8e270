/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/fs/fs-state.h"

#include "virtiofsd/fs/fs-lock-priv.h"

#include <stdlib.h>

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

static int by_slot(const void *a, const void *b)
{
    uint32_t x = slot_of(*(const uint64_t *)a), y = slot_of(*(const uint64_t *)b);
    return (x > y) - (x < y);
}

/* Whether there may be @n more besides those that there are. */
static bool fits(const struct fs *fs, size_t n)
{
    uint64_t max = fs->cfg.max_inodes + 1, is = fs->shared->n_inodes; /* with the root */
    return !fs->cfg.max_inodes || (is <= max && n <= max - is);
}

/* Take all slots of @numbers, or none: 0, -EINVAL or -ENFILE. *sorted: a copy in their order, the
 * caller's. */
static int take_slots(struct fs_table *t, const uint64_t *numbers, size_t n, bool any,
                      uint64_t **sorted)
{
    if (n > t->max)
        return -ENFILE;
    uint64_t *s = *sorted = g_memdup2(numbers, n * sizeof(*numbers));
    if (n > 0)
        qsort(s, n, sizeof(*s), by_slot);
    for (size_t i = 0; i < n; i++) {
        if ((gen_of(s[i]) == 0 && !any) || (i > 0 && slot_of(s[i]) == slot_of(s[i - 1])))
            return -EINVAL;
    }
    int rc = n > 0 ? fs_table_reach(t, slot_of(s[0]), slot_of(s[n - 1])) : 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = fs_table_take_at(t, slot_of(s[i]));
    return rc;
}

/* Those that are made from now on are newer than all of @numbers. */
static uint32_t gen_after(uint32_t next, const uint64_t *numbers, size_t n)
{
    uint32_t last = next - 1;

    for (size_t i = 0; i < n; i++)
        last = MAX(last, gen_of(numbers[i]));
    return last + 1;
}

static int reserve_inodes(struct fs *fs, const uint64_t *ids, size_t n, bool any)
{
    struct fs_shared *s = fs->shared;
    g_autofree uint64_t *sorted = NULL;

    AUTO_LOCK(&s->table_lock);
    if (!fits(fs, n))
        return -ENFILE;
    int rc = take_slots(&s->inodes, ids, n, any, &sorted);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        struct fs_inode *inode = fs_table_at(&s->inodes, slot_of(sorted[i]));
        atomic_store(&inode->gen, gen_of(sorted[i]));
        inode->next = INODE_RESERVED;
    }
    s->next_gen = gen_after(s->next_gen, ids, n);
    return 0;
}

int fs_inodes_reserve(struct fs *fs, const uint64_t *ids, size_t n)
{
    return reserve_inodes(fs, ids, n, false);
}

int fs_inodes_reserve_any(struct fs *fs, const uint64_t *ids, size_t n)
{
    return reserve_inodes(fs, ids, n, true);
}

int fs_files_reserve(struct fs *fs, const uint64_t *fhs, size_t n)
{
    g_autofree uint64_t *sorted = NULL;

    AUTO_LOCK(&fs->files_lock);
    int rc = take_slots(&fs->files, fhs, n, false, &sorted);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        struct fs_file *f = fs_table_at(&fs->files, slot_of(sorted[i]));
        atomic_store(&f->state, (uint64_t)gen_of(sorted[i]) << 32);
    }
    fs->next_file_gen = gen_after(fs->next_file_gen, fhs, n);
    return 0;
}

/* ---- back again ---- */

int fs_inode_restore(struct fs *fs, struct fs_inode *parent, const char *name, uint64_t id,
                     uint64_t nlookup, struct fs_inode **out)
{
    struct tree *t = fs_tree(parent);
    struct tree_found found;
    struct fs_inode *inode;
    int rc = nlookup > INT64_MAX ? -EINVAL : fs_name_check(name);

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

/* Give the guest its lookups of @inode; the caller keeps a reference of its own. */
static void give_lookups(struct fs *fs, struct fs_inode *inode, uint64_t nlookup)
{
    atomic_store(&inode->version, 0);
    atomic_fetch_or(&inode->node.flags, INODE_OPENED);
    if (nlookup == 0)
        return;
    fs_inode_remember(fs, fs_inode_ref(inode));
    atomic_fetch_add(&inode->nlookup, nlookup - 1);
}

int fs_inode_restore_as(struct fs *fs, struct fs_inode *near, struct tree_found *found, uint64_t id,
                        uint64_t nlookup, struct fs_inode **out)
{
    int rc = fs_inode_intern_at(fs, near, found, id, out);

    if (rc < 0)
        return rc;
    give_lookups(fs, *out, nlookup);
    fs_sweep(fs);
    return 0;
}

int fs_inode_restore_lost(struct fs *fs, uint8_t type, uint64_t ino, uint64_t id, uint64_t nlookup,
                          struct fs_inode **out)
{
    struct tree_found found = {.stx = {.stx_mode = (uint16_t)(type << 12), .stx_ino = ino},
                               .fd = TREE_NO_FD};
    int rc = fs_inode_enter_lost(fs, &found, id, out);

    if (rc == 0)
        give_lookups(fs, *out, nlookup);
    return rc;
}

int fs_file_restore_lost(struct fs *fs, struct fs_inode *inode, int flags, uint64_t fh)
{
    const struct tree_file none = {
        .fd = -1, .is_dir = fs_inode_is(inode, S_IFDIR), .accmode = flags & O_ACCMODE};
    uint64_t own = fh >> 32 ? fh : 0;
    int rc = fs_fds_take(fs);

    if (rc == 0)
        rc = fs_file_add_lost(fs, inode, &none, flags, &own);
    if (rc == 0 && fh >> 32 == 0 && (rc = fs_alias_add(fs, fh, own)) < 0)
        fs_release(fs, own);
    return rc;
}
