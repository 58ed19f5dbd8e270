/* SPDX-License-Identifier: BSD-3-Clause
 * Threads of the core's own, and the time that those who see to locks go by. */
/* #syscalls clone rt_sigprocmask */
#include "virtiofsd/fs/fs-lock-priv.h"

#include <signal.h>
#include <time.h>

#define THREAD_STACK (256 * 1024)

int64_t fs_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

void fs_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

void fs_wait_until_locked(struct fs_locks *l, pthread_cond_t *cond, int64_t when)
{
    struct timespec ts = {.tv_sec = when / 1000000000, .tv_nsec = when % 1000000000};

    if (when == FS_NEVER)
        pthread_cond_wait(cond, &l->lock);
    else
        pthread_cond_timedwait(cond, &l->lock, &ts);
}

int fs_thread_new(pthread_t *thread, void *(*fn)(void *), void *arg, bool detached)
{
    sigset_t all, old;
    pthread_attr_t attr;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    if (detached)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(thread, &attr, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -rc;
}
