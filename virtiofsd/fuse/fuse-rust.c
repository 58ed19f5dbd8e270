/* SPDX-License-Identifier: BSD-3-Clause
 * Facts on the format: docs/migration.md. Numbers are of variable length, seven bits a byte, the
 * low ones first; signed ones count 0, -1, 1, -2...; lists, strings and maps begin with their
 * count. */
#include "virtiofsd/fuse/fuse-rust.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/fuse/fuse-priv.h"

/* The guest's minor is not told: an older one than those that FLUSH can be spared. */
#define MINOR   35u
#define ID_MAX  (UINT64_C(1) << 26)
#define ROOT_ID 1u

/* Granted to every guest that asks, which Linux does. */
#define ALWAYS                                                                                    \
    (FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA |            \
     FUSE_ASYNC_DIO | FUSE_HAS_IOCTL_DIR | FUSE_ATOMIC_O_TRUNC | FUSE_MAX_PAGES | FUSE_INIT_EXT | \
     FUSE_ALLOW_IDMAP)

enum location { AT_ROOT, AT_PATH, AT_NOWHERE, AT_FULL_PATH, AT_HANDLE };

struct handle {
    bool is;
    uint64_t mount;
    int32_t type;
    const uint8_t *bytes;
    uint64_t len;
};

struct rust_inode {
    uint64_t id, refs, parent, children;
    enum location at;
    const uint8_t *name;
    uint64_t name_len;
    struct handle handle;
};

struct parser {
    struct bytes b;
    uint64_t version;
    GArray *inodes; /* struct rust_inode */
    GArray *files;  /* struct fs_move_file */
    bool writeback, submounts, acl, groups;
    uint64_t root_mount; /* that handles of the root's file system name; 0: unknown */
};

/* ---- small things ---- */

static uint8_t get_u8(struct bytes *b)
{
    if (b->bad || b->at == b->end) {
        b->bad = true;
        return 0;
    }
    return *b->at++;
}

static uint64_t get_number(struct bytes *b)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t c = get_u8(b);
        if (shift == 63 && c > 1)
            break;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80))
            return v;
    }
    b->bad = true;
    return 0;
}

static int32_t get_signed(struct bytes *b)
{
    uint64_t v = get_number(b);

    if (v > UINT32_MAX)
        b->bad = true;
    return (int32_t)((uint32_t)(v >> 1) ^ (uint32_t) - (int32_t)(v & 1));
}

static bool get_bool(struct bytes *b)
{
    uint8_t c = get_u8(b);

    if (c > 1)
        b->bad = true;
    return c == 1;
}

static const uint8_t *get_text(struct bytes *b, uint64_t *len)
{
    const uint8_t *p = b->at;

    *len = get_number(b);
    p = b->at;
    if (b->bad || (uint64_t)(b->end - b->at) < *len) {
        b->bad = true;
        *len = 0;
        return p;
    }
    b->at += *len;
    return p;
}

static struct handle get_handle(struct bytes *b)
{
    struct handle h = {.is = true, .mount = get_number(b)};

    h.type = get_signed(b);
    h.bytes = get_text(b, &h.len);
    return h;
}

/* ---- the state ---- */

static void parse_inode(struct parser *p)
{
    struct bytes *b = &p->b;
    struct rust_inode i = {.id = get_number(b)};

    i.refs = get_number(b);
    uint64_t at = get_number(b);
    i.at = at > AT_HANDLE ? AT_HANDLE + 1 : (enum location)at;
    if (i.at == AT_PATH)
        i.parent = get_number(b);
    if (i.at == AT_PATH || i.at == AT_FULL_PATH)
        i.name = get_text(b, &i.name_len);
    if (i.at == AT_HANDLE)
        i.handle = get_handle(b);
    else if (i.at > AT_HANDLE)
        b->bad = true;
    if (get_bool(b)) {
        struct handle also = get_handle(b);
        if (!i.handle.is)
            i.handle = also;
    }
    if (!b->bad)
        g_array_append_val(p->inodes, i);
}

static void parse_file(struct parser *p)
{
    struct bytes *b = &p->b;
    struct fs_move_file f = {.fh = get_number(b)};

    f.inode = get_number(b);
    if (get_number(b) != 0) /* how it came about: by open */
        b->bad = true;
    f.flags = (uint32_t)get_signed(b) & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC);
    if (!b->bad)
        g_array_append_val(p->files, f);
}

static void parse_mounts(struct parser *p)
{
    uint64_t len;

    for (uint64_t n = get_number(&p->b); n > 0 && !p->b.bad; n--) {
        uint64_t id = get_number(&p->b);
        const uint8_t *path = get_text(&p->b, &len);
        if (len == 1 && *path == '.')
            p->root_mount = id;
    }
}

