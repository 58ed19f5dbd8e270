/* SPDX-License-Identifier: BSD-3-Clause
 * The 9P server in this process over a temporary tree, and requests that reach it in chains of
 * memory that is allocated to the byte. */
#pragma once

#include <pthread.h>

#include "tests/lib/p9-client.h"
#include "tests/unit/fs-tree.h"
#include "virtiofsd/9p/p9-srv.h"

/* One message on its way. */
struct p9_msg {
    struct chain chain; /* first */
    struct iovec in[3], out[3];
    uint8_t *req, *rep;
    size_t done; /* bytes of the answer */
    unsigned completed;
};

struct p9_mem {
    struct share tree;
    struct p9_srv *srv;
    struct p9_conn *conn;
    struct p9c c;    /* a client on conn */
    size_t out_room; /* of the next requests; 0 = the client's whole buffer */
};

/* What most tests want; change it before p9_mem_open(). */
struct p9_config p9_mem_config(void);
void p9_mem_open(struct p9_mem *m, const struct p9_config *cfg);
/* tree_make(), p9_mem_open() and a mounted client: fid 0 is the root, as user 0. */
void p9_mem_start(struct p9_mem *m);
void p9_mem_stop(struct p9_mem *m);

/* A request in segments that end at odd places. */
struct p9_msg *p9_msg_new(const void *req, size_t len, size_t room);
void p9_msg_free(struct p9_msg *msg);
/* How many bytes were answered; waits until there was an answer. */
size_t p9_msg_wait(struct p9_msg *msg);
bool p9_msg_done(struct p9_msg *msg);

/* Another client, on @conn. */
void p9_mem_client(struct p9c *c, struct p9_conn *conn);
