/* SPDX-License-Identifier: BSD-3-Clause
 * What a client of the core holds, listed, and put back under the same numbers in another core: for
 * whoever saves and restores a guest's state. No other call of the client may run.
 *
 * Numbers come from outside and are checked here. First all that there will be are reserved; until
 * one is restored nothing is found by it, as by one that the guest has given back. fs_reset() ends
 * the reservations, too. */
#pragma once

#include "virtiofsd/fs/fs.h"

struct tree_found;

/* An inode, the root apart. */
struct fs_inode_state {
    uint64_t id;
    uint64_t nlookup; /* 0: only open files hold it */
};

/* An open file or directory. */
struct fs_file_state {
    uint64_t fh, inode;
    int flags; /* the guest's of open(2), less those that make or cut a file */
    int flock; /* LOCK_SH, LOCK_EX, LOCK_UN; 0: never set */
};

/* A range of a record lock. */
struct fs_lock_state {
    uint64_t inode, owner;
    uint64_t fh; /* the file that all of the owner's were taken through; 0: several or none */
    struct fs_lock lk;
};

/* GArrays of them, in the order of their slots (locks: of none); the caller's. */
GArray *fs_inodes_list(struct fs *fs);
GArray *fs_files_list(struct fs *fs);
GArray *fs_locks_list(struct fs *fs);

/* Keep @n numbers free, in any order, of each slot one, above all slots that were ever in use: so
 * all in one call. 0, or none is kept: -EINVAL (no slot, no generation, one twice or in use, the
 * root's), -ENFILE: more than the bounds allow. */
int fs_inodes_reserve(struct fs *fs, const uint64_t *ids, size_t n);
/* The same, and numbers without a generation are fine: another kind of daemon gave them. */
int fs_inodes_reserve_any(struct fs *fs, const uint64_t *ids, size_t n);
int fs_files_reserve(struct fs *fs, const uint64_t *fhs, size_t n);

/* Find @name in @parent as the inode of a reserved @id, with @nlookup lookups; 0 of them: *out is a
 * reference, else it is not set. -EINVAL: the id is not reserved, or more lookups than INT64_MAX;
 * -EEXIST: the file is known by another; else as fs_lookup(). */
int fs_inode_restore(struct fs *fs, struct fs_inode *parent, const char *name, uint64_t id,
                     uint64_t nlookup, struct fs_inode **out);
/* The same of what the tree has @found (taken over); *out is a reference in any case. The guest may
 * have something of it cached. */
int fs_inode_restore_as(struct fs *fs, struct fs_inode *near, struct tree_found *found, uint64_t id,
                        uint64_t nlookup, struct fs_inode **out);
/* The same of a file of @type (S_IFMT >> 12) that there is no more: it answers ESTALE. */
int fs_inode_restore_lost(struct fs *fs, uint8_t type, uint64_t ino, uint64_t id, uint64_t nlookup,
                          struct fs_inode **out);
/* A reserved handle of what is open no more: it answers EIO. */
int fs_file_restore_lost(struct fs *fs, struct fs_inode *inode, int flags, uint64_t fh);
/* Open @inode with fs_file_state.flags as the file of a reserved handle, or of a number without a
 * generation, which needs no reservation. -EINVAL: it is neither. */
int fs_file_restore(struct fs *fs, struct fs_inode *inode, int flags, uint64_t fh);
