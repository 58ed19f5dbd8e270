/* SPDX-License-Identifier: BSD-3-Clause
 * A directory of the host as a tree. */
#pragma once

#include "virtiofsd/tree/tree.h"

struct host_config {
    int root_fd;      /* O_PATH descriptor of the directory; taken over, on failure too */
    int proc_self_fd; /* O_PATH descriptor of /proc/self/fd; the same */
    /* O_PATH descriptors of /proc/self/task and of the link /proc/thread-self: where labels can be
     * made with the file. Taken over, too; 0 = none. */
    int task_fd, thread_fd;
    bool handles;          /* keep nodes by file handles, where those work */
    bool handles_must;     /* or fail */
    bool brokered;         /* by a broker alone */
    const int *channel;    /* to it (base/broker.h); the descriptors are taken over, too */
    unsigned channels;     /* 0: there is none, so there are no handles */
    bool fenced;           /* the kernel lets us list no directory outside of the tree (landlock) */
    bool allow_direct_io;  /* O_DIRECT holds on the host, too */
    bool preserve_noatime; /* pass on O_NOATIME where the guest's file has it */
    /* The host's name of security.capability where that is another one: its kernel then does not
     * remove it from a changed file, so we do. Else NULL. Copied. */
    const char *cap_name;
};

/* @root: the directory itself, complete, to be the first node of all. NULL with @err set to one
 * line that says what to do. */
struct tree *host_new(const struct host_config *cfg, const struct tree_core *core,
                      struct tree_found *root, GError **err);

/* Prepare the calling thread: private umask and cwd (unshare(CLONE_FS)). Once per thread. */
void host_thread_start(void);
/* Whether this thread acts as a user beyond one call. */
bool host_cred_acting(void);
