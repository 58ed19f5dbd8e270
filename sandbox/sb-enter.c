/* SPDX-License-Identifier: BSD-3-Clause
 * Stage 3 of the isolation: the three sandbox modes. */
/* #syscalls:early chdir chroot close fchdir fcntl geteuid openat setgroups
 * #syscalls:early setresgid setresuid unshare */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/sock-files.h"

/* Root's supplementary groups would let the guest in where only those groups may (CVE-2022-0358).
 * A user namespace with one id denies the call, and has no group of root's to lose. */
static bool drop_groups(GError **err)
{
    if (setgroups(0, NULL) == 0 || errno == EPERM)
        return true;
    return sb_fail(err, errno, "cannot drop the supplementary groups");
}

/* Namespace mode, outside: leave for new namespaces as far as the keeper needs them, fork.
 * Should: put the user and pid namespaces in place, and give up root's groups.
 * Mustn't: touch mounts or network, or the keeper could not tell its parent's world from ours. */
static bool enter_namespace(const struct sb_config *cfg, int share_fd, struct sb_result *out,
                            GError **err)
{
    struct sb_keeper keeper;

    if (fchdir(share_fd) < 0)
        return sb_fail(err, errno, "cannot enter the shared directory");
    out->user_ns = geteuid() != 0 || cfg->uid_map.n || cfg->gid_map.n;
    out->single_id = out->user_ns && sb_idmap_is_single(cfg);
    if (out->user_ns) {
        if (!sb_userns_enter(cfg, CLONE_NEWPID, err))
            return false;
    } else if (unshare(CLONE_NEWPID) < 0) {
        return sb_fail_namespace(err, errno, false, "cannot make a pid namespace");
    }
    if (sb_keeper_fork(&keeper, cfg, err) < 0)
        return false;
    if (cfg->files)
        g_ptr_array_set_size(cfg->files, 0);

    if (out->user_ns && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
        return sb_fail(err, errno, "cannot become user 0 of the new user namespace");
    out->keeper_fd = keeper.mail_fd;
    if (!drop_groups(err) || !sb_keeper_bind(&keeper, err) || !sb_ns_build(cfg, out, err))
        return false;
    if (out->single_id)
        sb_idmap_tell_single();
    return true;
}

static bool limit_to_share(const struct sb_config *cfg, struct sb_result *out, GError **err)
{
    /* Who may not open by handle need not be let off for it. */
    bool by_handle = cfg->file_handles && sb_caps_have(CAP_DAC_READ_SEARCH);
    int r = sb_landlock(out->root_fd, by_handle);
    if (r < 0)
        return sb_fail(err, -r, "cannot limit the daemon to the share by landlock");
    out->landlock = r > 0;
    return true;
}

/* Chroot mode: no new process, the caller's namespaces.
 * Should: make the share the root; a share held from outside would let ".." climb. Absolute names,
 * which then are the guest's, are left to the filters. A directory that the host moves out of the
 * share while the guest holds it is out of the chroot, too: there landlock takes over, where the
 * kernel has it. Mustn't: be taken for what the namespaces give. */
static bool enter_chroot(const struct sb_config *cfg, int share_fd, struct sb_result *out,
                         GError **err)
{
    sb_open_proc(cfg, out);
    if (!drop_groups(err))
        return false;
    if (fchdir(share_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
        return sb_fail(err, errno,
                       "cannot change the root to the shared directory (chroot needs root)");
    out->root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (out->root_fd < 0)
        return sb_fail(err, errno, "cannot open the new root");
    return limit_to_share(cfg, out, err);
}

/* No sandbox of ours: for containers that forbid namespaces.
 * Should: limit us to the share by landlock, where the kernel has it.
 * Mustn't: need any privilege. */
static bool enter_none(const struct sb_config *cfg, int share_fd, struct sb_result *out,
                       GError **err)
{
    sb_open_proc(cfg, out);
    if (geteuid() == 0 && !drop_groups(err))
        return false;
    out->root_fd = fcntl(share_fd, F_DUPFD_CLOEXEC, 3);
    if (out->root_fd < 0)
        return sb_fail(err, errno, "cannot hold the shared directory");
    return limit_to_share(cfg, out, err);
}

static bool enter_mode(const struct sb_config *cfg, int share_fd, struct sb_result *out,
                       GError **err)
{
    switch (cfg->mode) {
    case SB_NAMESPACE:
        return enter_namespace(cfg, share_fd, out, err);
    case SB_CHROOT:
        return enter_chroot(cfg, share_fd, out, err);
    case SB_NONE:
        return enter_none(cfg, share_fd, out, err);
    }
    return sb_fail(err, EINVAL, "sandbox mode %d", (int)cfg->mode);
}

static void clear_result(struct sb_result *r)
{
    const int fds[] = {r->root_fd, r->proc_self_fd, r->task_fd, r->thread_fd, r->keeper_fd};

    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    for (unsigned i = 0; i < r->channels; i++)
        close(r->channel[i]);
}

/* What the broker is for would be undone. */
static bool is_fence_open(const struct sb_config *cfg)
{
    return cfg->fenced && cfg->caps_add & UINT64_C(1) << CAP_DAC_READ_SEARCH;
}

bool sb_enter(const struct sb_config *cfg, struct sb_result *out, GError **err)
{
    struct sb_result r = {
        .root_fd = -1, .proc_self_fd = -1, .task_fd = -1, .thread_fd = -1, .keeper_fd = -1};

    AUTO_FD int share_fd = open(cfg->shared_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (share_fd < 0)
        return sb_fail(err, errno, "cannot open the shared directory '%s'", cfg->shared_dir);
    if ((cfg->uid_map.n || cfg->gid_map.n) && cfg->mode != SB_NAMESPACE)
        return sb_fail(err, EINVAL, "id maps without a user namespace");
    if (is_fence_open(cfg))
        return sb_fail(err, EINVAL, "CAP_DAC_READ_SEARCH beside a broker that takes it");

    bool ok = enter_mode(cfg, share_fd, &r, err);
    for (unsigned i = 0; ok && cfg->files && i < cfg->files->len; i++)
        sock_files_leave(g_ptr_array_index(cfg->files, i));
    if (ok && r.proc_self_fd < 0)
        ok = sb_fail(err, ENOENT, "cannot open /proc/self/fd (is /proc mounted?)");
    if (ok && cfg->file_handles && cfg->fenced)
        ok = sb_broker_start(cfg, &r, err);
    if (!ok) {
        clear_result(&r);
        return false;
    }
    *out = r;
    return true;
}
