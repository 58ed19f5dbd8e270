/* SPDX-License-Identifier: BSD-3-Clause
 * The inode table: ids, keys, references, the guest's lookups.
 *
 * The key of an inode is (device, inode number, mount id); an id is its slot plus a generation
 * that no earlier holder of the slot had. An inode lives as long as it has references; the
 * guest's lookups, however many it claims, are one of them. */
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-priv.h"

#include <stdlib.h>
#include <sys/sysmacros.h>

#define INODES_MAX (1u << 26)

/* What must be freed or closed after table_lock was dropped. */
struct grave {
    int fd, mnt_fd;
    struct file_handle *handle;
};

/* @later: NULL, or where the inode's descriptor goes in place of being closed. */
static void grave_close(struct fs *fs, struct grave *g, GArray *later)
{
    if (g->fd >= 0 && later) {
        g_array_append_val(later, g->fd);
    } else if (g->fd >= 0) {
        close(g->fd);
        atomic_fetch_sub_explicit(&fs->tree->inode_fds, 1, memory_order_relaxed);
    }
    if (g->mnt_fd >= 0)
        close(g->mnt_fd);
    free(g->handle);
}

int fs_inodes_init(struct fs *fs)
{
    uint32_t max = INODES_MAX;
    if (fs->cfg.max_inodes && fs->cfg.max_inodes < max - 2)
        max = (uint32_t)fs->cfg.max_inodes + 2;
    fs->tree->next_gen = 1;
    fs->tree->hand = FS_ROOT_ID + 1;
    int rc = fs_hash_init(fs);
    if (rc < 0)
        return rc;
    return fs_table_init(&fs->tree->inodes, sizeof(struct fs_inode),
                         offsetof(struct fs_inode, next), max);
}

/* ---- mounts ---- */

static struct fs_mnt *mnt_find_locked(struct fs *fs, const struct fs_inode *near, dev_t dev,
                                      uint64_t mnt_id)
{
    if (near && near->mnt->dev == dev && near->mnt->mnt_id == mnt_id)
        return near->mnt;
    for (struct fs_mnt *m = fs->tree->mnts; m; m = m->next)
        if (m->dev == dev && m->mnt_id == mnt_id)
            return m;
    return NULL;
}

static struct fs_mnt *mnt_add_locked(struct fs *fs, dev_t dev, uint64_t mnt_id)
{
    struct fs_mnt *m = g_new0(struct fs_mnt, 1);
    m->dev = dev;
    m->mnt_id = mnt_id;
    m->salt = fs->tree->next_salt += 0x9e3779b9u;
    atomic_init(&m->fd, -1);
    m->next = fs->tree->mnts;
    fs->tree->mnts = m;
    return m;
}

static void mnt_drop_locked(struct fs *fs, struct fs_mnt *m, struct grave *g)
{
    if (--m->inodes > 0)
        return;
    for (struct fs_mnt **p = &fs->tree->mnts; *p; p = &(*p)->next) {
        if (*p == m) {
            *p = m->next;
            break;
        }
    }
    g->mnt_fd = atomic_load(&m->fd);
    g_free(m);
}

/* ---- found by key ---- */

void fs_inode_unhash_locked(struct fs *fs, struct fs_inode *inode)
{
    if (!(atomic_fetch_and(&inode->flags, (uint8_t)~INODE_HASHED) & INODE_HASHED))
        return;
    fs_hash_remove(fs, inode);
}

void fs_inode_unhash(struct fs *fs, struct fs_inode *inode)
{
    AUTO_LOCK(&fs->tree->table_lock);
    fs_inode_unhash_locked(fs, inode);
}

/* ---- references ---- */

struct fs_inode *fs_inode_get(struct fs *fs, uint64_t id)
{
    uint32_t gen = (uint32_t)(id >> 32);
    struct fs_inode *inode = fs_table_peek(&fs->tree->inodes, (uint32_t)id);
    if (!inode)
        return NULL;

    uint64_t s = atomic_load_explicit(&inode->state, memory_order_relaxed);
    do {
        if (fs_state_refs(s) == 0 || atomic_load_explicit(&inode->gen, memory_order_relaxed) != gen)
            return NULL;
    } while (!atomic_compare_exchange_weak_explicit(&inode->state, &s, s + INODE_REF,
                                                    memory_order_acquire, memory_order_relaxed));
    /* The slot may have changed hands before the reference was there. */
    if (G_UNLIKELY(atomic_load_explicit(&inode->gen, memory_order_relaxed) != gen)) {
        fs_inode_put(fs, inode);
        return NULL;
    }
    return inode;
}

struct fs_inode *fs_inode_ref(struct fs_inode *inode)
{
    atomic_fetch_add_explicit(&inode->state, INODE_REF, memory_order_relaxed);
    return inode;
}

