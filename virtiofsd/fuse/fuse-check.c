/* SPDX-License-Identifier: BSD-3-Clause
 * The table of opcodes, and the one place where a request from the guest is checked. libfuse trusts
 * lengths and strings because the kernel checked them before; a guest has not. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <string.h>

#define SZ(t) ((uint16_t)sizeof(struct t))

enum {
    REPLY_ENTRY = sizeof(struct fuse_entry_out),
    REPLY_ATTR = sizeof(struct fuse_attr_out),
    REPLY_OPEN = sizeof(struct fuse_open_out),
    REPLY_CREATE = sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out),
};

/* What requests mean for files that the guest has mapped: those that read, and those that change.
 */
#define LOOKS   FUSE_OP_STORE
#define CHANGES (FUSE_OP_STORE | FUSE_OP_CHANGE)

/* Opcodes that are not here (IOCTL, POLL, BMAP, CUSE) are answered with ENOSYS, which the guest
 * remembers. */
const struct fuse_op fuse_ops[FUSE_WIRE_OPS] = {
    [FUSE_LOOKUP] = {"LOOKUP", 0, 1, 0, REPLY_ENTRY, fuse_do_lookup},
    [FUSE_FORGET] = {"FORGET", SZ(fuse_forget_in), 0, FUSE_OP_NOREPLY | FUSE_OP_SURPLUS, 0,
                     fuse_do_forget},
    [FUSE_GETATTR] = {"GETATTR", SZ(fuse_getattr_in), 0, FUSE_OP_SURPLUS | LOOKS, REPLY_ATTR,
                      fuse_do_getattr},
    [FUSE_SETATTR] = {"SETATTR", SZ(fuse_setattr_in), 0, FUSE_OP_SURPLUS | CHANGES, REPLY_ATTR},
    [FUSE_READLINK] = {"READLINK", 0, 0, FUSE_OP_SURPLUS, 1},
    [FUSE_SYMLINK] = {"SYMLINK", 0, 2, FUSE_OP_EXT, REPLY_ENTRY},
    [FUSE_MKNOD] = {"MKNOD", SZ(fuse_mknod_in), 1, FUSE_OP_EXT, REPLY_ENTRY},
    [FUSE_MKDIR] = {"MKDIR", SZ(fuse_mkdir_in), 1, FUSE_OP_EXT, REPLY_ENTRY},
    [FUSE_UNLINK] = {"UNLINK", 0, 1, 0, 0},
    [FUSE_RMDIR] = {"RMDIR", 0, 1, 0, 0},
    [FUSE_RENAME] = {"RENAME", SZ(fuse_rename_in), 2, 0, 0},
    [FUSE_LINK] = {"LINK", SZ(fuse_link_in), 1, 0, REPLY_ENTRY},
    [FUSE_OPEN] = {"OPEN", SZ(fuse_open_in), 0, FUSE_OP_SURPLUS | CHANGES, REPLY_OPEN,
                   fuse_do_open},
    [FUSE_READ] = {"READ", SZ(fuse_read_in), 0, FUSE_OP_SURPLUS | LOOKS, 0, fuse_do_read},
    [FUSE_WRITE] = {"WRITE", SZ(fuse_write_in), 0, FUSE_OP_DATA | CHANGES, SZ(fuse_write_out),
                    fuse_do_write},
    [FUSE_STATFS] = {"STATFS", 0, 0, FUSE_OP_SURPLUS, SZ(fuse_statfs_out)},
    [FUSE_RELEASE] = {"RELEASE", SZ(fuse_release_in), 0, FUSE_OP_SURPLUS | LOOKS, 0,
                      fuse_do_release},
    [FUSE_FSYNC] = {"FSYNC", SZ(fuse_fsync_in), 0, FUSE_OP_SLOW | FUSE_OP_SURPLUS | LOOKS, 0},
    [FUSE_SETXATTR] = {"SETXATTR", 0, 0, FUSE_OP_ANYLEN | FUSE_OP_XATTR, 0, fuse_do_setxattr},
    [FUSE_GETXATTR] = {"GETXATTR", SZ(fuse_getxattr_in), 1, FUSE_OP_XATTR, SZ(fuse_getxattr_out)},
    [FUSE_LISTXATTR] = {"LISTXATTR", SZ(fuse_getxattr_in), 0, FUSE_OP_XATTR | FUSE_OP_SURPLUS,
                        SZ(fuse_getxattr_out)},
    [FUSE_REMOVEXATTR] = {"REMOVEXATTR", 0, 1, FUSE_OP_XATTR, 0},
    [FUSE_FLUSH] = {"FLUSH", SZ(fuse_flush_in), 0, FUSE_OP_SURPLUS | LOOKS, 0, fuse_do_flush},
    [FUSE_INIT] = {"INIT", 8, 0, FUSE_OP_ANYLEN | FUSE_OP_NOINIT | FUSE_OP_NOID | FUSE_OP_ALONE,
                   SZ(fuse_init_out), fuse_do_init},
    [FUSE_OPENDIR] = {"OPENDIR", SZ(fuse_open_in), 0, FUSE_OP_SURPLUS, REPLY_OPEN, fuse_do_opendir},
    [FUSE_READDIR] = {"READDIR", SZ(fuse_read_in), 0, FUSE_OP_SURPLUS, 0, fuse_do_readdir},
    [FUSE_RELEASEDIR] = {"RELEASEDIR", SZ(fuse_release_in), 0, FUSE_OP_SURPLUS, 0, fuse_do_release},
    [FUSE_FSYNCDIR] = {"FSYNCDIR", SZ(fuse_fsync_in), 0, FUSE_OP_SLOW | FUSE_OP_SURPLUS, 0},
    [FUSE_GETLK] = {"GETLK", SZ(fuse_lk_in), 0, FUSE_OP_LOCK | FUSE_OP_SURPLUS, SZ(fuse_lk_out),
                    fuse_do_getlk},
    [FUSE_SETLK] = {"SETLK", SZ(fuse_lk_in), 0, FUSE_OP_LOCK | FUSE_OP_SURPLUS, 0, fuse_do_setlk},
    [FUSE_SETLKW] = {"SETLKW", SZ(fuse_lk_in), 0, FUSE_OP_LOCK | FUSE_OP_SURPLUS, 0,
                     fuse_do_setlkw},
    [FUSE_ACCESS] = {"ACCESS", SZ(fuse_access_in), 0, FUSE_OP_SURPLUS, 0},
    [FUSE_CREATE] = {"CREATE", SZ(fuse_create_in), 1, FUSE_OP_EXT, REPLY_CREATE},
    [FUSE_INTERRUPT] = {"INTERRUPT", SZ(fuse_interrupt_in), 0,
                        FUSE_OP_NOREPLY | FUSE_OP_NOID | FUSE_OP_SURPLUS, 0, fuse_do_interrupt},
    [FUSE_DESTROY] = {"DESTROY", 0, 0, FUSE_OP_NOID | FUSE_OP_ALONE | FUSE_OP_SURPLUS, 0,
                      fuse_do_destroy},
    [FUSE_NOTIFY_REPLY] = {"NOTIFY_REPLY", 0, 0, FUSE_OP_NOREPLY | FUSE_OP_ANYLEN, 0,
                           fuse_do_ignore},
    [FUSE_BATCH_FORGET] = {"BATCH_FORGET", SZ(fuse_batch_forget_in), 0,
                           FUSE_OP_NOREPLY | FUSE_OP_ANYLEN | FUSE_OP_NOID, 0,
                           fuse_do_batch_forget},
    [FUSE_FALLOCATE] = {"FALLOCATE", SZ(fuse_fallocate_in), 0,
                        FUSE_OP_SLOW | FUSE_OP_SURPLUS | CHANGES, 0},
    [FUSE_READDIRPLUS] = {"READDIRPLUS", SZ(fuse_read_in), 0, FUSE_OP_SURPLUS, 0, fuse_do_readdir},
    [FUSE_RENAME2] = {"RENAME2", SZ(fuse_rename2_in), 2, 0, 0},
    [FUSE_LSEEK] = {"LSEEK", SZ(fuse_lseek_in), 0, FUSE_OP_SURPLUS | LOOKS, SZ(fuse_lseek_out)},
    [FUSE_COPY_FILE_RANGE] = {"COPY_FILE_RANGE", SZ(fuse_copy_file_range_in), 0,
                              FUSE_OP_SLOW | FUSE_OP_SURPLUS | CHANGES, SZ(fuse_write_out),
                              fuse_do_copy_range},
    [FUSE_SETUPMAPPING] = {"SETUPMAPPING", SZ(fuse_setupmapping_in), 0,
                           FUSE_OP_DAX | FUSE_OP_SLOW | FUSE_OP_SURPLUS, 0, fuse_do_setupmapping},
    [FUSE_REMOVEMAPPING] = {"REMOVEMAPPING", SZ(fuse_removemapping_in), 0,
                            FUSE_OP_DAX | FUSE_OP_SLOW | FUSE_OP_ANYLEN | FUSE_OP_NOID, 0,
                            fuse_do_removemapping},
    [FUSE_SYNCFS] = {"SYNCFS", SZ(fuse_syncfs_in), 0, FUSE_OP_SLOW | FUSE_OP_SURPLUS | LOOKS, 0,
                     fuse_do_syncfs},
    [FUSE_TMPFILE] = {"TMPFILE", SZ(fuse_create_in), 1, FUSE_OP_EXT, REPLY_CREATE, fuse_do_tmpfile},
    [FUSE_STATX] = {"STATX", SZ(fuse_statx_in), 0, FUSE_OP_SURPLUS | LOOKS, SZ(fuse_statx_out),
                    fuse_do_statx},
    [FUSE_COPY_FILE_RANGE_64] = {"COPY_FILE_RANGE_64", SZ(fuse_copy_file_range_in), 0,
                                 FUSE_OP_SLOW | FUSE_OP_SURPLUS | CHANGES,
                                 SZ(fuse_copy_file_range_out), fuse_do_copy_range},
};

