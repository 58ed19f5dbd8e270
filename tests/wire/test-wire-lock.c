/* SPDX-License-Identifier: BSD-3-Clause
 * POSIX and flock locks: the guest's own affair by default; with --posix-lock and --flock between
 * two owners, two guests, a guest and the host; waits that stall nobody else. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define WAIT_MS 150 /* a lock that is held stays held this long */

static struct fuse_lk_in lock_in(uint64_t fh, uint64_t owner, int type, uint64_t start,
                                 uint64_t end)
{
    return (struct fuse_lk_in){
        .fh = fh, .owner = owner, .lk = {.start = start, .end = end, .type = (uint32_t)type}};
}

static int setlk(struct wire *w, uint32_t op, uint64_t node, const struct fuse_lk_in *in)
{
    return fe_call(&w->f, op, node, in, sizeof(*in), NULL, 0, NULL);
}

static int send_setlkw(struct wire *w, uint64_t node, const struct fuse_lk_in *in)
{
    struct iovec part = {(void *)in, sizeof(*in)};
    return fe_fuse_send(&w->f, FE_REQ, FUSE_SETLKW, node, &part, 1, 0);
}

static uint64_t open_file(struct wire *w, const char *name, uint64_t *fh)
{
    uint64_t node = wire_node(w, name);
    assert_int_equal(fe_open(&w->f, node, O_RDWR, fh), 0);
    return node;
}

/* A mount with these options. */
static void mount_with(struct wire *w, const char *const *options)
{
    wire_spawn(w, options);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

/* ---- locks that stay in the guest ---- */

static int flush(struct wire *w, uint64_t node, uint64_t fh, uint64_t owner)
{
    struct fuse_flush_in fl = {.fh = fh, .lock_owner = owner};
    return fe_call(&w->f, FUSE_FLUSH, node, &fl, sizeof(fl), NULL, 0, NULL);
}

/* Whether INIT grants these flags, and what each request is told. */
static void expect_kinds(struct wire *w, const char *const *options, bool posix, bool bsd,
                         int flushed)
{
    static const uint32_t ops[] = {FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW};
    uint64_t fh, node;

    mount_with(w, options);
    node = open_file(w, "file", &fh);
    assert_int_equal(!!(fe_init_granted(&w->f) & FUSE_POSIX_LOCKS), posix);
    assert_int_equal(!!(fe_init_granted(&w->f) & FUSE_FLOCK_LOCKS), bsd);
    for (unsigned i = 0; i < 3; i++) {
        struct fuse_lk_in in = lock_in(fh, 1, F_RDLCK, 0, INT64_MAX);
        int got = fe_call(&w->f, ops[i], node, &in, sizeof(in), NULL, i ? 0 : 24, NULL);
        assert_int_equal(got, posix ? 0 : -ENOSYS);
        in.lk_flags = FUSE_LK_FLOCK;
        if (i > 0)
            assert_int_equal(setlk(w, ops[i], node, &in), bsd ? 0 : -ENOSYS);
    }
    /* What the guest keeps to itself stops nobody here. */
    int host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
    struct flock fl = {.l_type = F_WRLCK};
    assert_int_equal(fcntl(host, F_SETLK, &fl), posix ? -1 : 0);
    assert_int_equal(flock(host, LOCK_EX | LOCK_NB), bsd ? -1 : 0);
    close(host);
    assert_int_equal(flush(w, node, fh, 1), flushed);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    wire_finish(w, 0);
}

static void kinds(void **state)
{
    static const struct {
        const char *options[4];
        bool posix, bsd;
        int flush;
    } rows[] = {
        {{NULL}, false, false, -ENOSYS}, /* the default saves the guest a message for each close */
        {{"--posix-lock"}, true, false, 0},
        {{"--flock"}, false, true, -ENOSYS},
        {{"-oposix_lock,flock"}, true, true, 0},
        {{"-oposix_lock,flock", "-ono_posix_lock"}, false, true, -ENOSYS},
        {{"--posix-lock", "--flock", "--no-flock"}, true, false, 0},
        {{"--writeback"}, false, false, 0}, /* older guests write out before it */
    };
    struct wire *w = *state;

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_kinds(w, rows[i].options, rows[i].posix, rows[i].bsd, rows[i].flush);
}

/* --readonly gives no lock on the host's files unless it is asked for. */
static void readonly(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node;

    for (int asked = 0; asked < 2; asked++) {
        mount_with(w, asked ? (const char *const[]){"--readonly", "--posix-lock", NULL}
                            : (const char *const[]){"--readonly", NULL});
        node = wire_node(w, "file");
        assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), 0);
        struct fuse_lk_in in = lock_in(fh, 1, F_RDLCK, 0, INT64_MAX);
        assert_int_equal(setlk(w, FUSE_SETLK, node, &in), asked ? 0 : -ENOSYS);
        int host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
        struct flock fl = {.l_type = F_WRLCK};
        assert_int_equal(fcntl(host, F_SETLK, &fl), asked ? -1 : 0);
        close(host);
        wire_finish(w, 0);
    }
}

