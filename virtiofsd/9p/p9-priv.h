/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of 9p/ share.
 *
 * Locks, in the order in which they may be taken: conn.session -> p9_xattr.lock -> conn.lock,
 * fids.lock, devs.lock; the last three are leaves. Only the first two are held across calls of the
 * core, and answers may be given under the first: a stream's lock comes after it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "virtiofsd/9p/p9-fid.h"
#include "virtiofsd/9p/p9-srv.h"
#include "virtiofsd/9p/p9-wire.h"
#include "virtiofsd/base/trace.h"

/* Largest message kept in private memory; only Twrite may be longer, its data stays where it is.
 * A Twalk of sixteen longest names is a third of it. */
#define P9_RQ_MAX (16 * 1024)
/* Room for one answer that is built in private memory. */
#define P9_SCRATCH (64 * 1024)
/* Largest message before Tversion, and the smallest size that may be agreed on. */
#define P9_FIRST_MSIZE 8192
#define P9_LEAST_MSIZE 4096

/* File systems seen so far: the upper bits of qid.path tell their inodes apart. */
struct p9_devs {
    pthread_mutex_t lock;
    GArray *seen; /* of dev_t; the index is the prefix */
};

struct p9_srv {
    struct p9_config cfg;
    struct p9_devs devs;
    struct p9_budget fids; /* of all connections */
    uint64_t secret;       /* makes lock owners unguessable for other users of the core */
    _Atomic uint64_t seq;  /* number of the next connection */
    atomic_flag told;      /* that rights are checked by a look only */
};

struct p9_wait;

struct p9_conn {
    struct p9_srv *srv;
    struct fs *fs;
    uint64_t owner_salt;
    /* Requests hold it for reading, Tversion and reset for writing. */
    pthread_rwlock_t session;
    bool versioned; /* session */
    atomic_bool attached;
    _Atomic uint32_t msize;
    struct p9_fids fids;

    _Atomic uint32_t *tags; /* p9-tag.c; one word per tag */
    atomic_uint flushers;   /* how many look at them */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a tag is free, a wait has ended */
    struct p9_wait *waits;  /* locks and data that are waited for; lock */
    unsigned n_waits;       /* of them, locks; lock */
};

/* One request being handled; there is one such object per thread, reused. */
struct p9_rq {
    struct p9_conn *conn;
    struct fs *fs;
    struct chain *chain;
    const struct p9_op *op;
    uint32_t size; /* as the message says */
    uint8_t type;
    uint16_t tag;
    bool flush; /* a Tflush, of the use @flush_word of @flush_tag */
    uint16_t flush_tag;
    uint32_t flush_word;
    struct p9_in in;   /* behind the header */
    struct p9_out out; /* behind the header */
    size_t room;       /* bytes that the whole answer may have */
    size_t data;       /* bytes of the answer that are in the chain already, behind out */
    uint8_t *scratch;  /* P9_SCRATCH bytes; out lies in it */
    uint8_t buf[P9_RQ_MAX];
    struct trace trace;
    bool acting; /* as the user of --p9-squash: the host's kernel checks */
};

/* A handler answers by what it puts into rq->out, or returns -errno, or: */
#define P9_LATER 1 /* the chain is answered by somebody else */

enum {
    P9_OP_EXCLUSIVE = 1 << 0, /* no other request may run meanwhile */
    P9_OP_DATA = 1 << 1,      /* what follows the fixed part stays in the chain */
    P9_OP_SLOW = 1 << 2,      /* may take long: signal earlier answers first */
    P9_OP_USER = 1 << 3, /* when all requests are one user's: done as that user. Not with what is by
                          * right of a file that was opened (Tread, Twrite, Treaddir, Tfsync, Tlock,
                          * Tgetlock), and where there is nothing to check */
};

/* One row per T-message. */
struct p9_op {
    const char *name;
    uint16_t fixed; /* least bytes behind the header */
    uint16_t reply; /* bytes behind the answer's header that must have room */
    uint16_t flags;
    int (*handle)(struct p9_rq *rq);
};

extern const struct p9_op p9_ops[P9_TYPES];

/* p9-trace.c: begin what the log says of the request. */
void p9_trace_begin(struct p9_rq *rq);

/* p9-answer.c: write an answer that is no request's any more: header, then @len bytes of @body. */
void p9_answer(struct p9_conn *conn, struct chain *c, uint8_t type, uint16_t tag, const void *body,
               size_t len, size_t data);
void p9_answer_err(struct p9_conn *conn, struct chain *c, uint16_t tag, int err);

/* p9-tag.c: tags, Tflush, waits for locks and data. */
bool p9_tag_claim(struct p9_conn *conn, uint16_t tag);
uint32_t p9_tag_word(struct p9_conn *conn, uint16_t tag); /* tells its uses apart */
/* Before the answer goes out: the client may use the tag again as soon as it sees it. Returns what
 * p9_tag_free() wants. */
uint32_t p9_tag_answering(struct p9_conn *conn, uint16_t tag);
void p9_tag_free(struct p9_conn *conn, uint16_t tag, uint32_t word);
/* Answer when the lock is there. @fid: reference, taken over. False, and nothing was done: too many
 * requests of the ring wait already. */
bool p9_wait_lock(struct p9_rq *rq, struct p9_fid *fid, uint64_t owner, const struct fs_lock *lk);
/* Answer the Tread when the data are there. */
void p9_wait_read(struct p9_rq *rq, struct p9_fid *fid, const struct iovec *iov, unsigned cnt,
                  off_t off);
