/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/wire/wire-driver.h"

#include <stdio.h>
#include <string.h>

#define IN_MAX   (128u << 10)
#define OUT_MAX  (128u << 10)
#define MAX_DESC 12

#define IDMAP_BIT (1u << (40 - 32)) /* FUSE_ALLOW_IDMAP */

enum { HIPRIO, REQUESTS, QUEUES };

/* A driver at work. */
struct state {
    struct wire *w;
    const struct driver *d;
    const char *what;
    uint64_t in, out; /* guest addresses of the one request in flight */
    uint64_t count;
    uint64_t reg[REGS];
    struct vring_desc desc[MAX_DESC];
    unsigned ndesc;
};

#define wrong(s, ...)                                           \
    do {                                                        \
        char text_[256];                                        \
        snprintf(text_, sizeof(text_), __VA_ARGS__);            \
        fail_msg("%s, %s: %s", (s)->d->name, (s)->what, text_); \
    } while (0)

/* ---- the request's bytes ---- */

/* Where the structure of an operation holds a handle, or the directory that a name moves to. */
static size_t fill_at(uint32_t op)
{
    return op == FUSE_GETATTR || op == FUSE_SETATTR ? 8 : 0;
}

static void add(struct state *s, uint64_t addr, uint32_t len, uint16_t flags)
{
    if (len == 0 && !(s->d->cuts & CUT_EMPTY))
        return;
    assert_true(s->ndesc < MAX_DESC);
    s->desc[s->ndesc++] = (struct vring_desc){.addr = addr, .len = len, .flags = flags};
}

/* Bytes from *@from to @to are one descriptor. */
static void cut(struct state *s, uint64_t base, uint32_t *from, uint32_t to, uint16_t flags)
{
    add(s, base + *from, to - *from, flags);
    *from = to;
}

static uint32_t put_name(struct state *s, uint8_t *buf, uint32_t len, uint32_t *from,
                         const char *name)
{
    if (!name)
        return len;
    if (s->d->cuts & CUT_NAMES)
        cut(s, s->in, from, len, 0);
    size_t n = strlen(name);
    memcpy(buf + len, name, n + 1);
    if (s->d->cuts & CUT_NUL)
        cut(s, s->in, from, len + (uint32_t)n, 0);
    return len + (uint32_t)n + 1;
}

/* Write the request, describe its readable part. */
static void build(struct state *s, const struct step *t)
{
    uint8_t *buf = fe_mem_ptr(&s->w->mem, s->in);
    struct fuse_in_header h = {
        .opcode = t->op,
        .unique = s->d->unique ? s->d->unique : ++s->count,
        .nodeid = s->reg[t->node],
        .uid = s->d->id,
        .gid = s->d->id,
        .pid = 1,
    };
    uint32_t len = sizeof(h), from = 0;

    s->ndesc = 0;
    if (s->d->cuts & CUT_HEADER)
        cut(s, s->in, &from, len, 0);
    memset(buf + len, 0, t->in.len);
    if (t->in.bytes)
        memcpy(buf + len, t->in.bytes, t->in.len);
    if (t->in.fill)
        memcpy(buf + len + fill_at(t->op), &s->reg[t->in.fill], 8);
    len += t->in.len;
    len = put_name(s, buf, len, &from, t->name);
    len = put_name(s, buf, len, &from, t->name2);
    memset(buf + len, 0xd7, t->surplus);
    len += t->surplus;
    cut(s, s->in, &from, len, 0);
    h.len = (uint32_t)((int64_t)len + t->lie);
    memcpy(buf, &h, sizeof(h));
    memcpy(buf + offsetof(struct fuse_in_header, pid) + 4, &s->d->padding, 4);
}

static void describe_answer(struct state *s, const struct step *t)
{
    const uint32_t head = sizeof(struct fuse_out_header);
    uint32_t from = 0, all = t->room < 0 ? 0 : head + (uint32_t)t->room;

    assert_true(all <= OUT_MAX);
    memset(fe_mem_ptr(&s->w->mem, s->out), 0x5a, all);
    if (all && (s->d->cuts & CUT_ANSWER))
        cut(s, s->out, &from, head, VRING_DESC_F_WRITE);
    if ((s->d->cuts & CUT_ENTRY) && t->room >= (int)sizeof(struct fuse_entry_out)) {
        cut(s, s->out, &from, head + offsetof(struct fuse_entry_out, attr), VRING_DESC_F_WRITE);
        cut(s, s->out, &from, head + sizeof(struct fuse_entry_out), VRING_DESC_F_WRITE);
    }
    cut(s, s->out, &from, all, VRING_DESC_F_WRITE);
}

/* ---- there and back ---- */

static uint32_t exchange(struct state *s, unsigned queue)
{
    struct fe_ring *r = &s->w->v.ring[queue];
    uint32_t id, used;

    for (unsigned i = 0; i < s->ndesc; i++) {
        bool last = i + 1 == s->ndesc;
        fe_ring_desc(r, i, s->desc[i].addr, s->desc[i].len,
                     s->desc[i].flags | (last ? 0 : VRING_DESC_F_NEXT), (uint16_t)(i + 1));
    }
    fe_ring_push(r, 0);
    fe_ring_publish(r);
    while (!fe_ring_pop(r, &id, &used))
        if (fe_ring_wait(r, s->w->v.timeout_ms) != 0)
            wrong(s, "no answer");
    return used;
}