/* ---- shared locks ---- */

static void between_owners(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "file", &fh);
    struct fuse_lk_in a = lock_in(fh, 1, F_WRLCK, 0, 99), b = lock_in(fh, 2, F_WRLCK, 50, 149);
    struct fuse_lk_in c = lock_in(fh, 2, F_RDLCK, 100, 199);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &b), -EAGAIN);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &c), 0);
    /* GETLK tells who is in the way. */
    struct fuse_lk_out got;
    assert_int_equal(fe_call(&w->f, FUSE_GETLK, node, &b, sizeof(b), &got, sizeof(got), NULL), 0);
    assert_int_equal(got.lk.type, F_WRLCK);
    assert_int_equal(got.lk.start, 0);
    assert_int_equal(got.lk.end, 99);
    struct fuse_lk_in free_range = lock_in(fh, 2, F_WRLCK, 1000, INT64_MAX);
    assert_int_equal(
        fe_call(&w->f, FUSE_GETLK, node, &free_range, sizeof(free_range), &got, sizeof(got), NULL),
        0);
    assert_int_equal(got.lk.type, F_UNLCK);
    a.lk.type = F_UNLCK;
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &b), 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* FLUSH with an owner drops the owner's locks, and no others. */
static void flush_drops(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "file", &fh);
    struct fuse_lk_in a = lock_in(fh, 1, F_WRLCK, 0, 9), b = lock_in(fh, 2, F_WRLCK, 10, 19);
    struct fuse_lk_in c = lock_in(fh, 3, F_WRLCK, 0, 9), d = lock_in(fh, 3, F_WRLCK, 10, 19);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &b), 0);
    assert_int_equal(flush(w, node, fh, 1), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &c), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &d), -EAGAIN);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

static void with_the_host(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "file", &fh);
    int host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
    struct flock fl = {.l_type = F_WRLCK, .l_start = 0, .l_len = 10};
    struct fuse_lk_in a = lock_in(fh, 1, F_WRLCK, 5, 20);
    assert_int_equal(fcntl(host, F_SETLK, &fl), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), -EAGAIN);
    fl.l_type = F_UNLCK;
    assert_int_equal(fcntl(host, F_SETLK, &fl), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    fl.l_type = F_WRLCK;
    assert_int_equal(fcntl(host, F_SETLK, &fl), -1);
    /* The daemon's wait ends when the host lets go. */
    fl.l_type = F_WRLCK;
    fl.l_start = 100;
    assert_int_equal(fcntl(host, F_SETLK, &fl), 0);
    struct fuse_lk_in b = lock_in(fh, 1, F_WRLCK, 100, 100);
    int slot = send_setlkw(w, node, &b);
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, WAIT_MS), FE_ETIMEOUT);
    close(host);
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

static void flock_style(void **state)
{
    struct wire *w = *state;
    uint64_t fh1, fh2, node = open_file(w, "file", &fh1);
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh2), 0);
    struct fuse_lk_in a = lock_in(fh1, 1, F_WRLCK, 0, INT64_MAX);
    struct fuse_lk_in b = lock_in(fh2, 2, F_RDLCK, 0, INT64_MAX);
    a.lk_flags = b.lk_flags = FUSE_LK_FLOCK;
    int host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &b), -EAGAIN);
    assert_int_equal(flock(host, LOCK_SH | LOCK_NB), -1);
    int slot = send_setlkw(w, node, &b);
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, WAIT_MS), FE_ETIMEOUT);
    a.lk.type = F_UNLCK;
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    assert_int_equal(flock(host, LOCK_SH | LOCK_NB), 0);
    assert_int_equal(flock(host, LOCK_EX | LOCK_NB), -1);
    assert_int_equal(fe_release(&w->f, node, fh2), 0); /* the last close drops it */
    assert_int_equal(flock(host, LOCK_EX | LOCK_NB), 0);
    close(host);
    assert_int_equal(fe_release(&w->f, node, fh1), 0);
}

