/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: sequences of FUSE requests against the real server and the real core, on a tree in a
 * private, otherwise read-only mount namespace.
 *
 * Input: records of {u8 opcode, u8 flags, u8 node, u8 handle, u8 out, u8 len, bytes[len]}. Node and
 * handle pick among those the server gave out, so that sequences stay alive; flags choose what is
 * made wrong about the framing. A first record with an opcode from CONFIG on picks the server. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/core.h"
#include "tests/fuzz/fuse-tree.h"
#include "tests/fuzz/fuse-window.h"
#include "tests/fuzz/records.h"
#include "tests/fuzz/target.h"
#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs-xattrmap.h"
#include "virtiofsd/fuse/fuse-priv.h"

enum {
    LIVE = 16,
    OUT_SIZE = 8192,
    BODY_MAX = 1024,
    RECORD = 6,
    MAX_RECORDS = 64,
    MORE = 40,
    CONFIG = 0xc0,  /* a first byte from here on chooses a setup, and with */
    PROFILE = 0x08, /* this bit a server with a profile, */
    FOREIGN = 0x10, /* this one a guest that is not Linux, */
    DAX = 0x20,     /* this one the server with a window */
};

/* What is made wrong about a request. */
enum {
    RAW = 1 << 0,       /* the body is the payload: nothing is completed */
    FORGED = 1 << 1,    /* ids and sizes in the body are the payload's */
    ANY_NODE = 1 << 2,  /* the header's node id is no live one */
    USER = 1 << 3,      /* an ordinary user asks */
    EXT = 1 << 4,       /* the end of the payload is extensions */
    BAD_LEN = 1 << 5,   /* the header's length is wrong */
    SMALL_OUT = 1 << 6, /* little room for the answer */
    SPLIT = 1 << 7,     /* segments meet elsewhere */
};

struct record {
    uint8_t op, flags, node, handle, out, len;
    const uint8_t *payload;
};

/* The servers under test: as by default, and others that differ from it in as much as possible. */
static const struct setup {
    struct host_policy host;
    struct fs_config fs;
    struct fuse_srv_config srv;
    const char *xattrmap, *uids, *gids; /* NULL: none */
    unsigned more;                      /* files in the share */
    bool window;                        /* of which the front-end refuses a part */
} setups[] = {
    {{HOST_HANDLES_PREFER},
     {.cache = FS_CACHE_AUTO, .xattr = true, .max_fds = 256},
     {.readdirplus = true, .posix_acl = FUSE_ASK_AUTO, .negative_timeout = 1}},
    {{HOST_HANDLES_NEVER, .allow_direct_io = true, .preserve_noatime = true},
     {.cache = FS_CACHE_ALWAYS, .xattr = true, .max_fds = 16, .max_inodes = 12},
     {.readdirplus = true, .writeback = true}},
    {{HOST_HANDLES_PREFER},
     {.cache = FS_CACHE_NEVER, .readonly = true, .max_fds = 64},
     {.allow_mmap = true}},
    {{HOST_HANDLES_PREFER},
     {.cache = FS_CACHE_METADATA, .xattr = true, .max_fds = 48},
     {.readdirplus = true, .posix_acl = FUSE_ASK_AUTO},
     ":prefix:all:trusted.:user.virtiofs.::unsupported:all:user.no.:::bad:server::user.b.:"
     ":ok:all:::",
     "map:1000:5000:10",
     "squash-guest:0:7:2000",
     MORE},
    {{HOST_HANDLES_PREFER},
     {.cache = FS_CACHE_AUTO, .xattr = true, .max_fds = 64},
     {.readdirplus = true, .profile = FUSE_PROFILE_ROOTFS, .negative_timeout = 1}},
    {{HOST_HANDLES_NEVER},
     {.cache = FS_CACHE_ALWAYS, .readonly = true, .max_fds = 48},
     {.readdirplus = true, .profile = FUSE_PROFILE_ROOTFS},
     .more = MORE},
    {{HOST_HANDLES_PREFER},
     {.cache = FS_CACHE_AUTO, .xattr = true, .max_fds = 256},
     {.readdirplus = true, .writeback = true},
     .window = true},
};
#define WITH_WINDOW  (G_N_ELEMENTS(setups) - 1)
#define WITH_PROFILE (WITH_WINDOW - 2) /* and the next */

