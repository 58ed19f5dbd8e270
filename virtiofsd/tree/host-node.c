/* SPDX-License-Identifier: BSD-3-Clause
 * What a node is held by: a descriptor (O_PATH), or its handle and nothing else. */
/* #syscalls close openat */
#include "virtiofsd/base/broker.h"
#include "virtiofsd/tree/host-priv.h"

#include <stdlib.h>

struct tree_mnt *host_mnt_new(struct tree *t)
{
    struct host_mnt *m = g_new0(struct host_mnt, 1);

    (void)t;
    atomic_init(&m->fd, -1);
    return &m->mnt;
}

void host_mnt_free(struct tree_mnt *mnt)
{
    struct host_mnt *m = (struct host_mnt *)mnt;
    int fd = atomic_load(&m->fd);

    uint64_t broker = atomic_load(&m->broker);
    if (fd >= 0)
        close(fd);
    if (broker)
        host_broker_unmount(host_of(mnt->tree)->broker, broker);
    g_free(m);
}

void host_drop(struct tree *t, int fd, void *own)
{
    (void)t;
    if (fd >= 0)
        close(fd);
    free(own);
}

/* ---- which file it is ---- */

/* An open descriptor keeps the number; without one it may have gone to a new file, that has another
 * birth time then. */
static enum tree_same same_file(const struct tree_node *node, const struct statx *stx)
{
    int64_t born = tree_btime(stx);

    if (node->type != (stx->stx_mode & S_IFMT) >> 12)
        return TREE_OTHER;
    if (tree_node_fd(node) >= 0)
        return TREE_SAME;
    if (born != node->btime_ns)
        return TREE_OTHER;
    return born == 0 || (atomic_load(&node->flags) & NODE_YOUNG) ? TREE_UNSURE : TREE_SAME;
}

enum tree_same host_same(const struct tree_node *node, const struct tree_found *found)
{
    enum tree_same same = same_file(node, &found->stx);

    /* What was found by name may be gone, and its number another's that is open by now. */
    if (same == TREE_SAME && found->fd < 0 && node->btime_ns != tree_btime(&found->stx))
        return TREE_UNSURE;
    return same;
}

int host_same_for_sure(struct tree_node *node, const struct tree_found *found)
{
    struct file_handle *h;
    int rc = host_handle_of(found->fd, &h);
    if (rc < 0)
        return rc;
    bool same = node->own && host_handle_equal(host_handle(node), h);
    free(h);
    return same;
}

/* ---- new nodes ---- */

void host_enter(struct tree *t, struct tree_node *node)
{
    struct host *h = host_of(t);
    uint8_t flags = atomic_load_explicit(&node->flags, memory_order_relaxed) | NODE_USED;

    if (!h->root)
        h->root = node;
    /* A descriptor is what it is; a handle from a name has to show that. */
    if (tree_node_fd(node) >= 0)
        flags |= NODE_PROVED;
    else if (node->btime_ns && tree_node_is_young(node))
        flags |= NODE_YOUNG;
    atomic_store_explicit(&node->flags, flags, memory_order_relaxed);
}

int host_settle(struct tree *t, struct tree_node *node)
{
    struct host *h = host_of(t);
    int fd = tree_node_fd(node), rc = 0;

    if (fd < 0)
        return 0;
    if (h->handles && tree_node_is(node, S_IFDIR))
        rc = host_mnt_anchor(h, node, fd);
    host_layout_learn(h, node, fd);
    return rc;
}

/* Before the mount counts as known. */
static int tell_broker(struct host_broker *b, struct host_mnt *mnt, int fd)
{
    uint64_t none = 0, serial;
    int rc = host_broker_mount(b, fd, &serial);

    if (rc == -EOPNOTSUPP || rc == -ENOSPC)
        atomic_store(&mnt->mnt.no_rest, true);
    if (rc == 0 && !atomic_compare_exchange_strong(&mnt->broker, &none, serial))
        host_broker_unmount(b, serial); /* another thread has told it */
    return rc;
}

int host_mnt_anchor(struct host *h, struct tree_node *node, int fd)
{
    struct host_mnt *mnt = host_mnt(node);
    char name[FD_NAME_LEN];
    AUTO_FD int real = -1;

    if (atomic_load(&mnt->fd) >= 0)
        return 0;
    if (!host_openable(node))
        return -EAGAIN;
    if (h->broker && atomic_load(&mnt->mnt.no_rest))
        return -EOPNOTSUPP;
    bool search = host_search_begin();
    if (tree_node_is(node, S_IFDIR))
        real = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    else
        real = openat(h->proc_self_fd, host_fd_name(name, fd), O_RDONLY | O_CLOEXEC);
    if (search)
        host_search_end();
    if (real < 0)
        return -errno;
    int none = -1, rc = h->broker ? tell_broker(h->broker, mnt, real) : 0;
    if (rc < 0)
        return rc;
    if (atomic_compare_exchange_strong(&mnt->fd, &none, real))
        real = -1;
    return 0;
}

