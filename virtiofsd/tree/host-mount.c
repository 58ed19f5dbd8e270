/* SPDX-License-Identifier: BSD-3-Clause
 * What the files of one mount have in common, by the kind of its file system. */
/* #syscalls fstatfs statx */
#include "virtiofsd/tree/host-priv.h"

#include <sys/vfs.h>

#define MNT_KNOWN (1u << 31)

/* Before Linux 6.12's headers. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u
#endif

#define TMPFS 0x01021994

/* File systems of which something is different; other local ones on a disk or in memory are not
 * here. A layered one opens another file for writing than for reading (and copies it, which nothing
 * but a write should cause). Pseudo file systems have no pages to map, or those of a device.
 * FS_OFFSETS: those that are known to find a place in a directory by what the place is, not by
 * counting in one open file, which overlayfs does. */
static const struct {
    uint32_t magic;
    unsigned kind;
} fs_types[] = {
    {0x0000ef53, FS_MAP | FS_OFFSETS},  /* ext2, ext3, ext4 */
    {0x58465342, FS_MAP | FS_OFFSETS},  /* XFS */
    {0x9123683e, FS_MAP | FS_OFFSETS},  /* btrfs */
    {0xf2f52010, FS_MAP | FS_OFFSETS},  /* F2FS */
    {0xca451a4e, FS_MAP | FS_OFFSETS},  /* bcachefs */
    {0x2fc12fc1, FS_MAP | FS_OFFSETS},  /* ZFS */
    {0xe0f5e1e2, FS_MAP | FS_OFFSETS},  /* EROFS */
    {0x73717368, FS_MAP | FS_OFFSETS},  /* squashfs */
    {0x00009660, FS_MAP | FS_OFFSETS},  /* ISO 9660 */
    {TMPFS, FS_MAP | FS_OFFSETS},       /* since Linux 6.6 */
    {0x794c7630, 0},                    /* overlayfs */
    {0x61756673, 0},                    /* aufs */
    {0x0000f15f, 0},                    /* ecryptfs */
    {0x00009fa0, FS_MADE_UP},           /* proc */
    {0x62656572, FS_MADE_UP},           /* sysfs */
    {0x0027e0eb, FS_MADE_UP},           /* cgroup */
    {0x63677270, FS_MADE_UP},           /* cgroup2 */
    {0x64626720, FS_MADE_UP},           /* debugfs */
    {0x74726163, FS_MADE_UP},           /* tracefs */
    {0x73636673, FS_MADE_UP},           /* securityfs */
    {0x62656570, FS_MADE_UP},           /* configfs */
    {0xde5e81e4, FS_MADE_UP},           /* efivarfs */
    {0xcafe4a11, FS_MADE_UP},           /* bpf */
    {0x6165676c, FS_MADE_UP},           /* pstore */
    {0x00001cd1, FS_MADE_UP},           /* devpts */
    {0x958458f6, 0},                    /* hugetlbfs: its pages are not of the usual size */
    {0x00006969, FS_MAP | FS_MAP_SLOW}, /* NFS */
    {0xff534d42, FS_MAP | FS_MAP_SLOW}, /* CIFS */
    {0xfe534d42, FS_MAP | FS_MAP_SLOW}, /* SMB 2 */
    {0x0000517b, FS_MAP | FS_MAP_SLOW}, /* SMB */
    {0x00c36400, FS_MAP | FS_MAP_SLOW}, /* Ceph */
    {0x01021997, FS_MAP | FS_MAP_SLOW}, /* 9P */
    {0x65735546, FS_MAP | FS_MAP_SLOW}, /* FUSE */
    {0x5346414f, FS_MAP | FS_MAP_SLOW}, /* AFS */
    {0x6b414653, FS_MAP | FS_MAP_SLOW}, /* AFS, the kernel's own */
    {0x01161970, FS_MAP | FS_MAP_SLOW}, /* GFS2 */
    {0x7461636f, FS_MAP | FS_MAP_SLOW}, /* OCFS2 */
    {0x0bd00bd0, FS_MAP | FS_MAP_SLOW}, /* Lustre */
    {0x47504653, FS_MAP | FS_MAP_SLOW}, /* GPFS */
    {0x73757245, FS_MAP | FS_MAP_SLOW}, /* Coda */
    {0x786f4256, FS_MAP | FS_MAP_SLOW}, /* VirtualBox */
    {0xbacbacbc, FS_MAP | FS_MAP_SLOW}, /* VMware */
};

static unsigned kind_of_fs(uint32_t magic)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(fs_types); i++)
        if (fs_types[i].magic == magic)
            return fs_types[i].kind;
    return FS_MAP;
}

/* Linux 6.8 at least, which is as near to 6.6 as can be seen. */
static bool is_new_tmpfs(int fd)
{
    struct statx stx;

    return statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE, &stx) == 0 &&
           (stx.stx_mask & STATX_MNT_ID_UNIQUE);
}

unsigned host_mount_kind(struct tree *t, struct tree_node *node)
{
    struct host_mnt *mnt = host_mnt(node);
    struct statfs st;
    uint32_t kind = atomic_load_explicit(&mnt->map, memory_order_relaxed);

    if (kind & MNT_KNOWN)
        return kind & ~MNT_KNOWN;
    int fd = atomic_load(&mnt->fd);
    if (fd < 0)
        fd = host_fd(host_of(t), node);
    if (fd < 0 || fstatfs(fd, &st) != 0)
        return FS_MADE_UP;
    kind = kind_of_fs((uint32_t)st.f_type);
    if (st.f_type == TMPFS && !is_new_tmpfs(fd))
        kind &= ~(unsigned)FS_OFFSETS;
    if ((kind & FS_MAP) && !(st.f_flags & ST_RDONLY))
        kind |= FS_MAP_WRITE;
    atomic_store_explicit(&mnt->map, kind | MNT_KNOWN, memory_order_relaxed);
    return kind;
}
