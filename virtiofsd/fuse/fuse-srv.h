/* SPDX-License-Identifier: BSD-3-Clause
 * The FUSE server: requests in struct chain, answered by the file-system core.
 *
 * Every request is copied out of guest memory once and checked in full (fuse-check). Then either
 * libfuse's low-level API dispatches it to fuse-ops-*.c, or it goes there directly: what is asked
 * for most (fuse-fast.c), and where libfuse does not know the operation or would copy payload
 * (fuse-direct.c, fuse-dir.c, fuse-lock.c). */
#pragma once

#include <stdbool.h>

#include "virtiofsd/base/chain.h"
#include "virtiofsd/fs/fs-move.h"
#include "virtiofsd/fs/fs.h"
#include "virtiofsd/fuse/fuse-policy.h"

struct dax_window;
struct fuse_srv;

struct fuse_srv_config {
    struct fs *fs;    /* not owned */
    const char *name; /* of the share, for the log. Not owned */
    int sink_fd; /* /dev/null, open for writing: what libfuse itself says goes there. Not owned */
    void (*mounted)(void *user); /* called after each answer to INIT, in its thread; may be NULL */
    void *user;
    struct dax_window *window; /* NULL: none. Not owned */
    union {
        struct fuse_policy policy;
        struct fuse_policy;
    };
};

struct fuse_srv *fuse_srv_new(const struct fuse_srv_config *cfg);
void fuse_srv_free(struct fuse_srv *srv);

/* Answer one request: chain_complete() exactly once, in the call or, when it must wait, later. */
void fuse_srv_handle(struct fuse_srv *srv, struct chain *c);

/* Of an operation by its place in the counters (base/counters.h); NULL: none is there. Static. */
const char *fuse_srv_op_name(unsigned place);

/* The guest is gone: forget the negotiation and drop all guest state of the core. No request may be
 * in the handler; what waits is cancelled. */
void fuse_srv_reset(struct fuse_srv *srv);

/* The front-end is gone, the guest perhaps not: what waits ends, and all else (the negotiation, the
 * guest's state in the core) stays until fuse_srv_reset(). No request may be in the handler. */
void fuse_srv_hang_up(struct fuse_srv *srv);

/* Append records of all that belongs to the guest (fs-move.h, and what was negotiated); forgets
 * nothing. No request may be in the handler. 0 or -errno; -EOPNOTSUPP: it has a window. */
int fuse_srv_save(struct fuse_srv *srv, GByteArray *out, struct fs_moved *did);
/* Take up the guest of these records in place of what there is; after -errno reset() is due. */
int fuse_srv_load(struct fuse_srv *srv, struct bytes stream, struct fs_moved *did);
/* Append records that say what another kind of daemon has saved: fuse-rust.h, and its errors. */
int fuse_srv_translate(struct fuse_srv *srv, const uint8_t *bytes, size_t len, GByteArray *out);
/* The record of what was negotiated, for who writes records of another kind of server. */
void fuse_move_put(GByteArray *out, uint32_t minor, bool linux_guest, uint64_t flags);

/* Make requests that wait (for a lock, for data) end with EINTR. */
void fuse_srv_cancel(struct fuse_srv *srv);
