/* SPDX-License-Identifier: BSD-3-Clause
 * Hostile 9P clients against the real daemon, each over every way in: a unix socket, an
 * inherited one, TCP, a connection that was handed over, a virtqueue. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/wire/wire-p9.h"

enum { TLOCK = 52, TMKDIR = 72, TVERSION = 100, TREAD = 116, TWRITE = 118 };
enum { MAX_CONNS = 64, WRLCK = 1, UNLOCK = 2, BLOCK = 1, STRANGER = 12345 };

/* ---- ways in ---- */

static uint16_t port;

static void path_of_test(struct wire *w)
{
    snprintf(p9_path, sizeof(p9_path), "%s/p9", w->dir);
}

/* A socket that a careless manager has made, for everybody. */
static int listen_for_all(struct wire *w)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    path_of_test(w);
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", p9_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(p9_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(chmod(p9_path, 0666), 0);
    return fd;
}

static void spawn_on(struct wire *w, int fd)
{
    char addr[32];
    snprintf(addr, sizeof(addr), "fd:%d", fd);
    p9_spawn(w, addr, fd);
    close(fd);
}

static void start_inherited(struct wire *w)
{
    spawn_on(w, listen_for_all(w));
}

static void start_tcp(struct wire *w)
{
    path_of_test(w);
    spawn_on(w, p9_listen_tcp(&port));
}

static int dial_tcp(struct wire *w)
{
    int fd = p9_dial_tcp(INADDR_LOOPBACK, port);
    assert_true(fd >= 0);
    return fd;
}

struct way {
    void (*start)(struct wire *w);
    int (*dial)(struct wire *w);
};

static const struct way unix_way = {p9_spawn_unix, p9_dial};
static const struct way inherited_way = {start_inherited, p9_dial};
static const struct way tcp_way = {start_tcp, dial_tcp};

/* A test for each of the three. */
#define EACH(name)                         \
    static void name##_unix(void **s)      \
    {                                      \
        name(*s, &unix_way);               \
    }                                      \
    static void name##_inherited(void **s) \
    {                                      \
        name(*s, &inherited_way);          \
    }                                      \
    static void name##_tcp(void **s)       \
    {                                      \
        name(*s, &tcp_way);                \
    }

/* ---- what still works ---- */

static void reads(struct p9c *c)
{
    char buf[16];
    assert_int_equal(p9c_walk(c, P9_ROOT, 80, "dir/file"), 0);
    assert_int_equal(p9c_lopen(c, 80, 0), 0);
    assert_int_equal(p9c_read(c, 80, 0, buf, sizeof(buf)), 10);
    assert_memory_equal(buf, "0123456789", 10);
    assert_int_equal(p9c_clunk(c, 80), 0);
}

static void serves(struct wire *w, const struct way *way)
{
    struct p9c c;
    int fd = way->dial(w);
    p9_mounted(&c, p9_by_socket, &fd);
    reads(&c);
    p9c_free(&c);
    close(fd);
}

static void hung_up(int fd)
{
    char b;
    ssize_t n = recv(fd, &b, 1, 0);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    close(fd);
}

static void put(int fd, const void *p, size_t len)
{
    assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), (ssize_t)len);
}

static const uint8_t version[] = {21, 0, 0,   0,   100, 255, 255, 0,   0,   1,  0,
                                  8,  0, '9', 'P', '2', '0', '0', '0', '.', 'L'};

/* ---- streams ---- */

static void framing(struct wire *w, const struct way *way)
{
    static const uint32_t sizes[] = {0, 1, 6, 8193, 0x7fffffff, 0x80000000, 0xffffffff};
    uint8_t junk[256];
    way->start(w);
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int fd = way->dial(w);
        put(fd, &sizes[i], sizeof(sizes[i]));
        hung_up(fd);
    }
    for (unsigned i = 0; i < 200; i++) { /* nonsense of all kinds, and gone */
        int fd = way->dial(w);
        uint32_t size = i + 7;
        for (unsigned k = 0; k < sizeof(junk); k++)
            junk[k] = (uint8_t)(k * 37 + i * 11);
        memcpy(junk, &size, sizeof(size));
        (void)!send(fd, junk, sizeof(junk), MSG_NOSIGNAL);
        close(fd);
    }
    int fd = way->dial(w); /* a byte at a time */
    for (unsigned i = 0; i < sizeof(version); i++)
        put(fd, version + i, 1);
    assert_int_equal(recv(fd, junk, sizeof(version), MSG_WAITALL), sizeof(version));
    assert_int_equal(junk[4], TVERSION + 1);
    close(fd);
    serves(w, way);
    p9_stopped(w);
}
EACH(framing)

