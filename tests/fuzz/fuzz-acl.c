/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: ACLs as a guest, or a file of the host, has them: ids in them translated there and
 * back, and checked for a user.
 *
 * Input: {u8 mask, u8 ids, u8 maps, bytes of the attribute}. Translated by no rule nothing changes;
 * by a rule and back the ids of the rule are what they were; nothing but ids changes ever; and who
 * may do more may do less. */
#include <errno.h>
#include <glib.h>
#include <linux/posix_acl_xattr.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"
#include "virtiofsd/fs/fs-acl.h"
#include "virtiofsd/fs/fs-priv.h"

enum { HEADER = 3, IDS = 16 };

#define must(what)   \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

/* Guest 0 to 15 is host 1000 to 1015, and no guest is the host's 0 to 15. */
static struct fs_idmap *make_map(void)
{
    struct fs_idmap *map = fs_idmap_new();
    must(fs_idmap_add(map, "map:0:1000:16", NULL));
    must(fs_idmap_add(map, "forbid-guest:1000:16", NULL));
    return map;
}

/* Whether two values differ in ids of users and groups only. */
static bool same_but_ids(const uint8_t *a, const uint8_t *b, size_t size)
{
    const size_t head = sizeof(struct posix_acl_xattr_header),
                 step = sizeof(struct posix_acl_xattr_entry);
    for (size_t i = 0; i < size; i++) {
        bool id = i >= head && (i - head) % step >= offsetof(struct posix_acl_xattr_entry, e_id);
        if (a[i] != b[i] && !id)
            return false;
    }
    return true;
}

static void check_translation(const struct fs_idmap *uids, const struct fs_idmap *gids,
                              const uint8_t *value, size_t size)
{
    g_autofree uint8_t *there = g_memdup2(value, size);
    int rc = fs_acl_to_host(uids, gids, there, size);
    must(rc == 0 || (rc == -EPERM && (uids || gids)));
    must(same_but_ids(value, there, size));
    must(uids || gids || memcmp(value, there, size) == 0);
    if (rc < 0)
        return;
    g_autofree uint8_t *back = g_memdup2(there, size);
    fs_acl_to_guest(uids, gids, back, size);
    must(same_but_ids(value, back, size));
}

static void check_permission(uint8_t mask, uint8_t ids, const uint8_t *value, size_t size)
{
    struct fs_cred cred = {
        .uid = ids % IDS, .gid = ids / IDS, .ngroups = 1, .groups = {1000u + ids % 8u}};
    int wanted = mask & 7, rc = fs_acl_permission(&cred, mask >> 3, value, size, wanted);
    must(rc == 0 || rc == -EACCES || rc == -EIO);
    for (int less = 0; rc == 0 && less < 8; less++)
        must((less & ~wanted) || fs_acl_permission(&cred, mask >> 3, value, size, less) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fs_idmap *map;
    if (!map)
        map = make_map();
    if (size <= HEADER)
        return 0;
    /* Of exactly its size, so that ASan sees any step outside. */
    g_autofree uint8_t *value = g_memdup2(data + HEADER, size - HEADER);
    size -= HEADER;
    check_translation(data[2] & 1 ? map : NULL, data[2] & 2 ? map : NULL, value, size);
    check_permission(data[0], data[1], value, size);
    char name[32];
    g_strlcpy(name, (const char *)(data[2] & 4 ? "system.posix_acl_access" : "user.x"),
              sizeof(name));
    must(fs_acl_is_name(name) == ((data[2] & 4) != 0));
    return 0;
}
