/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/sb-calls.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* clang-format off */
#define AT(name)          {name, {0, -1}}
#define AT_BOTH(name)     {name, {0, 2}}
#define CWD(name)         {name, {-1, -1}}
/* clang-format on */

const struct sb_path sb_paths[] = {
    AT("openat"),
    AT("openat2"),
    AT("statx"),
    AT("newfstatat"),
    AT("name_to_handle_at"),
    AT("open_by_handle_at"),
    AT("readlinkat"),
    AT("faccessat"),
    AT("faccessat2"),
    AT("mkdirat"),
    AT("mknodat"),
    {"symlinkat", {1, -1}},
    AT_BOTH("linkat"),
    AT("unlinkat"),
    AT_BOTH("renameat"),
    AT_BOTH("renameat2"),
    AT("fchmodat"),
    AT("fchmodat2"),
    AT("fchownat"),
    AT("utimensat"),
    AT("futimesat"),
    AT("setxattrat"),
    AT("getxattrat"),
    AT("listxattrat"),
    AT("removexattrat"),
    AT("file_getattr"),
    AT("file_setattr"),
    {"fanotify_mark", {3, -1}},

    CWD("open"),
    CWD("creat"),
    CWD("stat"),
    CWD("lstat"),
    CWD("access"),
    CWD("readlink"),
    CWD("statfs"),
    CWD("chdir"),
    CWD("mkdir"),
    CWD("rmdir"),
    CWD("mknod"),
    CWD("link"),
    CWD("symlink"),
    CWD("unlink"),
    CWD("rename"),
    CWD("chmod"),
    CWD("chown"),
    CWD("lchown"),
    CWD("truncate"),
    CWD("utime"),
    CWD("utimes"),
    CWD("getxattr"),
    CWD("lgetxattr"),
    CWD("setxattr"),
    CWD("lsetxattr"),
    CWD("listxattr"),
    CWD("llistxattr"),
    CWD("removexattr"),
    CWD("lremovexattr"),
    CWD("inotify_add_watch"),
};
const size_t sb_paths_count = COUNT(sb_paths);

const struct sb_number sb_numbers[] = {
    {"fchmodat2", 452},     {"setxattrat", 463},     {"getxattrat", 464},   {"listxattrat", 465},
    {"removexattrat", 466}, {"open_tree_attr", 467}, {"file_getattr", 468}, {"file_setattr", 469},
};
const size_t sb_numbers_count = COUNT(sb_numbers);
