/* SPDX-License-Identifier: BSD-3-Clause
 * Extended attributes: names and ids as the guest and as the tree know them. */
#include "virtiofsd/fs/fs-acl.h"
#include "virtiofsd/fs/fs-priv.h"
#include "virtiofsd/fs/fs-xattrmap.h"

#include <sys/xattr.h>

#include <linux/xattr.h>

/* ---- what is asked for ---- */

static int check_name(const char *name)
{
    size_t len = strnlen(name, XATTR_NAME_MAX + 1);
    return len == 0 || len > XATTR_NAME_MAX ? -ERANGE : 0;
}

/* An attribute as the host knows it. */
struct host_name {
    const char *name;
    bool ids; /* its value holds ids that the host understands and that differ from the guest's */
    char buf[XATTR_NAME_MAX + 1];
};

static int map_name(struct fs *fs, const char *name, struct host_name *out)
{
    int rc = check_name(name);
    if (rc < 0)
        return rc;
    /* A guest that does not know ACLs would not keep mode and ACL in step. */
    if (!fs->acl && fs_acl_is_name(name))
        return -EOPNOTSUPP;
    out->name = name;
    if (G_UNLIKELY(fs->cfg.xattrmap))
        rc = fs_xattrmap_to_host(fs->cfg.xattrmap, name, out->buf, &out->name);
    out->ids = rc == 0 && fs->ids && fs_acl_is_name(out->name);
    return rc;
}

/* Whether the verb is there for anybody. 0 or -errno, then *host as of map_name(). */
static int ask_for(struct fs *fs, bool has_verb, const char *name, struct host_name *host)
{
    return fs->cfg.xattr && has_verb ? map_name(fs, name, host) : -EOPNOTSUPP;
}

ssize_t fs_getxattr(struct fs *fs, struct fs_inode *inode, const char *name, void *buf, size_t size)
{
    struct tree *t = fs_tree(inode);
    struct host_name host;
    int rc = ask_for(fs, t->ops->getxattr, name, &host);
    if (rc < 0)
        return rc;
    ssize_t n =
        t->ops->getxattr(t, &inode->node, host.name, buf, MIN(size, (size_t)XATTR_SIZE_MAX));
    if (G_UNLIKELY(host.ids) && size > 0 && n > 0)
        fs_acl_to_guest(fs->cfg.uids, fs->cfg.gids, buf, (size_t)n);
    return n;
}

ssize_t fs_acl_read(struct fs *fs, struct fs_inode *inode, void *buf, size_t size)
{
    struct tree *t = fs_tree(inode);
    if (!t->ops->getxattr)
        return 0;
    ssize_t n = t->ops->getxattr(t, &inode->node, "system.posix_acl_access", buf, size);
    if (n < 0)
        return n == -ENODATA || n == -EOPNOTSUPP ? 0 : n;
    if (G_UNLIKELY(fs->ids))
        fs_acl_to_guest(fs->cfg.uids, fs->cfg.gids, buf, (size_t)n);
    return n;
}

/* ---- the list ---- */

#define LIST_SMALL 1024

/* What the guest gets to see of one name, or NULL. */
static const char *visible(struct fs *fs, const char *name)
{
    if (fs->cfg.xattrmap)
        name = fs_xattrmap_to_guest(fs->cfg.xattrmap, name);
    return name && !fs->acl && fs_acl_is_name(name) ? NULL : name;
}

/* From the host's @list of @len bytes to the guest's in @buf. Returns its length, also with size 0;
 * -ERANGE when it is longer than @size. */
static ssize_t filter(struct fs *fs, const char *list, size_t len, char *buf, size_t size)
{
    size_t used = 0;

    for (const char *p = list; p < list + len; p += strlen(p) + 1) {
        const char *name = visible(fs, p);
        if (!name)
            continue;
        size_t n = strlen(name) + 1;
        if (size > 0 && n > size - used)
            return -ERANGE;
        if (size > 0)
            memcpy(buf + used, name, n);
        used += n;
    }
    return (ssize_t)used;
}

