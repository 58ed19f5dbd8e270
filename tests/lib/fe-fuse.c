/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fe-fuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/fe-time.h"

#define DESC_PER_SLOT 4
#define HDR_IN        ((uint32_t)sizeof(struct fuse_in_header))
#define HDR_OUT       ((uint32_t)sizeof(struct fuse_out_header))

const uint64_t fe_init_linux =
    FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT |
    FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ |
    FUSE_FLOCK_LOCKS | FUSE_HAS_IOCTL_DIR | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |
    FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT |
    FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV | FUSE_POSIX_ACL | FUSE_ABORT_ERROR |
    FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT | FUSE_EXPLICIT_INVAL_DATA |
    FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | 1ULL << 32 /* SECURITY_CTX */ |
    1ULL << 33 /* HAS_INODE_DAX */ | 1ULL << 34 /* CREATE_SUPP_GROUP */ |
    1ULL << 35 /* HAS_EXPIRE_ONLY */ | 1ULL << 36 /* DIRECT_IO_ALLOW_MMAP */ |
    1ULL << 37 /* PASSTHROUGH */ | 1ULL << 38 /* NO_EXPORT_SUPPORT */ |
    1ULL << 39 /* HAS_RESEND */ | 1ULL << 40 /* ALLOW_IDMAP */;

void fe_fuse_init(struct fe_fuse *f, struct fe_vhost *v)
{
    *f = (struct fe_fuse){.v = v, .unique = 1, .pid = (uint32_t)getpid()};
    for (unsigned i = 0; i < FE_SLOTS; i++) {
        struct fe_req *r = &f->req[i];
        r->in_gpa = fe_mem_alloc(v->mem, 1, FE_BUF_MAX, 4096);
        r->out_gpa = fe_mem_alloc(v->mem, 2, FE_BUF_MAX, 4096);
        r->tab_gpa = fe_mem_alloc(v->mem, 0, DESC_PER_SLOT * sizeof(struct vring_desc), 16);
    }
}

void fe_fuse_reset(struct fe_fuse *f)
{
    for (unsigned i = 0; i < FE_SLOTS; i++)
        f->req[i].busy = f->req[i].done = false;
}

static int free_slot(struct fe_fuse *f)
{
    for (int i = 0; i < FE_SLOTS; i++)
        if (!f->req[i].busy)
            return i;
    fprintf(stderr, "fe-fuse: more than %u requests in flight\n", FE_SLOTS);
    abort();
}

/* Describe the request as Linux does: header and arguments apart, in both directions. */
static void post(struct fe_fuse *f, int slot, uint32_t in_len, uint32_t room)
{
    struct fe_req *r = &f->req[slot];
    struct fe_ring *ring = &f->v->ring[r->queue];
    struct vring_desc d[DESC_PER_SLOT];
    unsigned n = 0, base = (unsigned)slot * DESC_PER_SLOT;
    uint32_t a = in_len < HDR_IN ? in_len : HDR_IN, b = room < HDR_OUT ? room : HDR_OUT;
    if (a)
        d[n++] = (struct vring_desc){.addr = r->in_gpa, .len = a};
    if (in_len > a)
        d[n++] = (struct vring_desc){.addr = r->in_gpa + a, .len = in_len - a};
    if (b)
        d[n++] = (struct vring_desc){.addr = r->out_gpa, .len = b, .flags = VRING_DESC_F_WRITE};
    if (room > b)
        d[n++] = (struct vring_desc){
            .addr = r->out_gpa + b, .len = room - b, .flags = VRING_DESC_F_WRITE};
    unsigned first = f->indirect ? 0 : base;
    for (unsigned i = 0; i < n; i++) {
        d[i].next = (uint16_t)(first + i + 1);
        d[i].flags |= i + 1 < n ? VRING_DESC_F_NEXT : 0;
    }
    if (f->indirect) {
        memcpy(fe_mem_ptr(f->v->mem, r->tab_gpa), d, n * sizeof(d[0]));
        fe_ring_desc(ring, base, r->tab_gpa, n * (uint32_t)sizeof(d[0]), VRING_DESC_F_INDIRECT, 0);
    } else {
        memcpy(&ring->desc[base], d, n * sizeof(d[0]));
    }
    r->busy = true;
    r->done = false;
    r->out_cap = room;
    fe_ring_push(ring, (uint16_t)base);
    fe_ring_publish(ring);
}

