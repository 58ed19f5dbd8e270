/* SPDX-License-Identifier: BSD-3-Clause
 * A client's state, written down. */
#include <sys/file.h>

#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-move-priv.h"

struct saver {
    struct fs *fs;
    GByteArray *out;
    GHashTable *dirs;    /* path -> id, of directories that come before what is in them */
    GArray *systems;     /* struct system */
    struct tree_place p; /* of the inode at hand */
    unsigned want;       /* TREE_PLACE_* */
};

struct system {
    uint64_t type, id;
};

/* The number of the file system, told the first time. */
static uint32_t system_of(struct saver *s)
{
    const struct system this = {s->p.fs_type, s->p.fs_id};
    unsigned n = s->systems->len;

    for (unsigned i = n; i-- > 0;) {
        const struct system *other = &g_array_index(s->systems, struct system, i);
        if (other->type == this.type && other->id == this.id)
            return i;
    }
    size_t r = record_open(s->out, MOVE_FILE_SYSTEM);
    put_u32(s->out, n);
    put_u64(s->out, this.type);
    put_u64(s->out, this.id);
    record_close(s->out, r);
    g_array_append_val(s->systems, this);
    return n;
}

/* Split the path at a directory that was told; else it is from the root on. */
static uint64_t split(struct saver *s, const char **name)
{
    char *slash = strrchr(s->p.path, '/');
    const uint64_t *id;

    *name = s->p.path;
    if (!slash)
        return FS_ROOT_ID;
    *slash = '\0';
    id = g_hash_table_lookup(s->dirs, s->p.path);
    *slash = '/';
    if (!id)
        return FS_ROOT_ID;
    *name = slash + 1;
    return *id;
}

void fs_move_put_inode(GByteArray *out, const struct fs_move_inode *i)
{
    size_t r = record_open(out, MOVE_INODE);

    put_u64(out, i->id);
    put_u64(out, i->nlookup);
    put_u64(out, i->ino);
    put_u64(out, (uint64_t)i->btime_ns);
    put_u16(out, i->type);
    put_u16(out, (uint16_t)i->flags);
    put_u32(out, i->system);
    put_u64(out, i->parent);
    put_bytes(out, i->name, i->name_len);
    put_u32(out, (uint32_t)i->handle_type);
    put_bytes(out, i->handle, i->handle_len);
    record_close(out, r);
}

static void put_inode(struct saver *s, const struct fs_inode_state *st, unsigned flags)
{
    const struct tree_place *p = &s->p;
    const char *name = "";
    struct fs_move_inode i = {
        .id = st->id,
        .nlookup = st->nlookup,
        .ino = p->ino,
        .btime_ns = p->btime_ns,
        .type = p->type,
        .flags = flags,
        .system = flags & FS_MOVE_LOST ? 0 : system_of(s),
        .parent = p->has_path ? split(s, &name) : MOVE_NO_PARENT,
        .handle = p->handle,
        .handle_len = (uint16_t)p->handle_len,
        .handle_type = p->handle_type,
    };

    i.name = name;
    i.name_len = (uint16_t)strlen(name);
    fs_move_put_inode(s->out, &i);
}

/* Whether the path that was found leads there now. */
static void confirm(struct saver *s)
{
    struct tree *t = s->fs->shared->tree;
    struct tree_found found;
    int rc = t->ops->locate(t, &s->fs->root->node, TREE_PLACE_PATH, &s->p, &found);

    if (rc == 0)
        t->ops->drop(t, found.fd, found.own);
    else
        s->p.has_path = false;
}

static void save_inode(struct saver *s, const struct fs_inode_state *st)
{
    const struct fs_policy *policy = &s->fs->cfg.policy;
    struct fs_inode *inode = fs_inode_get(s->fs, st->id);
    unsigned flags = 0;

    if (!inode)
        return;
    struct tree *t = fs_tree(inode);
    if (!t->ops->where || t->ops->where(t, &inode->node, s->want, &s->p) < 0) {
        s->p.has_path = false;
        s->p.handle_len = 0;
        s->p.type = inode->node.type;
        s->p.ino = inode->node.ino;
        s->p.btime_ns = inode->node.btime_ns;
        flags = FS_MOVE_LOST;
    }
    if (s->p.has_path && policy->move_confirm)
        confirm(s);
    if (policy->move == FS_MOVE_PATHS)
        flags |= FS_MOVE_NO_HANDLE;
    if (policy->move_verify)
        flags |= FS_MOVE_VERIFY;
    put_inode(s, st, flags);
    if (s->p.has_path && fs_inode_is(inode, S_IFDIR))
        g_hash_table_insert(s->dirs, g_strdup(s->p.path), g_memdup2(&st->id, sizeof(st->id)));
    fs_inode_put(s->fs, inode);
}

static bool is_dir(struct fs *fs, uint64_t id)
{
    struct fs_inode *inode = fs_inode_get(fs, id);
    bool dir = inode && fs_inode_is(inode, S_IFDIR);

    if (inode)
        fs_inode_put_later(fs, inode, NULL);
    return dir;
}

