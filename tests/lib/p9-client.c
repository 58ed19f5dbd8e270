/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/p9-client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD = 7, RLERROR = 7, NOTAG = 0xffff };

void p9c_init(struct p9c *c, p9c_transact_fn *transact, void *user, size_t max)
{
    *c = (struct p9c){.transact = transact, .user = user, .max = max, .msize = 8192, .tag = 1};
    c->t = calloc(1, max);
    c->r = calloc(1, max);
    if (!c->t || !c->r)
        abort();
}

void p9c_free(struct p9c *c)
{
    free(c->t);
    free(c->r);
    c->t = c->r = NULL;
}

/* ---- building ---- */

void p9c_put_bytes(struct p9c *c, const void *p, size_t n)
{
    if (c->tlen + n > c->max)
        abort(); /* the test's mistake */
    if (n > 0)
        memcpy(c->t + c->tlen, p, n);
    c->tlen += n;
}

static void put(struct p9c *c, uint64_t v, unsigned n)
{
    uint8_t b[8];

    for (unsigned i = 0; i < n; i++)
        b[i] = (uint8_t)(v >> (8 * i));
    p9c_put_bytes(c, b, n);
}

void p9c_put8(struct p9c *c, uint8_t v)
{
    put(c, v, 1);
}

void p9c_put16(struct p9c *c, uint16_t v)
{
    put(c, v, 2);
}

void p9c_put32(struct p9c *c, uint32_t v)
{
    put(c, v, 4);
}

void p9c_put64(struct p9c *c, uint64_t v)
{
    put(c, v, 8);
}

void p9c_put_str(struct p9c *c, const char *s)
{
    p9c_put16(c, (uint16_t)strlen(s));
    p9c_put_bytes(c, s, strlen(s));
}

void p9c_begin(struct p9c *c, uint8_t type)
{
    c->tlen = 0;
    p9c_put32(c, 0);
    p9c_put8(c, type);
    p9c_put16(c, c->tag);
}

size_t p9c_end(struct p9c *c)
{
    size_t len = c->tlen;

    c->tlen = 0;
    p9c_put32(c, (uint32_t)len);
    c->tlen = len;
    return len;
}

/* ---- answers ---- */

static uint64_t get(struct p9c *c, unsigned n)
{
    uint64_t v = 0;

    if (c->at + n > c->rlen)
        return 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)c->r[c->at + i] << (8 * i);
    c->at += n;
    return v;
}

uint8_t p9c_get8(struct p9c *c)
{
    return (uint8_t)get(c, 1);
}

uint16_t p9c_get16(struct p9c *c)
{
    return (uint16_t)get(c, 2);
}

uint32_t p9c_get32(struct p9c *c)
{
    return (uint32_t)get(c, 4);
}

uint64_t p9c_get64(struct p9c *c)
{
    return get(c, 8);
}

void p9c_get_qid(struct p9c *c, struct p9c_qid *qid)
{
    qid->type = p9c_get8(c);
    qid->version = p9c_get32(c);
    qid->path = p9c_get64(c);
}

int p9c_check(struct p9c *c, size_t len)
{
    c->rlen = len;
    c->at = 0;
    uint32_t size = p9c_get32(c);
    uint8_t type = p9c_get8(c);
    uint16_t tag = p9c_get16(c);

    if (len < HEAD || size != len || tag != (uint16_t)(c->t[5] | c->t[6] << 8))
        return -EPROTO;
    if (type == RLERROR) {
        int err = (int)p9c_get32(c);
        return len == HEAD + 4 && err > 0 && err < 4096 ? -err : -EPROTO;
    }
    return type == c->t[4] + 1 ? 0 : -EPROTO;
}

int p9c_send(struct p9c *c)
{
    ssize_t n = c->transact(c->user, c->t, p9c_end(c), c->r, c->max);
    return n < 0 ? (int)n : p9c_check(c, (size_t)n);
}

/* ---- sessions and fids ---- */

int p9c_version(struct p9c *c, uint32_t msize, const char *version)
{
    uint16_t tag = c->tag;
    size_t len = strlen(version);

    c->tag = NOTAG;
    p9c_begin(c, 100);
    c->tag = tag;
    p9c_put32(c, msize);
    p9c_put_str(c, version);
    int rc = p9c_send(c);
    if (rc < 0)
        return rc;
    c->msize = p9c_get32(c);
    size_t n = p9c_get16(c);
    return n == len && memcmp(c->r + c->at, version, len) == 0 ? 0 : -EPROTONOSUPPORT;
}

int p9c_attach(struct p9c *c, uint32_t fid, const char *aname, uint32_t uid)
{
    p9c_begin(c, 104);
    p9c_put32(c, fid);
    p9c_put32(c, (uint32_t)P9C_NOFID);
    p9c_put_str(c, "nobody");
    p9c_put_str(c, aname);
    p9c_put32(c, uid);
    return p9c_send(c);
}

int p9c_mount(struct p9c *c, uint32_t msize, uint32_t fid, uint32_t uid)
{
    int rc = p9c_version(c, msize, "9P2000.L");
    return rc < 0 ? rc : p9c_attach(c, fid, "", uid);
}

