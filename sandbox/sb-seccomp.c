/* SPDX-License-Identifier: BSD-3-Clause
 * Stage 5 of the isolation: load a finished seccomp program. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "sandbox/sb-programs.h"

#define PROGRAM(p)                                            \
    {                                                         \
        sizeof(p) / sizeof((p)[0]), (struct sock_filter *)(p) \
    }
#define PROGRAMS(thread)                                     \
    {                                                        \
        [SB_ACTION_KILL] = PROGRAM(sb_prog_##thread##_kill), \
        [SB_ACTION_LOG] = PROGRAM(sb_prog_##thread##_log),   \
        [SB_ACTION_TRAP] = PROGRAM(sb_prog_##thread##_trap), \
    }

static const struct sock_fprog programs[][4] = {
    [SB_THREAD_PROCESS] = PROGRAMS(process),
    [SB_THREAD_WORKER] = PROGRAMS(worker),
    [SB_THREAD_LOCK] = PROGRAMS(lock),
    [SB_THREAD_KEEPER] = PROGRAMS(keeper),
};

bool sb_action_parse(const char *text, enum sb_action *out)
{
    static const char *const names[] = {[SB_ACTION_NONE] = "none",
                                        [SB_ACTION_KILL] = "kill",
                                        [SB_ACTION_LOG] = "log",
                                        [SB_ACTION_TRAP] = "trap"};

    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum sb_action)i;
            return true;
        }
    }
    return false;
}

int sb_seccomp_apply(enum sb_thread thread, enum sb_action action)
{
    if (action == SB_ACTION_NONE)
        return 0;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &programs[thread][action]) < 0)
        return -errno;
    return 0;
}
