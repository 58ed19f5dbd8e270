/* SPDX-License-Identifier: BSD-3-Clause
 * Stage 5 of the isolation: load a finished seccomp program. */
/* #syscalls seccomp */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "sandbox/sb-programs.h"
#include "virtiofsd/base/xattr-at.h"

#define PROGRAM(p)                                            \
    {                                                         \
        sizeof(p) / sizeof((p)[0]), (struct sock_filter *)(p) \
    }
/* The first one is for a kernel that can do without paths from the working directory. */
#define PAIR(p)                            \
    {                                      \
        PROGRAM(p##_at), PROGRAM(p##_cwd), \
    }
#define PROGRAMS(thread)                                  \
    {                                                     \
        [SB_ACTION_KILL] = PAIR(sb_prog_##thread##_kill), \
        [SB_ACTION_LOG] = PAIR(sb_prog_##thread##_log),   \
        [SB_ACTION_TRAP] = PAIR(sb_prog_##thread##_trap), \
    }

static const struct sock_fprog programs[][4][2] = {
    [SB_THREAD_PROCESS] = PROGRAMS(process), [SB_THREAD_FENCED] = PROGRAMS(fenced),
    [SB_THREAD_LOCK] = PROGRAMS(lock),       [SB_THREAD_KEEPER] = PROGRAMS(keeper),
    [SB_THREAD_BROKER] = PROGRAMS(broker),   [SB_THREAD_STATFS] = PROGRAMS(statfs),
};

int sb_seccomp_apply(enum sb_thread thread, enum sb_action action)
{
    if (action == SB_ACTION_NONE)
        return 0;
    const struct sock_fprog *p = &programs[thread][action][!xattr_at_usable()];
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, p) < 0)
        return -errno;
    return 0;
}
