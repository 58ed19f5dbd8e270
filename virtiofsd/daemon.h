/* SPDX-License-Identifier: BSD-3-Clause
 * The order of start and stop. */
#pragma once

#include "virtiofsd/daemon-tree.h"
#include "virtiofsd/options.h"

/* Serve what @o says until the front-end goes away or a signal ends us; @make_tree makes what is
 * served, in the sandbox. Returns the exit code of the process. */
int daemon_run(const struct options *o, daemon_tree_fn *make_tree);

/* The same by the command line, whose mistakes it says on stderr. */
int daemon_main(int argc, char **argv, daemon_tree_fn *make_tree);