/* Fields that lie: each gets its error, and the connection goes on. */
static void lies(struct p9c *c)
{
    static const char *const names[] = {"", ".", "..", "/", "/etc", "a/b", "../x"};
    char buf[64];
    for (unsigned type = 0; type < 256; type++) {
        p9c_begin(c, (uint8_t)type);
        int rc = p9c_send(c);
        assert_true(rc == -EINVAL || rc == -EOPNOTSUPP);
    }
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(p9c_mkdir(c, P9_ROOT, names[i], 0755, 0), -EINVAL);
        assert_int_equal(p9c_symlink(c, P9_ROOT, names[i], "t", 0), -EINVAL);
        assert_int_equal(p9c_unlinkat(c, P9_ROOT, names[i], 0), -EINVAL);
        assert_int_equal(p9c_renameat(c, P9_ROOT, "file", P9_ROOT, names[i]), -EINVAL);
    }
    assert_true(p9c_attach(c, 2, "../..", 0) < 0);
    assert_true(p9c_attach(c, 2, "dir/../..", 0) < 0);
    assert_int_equal(p9c_attach(c, 2, "file", 0), -ENOTDIR);
    struct p9c_attr top, up;
    assert_int_equal(p9c_attach(c, 2, "dir", 0), 0); /* its ".." is itself */
    assert_int_equal(p9c_walk(c, 2, 3, "../../sub/../.."), 0);
    assert_int_equal(p9c_getattr(c, 2, 0x7ff, &top), 0);
    assert_int_equal(p9c_getattr(c, 3, 0x7ff, &up), 0);
    assert_int_equal(top.qid.path, up.qid.path);
    assert_int_equal(p9c_clunk(c, 2), 0);
    assert_int_equal(p9c_clunk(c, 3), 0);
    assert_int_equal(p9c_clunk(c, 3), -EBADF);
    assert_int_equal(p9c_walk(c, P9_ROOT, 4, "file"), 0);
    assert_int_equal(p9c_lopen(c, 4, 0), 0);
    assert_int_equal(p9c_read(c, 4, UINT64_MAX, buf, sizeof(buf)), -EINVAL);
    assert_int_equal(p9c_read(c, 4, INT64_MAX - 4096, buf, sizeof(buf)), 0);
    assert_int_equal(p9c_write(c, 4, 0, "x", 1), -EBADF);
    assert_true(p9c_readdir(c, 4, 0, buf, sizeof(buf)) < 0);
    p9c_begin(c, TREAD); /* more than any message holds */
    p9c_put32(c, 4);
    p9c_put64(c, 0);
    p9c_put32(c, UINT32_MAX);
    assert_int_equal(p9c_send(c), 0);
    assert_int_equal(p9c_get32(c), 6);
    p9c_begin(c, TWRITE); /* less than it says */
    p9c_put32(c, 4);
    p9c_put64(c, 0);
    p9c_put32(c, UINT32_MAX);
    p9c_put32(c, 0);
    assert_int_equal(p9c_send(c), -EINVAL);
    p9c_begin(c, TMKDIR); /* a name that ends behind the message */
    p9c_put32(c, P9_ROOT);
    p9c_put16(c, 0xffff);
    p9c_put64(c, 0);
    assert_int_equal(p9c_send(c), -EINVAL);
    assert_true(p9c_xattrcreate(c, 4, "user.a", UINT64_MAX, 0) < 0);
    assert_int_equal(p9c_clunk(c, 4), 0);
    reads(c);
}