/* ---- from handle to descriptor, and back ---- */

/* Let @node, that has none, own *fd. Takes it over or leaves it. */
static void adopt_fd(struct host *h, struct tree_node *node, int *fd)
{
    atomic_fetch_and(&node->flags, (uint8_t)~NODE_YOUNG);
    atomic_fetch_or(&node->flags, NODE_USED);
    uint64_t s = atomic_load(&node->state);
    while ((int)(uint32_t)s < 0) {
        uint64_t want = (s & ~(uint64_t)UINT32_MAX) | (uint32_t)*fd;
        if (atomic_compare_exchange_weak(&node->state, &s, want)) {
            *fd = -1;
            h->tree.core.node_fd_added(h->tree.core.user);
            return;
        }
    }
}

void host_adopt(struct tree *t, struct tree_node *node, struct tree_found *found)
{
    if (found->fd >= 0 && tree_node_fd(node) < 0)
        adopt_fd(host_of(t), node, &found->fd);
}

int host_reopen(struct host *h, struct tree_node *node)
{
    int rc = h->tree.core.node_fd_room(h->tree.core.user);
    if (rc < 0)
        return rc;
    host_proof_recall(h, node);
    AUTO_FD int fd = host_handle_open(h, node, O_PATH | O_NOFOLLOW);
    if (fd < 0)
        return fd;
    adopt_fd(h, node, &fd);
    return tree_node_fd(node);
}

/* Its descriptor is going to be closed. */
static void note_rest(struct tree_node *node)
{
    if (tree_node_is_young(node))
        atomic_fetch_or(&node->flags, NODE_YOUNG);
    if (!host_layout_known(host_mnt(node)))
        atomic_fetch_and(&node->flags, (uint8_t)~NODE_PROVED);
}

int host_rest(struct tree *t, struct tree_node *node, int fd, void **own)
{
    struct host *h = host_of(t);
    struct file_handle *handle = NULL;
    int rc = 0;

    if (h->broker) {
        host_rest_some(t, &node, &fd, 1, own, &rc);
        return rc;
    }
    rc = host_mnt_anchor(h, node, fd);
    if (rc == 0 && !node->own) {
        rc = host_handle_of(fd, &handle);
        if (rc == -EOPNOTSUPP || rc == -EPERM)
            atomic_store(&node->mnt->no_rest, true);
    }
    if (rc < 0)
        return rc;
    *own = handle;
    note_rest(node);
    return 0;
}

/* Have the broker sign @n of the nodes, those of which @of has the places. */
static void sign_some(struct host_broker *b, struct tree_node *const *nodes, const unsigned *of,
                      const int *fds, unsigned n, void **own, int *rc)
{
    struct file_handle *handle[TREE_BATCH] = {NULL};
    uint64_t mount[TREE_BATCH];
    int asked = host_broker_sign(b, fds, n, handle, mount);
    bool gone = host_broker_gone(b);

    for (unsigned k = 0; k < n; k++) {
        unsigned i = of[k];
        if (gone)
            atomic_store(&nodes[i]->mnt->no_rest, true);
        bool right =
            asked == 0 && handle[k] && mount[k] == atomic_load(&host_mnt(nodes[i])->broker);
        rc[i] = asked < 0 ? asked : right ? 0 : -EAGAIN;
        own[i] = right ? g_steal_pointer(&handle[k]) : NULL;
        free(handle[k]);
    }
}

void host_rest_some(struct tree *t, struct tree_node *const *nodes, const int *fds, unsigned n,
                    void **own, int *rc)
{
    struct host *h = host_of(t);
    unsigned unsigned_ones = 0, of[TREE_BATCH];
    int their_fds[TREE_BATCH];

    _Static_assert(TREE_BATCH == BROKER_BATCH, "one message");
    for (unsigned i = 0; i < n; i++) {
        own[i] = NULL;
        rc[i] = host_mnt_anchor(h, nodes[i], fds[i]);
        if (rc[i] < 0 || nodes[i]->own)
            continue;
        of[unsigned_ones] = i;
        their_fds[unsigned_ones++] = fds[i];
    }
    if (unsigned_ones)
        sign_some(h->broker, nodes, of, their_fds, unsigned_ones, own, rc);
    for (unsigned i = 0; i < n; i++) {
        if (rc[i] == 0)
            note_rest(nodes[i]);
    }
}
