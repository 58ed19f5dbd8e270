/* SPDX-License-Identifier: BSD-3-Clause
 * 9P over stream sockets: listening, inherited, connected ones.
 *
 * Threads: the one in p9_sock_run() accepts connections; a small pool shared by all connections
 * reads messages and works on them, several of one connection at once. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "virtiofsd/9p/p9-listen.h"
#include "virtiofsd/9p/p9-srv.h"

struct counts;
struct p9_sock;

/* Connections at once. One more takes the place of the oldest by which nobody has attached yet, or,
 * when somebody has by all, is hung up on. */
#define P9_SOCK_MAX_CONNS 64
/* ms that a peer has to attach, and to read an answer or finish a message when others wait for the
 * memory that it holds. */
#define P9_SOCK_PATIENCE_MS 10000u

struct p9_sock_config {
    struct p9_srv *local;  /* serves unix sockets: the peer is one of us; not owned */
    struct p9_srv *remote; /* serves the others: anybody may have come that way; not owned */
    unsigned threads;      /* at least 2 */
    unsigned patience_ms;  /* 0: P9_SOCK_PATIENCE_MS */
    gid_t group; /* of peers of inherited unix sockets that may connect, too; (gid_t)-1: none */
    void (*thread_start)(void *user); /* first of all in each thread of the pool; may be NULL */
    void *user;
};

/* Never fails but for memory; p9_sock_run() tells of descriptors that are missing. */
struct p9_sock *p9_sock_new(const struct p9_sock_config *cfg);
/* p9_sock_run() is not running. */
void p9_sock_free(struct p9_sock *s);

/* Serve @ep, whose descriptor is taken over. Before p9_sock_run(). */
void p9_sock_add(struct p9_sock *s, const struct p9_endpoint *ep);

/* Serve until p9_sock_stop(), or until there is neither a listening socket nor a connection left.
 * All connections are closed and all fids gone when it returns. 0, or -1 with @err set. */
int p9_sock_run(struct p9_sock *s, GError **err);

/* Add what all connections, those that have ended included, have counted. Returns how many there
 * are. Any thread. */
unsigned p9_sock_counts(struct p9_sock *s, struct counts *sum);

/* Make p9_sock_run() return soon. Async-signal-safe. */
void p9_sock_stop(struct p9_sock *s);
