/* SPDX-License-Identifier: BSD-3-Clause
 * Descriptors that a front-end passes: of kinds that block, spin or keep the connection open, and
 * good ones that it makes bad afterwards. Nothing waits for it without a bound, nothing spins. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define WATCH_MS 80 /* how long a spin is looked for */
#define SPIN_NS  (50 * 1000000ull)
#define REFILLS  8 /* threads that keep a counter full */
#define RACES    3000
#define FULL     (UINT64_MAX - 1)

static const uint32_t roles[] = {VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR};

/* ---- kinds ---- */

/* Makers put what is passed into fd[0], and what must live as long into the others. */
struct fds {
    int fd[4];
};

static void make_eventfd(struct wire *w, struct fds *f)
{
    f->fd[0] = eventfd(0, EFD_CLOEXEC);
}

static void make_inotify(struct wire *w, struct fds *f)
{
    f->fd[0] = inotify_init1(IN_CLOEXEC);
}

static void make_timer(struct wire *w, struct fds *f)
{
    struct itimerspec t = {{0, 1000}, {0, 1000}};
    f->fd[0] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    timerfd_settime(f->fd[0], 0, &t, NULL);
}

static void make_signalfd(struct wire *w, struct fds *f)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    f->fd[0] = signalfd(-1, &set, SFD_CLOEXEC);
}

/* An epoll set that is always ready. */
static void make_epoll(struct wire *w, struct fds *f)
{
    struct epoll_event ev = {.events = EPOLLIN};
    f->fd[0] = epoll_create1(EPOLL_CLOEXEC);
    f->fd[1] = eventfd(1, EFD_CLOEXEC);
    epoll_ctl(f->fd[0], EPOLL_CTL_ADD, f->fd[1], &ev);
}

/* A listening socket that somebody connected to: readable for ever, and not to be read. */
static void make_listening(struct wire *w, struct fds *f)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(sa);
    f->fd[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    f->fd[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->fd[0], (struct sockaddr *)&sa, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(f->fd[0], 4), 0);
    assert_int_equal(getsockname(f->fd[0], (struct sockaddr *)&sa, &len), 0);
    assert_int_equal(connect(f->fd[1], (struct sockaddr *)&sa, len), 0);
}

static void make_socket(struct wire *w, struct fds *f)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->fd), 0);
}

/* What it brings is held as long as it is. */
static void make_full_socket(struct wire *w, struct fds *f)
{
    make_socket(w, f);
    assert_int_equal(write(f->fd[1], "x", 1), 1);
}

/* A socket whose other side is closed: always readable. */
static void make_dead_socket(struct wire *w, struct fds *f)
{
    make_socket(w, f);
    close(f->fd[1]);
    f->fd[1] = -1;
}

static void make_read_end(struct wire *w, struct fds *f)
{
    assert_int_equal(pipe2(f->fd, O_CLOEXEC), 0);
}

static void make_hung_up(struct wire *w, struct fds *f)
{
    make_read_end(w, f);
    close(f->fd[1]);
    f->fd[1] = -1;
}

static void make_write_end(struct wire *w, struct fds *f)
{
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    f->fd[0] = p[1];
    f->fd[1] = p[0];
}

/* Nobody can read it any more: epoll says so for ever. */
static void make_broken(struct wire *w, struct fds *f)
{
    make_write_end(w, f);
    close(f->fd[1]);
    f->fd[1] = -1;
}

