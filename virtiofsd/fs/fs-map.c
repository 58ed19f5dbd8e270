/* SPDX-License-Identifier: BSD-3-Clause
 * Files that are mapped into guest memory (the DAX window).
 *
 * A mapping needs a descriptor of the file itself, and with most front-ends one that may write. So
 * it is found out once for each inode whether it can be opened so, without doing it: an open and a
 * close for writing would wake up whoever watches the file on the host. Programs are the exception:
 * only an open tells that one is being run (ETXTBSY). */
#include "virtiofsd/fs/fs-priv.h"

/* Of tree_node.map. */
enum {
    MAP_OPENED = 1 << NODE_MAP_CORE, /* by fs_map_open(), at least once */
    MAP_MARK = 4,                    /* from this bit on: fs_inode_mark() */
};

unsigned fs_mount_kind(struct fs *fs, struct fs_inode *inode)
{
    struct tree *t = fs_tree(inode);
    unsigned kind = t->ops->mount_kind ? t->ops->mount_kind(t, &inode->node) : 0;

    return fs->cfg.readonly ? kind & ~(unsigned)FS_MAP_WRITE : kind;
}

bool fs_offsets_last(struct fs *fs)
{
    return fs_mount_kind(fs, fs->root) & FS_OFFSETS;
}

bool fs_reopens(struct fs *fs)
{
    struct tree *t = fs->shared->tree;

    return t->ops->reopens && t->ops->reopens(t);
}

/* Whether an open for writing would succeed. */
static bool may_write(struct fs_inode *inode, const struct fs_attr *attr)
{
    struct tree *t = fs_tree(inode);
    return t->ops->may_map_write &&
           t->ops->may_map_write(t, &inode->node, attr->st.st_mode, attr->immutable);
}

unsigned fs_map_kind(struct fs *fs, struct fs_inode *inode, const struct fs_attr *attr)
{
    struct fs_attr own;

    if (!fs_inode_is(inode, S_IFREG))
        return 0;
    unsigned kind = fs_mount_kind(fs, inode) & ~(unsigned)FS_OFFSETS;
    if (!(kind & FS_MAP_WRITE))
        return kind;
    uint8_t known = atomic_load_explicit(&inode->node.map, memory_order_relaxed);
    if (!(known & NODE_MAP_KNOWN)) {
        if (!attr && fs_getattr(fs, inode, NULL, &own) < 0)
            return 0;
        bool may = may_write(inode, attr ? attr : &own);
        known = may ? NODE_MAP_KNOWN | NODE_MAP_WRITE : NODE_MAP_KNOWN;
        atomic_fetch_or(&inode->node.map, known);
    }
    return known & NODE_MAP_WRITE ? kind : kind & ~(unsigned)FS_MAP_WRITE;
}

int fs_map_open(struct fs *fs, struct fs_inode *inode, bool write)
{
    struct tree *t = fs_tree(inode);

    if (!fs_inode_is(inode, S_IFREG))
        return fs_inode_is(inode, S_IFDIR) ? -EISDIR : -EINVAL;
    if (write && fs->cfg.readonly)
        return -EROFS;
    if (!t->ops->map_open)
        return -ENODEV;
    /* Before: a FORGET must not miss it. */
    atomic_fetch_or(&inode->node.map, MAP_OPENED);
    int fd = t->ops->map_open(t, &inode->node, write);
    if (write && (fd == -EACCES || fd == -EPERM || fd == -EROFS || fd == -ETXTBSY)) {
        atomic_fetch_and(&inode->node.map, (uint8_t)~NODE_MAP_WRITE);
        atomic_fetch_or(&inode->node.map, NODE_MAP_KNOWN);
    }
    return fd;
}

int fs_map_store(struct fs *fs, struct fs_inode *inode, unsigned how)
{
    struct tree *t = fs_tree(inode);

    (void)fs;
    return t->ops->map_store ? t->ops->map_store(t, &inode->node, how) : 0;
}

bool fs_map_opened(const struct fs_inode *inode)
{
    return atomic_load(&inode->node.map) & MAP_OPENED;
}

unsigned fs_inode_mark(const struct fs_inode *inode)
{
    return atomic_load_explicit(&inode->node.map, memory_order_relaxed) >> MAP_MARK;
}

void fs_inode_set_mark(struct fs_inode *inode, unsigned mark)
{
    atomic_fetch_or(&inode->node.map, (uint8_t)(mark << MAP_MARK));
}
