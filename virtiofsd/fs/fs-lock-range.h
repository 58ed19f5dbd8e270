/* SPDX-License-Identifier: BSD-3-Clause
 * The ranges that one owner has locked, as the kernel keeps them for a description: sorted,
 * disjoint, and neighbours of one type are one. So they can be counted before the kernel makes one
 * more. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "virtiofsd/fs/fs.h"

struct fs_range {
    off_t start, end; /* inclusive */
    short type;       /* F_RDLCK, F_WRLCK */
};

/* Array of struct fs_range. */
GArray *fs_ranges_new(void);

/* How many there will be after @lk (F_UNLCK too). */
unsigned fs_ranges_after(const GArray *r, const struct fs_lock *lk);
void fs_ranges_apply(GArray *r, const struct fs_lock *lk);
/* The first one that @lk of another owner conflicts with, or NULL. */
const struct fs_range *fs_ranges_conflict(const GArray *r, const struct fs_lock *lk);
