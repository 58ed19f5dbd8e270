/* SPDX-License-Identifier: BSD-3-Clause
 * The table of open files. A handle is a slot plus a generation; the guest's own hold on it is
 * the FILE_OPEN bit, which fs_release() can take away once. */
#include "virtiofsd/fs/fs-priv.h"

#define FILES_MAX   (1u << 22)
#define REFS(state) ((uint32_t)(state))

int fs_files_init(struct fs *fs)
{
    uint32_t max = fs->cfg.max_fds < FILES_MAX - 1 ? (uint32_t)fs->cfg.max_fds + 1 : FILES_MAX;
    fs->next_file_gen = 1;
    return fs_table_init(&fs->files, sizeof(struct fs_file), offsetof(struct fs_file, next), max);
}

void fs_files_fini(struct fs *fs)
{
    fs_table_fini(&fs->files);
}

/* A slot and its generation: any, or a reserved one. */
static uint64_t take_handle_locked(struct fs *fs, uint64_t fh)
{
    if (fh != 0) {
        const struct fs_file *f = fs_table_peek(&fs->files, (uint32_t)fh);
        /* Reserved: nothing but the generation. */
        return f && atomic_load(&f->state) == (fh >> 32) << 32 ? fh : 0;
    }
    uint32_t slot = fs_table_take(&fs->files);
    if (slot == 0)
        return 0;
    if (fs->next_file_gen == 0)
        fs->next_file_gen = 1;
    return (uint64_t)fs->next_file_gen++ << 32 | slot;
}

/* As a file of @node, which is @inode's or that of what is lost, held by FILE_OPEN or by one
 * reference: @hold. *fh as of fs_file_add(). */
static int add(struct fs *fs, struct fs_inode *inode, struct tree_node *node,
               const struct tree_file *opened, int flags, uint64_t hold, uint64_t *fh)
{
    pthread_mutex_lock(&fs->files_lock);
    uint64_t id = take_handle_locked(fs, *fh);
    fs->n_files += id != 0;
    pthread_mutex_unlock(&fs->files_lock);
    if (id == 0) {
        int rc = *fh ? -EINVAL : -ENFILE;
        struct tree_file f = *opened;
        node->mnt->tree->ops->close(node->mnt->tree, &f);
        fs_fds_give(fs);
        return rc;
    }

    struct fs_file *f = fs_table_at(&fs->files, (uint32_t)id);
    f->inode = fs_inode_ref(inode);
    f->f = *opened;
    f->f.node = node;
    f->flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC);
    f->close_speaks = opened->accmode != O_RDONLY && (fs_mount_kind(fs, inode) & FS_MAP_SLOW);
    if (G_UNLIKELY(f->close_speaks))
        atomic_store(&fs->closes_speak, true);
    atomic_store_explicit(&f->flock, 0, memory_order_relaxed);
    f->has_alias = false;
    f->slot = (uint32_t)id;
    LIST_INIT(&f->owners);
    atomic_store_explicit(&f->state, (id & ~(uint64_t)UINT32_MAX) | hold, memory_order_release);
    *fh = id;
    return 0;
}

int fs_file_add(struct fs *fs, struct fs_inode *inode, const struct tree_file *opened, int flags,
                uint64_t *fh)
{
    return add(fs, inode, &inode->node, opened, flags, FILE_OPEN, fh);
}

int fs_file_add_lost(struct fs *fs, struct fs_inode *inode, const struct tree_file *none, int flags,
                     uint64_t *fh)
{
    return add(fs, inode, &fs_lost_node, none, flags, FILE_OPEN, fh);
}

int fs_file_add_unnamed(struct fs *fs, struct fs_inode *inode, const struct tree_file *opened,
                        int flags, struct fs_file **out)
{
    uint64_t fh = 0;
    int rc = add(fs, inode, &inode->node, opened, flags, 1, &fh);

    if (rc == 0)
        *out = fs_table_at(&fs->files, (uint32_t)fh);
    return rc;
}

