/* SPDX-License-Identifier: BSD-3-Clause
 * FUSE wire structures: the kernel's header, plus what older ones of it do not have yet.
 * Checked against the 7.46 header of Linux 7.3. */
#pragma once

#include <linux/fuse.h>
#include <stddef.h>
#include <string.h>

#ifndef FUSE_CREATE_SUPP_GROUP
#define FUSE_CREATE_SUPP_GROUP (1ULL << 34)
#endif
#ifndef FUSE_ALLOW_IDMAP
#define FUSE_ALLOW_IDMAP (1ULL << 40)
#endif
#ifndef FUSE_DIRECT_IO_ALLOW_MMAP
#define FUSE_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#endif

/* Units of 8 bytes of extensions that a header announces, from 7.38 on (total_extlen): the first
 * half of what was padding behind the pid. Headers before that release do not have its name, some
 * of 6.1 have. */
static inline uint16_t fuse_wire_extlen(const struct fuse_in_header *in)
{
    uint16_t units;

    memcpy(&units, (const char *)in + offsetof(struct fuse_in_header, pid) + sizeof(in->pid),
           sizeof(units));
    return units;
}

/* Since 7.38 the security context header doubles as the header of every extension: a type up to
 * FUSE_MAX_NR_SECCTX_ is a count of contexts. */
#define FUSE_MAX_NR_SECCTX_ 31
#define FUSE_EXT_GROUPS_    32

#if FUSE_KERNEL_MINOR_VERSION < 39
#define FUSE_STATX 52
struct fuse_sx_time {
    int64_t tv_sec;
    uint32_t tv_nsec;
    int32_t __reserved;
};
struct fuse_statx {
    uint32_t mask;
    uint32_t blksize;
    uint64_t attributes;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;
    uint16_t __spare0[1];
    uint64_t ino;
    uint64_t size;
    uint64_t blocks;
    uint64_t attributes_mask;
    struct fuse_sx_time atime;
    struct fuse_sx_time btime;
    struct fuse_sx_time ctime;
    struct fuse_sx_time mtime;
    uint32_t rdev_major;
    uint32_t rdev_minor;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint64_t __spare2[14];
};
struct fuse_statx_in {
    uint32_t getattr_flags;
    uint32_t reserved;
    uint64_t fh;
    uint32_t sx_flags;
    uint32_t sx_mask;
};
struct fuse_statx_out {
    uint64_t attr_valid;
    uint32_t attr_valid_nsec;
    uint32_t flags;
    uint64_t spare[2];
    struct fuse_statx stat;
};
#endif

#if FUSE_KERNEL_MINOR_VERSION < 45
#define FUSE_COPY_FILE_RANGE_64 53
struct fuse_copy_file_range_out {
    uint64_t bytes_copied;
};
#endif

#define FUSE_WIRE_OPS 54 /* one more than the largest opcode known here */

/* The minor version we speak, and the oldest we answer (Linux 4.18; virtio-fs came with 7.31). */
#define FUSE_WIRE_MINOR     41
#define FUSE_WIRE_MIN_MINOR 27
/* Since when a request's header counts its extensions. */
#define FUSE_WIRE_EXT_MINOR 38