static void messages(struct wire *w, const struct way *way)
{
    struct p9c c;
    way->start(w);
    int fd = way->dial(w);
    p9_mounted(&c, p9_by_socket, &fd);
    lies(&c);
    p9c_free(&c);
    close(fd);
    p9_stopped(w);
}
EACH(messages)

/* More than there is room for, none of which attaches; every other one speaks. */
static void silent(struct wire *w, const struct way *way)
{
    int fd[MAX_CONNS + 16];
    struct p9c c;
    way->start(w);
    int first = way->dial(w);
    p9_mounted(&c, p9_by_socket, &first);
    for (unsigned i = 0; i < sizeof(fd) / sizeof(fd[0]); i++) {
        fd[i] = way->dial(w);
        if (i % 2)
            put(fd[i], version, sizeof(version));
    }
    usleep(100000); /* what they said has come */
    serves(w, way);
    reads(&c);
    for (unsigned i = 0; i < sizeof(fd) / sizeof(fd[0]); i++)
        close(fd[i]);
    p9c_free(&c);
    close(first);
    p9_stopped(w);
}
EACH(silent)

/* Who asks and never reads costs the others nothing, and the daemon ends when told to. */
static void reads_nothing(struct wire *w, const struct way *way)
{
    struct p9c c;
    size_t len, sent = 0;
    way->start(w);
    int fd = way->dial(w);
    p9_mounted(&c, p9_by_socket, &fd);
    assert_int_equal(p9c_walk(&c, P9_ROOT, 2, "big"), 0);
    assert_int_equal(p9c_lopen(&c, 2, 0), 0);
    p9c_begin(&c, TREAD);
    p9c_put32(&c, 2);
    p9c_put64(&c, 0);
    p9c_put32(&c, P9_MSIZE);
    len = p9c_end(&c);
    /* Until no more is taken: all buffers on the way are full. */
    for (unsigned quiet = 0; quiet < 50 && sent < (64u << 20);) {
        ssize_t n = send(fd, c.t + sent % len, len - sent % len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
            quiet = 0;
            continue;
        }
        assert_int_equal(errno, EAGAIN);
        quiet++;
        usleep(2000);
    }
    assert_true(sent < (64u << 20));
    for (unsigned i = 0; i < 20; i++)
        serves(w, way);
    p9c_free(&c);
    p9_stopped(w);
    close(fd);
}
EACH(reads_nothing)

static int lock(struct p9c *c, uint8_t type)
{
    struct p9c_lock lk = {.type = type, .proc_id = 1, .client = "guest"};
    uint8_t status = 77;
    int rc = p9c_lock(c, 2, &lk, &status);
    return rc < 0 ? rc : status;
}

