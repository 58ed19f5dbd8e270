/* SPDX-License-Identifier: BSD-3-Clause
 * A directory of the host as a tree. */
#pragma once

#include "virtiofsd/tree/host-policy.h"
#include "virtiofsd/tree/tree.h"

struct host_config {
    struct host_policy policy;
    int root_fd;      /* O_PATH descriptor of the directory; taken over, on failure too */
    int proc_self_fd; /* O_PATH descriptor of /proc/self/fd; the same */
    /* O_PATH descriptors of /proc/self/task and of the link /proc/thread-self: where labels can be
     * made with the file. Taken over, too; 0 = none. */
    int task_fd, thread_fd;
    const int *channel; /* to the broker (base/broker.h); the descriptors are taken over, too */
    unsigned channels;  /* 0: there is none, which leaves FENCED without handles */
    bool fenced;        /* the kernel lets us list no directory outside of the tree (landlock) */
};

/* NULL with @err set to one line that says what to do. */
struct tree *host_new(const struct host_config *cfg, GError **err);

/* Prepare the calling thread: private umask and cwd (unshare(CLONE_FS)). Once per thread. */
void host_thread_start(void);
/* Whether this thread acts as a user beyond one call. */
bool host_cred_acting(void);
