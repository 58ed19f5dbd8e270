/* SPDX-License-Identifier: BSD-3-Clause
 * Nodes held by descriptor against nodes held by file handle.
 *
 * With handles in use a new node found by name gets its handle and nothing else: two system
 * calls, and nothing to close when it is forgotten. Its first use opens an O_PATH descriptor,
 * which stays until the core wants it back (fs-sweep.c, fs-idle.c).
 * open_by_handle_at() wants a real descriptor on the same mount: one is kept per mount.
 *
 * With a broker (host-broker.h) that alone may open by handle, nodes begin with a descriptor, of
 * which many are kept, and get a handle from the broker when that is to be closed.
 *
 * A handle made by name and the attributes found under that name may be of two files, when somebody
 * swaps them in between. So the inode number inside the handle is compared; where it lies is learnt
 * once per mount from a pair that belongs together. Where it is not found, an inode begins with a
 * descriptor and gets its handle when that is swept. That a number may have gone from one file to
 * the next is left to the first opening by that handle: host-proof.c. */
/* #syscalls close name_to_handle_at openat
 * #syscalls:handles open_by_handle_at */
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/tree/host-priv.h"

#include <stdlib.h>

#define FILEID_INO32_GEN 1 /* as Linux names it: number, generation, 4 bytes each */

union handle_room {
    struct file_handle h;
    char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static int get_handle(int fd, const char *name, union handle_room *u)
{
    int mnt_id;

    u->h.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(fd, name, &u->h, &mnt_id, *name ? 0 : AT_EMPTY_PATH) == 0)
        return 0;
    return errno == EOVERFLOW ? -EOPNOTSUPP : -errno;
}

static int keep_handle(const union handle_room *u, struct file_handle **out)
{
    size_t size = sizeof(u->h) + u->h.handle_bytes;
    *out = malloc(size);
    if (!*out)
        return -ENOMEM;
    memcpy(*out, u, size);
    return 0;
}

int host_handle_of(int fd, struct file_handle **out)
{
    union handle_room u;
    int rc = get_handle(fd, "", &u);
    return rc < 0 ? rc : keep_handle(&u, out);
}

/* ---- the number inside ---- */

static uint64_t pack_layout(struct host_layout l)
{
    uint64_t v;
    _Static_assert(sizeof(l) == sizeof(v), "one word");
    memcpy(&v, &l, sizeof(v));
    return v;
}

static bool holds_number(const struct file_handle *h, struct host_layout l, uint64_t ino)
{
    uint32_t low = 0, high = 0; /* little endian: the low bytes come first */

    if (h->handle_type != l.type || h->handle_bytes != l.bytes)
        return false;
    memcpy(&low, h->f_handle + l.off, sizeof(low));
    if (l.width > sizeof(low))
        memcpy(&high, h->f_handle + l.off + sizeof(low), sizeof(high));
    return ((uint64_t)GUINT32_FROM_LE(high) << 32 | GUINT32_FROM_LE(low)) == ino;
}

/* Whether the root's handle is as telling as that of the first file that is looked up: of the
 * generic form, which is one for files and directories, and with a number that nothing else in it
 * happens to be. */
static bool root_tells(const struct file_handle *h, uint64_t ino)
{
    return h->handle_type == FILEID_INO32_GEN && h->handle_bytes == 8 && ino > UINT16_MAX;
}

