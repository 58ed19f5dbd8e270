/* SPDX-License-Identifier: BSD-3-Clause
 * The socket server over a double of the 9P server, and peers of it that speak by the byte. */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include "tests/unit/p9-double.h"
#include "virtiofsd/9p/p9-sock.h"

struct peer_server {
    char dir[32];
    struct sockaddr_un un;
    struct sock_files *files;
    struct p9_sock *s;
    pthread_t thread;
    int rc; /* of p9_sock_run() */
};

/* Of the next server; 0: its own. */
extern unsigned peer_patience_ms;

/* For cmocka: a server on a unix socket; everything must be gone at the end. */
int peer_setup(void **state);
int peer_teardown(void **state);
/* One on another endpoint. */
void peer_start(struct peer_server *t, const struct p9_endpoint *ep);

/* Connect. A server that hangs is a failed test: waiting ends after 20 s. */
int peer_dial(struct peer_server *t);
void peer_put(int fd, const void *p, size_t len);
void peer_get(int fd, void *p, size_t len);
/* A message of @size bytes into @buf; the size. */
size_t peer_make(uint8_t *buf, uint8_t type, uint16_t tag, size_t size);
/* The same, sent. */
void peer_ask(int fd, uint8_t type, uint16_t tag, size_t size);
void peer_ask_read(int fd, uint16_t tag, uint32_t count);
void peer_set_msize(int fd, uint32_t msize);
/* The next answer's tag; its type must be @type + 1, its size @want. */
uint16_t peer_answered(int fd, uint8_t type, size_t want);
void peer_hung_up(int fd);

/* One of the double's numbers. */
unsigned peer_number(const unsigned *n);
/* Until that many slow messages are at work. */
void peer_wait_slow(unsigned n);
