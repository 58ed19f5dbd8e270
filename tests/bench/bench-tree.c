/* SPDX-License-Identifier: BSD-3-Clause
 * The files that are measured on. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/bench.h"

static void fill(const char *path, const char *dir, unsigned count, size_t len)
{
    static char block[BN_WALK_LEN];
    char name[4200];
    memset(block, 'b', sizeof(block));
    snprintf(name, sizeof(name), "%s/%s", path, dir);
    if (mkdir(name, 0755) < 0)
        bn_die("%s: %s", name, strerror(errno));
    int at = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "f%05u", i);
        int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, block, len) != (ssize_t)len)
            bn_die("%s/%s: %s", dir, name, strerror(errno));
        close(fd);
    }
    close(at);
}

void bn_tree_make(const char *path, bool many)
{
    fprintf(stderr, "ring-bench: making files in %s\n", path);
    if (mkdir(path, 0755) < 0)
        bn_die("%s: %s", path, strerror(errno));
    fill(path, "known", BN_KNOWN, 0);
    fill(path, "walk", BN_WALK, BN_WALK_LEN);
    fill(path, "big", BN_BIG, 0);
    if (many)
        fill(path, "many", BN_MANY, 0);
    char name[4200];
    snprintf(name, sizeof(name), "%s/data", path);
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    char *block = malloc(BN_DATA_MAX);
    if (fd < 0 || !block)
        bn_die("%s: %s", name, strerror(errno));
    memset(block, 'd', BN_DATA_MAX);
    for (unsigned i = 0; i < BN_FILE_LEN / BN_DATA_MAX; i++)
        if (write(fd, block, BN_DATA_MAX) != (ssize_t)BN_DATA_MAX)
            bn_die("%s: %s", name, strerror(errno));
    free(block);
    close(fd);
    sync(); /* the write-back of all this shall not run while we measure */
}
