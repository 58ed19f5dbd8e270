/* SPDX-License-Identifier: BSD-3-Clause
 * The vhost-user wire: numbers and structs, nothing else.
 * vhost-user specification, "Message Specification". Host byte order. */
#pragma once

#include <stdint.h>

enum vu_request {
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
    VU_GET_MAX_MEM_SLOTS = 36,
    VU_ADD_MEM_REG = 37,
    VU_REM_MEM_REG = 38,
    VU_SET_STATUS = 39,
    VU_GET_STATUS = 40,
    VU_SET_DEVICE_STATE_FD = 42,
    VU_CHECK_DEVICE_STATE = 43,
    VU_GET_SHMEM_CONFIG = 44,
};

/* requests of ours, on the back-end channel */
enum vu_backend_request {
    VU_BACKEND_SHARED_OBJECT_REMOVE = 7,
    VU_BACKEND_SHMEM_MAP = 9,
    VU_BACKEND_SHMEM_UNMAP = 10,
};

/* header flags */
#define VU_VERSION_MASK 0x3u
#define VU_VERSION      0x1u
#define VU_REPLY        0x4u
#define VU_NEED_REPLY   0x8u

/* protocol feature bits */
enum {
    VU_PROTO_MQ = 0,
    VU_PROTO_LOG_SHMFD = 1,
    VU_PROTO_REPLY_ACK = 3,
    VU_PROTO_BACKEND_REQ = 5,
    VU_PROTO_CONFIG = 9,
    VU_PROTO_BACKEND_SEND_FD = 10,
    VU_PROTO_RESET_DEVICE = 13,
    VU_PROTO_MEM_SLOTS = 15,
    VU_PROTO_STATUS = 16,
    VU_PROTO_DEVICE_STATE = 19,
    VU_PROTO_SHMEM = 22,
};

/* virtio feature bits that belong to the transport */
#define VU_F_LOG_ALL           26 /* never visible to the guest */
#define VU_F_INDIRECT_DESC     28
#define VU_F_EVENT_IDX         29
#define VU_F_PROTOCOL_FEATURES 30
#define VU_F_VERSION_1         32

#define VU_TABLE_REGIONS 8   /* regions in one SET_MEM_TABLE */
#define VU_MEM_SLOTS     509 /* regions with CONFIGURE_MEM_SLOTS; the number that others answer too */
#define VU_CONFIG_MAX    256
#define VU_INDEX_MASK    0xffu  /* of the u64 of SET_VRING_KICK, _CALL, _ERR */
#define VU_NO_FD         0x100u /* the same u64: no descriptor comes with it */

struct vu_hdr {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* of the payload */
};

struct vu_wire_region {
    uint64_t gpa;
    uint64_t size;
    uint64_t uaddr;       /* the front-end's own virtual address */
    uint64_t mmap_offset; /* where the region starts in its file */
};

struct vu_wire_table {
    uint32_t nregions;
    uint32_t pad;
    struct vu_wire_region region[VU_TABLE_REGIONS];
};

struct vu_wire_slot {
    uint64_t pad;
    struct vu_wire_region region;
};

struct vu_wire_vring {
    uint32_t index;
    uint32_t num;
};

struct vu_wire_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc;
    uint64_t used;
    uint64_t avail;
    uint64_t log;
};

#define VU_VRING_F_LOG 0x1u /* of vu_wire_addr.flags: log is the guest address of the used ring */

struct vu_wire_log {
    uint64_t size, offset; /* bytes, in the descriptor's file */
};

struct vu_wire_state {
    uint32_t direction;
    uint32_t phase; /* 0: all rings are stopped */
};

enum vu_state_direction { VU_STATE_SAVE, VU_STATE_LOAD };

#define VU_STATE_NO_FD 0x100u /* of the answer: the front-end's own descriptor is used */

struct vu_wire_config {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t data[VU_CONFIG_MAX];
};

/* Of region i, whose number (shmid) is i. */
#define VU_SHMEM_REGIONS 256

struct vu_wire_shmem {
    uint32_t nregions; /* with a size that is not 0 */
    uint32_t pad;
    uint64_t size[VU_SHMEM_REGIONS];
};

/* The answer to a request of ours. */
struct vu_ask_reply {
    struct vu_hdr hdr;
    uint64_t value;
} __attribute__((packed, aligned(4)));

#define VU_CONFIG_HDR 12 /* bytes of struct vu_wire_config before the data */

_Static_assert(sizeof(struct vu_hdr) == 12, "wire header");
_Static_assert(sizeof(struct vu_wire_table) == 264, "wire table");
_Static_assert(sizeof(struct vu_wire_slot) == 40, "wire slot");
_Static_assert(sizeof(struct vu_wire_addr) == 40, "wire address");
_Static_assert(sizeof(struct vu_wire_log) == 16, "wire log");
_Static_assert(sizeof(struct vu_wire_shmem) == 2056, "wire shared memory");
_Static_assert(sizeof(struct vu_ask_reply) == 20, "wire answer");
_Static_assert(sizeof(struct vu_wire_config) == 268, "wire config");
