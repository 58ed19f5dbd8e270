/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the host's tree share. No lock is held across a system call on the tree but
 * that of one open directory. */
#pragma once

#include "virtiofsd/base/auto.h"
#include "virtiofsd/tree/host-broker.h"
#include "virtiofsd/tree/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct host_proofs;
struct host_sides;
struct host_dir;

struct host {
    struct tree tree; /* first */
    int proc_self_fd, task_fd, thread_fd;
    bool handles; /* file handles are in use */
    bool handles_must;
    bool brokered; /* handles are, or were to be, those of a broker */
    bool fenced, allow_direct_io, preserve_noatime;
    bool root_is_mount; /* nothing of the root's mount lies outside of the tree */
    atomic_bool no_rwf; /* the kernel has no RWF_APPEND, RWF_SYNC, RWF_DSYNC (or an emulator) */
    uid_t uid;          /* ours */
    gid_t gid;
    unsigned serial; /* tells this tree from earlier ones in thread-local state */
    struct tree_node *root;
    struct host_broker *broker; /* who opens by handle for us, or NULL: we do */
    struct host_proofs *proofs; /* NULL without handles, or with a broker */
    atomic_uint dir_bufs;
    char root_path[PATH_MAX]; /* what the kernel calls the root: host-place.c */
};

/* Which file system it is, as another process of ours sees it, too. */
struct host_fsid {
    uint64_t type, id; /* statfs(2) */
    bool known;
};

struct host_mnt {
    struct tree_mnt mnt;   /* first */
    struct host_fsid fsid; /* host-place.c: of one thread at a time */
    _Atomic int fd; /* real descriptor inside the mount for open_by_handle_at(), -1 = not yet */
    _Atomic uint64_t broker; /* its number there, 0 = not yet known */
    _Atomic uint64_t layout; /* struct host_layout: where a handle holds the inode number */
    _Atomic uint32_t map;    /* FS_MAP_* of its files, 0 = not yet known: host-map.c */
    _Atomic uint8_t append;  /* APPEND_*: host-side.c */
};

/* What makes a write to one of the mount's files an append: RWF_APPEND, or only O_APPEND. */
enum { APPEND_UNKNOWN, APPEND_BY_FLAG, APPEND_BY_FD };

/* Where the handles of one mount hold the inode number: learnt from a handle and a number that are
 * known to belong together. It lets a handle made by name be checked against the attributes found
 * under that name without opening it. */
struct host_layout {
    uint8_t state; /* 0 = not yet learnt, LAYOUT_KNOWN, LAYOUT_NONE */
    uint8_t bytes, off, width;
    int32_t type;
};
enum { LAYOUT_KNOWN = 1, LAYOUT_NONE = 2 };

static inline struct host_layout host_layout_of(const struct host_mnt *mnt)
{
    uint64_t v = atomic_load_explicit(&mnt->layout, memory_order_relaxed);
    struct host_layout l;
    memcpy(&l, &v, sizeof(l));
    return l;
}

/* Whether the handles of this mount are of a form we know: number and generation. */
static inline bool host_layout_known(const struct host_mnt *mnt)
{
    return host_layout_of(mnt).state == LAYOUT_KNOWN;
}

static inline struct host *host_of(struct tree *t)
{
    return (struct host *)t;
}

static inline struct host_mnt *host_mnt(const struct tree_node *node)
{
    return (struct host_mnt *)node->mnt;
}

/* NULL: it is held by its descriptor, and was not at rest yet. */
static inline const struct file_handle *host_handle(const struct tree_node *node)
{
    return node->own;
}

/* ---- host-fd.c ---- */

#define FD_NAME_LEN 12

/* Decimal @fd at the end of @buf: the name of a descriptor below proc_self_fd. */
const char *host_fd_name(char buf[FD_NAME_LEN], int fd);
/* statx of @name below @fd, not followed; "" is @fd itself. 0 or -errno. */
int host_statx_at(int fd, const char *name, struct statx *stx);

/* -errno of a failed open on behalf of the guest: whichever table is full, it hears ENFILE. */
static inline int host_open_errno(void)
{
    return errno == EMFILE ? -ENFILE : -errno;
}

/* open(2) flags of the guest as the operator allows them. */
static inline int host_open_flags(const struct host *h, int flags)
{
    return h->preserve_noatime ? flags : flags & ~O_NOATIME;
}

/* Make the working directory of this thread /proc/self/fd, so that calls that know only paths
 * can name a descriptor. 0 or -errno. */