static void remove_locked(struct fs *fs, struct fs_inode *inode, struct grave *g)
{
    fs_inode_unhash_locked(fs, inode);
    g->fd = fs_state_fd(atomic_load(&inode->state));
    g->handle = inode->handle;
    inode->handle = NULL;
    mnt_drop_locked(fs, inode->mnt, g);
    atomic_store(&inode->gen, 0);
    atomic_store(&inode->state, 0);
    fs->tree->n_inodes--;
    fs_table_give(&fs->tree->inodes, inode->slot);
}

static void put_locked(struct fs *fs, struct fs_inode *inode, struct grave *g)
{
    uint64_t s = atomic_fetch_sub_explicit(&inode->state, INODE_REF, memory_order_acq_rel);
    if (fs_state_refs(s) == 1)
        remove_locked(fs, inode, g);
}

void fs_inode_put_later(struct fs *fs, struct fs_inode *inode, GArray *later)
{
    uint64_t s = atomic_load_explicit(&inode->state, memory_order_relaxed);
    while (fs_state_refs(s) > 1) {
        if (atomic_compare_exchange_weak_explicit(&inode->state, &s, s - INODE_REF,
                                                  memory_order_release, memory_order_relaxed))
            return;
    }
    /* Only under the lock may a count reach 0, so the table never shows a dead inode. */
    struct grave g = {-1, -1, NULL};
    pthread_mutex_lock(&fs->tree->table_lock);
    put_locked(fs, inode, &g);
    pthread_mutex_unlock(&fs->tree->table_lock);
    grave_close(fs, &g, later);
}

void fs_inode_put(struct fs *fs, struct fs_inode *inode)
{
    fs_idle_note(fs, inode);
    fs_inode_put_later(fs, inode, NULL);
}

uint64_t fs_inode_id(const struct fs_inode *inode)
{
    return (uint64_t)atomic_load_explicit(&inode->gen, memory_order_relaxed) << 32 | inode->slot;
}

mode_t fs_inode_type(const struct fs_inode *inode)
{
    return (mode_t)inode->type << 12;
}

/* ---- from attributes to inode ---- */

int64_t fs_btime(const struct statx *stx)
{
    if (!(stx->stx_mask & STATX_BTIME))
        return 0;
    /* Unsigned: a file system may say any year. */
    return (int64_t)((uint64_t)stx->stx_btime.tv_sec * 1000000000 + stx->stx_btime.tv_nsec);
}

enum verdict { SAME, OTHER, UNSURE };

/* Is the file that @stx describes the @inode with the same key? An open descriptor keeps the
 * number; without one it may have gone to a new file, that has another birth time then. */
static enum verdict judge(const struct fs_inode *inode, const struct statx *stx)
{
    int64_t born = fs_btime(stx);

    if (inode->type != (stx->stx_mode & S_IFMT) >> 12)
        return OTHER;
    if (fs_state_fd(atomic_load_explicit(&inode->state, memory_order_relaxed)) >= 0)
        return SAME;
    if (born != inode->btime_ns)
        return OTHER;
    return born == 0 || (atomic_load(&inode->flags) & INODE_YOUNG) ? UNSURE : SAME;
}

static dev_t dev_of(const struct statx *stx)
{
    return makedev(stx->stx_dev_major, stx->stx_dev_minor);
}

static uint64_t mnt_of(const struct statx *stx)
{
    return stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0;
}

static struct fs_inode *find_stx_locked(struct fs *fs, const struct fs_inode *near,
                                        const struct statx *stx)
{
    struct fs_mnt *mnt = mnt_find_locked(fs, near, dev_of(stx), mnt_of(stx));
    return mnt ? fs_hash_find(fs, mnt, stx->stx_ino) : NULL;
}

struct fs_inode *fs_inode_find(struct fs *fs, const struct fs_inode *near, const struct statx *stx)
{
    AUTO_LOCK(&fs->tree->table_lock);
    struct fs_inode *inode = find_stx_locked(fs, near, stx);
    /* What was found by name may be gone, and its number another's that is open by now. */
    if (!inode || judge(inode, stx) != SAME || inode->btime_ns != fs_btime(stx))
        return NULL;
    return fs_inode_ref(inode);
}

bool fs_inode_known(struct fs *fs, const struct fs_inode *near, uint64_t ino)
{
    AUTO_LOCK(&fs->tree->table_lock);
    return fs_hash_find(fs, near->mnt, ino);
}

/* Fill a slot. Returns NULL when the table is full. */
static struct fs_inode *new_locked(struct fs *fs, const struct fs_inode *near, int fd,
                                   struct file_handle *handle, const struct statx *stx)
{
    uint32_t slot = fs_table_take(&fs->tree->inodes);
    if (slot == 0)
        return NULL;
    struct fs_inode *i = fs_table_at(&fs->tree->inodes, slot);
    struct fs_mnt *mnt = mnt_find_locked(fs, near, dev_of(stx), mnt_of(stx));

