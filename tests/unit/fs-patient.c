/* SPDX-License-Identifier: BSD-3-Clause
 * For the core's unit tests over a tree that is late: linked with --wrap=fs_read and
 * --wrap=fs_copy_range, those wait. */
#include "tests/unit/tree-wait.h"
#include "virtiofsd/fs/fs.h"

#include <semaphore.h>

struct patience {
    sem_t sem;
    ssize_t result;
};

static void done(void *user, ssize_t result)
{
    struct patience *p = user;

    p->result = result;
    sem_post(&p->sem);
}

static ssize_t end(struct patience *p)
{
    while (sem_wait(&p->sem) != 0)
        ;
    sem_destroy(&p->sem);
    return p->result;
}

ssize_t __real_fs_read(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt,
                       off_t off, unsigned how);
ssize_t __wrap_fs_read(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt,
                       off_t off, unsigned how);

ssize_t __wrap_fs_read(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt,
                       off_t off, unsigned how)
{
    ssize_t n = __real_fs_read(fs, file, iov, cnt, off, how);
    struct patience p;

    if (n != FS_LATER || tree_waits_serving())
        return n;
    sem_init(&p.sem, 0, 0);
    fs_read_wait(fs, file, iov, cnt, off, how, 0, done, &p);
    return end(&p);
}

ssize_t __real_fs_copy_range(struct fs *fs, struct fs_file *in, off_t off_in, struct fs_file *out,
                             off_t off_out, size_t len, unsigned flags, unsigned how);
ssize_t __wrap_fs_copy_range(struct fs *fs, struct fs_file *in, off_t off_in, struct fs_file *out,
                             off_t off_out, size_t len, unsigned flags, unsigned how);

ssize_t __wrap_fs_copy_range(struct fs *fs, struct fs_file *in, off_t off_in, struct fs_file *out,
                             off_t off_out, size_t len, unsigned flags, unsigned how)
{
    ssize_t n = __real_fs_copy_range(fs, in, off_in, out, off_out, len, flags, how);
    struct patience p;

    if (n != FS_LATER || tree_waits_serving())
        return n;
    sem_init(&p.sem, 0, 0);
    fs_copy_range_wait(fs, in, off_in, out, off_out, len, how, 0, done, &p);
    return end(&p);
}