int fe_fuse_send_raw(struct fe_fuse *f, unsigned queue, const void *bytes, uint32_t len,
                     uint32_t room)
{
    int slot = free_slot(f);
    struct fe_req *r = &f->req[slot];
    uint8_t *in = fe_mem_ptr(f->v->mem, r->in_gpa);
    memcpy(in, bytes, len);
    r->queue = queue;
    r->unique = f->unique += 2;
    r->opcode = 0;
    if (len >= 16)
        memcpy(in + 8, &r->unique, sizeof(r->unique));
    if (len >= 8)
        memcpy(&r->opcode, in + 4, sizeof(r->opcode));
    /* Old bytes must not pass for an answer. */
    memset(fe_mem_ptr(f->v->mem, r->out_gpa), 0x5a, f->seen || room < 4096 ? room : 4096);
    post(f, slot, len, room);
    return slot;
}

int fe_fuse_send(struct fe_fuse *f, unsigned queue, uint32_t opcode, uint64_t nodeid,
                 const struct iovec *part, unsigned nparts, int out_cap)
{
    static uint8_t buf[FE_BUF_MAX];
    size_t len = HDR_IN;
    for (unsigned i = 0; i < nparts; i++) {
        if (part[i].iov_len > sizeof(buf) - len)
            abort();
        if (part[i].iov_len)
            memcpy(buf + len, part[i].iov_base, part[i].iov_len);
        len += part[i].iov_len;
    }
    struct fuse_in_header h = {.len = (uint32_t)len,
                               .opcode = opcode,
                               .nodeid = nodeid,
                               .uid = f->uid,
                               .gid = f->gid,
                               .pid = f->pid};
    memcpy(buf, &h, sizeof(h));
    return fe_fuse_send_raw(f, queue, buf, (uint32_t)len,
                            out_cap < 0 ? 0 : HDR_OUT + (uint32_t)out_cap);
}

/* Take what the daemon gave back on a queue. Returns 0 or FE_EPROTO. */
static int reap(struct fe_fuse *f, unsigned queue)
{
    uint32_t id, len;
    while (fe_ring_pop(&f->v->ring[queue], &id, &len)) {
        struct fe_req *r = &f->req[id / DESC_PER_SLOT % FE_SLOTS];
        if (id % DESC_PER_SLOT || id / DESC_PER_SLOT >= FE_SLOTS || !r->busy || r->done ||
            r->queue != queue) {
            fprintf(stderr, "fe-fuse: used element with id %u, length %u: not in flight\n", id,
                    len);
            return FE_EPROTO;
        }
        r->done = true;
        r->used_len = len;
    }
    return 0;
}

/* Is the reply well formed? */
static int check(const struct fe_req *r, const struct fuse_out_header *h)
{
    if (r->used_len == 0)
        return r->out_cap == 0 ? 0 : FE_ENOREPLY;
    if (r->used_len < HDR_OUT || r->used_len > r->out_cap || h->len != r->used_len ||
        h->unique != r->unique || h->error > 0 || h->error <= -1000 ||
        (h->error && h->len != HDR_OUT)) {
        fprintf(stderr,
                "fe-fuse: opcode %u: used length %u of %u; header: length %u, error %d, unique "
                "%llu for %llu\n",
                r->opcode, r->used_len, r->out_cap, h->len, h->error, (unsigned long long)h->unique,
                (unsigned long long)r->unique);
        return FE_EPROTO;
    }
    return h->error;
}

