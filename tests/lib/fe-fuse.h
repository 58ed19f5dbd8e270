/* SPDX-License-Identifier: BSD-3-Clause
 * FUSE requests over the rings: build one, send it, wait for the reply, check the reply's form.
 * Several requests may be in flight; one thread. */
#pragma once

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "tests/lib/fe-vhost.h"

#define FE_SLOTS   16
#define FE_BUF_MAX ((1u << 20) + (64u << 10)) /* of a request, and of a reply */

/* The daemon gave the request back without an answer (used length 0). */
#define FE_ENOREPLY -2003

enum { FE_HIPRIO, FE_REQ };

struct fe_req {
    bool busy, done;
    unsigned queue;
    uint32_t opcode;
    uint64_t unique;
    uint32_t out_cap; /* room for the reply, its header included */
    uint32_t used_len;
    uint64_t in_gpa, out_gpa, tab_gpa;
};

struct fe_fuse {
    struct fe_vhost *v;
    bool indirect; /* put each request into an indirect table */
    uint64_t unique;
    uint32_t uid, gid, pid; /* of the following requests */
    struct fuse_init_out init;
    struct fe_req req[FE_SLOTS];
    /* Looks at the whole writable part of each request that came back, or NULL. */
    void (*seen)(const struct fe_req *r, const uint8_t *bytes, size_t len);
};

/* Take buffers for the requests from the memory of @v, whose rings were made. The rings' first
 * 4 * FE_SLOTS descriptors are used here. */
void fe_fuse_init(struct fe_fuse *f, struct fe_vhost *v);
/* Forget what is in flight, after a device reset. */
void fe_fuse_reset(struct fe_fuse *f);

/* ---- in three steps ---- */

/* Send a request whose body is the concatenation of @part. @out_cap: room for the reply besides
 * its header; negative: no writable part at all. Returns the slot. */
int fe_fuse_send(struct fe_fuse *f, unsigned queue, uint32_t opcode, uint64_t nodeid,
                 const struct iovec *part, unsigned nparts, int out_cap);
/* Send bytes as they are, header included; only header.unique is filled in when @len covers it.
 * @room: size of the whole writable part, header included. Returns the slot. */
int fe_fuse_send_raw(struct fe_fuse *f, unsigned queue, const void *bytes, uint32_t len,
                     uint32_t room);
/* Wait for the answer. Copies at most @cap bytes of the reply's body; *@len (may be NULL) gets its
 * full length. Returns the reply's error (0 or -errno), or FE_E.... Without a writable part: 0. */
int fe_fuse_wait(struct fe_fuse *f, int slot, void *out, size_t cap, size_t *len);
/* The same, giving up after @ms; the request stays in flight then (FE_ETIMEOUT). */
int fe_fuse_wait_ms(struct fe_fuse *f, int slot, void *out, size_t cap, size_t *len, int ms);

/* ---- in one ---- */

/* A request on the first request queue and its reply. */
int fe_call(struct fe_fuse *f, uint32_t opcode, uint64_t nodeid, const void *in, size_t in_len,
            void *out, size_t out_cap, size_t *out_len);
/* The same with one or two names behind the structure (each may be NULL). */
int fe_call_name(struct fe_fuse *f, uint32_t opcode, uint64_t nodeid, const void *in, size_t in_len,
                 const char *name, const char *name2, void *out, size_t out_cap);

/* INIT with @flags (and FUSE_INIT_EXT for bits above 31); fills f->init. */
int fe_init(struct fe_fuse *f, uint64_t flags);
/* The flags that Linux 6.12 sends. */
extern const uint64_t fe_init_linux;
uint64_t fe_init_granted(const struct fe_fuse *f);

int fe_lookup(struct fe_fuse *f, uint64_t parent, const char *name, struct fuse_entry_out *out);
void fe_forget(struct fe_fuse *f, uint64_t nodeid, uint64_t n);
int fe_getattr(struct fe_fuse *f, uint64_t nodeid, struct fuse_attr *out);
int fe_setattr(struct fe_fuse *f, uint64_t nodeid, const struct fuse_setattr_in *in,
               struct fuse_attr *out);
int fe_mkdir(struct fe_fuse *f, uint64_t parent, const char *name, uint32_t mode,
             struct fuse_entry_out *out);
int fe_create(struct fe_fuse *f, uint64_t parent, const char *name, int flags, uint32_t mode,
              struct fuse_entry_out *out, uint64_t *fh);
int fe_open(struct fe_fuse *f, uint64_t nodeid, int flags, uint64_t *fh);
int fe_opendir(struct fe_fuse *f, uint64_t nodeid, uint64_t *fh);
int fe_release(struct fe_fuse *f, uint64_t nodeid, uint64_t fh);
int fe_releasedir(struct fe_fuse *f, uint64_t nodeid, uint64_t fh);
/* Bytes read or written, or an error. */
int fe_read(struct fe_fuse *f, uint64_t nodeid, uint64_t fh, uint64_t off, void *buf, uint32_t n);
int fe_write(struct fe_fuse *f, uint64_t nodeid, uint64_t fh, uint64_t off, const void *buf,
             uint32_t n);