    i->mnt = mnt ? mnt : mnt_add_locked(fs, dev_of(stx), mnt_of(stx));
    i->mnt->inodes++;
    i->ino = stx->stx_ino;
    i->btime_ns = fs_btime(stx);
    i->handle = handle;
    i->slot = slot;
    i->type = (uint8_t)((stx->stx_mode & S_IFMT) >> 12);
    atomic_store(&i->nlookup, 0);
    atomic_store(&i->seen, fs_digest(stx));
    /* A descriptor is what it is; a handle from a name has to show that. */
    atomic_store(&i->flags, INODE_HASHED | INODE_USED | (fd >= 0 ? INODE_PROVED : 0));
    atomic_store(&i->fresh, 0);
    atomic_store(&i->map, 0);
    fs->tree->n_inodes++;
    fs_hash_add(fs, i);
    if (slot != FS_ROOT_ID) {
        if (fs->tree->next_gen == 0) /* reserved for the root and for free slots */
            fs->tree->next_gen = 1;
        atomic_store(&i->gen, fs->tree->next_gen++);
    }
    atomic_store_explicit(&i->state, INODE_REF | (uint32_t)fd, memory_order_release);
    return i;
}

int fs_inodes_add_root(struct fs *fs, int fd, const struct statx *stx)
{
    AUTO_LOCK(&fs->tree->table_lock);
    fs->root = new_locked(fs, NULL, fd, NULL, stx);
    if (!fs->root)
        return -ENOMEM;
    g_assert(fs->root->slot == FS_ROOT_ID);
    atomic_fetch_add(&fs->tree->inode_fds, 1);
    return 0;
}

/* The bounds on inodes and, when one more is wanted, on their descriptors. */
static bool room_locked(const struct fs *fs, bool with_fd)
{
    uint64_t fds = atomic_load_explicit(&fs->tree->inode_fds, memory_order_relaxed);
    uint64_t other = atomic_load_explicit(&fs->tree->other_fds, memory_order_relaxed);

    uint64_t inodes = fs->tree->n_inodes + fs->tree->promised;

    if (fs->cfg.max_inodes && inodes > fs->cfg.max_inodes)
        return false;
    if (inodes + 1 >= fs->tree->inodes.max) /* slots begin with 1 */
        return false;
    return !with_fd || (fds < fs->inode_fds_hard && fds + other < fs->cfg.max_fds);
}

static void warn_no_room(void)
{
    log_guest_warn("no room for one more inode of the guest's (--max-inodes, --max-fds)");
}

