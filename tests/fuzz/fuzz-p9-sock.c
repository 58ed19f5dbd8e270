/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: several 9P peers by sockets at once, on threads of the server's, while the host
 * changes the tree under them: two peers that are believed and two that are squashed to one user.
 *
 * Input: records of {u8 kind, u8 how, u8 fid, u8 len, bytes[len]}. A kind is a message's type, or
 * one of the actions below; the lower bits of `how` pick the peer, the upper ones what is wrong
 * about the framing. Whatever came, each answer is framed well, all peers are let go when they hang
 * up, and no descriptor stays behind. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/fuzz/core.h"
#include "tests/fuzz/fuse-tree.h"
#include "tests/fuzz/records.h"
#include "tests/fuzz/target.h"
#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/9p/p9-sock.h"

enum {
    RECORD = 4,
    MAX_RECORDS = 64,
    BODY_MAX = 512,
    FIDS = 6,
    PEERS = 4, /* from the third on they are squashed */
    MSIZE = 65536,
    WAIT_S = 20,
    USER = 1000,
    HOST_OPS = 16,
};

/* Kinds that are no messages. */
enum {
    BYTES = 0xf0, /* the bytes as they are */
    HANG_UP = 0xf1,
    LISTEN = 0xf2, /* read what was answered */
    PAUSE = 0xf3,
    HOST = 0xf8, /* from here on: the host does it, again and again */
};

/* What is made wrong about a message. */
enum { RAW = 1 << 2, BAD_LEN = 1 << 3, PIECES = 1 << 4 };

static char share[64];
static int share_fd;
static struct fs *fs;
static struct p9_srv *local, *remote;

/* ---- the host ---- */

static struct {
    uint8_t op[HOST_OPS];
    unsigned n;
    atomic_bool stop;
    pthread_t thread;
} host;

static void replace(const char *name, bool dir)
{
    unlinkat(share_fd, name, 0);
    unlinkat(share_fd, name, AT_REMOVEDIR);
    if (dir)
        (void)!mkdirat(share_fd, name, 0777);
    else
        (void)!symlinkat("/etc/passwd", share_fd, name);
}

static void act_host(uint8_t op)
{
    static const char *const names[] = {"a", "b", "c", "d", ".", "new", "e", "d/x"};
    const char *one = names[op >> 4 & 7], *other = names[op >> 7 ? 3 : 1];
    switch (op & 7) {
    case 0:
        renameat2(share_fd, one, share_fd, other, RENAME_EXCHANGE);
        break;
    case 1:
        renameat(share_fd, one, share_fd, "d/moved");
        renameat(share_fd, "d/moved", share_fd, one);
        break;
    case 2:
        replace("c", op & 8);
        break;
    case 3:
        (void)!fchmodat(share_fd, one, op & 8 ? 01777 : 0755, 0);
        break;
    case 4:
        (void)!fchownat(share_fd, one, op & 8 ? 0 : USER, 0, AT_SYMLINK_NOFOLLOW);
        break;
    case 5:
        replace("d", true);
        break;
    case 6:
        unlinkat(share_fd, "b", 0);
        (void)!mknodat(share_fd, "b", S_IFIFO | 0666, 0);
        break;
    default:
        unlinkat(share_fd, "a", 0);
        (void)!mknodat(share_fd, "a", S_IFREG | 0644, 0);
    }
}

static void *run_host(void *unused)
{
    do {
        for (unsigned i = 0; i < host.n; i++)
            act_host(host.op[i]);
        sched_yield();
    } while (!atomic_load(&host.stop));
    return NULL;
}

