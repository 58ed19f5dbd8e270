/* SPDX-License-Identifier: BSD-3-Clause
 * The 9P2000.L server: requests in struct chain, answered by the file-system core. Protocol facts:
 * diod's protocol document and Linux's net/9p.
 *
 * A connection is one virtio-9p device or one socket. Its fids hold references of the core, never
 * path strings. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtiofsd/9p/p9-policy.h"
#include "virtiofsd/base/chain.h"
#include "virtiofsd/fs/fs.h"

struct p9_srv;
struct p9_conn;

struct p9_config {
    struct fs *fs;         /* not owned */
    unsigned max_fids;     /* per connection */
    unsigned max_fids_all; /* of all connections together */
    union {
        struct p9_policy policy;
        struct p9_policy;
    };
    /* Everything is done as this user when not UINT32_MAX (sockets); else as the one who attached.
     */
    uint32_t squash_uid, squash_gid;
};

struct p9_srv *p9_srv_new(const struct p9_config *cfg);
void p9_srv_free(struct p9_srv *srv); /* no connection is left */

struct p9_conn *p9_conn_new(struct p9_srv *srv);
void p9_conn_free(struct p9_conn *conn); /* all requests are answered; drops all fids */

/* Note the tag of a request that is going to be handled by another thread than those before and
 * after it: a Tflush that is handled first must find the request that it is about. To be called in
 * the order in which the client sent them; p9_conn_handle() must follow. Optional. */
void p9_conn_arrive(struct p9_conn *conn, struct chain *c);

/* Answer one request: chain_complete() exactly once, in the call or, for locks that wait, later.
 * chain.in is the T-message, chain.out room for the R-message. May be called from several threads
 * at once. A chain that has no room for any answer is completed with 0 bytes. */
void p9_conn_handle(struct p9_conn *conn, struct chain *c);

/* Of a T-message by its place in the counters (base/counters.h); NULL: none is there. Static. */
const char *p9_srv_op_name(unsigned place);

/* Largest message of this connection now: what Tversion agreed on, or 8192 before. For sockets. */
uint32_t p9_conn_msize(struct p9_conn *conn);

/* Let its fids hold no more than @bytes in values of attributes (16 MiB else). Before it is used.
 */
void p9_conn_bound_values(struct p9_conn *conn, size_t bytes);
/* Whether somebody has attached by it. */
bool p9_conn_attached(struct p9_conn *conn);

/* Make requests that wait for a lock end with EINTR. */
void p9_conn_cancel(struct p9_conn *conn);
/* The guest is gone: drop all fids. No request runs. */
void p9_conn_reset(struct p9_conn *conn);
