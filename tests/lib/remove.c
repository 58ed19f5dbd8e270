/* SPDX-License-Identifier: BSD-3-Clause
 * What may be removed: folders without mounts. */
#include "tests/lib/remove.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Undo the kernel's \040 and the like, in place. */
static void unescape(char *s)
{
    char *to = s;
    for (unsigned char c = 0; *s; *to++ = (char)c) {
        c = (unsigned char)*s++;
        if (c == '\\' && strspn(s, "01234567") >= 3) {
            c = (unsigned char)(((s[0] - '0') << 6) | ((s[1] - '0') << 3) | (s[2] - '0'));
            s += 3;
        }
    }
    *to = 0;
}

static bool at_or_below(const char *point, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(point, dir, n) == 0 && (point[n] == 0 || point[n] == '/' || dir[n - 1] == '/');
}

bool mounts_below(const char *dir)
{
    char *real = realpath(dir, NULL), *line = NULL, point[4096];
    if (!real && errno == ENOENT)
        return false;
    size_t size = 0;
    FILE *f = fopen("/proc/self/mountinfo", "re");
    bool found = !real || !f;
    while (!found && getline(&line, &size, f) > 0) {
        if (sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1)
            continue;
        unescape(point);
        found = at_or_below(point, real);
    }
    free(line);
    free(real);
    if (f)
        fclose(f);
    return found;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

bool remove_tree(const char *dir)
{
    if (mounts_below(dir)) {
        fprintf(stderr, "not removed: %s, for something is mounted there\n", dir);
        return false;
    }
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0;
}
