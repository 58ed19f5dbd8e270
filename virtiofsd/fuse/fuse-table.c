/* SPDX-License-Identifier: BSD-3-Clause
 * The table of operations, of the rows in fuse-table.def. */
#include "virtiofsd/fuse/fuse-priv.h"

#define SZ(t) ((uint16_t)sizeof(struct t))

enum {
    REPLY_ENTRY = sizeof(struct fuse_entry_out),
    REPLY_ATTR = sizeof(struct fuse_attr_out),
    REPLY_OPEN = sizeof(struct fuse_open_out),
    REPLY_CREATE = sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out),
};

/* What requests mean for files that the guest has mapped: those that read, and those that change.
 */
#define LOOKS   FUSE_OP_WRITE_BACK
#define CHANGES (FUSE_OP_WRITE_BACK | FUSE_OP_CHANGE)

/* The field of the fixed part that the log shows. */
#define SHOWS(t, field) .shown = offsetof(struct t, field) + 1

#define OP(n, f, s, fl, r, i, do_, ...)    \
    [FUSE_##n] = {.name = #n,              \
                  .fixed = (f),            \
                  .strings = (s),          \
                  .flags = (fl),           \
                  .reply = (r),            \
                  .ids = (i),              \
                  .handle = fuse_do_##do_, \
                  __VA_ARGS__},

const struct fuse_op fuse_ops[FUSE_WIRE_OPS] = {
#include "virtiofsd/fuse/fuse-table.def"
};