/* Gone in the middle of a write, and while it waits for a lock; nothing of it is left. */
static void gone(struct wire *w, const struct way *way)
{
    static const struct p9c_lock wait = {
        .type = WRLCK, .flags = BLOCK, .proc_id = 1, .client = "guest"};
    struct p9c c[3];
    int fd[3];
    struct stat st;
    wire_put(w, "shared", "text");
    assert_int_equal(chmod(wire_path(w, "shared"), 0666), 0);
    way->start(w);
    for (unsigned i = 0; i < 3; i++) {
        fd[i] = way->dial(w);
        p9_mounted(&c[i], p9_by_socket, &fd[i]);
        assert_int_equal(p9c_walk(&c[i], P9_ROOT, 2, "shared"), 0);
        assert_int_equal(p9c_lopen(&c[i], 2, P9_RDWR), 0);
    }
    assert_int_equal(lock(&c[0], WRLCK), 0);
    put(fd[1], c[1].t, p9c_build_lock(&c[1], 2, &wait));
    usleep(20000);
    p9c_begin(&c[1], TWRITE);
    p9c_put32(&c[1], 2);
    p9c_put64(&c[1], 0);
    p9c_put32(&c[1], 30000);
    for (unsigned i = 0; i < 30000; i++)
        p9c_put8(&c[1], 'x');
    p9c_end(&c[1]);
    put(fd[1], c[1].t, 1000);
    close(fd[1]);
    assert_int_equal(lock(&c[0], UNLOCK), 0);
    int rc = -1;
    for (unsigned i = 0; i < 500 && rc != 0; i++) { /* the one that waited may have it a moment */
        rc = lock(&c[2], WRLCK);
        usleep(10000);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(stat(wire_path(w, "shared"), &st), 0);
    assert_int_equal(st.st_size, 4);
    for (unsigned i = 0; i < 3; i++)
        p9c_free(&c[i]);
    close(fd[0]);
    close(fd[2]);
    unlink(wire_path(w, "shared"));
    p9_stopped(w);
}
EACH(gone)

/* The one connection that was handed over: the daemon ends with it, and well. */
static void handed_over(void **state)
{
    struct wire *w = *state;
    struct p9c c;
    int pair[2], status = -1;
    path_of_test(w);
    for (int round = 0; round < 2; round++) {
        uint32_t bad = round ? 0xffffffff : 3;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        spawn_on(w, pair[0]);
        if (round) {
            p9_mounted(&c, p9_by_socket, &pair[1]);
            lies(&c);
            p9c_free(&c);
        }
        put(pair[1], &bad, sizeof(bad));
        hung_up(pair[1]);
        assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        fe_daemon_stop(&w->d);
    }
}

/* ---- who may come ---- */

/* Version as that user and group; 0 when it was answered, 1 when it was not. */
static int knock_as(uid_t uid, gid_t gid)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct sockaddr_un un = {.sun_family = AF_UNIX};
        uint8_t answer[sizeof(version)];
        snprintf(un.sun_path, sizeof(un.sun_path), "%s", p9_path);
        if (setgroups(0, NULL) != 0 || setgid(gid) != 0 || setuid(uid) != 0)
            _exit(2);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
            _exit(errno == EACCES ? 1 : 3);
        (void)!send(fd, version, sizeof(version), MSG_NOSIGNAL);
        _exit(recv(fd, answer, sizeof(answer), MSG_WAITALL) == sizeof(answer) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* On a socket that everybody may connect to, the peer's credentials decide. */
static void strangers(void **state)
{
    struct wire *w = *state;
    char source[128], addr[32];
    if (geteuid() != 0)
        skip();
    start_inherited(w);
    assert_int_equal(knock_as(0, 0), 0);
    assert_int_equal(knock_as(STRANGER, STRANGER), 1);
    assert_int_equal(knock_as(STRANGER, 0), 1); /* root's group is nothing */
    p9_stopped(w);

    int fd = listen_for_all(w); /* with a group */
    snprintf(addr, sizeof(addr), "--p9-listen=fd:%d", fd);
    snprintf(source, sizeof(source), "--shared-dir=%s", w->share);
    wire_exec(w, (const char *const[]){source, addr, "--protocol=9p", "--socket-group=4711", NULL},
              fd);
    close(fd);
    assert_int_equal(knock_as(STRANGER, 4711), 0);
    assert_int_equal(knock_as(STRANGER, STRANGER), 1);
    p9_stopped(w);

    p9_spawn_unix(w); /* of one of our own, the mode does */
    close(p9_dial(w));
    assert_int_equal(knock_as(STRANGER, STRANGER), 1);
    p9_stopped(w);
}

/* The daemon does not start with @addr. */
static void refuses(struct wire *w, const char *addr)
{
    int status = -1;
    p9_spawn(w, addr, -1);
    assert_int_equal(fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS), 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 0);
    assert_true(fe_daemon_log_count(&w->d, addr) > 0);
    fe_daemon_stop(&w->d);
}

/* TCP is served where it was told by number, and nowhere else. */
static void tcp_address(void **state)
{
    static const char *const bad[] = {"tcp:", "tcp::564", "tcp:564", "tcp:*:564",
                                      "tcp:localhost:564"};
    struct wire *w = *state;
    char addr[64];
    int fd = -1;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refuses(w, bad[i]);
    path_of_test(w);
    close(p9_listen_tcp(&port)); /* free a moment ago */
    snprintf(addr, sizeof(addr), "tcp:127.0.0.1:%u", port);
    p9_spawn(w, addr, -1);
    for (unsigned i = 0; i < 500 && fd < 0; i++) {
        usleep(10000);
        fd = p9_dial_tcp(INADDR_LOOPBACK, port);
    }
    assert_true(fd >= 0);
    close(fd);
    serves(w, &tcp_way);
    assert_int_equal(p9_dial_tcp(INADDR_LOOPBACK + 1, port), -ECONNREFUSED);
    p9_stopped(w);
}

/* ---- virtqueue ---- */

/* One chain of @n descriptors; the used length. */
static uint32_t chain(struct p9_both *b, const struct vring_desc *d, unsigned n)
{
    struct fe_ring *ring = &b->v.ring[0];
    uint32_t id, used;
    for (unsigned i = 0; i < n; i++)
        fe_ring_desc(ring, i, d[i].addr, d[i].len, d[i].flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0),
                     (uint16_t)(i + 1));
    fe_ring_push(ring, 0);
    fe_ring_publish(ring);
    while (!fe_ring_pop(ring, &id, &used))
        assert_true(fe_ring_wait(ring, FE_TIMEOUT_MS) >= 0);
    assert_int_equal(id, 0);
    return used;
}

