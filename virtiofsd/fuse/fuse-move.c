/* SPDX-License-Identifier: BSD-3-Clause
 * A mounted guest's state, and taking up another process' guest. What was negotiated at INIT stays
 * as it is: the guest does not ask again, whatever our own options say. */
#include <errno.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/fuse/fuse-flags.h"
#include "virtiofsd/fuse/fuse-priv.h"

#define MOVE_FUSE 32u

/* All that fuse-init.c ever grants, but what belongs to a window. */
#define KNOWN_FLAGS                                                                           \
    (FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT |         \
     FUSE_BIG_WRITES | FUSE_DONT_MASK | FUSE_FLOCK_LOCKS | FUSE_HAS_IOCTL_DIR |               \
     FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |    \
     FUSE_WRITEBACK_CACHE | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS |     \
     FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT | FUSE_INIT_EXT |           \
     FUSE_CREATE_SUPP_GROUP | FUSE_ALLOW_IDMAP | FUSE_DIRECT_IO_ALLOW_MMAP | FUSE_POSIX_ACL | \
     FUSE_SECURITY_CTX | FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT)

void fuse_move_put(GByteArray *out, uint32_t minor, bool linux_guest, uint64_t flags)
{
    size_t r = record_open(out, MOVE_FUSE);

    put_u32(out, minor);
    put_u32(out, linux_guest);
    put_u64(out, flags);
    record_close(out, r);
}

int fuse_srv_save(struct fuse_srv *srv, GByteArray *out, struct fs_moved *did)
{
    pthread_rwlock_rdlock(&srv->lock);
    int rc = srv->dax.on ? -EOPNOTSUPP : fs_move_save(srv->fs, out, did);
    if (rc == 0 && srv->se)
        fuse_move_put(out, srv->minor, srv->linux_guest, srv->flags);
    pthread_rwlock_unlock(&srv->lock);
    return rc;
}

/* What the guest has negotiated. 1, 0: it has not mounted, -EINVAL, -EOPNOTSUPP. */
static int read_negotiated(struct bytes stream, struct fuse_negotiated *n)
{
    struct record_view r;
    int found = 0;

    while (record_next(&stream, &r)) {
        if (r.kind != MOVE_FUSE)
            continue;
        n->minor = get_u32(&r.body);
        n->linux_guest = get_u32(&r.body) != 0;
        n->flags = get_u64(&r.body);
        if (found || r.body.bad || n->minor < FUSE_WIRE_MIN_MINOR)
            return -EINVAL;
        found = 1;
    }
    if (n->flags & ~(uint64_t)KNOWN_FLAGS) {
        g_autofree char *names = fuse_flags_text(n->flags & ~(uint64_t)KNOWN_FLAGS);
        log_error("the guest has negotiated what this version does not have: %s", names);
        return -EOPNOTSUPP;
    }
    return found;
}

int fuse_srv_load(struct fuse_srv *srv, struct bytes stream, struct fs_moved *did)
{
    struct fuse_negotiated n = {0};
    int mounted = read_negotiated(stream, &n);

    if (mounted < 0)
        return mounted;
    pthread_rwlock_wrlock(&srv->lock);
    fuse_srv_drop_session(srv);
    fuse_dax_reset(srv);
    fs_reset(srv->fs);
    /* First: the core opens files by what the guest does with them. */
    int rc = mounted ? fuse_srv_begin(srv, &n) : 0;
    (void)fs_close_mute(srv->fs); /* its FLUSH may have been refused where it came from */
    if (rc == 0)
        rc = fs_move_load(srv->fs, stream, did);
    pthread_rwlock_unlock(&srv->lock);
    return rc;
}
