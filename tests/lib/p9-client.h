/* SPDX-License-Identifier: BSD-3-Clause
 * A small 9P2000.L client: builds requests, takes answers apart. It knows the protocol by itself
 * and nothing of the server. How a message travels is a function of the test's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { P9C_NOFID = -1, P9C_DATA = 24 /* bytes of an I/O message that are not data */ };

/* Send the @len bytes of @t, and receive one answer of at most @max bytes in @r. Returns its
 * length, or -errno when there was none. */
typedef ssize_t p9c_transact_fn(void *user, const void *t, size_t len, void *r, size_t max);

struct p9c {
    p9c_transact_fn *transact;
    void *user;
    uint32_t msize;
    uint16_t tag;   /* of the next request */
    uint8_t *t, *r; /* buffers of `max` bytes */
    size_t max;
    size_t tlen, rlen; /* bytes in use */
    size_t at;         /* where p9c_get*() reads */
};

struct p9c_qid {
    uint8_t type;
    uint32_t version;
    uint64_t path;
};

struct p9c_attr {
    uint64_t valid;
    struct p9c_qid qid;
    uint32_t mode, uid, gid;
    uint64_t nlink, rdev, size, blksize, blocks;
    uint64_t atime[2], mtime[2], ctime[2], btime[2];
    uint64_t gen, data_version;
};

struct p9c_set {
    uint32_t valid, mode, uid, gid;
    uint64_t size, atime[2], mtime[2];
};

struct p9c_lock {
    uint8_t type;
    uint32_t flags;
    uint64_t start, length;
    uint32_t proc_id;
    const char *client;
};

/* @max: the largest message this client can hold. */
void p9c_init(struct p9c *c, p9c_transact_fn *transact, void *user, size_t max);
void p9c_free(struct p9c *c);

/* ---- any message ---- */

/* Begin a request of @type; then p9c_put*(). The size is entered by p9c_end(), which returns the
 * length; p9c_send() also sends it. */
void p9c_begin(struct p9c *c, uint8_t type);
void p9c_put8(struct p9c *c, uint8_t v);
void p9c_put16(struct p9c *c, uint16_t v);
void p9c_put32(struct p9c *c, uint32_t v);
void p9c_put64(struct p9c *c, uint64_t v);
void p9c_put_str(struct p9c *c, const char *s);
void p9c_put_bytes(struct p9c *c, const void *p, size_t n);
size_t p9c_end(struct p9c *c);
/* 0, or -errno from Rlerror; -EPROTO when the answer is no answer to it. */
int p9c_send(struct p9c *c);
/* Check the answer of @len bytes that stands in c->r; what p9c_send() does after sending. */
int p9c_check(struct p9c *c, size_t len);
/* The answer, field by field; 0 behind its end. */
uint8_t p9c_get8(struct p9c *c);
uint16_t p9c_get16(struct p9c *c);
uint32_t p9c_get32(struct p9c *c);
uint64_t p9c_get64(struct p9c *c);
void p9c_get_qid(struct p9c *c, struct p9c_qid *qid);

/* ---- the messages: 0 or -errno, ssize_t: bytes ---- */

int p9c_version(struct p9c *c, uint32_t msize, const char *version);
/* version, then attach of @fid as @uid. */
int p9c_mount(struct p9c *c, uint32_t msize, uint32_t fid, uint32_t uid);
int p9c_attach(struct p9c *c, uint32_t fid, const char *aname, uint32_t uid);
/* @path: names separated by '/'; "" clones. Fewer qids than names: -ENOENT. */
int p9c_walk(struct p9c *c, uint32_t fid, uint32_t newfid, const char *path);
int p9c_clunk(struct p9c *c, uint32_t fid);
int p9c_remove(struct p9c *c, uint32_t fid);
int p9c_lopen(struct p9c *c, uint32_t fid, uint32_t flags);
int p9c_lcreate(struct p9c *c, uint32_t fid, const char *name, uint32_t flags, uint32_t mode,
                uint32_t gid);
ssize_t p9c_read(struct p9c *c, uint32_t fid, uint64_t off, void *buf, uint32_t count);
ssize_t p9c_write(struct p9c *c, uint32_t fid, uint64_t off, const void *buf, uint32_t count);
/* Raw entries into @buf: qid[13] offset[8] type[1] name[s]. */
ssize_t p9c_readdir(struct p9c *c, uint32_t fid, uint64_t off, void *buf, uint32_t count);
int p9c_getattr(struct p9c *c, uint32_t fid, uint64_t mask, struct p9c_attr *out);
int p9c_setattr(struct p9c *c, uint32_t fid, const struct p9c_set *set);
int p9c_mkdir(struct p9c *c, uint32_t dir, const char *name, uint32_t mode, uint32_t gid);
int p9c_symlink(struct p9c *c, uint32_t dir, const char *name, const char *target, uint32_t gid);
int p9c_mknod(struct p9c *c, uint32_t dir, const char *name, uint32_t mode, uint32_t major,
              uint32_t minor, uint32_t gid);
int p9c_link(struct p9c *c, uint32_t dir, uint32_t fid, const char *name);
int p9c_rename(struct p9c *c, uint32_t fid, uint32_t dir, const char *name);
int p9c_renameat(struct p9c *c, uint32_t olddir, const char *oldname, uint32_t newdir,
                 const char *newname);
int p9c_unlinkat(struct p9c *c, uint32_t dir, const char *name, uint32_t flags);
/* NUL-terminated into @buf. */
int p9c_readlink(struct p9c *c, uint32_t fid, char *buf, size_t size);
/* Size of the value. */
ssize_t p9c_xattrwalk(struct p9c *c, uint32_t fid, uint32_t newfid, const char *name);
int p9c_xattrcreate(struct p9c *c, uint32_t fid, const char *name, uint64_t size, uint32_t flags);
/* 0 or -errno; the status in *status. */
int p9c_lock(struct p9c *c, uint32_t fid, const struct p9c_lock *lk, uint8_t *status);
/* Builds a Tlock only: for sending it while others run. */
size_t p9c_build_lock(struct p9c *c, uint32_t fid, const struct p9c_lock *lk);
int p9c_getlock(struct p9c *c, uint32_t fid, struct p9c_lock *lk);
int p9c_fsync(struct p9c *c, uint32_t fid, bool datasync);
int p9c_flush(struct p9c *c, uint16_t oldtag);