ssize_t fs_listxattr(struct fs *fs, struct fs_inode *inode, char *buf, size_t size)
{
    struct tree *t = fs_tree(inode);
    char small[LIST_SMALL];
    g_autofree char *large = NULL;
    char *list = small;

    if (!fs->cfg.xattr || !t->ops->listxattr)
        return -EOPNOTSUPP;
    ssize_t n = t->ops->listxattr(t, &inode->node, small, sizeof(small));
    if (n == -ERANGE) {
        list = large = g_malloc(XATTR_LIST_MAX);
        n = t->ops->listxattr(t, &inode->node, large, XATTR_LIST_MAX);
    }
    return n < 0 ? n : filter(fs, list, (size_t)n, buf, size);
}

/* ---- change ---- */

/* Set it, with the ids of an ACL translated. */
static int set_value(struct fs *fs, struct fs_inode *inode, const struct host_name *host,
                     const void *value, size_t size, int flags)
{
    struct tree *t = fs_tree(inode);
    g_autofree void *copy = NULL;

    if (G_UNLIKELY(host->ids)) {
        copy = g_memdup2(value, size);
        int rc = fs_acl_to_host(fs->cfg.uids, fs->cfg.gids, copy, size);
        if (rc < 0)
            return rc;
        value = copy;
    }
    return t->ops->setxattr(t, &inode->node, host->name, value, size, flags);
}

/* The same for who is going to change it. */
static int ask_to_change(struct fs *fs, const char *name, struct host_name *host)
{
    int rc = ask_for(fs, true, name, host);
    return rc == 0 && fs->cfg.readonly ? -EROFS : rc;
}

int fs_setxattr(struct fs *fs, struct fs_inode *inode, const char *name, const void *value,
                size_t size, int flags, unsigned how)
{
    struct tree *t = fs_tree(inode);
    struct host_name host;
    int rc = ask_to_change(fs, name, &host);
    if (rc < 0)
        return rc;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
        return -EINVAL;
    if (!t->ops->setxattr)
        return -EOPNOTSUPP;
    rc = set_value(fs, inode, &host, value, size, flags);
    if (rc < 0)
        return rc;
    /* The flag comes with default ACLs too, which leave the bit. */
    return (how & FS_XATTR_ACL_KILL_SGID) && strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS) == 0
               ? t->ops->kill_sgid(t, &inode->node)
               : 0;
}

int fs_removexattr(struct fs *fs, struct fs_inode *inode, const char *name)
{
    struct tree *t = fs_tree(inode);
    struct host_name host;
    int rc = ask_to_change(fs, name, &host);
    if (rc < 0)
        return rc;
    return t->ops->removexattr ? t->ops->removexattr(t, &inode->node, host.name) : -EOPNOTSUPP;
}

/* ---- security labels of new inodes ---- */

int fs_secctx_check(struct fs *fs, const struct fs_cred *cred)
{
    struct host_name host;

    if (!cred || !cred->secctx_name)
        return 0;
    if (!fs->cfg.xattr)
        return -EOPNOTSUPP;
    if (strncmp(cred->secctx_name, XATTR_SECURITY_PREFIX, XATTR_SECURITY_PREFIX_LEN) != 0)
        return -EINVAL;
    if (cred->secctx_len > XATTR_SIZE_MAX)
        return -E2BIG;
    return map_name(fs, cred->secctx_name, &host);
}

int fs_secctx_name(struct fs *fs, const char *name, char buf[XATTR_NAME_MAX + 1])
{
    struct host_name host;
    int rc = map_name(fs, name, &host);

    if (rc == 0)
        g_strlcpy(buf, host.name, XATTR_NAME_MAX + 1);
    return rc;
}

/* ---- file capabilities under another name ---- */

char *fs_xattr_cap_name(struct fs *fs)
{
    struct host_name host;

    if (fs->cfg.xattr && map_name(fs, XATTR_NAME_CAPS, &host) == 0 &&
        strcmp(host.name, XATTR_NAME_CAPS) != 0)
        return g_strdup(host.name);
    return NULL;
}
