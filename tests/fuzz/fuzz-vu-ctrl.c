/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: what a front-end can do to the real device, its threads included: messages, guest
 * memory, kicks, connections that end and come again.
 *
 * Input: records of {u8 kind, u8 flags, u8 descriptors, u8 len, bytes[len]}. A kind is a message's
 * number, or one of the actions below. Each descriptor is two bits of the third byte: none, memory,
 * eventfd, one end of a socket; the upper bits of the flags break the framing. Whatever came, the
 * device serves the next connection, ends when told, and leaves no descriptor behind. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/records.h"
#include "tests/fuzz/target.h"
#include "vhost-user/vu-backend.h"
#include "vhost-user/vu-dev.h"
#include "vhost-user/vu-msg.h"
#include "vhost-user/vu-wire.h"
#include "virtiofsd/base/aside.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/log.h"

enum { RECORD = 4, MAX_RECORDS = 48, MEMORY = 0x10000, HOLD = 64, HELD_LEN = 13, WAIT_S = 20 };

/* Kinds that are no messages. */
enum {
    NEXT = 0xf0,     /* close the connection, make another */
    KICK = 0xf1,     /* write the first eventfd */
    STORE = 0xf2,    /* {u16 offset, bytes} to guest memory */
    TRUNCATE = 0xf3, /* {u16 size}: the memory file shrinks */
    PAUSE = 0xf4,    /* let the workers go on */
    DRAIN = 0xf5,    /* read the first eventfd */
    ASK = 0xf6,      /* {u8 ms}: the device asks on its channel, on a thread of its own */
    ANSWER = 0xf7,   /* bytes from the channel's other side; none: it is closed */
    FLOOD = 0xf8,    /* many questions before an answer is read; not as the first record */
    SETUP = 0xf8,    /* first record only: lower bits are a pool, polling, a full eventfd */
};

static int memory_fd, event_fd[2], socket_fd, channel_fd; /* two sides of the channel */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    log_level = LOG_LVL_OFF;
    signal(SIGPIPE, SIG_IGN); /* as the daemon does: a call may be a socket */
    memory_fd = memfd_create("guest", MFD_CLOEXEC);
    event_fd[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (memory_fd < 0 || event_fd[0] < 0)
        abort();
    return 0;
}

/* ---- the device ---- */

/* Requests that wait, as for a lock, until the device is drained. */
static struct chain *held[HOLD];
static unsigned n_held;
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;

static bool hold(struct chain *c)
{
    AUTO_LOCK(&held_lock);
    if (c->in_len != HELD_LEN || n_held == HOLD)
        return false;
    held[n_held++] = c;
    return true;
}

/* Other rings, and the input's stores, use the same memory at the same time: as the guest does. */
static void fill(const struct iovec *v)
{
    uint8_t *p = v->iov_base;
    for (size_t i = 0; i < v->iov_len; i++)
        __atomic_store_n(&p[i], 0xaa, __ATOMIC_RELAXED);
}

static void on_handle(void *user, struct chain *c)
{
    size_t len = 0;
    if (hold(c))
        return;
    for (unsigned i = 0; i < c->in_cnt; i++)
        (void)__atomic_load_n((const uint8_t *)c->in[i].iov_base, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < c->out_cnt; i++) {
        fill(&c->out[i]);
        len += c->out[i].iov_len;
    }
    if (len != c->out_len)
        abort();
    chain_complete(c, len);
}

static void on_drain(void *user)
{
    AUTO_LOCK(&held_lock);
    while (n_held > 0)
        chain_complete(held[--n_held], 0);
}

static void on_reset(void *user)
{
    AUTO_LOCK(&held_lock);
    if (n_held > 0)
        abort(); /* not drained */
}

static void *run(void *dev)
{
    GError *err = NULL;
    if (vu_dev_run(dev, &err) < 0)
        abort();
    return NULL;
}

/* ---- the channel ---- */

static struct vu_dev *device;
static struct {
    pthread_t thread;
    bool begun;
    unsigned ms;
} asking;

