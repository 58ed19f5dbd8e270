/* SPDX-License-Identifier: BSD-3-Clause
 * Whether a handle leads to the file that was looked up.
 *
 * A handle made by name and the attributes found under that name may be of two files, of which the
 * second got the number of the first: the number inside the handle is the same then, and the
 * generation beside it is in no attribute. So the first descriptor that such a handle gives is a
 * reference (O_PATH), and its type, number and birth are compared with what was looked up before
 * anything is opened for real. Once: a generation is of one file, and a file keeps its type.
 *
 * What was proved is remembered beyond the inode, so that a guest which forgets files and comes
 * back to them does not pay again: a word for each, in a table that later ones overwrite. It is
 * looked for when the handle is to be opened, not when it is made: most are never. The word is a
 * digest with secret multipliers, since a guest has a say in what is in handles. */
/* #syscalls getrandom mmap munmap */
#include "virtiofsd/tree/host-priv.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sysmacros.h>

#define PROOFS    (256u * 1024)
#define WORDS     (4 + MAX_HANDLE_SZ / 4)
#define TYPE_MASK UINT64_C(15)

struct host_proofs {
    uint64_t key[2][WORDS + 1];
    _Atomic uint64_t word[PROOFS]; /* digest, its low bits the type; 0 = none */
};

int host_proofs_init(struct host *h)
{
    /* Its pages come with their use. */
    struct host_proofs *p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -ENOMEM;
    h->proofs = p;
    return getrandom(p->key, sizeof(p->key), 0) == (ssize_t)sizeof(p->key) ? 0 : -EIO;
}

void host_proofs_fini(struct host *h)
{
    if (h->proofs)
        munmap(h->proofs, sizeof(*h->proofs));
    h->proofs = NULL;
}

/* The top half of a sum of products with secret factors: two inputs rarely have the same. */
static uint64_t half_digest(const uint64_t key[WORDS + 1], const uint32_t *v, unsigned n)
{
    uint64_t sum = key[WORDS];
    for (unsigned i = 0; i < n; i++)
        sum += key[i] * v[i];
    return sum >> 32;
}

/* The word that says that the handle of @node leads to a file of its type. */
static uint64_t word_of(const struct host_proofs *p, const struct tree_node *node)
{
    const struct file_handle *h = node->own;
    uint32_t v[WORDS] = {(uint32_t)node->mnt->dev, (uint32_t)(node->mnt->dev >> 32),
                         (uint32_t)h->handle_type, h->handle_bytes};
    unsigned n = 4 + (h->handle_bytes + 3) / 4;

    memcpy(v + 4, h->f_handle, h->handle_bytes);
    uint64_t d = half_digest(p->key[0], v, n) << 32 | half_digest(p->key[1], v, n);
    return (d & ~TYPE_MASK) | node->type;
}

/* Its place: numbers in a row lie in a row, as those of one directory mostly do. */
static _Atomic uint64_t *place_of(struct host_proofs *p, const struct tree_node *node)
{
    return &p->word[(node->ino + node->mnt->salt) % PROOFS];
}

bool host_proof_recall(struct host *h, struct tree_node *node)
{
    struct host_proofs *p = h->proofs;

    if (host_proved(node))
        return true;
    if (!p || !host_layout_known(host_mnt(node)) ||
        atomic_load_explicit(place_of(p, node), memory_order_relaxed) != word_of(p, node))
        return false;
    atomic_fetch_or(&node->flags, NODE_PROVED);
    return true;
}

static bool same_file(const struct tree_node *node, const struct statx *stx)
{
    return node->type == (stx->stx_mode & S_IFMT) >> 12 && node->ino == stx->stx_ino &&
           node->mnt->dev == makedev(stx->stx_dev_major, stx->stx_dev_minor) &&
           node->btime_ns == tree_btime(stx);
}

int host_proof_take(struct host *h, struct tree_node *node, int fd)
{
    struct host_proofs *p = h->proofs;
    struct statx stx;
    int rc = host_statx_at(fd, "", &stx);

    if (rc < 0)
        return rc;
    if (!same_file(node, &stx)) {
        h->tree.core.gone(h->tree.core.user, node);
        return -ESTALE;
    }
    /* Where handles are of an unknown form they may have no generation: again each time. */
    if (!host_layout_known(host_mnt(node)))
        return 0;
    atomic_fetch_or(&node->flags, NODE_PROVED);
    if (p)
        atomic_store_explicit(place_of(p, node), word_of(p, node), memory_order_relaxed);
    return 0;
}
