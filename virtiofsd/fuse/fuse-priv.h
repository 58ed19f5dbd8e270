/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of fuse/ share. */
#pragma once

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "virtiofsd/base/iov.h"
#include "virtiofsd/base/trace.h"
#include "virtiofsd/fuse/fuse-srv.h"
#include "virtiofsd/fuse/fuse-wire.h"

/* Largest request kept in private memory: an xattr value of 64 KiB with its name, or 4,096 entries
 * of a BATCH_FORGET. WRITE is not bounded by it: its data stays in guest memory. */
#define FUSE_RQ_MAX (72 * 1024)
/* Zero bytes behind a request: libfuse reads fixed structures without looking at the length. */
#define FUSE_RQ_PAD 128
/* Room for one answer that is built in private memory first. */
#define FUSE_SCRATCH (64 * 1024)

#define FUSE_QUEUES     256 /* virtqueues of a device */
#define FUSE_INTERRUPTS 16
#define FUSE_LISTINGS   1024  /* whose age is known; a power of two */
#define FUSE_LISTED     65536 /* children of which it is known where they were listed; the same */

struct fuse_session;

struct fuse_srv {
    struct fuse_srv_config cfg;
    struct fs *fs;
    const struct fs_policy *shared; /* the core's, for all clients */
    uint64_t timeout_sec;           /* cfg.timeout as the wire has it */
    uint32_t timeout_nsec;
    /* Requests hold it for reading, INIT, DESTROY and reset for writing: the fields below are
     * constant while a request runs. */
    pthread_rwlock_t lock;
    struct fuse_session *se; /* libfuse's view of this mount; NULL before INIT */
    uint64_t flags;          /* INIT flags granted */
    bool flush;              /* FLUSH means something; else ENOSYS spares the guest more of them */
    uint32_t minor;          /* the guest's, of FUSE 7; 0 before INIT */
    bool linux_guest;        /* beyond doubt: fuse-guest.c */
    atomic_uint waiting[FUSE_QUEUES];              /* requests of each queue that wait for a lock */
    _Atomic uint64_t interrupted[FUSE_INTERRUPTS]; /* the last ones that INTERRUPT named */
    atomic_uint interrupts;
    /* fuse-listing.c. Reset by nobody: they say what is worth while, never what is true. */
    _Atomic uint64_t listings[FUSE_LISTINGS];
    atomic_uint listed_opens[FUSE_LISTINGS];
    _Atomic uint16_t listed_in[FUSE_LISTED];
    struct {
        bool on;                 /* the guest may map: a window is there and was negotiated */
        bool show;               /* and learns which files to map by their attributes */
        bool readonly_fd;        /* struct dax_caps */
        _Atomic uint64_t map_us; /* SETUPMAPPINGs answered well, from request to answer */
        uint64_t granule;        /* bytes: what offsets and lengths are multiples of */
    } dax;
};

/* What libfuse reads from a request with FUSE_OP_DECODE, besides the node in the header; 0 where
 * the operation has no such thing. */
struct fuse_arg {
    const char *name;
    const char *name2; /* of RENAME: the new one; of SYMLINK: the target */
    uint64_t node2;    /* of RENAME: the new directory; of LINK: the inode */
    uint64_t fh;
    mode_t mode, umask;
    dev_t rdev;
    size_t size;
    off_t off, len;
    int num;        /* of ACCESS: mask; of FSYNC: data only; of LSEEK: whence; of FALLOCATE: mode */
    unsigned flags; /* of RENAME2 */
};

/* One request being handled; there is one such object per thread, reused. */
struct fuse_rq {
    struct fuse_srv *srv;
    struct chain *chain;
    const struct fuse_op *op;
    struct fuse_in_header *in;  /* private copy; the body follows it in buf */
    uint8_t *body;              /* behind the header */
    size_t body_len;            /* less the extensions */
    const struct fuse_arg *arg; /* while it is handled */
    bool replied;
    struct trace trace;
    struct fs_cred cred; /* filled on demand by fuse_rq_cred() */
    const uint8_t *ext;  /* extensions behind the body */
    size_t ext_len;
    uint8_t *scratch; /* FUSE_SCRATCH bytes */
    _Alignas(8) uint8_t buf[FUSE_RQ_MAX + FUSE_RQ_PAD];
};

