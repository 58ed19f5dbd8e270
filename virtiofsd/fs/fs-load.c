/* SPDX-License-Identifier: BSD-3-Clause
 * A client's state, from records that come from outside. All of them are looked at before anything
 * is done; then the numbers are reserved, the inodes found, the files opened. */
#include <stdlib.h>

#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-move-priv.h"

#define SYSTEMS_MAX 65536u
#define TYPES       (S_IFMT >> 12)

enum stage { WAITS, BEGUN, FOUND, LOST };

/* An inode's record; what it points to is in the stream. */
struct entry {
    struct fs_move_inode i; /* begins with the id */
    uint8_t stage;
    struct fs_inode *inode; /* with a reference, until the end */
};

struct loader {
    struct fs *fs;
    GArray *systems; /* struct host's two numbers each */
    GArray *inodes;  /* struct entry, by id */
    GArray *files;   /* struct fs_move_file */
    struct tree_place p;
    struct fs_moved did;
};

struct system {
    uint64_t type, id;
};

/* ---- reading ---- */

static int read_system(struct loader *l, struct bytes *b)
{
    uint32_t n = get_u32(b);
    struct system s = {.type = get_u64(b)};

    s.id = get_u64(b);
    if (b->bad || n != l->systems->len || n >= SYSTEMS_MAX)
        return -EINVAL;
    g_array_append_val(l->systems, s);
    return 0;
}

static int read_inode(struct loader *l, struct bytes *b)
{
    struct entry e = {.i.id = get_u64(b)};
    struct fs_move_inode *i = &e.i;

    i->nlookup = get_u64(b);
    i->ino = get_u64(b);
    i->btime_ns = (int64_t)get_u64(b);
    uint16_t type = get_u16(b);
    i->flags = get_u16(b);
    i->system = get_u32(b);
    i->parent = get_u64(b);
    i->name = get_bytes(b, &i->name_len);
    i->handle_type = (int32_t)get_u32(b);
    i->handle = get_bytes(b, &i->handle_len);
    if (b->bad || (type == 0) != !!(i->flags & FS_MOVE_UNSEEN) || type > TYPES ||
        i->handle_len > TREE_HANDLE_MAX || i->name_len >= PATH_MAX ||
        memchr(i->name, '\0', i->name_len) || i->id == FS_ROOT_ID || i->nlookup > INT64_MAX)
        return -EINVAL;
    i->type = (uint8_t)type;
    g_array_append_val(l->inodes, e);
    return 0;
}

static int read_file(struct loader *l, struct bytes *b)
{
    struct fs_move_file f = {.fh = get_u64(b)};

    f.inode = get_u64(b);
    f.flags = get_u32(b);
    f.flock = get_u32(b);
    if (b->bad)
        return -EINVAL;
    g_array_append_val(l->files, f);
    return 0;
}

static int read_all(struct loader *l, struct bytes stream)
{
    struct record_view r;
    int rc = 0;

    while (rc == 0 && record_next(&stream, &r)) {
        if (r.kind == MOVE_FILE_SYSTEM)
            rc = read_system(l, &r.body);
        else if (r.kind == MOVE_INODE)
            rc = read_inode(l, &r.body);
        else if (r.kind == MOVE_FILE)
            rc = read_file(l, &r.body);
    }
    return rc;
}

/* ---- numbers ---- */

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct entry *)a)->i.id, y = ((const struct entry *)b)->i.id;
    return (x > y) - (x < y);
}

static struct entry *find(const struct loader *l, uint64_t id)
{
    const struct entry key = {.i.id = id};
    return bsearch(&key, l->inodes->data, l->inodes->len, sizeof(key), by_id);
}

/* The numbers of all elements, which they begin with. */
static uint64_t *numbers(const GArray *a, size_t size)
{
    uint64_t *n = g_new(uint64_t, a->len + 1);

    for (guint i = 0; i < a->len; i++)
        memcpy(&n[i], a->data + (size_t)i * size, sizeof(*n));
    return n;
}

/* Handles without a generation are not ours, and get others. */
static guint own_first(uint64_t *fhs, guint n)
{
    guint kept = 0;

    for (guint i = 0; i < n; i++)
        if (fhs[i] >> 32)
            fhs[kept++] = fhs[i];
    return kept;
}

