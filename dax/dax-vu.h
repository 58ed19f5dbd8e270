/* SPDX-License-Identifier: BSD-3-Clause
 * The window's messages over the vhost-user back-end channel (BACKEND_SHMEM_MAP, _UNMAP), and what
 * a given front-end needs besides: one dialect a row in dax-vu.c. */
#pragma once

#include "dax/dax-policy.h"
#include "dax/dax-window.h"

struct vu_backend;
struct dax_vu;

const struct dax_dialect *dax_dialect_of(enum dax_dialect_name name);
/* The protocol feature bit to offer: 22, or what the front-end was built with. */
unsigned dax_dialect_bit(const struct dax_dialect *d);
/* Whether CONFIGURE_MEM_SLOTS may be offered together with the window. */
bool dax_dialect_mem_slots(const struct dax_dialect *d);

/* Binds the dialect to a channel; the two stay the caller's and live longer. Call it before the
 * sandbox is entered: the files that the probe maps are made here, which needs /proc. */
struct dax_vu *dax_vu_new(const struct dax_dialect *d, struct vu_backend *channel);
void dax_vu_free(struct dax_vu *v);
extern const struct dax_ops dax_vu_ops; /* user = struct dax_vu */