int p9c_walk(struct p9c *c, uint32_t fid, uint32_t newfid, const char *path)
{
    uint16_t n = 0;

    p9c_begin(c, 110);
    p9c_put32(c, fid);
    p9c_put32(c, newfid);
    size_t count = c->tlen;
    p9c_put16(c, 0);
    while (*path) {
        size_t len = strcspn(path, "/");
        p9c_put16(c, (uint16_t)len);
        p9c_put_bytes(c, path, len);
        path += len + (path[len] == '/');
        n++;
    }
    c->t[count] = (uint8_t)n;
    int rc = p9c_send(c);
    return rc < 0 ? rc : p9c_get16(c) == n ? 0 : -ENOENT;
}

static int fid_only(struct p9c *c, uint8_t type, uint32_t fid)
{
    p9c_begin(c, type);
    p9c_put32(c, fid);
    return p9c_send(c);
}

int p9c_clunk(struct p9c *c, uint32_t fid)
{
    return fid_only(c, 120, fid);
}

int p9c_remove(struct p9c *c, uint32_t fid)
{
    return fid_only(c, 122, fid);
}

int p9c_flush(struct p9c *c, uint16_t oldtag)
{
    p9c_begin(c, 108);
    p9c_put16(c, oldtag);
    return p9c_send(c);
}

/* ---- files ---- */

int p9c_lopen(struct p9c *c, uint32_t fid, uint32_t flags)
{
    p9c_begin(c, 12);
    p9c_put32(c, fid);
    p9c_put32(c, flags);
    return p9c_send(c);
}

int p9c_lcreate(struct p9c *c, uint32_t fid, const char *name, uint32_t flags, uint32_t mode,
                uint32_t gid)
{
    p9c_begin(c, 14);
    p9c_put32(c, fid);
    p9c_put_str(c, name);
    p9c_put32(c, flags);
    p9c_put32(c, mode);
    p9c_put32(c, gid);
    return p9c_send(c);
}

static ssize_t read_data(struct p9c *c, uint8_t type, uint32_t fid, uint64_t off, void *buf,
                         uint32_t count)
{
    p9c_begin(c, type);
    p9c_put32(c, fid);
    p9c_put64(c, off);
    p9c_put32(c, count);
    int rc = p9c_send(c);
    if (rc < 0)
        return rc;
    uint32_t n = p9c_get32(c);
    if (n > count || n != c->rlen - c->at)
        return -EPROTO;
    memcpy(buf, c->r + c->at, n);
    return n;
}

ssize_t p9c_read(struct p9c *c, uint32_t fid, uint64_t off, void *buf, uint32_t count)
{
    return read_data(c, 116, fid, off, buf, count);
}

ssize_t p9c_readdir(struct p9c *c, uint32_t fid, uint64_t off, void *buf, uint32_t count)
{
    return read_data(c, 40, fid, off, buf, count);
}

ssize_t p9c_write(struct p9c *c, uint32_t fid, uint64_t off, const void *buf, uint32_t count)
{
    p9c_begin(c, 118);
    p9c_put32(c, fid);
    p9c_put64(c, off);
    p9c_put32(c, count);
    p9c_put_bytes(c, buf, count);
    int rc = p9c_send(c);
    return rc < 0 ? rc : (ssize_t)p9c_get32(c);
}

int p9c_fsync(struct p9c *c, uint32_t fid, bool datasync)
{
    p9c_begin(c, 50);
    p9c_put32(c, fid);
    p9c_put32(c, datasync);
    return p9c_send(c);
}

/* ---- attributes ---- */

static void get_pair(struct p9c *c, uint64_t pair[2])
{
    pair[0] = p9c_get64(c);
    pair[1] = p9c_get64(c);
}

int p9c_getattr(struct p9c *c, uint32_t fid, uint64_t mask, struct p9c_attr *out)
{
    p9c_begin(c, 24);
    p9c_put32(c, fid);
    p9c_put64(c, mask);
    int rc = p9c_send(c);
    if (rc < 0)
        return rc;
    *out = (struct p9c_attr){.valid = p9c_get64(c)};
    p9c_get_qid(c, &out->qid);
    out->mode = p9c_get32(c);
    out->uid = p9c_get32(c);
    out->gid = p9c_get32(c);
    out->nlink = p9c_get64(c);
    out->rdev = p9c_get64(c);
    out->size = p9c_get64(c);
    out->blksize = p9c_get64(c);
    out->blocks = p9c_get64(c);
    get_pair(c, out->atime);
    get_pair(c, out->mtime);
    get_pair(c, out->ctime);
    get_pair(c, out->btime);
    out->gen = p9c_get64(c);
    out->data_version = p9c_get64(c);
    return c->rlen == 160 ? 0 : -EPROTO;
}

int p9c_setattr(struct p9c *c, uint32_t fid, const struct p9c_set *set)
{
    p9c_begin(c, 26);
    p9c_put32(c, fid);
    p9c_put32(c, set->valid);
    p9c_put32(c, set->mode);
    p9c_put32(c, set->uid);
    p9c_put32(c, set->gid);
    p9c_put64(c, set->size);
    p9c_put64(c, set->atime[0]);
    p9c_put64(c, set->atime[1]);
    p9c_put64(c, set->mtime[0]);
    p9c_put64(c, set->mtime[1]);
    return p9c_send(c);
}

