/* SPDX-License-Identifier: BSD-3-Clause
 * Front-end messages: one row per message in a table, everything about its shape checked before
 * its handler is called. vhost-user specification, "Front-end message types".
 *
 * A message that is refused gets a non-zero acknowledgement where one is wanted (an empty reply if
 * it is a question) and one log line, and the connection goes on. */
#include <errno.h>
#include <string.h>

#include "vhost-user/vu-ctrl-ring.h"
#include "vhost-user/vu-priv.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

#define BIT(n) (UINT64_C(1) << (n))

/* Whether a guest can be moved elsewhere with the device: not with a window, whose mappings stay.
 */
static bool moves(const struct vu_dev *dev)
{
    return dev->cfg.ops->save && !dev->cfg.shmem_size;
}

uint64_t vu_ctrl_features(const struct vu_dev *dev)
{
    return dev->cfg.features | (moves(dev) ? BIT(VU_F_LOG_ALL) : 0) | BIT(VU_F_INDIRECT_DESC) |
           BIT(VU_F_EVENT_IDX) | BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_VERSION_1);
}

uint64_t vu_ctrl_protocol(const struct vu_dev *dev)
{
    const struct vu_config *cfg = &dev->cfg;
    uint64_t shmem = cfg->shmem_size ? BIT(cfg->shmem_bit) | BIT(VU_PROTO_BACKEND_SEND_FD) : 0;
    /* QEMU 11.1 with memory slots: it aborts when mappings and memory are more than 512, and a
     * device reset while something is mapped is its end. */
    bool slots = !cfg->shmem_size || cfg->shmem_mem_slots;
    uint64_t state = moves(dev) ? BIT(VU_PROTO_LOG_SHMFD) | BIT(VU_PROTO_DEVICE_STATE) : 0;
    return BIT(VU_PROTO_MQ) | BIT(VU_PROTO_REPLY_ACK) | BIT(VU_PROTO_BACKEND_REQ) |
           BIT(VU_PROTO_RESET_DEVICE) | BIT(VU_PROTO_STATUS) | shmem | state |
           (slots ? BIT(VU_PROTO_MEM_SLOTS) : 0) | (cfg->config ? BIT(VU_PROTO_CONFIG) : 0);
}

static uint64_t get_u64(const struct vu_msg *msg)
{
    uint64_t v;
    memcpy(&v, msg->payload, sizeof(v));
    return v;
}

static int answer_u64(struct vu_reply *r, uint64_t v)
{
    memcpy(r->payload, &v, sizeof(v));
    r->len = sizeof(v);
    return 0;
}

/* ---- features and the like ---- */

static int get_features(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    return answer_u64(r, vu_ctrl_features(dev));
}

static int set_features(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    uint64_t bits = get_u64(msg);
    if (bits & ~vu_ctrl_features(dev))
        return -EINVAL;
    bool was = dev->features & BIT(VU_F_LOG_ALL), is = bits & BIT(VU_F_LOG_ALL);
    dev->features = bits;
    if (is != was && dev->cfg.ops->announce)
        dev->cfg.ops->announce(dev->cfg.user, is);
    return vu_ctrl_apply_features(dev);
}

static int set_owner(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    return 0; /* the connection is the session */
}

static int get_protocol(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    return answer_u64(r, vu_ctrl_protocol(dev));
}

static int set_protocol(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    uint64_t bits = get_u64(msg);
    if (bits & ~vu_ctrl_protocol(dev))
        return -EINVAL;
    dev->protocol = bits;
    const uint64_t usable = BIT(VU_PROTO_BACKEND_REQ) | BIT(VU_PROTO_REPLY_ACK);
    /* The dialect with another bit has no question for the size: that is the front-end's own. */
    bool shmem = dev->cfg.shmem_size && dev->cfg.shmem_bit != VU_PROTO_SHMEM &&
                 (bits & BIT(dev->cfg.shmem_bit));
    vu_backend_negotiated(&dev->backend, (bits & usable) == usable,
                          bits & BIT(VU_PROTO_BACKEND_SEND_FD), shmem);
    return 0;
}

static int get_queue_num(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    return answer_u64(r, dev->cfg.num_queues);
}

static int set_backend_fd(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    return vu_backend_set(&dev->backend, vu_msg_steal_fd(msg, 0), dev->conn_fd);
}

