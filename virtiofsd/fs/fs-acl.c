/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/fs/fs-acl.h"

#include <string.h>

#include <linux/posix_acl_xattr.h>

/* Tags of entries with an id (linux/posix_acl.h is not for programs on every system). */
#define TAG_USER  0x02
#define TAG_GROUP 0x08

bool fs_acl_is_name(const char *name)
{
    return strcmp(name, "system.posix_acl_access") == 0 ||
           strcmp(name, "system.posix_acl_default") == 0;
}

/* One id of an entry with this tag: by *map, into *id. 0 or -EPERM. */
typedef int translate_fn(const struct fs_idmap *map, uint32_t *id);

static int to_host(const struct fs_idmap *map, uint32_t *id)
{
    return fs_idmap_to_host(map, *id, id);
}

static int to_guest(const struct fs_idmap *map, uint32_t *id)
{
    *id = fs_idmap_to_guest(map, *id);
    return 0;
}

static int translate(const struct fs_idmap *uids, const struct fs_idmap *gids, void *value,
                     size_t size, translate_fn *fn)
{
    struct posix_acl_xattr_header head;
    struct posix_acl_xattr_entry e;

    if (size < sizeof(head))
        return 0;
    memcpy(&head, value, sizeof(head));
    if (GUINT32_FROM_LE(head.a_version) != POSIX_ACL_XATTR_VERSION)
        return 0;
    for (size_t off = sizeof(head); size - off >= sizeof(e); off += sizeof(e)) {
        char *at = (char *)value + off;
        memcpy(&e, at, sizeof(e));
        unsigned tag = GUINT16_FROM_LE(e.e_tag);
        const struct fs_idmap *map = tag == TAG_USER ? uids : tag == TAG_GROUP ? gids : NULL;
        if (!map)
            continue;
        uint32_t id = GUINT32_FROM_LE(e.e_id);
        int rc = fn(map, &id);
        if (rc < 0)
            return rc;
        e.e_id = GUINT32_TO_LE(id);
        memcpy(at, &e, sizeof(e));
    }
    return 0;
}

int fs_acl_to_host(const struct fs_idmap *uids, const struct fs_idmap *gids, void *value,
                   size_t size)
{
    return translate(uids, gids, value, size, to_host);
}

void fs_acl_to_guest(const struct fs_idmap *uids, const struct fs_idmap *gids, void *value,
                     size_t size)
{
    translate(uids, gids, value, size, to_guest);
}
