/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the core share with each other and with nobody else.
 *
 * Locks, in the order in which they may be taken; they guard memory only and are never held across
 * a system call on the shared tree: fs_shared.locks.lock -> fs_shared.table_lock. fs.files_lock,
 * fs_fetches.lock and the queue's of fs-idle.c are leaves. An owner's set_lock (fs-lock-priv.h) is
 * taken before them and held across fcntl(2). */
#pragma once

#include "virtiofsd/base/auto.h"
#include "virtiofsd/fs/fs-table.h"
#include "virtiofsd/fs/fs.h"
#include "virtiofsd/tree/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/queue.h>

#include <linux/limits.h>

/* Of tree_node.flags. */
enum {
    INODE_LOCKS = 1 << NODE_CORE, /* has POSIX lock owners */
    INODE_HASHED = 2 << NODE_CORE,
    INODE_OPENED = 4 << NODE_CORE, /* at least once: the guest may have some of it cached */
    INODE_QUEUED = 8 << NODE_CORE, /* in the queue of fs-idle.c */
    INODE_NAMELESS =
        16 << NODE_CORE, /* its last name is gone: only its descriptor leads to it (fs-hold.c) */
};

/* An inode the guest may name. refs are ours and keep the slot; nlookup is what the guest claims
 * and is never trusted for more than one reference. The references are in node.state, with what
 * the tree holds it by, so that this can be taken from it by one exchange: fs-sweep.c. */
struct fs_inode {
    struct tree_node node;    /* first */
    _Atomic uint64_t nlookup; /* guest-controlled; becomes 0 only under table_lock */
    _Atomic uint64_t version; /* fs_digest() at the last open, or when it was found; 0 = unsure */
    _Atomic uint32_t gen;
    uint32_t next; /* hash chain, or free list; table_lock */
};

#define INODE_REF      ((uint64_t)1 << 32)
#define INODE_RESERVED UINT32_MAX /* of fs_inode.next */

/* An open file. state: generation (high half), FILE_OPEN and the references (low half). */
struct fs_file {
    _Atomic uint64_t state;
    struct fs_inode *inode;
    struct tree_file f;
    int flags;         /* the guest's of open(2), less those that make or cut a file */
    bool close_speaks; /* may write, and close(2) may have to say of that */
    uint32_t alias;    /* the guest\'s number, where has_alias: fs-alias.c */
    bool has_alias;
    atomic_int flock; /* LOCK_SH, LOCK_EX or LOCK_UN, as it was last set; 0: never */
    uint32_t slot;
    uint32_t next;                /* free list */
    LIST_HEAD(, fs_owner) owners; /* of locks taken through it: fs_locks.lock */
};

struct fs_owner;
struct fs_lock_ctx;
struct fs_waiter;
struct fs_idle;
struct fs_clerk_work;

/* Record locks of all clients, and those that wait for any lock: fs-lock-priv.h. */
struct fs_locks {
    pthread_mutex_t lock;
    GHashTable *ctxs;         /* by inode */
    struct fs_lock_ctx *reap; /* to be freed by the clerk */
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
    const struct fs_clerk_work *work_of;
    pthread_t clerk;
    bool has_clerk, stirred, closing;
    GArray *fds; /* to be closed by it, or NULL; counted by: */
    _Atomic uint64_t *inode_fds;
    void (*thread_start)(void *user);
    void *user;
};

/* What all clients of a tree share: the inodes, and the descriptors that they and all open files
 * cost. */
struct fs_shared {
    atomic_uint clients;    /* besides the first */
    atomic_bool handleless; /* a client's guest has files open that we do not know of */
    _Atomic uint64_t inode_fds;
    _Atomic uint64_t other_fds; /* open files and lock descriptors */
    _Atomic uint64_t reads_late;
    struct fs_locks locks;

