/* SPDX-License-Identifier: BSD-3-Clause
 * How a test's folder goes away again; the scripts' half is tests/remove.sh. */
#pragma once

#include <stdbool.h>

/* Is something mounted at @dir or below it, as this process sees it? Also true when nobody can
 * tell, false where there is no @dir. Bind mounts of the same file system count, which neither
 * FTW_MOUNT nor st_dev shows. */
bool mounts_below(const char *dir);

/* Remove @dir and all that is in it, following no symbolic link. Where something is mounted in
 * there that is said on stderr, nothing is removed, and the result is false; what is under a mount
 * may be the host's. */
bool remove_tree(const char *dir);
