/* SPDX-License-Identifier: BSD-3-Clause
 * Inodes held by descriptor against inodes held by file handle.
 *
 * With handles in use a new inode found by name gets its handle and nothing else: two system
 * calls, and nothing to close when it is forgotten. Its first use opens an O_PATH descriptor,
 * which stays. With more of them open than the soft limit, a clock sweep closes those that were
 * not used since its last round and that nobody but the guest's lookups refers to.
 * open_by_handle_at() wants a real descriptor on the same mount: one is kept per mount.
 *
 * A handle made by name and the attributes found under that name may be of two files, when somebody
 * swaps them in between. So the inode number inside the handle is compared; where it lies is learnt
 * once per mount from a pair that belongs together. Where it is not found, an inode begins with a
 * descriptor and gets its handle when that is swept. That a number may have gone from one file to
 * the next is left to the first opening by that handle: fs-proof.c. */
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-priv.h"

#include <stdlib.h>
#include <time.h>

#define SWEEP_LOOK    64 /* inodes looked at for one that may go */
#define SWEEP_CLOSE   4  /* descriptors closed in one go, so that one request pays little */
#define YOUNG_NS      2000000000LL
#define NS_PER_SECOND 1000000000LL

union handle_room {
    struct file_handle h;
    char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static int get_handle(int fd, const char *name, union handle_room *u)
{
    int mnt_id;

    u->h.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(fd, name, &u->h, &mnt_id, *name ? 0 : AT_EMPTY_PATH) == 0)
        return 0;
    return errno == EOVERFLOW ? -EOPNOTSUPP : -errno;
}

static int keep_handle(const union handle_room *u, struct file_handle **out)
{
    size_t size = sizeof(u->h) + u->h.handle_bytes;
    *out = malloc(size);
    if (!*out)
        return -ENOMEM;
    memcpy(*out, u, size);
    return 0;
}

int fs_handle_of(int fd, struct file_handle **out)
{
    union handle_room u;
    int rc = get_handle(fd, "", &u);
    return rc < 0 ? rc : keep_handle(&u, out);
}

/* ---- the number inside ---- */

static uint64_t pack_layout(struct fs_layout l)
{
    uint64_t v;
    _Static_assert(sizeof(l) == sizeof(v), "one word");
    memcpy(&v, &l, sizeof(v));
    return v;
}

static struct fs_layout layout_of(const struct fs_mnt *mnt)
{
    uint64_t v = atomic_load_explicit(&mnt->layout, memory_order_relaxed);
    struct fs_layout l;
    memcpy(&l, &v, sizeof(l));
    return l;
}

static bool holds_number(const struct file_handle *h, struct fs_layout l, uint64_t ino)
{
    uint64_t there = 0; /* little endian: the low bytes come first */

    if (h->handle_type != l.type || h->handle_bytes != l.bytes)
        return false;
    memcpy(&there, h->f_handle + l.off, l.width);
    return GUINT64_FROM_LE(there) == ino;
}

