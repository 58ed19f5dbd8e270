/* SPDX-License-Identifier: BSD-3-Clause
 * What the verbs of a tree and those of the core have in common: who asks, attributes, flags. The
 * names are those by which the protocols know them (virtiofsd/fs/fs.h). */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#define FS_MAX_GROUPS 32

/* Who asks. Above the core all ids are the guest's, below it they are the host's, and so is the
 * name of the security xattr. */
struct fs_cred {
    uid_t uid;
    gid_t gid;
    mode_t umask;     /* applied by the host kernel, only where there is no default ACL */
    unsigned ngroups; /* supplementary groups that matter for this request */
    gid_t groups[FS_MAX_GROUPS];
    /* Nobody has checked yet whether this user may: the host's kernel does. Else a guest's kernel
     * has, by rules of its own (groups it did not send, capabilities of a user namespace), and what
     * the host would refuse for its permissions is done all the same. */
    bool strict;
    const char *secctx_name; /* security xattr to give to a new inode, or NULL */
    const void *secctx;
    size_t secctx_len;
};

enum {
    FS_SET_MODE = 1 << 0,
    FS_SET_UID = 1 << 1,
    FS_SET_GID = 1 << 2,
    FS_SET_SIZE = 1 << 3,
    FS_SET_ATIME = 1 << 4,
    FS_SET_MTIME = 1 << 5,
    FS_SET_ATIME_NOW = 1 << 6,
    FS_SET_MTIME_NOW = 1 << 7,
    FS_SET_KILL_SUIDGID = 1 << 8, /* clear suid/sgid as the kernel does for an unprivileged user */
};

struct fs_setattr {
    unsigned valid; /* FS_SET_* */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    off_t size;
    struct timespec atime, mtime;
};

enum {
    FS_OPEN_KILL_SUIDGID = 1 << 0, /* with O_TRUNC: clear suid/sgid */
};

/* How one transfer is done: a file's flags may change from one to the next. */
enum {
    FS_WRITE_KILL_SUIDGID = 1 << 0, /* clear suid/sgid (the writer lacks CAP_FSETID) */
    FS_WRITE_CACHE = 1 << 1,        /* delayed write from the guest's cache: @file may be any */
    FS_WRITE_APPEND = 1 << 2,       /* at the end, wherever the offset is */
    FS_WRITE_SYNC = 1 << 3,         /* durable before it returns, with all attributes */
    FS_WRITE_DSYNC = 1 << 4,        /* the same with those that are needed to find the data */
    FS_IO_DIRECT = 1 << 5,          /* past the host's page cache, if the tree allows it */
    FS_IO_NOATIME = 1 << 6,         /* leaves the time of access, if tree and owner allow */
};

enum {
    FS_MAP = 1 << 0,       /* a mapping shows the file as the host sees it */
    FS_MAP_WRITE = 1 << 1, /* it can be opened for writing: share, mount, permission allow it */
    FS_MAP_SLOW = 1 << 2,  /* on a network or in another process: faults take long */
    FS_MADE_UP = 1 << 3,   /* made as it is read, or unknown: no time stamp tells of a change */
    FS_OFFSETS = 1 << 4,   /* offsets in a directory hold when it is opened again */
};

/* Where the data of a read were. */
enum tree_read {
    TREE_READ_CACHED, /* in memory, all of them */
    TREE_READ_PARTLY,
    TREE_READ_UNCACHED,
    TREE_READ_UNKNOWN, /* the file system does not tell */
    TREE_READS,
};
/* Of how many reads of a thread one is looked at: each costs the second system call that an
 * uncached one is found out by. */
#define TREE_READ_EVERY 31

enum {
    FS_XATTR_ACL_KILL_SGID = 1 << 0, /* FUSE_SETXATTR_ACL_KILL_SGID */
};
