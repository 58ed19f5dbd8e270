/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fe-served.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_ID   2
#define FILE_SIZE (16u << 20)
#define MAX_WRITE 131072

static void attr_of(uint64_t node, struct fuse_attr *a)
{
    *a = (struct fuse_attr){.ino = node, .nlink = 1, .blksize = 4096};
    a->mode = node == FILE_ID ? S_IFREG | 0666 : S_IFDIR | 0777;
    a->size = node == FILE_ID ? FILE_SIZE : 0;
}

static void answer(struct fe_served *s, uint64_t unique, int error, const void *data, size_t len)
{
    struct fuse_out_header h = {
        .len = (uint32_t)(sizeof(h) + len), .error = error, .unique = unique};
    struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)data, len}};
    (void)!writev(s->fd, iov, len ? 2 : 1);
}

static void answer_lookup(struct fe_served *s, uint64_t unique, const char *name)
{
    struct fuse_entry_out e = {.nodeid = FILE_ID};
    attr_of(FILE_ID, &e.attr);
    if (strcmp(name, "f") == 0)
        answer(s, unique, 0, &e, sizeof(e));
    else
        answer(s, unique, -ENOENT, NULL, 0);
}

static void answer_init(struct fe_served *s, uint64_t unique)
{
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = MAX_WRITE, .max_background = 16};
    answer(s, unique, 0, &out, sizeof(out));
}

/* No time-outs of attributes and names: each use of them asks again. */
static void serve_one(struct fe_served *s, const struct fuse_in_header *h, const void *arg)
{
    static const uint8_t zeroes[MAX_WRITE];
    struct fuse_attr_out attr = {0};
    struct fuse_open_out open = {.fh = 1};
    struct fuse_write_out write = {0};
    struct fuse_statfs_out statfs = {.st = {.bsize = 4096, .namelen = 255}};
    switch (h->opcode) {
    case FUSE_INIT:
        answer_init(s, h->unique);
        break;
    case FUSE_LOOKUP:
        answer_lookup(s, h->unique, arg);
        break;
    case FUSE_GETATTR:
    case FUSE_SETATTR:
        attr_of(h->nodeid, &attr.attr);
        answer(s, h->unique, 0, &attr, sizeof(attr));
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        answer(s, h->unique, 0, &open, sizeof(open));
        break;
    case FUSE_READ:
        answer(s, h->unique, 0, zeroes, ((const struct fuse_read_in *)arg)->size);
        break;
    case FUSE_WRITE:
        write.size = ((const struct fuse_write_in *)arg)->size;
        answer(s, h->unique, 0, &write, sizeof(write));
        break;
    case FUSE_STATFS:
        answer(s, h->unique, 0, &statfs, sizeof(statfs));
        break;
    case FUSE_FLUSH:
        answer(s, h->unique, atomic_load(&s->how) == FE_SERVED_FULL ? -EDQUOT : 0, NULL, 0);
        break;
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_READDIR:
        answer(s, h->unique, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        break;
    default:
        answer(s, h->unique, -ENOSYS, NULL, 0);
    }
}

static void *serve(void *arg)
{
    struct fe_served *s = arg;
    static uint8_t buf[MAX_WRITE + 4096];
    for (;;) {
        int how = atomic_load(&s->how);
        struct pollfd p[2] = {{s->wake[0], POLLIN, 0},
                              {how == FE_SERVED_IGNORED ? -1 : s->fd, POLLIN, 0}};
        if (poll(p, 2, -1) < 0)
            continue;
        char c = 0;
        if (p[0].revents && (read(s->wake[0], &c, 1) <= 0 || c == 'q'))
            return NULL;
        if (p[0].revents || !p[1].revents)
            continue;
        ssize_t n = read(s->fd, buf, sizeof(buf));
        if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
            return NULL;
        if (n < (ssize_t)sizeof(struct fuse_in_header))
            continue;
        if (how == FE_SERVED_WELL || how == FE_SERVED_FULL)
            serve_one(s, (const void *)buf, buf + sizeof(struct fuse_in_header));
        else
            atomic_fetch_add(&s->taken, 1);
    }
}

int fe_served_mount(struct fe_served *s, const char *dir)
{
    char options[128];
    *s = (struct fe_served){.fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), .wake = {-1, -1}};
    if (s->fd < 0 || pipe2(s->wake, O_CLOEXEC) < 0)
        return -errno;
    snprintf(s->at, sizeof(s->at), "%s", dir);
    snprintf(options, sizeof(options), "fd=%d,rootmode=40777,user_id=%u,group_id=%u,allow_other",
             s->fd, (unsigned)geteuid(), (unsigned)getegid());
    if (mount("fe-served", dir, "fuse", 0, options) < 0) {
        int e = -errno;
        close(s->fd);
        close(s->wake[0]);
        close(s->wake[1]);
        return e;
    }
    return -pthread_create(&s->thread, NULL, serve, s);
}

void fe_served_set(struct fe_served *s, enum fe_served_how how)
{
    atomic_store(&s->how, how);
    (void)!write(s->wake[1], "w", 1);
}

void fe_served_unmount(struct fe_served *s)
{
    (void)!write(s->wake[1], "q", 1);
    pthread_join(s->thread, NULL);
    close(s->fd); /* what waits ends with ENOTCONN */
    umount2(s->at, MNT_DETACH);
    close(s->wake[0]);
    close(s->wake[1]);
}
