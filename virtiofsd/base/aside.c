/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls clone close rt_sigaction rt_sigprocmask tgkill */
#include "virtiofsd/base/aside.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/fd-kind.h"

#define BREAK_SIGNAL (SIGRTMIN + 4)
#define STUCK_US     20000 /* a call that takes longer waits for somebody */
#define STACK        65536

/* A thread that makes such calls. */
struct caller {
    atomic_uint calls; /* odd: inside of a call */
    bool listed;       /* own thread only */
    pthread_t thread;
    struct caller *next;
    /* Of the one who breaks calls, under the lock. */
    unsigned last_calls;
    gint64 since_us;
};

struct job {
    void (*fn)(void *arg);
    void *arg;
    struct job *next;
};

static _Thread_local struct caller self;
static pthread_mutex_t callers_lock = PTHREAD_MUTEX_INITIALIZER;
static struct caller *callers;
static pthread_key_t at_end; /* calls unlist() when a thread ends */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The jobs and their thread. */
static pthread_mutex_t jobs_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t jobs_changed = PTHREAD_COND_INITIALIZER;
static struct job *jobs, **jobs_last = &jobs;
static bool running; /* there is a thread */

/* ---- breaking ---- */

static void on_break(int sig)
{
}

static void unlist(void *arg)
{
    AUTO_LOCK(&callers_lock);
    for (struct caller **p = &callers; *p; p = &(*p)->next) {
        if (*p == arg) {
            *p = (*p)->next;
            return;
        }
    }
}

static void make_key(void)
{
    pthread_key_create(&at_end, unlist);
}

static void list_self(void)
{
    pthread_once(&once, make_key);
    pthread_setspecific(at_end, &self);
    self.thread = pthread_self();
    self.listed = true;
    AUTO_LOCK(&callers_lock);
    self.next = callers;
    callers = &self;
}

void aside_enter(void)
{
    if (G_UNLIKELY(!self.listed))
        list_self();
    unsigned calls = atomic_load_explicit(&self.calls, memory_order_relaxed);
    atomic_store_explicit(&self.calls, calls + 1, memory_order_relaxed);
}

void aside_leave(void)
{
    unsigned calls = atomic_load_explicit(&self.calls, memory_order_relaxed);
    atomic_store_explicit(&self.calls, calls + 1, memory_order_relaxed);
}

int aside_install(void)
{
    struct sigaction sa = {.sa_handler = on_break}; /* no SA_RESTART: the call must end */
    sigset_t set;
    sigemptyset(&sa.sa_mask);
    sigemptyset(&set);
    sigaddset(&set, BREAK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* whoever started us may have blocked it */
    return sigaction(BREAK_SIGNAL, &sa, NULL) == 0 ? 0 : -errno;
}

/* The signal may come a moment before the thread waits, so one is not enough; and a thread that was
 * not seen waiting gets none, or calls on files of the host might end with EINTR. */
void aside_break(void)
{
    gint64 now = g_get_monotonic_time();
    AUTO_LOCK(&callers_lock);
    for (struct caller *c = callers; c; c = c->next) {
        unsigned calls = atomic_load_explicit(&c->calls, memory_order_relaxed);
        if (calls % 2 && calls == c->last_calls && now - c->since_us >= STUCK_US)
            pthread_kill(c->thread, BREAK_SIGNAL);
        if (calls != c->last_calls) {
            c->last_calls = calls;
            c->since_us = now;
        }
    }
}

/* ---- aside ---- */

static void *work(void *arg)
{
    pthread_mutex_lock(&jobs_lock);
    while (jobs) {
        struct job *j = jobs;
        pthread_mutex_unlock(&jobs_lock);
        j->fn(j->arg);
        pthread_mutex_lock(&jobs_lock);
        jobs = j->next;
        if (!jobs)
            jobs_last = &jobs;
        g_free(j);
    }
    running = false;
    pthread_cond_broadcast(&jobs_changed);
    pthread_mutex_unlock(&jobs_lock);
    return NULL;
}

static bool start_worker(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, STACK);
    int rc = pthread_create(&thread, &attr, work, NULL);
    pthread_attr_destroy(&attr);
    return rc == 0;
}

void aside_run(void (*fn)(void *arg), void *arg)
{
    struct job *j = g_new(struct job, 1);
    *j = (struct job){fn, arg, NULL};
    aside_break();
    AUTO_LOCK(&jobs_lock);
    *jobs_last = j;
    jobs_last = &j->next;
    if (!running) /* without a thread it waits for the next one */
        running = start_worker();
}

bool aside_wait(int ms)
{
    gint64 end = g_get_monotonic_time() + ms * G_TIME_SPAN_MILLISECOND;
    for (;;) {
        pthread_mutex_lock(&jobs_lock);
        bool done = !running;
        if (!done) {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += 10000000;
            until.tv_sec += until.tv_nsec / 1000000000;
            until.tv_nsec %= 1000000000;
            pthread_cond_timedwait(&jobs_changed, &jobs_lock, &until);
            done = !running;
        }
        pthread_mutex_unlock(&jobs_lock);
        if (done || g_get_monotonic_time() >= end)
            return done;
        aside_break();
    }
}

/* ---- closing ---- */

static void close_now(void *arg)
{
    aside_enter();
    close(GPOINTER_TO_INT(arg));
    aside_leave();
}

void aside_close(int fd)
{
    if (fd < 0)
        return;
    if (fd_kind(fd) == FD_OTHER)
        aside_run(close_now, GINT_TO_POINTER(fd));
    else
        close(fd);
}
