/* SPDX-License-Identifier: BSD-3-Clause
 * The share that the FUSE target plays with, the same at the start of every input. */
#pragma once

/* Make @dir (absolute, an empty directory at first) the small tree that inputs expect: whatever was
 * there goes, attributes of the directory included. With @more files in a directory of their own.
 * Aborts on failure. */
void fuse_tree_reset(const char *dir, unsigned more);
