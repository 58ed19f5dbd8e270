/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/tree-mem.h"

#include "tests/unit/tree-over.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

enum speed { NOW, LATE, HELD, LOST, EVICTED };

struct mem_file {
    const char *name;
    unsigned up; /* index of its directory */
    mode_t mode;
    enum speed speed;
    const char *target;
};

static struct mem_file files[] = {
    {"", 0, S_IFDIR | 0755, NOW, NULL},        {"now", 0, S_IFREG | 0644, NOW, NULL},
    {"late", 0, S_IFREG | 0644, LATE, NULL},   {"held", 0, S_IFREG | 0644, HELD, NULL},
    {"lost", 0, S_IFREG | 0644, LOST, NULL},   {"evicted", 0, S_IFREG | 0644, EVICTED, NULL},
    {"dir", 0, S_IFDIR | 0755, NOW, NULL},     {"inner", 6, S_IFREG | 0644, NOW, NULL},
    {"link", 6, S_IFLNK | 0777, NOW, "inner"}, {"mounted", 0, S_IFREG | 0644, HELD, NULL},
};

#define FILES   G_N_ELEMENTS(files)
#define MOUNTED (FILES - 1)

struct mem {
    struct tree tree; /* first */
    struct tree_waits *waits;
    struct tree *host; /* others use its descriptors */
};

static struct tree_waits *newest;

struct timespec tree_mem_changed = {.tv_sec = 1000000000};

struct tree_waits *tree_mem_waits(void)
{
    return newest;
}

static struct tree_waits *waits_of(struct tree *t)
{
    return ((struct mem *)t)->waits;
}

/* ---- nodes ---- */

static unsigned index_of(const struct tree_node *node)
{
    return (unsigned)(node->ino - 1);
}

static struct mem_file *file_of(const struct tree_node *node)
{
    return &files[index_of(node)];
}

static void describe(unsigned i, struct statx *stx)
{
    const struct mem_file *f = &files[i];

    *stx = (struct statx){
        .stx_mask = STATX_BASIC_STATS,
        .stx_blksize = 4096,
        .stx_nlink = S_ISDIR(f->mode) ? 2 : 1,
        .stx_mode = (uint16_t)f->mode,
        .stx_ino = i + 1,
        .stx_size = S_ISREG(f->mode) ? TREE_MEM_SIZE
                    : f->target      ? strlen(f->target)
                                     : 4096,
        .stx_blocks = TREE_MEM_SIZE / 512 + 1,
        .stx_mtime = {.tv_sec = tree_mem_changed.tv_sec,
                      .tv_nsec = (uint32_t)tree_mem_changed.tv_nsec},
        .stx_ctime = {.tv_sec = tree_mem_changed.tv_sec,
                      .tv_nsec = (uint32_t)tree_mem_changed.tv_nsec},
        .stx_dev_minor = i == MOUNTED ? 4243 : 4242,
    };
}

static void found(unsigned i, bool complete, struct tree_found *out)
{
    *out = (struct tree_found){.complete = complete, .fd = TREE_NO_FD, .own = &files[i]};
    describe(i, &out->stx);
}

static struct tree_mnt *mnt_new(struct tree *t)
{
    return g_new0(struct tree_mnt, 1);
}

static void mnt_free(struct tree_mnt *mnt)
{
    memset(mnt, 0, sizeof(*mnt)); /* nobody may look at it any more, nor at its tree */
    g_free(mnt);
}

static void drop(struct tree *t, int fd, void *own)
{
    g_assert(fd == TREE_NO_FD);
    g_assert(!own || ((struct mem_file *)own >= files && (struct mem_file *)own < files + FILES));
}

static void free_tree(struct tree *t)
{
    struct mem *m = (struct mem *)t;

    m->host->ops->drop(m->host, m->host->root.fd, m->host->root.own);
    m->host->ops->free(m->host);
    tree_waits_free(m->waits);
    newest = NULL;
    g_free(t);
}

/* ---- names ---- */

static int find(const struct tree_node *dir, const char *name)
{
    if (!tree_node_is(dir, S_IFDIR))
        return -ENOTDIR;
    for (unsigned i = 1; i < FILES; i++)
        if (files[i].up == index_of(dir) && strcmp(files[i].name, name) == 0)
            return (int)i;
    return -ENOENT;
}

static int lookup(struct tree *t, struct tree_node *dir, const char *name, bool likely_new,
                  struct tree_found *out)
{
    int i = find(dir, name);

