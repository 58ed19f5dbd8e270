/* SPDX-License-Identifier: BSD-3-Clause
 * What saving and loading a client's state share. */
#pragma once

#include "virtiofsd/base/record.h"
#include "virtiofsd/fs/fs-move.h"
#include "virtiofsd/fs/fs-priv.h"
#include "virtiofsd/fs/fs-state.h"

/* ---- the records: docs/migration.md ---- */

enum {
    MOVE_FILE_SYSTEM = 16,
    MOVE_INODE = 17,
    MOVE_FILE = 18,
    MOVE_LOCK = 19,
};

/* Of an inode's record. */
enum {
    MOVE_LOST = 1 << 0,      /* it was so before */
    MOVE_VERIFY = 1 << 1,    /* what is found by name must have this handle */
    MOVE_NO_HANDLE = 1 << 2, /* the handle is not to find it by */
};

#define MOVE_NO_PARENT 0u