static struct server {
    char share[64];
    unsigned more;
    struct fs *fs;
    struct fuse_srv *srv;
} servers[G_N_ELEMENTS(setups)];
static struct server *server;

/* What the server gave out in this run. */
static uint64_t nodes[LIVE], handles[LIVE];
static unsigned n_nodes, n_handles;
static bool dirty; /* the tree may have changed */
static size_t completed;
static unsigned completions;

static void on_complete(struct chain *c, size_t len)
{
    if (len > c->out_len)
        abort();
    completed = len;
    __atomic_add_fetch(&completions, 1, __ATOMIC_SEQ_CST);
}

static void on_flush(struct chain *c)
{
}

static const struct chain_ops ops = {on_complete, on_flush};

static struct fs_idmap *ids_of(const char *rule)
{
    if (!rule)
        return NULL;
    struct fs_idmap *map = fs_idmap_new();
    if (!fs_idmap_add(map, rule, NULL))
        abort();
    return map;
}

static bool make_server(struct server *s, const struct setup *setup)
{
    GError *err = NULL;
    struct fs_config fc = setup->fs;
    struct fuse_srv_config sc = setup->srv;
    sc.name = "share";

    s->more = setup->more;
    if (mkdir(s->share, 0755) != 0)
        return false;
    fuse_tree_reset(s->share, s->more);
    fc.announce_submounts = true;
    fc.max_lock_waiters = 4;
    fc.max_lock_ranges = 1000;
    fc.xattrmap = setup->xattrmap ? fs_xattrmap_parse(setup->xattrmap, &err) : NULL;
    fc.uids = ids_of(setup->uids);
    fc.gids = ids_of(setup->gids);
    if (err)
        g_error("%s", err->message);
    fc.tree = fuzz_tree(s->share, &setup->host, &err);
    s->fs = fc.tree ? fs_new(&fc, &err) : NULL;
    if (!s->fs) {
        fprintf(stderr, "%s\n", err->message);
        return false;
    }
    sc.fs = s->fs;
    sc.sink_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    sc.timeout = 1;
    if (setup->window) {
        sc.window = fuse_window_new();
        sc.dax = (struct fuse_dax_config){
            .policy = FUSE_DAX_AUTO, .min_size = 1, .exclude = g_ptr_array_new()};
        g_ptr_array_add(sc.dax.exclude, (char *)(uintptr_t) "c");
    }
    sc.posix_lock = sc.flock = sc.killpriv_v2 = true;
    sc.posix_acl = sc.security_label = FUSE_ASK_AUTO;
    s->srv = fuse_srv_new(&sc);
    return true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char dir[32];

    fuzz_jail(dir, sizeof(dir));
    for (unsigned i = 0; i < G_N_ELEMENTS(setups); i++) {
        snprintf(servers[i].share, sizeof(servers[i].share), "%s/%u", dir, i);
        if (!make_server(&servers[i], &setups[i]))
            exit(77);
    }
    return 0;
}

/* ---- answers ---- */

#define OP(o) (UINT64_C(1) << (o))
#define GIVES_ENTRY                                                                         \
    (OP(FUSE_LOOKUP) | OP(FUSE_MKDIR) | OP(FUSE_MKNOD) | OP(FUSE_SYMLINK) | OP(FUSE_LINK) | \
     OP(FUSE_CREATE) | OP(FUSE_TMPFILE))
#define GIVES_HANDLE (OP(FUSE_OPEN) | OP(FUSE_OPENDIR) | OP(FUSE_CREATE) | OP(FUSE_TMPFILE))
#define CHANGES_TREE                                                                           \
    ((GIVES_ENTRY & ~OP(FUSE_LOOKUP)) | OP(FUSE_SETATTR) | OP(FUSE_UNLINK) | OP(FUSE_RMDIR) |  \
     OP(FUSE_RENAME) | OP(FUSE_RENAME2) | OP(FUSE_OPEN) | OP(FUSE_WRITE) | OP(FUSE_SETXATTR) | \
     OP(FUSE_REMOVEXATTR) | OP(FUSE_FALLOCATE) | OP(FUSE_COPY_FILE_RANGE) |                    \
     OP(FUSE_COPY_FILE_RANGE_64))

static void learn_node(uint64_t id)
{
    if (id)
        nodes[n_nodes++ % LIVE] = id;
}