/* The last hold is gone. */
static void file_free(struct fs *fs, struct fs_file *f)
{
    if (G_UNLIKELY(!LIST_EMPTY(&f->owners)))
        fs_locks_file_gone(fs, f);
    struct tree *tree = fs_file_tree(f);
    tree->ops->close(tree, &f->f);
    fs_fds_give(fs);
    fs_inode_put(fs, f->inode);
    atomic_store_explicit(&f->state, 0, memory_order_release);
    AUTO_LOCK(&fs->files_lock);
    fs->n_files--;
    fs_table_give(&fs->files, f->slot);
}

static inline struct fs_file *get_own(struct fs *fs, uint64_t fh, const struct fs_inode *inode)
{
    struct fs_file *f = fs_table_peek(&fs->files, (uint32_t)fh);
    if (!f)
        return NULL;
    uint64_t s = atomic_load_explicit(&f->state, memory_order_relaxed);
    do {
        if (s >> 32 != fh >> 32 || !(s & FILE_OPEN))
            return NULL;
    } while (!atomic_compare_exchange_weak_explicit(&f->state, &s, s + 1, memory_order_acquire,
                                                    memory_order_relaxed));
    if (inode && f->inode != inode) {
        fs_file_put(fs, f);
        return NULL;
    }
    return f;
}

struct fs_file *fs_file_get(struct fs *fs, uint64_t fh, const struct fs_inode *inode)
{
    struct fs_file *f = get_own(fs, fh, inode);

    if (G_LIKELY(f || !fs->aliases))
        return f;
    return get_own(fs, fs_alias_find(fs, fh), inode);
}

struct fs_file *fs_file_ref(struct fs_file *file)
{
    atomic_fetch_add_explicit(&file->state, 1, memory_order_relaxed);
    return file;
}

void fs_file_put(struct fs *fs, struct fs_file *file)
{
    uint64_t s = atomic_fetch_sub_explicit(&file->state, 1, memory_order_acq_rel);
    if (REFS(s) == 1)
        file_free(fs, file);
}

uint64_t fs_file_id(const struct fs_file *file)
{
    uint64_t s = atomic_load_explicit(&file->state, memory_order_relaxed);
    return G_UNLIKELY(file->has_alias) ? file->alias : (s & ~(uint64_t)UINT32_MAX) | file->slot;
}

static int release_own(struct fs *fs, uint64_t fh)
{
    struct fs_file *f = fs_table_peek(&fs->files, (uint32_t)fh);
    if (!f)
        return -EBADF;
    uint64_t s = atomic_load_explicit(&f->state, memory_order_relaxed);
    do {
        if (s >> 32 != fh >> 32 || !(s & FILE_OPEN))
            return -EBADF;
    } while (!atomic_compare_exchange_weak_explicit(&f->state, &s, s & ~FILE_OPEN,
                                                    memory_order_acq_rel, memory_order_relaxed));
    if (REFS(s) == FILE_OPEN)
        file_free(fs, f);
    return 0;
}

int fs_release(struct fs *fs, uint64_t fh)
{
    int rc = release_own(fs, fh);

    if (G_LIKELY(rc == 0 || !fs->aliases))
        return rc;
    uint64_t ours = fs_alias_take(fs, fh);
    return ours ? release_own(fs, ours) : rc;
}

void fs_files_reset(struct fs *fs)
{
    fs_aliases_drop(fs);
    uint32_t high = atomic_load(&fs->files.high);
    for (uint32_t slot = 1; slot < high; slot++) {
        struct fs_file *f = fs_table_at(&fs->files, slot);
        uint64_t s = atomic_load(&f->state);
        if (s & FILE_OPEN)
            release_own(fs, (s & ~(uint64_t)UINT32_MAX) | slot);
    }
    AUTO_LOCK(&fs->files_lock);
    fs_table_clear(&fs->files, 1);
}
