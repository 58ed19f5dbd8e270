/* SPDX-License-Identifier: BSD-3-Clause
 * The broker's checks without its process: bounds, and messages of all kinds. What a daemon that
 * was taken over tries is in test-sb-broker.c. */
#include "sandbox/sb-handles.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/jail.h"

static char dir[64], other[80];
static const uint8_t key[SB_HANDLES_KEY] = "not very secret";
static struct broker_reply out;

/* A mount of its own, of which nothing but the descriptor is left. */
static int mount_once(void)
{
    assert_int_equal(mount(dir, other, NULL, MS_BIND, NULL), 0);
    int fd = open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(umount2(other, MNT_DETACH), 0);
    return fd;
}

static int ask(struct sb_handles *h, uint32_t op, uint64_t mount, int *fd)
{
    struct broker_request q = {.op = op, .seq = 7, .h.mount = mount};
    int none;
    sb_handles_answer(h, &q, sizeof(q), fd, fd ? 1 : 0, &out, &none);
    assert_int_equal(out.seq, 7);
    assert_int_equal(none, -1);
    return out.error;
}

/* The table of mounts is full at its bound, and empties; no number comes twice. */
static void test_most_mounts(void **state)
{
    struct sb_handles *h = sb_handles_new(key);
    uint64_t serial[BROKER_MOUNTS + 1], last = 0;

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i <= BROKER_MOUNTS; i++) {
            int fd = mount_once();
            assert_int_equal(ask(h, BROKER_MOUNT, 0, &fd), i < BROKER_MOUNTS ? 0 : ENOSPC);
            assert_int_equal(fd >= 0, i == BROKER_MOUNTS); /* taken over, or not */
            serial[i] = out.mount;
            if (fd >= 0) {
                close(fd);
                continue;
            }
            assert_true(serial[i] > last);
            last = serial[i];
        }
        for (unsigned i = 0; i < BROKER_MOUNTS; i++) {
            assert_int_equal(ask(h, BROKER_UNMOUNT, serial[i], NULL), 0);
            assert_int_equal(ask(h, BROKER_UNMOUNT, serial[i], NULL), ENXIO);
        }
    }
    sb_handles_free(h);
}

/* Where handles do not say whose number it was before. */
static void test_no_generations(void **state)
{
    struct sb_handles *h = sb_handles_new(key);
    static const char *const kinds[] = {"ramfs", "proc", "sysfs"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (mount(kinds[i], other, kinds[i], 0, NULL) != 0)
            continue;
        int fd = open(other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(ask(h, BROKER_MOUNT, 0, &fd), EOPNOTSUPP);
        assert_int_equal(close(fd), 0);
        assert_int_equal(umount2(other, MNT_DETACH), 0);
    }
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_not_equal(ask(h, BROKER_MOUNT, 0, &fds[0]), 0);
    assert_int_not_equal(ask(h, BROKER_MOUNT, 0, &(int){-1}), 0);
    close(fds[0]);
    close(fds[1]);
    sb_handles_free(h);
}

/* Descriptors that have no handle, or are none, among those that have one. */
static void test_mixed_batch(void **state)
{
    struct sb_handles *h = sb_handles_new(key);
    struct broker_request q = {.op = BROKER_SIGN};
    int none, top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fds[4] = {open(dir, O_PATH | O_CLOEXEC), -1, 0, open(dir, O_PATH | O_CLOEXEC)};

    assert_int_equal(pipe2(fds + 1, O_CLOEXEC), 0);
    assert_int_equal(ask(h, BROKER_MOUNT, 0, &top), 0);
    size_t len = sb_handles_answer(h, &q, sizeof(q), fds, 4, &out, &none);
    assert_int_equal(len, broker_reply_len(4));
    assert_int_equal(out.error, 0);
    assert_int_equal(out.h[0].error | out.h[3].error, 0);
    assert_int_not_equal(out.h[1].error, 0);
    assert_int_not_equal(out.h[2].error, 0);
    assert_int_equal(out.h[1].h.bytes | out.h[2].h.bytes, 0);
    assert_memory_equal(&out.h[0].h, &out.h[3].h, sizeof(out.h[0].h));
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(close(fds[i]), 0); /* none was taken */
    sb_handles_free(h);
}

static int make_other(void **state)
{
    snprintf(other, sizeof(other), "%s/other", dir);
    return mkdir(other, 0755);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_most_mounts),
        cmocka_unit_test(test_no_generations),
        cmocka_unit_test(test_mixed_batch),
    };
    if (geteuid() != 0 || !jail_enter(dir, sizeof(dir), NULL))
        return 77;
    return cmocka_run_group_tests_name("sb-handles", tests, make_other, NULL);
}