enum {
    FUSE_OP_NOREPLY = 1 << 0,     /* the protocol has no answer for it */
    FUSE_OP_ANYLEN = 1 << 1,      /* the body may be longer than fixed part and strings */
    FUSE_OP_EXT = 1 << 2,         /* extensions may follow */
    FUSE_OP_NOINIT = 1 << 3,      /* valid before INIT */
    FUSE_OP_ZERO_NODEID = 1 << 4, /* nodeid 0 is fine */
    FUSE_OP_SLOW = 1 << 5,        /* may take long: signal earlier answers first */
    FUSE_OP_DATA = 1 << 6,        /* payload stays in guest memory: only the fixed part is copied */
    FUSE_OP_EXCLUSIVE = 1 << 7,   /* no other request may run meanwhile */
    FUSE_OP_XATTR = 1 << 8,       /* ENOSYS, which the guest remembers, when xattrs are off */
    FUSE_OP_LOCK = 1 << 9,        /* the same when no kind of lock was negotiated */
    FUSE_OP_DAX = 1 << 10,        /* the same when there is no DAX window */
    FUSE_OP_WRITE_BACK =
        1 << 11,              /* what the guest stored in private pages belongs in the file first */
    FUSE_OP_CHANGE = 1 << 12, /* the file changes: the window must know before the answer */
    /* Of fixed size: what is behind that is not looked at, and the header may count less than there
     * is. Never where extensions are announced. */
    FUSE_OP_SURPLUS = 1 << 13,
    FUSE_OP_DECODE = 1 << 14, /* libfuse takes it apart: struct fuse_arg */
    FUSE_OP_OTHER = 1 << 15,  /* the file that changes is nodeid_out of a fuse_copy_file_range_in */
};

/* Which operations look at user and group in the header, and what -1 means there (fuse-ids.c).
 * SETATTR's new owner, record locks' owners, groups and labels behind a request are not meant.
 * RENAME2 with a whiteout carries ids, but the whiteout is made by us: see fs_rename(). */
enum fuse_op_ids {
    IDS_FORGOTTEN, /* a row that does not say it */
    IDS_UNUSED,    /* who asks does not matter: the guest's kernel has checked */
    IDS_MAKER,     /* the new inode is theirs: -1 is EINVAL */
    IDS_CHECKED,   /* we check; -1: the guest's kernel does, so only what nobody may is refused */
    IDS_RIGHTS,    /* whether set-id bits go; -1: they do, as for who lacks CAP_FSETID */
};

/* One row per opcode: fuse-table.def. */
struct fuse_op {
    const char *name;
    uint16_t fixed;   /* bytes of the fixed part behind the header */
    uint16_t strings; /* NUL-terminated strings behind it */
    uint32_t flags;   /* FUSE_OP_* */
    uint16_t reply;   /* bytes of the answer's payload that must fit before anything is done */
    uint16_t shown;   /* offset of the 32 bits of the fixed part that the log shows, plus 1, or 0 */
    enum fuse_op_ids ids;
    void (*handle)(struct fuse_rq *rq);
};

extern const struct fuse_op fuse_ops[FUSE_WIRE_OPS];

/* The functions that do them: fuse_do_lookup() and so on. Each answers once. */
#define OP(n, fixed, strings, flags, reply, ids, do_, ...) void fuse_do_##do_(struct fuse_rq *rq);
#include "virtiofsd/fuse/fuse-table.def"
#undef OP

/* fuse-trace.c: begin what the log says of the request. srv.lock is held. */
void fuse_trace_begin(struct fuse_rq *rq);

/* Check a request in full: rq->in, body and chain are set. Returns 0, or the -errno to answer. */
int fuse_check(struct fuse_rq *rq);

/* Answers; each completes the chain. */
void fuse_rq_reply_err(struct fuse_rq *rq, int err); /* err: 0 or -errno */
/* Returns false when @len does not fit; EIO was the answer then. */
bool fuse_rq_reply_buf(struct fuse_rq *rq, const void *buf, size_t len);
/* The payload of @len bytes is in guest memory already. */
void fuse_rq_reply_done(struct fuse_rq *rq, size_t len);
void fuse_rq_reply_none(struct fuse_rq *rq);

/* Bytes of payload that fit behind the answer's header. */
static inline size_t fuse_rq_space(const struct fuse_rq *rq)
{
    size_t n = rq->chain->out_len;
    return n < sizeof(struct fuse_out_header) ? 0 : n - sizeof(struct fuse_out_header);
}

/* Who asks, with umask and extensions; NULL when the extensions are malformed (answer EINVAL). */
const struct fs_cred *fuse_rq_cred(struct fuse_rq *rq, mode_t umask_);

