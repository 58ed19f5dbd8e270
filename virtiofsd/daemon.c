/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "vhost-user/vu-dev.h"
#include "vhost-user/vu-sock.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs.h"
#include "virtiofsd/fuse/fuse-srv.h"

/* Owns everything. Lock order, outermost first: ring -> FUSE negotiation -> open-file table ->
 * inode table -> one open directory. None is held across a system call on the shared tree but the
 * last. */
struct daemon {
    const struct options *o;
    int listen_fd; /* -1 once handed over */
    int conn_fd;
    uint64_t nofile; /* the limit in force */
    struct fs *fs;
    struct fuse_srv *fuse;
    struct vu_dev *dev;
};

/* For the signal handler only. */
static struct vu_dev *signal_dev;

static void on_signal(int sig)
{
    if (signal_dev)
        vu_dev_stop(signal_dev);
}

static void set_signals(void)
{
    struct sigaction end = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGTERM, &end, NULL);
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGHUP, &end, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
}

/* ---- descriptors ---- */

/* Kept back for sockets, kick and call descriptors and memory regions of the control path, so that
 * a guest that opens until it gets ENFILE takes nothing from it. */
static uint64_t reserved_fds(const struct options *o)
{
    return 128 + 4ull * o->max_request_queues;
}

static uint64_t nr_open(void)
{
    g_autofree char *text = NULL;
    if (g_file_get_contents("/proc/sys/fs/nr_open", &text, NULL, NULL))
        return g_ascii_strtoull(text, NULL, 10);
    return 1u << 20;
}

static bool set_nofile(struct daemon *d, GError **err)
{
    struct rlimit lim;
    uint64_t want = d->o->rlimit_nofile;

    getrlimit(RLIMIT_NOFILE, &lim);
    if (want == OPT_RLIMIT_DEFAULT) {
        /* As much as is usual; when that is more than we may have, what we may have. */
        want = MIN(1000000, nr_open());
        struct rlimit up = {want, MAX(want, lim.rlim_max)};
        if (lim.rlim_max < want && setrlimit(RLIMIT_NOFILE, &up) != 0)
            want = lim.rlim_max;
    }
    if (want != 0 && want != lim.rlim_cur) {
        struct rlimit up = {want, MAX(want, lim.rlim_max)};
        if (setrlimit(RLIMIT_NOFILE, &up) != 0) {
            g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(errno),
                        "--rlimit-nofile=%" G_GUINT64_FORMAT
                        ": %s; the hard limit is %" G_GUINT64_FORMAT
                        ": choose a value up to it, or 0 to leave the limit as it is",
                        want, g_strerror(errno), (uint64_t)lim.rlim_max);
            return false;
        }
    }
    getrlimit(RLIMIT_NOFILE, &lim);
    d->nofile = lim.rlim_cur;
    if (d->nofile <= 2 * reserved_fds(d->o)) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_MFILE,
                    "the limit of open files, %" G_GUINT64_FORMAT
                    ", is too small: at least %" G_GUINT64_FORMAT " are needed",
                    d->nofile, 2 * reserved_fds(d->o) + 1);
        return false;
    }
    return true;
}

/* ---- parts ---- */

static bool open_socket(struct daemon *d, GError **err)
{
    const struct options *o = d->o;

    if (o->socket_path) {
        d->listen_fd = vu_sock_listen(o->socket_path, o->socket_group, err);
        return d->listen_fd >= 0;
    }
    bool listening;
    if (vu_sock_adopt(o->fd, &listening, err) != 0)
        return false;
    *(listening ? &d->listen_fd : &d->conn_fd) = o->fd;
    return true;
}

