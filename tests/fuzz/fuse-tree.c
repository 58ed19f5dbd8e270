/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/fuse-tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Remove all that is in the directory @fd (taken over). Paths may be longer than any call takes. */
static void wipe(int fd)
{
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;

    if (!d)
        abort();
    while ((e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            unlinkat(fd, e->d_name, 0) == 0)
            continue;
        wipe(openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (unlinkat(fd, e->d_name, AT_REMOVEDIR) != 0)
            abort();
    }
    closedir(d);
}

static void drop_xattrs(const char *dir)
{
    char names[4096];
    ssize_t len = listxattr(dir, names, sizeof(names));
    for (const char *p = names; p < names + len; p += strlen(p) + 1)
        removexattr(dir, p);
}

static void make_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        abort();
    close(fd);
}

void fuse_tree_reset(const char *dir, unsigned more)
{
    char path[256];

    wipe(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (chown(dir, 0, 0) != 0 || chmod(dir, 0755) != 0)
        abort();
    drop_xattrs(dir);
    make_file(dir, "a", "file 0\n");
    make_file(dir, "b", "file 1\n");
    make_file(dir, "c", "file 2\n");
    snprintf(path, sizeof(path), "%s/d", dir);
    if (mkdir(path, 0755) != 0)
        abort();
    snprintf(path, sizeof(path), "%s/e", dir);
    if (symlink("/etc", path) != 0)
        abort();
    if (more == 0)
        return;
    snprintf(path, sizeof(path), "%s/f", dir);
    if (mkdir(path, 0755) != 0)
        abort();
    for (unsigned i = 0; i < more; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%u", i);
        make_file(path, name, "x");
    }
}