/* ---- the server ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char dir[32];

    fuzz_jail(dir, sizeof(dir));
    snprintf(share, sizeof(share), "%s/share", dir);
    fs = fuzz_core(share);
    share_fd = open(share, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct p9_config cfg = {.fs = fs,
                            .max_msize = MSIZE,
                            .max_fids = 32,
                            .max_fids_all = 100,
                            .lock = true,
                            .squash_uid = UINT32_MAX,
                            .squash_gid = UINT32_MAX};
    local = p9_srv_new(&cfg);
    cfg.squash_uid = cfg.squash_gid = USER;
    remote = p9_srv_new(&cfg);
    return 0;
}

static void start_thread(void *user)
{
    fs_thread_start();
}

static void *serve(void *sock)
{
    GError *err = NULL;
    if (p9_sock_run(sock, &err) < 0)
        abort();
    return NULL;
}

/* ---- the peers ---- */

static struct peer {
    int fd; /* -1: hung up */
    uint8_t buf[MSIZE];
    size_t have;
} peers[PEERS];

/* Take answers out of what came: each is a header, and as long as it says. */
static void check_frames(struct peer *p)
{
    size_t off = 0;
    uint32_t size;
    while (p->have - off >= P9_HEAD) {
        memcpy(&size, p->buf + off, sizeof(size)); /* little endian machines run this */
        if (size < P9_HEAD || size > MSIZE || !(p->buf[off + 4] & 1))
            abort();
        if (size > p->have - off)
            break;
        off += size;
    }
    memmove(p->buf, p->buf + off, p->have - off);
    p->have -= off;
}

/* Read what is there, or, when told to wait, until the server hangs up. */
static void listen_to(struct peer *p, bool wait)
{
    ssize_t n;
    while (p->fd >= 0) {
        n = recv(p->fd, p->buf + p->have, sizeof(p->buf) - p->have, wait ? 0 : MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && wait && errno == EAGAIN)
            abort(); /* it was let down */
        if (n <= 0)
            return;
        p->have += (size_t)n;
        check_frames(p);
    }
}

