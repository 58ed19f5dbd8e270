/* SPDX-License-Identifier: BSD-3-Clause
 * The back-end channel by itself: good and bad front-ends, ends of waiting, who may ask when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/fe-shmem.h"
#include "tests/lib/fe-time.h"
#include "vhost-user/vu-backend-priv.h"
#include "virtiofsd/base/aside.h"

#define WINDOW  (UINT64_C(2) << 20)
#define LONG_MS 5000
#define SOON_MS 1000 /* a cancelled call ends within */

struct wire_map {
    uint64_t shmid, fd_offset, shm_offset, len, flags;
};

struct fixture {
    struct fe_shmem fe;
    struct vu_backend b;
    int fd;
    uint64_t page;
};

/* One call, in a thread of its own. */
struct call {
    struct fixture *f;
    pthread_t thread;
    atomic_int tid; /* 0: it does not run yet */
    uint64_t offset;
    int rc;
    uint64_t value;
    int64_t end_ms;
};

static int setup(void **state)
{
    struct fixture *f = g_new0(struct fixture, 1);
    f->page = (uint64_t)sysconf(_SC_PAGESIZE);
    f->fd = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(ftruncate(f->fd, (off_t)f->page), 0);
    assert_int_equal(fe_shmem_start(&f->fe, FE_SHMEM_QEMU, WINDOW), 0);
    vu_backend_init(&f->b);
    assert_int_equal(vu_backend_set(&f->b, dup(f->fe.channel), -1), 0);
    vu_backend_negotiated(&f->b, true, true, true);
    vu_backend_resume(&f->b);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    vu_backend_fini(&f->b);
    fe_shmem_stop(&f->fe);
    assert_int_equal(f->fe.malformed, 0);
    assert_int_equal(f->fe.overlapped, 0);
    close(f->fd);
    g_free(f);
    return 0;
}

static int do_map(struct fixture *f, uint64_t offset, unsigned ms, uint64_t *value)
{
    struct wire_map w = {.shm_offset = offset, .len = f->page, .flags = 1};
    return vu_backend_call(&f->b, VU_BACKEND_SHMEM_MAP, &w, sizeof(w), f->fd, ms, value);
}

static int do_nothing(struct fixture *f, unsigned ms, uint64_t *value)
{
    uint8_t uuid[16] = {1, 2, 3};
    return vu_backend_call(&f->b, VU_BACKEND_SHARED_OBJECT_REMOVE, uuid, sizeof(uuid), -1, ms,
                           value);
}

static void *call_thread(void *arg)
{
    struct call *c = arg;
    atomic_store(&c->tid, gettid());
    c->rc = do_map(c->f, c->offset, LONG_MS, &c->value);
    c->end_ms = fe_now_ms();
    return NULL;
}

static void call_start(struct call *c, struct fixture *f, uint64_t offset)
{
    *c = (struct call){.f = f, .offset = offset};
    assert_int_equal(pthread_create(&c->thread, NULL, call_thread, c), 0);
}

/* Start a call and wait until the front-end has it. */
static void call_until_asked(struct call *c, struct fixture *f, uint64_t offset)
{
    unsigned before = fe_shmem_requests(&f->fe);
    call_start(c, f, offset);
    assert_true(fe_shmem_wait(&f->fe, before + 1, LONG_MS));
}

/* Wait until a call has its turn on the channel: it may be cancelled from then on. */
static void wait_for_turn(struct fixture *f)
{
    int64_t end = fe_now_ms() + LONG_MS;
    unsigned refs;
    do {
        assert_true(fe_now_ms() < end);
        usleep(1000);
        pthread_mutex_lock(&f->b.lock);
        refs = atomic_load(&f->b.chan->refs);
        pthread_mutex_unlock(&f->b.lock);
    } while (refs < 2);
}

/* Wait until the thread of a call that has to wait for its turn sleeps: nothing else shows that it
 * is on its way. */
