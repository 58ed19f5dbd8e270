/* SPDX-License-Identifier: BSD-3-Clause
 * The host tree's side of the broker against one that is late, talks nonsense, or goes away. */
#include "virtiofsd/tree/host-broker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtiofsd/base/broker.h"

static int theirs[BROKER_CHANNELS];

static struct host_broker *start(unsigned n)
{
    static const struct timeval wait = {.tv_usec = 200000};
    int ours[BROKER_CHANNELS];

    for (unsigned i = 0; i < n; i++) {
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
        ours[i] = pair[0];
        theirs[i] = pair[1];
    }
    return host_broker_new(ours, n);
}

static void answer(uint32_t seq, int error, uint64_t mount)
{
    struct broker_reply r = {.seq = seq, .error = error, .mount = mount};
    assert_int_equal(send(theirs[0], &r, broker_reply_len(0), 0), broker_reply_len(0));
}

/* The answer that nobody waited for is not taken for the next one's. */
static void test_late(void **state)
{
    struct host_broker *b = start(1);
    struct broker_request q;
    uint64_t mount = 0;

    assert_int_equal(host_broker_mount(b, 0, &mount), -EIO);
    assert_false(host_broker_gone(b));
    assert_int_equal(recv(theirs[0], &q, sizeof(q), 0), sizeof(q));
    answer(q.seq, 0, 11);
    answer(q.seq + 1, 0, 12);
    assert_int_equal(host_broker_mount(b, 0, &mount), 0);
    assert_int_equal(mount, 12);
    assert_int_equal(recv(theirs[0], &q, sizeof(q), 0), sizeof(q));
    answer(q.seq + 1, EOPNOTSUPP, 0);
    assert_int_equal(host_broker_mount(b, 0, &mount), -EOPNOTSUPP);
    close(theirs[0]);
    host_broker_free(b);
}

/* ---- short of memory ---- */

static int send_error, recv_error; /* of the next call */

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags);