/* Waiting locks stall neither their queue nor FORGETs. */
static void waits_stall_nobody(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "file", &fh);
    struct fuse_lk_in a = lock_in(fh, 1, F_WRLCK, 0, 0);
    int slot[8];
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    for (unsigned i = 0; i < 8; i++) {
        struct fuse_lk_in b = lock_in(fh, 10 + i, F_WRLCK, 0, 0);
        slot[i] = send_setlkw(w, node, &b);
    }
    int64_t start = fe_now_ms();
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(fe_getattr(&w->f, FUSE_ROOT_ID, NULL), 0);
        fe_forget(&w->f, 12345 + i, 1);
    }
    assert_true(fe_now_ms() - start < fe_slow(3000));
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot[0], NULL, 0, NULL, WAIT_MS), FE_ETIMEOUT);
    /* One after the other gets it. */
    a.lk.type = F_UNLCK;
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    for (unsigned left = 8; left > 0; left--) {
        int got = -1;
        int64_t end = fe_now_ms() + FE_TIMEOUT_MS;
        while (got < 0 && fe_now_ms() < end)
            for (int i = 0; i < 8 && got < 0; i++)
                if (slot[i] >= 0 && fe_fuse_wait_ms(&w->f, slot[i], NULL, 0, NULL, 5) == 0)
                    got = i;
        assert_true(got >= 0);
        slot[got] = -1;
        struct fuse_lk_in u = lock_in(fh, 10 + (unsigned)got, F_UNLCK, 0, 0);
        assert_int_equal(setlk(w, FUSE_SETLK, node, &u), 0);
    }
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* A waiter's request ends when its ring is stopped, and with a reset. */
static void stopped_while_waiting(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "file", &fh);
    struct fuse_lk_in a = lock_in(fh, 1, F_WRLCK, 0, 0), b = lock_in(fh, 2, F_WRLCK, 0, 0);
    uint32_t base;
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    int slot = send_setlkw(w, node, &b);
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, 50), FE_ETIMEOUT);
    assert_int_equal(fe_vhost_get_base(&w->v, FE_REQ, &base), 0);
    assert_int_equal((uint16_t)base, w->v.ring[FE_REQ].used->idx);
    int e = fe_fuse_wait(&w->f, slot, NULL, 0, NULL);
    assert_true(e == -EINTR || e == -EAGAIN);
    assert_int_equal(fe_vhost_start_ring(&w->v, FE_REQ), 0);
    slot = send_setlkw(w, node, &b);
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, 50), FE_ETIMEOUT);
    assert_int_equal(fe_vhost_ack(&w->v, VU_RESET_DEVICE, NULL, 0, NULL, 0), 0);
    e = fe_fuse_wait(&w->f, slot, NULL, 0, NULL);
    assert_true(e == -EINTR || e == -EAGAIN);
    /* The reset dropped the lock itself too. */
    int host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
    struct flock fl = {.l_type = F_WRLCK, .l_len = 1};
    assert_int_equal(fcntl(host, F_SETLK, &fl), 0);
    close(host);
}

/* Waiting when the front-end goes away: the daemon ends all the same. */
static void gone_while_waiting(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "file", &fh);
    struct fuse_lk_in a = lock_in(fh, 1, F_WRLCK, 0, 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    for (unsigned i = 0; i < 8; i++) {
        struct fuse_lk_in b = lock_in(fh, 2 + i, F_WRLCK, 0, 0);
        send_setlkw(w, node, &b);
    }
    wire_alive(w);
    int64_t start = fe_now_ms();
    wire_finish(w, 0);
    assert_true(fe_now_ms() - start < fe_slow(3000));
}