static void wait_asleep(struct call *c)
{
    int64_t end = fe_now_ms() + LONG_MS;
    char path[64], state = 0;
    do {
        assert_true(fe_now_ms() < end);
        usleep(1000);
        snprintf(path, sizeof(path), "/proc/self/task/%d/stat", atomic_load(&c->tid));
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
            state = 0;
        if (f)
            fclose(f);
    } while (state != 'S');
}

static void expect_channel(struct fixture *f, bool works)
{
    uint64_t value = 7;
    unsigned before = fe_shmem_requests(&f->fe);
    assert_int_equal(do_nothing(f, LONG_MS, &value), works ? 0 : -ENOTCONN);
    assert_int_equal(value, works ? 1 : 7);
    assert_int_equal(fe_shmem_requests(&f->fe), before + works);
}

static void answers(void **state)
{
    struct fixture *f = *state;
    uint64_t value = 9;
    assert_int_equal(do_map(f, 0, LONG_MS, &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(do_map(f, 0, LONG_MS, &value), 0); /* something is there */
    assert_int_equal(value, 1);
    expect_channel(f, true);
    uint8_t large[300] = {0};
    assert_int_equal(vu_backend_call(&f->b, 7, large, sizeof(large), -1, 10, &value), -EINVAL);
    expect_channel(f, true);
}

static void unusual_answers(void **state)
{
    static const enum fe_shmem_fault fine[] = {FE_SHMEM_BYTES, FE_SHMEM_FDS, FE_SHMEM_LATE};
    struct fixture *f = *state;
    uint64_t value;
    int first = dup(0);
    close(first);
    for (unsigned i = 0; i < G_N_ELEMENTS(fine); i++) {
        fe_shmem_set_fault(&f->fe, fine[i], 0);
        assert_int_equal(do_map(f, i * f->page, LONG_MS, &value), 0);
        assert_int_equal(value, 0);
    }
    fe_shmem_set_fault(&f->fe, FE_SHMEM_GOOD, 0);
    expect_channel(f, true);
    int last = dup(0); /* descriptors that came were closed */
    close(last);
    assert_int_equal(first, last);
}

static void bad_answer(void **state, enum fe_shmem_fault fault, int code)
{
    struct fixture *f = *state;
    uint64_t value = 9;
    fe_shmem_set_fault(&f->fe, fault, 1);
    assert_int_equal(do_map(f, 0, LONG_MS, &value), 0);
    value = 9;
    assert_int_equal(do_map(f, f->page, LONG_MS, &value), code);
    assert_int_equal(value, 9);
    expect_channel(f, false);
}

static void wrong_request(void **state)
{
    bad_answer(state, FE_SHMEM_WRONG_REQUEST, -EPROTO);
}

static void wrong_flags(void **state)
{
    bad_answer(state, FE_SHMEM_WRONG_FLAGS, -EPROTO);
}

static void wrong_size(void **state)
{
    bad_answer(state, FE_SHMEM_WRONG_SIZE, -EPROTO);
}

static void closed(void **state)
{
    bad_answer(state, FE_SHMEM_CLOSE, -EPIPE);
}

static void closed_in_an_answer(void **state)
{
    bad_answer(state, FE_SHMEM_CLOSE_HALF, -EPIPE);
}

/* The second answer must not be taken for the next request's. */
static void answers_twice(void **state)
{
    struct fixture *f = *state;
    uint64_t value;
    fe_shmem_set_fault(&f->fe, FE_SHMEM_TWICE, 0);
    assert_int_equal(do_map(f, 0, LONG_MS, &value), 0);
    usleep(20000);
    assert_int_equal(do_map(f, f->page, LONG_MS, &value), -EPROTO);
    expect_channel(f, false);
}

static void no_answer(void **state)
{
    struct fixture *f = *state;
    uint64_t value;
    fe_shmem_set_fault(&f->fe, FE_SHMEM_SILENT, 0);
    int64_t begin = fe_now_ms();
    assert_int_equal(do_map(f, 0, 200, &value), -ETIMEDOUT);
    assert_in_range(fe_now_ms() - begin, 190, 200 + SOON_MS);
    fe_shmem_set_fault(&f->fe, FE_SHMEM_GOOD, 0);
    expect_channel(f, false);
    /* Another channel, or another connection, starts again. */
    struct fe_shmem other;
    assert_int_equal(fe_shmem_start(&other, FE_SHMEM_QEMU, WINDOW), 0);
    assert_int_equal(vu_backend_set(&f->b, dup(other.channel), -1), 0);
    assert_int_equal(do_map(f, 0, LONG_MS, &value), 0);
    assert_int_equal(fe_shmem_get(&other, &other.maps), 1);
    vu_backend_close(&f->b);
    fe_shmem_stop(&other);
}

/* What is cancelled ends at once, and its late answer is nobody's. */
static void stop_while_waiting(void **state)
{
    struct fixture *f = *state;
    struct call c;
    uint64_t value;
    fe_shmem_set_fault(&f->fe, FE_SHMEM_SILENT, 0);
    call_until_asked(&c, f, 0);
    int64_t begin = fe_now_ms();
    vu_backend_pause(&f->b);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.rc, -ECANCELED);
    assert_in_range(c.end_ms - begin, 0, SOON_MS);
    expect_channel(f, false);
    fe_shmem_set_fault(&f->fe, FE_SHMEM_GOOD, 0);
    vu_backend_resume(&f->b);
    assert_int_equal(do_map(f, 0, LONG_MS, &value), 0);
    assert_int_equal(value, 1); /* its own answer: the cancelled one had been done */
    assert_int_equal(do_map(f, f->page, LONG_MS, &value), 0);
    assert_int_equal(value, 0);
}

/* The pending reply may itself come late, in pieces, or never. */
static void stop_twice(void **state)
{
    struct fixture *f = *state;
    struct call c;
    uint64_t value;
    fe_shmem_set_fault(&f->fe, FE_SHMEM_SILENT, 0);
    call_until_asked(&c, f, 0);
    vu_backend_pause(&f->b);
    pthread_join(c.thread, NULL);
    vu_backend_resume(&f->b);
    call_start(&c, f, f->page); /* waits for the pending reply */
    wait_for_turn(f);
    assert_int_equal(fe_shmem_requests(&f->fe), 1);
    vu_backend_pause(&f->b);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.rc, -ECANCELED);
    vu_backend_resume(&f->b);
    assert_int_equal(do_map(f, f->page, 100, &value), -ETIMEDOUT);
    fe_shmem_set_fault(&f->fe, FE_SHMEM_GOOD, 0);
    expect_channel(f, false);
    assert_int_equal(fe_shmem_requests(&f->fe), 1);
}