/* Directories first, in the order in which the guest found them: as a rule after those that they
 * are in. */
static void save_inodes(struct saver *s, const GArray *list)
{
    for (int files = 0; files < 2; files++) {
        for (guint i = 0; i < list->len; i++) {
            const struct fs_inode_state *st = &g_array_index(list, struct fs_inode_state, i);
            if (is_dir(s->fs, st->id) != files)
                save_inode(s, st);
        }
    }
}

void fs_move_put_file(GByteArray *out, const struct fs_move_file *f)
{
    size_t r = record_open(out, MOVE_FILE);

    put_u64(out, f->fh);
    put_u64(out, f->inode);
    put_u32(out, f->flags);
    put_u32(out, f->flock);
    record_close(out, r);
}

static void save_files(GByteArray *out, const GArray *list)
{
    for (guint i = 0; i < list->len; i++) {
        const struct fs_file_state *f = &g_array_index(list, struct fs_file_state, i);
        const struct fs_move_file file = {f->fh, f->inode, (uint32_t)f->flags, (uint32_t)f->flock};
        fs_move_put_file(out, &file);
    }
}

static void save_locks(GByteArray *out, const GArray *list)
{
    for (guint i = 0; i < list->len; i++) {
        const struct fs_lock_state *l = &g_array_index(list, struct fs_lock_state, i);
        size_t r = record_open(out, MOVE_LOCK);
        put_u64(out, l->inode);
        put_u64(out, l->owner);
        put_u64(out, l->fh);
        put_u64(out, (uint64_t)l->lk.start);
        put_u64(out, (uint64_t)l->lk.end);
        put_u32(out, (uint32_t)l->lk.type);
        put_u32(out, l->lk.pid);
        record_close(out, r);
    }
}

/* What was written is on the server before another client of it reads: only a network file system
 * keeps it from that one. */
static int sync_written(struct fs *fs, const GArray *files)
{
    gint64 begin = g_get_monotonic_time();
    unsigned n = 0;

    for (guint i = 0; i < files->len; i++) {
        const struct fs_file_state *st = &g_array_index(files, struct fs_file_state, i);
        struct fs_file *f = fs_file_get(fs, st->fh, NULL);
        int rc = 0;
        if (f && (st->flags & O_ACCMODE) != O_RDONLY &&
            (fs_mount_kind(fs, f->inode) & FS_MAP_SLOW)) {
            rc = fs_fsync(fs, f, false);
            n++;
        }
        if (f)
            fs_file_put(fs, f);
        if (rc < 0) {
            log_error("an open file could not be written to its server before the guest moves: %s",
                      errno_text(-rc));
            return rc;
        }
    }
    if (n > 0)
        log_info("%u open files of network file systems were synced before the guest moves: "
                 "%" G_GINT64_FORMAT " ms",
                 n, (g_get_monotonic_time() - begin) / 1000);
    return 0;
}

/* Locks that are shared with the host: the source would hold them against the destination. */
static bool holds_locks(const GArray *files, const GArray *locks)
{
    guint held = locks->len;

    for (guint i = 0; i < files->len; i++) {
        int flock = g_array_index(files, struct fs_file_state, i).flock;
        held += flock == LOCK_SH || flock == LOCK_EX;
    }
    if (held > 0)
        log_error(
            "the guest holds %u locks that are shared with the host (--posix-lock, --flock): it "
            "cannot be moved while it does",
            held);
    return held > 0;
}

int fs_move_save(struct fs *fs, GByteArray *out, struct fs_moved *did)
{
    g_autoptr(GArray) inodes = fs_inodes_list(fs), files = fs_files_list(fs);
    g_autoptr(GArray) locks = fs_locks_list(fs);
    g_autofree struct saver *s = g_new0(struct saver, 1);
    struct tree *t = fs->shared->tree;
    enum fs_move mode = fs->cfg.policy.move;

    *s = (struct saver){.fs = fs, .out = out};
    s->want = (mode == FS_MOVE_HANDLES ? 0 : TREE_PLACE_PATH) |
              (mode == FS_MOVE_PATHS && !fs->cfg.policy.move_verify ? 0 : TREE_PLACE_HANDLE);
    int rc = t->ops->where ? t->ops->where(t, &fs->root->node, s->want, &s->p) : -EOPNOTSUPP;
    if (rc == 0 && holds_locks(files, locks))
        rc = -ENOLCK;
    if (rc == 0)
        rc = sync_written(fs, files);
    if (rc < 0)
        return rc;
    s->dirs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    s->systems = g_array_new(FALSE, FALSE, sizeof(struct system));
    save_inodes(s, inodes);
    save_files(out, files);
    save_locks(out, locks);
    g_array_unref(s->systems);
    g_hash_table_destroy(s->dirs);
    *did = (struct fs_moved){.inodes = inodes->len, .files = files->len, .locks = locks->len};
    return 0;
}