void fs_layout_learn(struct fs *fs, struct fs_inode *inode, int fd)
{
    /* ext4 and others of the generic form, tmpfs, XFS; btrfs and others with longer ones. */
    static const struct fs_layout forms[] = {
        {LAYOUT_KNOWN, 8, 0, 4, 0},
        {LAYOUT_KNOWN, 12, 4, 8, 0},
        {LAYOUT_KNOWN, 12, 0, 8, 0},
        {LAYOUT_KNOWN, 0, 0, 8, 0},
    };
    union handle_room u;
    struct fs_layout found = {.state = LAYOUT_NONE};
    int mount_fd = atomic_load(&inode->mnt->fd);

    if (!fs->handles || layout_of(inode->mnt).state != 0 || inode == fs->root || mount_fd < 0)
        return;
    if (get_handle(fd, "", &u) < 0)
        return;
    /* A server elsewhere may use a number again without another generation. */
    bool local = !(fs_mount_kind(fs, inode) & FS_MAP_SLOW);
    for (unsigned i = 0; local && i < G_N_ELEMENTS(forms) && found.state == LAYOUT_NONE; i++) {
        struct fs_layout l = forms[i];
        l.type = u.h.handle_type;
        if (l.bytes == 0 && u.h.handle_bytes > 12 && u.h.handle_bytes <= UINT8_MAX)
            l.bytes = (uint8_t)u.h.handle_bytes;
        if (holds_number(&u.h, l, inode->ino))
            found = l;
    }
    /* Some file systems make handles that nobody can open. */
    bool search = fs_search_begin();
    AUTO_FD int again = open_by_handle_at(mount_fd, &u.h, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (search)
        fs_search_end();
    if (again < 0)
        found = (struct fs_layout){.state = LAYOUT_NONE};
    atomic_store_explicit(&inode->mnt->layout, pack_layout(found), memory_order_relaxed);
}

bool fs_layout_known(const struct fs_mnt *mnt)
{
    return layout_of(mnt).state == LAYOUT_KNOWN;
}

bool fs_handles_by_name(struct fs *fs, const struct fs_mnt *mnt)
{
    return fs->handles && fs_layout_known(mnt) && atomic_load(&mnt->fd) >= 0;
}

int fs_handle_of_name(const struct fs_mnt *mnt, int dir, const char *name, const struct statx *stx,
                      struct file_handle **out)
{
    union handle_room u;

    if (stx->stx_attributes & STATX_ATTR_AUTOMOUNT)
        return -EAGAIN;
    if (get_handle(dir, name, &u) < 0 || !holds_number(&u.h, layout_of(mnt), stx->stx_ino))
        return -EAGAIN;
    return keep_handle(&u, out);
}

bool fs_handle_equal(const struct file_handle *a, const struct file_handle *b)
{
    return a->handle_bytes == b->handle_bytes && a->handle_type == b->handle_type &&
           memcmp(a->f_handle, b->f_handle, a->handle_bytes) == 0;
}

/* A handle of the root can be made and opened again. */
static int try_handles(int root_fd)
{
    g_autofree struct file_handle *h = NULL;
    int rc = fs_handle_of(root_fd, &h);
    if (rc < 0)
        return rc;
    AUTO_FD int dir = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    AUTO_FD int again = open_by_handle_at(dir, h, O_PATH | O_CLOEXEC);
    return again < 0 ? -errno : 0;
}

int fs_handles_init(struct fs *fs, int root_fd, GError **err)
{
    if (fs->cfg.handles == FS_HANDLES_NEVER)
        return 0;
    int rc = try_handles(root_fd);
    fs->handles = rc == 0;
    if (rc == 0)
        return 0;
    const char *why = rc == -EPERM
                          ? "CAP_DAC_READ_SEARCH is missing"
                          : (rc == -EOPNOTSUPP ? "the file system has none" : errno_text(-rc));
    if (fs->cfg.handles == FS_HANDLES_MANDATORY) {
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(-rc),
                    "file handles do not work on the shared directory (%s): use "
                    "--inode-file-handles=prefer or never",
                    why);
        return rc;
    }
    log_info("file handles are not used: %s", why);
    return 0;
}

int fs_mnt_anchor(struct fs *fs, struct fs_inode *inode, int fd)
{
    struct fs_mnt *mnt = inode->mnt;
    char name[FD_NAME_LEN];
    AUTO_FD int real = -1;

    if (atomic_load(&mnt->fd) >= 0)
        return 0;
    if (!fs_inode_openable(inode))
        return -EAGAIN;
    bool search = fs_search_begin();
    if (fs_inode_is(inode, S_IFDIR))
        real = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    else
        real = openat(fs->cfg.proc_self_fd, fs_fd_name(name, fd), O_RDONLY | O_CLOEXEC);
    if (search)
        fs_search_end();
    if (real < 0)
        return -errno;
    int none = -1;
    if (atomic_compare_exchange_strong(&mnt->fd, &none, real))
        real = -1;
    return 0;
}

