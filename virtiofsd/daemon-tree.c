/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/daemon-tree.h"

#include "sandbox/sandbox.h"
#include "virtiofsd/options.h"
#include "virtiofsd/tree/host.h"

struct tree *daemon_tree(const struct options *o, const struct sb_result *sb, GError **err)
{
    struct host_config cfg = {
        .policy = o->host,
        .root_fd = sb->root_fd,
        .proc_self_fd = sb->proc_self_fd,
        .task_fd = MAX(sb->task_fd, 0),
        .thread_fd = MAX(sb->thread_fd, 0),
        .channel = sb->channel,
        .channels = sb->channels,
        .fenced = sb->landlock,
    };

    return host_new(&cfg, err);
}
