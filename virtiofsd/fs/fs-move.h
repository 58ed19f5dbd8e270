/* SPDX-License-Identifier: BSD-3-Clause
 * A client's state as records (base/record.h), for another process over the same files: inodes,
 * open files, locks. No other call of the client may run.
 *
 * Inodes are found again by name, by handle, or by both, and must be the same files: number, type
 * and birth are compared. One that is not found answers ESTALE from then on; an open file of which
 * that is true, or which cannot be opened any more, is for the policy to decide. */
#pragma once

#include "virtiofsd/base/record.h"
#include "virtiofsd/fs/fs.h"

/* What came of it. */
struct fs_moved {
    uint64_t inodes, files, locks;
    uint64_t lost;       /* inodes that answer ESTALE */
    uint64_t lost_files; /* open files that answer EIO */
};

/* Of an inode's record. */
enum {
    FS_MOVE_LOST = 1 << 0,      /* it was so before */
    FS_MOVE_VERIFY = 1 << 1,    /* what is found by name must have this handle */
    FS_MOVE_NO_HANDLE = 1 << 2, /* the handle is not to find it by */
    /* Nothing but where it is was told: what is found there is it. The handle is of the root's file
     * system. */
    FS_MOVE_UNSEEN = 1 << 3,
};

struct fs_move_inode {
    uint64_t id, nlookup, ino;
    int64_t btime_ns;
    uint8_t type; /* S_IFMT >> 12; 0: unknown */
    unsigned flags;
    uint32_t system; /* number of its record */
    uint64_t parent; /* 0: there is no name */
    const void *name, *handle;
    uint16_t name_len, handle_len;
    int32_t handle_type;
};

struct fs_move_file {
    uint64_t fh, inode;
    uint32_t flags; /* of open(2) */
    uint32_t flock; /* LOCK_SH, LOCK_EX, LOCK_UN; 0: never set */
};

/* One record, for who writes down another daemon's guest. */
void fs_move_put_inode(GByteArray *out, const struct fs_move_inode *i);
void fs_move_put_file(GByteArray *out, const struct fs_move_file *f);

/* Append records of all that the client holds, and forget nothing. 0 or -errno. */
int fs_move_save(struct fs *fs, GByteArray *out, struct fs_moved *did);
/* Take over what the records of @stream say, those of other kinds left out; the client holds
 * nothing yet. 0, or -errno and some of it is there: -EINVAL (a record that makes no sense),
 * -ENFILE (more than the bounds allow), -ESTALE (an open file is lost, and the policy says that
 * this ends it). */
int fs_move_load(struct fs *fs, struct bytes stream, struct fs_moved *did);