/* FS_OPEN_* of what OPEN and CREATE ask for. In the place of @open_flags was padding before the
 * flag was negotiated. */
static inline unsigned fuse_open_how(const struct fuse_srv *srv, uint32_t open_flags)
{
    return (srv->flags & FUSE_HANDLE_KILLPRIV_V2) && (open_flags & FUSE_OPEN_KILL_SUIDGID)
               ? FS_OPEN_KILL_SUIDGID
               : 0;
}

/* Wire forms. @name: under which the inode was found, or NULL. 0, or -EIO: the attributes must not
 * be shown, because the window could not follow. */
int fuse_fill_attr(struct fuse_srv *srv, struct fuse_attr *out, struct fs_inode *inode,
                   const char *name, const struct fs_attr *a);
/* Also turns the entry's reference into a guest lookup; on failure it is put. */
int fuse_fill_entry(struct fuse_srv *srv, struct fuse_entry_out *out, const char *name,
                    struct fs_entry *e);
void fuse_split_timeout(double t, uint64_t *sec, uint32_t *nsec);
/* How long the guest may trust the attributes of an inode with this mode. */
void fuse_attr_timeout(const struct fuse_srv *srv, mode_t mode, uint64_t *sec, uint32_t *nsec);
/* fuse-listing.c: the guest has got entries of directory @id from @off on, @plus: with what they
 * are; and whether it had better keep the list of names that it has. */
void fuse_listing_note(struct fuse_srv *srv, uint64_t id, uint64_t off, bool plus);
bool fuse_listing_good(struct fuse_srv *srv, uint64_t id);
/* Of @child the guest has got all there is with the list of @dir; and it has opened @id. */
void fuse_listing_child(struct fuse_srv *srv, uint64_t dir, uint64_t child);
void fuse_listing_opened(struct fuse_srv *srv, uint64_t id);
/* FOPEN_* flags by cache policy. */
uint32_t fuse_open_flags(const struct fuse_srv *srv, bool dir, const struct fs_opened *o);

/* fuse-reply.c: answers with something that was found or opened, unless @err. What the guest did
 * not get is given back. */
void fuse_rq_reply_entry(struct fuse_rq *rq, int err, const char *name, struct fs_entry *e);
void fuse_rq_reply_open(struct fuse_rq *rq, bool dir, int err, const struct fs_opened *o);
void fuse_rq_reply_attr(struct fuse_rq *rq, int err, struct fs_inode *inode,
                        const struct fs_attr *a);
/* The answer to CREATE and TMPFILE (no @name); undoes both when it has no room. */
void fuse_rq_reply_create(struct fuse_rq *rq, const char *name, struct fs_entry *e,
                          const struct fs_opened *o);

/* fuse-session.c: a libfuse session that believes it has seen the guest's INIT. NULL on failure. */
struct fuse_session *fuse_session_make(struct fuse_srv *srv, uint32_t minor);
void fuse_session_free(struct fuse_session *se);
/* Have libfuse decode the request and call the operation. */
void fuse_session_dispatch(struct fuse_rq *rq);

/* fuse-ids.c */

#define FUSE_NO_ID UINT32_MAX

/* 0, or -EINVAL: what is to be made would be nobody's; -ENOSYS: no row says what ids mean there. */
int fuse_check_ids(const struct fuse_rq *rq);
/* Whether the guest's kernel has checked, and left the ids out. */
bool fuse_guest_checked(const struct fuse_rq *rq);
/* FS_WRITE_KILL_SUIDGID for requests that change a file but carry no flag for it (FALLOCATE,
 * COPY_FILE_RANGE, SETUPMAPPING): anyone but root is taken to lack CAP_FSETID. */
unsigned fuse_kill_of(const struct fuse_rq *rq);

/* fuse-guest.c */

/* Whether this is Linux' INIT, beyond doubt. */
bool fuse_guest_is_linux(const struct fuse_init_in *init);
/* The directory in which *name is to be found or changed: node @id. A guest that is not Linux may
 * give a path from there (Hermit and Zephyr do); then *name becomes its last part, and a directory
 * of the path is taken for @id. Returns a reference; or NULL, and *err (-errno). */
struct fs_inode *fuse_dir_get(struct fuse_srv *srv, uint64_t id, const char **name, int *err);

/* fuse-file.c: the file that a request is about, by its handle or, where the guest opens nothing,
 * by its node. */

/* INIT: what the guest need not send, FUSE_NO_OPEN_SUPPORT and FUSE_NO_OPENDIR_SUPPORT; it goes
 * into srv.flags. dax.on is known. */
