/* SPDX-License-Identifier: BSD-3-Clause
 * The command line, as plain values. Everything the daemon can be told is a field here: those of
 * the modules as they take them, and the daemon's own. options.ini says what sets which. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "dax/dax-policy.h"
#include "sandbox/sb-policy.h"
#include "vhost-user/vu-policy.h"
#include "virtiofsd/9p/p9-policy.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/fs/fs-policy.h"
#include "virtiofsd/fuse/fuse-policy.h"
#include "virtiofsd/tree/host-policy.h"

enum opt_protocol { OPT_PROTOCOL_VIRTIOFS, OPT_PROTOCOL_9P, OPT_PROTOCOL_BOTH };

/* --rlimit-nofile was not given: min(1000000, /proc/sys/fs/nr_open), where the hard limit allows.
 */
#define OPT_RLIMIT_DEFAULT UINT64_MAX

/* Options that there may be. */
#define OPT_MAX 128

/* A tag is at most this long (VIRTIO 1.2, 5.11.4 "Device configuration layout"). */
#define OPT_TAG_MAX 36

struct options {
    struct fs_policy fs;
    struct host_policy host;
    struct fuse_policy fuse; /* owns the lists of patterns */
    struct p9_policy p9;
    struct dax_policy dax;
    struct vu_policy vu;
    struct sb_policy sandbox;
    struct log_policy log;

    /* Share. */
    char *shared_dir; /* never NULL after a good parse */
    char *tag;        /* 1 .. OPT_TAG_MAX bytes; NULL: no configuration space is offered (CONFIG) */
    char *statfs_from; /* directory whose file system's size the guest sees; or NULL: its own */

    /* Connection: exactly one of socket_path and fd is given (none: 9P by p9_listen only). */
    char *socket_path;  /* or NULL */
    char *socket_group; /* name or number, only with socket_path; or NULL */
    int fd;             /* listening or connected socket, or -1 */

    /* 9P. */
    enum opt_protocol protocol;
    char *p9_socket_path; /* of the 9P device, only with both protocols; or NULL */
    GPtrArray *p9_listen; /* addresses of stream sockets; never NULL */
    char *p9_squash;      /* "UID:GID", "none", or NULL: nobody */

    unsigned num_request_queues; /* what the configuration space says; default 1 */
    unsigned max_request_queues; /* rings served if the front-end sets them up: num_request_queues
                                  * when that or a tag was given, else OPT_MAX_QUEUES_DEFAULT */

    /* What the daemon parses: rules or NULL, and lists of rules that are never NULL. */
    char *xattrmap;
    GPtrArray *translate_uid;
    GPtrArray *translate_gid;
    char *modcaps; /* "+cap:-cap...", or NULL */

    uint64_t rlimit_nofile; /* 0 = leave it; OPT_RLIMIT_DEFAULT */

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
