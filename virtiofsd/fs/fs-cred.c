/* SPDX-License-Identifier: BSD-3-Clause
 * Acting as the guest's process: effective ids, groups, umask, capabilities, per thread.
 *
 * Raw system calls throughout: the wrappers of libc change all threads of the process. Going from
 * euid 0 to another one empties the effective capability set, coming back fills it again, so the
 * host's permission checks apply to what is created in between, and the set-group-id rule for new
 * files sees an ordinary user. */
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-idmap.h"
#include "virtiofsd/fs/fs-priv.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static __thread mode_t thread_umask;
static __thread unsigned thread_cwd; /* serial of the context whose proc_self_fd is our cwd */
static __thread struct {
    bool read;
    struct __user_cap_data_struct set[2]; /* when we are ourselves */
} thread_caps;
static __thread struct {
    bool on;
    uid_t uid;
    gid_t gid;
    struct fs_cred_saved saved;
} thread_acting;

void fs_thread_start(void)
{
    if (unshare(CLONE_FS) != 0)
        log_error("unshare(CLONE_FS): %s: umasks of requests may mix", errno_text(errno));
    umask(0);
    thread_umask = 0;
    thread_cwd = 0;
    thread_caps.read = false;
    /* Our own groups must not make new files set-group-id for a group the guest is not in. Not
     * allowed in some user namespaces, where ids cannot be switched either. */
    if (syscall(SYS_setgroups, 0, NULL) != 0 && errno != EPERM)
        log_warn("setgroups: %s", errno_text(errno));
}

int fs_thread_cwd(struct fs *fs)
{
    if (G_LIKELY(thread_cwd == fs->serial))
        return 0;
    if (fchdir(fs->cfg.proc_self_fd) != 0)
        return -errno;
    thread_cwd = fs->serial;
    return 0;
}

/* ---- capabilities ---- */

static bool caps_read(void)
{
    struct __user_cap_header_struct hdr = {_LINUX_CAPABILITY_VERSION_3, 0};

    if (!thread_caps.read)
        thread_caps.read = syscall(SYS_capget, &hdr, thread_caps.set) == 0;
    return thread_caps.read;
}

static int caps_set(const struct __user_cap_data_struct set[2])
{
    struct __user_cap_header_struct hdr = {_LINUX_CAPABILITY_VERSION_3, 0};
    return (int)syscall(SYS_capset, &hdr, set);
}

bool fs_fsetid_drop(void)
{
    if (thread_acting.on || !caps_read() || !(thread_caps.set[0].effective & (1u << CAP_FSETID)))
        return false;
    struct __user_cap_data_struct less[2] = {thread_caps.set[0], thread_caps.set[1]};
    less[0].effective &= ~(1u << CAP_FSETID);
    return caps_set(less) == 0;
}

void fs_fsetid_restore(void)
{
    int keep = errno;
    if (caps_set(thread_caps.set) != 0) {
        log_error("capset: %s: cannot restore capabilities", errno_text(errno));
        abort();
    }
    errno = keep;
}

/* The effective set becomes @caps, as far as they are permitted. 0 or -errno. */
static int caps_only(uint32_t caps)
{
    struct __user_cap_data_struct set[2] = {thread_caps.set[0], thread_caps.set[1]};

    set[0].effective = set[0].permitted & caps;
    set[1].effective = 0;
    return caps_set(set) == 0 ? 0 : -errno;
}

/* Whether we have any when we are ourselves. */
static bool caps_effective(void)
{
    return thread_caps.set[0].effective || thread_caps.set[1].effective;
}

static bool caps_permit(uint32_t caps)
{
    return thread_caps.set[0].permitted & caps;
}

bool fs_cred_override(const struct fs_cred *cred, struct fs_cred_saved *saved)
{
    if (!cred || cred->strict || !saved->uid)
        return false;
    if (!caps_permit(1u << CAP_DAC_OVERRIDE))
        return false;
    int keep = errno;
    saved->caps = caps_only(1u << CAP_DAC_OVERRIDE) == 0;
    errno = keep;
    return saved->caps;
}

/* ---- ids ---- */

static void become_uid(struct fs *fs, uid_t uid, const char *what)
{
    if (syscall(SYS_setresuid, -1, uid, -1) != 0) {
        log_error("setresuid: %s: cannot %s", errno_text(errno), what);
        abort();
    }
}

void fs_cred_leave(struct fs *fs, const struct fs_cred_saved *saved)
{
    int keep = errno;
    bool ok = true;

    if (saved->uid)
        become_uid(fs, fs->uid, "become the daemon again");
    if (saved->caps &&
        !(saved->uid && fs->uid == 0)) /* there the kernel has filled the set again */
        fs_fsetid_restore();
    if (saved->gid)
        ok = syscall(SYS_setresgid, -1, fs->gid, -1) == 0;
    if (saved->groups)
        ok = syscall(SYS_setgroups, 0, NULL) == 0 && ok;
    if (!ok) {
        log_error("setresgid, setgroups: %s: cannot become the daemon again", errno_text(errno));
        abort();
    }
    errno = keep;
}

