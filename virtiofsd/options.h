/* SPDX-License-Identifier: BSD-3-Clause
 * The command line, as plain values. Everything the daemon can be told is a field here.
 *
 * The enums are the command line's own: daemon.c maps them to those of the modules, so that this
 * file and the modules do not know each other. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtiofsd/base/log.h"

enum opt_cache { OPT_CACHE_NEVER, OPT_CACHE_METADATA, OPT_CACHE_AUTO, OPT_CACHE_ALWAYS };
enum opt_handles { OPT_HANDLES_NEVER, OPT_HANDLES_PREFER, OPT_HANDLES_MANDATORY };
enum opt_sandbox { OPT_SANDBOX_NAMESPACE, OPT_SANDBOX_CHROOT, OPT_SANDBOX_NONE };
enum opt_seccomp { OPT_SECCOMP_KILL, OPT_SECCOMP_LOG, OPT_SECCOMP_TRAP, OPT_SECCOMP_NONE };
/* Whether to ask the guest for a feature: no, if it has it, or insist. */
enum opt_ask { OPT_ASK_NEVER, OPT_ASK_AUTO, OPT_ASK_ALWAYS };
enum opt_dax_policy { OPT_DAX_AUTO, OPT_DAX_ALWAYS, OPT_DAX_NEVER };
enum opt_dax_dialect {
    OPT_DIALECT_AUTO,
    OPT_DIALECT_STANDARD,
    OPT_DIALECT_QEMU,
    OPT_DIALECT_CROSVM,
    OPT_DIALECT_ALIOTH,
};

enum opt_protocol { OPT_PROTOCOL_VIRTIOFS, OPT_PROTOCOL_9P, OPT_PROTOCOL_BOTH };

/* One range of --uid-map or --gid-map. Both ends stay below 2^32 - 1. */
struct opt_id_map {
    uint32_t inside;  /* first id in the user namespace */
    uint32_t outside; /* first id on the host */
    uint32_t count;   /* at least 1 */
};

/* --rlimit-nofile was not given: min(1000000, /proc/sys/fs/nr_open), where the hard limit allows.
 */
#define OPT_RLIMIT_DEFAULT UINT64_MAX

/* Options that there may be. */
#define OPT_MAX 128

/* A tag is at most this long (VIRTIO 1.2, 5.11.4 "Device configuration layout"). */
#define OPT_TAG_MAX 36

struct options {
    /* Share. */
    char *shared_dir; /* never NULL after a good parse */
    char *tag;        /* 1 .. OPT_TAG_MAX bytes; NULL: no configuration space is offered (CONFIG) */
    bool readonly;
    bool announce_submounts; /* default true */
    enum opt_handles inode_file_handles;
    bool preserve_noatime; /* keep the guest's O_NOATIME */
    bool allow_direct_io;  /* keep the guest's O_DIRECT */
    char *statfs_from;     /* directory whose file system's size the guest sees; or NULL: its own */

    /* Connection: exactly one of socket_path and fd is given (none: 9P by p9_listen only). */
    char *socket_path;  /* or NULL */
    char *socket_group; /* name or number, only with socket_path; or NULL */
    int fd;             /* listening or connected socket, or -1 */
    bool relisten;      /* serve the next front-end after one went away */

    /* 9P. */
    enum opt_protocol protocol;
    char *p9_socket_path; /* of the 9P device, only with both protocols; or NULL */
    GPtrArray *p9_listen; /* addresses of stream sockets; never NULL */
    uint64_t p9_msize;    /* largest message, bytes; default 1 MiB */
    char *p9_squash;      /* "UID:GID", "none", or NULL: nobody */
    bool p9_lock;         /* clients' locks are shared with the host; default: not readonly */

