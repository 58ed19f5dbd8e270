/* SPDX-License-Identifier: BSD-3-Clause
 * The code of a handle is keyed by a secret of this process and says for which mount it is. A
 * mount is held open as long as it is known, so the kernel gives its number to no other meanwhile,
 * and ours is never used again. */
/* #syscalls:broker close fstatfs name_to_handle_at open_by_handle_at */
#include "sandbox/sb-handles.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"

struct mount {
    uint64_t serial; /* 0: a free place */
    int id;          /* the kernel's */
    int fd;
    uint32_t users; /* of the daemon's */
    uint32_t calls; /* that use fd now */
};

struct sb_handles {
    GHmac *keyed; /* with nothing in it yet; copied for each code */
    pthread_mutex_t lock;
    struct mount mounts[BROKER_MOUNTS];
    uint64_t last_serial;
};

struct sb_handles *sb_handles_new(const uint8_t key[SB_HANDLES_KEY])
{
    struct sb_handles *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->keyed = g_hmac_new(G_CHECKSUM_SHA256, key, SB_HANDLES_KEY);
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void sb_handles_free(struct sb_handles *h)
{
    if (!h)
        return;
    for (unsigned i = 0; i < BROKER_MOUNTS; i++) {
        if (h->mounts[i].serial)
            close(h->mounts[i].fd);
    }
    g_hmac_unref(h->keyed);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* ---- codes ---- */

static void make_code(const struct sb_handles *h, const struct broker_handle *of,
                      uint8_t code[BROKER_CODE])
{
    uint8_t whole[32];
    gsize len = sizeof(whole);
    GHmac *mac = g_hmac_copy(h->keyed);

    g_hmac_update(mac, (const guchar *)&of->mount, sizeof(of->mount));
    g_hmac_update(mac, (const guchar *)&of->type, sizeof(of->type));
    g_hmac_update(mac, (const guchar *)&of->bytes, sizeof(of->bytes));
    g_hmac_update(mac, of->handle, of->bytes);
    g_hmac_get_digest(mac, whole, &len);
    g_hmac_unref(mac);
    memcpy(code, whole, BROKER_CODE);
}

/* Takes as long whatever is wrong. */
static bool code_is_right(const struct sb_handles *h, const struct broker_handle *of)
{
    uint8_t right[BROKER_CODE];
    volatile uint8_t differ = 0;

    make_code(h, of, right);
    for (unsigned i = 0; i < BROKER_CODE; i++)
        differ = (uint8_t)(differ | (right[i] ^ of->code[i]));
    return differ == 0;
}

/* ---- mounts ---- */

/* File systems whose handles hold the generation of the inode: a number that goes to another file,
 * perhaps outside of the share, does not lead there. */
static bool has_generations(int fd)
{
    static const uint32_t magic[] = {
        0x0000ef53, /* ext2, ext3, ext4 */
        0x58465342, /* XFS */
        0x9123683e, /* btrfs */
        0x01021994, /* tmpfs */
        0xf2f52010, /* F2FS */
        0xca451a4e, /* bcachefs */
        0x2fc12fc1, /* ZFS */
    };
    struct statfs st;

    if (fstatfs(fd, &st) != 0)
        return false;
    for (unsigned i = 0; i < G_N_ELEMENTS(magic); i++) {
        if ((uint32_t)st.f_type == magic[i])
            return true;
    }
    return false;
}

union handle_room {
    struct file_handle h;
    char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

/* The handle of what @fd refers to, and the kernel's number of its mount. 0 or errno. */
static int take_handle(int fd, union handle_room *room, int *mount_id)
{
    room->h.handle_bytes = MAX_HANDLE_SZ;
    return name_to_handle_at(fd, "", &room->h, mount_id, AT_EMPTY_PATH) == 0 ? 0 : errno;
}

static struct mount *find_id_locked(struct sb_handles *h, int id)
{
    for (unsigned i = 0; i < BROKER_MOUNTS; i++) {
        if (h->mounts[i].users && h->mounts[i].id == id)
            return &h->mounts[i];
    }
    return NULL;
}

static struct mount *find_serial_locked(struct sb_handles *h, uint64_t serial)
{
    for (unsigned i = 0; i < BROKER_MOUNTS; i++) {
        if (h->mounts[i].users && h->mounts[i].serial == serial)
            return &h->mounts[i];
    }
    return NULL;
}

/* Returns a descriptor to close, or -1. */
static int drop_locked(struct mount *m)
{
    if (m->users || m->calls)
        return -1;
    int fd = m->fd;
    m->serial = 0;
    return fd;
}

static int add_mount_locked(struct sb_handles *h, int id, int *fd, uint64_t *serial)
{
    struct mount *m = find_id_locked(h, id);

    for (unsigned i = 0; !m && i < BROKER_MOUNTS; i++) {
        if (h->mounts[i].serial)
            continue;
        m = &h->mounts[i];
        *m = (struct mount){.serial = ++h->last_serial, .id = id, .fd = steal_fd(fd)};
    }
    if (!m || m->users == UINT32_MAX)
        return ENOSPC;
    m->users++;
    *serial = m->serial;
    return 0;
}

static int add_mount(struct sb_handles *h, int *fd, uint64_t *serial)
{
    union handle_room room;
    int id, error = take_handle(*fd, &room, &id);

    if (error)
        return error == EOVERFLOW ? EOPNOTSUPP : error;
    if (!has_generations(*fd))
        return EOPNOTSUPP;
    AUTO_LOCK(&h->lock);
    return add_mount_locked(h, id, fd, serial);
}

static int remove_mount(struct sb_handles *h, uint64_t serial)
{
    AUTO_FD int old = -1;
    AUTO_LOCK(&h->lock);
    struct mount *m = find_serial_locked(h, serial);
    if (!m)
        return ENXIO;
    m->users--;
    old = drop_locked(m);
    return 0;
}

static struct mount *begin_call(struct sb_handles *h, uint64_t serial)
{
    AUTO_LOCK(&h->lock);
    struct mount *m = find_serial_locked(h, serial);
    if (m)
        m->calls++;
    return m;
}

static void end_call(struct sb_handles *h, struct mount *m)
{
    AUTO_FD int old = -1;
    AUTO_LOCK(&h->lock);
    m->calls--;
    old = drop_locked(m);
}

/* ---- requests ---- */

static int sign(struct sb_handles *h, int fd, struct broker_handle *out)
{
    union handle_room room;
    int id, error = take_handle(fd, &room, &id);

    if (error)
        return error == EOVERFLOW ? EOPNOTSUPP : error;
    pthread_mutex_lock(&h->lock);
    const struct mount *m = find_id_locked(h, id);
    *out = (struct broker_handle){
        .mount = m ? m->serial : 0, .type = room.h.handle_type, .bytes = room.h.handle_bytes};
    pthread_mutex_unlock(&h->lock);
    if (!out->mount)
        return ENXIO;
    memcpy(out->handle, room.h.f_handle, out->bytes);
    make_code(h, out, out->code);
    return 0;
}

static int open_signed(struct sb_handles *h, const struct broker_handle *in, int *fd)
{
    union handle_room room;

    if (in->bytes > MAX_HANDLE_SZ)
        return EINVAL;
    if (!code_is_right(h, in))
        return EBADMSG;
    struct mount *m = begin_call(h, in->mount);
    if (!m)
        return ENXIO;
    room.h.handle_type = in->type;
    room.h.handle_bytes = in->bytes;
    memcpy(room.h.f_handle, in->handle, in->bytes);
    *fd = open_by_handle_at(m->fd, &room.h, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int error = *fd < 0 ? errno : 0;
    end_call(h, m);
    return error;
}

static int answer_op(struct sb_handles *h, const struct broker_request *r, int *fds, unsigned nfds,
                     struct broker_reply *out, int *fd)
{
    static const struct {
        unsigned min, max; /* descriptors */
    } takes[] = {[BROKER_MOUNT] = {1, 1},
                 [BROKER_UNMOUNT] = {0},
                 [BROKER_SIGN] = {1, BROKER_BATCH},
                 [BROKER_OPEN] = {0}};

    if (r->op < BROKER_MOUNT || r->op > BROKER_OPEN || nfds < takes[r->op].min ||
        nfds > takes[r->op].max)
        return EINVAL;
    switch ((enum broker_op)r->op) {
    case BROKER_MOUNT:
        return add_mount(h, &fds[0], &out->mount);
    case BROKER_UNMOUNT:
        return remove_mount(h, r->h.mount);
    case BROKER_SIGN:
        out->n = nfds;
        for (unsigned i = 0; i < nfds; i++) {
            out->h[i] = (struct broker_signed){0};
            out->h[i].error = sign(h, fds[i], &out->h[i].h);
        }
        return 0;
    case BROKER_OPEN:
        return open_signed(h, &r->h, fd);
    }
    return EINVAL;
}

size_t sb_handles_answer(struct sb_handles *h, const void *msg, size_t len, int *fds, unsigned nfds,
                         struct broker_reply *out, int *fd)
{
    struct broker_request r = {0};

    *fd = -1;
    memset(out, 0, broker_reply_len(0));
    if (len != sizeof(r)) {
        out->error = EINVAL;
    } else {
        memcpy(&r, msg, sizeof(r));
        out->seq = r.seq;
        out->error = answer_op(h, &r, fds, nfds, out, fd);
    }
    return broker_reply_len(out->n);
}
