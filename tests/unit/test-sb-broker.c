/* SPDX-License-Identifier: BSD-3-Clause
 * The broker: it opens what its daemon had, and nothing else, whatever it is sent. The daemon here
 * is one that was taken over: inside the sandbox, with its rights, it tries. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "sandbox/sb-handles.h"
#include "tests/lib/jail.h"
#include "tests/unit/broker-run.h"

static char dir[64], share[96], secret[96];

static const enum sb_mode modes[] = {SB_NAMESPACE, SB_CHROOT, SB_NONE};

static bool reads(const struct sb_result *r, int ref, const char *text)
{
    char num[12], buf[32] = "";
    snprintf(num, sizeof(num), "%d", ref);
    int fd = openat(r->proc_self_fd, num, O_RDONLY | O_CLOEXEC);
    bool same = fd >= 0 && read(fd, buf, sizeof(buf)) == (ssize_t)strlen(text) &&
                memcmp(buf, text, strlen(text)) == 0;
    close(fd);
    return same;
}

/* ---- what it is for ---- */

static int body_opens(const struct sb_result *r, void *arg)
{
    struct broker_handle a, d;
    uint64_t mount;
    CHECK(broker_begin(r, &mount));
    int fd = broker_make(r, "a");
    CHECK(fd >= 0 && peer_sign(r->channel[0], fd, &a) == 0 && a.mount == mount);
    close(fd);
    for (unsigned i = 0; i < BROKER_CHANNELS; i++) {
        fd = peer_open(r->channel[i], &a);
        CHECK(fd >= 0 && (fcntl(fd, F_GETFL) & O_PATH) && reads(r, fd, "a"));
        close(fd);
    }
    CHECK(peer_sign(r->channel[1], r->root_fd, &d) == 0);
    fd = peer_open(r->channel[1], &d);
    CHECK(fd >= 0 && faccessat(fd, "a", F_OK, 0) == 0);
    /* Nothing of it is ours. */
    struct file_handle *h = calloc(1, sizeof(*h) + MAX_HANDLE_SZ);
    h->handle_type = a.type;
    h->handle_bytes = a.bytes;
    memcpy(h->f_handle, a.handle, a.bytes);
    int top = openat(r->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(open_by_handle_at(top, h, O_PATH) < 0);
    CHECK(errno == EPERM || errno == ENOSYS);
    return 0;
}

static void test_opens(void **state)
{
    broker_everywhere(share, body_opens);
}

/* ---- forgeries ---- */

static struct broker_handle above, beside; /* without a code */

static int body_forged(const struct sb_result *r, void *arg)
{
    struct broker_handle h[] = {above, beside};
    uint64_t mount;
    CHECK(broker_begin(r, &mount));
    for (unsigned i = 0; i < COUNT(h); i++) {
        for (unsigned m = 0; m < 3; m++) {
            h[i].mount = mount - 1 + m;
            memset(h[i].code, (int)(m * 0x55), sizeof(h[i].code));
            CHECK(peer_open(r->channel[0], &h[i]) == -EBADMSG);
        }
    }
    return 0;
}

static void test_forged(void **state)
{
    broker_everywhere(share, body_forged);
}

/* Each bit of what was signed counts. */
static int body_flipped(const struct sb_result *r, void *arg)
{
    struct broker_handle a, x;
    uint64_t mount;
    CHECK(broker_begin(r, &mount));
    int fd = broker_make(r, "a");
    CHECK(fd >= 0 && peer_sign(r->channel[0], fd, &a) == 0);
    size_t bits = 8 * (offsetof(struct broker_handle, handle) + a.bytes);
    for (size_t bit = 0; bit < bits; bit++) {
        x = a;
        ((uint8_t *)&x)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        int rc = peer_open(r->channel[0], &x);
        CHECK(rc == -EBADMSG || (rc == -EINVAL && x.bytes > MAX_HANDLE_SZ));
    }
    CHECK(peer_open(r->channel[0], &a) >= 0);
    return 0;
}

static void test_flipped(void **state)
{
    broker_everywhere(share, body_flipped);
}

/* A code is of one handle, and of one broker. */
static int body_others_code(const struct sb_result *r, void *arg)
{
    static const uint8_t key[SB_HANDLES_KEY] = "another one";
    static struct broker_reply reply;
    struct broker_handle a, b, x;
    uint64_t mount;
    CHECK(broker_begin(r, &mount));
    int none, fd = broker_make(r, "a"), other = broker_make(r, "b");
    CHECK(peer_sign(r->channel[0], fd, &a) == 0 && peer_sign(r->channel[0], other, &b) == 0);
    x = b;
    memcpy(x.code, a.code, sizeof(x.code));
    CHECK(peer_open(r->channel[0], &x) == -EBADMSG);

    struct sb_handles *h = sb_handles_new(key);
    struct broker_request q = {.op = BROKER_MOUNT};
    int top = openat(r->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    sb_handles_answer(h, &q, sizeof(q), &top, 1, &reply, &none);
    q.op = BROKER_SIGN;
    sb_handles_answer(h, &q, sizeof(q), &fd, 1, &reply, &none);
    x = reply.h[0].h;
    CHECK(x.mount == a.mount && memcmp(x.handle, a.handle, a.bytes) == 0);
    CHECK(peer_open(r->channel[0], &x) == -EBADMSG);
    return 0;
}

static void test_others_code(void **state)
{
    broker_everywhere(share, body_others_code);
}

/* A file that is gone stays gone, whoever has its number now. */
static int body_replay(const struct sb_result *r, void *arg)
{
    struct broker_handle a;
    uint64_t mount;
    CHECK(broker_begin(r, &mount));
    int fd = broker_make(r, "gone");
    CHECK(fd >= 0 && peer_sign(r->channel[0], fd, &a) == 0);
    close(fd);
    CHECK(unlinkat(r->root_fd, "gone", 0) == 0);
    CHECK(peer_open(r->channel[0], &a) == -ESTALE);
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof(name), "next%u", i);
        fd = broker_make(r, name);
        CHECK(fd >= 0);
        close(fd);
    }
    CHECK(peer_open(r->channel[0], &a) == -ESTALE);
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof(name), "next%u", i);
        unlinkat(r->root_fd, name, 0);
    }
    return 0;
}