/* The header's length is that of the request; or less, where more does not matter. */
static bool length_fits(const struct fuse_rq *rq)
{
    size_t len = rq->in->len, have = rq->chain->in_len;

    return len == have ||
           ((rq->op->flags & FUSE_OP_SURPLUS) && len >= sizeof(*rq->in) && len < have);
}

/* Bytes of extensions that the header announces. Before 7.38, and before anything was negotiated,
 * that was padding, which need not be 0. */
static size_t announced(const struct fuse_rq *rq)
{
    if (rq->srv->minor < FUSE_WIRE_EXT_MINOR || (rq->op->flags & FUSE_OP_NOINIT))
        return 0;
    return (size_t)rq->in->total_extlen * 8; /* it counts units of 8 */
}

/* Split the extensions off the end of the body. */
static int check_ext(struct fuse_rq *rq)
{
    size_t ext = announced(rq);

    rq->ext = NULL;
    rq->ext_len = 0;
    if (ext == 0)
        return 0;
    if (!(rq->op->flags & FUSE_OP_EXT) || ext > rq->body_len)
        return -EINVAL;
    rq->body_len -= ext;
    rq->ext = rq->body + rq->body_len;
    rq->ext_len = ext;
    return 0;
}

/* All strings must end inside the body, and nothing may follow the last one. Kernels before 7.38
 * put a security context there without counting it in the header: only when it was negotiated. */
