/* SPDX-License-Identifier: BSD-3-Clause
 * SET_DEVICE_STATE_FD only begins: a thread makes the bytes and writes them, or reads them to their
 * end and hands them over. CHECK_DEVICE_STATE waits for it. The peer may take its time, a slow
 * network can be behind it, but not for ever: PATIENCE_MS without one byte moved end a transfer, as
 * do the front-end's hang-up and our own end. */
/* #syscalls clone close eventfd2 poll read write fcntl */
#include "vhost-user/vu-state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vhost-user/vu-ctrl-ring.h"
#include "vhost-user/vu-priv.h"
#include "virtiofsd/base/aside.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/fd-kind.h"
#include "virtiofsd/base/log.h"

#define PATIENCE_MS 60000
#define STATE_MAX   (UINT64_C(1) << 30) /* bytes that are read */
#define STATE_STEP  (64u * 1024)

void vu_state_init(struct vu_state *s)
{
    memset(s, 0, sizeof(*s));
    s->fd = -1;
    s->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void vu_state_fini(struct vu_state *s)
{
    if (s->done_fd >= 0)
        close(s->done_fd);
    if (s->stop_fd >= 0)
        close(s->stop_fd);
    s->done_fd = s->stop_fd = -1;
}

static void raise_fd(int fd)
{
    uint64_t one = 1;
    (void)!write(fd, &one, sizeof(one));
}

static void lower_fd(int fd)
{
    uint64_t value;
    (void)!read(fd, &value, sizeof(value));
}

/* ---- bytes ---- */

/* Wait until the peer takes or gives something. 0 or -errno. */
static int await_peer(const struct vu_state *s, short events)
{
    struct pollfd p[2] = {{s->stop_fd, POLLIN, 0}, {s->fd, events, 0}};
    int n;

    do {
        n = poll(p, 2, PATIENCE_MS);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n == 0 ? -ETIMEDOUT : p[0].revents ? -ECANCELED : 0;
}

static bool try_again(ssize_t n)
{
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static int write_all(const struct vu_state *s, const GByteArray *bytes)
{
    for (size_t at = 0; at < bytes->len;) {
        int rc = await_peer(s, POLLOUT);
        if (rc < 0)
            return rc;
        ssize_t n = write(s->fd, bytes->data + at, bytes->len - at);
        if (n < 0 && !try_again(n))
            return -errno;
        at += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* To the end. */
static int read_all(const struct vu_state *s, GByteArray *bytes)
{
    g_autofree uint8_t *buf = g_malloc(STATE_STEP);

    for (;;) {
        int rc = await_peer(s, POLLIN);
        if (rc < 0)
            return rc;
        ssize_t n = read(s->fd, buf, STATE_STEP);
        if (n == 0)
            return 0;
        if (n < 0 && !try_again(n))
            return -errno;
        if (n > 0 && bytes->len + (size_t)n > STATE_MAX)
            return -EFBIG;
        if (n > 0)
            g_byte_array_append(bytes, buf, (guint)n);
    }
}

/* ---- the thread ---- */

static int save(struct vu_dev *dev, GByteArray *bytes)
{
    struct vu_state *s = &dev->state;
    g_autoptr(GArray) taken = g_array_new(FALSE, FALSE, sizeof(struct vu_taken));

    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        vu_queue_list_taken(&dev->queues[i], taken);
    int rc = dev->cfg.ops->save(dev->cfg.user, taken, bytes);
    return rc < 0 ? rc : write_all(s, bytes);
}

static int load(struct vu_dev *dev, GByteArray *bytes)
{
    g_autoptr(GArray) taken = g_array_new(FALSE, FALSE, sizeof(struct vu_taken));
    int rc = read_all(&dev->state, bytes);

    if (rc < 0)
        return rc;
    rc = dev->cfg.ops->load(dev->cfg.user, bytes->data, bytes->len, taken);
    for (unsigned i = 0; rc == 0 && i < taken->len; i++)
        rc = vu_queue_take_over(dev, &g_array_index(taken, struct vu_taken, i));
    if (rc < 0 && dev->cfg.ops->reset)
        dev->cfg.ops->reset(dev->cfg.user);
    return rc;
}

static void *transfer(void *arg)
{
    struct vu_dev *dev = arg;
    struct vu_state *s = &dev->state;
    g_autoptr(GByteArray) bytes = g_byte_array_new();

    if (dev->cfg.ops->thread_start)
        dev->cfg.ops->thread_start(dev->cfg.user);
    s->result = s->save ? save(dev, bytes) : load(dev, bytes);
    close(s->fd); /* of a pipe or a memory file: does not wait */
    s->fd = -1;
    if (s->result < 0)
        log_error("the guest's state was not %s: %s", s->save ? "saved" : "loaded",
                  errno_text(-s->result));
    else
        log_info("the guest's state was %s: %u bytes", s->save ? "saved" : "loaded", bytes->len);
    raise_fd(s->done_fd);
    return NULL;
}

/* ---- messages ---- */

static void join(struct vu_state *s)
{
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    s->has_thread = false;
    lower_fd(s->done_fd);
    lower_fd(s->stop_fd);
}

void vu_state_cancel(struct vu_dev *dev)
{
    raise_fd(dev->state.stop_fd);
    join(&dev->state);
    dev->state.begun = false;
}

/* All rings are stopped, and nothing of them is under way. */
static bool rests(struct vu_dev *dev)
{
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        if (dev->queues[i].run || vu_queue_busy(&dev->queues[i]))
            return false;
    return true;
}

/* Whether @fd is one that can be read, or written, without being held up by another process' code.
 */
static int check_fd(struct vu_dev *dev, int fd)
{
    enum fd_kind kind = fd_kind(fd);

    if (kind == FD_UNIX && vu_fd_is_other_side(fd, dev->conn_fd))
        return -EINVAL;
    if (kind != FD_PIPE && kind != FD_UNIX && kind != FD_MEMORY && kind != FD_FILE)
        return -EINVAL;
    if (kind == FD_PIPE || kind == FD_UNIX)
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return 0;
}

static int check_begin(struct vu_dev *dev, const struct vu_wire_state *w)
{
    if (!dev->cfg.ops->save || dev->cfg.shmem_size)
        return -EOPNOTSUPP;
    if (w->direction > VU_STATE_LOAD || w->phase != 0)
        return -EINVAL;
    if (dev->state.begun || !rests(dev))
        return -EBUSY;
    if (w->direction == VU_STATE_SAVE &&
        (dev->log_refused || (dev->log && vu_log_is_short(dev->log)))) {
        log_error(
            "the guest's state is not saved: the dirty log could not be kept, so its memory is "
            "not what was copied");
        return -EIO;
    }
    return dev->state.done_fd < 0 || dev->state.stop_fd < 0 ? -EMFILE : 0;
}

/* What is said of a transfer that goes on is left alone: it is its thread's. */
static int start(struct vu_dev *dev, const struct vu_wire_state *w, int fd)
{
    struct vu_state *s = &dev->state;

    s->save = w->direction == VU_STATE_SAVE;
    s->fd = fd;
    int rc = -pthread_create(&s->thread, NULL, transfer, dev);
    if (rc < 0)
        s->fd = -1;
    return rc;
}

/* The fd is taken over. */
static int begin(struct vu_dev *dev, const struct vu_wire_state *w, int fd)
{
    struct vu_state *s = &dev->state;
    int rc = check_begin(dev, w);

    if (rc == 0)
        rc = check_fd(dev, fd);
    if (rc == 0)
        rc = start(dev, w, fd);
    if (rc < 0) {
        aside_close(fd);
        return rc;
    }
    s->begun = s->has_thread = true;
    return 0;
}

static void answer(struct vu_reply *r, uint64_t v)
{
    memcpy(r->payload, &v, sizeof(v));
    r->len = sizeof(v);
}

/* Refused by the value of the answer, as the specification has it. */
int vu_state_begin(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_wire_state w;
    memcpy(&w, msg->payload, sizeof(w));
    int rc = begin(dev, &w, vu_msg_steal_fd(msg, 0));
    if (rc < 0)
        log_guest_warn("vhost-user SET_DEVICE_STATE_FD: %s", errno_text(-rc));
    answer(r, VU_STATE_NO_FD | (rc < 0));
    return 0;
}

/* Wait for the thread; it is told to end when the front-end hangs up, or we shall. */
static void await_end(struct vu_dev *dev)
{
    struct vu_state *s = &dev->state;
    struct pollfd p[3] = {
        {s->done_fd, POLLIN, 0}, {dev->wake_fd, POLLIN, 0}, {dev->conn_fd, POLLRDHUP, 0}};

    while (!(p[0].revents & POLLIN)) {
        if (poll(p, 3, -1) < 0)
            continue;
        if (p[1].revents)
            lower_fd(dev->wake_fd);
        bool gone = p[2].revents & (POLLHUP | POLLRDHUP | POLLERR);
        if (gone)
            p[2].fd = -1;
        if (gone || atomic_load(&dev->stop) || atomic_load(&dev->broken))
            raise_fd(s->stop_fd);
    }
}

int vu_state_check(struct vu_dev *dev, struct vu_msg *msg, struct vu_reply *r)
{
    struct vu_state *s = &dev->state;

    answer(r, 1);
    if (!s->begun)
        return 0;
    await_end(dev);
    join(s);
    s->begun = false;
    answer(r, s->result < 0);
    vu_queue_update_all(dev);
    return 0;
}
