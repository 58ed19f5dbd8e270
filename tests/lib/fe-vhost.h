/* SPDX-License-Identifier: BSD-3-Clause
 * The front-end's side of a vhost-user connection, message by message or all at once. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/fe-mem.h"
#include "tests/lib/fe-ring.h"

/* Requests; numbers of the vhost-user specification. */
enum fe_vu {
    VU_GET_FEATURES = 1,
    VU_SET_FEATURES = 2,
    VU_SET_OWNER = 3,
    VU_RESET_OWNER = 4,
    VU_SET_MEM_TABLE = 5,
    VU_SET_LOG_BASE = 6,
    VU_SET_LOG_FD = 7,
    VU_SET_VRING_NUM = 8,
    VU_SET_VRING_ADDR = 9,
    VU_SET_VRING_BASE = 10,
    VU_GET_VRING_BASE = 11,
    VU_SET_VRING_KICK = 12,
    VU_SET_VRING_CALL = 13,
    VU_SET_VRING_ERR = 14,
    VU_GET_PROTOCOL_FEATURES = 15,
    VU_SET_PROTOCOL_FEATURES = 16,
    VU_GET_QUEUE_NUM = 17,
    VU_SET_VRING_ENABLE = 18,
    VU_SET_BACKEND_REQ_FD = 21,
    VU_GET_CONFIG = 24,
    VU_SET_CONFIG = 25,
    VU_RESET_DEVICE = 34,
    VU_VRING_KICK = 35,
    VU_GET_MAX_MEM_SLOTS = 36,
    VU_ADD_MEM_REG = 37,
    VU_REM_MEM_REG = 38,
    VU_SET_STATUS = 39,
    VU_GET_STATUS = 40,
    VU_SET_DEVICE_STATE_FD = 42,
    VU_CHECK_DEVICE_STATE = 43,
    VU_GET_SHMEM_CONFIG = 44,
};

#define VU_VERSION    0x1u
#define VU_REPLY      0x4u
#define VU_NEED_REPLY 0x8u

#define VU_F_LOG_ALL   (1ULL << 26)
#define VU_F_INDIRECT  (1ULL << 28)
#define VU_F_EVENT_IDX (1ULL << 29)
#define VU_F_PROTOCOL  (1ULL << 30)
#define VU_F_VERSION_1 (1ULL << 32)

#define VU_PF_MQ           (1ULL << 0)
#define VU_PF_LOG_SHMFD    (1ULL << 1)
#define VU_PF_REPLY_ACK    (1ULL << 3)
#define VU_PF_BACKEND_REQ  (1ULL << 5)
#define VU_PF_CONFIG       (1ULL << 9)
#define VU_PF_SEND_FD      (1ULL << 10)
#define VU_PF_RESET_DEVICE (1ULL << 13)
#define VU_PF_MEM_SLOTS    (1ULL << 15)
#define VU_PF_STATUS       (1ULL << 16)
#define VU_PF_DEVICE_STATE (1ULL << 19)
#define VU_PF_SHMEM        (1ULL << 22)

struct fe_vu_hdr {
    uint32_t request, flags, size;
} __attribute__((packed));

struct fe_vu_region {
    uint64_t gpa, size, uaddr, mmap_off;
};

struct fe_vu_mem {
    uint32_t n, pad;
    struct fe_vu_region r[FE_MAX_REGIONS];
};

struct fe_vu_addr {
    uint32_t index, flags;
    uint64_t desc, used, avail, log;
};

struct fe_vu_state {
    uint32_t index, num;
};

struct fe_vu_msg {
    struct fe_vu_hdr h;
    union {
        uint64_t u64;
        struct fe_vu_state state;
        uint8_t raw[4096];
    };
} __attribute__((packed, aligned(8)));

#define FE_MAX_RINGS 8

struct fe_vhost {
    int sock;
    int timeout_ms;
    uint64_t features; /* virtio features in force */
    uint64_t proto;    /* protocol features in force */
    struct fe_mem *mem;
    unsigned nrings;
    struct fe_ring ring[FE_MAX_RINGS];
};

/* Take a connected socket. */
void fe_vhost_init(struct fe_vhost *v, int sock);
/* Close the connection and free the rings (not the memory). */
void fe_vhost_close(struct fe_vhost *v);

/* ---- single messages; all return 0 or FE_E... unless said otherwise ---- */

/* Send a message as given: nothing is checked. @flags without the version. */
int fe_vhost_send(struct fe_vhost *v, uint32_t request, uint32_t flags, const void *payload,
                  uint32_t size, const int *fds, unsigned nfds);
/* Receive one reply; descriptors that come with it are closed. */
int fe_vhost_recv(struct fe_vhost *v, struct fe_vu_msg *msg);
/* Send with need_reply and return the acknowledgement: 0, 1 (refused), or FE_E.... Without
 * REPLY_ACK nothing is waited for. */
int fe_vhost_ack(struct fe_vhost *v, uint32_t request, const void *payload, uint32_t size,
                 const int *fds, unsigned nfds);
int fe_vhost_ack_u64(struct fe_vhost *v, uint32_t request, uint64_t value);
int fe_vhost_ack_state(struct fe_vhost *v, uint32_t request, uint32_t index, uint32_t num);
/* KICK, CALL or ERR with @fd, or with the "no descriptor" bit when @fd is -1. */
int fe_vhost_ack_vring_fd(struct fe_vhost *v, uint32_t request, uint32_t index, int fd);
/* A request that is always answered with a u64. */
int fe_vhost_get_u64(struct fe_vhost *v, uint32_t request, uint64_t *value);
/* Stop a ring. @base: where it stopped. */
int fe_vhost_get_base(struct fe_vhost *v, uint32_t index, uint32_t *base);
/* Wait until the daemon closes the connection. */
int fe_vhost_wait_closed(struct fe_vhost *v, int ms);

/* ---- all at once ---- */

/* Features and protocol features: takes all of @features and @proto that are offered. */
int fe_vhost_negotiate(struct fe_vhost *v, uint64_t features, uint64_t proto);
/* SET_MEM_TABLE with all regions. */
int fe_vhost_mem_table(struct fe_vhost *v, struct fe_mem *m);
/* Make @n rings of @size entries (not told to the daemon yet). */
int fe_vhost_make_rings(struct fe_vhost *v, struct fe_mem *m, unsigned n, unsigned size);
/* Tell the daemon of a ring, from NUM to KICK, then enable it. */
int fe_vhost_start_ring(struct fe_vhost *v, unsigned index);
/* Everything from a connected socket to @nrings running rings with the usual features. */
int fe_vhost_start(struct fe_vhost *v, struct fe_mem *m, unsigned nrings, unsigned size);
/* The same with other ones. */
int fe_vhost_start_with(struct fe_vhost *v, struct fe_mem *m, unsigned nrings, unsigned size,
                        uint64_t features, uint64_t proto);

struct fe_vu_shmem {
    uint32_t n, pad;
    uint64_t size[256];
};

/* GET_SHMEM_CONFIG. */
int fe_vhost_get_shmem(struct fe_vhost *v, struct fe_vu_shmem *s);
/* Like fe_vhost_start(), with the back-end channel @channel (stays the caller's; see fe-shmem.h)
 * and shared memory negotiated by all of @extra that is offered (VU_PF_SHMEM, or another bit).
 * Asks for the regions when @window is not NULL and puts the size of region 0 there. The rings are
 * made, but started only when @run. */
int fe_vhost_start_shmem(struct fe_vhost *v, struct fe_mem *m, unsigned nrings, unsigned size,
                         int channel, uint64_t extra, uint64_t *window, bool run);
