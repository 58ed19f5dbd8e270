/* SPDX-License-Identifier: BSD-3-Clause
 * The end by a signal, whatever hangs: a front-end that does not listen, a file system of the host
 * that does not answer, memory whose pages never come. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/fe-served.h"
#include "tests/wire/wire.h"

#define END_MS    2000 /* what is promised */
#define LOADED_MS 1500 /* and what a machine with other work may add */
#define ONCE_MS   1200 /* a second signal: long before the daemon would give up by itself */

/* Send the signals and expect the end in time. */
static int end_by(struct wire *w, int sig, unsigned times, int ms)
{
    int status = -1;
    int64_t begin = fe_now_ms();
    for (unsigned i = 0; i < times; i++) {
        if (i > 0)
            usleep(300000);
        assert_int_equal(kill(w->d.pid, sig), 0);
    }
    if (fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS) != 0)
        fail_msg("signal %d, %u times: no end", sig, times);
    int64_t took = fe_now_ms() - begin;
    print_message("signal %d, %u times: ended after %lld ms, status %#x\n", sig, times,
                  (long long)took, (unsigned)status);
    assert_true(took < ms);
    return status;
}

static void forget_daemon(struct wire *w)
{
    wire_hangup(w);
    fe_daemon_stop(&w->d);
    unlink(w->socket);
}

static int send_to(struct wire *w, uint32_t opcode, uint64_t node, void *in, size_t len,
                   uint32_t room)
{
    struct iovec part = {in, len};
    return fe_fuse_send(&w->f, 1, opcode, node, &part, 1, room);
}

