/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: sequences of vhost-user messages to the real device, its threads included.
 *
 * Input: records of {u8 request, u8 flags, u8 descriptors, u8 len, bytes[len]}. Each descriptor is
 * two bits of the third byte: none, memory, eventfd, one end of a socket; the upper bits of the
 * flags break the framing. The device must end when the connection does, and leak nothing. */
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost-user/vu-dev.h"
#include "vhost-user/vu-wire.h"
#include "virtiofsd/base/log.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORD = 4, MAX_RECORDS = 48, MEMORY = 0x10000, REST_FDS = 512 };

static int memory_fd, event_fd, socket_fd;
static uint8_t *memory;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int sv[2];
    log_level = LOG_LVL_OFF;
    memory_fd = memfd_create("guest", MFD_CLOEXEC);
    event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (memory_fd < 0 || ftruncate(memory_fd, MEMORY) < 0 || event_fd < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        abort();
    socket_fd = sv[0];
    memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
    return memory == MAP_FAILED ? -1 : 0;
}

static void on_handle(void *user, struct chain *c)
{
    size_t len = 0;
    for (unsigned i = 0; i < c->out_cnt; i++) {
        memset(c->out[i].iov_base, 0xaa, c->out[i].iov_len);
        len += c->out[i].iov_len;
    }
    if (len != c->out_len)
        abort();
    chain_complete(c, len);
}

static void *run(void *dev)
{
    GError *err = NULL;
    if (vu_dev_run(dev, &err) < 0)
        abort();
    return NULL;
}

/* One message. Returns false when the device has closed the connection. */
static bool send_message(int fd, const uint8_t *record, const uint8_t *payload, size_t len)
{
    static const uint32_t framing[] = {VU_VERSION, VU_VERSION, VU_VERSION, 2};
    const int palette[] = {-1, memory_fd, event_fd, socket_fd};
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

static void drain_replies(int fd)
{
    char buf[1024];
    shutdown(fd, SHUT_WR);
    while (recv(fd, buf, sizeof(buf), 0) > 0)
        ;
}

static unsigned open_fds(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < REST_FDS; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* A little ring that works, for inputs that bring one up at offset 0. */
static void fill_memory(void)
{
    struct vring r;
    memset(memory, 0, MEMORY);
    vring_init(&r, 16, memory, 16);
    r.desc[0] = (struct vring_desc){0x2000, 64, VRING_DESC_F_NEXT, 1};
    r.desc[1] = (struct vring_desc){0x3000, 64, VRING_DESC_F_WRITE, 0};
    r.avail->idx = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct vu_dev_ops ops = {.handle = on_handle};
    static const uint8_t config[40] = "tag";
    unsigned before = open_fds();
    pthread_t thread;
    int sv[2];

    fill_memory();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        abort();
    struct vu_dev *dev = vu_dev_new(&(struct vu_config){.ops = &ops,
                                                        .listen_fd = -1,
                                                        .conn_fd = sv[1],
                                                        .num_queues = 3,
                                                        .max_queue_size = 1024,
                                                        .config = config,
                                                        .config_len = sizeof(config)});
    if (pthread_create(&thread, NULL, run, dev) != 0)
        abort();
    for (unsigned i = 0; i < MAX_RECORDS && size >= RECORD; i++) {
        size_t len = MIN(data[3], size - RECORD);
        if (!send_message(sv[0], data, data + RECORD, len))
            break;
        data += RECORD + len;
        size -= RECORD + len;
    }
    drain_replies(sv[0]);
    close(sv[0]);
    pthread_join(thread, NULL);
    vu_dev_free(dev);
    if (open_fds() != before)
        abort();
    return 0;
}
