/* SPDX-License-Identifier: BSD-3-Clause
 * Dialects, and the three messages: map, unmap, and one that only shows that earlier ones are done.
 * vhost-user specification, "VHOST_USER_BACKEND_SHMEM_MAP". */
/* #syscalls close ftruncate memfd_create openat */
#include "dax/dax-vu.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost-user/vu-backend.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/random.h"

/* Back-end requests. */
enum { SHARED_OBJECT_REMOVE = 7, SHMEM_MAP = 9, SHMEM_UNMAP = 10 };

#define MAP_RW      1 /* bit 0 of the flags: else read-only */
#define DEADLINE_MS 10000
#define TAIL_SIZE   100 /* of the file whose last page is partial */

struct wire_map {
    uint8_t shmid;
    uint8_t pad[7];
    uint64_t fd_offset;
    uint64_t shm_offset;
    uint64_t len;
    uint64_t flags;
};

_Static_assert(sizeof(struct wire_map) == 40, "wire map");

/* ---- dialects ---- */

/* A thing to do: never, always, or by the mark of QEMU 11.1, which refuses read-only descriptors.
 */
enum when { NEVER, ALWAYS, IF_READONLY_REFUSED, IF_READONLY_TAKEN };

struct dax_dialect {
    const char *name;
    unsigned bit;         /* protocol feature that offers the window */
    bool mem_slots;       /* CONFIGURE_MEM_SLOTS is wanted and does no harm */
    bool probe;           /* find out what is accepted */
    struct dax_caps caps; /* else this is */
    enum when commit;     /* it says yes before the mapping is there: ask once more */
    enum when keeps;      /* it keeps mappings over a reset: one may be in the way of a new one */
};

/* clang-format off */
static const struct dax_dialect dialects[] = {
    /* name       bit  slots  probe  {readonly_fd, tail}  commit               keeps */
    [DAX_DIALECT_AUTO] = {"auto",      22, false,  true,  {false, false},      IF_READONLY_REFUSED, IF_READONLY_TAKEN},
    [DAX_DIALECT_STANDARD] = {"standard",  22, false,  true,  {false, false},      NEVER,               NEVER},
    [DAX_DIALECT_QEMU] = {"qemu",      22, false, false,  {false, false},      ALWAYS,              NEVER},
    [DAX_DIALECT_CROSVM] = {"crosvm",    22, false, false,  {true, true},        NEVER,               ALWAYS},
    [DAX_DIALECT_ALIOTH] = {"alioth",    21,  true,  true,  {false, false},      NEVER,               NEVER},
};
/* clang-format on */

const struct dax_dialect *dax_dialect_of(enum dax_dialect_name name)
{
    return &dialects[name];
}

unsigned dax_dialect_bit(const struct dax_dialect *d)
{
    return d->bit;
}

bool dax_dialect_mem_slots(const struct dax_dialect *d)
{
    return d->mem_slots;
}

/* ---- the channel ---- */

struct dax_vu {
    const struct dax_dialect *dialect;
    struct vu_backend *channel;
    struct dax_caps caps;               /* assumed, or as the probe found */
    int whole_fd, readonly_fd, tail_fd; /* what the probe maps; -1: could not be made */
    unsigned restarts;                  /* vu_backend_restarts() when it was asked last */
    uint64_t page;
    uint8_t unknown[16]; /* a UUID that the front-end cannot know */
};

static bool holds(const struct dax_vu *v, enum when when)
{
    switch (when) {
    case ALWAYS:
        return true;
    case IF_READONLY_REFUSED:
        return !v->caps.readonly_fd;
    case IF_READONLY_TAKEN:
        return v->caps.readonly_fd;
    case NEVER:
        break;
    }
    return false;
}

static int ask(struct dax_vu *v, uint32_t request, const struct wire_map *w, int fd)
{
    uint64_t answer;
    int rc = vu_backend_call(v->channel, request, w, sizeof(*w), fd, DEADLINE_MS, &answer);
    return rc < 0 ? rc : answer ? -EIO : 0;
}

static int unmap(void *user, uint64_t window_offset, uint64_t len)
{
    struct wire_map w = {.shm_offset = window_offset, .len = len};
    return ask(user, SHMEM_UNMAP, &w, -1);
}