/* Two guests, each with a daemon of its own, contend for one file. */
static void two_guests(void **state)
{
    struct wire *w = *state;
    struct wire *o = calloc(1, sizeof(*o));
    *o = (struct wire){.d = {.pid = -1, .log_fd = -1}, .v.sock = -1};
    memcpy(o->dir, w->dir, sizeof(o->dir));
    memcpy(o->share, w->share, sizeof(o->share));
    snprintf(o->socket, sizeof(o->socket), "%s/sock2", w->dir);
    mount_with(o, (const char *const[]){"--posix-lock", NULL});
    uint64_t fh1, node1 = open_file(w, "file", &fh1), fh2, node2 = open_file(o, "file", &fh2);
    struct fuse_lk_in a = lock_in(fh1, 1, F_WRLCK, 0, 9), b = lock_in(fh2, 1, F_WRLCK, 5, 14);
    assert_int_equal(setlk(w, FUSE_SETLK, node1, &a), 0);
    assert_int_equal(setlk(o, FUSE_SETLK, node2, &b), -EAGAIN);
    int slot = send_setlkw(o, node2, &b);
    assert_int_equal(fe_fuse_wait_ms(&o->f, slot, NULL, 0, NULL, WAIT_MS), FE_ETIMEOUT);
    a.lk.type = F_UNLCK;
    assert_int_equal(setlk(w, FUSE_SETLK, node1, &a), 0);
    assert_int_equal(fe_fuse_wait(&o->f, slot, NULL, 0, NULL), 0);
    /* The second guest dies with the lock: the first gets it. */
    a.lk.type = F_WRLCK;
    slot = send_setlkw(w, node1, &a);
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, WAIT_MS), FE_ETIMEOUT);
    wire_finish(o, 0);
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    free(o);
}

/* A lock of an open file ends with that, and the next open does not inherit it; a process's lock
 * ends with the process's FLUSH, whichever file is closed. */
static void open_file_owners(void **state)
{
    struct wire *w = *state;
    uint64_t fh1, fh2, node = open_file(w, "file", &fh1);
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh2), 0);
    /* Linux makes the owner of such a lock from the file; FLUSH names the process. */
    struct fuse_lk_in ofd = lock_in(fh1, 0xf11e, F_WRLCK, 0, 9);
    struct fuse_lk_in process = lock_in(fh1, 0x9999, F_WRLCK, 10, 19);
    struct fuse_lk_in both = lock_in(fh2, 0x9999, F_WRLCK, 20, 29);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &ofd), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &process), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &both), 0);
    assert_int_equal(flush(w, node, fh1, 0x1111), 0);
    struct fuse_lk_in rival = lock_in(fh2, 0xaaaa, F_RDLCK, 0, 9);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &rival), -EAGAIN);
    assert_int_equal(fe_release(&w->f, node, fh1), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &rival), 0);
    rival.lk.start = rival.lk.end = 10;
    assert_int_equal(setlk(w, FUSE_SETLK, node, &rival), -EAGAIN);
    assert_int_equal(flush(w, node, fh2, 0x9999), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &rival), 0);
    assert_int_equal(fe_release(&w->f, node, fh2), 0);
    /* Nothing is left on the host. */
    int host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
    struct flock fl = {.l_type = F_WRLCK};
    assert_int_equal(fcntl(host, F_SETLK, &fl), 0);
    close(host);
}

static void names_the_holder(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "file", &fh);
    struct fuse_lk_in a = lock_in(fh, 1, F_RDLCK, 0, 9), b = lock_in(fh, 2, F_WRLCK, 0, 99);
    struct fuse_lk_out got;
    a.lk.pid = 4711;
    b.lk.pid = 4712;
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    assert_int_equal(fe_call(&w->f, FUSE_GETLK, node, &b, sizeof(b), &got, sizeof(got), NULL), 0);
    assert_int_equal(got.lk.type, F_RDLCK);
    assert_int_equal(got.lk.pid, 4711);
    int host = open(wire_path(w, "file"), O_RDWR | O_CLOEXEC);
    struct flock fl = {.l_type = F_WRLCK, .l_start = 50, .l_len = 1};
    assert_int_equal(fcntl(host, F_SETLK, &fl), 0);
    b.lk.start = 50;
    assert_int_equal(fe_call(&w->f, FUSE_GETLK, node, &b, sizeof(b), &got, sizeof(got), NULL), 0);
    assert_int_equal(got.lk.type, F_WRLCK);
    assert_int_equal(got.lk.pid, 0); /* its number means nothing in the guest */
    close(host);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

static void deadlocks(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "file", &fh);
    struct fuse_lk_in a = lock_in(fh, 1, F_WRLCK, 0, 0), b = lock_in(fh, 2, F_WRLCK, 1, 1);
    struct fuse_lk_in a2 = lock_in(fh, 1, F_WRLCK, 1, 1), b2 = lock_in(fh, 2, F_RDLCK, 0, 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &b), 0);
    int slot = send_setlkw(w, node, &a2);
    assert_int_equal(fe_fuse_wait_ms(&w->f, slot, NULL, 0, NULL, WAIT_MS), FE_ETIMEOUT);
    assert_int_equal(setlk(w, FUSE_SETLKW, node, &b2), -EDEADLK);
    assert_int_equal(flush(w, node, fh, 2), 0);
    assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

