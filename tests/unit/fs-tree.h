/* SPDX-License-Identifier: BSD-3-Clause
 * A private temporary directory with a file-system core over it, for the unit tests. */
#pragma once

#include "virtiofsd/fs/fs.h"
#include "virtiofsd/tree/host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct share {
    char dir[64];
    struct fs *fs;
    struct fs_inode *root;
};

/* What the core and the host's tree are made with. */
struct share_config {
    union {
        struct fs_config core;
        struct fs_config;
    };
    struct host_config host;
};

/* What most tests want; change it before tree_open(). */
struct share_config tree_config(void);
/* Make an empty directory: below /tmp, or as a tmpfs of its own (needs root). */
void tree_make(struct share *t);
void tree_make_tmpfs(struct share *t);
/* Start the core over it. */
void tree_open(struct share *t, const struct share_config *cfg);
/* Stop the core; checks that nothing is left over. */
void tree_close(struct share *t);
void tree_remove(struct share *t);

/* tree_make() and tree_open() with tree_config(). */
void tree_start(struct share *t);
void tree_stop(struct share *t);

/* A host file below the directory. */
const char *tree_path(const struct share *t, const char *name);
void tree_write(const struct share *t, const char *name, const char *text);
/* The name of a tree's @n-th file, good until the next call in this thread; and the first @count of
 * them, each with its name in it. */
const char *tree_nth(unsigned n);
void tree_fill(const struct share *t, unsigned count);
bool tree_has(const struct share *t, const char *name);
/* Open descriptors of this process. */
unsigned count_fds(void);

/* Look a name up that must be there; returns a reference. */
struct fs_inode *tree_look(struct share *t, struct fs_inode *parent, const char *name);
/* The same, remembered as a guest's lookup: returns the id. */
uint64_t tree_guest_look(struct share *t, struct fs_inode *parent, const char *name);

void need_root(void);

extern const struct fs_cred cred_root, cred_user;
#define USER_ID 12345

#define assert_ok(expr) assert_int_equal((expr), 0)
