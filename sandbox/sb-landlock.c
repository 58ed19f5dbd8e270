/* SPDX-License-Identifier: BSD-3-Clause
 * Landlock: the kernel checks every opening, making and removing by where in the tree it happens.
 * The one layer that needs neither privilege nor namespaces. */
/* #syscalls:early close landlock_add_rule landlock_create_ruleset landlock_restrict_self prctl */
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/log.h"

/* Rights by the version of the interface that brought them; headers may be older than kernels. */
#define RIGHT(n)     (UINT64_C(1) << (n))
#define R_EXECUTE    RIGHT(0)
#define R_WRITE_FILE RIGHT(1)
#define R_READ_FILE  RIGHT(2)
#define R_V1         (RIGHT(13) - 1)
#define R_REFER      RIGHT(13) /* 2: links and renames between directories */
#define R_TRUNCATE   RIGHT(14) /* 3 */
#define R_IOCTL_DEV  RIGHT(15) /* 5 */
#define NET_TCP      3u        /* 4: bind, connect */
#define SCOPES       3u        /* 6: abstract Unix sockets, signals */

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

/* What of a file is checked when it is opened by handle: a file whose directory is not in the
 * kernel's cache then has no place in the tree, so these rights can never be granted. With file
 * handles they are left out of what landlock controls; CAP_DAC_READ_SEARCH opens any file of the
 * file system by its handle anyway. Making, removing and listing stay limited to the share:
 * directories are always connected. */
#define R_BY_HANDLE (R_EXECUTE | R_WRITE_FILE | R_READ_FILE | R_TRUNCATE | R_IOCTL_DEV)

static struct ruleset_attr rights_of(int version, bool file_handles)
{
    struct ruleset_attr a = {.fs = R_V1};

    if (version >= 2)
        a.fs |= R_REFER;
    if (version >= 3)
        a.fs |= R_TRUNCATE;
    if (version >= 4)
        a.net = NET_TCP;
    if (version >= 5)
        a.fs |= R_IOCTL_DEV;
    if (version >= 6)
        a.scoped = SCOPES;
    if (file_handles)
        a.fs &= ~(uint64_t)R_BY_HANDLE;
    return a;
}

int sb_landlock(int share_fd, bool file_handles)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    /* Version 1 forbids every link and rename between directories: the guest would see EXDEV. */
    if (version < 2) {
        log_debug("no landlock in this kernel, or too old a one");
        return 0;
    }
    struct ruleset_attr attr = rights_of((int)version, file_handles);
    AUTO_FD int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (ruleset < 0)
        return -errno;
    struct landlock_path_beneath_attr share = {.allowed_access = attr.fs, .parent_fd = share_fd};
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &share, 0) < 0)
        return -errno;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        return -errno;
    return 1;
}