int host_thread_cwd(struct host *h);

static inline int host_file_fd_take(struct host *h)
{
    return h->tree.core.file_fd_take(h->tree.core.user);
}

static inline void host_file_fd_give(struct host *h)
{
    h->tree.core.file_fd_give(h->tree.core.user);
}

/* ---- host-node.c: descriptors of nodes ---- */

struct tree_mnt *host_mnt_new(struct tree *t);
void host_mnt_free(struct tree_mnt *mnt);
enum tree_same host_same(const struct tree_node *node, const struct tree_found *found);
int host_same_for_sure(struct tree_node *node, const struct tree_found *found);
void host_enter(struct tree *t, struct tree_node *node);
int host_settle(struct tree *t, struct tree_node *node);
void host_adopt(struct tree *t, struct tree_node *node, struct tree_found *found);
int host_rest(struct tree *t, struct tree_node *node, int fd, void **own);
void host_rest_some(struct tree *t, struct tree_node *const *nodes, const int *fds, unsigned n,
                    void **own, int *rc);
void host_drop(struct tree *t, int fd, void *own);

/* Descriptor of a node that has only its handle. Returns it or -errno. */
int host_reopen(struct host *h, struct tree_node *node);
/* Remember a real descriptor inside the mount of @node. 0 or -errno. */
int host_mnt_anchor(struct host *h, struct tree_node *node, int fd);

/* O_PATH descriptor of a node the caller holds a reference on; valid as long as that is held.
 * Returns it or -errno. */
static inline int host_fd(struct host *h, struct tree_node *node)
{
    int fd = tree_node_fd(node);

    if (G_UNLIKELY(fd < 0))
        return host_reopen(h, node);
    if (h->handles && !(atomic_load_explicit(&node->flags, memory_order_relaxed) & NODE_USED))
        atomic_fetch_or_explicit(&node->flags, NODE_USED, memory_order_relaxed);
    return fd;
}

/* Whether the node is one of which a real descriptor may be opened. */
static inline bool host_openable(const struct tree_node *node)
{
    return tree_node_is(node, S_IFREG) || tree_node_is(node, S_IFDIR);
}

static inline bool host_proved(const struct tree_node *node)
{
    return atomic_load_explicit(&node->flags, memory_order_relaxed) & NODE_PROVED;
}

/* ---- host-handle.c ---- */

/* Whether handles, which are wanted, work on the root; decides h->handles. 0, or -errno
 * (h->handles_must, or a broker that is gone). */
int host_handles_init(struct host *h, int root_fd, GError **err);
/* Handle of what @fd refers to; free() it. -EOPNOTSUPP where there are none. */
int host_handle_of(int fd, struct file_handle **out);
/* Handle of @name below @dir, not followed, if it surely is that of the file that @found describes:
 * found->own, or in its room. -EAGAIN when one cannot be sure that way. */
int host_handle_of_name(const struct host_mnt *mnt, int dir, const char *name,
                        struct tree_found *found);
/* Whether host_handle_of_name() has a chance on this mount. */
bool host_handles_by_name(const struct host *h, const struct host_mnt *mnt);
/* Learn the layout from a node with a descriptor, once per mount. */
void host_layout_learn(struct host *h, struct tree_node *node, int fd);
/* Open by handle with the caller's own @flags, which have O_PATH unless host_proved(). Returns
 * a descriptor, not counted, of the file that was looked up and no other, or -errno. */
int host_handle_open(struct host *h, struct tree_node *node, int flags);
/* Whether the number inside the handle is @ino; false where it is not known where that is. */
bool host_handle_has(const struct host_mnt *mnt, const struct file_handle *h, uint64_t ino);
bool host_handle_equal(const struct file_handle *a, const struct file_handle *b);

/* ---- host-proof.c: whether a handle leads to the file that was looked up ---- */

int host_proofs_init(struct host *h);
void host_proofs_fini(struct host *h);
/* Whether the handle of @node, which has no descriptor, is proved; of a node that is new, whether
 * it was before. To be asked before that handle is opened. No system call. */
bool host_proof_recall(struct host *h, struct tree_node *node);
/* Compare what @fd, that the handle of @node gave, is with what was looked up. 0, or -ESTALE: it
 * is another file, and nothing will be found to be this node any more. */
int host_proof_take(struct host *h, struct tree_node *node, int fd);

/* ---- host-name.c, host-up.c, host-create.c ---- */

int host_lookup(struct tree *t, struct tree_node *dir, const char *name, bool likely_new,
                struct tree_found *out);