static int map(void *user, int fd, uint64_t fd_offset, uint64_t window_offset, uint64_t len,
               bool writable)
{
    struct dax_vu *v = user;
    struct wire_map w = {.fd_offset = fd_offset,
                         .shm_offset = window_offset,
                         .len = len,
                         .flags = writable ? MAP_RW : 0};
    int rc = ask(v, SHMEM_MAP, &w, fd);
    /* The window's owner knows that nothing of its own is there. */
    if (rc == -EIO && holds(v, v->dialect->keeps) && unmap(v, window_offset, len) == 0)
        rc = ask(v, SHMEM_MAP, &w, fd);
    return rc;
}

/* QEMU 11.1 answers MAP first and then puts the mapping in place, one request after the other: when
 * it answers this one, which does nothing, what was mapped before is there. */
static int commit(void *user)
{
    struct dax_vu *v = user;
    uint64_t answer;
    if (!holds(v, v->dialect->commit))
        return 0;
    int rc = vu_backend_call(v->channel, SHARED_OBJECT_REMOVE, v->unknown, sizeof(v->unknown), -1,
                             DEADLINE_MS, &answer);
    return rc < 0 ? rc : 0; /* it says 1: unknown */
}

/* At a reboot QEMU stops the device and drops the mappings; it may say nothing else. */
static bool dropped(void *user)
{
    struct dax_vu *v = user;
    unsigned before = v->restarts;
    v->restarts = vu_backend_restarts(v->channel);
    return v->restarts != before;
}

/* ---- the probe ---- */

/* Map the first page of @fd at the window's start, and unmap it again. Returns 1 when that is
 * accepted, 0 when it is not, -errno when the window is of no use. */
static int try_map(struct dax_vu *v, int fd, bool writable)
{
    if (fd < 0)
        return 0;
    int rc = map(v, fd, 0, 0, v->page, writable);
    if (rc == -EIO)
        return 0;
    if (rc == 0)
        rc = unmap(v, 0, v->page);
    return rc < 0 ? rc : 1;
}

static int find_caps(struct dax_vu *v)
{
    int rc = try_map(v, v->whole_fd, true);
    if (rc <= 0)
        return rc < 0 ? rc : -EOPNOTSUPP;
    int readonly = try_map(v, v->readonly_fd, false);
    int tail = readonly < 0 ? readonly : try_map(v, v->tail_fd, true);
    if (tail < 0)
        return tail;
    v->caps = (struct dax_caps){.readonly_fd = readonly, .tail = tail};
    return 0;
}

static int probe(void *user, struct dax_caps *caps)
{
    struct dax_vu *v = user;
    v->caps = v->dialect->caps;
    int rc = !vu_backend_has_shmem(v->channel) ? -ENOTCONN : v->dialect->probe ? find_caps(v) : 0;
    if (rc < 0) {
        log_warn("DAX: the front-end has no window that can be used (dialect %s): %s",
                 v->dialect->name, errno_text(-rc));
        return rc;
    }
    log_info("DAX: the front-end (dialect %s, %s) maps files open for writing, read-only files: "
             "%s, a file's last partial page: %s; mappings are %s",
             v->dialect->name, v->dialect->probe ? "asked" : "assumed",
             v->caps.readonly_fd ? "yes" : "no", v->caps.tail ? "yes" : "no",
             holds(v, v->dialect->commit) ? "confirmed by another request"
                                          : "in place at the reply");
    *caps = v->caps;
    return 0;
}

const struct dax_ops dax_vu_ops = {
    .map = map, .unmap = unmap, .commit = commit, .probe = probe, .dropped = dropped};

/* ---- life ---- */

static int make_file(off_t size)
{
    int fd = memfd_create("dax-probe", MFD_CLOEXEC);
    if (fd >= 0 && ftruncate(fd, size) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int open_readonly(int fd)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return fd < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
}

struct dax_vu *dax_vu_new(const struct dax_dialect *d, struct vu_backend *channel)
{
    struct dax_vu *v = g_new0(struct dax_vu, 1);
    v->dialect = d;
    v->channel = channel;
    v->caps = d->caps;
    v->page = (uint64_t)sysconf(_SC_PAGESIZE);
    v->whole_fd = make_file((off_t)v->page);
    v->readonly_fd = open_readonly(v->whole_fd);
    v->tail_fd = make_file(TAIL_SIZE);
    random_bytes(v->unknown, sizeof(v->unknown));
    return v;
}

void dax_vu_free(struct dax_vu *v)
{
    if (!v)
        return;
    const int fds[] = {v->whole_fd, v->readonly_fd, v->tail_fd};
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    g_free(v);
}
