/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the core share with each other and with nobody else.
 *
 * Locks, in the order in which they may be taken; all but fs_dir.lock guard memory only and are
 * never held across a system call on the shared tree:
 *   fs_dir.lock (one open directory) -> fs_tree.locks.lock -> fs_tree.table_lock
 *   fs.files_lock is a leaf. */
#pragma once

#include "virtiofsd/base/auto.h"
#include "virtiofsd/fs/fs-table.h"
#include "virtiofsd/fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/queue.h>

/* One mounted file system as seen in the share: the part of the inode key that inodes have in
 * common. Lives as long as one of its inodes. */
struct fs_mnt {
    struct fs_mnt *next;
    dev_t dev;
    uint64_t mnt_id;
    uint64_t inodes; /* in the table, table_lock */
    uint32_t salt;   /* hash seed that tells mounts apart */
    _Atomic int fd;  /* real descriptor inside the mount for open_by_handle_at(), -1 = not yet */
    atomic_bool no_handles;
    _Atomic uint64_t layout; /* struct fs_layout: where a handle holds the inode number */
    _Atomic uint32_t map;    /* FS_MAP_* of its files, 0 = not yet known: fs-map.c */
    _Atomic uint8_t append;  /* APPEND_*: fs-side.c */
};

/* What makes a write to one of the mount's files an append: RWF_APPEND, or only O_APPEND. */
enum { APPEND_UNKNOWN, APPEND_BY_FLAG, APPEND_BY_FD };

/* Where the handles of one mount hold the inode number: learnt from a handle and a number that are
 * known to belong together. It lets a handle made by name be checked against the attributes found
 * under that name without opening it. */
struct fs_layout {
    uint8_t state; /* 0 = not yet learnt, LAYOUT_KNOWN, LAYOUT_NONE */
    uint8_t bytes, off, width;
    int32_t type;
};
enum { LAYOUT_KNOWN = 1, LAYOUT_NONE = 2 };

enum {
    INODE_USED = 1 << 0,  /* its descriptor was used since the sweep came by */
    INODE_LOCKS = 1 << 1, /* has POSIX lock owners */
    INODE_YOUNG = 1 << 2, /* its birth was too near to the moment its descriptor was closed */
    INODE_HASHED = 1 << 3,
    INODE_OPENED = 1 << 4, /* at least once: the guest may have some of it cached */
    INODE_QUEUED = 1 << 6, /* in the queue of fs-idle.c */
    INODE_PROVED = 1 << 5, /* its handle leads to the file that was looked up: fs-proof.c */
};

/* An inode the guest may name. refs are ours and keep the slot; nlookup is what the guest claims
 * and is never trusted for more than one reference.
 *
 * state holds the reference count (high half) and the O_PATH descriptor (low half, -1 = only the
 * handle is kept) in one word: the sweep may close a descriptor only by an exchange that proves
 * that nobody but the guest's lookups holds a reference, so a holder never sees it vanish. */
struct fs_inode {
    _Atomic uint64_t state;
    _Atomic uint64_t nlookup; /* guest-controlled; 0 <-> 1 only under table_lock */
    uint64_t ino;
    struct fs_mnt *mnt;
    int64_t btime_ns; /* 0 = the file system has none */
    struct file_handle *handle;
    _Atomic uint64_t seen; /* fs_digest() at the last open, or when it was found; 0 = unsure */
    uint32_t slot;
    _Atomic uint32_t gen;
    uint32_t next; /* hash chain, or free list; table_lock */
    uint8_t type;  /* S_IFMT >> 12 */
    _Atomic uint8_t flags;
    _Atomic uint8_t fresh; /* how new the last looked-up children were: see fs_lookup() */
    _Atomic uint8_t map;   /* how it can be mapped: fs-map.c */
};

#define INODE_REF ((uint64_t)1 << 32)

struct fs_dir;
struct fs_sides;

/* An open file. state: generation (high half), FILE_OPEN and the references (low half). */
struct fs_file {
    _Atomic uint64_t state;
    struct fs_inode *inode;
    struct fs_dir *dir; /* only of directories, made by the first read */
    int fd;
    int accmode; /* O_RDONLY, O_WRONLY, O_RDWR */
    int kind;    /* what of O_NOATIME and, if the file is append-only, O_APPEND fd has */
    int asked;   /* the guest's FS_ASKED_FLAGS at open(2) */
    struct fs_sides *_Atomic sides; /* further descriptors: fs-side.c */
    uint32_t slot;
    uint32_t next; /* free list */
    bool is_dir;
    LIST_HEAD(, fs_owner) owners; /* of locks taken through it: fs_locks.lock */
};

