/* SPDX-License-Identifier: BSD-3-Clause
 * The device's life: accept, serve one front-end, clean up, perhaps again. */
/* #syscalls accept4 close eventfd2 poll read write */
#include "vhost-user/vu-dev.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost-user/vu-priv.h"
#include "virtiofsd/base/aside.h"
#include "virtiofsd/base/errno-text.h"
#include "virtiofsd/base/log.h"

#define ACCEPT_RETRY_MS 200
#define STRAY_PAUSE_MS  10
#define MESSAGE_MS      3000 /* from a message's first byte to its last */
#define CHANNEL_LOOK_MS 2000
#define ERR_WAIT_MS     200 /* for the front-end to be told of an error before it is hung up on */

struct vu_dev *vu_dev_new(const struct vu_config *cfg)
{
    struct vu_dev *dev = g_new0(struct vu_dev, 1);
    dev->cfg = *cfg;
    if (!cfg->name)
        dev->cfg.name = "the socket";
    if (cfg->config) {
        memcpy(dev->config, cfg->config, MIN(cfg->config_len, sizeof(dev->config)));
        dev->cfg.config = dev->config;
    }
    dev->conn_fd = -1;
    vu_backend_init(&dev->backend);
    dev->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    dev->lost.wake_fd = dev->wake_fd;
    dev->queues = g_new0(struct vu_queue, cfg->num_queues);
    vu_state_init(&dev->state);
    dev->counters = g_new0(struct counters * _Atomic, cfg->num_queues);
    return dev;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void vu_dev_free(struct vu_dev *dev)
{
    if (!dev)
        return;
    close_fd(&dev->cfg.listen_fd);
    close_fd(&dev->cfg.conn_fd);
    close_fd(&dev->wake_fd);
    vu_backend_fini(&dev->backend);
    vu_state_fini(&dev->state);
    g_free(dev->queues);
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        counters_free(dev->counters[i]);
    g_free(dev->counters);
    g_free(dev);
}

void vu_dev_stop(struct vu_dev *dev)
{
    int saved = errno;
    uint64_t one = 1;
    atomic_store(&dev->stop, true);
    (void)!write(dev->wake_fd, &one, sizeof(one));
    errno = saved;
}

struct vu_backend *vu_dev_backend(struct vu_dev *dev)
{
    return &dev->backend;
}

/* ---- one connection ---- */

/* Wait for @fd, or something else to do. Returns whether @fd is readable. */
static bool wait_for(struct vu_dev *dev, int fd, int timeout_ms)
{
    struct pollfd p[2] = {{dev->wake_fd, POLLIN, 0}, {fd, POLLIN, 0}};
    uint64_t value;
    if (poll(p, 2, timeout_ms) <= 0)
        return false;
    if (p[0].revents)
        (void)!read(dev->wake_fd, &value, sizeof(value));
    return p[1].revents != 0;
}

static bool must_end(struct vu_dev *dev)
{
    if (atomic_load(&dev->lost.hit))
        vu_dev_break(dev, "lost memory");
    return atomic_load(&dev->stop) || atomic_load(&dev->broken);
}

/* How long to wait for bytes of a message that began at @began_us (0: of the next one), in ms. A
 * channel that may be asked is looked at now and then: its answers are not waited for here. */
static int patience(const struct vu_dev *dev, gint64 began_us, const struct pollfd *channel)
{
    if (began_us) {
        gint64 left = began_us - g_get_monotonic_time() + MESSAGE_MS * G_TIME_SPAN_MILLISECOND;
        return left > 0 ? (int)(left / G_TIME_SPAN_MILLISECOND) + 1 : 0;
    }
    return channel->fd >= 0 && dev->cfg.shmem_size ? CHANNEL_LOOK_MS : -1;
}

/* Wait for bytes of a message. Returns 1 when there are some, 0 when not (look again whether it is
 * time to end), -ETIMEDOUT when a message that began does not go on. */
static int await_message(struct vu_dev *dev, gint64 began_us)
{
    struct pollfd p[3] = {{dev->wake_fd, POLLIN, 0}, {dev->conn_fd, POLLIN, 0}};
    uint64_t value;
    p[2] = vu_backend_watch(&dev->backend, dev->cfg.shmem_size > 0);
    int n = poll(p, 3, patience(dev, began_us, &p[2]));
    if (n > 0 && p[0].revents)
        (void)!read(dev->wake_fd, &value, sizeof(value));
    if (n >= 0 && (n == 0 || p[2].revents))
        vu_backend_check(&dev->backend);
    if (n == 0 && began_us)
        return -ETIMEDOUT;
    return n > 0 && p[1].revents;
}

/* The message that comes next. */
struct incoming {
    struct vu_msg msg;
    gint64 began_us; /* when its first bytes came; 0: none yet */
};

static void log_end(const struct vu_dev *dev, int rc)
{
    if (rc == -ENODATA || rc == -ECONNRESET || rc == -EPIPE)
        log_info("front-end disconnected: %s", dev->cfg.name);
    else if (rc == -ETIMEDOUT)
        log_error("connection closed: %s: the front-end stopped in the middle of a message",
                  dev->cfg.name);
    else if (rc < 0 && rc != -ECANCELED)
        log_error("connection closed: %s: %s", dev->cfg.name, errno_text(-rc));
}

/* Look for a message once: its bytes, or something else to do. Returns 1 when it is whole, 0 when
 * not yet, -errno when this connection must end. */
static int next_message(struct vu_dev *dev, struct incoming *in)
{
    if (in->msg.have == 0)
        in->began_us = 0;
    else if (!in->began_us)
        in->began_us = g_get_monotonic_time();
    int rc = await_message(dev, in->began_us);
    return rc > 0 ? vu_msg_recv(dev->conn_fd, &in->msg) : rc;
}

/* @whole: the first message is there already. */
static void serve_messages(struct vu_dev *dev, struct incoming *in, bool whole)
{
    int rc = whole ? vu_ctrl_handle(dev, &in->msg) : 0;
    while (rc >= 0 && !must_end(dev)) {
        rc = next_message(dev, in);
        if (rc > 0)
            rc = vu_ctrl_handle(dev, &in->msg);
    }
    log_end(dev, rc);
    vu_msg_clear(&in->msg);
}

/* Drain everything and forget the front-end. */
static void disconnect(struct vu_dev *dev)
{
    if (atomic_load(&dev->broken)) {
        for (unsigned i = 0; i < dev->cfg.num_queues; i++)
            vu_queue_signal_err(&dev->queues[i]);
        aside_wait(ERR_WAIT_MS);
    }
    vu_backend_pause(&dev->backend);
    close_fd(&dev->conn_fd);
    if (dev->cfg.ops->hang_up) {
        vu_ctrl_stop_all(dev);
        vu_state_cancel(dev);
        dev->cfg.ops->hang_up(dev->cfg.user);
    } else {
        vu_ctrl_reset(dev);
    }
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        vu_queue_join(&dev->queues[i]);
    vu_pool_free(dev->pool);
    dev->pool = NULL;
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        vu_queue_fini(&dev->queues[i]);
    vu_mem_unref(dev->mem);
    dev->mem = NULL;
    vu_log_unref(dev->log);
    dev->log = NULL;
    vu_fd_unref(dev->log_call);
    dev->log_call = NULL;
    dev->log_refused = false;
    vu_backend_close(&dev->backend);
    dev->features = dev->protocol = 0;
    dev->status = 0;
}

static int prepare(struct vu_dev *dev)
{
    atomic_store(&dev->broken, false);
    atomic_store(&dev->lost.hit, false);
    atomic_store(&dev->told_unshared, false);
    for (unsigned i = 0; i < dev->cfg.num_queues; i++)
        vu_queue_init(&dev->queues[i], dev, i, vu_queue_thread);
    if (dev->cfg.pool_size == 0)
        return 0;
    dev->pool = vu_pool_new(dev, dev->cfg.pool_size);
    return dev->pool ? 0 : -EAGAIN;
}

static void tell_session(struct vu_dev *dev, bool begins)
{
    if (dev->cfg.ops->session)
        dev->cfg.ops->session(dev->cfg.user, begins);
}

/* ---- counters ---- */

void vu_dev_counts(const struct vu_dev *dev, struct counts *sum,
                   void (*each)(void *user, unsigned queue, const struct counts *c), void *user)
{
    for (unsigned i = 0; i < dev->cfg.num_queues; i++) {
        const struct counters *c = atomic_load(&dev->counters[i]);
        struct counts one = {0};
        if (!c)
            continue;
        counts_add(&one, c);
        counts_join(sum, &one);
        if (each)
            each(user, i, &one);
    }
}

static void begin_counts(struct vu_dev *dev)
{
    memset(&dev->before, 0, sizeof(dev->before));
    vu_dev_counts(dev, &dev->before, NULL, NULL);
}

/* All rings are drained. */
static void say_counts(const struct vu_dev *dev)
{
    struct counts now = {0};

    vu_dev_counts(dev, &now, NULL, NULL);
    counts_since(&now, &dev->before);
    g_autofree char *line = counts_line(&now, true);
    if (now.requests > 0)
        log_info("the session had %s", line);
}

static int serve(struct vu_dev *dev, struct incoming *in, bool whole, GError **err)
{
    tell_session(dev, true);
    begin_counts(dev);
    int rc = prepare(dev);
    if (rc == 0)
        serve_messages(dev, in, whole);
    else
        g_set_error(err, G_FILE_ERROR, (int)g_file_error_from_errno(-rc),
                    "cannot set up %u queues: %s", dev->cfg.num_queues, errno_text(-rc));
    disconnect(dev);
    say_counts(dev);
    tell_session(dev, false);
    return rc < 0 ? -1 : 0;
}

/* ---- connections ---- */

/* Accept one. Returns 1, 0 when told to stop, -1 with @err. */
static int accept_one(struct vu_dev *dev, GError **err)
{
    while (!atomic_load(&dev->stop)) {
        if (!wait_for(dev, dev->cfg.listen_fd, -1))
            continue;
        dev->conn_fd = accept4(dev->cfg.listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (dev->conn_fd >= 0)
            return 1;
        if (errno == EINTR || errno == EAGAIN || errno == ECONNABORTED)
            continue;
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) {
            g_set_error(err, G_FILE_ERROR, (int)g_file_error_from_errno(errno),
                        "cannot accept connections: %s", errno_text(errno));
            return -1;
        }
        log_guest_warn("cannot accept a connection yet: %s", errno_text(errno));
        struct pollfd p = {dev->wake_fd, POLLIN, 0};
        poll(&p, 1, ACCEPT_RETRY_MS);
    }
    return 0;
}

/* Wait for the first message of a connection. Until it is whole nothing is set up for it. */
static bool introduces_itself(struct vu_dev *dev, struct incoming *in)
{
    int rc = 0;
    while (rc == 0 && !atomic_load(&dev->stop))
        rc = next_message(dev, in);
    return rc > 0;
}

/* Hang up on who said nothing that makes sense: a probe of the socket, most likely. One who comes
 * back at once, and again, gets a turn each STRAY_PAUSE_MS. */
static void turn_away(struct vu_dev *dev, struct incoming *in, gint64 *last_us)
{
    vu_msg_clear(&in->msg);
    close_fd(&dev->conn_fd);
    if (atomic_load(&dev->stop))
        return;
    log_guest(LOG_LVL_INFO,
              "%s: a connection ended before its first message was whole: it is taken for no "
              "front-end, which is still awaited",
              dev->cfg.name);
    gint64 since_ms = (g_get_monotonic_time() - *last_us) / G_TIME_SPAN_MILLISECOND;
    struct pollfd p = {dev->wake_fd, POLLIN, 0};
    if (since_ms < STRAY_PAUSE_MS)
        poll(&p, 1, STRAY_PAUSE_MS);
    *last_us = g_get_monotonic_time();
}

/* Accept connections until one is a front-end's. Returns as accept_one() does. */
static int accept_front_end(struct vu_dev *dev, struct incoming *in, GError **err)
{
    gint64 stray_us = 0;
    for (;;) {
        int rc = accept_one(dev, err);
        if (rc <= 0)
            return rc;
        if (introduces_itself(dev, in))
            return 1;
        turn_away(dev, in, &stray_us);
    }
}

static int serve_listening(struct vu_dev *dev, struct incoming *in, GError **err)
{
    do {
        int rc = accept_front_end(dev, in, err);
        if (rc <= 0)
            return rc;
        /* Nobody else will be served: do not let them wait in the queue. */
        if (!dev->cfg.relisten)
            close_fd(&dev->cfg.listen_fd);
        log_info("front-end connected: %s", dev->cfg.name);
        if (serve(dev, in, true, err) < 0)
            return -1;
    } while (dev->cfg.relisten && !atomic_load(&dev->stop));
    return 0;
}

int vu_dev_run(struct vu_dev *dev, GError **err)
{
    vu_sigbus_install();
    aside_install();
    vu_may_not_wait = true;
    if (dev->wake_fd < 0) {
        g_set_error(err, G_FILE_ERROR, G_FILE_ERROR_MFILE, "cannot make an eventfd");
        return -1;
    }
    g_autofree struct incoming *in = g_new0(struct incoming, 1);
    if (dev->cfg.listen_fd >= 0)
        return serve_listening(dev, in, err);
    dev->conn_fd = dev->cfg.conn_fd;
    dev->cfg.conn_fd = -1;
    return serve(dev, in, false, err);
}