    /* Queues. */
    unsigned num_request_queues; /* what the configuration space says; default 1 */
    unsigned max_request_queues; /* rings served if the front-end sets them up: num_request_queues
                                  * when that or a tag was given, else OPT_MAX_QUEUES_DEFAULT */
    unsigned queue_size;         /* largest ring taken; power of two */
    unsigned thread_pool_size;   /* 0 = each queue's own thread does the work */
    unsigned poll_us;            /* busy poll before sleeping, microseconds; 0 = none */

    /* Caching. */
    enum opt_cache cache;
    double timeout;          /* seconds the guest keeps attributes and names; resolved by policy */
    double negative_timeout; /* seconds it keeps the absence of a name; resolved by policy */
    bool allow_mmap;         /* shared mappings with cache never and metadata */
    bool writeback;
    bool readdirplus; /* default true; false with cache never */

    /* DAX window. */
    uint64_t dax_window; /* bytes, a power of two from 2 MiB; 0: none */
    enum opt_dax_policy dax_policy;
    enum opt_dax_dialect dax_dialect;
    uint64_t dax_min_size;  /* bytes; default 64 KiB */
    GPtrArray *dax_include; /* shell patterns of names, NULL behind them; empty: all */
    GPtrArray *dax_exclude;

    /* Features for the guest. */
    bool xattr;       /* also when something of the following needs it */
    bool posix_lock;  /* record locks are shared with the host */
    bool flock;       /* flock(2) is shared with the host */
    double lock_wait; /* seconds that a shared lock is waited for; 0 = for ever */
    bool killpriv_v2; /* default true: we clear suid and sgid bits, not the guest */
    char *xattrmap;   /* rules, or NULL; the daemon parses them */
    enum opt_ask posix_acl;
    enum opt_ask security_label;
    GPtrArray *translate_uid; /* rules as text, which the daemon parses; never NULL */
    GPtrArray *translate_gid;

    /* Sandbox. */
    enum opt_sandbox sandbox;
    enum opt_seccomp seccomp;
    char *modcaps;   /* "+cap:-cap...", or NULL */
    GArray *uid_map; /* struct opt_id_map; never NULL, may be empty */
    GArray *gid_map;

    /* Bounds. */
    uint64_t rlimit_nofile; /* 0 = leave it; OPT_RLIMIT_DEFAULT */
    uint64_t max_fds;       /* descriptors the guest may make us hold; 0 = what the limit leaves */
    uint64_t max_inodes;    /* inodes remembered at once; 0 = no bound but memory */
    unsigned max_lock_waiters; /* guest requests that wait for a lock at once */
    unsigned max_lock_ranges;  /* ranges of record locks at once */

    /* Log. */
    enum log_level log_level;
    bool syslog;

    /* Lines to log at start, level warn: options that were taken but do nothing. Strings; never
     * NULL. */
    GPtrArray *notes;

    bool given[OPT_MAX]; /* by row of the table */
};

/* A ring that is not set up costs nothing, so we need not be told beforehand how many request
 * queues the front-end wants: without --num-request-queues any number up to this is served. */
#define OPT_MAX_QUEUES_DEFAULT 64

#define OPTIONS_ERROR options_error_quark()
GQuark options_error_quark(void);

enum options_error {
    OPTIONS_ERROR_USAGE,         /* unknown option, bad value, missing or contradicting options */
    OPTIONS_ERROR_NOT_AVAILABLE, /* an option of another daemon that this version does not have */
};

enum options_result {
    OPTIONS_BAD,  /* @err is set: print it and exit 2 */
    OPTIONS_RUN,  /* start the daemon */
    OPTIONS_EXIT, /* --help, --version, --print-capabilities: answered on stdout; exit 0 */
};

/* Parse the command line into @out, which need not be initialised. Defaults are filled in. The
 * message of @err is one line that names the option, the value and what is allowed. The caller
 * calls options_free(), whatever the result. */
enum options_result options_parse(int argc, char **argv, struct options *out, GError **err);

/* Free what the fields point to. The descriptor in fd is not closed. */
void options_free(struct options *o);