struct fs_owner;
struct fs_book;
struct fs_waiter;
struct fs_proofs;
struct fs_idle;

/* Record locks of all clients, and those that wait for any lock: fs-lock-priv.h. */
struct fs_locks {
    pthread_mutex_t lock;
    GHashTable *books;        /* by inode */
    struct fs_book *reap;     /* to be freed by the clerk */
    const struct fs *reaping; /* whose owners the clerk frees just now */
    atomic_uint n_owners;     /* with those that are put aside */
    unsigned n_ranges;

    TAILQ_HEAD(, fs_waiter) waiters; /* the longest waiting first */
    unsigned n_waiters;
    unsigned n_threads;   /* that wait in the kernel */
    atomic_uint n_parked; /* waiters without a thread */
    pthread_cond_t ended; /* a wait is over, or something was reaped */
    unsigned search;      /* number of the search for a deadlock */

    pthread_cond_t work; /* for the clerk: fs-lock-clerk.c */
    pthread_t clerk;
    bool has_clerk, stirred, closing;
    GArray *fds; /* to be closed by it, or NULL; counted by: */
    _Atomic uint64_t *inode_fds;
    void (*thread_start)(void *user);
    void *user;
};

/* What all views of a tree share: the inodes, and the descriptors that they and all open files
 * cost. */
struct fs_tree {
    atomic_uint views; /* besides the first */
    _Atomic uint64_t inode_fds;
    _Atomic uint64_t other_fds; /* open files and lock descriptors */
    atomic_uint dir_bufs;
    struct fs_locks locks;

    pthread_mutex_t table_lock;
    struct fs_table inodes;
    struct fs_table buckets; /* heads of chains through fs_inode.next: fs-hash.c */
    uint32_t n_buckets, half;
    uint64_t n_inodes;
    uint64_t promised; /* more of them, that fs_room_take() keeps room for */
    uint32_t next_gen;
    uint32_t hand; /* of the clock sweep */
    struct fs_mnt *mnts;
    uint32_t next_salt;
    struct fs_proofs *proofs; /* NULL without handles */
    struct fs_idle *idle;     /* the same */
    dev_t dev;                /* of the root */
    bool root_is_mount;       /* nothing of the root's mount lies outside of the share */
};

struct fs {
    struct fs_config cfg;
    bool writeback;     /* the guest caches writes; constant while requests run */
    atomic_bool no_rwf; /* the kernel has no RWF_APPEND, RWF_SYNC, RWF_DSYNC (or an emulator) */
    bool handles;       /* file handles are in use */
    bool ids;           /* cfg.uids or cfg.gids is given */
    bool acl;           /* the guest knows ACLs; constant while requests run */
    bool submounts;     /* other file systems are other devices to the guest; the same */
    uid_t uid;          /* ours */
    gid_t gid;
    /* The host's name of security.capability where the xattrmap has another one for it: the host's
     * kernel then does not remove it from a changed file, so we do. Else NULL. */
    char *cap_name;
    unsigned serial;         /* tells this context from earlier ones in thread-local state */
    uint64_t inode_fds_soft; /* with handles: beyond it unused descriptors are closed */
    uint64_t inode_fds_hard;
    uint64_t other_fds_hard;
    struct fs_tree *tree;
    bool view; /* made by fs_view(): the tree and the descriptors of cfg are another's */
    struct fs_inode *root;

    pthread_mutex_t files_lock;
    struct fs_table files;
    uint32_t next_file_gen;
};

/* ---- small things ---- */

#define FD_NAME_LEN 12

/* Decimal @fd at the end of @buf: the name of a descriptor below proc_self_fd. */
const char *fs_fd_name(char buf[FD_NAME_LEN], int fd);

#define FS_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

/* statx of @name below @fd, not followed; "" is @fd itself. 0 or -errno. */
int fs_statx_at(int fd, const char *name, struct statx *stx);
/* The number that the guest sees. First directories of file systems have the same few numbers, and
 * a guest sees one below the other on one device, until it goes in or for ever: a walk takes that
 * for a loop. So numbers that are ambiguous have some of their device's added. */
