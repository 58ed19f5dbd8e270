/* SPDX-License-Identifier: BSD-3-Clause
 * POSIX access control lists as the kernel keeps them in extended attributes: the ids in them, and
 * whom they grant what. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs.h"

/* Whether @name is one of the two attributes that hold an ACL. */
bool fs_acl_is_name(const char *name);

/* Translate the ids of named users and groups in place. A map may be NULL: these ids stay. Values
 * that are no ACL of the known version are left to the host's check, unchanged.
 * fs_acl_to_host(): 0, or -EPERM: it names an id that the guest may not use. */
int fs_acl_to_host(const struct fs_idmap *uids, const struct fs_idmap *gids, void *value,
                   size_t size);
void fs_acl_to_guest(const struct fs_idmap *uids, const struct fs_idmap *gids, void *value,
                     size_t size);

/* Whether @cred, which is not the file's owner, may do @mask (R_OK, W_OK, X_OK) to a file of group
 * @group with the access ACL @value: acl(5), "Access check algorithm". 0, -EACCES, or -EIO when
 * that is no ACL. */
int fs_acl_permission(const struct fs_cred *cred, gid_t group, const void *value, size_t size,
                      int mask);

/* Whether the file's group is one of @cred's. */
bool fs_cred_in_group(const struct fs_cred *cred, gid_t gid);
