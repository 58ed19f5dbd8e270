/* SPDX-License-Identifier: BSD-3-Clause
 * The measured operations as FUSE requests. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "tests/bench/bench.h"

#define ENTRY_LEN ((uint32_t)sizeof(struct fuse_entry_out))
#define DIR_BUF   32768u

/* Write the digits of "fNNNNN" for @n. */
static void put_name(uint8_t *name, unsigned n)
{
    for (int i = 5; i >= 1; i--, n /= 10)
        name[i] = (uint8_t)('0' + n % 10);
}

static void build_lookup(struct bn *b, struct bn_slot *s, uint64_t dir, char letter)
{
    memcpy(s->arg, "f00000", 7);
    s->arg[0] = (uint8_t)letter;
    put_name(s->arg, s->item);
    bn_build(b, s, FUSE_LOOKUP, dir, 7, 0, ENTRY_LEN, 0);
}

/* ---- one request again and again ---- */

static void getattr_first(struct bn *b, struct bn_slot *s)
{
    memset(s->arg, 0, sizeof(struct fuse_getattr_in));
    bn_build(b, s, FUSE_GETATTR, b->known[s->item], sizeof(struct fuse_getattr_in), 0,
             sizeof(struct fuse_attr_out), 0);
}

static unsigned getattr_next(struct bn *b, struct bn_slot *s)
{
    s->item = (s->item + b->inflight) % BN_KNOWN;
    s->ih->nodeid = b->known[s->item];
    return 1;
}

static void lookup_first(struct bn *b, struct bn_slot *s)
{
    build_lookup(b, s, b->known_dir, 'f');
}

static unsigned lookup_next(struct bn *b, struct bn_slot *s)
{
    s->item = (s->item + b->inflight) % BN_KNOWN;
    put_name(s->arg, s->item);
    return 1;
}

static void miss_first(struct bn *b, struct bn_slot *s)
{
    build_lookup(b, s, b->known_dir, 'x');
}

static void statfs_first(struct bn *b, struct bn_slot *s)
{
    bn_build(b, s, FUSE_STATFS, FUSE_ROOT_ID, 0, 0, sizeof(struct fuse_statfs_out), 0);
}

static unsigned statfs_next(struct bn *b, struct bn_slot *s)
{
    return 1;
}

static void forget_first(struct bn *b, struct bn_slot *s)
{
    build_lookup(b, s, b->big_dir, 'f');
}

static unsigned forget_next(struct bn *b, struct bn_slot *s)
{
    bn_forget(b, ((struct fuse_entry_out *)s->out)->nodeid);
    s->item = (s->item + b->inflight) % BN_BIG;
    put_name(s->arg, s->item);
    return 1;
}

/* ---- open + release ---- */

static void build_open(struct bn *b, struct bn_slot *s, uint64_t nodeid)
{
    *(struct fuse_open_in *)s->arg = (struct fuse_open_in){.flags = O_RDONLY | O_LARGEFILE};
    bn_build(b, s, FUSE_OPEN, nodeid, sizeof(struct fuse_open_in), 0, sizeof(struct fuse_open_out),
             0);
}

static void build_release(struct bn *b, struct bn_slot *s, uint64_t nodeid)
{
    *(struct fuse_release_in *)s->arg = (struct fuse_release_in){.fh = s->fh};
    bn_build(b, s, FUSE_RELEASE, nodeid, sizeof(struct fuse_release_in), 0, 0, 0);
}

static void open_first(struct bn *b, struct bn_slot *s)
{
    build_open(b, s, b->known[s->item]);
}

static unsigned open_next(struct bn *b, struct bn_slot *s)
{
    if (s->step == 0) {
        s->step = 1;
        s->fh = ((struct fuse_open_out *)s->out)->fh;
        build_release(b, s, b->known[s->item]);
        return 0;
    }
    s->step = 0;
    s->item = (s->item + b->inflight) % BN_KNOWN;
    open_first(b, s);
    return 1;
}

/* ---- data ---- */