uint64_t fs_shown_ino(const struct fs *fs, const struct statx *stx);
/* Attributes in the form of fs_attr, ids as the guest knows them; submount is left false. */
void fs_attr_from_statx(const struct fs *fs, const struct statx *stx, struct fs_attr *out);
/* Owner and group as the guest knows them, where there is a translation (fs->ids). */
void fs_ids_to_guest(const struct fs *fs, struct fs_attr *attr);
/* As above for an entry found in @parent: fills submount. */
void fs_attr_for_child(const struct fs *fs, const struct fs_inode *parent, const struct statx *stx,
                       struct fs_attr *out);

/* Count one more descriptor for files or locks. 0 or -ENFILE. */
int fs_fds_take(struct fs *fs);
void fs_fds_give(struct fs *fs);

/* -errno of a failed open on behalf of the guest: whichever table is full, it hears ENFILE. */
static inline int fs_open_errno(void)
{
    return errno == EMFILE ? -ENFILE : -errno;
}

/* Make the working directory of this thread /proc/self/fd, so that calls that know only paths
 * can name a descriptor. 0 or -errno. */
int fs_thread_cwd(struct fs *fs);

/* ---- fs-inode.c ---- */

int fs_inodes_init(struct fs *fs);
void fs_inodes_fini(struct fs *fs);
/* Forget all lookups; afterwards only the root is left. */
void fs_inodes_reset(struct fs *fs);
/* The root, over a descriptor that is taken over. */
int fs_inodes_add_root(struct fs *fs, int fd, const struct statx *stx);

/* The known inode that @stx describes, with a reference; NULL when there is none or when only a
 * descriptor could tell. @near: an inode that is probably on the same mount. */
struct fs_inode *fs_inode_find(struct fs *fs, const struct fs_inode *near, const struct statx *stx);
/* Whether number @ino on the mount of @near is in the table. */
bool fs_inode_known(struct fs *fs, const struct fs_inode *near, uint64_t ino);
/* The inode of an O_PATH descriptor with its own @stx, known or new, with a reference. Takes *fd
 * over when it keeps it (-1 then); the caller closes it else. *isnew may be NULL. @room: NULL, or
 * whether fs_room_take() has promised; false when that was used. */
int fs_inode_intern(struct fs *fs, const struct fs_inode *near, int *fd, const struct statx *stx,
                    struct fs_inode **out, bool *isnew, bool *room);
/* Promise one more inode, held by a descriptor, to be asked before one is made on the host. 0 or
 * -ENFILE. What is promised counts for everybody, so neither do the bounds yield when several
 * queues make something at once, nor is anything made for which there is no room. */
int fs_room_take(struct fs *fs);
/* End a promise that was not used. */
void fs_room_give(struct fs *fs);
/* A new inode held by its handle only, which is taken over on success. -EAGAIN: somebody else made
 * it meanwhile, or its mount is not known yet. */
int fs_inode_intern_handle(struct fs *fs, const struct fs_inode *near, struct file_handle **handle,
                           const struct statx *stx, struct fs_inode **out);
/* The mount that @stx is on, if it is known. */
const struct fs_mnt *fs_mnt_find(struct fs *fs, const struct fs_inode *near,
                                 const struct statx *stx);
/* Birth time in nanoseconds, 0 = the file system has none. */
int64_t fs_btime(const struct statx *stx);
/* fs_inode_put(). @later: NULL, or where the descriptor goes in place of being closed; it stays
 * counted. */
void fs_inode_put_later(struct fs *fs, struct fs_inode *inode, GArray *later);
/* fs_inode_unhash() with table_lock held. */
void fs_inode_unhash_locked(struct fs *fs, struct fs_inode *inode);
/* No new name will ever be found to be this inode (its number went to another file). */
void fs_inode_unhash(struct fs *fs, struct fs_inode *inode);

/* ---- fs-hash.c: inodes by key; table_lock ---- */

int fs_hash_init(struct fs *fs);
void fs_hash_fini(struct fs *fs);
/* Enter an inode that n_inodes counts already. Returns how many others were looked at to make
 * room: a few. */
unsigned fs_hash_add(struct fs *fs, struct fs_inode *inode);
void fs_hash_remove(struct fs *fs, struct fs_inode *inode);
struct fs_inode *fs_hash_find(const struct fs *fs, const struct fs_mnt *mnt, uint64_t ino);

/* ---- fs-handle.c: descriptors against handles ---- */

