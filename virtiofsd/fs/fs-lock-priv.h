/* SPDX-License-Identifier: BSD-3-Clause
 * What the files about locks share: owners (fs-lock-owner.c), and those that wait (fs-lock-wait.c).
 *
 * A POSIX lock belongs to (client, inode, owner), an owner being one process, or one open file, of
 * one guest. Each such owner has an open file description of its own, and the kernel's
 * open-file-description locks do the rest: they conflict between descriptions just as POSIX locks
 * do between processes. Beside each description stands what it has locked, as a copy: to count it,
 * to say who is in the way, and to see that two owners wait for each other.
 *
 * Locks: an owner's set_lock -> fs_locks.lock. set_lock is held across the system call, so that
 * copies change in the order in which the kernel's locks did; it stalls nobody but the same owner.
 */
#pragma once

#include "virtiofsd/fs/fs-lock-range.h"
#include "virtiofsd/fs/fs-priv.h"

#include <sys/file.h>

struct fs_lock_ctx;

struct fs_owner {
    struct fs *fs;          /* its client */
    struct fs_inode *inode; /* with a reference */
    uint64_t id;
    pthread_mutex_t set_lock;
    int fd;           /* the number never changes */
    bool writable;    /* the descriptor; set_lock */
    unsigned changes; /* how often its locks may have changed; set_lock */
    /* From here on: fs_locks.lock. */
    GArray *ranges;          /* the kernel's locks of fd */
    uint32_t pid;            /* who took the last one, as the client names it; 0: unknown */
    unsigned refs;           /* the context's and those of calls in progress */
    struct fs_lock_ctx *ctx; /* NULL: the owner is in none (any more) */
    struct fs_file *file;    /* all its locks were taken through this file; */
    bool many;               /* or through several */
    LIST_ENTRY(fs_owner) of_file;
};

/* All owners of one client on one inode. */
struct fs_lock_ctx {
    struct fs *fs;
    struct fs_inode *inode;   /* its owners have the references */
    GHashTable *owners;       /* by id */
    bool attached;            /* owners are found by it */
    struct fs_lock_ctx *next; /* of another client, or to be freed next */
};

static inline struct fs_locks *fs_locks_of(struct fs *fs)
{
    return &fs->shared->locks;
}

/* flock(2) with @op as it is. 0 or -errno. */
static inline int fs_flock_call(struct fs_file *file, int op)
{
    struct tree *t = fs_file_tree(file);
    int rc = t->ops->flock ? t->ops->flock(t, &file->f, op) : -ENOLCK;
    if (rc == 0)
        atomic_store(&file->flock, op & ~LOCK_NB);
    return rc;
}

/* ---- fs-lock-owner.c ---- */

/* A description that can hold locks of @type. Returns it or -errno; EBADF where fcntl(2) has it. */
int fs_lock_open(struct fs *fs, struct fs_inode *inode, short type);
/* The owner, or NULL; with a reference. */
struct fs_owner *fs_owner_find(struct fs *fs, struct fs_inode *inode, uint64_t id);
/* Find, or make one that can hold locks of @type. NULL with *rc = -errno. */
struct fs_owner *fs_owner_get(struct fs *fs, struct fs_inode *inode, const struct fs_locker *who,
                              short type, int *rc);
/* Drop a reference. An owner that holds nothing goes: with @last always, else if there are many. */
void fs_owner_put(struct fs_owner *o, bool last);
/* Set without waiting. 0, -EAGAIN: others are in the way, -ENOLCK: there are too many, -EBADF: the
 * file cannot be opened for it. */
int fs_owner_set(struct fs_owner *o, const struct fs_lock *lk);
/* Let it hold locks of @type, as long as the caller has its reference: then no call about a lock of
 * that type opens anything, which threads that wait may not. 0 or -errno. */
int fs_owner_ready(struct fs_owner *o, short type);
/* Wait in the kernel, which gives the lock; a signal ends it (-EINTR). Then it must be noted, with
 * the number of changes there had been before: 0, or -errno when it was lost meanwhile. */
int fs_owner_block(struct fs_owner *o, const struct fs_lock *lk);
unsigned fs_owner_changes(struct fs_owner *o);
int fs_owner_note(struct fs_owner *o, const struct fs_lock *lk, unsigned changes);
/* Add to @out those owners of this process whose locks on @inode conflict with @lk of @self (NULL:
 * of nobody). Looks at *budget owners at most, and takes them off. fs_locks.lock is held. */
void fs_owners_in_the_way(struct fs_locks *l, const struct fs_inode *inode,
                          const struct fs_owner *self, const struct fs_lock *lk, GPtrArray *out,
                          unsigned *budget);
/* All of one client end; none of its calls is in progress. */
void fs_owners_drop(struct fs *fs);
/* Free some of what fs_locks_forget() put aside. fs_locks.lock is held, and given up meanwhile. */
void fs_owners_reap_locked(struct fs_locks *l);

/* ---- fs-thread.c ---- */

#define FS_NEVER INT64_MAX

/* Monotonic time, in ns; and a condition, and waiting for it, by that clock. */
int64_t fs_now_ns(void);
void fs_cond_init(pthread_cond_t *cond);
void fs_wait_until_locked(struct fs_locks *l, pthread_cond_t *cond, int64_t when);
/* ---- fs-lock-wait.c ---- */

/* End waits that are over, and with @try_all try for each that stands in line. fs_locks.lock is
 * held, and given up meanwhile. Returns when one of those that are left wants to be looked at. */
int64_t fs_waits_round_locked(struct fs_locks *l, bool try_all, int64_t now);
int fs_waits_init(struct fs_locks *l);
void fs_waits_fini(struct fs_locks *l);

/* ---- fs-lock-clerk.c ---- */

/* Begin, or look what there is to do. False: there is no clerk. fs_locks.lock is held. */
bool fs_clerk_wake_locked(struct fs_locks *l);
/* Somebody of ours has given something up: those who stand in line may try. */
void fs_clerk_stir(struct fs_locks *l);
/* Free what is put aside. fs_locks.lock is held. */
void fs_clerk_reap_locked(struct fs_locks *l);
/* What it does: fs_owners_reap_locked(), fs_waits_round_locked(). */
struct fs_clerk_work {
    void (*reap)(struct fs_locks *l);
    int64_t (*round)(struct fs_locks *l, bool try_all, int64_t now);
};
/* @inode_fds: the count of what fs_close_later() gets. */
void fs_clerk_init(struct fs_locks *l, const struct fs_config *cfg, _Atomic uint64_t *inode_fds,
                   const struct fs_clerk_work *work);
void fs_clerk_fini(struct fs_locks *l);
