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

#define MOVE_NO_PARENT 0u
