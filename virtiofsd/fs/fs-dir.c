/* SPDX-License-Identifier: BSD-3-Clause
 * Reading directories: what a tree lists, with the inodes that a plus reading wants. */
#include "virtiofsd/fs/fs-priv.h"

#include <dirent.h>

/* Room that one entry takes in a reply, about: head and name, padded. */
#define COST_PLAIN 24
#define COST_PLUS  152

/* After so many new inodes in a row the next one is taken for new without a look at the table. One
 * that is known then costs a system call more, which so many others have spared. */
#define NEW_ONES 16

/* What a read in progress works on. */
struct reading {
    struct fs *fs;
    struct fs_inode *inode;
    bool plus;
    unsigned new_ones; /* inodes that were new, the last in a row */
    size_t room;
    fs_dirent_fn *fn;
    void *user;
};

/* The entry for a plus reading: 0 with a reference in *out, 1 = list it without, -ENOENT = it is
 * gone, leave it out. */
static int look_up(struct reading *r, const struct tree_dirent *e, struct fs_entry *out)
{
    bool isnew = false,
         likely_new = r->new_ones >= NEW_ONES || !fs_inode_known(r->fs, r->inode, e->ino);
    struct fs_hint hint = {.likely_new = likely_new, .new_ino = likely_new ? e->ino : 0};
    int rc = fs_lookup_name(r->fs, r->inode, e->name, &hint, out, &isnew);
    r->new_ones = isnew ? r->new_ones + 1 : 0;
    return rc < 0 && rc != -ENOENT ? 1 : rc;
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Hand one entry out. Returns false when the caller has enough. */
static bool emit(void *user, const struct tree_dirent *e)
{
    struct reading *r = user;
    struct fs_entry entry;
    bool dots = is_dots(e->name);
    struct fs_dirent d = {
        .ino = e->ino,
        .off = e->off,
        .type = dots ? DT_DIR : e->type, /* some file systems do not say */
        .name = e->name,
        .name_len = strlen(e->name),
    };
    size_t cost = (r->plus ? COST_PLUS : COST_PLAIN) + ((d.name_len + 7) & ~(size_t)7);

    if (cost > r->room)
        return false;
    if (dots && e->name[1] && r->inode == r->fs->root)
        d.ino = r->inode->node.ino; /* what is above is not the guest's business */
    int rc = r->plus && !dots ? look_up(r, e, &entry) : 1;
    if (rc == -ENOENT)
        return true;
    if (rc == 0) { /* the name may mean another file than when it was listed */
        d.ino = entry.attr.st.st_ino;
        d.type = (unsigned)fs_inode_type(entry.inode) >> 12;
    }
    if (!r->fn(r->user, &d, rc == 0 ? &entry : NULL)) {
        if (rc == 0)
            fs_inode_put(r->fs, entry.inode);
        return false;
    }
    r->room -= cost;
    return true;
}

int fs_readdir(struct fs *fs, struct fs_inode *inode, struct fs_file *file, uint64_t off, bool plus,
               size_t budget, fs_dirent_fn *fn, void *user)
{
    struct tree *t = fs_file_tree(file);
    struct reading r = {
        .fs = fs,
        .inode = inode,
        .plus = plus,
        .room = budget,
        .fn = fn,
        .user = user,
    };

    if (!file->f.is_dir || !t->ops->readdir)
        return -ENOTDIR;
    return t->ops->readdir(t, &file->f, off, emit, &r);
}
