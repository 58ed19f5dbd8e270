/* SPDX-License-Identifier: BSD-3-Clause
 * What is known of a guest by its INIT, and the names of those that are not Linux.
 *
 * Linux reads "no such name, and it stays so for a while" from a success with node 0 (fuse(4) and
 * Linux' virtio-fs alike). No specification says that, and no other virtio-fs driver knows it: UEFI
 * takes the answer for a file with number 0, and then cannot create anything. So such an answer is
 * for Linux beyond doubt: what every kernel since 5.4, virtio-fs' first, offers in any
 * configuration, and these drivers do not (as of August 2026):
 *
 *   driver   project                        minor  flags                          bytes
 *   UEFI     edk2, OvmfPkg/VirtioFsDxe      31     DO_READDIRPLUS                 16
 *   Windows  kvm-guest-drivers-windows      31     DO_READDIRPLUS, MAX_PAGES      16
 *   Zephyr   subsys/fs/virtiofs             31     none                           64
 *   Hermit   kernel, src/fs/virtio_fs.rs    31     none                           64
 *   OSv      fs/virtiofs                    32     MAP_ALIGNMENT                  16
 *   Linux    5.4 and later, fs/fuse         31...  LINUX_FLAGS and more           16, 64 since 5.17
 */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define LINUX_MINOR 31
#define LINUX_FLAGS                                                                         \
    (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES |        \
     FUSE_DONT_MASK | FUSE_FLOCK_LOCKS | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |       \
     FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_WRITEBACK_CACHE | FUSE_PARALLEL_DIROPS | \
     FUSE_HANDLE_KILLPRIV | FUSE_ABORT_ERROR | FUSE_MAX_PAGES | FUSE_NO_OPENDIR_SUPPORT |   \
     FUSE_EXPLICIT_INVAL_DATA)

bool fuse_guest_is_linux(const struct fuse_init_in *init)
{
    return init->major == FUSE_KERNEL_VERSION && init->minor >= LINUX_MINOR &&
           (init->flags & LINUX_FLAGS) == LINUX_FLAGS;
}

/* ---- names that are paths ---- */

/* Deeper ones would keep a queue too long. */
#define PATH_STEPS 64

/* Go from *dir, which is given back, to its directory of this name. Links are not followed. */
static int step(struct fs *fs, struct fs_inode **dir, const char *name, size_t len)
{
    char part[NAME_MAX + 1];
    struct fs_entry e;

    if (len > NAME_MAX)
        return -ENAMETOOLONG;
    memcpy(part, name, len);
    part[len] = '\0';
    if (strcmp(part, "..") == 0)
        return -EINVAL;
    int err = fs_lookup(fs, *dir, part, &e);
    if (err)
        return err;
    fs_inode_put(fs, *dir);
    *dir = e.inode;
    return S_ISDIR(fs_inode_type(e.inode)) ? 0 : -ENOTDIR;
}

/* Go to the directory of the last part of @path; *last gets that part, or "." when there is none.
 */
static int walk(struct fs *fs, struct fs_inode **dir, const char *path, const char **last)
{
    for (unsigned steps = 0;;) {
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        if (path[len] == '\0') {
            *last = len ? path : ".";
            return 0;
        }
        int err = steps++ < PATH_STEPS ? step(fs, dir, path, len) : -ENAMETOOLONG;
        if (err)
            return err;
        path += len;
    }
}

struct fs_inode *fuse_dir_get(struct fuse_srv *srv, uint64_t id, const char **name, int *err)
{
    struct fs_inode *dir = fs_inode_get(srv->fs, id);

    *err = dir ? 0 : -ENOENT;
    if (G_LIKELY(srv->linux_guest) || !dir || !strchr(*name, '/'))
        return dir;
    *err = walk(srv->fs, &dir, *name, name);
    if (*err == 0)
        return dir;
    fs_inode_put(srv->fs, dir);
    return NULL;
}