static void replaced_while_waiting(void **state)
{
    struct fixture *f = *state;
    struct fe_shmem other;
    struct call c;
    uint64_t value;
    assert_int_equal(fe_shmem_start(&other, FE_SHMEM_QEMU, WINDOW), 0);
    fe_shmem_set_fault(&f->fe, FE_SHMEM_SILENT, 0);
    call_until_asked(&c, f, 0);
    assert_int_equal(vu_backend_set(&f->b, dup(other.channel), -1), 0);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.rc, -ECANCELED);
    assert_int_equal(do_map(f, 0, LONG_MS, &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(fe_shmem_get(&other, &other.maps), 1);
    fe_shmem_set_fault(&f->fe, FE_SHMEM_GOOD, 0);
    vu_backend_close(&f->b);
    fe_shmem_stop(&other);
}

/* Many at once: each gets its own answer, one after the other (teardown: never overlapped). */
static void many_callers(void **state)
{
    struct fixture *f = *state;
    struct call c[8];
    fe_shmem_set_fault(&f->fe, FE_SHMEM_LATE, 6);
    for (unsigned i = 0; i < G_N_ELEMENTS(c); i++)
        call_start(&c[i], f, i / 2 * f->page); /* two want each place */
    unsigned refused = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(c); i++) {
        pthread_join(c[i].thread, NULL);
        assert_int_equal(c[i].rc, 0);
        refused += (unsigned)c[i].value;
    }
    assert_int_equal(refused, G_N_ELEMENTS(c) / 2);
    assert_int_equal(fe_shmem_get(&f->fe, &f->fe.maps), G_N_ELEMENTS(c));
}

