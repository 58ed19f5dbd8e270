/* SPDX-License-Identifier: BSD-3-Clause */
/* #syscalls close
 * #syscalls:early openat prlimit64 umask */
#include "virtiofsd/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sandbox/sandbox.h"
#include "vhost-user/vu-dev.h"
#include "vhost-user/vu-sock.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/fd-kind.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/notify.h"
#include "virtiofsd/base/sock-files.h"
#include "virtiofsd/base/trim.h"
#include "virtiofsd/daemon-9p.h"
#include "virtiofsd/daemon-dax.h"
#include "virtiofsd/daemon-move.h"
#include "virtiofsd/daemon-policy.h"
#include "virtiofsd/daemon-signal.h"
#include "virtiofsd/daemon-stats.h"
#include "virtiofsd/fs/fs.h"
#include "virtiofsd/fuse/fuse-srv.h"

#define NOTIFY_WAIT_MS 5000 /* for room at the service manager's */

/* Owns everything. Lock order, outermost first: FUSE negotiation (each request holds it for
 * reading) -> DAX window (three: dax/dax-window.h) -> back-end channel (vhost-user/vu-priv.h). The
 * core's own are below the first: a directory's, held while it is read, and a lock owner's, held
 * across fcntl(2), before those of virtiofsd/fs/fs-priv.h. The ring's is taken last, by
 * chain_complete(). */
struct daemon {
    const struct options *o;
    daemon_tree_fn *make_tree;
    int listen_fd; /* -1 once handed over */
    int conn_fd;
    char *where;      /* the socket, as the log calls it */
    GPtrArray *files; /* struct sock_files of our sockets, until the sandbox takes them away */
    bool awaits;      /* a front-end: the socket of the device listens */
    int null_fd;      /* opened while there is a /dev */
    uint64_t nofile;  /* the limit in force */
    uint64_t nofile_refused; /* the higher one that we may not have, or 0 */
    enum sb_action seccomp;
    int keeper_fd;  /* as of struct sb_result */
    bool announced; /* a service manager wants to know how far we are */
    int notify_fd;  /* and is told here, unless the keeper does it */
    struct daemon_policy policy;
    struct sb_statfs *statfs; /* NULL: the share's own numbers */
    struct fs *fs;
    struct fuse_srv *fuse;
    struct vu_dev *dev;
    struct daemon_dax dax;
    struct daemon_9p *p9; /* NULL: not asked for */
    uint64_t begin_ns;
};

/* ---- descriptors ---- */

/* Kept back for sockets, kick and call descriptors and memory regions of the control path, so that
 * a guest that opens until it gets ENFILE takes nothing from it; and for what it maps. */
static uint64_t reserved_fds(const struct daemon *d)
{
    return 128 + 4ull * d->o->max_request_queues + daemon_dax_fds(d->o, d->nofile) +
           daemon_9p_fds(d->o);
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
        if (lim.rlim_max < want && setrlimit(RLIMIT_NOFILE, &up) != 0) {
            d->nofile_refused = want;
            want = lim.rlim_max;
        }
    }
    if (want != 0 && want != lim.rlim_cur) {
        struct rlimit up = {want, MAX(want, lim.rlim_max)};
        if (setrlimit(RLIMIT_NOFILE, &up) != 0) {
            g_set_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "--rlimit-nofile=%" G_GUINT64_FORMAT
                        ": %s; the hard limit is %" G_GUINT64_FORMAT
                        ": choose a value up to it, or 0 to leave the limit as it is",
                        want, errno_text(errno), (uint64_t)lim.rlim_max);
            return false;
        }
    }
    getrlimit(RLIMIT_NOFILE, &lim);
    d->nofile = lim.rlim_cur;
    if (d->nofile > 2 * reserved_fds(d))
        return true;
    g_autofree char *needed = g_strdup_printf("%" G_GUINT64_FORMAT " is too small: at least "
                                              "%" G_GUINT64_FORMAT " are needed",
                                              d->nofile, 2 * reserved_fds(d) + 1);
    if (d->nofile == d->o->rlimit_nofile)
        g_set_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--rlimit-nofile: %s", needed);
    else
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_MFILE, "the limit of open files: %s", needed);
    return false;
}

