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

/* Append records of all that the client holds, and forget nothing. 0 or -errno. */
int fs_move_save(struct fs *fs, GByteArray *out, struct fs_moved *did);
/* Take over what the records of @stream say, those of other kinds left out; the client holds
 * nothing yet. 0, or -errno and some of it is there: -EINVAL (a record that makes no sense),
 * -ENFILE (more than the bounds allow), -ESTALE (an open file is lost, and the policy says that
 * this ends it). */
int fs_move_load(struct fs *fs, struct bytes stream, struct fs_moved *did);
