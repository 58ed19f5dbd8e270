/* SPDX-License-Identifier: BSD-3-Clause
 * What the parts of the daemon say of themselves, put together. */
#pragma once

#include "virtiofsd/base/stats.h"

struct dax_window;
struct fs;
struct vu_dev;

/* Of the core and all its clients; @others: the files of more than one. @window may be NULL. */
void daemon_stats_core(struct stats *s, struct fs *fs, struct fs *other, struct dax_window *window);
/* Of a device; @protocol and @op_name as in struct stats_part. */
void daemon_stats_device(struct stats *s, const char *protocol, const struct vu_dev *dev,
                         const char *(*op_name)(unsigned place));