int host_complete(struct tree *t, struct tree_node *dir, const char *name, bool again,
                  struct tree_found *found);
int host_up(struct tree *t, struct tree_node *dir, struct tree_found *out);
int host_link(struct tree *t, struct tree_node *node, struct tree_node *dir, const char *name);
int host_unlink(struct tree *t, struct tree_node *dir, const char *name, int flags);
int host_rename(struct tree *t, struct tree_node *dir, const char *name, struct tree_node *newdir,
                const char *newname, unsigned flags);
ssize_t host_readlink(struct tree *t, struct tree_node *node, char *buf, size_t size);
int host_make(struct tree *t, const struct fs_cred *cred, struct tree_node *dir,
              const struct tree_make *m, struct tree_found *out);
int host_create(struct tree *t, const struct fs_cred *cred, struct tree_node *dir, const char *name,
                mode_t mode, int flags, int asked, struct tree_found *found, struct tree_file *out);
/* What an O_PATH descriptor, which is taken over, has to say of itself, with its handle where that
 * is mandatory. 0 or -errno. */
int host_found_fd(struct host *h, int fd, struct tree_found *out);
/* The same with its attributes at hand. */
int host_found_stx(struct host *h, int fd, const struct statx *stx, struct tree_found *out);

/* Whether a directory, found in what way ever, lies below the root or is it. */
bool host_is_inside(struct host *h, int fd, const struct statx *stx);

/* ---- host-place.c ---- */

int host_where(struct tree *t, struct tree_node *node, unsigned want, struct tree_place *out);
int host_locate(struct tree *t, struct tree_node *dir, unsigned how, struct tree_place *place,
                struct tree_found *out);

/* ---- host-attr.c ---- */

int host_statx(struct tree *t, struct tree_node *node, const struct tree_file *file, int sync,
               unsigned mask, struct statx *out);
int host_stat(struct tree *t, struct tree_node *node, const struct tree_file *file,
              struct stat *out);
int host_setattr(struct tree *t, struct tree_node *node, const struct tree_file *file,
                 const struct fs_setattr *set);
int host_statfs(struct tree *t, struct tree_node *node, struct statvfs *out);

/* ---- host-open.c ---- */

int host_open(struct tree *t, struct tree_node *node, int flags, int asked, unsigned how,
              struct tree_file *out);
void host_close(struct tree *t, struct tree_file *file);
int host_close_error(struct tree *t, struct tree_file *file);
bool host_reopens(struct tree *t);
/* Fill in what open(2) with @flags gave. */
void host_file_init(struct tree_file *f, struct tree_node *node, int fd, int flags, int asked);
int host_lock_open(struct tree *t, struct tree_node *node, short type);
/* A real descriptor of a regular file or directory, through /proc/self/fd. @flags are the
 * caller's own, not the guest's. Returns it or -errno; not counted. */
int host_open_node(struct host *h, struct tree_node *node, int flags);

/* ---- host-side.c ---- */

/* The descriptor of @f with @want of O_DIRECT, O_NOATIME and O_APPEND, as far as they are in
 * @matters. O_DIRECT and O_NOATIME are left out where they cannot be had; *got is what it has. It
 * is valid as long as the file. Returns it or -errno. */
int host_side(struct host *h, struct tree_file *f, int want, int matters, int *got);
/* What offsets and lengths of direct transfers are multiples of, in bytes; a power of two. */
unsigned host_side_block(struct tree_file *f);
/* Whether a write to @f is an append only by a descriptor with O_APPEND. */
bool host_appends_by_fd(struct host *h, const struct tree_file *f);
/* Open at once what the guest's open(2) asked for, so that it hears what is wrong. 0, -EINVAL (no
 * O_DIRECT there), -ENFILE. */
int host_sides_ready(struct host *h, struct tree_file *f);
/* Whether host_sides_ready() of a file of @node that was opened so has something to do. */
bool host_sides_asked(struct host *h, const struct tree_node *node, int asked);
void host_sides_close(struct host *h, struct tree_file *f);

/* ---- host-io.c ---- */

ssize_t host_read(struct tree *t, struct tree_file *file, struct iovec *iov, unsigned cnt,
                  off_t off, unsigned how);
ssize_t host_write(struct tree *t, struct tree_file *file, struct iovec *iov, unsigned cnt,
                   off_t off, unsigned how);
