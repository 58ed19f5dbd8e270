/* SPDX-License-Identifier: BSD-3-Clause
 * A safe place for tests that attack: a private mount namespace in which everything is read-only
 * but one fresh tmpfs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Enter it, for the whole process; call before threads exist. @dir gets the path of the empty
 * tmpfs.
 * @writable: an existing directory that stays writable (for results), or NULL. Works as root, and
 * as an ordinary user where user namespaces are allowed. Returns false (errno set) when the kernel
 * does not let us; a test then has to skip. */
bool jail_enter(char *dir, size_t size, const char *writable);

/* The same around an existing directory: all else becomes read-only, no tmpfs is made. */
bool jail_in(const char *writable);
