/* SPDX-License-Identifier: BSD-3-Clause
 * What wire tests of 9P have in common: how messages travel, the daemon with 9P only, and one life
 * of a file. */
#pragma once

#include "tests/lib/p9-client.h"
#include "tests/wire/wire.h"

#define P9_MSIZE (64u << 10)
#define P9_ROOT  1 /* the fid */
#define P9_RDWR  2

/* Where the daemon's unix socket for 9P is, of the test that runs. */
extern char p9_path[96];

/* p9c_transact_fn: over the socket *(int *)@user. */
ssize_t p9_by_socket(void *user, const void *t, size_t len, void *r, size_t max);
/* p9c_transact_fn: over ring 0 of the struct fe_vhost @user. */
ssize_t p9_by_ring(void *user, const void *t, size_t len, void *r, size_t max);

/* The daemon with 9P only; @listen: its address; @keep_fd, or -1, is inherited. */
void p9_spawn(struct wire *w, const char *listen, int keep_fd);
/* The same at p9_path. */
void p9_spawn_unix(struct wire *w);
/* Connect to p9_path; receiving ends after 20 s. */
int p9_dial(struct wire *w);
/* A listening TCP socket on the loopback, its port in *@port. */
int p9_listen_tcp(uint16_t *port);
/* Connect to it; @host in host order. The socket, or -errno. */
int p9_dial_tcp(uint32_t host, uint16_t port);
/* Version and attach of P9_ROOT as root. */
void p9_mounted(struct p9c *c, p9c_transact_fn *fn, void *user);
/* The daemon ends well when told to. */
void p9_stopped(struct wire *w);

/* virtio-fs and 9P from one daemon, each with its device; the 9P client is mounted on its ring. */
struct p9_both {
    struct fe_mem mem;
    struct fe_vhost v;
    struct p9c c;
};

void p9_both_up(struct wire *w, struct p9_both *b, bool relisten);
/* The 9P device hangs up. */
void p9_both_down(struct p9_both *b);

/* A file is made, written, read, listed, removed; another is read. */
void p9_live(struct p9c *c, struct wire *w);

/* Group set-up: wire_make(), and others may enter the directory. */
int p9_make(void **state);
