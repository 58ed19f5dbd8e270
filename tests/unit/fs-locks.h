/* SPDX-License-Identifier: BSD-3-Clause
 * What the tests of locks share. */
#pragma once

#include "tests/unit/fs-tree.h"

#include <errno.h>

#define WHOLE INT64_MAX

static inline struct fs_lock lock_of(short type, off_t start, off_t end)
{
    return (struct fs_lock){.type = type, .start = start, .end = end};
}

/* Through @file, which may be NULL; the owner's number is its pid, too. */
static inline int setlk_by(struct share *t, struct fs_inode *i, struct fs_file *file,
                           uint64_t owner, struct fs_lock lk)
{
    struct fs_locker who = {.owner = owner, .file = file};
    lk.pid = (uint32_t)owner;
    return fs_setlk(t->fs, i, &who, &lk);
}

static inline int setlk(struct share *t, struct fs_inode *i, uint64_t owner, short type, off_t a,
                        off_t b)
{
    return setlk_by(t, i, NULL, owner, lock_of(type, a, b));
}