/* Later than it is known: who waits for the socket does not wait for this. */
static void say_nofile(const struct daemon *d)
{
    if (d->nofile_refused > 0)
        log_warn("the hard limit of open descriptors is %" G_GUINT64_FORMAT
                 ", not %" G_GUINT64_FORMAT ": a guest with many open files may get ENFILE "
                 "(LimitNOFILE= of a unit, or ulimit -Hn, raises it)",
                 d->nofile, d->nofile_refused);
}

/* ---- parts ---- */

static bool open_socket(struct daemon *d, GError **err)
{
    const struct options *o = d->o;

    d->where = vu_sock_name(o->socket_path, o->fd);
    if (o->socket_path) {
        struct sock_files *f;
        d->listen_fd = vu_sock_listen(o->socket_path, d->policy.group, &f, err);
        if (f)
            g_ptr_array_add(d->files, f);
        d->awaits = d->listen_fd >= 0;
        return d->awaits;
    }
    if (o->fd < 0)
        return true; /* 9P, by its own sockets only */
    bool listening;
    if (vu_sock_adopt(o->fd, &listening, err) != 0)
        return false;
    *(listening ? &d->listen_fd : &d->conn_fd) = o->fd;
    d->awaits = listening;
    return true;
}

/* Leave everything behind but the share (sandbox/sandbox.h has the stages and their order). */
static bool enter_sandbox(struct daemon *d, struct sb_result *out, GError **err)
{
    const struct options *o = d->o;
    struct sb_config sc = {
        .policy = o->sandbox,
        .shared_dir = o->shared_dir,
        .file_handles = d->policy.file_handles,
        .fenced = d->policy.fenced,
        .files = d->files,
        .labels = o->fuse.security_label != FUSE_ASK_NEVER,
        .caps_add = d->policy.caps_add,
        .caps_del = d->policy.caps_del,
        .notify_fd = d->notify_fd,
    };

    if (!sb_enter(&sc, out, err) || !sb_drop_caps(&sc, err))
        return false;
    d->seccomp = o->sandbox.seccomp;
    int ret = sb_seccomp_apply(sc.fenced ? SB_THREAD_FENCED : SB_THREAD_PROCESS, d->seccomp);
    if (ret) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "seccomp: %s; the kernel may lack it: try --seccomp=none", errno_text(-ret));
        return false;
    }
    return true;
}

static int other_statfs(void *user, struct statvfs *out)
{
    const struct daemon *d = user;

    return sb_statfs_ask(d->statfs, out);
}

static void lock_thread_start(void *user)
{
    const struct daemon *d = user;

    if (sb_seccomp_apply(SB_THREAD_LOCK, d->seccomp) != 0)
        log_guest_warn("a wait for a lock runs with the filter of the whole process");
}

/* How far we are, for the service manager; the keeper also looks where it is. */
static void tell(const struct daemon *d, enum notify what)
{
    if (d->keeper_fd < 0)
        notify_send(d->notify_fd, what, what == NOTIFY_READY ? NOTIFY_WAIT_MS : 0);
    else if (d->announced || what == NOTIFY_FRONT_END || what == NOTIFY_MOUNTED)
        sb_keeper_tell(d->keeper_fd, what);
}

/* When the first guest has mounted, what start, handshake and negotiation needed is not needed
 * again soon. */
static void guest_mounted(void *user)
{
    static atomic_flag done = ATOMIC_FLAG_INIT;
    const struct daemon *d = user;

    tell(d, NOTIFY_MOUNTED);
    if (!atomic_flag_test_and_set(&done))
        trim_startup_pages();
}

