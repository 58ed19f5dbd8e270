/* SPDX-License-Identifier: BSD-3-Clause
 * What the daemon and its broker say to each other (--inode-file-handles=fenced).
 *
 * The broker is a process beside the daemon that alone may open by file handle. It takes the handle
 * of a descriptor that the daemon has, and opens only what it gave itself: each handle comes with a
 * code that nobody else can make. One request, one reply, on one of several sequenced-packet
 * sockets; the numbers of both are the host's. The broker's side is sandbox/sb-handles.h, the
 * daemon's tree/host-broker.h. */
#pragma once

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>

#define BROKER_CHANNELS 8   /* calls at once; each has a thread of the broker's */
#define BROKER_BATCH    16  /* descriptors of one request */
#define BROKER_MOUNTS   256 /* known at once */
#define BROKER_CODE     16  /* bytes: enough that nobody guesses one */
#define BROKER_WAIT_S   30  /* for a reply; a disk may have to start up */

enum broker_op {
    /* One descriptor, not O_PATH: a mount whose files will be opened. Answers broker_reply.mount.
     * EOPNOTSUPP: its handles do not tell a file from a later one of the same number; ENOSPC. */
    BROKER_MOUNT = 1,
    /* broker_request.h.mount: as often as BROKER_MOUNT answered it, and the mount is forgotten, and
     * with it all handles that were signed for it. ENXIO: there is none. */
    BROKER_UNMOUNT,
    /* 1 to BROKER_BATCH descriptors: one broker_signed for each, in their order. Its error is ENXIO
     * where the mount was not made known. */
    BROKER_SIGN,
    /* broker_request.h: answers with an O_PATH descriptor. EBADMSG: it was not signed for this
     * mount; ENXIO; ESTALE and others of open_by_handle_at(2). */
    BROKER_OPEN,
};

struct broker_handle {
    uint64_t mount; /* never used again for another one */
    int32_t type;
    uint32_t bytes;
    uint8_t code[BROKER_CODE];
    uint8_t handle[MAX_HANDLE_SZ]; /* as many as bytes says */
};

struct broker_request {
    uint32_t op;
    uint32_t seq; /* comes back */
    struct broker_handle h;
};

struct broker_signed {
    int32_t error; /* 0 or errno: then h is nothing */
    uint32_t unused;
    struct broker_handle h;
};

struct broker_reply {
    uint32_t seq;
    int32_t error; /* 0 or errno */
    uint64_t mount;
    uint32_t n, unused;
    struct broker_signed h[BROKER_BATCH]; /* n of them are sent */
};

/* How long a reply with @n handles is. */
static inline size_t broker_reply_len(unsigned n)
{
    return offsetof(struct broker_reply, h) + n * sizeof(struct broker_signed);
}