    pthread_mutex_t table_lock;
    struct fs_table inodes;
    struct fs_table buckets; /* heads of chains through fs_inode.next: fs-hash.c */
    uint32_t n_buckets, half;
    uint64_t n_inodes;
    uint64_t promised; /* more of them, that fs_room_take() keeps room for */
    uint32_t next_gen;
    uint32_t hand; /* of the clock sweep */
    struct tree_mnt *mnts;
    uint32_t next_salt;
    struct fs_idle *idle; /* NULL where no inode can rest */
    dev_t dev;            /* of the root */
    struct tree *tree;    /* of the root */
    char *cap_name;       /* of tree_core, or NULL */
};

struct fs_fetch;
struct fs_kept;

/* What waits for the tree to fetch something: fs-fetch.c. */
struct fs_fetches {
    pthread_mutex_t lock; /* a leaf */
    pthread_cond_t ended;
    TAILQ_HEAD(, fs_fetch) list;
};

struct fs {
    struct fs_config cfg;
    bool writeback;           /* the guest caches writes; constant while requests run */
    bool rests;               /* inodes can do without a descriptor */
    bool ids;                 /* cfg.uids or cfg.gids is given */
    bool acl;                 /* the guest knows ACLs; constant while requests run */
    bool submounts;           /* other file systems are other devices to the guest; the same */
    bool links;               /* the guest keeps what they say: fs_links_enable() */
    bool handleless;          /* it opens nothing: fs_handleless_enable() */
    struct fs_kept *kept;     /* NULL while it never was: fs-kept.c */
    atomic_bool closes_speak; /* some file was open since the reset of which that is true */
    atomic_bool closes_mute;  /* what it would say each write has to say: fs_close_mute() */
    uint64_t inode_fds_soft;  /* beyond it unused descriptors are closed, where inodes can rest */
    uint64_t fds_hard;        /* of inodes, and of all others */
    struct fs_shared *shared;
    bool shares; /* made by fs_client_new(): what is shared is another's */
    struct fs_inode *root;
    struct fs_fetches fetches;

    pthread_mutex_t files_lock;
    struct fs_table files;
    uint64_t n_files;
    uint32_t next_file_gen;
    GHashTable *aliases; /* NULL: there are none. files_lock; made while no request runs */
};

/* ---- small things ---- */

/* The tree that an inode is of. */
static inline struct tree *fs_tree(const struct fs_inode *inode)
{
    return inode->node.mnt->tree;
}

static inline struct fs_inode *fs_inode_of(struct tree_node *node)
{
    return (struct fs_inode *)node;
}

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

/* ---- fs-fds.c: the bound on descriptors (fs_policy.max_fds) ---- */

void fs_fds_init(struct fs *fs);
/* Count one more descriptor for files or locks. 0 or -ENFILE. */
int fs_fds_take(struct fs *fs);
void fs_fds_give(struct fs *fs);
/* Whether there may be one more of an inode; and whether inodes have not all that they may have. */
bool fs_inode_fds_room(const struct fs *fs);
bool fs_inode_fds_left(const struct fs *fs);
/* How many may come between the soft limit and that, at least 1. */
uint64_t fs_inode_fds_spare(const struct fs *fs);
/* How many may stay: the soft limit, and less when descriptors of all kinds become few. */
uint64_t fs_inode_fds_stay(const struct fs *fs, bool *few);

static inline uint64_t fs_inode_fds(const struct fs *fs)
{
    return atomic_load_explicit(&fs->shared->inode_fds, memory_order_relaxed);
}

static inline void fs_inode_fds_add(struct fs *fs)
{
    atomic_fetch_add_explicit(&fs->shared->inode_fds, 1, memory_order_relaxed);
}

static inline void fs_inode_fds_sub(struct fs *fs)
{
    atomic_fetch_sub_explicit(&fs->shared->inode_fds, 1, memory_order_relaxed);
}

/* ---- fs-inode.c ---- */

int fs_inodes_init(struct fs *fs);
void fs_inodes_fini(struct fs *fs);
/* Forget all lookups; afterwards only the root is left. */
void fs_inodes_reset(struct fs *fs);
/* fs_inode_put(). @later: NULL, or where the descriptor goes in place of being closed; it stays
 * counted. */
