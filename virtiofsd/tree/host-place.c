/* SPDX-License-Identifier: BSD-3-Clause
 * Where a file is, told to another process of ours, and found there: by its name, or by its handle
 * where the file system is the same one.
 *
 * What is told comes back from outside. A name cannot lead out of the share. A handle can, so what
 * it leads to must be shown to be of the share: a directory by going up to the root, another file
 * by the name that the kernel knows of it, tried from the root; a file without any name by the
 * birth and generation that nobody knows who has not seen it. */
/* #syscalls close fstatfs openat readlinkat
 * #syscalls:handles open_by_handle_at */
#include "virtiofsd/tree/host-priv.h"

#include <linux/limits.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

/* ---- the file system ---- */

/* Which one it is, for another host too, where both see one device or server. 0 or -errno. */
static int fs_of(int fd, struct host_fsid *out)
{
    struct statfs st;

    if (fstatfs(fd, &st) != 0)
        return -errno;
    memset(out, 0, sizeof(*out));
    out->type = (uint64_t)(unsigned long)st.f_type;
    memcpy(&out->id, &st.f_fsid, MIN(sizeof(out->id), sizeof(st.f_fsid)));
    out->known = true;
    return 0;
}

/* Once for each mount. */
static int mnt_fs(struct host_mnt *m, int fd)
{
    return m->fsid.known ? 0 : fs_of(fd, &m->fsid);
}

/* ---- telling ---- */

/* What the kernel calls @fd. Returns its length, or -errno; no NUL. */
static ssize_t name_of_fd(const struct host *h, int fd, char *buf, size_t size)
{
    char name[FD_NAME_LEN];
    ssize_t n = readlinkat(h->proc_self_fd, host_fd_name(name, fd), buf, size);
    return n < 0 ? -errno : n == (ssize_t)size ? -ENAMETOOLONG : n;
}

/* It may have been renamed since the last time. */
static int note_root(struct host *h, int fd)
{
    ssize_t n = name_of_fd(h, fd, h->root_path, sizeof(h->root_path) - 1);
    h->root_path[MAX(n, 0)] = '\0';
    return n < 0 ? (int)n : 0;
}

/* Make the name below the root of *path, in place. */
static bool below_root(const struct host *h, char *path, size_t len)
{
    size_t root = strlen(h->root_path);

    if (root == 1) /* "/" */
        root = 0;
    if (len < root || memcmp(path, h->root_path, root) != 0 || path[root] != '/')
        return false;
    memmove(path, path + root + 1, len - root - 1);
    path[len - root - 1] = '\0';
    return true;
}

static bool same(const struct statx *stx, const struct tree_place *p)
{
    return stx->stx_ino == p->ino && (stx->stx_mode & S_IFMT) >> 12 == p->type &&
           tree_btime(stx) == p->btime_ns;
}

/* The kernel says so of files without a name; but a file may be called so. */
static bool looks_deleted(const char *path)
{
    return g_str_has_suffix(path, " (deleted)");
}

/* What lies at @path below @fd, no link followed on the way. Returns an O_PATH descriptor or
 * -errno.
 * @path is changed. */