int fe_fuse_wait_ms(struct fe_fuse *f, int slot, void *out, size_t cap, size_t *len, int ms)
{
    if (slot < 0)
        return slot;
    struct fe_req *r = &f->req[slot];
    int64_t end = fe_now_ms() + ms;
    for (;;) {
        int e = reap(f, r->queue);
        if (e < 0)
            return e;
        if (r->done)
            break;
        e = fe_ring_wait(&f->v->ring[r->queue],
                         (int)(end - fe_now_ms()) > 0 ? (int)(end - fe_now_ms()) : 0);
        if (e < 0)
            return e;
    }
    r->busy = false;
    const struct fuse_out_header *h = fe_mem_ptr(f->v->mem, r->out_gpa);
    if (f->seen)
        f->seen(r, (const uint8_t *)h, r->out_cap);
    int e = check(r, h);
    size_t body = e == 0 && r->used_len ? r->used_len - HDR_OUT : 0;
    if (out && body)
        memcpy(out, h + 1, body < cap ? body : cap);
    if (len)
        *len = body;
    return e;
}

int fe_fuse_wait(struct fe_fuse *f, int slot, void *out, size_t cap, size_t *len)
{
    return fe_fuse_wait_ms(f, slot, out, cap, len, f->v->timeout_ms);
}

int fe_call(struct fe_fuse *f, uint32_t opcode, uint64_t nodeid, const void *in, size_t in_len,
            void *out, size_t out_cap, size_t *out_len)
{
    struct iovec part = {(void *)in, in_len};
    int slot = fe_fuse_send(f, FE_REQ, opcode, nodeid, &part, 1, (int)out_cap);
    return fe_fuse_wait(f, slot, out, out_cap, out_len);
}

int fe_call_name(struct fe_fuse *f, uint32_t opcode, uint64_t nodeid, const void *in, size_t in_len,
                 const char *name, const char *name2, void *out, size_t out_cap)
{
    struct iovec part[] = {
        {(void *)in, in_len},
        {(void *)name, name ? strlen(name) + 1 : 0},
        {(void *)name2, name2 ? strlen(name2) + 1 : 0},
    };
    size_t len = 0;
    int slot = fe_fuse_send(f, FE_REQ, opcode, nodeid, part, 3, (int)out_cap);
    int e = fe_fuse_wait(f, slot, out, out_cap, &len);
    return e == 0 && len != out_cap ? FE_EPROTO : e;
}

int fe_init(struct fe_fuse *f, uint64_t flags)
{
    struct fuse_init_in in = {
        .major = FUSE_KERNEL_VERSION,
        .minor = 38,
        .max_readahead = 1 << 20,
        .flags = (uint32_t)flags | (flags >> 32 ? FUSE_INIT_EXT : 0),
        .flags2 = (uint32_t)(flags >> 32),
    };
    memset(&f->init, 0, sizeof(f->init));
    return fe_call(f, FUSE_INIT, 0, &in, sizeof(in), &f->init, sizeof(f->init), NULL);
}

uint64_t fe_init_granted(const struct fe_fuse *f)
{
    return f->init.flags | (f->init.flags & FUSE_INIT_EXT ? (uint64_t)f->init.flags2 << 32 : 0);
}

int fe_lookup(struct fe_fuse *f, uint64_t parent, const char *name, struct fuse_entry_out *out)
{
    return fe_call_name(f, FUSE_LOOKUP, parent, NULL, 0, name, NULL, out, sizeof(*out));
}

void fe_forget(struct fe_fuse *f, uint64_t nodeid, uint64_t n)
{
    struct fuse_forget_in in = {.nlookup = n};
    struct iovec part = {&in, sizeof(in)};
    fe_fuse_wait(f, fe_fuse_send(f, FE_HIPRIO, FUSE_FORGET, nodeid, &part, 1, -1), NULL, 0, NULL);
}