static void make_null(struct wire *w, struct fds *f)
{
    f->fd[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static void make_zero(struct wire *w, struct fds *f)
{
    f->fd[0] = open("/dev/zero", O_RDWR | O_CLOEXEC);
}

static void make_terminal(struct wire *w, struct fds *f)
{
    f->fd[0] = posix_openpt(O_RDWR | O_NOCTTY);
}

static void make_file(struct wire *w, struct fds *f)
{
    f->fd[0] = memfd_create("file", MFD_CLOEXEC);
}

static void make_path(struct wire *w, struct fds *f)
{
    f->fd[0] = open(wire_path(w, "fifo"), O_PATH | O_CLOEXEC);
}

static void make_own_end(struct wire *w, struct fds *f)
{
    f->fd[0] = fcntl(w->v.sock, F_DUPFD_CLOEXEC, 0);
}

enum { REFUSED, KICK_ONLY, CALL_ONLY, TAKEN };

static const struct kind {
    const char *name;
    void (*make)(struct wire *w, struct fds *f);
    int use;
} kinds[] = {
    {"eventfd", make_eventfd, TAKEN},
    {"inotify", make_inotify, REFUSED},
    {"timer", make_timer, REFUSED},
    {"signalfd", make_signalfd, REFUSED},
    {"epoll", make_epoll, REFUSED},
    {"listening socket", make_listening, REFUSED},
    {"socket", make_socket, CALL_ONLY}, /* as User-Mode Linux does */
    {"dead socket", make_dead_socket, CALL_ONLY},
    {"socket with something in it", make_full_socket, REFUSED},
    {"read end", make_read_end, KICK_ONLY},
    {"read end without a writer", make_hung_up, KICK_ONLY},
    {"write end", make_write_end, CALL_ONLY},
    {"write end without a reader", make_broken, CALL_ONLY},
    {"/dev/null", make_null, REFUSED},
    {"/dev/zero", make_zero, REFUSED},
    {"terminal", make_terminal, REFUSED},
    {"file", make_file, REFUSED},
    {"path", make_path, REFUSED},
    {"own end", make_own_end, REFUSED},
};

static struct fds make(struct wire *w, const struct kind *k)
{
    struct fds f = {{-1, -1, -1, -1}};
    k->make(w, &f);
    if (f.fd[0] < 0)
        print_message("%s: cannot be made here\n", k->name);
    return f;
}

static void teardown(struct fds *f)
{
    for (unsigned i = 0; i < 4; i++) {
        if (f->fd[i] >= 0)
            close(f->fd[i]);
        f->fd[i] = -1;
    }
}

static bool usable(const struct kind *k, uint32_t role)
{
    return k->use == TAKEN || k->use == (role == VU_SET_VRING_KICK ? KICK_ONLY : CALL_ONLY);
}

/* A session in which ring 1 gets such a descriptor, and a request while it has it. */
static void use_kind(struct wire *w, const struct kind *k, uint32_t role)
{
    uint64_t features = 0;
    wire_rings(w);
    struct fds f = make(w, k);
    if (f.fd[0] >= 0) {
        int e = fe_vhost_ack_vring_fd(&w->v, role, 1, f.fd[0]);
        if (e != (usable(k, role) ? 0 : 1))
            fail_msg("%s in message %u: %d", k->name, role, e);
        struct fuse_getattr_in in = {0};
        struct iovec part = {&in, sizeof(in)};
        fe_fuse_send(&w->f, 1, FUSE_GETATTR, FUSE_ROOT_ID, &part, 1, 104);
        fe_ring_kick(&w->v.ring[1]);
        uint64_t before = fe_daemon_cpu_ns(&w->d);
        usleep(WATCH_MS * 1000);
        uint64_t spent = fe_daemon_cpu_ns(&w->d) - before;
        if (spent > SPIN_NS)
            fail_msg("%s in message %u: %llu ms of processor time in %d", k->name, role,
                     (unsigned long long)(spent / 1000000), WATCH_MS);
        if (fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &features) != 0)
            fail_msg("%s in message %u: no answer any more", k->name, role);
    }
    wire_hangup(w);
    if (k->make == make_own_end)
        teardown(&f);
    /* The next session begins while what was passed lives on. */
    wire_connect(w);
    w->v.timeout_ms = FE_TIMEOUT_MS;
    if (fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &features) != 0)
        fail_msg("%s in message %u: the next front-end is not served", k->name, role);
    wire_hangup(w);
    teardown(&f);
}

static void every_kind(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, (const char *const[]){"--relisten", NULL});
    for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (unsigned r = 0; r < sizeof(roles) / sizeof(roles[0]); r++)
            use_kind(w, &kinds[k], roles[r]);
    }
}

/* Kinds that are no channel, and no memory. */
static void other_places(void **state)
{
    struct wire *w = *state;
    uint64_t features;
    wire_spawn(w, (const char *const[]){"--relisten", NULL});
    for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        wire_rings(w);
        struct fe_vu_mem t = {1, 0, {{0, 4096, 0x1000000, 0}}};
        struct fds f = make(w, &kinds[k]);
        bool socket = kinds[k].make == make_socket || kinds[k].make == make_dead_socket ||
                      kinds[k].make == make_full_socket;
        if (f.fd[0] >= 0) {
            int e = fe_vhost_ack(&w->v, VU_SET_BACKEND_REQ_FD, NULL, 0, f.fd, 1);
            if (e != !socket)
                fail_msg("%s as a channel: %d", kinds[k].name, e);
            assert_int_equal(fe_vhost_ack(&w->v, VU_SET_MEM_TABLE, &t, 40, f.fd, 1), 1);
        }
        assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &features), 0);
        wire_hangup(w);
        teardown(&f);
    }
}

/* ---- good ones made bad ---- */

struct tamper {
    int read_fd, write_fd;
    atomic_bool stop;
    pthread_t thread[REFILLS];
};

/* Take the bytes before the daemon does, which was told that there are some. */
static void *race_reader(void *arg)
{
    struct tamper *t = arg;
    char c;
    while (!atomic_load(&t->stop))
        (void)!read(t->read_fd, &c, 1);
    return NULL;
}

static void stop_answered(struct wire *w, const char *what)
{
    uint32_t base;
    if (fe_vhost_get_base(&w->v, 1, &base) != 0)
        fail_msg("%s: GET_VRING_BASE is not answered", what);
}