static bool make_fs(struct daemon *d, const struct sb_result *sb, GError **err)
{
    const struct options *o = d->o;
    uint64_t most = d->nofile - reserved_fds(d);
    struct fs_config fc = {
        .policy = o->fs,
        .tree = d->make_tree(o, sb, err),
        .lock_thread_start = lock_thread_start,
        .statfs = d->statfs ? other_statfs : NULL,
        .user = d,
        .xattrmap = d->policy.xattrmap,
        .uids = d->policy.uids,
        .gids = d->policy.gids,
    };

    if (!fc.tree)
        return false;
    fc.max_fds = fc.max_fds ? MIN(fc.max_fds, most) : most;
    d->fs = fs_new(&fc, err);
    if (!d->fs)
        return false;
    if (!d->dev)
        return true;
    struct fuse_srv_config sc = {
        .fs = d->fs,
        .sink_fd = d->null_fd,
        .mounted = guest_mounted,
        .user = d,
        .window = d->dax.window,
        .policy = o->fuse,
        .name = o->tag ? o->tag : o->shared_dir,
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

/* Nobody takes up what the guest held: who connects next starts over. */
static void dev_hang_up(void *user)
{
    struct daemon *d = user;
    fuse_srv_hang_up(d->fuse);
    fuse_srv_reset(d->fuse);
}

static void dev_session(void *user, bool begins)
{
    const struct daemon *d = user;
    if (begins)
        tell(d, NOTIFY_FRONT_END);
    else if (d->o->vu.relisten)
        tell(d, NOTIFY_WAITING);
}

static void dev_thread_start(void *user)
{
    fs_thread_start();
}

static int dev_save(void *user, const GArray *taken, GByteArray *out)
{
    struct daemon *d = user;
    return daemon_move_save(d->fuse, taken, out);
}

static int dev_load(void *user, const uint8_t *bytes, size_t len, GArray *taken)
{
    struct daemon *d = user;
    return daemon_move_load(d->fuse, bytes, len, taken);
}

/* VIRTIO 1.2, 5.11.4: char tag[36], le32 num_request_queues. */
static void make_dev(struct daemon *d)
{
    static const struct vu_dev_ops ops = {
        .handle = dev_handle,
        .drain = dev_drain,
        .reset = dev_reset,
        .session = dev_session,
        .thread_start = dev_thread_start,
        .hang_up = dev_hang_up,
        .save = dev_save,
        .load = dev_load,
    };
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
        .name = d->where,
        .policy = o->vu,
        .num_queues = 1 + o->max_request_queues,
        .hiprio = 1,
        .config = o->tag ? config : NULL,
        .config_len = o->tag ? sizeof(config) : 0,
    };
    daemon_dax_device(o, &vc);
    if (vc.shmem_size)
        log_info("a guest with a DAX window cannot be migrated: that is not offered");
    d->dev = vu_dev_new(&vc);
    daemon_dax_prepare(&d->dax, o, d->dev);
}

/* ---- order ---- */

static int start(struct daemon *d, GError **err)
{
    if (!daemon_policy_parse(&d->policy, d->o, err) || !set_nofile(d, err) || !open_socket(d, err))
        return -1;
    say_nofile(d);
    d->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (d->null_fd < 0) {
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "/dev/null: %s; the daemon needs it", errno_text(errno));
        return -1;
    }
    struct daemon_9p_device dev = {d->where, d->o->tag, &d->listen_fd, &d->conn_fd};
    if (!daemon_9p_open(d->o, &d->policy, &dev, d->files, &d->p9, err))
        return -1;
    if (d->o->statfs_from && !(d->statfs = sb_statfs_start(d->o->statfs_from, err))) {
        g_prefix_error(err, "--statfs-from: ");
        return -1;
    }
    if (d->listen_fd >= 0 || d->conn_fd >= 0) /* else it is 9P's */
        make_dev(d);
    struct sb_result sb;
    if (!enter_sandbox(d, &sb, err))
        return -1;
    d->keeper_fd = sb.keeper_fd;
    fd_kind_proc(sb.proc_self_fd);
    if (!daemon_signal_start(err) ||
        (d->dev && !daemon_dax_start(&d->dax, d->o, d->nofile, dev_thread_start, d, err)) ||
        !make_fs(d, &sb, err))
        return -1;
    return !d->p9 || daemon_9p_make(d->p9, d->fs, dev_thread_start, dev_session, d, err) ? 0 : -1;
}

/* Serve until the front-ends are gone, or a signal. Returns whether all went well. */
static bool serve(struct daemon *d, GError **err)
{
    bool ok = !d->p9 || daemon_9p_begin(d->p9, err);

    if (ok && d->dev)
        ok = vu_dev_run(d->dev, err) == 0;
    if (!ok && d->p9)
        daemon_9p_stop(d->p9);
    return (!d->p9 || daemon_9p_wait(d->p9, d->dev != NULL)) && ok;
}

/* The sandbox is entered and all that can fail has been done. Kata's runtime takes the daemon for
 * ready when it reads these words, and waits for ever if it does not (as of the Rust daemon's, and
 * the C one's before it). */
