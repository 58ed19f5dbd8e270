/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/tree-wait.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

struct one {
    TAILQ_ENTRY(one) link;
    struct tree_wait *w;
    int64_t due; /* monotonic, ns; INT64_MAX: held */
    int result;
};

struct tree_waits {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool running, end;
    TAILQ_HEAD(, one) list;
    unsigned count, ever;
};

static __thread bool serving;

bool tree_waits_serving(void)
{
    return serving;
}

static int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void take_locked(struct tree_waits *s, struct one *o)
{
    TAILQ_REMOVE(&s->list, o, link);
    s->count--;
}

static struct one *first_due_locked(struct tree_waits *s, int64_t now, int64_t *next)
{
    struct one *o;

    *next = INT64_MAX;
    TAILQ_FOREACH(o, &s->list, link)
    {
        if (o->due <= now)
            return o;
        *next = MIN(*next, o->due);
    }
    return NULL;
}

static void *serve(void *arg)
{
    struct tree_waits *s = arg;
    int64_t next;

    pthread_mutex_lock(&s->lock);
    while (!s->end) {
        struct one *o = first_due_locked(s, now_ns(), &next);
        if (o) {
            take_locked(s, o);
            pthread_mutex_unlock(&s->lock);
            serving = true;
            o->w->done(o->w, o->result);
            serving = false;
            free(o);
            pthread_mutex_lock(&s->lock);
        } else if (next == INT64_MAX) {
            pthread_cond_wait(&s->changed, &s->lock);
        } else {
            struct timespec ts = {.tv_sec = next / 1000000000, .tv_nsec = next % 1000000000};
            pthread_cond_timedwait(&s->changed, &s->lock, &ts);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

struct tree_waits *tree_waits_new(void)
{
    struct tree_waits *s = calloc(1, sizeof(*s));
    pthread_condattr_t attr;

    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    TAILQ_INIT(&s->list);
    return s;
}

void tree_waits_free(struct tree_waits *s)
{
    g_assert(s->count == 0);
    pthread_mutex_lock(&s->lock);
    s->end = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->running)
        pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void tree_waits_add(struct tree_waits *s, struct tree_wait *w, int ms, int result)
{
    struct one *o = calloc(1, sizeof(*o));

    o->w = w;
    o->due = ms == TREE_WAIT_HELD ? INT64_MAX : now_ns() + ms * 1000000LL;
    o->result = result;
    pthread_mutex_lock(&s->lock);
    TAILQ_INSERT_TAIL(&s->list, o, link);
    s->count++;
    s->ever++;
    /* At the first wait: the daemon's sandbox is entered by then. */
    if (!s->running)
        s->running = pthread_create(&s->thread, NULL, serve, s) == 0;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

bool tree_waits_cancel(struct tree_waits *s, struct tree_wait *w)
{
    struct one *o;

    pthread_mutex_lock(&s->lock);
    TAILQ_FOREACH(o, &s->list, link)
    {
        if (o->w == w)
            break;
    }
    if (o)
        take_locked(s, o);
    pthread_mutex_unlock(&s->lock);
    bool found = o;
    free(o);
    return found;
}

unsigned tree_waits_count(struct tree_waits *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->count;
    pthread_mutex_unlock(&s->lock);
    return n;
}

unsigned tree_waits_ever(struct tree_waits *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->ever;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void tree_waits_let_go(struct tree_waits *s)
{
    struct one *o;

    pthread_mutex_lock(&s->lock);
    TAILQ_FOREACH(o, &s->list, link)
    {
        if (o->due == INT64_MAX)
            o->due = 0;
    }
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
}