static void kick_made_blocking(void **state)
{
    struct wire *w = *state;
    int p[2];
    struct tamper t = {0};
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    t.read_fd = p[0];
    for (unsigned i = 0; i < REFILLS; i++)
        assert_int_equal(pthread_create(&t.thread[i], NULL, race_reader, &t), 0);
    for (unsigned i = 0; i < RACES; i++) {
        assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_KICK, 1, p[0]), 0);
        (void)fcntl(p[0], F_SETFL, 0);
        for (unsigned k = 0; k < 20; k++)
            (void)!write(p[1], "kkkkkkkkkk", 10);
        usleep(500);
        stop_answered(w, "a kick made blocking");
        assert_int_equal(fe_vhost_start_ring(&w->v, 1), 0);
    }
    atomic_store(&t.stop, true);
    for (unsigned i = 0; i < 2 * REFILLS; i++)
        (void)!write(p[1], "k", 1);
    for (unsigned i = 0; i < REFILLS; i++)
        pthread_join(t.thread[i], NULL);
    close(p[0]);
    close(p[1]);
}

static int send_getattr(struct wire *w)
{
    struct fuse_getattr_in in = {0};
    struct iovec part = {&in, sizeof(in)};
    int slot = fe_fuse_send(&w->f, 1, FUSE_GETATTR, FUSE_ROOT_ID, &part, 1, 104);
    fe_ring_kick(&w->v.ring[1]);
    return slot;
}

static void fill(int fd)
{
    static const char zero[4096];
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    while (write(fd, zero, sizeof(zero)) > 0)
        ;
    while (write(fd, zero, 1) > 0)
        ;
    (void)fcntl(fd, F_SETFL, 0);
}

/* A pipe that is full, and whose writers wait. */
static void call_made_blocking(void **state)
{
    struct wire *w = *state;
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_CALL, 1, p[1]), 0);
    fill(p[1]);
    w->v.ring[1].used_event[0] = w->v.ring[1].used_seen;
    send_getattr(w);
    usleep(50000);
    stop_answered(w, "a call made blocking");
    close(p[0]);
    close(p[1]);
}

static void *refill(void *arg)
{
    struct tamper *t = arg;
    const uint64_t full = FULL;
    while (!atomic_load(&t->stop))
        (void)!write(t->write_fd, &full, sizeof(full));
    return NULL;
}

static void refill_begin(struct tamper *t)
{
    for (unsigned i = 0; i < REFILLS; i++)
        assert_int_equal(pthread_create(&t->thread[i], NULL, refill, t), 0);
}

static void refill_end(struct tamper *t)
{
    uint64_t value;
    atomic_store(&t->stop, true);
    (void)fcntl(t->write_fd, F_SETFL, O_NONBLOCK);
    for (unsigned i = 0; i < 1000; i++) {
        (void)!read(t->write_fd, &value, sizeof(value));
        usleep(100);
    }
    for (unsigned i = 0; i < REFILLS; i++)
        pthread_join(t->thread[i], NULL);
}

/* An eventfd whose counter is full, and is full again whenever somebody empties it. */
static void call_kept_full(void **state)
{
    struct wire *w = *state;
    struct tamper t = {.write_fd = eventfd(0, EFD_CLOEXEC)};
    assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_CALL, 1, t.write_fd), 0);
    refill_begin(&t);
    usleep(50000);
    for (unsigned i = 0; i < 4; i++) {
        w->v.ring[1].used_event[0] = w->v.ring[1].used_seen;
        send_getattr(w);
    }
    usleep(50000);
    stop_answered(w, "a counter kept full");
    refill_end(&t);
    close(t.write_fd);
}

/* The ring breaks, and whom to tell does not listen. */
static void err_kept_full(void **state)
{
    struct wire *w = *state;
    struct tamper t = {.write_fd = eventfd(0, EFD_CLOEXEC)};
    assert_int_equal(fe_vhost_ack_vring_fd(&w->v, VU_SET_VRING_ERR, 1, t.write_fd), 0);
    refill_begin(&t);
    usleep(20000);
    w->v.ring[1].avail->ring[w->v.ring[1].avail_idx & (w->v.ring[1].size - 1)] = UINT16_MAX;
    __atomic_store_n(&w->v.ring[1].avail->idx, (uint16_t)(w->v.ring[1].avail_idx + 1),
                     __ATOMIC_RELEASE);
    fe_ring_kick(&w->v.ring[1]);
    assert_int_equal(fe_vhost_wait_closed(&w->v, FE_TIMEOUT_MS), 0);
    refill_end(&t);
    close(t.write_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_kind, NULL, wire_cleanup),
        cmocka_unit_test_setup_teardown(other_places, NULL, wire_cleanup),
        cmocka_unit_test_setup_teardown(kick_made_blocking, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(call_made_blocking, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(call_kept_full, wire_mount, wire_umount),
        cmocka_unit_test_setup_teardown(err_kept_full, wire_mount, wire_umount),
    };
    return cmocka_run_group_tests_name("wire-descriptors", tests, wire_make, wire_teardown);
}