void fs_inode_adopt_fd(struct fs *fs, struct fs_inode *inode, int *fd)
{
    atomic_fetch_and(&inode->flags, (uint8_t)~INODE_YOUNG);
    atomic_fetch_or(&inode->flags, INODE_USED);
    uint64_t s = atomic_load(&inode->state);
    while (fs_state_fd(s) < 0) {
        uint64_t want = (s & ~(uint64_t)UINT32_MAX) | (uint32_t)*fd;
        if (atomic_compare_exchange_weak(&inode->state, &s, want)) {
            atomic_fetch_add_explicit(&fs->tree->inode_fds, 1, memory_order_relaxed);
            *fd = -1;
            return;
        }
    }
}

int fs_handle_open(struct fs *fs, struct fs_inode *inode, int flags)
{
    bool proved = fs_inode_proved(inode);
    g_assert(proved || (flags & O_PATH));
    bool search = fs_search_begin();
    if (search && !(flags & O_PATH)) { /* with that right nothing would be judged */
        fs_search_end();
        return -EPERM;
    }
    AUTO_FD int fd =
        open_by_handle_at(atomic_load(&inode->mnt->fd), inode->handle, flags | O_CLOEXEC);
    if (search)
        fs_search_end();
    if (fd >= 0) {
        int bad = proved ? 0 : fs_proof_take(fs, inode, fd);
        return bad < 0 ? bad : steal_fd(&fd);
    }
    int rc = fs_open_errno();
    if (rc == -ESTALE || (rc == -ENOENT && (flags & O_PATH))) {
        fs_inode_unhash(fs, inode);
        rc = -ESTALE;
    }
    return rc;
}

int fs_inode_reopen(struct fs *fs, struct fs_inode *inode)
{
    uint64_t fds = atomic_load_explicit(&fs->tree->inode_fds, memory_order_relaxed);
    uint64_t other = atomic_load_explicit(&fs->tree->other_fds, memory_order_relaxed);
    if (fds >= fs->inode_fds_hard || fds + other >= fs->cfg.max_fds) {
        fs_sweep(fs);
        fds = atomic_load_explicit(&fs->tree->inode_fds, memory_order_relaxed);
        if (fds >= fs->inode_fds_hard)
            return -ENFILE;
    }
    AUTO_FD int fd = fs_handle_open(fs, inode, O_PATH | O_NOFOLLOW);
    if (fd < 0)
        return fd;
    fs_inode_adopt_fd(fs, inode, &fd);
    int now = fs_state_fd(atomic_load_explicit(&inode->state, memory_order_acquire));
    fs_sweep(fs);
    return now;
}

/* ---- the sweep ---- */

static bool may_go(const struct fs *fs, struct fs_inode *i)
{
    uint64_t s = atomic_load_explicit(&i->state, memory_order_acquire);

    if (fs_state_refs(s) != 1 || fs_state_fd(s) < 0 || atomic_load(&i->nlookup) == 0 ||
        i == fs->root || atomic_load_explicit(&i->mnt->no_handles, memory_order_relaxed))
        return false;
    return !(atomic_fetch_and(&i->flags, (uint8_t)~INODE_USED) & INODE_USED);
}

/* How far the hand goes in one move. It passes every inode, with a descriptor or without, and lets
 * each go at its second visit: twice around must take fewer moves than there are descriptors
 * between the limits, however many inodes are known. */
static uint64_t reach(const struct fs *fs)
{
    uint64_t moves =
        fs->inode_fds_hard > fs->inode_fds_soft ? fs->inode_fds_hard - fs->inode_fds_soft : 1;
    return SWEEP_LOOK + 4 * (uint64_t)fs->tree->n_inodes / moves;
}