void fs_inode_put_later(struct fs *fs, struct fs_inode *inode, GArray *later);
/* fs_inode_unhash() with table_lock held. */
void fs_inode_unhash_locked(struct fs *fs, struct fs_inode *inode);
/* No new name will ever be found to be this inode (its number went to another file). */
void fs_inode_unhash(struct fs *fs, struct fs_inode *inode);

/* ---- fs-intern.c ---- */

/* The root, over what is taken over. */
int fs_inodes_add_root(struct fs *fs, const struct tree_found *found);

/* The known inode of which the tree of @near, an inode that is probably on the same mount, has
 * found the attributes, with a reference; NULL when there is none or when that is not sure. */
struct fs_inode *fs_inode_find(struct fs *fs, const struct fs_inode *near,
                               const struct tree_found *found);
/* Whether number @ino on the mount of @near is in the table. */
bool fs_inode_known(struct fs *fs, const struct fs_inode *near, uint64_t ino);
/* The inode of what the tree of @near has found in full, known or new, with a reference. What was
 * found is taken over or dropped. *isnew may be NULL. @room: NULL, or whether fs_room_take() has
 * promised; false when that was used. 0, -ENFILE, or -EAGAIN: the tree must find it again and hold
 * it. */
int fs_inode_intern(struct fs *fs, const struct fs_inode *near, struct tree_found *found,
                    struct fs_inode **out, bool *isnew, bool *room);
/* The same as a new inode of this id, which was reserved. -EINVAL: it was not; -EEXIST: the file is
 * known, by another one. */
int fs_inode_intern_at(struct fs *fs, const struct fs_inode *near, struct tree_found *found,
                       uint64_t id, struct fs_inode **out);
/* As one of the tree of what is lost. The same errors. */
int fs_inode_enter_lost(struct fs *fs, const struct tree_found *found, uint64_t id,
                        struct fs_inode **out);
/* Promise one more inode, held by a descriptor, to be asked before one is made on the host. 0 or
 * -ENFILE. What is promised counts for everybody, so neither do the bounds yield when several
 * queues make something at once, nor is anything made for which there is no room. */
int fs_room_take(struct fs *fs);
/* End a promise that was not used. */
void fs_room_give(struct fs *fs);
/* ---- fs-hash.c: inodes by key; table_lock ---- */

int fs_hash_init(struct fs *fs);
void fs_hash_fini(struct fs *fs);
/* Enter an inode that n_inodes counts already. Returns how many others were looked at to make
 * room: a few. */
unsigned fs_hash_add(struct fs *fs, struct fs_inode *inode);
void fs_hash_remove(struct fs *fs, struct fs_inode *inode);
struct fs_inode *fs_hash_find(const struct fs *fs, const struct tree_mnt *mnt, uint64_t ino);

/* ---- fs-sweep.c: descriptors of inodes that can do without ---- */

/* Close unused descriptors when there are more than the soft limit. */
void fs_sweep(struct fs *fs);
/* Inodes of one tree, each with a reference, whose descriptors are to be closed. */
struct fs_batch {
    unsigned n;
    struct fs_inode *inode[TREE_BATCH];
};
/* Have the descriptor of the inode with this id closed, at once or by @batch, when it was not used
 * since the last call and nobody refers to it. Returns the inode, with a reference, when it is
 * worth another call later. */
struct fs_inode *fs_sweep_one(struct fs *fs, uint64_t id, struct fs_batch *batch);
void fs_batch_close(struct fs *fs, struct fs_batch *batch);

/* fs_inode_ref(), in place. */
static inline struct fs_inode *fs_inode_hold(struct fs_inode *inode)
{
    atomic_fetch_add_explicit(&inode->node.state, INODE_REF, memory_order_relaxed);
    return inode;
}

static inline uint32_t fs_state_refs(uint64_t state)
{
    return (uint32_t)(state >> 32);
}

static inline int fs_state_fd(uint64_t state)
{
    return (int)(uint32_t)state;
}

static inline bool fs_inode_is(const struct fs_inode *inode, mode_t type)
{
    return inode->node.type == type >> 12;
}

/* ---- fs-thread.c ---- */

