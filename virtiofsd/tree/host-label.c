/* SPDX-License-Identifier: BSD-3-Clause
 * Security labels that are there when the inode is, as SELinux gives them: what a thread has
 * written to its attr/fscreate in proc is the label of what it makes.
 *
 * That file belongs to one thread, and none but that may write to it. Threads come long after the
 * sandbox: so the directory of our threads and the link that names the calling one are held open
 * since before it (host_config.task_fd, thread_fd), and each thread opens its own file when it
 * needs it first. Numbers of threads are those of that proc, not of our namespace. */
/* #syscalls close openat readlinkat tgkill write */
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/tree/host-priv.h"

#include <stdlib.h>

#include <linux/xattr.h>

#define LABEL_MAX 4096 /* proc takes a page at most, and cuts what is longer */

struct label_file {
    unsigned serial; /* of the core for which it was opened */
    int fd;
};

static void file_free(gpointer p)
{
    struct label_file *f = p;
    if (f->fd >= 0)
        close(f->fd);
    g_free(f);
}

static GPrivate label_file = G_PRIVATE_INIT(file_free);

/* The calling thread's fscreate, opened for writing, or -errno. */
static int open_own(struct host *h)
{
    char link[64], name[96];
    ssize_t n = readlinkat(h->thread_fd, "", link, sizeof(link) - 1);

    if (n < 0)
        return -errno;
    link[n] = '\0';
    const char *tid = strrchr(link, '/'); /* "PID/task/TID" */
    if (!tid)
        return -ENOENT;
    g_snprintf(name, sizeof(name), "%s/attr/fscreate", tid + 1);
    int fd = openat(h->task_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

static int own_file(struct host *h)
{
    struct label_file *f = g_private_get(&label_file);

    if (G_LIKELY(f && f->serial == h->serial))
        return f->fd;
    int fd = open_own(h);
    if (fd < 0)
        return fd;
    f = g_new(struct label_file, 1);
    *f = (struct label_file){.serial = h->serial, .fd = fd};
    g_private_replace(&label_file, f);
    return fd;
}

static bool is_selinux(const struct fs_cred *cred)
{
    return strcmp(cred->secctx_name, XATTR_NAME_SELINUX) == 0;
}

bool host_label_native(struct host *h, const struct fs_cred *cred)
{
    return cred && cred->secctx_name && h->task_fd > 0 && cred->secctx_len > 0 &&
           cred->secctx_len <= LABEL_MAX && is_selinux(cred);
}

int host_label_begin(struct host *h, const struct fs_cred *cred)
{
    if (G_LIKELY(!host_label_native(h, cred)))
        return 0;
    int fd = own_file(h);
    int rc = fd < 0 ? fd : write(fd, cred->secctx, cred->secctx_len) < 0 ? -errno : 1;
    if (rc == 1 || (fd >= 0 && rc == -EINVAL)) /* the host's policy has no such label */
        return rc;
    log_guest_warn("a label is given after the inode is made, not with it: %s", errno_text(-rc));
    return 0;
}

void host_label_end(int begun)
{
    struct label_file *f = g_private_get(&label_file);
    int keep = errno;

    if (begun <= 0)
        return;
    /* Nothing at all: the label that the policy says. */
    for (int tries = 0; tries < 3; tries++)
        if (f && write(f->fd, "", 0) == 0) {
            errno = keep;
            return;
        }
    log_error("%s: this thread would label everything that it makes", errno_text(errno));
    abort();
}