static uint64_t next_random(struct bn *b)
{
    b->rnd ^= b->rnd << 13;
    b->rnd ^= b->rnd >> 7;
    b->rnd ^= b->rnd << 17;
    return b->rnd;
}

static void build_io(struct bn *b, struct bn_slot *s, uint32_t opcode, uint32_t size)
{
    bool rd = opcode == FUSE_READ;
    if (rd)
        *(struct fuse_read_in *)s->arg = (struct fuse_read_in){.fh = b->data_fh, .size = size};
    else
        *(struct fuse_write_in *)s->arg = (struct fuse_write_in){.fh = b->data_fh, .size = size};
    bn_build(b, s, opcode, b->data_node, sizeof(struct fuse_read_in), rd ? 0 : size,
             rd ? 0 : sizeof(struct fuse_write_out), rd ? size : 0);
}

/* The offset sits at the same place in both structures. */
static void set_offset(struct bn_slot *s, uint64_t off)
{
    ((struct fuse_read_in *)s->arg)->offset = off;
}

static unsigned small_next(struct bn *b, struct bn_slot *s)
{
    set_offset(s, next_random(b) % (BN_FILE_LEN / BN_PAGE) * BN_PAGE);
    return 1;
}

static unsigned big_next(struct bn *b, struct bn_slot *s)
{
    uint32_t size = ((struct fuse_read_in *)s->arg)->size;
    s->item = (s->item + b->inflight) % (BN_BIG_LEN / size);
    set_offset(s, (uint64_t)s->item * size);
    return 1;
}

#define IO_FIRST(name, opcode, size)                        \
    static void name(struct bn *b, struct bn_slot *s)       \
    {                                                       \
        build_io(b, s, opcode, size);                       \
        set_offset(s, (uint64_t)s->item *(uint64_t)(size)); \
    }
IO_FIRST(read4k_first, FUSE_READ, 4096)
IO_FIRST(write4k_first, FUSE_WRITE, 4096)
IO_FIRST(read128k_first, FUSE_READ, 128 << 10)
IO_FIRST(write128k_first, FUSE_WRITE, 128 << 10)
IO_FIRST(read1m_first, FUSE_READ, 1 << 20)
IO_FIRST(write1m_first, FUSE_WRITE, 1 << 20)

/* ---- small-file walk: lookup, open, read, flush, release, forget ---- */

static void walk_first(struct bn *b, struct bn_slot *s)
{
    build_lookup(b, s, b->walk_dir, 'f');
}

static unsigned walk_next(struct bn *b, struct bn_slot *s)
{
    switch (s->step++) {
    case 0:
        s->nodeid = ((struct fuse_entry_out *)s->out)->nodeid;
        build_open(b, s, s->nodeid);
        return 0;
    case 1:
        s->fh = ((struct fuse_open_out *)s->out)->fh;
        *(struct fuse_read_in *)s->arg = (struct fuse_read_in){.fh = s->fh, .size = BN_WALK_LEN};
        bn_build(b, s, FUSE_READ, s->nodeid, sizeof(struct fuse_read_in), 0, 0, BN_WALK_LEN);
        return 0;
    case 2:
        if (b->no_flush) {
            s->step++;
            build_release(b, s, s->nodeid);
            return 0;
        }
        *(struct fuse_flush_in *)s->arg = (struct fuse_flush_in){.fh = s->fh, .lock_owner = 1};
        bn_build(b, s, FUSE_FLUSH, s->nodeid, sizeof(struct fuse_flush_in), 0, 0, 0);
        return 0;
    case 3:
        build_release(b, s, s->nodeid);
        return 0;
    default:
        bn_forget(b, s->nodeid);
        s->step = 0;
        s->item = (s->item + b->inflight) % BN_WALK;
        walk_first(b, s);
        return 1;
    }
}

/* ---- directories: one reader, a whole directory per pass ---- */