static int walk(int fd, char *path)
{
    AUTO_FD int at = -1;
    char *next;

    for (char *part = path; part; part = next) {
        next = strchr(part, '/');
        if (next)
            *next++ = '\0';
        if (!*part || strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
            return -EINVAL;
        int to = openat(at >= 0 ? at : fd, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (to < 0)
            return host_open_errno();
        if (at >= 0)
            close(at);
        at = to;
    }
    return steal_fd(&at);
}

/* Whether the name that the kernel has of @fd leads to @p from the root. */
static bool has_name(struct host *h, const char *path, const struct tree_place *p)
{
    g_autofree char *copy = g_strdup(path);
    struct statx stx;
    int root = host_fd(h, h->root);
    AUTO_FD int fd = root < 0 ? -1 : walk(root, copy);

    return fd >= 0 && host_statx_at(fd, "", &stx) == 0 && same(&stx, p);
}

static void tell_path(struct host *h, const struct tree_node *node, int fd, struct tree_place *out)
{
    ssize_t n = name_of_fd(h, fd, out->path, sizeof(out->path) - 1);

    out->has_path = false;
    if (node == h->root || n < 0)
        return;
    out->path[n] = '\0';
    out->has_path = below_root(h, out->path, (size_t)n);
    if (out->has_path && looks_deleted(out->path))
        out->has_path = has_name(h, out->path, out);
}

static void tell_handle(struct host *h, const struct tree_node *node, int fd,
                        struct tree_place *out)
{
    const struct file_handle *own = node->own;
    struct file_handle *made = NULL;

    out->handle_len = 0;
    if (h->broker) /* its handles are signed, and mean nothing to others */
        own = NULL;
    if (!own && host_handle_of(fd, &made) < 0)
        return;
    own = own ? own : made;
    out->handle_type = own->handle_type;
    out->handle_len = own->handle_bytes;
    memcpy(out->handle, own->f_handle, own->handle_bytes);
    free(made);
}

int host_where(struct tree *t, struct tree_node *node, unsigned want, struct tree_place *out)
{
    struct host *h = host_of(t);
    struct host_mnt *m = host_mnt(node);
    int fd = tree_node_fd(node);
    AUTO_FD int again = -1;

    if (fd < 0 && ((want & TREE_PLACE_PATH) || !node->own || h->broker || !m->fsid.known)) {
        again = host_handle_open(h, node, O_PATH | O_NOFOLLOW);
        if (again < 0)
            return again;
        fd = again;
    }
    int rc = fd >= 0 ? mnt_fs(m, fd) : 0;
    if (rc == 0 && node == h->root)
        rc = note_root(h, fd);
    if (rc < 0)
        return rc;
    out->fs_type = m->fsid.type;
    out->fs_id = m->fsid.id;
    out->ino = node->ino;
    out->btime_ns = node->btime_ns;
    out->type = node->type;
    out->has_path = false;
    out->handle_len = 0;
    if (want & TREE_PLACE_PATH)
        tell_path(h, node, fd, out);
    if (want & TREE_PLACE_HANDLE)
        tell_handle(h, node, fd, out);
    return 0;
}

/* ---- finding ---- */

static int copy_handle(const struct tree_place *p, struct file_handle **out)
{
    struct file_handle *f = malloc(sizeof(*f) + p->handle_len);

    if (!f)
        return -ENOMEM;
    f->handle_bytes = p->handle_len;
    f->handle_type = p->handle_type;
    memcpy(f->f_handle, p->handle, p->handle_len);
    *out = f;
    return 0;
}

static bool on_mount_of(const struct tree_node *dir, const struct statx *stx)
{
    return dir->mnt->dev == makedev(stx->stx_dev_major, stx->stx_dev_minor) &&
           dir->mnt->mnt_id == (stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0);
}

/* A place that says only where: it is what was found there. */
static void see(struct tree_place *p, const struct statx *stx)
{
    p->ino = stx->stx_ino;
    p->btime_ns = tree_btime(stx);
    p->type = (uint8_t)((stx->stx_mode & S_IFMT) >> 12);
}

/* Named @name in @fd, the node of which is @dir: with a handle that is proved when it is first
 * opened, as after a lookup. -EAGAIN: it takes a descriptor. */
static int name_with_handle(struct host *h, struct tree_node *dir, int fd, const char *name,
                            const struct tree_place *p, struct tree_found *out)
{
    struct file_handle *own;
    int rc = host_statx_at(fd, name, &out->stx);

    if (rc < 0)
        return rc;
    if (!same(&out->stx, p))
        return -ESTALE;
    if (!on_mount_of(dir, &out->stx) || !host_handles_by_name(h, host_mnt(dir)) ||
        p->handle_len == 0)
        return -EAGAIN;
    rc = copy_handle(p, &own);
    if (rc == 0 && !host_handle_has(host_mnt(dir), own, p->ino)) {
        free(own);
        rc = -EAGAIN;
    }
    if (rc < 0)
        return rc;
    out->complete = true;
    out->fd = TREE_NO_FD;
    out->own = own;
    out->in_room = false;
    return 0;
}

/* Whether @fd has the handle of @p. */
static bool has_handle(int fd, const struct tree_place *p)
{
    struct file_handle *now;

    if (host_handle_of(fd, &now) < 0)
        return false;
    bool equal = now->handle_type == p->handle_type && now->handle_bytes == p->handle_len &&
                 memcmp(now->f_handle, p->handle, p->handle_len) == 0;
    free(now);
    return equal;
}

static int by_path(struct host *h, struct tree_node *dir, struct tree_place *p, unsigned how,
                   struct tree_found *out)
{
    int fd = host_fd(h, dir);

    if (fd < 0)
        return fd;
    bool verify = how & TREE_PLACE_VERIFY;
    if (!(how & (TREE_PLACE_VERIFY | TREE_PLACE_UNSEEN)) && !strchr(p->path, '/') &&
        strcmp(p->path, ".") != 0 && strcmp(p->path, "..") != 0) {
        int rc = name_with_handle(h, dir, fd, p->path, p, out);
        if (rc != -EAGAIN)
            return rc;
    }
    g_autofree char *path = g_strdup(p->path);
    int to = walk(fd, path);
    if (to < 0)
        return to;
    int rc = host_found_fd(h, to, out);
    if (rc == 0 && (how & TREE_PLACE_UNSEEN))
        see(p, &out->stx);
    if (rc == 0 && (!same(&out->stx, p) || (verify && !has_handle(out->fd, p)))) {
        host_drop(&h->tree, out->fd, out->own);
        rc = -ESTALE;
    }
    return rc;
}

/* Whether what was found by a handle is of the share. */
static bool is_inside(struct host *h, const struct tree_found *found, const struct tree_place *p,
                      unsigned how)
{
    char path[PATH_MAX];

    if (S_ISDIR(found->stx.stx_mode))
        return host_is_inside(h, found->fd, &found->stx);
    if ((how & TREE_PLACE_TRUST) ||
        (found->stx.stx_nlink == 0 && p->btime_ns != 0 && !(how & TREE_PLACE_UNSEEN)))
        return true;
    int root = host_fd(h, h->root);
    ssize_t n = root < 0 ? root : note_root(h, root);
    n = n < 0 ? n : name_of_fd(h, found->fd, path, sizeof(path) - 1);
    if (n < 0)
        return false;
    path[n] = '\0';
    return below_root(h, path, (size_t)n) && has_name(h, path, p);
}

/* What has a name need not be held by the descriptor that showed what it is: of 100,000 files each
 * would have one. It is proved again when it is opened. */
static void let_rest(struct host *h, struct tree_node *dir, const struct tree_place *p,
                     struct file_handle **handle, struct tree_found *out)
{
    if (out->stx.stx_nlink == 0 || !on_mount_of(dir, &out->stx) ||
        !host_handles_by_name(h, host_mnt(dir)) || !host_handle_has(host_mnt(dir), *handle, p->ino))
        return;
    host_drop(&h->tree, out->fd, out->own);
    out->fd = TREE_NO_FD;
    out->own = g_steal_pointer(handle);
}

static int by_handle(struct host *h, struct tree_node *dir, struct tree_place *p, unsigned how,
                     struct tree_found *out)
{
    struct host_mnt *m = host_mnt(dir);
    int mount_fd = atomic_load(&m->fd);
    g_autofree struct file_handle *own = NULL;

    if (!h->handles || h->broker || p->handle_len == 0 || mount_fd < 0)
        return -ESTALE;
    int rc = mnt_fs(m, mount_fd);
    if (rc < 0)
        return rc;
    if (!(how & TREE_PLACE_UNSEEN) && (m->fsid.type != p->fs_type || m->fsid.id != p->fs_id))
        return -ESTALE;
    rc = copy_handle(p, &own);
    if (rc < 0)
        return rc;
    int fd = open_by_handle_at(mount_fd, own, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return host_open_errno();
    rc = host_found_fd(h, fd, out);
    if (rc == 0 && (how & TREE_PLACE_UNSEEN))
        see(p, &out->stx);
    if (rc == 0 && (!same(&out->stx, p) || !is_inside(h, out, p, how))) {
        host_drop(&h->tree, out->fd, out->own);
        rc = -ESTALE;
    }
    if (rc == 0)
        let_rest(h, dir, p, &own, out);
    return rc;
}

int host_locate(struct tree *t, struct tree_node *dir, unsigned how, struct tree_place *p,
                struct tree_found *out)
{
    struct host *h = host_of(t);
    int rc = -ESTALE;

    if (p->has_path && (how & TREE_PLACE_PATH))
        rc = by_path(h, dir, p, how, out);
    if (rc < 0 && (how & TREE_PLACE_HANDLE)) {
        int path_rc = rc;
        rc = by_handle(h, dir, p, how, out);
        if (rc < 0 && dir->mnt != h->root->mnt)
            rc = by_handle(h, h->root, p, how, out);
        if (rc < 0)
            rc = path_rc;
    }
    return rc;
}