/* Whether handles work on the root; decides fs->handles. 0, or -errno (mandatory only). */
int fs_handles_init(struct fs *fs, int root_fd, GError **err);
/* Handle of what @fd refers to; free() it. -EOPNOTSUPP where there are none. */
int fs_handle_of(int fd, struct file_handle **out);
/* Handle of @name below @dir, not followed, if it surely is that of the file that @stx describes.
 * free() it. -EAGAIN when one cannot be sure that way. */
int fs_handle_of_name(const struct fs_mnt *mnt, int dir, const char *name, const struct statx *stx,
                      struct file_handle **out);
/* Whether fs_handle_of_name() has a chance on this mount. */
bool fs_handles_by_name(struct fs *fs, const struct fs_mnt *mnt);
/* Whether the handles of this mount are of a form we know: number and generation. */
bool fs_layout_known(const struct fs_mnt *mnt);
/* Learn the layout from an inode with a descriptor, once per mount. */
void fs_layout_learn(struct fs *fs, struct fs_inode *inode, int fd);
/* Open by handle with the caller's own @flags, which have O_PATH unless fs_inode_proved(). Returns
 * a descriptor, not counted, of the file that was looked up and no other, or -errno. */
int fs_handle_open(struct fs *fs, struct fs_inode *inode, int flags);
/* Whether the birth is so near that the number may get another file with the same time. */
bool fs_inode_is_young(const struct fs_inode *inode);
bool fs_handle_equal(const struct file_handle *a, const struct file_handle *b);
/* Descriptor of an inode that has only its handle. Returns it or -errno. */
int fs_inode_reopen(struct fs *fs, struct fs_inode *inode);
/* Let @inode, that has none, own *fd. Takes it over or leaves it. */
void fs_inode_adopt_fd(struct fs *fs, struct fs_inode *inode, int *fd);
/* Close unused descriptors when there are more than the soft limit. */
void fs_sweep(struct fs *fs);
/* Close the descriptor of the inode with this id, when it was not used since the last call and
 * nobody refers to it. Returns the inode, with a reference, when it is worth another call later. */
struct fs_inode *fs_sweep_one(struct fs *fs, uint64_t id);
/* Remember a real descriptor inside the mount of @inode. 0 or -errno. */
int fs_mnt_anchor(struct fs *fs, struct fs_inode *inode, int fd);

/* ---- fs-proof.c: whether a handle leads to the file that was looked up ---- */

int fs_proofs_init(struct fs *fs);
void fs_proofs_fini(struct fs *fs);
/* A new inode that has its handle from a name: was that proved before? No system call. */
void fs_proof_recall(struct fs *fs, struct fs_inode *inode);
/* Compare what @fd, that the handle of @inode gave, is with what was looked up. 0, or -ESTALE: it
 * is another file, and nothing will be found to be this inode any more. */
int fs_proof_take(struct fs *fs, struct fs_inode *inode, int fd);

static inline bool fs_inode_proved(const struct fs_inode *inode)
{
    return atomic_load_explicit(&inode->flags, memory_order_relaxed) & INODE_PROVED;
}

static inline uint32_t fs_state_refs(uint64_t state)
{
    return (uint32_t)(state >> 32);
}

static inline int fs_state_fd(uint64_t state)
{
    return (int)(uint32_t)state;
}

/* O_PATH descriptor of an inode the caller holds a reference on; valid as long as that is held.
 * Returns it or -errno. */
static inline int fs_inode_fd(struct fs *fs, struct fs_inode *inode)
{
    int fd = fs_state_fd(atomic_load_explicit(&inode->state, memory_order_acquire));

    if (G_UNLIKELY(fd < 0))
        return fs_inode_reopen(fs, inode);
    if (fs->handles && !(atomic_load_explicit(&inode->flags, memory_order_relaxed) & INODE_USED))
        atomic_fetch_or_explicit(&inode->flags, INODE_USED, memory_order_relaxed);
    return fd;
}

static inline bool fs_inode_is(const struct fs_inode *inode, mode_t type)
{
    return inode->type == type >> 12;
}

/* Whether the inode is one of which a real descriptor may be opened. */
static inline bool fs_inode_openable(const struct fs_inode *inode)
{
    return fs_inode_is(inode, S_IFREG) || fs_inode_is(inode, S_IFDIR);
}

/* ---- fs-idle.c: descriptors that are not used for a while ---- */