static int reserve(struct loader *l)
{
    g_autofree uint64_t *ids = numbers(l->inodes, sizeof(struct entry));
    g_autofree uint64_t *fhs = numbers(l->files, sizeof(struct fs_move_file));
    int rc = fs_inodes_reserve_any(l->fs, ids, l->inodes->len);

    return rc < 0 ? rc : fs_files_reserve(l->fs, fhs, own_first(fhs, l->files->len));
}

/* ---- inodes ---- */

static void place_of(struct loader *l, const struct entry *e)
{
    const struct system none = {0};
    const struct system *s = e->i.system < l->systems->len
                                 ? &g_array_index(l->systems, struct system, e->i.system)
                                 : &none;

    l->p.fs_type = s->type;
    l->p.fs_id = s->id;
    l->p.ino = e->i.ino;
    l->p.btime_ns = e->i.btime_ns;
    l->p.type = e->i.type;
    l->p.has_path = e->i.parent != MOVE_NO_PARENT && e->i.name_len > 0;
    memcpy(l->p.path, e->i.name, e->i.name_len);
    l->p.path[e->i.name_len] = '\0';
    l->p.handle_type = e->i.handle_type;
    l->p.handle_len = e->i.handle_len;
    if (e->i.handle_len)
        memcpy(l->p.handle, e->i.handle, e->i.handle_len);
}

/* How it may be searched for. */
static unsigned how_of(const struct loader *l, const struct entry *e)
{
    unsigned how = TREE_PLACE_PATH | (e->i.flags & FS_MOVE_NO_HANDLE ? 0 : TREE_PLACE_HANDLE);

    if (l->fs->cfg.policy.move == FS_MOVE_HANDLES)
        how |= TREE_PLACE_TRUST;
    if (e->i.flags & FS_MOVE_UNSEEN)
        how |= TREE_PLACE_UNSEEN;
    return how | (e->i.flags & FS_MOVE_VERIFY ? TREE_PLACE_VERIFY : 0);
}

/* With its parent, NULL: not known, found or lost. 0, or -errno that is about us and not it. */
static int find_inode(struct loader *l, struct entry *e, struct fs_inode *dir)
{
    struct fs *fs = l->fs;
    struct tree *t = fs->shared->tree;
    struct tree_found found;
    int rc = -ESTALE;

    place_of(l, e);
    l->p.has_path &= dir != NULL;
    dir = dir ? dir : fs->root;
    if (!(e->i.flags & FS_MOVE_LOST))
        rc = t->ops->locate(t, &dir->node, how_of(l, e), &l->p, &found);
    bool nameless = rc == 0 && found.stx.stx_nlink == 0;
    if (rc == 0)
        rc = fs_inode_restore_as(fs, dir, &found, e->i.id, e->i.nlookup, &e->inode);
    if (rc == 0 && nameless) /* what can still be had of it is held, as by who had it before */
        fs_hold_nameless(fs, e->inode);
    if (rc == 0) {
        e->stage = FOUND;
        return 0;
    }
    if (rc == -EINVAL || rc == -ENFILE)
        return rc;
    e->stage = LOST;
    l->did.lost++;
    return fs_inode_restore_lost(fs, e->i.type ? e->i.type : S_IFREG >> 12, e->i.ino, e->i.id,
                                 e->i.nlookup, &e->inode);
}

/* The directory of @e, found before it. False: it must be found first, and is *next. */
static bool dir_ready(struct loader *l, const struct entry *e, struct fs_inode **dir,
                      struct entry **next)
{
    *dir = NULL;
    if (e->i.parent == FS_ROOT_ID)
        *dir = l->fs->root;
    if (e->i.parent == FS_ROOT_ID || e->i.parent == MOVE_NO_PARENT)
        return true;
    struct entry *p = find(l, e->i.parent);
    if (!p || p->stage == BEGUN || p->stage == LOST)
        return true; /* BEGUN: a directory cannot be below itself */
    if (p->stage == FOUND) {
        *dir = fs_inode_is(p->inode, S_IFDIR) ? p->inode : NULL;
        return true;
    }
    *next = p;
    return false;
}

