/* SPDX-License-Identifier: BSD-3-Clause
 * Threads that handle requests of several queues. */
#pragma once

struct vu_chain;
struct vu_dev;
struct vu_pool;

/* Start @threads threads (fewer when the system refuses) that give chains to the device's
 * ops->handle. Returns NULL when not one could be started. */
struct vu_pool *vu_pool_new(struct vu_dev *dev, unsigned threads);
/* Hand a chain over. Never waits: what can be queued is bounded by the rings' sizes. */
void vu_pool_push(struct vu_pool *pool, struct vu_chain *ch);
/* End the threads. No chain may be queued. */
void vu_pool_free(struct vu_pool *pool);