/* QEMU writes status 0 whenever it stops the rings, a paused guest included, so no status means
 * that the guest's state is gone; RESET_DEVICE does. */
static int set_status(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    if (get_u64(msg) > UINT8_MAX)
        return -EINVAL;
    dev->status = (uint8_t)get_u64(msg);
    return 0;
}

static int get_status(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    return answer_u64(r, dev->status);
}

static int reset_device(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    vu_ctrl_reset(dev);
    dev->status = 0;
    return 0;
}

/* ---- the dirty log ---- */

/* A front-end cannot tell a refusal from consent (QEMU looks at nothing but the answer's number),
 * so it is remembered until the state is asked for. */
static int set_log_base(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_log l;
    struct vu_log *log = NULL, *old = dev->log;
    memcpy(&l, msg->payload, sizeof(l));
    int rc = moves(dev) ? vu_log_new(msg->fds[0], l.size, l.offset, &dev->lost, &log) : -EOPNOTSUPP;
    dev->log_refused = rc < 0;
    dev->log = log;
    vu_ctrl_apply_log(dev);
    vu_log_unref(old);
    memcpy(r->payload, &l, sizeof(l));
    r->len = sizeof(l);
    return rc;
}

static int set_log_fd(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_fd *call, *old = dev->log_call;
    int rc = vu_fd_new(vu_msg_steal_fd(msg, 0), VU_FD_WRITE, dev->conn_fd, &call);
    if (rc < 0)
        return rc;
    dev->log_call = call;
    vu_ctrl_apply_log(dev);
    vu_fd_unref(old);
    return 0;
}

/* ---- configuration space ---- */

static int check_config(const struct vu_dev *dev, const struct vu_msg *msg,
                        struct vu_wire_config *c)
{
    memcpy(c, msg->payload, msg->hdr.size);
    if (!dev->cfg.config)
        return -EOPNOTSUPP;
    if (c->size == 0 || c->size != msg->hdr.size - VU_CONFIG_HDR || c->offset > VU_CONFIG_MAX ||
        c->size > VU_CONFIG_MAX - c->offset)
        return -EINVAL;
    return 0;
}

static int get_config(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_config c;
    int rc = check_config(dev, msg, &c);
    if (rc < 0)
        return rc;
    memcpy(c.data, dev->config + c.offset, c.size); /* zeroes follow what there is */
    memcpy(r->payload, &c, msg->hdr.size);
    r->len = msg->hdr.size;
    return 0;
}

static int set_config(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_config c;
    int rc = check_config(dev, msg, &c);
    return rc < 0 ? rc : -EROFS; /* no field of the device can be written */
}

/* ---- memory ---- */

/* Make @mem (taken over) the table of the device and its rings. */
static int use_table(struct vu_dev *dev, struct vu_mem *mem)
{
    int rc = 0;
    vu_mem_unref(dev->mem);
    dev->mem = mem;
    for (unsigned i = 0; i < dev->cfg.num_queues; i++) {
        int one = vu_queue_set_mem(&dev->queues[i], mem);
        if (one == 0)
            one = vu_queue_update(&dev->queues[i]);
        rc = rc ? rc : one;
    }
    return rc;
}

/* QEMU takes each mapping in the window for guest memory and tells us of it, if there is room in
 * the table. It is none for us: no ring or buffer belongs there (a request that points there fails
 * like one that points nowhere), and files of the share are not kept from being shortened. */
static bool is_window(struct vu_dev *dev, int fd)
{
    return dev->cfg.shmem_size && vu_backend_sent(&dev->backend, fd);
}

/* Leave the window out of a table and its descriptors. */
static void drop_window(struct vu_dev *dev, struct vu_wire_table *t, int *fds)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < t->nregions; i++) {
        if (is_window(dev, fds[i]))
            continue;
        t->region[kept] = t->region[i];
        /* Changed places, all are closed with the message. */
        int fd = fds[kept];
        fds[kept++] = fds[i];
        fds[i] = fd;
    }
    t->nregions = kept;
}

/* Whether the device has exactly this table. It comes again and again while the window changes, and
 * what is mapped already should not fault in again. */
static bool have_table(const struct vu_dev *dev, const struct vu_wire_table *t, const int *fds)
{
    bool same = dev->mem && dev->mem->cnt == t->nregions;
    for (unsigned i = 0; same && i < t->nregions; i++)
        same = vu_mem_has(dev->mem, &t->region[i], fds[i]);
    return same;
}