static int parse(struct parser *p)
{
    p->version = get_number(&p->b);
    if (p->b.bad)
        return -EPROTO;
    if (p->version > 1)
        return -EOPNOTSUPP;
    for (uint64_t n = get_number(&p->b); n > 0 && !p->b.bad; n--)
        parse_inode(p);
    get_number(&p->b); /* the next ids are ours to give */
    for (uint64_t n = get_number(&p->b); n > 0 && !p->b.bad; n--)
        parse_file(p);
    get_number(&p->b);
    p->writeback = get_bool(&p->b);
    p->submounts = get_bool(&p->b);
    p->acl = get_bool(&p->b);
    p->groups = get_bool(&p->b);
    if (p->version == 1)
        parse_mounts(p);
    return p->b.bad || p->b.at != p->b.end ? -EPROTO : 0;
}

/* ---- as ours ---- */

/* Each child counts as a reference of its parent. */
static void count_children(struct parser *p)
{
    g_autoptr(GHashTable) by_id = g_hash_table_new(g_int64_hash, g_int64_equal);

    for (guint i = 0; i < p->inodes->len; i++) {
        struct rust_inode *r = &g_array_index(p->inodes, struct rust_inode, i);
        g_hash_table_insert(by_id, &r->id, r);
    }
    for (guint i = 0; i < p->inodes->len; i++) {
        const struct rust_inode *r = &g_array_index(p->inodes, struct rust_inode, i);
        struct rust_inode *parent =
            r->at == AT_PATH ? g_hash_table_lookup(by_id, &r->parent) : NULL;
        if (parent)
            parent->children++;
    }
}

static int put_inode(const struct parser *p, const struct rust_inode *r, GByteArray *out)
{
    struct fs_move_inode i = {
        .id = r->id,
        .nlookup = r->refs > r->children ? r->refs - r->children : 0,
        .flags = FS_MOVE_UNSEEN | (r->at == AT_NOWHERE ? FS_MOVE_LOST : 0),
        .parent = r->at == AT_FULL_PATH ? ROOT_ID : r->parent,
        .name = r->name ? r->name : (const uint8_t *)"",
        .handle = "",
    };
    uint64_t len = r->name_len;

    if (r->id >= ID_MAX)
        return -EOPNOTSUPP;
    if (r->at == AT_FULL_PATH) {
        while (len > 0 && *(const char *)i.name == '/') {
            i.name = (const char *)i.name + 1;
            len--;
        }
    }
    if (len > UINT16_MAX || r->handle.len > UINT16_MAX)
        return -EPROTO;
    i.name_len = (uint16_t)len;
    if (r->at == AT_HANDLE && p->root_mount != r->handle.mount)
        i.flags |= FS_MOVE_LOST; /* of a mount in the share: not found by us */
    if (r->handle.is) {
        i.handle = r->handle.bytes;
        i.handle_len = (uint16_t)r->handle.len;
        i.handle_type = r->handle.type;
        i.flags |= r->at == AT_HANDLE ? 0 : FS_MOVE_VERIFY | FS_MOVE_NO_HANDLE;
    }
    fs_move_put_inode(out, &i);
    return 0;
}

static uint64_t flags_of(const struct parser *p, const struct fuse_policy *policy)
{
    return ALWAYS | (p->writeback ? FUSE_WRITEBACK_CACHE : 0) |
           (p->submounts ? FUSE_SUBMOUNTS : 0) |
           (p->acl ? FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT : 0) |
           (p->groups ? FUSE_CREATE_SUPP_GROUP : 0) |
           (policy->readdirplus ? FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO : 0) |
           (policy->killpriv_v2 ? FUSE_HANDLE_KILLPRIV_V2 : 0) |
           (policy->allow_mmap ? FUSE_DIRECT_IO_ALLOW_MMAP : 0) |
           (policy->security_label == FUSE_ASK_ALWAYS ? FUSE_SECURITY_CTX : 0);
}

static int put_all(struct parser *p, const struct fuse_policy *policy, GByteArray *out)
{
    int rc = 0;

    record_begin(out);
    count_children(p);
    for (guint i = 0; rc == 0 && i < p->inodes->len; i++) {
        const struct rust_inode *r = &g_array_index(p->inodes, struct rust_inode, i);
        if (r->id != ROOT_ID)
            rc = put_inode(p, r, out);
    }
    for (guint i = 0; rc == 0 && i < p->files->len; i++)
        fs_move_put_file(out, &g_array_index(p->files, struct fs_move_file, i));
    fuse_move_put(out, MINOR, true, flags_of(p, policy));
    record_end(out);
    return rc;
}

int fuse_rust_translate(const uint8_t *bytes, size_t len, const struct fuse_policy *policy,
                        GByteArray *out)
{
    struct parser p = {.b = {bytes, bytes + len, false}};

    p.inodes = g_array_new(FALSE, FALSE, sizeof(struct rust_inode));
    p.files = g_array_new(FALSE, FALSE, sizeof(struct fs_move_file));
    int rc = parse(&p);
    if (rc == 0)
        rc = put_all(&p, policy, out);
    if (rc == 0)
        log_info("the guest comes from the Rust daemon (its state's version is %u)",
                 (unsigned)p.version + 1);
    g_array_unref(p.inodes);
    g_array_unref(p.files);
    return rc;
}

int fuse_srv_translate(struct fuse_srv *srv, const uint8_t *bytes, size_t len, GByteArray *out)
{
    return fuse_rust_translate(bytes, len, &srv->cfg.policy, out);
}
