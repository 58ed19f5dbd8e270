/* SPDX-License-Identifier: BSD-3-Clause
 * One round on one 9P server, at its unix socket:
 *   p9-bench prepare DIR               make the files, in the folder that the server will export
 *   p9-bench SOCKET ANAME NAME ROUND MS PID
 * prints lines for side-by-side-report: round, name, operation, value, unit; of each operation also
 * the CPU time of process PID for one of the unit. */
#include "tests/bench/p9-bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/fe-daemon.h"
#include "tests/lib/fe-time.h"

enum { HEAD = 7, RLERROR = 7 };

void pb_die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("p9-bench: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

/* ---- the files ---- */

static void make_file(const char *path, size_t size)
{
    static char piece[PB_SMALL];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd < 0)
        pb_die("%s: %s", path, strerror(errno));
    memset(piece, 'x', sizeof(piece));
    for (size_t done = 0; done < size; done += sizeof(piece)) {
        if (write(fd, piece, sizeof(piece)) != sizeof(piece))
            pb_die("%s: %s", path, strerror(errno));
    }
    close(fd);
}

static void prepare(const char *dir)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/data", dir);
    make_file(path, PB_FILE);
    snprintf(path, sizeof(path), "%s/new", dir);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/many", dir);
    mkdir(path, 0755);
    for (unsigned i = 0; i < PB_FILES; i++) {
        snprintf(path, sizeof(path), "%s/many/f%05u", dir, i);
        make_file(path, PB_SMALL);
    }
}

/* ---- the connection ---- */

static void send_all(struct pb *b, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(b->fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            pb_die("send: %s", strerror(errno));
        p += n;
        len -= (size_t)n;
    }
}

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Receive until the first message is complete. Returns its length. */
static size_t receive(struct pb *b)
{
    size_t size;

    while (b->have < 4 || b->have < (size = le32(b->in))) {
        ssize_t n = recv(b->fd, b->in + b->have, b->in_max - b->have, 0);
        if (n <= 0)
            pb_die("the server closed the connection");
        b->have += (size_t)n;
    }
    if (size < HEAD || size > PB_MSIZE)
        pb_die("a message of %zu bytes", size);
    return size;
}

static void drop(struct pb *b, size_t len)
{
    b->have -= len;
    memmove(b->in, b->in + len, b->have);
}

static ssize_t transact(void *user, const void *t, size_t len, void *r, size_t max)
{
    struct pb *b = user;

    send_all(b, t, len);
    size_t size = receive(b);
    if (size > max)
        return -EMSGSIZE;
    memcpy(r, b->in, size);
    drop(b, size);
    return (ssize_t)size;
}

static void must(const char *what, int rc)
{
    if (rc < 0)
        pb_die("%s: %s", what, strerror(-rc));
}