/* Move the hand to the next inode that may go and take a reference on it. */
static struct fs_inode *pick(struct fs *fs)
{
    AUTO_LOCK(&fs->tree->table_lock);
    uint32_t high = atomic_load(&fs->tree->inodes.high);
    uint64_t look = reach(fs);

    for (uint64_t n = 0; n < look; n++) {
        if (fs->tree->hand >= high)
            fs->tree->hand = FS_ROOT_ID + 1;
        if (fs->tree->hand >= high)
            return NULL;
        struct fs_inode *i = fs_table_at(&fs->tree->inodes, fs->tree->hand++);
        if (may_go(fs, i))
            return fs_inode_ref(i);
    }
    return NULL;
}

/* Everything that must be there before the descriptor may be closed. */
static int prepare(struct fs *fs, struct fs_inode *inode, int fd, struct file_handle **handle)
{
    int rc = fs_mnt_anchor(fs, inode, fd);
    if (rc < 0 || inode->handle)
        return rc;
    rc = fs_handle_of(fd, handle);
    if (rc == -EOPNOTSUPP || rc == -EPERM)
        atomic_store(&inode->mnt->no_handles, true);
    return rc;
}

bool fs_inode_is_young(const struct fs_inode *inode)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ns = (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
    return (int64_t)(ns - (uint64_t)inode->btime_ns) < YOUNG_NS;
}

/* Close the descriptor of an inode from pick() and drop that reference, unless somebody else has
 * come to use it: then only the latter. */
static void close_picked(struct fs *fs, struct fs_inode *inode)
{
    int fd = fs_state_fd(atomic_load(&inode->state));
    struct file_handle *handle = NULL;
    bool young = fs_inode_is_young(inode), closed = false;

    if (prepare(fs, inode, fd, &handle) == 0) {
        AUTO_LOCK(&fs->tree->table_lock);
        /* Nobody but us and, since they cannot end without the lock, the guest's lookups. */
        uint64_t alone = 2 * INODE_REF | (uint32_t)fd;
        if (!inode->handle)
            inode->handle = g_steal_pointer(&handle);
        if (atomic_load(&inode->nlookup) > 0) {
            if (young)
                atomic_fetch_or(&inode->flags, INODE_YOUNG);
            if (!fs_layout_known(inode->mnt))
                atomic_fetch_and(&inode->flags, (uint8_t)~INODE_PROVED);
            closed =
                atomic_compare_exchange_strong(&inode->state, &alone, INODE_REF | (uint32_t)-1);
        }
    }
    free(handle);
    if (!closed) {
        fs_inode_put(fs, inode);
        return;
    }
    close(fd);
    atomic_fetch_sub_explicit(&fs->tree->inode_fds, 1, memory_order_relaxed);
}

void fs_sweep(struct fs *fs)
{
    if (!fs->handles)
        return;
    for (int n = 0; n < SWEEP_CLOSE; n++) {
        if (atomic_load_explicit(&fs->tree->inode_fds, memory_order_relaxed) <= fs->inode_fds_soft)
            return;
        struct fs_inode *inode = pick(fs);
        if (!inode)
            return;
        close_picked(fs, inode);
    }
}

struct fs_inode *fs_sweep_one(struct fs *fs, uint64_t id)
{
    struct fs_inode *inode = fs_inode_get(fs, id);

    if (!inode)
        return NULL;
    atomic_fetch_and(&inode->flags, (uint8_t)~INODE_QUEUED);
    uint64_t s = atomic_load(&inode->state);
    bool used = atomic_fetch_and(&inode->flags, (uint8_t)~INODE_USED) & INODE_USED;
    if (fs_state_fd(s) >= 0 && (used || fs_inode_is_young(inode)))
        return inode;
    if (fs_state_fd(s) >= 0 && fs_state_refs(s) == 2)
        close_picked(fs, inode);
    else
        fs_inode_put_later(fs, inode, NULL); /* without entering it into the queue again */
    return NULL;
}
