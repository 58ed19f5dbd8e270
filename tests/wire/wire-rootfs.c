/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/wire/wire-rootfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void rootfs_mount(struct wire *w, const char *const *more, uint64_t flags)
{
    const char *options[12] = {"--profile=rootfs", "--log-level=info"};
    for (unsigned n = 2; more && *more; n++)
        options[n] = *more++;
    wire_spawn(w, options);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, flags), 0);
}

void rootfs_start(struct wire *w, const char *const *more)
{
    rootfs_mount(w, more, fe_init_linux);
}

int rootfs_write(struct wire *w, uint64_t node, uint64_t off, const char *text, int flags)
{
    struct fuse_write_in in = {
        .offset = off, .size = (uint32_t)strlen(text), .flags = (uint32_t)flags};
    struct fuse_write_out out = {0};
    struct iovec part[] = {{&in, sizeof(in)}, {(void *)(uintptr_t)text, in.size}};
    int e = fe_fuse_wait(&w->f, fe_fuse_send(&w->f, FE_REQ, FUSE_WRITE, node, part, 2, 8), &out,
                         sizeof(out), NULL);
    return e ? e : (int)out.size;
}

void rootfs_holds(struct wire *w, const char *name, const char *want)
{
    char buf[256] = "";
    int fd = open(wire_path(w, name), O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, buf, sizeof(buf) - 1) >= 0);
    close(fd);
    assert_string_equal(buf, want);
}

void rootfs_reads(struct wire *w, uint64_t node, const char *want)
{
    char buf[256] = "";
    int n = fe_read(&w->f, node, 0, 0, buf, sizeof(buf) - 1);
    if (n < 0)
        fail_msg("read: %s, not \"%s\"", strerror(-n), want);
    assert_string_equal(buf, want);
}

bool rootfs_fds(struct wire *w, unsigned most)
{
    for (unsigned ms = 0; ms < ROOTFS_PATIENCE && fe_daemon_fds(&w->d) > most; ms += 100)
        usleep(100000);
    return fe_daemon_fds(&w->d) <= most;
}

int rootfs_call(struct wire *w, uint32_t op, uint64_t node, const void *in, size_t len)
{
    char out[256];
    return fe_call(&w->f, op, node, in, len, out, sizeof(out), NULL);
}

int rootfs_remove(struct wire *w, uint32_t op, uint64_t dir, const char *name)
{
    return fe_call_name(&w->f, op, dir, NULL, 0, name, NULL, NULL, 0);
}