static void test_replay(void **state)
{
    broker_everywhere(share, body_replay);
}

/* ---- mounts ---- */

static int body_mounts(const struct sb_result *r, void *arg)
{
    struct broker_handle in_sub, in_share, x;
    uint64_t mount, again, sub, new_sub;
    int ch = r->channel[0];
    struct broker_reply reply;
    int none, sub_fd = openat(r->root_fd, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int file = openat(r->root_fd, "sub/file", O_PATH | O_CLOEXEC), a = broker_make(r, "a");

    CHECK(sub_fd >= 0 && file >= 0 && a >= 0);
    CHECK(peer_sign(ch, a, &in_share) == ENXIO); /* not known yet */
    CHECK(broker_begin(r, &mount) && broker_begin(r, &again) && mount == again);
    CHECK(peer_sign(ch, file, &in_sub) == ENXIO);
    CHECK(peer_mount(ch, sub_fd, &sub) == 0 && sub != mount);
    CHECK(peer_sign(ch, file, &in_sub) == 0 && in_sub.mount == sub);
    CHECK(peer_sign(ch, a, &in_share) == 0 && in_share.mount == mount);
    CHECK(peer_open(ch, &in_sub) >= 0);
    /* By one mount what was signed for the other: both are tmpfs. */
    x = in_sub;
    x.mount = mount;
    CHECK(peer_open(ch, &x) == -EBADMSG);
    /* As often given up as asked for, it is gone; one that comes again is another. */
    x = (struct broker_handle){.mount = mount};
    CHECK(peer_call(ch, BROKER_UNMOUNT, &x, NULL, 0, &reply, &none) == 0);
    CHECK(peer_open(ch, &in_share) >= 0);
    x.mount = sub;
    CHECK(peer_call(ch, BROKER_UNMOUNT, &x, NULL, 0, &reply, &none) == 0);
    CHECK(peer_call(ch, BROKER_UNMOUNT, &x, NULL, 0, &reply, &none) == ENXIO);
    CHECK(peer_open(ch, &in_sub) == -ENXIO);
    CHECK(peer_mount(ch, sub_fd, &new_sub) == 0 && new_sub != sub && new_sub != mount);
    CHECK(peer_open(ch, &in_sub) == -ENXIO);
    /* A file system without generations is not taken. */
    CHECK(peer_mount(ch, r->proc_self_fd, &x.mount) != 0);
    return 0;
}

static void test_mounts(void **state)
{
    char sub[128], file[140];
    snprintf(sub, sizeof(sub), "%s/sub", share);
    snprintf(file, sizeof(file), "%s/file", sub);
    assert_int_equal(mkdir(sub, 0755), 0);
    assert_int_equal(mount("sub", sub, "tmpfs", 0, NULL), 0);
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    close(fd);
    broker_everywhere(share, body_mounts);
    assert_int_equal(umount2(sub, MNT_DETACH) | rmdir(sub), 0);
}

/* ---- messages ---- */

static uint32_t turn(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

static int body_messages(const struct sb_result *r, void *arg)
{
    static char big[8192];
    struct broker_reply reply;
    struct broker_request q = {.op = BROKER_SIGN};
    struct broker_handle a;
    uint64_t mount;
    int fds[40], fd, ch = r->channel[2];
    uint32_t x = 2463534242u;

    CHECK(broker_begin(r, &mount));
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = r->root_fd;
    /* Every length and, at the right one, every operation with every number of descriptors. */
    for (size_t len = 0; len < sizeof(q) + 40; len++) {
        if (len == sizeof(q))
            continue;
        CHECK(peer_send(ch, big, len, fds, (unsigned)(len % 20), &reply, &fd) ==
              (int)broker_reply_len(0));
        CHECK(reply.error == EINVAL && fd == -1);
    }
    CHECK(peer_send(ch, big, sizeof(big), NULL, 0, &reply, &fd) > 0 && reply.error == EINVAL);
    for (uint32_t op = 0; op < 8; op++) {
        for (unsigned n = 0; n < COUNT(fds); n++) {
            int rc = peer_call(ch, op, NULL, fds, n, &reply, &fd);
            bool good =
                (op == BROKER_MOUNT && n == 1) || (op == BROKER_SIGN && n > 0 && n <= BROKER_BATCH);
            CHECK(good ? rc == 0 : rc > 0);
            CHECK(reply.n == (good && op == BROKER_SIGN ? n : 0));
        }
    }
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t *w = (uint32_t *)&q;
        for (size_t k = 0; k < sizeof(q) / 4; k++)
            w[k] = turn(&x);
        q.op = turn(&x) % 6;
        unsigned n = turn(&x) % 4;
        CHECK(peer_send(ch, &q, sizeof(q), fds, n, &reply, &fd) > 0);
        CHECK(fd == -1);
    }
    /* It lives, and holds no more than before: it has less descriptors than were sent. */
    int f = broker_make(r, "a");
    CHECK(peer_sign(ch, f, &a) == 0);
    CHECK(peer_open(ch, &a) >= 0);
    return 0;
}

static void test_messages(void **state)
{
    broker_everywhere(share, body_messages);
}

/* ---- the process ---- */

/* In the pid namespace the daemon is 1. */
static int body_reach(const struct sb_result *r, void *arg)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {&byte, 1};
    uint64_t mount;

    CHECK(broker_begin(r, &mount));
    CHECK(kill(2, 0) == 0);
    CHECK(ptrace(PTRACE_ATTACH, 2, NULL, NULL) < 0 && errno == EPERM);
    CHECK(process_vm_readv(2, &here, 1, &there, 1, 0) < 0 && errno == EPERM);
    return 0;
}