void host_layout_learn(struct host *h, struct tree_node *node, int fd)
{
    /* ext4 and others of the generic form, tmpfs, XFS; btrfs and others with longer ones. */
    static const struct host_layout forms[] = {
        {LAYOUT_KNOWN, 8, 0, 4, 0},
        {LAYOUT_KNOWN, 12, 4, 8, 0},
        {LAYOUT_KNOWN, 12, 0, 8, 0},
        {LAYOUT_KNOWN, 0, 0, 8, 0},
    };
    union handle_room u;
    struct host_layout found = {.state = LAYOUT_NONE};
    int mount_fd = atomic_load(&host_mnt(node)->fd);

    if (!h->handles || h->broker || host_layout_of(host_mnt(node)).state != 0 || mount_fd < 0)
        return;
    if (get_handle(fd, "", &u) < 0 || (node == h->root && !root_tells(&u.h, node->ino)))
        return;
    /* A server elsewhere may use a number again without another generation. */
    bool local = !(host_mount_kind(&h->tree, node) & FS_MAP_SLOW);
    for (unsigned i = 0; local && i < G_N_ELEMENTS(forms) && found.state == LAYOUT_NONE; i++) {
        struct host_layout l = forms[i];
        l.type = u.h.handle_type;
        if (l.bytes == 0 && u.h.handle_bytes > 12 && u.h.handle_bytes <= UINT8_MAX)
            l.bytes = (uint8_t)u.h.handle_bytes;
        if (holds_number(&u.h, l, node->ino))
            found = l;
    }
    /* Some file systems make handles that nobody can open. */
    bool search = host_search_begin();
    AUTO_FD int again = open_by_handle_at(mount_fd, &u.h, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (search)
        host_search_end();
    if (again < 0)
        found = (struct host_layout){.state = LAYOUT_NONE};
    atomic_store_explicit(&host_mnt(node)->layout, pack_layout(found), memory_order_relaxed);
}

bool host_handles_by_name(const struct host *h, const struct host_mnt *mnt)
{
    return h->handles && host_layout_known(mnt) && atomic_load(&mnt->fd) >= 0;
}

/* Its handle, of the form that those of the mount have, in *@h, and whether it is of that file. */
static bool right_handle(int dir, const char *name, struct host_layout l, uint64_t ino,
                         struct file_handle *h)
{
    int mnt_id;

    h->handle_bytes = l.bytes; /* the kernel clears no more room than that */
    return name_to_handle_at(dir, name, h, &mnt_id, 0) == 0 && holds_number(h, l, ino);
}

int host_handle_of_name(const struct host_mnt *mnt, int dir, const char *name,
                        struct tree_found *found)
{
    struct host_layout l = host_layout_of(mnt);
    union handle_room u;
    struct file_handle *own = NULL;
    bool fits = sizeof(u.h) + l.bytes <= sizeof(found->room);

    if (found->stx.stx_attributes & STATX_ATTR_AUTOMOUNT)
        return -EAGAIN;
    if (!right_handle(dir, name, l, found->stx.stx_ino, fits ? (void *)found->room : &u.h))
        return -EAGAIN;
    int rc = fits ? 0 : keep_handle(&u, &own);
    found->in_room = fits;
    found->own = own;
    return rc;
}

bool host_handle_has(const struct host_mnt *mnt, const struct file_handle *h, uint64_t ino)
{
    return host_layout_known(mnt) && holds_number(h, host_layout_of(mnt), ino);
}

bool host_handle_equal(const struct file_handle *a, const struct file_handle *b)
{
    return a->handle_bytes == b->handle_bytes && a->handle_type == b->handle_type &&
           memcmp(a->f_handle, b->f_handle, a->handle_bytes) == 0;
}

/* A handle of the root can be made and opened again. */
static int try_handles(int root_fd)
{
    g_autofree struct file_handle *h = NULL;
    int rc = host_handle_of(root_fd, &h);
    if (rc < 0)
        return rc;
    AUTO_FD int dir = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    AUTO_FD int again = open_by_handle_at(dir, h, O_PATH | O_CLOEXEC);
    return again < 0 ? -errno : 0;
}

/* The same, of what the broker signs. */
static int try_broker(struct host_broker *b, int root_fd)
{
    g_autofree struct file_handle *h = NULL;
    uint64_t mount, on;

    if (!b)
        return -EPERM;
    AUTO_FD int dir = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = dir < 0 ? -errno : host_broker_mount(b, dir, &mount);
    if (rc < 0)
        return rc;
    rc = host_broker_sign(b, &root_fd, 1, &h, &on);
    AUTO_FD int again = h ? host_broker_open(b, mount, h) : -EOPNOTSUPP;
    host_broker_unmount(b, mount);
    return rc < 0 ? rc : MIN(again, 0);
}

static const char *why_not(const struct host *h, int rc)
{
    if (rc == -EPERM)
        return "CAP_DAC_READ_SEARCH is missing";
    if (rc != -EOPNOTSUPP)
        return errno_text(-rc);
    return h->brokered ? "the file system is not one whose handles are known to be unique"
                       : "the file system has none";
}

int host_handles_init(struct host *h, int root_fd, GError **err)
{
    int rc = h->brokered ? try_broker(h->broker, root_fd) : try_handles(root_fd);
    h->handles = rc == 0;
    if (rc == 0)
        return 0;
    const char *why = why_not(h, rc);
    host_broker_free(h->broker); /* who ends, then */
    h->broker = NULL;
    if (h->brokered && rc == -EIO) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_IO,
                    "the process that opens files by their handles did not start: use "
                    "--inode-file-handles=prefer or never");
        return rc;
    }
    if (h->handles_must) {
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(-rc),
                    "file handles do not work on the shared directory (%s): use "
                    "--inode-file-handles=prefer or never",
                    why);
        return rc;
    }
    log_info("file handles are not used: %s", why);
    return 0;
}

/* Nobody checks the file yet. */
static int open_handle(struct host *h, const struct tree_node *node, int flags)
{
    if (h->broker)
        return host_broker_open(h->broker, atomic_load(&host_mnt(node)->broker), node->own);
    bool search = host_search_begin();
    if (search && !(flags & O_PATH)) { /* with that right nothing would be checked */
        host_search_end();
        return -EPERM;
    }
    int fd = open_by_handle_at(atomic_load(&host_mnt(node)->fd), node->own, flags | O_CLOEXEC);
    int rc = fd < 0 ? host_open_errno() : fd;
    if (search)
        host_search_end();
    return rc;
}

int host_handle_open(struct host *h, struct tree_node *node, int flags)
{
    bool proved = host_proved(node);
    g_assert(proved || (flags & O_PATH));
    AUTO_FD int fd = open_handle(h, node, flags);
    if (fd >= 0) {
        int bad = proved ? 0 : host_proof_take(h, node, fd);
        return bad < 0 ? bad : steal_fd(&fd);
    }
    int rc = steal_fd(&fd);
    if (rc == -ESTALE || (rc == -ENOENT && (flags & O_PATH))) {
        h->tree.core.gone(h->tree.core.user, node);
        rc = -ESTALE;
    }
    return rc;
}