uint64_t fuse_file_init(struct fuse_srv *srv, uint64_t capable, bool linux_guest);
/* Flags that must not be granted with these. */
uint64_t fuse_file_denies(const struct fuse_srv *srv, uint64_t spare);

static inline bool fuse_spares(const struct fuse_srv *srv, uint64_t flag)
{
    return srv->flags & flag;
}

/* fuse_file_get() for a guest that opens nothing. */
struct fs_file *fuse_file_by_node(struct fuse_rq *rq, uint64_t node, uint64_t fh, int flags,
                                  int *err);

/* With a reference; @flags: access mode that is needed, and O_APPEND. NULL: *err is to be answered;
 * a handle is of any node. */
static inline struct fs_file *fuse_file_get(struct fuse_rq *rq, uint64_t node, uint64_t fh,
                                            int flags, int *err)
{
    if (G_UNLIKELY(fuse_spares(rq->srv, FUSE_NO_OPEN_SUPPORT)))
        return fuse_file_by_node(rq, node, fh, flags, err);
    *err = -EBADF;
    return fs_file_get(rq->srv->fs, fh, NULL);
}

/* fuse-init.c */
/* What a guest and we have agreed on at INIT. */
struct fuse_negotiated {
    uint32_t minor; /* the guest's, of FUSE 7 */
    bool linux_guest;
    uint64_t flags; /* granted */
};
/* Begin a mount with that, on a server that was reset. 0 or -EIO. */
int fuse_srv_begin(struct fuse_srv *srv, const struct fuse_negotiated *n);

void fuse_srv_drop_session(struct fuse_srv *srv);

/* fuse-wait.c: what is left of a request while it waits, to answer it without the thread's buffer.
 */
struct fuse_wait {
    struct fuse_srv *srv;
    struct chain *chain;
    uint64_t unique;
    struct trace *trace; /* or NULL */
};

/* From here on the chain is whose who answers. */
struct fuse_wait fuse_wait_begin(struct fuse_rq *rq);
/* @err: 0 or -errno; @payload: bytes that are in the chain already. */
void fuse_wait_answer(const struct fuse_wait *w, int err, size_t payload);
/* After a wait with the id @unique has begun. */
void fuse_wait_interrupt_if_told(struct fuse_srv *srv, uint64_t unique);
/* What fs_read() could not do at once (FS_LATER). */
void fuse_read_later(struct fuse_rq *rq, struct fs_file *file, const struct iovec *iov,
                     unsigned cnt, off_t off, unsigned how);

/* fuse-dax.c */
/* INIT: forget the earlier mount's mappings and find out what can be had. Returns the flags to
 * grant of those that the guest is @capable of. */
uint64_t fuse_dax_init(struct fuse_srv *srv, uint64_t capable);
/* log2 of the granule, for the answer to INIT. */
uint16_t fuse_dax_alignment(const struct fuse_srv *srv);
void fuse_dax_destroy(struct fuse_srv *srv);
void fuse_dax_reset(struct fuse_srv *srv);
/* fs_forget_of_many(), and what was mapped of the inode. @fds may be NULL. */
void fuse_dax_forget(struct fuse_srv *srv, uint64_t id, uint64_t n, GArray *fds);
/* The guest is about to be shown @a: bring the window up to date and add FUSE_ATTR_DAX to *flags if
 * the policy takes the file. 0 or -EIO. */
int fuse_dax_show(struct fuse_srv *srv, struct fs_inode *inode, const char *name,
                  const struct fs_attr *a, uint32_t *flags);
/* For operations with FUSE_OP_WRITE_BACK, before, and with FUSE_OP_CHANGE, after they were done. 0
 * or the -errno to answer instead. Only while a window is on. */
int fuse_dax_before(struct fuse_rq *rq);
int fuse_dax_after(struct fuse_rq *rq);
/* The same when the request is not there any more: all of node @id has changed. */
int fuse_dax_changed(struct fuse_srv *srv, uint64_t id);
/* fuse-dax-policy.c: whether the guest is told to map the file, which is remembered. @name as
 * above.
 */
bool fuse_dax_takes(struct fuse_srv *srv, struct fs_inode *inode, const char *name,
                    const struct fs_attr *a);
/* Parts of it, for tests: FS_MAP_* and names. */
bool fuse_dax_kind_fits(const struct fuse_srv *srv, unsigned kind);
bool fuse_dax_name_fits(const struct fuse_dax_config *cfg, const char *name);
