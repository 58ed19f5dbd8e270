/* SPDX-License-Identifier: BSD-3-Clause
 * Mount and network namespace: an empty root of ours, the share, and nothing else mounted. */
/* #syscalls:early chdir close fchdir fsconfig fsmount fsopen mount mount_setattr move_mount
 * #syscalls:early open_tree openat pivot_root read umount2 unshare */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

/* linux/mount.h, from Linux 5.2 and 5.12; it cannot be included beside sys/mount.h everywhere.
 * The numbers of these calls are the same on all architectures. */
#define SB_TREE_CLONE   0x01
#define SB_AT_RECURSIVE 0x8000
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_fsopen
#define SYS_fsopen   430
#define SYS_fsconfig 431
#define SYS_fsmount  432
#endif
#define SB_MOVE_F_EMPTY     0x04
#define SB_MOVE_T_EMPTY     0x40
#define SB_FSOPEN_CLOEXEC   0x01
#define SB_FSCONFIG_CREATE  6
#define SB_FSMOUNT_CLOEXEC  0x01
#define SB_ATTR_RDONLY      0x01
#define SB_ATTR_NOSUID      0x02
#define SB_ATTR_NODEV       0x04
#define SB_ATTR_NOEXEC      0x08
#define SB_ATTR_NOSYMFOLLOW 0x200000
struct sb_mount_attr {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};

static int clone_tree(int dirfd, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, dirfd, path, SB_TREE_CLONE | (unsigned)O_CLOEXEC | flags);
}

/* A copy of the mount that begins at this directory has nothing above it: no "..", no other
 * process, and needs no instance of proc of its own, which takes longer to make than all the rest.
 * It lives as long as the descriptor. */
static int open_alone(const char *dir)
{
    int fd = clone_tree(AT_FDCWD, dir, 0);
    return fd >= 0 ? fd : open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Whether a thread can say what label its next file gets: without SELinux it is no valid question.
 */
static bool labels_at_creation(void)
{
    char label[256];
    AUTO_FD int fd = open("/proc/thread-self/attr/fscreate", O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, label, sizeof(label)) >= 0;
}

void sb_open_proc(const struct sb_config *cfg, struct sb_result *out)
{
    out->proc_self_fd = open_alone("/proc/self/fd");
    if (!cfg->labels || !labels_at_creation())
        return;
    out->task_fd = open_alone("/proc/self/task");
    out->thread_fd = open("/proc/thread-self", O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

/* Whatever is wrong elsewhere, the kernel then refuses to open a device node or to follow a
 * symbolic link in the share. Mounts that the host adds later come with their own flags. */
static void harden(int tree_fd)
{
    struct sb_mount_attr attr = {.attr_set = SB_ATTR_NOSUID | SB_ATTR_NODEV | SB_ATTR_NOSYMFOLLOW};

    if (syscall(SYS_mount_setattr, tree_fd, "", AT_EMPTY_PATH | SB_AT_RECURSIVE, &attr,
                sizeof(attr)) == 0)
        return;
    attr.attr_set &= ~(uint64_t)SB_ATTR_NOSYMFOLLOW; /* Linux 5.14 */
    if (syscall(SYS_mount_setattr, tree_fd, "", AT_EMPTY_PATH | SB_AT_RECURSIVE, &attr,
                sizeof(attr)) < 0)
        log_debug("mount flags for the share not available: %s", errno_text(errno));
}

/* An empty file system of ours, read-only, without devices, programs or set-id: not mounted
 * anywhere yet. */
static int make_empty_root(void)
{
    AUTO_FD int fs = (int)syscall(SYS_fsopen, "tmpfs", SB_FSOPEN_CLOEXEC);
    if (fs < 0 || syscall(SYS_fsconfig, fs, SB_FSCONFIG_CREATE, NULL, NULL, 0) < 0)
        return -1;
    return (int)syscall(SYS_fsmount, fs, SB_FSMOUNT_CLOEXEC,
                        SB_ATTR_RDONLY | SB_ATTR_NOSUID | SB_ATTR_NODEV | SB_ATTR_NOEXEC);
}

static bool mount_over(int mount_fd, const char *dir)
{
    return syscall(SYS_move_mount, mount_fd, "", AT_FDCWD, dir,
                   SB_MOVE_F_EMPTY | (*dir ? 0 : SB_MOVE_T_EMPTY)) == 0;
}

/* Make the empty file system the root, and let go of the old one: after pivot_root(".", ".") it
 * lies over the new one, and is what "." is for umount2(). To become the root it must be mounted
 * somewhere for a moment: over the share, which is the working directory. */
static bool pivot(bool user_ns, GError **err)
{
    AUTO_FD int root = make_empty_root();
    if (root < 0 || !mount_over(root, "") || fchdir(root) < 0)
        return sb_fail_namespace(err, errno, user_ns, "cannot mount an empty root");
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return sb_fail_namespace(err, errno, user_ns, "cannot change the root");
    if (umount2(".", MNT_DETACH) < 0)
        return sb_fail(err, errno, "cannot leave the old root");
    if (chdir("/") < 0)
        return sb_fail(err, errno, "cannot enter the new root");
    return true;
}

/* A recursive copy of the share's mounts (the share is the working directory). Being copies of
 * slaves they are slaves too: what the host mounts in the share later appears, and nothing goes
 * the other way. */
static int copy_share(bool user_ns, GError **err)
{
    int tree = clone_tree(AT_FDCWD, "", AT_EMPTY_PATH | SB_AT_RECURSIVE);
    if (tree < 0 && errno == EINVAL)
        sb_fail(err, errno, "cannot copy the shared directory's mount (an unbindable one?)");
    else if (tree < 0)
        sb_fail_namespace(err, errno, user_ns, "cannot copy the mounts of the shared directory");
    else
        harden(tree);
    return tree;
}

/* The share is mounted over the root directory, below which the process stays: absolute names are
 * looked up in the empty root, and since the kernel stops at the process's root, ".." of the share
 * is the share. Nothing but a descriptor leads into it, and "/..", the way over a root. */
bool sb_ns_build(const struct sb_config *cfg, struct sb_result *out, GError **err)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0)
        return sb_fail_namespace(err, errno, out->user_ns,
                                 "cannot make a mount and a network namespace");
    /* First of all, or the host would see what follows. */
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        return sb_fail_namespace(err, errno, out->user_ns,
                                 "cannot separate our mounts from the host's");
    sb_open_proc(cfg, out);
    out->root_fd = copy_share(out->user_ns, err);
    if (out->root_fd < 0 || !pivot(out->user_ns, err))
        return false;
    if (!mount_over(out->root_fd, "/"))
        return sb_fail(err, errno, "cannot mount the shared directory");
    return true;
}
