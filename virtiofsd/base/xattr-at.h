/* SPDX-License-Identifier: BSD-3-Clause
 * The calls for extended attributes that take a directory (Linux 6.13), which libc does not have
 * yet. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Whether kernel and container let us have them; asked once. Where not, a path from the working
 * directory has to do, and the system call filter lets it through. */
bool xattr_at_usable(void);

/* As getxattr(2) and its kin, with @path below the directory @dir. -1 and errno. */
ssize_t xattr_at_get(int dir, const char *path, const char *name, void *buf, size_t size);
int xattr_at_set(int dir, const char *path, const char *name, const void *value, size_t size,
                 int flags);
ssize_t xattr_at_list(int dir, const char *path, char *buf, size_t size);
int xattr_at_remove(int dir, const char *path, const char *name);
