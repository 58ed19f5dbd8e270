/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls madvise mmap munmap */
#include "vhost-user/vu-log.h"

#include <errno.h>
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtiofsd/base/fd-kind.h"
#include "virtiofsd/base/log.h"

struct vu_log {
    atomic_uint refs;
    atomic_bool is_short;
    void *base; /* of the mapping */
    size_t len;
    unsigned slot; /* in the SIGBUS registry */
    uint8_t *map;
    uint64_t size; /* bytes of it */
};

/* Whether [@offset, @offset + @size) is in a file that can be mapped. */
static int check_file(int fd, uint64_t size, uint64_t offset)
{
    enum fd_kind kind = fd_kind(fd);
    uint64_t end, there;
    dev_t dev;
    ino_t ino;

    if (size == 0 || size > VU_LOG_MAX || __builtin_add_overflow(offset, size, &end) ||
        end > INT64_MAX || (kind != FD_MEMORY && kind != FD_FILE))
        return -EINVAL;
    int rc = fd_file_id(fd, &dev, &ino, &there);
    return rc < 0 ? rc : there < end ? -EINVAL : 0;
}

int vu_log_new(int fd, uint64_t size, uint64_t offset, struct vu_sigbus_sink *sink,
               struct vu_log **out)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int rc = check_file(fd, size, offset);
    if (rc < 0)
        return rc;
    uint64_t start = offset & ~(uint64_t)(page - 1);
    size_t skip = (size_t)(offset - start), len = (skip + (size_t)size + page - 1) & ~(page - 1);
    void *base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);
    if (base == MAP_FAILED)
        return -errno;
    madvise(base, len, MADV_DONTDUMP);
    int slot = vu_sigbus_add(base, len, page, sink);
    if (slot < 0) {
        munmap(base, len);
        return slot;
    }
    struct vu_log *log = g_new0(struct vu_log, 1);
    atomic_init(&log->refs, 1);
    log->base = base;
    log->len = len;
    log->slot = (unsigned)slot;
    log->map = (uint8_t *)base + skip;
    log->size = size;
    *out = log;
    return 0;
}

struct vu_log *vu_log_ref(struct vu_log *log)
{
    if (log)
        atomic_fetch_add_explicit(&log->refs, 1, memory_order_relaxed);
    return log;
}

void vu_log_unref(struct vu_log *log)
{
    if (!log || atomic_fetch_sub_explicit(&log->refs, 1, memory_order_acq_rel) != 1)
        return;
    vu_sigbus_remove(log->slot);
    munmap(log->base, log->len);
    g_free(log);
}

static void note_short(struct vu_log *log)
{
    if (!atomic_exchange(&log->is_short, true))
        log_guest_warn("the front-end's dirty log is too short for the guest's memory: a migration "
                       "will fail");
}

void vu_log_mark(struct vu_log *log, uint64_t gpa, uint64_t len)
{
    uint64_t last;

    if (len == 0)
        return;
    if (__builtin_add_overflow(gpa, len - 1, &last)) {
        note_short(log);
        return;
    }
    last /= VU_LOG_PAGE;
    for (uint64_t page = gpa / VU_LOG_PAGE; page <= last; page = (page | 7) + 1) {
        unsigned from = page & 7, to = page / 8 == last / 8 ? last & 7 : 7;
        if (page / 8 >= log->size) {
            note_short(log);
            return;
        }
        /* Never skipped when the bits are there: the front-end may just be taking them, and copy
         * the page without seeing what was written before. The OR orders both. */
        __atomic_fetch_or(&log->map[page / 8], (uint8_t)(0xffu << from & 0xffu >> (7 - to)),
                          __ATOMIC_ACQ_REL);
    }
}

void vu_log_mark_host(struct vu_log *log, const struct vu_mem *mem, const void *ptr, size_t len)
{
    const uint8_t *p = ptr;

    /* What is joined in our address space need not be so in the guest's. */
    for (unsigned i = 0; len > 0 && i < mem->cnt;) {
        const struct vu_region *r = &mem->region[i++];
        if (p < r->host || (uint64_t)(p - r->host) >= r->size)
            continue;
        uint64_t at = (uint64_t)(p - r->host);
        size_t n = MIN(len, r->size - at);
        vu_log_mark(log, r->gpa + at, n);
        p += n;
        len -= n;
        i = 0;
    }
}

bool vu_log_is_short(const struct vu_log *log)
{
    return atomic_load(&log->is_short);
}
