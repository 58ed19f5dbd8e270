/* SPDX-License-Identifier: BSD-3-Clause
 * POSIX access control lists as the kernel keeps them in extended attributes: only as far as the
 * ids in them go. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "virtiofsd/fs/fs-idmap.h"

/* Whether @name is one of the two attributes that hold an ACL. */
bool fs_acl_is_name(const char *name);

/* Translate the ids of named users and groups in place. A map may be NULL: these ids stay. Values
 * that are no ACL of the known version are left to the host's judgement, unchanged.
 * fs_acl_to_host(): 0, or -EPERM: it names an id that the guest may not use. */
int fs_acl_to_host(const struct fs_idmap *uids, const struct fs_idmap *gids, void *value,
                   size_t size);
void fs_acl_to_guest(const struct fs_idmap *uids, const struct fs_idmap *gids, void *value,
                     size_t size);