static int check_strings(struct fuse_rq *rq)
{
    size_t off = rq->op->fixed;

    for (unsigned i = 0; i < rq->op->strings; i++) {
        const uint8_t *end = memchr(rq->body + off, 0, rq->body_len - off);
        if (!end)
            return -EINVAL;
        off = (size_t)(end - rq->body) + 1;
    }
    if (off == rq->body_len || (rq->op->flags & (FUSE_OP_ANYLEN | FUSE_OP_DATA)))
        return 0;
    if ((rq->op->flags & FUSE_OP_EXT) && !rq->ext && (rq->srv->flags & FUSE_SECURITY_CTX)) {
        rq->ext = rq->body + off;
        rq->ext_len = rq->body_len - off;
        rq->body_len = off;
        return 0;
    }
    return -EINVAL;
}

/* Bytes of payload that the answer must have room for. GETXATTR and LISTXATTR ask for a length, or
 * for up to as many bytes of value, which may be fewer than a length takes. */
static size_t reply_room(const struct fuse_rq *rq)
{
    struct fuse_getxattr_in arg;

    if (!(rq->op->flags & FUSE_OP_XATTR) || rq->op->reply == 0)
        return rq->op->reply;
    memcpy(&arg, rq->body, sizeof(arg));
    return arg.size == 0 ? rq->op->reply : MIN(arg.size, rq->op->reply);
}

int fuse_check(struct fuse_rq *rq)
{
    const struct fuse_op *op = rq->op;

    if (rq->chain->unmapped)
        return -EFAULT;
    if (!length_fits(rq))
        return -EINVAL;
    if (!rq->srv->se && !(op->flags & FUSE_OP_NOINIT))
        return -EIO;
    if ((op->flags & FUSE_OP_XATTR) && !rq->srv->shared->xattr)
        return -ENOSYS;
    if ((op->flags & FUSE_OP_LOCK) && !(rq->srv->flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS)))
        return -ENOSYS;
    if ((op->flags & FUSE_OP_DAX) && !rq->srv->dax.on)
        return -ENOSYS;
    if (rq->in->nodeid == 0 && !(op->flags & FUSE_OP_NOID))
        return -EINVAL;
    if (!(op->flags & FUSE_OP_DATA) && rq->in->len > FUSE_RQ_MAX)
        return -E2BIG;
    if (rq->body_len < op->fixed)
        return -EINVAL;
    if (fuse_rq_space(rq) < reply_room(rq))
        return -EINVAL;
    int err = fuse_check_ids(rq);
    if (err == 0)
        err = check_ext(rq);
    if (err)
        return err;
    if (rq->body_len < op->fixed)
        return -EINVAL;
    if (op->flags & FUSE_OP_SURPLUS) {
        rq->body_len = op->fixed;
        rq->in->len = (uint32_t)(sizeof(*rq->in) + op->fixed);
        return 0;
    }
    return check_strings(rq);
}
