/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls mmap rt_sigaction tgkill write */
#include "vhost-user/vu-sigbus.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"

/* A range is valid while start is not 0. It is written last and cleared first, and the handler
 * reads it twice: a range that is being touched is referenced, so it cannot change in between. */
struct range {
    atomic_uintptr_t start;
    atomic_size_t len;
    atomic_size_t page;
    _Atomic(struct vu_sigbus_sink *) sink;
};

/* The signal's disposition belongs to the process, and so does this. */
static struct range ranges[VU_SIGBUS_SLOTS];
static atomic_uint ranges_used; /* slots below this have been used at least once */
static pthread_mutex_t ranges_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;

/* Give the lost page at @addr back as zeroes. Returns whether the address was ours. */
static bool repair(uintptr_t addr)
{
    unsigned n = atomic_load(&ranges_used);
    for (unsigned i = 0; i < n; i++) {
        uintptr_t start = atomic_load(&ranges[i].start);
        size_t len = atomic_load(&ranges[i].len);
        size_t page = atomic_load(&ranges[i].page);
        struct vu_sigbus_sink *sink = atomic_load(&ranges[i].sink);
        if (start == 0 || addr - start >= len || atomic_load(&ranges[i].start) != start)
            continue;
        void *at = (void *)(addr & ~(uintptr_t)(page - 1));
        if (mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                 0) == MAP_FAILED)
            return false;
        atomic_store(&sink->hit, true);
        if (sink->wake_fd >= 0) {
            uint64_t one = 1;
            (void)!write(sink->wake_fd, &one, sizeof(one));
        }
        return true;
    }
    return false;
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    int saved = errno;
    if (info->si_code > 0 && repair((uintptr_t)info->si_addr)) {
        errno = saved;
        return;
    }
    /* Not ours. A fault happens again on return; a signal that was sent does not. */
    sigaction(SIGBUS, &previous, NULL);
    if (info->si_code <= 0)
        raise(SIGBUS);
    errno = saved;
}

void vu_sigbus_install(void)
{
    struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER}, now;
    AUTO_LOCK(&ranges_lock);
    sigaction(SIGBUS, NULL, &now);
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_sigbus)
        return;
    previous = now;
    sigemptyset(&sa.sa_mask);
    sigaction(SIGBUS, &sa, NULL);
}

int vu_sigbus_add(void *base, size_t len, size_t page, struct vu_sigbus_sink *sink)
{
    AUTO_LOCK(&ranges_lock);
    for (unsigned i = 0; i < VU_SIGBUS_SLOTS; i++) {
        if (atomic_load(&ranges[i].start) != 0)
            continue;
        atomic_store(&ranges[i].len, len);
        atomic_store(&ranges[i].page, page);
        atomic_store(&ranges[i].sink, sink);
        atomic_store(&ranges[i].start, (uintptr_t)base);
        if (i >= atomic_load(&ranges_used))
            atomic_store(&ranges_used, i + 1);
        return (int)i;
    }
    return -ENOSPC;
}

void vu_sigbus_remove(unsigned slot)
{
    AUTO_LOCK(&ranges_lock);
    atomic_store(&ranges[slot].start, 0);
}
