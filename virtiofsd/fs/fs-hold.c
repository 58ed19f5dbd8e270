/* SPDX-License-Identifier: BSD-3-Clause
 * The last name of a file that the guest may have open without having told (FUSE_NO_OPEN_SUPPORT):
 * an inode that rests is found by its handle, which leads nowhere once the last name and the last
 * descriptor are gone. So a descriptor is held over the removal, and kept when that was the last
 * name, until the guest forgets the inode. What others than this daemon remove is not seen:
 * ESTALE. */
#include "virtiofsd/fs/fs-priv.h"

bool fs_hold_wanted(const struct fs *fs)
{
    return G_UNLIKELY(atomic_load_explicit(&fs->shared->handleless, memory_order_relaxed)) &&
           fs->rests;
}

/* Whether what the guest has of @inode may be open. */
static bool matters(const struct fs_inode *inode)
{
    return atomic_load(&inode->nlookup) > 0 &&
           (fs_inode_is(inode, S_IFREG) || fs_inode_is(inode, S_IFDIR));
}

int fs_hold(struct fs *fs, struct fs_inode *inode, struct fs_inode **held)
{
    struct fs_attr attr;
    int rc = matters(inode) ? fs_getattr(fs, inode, NULL, &attr) : -ENOENT;

    *held = NULL;
    if (rc == 0)
        *held = inode; /* by a descriptor now, which our reference keeps */
    else
        fs_inode_put(fs, inode);
    return rc == -ENFILE || rc == -EMFILE ? -ENFILE : 0;
}

void fs_hold_end(struct fs *fs, struct fs_inode *held, bool removed)
{
    struct fs_attr attr;

    if (!held)
        return;
    /* Asked behind the removal: of two names that go at once, the later one sees that it was the
     * last. */
    if (removed && (fs_inode_is(held, S_IFDIR) || fs_getattr(fs, held, NULL, &attr) < 0 ||
                    attr.st.st_nlink == 0))
        atomic_fetch_or(&held->node.flags, INODE_NAMELESS);
    fs_inode_put(fs, held);
}

int fs_hold_nameless(struct fs *fs, struct fs_inode *inode)
{
    struct fs_attr attr;

    if (!fs_hold_wanted(fs))
        return 0;
    atomic_fetch_or(&inode->node.flags, INODE_NAMELESS);
    return fs_getattr(fs, inode, NULL, &attr) < 0 ? -ENFILE : 0;
}

void fs_hold_named(struct fs_inode *inode)
{
    if (G_UNLIKELY(atomic_load_explicit(&inode->node.flags, memory_order_relaxed) & INODE_NAMELESS))
        atomic_fetch_and(&inode->node.flags, (uint8_t)~INODE_NAMELESS);
}