/* Entries follow each other, padded to 8 bytes, and nothing else does. */
static void learn_dir(const uint8_t *p, size_t len, bool plus)
{
    struct fuse_entry_out entry;
    struct fuse_dirent d;

    while (len > 0) {
        if (plus) {
            if (len < sizeof(entry))
                abort();
            memcpy(&entry, p, sizeof(entry));
            learn_node(entry.nodeid);
            p += sizeof(entry);
            len -= sizeof(entry);
        }
        if (len < FUSE_NAME_OFFSET)
            abort();
        memcpy(&d, p, FUSE_NAME_OFFSET);
        size_t step = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + d.namelen);
        if (d.namelen == 0 || d.namelen > NAME_MAX || step > len ||
            memchr(p + FUSE_NAME_OFFSET, 0, d.namelen) ||
            memchr(p + FUSE_NAME_OFFSET, '/', d.namelen))
            abort();
        p += step;
        len -= step;
    }
}

/* Check an answer's header; note ids and handles, so that later records can name them. */
static void learn(const struct fuse_in_header *in, const uint8_t *out, size_t len)
{
    struct fuse_out_header oh;
    struct fuse_open_out open_out;
    uint64_t op = in->opcode < FUSE_WIRE_OPS ? OP(in->opcode) : 0, id;

    memcpy(&oh, out, sizeof(oh));
    if (oh.len != len || oh.unique != in->unique || oh.error > 0 || oh.error <= -4096 ||
        (oh.error && len != sizeof(oh)))
        abort();
    bool refused =
        oh.error == -EINVAL || oh.error == -ENOENT || oh.error == -EBADF || oh.error == -ENOSYS;
    dirty |= (op & CHANGES_TREE) && !refused;
    if (oh.error)
        return;
    out += sizeof(oh);
    len -= sizeof(oh);
    if (op & GIVES_ENTRY) {
        if (len < sizeof(struct fuse_entry_out))
            abort();
        memcpy(&id, out, sizeof(id));
        learn_node(id);
        out += sizeof(struct fuse_entry_out);
        len -= sizeof(struct fuse_entry_out);
    }
    if (op & GIVES_HANDLE) {
        if (len != sizeof(open_out))
            abort();
        memcpy(&open_out, out, sizeof(open_out));
        handles[n_handles++ % LIVE] = open_out.fh;
    }
    if (op & (OP(FUSE_READDIR) | OP(FUSE_READDIRPLUS)))
        learn_dir(out, len, in->opcode == FUSE_READDIRPLUS);
}

/* ---- requests ---- */

/* Send one request from and to memory of exactly its size, so that ASan sees any step outside. */
static void send_request(const struct fuse_in_header *in, const uint8_t *body, size_t body_len,
                         size_t out_len, unsigned split)
{
    size_t len = sizeof(*in) + body_len;
    uint8_t *msg = malloc(len), *out = malloc(out_len ? out_len : 1);
    if (!msg || !out)
        abort();
    memcpy(msg, in, sizeof(*in));
    if (body_len)
        memcpy(msg + sizeof(*in), body, body_len);
    size_t cut = len > 1 ? split % len : 0;
    struct iovec iin[2] = {{msg, cut}, {msg + cut, len - cut}};
    struct iovec iout[2] = {{out, out_len / 3}, {out + out_len / 3, out_len - out_len / 3}};
    struct chain c = {
        .ops = &ops,
        .in = iin,
        .out = iout,
        .in_cnt = 2,
        .out_cnt = 2,
        .in_len = len,
        .out_len = out_len,
        .queue = 1,
    };
    const struct fuse_op *row = in->opcode < FUSE_WIRE_OPS ? &fuse_ops[in->opcode] : NULL;
    bool answers = out_len >= sizeof(struct fuse_out_header) &&
                   !(row && row->name && (row->flags & FUSE_OP_NOREPLY));
    unsigned before = __atomic_load_n(&completions, __ATOMIC_SEQ_CST);

    completed = 0;
    fuse_srv_handle(server->srv, &c);
    if (__atomic_load_n(&completions, __ATOMIC_SEQ_CST) == before)
        fs_waits_cancel(server->fs); /* a lock that waits: its end must answer */
    if (__atomic_load_n(&completions, __ATOMIC_SEQ_CST) != before + 1)
        abort(); /* exactly one answer */
    if (answers ? completed < sizeof(struct fuse_out_header) : completed != 0)
        abort();
    if (answers)
        learn(in, out, completed);
    free(msg);
    free(out);
}