static void test_reach(void **state)
{
    struct sb_run run = {.cfg = {.mode = SB_NAMESPACE,
                                 .shared_dir = share,
                                 .file_handles = true,
                                 .fenced = true,
                                 .seccomp = SB_ACTION_KILL}};
    int status = sb_run(&run, body_reach, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- its end ---- */

static int body_ends(const struct sb_result *r, void *arg)
{
    uint64_t mount;
    CHECK(broker_begin(r, &mount));
    return 0;
}

static int body_waits(const struct sb_result *r, void *arg)
{
    uint64_t mount;
    if (!broker_begin(r, &mount) || write(*(int *)arg, "", 1) != 1)
        _exit(1);
    for (;;)
        pause();
}

/* All processes have the pipe as their standard input: it hangs up with the last of them. */
static void expect_all_end(enum sb_mode mode, bool killed)
{
    struct sb_run run = {.cfg = {.mode = mode,
                                 .shared_dir = share,
                                 .file_handles = true,
                                 .fenced = true,
                                 .seccomp = SB_ACTION_KILL}};
    int held[2], ready[2], status, keep = dup(0);
    char byte;

    assert_int_equal(pipe2(held, O_CLOEXEC) | pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(dup2(held[1], 0), 0);
    pid_t pid = sb_run_start(&run, killed ? body_waits : body_ends, &ready[1]);
    assert_int_equal(dup2(keep, 0), 0);
    close(keep);
    close(held[1]);
    close(ready[1]);
    if (killed) {
        assert_int_equal(read(ready[0], &byte, 1), 1);
        assert_int_equal(kill(pid, SIGKILL), 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    struct pollfd gone = {.fd = held[0]};
    assert_int_equal(poll(&gone, 1, 10000), 1);
    close(held[0]);
    close(ready[0]);
}

static void test_ends(void **state)
{
    for (size_t i = 0; i < COUNT(modes); i++) {
        expect_all_end(modes[i], false);
        expect_all_end(modes[i], true);
    }
}

/* Who waits for a broker that is killed hears so at once. */
static int body_killed(const struct sb_result *r, void *arg)
{
    struct broker_handle a;
    uint64_t mount;
    CHECK(broker_begin(r, &mount));
    CHECK(kill(2, SIGKILL) == 0);
    for (unsigned i = 0; i < BROKER_CHANNELS; i++) {
        int rc = peer_sign(r->channel[i], r->root_fd, &a);
        CHECK(rc == -EPIPE || rc == -ECONNRESET);
    }
    return 0;
}

static void test_killed(void **state)
{
    struct sb_run run = {.cfg = {.mode = SB_NAMESPACE,
                                 .shared_dir = share,
                                 .file_handles = true,
                                 .fenced = true,
                                 .seccomp = SB_ACTION_KILL}};
    int status = sb_run(&run, body_killed, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Without the right there is no broker, and that is no failure; and it is given in no other way. */
static int body_none(const struct sb_result *r, void *arg)
{
    return r->channels == 0 ? 0 : 1;
}

static void test_none(void **state)
{
    struct sb_run run = {.cfg = {.mode = SB_NONE,
                                 .shared_dir = share,
                                 .file_handles = true,
                                 .fenced = true,
                                 .caps_del = UINT64_C(1) << CAP_DAC_READ_SEARCH}};
    int status = sb_run(&run, body_none, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    run.cfg.caps_del = 0;
    run.as_user = true;
    status = sb_run(&run, body_none, NULL);
    assert_true(WIFEXITED(status) &&
                (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE));

    struct sb_result r;
    GError *err = NULL;
    run.cfg.caps_add = UINT64_C(1) << CAP_DAC_READ_SEARCH;
    assert_false(sb_enter(&run.cfg, &r, &err));
    assert_non_null(strstr(err->message, "CAP_DAC_READ_SEARCH"));
    g_error_free(err);
}

/* ---- the tree ---- */

static void make_handle(const char *path, struct broker_handle *out)
{
    union {
        struct file_handle h;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } u = {.h.handle_bytes = MAX_HANDLE_SZ};
    int mount_id;

    assert_int_equal(name_to_handle_at(AT_FDCWD, path, &u.h, &mount_id, 0), 0);
    *out = (struct broker_handle){.type = u.h.handle_type, .bytes = u.h.handle_bytes};
    memcpy(out->handle, u.h.f_handle, out->bytes);
}

static int make_tree(void **state)
{
    assert_true(sb_run_tree(dir, share, secret, sizeof(share)));
    make_handle(dir, &above);
    make_handle(secret, &beside);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens),    cmocka_unit_test(test_forged),
        cmocka_unit_test(test_flipped),  cmocka_unit_test(test_others_code),
        cmocka_unit_test(test_replay),   cmocka_unit_test(test_mounts),
        cmocka_unit_test(test_messages), cmocka_unit_test(test_reach),
        cmocka_unit_test(test_ends),     cmocka_unit_test(test_killed),
        cmocka_unit_test(test_none),
    };
    if (geteuid() != 0 || !jail_enter(dir, sizeof(dir), "/proc"))
        return 77;
    return cmocka_run_group_tests_name("sb-broker", tests, make_tree, NULL);
}