    if (i < 0)
        return i;
    found((unsigned)i, likely_new, out);
    return 0;
}

static int complete(struct tree *t, struct tree_node *dir, const char *name, bool again,
                    struct tree_found *out)
{
    return lookup(t, dir, name, true, out);
}

static int up(struct tree *t, struct tree_node *dir, struct tree_found *out)
{
    found(file_of(dir)->up, true, out);
    return 0;
}

static ssize_t read_link(struct tree *t, struct tree_node *node, char *buf, size_t size)
{
    size_t len = strlen(file_of(node)->target);

    if (len > size)
        return -ENAMETOOLONG;
    memcpy(buf, file_of(node)->target, len);
    return (ssize_t)len;
}

/* No more than is asked for, as some file systems do it. */
static int stat_node(struct tree *t, struct tree_node *node, const struct tree_file *file, int sync,
                     unsigned mask, struct statx *out)
{
    describe(index_of(node), out);
    out->stx_mask &= mask;
    if (!(mask & STATX_TYPE))
        out->stx_mode &= (uint16_t)~S_IFMT;
    if (!(mask & STATX_MODE))
        out->stx_mode &= S_IFMT;
    return 0;
}

/* ---- open files ---- */

static int open_node(struct tree *t, struct tree_node *node, int flags, int asked, unsigned how,
                     struct tree_file *out)
{
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
        return -EROFS;
    *out = (struct tree_file){
        .node = node, .fd = -1, .asked = asked & TREE_ASKED_FLAGS, .is_dir = flags & O_DIRECTORY};
    return 0;
}

static void close_file(struct tree *t, struct tree_file *file)
{
}

static bool is_there(const struct tree_node *node)
{
    enum speed s = file_of(node)->speed;
    return s == NOW || ((s == LATE || s == HELD) && tree_waits_serving());
}

static ssize_t read_file(struct tree *t, struct tree_file *file, struct iovec *iov, unsigned cnt,
                         off_t off, unsigned how)
{
    size_t done = 0;

    if (!is_there(file->node))
        return TREE_NOT_YET;
    for (unsigned i = 0; i < cnt; i++) {
        unsigned char *p = iov[i].iov_base;
        for (size_t k = 0; k < iov[i].iov_len && off + (off_t)done < TREE_MEM_SIZE; k++, done++)
            p[k] = tree_mem_byte((uint64_t)off + done);
    }
    return (ssize_t)done;
}

static int fetch(struct tree *t, struct tree_node *node, off_t off, size_t len, struct tree_wait *w)
{
    static const struct {
        int ms, result;
    } table[] = {
        [LATE] = {TREE_MEM_MS, 0},
        [HELD] = {TREE_WAIT_HELD, 0},
        [LOST] = {TREE_MEM_MS, -EIO},
    };
    enum speed s = file_of(node)->speed;

    if (s == NOW || s == EVICTED)
        return 1;
    tree_waits_add(waits_of(t), w, table[s].ms, table[s].result);
    return 0;
}

static bool cancel(struct tree *t, struct tree_wait *w)
{
    return tree_waits_cancel(waits_of(t), w);
}

static int read_dir(struct tree *t, struct tree_file *file, uint64_t off, tree_dirent_fn *fn,
                    void *user)
{
    for (unsigned i = off ? (unsigned)off : 1; i < FILES; i++) {
        if (files[i].up != index_of(file->node))
            continue;
        struct tree_dirent d = {
            .ino = i + 1, .off = i + 1, .type = IFTODT(files[i].mode), .name = files[i].name};
        if (!fn(user, &d))
            break;
    }
    return 0;
}

static const struct tree_ops ops = {
    .mnt_new = mnt_new,
    .mnt_free = mnt_free,
    .drop = drop,
    .free = free_tree,
    .lookup = lookup,
    .complete = complete,
    .up = up,
    .readlink = read_link,
    .statx = stat_node,
    .open = open_node,
    .close = close_file,
    .read = read_file,
    .fetch = fetch,
    .cancel = cancel,
    .readdir = read_dir,
};

struct tree *tree_mem_over(struct tree *host)
{
    if (!host)
        return NULL;
    struct mem *m = g_new0(struct mem, 1);

    *m = (struct mem){
        .tree = {.ops = &ops},
        .waits = newest = tree_waits_new(),
        .host = host,
    };
    found(0, true, &m->tree.root);
    return &m->tree;
}