off_t host_lseek(struct tree *t, struct tree_file *file, off_t off, int whence);
int host_fallocate(struct tree *t, struct tree_file *file, int mode, off_t off, off_t len,
                   unsigned how);
ssize_t host_copy(struct tree *t, struct tree_file *in, off_t off_in, struct tree_file *out,
                  off_t off_out, size_t len, unsigned how);
int host_fsync(struct tree *t, struct tree_file *file, bool datasync);
int host_syncfs(struct tree *t, struct tree_node *node);
int host_flock(struct tree *t, struct tree_file *file, int op);

/* ---- host-dir.c ---- */

int host_readdir(struct tree *t, struct tree_file *file, uint64_t off, tree_dirent_fn *fn,
                 void *user);
void *host_dir_new(void);
void host_dir_free(struct host *h, struct host_dir *dir);

/* ---- host-map.c ---- */

unsigned host_mount_kind(struct tree *t, struct tree_node *node);
bool host_may_map_write(struct tree *t, struct tree_node *node, mode_t mode, bool immutable);
int host_map_open(struct tree *t, struct tree_node *node, bool write);
int host_map_store(struct tree *t, struct tree_node *node, unsigned how);

/* ---- host-xattr.c ---- */

ssize_t host_getxattr(struct tree *t, struct tree_node *node, const char *name, void *buf,
                      size_t size);
ssize_t host_listxattr(struct tree *t, struct tree_node *node, char *buf, size_t size);
int host_setxattr(struct tree *t, struct tree_node *node, const char *name, const void *value,
                  size_t size, int flags);
int host_removexattr(struct tree *t, struct tree_node *node, const char *name);
int host_kill_sgid(struct tree *t, struct tree_node *node);
/* Give it to the new inode behind @fd (any kind of descriptor), unless the kernel has. 0 or -errno.
 */
int host_secctx_set(struct host *h, const struct fs_cred *cred, int fd);

int host_caps_remove(struct host *h, const struct tree_node *node, int fd);
/* File capabilities end with every change of data, size or owner (CVE-2021-20263). Remove them
 * from @node before that, by any descriptor of it, where the host's kernel does not. 0 or -errno:
 * then nothing may be changed. */
static inline int host_caps_drop(struct host *h, const struct tree_node *node, int fd)
{
    return G_LIKELY(!h->tree.core.cap_name) ? 0 : host_caps_remove(h, node, fd);
}

/* ---- host-label.c ---- */

/* Whether the kernel can give the label of @cred to an inode while it makes it. */
bool host_label_native(struct host *h, const struct fs_cred *cred);
/* Let it, for what this thread makes until host_label_end(). Returns 1; 0 when it will not
 * (host_secctx_set() does it afterwards), or -errno: nothing may be made. */
int host_label_begin(struct host *h, const struct fs_cred *cred);
/* With what that returned. Keeps errno. A thread that cannot end it must not go on: aborts. */
void host_label_end(int begun);

/* ---- host-cred.c ---- */

/* What host_cred_enter() changed in this thread. */
struct host_cred_saved {
    bool uid, gid, groups, caps;
};

int host_act_as(struct tree *t, const struct fs_cred *cred);
void host_act_done(struct tree *t);

/* Act as @cred (NULL: as ourselves) until host_cred_leave(). 0 or -errno, nothing changed then. */
int host_cred_enter(struct host *h, const struct fs_cred *cred, struct host_cred_saved *saved);
/* After host_cred_enter(), when the host has refused (EACCES) what it checked by @cred's ids:
 * whether that is not for the host to check, and trying again, now with CAP_DAC_OVERRIDE, has a
 * chance. A guest's kernel has checked, by groups that it did not send or by a capability of the
 * process. Nothing else comes with it: no device nodes, no set-group-id of others' groups. Keeps
 * errno. */
bool host_cred_override(const struct fs_cred *cred, struct host_cred_saved *saved);
/* Keeps errno. A thread that cannot become itself again must not go on: aborts. */
void host_cred_leave(struct host *h, const struct host_cred_saved *saved);

/* While acting as a user (host_act_as()), what the core itself needs the right to search for:
 * opening by handle, climbing to the root. Between the two nothing may be opened for reading or
 * writing as the guest asked. Returns whether host_search_end() is to be called; that keeps errno.
 */
bool host_search_begin(void);
void host_search_end(void);

/* Work without CAP_FSETID, so that the kernel clears suid and sgid as for an ordinary user.
 * Returns whether something was dropped and must be given back. */
bool host_fsetid_drop(void);
void host_fsetid_restore(void); /* keeps errno */
