/* SPDX-License-Identifier: BSD-3-Clause
 * A tree of files: what the core (virtiofsd/fs/) has below its verbs (fs_config.tree).
 *
 * The core keeps what a guest holds: ids, lookups, open files, owners of locks, who asks, policies,
 * bounds. A tree knows files: what lies under a name, attributes, data. One table of verbs is all
 * that the core knows of a tree; the host's directory is one (tree/host.h).
 *
 * Conventions: 0 or -errno (ssize_t: bytes or -errno). Ids, names and sizes were checked by the
 * core, ids are the host's, and on a read-only share no verb that changes something is called. Any
 * thread may call. No lock of the core is held around a verb that may make a system call on the
 * tree; around those that say so the core's table is locked.
 *
 * A tree may lack a verb (NULL in its table) where its comment says behind "none:" what the core
 * does or answers then. */
#pragma once

#include "virtiofsd/tree/tree-types.h"

#include <linux/limits.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>

struct tree;
struct tree_mnt;

/* One mounted file system as seen in the share: the part of the key of nodes that they have in
 * common. Lives as long as one of them. */
struct tree_mnt {
    struct tree *tree;
    struct tree_mnt *next; /* the rest: the core's, under its table lock */
    dev_t dev;
    uint64_t mnt_id;
    uint64_t nodes;
    uint32_t salt;       /* hash seed that tells mounts apart */
    atomic_bool no_rest; /* the tree says: rest() is not for its nodes */
};

enum {
    NODE_USED = 1 << 0,   /* its descriptor was used since the core's sweep came by */
    NODE_YOUNG = 1 << 1,  /* its birth was too near to the moment its descriptor was closed */
    NODE_PROVED = 1 << 2, /* its handle leads to the file that was looked up */
    NODE_CORE = 3,        /* bits from this one on are the core's */
};

enum {
    NODE_MAP_KNOWN = 1 << 0, /* NODE_MAP_WRITE is known */
    NODE_MAP_WRITE = 1 << 1,
    NODE_MAP_CORE = 2, /* bits from this one on are the core's */
};

#define TREE_ROOM 24

/* A file that the core knows, by any name or none. state: the core's references in the high half;
 * in the low half what the tree holds it by (the host: an O_PATH descriptor), or TREE_NO_FD. It
 * changes from that only by the tree (adopt), and to that only by the core, with an exchange which
 * proves that nobody holds a reference (rest): so who has one never sees it vanish. */
struct tree_node {
    _Atomic uint64_t state;
    uint64_t ino;
    struct tree_mnt *mnt;
    int64_t btime_ns;                        /* 0 = the file system has none */
    void *own;                               /* the tree's; set under the core's table lock */
    uint32_t slot;                           /* the core's */
    uint8_t type;                            /* S_IFMT >> 12 */
    _Atomic uint8_t flags;                   /* NODE_* */
    _Atomic uint8_t map;                     /* NODE_MAP_* */
    _Atomic uint8_t lookup_hint;             /* the core's */
    _Alignas(uint64_t) char room[TREE_ROOM]; /* where own points to, when it is that small */
};

#define TREE_NO_FD      (-1)
#define TREE_HANDLE_MAX 128
#define TREE_BATCH      16

static inline int tree_node_fd(const struct tree_node *node)
{
    return (int)(uint32_t)atomic_load_explicit(&node->state, memory_order_acquire);
}

static inline bool tree_node_is(const struct tree_node *node, mode_t type)
{
    return node->type == type >> 12;
}

/* Whether the birth is so near that the number may get another file with the same time. */
bool tree_node_is_young(const struct tree_node *node);

/* Birth time in nanoseconds, 0 = the file system has none. */
int64_t tree_btime(const struct statx *stx);

/* An open file or directory. */
struct tree_file {
    struct tree_node *node;
    int fd;      /* the tree's */
    int accmode; /* O_RDONLY, O_WRONLY, O_RDWR */
    int kind;  /* what of O_NOATIME and, if the file is append-only, O_APPEND it was opened with */
    int asked; /* the guest's TREE_ASKED_FLAGS at open(2) */
    void *_Atomic own; /* the tree's */
    bool is_dir;
};

#define TREE_ASKED_FLAGS (O_APPEND | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME)