static void stop_while_queued(void **state)
{
    struct fixture *f = *state;
    struct call first, second;
    fe_shmem_set_fault(&f->fe, FE_SHMEM_SILENT, 0);
    call_until_asked(&first, f, 0);
    call_start(&second, f, f->page);
    wait_asleep(&second);
    vu_backend_pause(&f->b);
    vu_backend_resume(&f->b); /* so soon that the second finds the device running again */
    pthread_join(first.thread, NULL);
    pthread_join(second.thread, NULL);
    assert_int_equal(first.rc, -ECANCELED);
    assert_int_equal(second.rc, -ECANCELED);
    assert_int_equal(fe_shmem_requests(&f->fe), 1);
}

static void who_may_ask(void **state)
{
    struct fixture *f = *state;
    uint64_t value;
    vu_backend_negotiated(&f->b, true, false, true); /* no descriptors */
    assert_false(vu_backend_has_shmem(&f->b));
    assert_int_equal(do_map(f, 0, LONG_MS, &value), -ENOTCONN);
    expect_channel(f, true);
    vu_backend_negotiated(&f->b, false, true, true);
    assert_false(vu_backend_has_shmem(&f->b));
    expect_channel(f, false);
    vu_backend_negotiated(&f->b, true, true, false);
    assert_false(vu_backend_has_shmem(&f->b));
    vu_backend_asked_shmem(&f->b);
    assert_true(vu_backend_has_shmem(&f->b));
    vu_backend_pause(&f->b);
    expect_channel(f, false);
    vu_backend_resume(&f->b);
    expect_channel(f, true);
    vu_backend_close(&f->b);
    expect_channel(f, false);
    assert_false(vu_backend_has_shmem(&f->b));
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(vu_backend_set(&f->b, fd, -1), -EINVAL);
    assert_true(aside_wait(5000));
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed */
}

/* A front-end that does not read: the call ends, and half a request is the channel's end. */
static void sent_in_part(void **state)
{
    struct fixture *f = *state;
    int sv[2], room = 4096;
    uint64_t value;
    char junk[4096];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    while (send(sv[1], junk, sizeof(junk), MSG_DONTWAIT) > 0)
        ;
    assert_int_equal(vu_backend_set(&f->b, sv[1], -1), 0);
    assert_int_equal(do_map(f, 0, 100, &value), -ETIMEDOUT);
    expect_channel(f, false);
    close(sv[0]);
}

static void files_are_remembered(void **state)
{
    struct fixture *f = *state;
    uint64_t value;
    int other = memfd_create("other", MFD_CLOEXEC);
    assert_false(vu_backend_sent(&f->b, f->fd));
    assert_int_equal(do_map(f, 0, LONG_MS, &value), 0);
    int same = dup(f->fd);
    assert_true(vu_backend_sent(&f->b, same));
    assert_false(vu_backend_sent(&f->b, other));
    vu_backend_close(&f->b);
    assert_false(vu_backend_sent(&f->b, same));
    close(same);
    close(other);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(answers),
        T(unusual_answers),
        T(wrong_request),
        T(wrong_flags),
        T(wrong_size),
        T(closed),
        T(closed_in_an_answer),
        T(answers_twice),
        T(no_answer),
        T(stop_while_waiting),
        T(stop_twice),
        T(replaced_while_waiting),
        T(many_callers),
        T(stop_while_queued),
        T(who_may_ask),
        T(sent_in_part),
        T(files_are_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
