/* SPDX-License-Identifier: BSD-3-Clause
 * Locks, shared with the host and with other guests. */
/* #syscalls:lock close fcntl */
#include "virtiofsd/fs/fs-lock-priv.h"

#include <sys/file.h>

/* Owners that GETLK looks at to find the one that the kernel means. */
#define LOOK_MAX 16384u

static int check(const struct fs_lock *lk)
{
    if (lk->type != F_RDLCK && lk->type != F_WRLCK && lk->type != F_UNLCK)
        return -EINVAL;
    return lk->start < 0 || lk->end < lk->start ? -EINVAL : 0;
}

static bool is_all(const struct fs_lock *lk)
{
    return lk->start == 0 && lk->end == INT64_MAX;
}

/* ---- POSIX locks ---- */

/* Name the process that holds @found, a lock in the way of @self, if it is one of the same client.
 */
static void name_holder(struct fs *fs, const struct fs_inode *inode, const struct fs_owner *self,
                        struct fs_lock *found)
{
    struct fs_locks *l = fs_locks_of(fs);
    struct fs_lock any = {.type = F_WRLCK, .start = found->start, .end = found->end};
    g_autoptr(GPtrArray) owners = g_ptr_array_new();
    unsigned budget = LOOK_MAX;

    AUTO_LOCK(&l->lock);
    fs_owners_in_the_way(l, inode, self, &any, owners, &budget);
    for (guint i = 0; i < owners->len; i++) {
        const struct fs_owner *o = owners->pdata[i];
        const struct fs_range *r = fs_ranges_conflict(o->ranges, &any);
        if (o->fs == fs && r->type == found->type && r->start == found->start &&
            r->end == found->end) {
            found->pid = o->pid;
            found->owner = o->id;
            return;
        }
    }
}

/* What the kernel knows to be in the way. */
static int ask_kernel(int fd, struct fs_lock *lk)
{
    struct flock fl = {.l_type = lk->type, .l_whence = SEEK_SET, .l_start = lk->start};

    fl.l_len = lk->end == INT64_MAX ? 0 : lk->end - lk->start + 1;
    if (fcntl(fd, F_OFD_GETLK, &fl) != 0)
        return -errno;
    lk->type = fl.l_type;
    lk->pid = 0;
    if (fl.l_type == F_UNLCK)
        return 0;
    lk->start = fl.l_start;
    lk->end = fl.l_len == 0 ? INT64_MAX : fl.l_start + fl.l_len - 1;
    return 0;
}

int fs_getlk(struct fs *fs, struct fs_inode *inode, uint64_t owner, struct fs_lock *lk)
{
    int rc = lk->type == F_UNLCK ? -EINVAL : check(lk);
    if (rc < 0)
        return rc;
    /* The owner's own locks are no conflict; if it has none, any description will do. */
    struct fs_owner *o = fs_owner_find(fs, inode, owner);
    AUTO_FD int own = o ? -1 : fs_lock_open(fs, inode, F_RDLCK);
    int fd = o ? o->fd : own;
    if (fd < 0)
        return fd;
    struct fs_lock found = *lk;
    rc = ask_kernel(fd, &found);
    if (rc == 0 && found.type != F_UNLCK)
        name_holder(fs, inode, o, &found);
    if (o)
        fs_owner_put(o, false);
    if (rc == 0)
        *lk = found;
    return rc;
}

/* Unlocking; an owner that is not known has nothing. */
static int unlock_range(struct fs *fs, struct fs_inode *inode, uint64_t owner,
                        const struct fs_lock *lk)
{
    struct fs_owner *o = fs_owner_find(fs, inode, owner);
    if (!o)
        return 0;
    int rc = fs_owner_set(o, lk);
    fs_owner_put(o, is_all(lk));
    return rc;
}

int fs_setlk(struct fs *fs, struct fs_inode *inode, const struct fs_locker *who,
             const struct fs_lock *lk)
{
    int rc = check(lk);
    if (rc < 0)
        return rc;
    if (lk->type == F_UNLCK)
        return unlock_range(fs, inode, who->owner, lk);
    struct fs_owner *o = fs_owner_get(fs, inode, who, lk->type, &rc);
    if (!o)
        return rc;
    rc = fs_owner_set(o, lk);
    fs_owner_put(o, false);
    return rc;
}

int fs_flush(struct fs *fs, struct fs_inode *inode, uint64_t owner)
{
    static const struct fs_lock all = {.type = F_UNLCK, .start = 0, .end = INT64_MAX};

    if (G_LIKELY(!(atomic_load_explicit(&inode->node.flags, memory_order_relaxed) & INODE_LOCKS)))
        return 0;
    return unlock_range(fs, inode, owner, &all);
}

/* ---- flock ---- */

int fs_flock(struct fs *fs, struct fs_file *file, int op)
{
    if (op != LOCK_SH && op != LOCK_EX && op != LOCK_UN)
        return -EINVAL;
    int rc = fs_flock_call(file, op | LOCK_NB);
    if (rc == 0 && op != LOCK_EX)
        fs_clerk_stir(fs_locks_of(fs));
    return rc;
}