/* Walk through one reply. Returns its entries; *@off becomes the offset of the next one. */
static unsigned count_entries(struct bn *b, const uint8_t *p, uint32_t len, bool plus,
                              uint64_t *off)
{
    unsigned n = 0;
    const uint32_t fixed = plus ? sizeof(struct fuse_direntplus) : sizeof(struct fuse_dirent);
    for (uint32_t at = 0; at + fixed <= len; n++) {
        const struct fuse_direntplus *e = (const void *)(p + at);
        const struct fuse_dirent *d = plus ? &e->dirent : (const void *)(p + at);
        if (plus && e->entry_out.nodeid && b->nseen < BN_BIG + 16)
            b->seen[b->nseen++] = e->entry_out.nodeid;
        *off = d->off;
        at += (fixed + d->namelen + 7) & ~7u;
    }
    return n;
}

static unsigned read_dir(struct bn *b, bool plus)
{
    struct bn_slot *s = &b->slot[0];
    *(struct fuse_open_in *)s->arg = (struct fuse_open_in){.flags = O_RDONLY | O_DIRECTORY};
    bn_build(b, s, FUSE_OPENDIR, b->big_dir, sizeof(struct fuse_open_in), 0,
             sizeof(struct fuse_open_out), 0);
    if (bn_call(b, s))
        bn_die("%s: opendir: error %d", b->daemon, s->oh->error);
    s->fh = ((struct fuse_open_out *)s->out)->fh;

    struct fuse_read_in *in = (void *)s->arg;
    *in = (struct fuse_read_in){.fh = s->fh, .size = DIR_BUF};
    bn_build(b, s, plus ? FUSE_READDIRPLUS : FUSE_READDIR, b->big_dir, sizeof(*in), 0, 0, DIR_BUF);
    unsigned total = 0, n;
    do {
        if (bn_call(b, s))
            bn_die("%s: readdir: error %d", b->daemon, s->oh->error);
        n = count_entries(b, s->data, s->oh->len - (uint32_t)sizeof(*s->oh), plus, &in->offset);
        total += n;
    } while (n > 0);
    if (total != BN_BIG + 2)
        bn_die("%s: readdir gave %u entries", b->daemon, total);
    build_release(b, s, b->big_dir);
    s->ih->opcode = FUSE_RELEASEDIR;
    if (bn_call(b, s))
        bn_die("%s: releasedir: error %d", b->daemon, s->oh->error);
    return total;
}

static unsigned readdir_pass(struct bn *b)
{
    return read_dir(b, false);
}

static unsigned readdirplus_pass(struct bn *b)
{
    return read_dir(b, true);
}

/* Let the daemon know none of the entries again, as before the pass. */
static void forget_all(struct bn *b)
{
    for (unsigned i = 0; i < b->nseen; i++)
        bn_forget(b, b->seen[i]);
    bn_forget_wait(b);
    b->nseen = 0;
}

const struct bn_op bn_ops[] = {
    {"getattr", getattr_first, getattr_next, 0, NULL, NULL},
    {"lookup", lookup_first, lookup_next, 0, NULL, NULL},
    {"lookup-miss", miss_first, lookup_next, -ENOENT, NULL, NULL},
    {"statfs", statfs_first, statfs_next, 0, NULL, NULL},
    {"read4k", read4k_first, small_next, 0, NULL, NULL},
    {"write4k", write4k_first, small_next, 0, NULL, NULL},
    {"lookup+forget", forget_first, forget_next, 0, NULL, NULL},
    {"open+release", open_first, open_next, 0, NULL, NULL},
    {"walk", walk_first, walk_next, 0, NULL, NULL},
    {"readdir", NULL, NULL, 0, readdir_pass, NULL},
    {"readdirplus", NULL, NULL, 0, readdirplus_pass, forget_all},
    {"read128k", read128k_first, big_next, 0, NULL, NULL},
    {"write128k", write128k_first, big_next, 0, NULL, NULL},
    {"read1m", read1m_first, big_next, 0, NULL, NULL},
    {"write1m", write1m_first, big_next, 0, NULL, NULL},
};
const unsigned bn_nops = sizeof(bn_ops) / sizeof(bn_ops[0]);
