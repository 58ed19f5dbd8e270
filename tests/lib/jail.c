/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/mount.h>

/* One of these exists everywhere (FHS) and is not above @writable: mounted over, it leaves nothing
 * behind in the tree outside. */
static const char *jail_dir(const char *writable)
{
    return writable && strncmp(writable, "/mnt", 4) == 0 ? "/media" : "/mnt";
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

/* As an ordinary user: be root in a user namespace of our own. */
static bool own_user_namespace(void)
{
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (unshare(CLONE_NEWUSER) != 0)
        return false;
    snprintf(map, sizeof(map), "0 %u 1", uid);
    if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", map))
        return false;
    snprintf(map, sizeof(map), "0 %u 1", gid);
    return write_file("/proc/self/gid_map", map);
}

/* The old way, for emulators that lack mount_setattr(): each mount by its name. */
static bool remount(const char *path, bool readonly)
{
    struct statvfs st;
    if (statvfs(path, &st) != 0) /* hidden below another mount: out of reach for us too */
        return errno == ENOENT || errno == ENOTDIR;
    unsigned long keep = st.f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC);
    return mount(NULL, path, NULL, MS_REMOUNT | MS_BIND | (readonly ? MS_RDONLY : 0) | keep,
                 NULL) == 0;
}

static bool remount_all(bool readonly)
{
    bool ok = true;
    FILE *f = setmntent("/proc/self/mounts", "re");
    if (!f)
        return false;
    for (struct mntent *m = getmntent(f); ok && m; m = getmntent(f))
        ok = remount(m->mnt_dir, readonly);
    endmntent(f);
    return ok;
}

static bool set_readonly(const char *path, bool readonly, unsigned flags)
{
    struct mount_attr attr = {0};

    if (readonly)
        attr.attr_set = MOUNT_ATTR_RDONLY;
    else
        attr.attr_clr = MOUNT_ATTR_RDONLY;
    if (syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attr, sizeof(attr)) == 0)
        return true;
    if (errno != ENOSYS)
        return false;
    return flags & AT_RECURSIVE ? remount_all(readonly) : remount(path, readonly);
}

static bool own_mount_namespace(void)
{
    if (geteuid() != 0 && !own_user_namespace())
        return false;
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* Make everything read-only, @writable (may be NULL) apart. */
static bool close_all_but(const char *writable)
{
    if (writable && mount(writable, writable, NULL, MS_BIND, NULL) != 0)
        return false;
    if (!set_readonly("/", true, AT_RECURSIVE))
        return false;
    return !writable || set_readonly(writable, false, 0);
}

bool jail_enter(char *dir, size_t size, const char *writable)
{
    if (!own_mount_namespace())
        return false;
    snprintf(dir, size, "%s", jail_dir(writable));
    if (!close_all_but(writable))
        return false;
    return mount("jail", dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=755") == 0;
}

bool jail_in(const char *writable)
{
    return own_mount_namespace() && close_all_but(writable);
}
