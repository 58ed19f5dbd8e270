/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/lib/fe-time.h"

#define RING_SIZE 256
#define TAB_MAX   (BN_DATA_MAX / BN_PAGE + 8)
#define OFF_ARG   64 /* places inside a slot's page */
#define OFF_OH    1024
#define OFF_OUT   1088

enum { HIPRIO, REQ };

void bn_die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("ring-bench: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static void make_slot(struct bn *b, unsigned i)
{
    struct bn_slot *s = &b->slot[i];
    *s = (struct bn_slot){.head = (uint16_t)i};
    s->tab_gpa = fe_mem_alloc(&b->mem, 0, TAB_MAX * sizeof(struct vring_desc), 16);
    s->page_gpa = fe_mem_alloc(&b->mem, 0, BN_PAGE, BN_PAGE);
    s->data_gpa = fe_mem_alloc(&b->mem, 1, BN_DATA_MAX, BN_PAGE);
    uint8_t *page = fe_mem_ptr(&b->mem, s->page_gpa);
    s->tab = fe_mem_ptr(&b->mem, s->tab_gpa);
    s->ih = (struct fuse_in_header *)page;
    s->arg = page + OFF_ARG;
    s->oh = (struct fuse_out_header *)(page + OFF_OH);
    s->out = page + OFF_OUT;
    s->data = fe_mem_ptr(&b->mem, s->data_gpa);
    memset(s->data, 0, BN_DATA_MAX); /* faults in the pages */
    s->ih->unique = i + 2;
    s->ih->pid = (uint32_t)getpid();
}

static void make_forgets(struct bn *b)
{
    const unsigned len = sizeof(struct fuse_in_header) + sizeof(struct fuse_forget_in);
    uint64_t gpa = fe_mem_alloc(&b->mem, 0, RING_SIZE * 64, 64);
    b->forget_buf = fe_mem_ptr(&b->mem, gpa);
    b->forget_free = calloc(RING_SIZE, sizeof(uint16_t));
    b->forget_nfree = RING_SIZE;
    for (unsigned i = 0; i < RING_SIZE; i++) {
        struct fuse_in_header *ih = (void *)(b->forget_buf + 64 * i);
        *ih = (struct fuse_in_header){.len = len, .opcode = FUSE_FORGET, .unique = 1000 + i};
        ((struct fuse_forget_in *)(ih + 1))->nlookup = 1;
        fe_ring_desc(&b->v.ring[HIPRIO], i, gpa + 64 * i, len, 0, 0);
        b->forget_free[i] = (uint16_t)i;
    }
}

void bn_build(struct bn *b, struct bn_slot *s, uint32_t opcode, uint64_t nodeid, uint32_t arg_len,
              uint32_t data_in, uint32_t out_len, uint32_t data_out)
{
    struct vring_desc *d = s->tab;
    unsigned n = 0;
#define SEG(a, l, f) (d[n++] = (struct vring_desc){.addr = (a), .len = (l), .flags = (f)})
    SEG(s->page_gpa, sizeof(struct fuse_in_header), VRING_DESC_F_NEXT);
    if (arg_len)
        SEG(s->page_gpa + OFF_ARG, arg_len, VRING_DESC_F_NEXT);
    for (uint32_t off = 0; off < data_in; off += BN_PAGE)
        SEG(s->data_gpa + off, BN_PAGE, VRING_DESC_F_NEXT);
    SEG(s->page_gpa + OFF_OH, sizeof(struct fuse_out_header),
        VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
    if (out_len)
        SEG(s->page_gpa + OFF_OUT, out_len, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
    for (uint32_t off = 0; off < data_out; off += BN_PAGE)
        SEG(s->data_gpa + off, BN_PAGE, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE);
#undef SEG
    d[n - 1].flags &= (uint16_t)~VRING_DESC_F_NEXT;
    for (unsigned i = 0; i < n; i++)
        d[i].next = (uint16_t)(i + 1);
    fe_ring_desc(&b->v.ring[REQ], s->head, s->tab_gpa, n * (uint32_t)sizeof(*d),
                 VRING_DESC_F_INDIRECT, 0);
    s->ih->len = (uint32_t)sizeof(struct fuse_in_header) + arg_len + data_in;
    s->ih->opcode = opcode;
    s->ih->nodeid = nodeid;
}

int bn_call(struct bn *b, struct bn_slot *s)
{
    struct fe_ring *r = &b->v.ring[REQ];
    uint32_t id, len;
    fe_ring_push(r, s->head);
    fe_ring_publish(r);
    if (fe_ring_wait(r, FE_TIMEOUT_MS) < 0) {
        char *log = fe_daemon_log(&b->proc);
        bn_die("%s: no reply to opcode %u\n%s", b->daemon, s->ih->opcode, log);
    }
    while (fe_ring_pop(r, &id, &len)) {
        if (id != s->head || len != s->oh->len)
            bn_die("%s: opcode %u: used id %u, length %u, reply length %u", b->daemon,
                   s->ih->opcode, id, len, s->oh->len);
    }
    return s->oh->error;
}

int bn_lookup(struct bn *b, uint64_t parent, const char *name, uint64_t *nodeid)
{
    struct bn_slot *s = &b->slot[0];
    uint32_t n = (uint32_t)strlen(name) + 1;
    memcpy(s->arg, name, n);
    bn_build(b, s, FUSE_LOOKUP, parent, n, 0, sizeof(struct fuse_entry_out), 0);
    int e = bn_call(b, s);
    if (e == 0)
        *nodeid = ((struct fuse_entry_out *)s->out)->nodeid;
    return e;
}

static void must(struct bn *b, const char *what, int e)
{
    if (e)
        bn_die("%s: %s: %s", b->daemon, what, strerror(-e));
}

static void send_init(struct bn *b)
{
    struct bn_slot *s = &b->slot[0];
    struct fuse_init_in *in = (void *)s->arg;
    *in = (struct fuse_init_in){
        .major = 7,
        .minor = 38,
        .max_readahead = BN_DATA_MAX,
        .flags = FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT |
                 FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_FLOCK_LOCKS | FUSE_HAS_IOCTL_DIR |
                 FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
                 FUSE_ASYNC_DIO | FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT |
                 FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV | FUSE_POSIX_ACL | FUSE_ABORT_ERROR |
                 FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT |
                 FUSE_EXPLICIT_INVAL_DATA | FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2 |
                 FUSE_SETXATTR_EXT | FUSE_INIT_EXT,
        .flags2 = 1u << 0 | 1u << 2, /* SECURITY_CTX, CREATE_SUPP_GROUP: bits 32 and 34 */
    };
    bn_build(b, s, FUSE_INIT, 0, sizeof(*in), 0, sizeof(struct fuse_init_out), 0);
    must(b, "INIT", bn_call(b, s));
}

void bn_mem_make(struct bn *b)
{
    if (fe_mem_init(&b->mem, 8u << 20, (BN_SLOTS + 1u) * BN_DATA_MAX, 1u << 20) < 0)
        bn_die("no memory for the guest");
    for (unsigned i = 0; i < BN_SLOTS; i++)
        make_slot(b, i);
    b->rnd = 0x9e3779b97f4a7c15ULL;
}

void bn_connect(struct bn *b, const char *path)
{
    int sock = fe_daemon_connect(&b->proc, path, FE_TIMEOUT_MS);
    if (sock < 0) {
        char *log = fe_daemon_log(&b->proc);
        bn_die("%s: cannot connect to %s (%d)\n%s", b->daemon, path, sock, log);
    }
    bn_handshake(b, sock);
}

void bn_handshake(struct bn *b, int sock)
{
    fe_vhost_init(&b->v, sock);
    int e = fe_vhost_start(&b->v, &b->mem, 2, RING_SIZE);
    if (e)
        bn_die("%s: vhost-user handshake failed (%d)", b->daemon, e);
    make_forgets(b);
    send_init(b);
}

void bn_prepare(struct bn *b)
{
    must(b, "lookup known", bn_lookup(b, FUSE_ROOT_ID, "known", &b->known_dir));
    must(b, "lookup walk", bn_lookup(b, FUSE_ROOT_ID, "walk", &b->walk_dir));
    must(b, "lookup big", bn_lookup(b, FUSE_ROOT_ID, "big", &b->big_dir));
    must(b, "lookup data", bn_lookup(b, FUSE_ROOT_ID, "data", &b->data_node));
    for (unsigned i = 0; i < BN_KNOWN; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%05u", i);
        must(b, "lookup", bn_lookup(b, b->known_dir, name, &b->known[i]));
    }
    struct bn_slot *s = &b->slot[0];
    *(struct fuse_open_in *)s->arg = (struct fuse_open_in){.flags = 2 /* O_RDWR */};
    bn_build(b, s, FUSE_OPEN, b->data_node, sizeof(struct fuse_open_in), 0,
             sizeof(struct fuse_open_out), 0);
    must(b, "open data", bn_call(b, s));
    b->data_fh = ((struct fuse_open_out *)s->out)->fh;
    b->seen = calloc(BN_BIG + 16, sizeof(*b->seen));
}

void bn_disconnect(struct bn *b)
{
    fe_vhost_close(&b->v);
    fe_mem_free(&b->mem);
    free(b->forget_free);
    free(b->seen);
    b->forget_free = NULL;
    b->seen = NULL;
}

/* Take back the descriptors of answered FORGETs. */
static void forget_reap(struct bn *b)
{
    uint32_t id, len;
    while (fe_ring_pop(&b->v.ring[HIPRIO], &id, &len)) {
        if (id >= RING_SIZE || len != 0)
            bn_die("%s: FORGET: used id %u, length %u", b->daemon, id, len);
        b->forget_free[b->forget_nfree++] = (uint16_t)id;
    }
}

void bn_forget_flush(struct bn *b)
{
    fe_ring_publish(&b->v.ring[HIPRIO]);
}

void bn_forget(struct bn *b, uint64_t nodeid)
{
    if (b->forget_nfree == 0)
        forget_reap(b);
    while (b->forget_nfree == 0) {
        bn_forget_flush(b);
        if (fe_ring_wait(&b->v.ring[HIPRIO], FE_TIMEOUT_MS) < 0)
            bn_die("%s: FORGETs are not taken", b->daemon);
        forget_reap(b);
    }
    uint16_t i = b->forget_free[--b->forget_nfree];
    ((struct fuse_in_header *)(b->forget_buf + 64u * i))->nodeid = nodeid;
    fe_ring_push(&b->v.ring[HIPRIO], i);
}

void bn_forget_wait(struct bn *b)
{
    bn_forget_flush(b);
    for (forget_reap(b); b->forget_nfree < RING_SIZE; forget_reap(b))
        if (fe_ring_wait(&b->v.ring[HIPRIO], FE_TIMEOUT_MS) < 0)
            bn_die("%s: FORGETs are not taken", b->daemon);
}

static uint64_t sum_kicks(struct bn *b)
{
    return b->v.ring[HIPRIO].kicks + b->v.ring[REQ].kicks;
}

static uint64_t sum_calls(struct bn *b)
{
    fe_ring_take_calls(&b->v.ring[HIPRIO]);
    fe_ring_take_calls(&b->v.ring[REQ]);
    return b->v.ring[HIPRIO].calls + b->v.ring[REQ].calls;
}

static void check_reply(struct bn *b, const struct bn_op *op, uint32_t id, uint32_t len)
{
    const struct bn_slot *s = &b->slot[id < BN_SLOTS ? id : 0];
    /* An absent name may also be told by an entry without a number, so that the guest caches it. */
    bool fine = op->expect == -ENOENT && s->oh->error == 0 &&
                ((struct fuse_entry_out *)s->out)->nodeid == 0;
    if (s->ih->opcode == FUSE_FLUSH && s->oh->error == -ENOSYS) {
        b->no_flush = true; /* as a guest, which sends no more of them */
        fine = true;
    }
    if (id >= BN_SLOTS || len != s->oh->len || s->oh->unique != s->ih->unique ||
        (s->oh->error != op->expect && !fine))
        bn_die("%s: %s: opcode %u: used id %u, length %u; reply length %u, error %d (%s)",
               b->daemon, op->name, s->ih->opcode, id, len, s->oh->len, s->oh->error,
               strerror(-s->oh->error));
}

/* Collect all replies that are there. With @again each slot's next request is queued.
 * Returns operations completed; *@n counts replies. */
static uint64_t collect(struct bn *b, const struct bn_op *op, bool again, unsigned *n)
{
    struct fe_ring *r = &b->v.ring[REQ];
    uint64_t done = 0;
    uint32_t id, len;
    while (fe_ring_pop(r, &id, &len)) {
        check_reply(b, op, id, len);
        done += op->next(b, &b->slot[id]);
        if (again)
            fe_ring_push(r, (uint16_t)id);
        (*n)++;
    }
    return done;
}

static void run_slots(struct bn *b, const struct bn_op *op, int ms, struct bn_sample *out)
{
    struct fe_ring *r = &b->v.ring[REQ];
    for (unsigned i = 0; i < b->inflight; i++) {
        b->slot[i].step = 0;
        b->slot[i].item = i;
        op->first(b, &b->slot[i]);
    }
    uint64_t kicks = sum_kicks(b), calls = sum_calls(b), cpu = fe_daemon_cpu_ns(&b->proc);
    int64_t start = fe_now_ns(), now = start, end = start + (int64_t)ms * 1000000;
    uint64_t done = 0;
    unsigned since = 0, waiting = b->inflight;

    for (unsigned i = 0; i < b->inflight; i++)
        fe_ring_push(r, b->slot[i].head);
    while (now < end) {
        bn_forget_flush(b);
        fe_ring_publish(r);
        fe_ring_wait(r, -1);
        done += collect(b, op, true, &since);
        if (since >= 32) {
            since = 0;
            now = fe_now_ns();
        }
    }
    *out = (struct bn_sample){
        .ops = (double)done,
        .ns = (double)(now - start),
        .cpu_ns = (double)(fe_daemon_cpu_ns(&b->proc) - cpu),
        .kicks = (double)(sum_kicks(b) - kicks),
        .calls = (double)(sum_calls(b) - calls),
    };
    /* What collect() queued last goes out too; then the multi-step operations are left where they
     * are: their handles and node ids are the daemon's to bear until it ends. */
    fe_ring_publish(r);
    for (unsigned got = 0; got < waiting;) {
        fe_ring_wait(r, -1);
        collect(b, op, false, &got);
    }
    bn_forget_flush(b);
}

static void run_passes(struct bn *b, const struct bn_op *op, int ms, struct bn_sample *out)
{
    int64_t end = fe_now_ns() + (int64_t)ms * 1000000;
    *out = (struct bn_sample){0};
    do {
        uint64_t kicks = sum_kicks(b), calls = sum_calls(b), cpu = fe_daemon_cpu_ns(&b->proc);
        int64_t start = fe_now_ns();
        out->ops += op->pass(b);
        out->ns += (double)(fe_now_ns() - start);
        out->cpu_ns += (double)(fe_daemon_cpu_ns(&b->proc) - cpu);
        out->kicks += (double)(sum_kicks(b) - kicks);
        out->calls += (double)(sum_calls(b) - calls);
        if (op->after)
            op->after(b);
    } while (fe_now_ns() < end);
}

void bn_run(struct bn *b, const struct bn_op *op, unsigned inflight, int ms, struct bn_sample *out)
{
    b->inflight = inflight;
    alarm(60); /* the watchdog of the waits without a limit */
    if (op->pass)
        run_passes(b, op, ms, out);
    else
        run_slots(b, op, ms, out);
    alarm(0);
}
