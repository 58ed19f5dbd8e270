/* SPDX-License-Identifier: BSD-3-Clause
 * libfuse's part: it decodes requests and calls the operation; the answer is ours
 * (fuse-callback.c).
 *
 * libfuse can send answers only to a descriptor: fuse_session_custom_io() would let us catch them,
 * but since 3.18.3 its default build refuses that, and fuse_attr.flags (sub-mounts) cannot be set
 * through it in any version. So the session gets a descriptor that swallows what libfuse itself
 * says: its answer to the INIT of our own making, which it must have seen before it dispatches
 * anything. */
/* #syscalls close fcntl */
#include "virtiofsd/fuse/fuse-session.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/fuse/fuse-priv.h"

static void session_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char text[256];

    g_vsnprintf(text, sizeof(text), fmt, ap);
    log_guest_debug("libfuse: %s", g_strchomp(text));
}

/* A "mount" on an open descriptor only notes it; the session closes it at its end. */
static bool give_sink(struct fuse_session *se, int sink_fd)
{
    char path[32];
    int fd = fcntl(sink_fd, F_DUPFD_CLOEXEC, 3);

    if (fd < 0)
        return false;
    snprintf(path, sizeof(path), "/dev/fd/%d", fd);
    if (fuse_session_mount(se, path) == 0)
        return true;
    close(fd);
    return false;
}

static void feed_init(struct fuse_session *se, uint32_t minor)
{
    struct {
        struct fuse_in_header in;
        struct fuse_init_in init;
        uint8_t pad[FUSE_RQ_PAD];
    } msg = {
        .in = {.len = sizeof(msg.in) + sizeof(msg.init), .opcode = FUSE_INIT},
        .init = {.major = FUSE_KERNEL_VERSION,
                 .minor = minor,
                 .flags = FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC | FUSE_MAX_PAGES},
    };
    struct fuse_buf buf = {.size = msg.in.len, .mem = &msg};

    fuse_session_process_buf(se, &buf);
}

struct fuse_session *fuse_session_make(struct fuse_srv *srv, uint32_t minor)
{
    char name[] = "virtiofsd";
    char *argv[] = {name, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);

    fuse_set_log_func(session_log);
    struct fuse_session *se = fuse_session_new(&args, &fuse_callbacks, sizeof(fuse_callbacks), srv);
    fuse_opt_free_args(&args);
    if (!se)
        return NULL;
    if (give_sink(se, srv->cfg.sink_fd)) {
        feed_init(se, minor);
        if (!fuse_session_exited(se))
            return se;
    }
    fuse_session_destroy(se);
    return NULL;
}

void fuse_session_free(struct fuse_session *se)
{
    fuse_session_destroy(se);
}

void fuse_session_dispatch(struct fuse_rq *rq)
{
    struct fuse_buf buf = {.size = rq->in->len, .mem = rq->buf};

    fuse_callback_set(rq);
    fuse_session_process_buf(rq->srv->se, &buf);
}
