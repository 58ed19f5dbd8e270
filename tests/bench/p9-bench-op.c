/* SPDX-License-Identifier: BSD-3-Clause
 * The measured operations as 9P2000.L messages. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "tests/bench/p9-bench.h"

enum {
    TLOPEN = 12,
    TLCREATE = 14,
    TGETATTR = 24,
    TREADDIR = 40,
    TWALK = 110,
    TREAD = 116,
    TWRITE = 118,
    TCLUNK = 120,
    TREMOVE = 122
};

#define GETATTR_BASIC 0x7ff

static uint32_t own_fid(const struct pb_slot *s)
{
    return PB_FIRST_SLOT + s->n;
}

static void next_item(struct pb *b, struct pb_slot *s)
{
    s->item = (s->item + b->inflight) % PB_FILES;
}

static void put_name(struct p9c *c, unsigned item)
{
    char name[16];
    snprintf(name, sizeof(name), "f%05u", item);
    p9c_put_str(c, name);
}

static void build_walk(struct pb_slot *s, uint32_t dir, bool named)
{
    p9c_begin(&s->c, TWALK);
    p9c_put32(&s->c, dir);
    p9c_put32(&s->c, own_fid(s));
    p9c_put16(&s->c, named);
    if (named)
        put_name(&s->c, s->item);
    p9c_end(&s->c);
}

static void build_clunk(struct pb_slot *s)
{
    p9c_begin(&s->c, TCLUNK);
    p9c_put32(&s->c, own_fid(s));
    p9c_end(&s->c);
}

static void build_lopen(struct pb_slot *s, uint32_t flags)
{
    p9c_begin(&s->c, TLOPEN);
    p9c_put32(&s->c, own_fid(s));
    p9c_put32(&s->c, flags);
    p9c_end(&s->c);
}

/* What a Tread, Twrite and Treaddir begin with; a Twrite's data stands behind it already. */
static void build_io(struct pb_slot *s, uint8_t type, uint32_t fid, uint64_t off, uint32_t count)
{
    p9c_begin(&s->c, type);
    p9c_put32(&s->c, fid);
    p9c_put64(&s->c, off);
    p9c_put32(&s->c, count);
    if (type == TWRITE)
        s->c.tlen += count;
    p9c_end(&s->c);
}

/* ---- one request again and again ---- */

static void getattr_first(struct pb *b, struct pb_slot *s)
{
    p9c_begin(&s->c, TGETATTR);
    p9c_put32(&s->c, PB_FIRST_FILE + s->item);
    p9c_put64(&s->c, GETATTR_BASIC);
    p9c_end(&s->c);
}

static double getattr_next(struct pb *b, struct pb_slot *s)
{
    next_item(b, s);
    getattr_first(b, s);
    return 1;
}

static void walk_first(struct pb *b, struct pb_slot *s)
{
    build_walk(s, PB_MANY, true);
}

static double walk_next(struct pb *b, struct pb_slot *s)
{
    if (s->step++ == 0) {
        build_clunk(s);
        return 0;
    }
    s->step = 0;
    next_item(b, s);
    walk_first(b, s);
    return 1;
}

/* ---- files ---- */

static double small_next(struct pb *b, struct pb_slot *s)
{
    switch (s->step++) {
    case 0:
        build_lopen(s, O_RDONLY);
        return 0;
    case 1:
        build_io(s, TREAD, own_fid(s), 0, 4096);
        return 0;
    case 2:
        if (p9c_get32(&s->c) != PB_SMALL)
            pb_die("a small file is too short");
        build_clunk(s);
        return 0;
    default:
        s->step = 0;
        next_item(b, s);
        walk_first(b, s);
        return 1;
    }
}

static void create_first(struct pb *b, struct pb_slot *s)
{
    build_walk(s, PB_NEW, false);
}

static double create_next(struct pb *b, struct pb_slot *s)
{
    switch (s->step++) {
    case 0:
        p9c_begin(&s->c, TLCREATE);
        p9c_put32(&s->c, own_fid(s));
        put_name(&s->c, s->item);
        p9c_put32(&s->c, O_CREAT | O_EXCL | O_WRONLY);
        p9c_put32(&s->c, 0644);
        p9c_put32(&s->c, 0);
        p9c_end(&s->c);
        return 0;
    case 1:
        build_io(s, TWRITE, own_fid(s), 0, PB_SMALL);
        return 0;
    case 2: /* diod has no Tunlinkat; the fid is gone with the file */
        p9c_begin(&s->c, TREMOVE);
        p9c_put32(&s->c, own_fid(s));
        p9c_end(&s->c);
        return 0;
    default:
        s->step = 0;
        next_item(b, s);
        create_first(b, s);
        return 1;
    }
}

