/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls fstatfs madvise mmap munmap */
#include "vhost-user/vu-mem.h"

#include <errno.h>
#include <glib.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "virtiofsd/base/fd-kind.h"

static struct vu_map *map_ref(struct vu_map *map)
{
    atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
    return map;
}

static void map_unref(struct vu_map *map)
{
    if (atomic_fetch_sub_explicit(&map->refs, 1, memory_order_acq_rel) != 1)
        return;
    vu_sigbus_remove(map->slot);
    munmap(map->base, map->len);
    g_free(map);
}

struct vu_mem *vu_mem_ref(struct vu_mem *mem)
{
    if (mem)
        atomic_fetch_add_explicit(&mem->refs, 1, memory_order_relaxed);
    return mem;
}

void vu_mem_unref(struct vu_mem *mem)
{
    if (!mem || atomic_fetch_sub_explicit(&mem->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < mem->cnt; i++)
        map_unref(mem->region[i].map);
    g_free(mem);
}

static struct vu_mem *table_alloc(unsigned cnt)
{
    struct vu_mem *mem = g_malloc(sizeof(*mem) + cnt * sizeof(mem->region[0]));
    atomic_init(&mem->refs, 1);
    mem->cnt = cnt;
    return mem;
}

static bool ranges_meet(uint64_t a, uint64_t b, uint64_t a_len, uint64_t b_len)
{
    return a < b + b_len && b < a + a_len;
}

/* Everything that can be said about a region before its file is looked at. */
static int check_region(const struct vu_mem *old, const struct vu_wire_region *r)
{
    uint64_t end;
    if (r->size == 0 || r->size > SIZE_MAX / 2 || __builtin_add_overflow(r->gpa, r->size, &end) ||
        __builtin_add_overflow(r->uaddr, r->size, &end) ||
        __builtin_add_overflow(r->mmap_offset, r->size, &end) || end > INT64_MAX)
        return -EINVAL;
    if (!old)
        return 0;
    if (old->cnt >= VU_MEM_SLOTS)
        return -ENOSPC;
    for (unsigned i = 0; i < old->cnt; i++) {
        const struct vu_region *o = &old->region[i];
        if (ranges_meet(o->gpa, r->gpa, o->size, r->size) ||
            ranges_meet(o->uaddr, r->uaddr, o->size, r->size))
            return -EEXIST;
    }
    return 0;
}

/* Page size of the file: huge page files must be mapped in units of theirs. A file behind which a
 * process may be has no page that is sure to come, and no call on it is sure to end. */
static int file_page(int fd, uint64_t need, size_t *page, struct vu_map *of)
{
    struct statfs fs;
    uint64_t size;
    enum fd_kind kind = fd_kind(fd);
    if (kind != FD_MEMORY && kind != FD_FILE)
        return -EINVAL;
    int rc = fd_file_id(fd, &of->dev, &of->ino, &size);
    if (rc < 0)
        return rc;
    if (size < need)
        return -EINVAL;
    *page = (size_t)sysconf(_SC_PAGESIZE);
    if (kind == FD_MEMORY && fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC)
        *page = (size_t)fs.f_bsize;
    return 0;
}

static int map_file(const struct vu_wire_region *r, int fd, struct vu_sigbus_sink *sink,
                    struct vu_region *out)
{
    size_t page = 0;
    struct vu_map of = {.offset = r->mmap_offset};
    int rc = file_page(fd, r->mmap_offset + r->size, &page, &of);
    if (rc < 0)
        return rc;
    uint64_t start = r->mmap_offset & ~(uint64_t)(page - 1);
    size_t skip = (size_t)(r->mmap_offset - start);
    size_t len = (skip + (size_t)r->size + page - 1) & ~(page - 1);
    void *base =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
    if (base == MAP_FAILED)
        return -errno;
    madvise(base, len, MADV_DONTDUMP); /* the guest's memory is not ours to leave in core files */
    int slot = vu_sigbus_add(base, len, page, sink);
    if (slot < 0) {
        munmap(base, len);
        return slot;
    }
    struct vu_map *map = g_memdup2(&of, sizeof(of));
    atomic_init(&map->refs, 1);
    map->base = base;
    map->len = len;
    map->slot = (unsigned)slot;
    *out = (struct vu_region){r->gpa, r->size, r->uaddr, (uint8_t *)base + skip, map};
    return 0;
}

int vu_mem_add(const struct vu_mem *old, const struct vu_wire_region *r, int fd,
               struct vu_sigbus_sink *sink, struct vu_mem **out)
{
    struct vu_region fresh;
    unsigned cnt = old ? old->cnt : 0, at = 0;
    int rc = check_region(old, r);
    if (rc == 0)
        rc = map_file(r, fd, sink, &fresh);
    if (rc < 0)
        return rc;
    struct vu_mem *mem = table_alloc(cnt + 1);
    for (unsigned i = 0; i < cnt; i++) {
        if (old->region[i].gpa < r->gpa)
            at = i + 1;
        mem->region[i + (old->region[i].gpa > r->gpa)] = old->region[i];
        map_ref(old->region[i].map);
    }
    mem->region[at] = fresh;
    *out = mem;
    return 0;
}

int vu_mem_remove(const struct vu_mem *old, const struct vu_wire_region *r, struct vu_mem **out)
{
    unsigned cnt = old ? old->cnt : 0, at = cnt;
    for (unsigned i = 0; i < cnt; i++) {
        const struct vu_region *o = &old->region[i];
        if (o->gpa == r->gpa && o->uaddr == r->uaddr && o->size == r->size)
            at = i;
    }
    if (at == cnt)
        return -ENOENT;
    struct vu_mem *mem = cnt == 1 ? NULL : table_alloc(cnt - 1);
    for (unsigned i = 0, j = 0; i < cnt; i++) {
        if (i == at)
            continue;
        mem->region[j++] = old->region[i];
        map_ref(old->region[i].map);
    }
    *out = mem;
    return 0;
}

bool vu_mem_has(const struct vu_mem *mem, const struct vu_wire_region *r, int fd)
{
    dev_t dev;
    ino_t ino;
    uint64_t size;
    for (unsigned i = 0; mem && i < mem->cnt; i++) {
        const struct vu_region *o = &mem->region[i];
        if (o->gpa == r->gpa && o->size == r->size && o->uaddr == r->uaddr)
            return o->map->offset == r->mmap_offset && fd_file_id(fd, &dev, &ino, &size) == 0 &&
                   dev == o->map->dev && ino == o->map->ino;
    }
    return false;
}

const struct vu_region *vu_mem_find(const struct vu_mem *mem, uint64_t gpa, unsigned *hint)
{
    unsigned lo = 0, hi = mem->cnt;
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        const struct vu_region *r = &mem->region[mid];
        if (gpa < r->gpa) {
            hi = mid;
        } else if (gpa - r->gpa >= r->size) {
            lo = mid + 1;
        } else {
            *hint = mid;
            return r;
        }
    }
    return NULL;
}

void *vu_mem_uaddr(const struct vu_mem *mem, uint64_t uaddr, uint64_t len)
{
    for (unsigned i = 0; mem && i < mem->cnt; i++) {
        const struct vu_region *r = &mem->region[i];
        if (uaddr >= r->uaddr && uaddr - r->uaddr < r->size && len <= r->size - (uaddr - r->uaddr))
            return r->host + (uaddr - r->uaddr);
    }
    return NULL;
}