static void over_ring(void **state)
{
    struct wire *w = *state;
    struct p9_both b;
    p9_both_up(w, &b, false);
    struct fe_region *m = &b.mem.r[1];
    const uint64_t req = m->gpa + 0x100000, rep = m->gpa + 0x200000;
    uint8_t *t = m->ptr + 0x100000, *r = m->ptr + 0x200000;
    const uint16_t W = VRING_DESC_F_WRITE;
    memcpy(t, version, sizeof(version));
    memset(r, 0x5a, 64);
    /* Too short to be a message, no room for an answer, neither. */
    assert_int_equal(chain(&b, (struct vring_desc[]){{req, 6, 0, 0}, {rep, 64, W, 0}}, 2), 0);
    assert_int_equal(chain(&b, (struct vring_desc[]){{req, 21, 0, 0}, {rep, 10, W, 0}}, 2), 0);
    assert_int_equal(chain(&b, (struct vring_desc[]){{req, 21, 0, 0}}, 1), 0);
    assert_int_equal(chain(&b, (struct vring_desc[]){{rep, 64, W, 0}}, 1), 0);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(r[i], 0x5a);
    /* Sizes that are not the chain's. */
    static const uint32_t sizes[] = {0, 7, 20, 22, 0x80000000, 0xffffffff};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memcpy(t, &sizes[i], sizeof(sizes[i]));
        struct vring_desc d[] = {{req, 21, 0, 0}, {rep, 64, W, 0}};
        assert_int_equal(chain(&b, d, 2), 11);
        assert_int_equal(r[4], 7); /* Rlerror */
    }
    /* A message in single bytes, its answer too. */
    struct vring_desc d[42];
    memcpy(t, version, sizeof(version));
    for (unsigned i = 0; i < 21; i++) {
        d[i] = (struct vring_desc){req + i, 1, 0, 0};
        d[21 + i] = (struct vring_desc){rep + i, 1, W, 0};
    }
    assert_int_equal(chain(&b, d, 42), 21);
    assert_int_equal(r[4], TVERSION + 1);
    assert_int_equal(p9c_mount(&b.c, P9_MSIZE, P9_ROOT, 0), 0);
    lies(&b.c);
    p9_live(&b.c, w);
    p9_both_down(&b);
    wire_alive(w); /* virtio-fs heard nothing of it */
    wire_finish(w, 0);
    unlink(p9_path);
}

#define OWN(t)   cmocka_unit_test_teardown(t, wire_cleanup)
#define THREE(t) OWN(t##_unix), OWN(t##_inherited), OWN(t##_tcp)

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREE(framing),   THREE(messages), THREE(silent),    THREE(reads_nothing), THREE(gone),
        OWN(handed_over), OWN(strangers),  OWN(tcp_address), OWN(over_ring),
    };
    return cmocka_run_group_tests(tests, p9_make, wire_teardown);
}