int fs_idle_init(struct fs *fs);
void fs_idle_fini(struct fs *fs);
/* Between the two no reference is held but by requests. */
void fs_idle_pause(struct fs *fs);
void fs_idle_resume(struct fs *fs);
void fs_idle_enter(struct fs *fs, struct fs_inode *inode);

/* @inode, on which the caller has a reference, may have a descriptor. */
static inline void fs_idle_note(struct fs *fs, struct fs_inode *inode)
{
    if (fs->handles && fs_inode_is(inode, S_IFREG) &&
        fs_state_fd(atomic_load_explicit(&inode->state, memory_order_relaxed)) >= 0 &&
        !(atomic_load_explicit(&inode->flags, memory_order_relaxed) & INODE_QUEUED))
        fs_idle_enter(fs, inode);
}

/* ---- fs-file.c ---- */

int fs_files_init(struct fs *fs);
void fs_files_fini(struct fs *fs);
void fs_files_reset(struct fs *fs);
#define FS_ASKED_FLAGS (O_APPEND | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME)

/* Enter a descriptor (taken over, on failure too; already counted by fs_fds_take()) into the
 * table. @flags: of open(2) that it has; @asked: those that the guest gave. Takes a reference on
 * @inode. 0 or -errno. */
int fs_file_add(struct fs *fs, struct fs_inode *inode, int fd, int flags, int asked, uint64_t *fh);

/* ---- fs-side.c ---- */

/* The descriptor of @f with @want of O_DIRECT, O_NOATIME and O_APPEND, as far as they are in
 * @matters. O_DIRECT and O_NOATIME are left out where they cannot be had; *got is what it has. It
 * is valid as long as the file. Returns it or -errno. */
int fs_side(struct fs *fs, struct fs_file *f, int want, int matters, int *got);
/* What offsets and lengths of direct transfers are multiples of, in bytes; a power of two. */
unsigned fs_side_block(struct fs_file *f);
/* Whether a write to @f is an append only by a descriptor with O_APPEND. */
bool fs_appends_by_fd(struct fs *fs, const struct fs_file *f);
/* Open at once what the guest's open(2) asked for, so that it hears what is wrong. 0, -EINVAL (no
 * O_DIRECT there), -ENFILE. */
int fs_sides_ready(struct fs *fs, struct fs_file *f);
/* Whether fs_sides_ready() of a file of @inode that was opened so has something to do. */
bool fs_sides_asked(struct fs *fs, const struct fs_inode *inode, int asked);
void fs_sides_close(struct fs *fs, struct fs_file *f);

/* ---- fs-name.c ---- */

/* Lookup by a checked name: openat and statx at once, without the look at the table first. @room:
 * as of fs_inode_intern(). */
int fs_lookup_open(struct fs *fs, struct fs_inode *parent, const char *name, struct fs_entry *out,
                   bool *isnew, bool *room);
/* Lookup by a checked name that is probably known. */
int fs_lookup_stat(struct fs *fs, struct fs_inode *parent, const char *name, struct fs_entry *out,
                   bool *isnew);

/* ---- fs-up.c ---- */

/* The directory above @inode, which is not the root; -ESTALE when it is not of the share (any
 * more), -ENOTDIR. */
int fs_lookup_up(struct fs *fs, struct fs_inode *inode, struct fs_entry *out);

/* ---- fs-open.c ---- */

/* Tells versions of a file apart by its stamps and size; 0 when they are too young to. */
uint64_t fs_digest(const struct statx *stx);

/* A real descriptor of a regular file or directory, through /proc/self/fd. @flags are the
 * caller's own, not the guest's. Returns it or -errno; not counted. */
int fs_inode_open(struct fs *fs, struct fs_inode *inode, int flags);
/* The guest's open(2) flags reduced to what its descriptor gets, or -errno. */
int fs_open_flags(const struct fs *fs, int flags);
/* fs_opened.in_order of open(2) @flags. */
static inline bool fs_in_order(int flags)
{
    return (flags & (O_APPEND | O_DIRECT)) == (O_APPEND | O_DIRECT);
}
/* fs_sides_ready() of a new handle, which is released when that fails. 0 or -errno. */
int fs_open_ready(struct fs *fs, uint64_t fh, int asked);

/* ---- fs-map.c ---- */

/* What all files of the mount of @inode have in common, FS_MAP_*; 0 when even that cannot be found
 * out. */
unsigned fs_mount_kind(struct fs *fs, struct fs_inode *inode);
/* Whether fs_map_open() was called for it. */
bool fs_map_opened(const struct fs_inode *inode);

