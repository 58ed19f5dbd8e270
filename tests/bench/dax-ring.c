/* SPDX-License-Identifier: BSD-3-Clause
 * What SETUPMAPPING costs without a hypervisor: the daemon on real rings, and a front-end of ours
 * with QEMU's rules (fe-shmem.h) that does nothing but map. The difference to what the same request
 * costs with QEMU is QEMU's. Usage: dax-ring DAEMON DIRECTORY ROUNDS */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/fe-daemon.h"
#include "tests/lib/fe-fuse.h"
#include "tests/lib/fe-mem.h"
#include "tests/lib/fe-shmem.h"
#include "tests/lib/fe-time.h"
#include "tests/lib/fe-vhost.h"

#define PIECE  ((uint64_t)2 << 20) /* what Linux asks for at a time */
#define WINDOW (32 * PIECE)
#define TAIL   1234
#define MAX    (32u * 1000)
#define READ   2 /* flags of SETUPMAPPING */
#define WRITE  3

static struct fe_daemon proc;
static struct fe_shmem vmm;
static struct fe_mem mem;
static struct fe_vhost vhost;
static struct fe_fuse fuse;

static _Noreturn void __attribute__((format(printf, 1, 2))) die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("dax-ring: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    if (proc.pid > 0)
        fputs(fe_daemon_log(&proc), stderr);
    exit(1);
}

static void must(const char *what, int rc)
{
    if (rc < 0)
        die("%s: %s", what, strerror(-rc));
}

static void make_file(const char *dir, const char *name, uint64_t size)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/share/%s", dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        die("%s: %s", path, strerror(errno));
    close(fd);
}

static void start_daemon(const char *program, const char *dir)
{
    char share[4096], sock[4096], path[4096];
    uint64_t window = 0;
    snprintf(path, sizeof(path), "%s/sock", dir);
    snprintf(share, sizeof(share), "--shared-dir=%.3000s/share", dir);
    snprintf(sock, sizeof(sock), "--socket-path=%.3000s", path);
    char *argv[] = {(char *)program,     share, sock, (char *)"--dax-window=64M",
                    (char *)"--tag=dax", NULL};
    must("start", fe_daemon_spawn(&proc, argv, -1));
    int fd = fe_daemon_connect(&proc, path, FE_TIMEOUT_MS);
    if (fd < 0)
        die("cannot connect");
    must("front-end", fe_shmem_start(&vmm, FE_SHMEM_QEMU, WINDOW));
    must("memory", fe_mem_init(&mem, 8u << 20, 64u << 20, 64u << 20));
    fe_vhost_init(&vhost, fd);
    must("handshake",
         fe_vhost_start_shmem(&vhost, &mem, 2, 256, vmm.channel, VU_PF_SHMEM, &window, true));
    if (window != WINDOW)
        die("no window");
    fe_fuse_init(&fuse, &vhost);
}

/* Returns its time in us. */
static double map(uint64_t node, uint64_t at, uint64_t flags)
{
    struct fuse_setupmapping_in in = {
        .fh = UINT64_MAX, .foffset = at, .len = PIECE, .flags = flags, .moffset = at};
    int64_t start = fe_now_ns();
    must("SETUPMAPPING", fe_call(&fuse, FUSE_SETUPMAPPING, node, &in, sizeof(in), NULL, 0, NULL));
    return (double)(fe_now_ns() - start) / 1e3;
}

static void unmap(uint64_t node, uint64_t at)
{
    struct {
        uint32_t count;
        struct fuse_removemapping_one one;
    } __attribute__((packed)) in = {1, {.moffset = at, .len = PIECE}};
    must("REMOVEMAPPING", fe_call(&fuse, FUSE_REMOVEMAPPING, node, &in, sizeof(in), NULL, 0, NULL));
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What the daemon said at the last DESTROY. */
static void daemon_says(double *all, double *wait, double *messages)
{
    char *log = fe_daemon_log(&proc), *last = NULL;
    for (char *p = log; (p = strstr(p, "mappings asked for, ")); p++)
        last = p;
    if (!last || sscanf(last,
                        "mappings asked for, %lf us each, of which %lf us were waiting for the "
                        "front-end (%lf messages each)",
                        all, wait, messages) != 3)
        die("the daemon does not say what mappings cost");
    free(log);
}

/* Map and unmap the first @pieces of @name, @rounds times; @again: what is measured is asking once
 * more, for writing. One row of the table. */
static void measure(const char *what, const char *name, unsigned pieces, unsigned rounds,
                    bool again)
{
    static double took[MAX];
    struct fuse_entry_out e;
    unsigned n = 0;
    double all, wait, messages;
    must("INIT", fe_init(&fuse, fe_init_linux | FUSE_MAP_ALIGNMENT));
    must("LOOKUP", fe_lookup(&fuse, FUSE_ROOT_ID, name, &e));
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < pieces; i++) {
            double first = map(e.nodeid, i * PIECE, READ);
            double second = again ? map(e.nodeid, i * PIECE, WRITE) : 0;
            took[n++] = again ? second : first;
        }
        for (unsigned i = 0; i < pieces; i++)
            unmap(e.nodeid, i * PIECE);
    }
    must("DESTROY", fe_call(&fuse, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL));
    daemon_says(&all, &wait, &messages);
    qsort(took, n, sizeof(took[0]), by_value);
    printf("| %-34s | %11.1f |", what, took[n / 2]);
    if (again) /* the daemon's means hold the first requests, too */
        printf(" %13s | %7s | %8s |\n", "-", "-", "0");
    else
        printf(" %13.1f | %7.1f | %8.2f |\n", all, wait, messages);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc == 4 ? (unsigned)atoi(argv[3]) : 0;
    if (rounds < 1 || rounds > MAX / 32) {
        fprintf(stderr, "usage: dax-ring DAEMON DIRECTORY ROUNDS (at most %u)\n", MAX / 32);
        return 2;
    }
    make_file(argv[2], "whole", WINDOW);
    make_file(argv[2], "odd", PIECE / 2 + TAIL);
    make_file(argv[2], "small", TAIL);
    start_daemon(argv[1], argv[2]);
    measure("2 MiB of a file", "whole", 32, rounds, false);
    measure("a file with a partial last page", "odd", 1, rounds, false);
    measure("a file shorter than a page", "small", 1, rounds, false);
    measure("mapped already, now for writing", "whole", 32, rounds, true);
    fe_vhost_close(&vhost);
    fe_daemon_stop(&proc);
    fe_shmem_stop(&vmm);
    return 0;
}
