/* SPDX-License-Identifier: BSD-3-Clause
 * A front-end that is gone is noticed, although it left its own end of the connection with us, in
 * each message that brings descriptors, in half a message, or in a socket that it passed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define WATCH_MS 80 /* how long a spin is looked for */
#define SPIN_NS  (50 * 1000000ull)

static void expect_end(struct wire *w, const char *what)
{
    int status = -1;
    fe_vhost_close(&w->v);
    if (fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS) != 0)
        fail_msg("%s: the daemon does not see that its front-end is gone", what);
    assert_int_equal(status, 0);
    fe_daemon_stop(&w->d);
    unlink(w->socket);
}

/* Connected to a daemon; by a path, or by a pair of sockets one of which it inherits. */
static void meet(struct wire *w, bool inherited, const char *const *more)
{
    int sv[2];
    char fd[32], dir[128];
    if (!inherited) {
        wire_spawn(w, more);
        wire_connect(w);
    } else {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
        snprintf(fd, sizeof(fd), "--fd=%d", sv[1]);
        snprintf(dir, sizeof(dir), "--shared-dir=%s", w->share);
        const char *options[8] = {fd, dir};
        for (unsigned i = 0; more && more[i]; i++)
            options[2 + i] = more[i];
        wire_exec(w, options, sv[1]);
        close(sv[1]);
        fe_vhost_init(&w->v, sv[0]);
    }
    assert_int_equal(
        fe_vhost_negotiate(&w->v, VU_F_PROTOCOL | VU_F_VERSION_1,
                           VU_PF_REPLY_ACK | VU_PF_BACKEND_REQ | VU_PF_SEND_FD | VU_PF_SHMEM),
        0);
}

static const uint32_t carriers[] = {VU_SET_VRING_KICK,     VU_SET_VRING_CALL, VU_SET_VRING_ERR,
                                    VU_SET_BACKEND_REQ_FD, VU_SET_MEM_TABLE,  VU_GET_FEATURES,
                                    VU_ADD_MEM_REG,        VU_REM_MEM_REG};

/* The front-end's own end of the connection, in every message. */
static void own_end(void **state)
{
    struct wire *w = *state;
    for (unsigned i = 0; i < 2 * sizeof(carriers) / sizeof(carriers[0]); i++) {
        uint32_t request = carriers[i / 2];
        uint8_t payload[40] = {1};
        char what[64];
        bool bare = request == VU_SET_BACKEND_REQ_FD || request == VU_GET_FEATURES;
        uint32_t size = bare                                                          ? 0
                        : request <= VU_SET_VRING_ERR && request >= VU_SET_VRING_KICK ? 8
                                                                                      : 40;
        snprintf(what, sizeof(what), "own end in message %u%s", request, i % 2 ? ", --fd" : "");
        meet(w, i % 2, NULL);
        assert_int_equal(fe_vhost_send(&w->v, request, 0, payload, size, &w->v.sock, 1), 0);
        expect_end(w, what);
    }
}

/* In the first bytes of a message whose rest never comes. */
static void own_end_in_part(void **state)
{
    struct wire *w = *state;
    const uint32_t half[2] = {VU_SET_VRING_CALL, VU_VERSION};
    for (unsigned i = 0; i < 2; i++) {
        struct iovec iov = {(void *)half, sizeof(half)};
        union {
            char buf[CMSG_SPACE(sizeof(int))];
            struct cmsghdr align;
        } control = {0};
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control.buf,
                           .msg_controllen = sizeof(control.buf)};
        meet(w, i == 1, NULL);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &w->v.sock, sizeof(int));
        assert_int_equal(sendmsg(w->v.sock, &m, MSG_NOSIGNAL), sizeof(half));
        expect_end(w, "own end in half a message");
    }
}

/* A good channel, in which its other end and the connection's are under way. */
static void own_end_under_way(void **state)
{
    struct wire *w = *state;
    static const char *const dax[] = {"--dax-window=64M", NULL};
    for (unsigned i = 0; i < 4; i++) {
        int sv[2];
        union {
            char buf[CMSG_SPACE(2 * sizeof(int))];
            struct cmsghdr align;
        } control = {0};
        struct iovec iov = {(void *)"x", 1};
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control.buf,
                           .msg_controllen = sizeof(control.buf)};
        meet(w, i % 2, i / 2 ? dax : NULL);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
        int under_way[2] = {w->v.sock, sv[0]};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(under_way));
        memcpy(CMSG_DATA(c), under_way, sizeof(under_way));
        assert_int_equal(fe_vhost_ack(&w->v, VU_SET_BACKEND_REQ_FD, NULL, 0, &sv[1], 1), 0);
        close(sv[1]);
        assert_int_equal(sendmsg(sv[0], &m, MSG_NOSIGNAL), 1);
        close(sv[0]);
        expect_end(w, "own end under way in the channel");
    }
}

/* A channel whose other side is closed alone: the connection goes on. */
static void channel_closed(void **state)
{
    struct wire *w = *state;
    uint64_t features;
    int sv[2];
    meet(w, false, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    assert_int_equal(fe_vhost_ack(&w->v, VU_SET_BACKEND_REQ_FD, NULL, 0, &sv[1], 1), 0);
    close(sv[1]);
    close(sv[0]);
    uint64_t before = fe_daemon_cpu_ns(&w->d);
    usleep(WATCH_MS * 1000);
    assert_true(fe_daemon_cpu_ns(&w->d) - before < SPIN_NS);
    assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &features), 0);
    expect_end(w, "a channel that was closed");
}

/* A message that never becomes whole ends the connection. */
static void half_a_message(void **state)
{
    struct wire *w = *state;
    meet(w, false, NULL);
    const uint32_t half[2] = {VU_SET_FEATURES, VU_VERSION};
    assert_int_equal(send(w->v.sock, half, sizeof(half), MSG_NOSIGNAL), sizeof(half));
    assert_int_equal(fe_vhost_wait_closed(&w->v, FE_TIMEOUT_MS), 0);
    expect_end(w, "half a message");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(own_end, NULL, wire_cleanup),
        cmocka_unit_test_setup_teardown(own_end_in_part, NULL, wire_cleanup),
        cmocka_unit_test_setup_teardown(own_end_under_way, NULL, wire_cleanup),
        cmocka_unit_test_setup_teardown(channel_closed, NULL, wire_cleanup),
        cmocka_unit_test_setup_teardown(half_a_message, NULL, wire_cleanup),
    };
    return cmocka_run_group_tests_name("wire-gone", tests, wire_make, wire_teardown);
}
