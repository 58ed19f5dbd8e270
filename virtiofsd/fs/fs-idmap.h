/* SPDX-License-Identifier: BSD-3-Clause
 * User or group ids as the guest and as the host knows them: the rules of --translate-uid and
 * --translate-gid. Pure: nothing but numbers here.
 *
 *   guest:GUEST:HOST:COUNT         ids from the guest, one to one
 *   host:HOST:GUEST:COUNT          ids from the host, one to one
 *   squash-guest:GUEST:HOST:COUNT  ids from the guest, all to one
 *   squash-host:HOST:GUEST:COUNT   ids from the host, all to one
 *   forbid-guest:GUEST:COUNT       the guest may not use these ids
 *   map:GUEST:HOST:COUNT           both directions, one to one
 *
 * A COUNT of 0 is taken: the rule is about no id. An id that no rule names stays the same number.
 * The two directions know nothing of each other. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct fs_idmap;

struct fs_idmap *fs_idmap_new(void);
void fs_idmap_free(struct fs_idmap *map);

/* Add one rule. False and @err (G_OPTION_ERROR; one line that names the rule) when it is wrong or
 * says about an id what an earlier rule said already. */
bool fs_idmap_add(struct fs_idmap *map, const char *rule, GError **err);

/* 0 and *host, or -EPERM: the guest may not use @id. */
int fs_idmap_to_host(const struct fs_idmap *map, uint32_t id, uint32_t *host);
uint32_t fs_idmap_to_guest(const struct fs_idmap *map, uint32_t id);
