/* SPDX-License-Identifier: BSD-3-Clause
 * The DAX window as a part of the daemon: from the options to what the other parts are told. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/vu-dev.h"
#include "virtiofsd/options.h"

struct dax_vu;
struct dax_window;

struct daemon_dax {
    struct dax_vu *vu;         /* NULL: there is to be no window */
    struct dax_window *window; /* likewise */
};

/* Descriptors that the window may hold where @nofile is the limit: one for each mapped file. */
uint64_t daemon_dax_fds(const struct options *o, uint64_t nofile);
/* What the device has to offer. */
void daemon_dax_device(const struct options *o, struct vu_config *vc);
/* What must be there before the sandbox; @dev stays the caller's and lives longer. */
void daemon_dax_prepare(struct daemon_dax *x, const struct options *o, struct vu_dev *dev);
/* The window, inside the sandbox. @thread_start gets @user, first in the window's own thread.
 * Returns false with @err. */
bool daemon_dax_start(struct daemon_dax *x, const struct options *o, uint64_t nofile,
                      void (*thread_start)(void *user), void *user, GError **err);
/* Nothing else runs. */
void daemon_dax_free(struct daemon_dax *x);
