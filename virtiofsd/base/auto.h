/* SPDX-License-Identifier: BSD-3-Clause
 * Scope-bound resources that GLib 2.74 does not have yet. */
#pragma once

#include <pthread.h>
#include <unistd.h>

/* A descriptor that is closed at the end of its scope; -1 = none. */
#define AUTO_FD __attribute__((cleanup(auto_close_)))

static inline void auto_close_(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* Hand a descriptor over: the variable becomes -1, the caller owns the value. */
static inline int steal_fd(int *fd)
{
    int v = *fd;
    *fd = -1;
    return v;
}

/* Hold a mutex until the end of the scope. */
#define AUTO_LOCK(m)        AUTO_LOCK_AT_(m, __COUNTER__)
#define AUTO_LOCK_AT_(m, n) AUTO_LOCK_NAMED_(m, n)
#define AUTO_LOCK_NAMED_(m, n) \
    __attribute__((cleanup(auto_unlock_), unused)) pthread_mutex_t *auto_lock_##n = auto_lock_(m)

static inline pthread_mutex_t *auto_lock_(pthread_mutex_t *m)
{
    pthread_mutex_lock(m);
    return m;
}

static inline void auto_unlock_(pthread_mutex_t **m)
{
    pthread_mutex_unlock(*m);
}