static void say_ready(const struct daemon *d)
{
    const struct options *o = d->o;

    log_info("serving %s%s%s", o->shared_dir, o->tag ? " as " : "", o->tag ? o->tag : "");
    if (d->awaits)
        log_awaited("Waiting for vhost-user socket connection on %s...", d->where);
    tell(d, NOTIFY_READY);
    if (d->awaits)
        tell(d, NOTIFY_WAITING);
}

/* A signal came. */
static void stop_serving(void *user)
{
    struct daemon *d = user;

    tell(d, NOTIFY_STOPPING);
    if (d->dev)
        vu_dev_stop(d->dev);
    if (d->p9)
        daemon_9p_stop(d->p9);
}

/* ---- numbers ---- */

/* All of them. The caller frees it. Any thread, while it serves. */
static struct stats *fill_stats(const struct daemon *d)
{
    struct stats *s = stats_new();

    s->share = g_strdup(d->o->tag ? d->o->tag : d->o->shared_dir);
    s->uptime_ns = counters_clock_ns() - d->begin_ns;
    daemon_stats_core(s, d->fs, d->p9 ? daemon_9p_fs(d->p9) : NULL, d->dax.window);
    if (d->dev)
        daemon_stats_device(s, "fuse", d->dev, fuse_srv_op_name);
    if (d->p9)
        daemon_9p_stats(d->p9, s);
    return s;
}

static void report(void *user)
{
    struct stats *s = fill_stats(user);
    GString *text = g_string_new(NULL);

    stats_json(s, text);
    log_whole(text->str, text->len);
    g_string_free(text, TRUE);
    stats_free(s);
}

/* Ours only as long as the sandbox was not entered. */
static void remove_files(struct sock_files *f, void *unused)
{
    sock_files_remove(f);
}

static void stop(struct daemon *d)
{
    daemon_signal_stops(NULL, NULL);
    daemon_signal_reports(NULL, NULL);
    daemon_9p_free(d->p9);
    fuse_srv_free(d->fuse);
    daemon_dax_free(&d->dax);
    vu_dev_free(d->dev);
    fs_free(d->fs);
    sb_statfs_free(d->statfs);
    daemon_policy_free(&d->policy);
    g_free(d->where);
    g_ptr_array_foreach(d->files, (GFunc)(void (*)(void))remove_files, NULL);
    g_ptr_array_unref(d->files);
    if (d->listen_fd >= 0)
        close(d->listen_fd);
    if (d->conn_fd >= 0)
        close(d->conn_fd);
    if (d->null_fd >= 0)
        close(d->null_fd);
}

static void close_inherited(const struct options *o)
{
    g_autoptr(GArray) keep = daemon_9p_inherited(o);

    g_array_append_val(keep, o->fd);
    sb_close_inherited((const int *)(void *)keep->data, keep->len);
}

int daemon_run(const struct options *o, daemon_tree_fn *make_tree)
{
    struct daemon d = {.o = o,
                       .make_tree = make_tree,
                       .listen_fd = -1,
                       .conn_fd = -1,
                       .null_fd = -1,
                       .keeper_fd = -1};

    d.begin_ns = counters_clock_ns();
    d.files = g_ptr_array_new_with_free_func((GDestroyNotify)sock_files_free);
    GError *err = NULL;
    int code = 1;

    /* Before anything of ours is open: also the connection to syslog. */
    close_inherited(o);
    log_init(o->log.level, o->log.syslog);
    d.notify_fd = notify_open();
    d.announced = d.notify_fd > 0;
    for (unsigned i = 0; i < o->notes->len; i++)
        log_warn("%s", (const char *)g_ptr_array_index(o->notes, i));
    umask(0);
    daemon_signal_early();
    if (start(&d, &err) == 0) {
        daemon_signal_stops(stop_serving, &d);
        daemon_signal_reports(report, &d);
        say_ready(&d);
        if (serve(&d, &err))
            code = 0;
        tell(&d, NOTIFY_STOPPING);
    }
    if (err) {
        log_error("%s", err->message);
        if (err->domain == G_OPTION_ERROR) /* as main() ends on a wrong command line */
            code = 2;
        g_error_free(err);
    }
    stop(&d);
    return code;
}
