/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/fs/fs-acl.h"

#include <errno.h>
#include <string.h>

#include <linux/posix_acl_xattr.h>
#include <unistd.h>

/* Tags of entries with an id (linux/posix_acl.h is not for programs on every system). */
#define TAG_USER      0x02
#define TAG_GROUP_OBJ 0x04
#define TAG_GROUP     0x08
#define TAG_MASK      0x10
#define TAG_OTHER     0x20

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

/* ---- judging ---- */

bool fs_cred_in_group(const struct fs_cred *cred, gid_t gid)
{
    if (cred->gid == gid)
        return true;
    for (unsigned i = 0; i < cred->ngroups; i++)
        if (cred->groups[i] == gid)
            return true;
    return false;
}

struct entry {
    unsigned tag;
    int perm;
    uint32_t id;
};

/* Entry @i, or false behind the last. */
static bool entry_at(const void *value, size_t size, size_t i, struct entry *out)
{
    struct posix_acl_xattr_entry e;
    size_t off = sizeof(struct posix_acl_xattr_header) + i * sizeof(e);

    if (size < off + sizeof(e))
        return false;
    memcpy(&e, (const char *)value + off, sizeof(e));
    *out = (struct entry){GUINT16_FROM_LE(e.e_tag), GUINT16_FROM_LE(e.e_perm),
                          GUINT32_FROM_LE(e.e_id)};
    return true;
}

int fs_acl_permission(const struct fs_cred *cred, gid_t group, const void *value, size_t size,
                      int mask)
{
    struct posix_acl_xattr_header head;
    struct entry e;
    int limit = R_OK | W_OK | X_OK, user = -1, other = -1;
    bool member = false, granted = false;

    if (size < sizeof(head))
        return -EIO;
    memcpy(&head, value, sizeof(head));
    if (GUINT32_FROM_LE(head.a_version) != POSIX_ACL_XATTR_VERSION)
        return -EIO;
    for (size_t i = 0; entry_at(value, size, i, &e); i++) {
        bool mine = (e.tag == TAG_GROUP_OBJ && fs_cred_in_group(cred, group)) ||
                    (e.tag == TAG_GROUP && fs_cred_in_group(cred, e.id));
        member |= mine;
        granted |= mine && (mask & ~e.perm) == 0;
        if (e.tag == TAG_USER && e.id == cred->uid)
            user = e.perm;
        else if (e.tag == TAG_MASK)
            limit = e.perm;
        else if (e.tag == TAG_OTHER)
            other = e.perm;
    }
    if (user >= 0)
        return mask & ~(user & limit) ? -EACCES : 0;
    if (member)
        return granted && (mask & ~limit) == 0 ? 0 : -EACCES;
    return other < 0 ? -EIO : mask & ~other ? -EACCES : 0;
}
