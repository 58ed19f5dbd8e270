/* SPDX-License-Identifier: BSD-3-Clause
 * The sandbox: what a daemon taken over by its guest can still reach is its share and nothing else.
 *
 * Theory of operation: isolation in stages, each called once, in this order, from the only thread.
 *
 * 1. sb_close_inherited()  first thing after the options are parsed.
 *    Should: close every descriptor that somebody left open for us.
 *    Mustn't: touch stdin, stdout, stderr, or the descriptors that options name.
 * 2. The caller makes its listening socket, sets up the log, raises RLIMIT_NOFILE, and makes
 *    SIGTERM, SIGINT, SIGHUP and SIGQUIT either blocked (signalfd) or handled: pid 1 of a pid
 * namespace does not die of a signal that it does not handle.
 * 3. sb_enter()            namespaces, pivot_root or chroot or landlock.
 *    Should: leave the share and one directory of our own descriptors.
 *    Mustn't: be called with threads running, or before what needs the host's files was done
 *    (users and groups by name, time zone, modules loaded on demand).
 * 4. sb_drop_caps()        capabilities, supplementary groups, no-new-privileges.
 * 5. sb_seccomp_apply(SB_THREAD_PROCESS): what any thread of the daemon may ever call.
 *    Mustn't: be the last word for threads that need much less.
 * 6. Threads start. Each worker prepares itself (unshare(CLONE_FS)); a thread that waits for locks
 *    calls sb_seccomp_apply(SB_THREAD_LOCK). Filters are inherited and only ever add up. Workers
 *    have none of their own: it would take away little more than accept(2), and a second filter
 *    costs 20 ns for each path call, since what depends on arguments is checked by all of them.
 *
 * With sb_config.fenced a further process, the broker, opens files by their handles in the place of
 * the daemon, which then may not (sb-handles.h). It is a child of the daemon's, in the same
 * namespaces, and ends with it.
 *
 * In namespace mode two processes exist after stage 3: the one that was started stays outside as
 * the keeper. It forwards SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2, ends as the
 * daemon ended (same status or same signal), removes the files of its sockets, takes the daemon
 * along when it is killed, and to the control groups that it is moved to. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "sandbox/sb-policy.h"
#include "virtiofsd/base/broker.h"
#include "virtiofsd/base/notify.h"
#include <sys/statvfs.h>

struct sb_config {
    union {
        struct sb_policy policy;
        struct sb_policy;
    };
    const char *shared_dir;
    bool file_handles;           /* files are to be opened by handle: keeps CAP_DAC_READ_SEARCH */
    bool fenced;                 /* with file_handles: a broker keeps it, and the daemon does not */
    bool labels;                 /* new files are to get labels: what that takes of proc is kept */
    uint64_t caps_add, caps_del; /* --modcaps: bit n = capability n; del wins over the needed set */
    /* struct sock_files of the daemon's sockets, or NULL. The keeper removes them at the end; the
     * daemon itself keeps no way to them, and where there is no keeper no more than their lock. */
    GPtrArray *files;
    /* Of notify_open(), or 0. The keeper's, where there is one: it is the process that the service
     * manager knows; else it stays the caller's. */
    int notify_fd;
};

struct sb_result {
    int root_fd;      /* O_PATH descriptor of the share, as seen from inside */
    int proc_self_fd; /* O_PATH descriptor of /proc/self/fd, in most cases a mount of its own */
    /* /proc/self/task and the link /proc/thread-self (O_PATH), where labels are wanted and the
     * kernel gives them (SELinux); -1 else. */
    int task_fd, thread_fd;
    int keeper_fd;                /* for sb_keeper_tell(); -1: there is no keeper */
    int channel[BROKER_CHANNELS]; /* to the broker */
    unsigned channels;            /* all of them, or 0: there is no broker */
    bool user_ns;                 /* in a user namespace of our own */
    bool single_id;               /* only one user and one group exist: chown and mknod will fail */
    bool landlock;                /* the kernel limits us to the share by landlock */
};

#define SB_ERROR sb_error_quark()
GQuark sb_error_quark(void); /* codes are errno values */

/* Close all descriptors from 3 up but the @n of @keep (negative ones are none). */
void sb_close_inherited(const int *keep, unsigned n);

/* Stage 3. Returns true in the process that is to become the daemon, with @out filled (its
 * descriptors belong to the caller). Returns false, with @err one line that says what to do, in
 * whichever process failed: the caller prints it and exits with a failure. */
bool sb_enter(const struct sb_config *cfg, struct sb_result *out, GError **err);

/* Tell the keeper how far the daemon is; it tells the service manager. When something has begun it
 * also looks, and again some times in the ten seconds after, whether it was moved to other control
 * groups, and moves the daemon there: managers know only the process that they started. Any thread;
 * never waits. */
void sb_keeper_tell(int keeper_fd, enum notify what);

/* ---- capabilities ---- */

/* "+name:-name...": bits to add and to take. Returns false with @err naming the bad part. */
bool sb_modcaps_parse(const char *text, uint64_t *add, uint64_t *del, GError **err);

/* The capabilities that the daemon keeps with this configuration. */
uint64_t sb_caps_wanted(const struct sb_config *cfg);

/* Stage 4: keep exactly sb_caps_wanted() as far as we have it, empty the ambient and bounding
 * sets, set no-new-privileges. What is wanted but not there is logged, once. */
bool sb_drop_caps(const struct sb_config *cfg, GError **err);

/* ---- system calls ---- */

enum sb_thread {
    SB_THREAD_PROCESS, /* all of the daemon's */
    SB_THREAD_FENCED,  /* the same where a broker opens by handle */
    SB_THREAD_LOCK,    /* waits for one lock: less */
    SB_THREAD_KEEPER,  /* the parent outside the sandbox; applied by sb_enter() */
    SB_THREAD_BROKER,  /* the process that opens by handle; the same */
    SB_THREAD_STATFS,  /* the process of sb_statfs_start(); applied there */
};

/* Limit the calling thread, and those it will start. 0 or -errno. Needs no-new-privileges. */
int sb_seccomp_apply(enum sb_thread thread, enum sb_action action);

/* ---- another file system's numbers ---- */

/* Start a process that answers for the file system of the directory @dir, from now on by a
 * descriptor of it. Before sb_enter(). It ends when sb_statfs_free() was called or the daemon is
 * gone. NULL with @err set. */
struct sb_statfs *sb_statfs_start(const char *dir, GError **err);
/* Ask it; any thread, several at once. 0, -errno of statvfs(3), -EIO: it is gone, -ETIMEDOUT after
 * three seconds, and at once from then on until it has answered. */
int sb_statfs_ask(struct sb_statfs *s, struct statvfs *out);
void sb_statfs_free(struct sb_statfs *s);
