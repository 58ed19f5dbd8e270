/* SPDX-License-Identifier: BSD-3-Clause
 * What the operator decides about the file-system core. Options set these fields directly. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum fs_cache { FS_CACHE_NEVER, FS_CACHE_METADATA, FS_CACHE_AUTO, FS_CACHE_ALWAYS };

/* How a guest's files are told to where it moves: by name and by handle, or by one of them. */
enum fs_move { FS_MOVE_BOTH, FS_MOVE_PATHS, FS_MOVE_HANDLES };
/* What becomes of the arriving guest when an open file is not found again. */
enum fs_move_lost { FS_LOST_ABORT, FS_LOST_ERROR };

struct fs_policy {
    enum fs_cache cache;
    bool readonly;
    bool xattr;
    bool announce_submounts;
    uint64_t max_fds;          /* descriptors the guest may make us hold (inodes + files + locks) */
    uint64_t max_inodes;       /* inodes remembered at once; 0 = no bound but memory */
    unsigned max_lock_waiters; /* calls that wait for a lock at once */
    unsigned max_lock_ranges;  /* ranges of record locks at once, of all clients */
    enum fs_move move;
    enum fs_move_lost move_lost;
    bool move_verify;  /* what is found by name must have the same handle */
    bool move_confirm; /* names are tried before they are told */
    double lock_wait;  /* seconds that a lock is waited for; 0 = for ever */
};