int fs_room_take(struct fs *fs)
{
    pthread_mutex_lock(&fs->tree->table_lock);
    bool room = room_locked(fs, true);
    if (room) {
        fs->tree->promised++;
        atomic_fetch_add_explicit(&fs->tree->inode_fds, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&fs->tree->table_lock);
    if (!room)
        warn_no_room();
    return room ? 0 : -ENFILE;
}

void fs_room_give(struct fs *fs)
{
    AUTO_LOCK(&fs->tree->table_lock);
    fs->tree->promised--;
    atomic_fetch_sub_explicit(&fs->tree->inode_fds, 1, memory_order_relaxed);
}

/* One try of fs_inode_intern(): 1 = *out is a candidate that only handles can judge. */
static int intern_once(struct fs *fs, const struct fs_inode *near, int *fd,
                       struct file_handle **handle, const struct statx *stx, struct fs_inode **out,
                       bool *isnew, bool *room)
{
    AUTO_LOCK(&fs->tree->table_lock);
    struct fs_inode *inode = find_stx_locked(fs, near, stx);

    *isnew = false;
    if (inode) {
        enum verdict v = judge(inode, stx);
        if (v != OTHER) {
            *out = fs_inode_ref(inode);
            return v == SAME ? 0 : 1;
        }
        fs_inode_unhash_locked(fs, inode);
    }
    if (!*room && !room_locked(fs, true))
        return -ENFILE;
    inode = new_locked(fs, near, *fd, *handle, stx);
    if (!inode)
        return -ENFILE;
    if (*room) /* its descriptor is counted already */
        fs->tree->promised--;
    else
        atomic_fetch_add_explicit(&fs->tree->inode_fds, 1, memory_order_relaxed);
    *room = false;
    *fd = -1;
    *handle = NULL;
    *isnew = true;
    *out = inode;
    return 0;
}

/* Whether @inode, that has no descriptor, is what @fd refers to. -errno when nobody can say. */
static int same_by_handle(struct fs_inode *inode, int fd)
{
    struct file_handle *h;
    int rc = fs_handle_of(fd, &h);
    if (rc < 0)
        return rc;
    bool same = inode->handle && fs_handle_equal(inode->handle, h);
    free(h);
    return same;
}

int fs_inode_intern(struct fs *fs, const struct fs_inode *near, int *fd, const struct statx *stx,
                    struct fs_inode **out, bool *isnew, bool *room)
{
    g_autofree struct file_handle *handle = NULL;
    struct fs_inode *inode = NULL;
    bool made = false, none = false;
    int rc;

    if (fs->cfg.handles == FS_HANDLES_MANDATORY) {
        rc = fs_handle_of(*fd, &handle);
        if (rc < 0)
            return rc;
    }
    while ((rc = intern_once(fs, near, fd, &handle, stx, &inode, &made, room ? room : &none)) ==
           1) {
        rc = same_by_handle(inode, *fd);
        if (rc == 1) {
            rc = 0;
            break;
        }
        fs_inode_unhash(fs, inode);
        fs_inode_put(fs, inode);
    }
    if (rc == -ENFILE)
        warn_no_room();
    if (rc < 0)
        return rc;
    if (!made && fs_state_fd(atomic_load(&inode->state)) < 0)
        fs_inode_adopt_fd(fs, inode, fd);
    if (made && fs->handles && fs_inode_is(inode, S_IFDIR) && atomic_load(&inode->mnt->fd) < 0)
        fs_mnt_anchor(fs, inode, fs_state_fd(atomic_load(&inode->state)));
    if (made)
        fs_layout_learn(fs, inode, fs_state_fd(atomic_load(&inode->state)));
    fs_idle_note(fs, inode);
    fs_sweep(fs);
    if (isnew)
        *isnew = made;
    *out = inode;
    return 0;
}

const struct fs_mnt *fs_mnt_find(struct fs *fs, const struct fs_inode *near,
                                 const struct statx *stx)
{
    dev_t dev = dev_of(stx);
    uint64_t mnt_id = mnt_of(stx);

    /* A directory's own mount needs no lock: the caller's reference keeps it. Of another, only
     * something that cannot vanish may be said. */
    return near->mnt->dev == dev && near->mnt->mnt_id == mnt_id ? near->mnt : NULL;
}

int fs_inode_intern_handle(struct fs *fs, const struct fs_inode *near, struct file_handle **handle,
                           const struct statx *stx, struct fs_inode **out)
{
    AUTO_LOCK(&fs->tree->table_lock);
    struct fs_inode *inode = find_stx_locked(fs, near, stx);

    if (inode && judge(inode, stx) != OTHER)
        return -EAGAIN;
    if (inode)
        fs_inode_unhash_locked(fs, inode);
    if (!room_locked(fs, false))
        return -ENFILE;
    inode = new_locked(fs, near, -1, *handle, stx);
    if (!inode)
        return -ENFILE;
    *handle = NULL;
    fs_proof_recall(fs, inode);
    if (inode->btime_ns && fs_inode_is_young(inode))
        atomic_fetch_or(&inode->flags, INODE_YOUNG);
    *out = inode;
    return 0;
}

/* ---- the end ---- */

/* Whether @inode had lookups, which it has no more; their reference is the caller's then. */
static bool lookups_end(struct fs *fs, struct fs_inode *inode)
{
    AUTO_LOCK(&fs->tree->table_lock); /* other clients of the tree may be at work */
    return fs_state_refs(atomic_load(&inode->state)) > 0 && atomic_exchange(&inode->nlookup, 0) > 0;
}

void fs_inodes_reset(struct fs *fs)
{
    uint32_t high = atomic_load(&fs->tree->inodes.high);
    for (uint32_t s = FS_ROOT_ID; s < high; s++) {
        struct fs_inode *i = fs_table_at(&fs->tree->inodes, s);
        if (atomic_load(&i->nlookup) > 0 && lookups_end(fs, i))
            fs_inode_put(fs, i);
    }
    if (atomic_load(&fs->tree->views) > 0)
        return; /* they hold inodes, too */
    AUTO_LOCK(&fs->tree->table_lock);
    fs->tree->hand = FS_ROOT_ID + 1;
    if (fs->tree->n_inodes == 1)
        fs_table_clear(&fs->tree->inodes, FS_ROOT_ID + 1);
    else
        log_error("%" G_GUINT64_FORMAT " inodes still referenced after a reset",
                  fs->tree->n_inodes - 1);
}

void fs_inodes_fini(struct fs *fs)
{
    if (fs->root)
        fs_inode_put(fs, fs->root);
    fs->root = NULL;
    fs_table_fini(&fs->tree->inodes);
    fs_hash_fini(fs);
}
