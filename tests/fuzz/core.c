/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/core.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuse-tree.h"
#include "tests/lib/jail.h"
#include "virtiofsd/base/log.h"

void fuzz_jail(char *dir, size_t size)
{
    char cwd[4096];

    if (!getcwd(cwd, sizeof(cwd)) || !jail_enter(dir, size, cwd)) {
        perror("private mount namespace");
        exit(77);
    }
    log_init(LOG_LVL_OFF, false);
    fs_thread_start();
}

struct tree *fuzz_tree(const char *share, const struct host_policy *policy, GError **err)
{
    struct host_config hc = {
        .policy = *policy,
        .root_fd = open(share, O_PATH | O_DIRECTORY | O_CLOEXEC),
        .proc_self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC),
    };

    return host_new(&hc, err);
}

struct fs *fuzz_core(const char *share)
{
    struct fs_config fc = {.cache = FS_CACHE_AUTO,
                           .xattr = true,
                           .max_fds = 256,
                           .max_lock_waiters = 4,
                           .max_lock_ranges = 1000};
    GError *err = NULL;

    if (mkdir(share, 0755) != 0)
        exit(77);
    fuse_tree_reset(share, 0);
    fc.tree = fuzz_tree(share, &(struct host_policy){.handles = HOST_HANDLES_NEVER}, &err);
    struct fs *fs = fc.tree ? fs_new(&fc, &err) : NULL;
    if (!fs) {
        fprintf(stderr, "%s\n", err->message);
        exit(77);
    }
    return fs;
}
