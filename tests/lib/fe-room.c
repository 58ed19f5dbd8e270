/* SPDX-License-Identifier: BSD-3-Clause
 * What the Linux client makes room for, opcode by opcode. /dev/fuse does not say it; the virtio
 * driver has to. */
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/fe-bridge.h"

#define SZ(t) ((int)sizeof(struct t))

enum {
    ENTRY = sizeof(struct fuse_entry_out),
    ATTR = sizeof(struct fuse_attr_out),
    OPEN = sizeof(struct fuse_open_out),
};

/* Kinds that a number of bytes does not say; see answer_room(). */
enum { SILENT = -1, SIZE_OF_READ = -2, SIZE_OF_XATTR = -3, PAGE = -4, SIZE_OF_IOCTL = -5 };

/* Zero: the header alone. */
static const int room_of[] = {
    [FUSE_LOOKUP] = ENTRY,
    [FUSE_FORGET] = SILENT,
    [FUSE_GETATTR] = ATTR,
    [FUSE_SETATTR] = ATTR,
    [FUSE_READLINK] = PAGE,
    [FUSE_SYMLINK] = ENTRY,
    [FUSE_MKNOD] = ENTRY,
    [FUSE_MKDIR] = ENTRY,
    [FUSE_LINK] = ENTRY,
    [FUSE_OPEN] = OPEN,
    [FUSE_READ] = SIZE_OF_READ,
    [FUSE_WRITE] = SZ(fuse_write_out),
    [FUSE_STATFS] = SZ(fuse_statfs_out),
    [FUSE_GETXATTR] = SIZE_OF_XATTR,
    [FUSE_LISTXATTR] = SIZE_OF_XATTR,
    [FUSE_INIT] = SZ(fuse_init_out),
    [FUSE_OPENDIR] = OPEN,
    [FUSE_READDIR] = SIZE_OF_READ,
    [FUSE_GETLK] = SZ(fuse_lk_out),
    [FUSE_CREATE] = ENTRY + OPEN,
    [FUSE_INTERRUPT] = SILENT,
    [FUSE_BMAP] = SZ(fuse_bmap_out),
    [FUSE_IOCTL] = SIZE_OF_IOCTL,
    [FUSE_POLL] = SZ(fuse_poll_out),
    [FUSE_NOTIFY_REPLY] = SILENT,
    [FUSE_BATCH_FORGET] = SILENT,
    [FUSE_READDIRPLUS] = SIZE_OF_READ,
    [FUSE_LSEEK] = SZ(fuse_lseek_out),
    [FUSE_COPY_FILE_RANGE] = SZ(fuse_write_out),
    [FUSE_TMPFILE] = ENTRY + OPEN,
    [52 /* STATX */] = 288,
    [53 /* COPY_FILE_RANGE_64 */] = sizeof(uint64_t),
};

static int at_most(uint64_t n)
{
    return n < FE_BRIDGE_ROOM_MAX ? (int)n : (int)FE_BRIDGE_ROOM_MAX;
}

int fe_bridge_answer_room(const void *request, uint32_t len)
{
    union {
        struct fuse_read_in read;
        struct fuse_getxattr_in xattr;
        struct fuse_ioctl_in ioctl;
    } arg = {0};
    const struct fuse_in_header *h = request;
    size_t have = len - sizeof(*h);
    if (h->opcode >= sizeof(room_of) / sizeof(room_of[0]))
        return FE_BRIDGE_ROOM_MAX;
    memcpy(&arg, h + 1, have < sizeof(arg) ? have : sizeof(arg));
    int room = room_of[h->opcode];
    switch (room) {
    case SIZE_OF_READ:
        return at_most(arg.read.size);
    case SIZE_OF_XATTR:
        return arg.xattr.size ? at_most(arg.xattr.size) : SZ(fuse_getxattr_out);
    case SIZE_OF_IOCTL:
        return at_most(sizeof(struct fuse_ioctl_out) + (uint64_t)arg.ioctl.out_size);
    case PAGE:
        return (int)sysconf(_SC_PAGESIZE) - 1;
    default:
        return room;
    }
}