/* A thread with a small stack that takes no signal but those it lets through itself. It inherits
 * whom its maker acts for. 0 or -errno. */
int fs_thread_new(pthread_t *thread, void *(*fn)(void *), void *arg, bool detached);

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
    if (fs->rests && fs_inode_is(inode, S_IFREG) &&
        fs_state_fd(atomic_load_explicit(&inode->node.state, memory_order_relaxed)) >= 0 &&
        !(atomic_load_explicit(&inode->node.flags, memory_order_relaxed) &
          (INODE_QUEUED | INODE_NAMELESS)))
        fs_idle_enter(fs, inode);
}

/* ---- fs-file.c ---- */

/* Of fs_file.state: the guest has it open. */
#define FILE_OPEN ((uint64_t)1 << 31)

int fs_files_init(struct fs *fs);
void fs_files_fini(struct fs *fs);
void fs_files_reset(struct fs *fs);
/* The tree that an open file is of. */
static inline struct tree *fs_file_tree(const struct fs_file *file)
{
    return file->f.node->mnt->tree;
}

/* Enter what the tree has opened (taken over, on failure too; already counted by fs_fds_take())
 * into the table. @flags: the guest's of open(2). *fh: 0, or a handle that was reserved. Takes a
 * reference on @inode. 0 or -errno. */
int fs_file_add(struct fs *fs, struct fs_inode *inode, const struct tree_file *opened, int flags,
                uint64_t *fh);

/* The same as a file of the tree of what is lost, whatever @inode is. */
int fs_file_add_lost(struct fs *fs, struct fs_inode *inode, const struct tree_file *none, int flags,
                     uint64_t *fh);
/* The same under no handle: *out is a reference, and the only one. */
int fs_file_add_unnamed(struct fs *fs, struct fs_inode *inode, const struct tree_file *opened,
                        int flags, struct fs_file **out);

/* One more reference. */
struct fs_file *fs_file_ref(struct fs_file *file);

/* ---- fs-alias.c ---- */

/* The guest's handle @theirs stands for ours. 0, or -EINVAL: it is none, or does so already. No
 * request may run. */
int fs_alias_add(struct fs *fs, uint64_t theirs, uint64_t ours);
/* Ours, or 0; and end it. There must be fs->aliases. */
uint64_t fs_alias_find(struct fs *fs, uint64_t theirs);
uint64_t fs_alias_take(struct fs *fs, uint64_t theirs);
/* End all. No request may run. */
void fs_aliases_drop(struct fs *fs);

/* ---- fs-lost.c ---- */

/* A tree of what is gone; and the node of open files of which nothing else is known. */
extern struct tree fs_lost_tree;
extern struct tree_node fs_lost_node;
/* ---- fs-kept.c ---- */

/* All that is kept is closed, and handle-less requests are off. */
void fs_kept_reset(struct fs *fs);
void fs_kept_fini(struct fs *fs);
/* The guest has forgotten the inode. */
void fs_kept_forget(struct fs *fs, const struct fs_inode *inode);

/* ---- fs-hold.c: inodes that lose their last name ---- */

/* Whether that matters to any client. */
bool fs_hold_wanted(const struct fs *fs);
/* A name of @inode is about to go. Takes the reference over: *held is the inode, held by a
 * descriptor, if the guest may have it open without our knowing it, else NULL. 0; -ENFILE: it would
 * be lost. */
int fs_hold(struct fs *fs, struct fs_inode *inode, struct fs_inode **held);
/* That is done, or not. @held may be NULL. */
void fs_hold_end(struct fs *fs, struct fs_inode *held, bool removed);
/* A new @inode never had a name. 0 or -ENFILE. */
int fs_hold_nameless(struct fs *fs, struct fs_inode *inode);
/* It has got one. */
void fs_hold_named(struct fs_inode *inode);

/* ---- fs-fetch.c ---- */

void fs_fetches_init(struct fs *fs);
void fs_fetches_fini(struct fs *fs);
/* End those waits of the client whose done() gets @user (NULL: all) with -EINTR, and see them gone.
 */