int p9c_readlink(struct p9c *c, uint32_t fid, char *buf, size_t size)
{
    int rc = fid_only(c, 22, fid);
    if (rc < 0)
        return rc;
    size_t n = p9c_get16(c);
    if (n >= size || n != c->rlen - c->at)
        return -EPROTO;
    memcpy(buf, c->r + c->at, n);
    buf[n] = '\0';
    return 0;
}

ssize_t p9c_xattrwalk(struct p9c *c, uint32_t fid, uint32_t newfid, const char *name)
{
    p9c_begin(c, 30);
    p9c_put32(c, fid);
    p9c_put32(c, newfid);
    p9c_put_str(c, name);
    int rc = p9c_send(c);
    return rc < 0 ? rc : (ssize_t)p9c_get64(c);
}

int p9c_xattrcreate(struct p9c *c, uint32_t fid, const char *name, uint64_t size, uint32_t flags)
{
    p9c_begin(c, 32);
    p9c_put32(c, fid);
    p9c_put_str(c, name);
    p9c_put64(c, size);
    p9c_put32(c, flags);
    return p9c_send(c);
}

/* ---- names ---- */

int p9c_mkdir(struct p9c *c, uint32_t dir, const char *name, uint32_t mode, uint32_t gid)
{
    p9c_begin(c, 72);
    p9c_put32(c, dir);
    p9c_put_str(c, name);
    p9c_put32(c, mode);
    p9c_put32(c, gid);
    return p9c_send(c);
}

int p9c_symlink(struct p9c *c, uint32_t dir, const char *name, const char *target, uint32_t gid)
{
    p9c_begin(c, 16);
    p9c_put32(c, dir);
    p9c_put_str(c, name);
    p9c_put_str(c, target);
    p9c_put32(c, gid);
    return p9c_send(c);
}

int p9c_mknod(struct p9c *c, uint32_t dir, const char *name, uint32_t mode, uint32_t major,
              uint32_t minor, uint32_t gid)
{
    p9c_begin(c, 18);
    p9c_put32(c, dir);
    p9c_put_str(c, name);
    p9c_put32(c, mode);
    p9c_put32(c, major);
    p9c_put32(c, minor);
    p9c_put32(c, gid);
    return p9c_send(c);
}

int p9c_link(struct p9c *c, uint32_t dir, uint32_t fid, const char *name)
{
    p9c_begin(c, 70);
    p9c_put32(c, dir);
    p9c_put32(c, fid);
    p9c_put_str(c, name);
    return p9c_send(c);
}

int p9c_rename(struct p9c *c, uint32_t fid, uint32_t dir, const char *name)
{
    p9c_begin(c, 20);
    p9c_put32(c, fid);
    p9c_put32(c, dir);
    p9c_put_str(c, name);
    return p9c_send(c);
}

int p9c_renameat(struct p9c *c, uint32_t olddir, const char *oldname, uint32_t newdir,
                 const char *newname)
{
    p9c_begin(c, 74);
    p9c_put32(c, olddir);
    p9c_put_str(c, oldname);
    p9c_put32(c, newdir);
    p9c_put_str(c, newname);
    return p9c_send(c);
}

int p9c_unlinkat(struct p9c *c, uint32_t dir, const char *name, uint32_t flags)
{
    p9c_begin(c, 76);
    p9c_put32(c, dir);
    p9c_put_str(c, name);
    p9c_put32(c, flags);
    return p9c_send(c);
}

/* ---- locks ---- */

size_t p9c_build_lock(struct p9c *c, uint32_t fid, const struct p9c_lock *lk)
{
    p9c_begin(c, 52);
    p9c_put32(c, fid);
    p9c_put8(c, lk->type);
    p9c_put32(c, lk->flags);
    p9c_put64(c, lk->start);
    p9c_put64(c, lk->length);
    p9c_put32(c, lk->proc_id);
    p9c_put_str(c, lk->client);
    return p9c_end(c);
}

int p9c_lock(struct p9c *c, uint32_t fid, const struct p9c_lock *lk, uint8_t *status)
{
    p9c_build_lock(c, fid, lk);
    int rc = p9c_send(c);
    *status = rc < 0 ? 0 : p9c_get8(c);
    return rc;
}

int p9c_getlock(struct p9c *c, uint32_t fid, struct p9c_lock *lk)
{
    p9c_begin(c, 54);
    p9c_put32(c, fid);
    p9c_put8(c, lk->type);
    p9c_put64(c, lk->start);
    p9c_put64(c, lk->length);
    p9c_put32(c, lk->proc_id);
    p9c_put_str(c, lk->client);
    int rc = p9c_send(c);
    if (rc < 0)
        return rc;
    lk->type = p9c_get8(c);
    lk->start = p9c_get64(c);
    lk->length = p9c_get64(c);
    lk->proc_id = p9c_get32(c);
    return 0;
}