static ssize_t failed(int *error)
{
    errno = *error;
    *error = 0;
    return -1;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
    return send_error ? failed(&send_error) : __real_sendmsg(fd, m, flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags)
{
    return recv_error ? failed(&recv_error) : __real_recvmsg(fd, m, flags);
}

/* One question fails, the next gets through. */
static void test_short_of_memory(void **state)
{
    static const int errors[] = {ENOMEM, ENOBUFS, ETOOMANYREFS};
    struct host_broker *b = start(1);
    uint64_t mount = 0;
    uint32_t seq = 0;

    for (unsigned i = 0; i < 3; i++) {
        send_error = errors[i];
        seq++;
        assert_int_equal(host_broker_mount(b, 0, &mount), -EIO);
        assert_false(host_broker_gone(b));
        answer(++seq, 0, 20 + i);
        assert_int_equal(host_broker_mount(b, 0, &mount), 0);
        assert_int_equal(mount, 20 + i);
    }
    recv_error = ENOMEM; /* the reply stays, and is not taken for that of the next */
    answer(++seq, 0, 30);
    assert_int_equal(host_broker_mount(b, 0, &mount), -EIO);
    assert_false(host_broker_gone(b));
    answer(++seq, 0, 31);
    assert_int_equal(host_broker_mount(b, 0, &mount), 0);
    assert_int_equal(mount, 31);
    send_error = EPIPE;
    assert_int_equal(host_broker_mount(b, 0, &mount), -EIO);
    assert_true(host_broker_gone(b));
    close(theirs[0]);
    host_broker_free(b);
}

static void test_gone(void **state)
{
    struct host_broker *b = start(2);
    struct file_handle *h = NULL;
    uint64_t mount;

    close(theirs[0]);
    close(theirs[1]);
    assert_int_equal(host_broker_sign(b, &(int){0}, 1, &h, &mount), -EIO);
    assert_null(h);
    assert_true(host_broker_gone(b));
    assert_int_equal(host_broker_mount(b, 0, &mount), -EIO);
    host_broker_unmount(b, 1);
    host_broker_free(b);
}

/* What cannot be an answer ends the trust in who gave it, and nothing else. */
static void test_nonsense(void **state)
{
    const size_t lens[] = {1, 15, sizeof(struct broker_reply), broker_reply_len(1)};

    for (unsigned i = 0; i < 4; i++) {
        struct host_broker *b = start(1);
        struct broker_reply r = {.seq = 1, .n = i == 3 ? UINT32_MAX : 0};
        uint64_t mount;
        assert_int_equal(send(theirs[0], &r, lens[i], 0), lens[i]);
        assert_int_equal(host_broker_mount(b, 0, &mount), -EIO);
        assert_true(host_broker_gone(b));
        close(theirs[0]);
        host_broker_free(b);
    }
    /* A handle longer than any; an opening that gives nothing. */
    struct host_broker *b = start(1);
    struct broker_reply r = {.seq = 1, .n = 1};
    struct file_handle *h = (struct file_handle *)-1;
    uint64_t mount;
    r.h[0].h.bytes = MAX_HANDLE_SZ + 1;
    assert_int_equal(send(theirs[0], &r, broker_reply_len(1), 0), broker_reply_len(1));
    assert_int_equal(host_broker_sign(b, &(int){0}, 1, &h, &mount), 0);
    assert_null(h);
    r.h[0].h.bytes = 8;
    r.seq = 2;
    assert_int_equal(send(theirs[0], &r, broker_reply_len(1), 0), broker_reply_len(1));
    assert_int_equal(host_broker_sign(b, &(int){0}, 1, &h, &mount), 0);
    assert_non_null(h);
    answer(3, 0, 0);
    assert_int_equal(host_broker_open(b, 1, h), -EIO);
    assert_true(host_broker_gone(b));
    free(h);
    close(theirs[0]);
    host_broker_free(b);
}

/* ---- more threads than channels ---- */

enum { THREADS = 3 * BROKER_CHANNELS, CALLS = 200 };

static void *echo(void *arg)
{
    int fd = *(int *)arg;
    struct broker_request q;

    while (recv(fd, &q, sizeof(q), 0) == sizeof(q)) {
        struct broker_reply r = {.seq = q.seq};
        union {
            struct cmsghdr head;
            char room[CMSG_SPACE(sizeof(int))];
        } control = {.head = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
        struct iovec iov = {&r, broker_reply_len(0)};
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof(control)};
        int null_fd = open("/dev/null", O_PATH | O_CLOEXEC);
        memcpy(CMSG_DATA(&control.head), &null_fd, sizeof(null_fd));
        if (sendmsg(fd, &m, MSG_NOSIGNAL) < 0)
            break;
        close(null_fd);
    }
    return NULL;
}

static void *call_often(void *arg)
{
    union {
        struct file_handle h;
        char room[sizeof(struct file_handle) + 8 + BROKER_CODE];
    } u = {.h.handle_bytes = 8};
    uintptr_t failed = 0;

    for (unsigned i = 0; i < CALLS; i++) {
        int fd = host_broker_open(arg, 1, &u.h);
        failed += fd < 0;
        close(fd);
    }
    return (void *)failed;
}

static void test_crowd(void **state)
{
    struct host_broker *b = start(BROKER_CHANNELS);
    pthread_t brokers[BROKER_CHANNELS], t[THREADS];
    void *failed;

    for (unsigned i = 0; i < BROKER_CHANNELS; i++)
        assert_int_equal(pthread_create(&brokers[i], NULL, echo, &theirs[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, call_often, b), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(t[i], &failed);
        assert_null(failed);
    }
    host_broker_free(b);
    for (unsigned i = 0; i < BROKER_CHANNELS; i++) {
        pthread_join(brokers[i], NULL);
        close(theirs[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late),  cmocka_unit_test(test_short_of_memory),
        cmocka_unit_test(test_gone),  cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests_name("host-broker", tests, NULL, NULL);
}