/* What a tree has found: everything that a new node begins with. */
struct tree_found {
    struct statx stx; /* TREE_STATX_MASK */
    bool complete;    /* else only stx, under the name, which may mean another file by now */
    int fd;           /* what is to become the low half of tree_node.state */
    void *own;        /* what is to become tree_node.own */
    bool in_room; /* or that is here, own is NULL, and nothing to be dropped; set where own is */
    _Alignas(uint64_t) char room[TREE_ROOM];
};

#define TREE_STATX_MASK (STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID)

enum tree_same { TREE_SAME, TREE_OTHER, TREE_UNSURE };

/* What is to be made. */
struct tree_make {
    const char *name;
    mode_t mode; /* with the type */
    dev_t rdev;
    const char *target; /* of a symbolic link */
};

/* One entry of a directory; @off: where the next one starts, opaque. False: stop before it. */
struct tree_dirent {
    uint64_t ino, off;
    unsigned type; /* DT_* */
    const char *name;
};
typedef bool tree_dirent_fn(void *user, const struct tree_dirent *d);

/* Where a file is, for another process to find it: by its name below some directory, by a handle,
 * or by both; and what must be true of what is found. */
struct tree_place {
    uint64_t fs_type, fs_id; /* of its file system: statfs(2) */
    uint64_t ino;
    int64_t btime_ns; /* 0 = the file system has none */
    uint8_t type;     /* S_IFMT >> 12 */
    bool has_path;
    int handle_type;
    unsigned handle_len; /* 0 = none */
    uint8_t handle[TREE_HANDLE_MAX];
    char path[PATH_MAX];
};

enum {
    TREE_PLACE_PATH = 1 << 0,
    TREE_PLACE_HANDLE = 1 << 1,
    TREE_PLACE_TRUST =
        1 << 2, /* handles need not be shown to be of the tree, but for directories */
    TREE_PLACE_VERIFY = 1 << 3, /* what is found by the path must have the handle */
    TREE_PLACE_UNSEEN = 1 << 4, /* the place says only where: what is there is it */
};

/* Somebody who waits for fetch(). The tree calls done() once, from any thread and holding no lock,
 * unless cancel() came before: 0, or the -errno that the verb is to end with. It does so within a
 * time that it bounds. */
struct tree_wait {
    void (*done)(struct tree_wait *w, int result);
    void *own; /* the tree's */
};

/* read() and copy() answer so when data must be fetched first. */
#define TREE_NOT_YET (-EINPROGRESS)

struct tree_ops {
    /* ---- the life of nodes ---- */

    /* A mount of the tree with the first node on it; the core fills in the fields that are its own.
     * Under the table lock, unlike its end. */
    struct tree_mnt *(*mnt_new)(struct tree *t);
    void (*mnt_free)(struct tree_mnt *mnt);
    /* Is what was found the @node with the same key? Under the table lock. With found->fd ==
     * TREE_NO_FD nothing holds what was found: only what cannot be another file is the same.
     * None: it is. */
    enum tree_same (*same)(const struct tree_node *node, const struct tree_found *found);
    /* The same where that is unsure. 1, 0 or -errno: nobody can say. */
    int (*same_for_sure)(struct tree_node *node, const struct tree_found *found);
    /* A new @node has taken over what was found. Under the table lock, and before anybody else gets
     * at it. None: nothing is to be done, as of the next two. */
    void (*enter)(struct tree *t, struct tree_node *node);
    /* The same, when it is not locked any more: what takes system calls. 0 or -errno, which matters
     * for the root only. */
    int (*settle)(struct tree *t, struct tree_node *node);
    /* A known @node may take over what was found, and sets that to none then. */
    void (*adopt)(struct tree *t, struct tree_node *node, struct tree_found *found);
    /* Get ready to do without the low half of state, @fd: that which will take its place as own, if
     * there is none yet, goes to *own. 0 or -errno: it is needed. None: it always is. */
    int (*rest)(struct tree *t, struct tree_node *node, int fd, void **own);
    /* The same for @n nodes, TREE_BATCH at most, where a tree says that it rests_costly. rc[i]:
     * what rest() of that node would have returned. */
    void (*rest_some)(struct tree *t, struct tree_node *const *nodes, const int *fds, unsigned n,
                      void **own, int *rc);
    /* Nobody needs these any more (TREE_NO_FD, NULL: none). */
    void (*drop)(struct tree *t, int fd, void *own);
    void (*free)(struct tree *t);