/* INTERRUPT ends the wait that it names, and no other. */
static void interrupts(void **state)
{
    struct wire *w = *state;
    uint64_t fh, fh2, node = open_file(w, "file", &fh);
    struct fuse_lk_in a = lock_in(fh, 1, F_WRLCK, 0, 0), b = lock_in(fh, 2, F_WRLCK, 0, 0);
    assert_int_equal(fe_open(&w->f, node, O_RDWR, &fh2), 0);
    struct fuse_lk_in c = lock_in(fh, 3, F_WRLCK, 0, INT64_MAX), d = c;
    c.lk_flags = d.lk_flags = FUSE_LK_FLOCK;
    d.fh = fh2;
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    assert_int_equal(setlk(w, FUSE_SETLK, node, &c), 0);
    int posix = send_setlkw(w, node, &b), other = send_setlkw(w, node, &b);
    int bsd = send_setlkw(w, node, &d);
    for (int i = 0; i < 3; i++) {
        const int slot = i == 0 ? posix : i == 1 ? bsd : -1;
        struct fuse_interrupt_in in = {.unique = slot < 0 ? 12345678 : w->f.req[slot].unique};
        struct iovec part = {&in, sizeof(in)};
        int hiprio = fe_fuse_send(&w->f, FE_HIPRIO, FUSE_INTERRUPT, 0, &part, 1, -1);
        assert_int_equal(fe_fuse_wait(&w->f, hiprio, NULL, 0, NULL), 0);
        if (slot >= 0)
            assert_int_equal(fe_fuse_wait(&w->f, slot, NULL, 0, NULL), -EINTR);
    }
    assert_int_equal(fe_fuse_wait_ms(&w->f, other, NULL, 0, NULL, WAIT_MS), FE_ETIMEOUT);
    a.lk.type = F_UNLCK;
    assert_int_equal(setlk(w, FUSE_SETLK, node, &a), 0);
    assert_int_equal(fe_fuse_wait(&w->f, other, NULL, 0, NULL), 0);
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    assert_int_equal(fe_release(&w->f, node, fh2), 0);
}

static void bad_ranges(void **state)
{
    struct wire *w = *state;
    uint64_t fh, node = open_file(w, "file", &fh);
    static const struct {
        int type;
        uint64_t start, end;
    } bad[] = {
        {F_WRLCK, 10, 5}, {F_WRLCK, 1ULL << 63, ~0ULL}, {F_WRLCK, ~0ULL, ~0ULL}, {99, 0, 10},
        {-1, 0, 10},      {F_WRLCK, 5, 1ULL << 63},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct fuse_lk_in in = lock_in(fh, 1, bad[i].type, bad[i].start, bad[i].end);
        static const uint32_t ops[] = {FUSE_SETLK, FUSE_SETLKW, FUSE_GETLK};
        for (unsigned k = 0; k < 3; k++) {
            int e = fe_call(&w->f, ops[k], node, &in, sizeof(in), NULL, k == 2 ? 24 : 0, NULL);
            if (e >= 0 || e < -1000)
                fail_msg("type %d, %#llx to %#llx, opcode %u: %d", bad[i].type,
                         (unsigned long long)bad[i].start, (unsigned long long)bad[i].end, ops[k],
                         e);
        }
    }
    assert_int_equal(fe_release(&w->f, node, fh), 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, wire_mount, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(kinds, wire_cleanup),
        cmocka_unit_test_teardown(readonly, wire_cleanup),
        TEST(between_owners),
        TEST(flush_drops),
        TEST(with_the_host),
        TEST(flock_style),
        TEST(waits_stall_nobody),
        TEST(stopped_while_waiting),
        cmocka_unit_test_setup_teardown(gone_while_waiting, wire_mount, wire_cleanup),
        TEST(two_guests),
        TEST(open_file_owners),
        TEST(names_the_holder),
        TEST(deadlocks),
        TEST(interrupts),
        TEST(bad_ranges),
    };
    return cmocka_run_group_tests_name("wire-lock", tests, wire_make_locks, wire_teardown);
}
