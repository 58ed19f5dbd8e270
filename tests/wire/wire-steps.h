/* SPDX-License-Identifier: BSD-3-Clause
 * Requests as rows of a driver's table, and looks at their answers. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/wire/wire-driver.h"

#define ENTRY   sizeof(struct fuse_entry_out)
#define OPENED  sizeof(struct fuse_open_out)
#define CREATED (ENTRY + OPENED)
#define ATTR    sizeof(struct fuse_attr_out)
#define STATFS  sizeof(struct fuse_statfs_out)

#define IN(...)     \
    {               \
        __VA_ARGS__ \
    }
#define AS(type, ...) &(const struct type){__VA_ARGS__}, sizeof(struct type)
#define COUNT(a)      (sizeof(a) / sizeof((a)[0]))

/* ---- looks: each fails the test when the answer is another ---- */

void is_dir(const struct answer *a);
void is_file(const struct answer *a);
void is_link(const struct answer *a);
void size_is_5(const struct answer *a);
void size_is_7(const struct answer *a);
void size_is_2(const struct answer *a);
void mode_is_444(const struct answer *a);
void says_hello(const struct answer *a);
void says_file(const struct answer *a);
/* LSEEK. */
void at_6(const struct answer *a);
/* STATFS. */
void long_names(const struct answer *a);
/* READDIRPLUS: every entry has a type, in its attributes too, and "." and ".." no node. */
void entries_plus(const struct answer *a);
/* READDIR: the first entry, which is all that some look at. */
void one_entry(const struct answer *a);

/* ---- what several of them ask ---- */

#define LOOKUP(dir, n, ...)                                                                \
    {                                                                                      \
        .what = "LOOKUP " n, .op = FUSE_LOOKUP, .node = (dir), .name = (n), .room = ENTRY, \
        __VA_ARGS__                                                                        \
    }
#define FOUND(reg, fn) .size = ENTRY, .node_to = (reg), .look = (fn)
#define FORGET(n, ...)                                                  \
    {                                                                   \
        .what = "FORGET", .op = FUSE_FORGET, .node = (n), .room = -1,   \
        __VA_ARGS__.in = IN(AS(fuse_forget_in, .nlookup = 1), REG_NONE) \
    }
#define GETATTR(n, f, h, ...)                                                               \
    {                                                                                       \
        .what = "GETATTR", .op = FUSE_GETATTR, .node = (n),                                 \
        .in = IN(AS(fuse_getattr_in, .getattr_flags = (f)), h), .room = ATTR, .size = ATTR, \
        __VA_ARGS__                                                                         \
    }
#define SETATTR(n, h, fn, ...)                                                                  \
    {                                                                                           \
        .what = "SETATTR", .op = FUSE_SETATTR, .node = (n),                                     \
        .in = IN(AS(fuse_setattr_in, __VA_ARGS__), h), .room = ATTR, .size = ATTR, .look = (fn) \
    }
#define OPEN_AS(o, n, f, reg)                                                                \
    {                                                                                        \
        .what = #o, .op = (o), .node = (n),                                                  \
        .in = IN(AS(fuse_open_in, .flags = (f), .open_flags = 0), REG_NONE), .room = OPENED, \
        .size = OPENED, .fh_to = (reg)                                                       \
    }
#define READ_AS(o, n, h, s, fn)                                                         \
    {                                                                                   \
        .what = #o, .op = (o), .node = (n), .in = IN(AS(fuse_read_in, .size = (s)), h), \
        .room = (s), .look = (fn)                                                       \
    }
#define WRITE_5(n, h)                                                                              \
    {                                                                                              \
        .what = "WRITE", .op = FUSE_WRITE, .node = (n), .in = IN(AS(fuse_write_in, .size = 5), h), \
        .name = "data", .room = 8, .size = 8                                                       \
    }
#define FLUSH(n, h)                                     \
    {                                                   \
        .what = "FLUSH", .op = FUSE_FLUSH, .node = (n), \
        .in = IN(AS(fuse_flush_in, .unused = 0), h)     \
    }
#define FSYNC(n, h)                                     \
    {                                                   \
        .what = "FSYNC", .op = FUSE_FSYNC, .node = (n), \
        .in = IN(AS(fuse_fsync_in, .padding = 0), h)    \
    }
#define RELEASE_AS(o, n, h, ...)                                                          \
    {                                                                                     \
        .what = #o, .op = (o), .node = (n), .in = IN(AS(fuse_release_in, .flags = 0), h), \
        __VA_ARGS__                                                                       \
    }
#define REMOVE_AS(o, dir, n, ...)                                            \
    {                                                                        \
        .what = #o " " n, .op = (o), .node = (dir), .name = (n), __VA_ARGS__ \
    }
#define MKDIR(dir, n, m, reg)                                                           \
    {                                                                                   \
        .what = "MKDIR " n, .op = FUSE_MKDIR, .node = (dir),                            \
        .in = IN(AS(fuse_mkdir_in, .mode = (m)), REG_NONE), .name = (n), .room = ENTRY, \
        FOUND(reg, is_dir)                                                              \
    }
#define CREATE(dir, n, f, o, m, reg)                                                          \
    {                                                                                         \
        .what = "CREATE " n, .op = FUSE_CREATE, .node = (dir),                                \
        .in = IN(AS(fuse_create_in, .flags = (f), .open_flags = (o), .mode = (m)), REG_NONE), \
        .name = (n), .room = CREATED, .size = CREATED, .node_to = (reg), .fh_to = REG_FH,     \
        .look = is_file                                                                       \
    }
#define RENAME(dir, from, to)                                                              \
    {                                                                                      \
        .what = "RENAME", .op = FUSE_RENAME, .node = (dir), .name = (from), .name2 = (to), \
        .in = IN(NULL, sizeof(struct fuse_rename_in), dir)                                 \
    }
#define RENAME2(dir, from, to, f, ...)                                                       \
    {                                                                                        \
        .what = "RENAME2", .op = FUSE_RENAME2, .node = (dir), .name = (from), .name2 = (to), \
        .in = IN(AS(fuse_rename2_in, .flags = (f)), dir), __VA_ARGS__                        \
    }
#define LSEEK(n, h, off, wh, fn)                                                            \
    {                                                                                       \
        .what = "LSEEK", .op = FUSE_LSEEK, .node = (n), .room = 8, .size = 8, .look = (fn), \
        .in = IN(AS(fuse_lseek_in, .offset = (off), .whence = (wh)), h)                     \
    }
#define ASK_STATFS                                                                             \
    {                                                                                          \
        .what = "STATFS", .op = FUSE_STATFS, .node = REG_ROOT, .room = STATFS, .size = STATFS, \
        .look = long_names                                                                     \
    }
#define DESTROY(n)                                         \
    {                                                      \
        .what = "DESTROY", .op = FUSE_DESTROY, .node = (n) \
    }
