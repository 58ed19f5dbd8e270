/* SPDX-License-Identifier: BSD-3-Clause
 * More descriptors of one open file.
 *
 * O_DIRECT, O_NOATIME and O_APPEND belong to the open file description, and a guest changes them by
 * F_SETFL without a word: every READ and WRITE carries those that hold. To change them on the
 * file's own descriptor would change what other queues are doing with it, and the delayed writes
 * that come by any handle of the inode. So each combination that is asked for has a descriptor of
 * its own, opened when it is first needed and closed with the file. */
/* #syscalls close fstatfs openat statx */
#include "virtiofsd/tree/host-priv.h"

#include <sys/vfs.h>

enum { SIDE_DIRECT = 1 << 0, SIDE_NOATIME = 1 << 1, SIDE_APPEND = 1 << 2, SIDES = 1 << 3 };

#define NOT_YET     (-1)
#define REFUSED     (-2) /* and it will be again: not tried a second time */
#define SECTOR_SIZE 512

struct host_sides {
    _Atomic int fd[SIDES];
    atomic_uint block; /* what offsets and lengths of direct transfers are multiples of */
};

static unsigned side_of(int flags)
{
    return (flags & O_DIRECT ? SIDE_DIRECT : 0u) | (flags & O_NOATIME ? SIDE_NOATIME : 0u) |
           (flags & O_APPEND ? SIDE_APPEND : 0u);
}

/* The file's set, made at the first call; NULL without memory. */
static struct host_sides *sides_of(struct tree_file *f)
{
    struct host_sides *s = atomic_load_explicit(&f->own, memory_order_acquire);
    void *none = NULL;

    if (s)
        return s;
    s = malloc(sizeof(*s));
    if (!s)
        return NULL;
    for (unsigned i = 0; i < SIDES; i++)
        atomic_init(&s->fd[i], NOT_YET);
    atomic_init(&s->block, SECTOR_SIZE);
    if (atomic_compare_exchange_strong(&f->own, &none, s))
        return s;
    free(s); /* another queue was faster */
    return none;
}

/* Kernels before 6.1 do not tell: then the smallest that any device has, and where that does not do
 * the transfer itself says so. */
static void learn_blocks(struct host_sides *s, int fd)
{
#ifdef STATX_DIOALIGN
    struct statx stx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) != 0 ||
        !(stx.stx_mask & STATX_DIOALIGN) || stx.stx_dio_offset_align == 0)
        return;
    atomic_store(&s->block, stx.stx_dio_offset_align);
#else
    (void)s;
    (void)fd;
#endif
}

/* Open the file once more with @want. Returns the descriptor or -errno. */
static int open_side(struct host *h, struct tree_file *f, struct host_sides *s, int want)
{
    char num[FD_NAME_LEN];
    int none = NOT_YET, rc = host_file_fd_take(h);

    if (rc < 0)
        return rc;
    AUTO_FD int fd =
        openat(h->proc_self_fd, host_fd_name(num, f->fd), f->accmode | want | O_CLOEXEC);
    if (fd < 0) {
        rc = host_open_errno();
        host_file_fd_give(h);
        /* No such transfers on this file system; not our file. */
        if ((rc == -EINVAL && (want & O_DIRECT)) || (rc == -EPERM && (want & O_NOATIME)))
            atomic_compare_exchange_strong(&s->fd[side_of(want)], &none, REFUSED);
        return rc;
    }
    if (want & O_DIRECT)
        learn_blocks(s, fd);
    if (atomic_compare_exchange_strong(&s->fd[side_of(want)], &none, fd))
        return steal_fd(&fd);
    host_file_fd_give(h);
    return none == REFUSED ? -EINVAL : none;
}

/* The descriptor that has exactly @want, or -errno. */
static int side(struct host *h, struct tree_file *f, int want)
{
    struct host_sides *s = sides_of(f);
    if (!s)
        return -ENOMEM;
    int fd = atomic_load_explicit(&s->fd[side_of(want)], memory_order_acquire);
    if (fd == REFUSED)
        return -EINVAL;
    return fd >= 0 ? fd : open_side(h, f, s, want);
}