static bool make_fs(struct daemon *d, int root_fd, int proc_self_fd, int mountinfo_fd, GError **err)
{
    static const enum fs_cache cache[] = {
        [OPT_CACHE_NEVER] = FS_CACHE_NEVER,
        [OPT_CACHE_METADATA] = FS_CACHE_METADATA,
        [OPT_CACHE_AUTO] = FS_CACHE_AUTO,
        [OPT_CACHE_ALWAYS] = FS_CACHE_ALWAYS,
    };
    static const enum fs_handles handles[] = {
        [OPT_HANDLES_NEVER] = FS_HANDLES_NEVER,
        [OPT_HANDLES_PREFER] = FS_HANDLES_PREFER,
        [OPT_HANDLES_MANDATORY] = FS_HANDLES_MANDATORY,
    };
    const struct options *o = d->o;
    uint64_t most = d->nofile - reserved_fds(o);
    struct fs_config fc = {
        .root_fd = root_fd,
        .proc_self_fd = proc_self_fd,
        .mountinfo_fd = mountinfo_fd,
        .handles = handles[o->inode_file_handles],
        .cache = cache[o->cache],
        .readonly = o->readonly,
        .xattr = o->xattr,
        .writeback = o->writeback,
        .allow_direct_io = o->allow_direct_io,
        .announce_submounts = o->announce_submounts,
        .preserve_noatime = o->preserve_noatime,
        .max_fds = o->max_fds ? MIN(o->max_fds, most) : most,
        .max_inodes = o->max_inodes,
        .max_lock_waiters = o->max_lock_waiters,
    };

    d->fs = fs_new(&fc, err);
    if (!d->fs)
        return false;
    struct fuse_srv_config sc = {
        .fs = d->fs,
        .cache = fc.cache,
        .timeout = o->timeout,
        .negative_timeout = o->negative_timeout,
        .readdirplus = o->readdirplus,
        .writeback = o->writeback,
        .allow_mmap = o->allow_mmap,
        .posix_lock = o->posix_lock,
        .flock = o->flock,
        .xattr = o->xattr,
        .killpriv_v2 = o->killpriv_v2,
        .announce_submounts = o->announce_submounts,
    };
    d->fuse = fuse_srv_new(&sc);
    return true;
}

static void dev_handle(void *user, struct chain *c)
{
    struct daemon *d = user;
    fuse_srv_handle(d->fuse, c);
}

static void dev_drain(void *user)
{
    struct daemon *d = user;
    fuse_srv_cancel(d->fuse);
}

static void dev_reset(void *user)
{
    struct daemon *d = user;
    fuse_srv_reset(d->fuse);
}

static void dev_thread_start(void *user)
{
    fs_thread_start();
}

/* VIRTIO 1.2, 5.11.4: char tag[36], le32 num_request_queues. */
static void make_dev(struct daemon *d)
{
    static const struct vu_dev_ops ops = {dev_handle, dev_drain, dev_reset, dev_thread_start};
    const struct options *o = d->o;
    uint8_t config[OPT_TAG_MAX + sizeof(uint32_t)] = {0};
    uint32_t queues = GUINT32_TO_LE(o->num_request_queues);

    if (o->tag)
        memcpy(config, o->tag, MIN(strlen(o->tag), (size_t)OPT_TAG_MAX));
    memcpy(config + OPT_TAG_MAX, &queues, sizeof(queues));
    struct vu_config vc = {
        .ops = &ops,
        .user = d,
        .listen_fd = steal_fd(&d->listen_fd),
        .conn_fd = steal_fd(&d->conn_fd),
        .relisten = o->relisten,
        .num_queues = 1 + o->max_request_queues,
        .max_queue_size = o->queue_size,
        .pool_size = o->thread_pool_size,
        .poll_us = o->poll_us,
        .config = o->tag ? config : NULL,
        .config_len = o->tag ? sizeof(config) : 0,
    };
    d->dev = vu_dev_new(&vc);
}

/* ---- order ---- */

static int start(struct daemon *d, GError **err)
{
    if (!set_nofile(d, err) || !open_socket(d, err))
        return -1;
    AUTO_FD int root = open(d->o->shared_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "--shared-dir=%s: %s; give an existing directory that this user may enter",
                    d->o->shared_dir, g_strerror(errno));
        return -1;
    }
    AUTO_FD int proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (!make_fs(d, steal_fd(&root), steal_fd(&proc), steal_fd(&mounts), err))
        return -1;
    make_dev(d);
    return 0;
}

static void stop(struct daemon *d)
{
    signal_dev = NULL;
    vu_dev_free(d->dev);
    fuse_srv_free(d->fuse);
    fs_free(d->fs);
    if (d->listen_fd >= 0)
        close(d->listen_fd);
    if (d->conn_fd >= 0)
        close(d->conn_fd);
}

int daemon_run(const struct options *o)
{
    struct daemon d = {.o = o, .listen_fd = -1, .conn_fd = -1};
    GError *err = NULL;
    int code = 1;

    log_init(o->log_level, o->syslog);
    for (unsigned i = 0; i < o->notes->len; i++)
        log_warn("%s", (const char *)g_ptr_array_index(o->notes, i));
    umask(0);
    set_signals();
    if (start(&d, &err) == 0) {
        signal_dev = d.dev;
        log_info("serving %s", o->shared_dir);
        if (vu_dev_run(d.dev, &err) == 0)
            code = 0;
    }
    if (err) {
        log_error("%s", err->message);
        g_error_free(err);
    }
    stop(&d);
    return code;
}
