/* SPDX-License-Identifier: BSD-3-Clause
 * Run a function inside a finished sandbox, in a process of its own. */
#pragma once

#include <sys/types.h>

#include "sandbox/sandbox.h"

#define SB_RUN_USER 65534 /* the ordinary user of these tests */

enum { SB_RUN_FAILED = 98, SB_RUN_IMPOSSIBLE = 77 }; /* exit codes beside those of the body */

struct sb_run {
    struct sb_config cfg;
    bool as_user;           /* give up root first */
    enum sb_action seccomp; /* none: namespaces and capabilities have to hold alone */
};

/* What the body returns is the exit code of the process. It may use only what the filters allow:
 * no cmocka assertions. */
typedef int sb_run_fn(const struct sb_result *r, void *arg);

/* Start it. Returns the process (in namespace mode the keeper). */
pid_t sb_run_start(const struct sb_run *run, sb_run_fn *body, void *arg);
/* Start it and wait. Returns the wait status. */
int sb_run(const struct sb_run *run, sb_run_fn *body, void *arg);

/* Make @share, a directory below @dir, and @secret, a file beside it: paths of at most @size bytes.
 */
bool sb_run_tree(const char *dir, char *share, char *secret, size_t size);
