/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls getxattrat listxattrat removexattrat setxattrat */
#include "virtiofsd/base/xattr-at.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same on all architectures. */
enum { NR_SETXATTRAT = 463, NR_GETXATTRAT, NR_LISTXATTRAT, NR_REMOVEXATTRAT };

/* struct xattr_args of linux/xattr.h, for older headers. */
struct args {
    _Alignas(8) uint64_t value;
    uint32_t size, flags;
};

bool xattr_at_usable(void)
{
    static atomic_int known; /* 0: not yet */
    int k = atomic_load_explicit(&known, memory_order_relaxed);

    if (k == 0) {
        /* Without a name to look for there is one answer of the kernel's own; a container's filter
         * has another. */
        struct args a = {0};
        long r = syscall(NR_GETXATTRAT, -1, "x", 0, "user.x", &a, sizeof(a));
        k = r < 0 && errno == EBADF ? 1 : -1;
        atomic_store_explicit(&known, k, memory_order_relaxed);
    }
    return k > 0;
}

ssize_t xattr_at_get(int dir, const char *path, const char *name, void *buf, size_t size)
{
    struct args a = {.value = (uintptr_t)buf, .size = (uint32_t)size};
    return syscall(NR_GETXATTRAT, dir, path, 0, name, &a, sizeof(a));
}

int xattr_at_set(int dir, const char *path, const char *name, const void *value, size_t size,
                 int flags)
{
    struct args a = {.value = (uintptr_t)value, .size = (uint32_t)size, .flags = (uint32_t)flags};
    return (int)syscall(NR_SETXATTRAT, dir, path, 0, name, &a, sizeof(a));
}

ssize_t xattr_at_list(int dir, const char *path, char *buf, size_t size)
{
    return syscall(NR_LISTXATTRAT, dir, path, 0, buf, size);
}

int xattr_at_remove(int dir, const char *path, const char *name)
{
    return (int)syscall(NR_REMOVEXATTRAT, dir, path, 0, name);
}