/* The payload may be longer than its regions need: User-Mode Linux 6.1 sends room for two. */
static int set_mem_table(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_table t;
    struct vu_mem *mem = NULL;
    memcpy(&t, msg->payload, MIN(msg->hdr.size, sizeof(t)));
    if (t.nregions == 0 || t.nregions > VU_TABLE_REGIONS || msg->nfds != t.nregions ||
        msg->hdr.size < offsetof(struct vu_wire_table, region) + t.nregions * sizeof(t.region[0]))
        return -EINVAL;
    drop_window(dev, &t, msg->fds);
    if (t.nregions == 0 || have_table(dev, &t, msg->fds))
        return 0;
    for (unsigned i = 0; i < t.nregions; i++) {
        struct vu_mem *more;
        int rc = vu_mem_add(mem, &t.region[i], msg->fds[i], &dev->lost, &more);
        vu_mem_unref(mem);
        if (rc < 0)
            return rc;
        mem = more;
    }
    return use_table(dev, mem);
}

static int get_max_slots(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    return answer_u64(r, VU_MEM_SLOTS);
}

static int add_mem_reg(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_slot s;
    struct vu_mem *mem;
    memcpy(&s, msg->payload, sizeof(s));
    if (is_window(dev, msg->fds[0]))
        return 0;
    int rc = vu_mem_add(dev->mem, &s.region, msg->fds[0], &dev->lost, &mem);
    return rc < 0 ? rc : use_table(dev, mem);
}

static int rem_mem_reg(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_slot s;
    struct vu_mem *mem;
    memcpy(&s, msg->payload, sizeof(s));
    int rc = vu_mem_remove(dev->mem, &s.region, &mem);
    if (rc == -ENOENT && vu_backend_has_shmem(&dev->backend))
        return 0; /* of the window, perhaps */
    return rc < 0 ? rc : use_table(dev, mem);
}

/* ---- shared memory ---- */

static int get_shmem(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_shmem s = {.nregions = 1, .size = {dev->cfg.shmem_size}};
    if (!dev->cfg.shmem_size || !(dev->protocol & BIT(dev->cfg.shmem_bit)))
        return -EOPNOTSUPP;
    vu_backend_asked_shmem(&dev->backend);
    memcpy(r->payload, &s, sizeof(s));
    r->len = sizeof(s);
    return 0;
}

/* ---- the table ---- */

struct vu_handler {
    const char *name;
    uint16_t min, max; /* bytes of payload */
    uint8_t fds_min, fds_max;
    bool question; /* always answered */
    int (*fn)(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r);
};

#define U64    8, 8
#define NONE   0, 0
#define VRING  8, 8
#define CONFIG VU_CONFIG_HDR, VU_CONFIG_HDR + VU_CONFIG_MAX

