/* SPDX-License-Identifier: BSD-3-Clause
 * Files of the host that are mapped into guest memory (the DAX window): which, and how they are
 * opened.
 *
 * A mapping needs a descriptor of the file itself, and with most front-ends one that may write. So
 * it is found out once for each inode whether it can be opened so, without doing it: an open and a
 * close for writing would wake up whoever watches the file on the host. Programs are the exception:
 * only an open tells that one is being run (ETXTBSY). */
/* #syscalls close faccessat fchmodat fstat fstatfs */
#include "virtiofsd/tree/host-priv.h"

#include <sys/vfs.h>

#define MNT_KNOWN (1u << 31)

/* File systems of which something is different; local ones on a disk or in memory are not here. A
 * layered one opens another file for writing than for reading (and copies it, which nothing but a
 * write should cause). Pseudo file systems have no pages to map, or those of a device. */
static const struct {
    uint32_t magic;
    unsigned kind;
} fs_types[] = {
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
    if ((kind & FS_MAP) && !(st.f_flags & ST_RDONLY))
        kind |= FS_MAP_WRITE;
    atomic_store_explicit(&mnt->map, kind | MNT_KNOWN, memory_order_relaxed);
    return kind;
}

bool host_may_map_write(struct tree *t, struct tree_node *node, mode_t mode, bool immutable)
{
    struct host *h = host_of(t);
    char num[FD_NAME_LEN];
    int fd;

    if (immutable || (fd = host_fd(h, node)) < 0)
        return false;
    if (mode & 0111) {
        AUTO_FD int real = host_open_node(h, node, O_RDWR | O_NONBLOCK);
        return real >= 0;
    }
    return faccessat(h->proc_self_fd, host_fd_name(num, fd), W_OK, AT_EACCESS) == 0;
}

int host_map_open(struct tree *t, struct tree_node *node, bool write)
{
    return host_open_node(host_of(t), node, write ? O_RDWR : O_RDONLY);
}

/* No system call of ours stores, so none clears the set-id bits: as write(2) does it. */
static int clear_set_id(struct host *h, int fd)
{
    char num[FD_NAME_LEN];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    mode_t gone = (st.st_mode & S_ISUID) | (st.st_mode & S_IXGRP ? st.st_mode & S_ISGID : 0);
    if (G_LIKELY(gone == 0))
        return 0;
    return fchmodat(h->proc_self_fd, host_fd_name(num, fd), st.st_mode & 07777 & ~gone, 0) == 0
               ? 0
               : -errno;
}

int host_map_store(struct tree *t, struct tree_node *node, unsigned how)
{
    struct host *h = host_of(t);

    if (G_LIKELY(!h->tree.core.cap_name && !(how & FS_WRITE_KILL_SUIDGID)))
        return 0;
    int fd = host_fd(h, node);
    int rc = fd < 0 ? fd : host_caps_drop(h, node, fd);
    return rc == 0 && (how & FS_WRITE_KILL_SUIDGID) ? clear_set_id(h, fd) : rc;
}
