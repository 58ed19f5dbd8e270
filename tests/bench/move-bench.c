/* SPDX-License-Identifier: BSD-3-Clause
 * How long a guest's state takes at the wire: from the stop of the rings to the answer of
 * CHECK_DEVICE_STATE, at the source and at the destination.
 *
 * usage: move-bench SOURCE-SOCKET DESTINATION-SOCKET [STATE-FILE]
 * Both daemons share one directory; all that it holds, two levels deep, is looked up first. LOG_ALL
 * is set a while before the stop, as QEMU does, so that a daemon can prepare itself. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/fe-fuse.h"
#include "tests/lib/fe-move.h"

#define MEM_SIZE0 (4u << 20)
#define MEM_BUFS  (32u << 20)
#define LOG_SIZE  0x2000u
#define PREPARE_S 4

static void need(int e, const char *what)
{
    if (e == 0)
        return;
    fprintf(stderr, "move-bench: %s: %d\n", what, e);
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int connect_to(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    need(connect(s, (struct sockaddr *)&a, sizeof(a)), path);
    return s;
}

/* Look up all names of directory @node. Returns how many inodes are known then. */
static unsigned know(struct fe_fuse *f, uint64_t node, unsigned depth)
{
    static char buf[3][65536];
    struct fuse_read_in in = {.size = sizeof(buf[0])};
    unsigned known = 0;
    uint64_t fh;
    size_t len;

    need(fe_opendir(f, node, &fh), "opendir");
    for (in.fh = fh;;) {
        need(fe_call(f, FUSE_READDIR, node, &in, sizeof(in), buf[depth], sizeof(buf[0]), &len),
             "readdir");
        if (len == 0)
            break;
        for (size_t at = 0; at < len;) {
            const struct fuse_dirent *d = (const void *)(buf[depth] + at);
            char name[256] = "";
            struct fuse_entry_out e;
            memcpy(name, d->name, d->namelen);
            at += FUSE_DIRENT_SIZE(d);
            in.offset = d->off;
            if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                continue;
            need(fe_lookup(f, node, name, &e), name);
            known++;
            if (depth < 2 && d->type == DT_DIR)
                known += know(f, e.nodeid, depth + 1);
        }
    }
    fe_releasedir(f, node, fh);
    return known;
}

static void announce(struct fe_vhost *v)
{
    uint64_t log[2] = {LOG_SIZE, 0};
    struct fe_vu_msg reply;
    int fd = memfd_create("log", MFD_CLOEXEC);
    need(ftruncate(fd, LOG_SIZE), "log");
    need(fe_vhost_send(v, VU_SET_LOG_BASE, 0, log, sizeof(log), &fd, 1), "SET_LOG_BASE");
    need(fe_vhost_recv(v, &reply), "SET_LOG_BASE");
    need(fe_vhost_ack_u64(v, VU_SET_FEATURES, v->features | VU_F_LOG_ALL), "LOG_ALL");
    close(fd);
}

int main(int argc, char **argv)
{
    struct fe_vhost source, destination;
    struct fe_mem mem;
    struct fe_fuse f;
    struct fe_state state;
    int64_t load_us;

    if (argc < 3) {
        fprintf(stderr, "usage: move-bench SOURCE-SOCKET DESTINATION-SOCKET [STATE-FILE]\n");
        return 2;
    }
    fe_vhost_init(&source, connect_to(argv[1]));
    need(fe_mem_init(&mem, MEM_SIZE0, MEM_BUFS, MEM_BUFS), "memory");
    need(fe_move_start(&source, &mem, 2, 128), "start");
    fe_fuse_init(&f, &source);
    need(fe_init(&f, fe_init_linux), "INIT");
    unsigned known = know(&f, FUSE_ROOT_ID, 0);
    announce(&source);
    sleep(PREPARE_S);
    int64_t start = now_us();
    need(fe_move_stop(&source), "stop");
    int64_t stop_us = now_us() - start;
    need(fe_move_save(&source, &state), "save");
    int64_t save_us = now_us() - start;
    if (argc > 3) {
        FILE *out = fopen(argv[3], "we");
        if (!out || fwrite(state.bytes, 1, state.len, out) != state.len || fclose(out) != 0)
            return 1;
    }
    destination = source;
    destination.sock = connect_to(argv[2]);
    need(fe_move_arrive(&destination, &state, &load_us), "arrive");
    f.v = &destination;
    need(fe_getattr(&f, FUSE_ROOT_ID, NULL), "getattr");
    printf("inodes %u bytes %zu stop_us %lld save_us %lld load_us %lld\n", known, state.len,
           (long long)stop_us, (long long)save_us, (long long)load_us);
    return 0;
}