/* ---- fs-dir.c ---- */

void fs_dir_free(struct fs *fs, struct fs_dir *dir);
struct fs_dir *fs_dir_new(void);

/* ---- fs-xattr.c ---- */

/* Learn the host's name of security.capability (fs->cap_name). */
void fs_xattr_init(struct fs *fs);
/* The access ACL with the guest's ids. Its size, 0 when there is none, or -errno. */
ssize_t fs_acl_read(struct fs *fs, struct fs_inode *inode, void *buf, size_t size);
/* Whether the security xattr of @cred, if any, can be given to a new inode. 0 or -errno. To be
 * asked before anything is made. */
int fs_secctx_check(struct fs *fs, const struct fs_cred *cred);
/* Whether it is SELinux' label, and known to the host by that name. */
bool fs_secctx_native(struct fs *fs, const struct fs_cred *cred);
/* Give it to the new inode behind @fd (any kind of descriptor), unless the kernel has. 0 or -errno.
 */
int fs_secctx_set(struct fs *fs, const struct fs_cred *cred, int fd);

int fs_caps_remove(struct fs *fs, const struct fs_inode *inode, int fd);
/* File capabilities end with every change of data, size or owner (CVE-2021-20263). Remove them
 * from @inode before that, by any descriptor of it, where the host's kernel does not. 0 or -errno:
 * then nothing may be changed. */
static inline int fs_caps_drop(struct fs *fs, const struct fs_inode *inode, int fd)
{
    return G_LIKELY(!fs->cap_name) ? 0 : fs_caps_remove(fs, inode, fd);
}

/* ---- fs-label.c ---- */

/* Whether the kernel can give the label of @cred to an inode while it makes it. */
bool fs_label_native(struct fs *fs, const struct fs_cred *cred);
/* Let it, for what this thread makes until fs_label_end(). Returns 1; 0 when it will not
 * (fs_secctx_set() does it afterwards), or -errno: nothing may be made. */
int fs_label_begin(struct fs *fs, const struct fs_cred *cred);
/* With what that returned. Keeps errno. A thread that cannot end it must not go on: aborts. */
void fs_label_end(int begun);

/* ---- fs-lock.c, fs-lock-owner.c ---- */

int fs_locks_init(struct fs_tree *tree, const struct fs_config *cfg);
void fs_locks_fini(struct fs_tree *tree);
void fs_locks_reset(struct fs *fs);
/* The client has forgotten the inode: its owners of locks on it are not found any more, and end
 * soon. Takes no longer the more there are. */
void fs_locks_forget(struct fs *fs, struct fs_inode *inode);
/* Nobody uses the file any more: the locks that were taken through it alone end. */
void fs_locks_file_gone(struct fs *fs, struct fs_file *file);

/* ---- fs-cred.c ---- */

/* What fs_cred_enter() changed in this thread. */
struct fs_cred_saved {
    bool uid, gid, groups, caps;
};

/* Act as @cred (NULL: as ourselves) until fs_cred_leave(). 0 or -errno, nothing changed then. */
int fs_cred_enter(struct fs *fs, const struct fs_cred *cred, struct fs_cred_saved *saved);
/* After fs_cred_enter(), when the host has refused (EACCES) what it judged by @cred's ids: whether
 * that is not for the host to judge, and trying again, now with CAP_DAC_OVERRIDE, has a chance. A
 * guest's kernel has judged, by groups that it did not send or by a capability of the process.
 * Nothing else comes with it: no device nodes, no set-group-id of others' groups. Keeps errno. */
bool fs_cred_override(const struct fs_cred *cred, struct fs_cred_saved *saved);
/* Whether this thread acts as a user beyond one call. */
bool fs_cred_acting(void);
/* Keeps errno. A thread that cannot become itself again must not go on: aborts. */
void fs_cred_leave(struct fs *fs, const struct fs_cred_saved *saved);

/* While acting as a user (fs_act_as()), what the core itself needs the right to search for: opening
 * by handle, climbing to the root. Between the two nothing may be opened for reading or writing by
 * the guest's wish. Returns whether fs_search_end() is to be called; that keeps errno. */
bool fs_search_begin(void);
void fs_search_end(void);

/* Work without CAP_FSETID, so that the kernel clears suid and sgid as for an ordinary user.
 * Returns whether something was dropped and must be given back. */
bool fs_fsetid_drop(void);
void fs_fsetid_restore(void); /* keeps errno */
