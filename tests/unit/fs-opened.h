/* SPDX-License-Identifier: BSD-3-Clause
 * One file "f" of a private tree, open as a guest has it. */
#pragma once

#include "tests/unit/fs-tree.h"

#define BLOCK 4096

struct open_tree {
    struct share t;
    struct fs_inode *i;
    struct fs_file *f;
    struct fs_opened o;
    char *mem; /* 8 blocks, aligned */
};

/* The tree with an empty "f", no core over it yet. */
void prepare(struct open_tree *o);
/* Start the core, and open the file with @flags. */
void start(struct open_tree *o, const struct share_config *cfg, int flags);
/* Close the handle there is, and open the file again. 0 or -errno: there is none then. */
int reopen(struct open_tree *o, int flags);
/* Everything away; checks that the file's descriptors are closed. */
void stop(struct open_tree *o);

/* fs_write() of a string. */
ssize_t put(struct open_tree *o, const char *text, off_t off, unsigned how);
/* What the host sees in the file. */
void holds(struct open_tree *o, const char *want);
/* The host's own append. */
void host_line(struct open_tree *o, const char *text);
/* Descriptors of the file in this process, but O_PATH ones, that have @flag. */
unsigned fds_with(struct open_tree *o, int flag);
