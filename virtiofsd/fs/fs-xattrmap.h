/* SPDX-License-Identifier: BSD-3-Clause
 * Names of extended attributes as the guest and as the host knows them: the rule language of
 * --xattrmap. Pure: no file is touched here.
 *
 *   :TYPE:SCOPE:KEY:PREPEND:   TYPE   prefix, ok, bad, unsupported
 *                              SCOPE  client (names from the guest), server (names from the
 *                                     host), all
 *   :map:KEY:PREPEND:          shorthand, last rule only
 *
 * Any ASCII character that is no white space may be the separator, each rule has its own; white
 * space may stand around rules. A name from the guest is matched by KEY as its beginning, one from
 * the host by PREPEND; the first rule that matches decides. */
#pragma once

#include <glib.h>

#include <linux/limits.h>

struct fs_xattrmap;

/* Parse @text. NULL and @err (G_OPTION_ERROR; one line that names the rule) when it is wrong, or
 * when some name would match no rule. */
struct fs_xattrmap *fs_xattrmap_parse(const char *text, GError **err);
void fs_xattrmap_free(struct fs_xattrmap *map);

/* The host's name for what the guest calls @name (shorter than 256 bytes): *host points to @name
 * itself or into @buf. 0, -EPERM (bad), -EOPNOTSUPP (unsupported), or -ERANGE: too long then. */
int fs_xattrmap_to_host(const struct fs_xattrmap *map, const char *name,
                        char buf[XATTR_NAME_MAX + 1], const char **host);

/* What the guest gets to see of the host's @name: a part of it, or NULL: hidden. */
const char *fs_xattrmap_to_guest(const struct fs_xattrmap *map, const char *name);
