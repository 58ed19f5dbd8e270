/* SPDX-License-Identifier: BSD-3-Clause
 * The broker when the kernel is short of memory, or of room for descriptors in flight. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/jail.h"
#include "tests/unit/broker-run.h"

static char dir[64], share[96];

/* What the broker's calls are to fail with, shared with it; those of process @not_of do not. */
static struct {
    pid_t not_of;
    _Atomic int send_error, send_times, recv_error, recv_times;
} * faults;

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags);

static bool fails(_Atomic int *times, int error)
{
    if (!faults || *times == 0 || getpid() == faults->not_of)
        return false;
    (*times)--;
    errno = error;
    return true;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
    if (faults && fails(&faults->send_times, faults->send_error))
        return -1;
    return __real_sendmsg(fd, m, flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags)
{
    if (faults && fails(&faults->recv_times, faults->recv_error))
        return -1;
    return __real_recvmsg(fd, m, flags);
}

/* Too many descriptors in flight (of all processes of the user), or no memory for a moment: the
 * broker lives on, and says so where it can. */
static int body_short(const struct sb_result *r, void *arg)
{
    static const int errors[] = {ETOOMANYREFS, ENOMEM, ENOBUFS};
    struct broker_handle a;
    uint64_t mount;
    int fd;

    faults->not_of = getpid();
    CHECK(broker_begin(r, &mount));
    int file = broker_make(r, "a");
    CHECK(file >= 0 && peer_sign(r->channel[0], file, &a) == 0);
    for (unsigned i = 0; i < COUNT(errors); i++) {
        faults->send_error = errors[i];
        faults->send_times = 1;
        CHECK(peer_open(r->channel[0], &a) == -ENFILE);
        fd = peer_open(r->channel[0], &a);
        CHECK(fd >= 0);
        close(fd);
    }
    for (unsigned i = 1; i < COUNT(errors); i++) {
        faults->recv_error = errors[i];
        faults->recv_times = 1; /* it is in the call already: the second question meets it */
        for (unsigned k = 0; k < 3; k++) {
            fd = peer_open(r->channel[0], &a);
            CHECK(fd >= 0);
            close(fd);
        }
        CHECK(faults->recv_times == 0);
    }
    /* No answer at all can be sent: the next one comes. */
    faults->send_error = ENOMEM;
    faults->send_times = 2;
    struct broker_request q = {.op = BROKER_OPEN, .seq = 1000, .h = a};
    CHECK(send(r->channel[1], &q, sizeof(q), 0) == sizeof(q));
    while (faults->send_times > 0)
        usleep(1000);
    fd = peer_open(r->channel[1], &a);
    CHECK(fd >= 0);
    close(fd);
    return 0;
}

static void test_short_of_memory(void **state)
{
    faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(faults, MAP_FAILED);
    broker_everywhere(share, body_short);
    munmap(faults, sizeof(*faults));
    faults = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_short_of_memory)};
    if (geteuid() != 0 || !jail_enter(dir, sizeof(dir), "/proc"))
        return 77;
    snprintf(share, sizeof(share), "%s/share", dir);
    if (chmod(dir, 0755) != 0 || mkdir(share, 0777) != 0)
        return 1;
    return cmocka_run_group_tests_name("sb-short", tests, NULL, NULL);
}