static int switch_ids(struct fs *fs, const struct fs_cred *cred, struct fs_cred_saved *saved)
{
    /* The set to which fs_cred_leave() leads back must be known before it is emptied. */
    if (!caps_read())
        return -EPERM;
    if (cred->ngroups > 0) {
        if (syscall(SYS_setgroups, cred->ngroups, cred->groups) != 0)
            return -errno;
        saved->groups = true;
    }
    if (cred->gid != fs->gid) {
        if (syscall(SYS_setresgid, -1, cred->gid, -1) != 0)
            return -errno;
        saved->gid = true;
    }
    if (cred->uid != fs->uid) {
        if (syscall(SYS_setresuid, -1, cred->uid, -1) != 0)
            return -errno;
        saved->uid = true;
    }
    /* The kernel empties the set only of who stops being 0. */
    if (saved->uid && fs->uid != 0 && caps_effective()) {
        saved->caps = true;
        return caps_only(0);
    }
    return 0;
}

/* The ids of @cred as the host knows them. 0, or -EPERM: one that the guest may not use. */
static int to_host(struct fs *fs, const struct fs_cred *cred, struct fs_cred *out)
{
    int rc = 0;

    *out = *cred;
    if (fs->cfg.uids)
        rc = fs_idmap_to_host(fs->cfg.uids, cred->uid, &out->uid);
    if (rc == 0 && fs->cfg.gids)
        rc = fs_idmap_to_host(fs->cfg.gids, cred->gid, &out->gid);
    for (unsigned i = 0; rc == 0 && fs->cfg.gids && i < cred->ngroups; i++)
        rc = fs_idmap_to_host(fs->cfg.gids, cred->groups[i], &out->groups[i]);
    return rc;
}

static bool may_switch(void)
{
    return caps_read() && (thread_caps.set[0].effective & (1u << CAP_SETUID));
}

static void set_umask(mode_t mask)
{
    if (mask == thread_umask)
        return;
    umask(mask);
    thread_umask = mask;
}

int fs_cred_enter(struct fs *fs, const struct fs_cred *cred, struct fs_cred_saved *saved)
{
    *saved = (struct fs_cred_saved){0};
    if (!cred)
        return 0;
    if (cred->uid == (uid_t)-1 || cred->gid == (gid_t)-1 || cred->ngroups > FS_MAX_GROUPS)
        return -EINVAL;
    struct fs_cred mapped;
    if (G_UNLIKELY(fs->ids)) {
        int rc = to_host(fs, cred, &mapped);
        if (rc < 0)
            return rc;
        cred = &mapped;
    }
    set_umask(cred->umask & 0777);
    if (thread_acting.on)
        return cred->uid == thread_acting.uid && cred->gid == thread_acting.gid ? 0 : -EPERM;
    if (cred->uid == fs->uid && cred->gid == fs->gid)
        return 0;
    /* An ordinary user's daemon: what the guest's root makes is ours. */
    if (cred->uid == 0 && cred->gid == 0 && fs->uid != 0 && !may_switch())
        return 0;
    int rc = switch_ids(fs, cred, saved);
    if (rc < 0)
        fs_cred_leave(fs, saved);
    return rc;
}

/* ---- acting as a user for more than one call ---- */

int fs_act_as(struct fs *fs, const struct fs_cred *cred)
{
    struct fs_cred_saved saved;
    struct fs_cred host;

    if (thread_acting.on)
        return 0;
    if (!caps_read())
        return -EPERM;
    int rc = to_host(fs, cred, &host);
    if (rc == 0)
        rc = fs_cred_enter(fs, cred, &saved);
    if (rc < 0)
        return rc;
    if (!saved.uid && caps_effective()) { /* our own id, but more rights than it gives */
        if (caps_only(0) < 0) {
            fs_cred_leave(fs, &saved);
            return -EPERM;
        }
        saved.caps = true;
    }
    thread_acting.on = true;
    thread_acting.uid = host.uid;
    thread_acting.gid = host.gid;
    thread_acting.saved = saved;
    return 1;
}

void fs_act_done(struct fs *fs)
{
    thread_acting.on = false;
    fs_cred_leave(fs, &thread_acting.saved);
}

bool fs_cred_acting(void)
{
    return thread_acting.on;
}

bool fs_search_begin(void)
{
    const uint32_t caps = 1u << CAP_DAC_READ_SEARCH | 1u << CAP_DAC_OVERRIDE;
    return thread_acting.on && caps_permit(caps) && caps_only(caps) == 0;
}

void fs_search_end(void)
{
    int keep = errno;
    if (caps_only(0) != 0) {
        log_error("capset: %s: cannot give capabilities up again", errno_text(errno));
        abort();
    }
    errno = keep;
}
