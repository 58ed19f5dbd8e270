/* SPDX-License-Identifier: BSD-3-Clause
 * What the operator decides about the sandbox. Options set these fields directly. */
#pragma once

#include <stdint.h>

enum sb_mode { SB_NAMESPACE, SB_CHROOT, SB_NONE };

/* What happens to a call that is not listed. KILL: dangerous ones end the process, others give
 * ENOSYS, so that a newer libc that probes for a new call goes on. LOG: it is done and logged
 * by the kernel. TRAP: SIGSYS, for a debugger. */
enum sb_action { SB_ACTION_NONE, SB_ACTION_KILL, SB_ACTION_LOG, SB_ACTION_TRAP };

/* One range of a user namespace's id map, as --uid-map and --gid-map give it. Both ends stay below
 * 2^32 - 1, and the count is at least 1. */
struct sb_idmap {
    uint32_t inside, outside, count;
};
#define SB_MAX_MAPS 16

struct sb_idmaps {
    struct sb_idmap map[SB_MAX_MAPS];
    unsigned n;
};

struct sb_policy {
    enum sb_mode mode;
    enum sb_action seccomp; /* for sb_seccomp_apply() */
    /* Namespace mode only. Empty: no user namespace for root, the caller's own id as 0 for others.
     */
    struct sb_idmaps uid_map, gid_map;
};