int host_side(struct host *h, struct tree_file *f, int want, int matters, int *got)
{
    *got = want;
    if (G_LIKELY(((want ^ f->kind) & matters) == 0))
        return f->fd;
    int fd = side(h, f, want);
    if (fd < 0 && (want & O_DIRECT)) /* O_DIRECT is a hint */
        return host_side(h, f, want & ~O_DIRECT, matters, got);
    if (fd < 0 && (want & O_NOATIME))
        return host_side(h, f, want & ~O_NOATIME, matters, got);
    if (fd < 0 && (matters & O_NOATIME)) /* opened so, and now without */
        return f->fd;
    return fd;
}

unsigned host_side_block(struct tree_file *f)
{
    struct host_sides *s = atomic_load_explicit(&f->own, memory_order_acquire);
    return s ? atomic_load_explicit(&s->block, memory_order_relaxed) : SECTOR_SIZE;
}

void host_sides_close(struct host *h, struct tree_file *f)
{
    struct host_sides *s = atomic_load(&f->own);

    for (unsigned i = 0; s && i < SIDES; i++) {
        int fd = atomic_load(&s->fd[i]);
        if (fd < 0)
            continue;
        close(fd);
        host_file_fd_give(h);
    }
    free(s);
    atomic_store(&f->own, NULL);
}

/* ---- who needs what from the start ---- */

/* File systems that look at O_APPEND but not, or not in every kernel, at RWF_APPEND: layered ones
 * hand a write on without it (overlayfs before Linux 6.7), FUSE tells its server the former only.
 */
static bool weak_append(uint32_t magic)
{
    static const uint32_t weak[] = {
        0x794c7630, /* overlayfs */
        0x61756673, /* aufs */
        0x0000f15f, /* ecryptfs */
        0x65735546, /* FUSE */
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(weak); i++)
        if (weak[i] == magic)
            return true;
    return false;
}

bool host_appends_by_fd(struct host *h, const struct tree_file *f)
{
    struct host_mnt *mnt = host_mnt(f->node);
    struct statfs st;
    uint8_t known = atomic_load_explicit(&mnt->append, memory_order_relaxed);

    if (atomic_load_explicit(&h->no_rwf, memory_order_relaxed))
        return true;
    if (known == APPEND_UNKNOWN && fstatfs(f->fd, &st) == 0) {
        known = weak_append((uint32_t)st.f_type) ? APPEND_BY_FD : APPEND_BY_FLAG;
        atomic_store_explicit(&mnt->append, known, memory_order_relaxed);
    }
    return known == APPEND_BY_FD;
}

bool host_sides_asked(struct host *h, const struct tree_node *node, int asked)
{
    if ((asked & O_DIRECT) && h->allow_direct_io)
        return true;
    if (!(asked & O_APPEND) || (asked & O_ACCMODE) == O_RDONLY)
        return false;
    return atomic_load_explicit(&host_mnt(node)->append, memory_order_relaxed) != APPEND_BY_FLAG ||
           atomic_load_explicit(&h->no_rwf, memory_order_relaxed);
}

int host_sides_ready(struct host *h, struct tree_file *f)
{
    int rc = 0;

    if ((f->asked & O_DIRECT) && h->allow_direct_io)
        rc = side(h, f, O_DIRECT | (f->kind & O_APPEND));
    /* A file system without them says so at open(2), and that is where a program expects it. */
    if (rc == -EINVAL || rc == -ENFILE)
        return rc;
    if ((f->asked & O_APPEND) && f->accmode != O_RDONLY && !(f->kind & O_APPEND) &&
        host_appends_by_fd(h, f))
        rc = side(h, f, O_APPEND);
    return rc == -ENFILE ? rc : 0;
}
