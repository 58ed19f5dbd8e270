/* SPDX-License-Identifier: BSD-3-Clause
 * Handles that another kind of daemon gave out: numbers without a generation, any of 32 bits. The
 * guest goes on using them; each stands for one of ours. */
#include "virtiofsd/fs/fs-priv.h"

int fs_alias_add(struct fs *fs, uint64_t theirs, uint64_t ours)
{
    AUTO_LOCK(&fs->files_lock);
    if (!fs->aliases)
        fs->aliases = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    if (theirs > UINT32_MAX || g_hash_table_contains(fs->aliases, &theirs))
        return -EINVAL;
    struct fs_file *f = fs_table_at(&fs->files, (uint32_t)ours);
    f->alias = (uint32_t)theirs;
    f->has_alias = true;
    g_hash_table_insert(fs->aliases, g_memdup2(&theirs, sizeof(theirs)),
                        g_memdup2(&ours, sizeof(ours)));
    return 0;
}

uint64_t fs_alias_find(struct fs *fs, uint64_t theirs)
{
    AUTO_LOCK(&fs->files_lock);
    const uint64_t *ours = g_hash_table_lookup(fs->aliases, &theirs);
    return ours ? *ours : 0;
}

uint64_t fs_alias_take(struct fs *fs, uint64_t theirs)
{
    AUTO_LOCK(&fs->files_lock);
    const uint64_t *found = g_hash_table_lookup(fs->aliases, &theirs);
    uint64_t ours = found ? *found : 0;
    g_hash_table_remove(fs->aliases, &theirs);
    return ours;
}

void fs_aliases_drop(struct fs *fs)
{
    if (fs->aliases)
        g_hash_table_destroy(fs->aliases);
    fs->aliases = NULL;
}