int fe_getattr(struct fe_fuse *f, uint64_t nodeid, struct fuse_attr *out)
{
    struct fuse_getattr_in in = {0};
    struct fuse_attr_out reply = {0};
    int e = fe_call(f, FUSE_GETATTR, nodeid, &in, sizeof(in), &reply, sizeof(reply), NULL);
    if (out)
        *out = reply.attr;
    return e;
}

int fe_setattr(struct fe_fuse *f, uint64_t nodeid, const struct fuse_setattr_in *in,
               struct fuse_attr *out)
{
    struct fuse_attr_out reply = {0};
    int e = fe_call(f, FUSE_SETATTR, nodeid, in, sizeof(*in), &reply, sizeof(reply), NULL);
    if (out)
        *out = reply.attr;
    return e;
}

int fe_mkdir(struct fe_fuse *f, uint64_t parent, const char *name, uint32_t mode,
             struct fuse_entry_out *out)
{
    struct fuse_mkdir_in in = {.mode = mode};
    struct fuse_entry_out entry;
    return fe_call_name(f, FUSE_MKDIR, parent, &in, sizeof(in), name, NULL, out ? out : &entry,
                        sizeof(entry));
}

int fe_create(struct fe_fuse *f, uint64_t parent, const char *name, int flags, uint32_t mode,
              struct fuse_entry_out *out, uint64_t *fh)
{
    struct fuse_create_in in = {.flags = (uint32_t)flags, .mode = mode};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } reply = {0};
    int e =
        fe_call_name(f, FUSE_CREATE, parent, &in, sizeof(in), name, NULL, &reply, sizeof(reply));
    if (out)
        *out = reply.entry;
    if (fh)
        *fh = reply.open.fh;
    return e;
}

static int open_any(struct fe_fuse *f, uint32_t opcode, uint64_t nodeid, int flags, uint64_t *fh)
{
    struct fuse_open_in in = {.flags = (uint32_t)flags};
    struct fuse_open_out out = {0};
    int e = fe_call(f, opcode, nodeid, &in, sizeof(in), &out, sizeof(out), NULL);
    if (fh)
        *fh = out.fh;
    return e;
}

int fe_open(struct fe_fuse *f, uint64_t nodeid, int flags, uint64_t *fh)
{
    return open_any(f, FUSE_OPEN, nodeid, flags, fh);
}

int fe_opendir(struct fe_fuse *f, uint64_t nodeid, uint64_t *fh)
{
    return open_any(f, FUSE_OPENDIR, nodeid, 0, fh);
}

static int release_any(struct fe_fuse *f, uint32_t opcode, uint64_t nodeid, uint64_t fh)
{
    struct fuse_release_in in = {.fh = fh};
    return fe_call(f, opcode, nodeid, &in, sizeof(in), NULL, 0, NULL);
}

int fe_release(struct fe_fuse *f, uint64_t nodeid, uint64_t fh)
{
    return release_any(f, FUSE_RELEASE, nodeid, fh);
}

int fe_releasedir(struct fe_fuse *f, uint64_t nodeid, uint64_t fh)
{
    return release_any(f, FUSE_RELEASEDIR, nodeid, fh);
}

int fe_read(struct fe_fuse *f, uint64_t nodeid, uint64_t fh, uint64_t off, void *buf, uint32_t n)
{
    struct fuse_read_in in = {.fh = fh, .offset = off, .size = n};
    size_t len = 0;
    int e = fe_call(f, FUSE_READ, nodeid, &in, sizeof(in), buf, n, &len);
    return e ? e : (int)len;
}

int fe_write(struct fe_fuse *f, uint64_t nodeid, uint64_t fh, uint64_t off, const void *buf,
             uint32_t n)
{
    struct fuse_write_in in = {.fh = fh, .offset = off, .size = n};
    struct fuse_write_out out = {0};
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)buf, n}};
    int slot = fe_fuse_send(f, FE_REQ, FUSE_WRITE, nodeid, part, 2, sizeof(out));
    int e = fe_fuse_wait(f, slot, &out, sizeof(out), NULL);
    return e ? e : (int)out.size;
}
