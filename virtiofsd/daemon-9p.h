/* SPDX-License-Identifier: BSD-3-Clause
 * 9P as a part of the daemon: a device of its own, and sockets. Each has a thread of its own; the
 * main thread stays with virtio-fs. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtiofsd/base/stats.h"
#include "virtiofsd/daemon-policy.h"
#include "virtiofsd/fs/fs.h"
#include "virtiofsd/options.h"

struct daemon_9p;

/* Descriptors that its own needs may take, besides what clients open. */
uint64_t daemon_9p_fds(const struct options *o);

/* Descriptors of ours that @o says we were started with. */
GArray *daemon_9p_inherited(const struct options *o);

/* The socket of a device: what the log and guests call it, and *listen_fd or *conn_fd, or both -1.
 */
struct daemon_9p_device {
    const char *where, *tag;
    int *listen_fd, *conn_fd;
};

/* Open the sockets that @o names, before the sandbox; their files (base/sock-files.h) are added to
 * @files. With --protocol=9p the socket of @dev is taken over; with virtiofs *@out is NULL, and
 * nothing done. @p must outlive *@out. False with @err. */
bool daemon_9p_open(const struct options *o, const struct daemon_policy *p,
                    const struct daemon_9p_device *dev, GPtrArray *files, struct daemon_9p **out,
                    GError **err);

/* The servers over a client of @fs, inside the sandbox. @thread_start gets @user first of all in
 * every thread that works on requests, and @session as struct vu_dev_ops has it. Returns false with
 * @err. */
bool daemon_9p_make(struct daemon_9p *x, struct fs *fs, void (*thread_start)(void *user),
                    void (*session)(void *user, bool begins), void *user, GError **err);

/* Serve in threads. Returns false with @err. */
bool daemon_9p_begin(struct daemon_9p *x, GError **err);
/* Wait until the device's front-end has gone (without --relisten). The sockets go on until then
 * when there is a device of either protocol (@front_end: there was one elsewhere), else until
 * daemon_9p_stop(). Returns false when something failed; it was logged. */
bool daemon_9p_wait(struct daemon_9p *x, bool front_end);
/* What it has counted. Between daemon_9p_make() and daemon_9p_free(), from any thread. */
void daemon_9p_stats(struct daemon_9p *x, struct stats *s);
/* The client of the core; NULL before daemon_9p_make(). */
struct fs *daemon_9p_fs(const struct daemon_9p *x);
/* Make it end soon. Async-signal-safe. */
void daemon_9p_stop(struct daemon_9p *x);
void daemon_9p_free(struct daemon_9p *x);
