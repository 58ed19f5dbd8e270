/* SPDX-License-Identifier: BSD-3-Clause
 * What options say in languages of their own: names of attributes, ids, groups, capabilities.
 * Understood before anything is made. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "virtiofsd/options.h"

struct fs_idmap;
struct fs_xattrmap;

struct daemon_policy {
    struct fs_xattrmap *xattrmap; /* NULL: names stay as they are */
    struct fs_idmap *uids, *gids; /* NULL: as they are */
    uint64_t caps_add, caps_del;  /* as struct sb_config has them, as the next two */
    bool file_handles, fenced;
    bool acl;          /* POSIX ACLs are asked for */
    const char *group; /* that may connect to our sockets, or NULL, and its number, or -1 */
    gid_t gid;
};

/* Fill @p, which is zero. False with @err (G_OPTION_ERROR), which names the option. The caller
 * frees what is in @p either way. */
bool daemon_policy_parse(struct daemon_policy *p, const struct options *o, GError **err);
void daemon_policy_free(struct daemon_policy *p);