static void send_init(bool foreign)
{
    struct fuse_in_header in = {.opcode = FUSE_INIT, .unique = 1};
    struct fuse_init_in init = {
        .major = FUSE_KERNEL_VERSION, .minor = 38, .flags = 0xffffffffu, .flags2 = 0xffffffffu};

    if (foreign) {
        init.minor = 31;
        init.flags = FUSE_DO_READDIRPLUS | FUSE_MAX_PAGES;
        init.flags2 = 0;
    }

    in.len = sizeof(in) + sizeof(init);
    send_request(&in, (const uint8_t *)&init, sizeof(init), 4096, 40);
}

static uint64_t live_node(unsigned i)
{
    return nodes[i % MIN(n_nodes, LIVE)];
}

static uint64_t live_handle(unsigned i)
{
    return n_handles ? handles[i % MIN(n_handles, LIVE)] : 0;
}

/* Make a number one of whole pages, below @most of them. */
static void place_pages(uint8_t *at, unsigned most)
{
    uint64_t v;
    memcpy(&v, at, sizeof(v));
    v = v % most * FUSE_WINDOW_PAGE;
    memcpy(at, &v, sizeof(v));
}

/* Put live ids where the operation's arguments have them. The record's handle byte picks two. */
static void place_ids(const struct record *r, uint8_t *body)
{
    uint64_t low = live_handle(r->handle & 15), high = live_handle(r->handle >> 4);
    uint64_t node = live_node(r->handle & 15);

    switch (r->op) {
    case FUSE_COPY_FILE_RANGE:
    case FUSE_COPY_FILE_RANGE_64:
        node = live_node(r->handle >> 4);
        memcpy(body + offsetof(struct fuse_copy_file_range_in, nodeid_out), &node, sizeof(node));
        memcpy(body + offsetof(struct fuse_copy_file_range_in, fh_out), &high, sizeof(high));
        G_GNUC_FALLTHROUGH;
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
    case FUSE_FLUSH:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_LSEEK:
    case FUSE_FALLOCATE:
    case FUSE_GETLK:
    case FUSE_SETLK:
    case FUSE_SETLKW:
        memcpy(body, &low, sizeof(low));
        break;
    case FUSE_SETUPMAPPING:
        memcpy(body, &low, sizeof(low));
        place_pages(body + offsetof(struct fuse_setupmapping_in, foffset), 3);
        place_pages(body + offsetof(struct fuse_setupmapping_in, len), FUSE_WINDOW_PAGES);
        place_pages(body + offsetof(struct fuse_setupmapping_in, moffset), FUSE_WINDOW_PAGES);
        break;
    case FUSE_REMOVEMAPPING:
        place_pages(body + sizeof(struct fuse_removemapping_in), FUSE_WINDOW_PAGES);
        place_pages(body + sizeof(struct fuse_removemapping_in) + sizeof(uint64_t), 8);
        break;
    case FUSE_GETATTR:
    case FUSE_SETATTR:
    case FUSE_STATX:
        memcpy(body + 8, &low, sizeof(low));
        break;
    case FUSE_RENAME:
    case FUSE_RENAME2:
    case FUSE_LINK:
        memcpy(body, &node, sizeof(node));
        break;
    case FUSE_BATCH_FORGET:
        memcpy(body + sizeof(struct fuse_batch_forget_in), &node, sizeof(node));
        break;
    }
}

/* Complete a body of @len bytes: fixed part, end of the last string, lengths of data. Returns the
 * length it has then. */
static size_t complete(const struct record *r, const struct fuse_op *row, uint8_t *body, size_t len)
{
    bool forged = r->flags & FORGED;
    len = MAX(len, (size_t)row->fixed + row->strings);
    if (row->strings && body[len - 1] != 0)
        len++;
    if (!forged)
        place_ids(r, body);
    if (r->op == FUSE_WRITE && !forged) {
        uint32_t n = (uint32_t)(len - row->fixed);
        memcpy(body + offsetof(struct fuse_write_in, size), &n, sizeof(n));
    }
    if (r->op == FUSE_SETXATTR && !forged) {
        size_t name = sizeof(struct fuse_setxattr_in);
        len = MAX(len, name + 1);
        const uint8_t *end = memchr(body + name, 0, len - name);
        uint32_t n = end ? (uint32_t)(body + len - end - 1) : 0;
        len += !end;
        memcpy(body, &n, sizeof(n));
    }
    return len;
}