/* ---- a whole directory ---- */

static void readdir_first(struct pb *b, struct pb_slot *s)
{
    build_walk(s, PB_MANY, false);
}

/* Count the entries of an answer; s->off becomes the last one's. */
static unsigned count_entries(struct pb_slot *s)
{
    uint32_t left = p9c_get32(&s->c);
    unsigned n = 0;

    for (; left >= 24; n++) {
        s->c.at += 13;
        s->off = p9c_get64(&s->c);
        p9c_get8(&s->c);
        unsigned len = p9c_get16(&s->c);
        s->c.at += len;
        left -= 24 + len;
    }
    return n;
}

static double readdir_next(struct pb *b, struct pb_slot *s)
{
    unsigned n;

    switch (s->step) {
    case 0:
        s->step = 1;
        build_lopen(s, O_RDONLY | O_DIRECTORY);
        return 0;
    case 1:
        s->step = 2;
        s->off = 0;
        build_io(s, TREADDIR, own_fid(s), 0, PB_DIR_BUF);
        return 0;
    case 2:
        n = count_entries(s);
        if (n > 0) {
            build_io(s, TREADDIR, own_fid(s), s->off, PB_DIR_BUF);
        } else {
            s->step = 3;
            build_clunk(s);
        }
        return n;
    default:
        s->step = 0;
        readdir_first(b, s);
        return 0;
    }
}

/* ---- data ---- */

static uint64_t next_random(struct pb *b)
{
    b->rnd ^= b->rnd << 13;
    b->rnd ^= b->rnd >> 7;
    b->rnd ^= b->rnd << 17;
    return b->rnd;
}

/* The next piece: blocks at random places, each in as many messages as it takes. */
static void build_piece(struct pb *b, struct pb_slot *s, uint8_t type)
{
    uint32_t count = s->block - s->done < b->io ? s->block - s->done : b->io;

    if (s->done == 0)
        s->off = next_random(b) % (PB_FILE / s->block) * s->block;
    build_io(s, type, PB_FIRST_FILE + PB_FILES, s->off + s->done, count);
    s->done += count;
}

static double next_piece(struct pb *b, struct pb_slot *s, uint8_t type)
{
    uint32_t n = p9c_get32(&s->c);

    if (n == 0 || s->done < n)
        pb_die("a transfer of %u bytes", n);
    if (s->done >= s->block)
        s->done = 0;
    build_piece(b, s, type);
    return n / 1048576.0;
}

static void read_first(struct pb *b, struct pb_slot *s)
{
    build_piece(b, s, TREAD);
}

static double read_next(struct pb *b, struct pb_slot *s)
{
    return next_piece(b, s, TREAD);
}

static void write_first(struct pb *b, struct pb_slot *s)
{
    build_piece(b, s, TWRITE);
}

static double write_next(struct pb *b, struct pb_slot *s)
{
    return next_piece(b, s, TWRITE);
}

const struct pb_op pb_ops[] = {
    {"getattr", getattr_first, getattr_next, 0, "op/s"},
    {"walk+clunk", walk_first, walk_next, 0, "op/s"},
    {"read-small", walk_first, small_next, 0, "files/s"},
    {"create-remove", create_first, create_next, 0, "files/s"},
    {"readdir", readdir_first, readdir_next, 0, "entries/s"},
    {"read-4k", read_first, read_next, 4096, "MiB/s"},
    {"write-4k", write_first, write_next, 4096, "MiB/s"},
    {"read-32k", read_first, read_next, 32768, "MiB/s"},
    {"write-32k", write_first, write_next, 32768, "MiB/s"},
    {"read-128k", read_first, read_next, 128 << 10, "MiB/s"},
    {"write-128k", write_first, write_next, 128 << 10, "MiB/s"},
    {"read-512k", read_first, read_next, 512 << 10, "MiB/s"},
    {"write-512k", write_first, write_next, 512 << 10, "MiB/s"},
};
const unsigned pb_nops = sizeof(pb_ops) / sizeof(pb_ops[0]);
