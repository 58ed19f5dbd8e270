/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/daemon-stats.h"

#include "dax/dax-window.h"
#include "vhost-user/vu-dev.h"
#include "virtiofsd/fs/fs.h"

void daemon_stats_core(struct stats *s, struct fs *fs, struct fs *other, struct dax_window *window)
{
    static const char *const where[TREE_READS] = {"cached", "partly", "uncached", "unknown"};
    struct dax_counts dax = {0};
    struct fs_gauges g, o = {0};

    fs_gauges(fs, &g);
    if (other)
        fs_gauges(other, &o);
    if (window)
        dax_window_counts(window, &dax);
    stats_gauge(s->gauges, "inodes", g.inodes);
    stats_gauge(s->gauges, "inode_descriptors", g.inode_descriptors);
    stats_gauge(s->gauges, "other_descriptors", g.other_descriptors);
    stats_gauge(s->gauges, "files", g.files + o.files);
    stats_gauge(s->gauges, "lock_owners", g.lock_owners);
    stats_gauge(s->gauges, "lock_waiters", g.lock_waiters);
    stats_gauge(s->gauges, "mappings", dax.slots);
    stats_gauge(s->gauges, "mapped_files", dax.files);
    stats_gauge(s->gauges, "mapped_private_bytes", dax.private_bytes);
    for (unsigned i = 0; i < TREE_READS; i++)
        stats_gauge(s->reads, where[i], g.reads[i]);
    stats_gauge(s->reads, "late", g.reads_late);
    s->read_every = TREE_READ_EVERY;
}

static void add_queue(void *user, unsigned queue, const struct counts *c)
{
    struct stats_queue q = {queue, *c};

    g_array_append_val((GArray *)user, q);
}

void daemon_stats_device(struct stats *s, const char *protocol, const struct vu_dev *dev,
                         const char *(*op_name)(unsigned place))
{
    struct stats_part *part = stats_part(s, protocol, "virtqueue", op_name, true);

    vu_dev_counts(dev, &part->sum, add_queue, part->queues);
}