/* What every driver checks, or should. */
static const uint8_t *check_answer(struct state *s, const struct step *t, uint32_t used)
{
    struct fuse_out_header h;
    const uint8_t *at = fe_mem_ptr(&s->w->mem, s->out);
    const struct fuse_in_header *in = fe_mem_ptr(&s->w->mem, s->in);

    memcpy(&h, at, sizeof(h));
    if (used < sizeof(h) || h.len != used || used > sizeof(h) + (uint32_t)t->room)
        wrong(s, "used length %u, the header's %u", used, h.len);
    if (h.unique != in->unique)
        wrong(s, "another request's answer");
    if (h.error != t->err)
        wrong(s, "%d instead of %d", h.error, t->err);
    if (h.error == 0 && t->size && h.len != sizeof(h) + t->size)
        wrong(s, "%u bytes instead of %u", h.len, (unsigned)sizeof(h) + t->size);
    return at + sizeof(h);
}

static void keep(struct state *s, const struct step *t, const uint8_t *body)
{
    bool entry = t->node_to != REG_NONE;
    if (entry)
        memcpy(&s->reg[t->node_to], body, 8);
    if (entry && s->reg[t->node_to] == 0)
        wrong(s, "a success with node 0");
    if (t->fh_to)
        memcpy(&s->reg[t->fh_to], body + (entry ? sizeof(struct fuse_entry_out) : 0), 8);
}

static void run_step(struct state *s, const struct step *t)
{
    s->what = t->what;
    build(s, t);
    describe_answer(s, t);
    bool forget = t->op == FUSE_FORGET || t->op == FUSE_BATCH_FORGET;
    uint32_t used = exchange(s, forget && s->d->hiprio ? HIPRIO : REQUESTS);
    if (t->room < 0) {
        if (used)
            wrong(s, "%u bytes of answer without room", used);
        return;
    }
    const uint8_t *body = check_answer(s, t, used);
    if (t->err)
        return;
    keep(s, t, body);
    if (t->look) {
        struct answer a = {
            .w = s->w, .d = s->d, .body = body, .len = used - sizeof(struct fuse_out_header)};
        t->look(&a);
    }
}

/* ---- the mount ---- */

static void look_init(const struct answer *a)
{
    struct fuse_init_out out;

    memcpy(&out, a->body, sizeof(out));
    assert_int_equal(out.major, 7);
    assert_true(out.minor >= a->d->minor);
    assert_true(out.max_write >= 4096);
    assert_int_equal(out.flags & ~(a->d->flags | FUSE_INIT_EXT), 0);
    assert_int_equal(out.flags2 & ~a->d->flags2, 0);
    if (a->d->flags2 & IDMAP_BIT)
        assert_true(out.flags2 & IDMAP_BIT);
    if (a->d->flags & FUSE_DO_READDIRPLUS)
        assert_true(out.flags & FUSE_DO_READDIRPLUS);
    if (a->d->flags & FUSE_MAX_PAGES)
        assert_true(out.max_pages > 0);
    else
        assert_int_equal(out.max_pages, 0);
}

static void init(struct state *s)
{
    struct fuse_init_in in = {
        .major = 7,
        .minor = s->d->minor,
        .max_readahead = s->d->readahead,
        .flags = s->d->flags,
        .flags2 = s->d->flags2,
    };
    struct step t = {
        .what = "INIT",
        .op = FUSE_INIT,
        .node = s->d->init_node ? REG_ROOT : REG_ZERO,
        .in = {&in, (uint16_t)s->d->init_len, REG_NONE},
        .room = sizeof(struct fuse_init_out),
        .size = sizeof(struct fuse_init_out),
        .look = look_init,
    };
    run_step(s, &t);
}

static void start(struct wire *w, const struct driver *d)
{
    wire_connect(w);
    assert_int_equal(fe_mem_init(&w->mem, 4u << 20, 32u << 20, 32u << 20), 0);
    assert_int_equal(
        fe_vhost_negotiate(&w->v, d->features | VU_F_PROTOCOL, VU_PF_REPLY_ACK | VU_PF_CONFIG), 0);
    assert_int_equal(fe_vhost_mem_table(&w->v, &w->mem), 0);
    assert_int_equal(fe_vhost_make_rings(&w->v, &w->mem, QUEUES, d->queue_size), 0);
    for (unsigned i = d->hiprio ? HIPRIO : REQUESTS; i < QUEUES; i++)
        assert_int_equal(fe_vhost_start_ring(&w->v, i), 0);
}

void driver_run(struct wire *w, const struct driver *d, const char *const *extra,
                const struct step *steps, size_t n)
{
    wire_spawn(w, extra);
    start(w, d);
    struct state s = {
        .w = w,
        .d = d,
        .in = fe_mem_alloc(&w->mem, 1, IN_MAX, 4096),
        .out = fe_mem_alloc(&w->mem, 2, OUT_MAX, 4096),
        .reg = {[REG_ROOT] = FUSE_ROOT_ID, [REG_WILD] = 0x5ca1ab1e0ddba11},
    };
    init(&s);
    for (size_t i = 0; i < n; i++)
        run_step(&s, &steps[i]);
    if (!fe_daemon_alive(&w->d))
        fail_msg("%s: the daemon has ended", d->name);
}