static void *ask(void *unused)
{
    static const uint8_t payload[40] = {1};
    uint64_t value;
    struct vu_backend *b = vu_dev_backend(device);
    int rc = vu_backend_call(b, VU_BACKEND_SHMEM_MAP, payload, sizeof(payload), memory_fd,
                             asking.ms, &value);
    if (rc > 0)
        abort();
    return NULL;
}

static void end_asking(void)
{
    if (asking.begun)
        pthread_join(asking.thread, NULL);
    asking.begun = false;
}

static void begin_asking(unsigned ms)
{
    end_asking();
    asking.ms = ms;
    asking.begun = pthread_create(&asking.thread, NULL, ask, NULL) == 0;
    usleep(200); /* so that it has asked, as a rule */
}

static void say_on_channel(const uint8_t *bytes, size_t len)
{
    uint8_t request[256];
    if (channel_fd < 0)
        return;
    while (recv(channel_fd, request, sizeof(request), MSG_DONTWAIT) > 0)
        ;
    if (len > 0) {
        (void)!send(channel_fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        usleep(100);
        return;
    }
    close(channel_fd);
    channel_fd = -1;
}

static void make_channel(void)
{
    int sv[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        abort();
    socket_fd = sv[0];
    channel_fd = sv[1];
}

static void end_channel(void)
{
    close(socket_fd);
    if (channel_fd >= 0)
        close(channel_fd);
}

/* ---- the front-end ---- */

static struct sockaddr_un address(socklen_t *len)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                       (unsigned)snprintf(a.sun_path + 1, 32, "fuzz-vu-%d", getpid()));
    return a;
}

static int listen_one(void)
{
    socklen_t len;
    struct sockaddr_un a = address(&len);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, 8) < 0)
        abort();
    return fd;
}

static int connect_one(void)
{
    socklen_t len;
    struct sockaddr_un a = address(&len);
    struct timeval wait = {.tv_sec = WAIT_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, len) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
        abort();
    return fd;
}

