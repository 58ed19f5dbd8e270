/* SPDX-License-Identifier: BSD-3-Clause
 * The system calls of the daemon: who may make them, and why. Read by the build tool gen-seccomp
 * only; the daemon itself carries the finished programs. */
#pragma once

#include <stddef.h>

/* Threads, as bits (see enum sb_thread). Everything a lock waiter may do is allowed
 * to the process as well, since its filter is above theirs. */
enum {
    C = 1 << 0, /* control thread */
    W = 1 << 1, /* queue worker */
    L = 1 << 2, /* lock waiter */
    K = 1 << 3, /* keeper, outside the sandbox */
    H = 1 << 5, /* queue worker, where no broker opens by handle for it */
    B = 1 << 6, /* broker */
    S = 1 << 4, /* the process that answers for another file system, outside too */
};

/* What else must hold for a call to be allowed. */
enum sb_cond {
    COND_NONE,
    COND_THREAD,   /* clone: a thread of this process, nothing else */
    COND_NO_EXEC,  /* mmap, mprotect: memory that is not executable */
    COND_PRIVATE,  /* unshare: CLONE_FS only */
    COND_SET_NAME, /* prctl: PR_SET_NAME only */
    COND_FILTER,   /* seccomp: SECCOMP_SET_MODE_FILTER only */
    COND_CWD,      /* a path from the working directory: only where the kernel has no such call that
                      takes a directory */
};

struct sb_call {
    const char *name;
    unsigned threads;
    const char *why;
    enum sb_cond cond;
};

/* Allowed calls, in the order of their names: collected by gen-calls.py. */
extern const struct sb_call sb_calls[];
extern const size_t sb_calls_count;

/* Calls that no part of the daemon ever makes, and that nobody makes by accident: under
 * --seccomp=kill they end the process. */
extern const char *const sb_deadly[];
extern const size_t sb_deadly_count;

/* Calls that take a path, and which of their arguments are the directories it may begin at (-1:
 * none). Without a directory of ours (AT_FDCWD, or no such argument) they find nothing: ENOENT to
 * all threads, whether the call is listed above or not and whatever --seccomp makes of those that
 * are not. So no library opens by an absolute name what the guest put there, where the share is the
 * root; and none dies of asking. A call that is deadly stays so. */
struct sb_path {
    const char *name;
    signed char dirs[2];
};
extern const struct sb_path sb_paths[];
extern const size_t sb_paths_count;

/* Calls that are newer than the libseccomp we may be built with; since Linux 5.1 a new call has the
 * same number on all architectures. */
struct sb_number {
    const char *name;
    int nr;
};
extern const struct sb_number sb_numbers[];
extern const size_t sb_numbers_count;
