/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls clone prctl rt_sigprocmask */
#include "dax/dax-priv.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

void dax_timer_init(struct dax_window *w)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->timer.wake, &attr);
    pthread_condattr_destroy(&attr);
}

static void timer_sync_file(struct dax_window *w, struct dax_file *f)
{
    pthread_mutex_lock(&f->lock);
    int rc = dax_private_sync(w, f, true, DAX_ALL);
    pthread_mutex_unlock(&f->lock);
    if (rc < 0)
        log_guest_warn("dax: private pages of a file differ from it: %s", errno_text(-rc));
    dax_file_put(w, f);
}

static void timer_pass(struct dax_window *w)
{
    g_autoptr(GPtrArray) files = dax_file_list_private(w);
    for (unsigned i = 0; i < files->len; i++)
        timer_sync_file(w, g_ptr_array_index(files, i));
}

static struct timespec timer_deadline(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    seconds = MIN(seconds, 86400.0);
    t.tv_sec += (time_t)seconds;
    t.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* Sleep one timeout. Needs the table's lock; it is free meanwhile. */
static void timer_sleep(struct dax_window *w)
{
    struct timespec until = timer_deadline(w->cfg.timeout);
    int rc = 0;
    while (!w->timer.stop && rc == 0)
        rc = pthread_cond_timedwait(&w->timer.wake, &w->table, &until);
}

static void *timer_main(void *arg)
{
    struct dax_window *w = arg;
    pthread_setname_np(pthread_self(), "dax");
    if (w->cfg.thread_start)
        w->cfg.thread_start(w->cfg.thread_user);
    pthread_mutex_lock(&w->table);
    while (!w->timer.stop) {
        if (w->private == 0) {
            pthread_cond_wait(&w->timer.wake, &w->table);
            continue;
        }
        timer_sleep(w);
        if (w->timer.stop)
            break;
        pthread_mutex_unlock(&w->table);
        timer_pass(w);
        pthread_mutex_lock(&w->table);
    }
    pthread_mutex_unlock(&w->table);
    return NULL;
}

void dax_timer_wake(struct dax_window *w)
{
    sigset_t all, before;
    if (w->cfg.timeout <= 0)
        return;
    AUTO_LOCK(&w->table);
    if (w->timer.started) {
        /* A sleeping one goes on sleeping: it looks at its deadline. */
        pthread_cond_signal(&w->timer.wake);
        return;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&w->timer.thread, NULL, timer_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->timer.started = rc == 0;
    if (rc)
        log_guest_warn("dax: no thread, the guest's stores wait for its requests: %s",
                       errno_text(rc));
}

void dax_timer_stop(struct dax_window *w)
{
    pthread_mutex_lock(&w->table);
    bool started = w->timer.started;
    w->timer.stop = true;
    pthread_cond_signal(&w->timer.wake);
    pthread_mutex_unlock(&w->table);
    if (started)
        pthread_join(w->timer.thread, NULL);
    pthread_cond_destroy(&w->timer.wake);
}
