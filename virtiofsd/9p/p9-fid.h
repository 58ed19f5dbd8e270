/* SPDX-License-Identifier: BSD-3-Clause
 * The fids of one connection.
 *
 * A fid is not changed once it is in the table: opening one puts another object of the same number
 * in its place. So a request may go on with the object it has found, whatever others do to the
 * number meanwhile, and what belongs to an object ends with its last reference. But for end. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtiofsd/9p/p9-wire.h"
#include "virtiofsd/fs/fs.h"

enum p9_fid_kind { P9_FID_PATH, P9_FID_FILE, P9_FID_DIR, P9_FID_XATTR_READ, P9_FID_XATTR_WRITE };

/* Who attached: what all fids walked from there have in common. */
struct p9_user {
    uid_t uid;
    bool known; /* an uid was given; if not, the requests are root's, but clear set-id bits */
};

/* Value of an extended attribute, on its way to or from the client. */
struct p9_xattr {
    pthread_mutex_t lock; /* done and the bytes of a value being written */
    char *name;           /* of the one to be set; NULL: reading */
    uint8_t *value;       /* size bytes */
    size_t size, done;
    int flags; /* of setxattr(2) */
};

struct p9_fid {
    atomic_uint refs;
    uint32_t id;
    enum p9_fid_kind kind;
    struct p9_user user;
    struct fs_inode *inode; /* this and the next two are references */
    struct fs_inode *root;  /* where it was attached: ".." goes no further */
    struct fs_inode *parent;
    char *name;           /* by which it was found in parent; both NULL at the root */
    struct p9_qid qid;    /* when it was found */
    dev_t dev;            /* of the inode */
    struct fs_file *file; /* reference; of FILE and DIR */
    bool stores;          /* file was opened for writing */
    _Atomic uint64_t end; /* of what was written through it, as its client sees it */
    struct p9_xattr *xattr;
    /* Owners of locks that were set through this fid (GArray of uint64_t, NULL = none); conn.lock.
     * Their locks end with it. */
    GArray *owners;
    bool gone; /* no longer in the table: waits for locks end; conn.lock */
};

struct p9_budget {
    atomic_uint used;
    unsigned max;
};

struct p9_fids {
    struct fs *fs;
    pthread_mutex_t lock;
    GHashTable *table; /* id -> p9_fid, one reference each */
    unsigned max;
    struct p9_budget *all;      /* what all connections of a server have together */
    _Atomic size_t xattr_bytes; /* in values of fids */
    size_t max_xattr_bytes;
};

void p9_fids_init(struct p9_fids *fids, struct fs *fs, unsigned max, struct p9_budget *all);
/* The table is empty. */
void p9_fids_fini(struct p9_fids *fids);

/* The fid with a reference, or NULL. */
struct p9_fid *p9_fid_get(struct p9_fids *fids, uint32_t id);
/* One more reference. */
struct p9_fid *p9_fid_ref(struct p9_fid *fid);
/* NULL is allowed. */
void p9_fid_put(struct p9_fids *fids, struct p9_fid *fid);

/* A fid for @inode (the reference is taken over) with user, root and number as given; one reference
 * and not yet in the table. */
struct p9_fid *p9_fid_new(uint32_t id, struct fs_inode *inode, const struct p9_user *user,
                          struct fs_inode *root);
/* Another object like @fid, of number @id and kind PATH. */
struct p9_fid *p9_fid_dup(const struct p9_fid *fid, uint32_t id);
/* Remember by which name it was found. */
void p9_fid_set_place(struct p9_fids *fids, struct p9_fid *fid, struct fs_inode *parent,
                      const char *name);

/* Put a new fid (its reference is taken over on success) into the table. -EINVAL: the number is in
 * use; -ENFILE: too many. */
int p9_fid_add(struct p9_fids *fids, struct p9_fid *fid);
/* Put @fid (taken over on success) in the place of @old. -EBADF: that one is gone. The table's
 * reference on @old goes to the caller. */
int p9_fid_replace(struct p9_fids *fids, struct p9_fid *old, struct p9_fid *fid);
/* Take a fid out of the table, with the table's reference; NULL when there is none. */
struct p9_fid *p9_fid_take(struct p9_fids *fids, uint32_t id);
/* Take all out and drop the table's references; in time that grows with their number. */
void p9_fid_drop_all(struct p9_fids *fids);

/* Room for a value of @size bytes, zeroed. NULL: too much of it already. */
struct p9_xattr *p9_xattr_new(struct p9_fids *fids, size_t size);
void p9_xattr_free(struct p9_fids *fids, struct p9_xattr *x);
