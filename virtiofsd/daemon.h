/* SPDX-License-Identifier: BSD-3-Clause
 * The order of start and stop. */
#pragma once

#include "virtiofsd/options.h"

/* Serve what @o says until the front-end goes away or a signal ends us. Returns the exit code of
 * the process. */
int daemon_run(const struct options *o);