/* @e, and what it is below of before. */
static int find_with_dirs(struct loader *l, struct entry *e, GPtrArray *stack)
{
    int rc = 0;

    g_ptr_array_add(stack, e);
    while (rc == 0 && stack->len > 0) {
        struct entry *top = stack->pdata[stack->len - 1], *next = NULL;
        struct fs_inode *dir;
        top->stage = BEGUN;
        if (dir_ready(l, top, &dir, &next)) {
            rc = find_inode(l, top, dir);
            g_ptr_array_set_size(stack, (gint)stack->len - 1);
        } else {
            g_ptr_array_add(stack, next);
        }
    }
    return rc;
}

static int find_inodes(struct loader *l)
{
    g_autoptr(GPtrArray) stack = g_ptr_array_new();
    int rc = 0;

    for (guint i = 0; rc == 0 && i < l->inodes->len; i++) {
        struct entry *e = &g_array_index(l->inodes, struct entry, i);
        if (e->stage == WAITS)
            rc = find_with_dirs(l, e, stack);
    }
    l->did.inodes = l->inodes->len;
    return rc;
}

/* ---- files ---- */

static int lost_file(struct loader *l, const struct entry *e, const struct fs_move_file *f, int why)
{
    if (l->fs->cfg.policy.move_lost == FS_LOST_ABORT) {
        g_autofree char *name = g_strndup(e->i.name, e->i.name_len);
        log_error("an open file is not found again, or cannot be opened: \"%s\": %s "
                  "(--migration-on-error=guest-error leaves it to the guest)",
                  name, errno_text(-why));
        return -ESTALE;
    }
    l->did.lost_files++;
    return fs_file_restore_lost(l->fs, e->inode, (int)f->flags, f->fh);
}

static int open_file(struct loader *l, const struct fs_move_file *f)
{
    const struct entry *e = find(l, f->inode);
    struct fs_inode *inode = e ? e->inode : f->inode == FS_ROOT_ID ? l->fs->root : NULL;

    if (!inode || (f->flags & (O_CREAT | O_EXCL | O_TRUNC)) || (f->flags & O_ACCMODE) == O_ACCMODE)
        return -EINVAL;
    int rc = e && e->stage == LOST ? -ESTALE : fs_file_restore(l->fs, inode, (int)f->flags, f->fh);
    if (rc == -EINVAL || rc == -ENFILE)
        return rc;
    l->did.files++;
    if (rc == 0)
        return 0;
    const struct entry root = {.inode = l->fs->root, .i.name = ""};
    return lost_file(l, e ? e : &root, f, rc);
}

static int open_files(struct loader *l)
{
    int rc = 0;

    for (guint i = 0; rc == 0 && i < l->files->len; i++)
        rc = open_file(l, &g_array_index(l->files, struct fs_move_file, i));
    return rc;
}

/* ---- the whole ---- */

static void let_go(struct loader *l)
{
    for (guint i = 0; i < l->inodes->len; i++) {
        struct entry *e = &g_array_index(l->inodes, struct entry, i);
        if (e->inode)
            fs_inode_put(l->fs, e->inode);
    }
    g_array_unref(l->inodes);
    g_array_unref(l->files);
    g_array_unref(l->systems);
}

static void tell_lost(const struct fs_moved *did)
{
    if (did->lost > 0 || did->lost_files > 0)
        log_warn("of %" G_GUINT64_FORMAT " files that the guest knows %" G_GUINT64_FORMAT
                 " were not found again and answer ESTALE, of %" G_GUINT64_FORMAT
                 " that it has open %" G_GUINT64_FORMAT " answer EIO",
                 did->inodes, did->lost, did->files, did->lost_files);
}

int fs_move_load(struct fs *fs, struct bytes stream, struct fs_moved *did)
{
    g_autofree struct loader *l = g_new0(struct loader, 1);

    l->fs = fs;
    l->systems = g_array_new(FALSE, FALSE, sizeof(struct system));
    l->inodes = g_array_new(FALSE, FALSE, sizeof(struct entry));
    l->files = g_array_new(FALSE, FALSE, sizeof(struct fs_move_file));
    int rc = fs->shared->tree->ops->locate ? read_all(l, stream) : -EOPNOTSUPP;
    if (rc == 0) {
        g_array_sort(l->inodes, by_id);
        rc = reserve(l);
    }
    if (rc == 0)
        rc = find_inodes(l);
    if (rc == 0)
        rc = open_files(l);
    let_go(l);
    if (rc == 0)
        tell_lost(&l->did);
    *did = l->did;
    return rc;
}
