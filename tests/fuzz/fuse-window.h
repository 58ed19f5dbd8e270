/* SPDX-License-Identifier: BSD-3-Clause
 * A DAX window whose front-end checks what it is asked for, and refuses some of it. */
#pragma once

#include "dax/dax-window.h"

enum { FUSE_WINDOW_PAGE = 4096, FUSE_WINDOW_PAGES = 2048 };

struct dax_window *fuse_window_new(void);
/* What is refused counts from here. */
void fuse_window_begin(void);