void fs_fetches_cancel(struct fs *fs, const void *user);
/* Have those of that id end, without waiting for it. */
void fs_fetch_interrupt(struct fs *fs, uint64_t id);

/* ---- fs-name.c ---- */

/* What is expected of a name: what turns out otherwise costs more system calls, no more. */
struct fs_hint {
    bool likely_new;  /* it is probably a new inode */
    uint64_t new_ino; /* with this number it surely was one a moment ago; 0: nothing is known */
};
/* Lookup by a checked name. */
int fs_lookup_name(struct fs *fs, struct fs_inode *parent, const char *name,
                   const struct fs_hint *hint, struct fs_entry *out, bool *isnew);

/* ---- fs-digest.c ---- */

/* Tells versions of a file apart by its stamps and size; 0 when they are too young to. The second
 * is not for symbolic links. */
uint64_t fs_digest(const struct statx *stx);
uint64_t fs_digest_stat(const struct stat *st);

/* ---- fs-open.c ---- */

/* Open a regular file, or a directory for reading, without a handle: *out is a reference. 0 or
 * -errno. */
int fs_file_open(struct fs *fs, struct fs_inode *inode, int flags, struct fs_file **out);

/* The guest's open(2) flags reduced to what its descriptor gets, or -errno. */
int fs_open_flags(const struct fs *fs, int flags);
/* fs_opened.in_order of open(2) @flags. */
static inline bool fs_in_order(int flags)
{
    return (flags & (O_APPEND | O_DIRECT)) == (O_APPEND | O_DIRECT);
}

/* ---- fs-map.c ---- */

/* What all files of the mount of @inode have in common, FS_MAP_*; 0 when even that cannot be found
 * out. */
unsigned fs_mount_kind(struct fs *fs, struct fs_inode *inode);
/* Whether fs_map_open() was called for it. */
bool fs_map_opened(const struct fs_inode *inode);

/* ---- fs-xattr.c ---- */

/* The host's name of security.capability where that is another one, for g_free(); else NULL. */
char *fs_xattr_cap_name(struct fs *fs);
/* The access ACL with the guest's ids. Its size, 0 when there is none, or -errno. */
ssize_t fs_acl_read(struct fs *fs, struct fs_inode *inode, void *buf, size_t size);
/* Whether the security xattr of @cred, if any, can be given to a new inode. 0 or -errno. To be
 * asked before anything is made. */
int fs_secctx_check(struct fs *fs, const struct fs_cred *cred);
/* The host's name of it. 0 or -errno. */
int fs_secctx_name(struct fs *fs, const char *name, char buf[XATTR_NAME_MAX + 1]);

/* ---- fs-locks.c, fs-lock-wait.c, fs-lock-owner.c ---- */

int fs_locks_init(struct fs_shared *s, const struct fs_config *cfg);
void fs_locks_fini(struct fs_shared *s);
void fs_locks_reset(struct fs *fs);
/* The waits for locks of fs_waits_cancel(), fs_wait_cancel(), fs_wait_interrupt(). */
void fs_locks_cancel(struct fs *fs);
void fs_lock_cancel(struct fs *fs, const void *user);
void fs_lock_interrupt(struct fs *fs, uint64_t id);
/* The client has forgotten the inode: its owners of locks on it are not found any more, and end
 * soon. Takes no longer the more there are. */
void fs_locks_forget(struct fs *fs, struct fs_inode *inode);
/* Nobody uses the file any more: the locks that were taken through it alone end. */
void fs_locks_file_gone(struct fs *fs, struct fs_file *file);

/* ---- fs-cred.c ---- */

/* A credential as the tree is to see it. */
struct fs_cred_below {
    struct fs_cred cred;
    char secctx_name[XATTR_NAME_MAX + 1];
};

/* @cred (may be NULL) with the host's ids and names, itself or in *room. 0; -EINVAL: nobody has
 * such ids; -EPERM: the guest may not use them. */
int fs_cred_to_tree(struct fs *fs, const struct fs_cred *cred, struct fs_cred_below *room,
                    const struct fs_cred **out);