static void connect_to(struct pb *b, const char *path, const char *aname)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    b->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (b->fd < 0 || connect(b->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        pb_die("%s: %s", path, strerror(errno));
    b->in_max = 2 * PB_MSIZE;
    b->in = malloc(b->in_max);
    b->rnd = 0x9e3779b97f4a7c15u;
    p9c_init(&b->c, transact, b, PB_MSIZE);
    b->c.tag = 0xffff;
    must("version", p9c_version(&b->c, PB_MSIZE, "9P2000.L"));
    b->c.tag = PB_SLOTS + 1;
    b->io = b->c.msize - P9C_DATA;
    must("attach", p9c_attach(&b->c, PB_ROOT, aname, 0));
}

static void walk_all(struct pb *b)
{
    char path[32];

    must("walk many", p9c_walk(&b->c, PB_ROOT, PB_MANY, "many"));
    must("walk new", p9c_walk(&b->c, PB_ROOT, PB_NEW, "new"));
    must("walk data", p9c_walk(&b->c, PB_ROOT, PB_FIRST_FILE + PB_FILES, "data"));
    must("open data", p9c_lopen(&b->c, PB_FIRST_FILE + PB_FILES, O_RDWR));
    for (unsigned i = 0; i < PB_FILES; i++) {
        snprintf(path, sizeof(path), "many/f%05u", i);
        must(path, p9c_walk(&b->c, PB_ROOT, PB_FIRST_FILE + i, path));
    }
    for (unsigned i = 0; i < PB_SLOTS; i++) {
        struct pb_slot *s = &b->slot[i];
        s->n = i;
        p9c_init(&s->c, NULL, NULL, PB_MSIZE);
        s->c.tag = (uint16_t)i;
        free(s->c.r); /* answers are looked at where they were received */
    }
}

/* ---- measuring ---- */

/* Take one answer. Returns its slot, with what was done added to *done. The next request is built.
 */
static struct pb_slot *answer(struct pb *b, const struct pb_op *op, double *done)
{
    size_t size = receive(b);
    unsigned tag = b->in[5] | (unsigned)b->in[6] << 8;
    struct pb_slot *s = &b->slot[tag % PB_SLOTS];

    if (tag >= b->inflight || b->in[4] != s->c.t[4] + 1) {
        if (b->in[4] == RLERROR && size >= HEAD + 4)
            pb_die("%s: message %u: %s", op->name, s->c.t[4], strerror((int)le32(b->in + HEAD)));
        pb_die("%s: message %u: answer %u with tag %u", op->name, s->c.t[4], b->in[4], tag);
    }
    s->c.r = b->in;
    s->c.rlen = size;
    s->c.at = HEAD;
    *done += op->next(b, s);
    drop(b, size);
    return s;
}

/* Runs @op for @ms, then until every slot is back at its first request. Returns units done. */
static double run(struct pb *b, const struct pb_op *op, unsigned inflight, int ms, double *took)
{
    double done = 0;
    int64_t start = fe_now_ns(), end = start + (int64_t)ms * 1000000;

    b->inflight = inflight;
    for (unsigned i = 0; i < inflight; i++) {
        struct pb_slot *s = &b->slot[i];
        s->step = 0;
        s->item = i;
        s->block = op->block;
        s->done = 0;
        op->first(b, s);
        send_all(b, s->c.t, s->c.tlen);
    }
    for (unsigned open = inflight; open > 0;) {
        struct pb_slot *s = answer(b, op, &done);
        if (s->step == 0 && fe_now_ns() >= end)
            open--;
        else
            send_all(b, s->c.t, s->c.tlen);
    }
    *took = (double)(fe_now_ns() - start) / 1e9;
    return done;
}

/* alarm(): a server that does not answer ends us. */
static void measure(struct pb *b, const struct pb_op *op, unsigned inflight, char **argv)
{
    const char *name = argv[3], *round = argv[4];
    struct fe_daemon d = {.pid = atoi(argv[6])};
    int ms = atoi(argv[5]);
    double took;

    alarm(60);
    run(b, op, inflight, ms / 8, &took);
    uint64_t cpu = fe_daemon_cpu_ns(&d);
    double done = run(b, op, inflight, ms, &took);
    double used = (double)(fe_daemon_cpu_ns(&d) - cpu) / 1e3;
    printf("%s\t%s\t%s x%u\t%.2f\t%s\n", round, name, op->name, inflight, done / took, op->unit);
    printf("%s\t%s\t%s x%u CPU\t%.3f\tus\n", round, name, op->name, inflight, used / done);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct pb b;

    if (argc == 3 && strcmp(argv[1], "prepare") == 0) {
        prepare(argv[2]);
        return 0;
    }
    if (argc < 7) {
        fputs("usage: p9-bench prepare DIR | SOCKET ANAME NAME ROUND MS PID [OPERATION]\n", stderr);
        return 2;
    }
    connect_to(&b, argv[1], argv[2]);
    walk_all(&b);
    for (unsigned i = 0; i < pb_nops; i++) {
        if (argc > 7 && strcmp(argv[7], pb_ops[i].name) != 0)
            continue;
        measure(&b, &pb_ops[i], 1, argv);
        measure(&b, &pb_ops[i], PB_SLOTS, argv);
    }
    return 0;
}