    /* ---- who asks ---- */

    /* Be @cred in this thread until act_done(). 1, 0: so already, -errno. None: 0. */
    int (*act_as)(struct tree *t, const struct fs_cred *cred);
    void (*act_done)(struct tree *t); /* keeps errno */

    /* ---- names ---- */

    /* What lies under @name, which is not followed. Attributes only where that is cheaper, unless
     * @likely_new: it is probably a new one. */
    int (*lookup)(struct tree *t, struct tree_node *dir, const char *name, bool likely_new,
                  struct tree_found *out);
    /* Complete what lookup() found (@again false), or find it again and hold it (true). */
    int (*complete)(struct tree *t, struct tree_node *dir, const char *name, bool again,
                    struct tree_found *found);
    /* The directory above @dir, which is not the root: complete; -ESTALE: not of the tree (any
     * more). None: ENOENT. */
    int (*up)(struct tree *t, struct tree_node *dir, struct tree_found *out);
    /* Make a directory, symbolic link, or file that is not open; complete. None: EROFS, as all that
     * change something. */
    int (*make)(struct tree *t, const struct fs_cred *cred, struct tree_node *dir,
                const struct tree_make *m, struct tree_found *out);
    int (*link)(struct tree *t, struct tree_node *node, struct tree_node *dir, const char *name);
    int (*unlink)(struct tree *t, struct tree_node *dir, const char *name, int flags);
    int (*rename)(struct tree *t, struct tree_node *dir, const char *name, struct tree_node *newdir,
                  const char *newname, unsigned flags);
    /* No NUL; -ENAMETOOLONG when it may have been cut. None: EINVAL. */
    ssize_t (*readlink)(struct tree *t, struct tree_node *node, char *buf, size_t size);

    /* ---- attributes ---- */

    /* @file: an open file of @node, or NULL. */
    int (*statx)(struct tree *t, struct tree_node *node, const struct tree_file *file, int sync,
                 unsigned mask, struct statx *out);
    /* The same without what only that tells, where it costs less. None: statx(). */
    int (*stat)(struct tree *t, struct tree_node *node, const struct tree_file *file,
                struct stat *out);
    /* None: EROFS. */
    int (*setattr)(struct tree *t, struct tree_node *node, const struct tree_file *file,
                   const struct fs_setattr *set);
    /* None: ENOSYS. */
    int (*statfs)(struct tree *t, struct tree_node *node, struct statvfs *out);

    /* ---- open files ---- */

    /* Open a regular file or directory (O_DIRECTORY) with @flags; @asked: those of the guest. Fills
     * @out. @how: FS_OPEN_*. */
    int (*open)(struct tree *t, struct tree_node *node, int flags, int asked, unsigned how,
                struct tree_file *out);
    /* Make a file and open it; @name is NULL when it gets none. -EEXIST. Fills @out but for its
     * node. None: EROFS. */
    int (*create)(struct tree *t, const struct fs_cred *cred, struct tree_node *dir,
                  const char *name, mode_t mode, int flags, int asked, struct tree_found *found,
                  struct tree_file *out);
    void (*close)(struct tree *t, struct tree_file *file);
    /* Whether open() succeeds whatever a file's mode says. None: no. */
    bool (*reopens)(struct tree *t);
    /* What close(2) has to say of earlier writes. None: 0. */
    int (*close_error)(struct tree *t, struct tree_file *file);
    /* Short only at the end of the file. TREE_NOT_YET: nothing was read. */
    ssize_t (*read)(struct tree *t, struct tree_file *file, struct iovec *iov, unsigned cnt,
                    off_t off, unsigned how);
    /* None: EBADF, as all that need a file that is open for writing. */
    ssize_t (*write)(struct tree *t, struct tree_file *file, struct iovec *iov, unsigned cnt,
                     off_t off, unsigned how);
    off_t (*lseek)(struct tree *t, struct tree_file *file, off_t off,
                   int whence); /* none: EINVAL */
    int (*fallocate)(struct tree *t, struct tree_file *file, int mode, off_t off, off_t len,
                     unsigned how);
    /* Both files are of this tree. None: EXDEV. TREE_NOT_YET is about @in. */
    ssize_t (*copy)(struct tree *t, struct tree_file *in, off_t off_in, struct tree_file *out,
                    off_t off_out, size_t len, unsigned how);
    int (*fsync)(struct tree *t, struct tree_file *file, bool datasync); /* none: 0 */
    int (*syncfs)(struct tree *t, struct tree_node *node);               /* none: 0 */
    /* From opaque @off on, to @fn. None: ENOTDIR. */
    int (*readdir)(struct tree *t, struct tree_file *dir, uint64_t off, tree_dirent_fn *fn,
                   void *user);