static void say(struct peer *p, const uint8_t *bytes, size_t len, bool pieces)
{
    size_t first = pieces ? len / 2 : len;
    if (p->fd < 0)
        return;
    (void)!send(p->fd, bytes, first, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (!pieces)
        return;
    sched_yield();
    (void)!send(p->fd, bytes + first, len - first, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void say_message(struct peer *p, uint8_t type, uint16_t tag, const uint8_t *body, size_t len,
                        uint8_t how)
{
    uint8_t msg[P9_HEAD + BODY_MAX];
    p9_encode_head(msg, (uint32_t)(P9_HEAD + len) + (how & BAD_LEN ? how : 0), type, tag);
    if (len)
        memcpy(msg + P9_HEAD, body, len);
    say(p, msg, P9_HEAD + len, how & PIECES);
}

static void begin_session(struct peer *p)
{
    static const uint8_t version[] = {0, 0, 1, 0, 8, 0, '9', 'P', '2', '0', '0', '0', '.', 'L'};
    static const uint8_t attach[] = {0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0};
    say_message(p, P9_TVERSION, P9_NOTAG, version, sizeof(version), 0);
    say_message(p, P9_TATTACH, 1, attach, sizeof(attach), 0);
}

static void say_record(struct peer *p, const uint8_t *r, const uint8_t *payload, size_t len,
                       uint16_t tag)
{
    uint8_t type = r[0], how = r[1], body[BODY_MAX] = {0};
    const struct p9_op *op = type < P9_TYPES && p9_ops[type].name ? &p9_ops[type] : NULL;
    bool whole = op && !(how & RAW);
    size_t at = 0;

    if (whole && type != P9_TVERSION && type != P9_TFLUSH) {
        body[0] = r[2] % FIDS;
        at = 4;
    }
    memcpy(body + at, payload, len);
    len += at;
    if (whole)
        len = MAX(len, op->fixed);
    if (whole && type == P9_TWRITE) {
        uint32_t count = (uint32_t)(len - op->fixed);
        memcpy(body + 12, &count, sizeof(count));
    }
    say_message(p, type, tag, body, len, how);
}

static void hang_up(struct peer *p)
{
    if (p->fd < 0)
        return;
    shutdown(p->fd, SHUT_WR);
    listen_to(p, true);
    close(p->fd);
    p->fd = -1;
}

static void play(const uint8_t *data, size_t size)
{
    for (unsigned i = 0; i < MAX_RECORDS && size >= RECORD; i++) {
        size_t len = MIN(data[3], size - RECORD);
        struct peer *p = &peers[data[1] % PEERS];
        if (data[0] == BYTES)
            say(p, data + RECORD, len, data[1] & PIECES);
        else if (data[0] == HANG_UP)
            hang_up(p);
        else if (data[0] == LISTEN)
            listen_to(p, false);
        else if (data[0] == PAUSE)
            usleep(100);
        else if (data[0] < HOST)
            say_record(p, data, data + RECORD, len, (uint16_t)(i + 2));
        data += RECORD + len;
        size -= RECORD + len;
    }
}

/* ---- runs ---- */

static int lowest_free_fd(void)
{
    int fd = dup(STDERR_FILENO);
    if (fd < 0)
        abort();
    close(fd);
    return fd;
}

static struct p9_sock *meet(void)
{
    struct p9_sock_config cfg = {.local = local,
                                 .remote = remote,
                                 .threads = 3,
                                 .group = (gid_t)-1,
                                 .thread_start = start_thread};
    struct p9_sock *sock = p9_sock_new(&cfg);
    struct timeval wait = {.tv_sec = WAIT_S};

    for (unsigned i = 0; i < PEERS; i++) {
        int sv[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0 ||
            setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
            abort();
        peers[i].fd = sv[0];
        peers[i].have = 0;
        struct p9_endpoint ep = {.fd = sv[1], .connected = true, .local = i < PEERS / 2};
        p9_sock_add(sock, &ep);
    }
    return sock;
}

static void find_host_ops(const uint8_t *data, size_t size)
{
    host.n = 0;
    while (size >= RECORD && host.n < HOST_OPS) {
        size_t step = RECORD + MIN(data[3], size - RECORD);
        if (data[0] >= HOST)
            host.op[host.n++] = (uint8_t)((data[0] & 7) | data[2] << 3);
        data += step;
        size -= step;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int before = lowest_free_fd();
    struct p9_sock *sock = meet();
    pthread_t thread;

    find_host_ops(data, size);
    atomic_store(&host.stop, false);
    if (pthread_create(&thread, NULL, serve, sock) != 0 ||
        (host.n && pthread_create(&host.thread, NULL, run_host, NULL) != 0))
        abort();
    for (unsigned i = 0; i < PEERS; i++)
        begin_session(&peers[i]);
    play(data, size);
    for (unsigned i = 0; i < PEERS; i++)
        hang_up(&peers[i]);
    pthread_join(thread, NULL);
    atomic_store(&host.stop, true);
    if (host.n)
        pthread_join(host.thread, NULL);
    p9_sock_free(sock);
    if (lowest_free_fd() != before)
        abort(); /* a descriptor is left over */
    fuse_tree_reset(share, 0);
    return 0;
}

/* ---- mutation ---- */

static const struct records_shape *shape(void)
{
    static uint8_t kinds[P9_TYPES + 12];
    static struct records_shape s = {.header = RECORD, .kinds = kinds};

    if (s.n_kinds > 0)
        return &s;
    for (unsigned type = 0; type < P9_TYPES; type++) {
        if (p9_ops[type].name)
            kinds[s.n_kinds++] = (uint8_t)type;
    }
    for (unsigned kind = BYTES; kind <= PAUSE; kind++)
        kinds[s.n_kinds++] = (uint8_t)kind;
    for (unsigned op = 0; op < 8; op++)
        kinds[s.n_kinds++] = (uint8_t)(HOST + op);
    return &s;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    return records_mutate(shape(), data, size, max, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
                                 uint8_t *out, size_t max, unsigned seed)
{
    return records_cross(shape(), a, a_size, b, b_size, out, max, seed);
}
