/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls clone */
#include "vhost-user/vu-pool.h"

#include "vhost-user/vu-priv.h"
#include "virtiofsd/base/auto.h"

struct vu_pool {
    struct vu_dev *dev;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct vu_chain *first, **last;
    bool quit;
    unsigned cnt;
    pthread_t thread[];
};

/* Next chain in order of arrival, NULL at the end. */
static struct vu_chain *pool_take(struct vu_pool *pool)
{
    AUTO_LOCK(&pool->lock);
    while (!pool->first && !pool->quit)
        pthread_cond_wait(&pool->more, &pool->lock);
    struct vu_chain *ch = pool->first;
    if (ch) {
        pool->first = ch->next;
        if (!pool->first)
            pool->last = &pool->first;
    }
    return ch;
}

static void *pool_thread(void *arg)
{
    struct vu_pool *pool = arg;
    const struct vu_config *cfg = &pool->dev->cfg;
    struct vu_chain *ch;

    if (cfg->ops->thread_start)
        cfg->ops->thread_start(cfg->user);
    while ((ch = pool_take(pool)))
        cfg->ops->handle(cfg->user, &ch->c);
    return NULL;
}

struct vu_pool *vu_pool_new(struct vu_dev *dev, unsigned threads)
{
    struct vu_pool *pool = g_malloc0(sizeof(*pool) + threads * sizeof(pthread_t));
    pool->dev = dev;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->more, NULL);
    while (pool->cnt < threads &&
           pthread_create(&pool->thread[pool->cnt], NULL, pool_thread, pool) == 0)
        pool->cnt++;
    if (pool->cnt == 0) {
        vu_pool_free(pool);
        return NULL;
    }
    return pool;
}

void vu_pool_push(struct vu_pool *pool, struct vu_chain *ch)
{
    AUTO_LOCK(&pool->lock);
    ch->next = NULL;
    *pool->last = ch;
    pool->last = &ch->next;
    pthread_cond_signal(&pool->more);
}

void vu_pool_free(struct vu_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->quit = true;
    pthread_cond_broadcast(&pool->more);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->cnt; i++)
        pthread_join(pool->thread[i], NULL);
    pthread_cond_destroy(&pool->more);
    pthread_mutex_destroy(&pool->lock);
    g_free(pool);
}