static void start(struct wire *w)
{
    wire_spawn(w, NULL);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

/* ---- nothing hangs ---- */

static void at_once(void **state)
{
    struct wire *w = *state;
    static const int sigs[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    for (unsigned i = 0; i < 4; i++) {
        start(w);
        assert_int_equal(end_by(w, sigs[i], 1, END_MS + LOADED_MS), 0);
        forget_daemon(w);
    }
}

/* Of one signal that comes twice, as from a terminal to the daemon and to its keeper, nothing is
 * seen. */
static void twice_at_once(void **state)
{
    struct wire *w = *state;
    int status = -1;
    start(w);
    kill(w->d.pid, SIGTERM);
    usleep(20000);
    kill(w->d.pid, SIGTERM); /* it may be gone */
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    forget_daemon(w);
}

/* Before there is a front-end, and before it said all of a message. */
static void without_front_end(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, NULL);
    for (unsigned i = 0; i < 1000 && access(w->socket, F_OK) < 0; i++)
        usleep(10000);
    assert_int_equal(end_by(w, SIGTERM, 1, END_MS + LOADED_MS), 0);
    forget_daemon(w);
    wire_spawn(w, NULL);
    wire_connect(w);
    assert_int_equal(write(w->v.sock, "half", 4), 4);
    assert_int_equal(end_by(w, SIGTERM, 1, END_MS + LOADED_MS), 0);
    forget_daemon(w);
}

/* ---- the front-end hangs ---- */

/* Answers are signalled by a pipe that is full, and waits. */
static void front_end_does_not_listen(void **state)
{
    struct wire *w = *state;
    int p[2];
    struct fuse_getattr_in in = {0};
    start(w);
    assert_int_equal(pipe2(p, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_CALL, 1, p[1]), 0);
    while (write(p[1], "", 1) > 0)
        ;
    (void)fcntl(p[1], F_SETFL, 0);
    w->v.ring[1].used_event[0] = w->v.ring[1].used_seen;
    send_to(w, FUSE_GETATTR, FUSE_ROOT_ID, &in, sizeof(in), 104);
    usleep(50000);
    assert_int_equal(end_by(w, SIGTERM, 1, END_MS + LOADED_MS), 0);
    forget_daemon(w);
    close(p[0]);
    close(p[1]);
}

/* It sends messages and reads no reply. */
static void front_end_does_not_read(void **state)
{
    struct wire *w = *state;
    const uint32_t get[3] = {VU_GET_FEATURES, VU_VERSION, 0};
    start(w);
    int room = 0;
    while (room < 200) {
        if (send(w->v.sock, get, sizeof(get), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            room = 0;
        else
            usleep(1000), room++;
    }
    assert_int_equal(end_by(w, SIGTERM, 1, END_MS + LOADED_MS), 0);
    forget_daemon(w);
}

/* ---- the host hangs ---- */

static bool serve_share(struct wire *w, struct fe_served *s)
{
    int rc = getenv("MESON_EXE_WRAPPER") ? -ENOSYS : fe_served_mount(s, wire_path(w, "dir"));
    if (rc < 0)
        print_message("no FUSE file system to be had: %s\n", strerror(-rc));
    return rc == 0;
}

/* A request that the host's file system does not answer. Who waits for one that was taken cannot
 * be killed, and no process ends that has a file open there: only the keeper does then. */
static void hang_in(struct wire *w, enum fe_served_how how, unsigned times, int ms)
{
    struct fe_served s;
    if (!serve_share(w, &s))
        skip();
    start(w);
    uint64_t node = wire_node(w, "dir/f"), fh = 0;
    if (w->mode == WIRE_SANDBOX)
        assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
    fe_served_set(&s, how);
    struct fuse_getattr_in in = {0};
    send_to(w, FUSE_GETATTR, node, &in, sizeof(in), 104);
    fe_ring_kick(&w->v.ring[1]);
    for (unsigned i = 0; how == FE_SERVED_TAKEN && i < 5000 && !atomic_load(&s.taken); i++)
        usleep(1000);
    usleep(50000);
    int status = end_by(w, SIGTERM, times, ms);
    assert_int_equal(status, 1 << 8);
    forget_daemon(w);
    fe_served_unmount(&s);
}

static void host_ignores(void **state)
{
    hang_in(*state, FE_SERVED_IGNORED, 1, END_MS + LOADED_MS);
}

static void host_ignores_second_signal(void **state)
{
    hang_in(*state, FE_SERVED_IGNORED, 2, ONCE_MS);
}

static void host_takes(void **state)
{
    struct wire *w = *state;
    if (w->mode != WIRE_SANDBOX)
        skip();
    hang_in(w, FE_SERVED_TAKEN, 1, END_MS + LOADED_MS);
}

static void host_takes_second_signal(void **state)
{
    struct wire *w = *state;
    if (w->mode != WIRE_SANDBOX)
        skip();
    hang_in(w, FE_SERVED_TAKEN, 2, ONCE_MS);
}

/* ---- memory of a file system that a process serves ---- */

/* Neither refusing it nor closing it is waited for. */
static void memory_of_a_server(void **state)
{
    struct wire *w = *state;
    struct fe_served s;
    struct fe_vu_mem t = {1, 0, {{1ull << 40, 1u << 20, 1ull << 41, 0}}};
    uint64_t features;
    if (!serve_share(w, &s))
        skip();
    int fd = open(wire_path(w, "dir/f"), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    start(w);
    for (int how = FE_SERVED_WELL; how <= FE_SERVED_IGNORED; how++) {
        fe_served_set(&s, (enum fe_served_how)how);
        assert_int_equal(fe_vhost_ack(&w->v, VU_SET_MEM_TABLE, &t, 40, &fd, 1), 1);
        assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_CALL, 1, fd), 1);
        assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &features), 0);
    }
    wire_alive(w);
    if (w->mode == WIRE_SANDBOX) /* else what closes it hangs on, with the whole process */
        assert_int_equal(end_by(w, SIGTERM, 1, END_MS + LOADED_MS), 0x100);
    forget_daemon(w);
    fe_served_unmount(&s);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_BOTH_OWN(at_once),
        WIRE_BOTH_OWN(twice_at_once),
        WIRE_BOTH_OWN(without_front_end),
        WIRE_BOTH_OWN(front_end_does_not_listen),
        WIRE_BOTH_OWN(front_end_does_not_read),
        WIRE_BOTH_OWN(host_ignores),
        WIRE_BOTH_OWN(host_ignores_second_signal),
        WIRE_BOTH_OWN(host_takes),
        WIRE_BOTH_OWN(host_takes_second_signal),
        WIRE_BOTH_OWN(memory_of_a_server),
    };
    return cmocka_run_group_tests_name("wire-end", tests, wire_make, wire_teardown);
}