static void send_record(const struct record *r, uint64_t unique)
{
    uint8_t body[BODY_MAX] = {0};
    const struct fuse_op *row =
        r->op < FUSE_WIRE_OPS && fuse_ops[r->op].name ? &fuse_ops[r->op] : NULL;
    size_t ext = r->flags & EXT ? r->handle % 16 * 8u : 0;
    size_t tail = MIN(ext, r->len), len = r->len - tail;

    if (len)
        memcpy(body, r->payload, len);
    if (row && !(r->flags & RAW))
        len = complete(r, row, body, len);
    if (tail)
        memcpy(body + len, r->payload + r->len - tail, tail);
    len += r->flags & RAW ? tail : ext;
    struct fuse_in_header in = {
        .len = (uint32_t)(sizeof(in) + len),
        .opcode = r->op,
        .unique = unique,
        .nodeid = r->flags & ANY_NODE ? r->node : live_node(r->node),
        .uid = r->flags & USER ? 1000 : 0,
        .gid = r->flags & USER ? 1000 : 0,
        .total_extlen = (uint16_t)(ext / 8),
    };
    if (r->flags & BAD_LEN)
        in.len += r->node;
    send_request(&in, body, len, r->flags & SMALL_OUT ? r->out : OUT_SIZE,
                 r->flags & SPLIT ? r->out : sizeof(in));
}

/* ---- runs ---- */

static int lowest_free_fd(void)
{
    int fd = dup(STDERR_FILENO);
    if (fd < 0)
        abort();
    close(fd);
    return fd;
}

static bool next_record(const uint8_t **data, size_t *size, struct record *r)
{
    if (*size < RECORD)
        return false;
    const uint8_t *p = *data;
    *size -= RECORD;
    size_t len = MIN(p[5], *size);
    *r = (struct record){p[0], p[1], p[2], p[3], p[4], (uint8_t)len, p + RECORD};
    *data += RECORD + len;
    *size -= len;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = lowest_free_fd();
    struct record r;

    n_nodes = n_handles = 0;
    memset(nodes, 0, sizeof(nodes));
    memset(handles, 0, sizeof(handles));
    nodes[n_nodes++] = FS_ROOT_ID;
    server = &servers[0];
    if (size && data[0] >= CONFIG)
        server = &servers[data[0] & DAX       ? WITH_WINDOW
                          : data[0] & PROFILE ? WITH_PROFILE + data[0] % 2
                                              : data[0] % WITH_PROFILE];
    fuse_window_begin();
    send_init(size && data[0] >= CONFIG && (data[0] & FOREIGN));
    for (unsigned i = 0; i < MAX_RECORDS && next_record(&data, &size, &r); i++)
        send_record(&r, i + 2);
    fuse_srv_reset(server->srv);
    if (lowest_free_fd() != fd)
        abort(); /* a descriptor is left over */
    if (dirty)
        fuse_tree_reset(server->share, server->more);
    dirty = false;
    return 0;
}

/* ---- mutation ---- */

static const struct records_shape *shape(void)
{
    static uint8_t kinds[FUSE_WIRE_OPS + 5];
    static struct records_shape s = {.header = RECORD, .kinds = kinds};

    if (s.n_kinds > 0)
        return &s;
    kinds[s.n_kinds++] = CONFIG + 1;
    kinds[s.n_kinds++] = CONFIG + FOREIGN;
    kinds[s.n_kinds++] = CONFIG + DAX;
    kinds[s.n_kinds++] = CONFIG + PROFILE;
    kinds[s.n_kinds++] = CONFIG + PROFILE + 1;
    for (uint8_t op = 0; op < FUSE_WIRE_OPS; op++) {
        if (fuse_ops[op].name)
            kinds[s.n_kinds++] = op;
    }
    return &s;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    return records_mutate(shape(), data, size, max, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
                                 uint8_t *out, size_t max, unsigned seed)
{
    return records_cross(shape(), a, a_size, b, b_size, out, max, seed);
}