/* One message. Returns false when the device has closed the connection. */
static bool send_message(int fd, const uint8_t *record, const uint8_t *payload, size_t len)
{
    static const uint32_t framing[] = {VU_VERSION, VU_VERSION, VU_VERSION, 2};
    const int palette[] = {-1, memory_fd, event_fd[record[1] >> 4 & 1], socket_fd};
    struct vu_hdr hdr = {record[0], framing[record[1] >> 6] | (record[1] & VU_NEED_REPLY),
                         (uint32_t)len + (record[1] >> 5 & 1)};
    struct iovec iov[2] = {{&hdr, sizeof(hdr)}, {(void *)(uintptr_t)payload, len}};
    char control[CMSG_SPACE(4 * sizeof(int))] __attribute__((aligned(8))) = {0};
    struct msghdr mh = {.msg_iov = iov, .msg_iovlen = 2};
    int fds[4];
    unsigned n = 0;
    for (unsigned i = 0; i < 4; i++) {
        int one = palette[record[2] >> (2 * i) & 3];
        if (one >= 0)
            fds[n++] = one;
    }
    if (n > 0) {
        mh.msg_control = control;
        mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    return sendmsg(fd, &mh, MSG_NOSIGNAL) >= 0;
}

static bool flooded; /* by this connection */

/* As recv(), but the fuzzer's alarm does not end it. */
static ssize_t receive(int fd, void *buf, size_t len, int flags)
{
    ssize_t n;
    do {
        n = recv(fd, buf, len, flags);
    } while (n < 0 && errno == EINTR);
    return n;
}

/* Take whole replies out of @buf. Returns what is left. */
static size_t check_replies(uint8_t *buf, size_t have)
{
    size_t off = 0;
    struct vu_hdr hdr;
    while (have - off >= sizeof(hdr)) {
        memcpy(&hdr, buf + off, sizeof(hdr));
        if (hdr.flags != (VU_VERSION | VU_REPLY) || hdr.size > VU_MAX_REPLY)
            abort();
        if (hdr.size > have - off - sizeof(hdr))
            break;
        off += sizeof(hdr) + hdr.size;
    }
    memmove(buf, buf + off, have - off);
    return have - off;
}

/* End a connection in order. The device closes its side: what it still says is replies, the last of
 * them whole, but where more was asked than read. */
static void hang_up(int fd)
{
    uint8_t buf[16384];
    size_t have = 0;
    ssize_t n;
    shutdown(fd, SHUT_WR);
    while ((n = receive(fd, buf + have, sizeof(buf) - have, 0)) > 0)
        have = check_replies(buf, have + (size_t)n);
    if ((n < 0 && errno == EAGAIN) || (n == 0 && have > 0 && !flooded))
        abort();
    flooded = false;
    close(fd);
}

/* The device answers a front-end that does nothing wrong. */
static void probe(void)
{
    struct {
        struct vu_hdr hdr;
        uint64_t features;
    } __attribute__((packed)) reply;
    static const uint8_t record[RECORD] = {VU_GET_FEATURES};
    int fd = connect_one();
    if (!send_message(fd, record, NULL, 0) ||
        receive(fd, &reply, sizeof(reply), MSG_WAITALL) != sizeof(reply) ||
        reply.hdr.request != VU_GET_FEATURES || !reply.features)
        abort();
    hang_up(fd);
}

/* A little ring that works, for inputs that bring one up at offset 0. */
static void fill_memory(void)
{
    static uint64_t memory[MEMORY / sizeof(uint64_t)];
    struct vring r;
    memset(memory, 0, MEMORY);
    vring_init(&r, 16, memory, 16);
    r.desc[0] = (struct vring_desc){0x2000, 64, VRING_DESC_F_NEXT, 1};
    r.desc[1] = (struct vring_desc){0x3000, 64, VRING_DESC_F_WRITE, 0};
    r.avail->idx = 1;
    if (ftruncate(memory_fd, MEMORY) < 0 || pwrite(memory_fd, memory, MEMORY, 0) != MEMORY)
        abort();
}

static void drain_event(void)
{
    uint64_t value;
    (void)!read(event_fd[0], &value, sizeof(value));
}

/* Ask more than there is room for answers to: they are read when the connection ends. */
static void flood(int fd)
{
    const struct vu_hdr hdr = {VU_GET_SHMEM_CONFIG, VU_VERSION, 0};
    flooded = true;
    for (unsigned i = 0; i < 1024; i++) {
        if (send(fd, &hdr, sizeof(hdr), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            break;
    }
    usleep(500);
}

/* What is no message. */
static void act(int fd, uint8_t kind, const uint8_t *payload, size_t len)
{
    uint16_t at = 0;
    if (len >= sizeof(at))
        memcpy(&at, payload, sizeof(at));
    switch (kind) {
    case KICK:
        eventfd_write(event_fd[0], 1);
        break;
    case STORE:
        if (len > sizeof(at))
            (void)!pwrite(memory_fd, payload + sizeof(at),
                          MIN(len - sizeof(at), (size_t)(MEMORY - at)), at);
        break;
    case TRUNCATE:
        if (ftruncate(memory_fd, at) < 0)
            abort();
        break;
    case PAUSE:
        usleep(100);
        break;
    case DRAIN:
        drain_event();
        break;
    case FLOOD:
        flood(fd);
        break;
    case ASK:
        begin_asking(len ? payload[0] % 32u : 2);
        break;
    case ANSWER:
        say_on_channel(payload, len);
        break;
    }
}

/* The second eventfd blocks, and may be full from the start. */
static void make_event(bool full)
{
    event_fd[1] = eventfd(0, EFD_CLOEXEC);
    if (event_fd[1] < 0 || (full && eventfd_write(event_fd[1], UINT64_MAX - 1) < 0))
        abort();
}

static struct vu_dev *make_device(uint8_t setup)
{
    static const struct vu_dev_ops ops = {
        .handle = on_handle, .drain = on_drain, .reset = on_reset};
    static const uint8_t config[40] = "tag";
    return vu_dev_new(&(struct vu_config){.ops = &ops,
                                          .listen_fd = listen_one(),
                                          .conn_fd = -1,
                                          .relisten = true,
                                          .num_queues = 3,
                                          .hiprio = 1,
                                          .max_queue_size = 1024,
                                          .pool_size = setup & 1 ? 2 : 0,
                                          .poll_us = setup & 2 ? 50 : 0,
                                          .shmem_size = 1 << 20,
                                          .shmem_bit = VU_PROTO_SHMEM,
                                          .shmem_mem_slots = true,
                                          .config = config,
                                          .config_len = sizeof(config)});
}

/* Returns the connection that is open at the end. */
static int play(int fd, const uint8_t *data, size_t size)
{
    bool open = true;
    for (unsigned i = 0; i < MAX_RECORDS && size >= RECORD; i++) {
        size_t len = MIN(data[3], size - RECORD);
        if (data[0] == NEXT) {
            hang_up(fd);
            fd = connect_one();
            open = true;
        } else if (data[0] > NEXT) {
            act(fd, data[0], data + RECORD, len);
        } else if (open && !flooded) { /* it would wait for the device, and that for us */
            open = send_message(fd, data, data + RECORD, len);
        }
        data += RECORD + len;
        size -= RECORD + len;
    }
    return fd;
}

static int lowest_free_fd(void)
{
    int fd = dup(memory_fd);
    if (fd < 0)
        abort();
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t setup = size && data[0] >= SETUP ? data[0] : 0;
    int before = lowest_free_fd();
    pthread_t thread;

    fill_memory();
    make_event(setup & 4);
    make_channel();
    struct vu_dev *dev = device = make_device(setup);
    if (pthread_create(&thread, NULL, run, dev) != 0)
        abort();
    hang_up(play(connect_one(), data, size));
    end_asking();
    probe();
    vu_dev_stop(dev);
    pthread_join(thread, NULL);
    vu_dev_free(dev);
    close(event_fd[1]);
    drain_event();
    end_channel();
    if (!aside_wait(WAIT_S * 1000))
        abort();
    if (lowest_free_fd() != before)
        abort(); /* a descriptor is left over */
    return 0;
}

/* ---- mutation ---- */

static const uint8_t kinds[] = {
    VU_GET_FEATURES,
    VU_SET_FEATURES,
    VU_SET_OWNER,
    VU_RESET_OWNER,
    VU_SET_MEM_TABLE,
    VU_SET_VRING_NUM,
    VU_SET_VRING_ADDR,
    VU_SET_VRING_BASE,
    VU_GET_VRING_BASE,
    VU_SET_VRING_KICK,
    VU_SET_VRING_CALL,
    VU_SET_VRING_ERR,
    VU_GET_PROTOCOL_FEATURES,
    VU_SET_PROTOCOL_FEATURES,
    VU_GET_QUEUE_NUM,
    VU_SET_VRING_ENABLE,
    VU_SET_BACKEND_REQ_FD,
    VU_GET_CONFIG,
    VU_SET_CONFIG,
    VU_RESET_DEVICE,
    VU_GET_MAX_MEM_SLOTS,
    VU_ADD_MEM_REG,
    VU_REM_MEM_REG,
    VU_SET_STATUS,
    VU_GET_STATUS,
    VU_GET_SHMEM_CONFIG,
    ASK,
    ANSWER,
    FLOOD,
    NEXT,
    KICK,
    STORE,
    TRUNCATE,
    PAUSE,
    DRAIN,
    SETUP + 1,
    SETUP + 2,
    SETUP + 4,
};

static const struct records_shape shape = {RECORD, kinds, sizeof(kinds)};

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    return records_mutate(&shape, data, size, max, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
                                 uint8_t *out, size_t max, unsigned seed)
{
    return records_cross(&shape, a, a_size, b, b_size, out, max, seed);
}
