/* SPDX-License-Identifier: BSD-3-Clause
 * What every wire test starts from: a private directory with a share in it, the real daemon on
 * that share, a connection, a mounted file system. The daemon's path is in $VIRTIOFSD,
 * its --sandbox in $WIRE_SANDBOX (none). */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lib/fe-daemon.h"
#include "tests/lib/fe-fuse.h"
#include "tests/lib/fe-mem.h"
#include "tests/lib/fe-time.h"
#include "tests/lib/fe-vhost.h"

#define WIRE_QUEUE 128

/* Whether this build has a sanitizer: the daemon's memory is not its own then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WIRE_SANITIZED 1
#else
#define WIRE_SANITIZED 0
#endif

/* The thread sanitizer's own thread reads files: what it may leave out, names of functions. */
#ifdef __SANITIZE_THREAD__
#define WIRE_THREADS 1
#else
#define WIRE_THREADS 0
#endif

/* How the daemon is started: without namespaces, with all it has, or with nothing but itself. */
enum wire_mode {
    WIRE_PLAIN,   /* --sandbox=$WIRE_SANDBOX, system calls filtered */
    WIRE_SANDBOX, /* the defaults */
    WIRE_BARE,    /* --sandbox=none --seccomp=none */
};

struct wire {
    enum wire_mode mode;
    const char *const *before;  /* words in front of the daemon's, or NULL */
    const char *const *options; /* besides, for wire_mount(); ends with NULL, or is NULL */
    char dir[64];               /* private, removed at the end */
    char share[80];             /* dir/share */
    char socket[80];            /* dir/sock */
    pid_t janitor;              /* removes dir */
    int janitor_fd;
    struct fe_daemon d;
    struct fe_mem mem;
    struct fe_vhost v;
    struct fe_fuse f;
};

/* Group set-up: the directory, a share with
 *   dir/ dir/sub/ dir/file ("0123456789") file ("hello\n") link -> file  fifo  big (1 MiB pattern)
 * no daemon yet. */
int wire_make(void **state);
/* The same, and each wire_mount() has shared locks. */
int wire_make_locks(void **state);
/* Group tear-down. */
int wire_teardown(void **state);

/* Start the daemon with @extra options (a NULL-terminated list, or NULL). */
void wire_spawn(struct wire *w, const char *const *extra);
/* Start it with these @options and the sandbox alone; @keep_fd, or -1, is inherited. */
void wire_exec(struct wire *w, const char *const *options, int keep_fd);
/* Connect; nothing negotiated. */
void wire_connect(struct wire *w);
/* wire_connect(), memory, rings running: hiprio and one request queue, or @nrings in all. */
void wire_rings(struct wire *w);
void wire_rings_n(struct wire *w, unsigned nrings);
/* The same with a back-end channel and a window (tests/lib/fe-shmem.h). */
void wire_rings_shmem(struct wire *w, int channel);
/* Close the connection, free memory and rings. */
void wire_hangup(struct wire *w);
/* wire_hangup() and expect the daemon to end by itself with @code; prints its log when not, or when
 * a sanitizer said something. */
void wire_finish(struct wire *w, int code);

/* Test set-up: daemon, rings, INIT with the flags of Linux. */
int wire_mount(void **state);
/* Test tear-down: hang up, exit code 0 expected; the daemon is killed when a test left it. */
int wire_umount(void **state);
/* Test tear-down for tests that start the daemon in their own way. */
int wire_cleanup(void **state);

/* Test set-up: wire_mount() in the default sandbox (under an emulator or a sanitizer: none), or
 * bare. */
int wire_mount_sandbox(void **state);
int wire_mount_bare(void **state);
/* Test set-up: the mode only, for tests that start the daemon in their own way. */
int wire_mode_sandbox(void **state);
int wire_mode_bare(void **state);

/* One test as two: what the sandbox would stop must not get that far. */
#define WIRE_BOTH(t)                                              \
    {#t " (sandbox)", t, wire_mount_sandbox, wire_umount, NULL},  \
    {                                                             \
#t " (no sandbox)", t, wire_mount_bare, wire_umount, NULL \
    }
#define WIRE_BOTH_OWN(t)                                          \
    {#t " (sandbox)", t, wire_mode_sandbox, wire_cleanup, NULL},  \
    {                                                             \
#t " (no sandbox)", t, wire_mode_bare, wire_cleanup, NULL \
    }

/* The content of "big" at @off. */
static inline uint8_t wire_pattern(uint64_t off)
{
    return (uint8_t)(off * 131 + (off >> 9) * 7 + (off >> 17));
}

/* Write a file in the share, from the host's side; @text may be NULL (empty). */
void wire_put(struct wire *w, const char *name, const char *text);

/* Mount the host's /proc on "proc" in the share, for the test to unmount; where that is not
 * possible the test is skipped. */
void wire_mount_proc(struct wire *w);
/* Path of a name in the share; a static buffer, four at a time. */
const char *wire_path(struct wire *w, const char *name);
/* Node id of a path of names below the root ("dir/file"); fails the test when it is not there. */
uint64_t wire_node(struct wire *w, const char *path);

/* The daemon is alive and the mount answers a GETATTR of the root. */
void wire_alive(struct wire *w);
