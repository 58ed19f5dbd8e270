/* SPDX-License-Identifier: BSD-3-Clause
 * The table of operations: one row says all that is known of one before it is done. Whoever adds
 * one writes a row here, its function, and what tests/wire/test-wire-request.c asks for. */
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

#define OP(n, f, s, fl, r, i, ...) \
    [FUSE_##n] = {.name = #n,      \
                  .fixed = (f),    \
                  .strings = (s),  \
                  .flags = (fl),   \
                  .reply = (r),    \
                  .ids = (i),      \
                  __VA_ARGS__}
#define OURS(f) .handle = fuse_do_##f
/* libfuse decodes it and calls @f, which must be of the type that libfuse has in the place @slot.
 */
#define LIBFUSE(slot_, f)                                                                      \
    .libfuse = {offsetof(struct fuse_lowlevel_ops, slot_),                                     \
                __builtin_choose_expr(__builtin_types_compatible_p(                            \
                                          __typeof__(&fuse_op_##f),                            \
                                          __typeof__(((struct fuse_lowlevel_ops *)0)->slot_)), \
                                      (void (*)(void))fuse_op_##f, "not of libfuse's type")}

/* The field of the fixed part that the log shows. */
#define SHOWS(t, field) .shown = offsetof(struct t, field) + 1

/* Opcodes that are not here (IOCTL, POLL, BMAP, CUSE) are answered with ENOSYS, which the guest
 * remembers. */
const struct fuse_op fuse_ops[FUSE_WIRE_OPS] = {
    /* opcode, fixed part, strings, flags, room for the answer, ids, who does it */
    OP(LOOKUP, 0, 1, 0, REPLY_ENTRY, IDS_UNUSED, OURS(lookup)),
    OP(FORGET, SZ(fuse_forget_in), 0, FUSE_OP_NOREPLY | FUSE_OP_SURPLUS, 0, IDS_UNUSED,
       OURS(forget)),
    OP(GETATTR, SZ(fuse_getattr_in), 0, FUSE_OP_SURPLUS | LOOKS, REPLY_ATTR, IDS_UNUSED,
       OURS(getattr), SHOWS(fuse_getattr_in, getattr_flags)),
    OP(SETATTR, SZ(fuse_setattr_in), 0, FUSE_OP_SURPLUS | CHANGES, REPLY_ATTR, IDS_UNUSED,
       LIBFUSE(setattr, setattr), SHOWS(fuse_setattr_in, valid)),
    OP(READLINK, 0, 0, FUSE_OP_SURPLUS, 1, IDS_UNUSED, LIBFUSE(readlink, readlink)),
    OP(SYMLINK, 0, 2, FUSE_OP_EXT, REPLY_ENTRY, IDS_MAKER, LIBFUSE(symlink, symlink)),
    OP(MKNOD, SZ(fuse_mknod_in), 1, FUSE_OP_EXT, REPLY_ENTRY, IDS_MAKER, LIBFUSE(mknod, mknod)),
    OP(MKDIR, SZ(fuse_mkdir_in), 1, FUSE_OP_EXT, REPLY_ENTRY, IDS_MAKER, LIBFUSE(mkdir, mkdir)),
    OP(UNLINK, 0, 1, 0, 0, IDS_UNUSED, LIBFUSE(unlink, unlink)),
    OP(RMDIR, 0, 1, 0, 0, IDS_UNUSED, LIBFUSE(rmdir, rmdir)),
    OP(RENAME, SZ(fuse_rename_in), 2, 0, 0, IDS_UNUSED, LIBFUSE(rename, rename)),
    OP(LINK, SZ(fuse_link_in), 1, 0, REPLY_ENTRY, IDS_UNUSED, LIBFUSE(link, link)),
    OP(OPEN, SZ(fuse_open_in), 0, FUSE_OP_SURPLUS | CHANGES, REPLY_OPEN, IDS_UNUSED, OURS(open),
       SHOWS(fuse_open_in, flags)),
    OP(READ, SZ(fuse_read_in), 0, FUSE_OP_SURPLUS | LOOKS, 0, IDS_UNUSED, OURS(read),
       SHOWS(fuse_read_in, flags)),
    OP(WRITE, SZ(fuse_write_in), 0, FUSE_OP_DATA | CHANGES, SZ(fuse_write_out), IDS_UNUSED,
       OURS(write), SHOWS(fuse_write_in, flags)), /* set-id bits: a flag of the request */
    OP(STATFS, 0, 0, FUSE_OP_SURPLUS, SZ(fuse_statfs_out), IDS_UNUSED, LIBFUSE(statfs, statfs)),
    OP(RELEASE, SZ(fuse_release_in), 0, FUSE_OP_SURPLUS | LOOKS, 0, IDS_UNUSED, OURS(release),
       SHOWS(fuse_release_in, flags)),
    OP(FSYNC, SZ(fuse_fsync_in), 0, FUSE_OP_SLOW | FUSE_OP_SURPLUS | LOOKS, 0, IDS_UNUSED,
       LIBFUSE(fsync, fsync), SHOWS(fuse_fsync_in, fsync_flags)),
    OP(SETXATTR, 0, 0, FUSE_OP_ANYLEN | FUSE_OP_XATTR, 0, IDS_UNUSED, OURS(setxattr),
       SHOWS(fuse_setxattr_in, flags)), /* set-group-id of an ACL: a flag of the request */
    OP(GETXATTR, SZ(fuse_getxattr_in), 1, FUSE_OP_XATTR, SZ(fuse_getxattr_out), IDS_UNUSED,
       LIBFUSE(getxattr, getxattr)),
    OP(LISTXATTR, SZ(fuse_getxattr_in), 0, FUSE_OP_XATTR | FUSE_OP_SURPLUS, SZ(fuse_getxattr_out),
       IDS_UNUSED, LIBFUSE(listxattr, listxattr)),
    OP(REMOVEXATTR, 0, 1, FUSE_OP_XATTR, 0, IDS_UNUSED, LIBFUSE(removexattr, removexattr)),
    OP(FLUSH, SZ(fuse_flush_in), 0, FUSE_OP_SURPLUS | LOOKS, 0, IDS_UNUSED, OURS(flush)),
    OP(INIT, 8, 0, FUSE_OP_ANYLEN | FUSE_OP_NOINIT | FUSE_OP_ZERO_NODEID | FUSE_OP_EXCLUSIVE,
       SZ(fuse_init_out), IDS_UNUSED, OURS(init)),
    OP(OPENDIR, SZ(fuse_open_in), 0, FUSE_OP_SURPLUS, REPLY_OPEN, IDS_UNUSED, OURS(opendir),
       SHOWS(fuse_open_in, flags)),
    OP(READDIR, SZ(fuse_read_in), 0, FUSE_OP_SURPLUS, 0, IDS_UNUSED, OURS(readdir),
       SHOWS(fuse_read_in, flags)),
    OP(RELEASEDIR, SZ(fuse_release_in), 0, FUSE_OP_SURPLUS, 0, IDS_UNUSED, OURS(release),
       SHOWS(fuse_release_in, flags)),
    OP(FSYNCDIR, SZ(fuse_fsync_in), 0, FUSE_OP_SLOW | FUSE_OP_SURPLUS, 0, IDS_UNUSED,
       LIBFUSE(fsyncdir, fsync), SHOWS(fuse_fsync_in, fsync_flags)),
    OP(GETLK, SZ(fuse_lk_in), 0, FUSE_OP_LOCK | FUSE_OP_SURPLUS, SZ(fuse_lk_out), IDS_UNUSED,
       OURS(getlk)),
    OP(SETLK, SZ(fuse_lk_in), 0, FUSE_OP_LOCK | FUSE_OP_SURPLUS, 0, IDS_UNUSED, OURS(setlk)),
    OP(SETLKW, SZ(fuse_lk_in), 0, FUSE_OP_LOCK | FUSE_OP_SURPLUS, 0, IDS_UNUSED, OURS(setlkw)),
    OP(ACCESS, SZ(fuse_access_in), 0, FUSE_OP_SURPLUS, 0, IDS_CHECKED, LIBFUSE(access, access)),
    OP(CREATE, SZ(fuse_create_in), 1, FUSE_OP_EXT, REPLY_CREATE, IDS_MAKER, LIBFUSE(create, create),
       SHOWS(fuse_create_in, flags)),
    OP(INTERRUPT, SZ(fuse_interrupt_in), 0, FUSE_OP_NOREPLY | FUSE_OP_ZERO_NODEID | FUSE_OP_SURPLUS,
       0, IDS_UNUSED, OURS(interrupt)),
    OP(DESTROY, 0, 0, FUSE_OP_ZERO_NODEID | FUSE_OP_EXCLUSIVE | FUSE_OP_SURPLUS, 0, IDS_UNUSED,
       OURS(destroy)),
    OP(NOTIFY_REPLY, 0, 0, FUSE_OP_NOREPLY | FUSE_OP_ANYLEN, 0, IDS_UNUSED, OURS(ignore)),
    OP(BATCH_FORGET, SZ(fuse_batch_forget_in), 0,
       FUSE_OP_NOREPLY | FUSE_OP_ANYLEN | FUSE_OP_ZERO_NODEID, 0, IDS_UNUSED, OURS(batch_forget)),
    OP(FALLOCATE, SZ(fuse_fallocate_in), 0, FUSE_OP_SLOW | FUSE_OP_SURPLUS | CHANGES, 0, IDS_RIGHTS,
       LIBFUSE(fallocate, fallocate), SHOWS(fuse_fallocate_in, mode)),
    OP(READDIRPLUS, SZ(fuse_read_in), 0, FUSE_OP_SURPLUS, 0, IDS_UNUSED, OURS(readdir),
       SHOWS(fuse_read_in, flags)),
    OP(RENAME2, SZ(fuse_rename2_in), 2, 0, 0, IDS_UNUSED, LIBFUSE(rename, rename),
       SHOWS(fuse_rename2_in, flags)),
    OP(LSEEK, SZ(fuse_lseek_in), 0, FUSE_OP_SURPLUS | LOOKS, SZ(fuse_lseek_out), IDS_UNUSED,
       LIBFUSE(lseek, lseek)),
    OP(COPY_FILE_RANGE, SZ(fuse_copy_file_range_in), 0, FUSE_OP_SLOW | FUSE_OP_SURPLUS | CHANGES,
       SZ(fuse_write_out), IDS_RIGHTS, OURS(copy_range)),
    OP(SETUPMAPPING, SZ(fuse_setupmapping_in), 0, FUSE_OP_DAX | FUSE_OP_SLOW | FUSE_OP_SURPLUS, 0,
       IDS_RIGHTS, OURS(setupmapping)),
    OP(REMOVEMAPPING, SZ(fuse_removemapping_in), 0,
       FUSE_OP_DAX | FUSE_OP_SLOW | FUSE_OP_ANYLEN | FUSE_OP_ZERO_NODEID, 0, IDS_UNUSED,
       OURS(removemapping)),
    OP(SYNCFS, SZ(fuse_syncfs_in), 0, FUSE_OP_SLOW | FUSE_OP_SURPLUS | LOOKS, 0, IDS_UNUSED,
       OURS(syncfs)),
    OP(TMPFILE, SZ(fuse_create_in), 1, FUSE_OP_EXT, REPLY_CREATE, IDS_MAKER, OURS(tmpfile),
       SHOWS(fuse_create_in, flags)),
    OP(STATX, SZ(fuse_statx_in), 0, FUSE_OP_SURPLUS | LOOKS, SZ(fuse_statx_out), IDS_UNUSED,
       OURS(statx)),
    OP(COPY_FILE_RANGE_64, SZ(fuse_copy_file_range_in), 0, FUSE_OP_SLOW | FUSE_OP_SURPLUS | CHANGES,
       SZ(fuse_copy_file_range_out), IDS_RIGHTS, OURS(copy_range)),
};