/* clang-format off */
static const struct vu_handler handlers[] = {
    [VU_GET_FEATURES]          = {"GET_FEATURES", NONE, 0, 0, true, get_features},
    [VU_SET_FEATURES]          = {"SET_FEATURES", U64, 0, 0, false, set_features},
    [VU_SET_OWNER]             = {"SET_OWNER", NONE, 0, 0, false, set_owner},
    [VU_RESET_OWNER]           = {"RESET_OWNER", NONE, 0, 0, false, vu_ctrl_reset_owner},
    [VU_SET_MEM_TABLE]         = {"SET_MEM_TABLE", 8, VU_MAX_PAYLOAD, 0, VU_MAX_FDS, false, set_mem_table},
    [VU_SET_LOG_BASE]          = {"SET_LOG_BASE", 16, 16, 1, 1, true, set_log_base},
    [VU_SET_LOG_FD]            = {"SET_LOG_FD", 0, 8, 1, 1, false, set_log_fd},
    [VU_SET_VRING_NUM]         = {"SET_VRING_NUM", VRING, 0, 0, false, vu_ctrl_vring_num},
    [VU_SET_VRING_ADDR]        = {"SET_VRING_ADDR", 40, 40, 0, 0, false, vu_ctrl_vring_addr},
    [VU_SET_VRING_BASE]        = {"SET_VRING_BASE", VRING, 0, 0, false, vu_ctrl_vring_base},
    [VU_GET_VRING_BASE]        = {"GET_VRING_BASE", VRING, 0, 0, true, vu_ctrl_vring_stop},
    [VU_SET_VRING_KICK]        = {"SET_VRING_KICK", U64, 0, 1, false, vu_ctrl_vring_kick},
    [VU_SET_VRING_CALL]        = {"SET_VRING_CALL", U64, 0, 1, false, vu_ctrl_vring_call},
    [VU_SET_VRING_ERR]         = {"SET_VRING_ERR", U64, 0, 1, false, vu_ctrl_vring_err},
    [VU_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", NONE, 0, 0, true, get_protocol},
    [VU_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", U64, 0, 0, false, set_protocol},
    [VU_GET_QUEUE_NUM]         = {"GET_QUEUE_NUM", NONE, 0, 0, true, get_queue_num},
    [VU_SET_VRING_ENABLE]      = {"SET_VRING_ENABLE", VRING, 0, 0, false, vu_ctrl_vring_enable},
    [VU_SET_BACKEND_REQ_FD]    = {"SET_BACKEND_REQ_FD", NONE, 1, 1, false, set_backend_fd},
    [VU_GET_CONFIG]            = {"GET_CONFIG", CONFIG, 0, 0, true, get_config},
    [VU_SET_CONFIG]            = {"SET_CONFIG", CONFIG, 0, 0, false, set_config},
    [VU_RESET_DEVICE]          = {"RESET_DEVICE", NONE, 0, 0, false, reset_device},
    [VU_GET_MAX_MEM_SLOTS]     = {"GET_MAX_MEM_SLOTS", NONE, 0, 0, true, get_max_slots},
    [VU_ADD_MEM_REG]           = {"ADD_MEM_REG", 40, 40, 1, 1, false, add_mem_reg},
    [VU_REM_MEM_REG]           = {"REM_MEM_REG", 40, 40, 0, 1, false, rem_mem_reg},
    [VU_SET_STATUS]            = {"SET_STATUS", U64, 0, 0, false, set_status},
    [VU_GET_STATUS]            = {"GET_STATUS", NONE, 0, 0, true, get_status},
    [VU_SET_DEVICE_STATE_FD]   = {"SET_DEVICE_STATE_FD", 8, 8, 1, 1, true, vu_state_begin},
    [VU_CHECK_DEVICE_STATE]    = {"CHECK_DEVICE_STATE", NONE, 0, 0, true, vu_state_check},
    [VU_GET_SHMEM_CONFIG]      = {"GET_SHMEM_CONFIG", NONE, 0, 0, true, get_shmem},
};
/* clang-format on */

static const struct vu_handler *find_handler(uint32_t request)
{
    if (request >= G_N_ELEMENTS(handlers) || !handlers[request].fn)
        return NULL;
    return &handlers[request];
}

static int check_shape(const struct vu_handler *h, const struct vu_msg *msg)
{
    if (msg->hdr.size < h->min || msg->hdr.size > h->max)
        return -EMSGSIZE;
    if (msg->nfds < h->fds_min || msg->nfds > h->fds_max)
        return -EBADF;
    return 0;
}

static int answer(struct vu_dev *dev, const struct vu_msg *msg, bool question, int rc,
                  const struct vu_reply *r)
{
    uint64_t ack = rc < 0;
    if (question)
        return vu_msg_reply(dev->conn_fd, dev->wake_fd, msg->hdr.request, r->payload,
                            rc < 0 ? 0 : r->len);
    if ((msg->hdr.flags & VU_NEED_REPLY) && (dev->protocol & BIT(VU_PROTO_REPLY_ACK)))
        return vu_msg_reply(dev->conn_fd, dev->wake_fd, msg->hdr.request, &ack, sizeof(ack));
    return 0;
}

int vu_ctrl_handle(struct vu_dev *dev, struct vu_msg *msg)
{
    const struct vu_handler *h = find_handler(msg->hdr.request);
    struct vu_reply reply = {0};
    int rc = -EOPNOTSUPP;

    if (h) {
        rc = check_shape(h, msg);
        if (rc == 0)
            rc = h->fn(dev, msg, &reply);
    }
    if (rc < 0)
        log_guest_warn("vhost-user message %u (%s, %u bytes, %u descriptors): %s", msg->hdr.request,
                       h ? h->name : "unknown", msg->hdr.size, msg->nfds, errno_text(-rc));
    else
        log_debug("vhost-user %s", h->name);
    rc = answer(dev, msg, h && h->question, rc, &reply);
    vu_msg_clear(msg);
    return rc;
}