    /* ---- what must be fetched first ---- */

    /* Have [@off, @off + @len) of @node there, and see @w done: 1: it is there already, 0: done()
     * will be called, or was; -errno. None: all is there. */
    int (*fetch)(struct tree *t, struct tree_node *node, off_t off, size_t len,
                 struct tree_wait *w);
    /* Whether w->done() is not called (true), or was, or is about to be. @w may be unknown (any
     * more). Of all calls for one fetch() one at most says true. */
    bool (*cancel)(struct tree *t, struct tree_wait *w);

    /* ---- mapping ---- */

    /* FS_MAP_* of the mount of @node. None: 0, as of the next. */
    unsigned (*mount_kind)(struct tree *t, struct tree_node *node);
    /* Whether a regular file may be opened for writing; @mode and @immutable: its mode, and whether
     * it is immutable. */
    bool (*may_map_write)(struct tree *t, struct tree_node *node, mode_t mode, bool immutable);
    /* A descriptor, the caller's, O_RDWR or O_RDONLY. None: ENODEV. */
    int (*map_open)(struct tree *t, struct tree_node *node, bool write);
    /* The guest is going to store through a mapping. None: 0. */
    int (*map_store)(struct tree *t, struct tree_node *node, unsigned how);

    /* ---- extended attributes; none: EOPNOTSUPP ---- */

    ssize_t (*getxattr)(struct tree *t, struct tree_node *node, const char *name, void *buf,
                        size_t size);
    ssize_t (*listxattr)(struct tree *t, struct tree_node *node, char *buf, size_t size);
    int (*setxattr)(struct tree *t, struct tree_node *node, const char *name, const void *value,
                    size_t size, int flags);
    int (*removexattr)(struct tree *t, struct tree_node *node, const char *name);
    /* A new access ACL of a file whose group the guest's process is not in: set-group-id goes. */
    int (*kill_sgid)(struct tree *t, struct tree_node *node);

    /* ---- moving a guest; none: it cannot be moved ---- */

    /* What of TREE_PLACE_* in @want there is of @node. To be asked of the root first, and by one
     * thread at a time. 0 or -errno. */
    int (*where)(struct tree *t, struct tree_node *node, unsigned want, struct tree_place *out);
    /* Find it again, @dir being the directory that the path is below: what is found is what was
     * told, or will be shown to be before it is opened. @how: TREE_PLACE_*. -ESTALE: it is not
     * there; it changes @place. */
    int (*locate)(struct tree *t, struct tree_node *dir, unsigned how, struct tree_place *place,
                  struct tree_found *out);

    /* ---- locks; none: ENOLCK ---- */

    /* A description of @node that can hold open-file-description locks of that type. */
    int (*lock_open)(struct tree *t, struct tree_node *node, short type);
    int (*flock)(struct tree *t, struct tree_file *file, int op); /* may wait */
};

/* What a tree asks of the core, which sets it before it calls a verb. */
struct tree_core {
    void *user;
    /* The tree's name of security.capability where that is another one: then its kernel does not
     * remove it from a changed file, so the tree does. Else NULL. */
    const char *cap_name;
    /* @node is another file than was looked up: no new name will be found to be it. */
    void (*gone)(void *user, struct tree_node *node);
    /* Whether there may be one more descriptor of a node: 0 or -ENFILE; and there is one. */
    int (*node_fd_room)(void *user);
    void (*node_fd_added)(void *user);
    /* Count one more descriptor of an open file. 0 or -ENFILE. */
    int (*file_fd_take)(void *user);
    void (*file_fd_give)(void *user);
};

struct tree {
    const struct tree_ops *ops;
    struct tree_core core;
    struct tree_found root; /* the first node of all, complete; the core takes it over */
    bool rests;             /* rest() can be had */
    bool rests_costly; /* but it and the way back cost much: late, and for several nodes at once */
    /* Each TREE_READ_EVERYth read of a thread by where its data were, if the tree counts them. */
    _Atomic uint64_t reads[TREE_READS];
};