/* End waits with EINTR: of one fid object that is no longer in the table, or all (NULL). */
void p9_waits_cancel(struct p9_conn *conn, const struct p9_fid *fid);
/* Wait until no answer is outstanding in another thread. */
void p9_waits_drain(struct p9_conn *conn);

/* p9-conn.c */
/* Drop a fid that was taken out of the table: waits end, an attribute is set. */
int p9_rq_clunk(struct p9_rq *rq, struct p9_fid *fid);

/* p9-qid.c */
void p9_devs_init(struct p9_devs *devs);
void p9_devs_fini(struct p9_devs *devs);
uint64_t p9_qid_path(struct p9_devs *devs, dev_t dev, uint64_t ino);
struct p9_qid p9_qid_of(struct p9_devs *devs, const struct fs_attr *attr);
uint8_t p9_qid_type(mode_t mode);

/* ---- help for the handlers ---- */

/* The fid named next in the message, with a reference, or NULL. */
static inline struct p9_fid *p9_rq_fid(struct p9_rq *rq)
{
    return p9_fid_get(&rq->conn->fids, p9_get32(&rq->in));
}

static inline void p9_rq_put(struct p9_rq *rq, struct p9_fid *fid)
{
    p9_fid_put(&rq->conn->fids, fid);
}

/* What the file system says of itself. */
static inline struct p9_qid p9_rq_qid(struct p9_rq *rq, const struct fs_attr *attr)
{
    return p9_qid_of(&rq->conn->srv->devs, attr);
}

/* As whom something is created. */
struct fs_cred p9_cred(const struct p9_rq *rq, const struct p9_fid *fid, gid_t gid);
/* Whether what this fid writes must clear set-id bits. */
bool p9_fid_kills(const struct p9_fid *fid);
/* When all requests are to be one user's: be that one in this thread until p9_act_done(). Returns
 * whether that is to be called. See fs_act_as(): where the process cannot be that user, what
 * follows here is all that checks. */
bool p9_act_as(const struct p9_rq *rq);
void p9_act_done(const struct p9_rq *rq);
/* When all requests are to be one user's: may it do this (R_OK, W_OK, X_OK) to @inode? 0 or -errno.
 */
int p9_may(const struct p9_rq *rq, struct fs_inode *inode, int mask);
/* The same for removing @name from @dir: sticky directories. */
int p9_may_remove(const struct p9_rq *rq, struct fs_inode *dir, const char *name);
/* The same for another name of @inode, by the rule of protected_hardlinks. */
int p9_may_link(const struct p9_rq *rq, struct fs_inode *inode);
/* The same for @name of @from that goes to another directory: its ".." changes if it is one. */
int p9_may_move(const struct p9_rq *rq, struct fs_inode *from, const char *name,
                const struct fs_inode *to);
/* The same for an attribute, by its name's namespace: to set it; to read it, or ("") the list. */
int p9_may_xattr(const struct p9_rq *rq, struct fs_inode *inode, const char *name);
int p9_may_read_xattr(const struct p9_rq *rq, struct fs_inode *inode, const char *name);
/* The same for Tsetattr; takes from *set what is not granted, but no error either. */
int p9_may_set(const struct p9_rq *rq, const struct p9_fid *fid, struct fs_setattr *set);
/* The same for a lock of that type (F_RDLCK, F_WRLCK). */
int p9_may_lock(const struct p9_rq *rq, const struct p9_fid *fid, short type);
/* Whether all requests are one user's, and not root's. */
bool p9_squashed(const struct p9_rq *rq);

/* p9-conn.c */
int p9_do_version(struct p9_rq *rq);
int p9_do_auth(struct p9_rq *rq);
int p9_do_attach(struct p9_rq *rq);
int p9_do_clunk(struct p9_rq *rq);
int p9_do_flush(struct p9_rq *rq);
/* p9-ops-name.c */
int p9_do_walk(struct p9_rq *rq);
int p9_do_symlink(struct p9_rq *rq);
int p9_do_mknod(struct p9_rq *rq);
int p9_do_mkdir(struct p9_rq *rq);
int p9_do_link(struct p9_rq *rq);
int p9_do_rename(struct p9_rq *rq);
int p9_do_renameat(struct p9_rq *rq);
int p9_do_remove(struct p9_rq *rq);
int p9_do_unlinkat(struct p9_rq *rq);
/* p9-ops-file.c */
int p9_do_lopen(struct p9_rq *rq);
int p9_do_lcreate(struct p9_rq *rq);
int p9_do_read(struct p9_rq *rq);
int p9_do_write(struct p9_rq *rq);
int p9_do_readdir(struct p9_rq *rq);
int p9_do_fsync(struct p9_rq *rq);
/* p9-ops-attr.c */
int p9_do_getattr(struct p9_rq *rq);
int p9_do_setattr(struct p9_rq *rq);
int p9_do_statfs(struct p9_rq *rq);
int p9_do_readlink(struct p9_rq *rq);
/* p9-ops-xattr.c */
int p9_do_xattrwalk(struct p9_rq *rq);
int p9_do_xattrcreate(struct p9_rq *rq);
int p9_xattr_read(struct p9_rq *rq, struct p9_fid *fid, uint64_t off, uint32_t count);
int p9_xattr_write(struct p9_rq *rq, struct p9_fid *fid, uint64_t off, uint32_t count);
/* The value is there: set it, if that is still allowed. 0 or -errno. */
int p9_xattr_commit(struct p9_rq *rq, struct p9_fid *fid);
/* p9-ops-lock.c */
int p9_do_lock(struct p9_rq *rq);
int p9_do_getlock(struct p9_rq *rq);
