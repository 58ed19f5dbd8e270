/* SPDX-License-Identifier: BSD-3-Clause
 * Acting as the guest's process: effective ids, groups, umask, capabilities, per thread.
 *
 * Raw system calls throughout: the wrappers of libc change all threads of the process. Going from
 * euid 0 to another one empties the effective capability set, coming back fills it again, so the
 * host's permission checks apply to what is created in between, and the set-group-id rule for new
 * files sees an ordinary user. */
/* #syscalls capget capset fchdir setgroups setresgid setresuid tgkill umask unshare */
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/tree/host-priv.h"

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
    struct host_cred_saved saved;
} thread_acting;

void host_thread_start(void)
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

int host_thread_cwd(struct host *h)
{
    if (G_LIKELY(thread_cwd == h->serial))
        return 0;
    if (fchdir(h->proc_self_fd) != 0)
        return -errno;
    thread_cwd = h->serial;
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

bool host_fsetid_drop(void)
{
    if (thread_acting.on || !caps_read() || !(thread_caps.set[0].effective & (1u << CAP_FSETID)))
        return false;
    struct __user_cap_data_struct less[2] = {thread_caps.set[0], thread_caps.set[1]};
    less[0].effective &= ~(1u << CAP_FSETID);
    return caps_set(less) == 0;
}

void host_fsetid_restore(void)
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

bool host_reopens(struct tree *t)
{
    (void)t;
    return caps_read() && (thread_caps.set[0].effective & (1u << CAP_DAC_OVERRIDE));
}

static bool caps_permit(uint32_t caps)
{
    return thread_caps.set[0].permitted & caps;
}

bool host_cred_override(const struct fs_cred *cred, struct host_cred_saved *saved)
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

static void become_uid(struct host *h, uid_t uid, const char *what)
{
    if (syscall(SYS_setresuid, -1, uid, -1) != 0) {
        log_error("setresuid: %s: cannot %s", errno_text(errno), what);
        abort();
    }
}

void host_cred_leave(struct host *h, const struct host_cred_saved *saved)
{
    int keep = errno;
    bool ok = true;

    if (saved->uid)
        become_uid(h, h->uid, "become the daemon again");
    if (saved->caps && !(saved->uid && h->uid == 0)) /* there the kernel has filled the set again */
        host_fsetid_restore();
    if (saved->gid)
        ok = syscall(SYS_setresgid, -1, h->gid, -1) == 0;
    if (saved->groups)
        ok = syscall(SYS_setgroups, 0, NULL) == 0 && ok;
    if (!ok) {
        log_error("setresgid, setgroups: %s: cannot become the daemon again", errno_text(errno));
        abort();
    }
    errno = keep;
}

static int switch_ids(struct host *h, const struct fs_cred *cred, struct host_cred_saved *saved)
{
    /* The set to which host_cred_leave() leads back must be known before it is emptied. */
    if (!caps_read())
        return -EPERM;
    if (cred->ngroups > 0) {
        if (syscall(SYS_setgroups, cred->ngroups, cred->groups) != 0)
            return -errno;
        saved->groups = true;
    }
    if (cred->gid != h->gid) {
        if (syscall(SYS_setresgid, -1, cred->gid, -1) != 0)
            return -errno;
        saved->gid = true;
    }
    if (cred->uid != h->uid) {
        if (syscall(SYS_setresuid, -1, cred->uid, -1) != 0)
            return -errno;
        saved->uid = true;
    }
    /* The kernel empties the set only of who stops being 0. */
    if (saved->uid && h->uid != 0 && caps_effective()) {
        saved->caps = true;
        return caps_only(0);
    }
    return 0;
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

int host_cred_enter(struct host *h, const struct fs_cred *cred, struct host_cred_saved *saved)
{
    *saved = (struct host_cred_saved){0};
    if (!cred)
        return 0;
    if (cred->uid == (uid_t)-1 || cred->gid == (gid_t)-1 || cred->ngroups > FS_MAX_GROUPS)
        return -EINVAL;
    set_umask(cred->umask & 0777);
    if (thread_acting.on)
        return cred->uid == thread_acting.uid && cred->gid == thread_acting.gid ? 0 : -EPERM;
    if (cred->uid == h->uid && cred->gid == h->gid)
        return 0;
    /* An ordinary user's daemon: what the guest's root makes is ours. */
    if (cred->uid == 0 && cred->gid == 0 && h->uid != 0 && !may_switch())
        return 0;
    int rc = switch_ids(h, cred, saved);
    if (rc < 0)
        host_cred_leave(h, saved);
    return rc;
}

/* ---- acting as a user for more than one call ---- */

int host_act_as(struct tree *t, const struct fs_cred *cred)
{
    struct host *h = host_of(t);
    struct host_cred_saved saved;

    if (thread_acting.on)
        return 0;
    if (!caps_read())
        return -EPERM;
    int rc = host_cred_enter(h, cred, &saved);
    if (rc < 0)
        return rc;
    if (!saved.uid && caps_effective()) { /* our own id, but more rights than it gives */
        if (caps_only(0) < 0) {
            host_cred_leave(h, &saved);
            return -EPERM;
        }
        saved.caps = true;
    }
    thread_acting.on = true;
    thread_acting.uid = cred->uid;
    thread_acting.gid = cred->gid;
    thread_acting.saved = saved;
    return 1;
}

void host_act_done(struct tree *t)
{
    thread_acting.on = false;
    host_cred_leave(host_of(t), &thread_acting.saved);
}

bool host_cred_acting(void)
{
    return thread_acting.on;
}

bool host_search_begin(void)
{
    const uint32_t caps = 1u << CAP_DAC_READ_SEARCH | 1u << CAP_DAC_OVERRIDE;
    return thread_acting.on && caps_permit(caps) && caps_only(caps) == 0;
}

void host_search_end(void)
{
    int keep = errno;
    if (caps_only(0) != 0) {
        log_error("capset: %s: cannot give capabilities up again", errno_text(errno));
        abort();
    }
    errno = keep;
}
