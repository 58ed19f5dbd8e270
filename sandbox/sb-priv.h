/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of the sandbox share among themselves. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>

#include "sandbox/sandbox.h"

/* Set @err to a line ending in the meaning of @code (an errno value). Returns false. */
bool sb_fail(GError **err, int code, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* The same for what namespace mode cannot do without: with the likely cause, and the modes that do
 * without it (--sandbox=chroot needs root: not with @user_ns). */
bool sb_fail_namespace(GError **err, int code, bool user_ns, const char *what);

/* Whether a call on a socket failed with a @code after which it may do better: the other end is
 * there. (ETOOMANYREFS: descriptors in flight are counted for all processes of a user.) */
static inline bool sb_error_passes(int code)
{
    return code == EINTR || code == EAGAIN || code == ENOMEM || code == ENOBUFS ||
           code == ETOOMANYREFS;
}

/* First number in a file such as a sysctl; @fallback when it cannot be read. */
long sb_read_number(const char *path, long fallback);

/* ---- sb-idmap: user namespaces ---- */

/* Leave for a new user namespace with @flags (CLONE_NEW*) made in it, its id maps written. */
bool sb_userns_enter(const struct sb_config *cfg, int flags, GError **err);
/* Whether only the caller's own ids are mapped, by default or by option; and what that means, for
 * the log. */
bool sb_idmap_is_single(const struct sb_config *cfg);
void sb_idmap_tell_single(void);

/* ---- sb-keeper: the parent ---- */

struct sb_keeper {
    int mail_fd; /* a pipe to the keeper, which has no reader when that has ended */
};

/* Fork. Returns 0 in the child with @link filled, never in the parent, which removes @cfg->files in
 * the end and sends on @cfg->notify_fd; -1 with @err set when there is no child. */
int sb_keeper_fork(struct sb_keeper *link, const struct sb_config *cfg, GError **err);
/* In the child, once its ids no longer change: die with the keeper. */
bool sb_keeper_bind(const struct sb_keeper *link, GError **err);

/* ---- sb-cgroup ---- */

/* Move process @pid and its children to the control groups in which the calling process is, as far
 * as they are other ones and may be written to. @root_fd: the root directory. Returns how many.
 * Calls openat(2), read(2), write(2) and close(2) only. */
unsigned sb_cgroup_follow(int root_fd, pid_t pid);

/* ---- sb-ns: mounts ---- */

/* In the child: mount and network namespace, the share, which is the working directory, as root.
 * The share is not given as a descriptor, since that would name a mount of the namespace we leave,
 * and not as a path, since our new user may not be allowed to walk it. */
bool sb_ns_build(const struct sb_config *cfg, struct sb_result *out, GError **err);
/* Open what is kept of /proc, while there is one: each a mount of its own where we may make one. */
void sb_open_proc(const struct sb_config *cfg, struct sb_result *out);

/* ---- sb-caps ---- */

/* Whether we hold capability @cap (CAP_*). */
bool sb_caps_have(unsigned cap);
/* Keep those of @caps that we have, empty the ambient and bounding sets, set no-new-privileges. */
bool sb_caps_keep(uint64_t caps, GError **err);

/* ---- sb-broker: the process that opens by handle ---- */

/* Start it, with out->channel leading there. Where it could open nothing, for want of the
 * capability, there is none and that is no failure. */
bool sb_broker_start(const struct sb_config *cfg, struct sb_result *out, GError **err);

/* ---- sb-landlock ---- */

/* Limit this process to what is below @share_fd. Returns 1 when done, 0 when the kernel has no
 * landlock, -errno. */
int sb_landlock(int share_fd, bool file_handles);
