/* SPDX-License-Identifier: BSD-3-Clause
 * What an attacker who owns the daemon would try, from inside the finished sandbox, as root and as
 * an ordinary user. With the system call filter each try ends in an error or kills the process;
 * without it namespaces and capabilities have to hold alone.
 *
 * Everything happens in a jail of its own: a private mount namespace, read-only but for a tmpfs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/jail.h"
#include "tests/unit/sb-run.h"

/* The jail: DIR/secret and DIR/share, with a file, links out, a directory and a device node. */
static char dir[64], share[96], secret[96], outside[96];
static char abstract_name[32];
static uint16_t tcp_port;
static pid_t host_pid; /* a process of the same user outside */
static int host_ns;    /* its network namespace; somebody left it open for us */

/* ---- tries: a result below 0 is a refusal ---- */

struct try;
typedef long try_fn(const struct sb_result *r, const struct try *t);

enum {
    NO_FILTER = 1,  /* refused without the system call filter, too */
    DEADLY = 2,     /* the filter kills */
    FROM_SHARE = 4, /* path: from the share's descriptor */
    FROM_PROC = 8,  /* path: from the descriptor of /proc/self/fd */
};

struct
try {
    const char *name;
    try_fn *fn;
    unsigned how;
    const char *path;
};

static long try_open(const struct sb_result *r, const struct try *t)
{
    int from = t->how & FROM_SHARE ? r->root_fd : t->how & FROM_PROC ? r->proc_self_fd : AT_FDCWD;
    return openat(from, t->path, O_RDONLY);
}

static long try_write_outside(const struct sb_result *r, const struct try *t)
{
    return open(outside, O_WRONLY | O_CREAT, 0600);
}

static long try_own_device(const struct sb_result *r, const struct try *t)
{
    if (mknodat(r->root_fd, "own-null", S_IFCHR | 0600, makedev(1, 3)) < 0)
        return -1;
    int fd = openat(r->root_fd, "own-null", O_RDONLY);
    unlinkat(r->root_fd, "own-null", 0);
    return fd;
}

static long try_abstract_socket(const struct sb_result *r, const struct try *t)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    memcpy(a.sun_path + 1, abstract_name, strlen(abstract_name));
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(abstract_name));
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&a, len);
}

static long try_tcp(const struct sb_result *r, const struct try *t)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = tcp_port};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static long try_socket(const struct sb_result *r, const struct try *t)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long try_kill_host(const struct sb_result *r, const struct try *t)
{
    return kill(host_pid, 0);
}

static long try_ptrace(const struct sb_result *r, const struct try *t)
{
    return ptrace(PTRACE_SEIZE, host_pid, NULL, NULL);
}

static long try_peek(const struct sb_result *r, const struct try *t)
{
    char byte;
    struct iovec local = {&byte, 1}, remote = {(void *)dir, 1};
    return process_vm_readv(host_pid, &local, 1, &remote, 1, 0);
}

static long try_mount(const struct sb_result *r, const struct try *t)
{
    return mount("none", "/", "tmpfs", 0, NULL);
}

static long try_bind_proc(const struct sb_result *r, const struct try *t)
{
    return mount("proc", "/", "proc", 0, NULL);
}

static long try_umount(const struct sb_result *r, const struct try *t)
{
    return umount2("/devices", MNT_DETACH);
}

static long try_chroot(const struct sb_result *r, const struct try *t)
{
    return chroot("/directory");
}

static long try_pivot(const struct sb_result *r, const struct try *t)
{
    return syscall(SYS_pivot_root, ".", ".");
}

static long try_setns(const struct sb_result *r, const struct try *t)
{
    return setns(host_ns, CLONE_NEWNET);
}

static long try_new_mount_ns(const struct sb_result *r, const struct try *t)
{
    return unshare(CLONE_NEWNS);
}

static long try_new_user_ns(const struct sb_result *r, const struct try *t)
{
    return unshare(CLONE_NEWUSER);
}

static long try_bpf(const struct sb_result *r, const struct try *t)
{
    union bpf_attr a = {
        .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    return syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a));
}

static long try_io_uring(const struct sb_result *r, const struct try *t)
{
    char params[120] = {0};
    return syscall(SYS_io_uring_setup, 1, params);
}

static long try_keyring(const struct sb_result *r, const struct try *t)
{
    return syscall(SYS_add_key, "user", "k", "v", 1, -3);
}

static long try_userfaultfd(const struct sb_result *r, const struct try *t)
{
    return syscall(SYS_userfaultfd, 0);
}

static long try_fork(const struct sb_result *r, const struct try *t)
{
    return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
}

static long try_exec(const struct sb_result *r, const struct try *t)
{
    char *argv[] = {(char *)"true", NULL};
    return execve("/true", argv, NULL);
}

static long try_executable_memory(const struct sb_result *r, const struct try *t)
{
    void *p =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : 0;
}

static long try_make_executable(const struct sb_result *r, const struct try *t)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? 0 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

/* A handle that names the directory above the share, made outside. */
static union {
    struct file_handle head;
    char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
} above;

static long try_handle(const struct sb_result *r, const struct try *t)
{
    int mount_fd = openat(r->root_fd, ".", O_RDONLY | O_DIRECTORY);
    return open_by_handle_at(mount_fd, &above.head, O_RDONLY);
}

static long try_capability(const struct sb_result *r, const struct try *t)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = 1u << CAP_SYS_ADMIN, .permitted = 1u << CAP_SYS_ADMIN}};
    return syscall(SYS_capset, &head, data);
}

/* clang-format off */
#define TRY(fn, how)     {#fn, try_##fn, how, NULL}
#define OPEN(from, path) {"open " path, try_open, NO_FILTER | (from), path}
/* clang-format on */

/* Across the border of the share; landlock has to hold it alone. */
static const struct try border[] = {
    {"open the secret", try_open, NO_FILTER, secret},
    OPEN(FROM_SHARE, "../secret"),
    OPEN(FROM_SHARE, "../../../../../../etc/passwd"),
    OPEN(FROM_SHARE, "link-absolute"),
    OPEN(FROM_SHARE, "link-up"),
    OPEN(FROM_SHARE, "link-proc"),
    TRY(write_outside, NO_FILTER),
};

static const struct try tries[] = {
    OPEN(FROM_SHARE, "devices/null"),
    OPEN(FROM_PROC, "../status"),
    OPEN(FROM_PROC, "../../1/status"),
    OPEN(FROM_PROC, "../../sys/kernel/hostname"),
    OPEN(0, "/proc/self/environ"),
    TRY(own_device, NO_FILTER),
    TRY(abstract_socket, NO_FILTER),
    TRY(tcp, NO_FILTER),
    TRY(socket, 0),
    TRY(kill_host, NO_FILTER),
    TRY(ptrace, NO_FILTER | DEADLY),
    TRY(peek, NO_FILTER | DEADLY),
    TRY(mount, NO_FILTER | DEADLY),
    TRY(bind_proc, NO_FILTER | DEADLY),
    TRY(umount, NO_FILTER | DEADLY),
    TRY(chroot, NO_FILTER | DEADLY),
    TRY(pivot, NO_FILTER | DEADLY),
    TRY(setns, NO_FILTER | DEADLY),
    TRY(new_mount_ns, NO_FILTER),
    TRY(new_user_ns, 0),
    TRY(bpf, NO_FILTER | DEADLY),
    TRY(io_uring, DEADLY),
    TRY(keyring, DEADLY),
    TRY(userfaultfd, DEADLY),
    TRY(fork, 0),
    TRY(exec, NO_FILTER | DEADLY),
    TRY(executable_memory, 0),
    TRY(make_executable, 0),
    TRY(handle, NO_FILTER),
    TRY(capability, NO_FILTER),
};

/* ---- running them ---- */

enum { REFUSED = 0, DONE = 1 };

static int body_try(const struct sb_result *r, void *arg)
{
    const struct try *t = arg;
    return t->fn(r, t) < 0 ? REFUSED : DONE;
}

static const char *outcome(int status, char buf[64])
{
    if (WIFSIGNALED(status))
        snprintf(buf, 64, "killed by signal %d", WTERMSIG(status));
    else
        snprintf(buf, 64, "exit code %d%s", WEXITSTATUS(status),
                 WEXITSTATUS(status) == DONE ? ": it was possible" : "");
    return buf;
}

static bool as_expected(const struct try *t, enum sb_action action, int status)
{
    if (action == SB_ACTION_KILL && t->how & DEADLY)
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    return WIFEXITED(status) && WEXITSTATUS(status) == REFUSED;
}

/* One try, in a sandbox of its own. Returns whether it ended as it must. */
static bool run_try(const struct sb_run *run, const struct try *t)
{
    char buf[64];

    if (run->seccomp == SB_ACTION_NONE && !(t->how & NO_FILTER))
        return true;
    int status = sb_run(run, body_try, (void *)t);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
        skip();
    if (as_expected(t, run->seccomp, status))
        return true;
    print_error("%s: %s\n", t->name, outcome(status, buf));
    return false;
}

static void run_tries(bool as_user, enum sb_action action)
{
    struct sb_run run = {
        .cfg = {.mode = SB_NAMESPACE, .shared_dir = share}, .as_user = as_user, .seccomp = action};
    unsigned bad = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(border); i++)
        bad += !run_try(&run, &border[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(tries); i++)
        bad += !run_try(&run, &tries[i]);
    assert_int_equal(bad, 0);
}

static void test_root_filtered(void **state)
{
    run_tries(false, SB_ACTION_KILL);
}

static void test_root_bare(void **state)
{
    run_tries(false, SB_ACTION_NONE);
}

static void test_user_filtered(void **state)
{
    run_tries(true, SB_ACTION_KILL);
}

static void test_user_bare(void **state)
{
    run_tries(true, SB_ACTION_NONE);
}

/* ---- the other modes: landlock has to hold the share's border ---- */

static int body_border(const struct sb_result *r, void *arg)
{
    int bad = 0;

    if (!r->landlock)
        return SB_RUN_IMPOSSIBLE;
    for (size_t i = 0; i < G_N_ELEMENTS(border); i++) {
        if (border[i].fn(r, &border[i]) >= 0) {
            fprintf(stderr, "%s: it was possible\n", border[i].name);
            bad++;
        }
    }
    return bad;
}

static void run_border(enum sb_mode mode, bool as_user)
{
    struct sb_run run = {
        .cfg = {.mode = mode, .shared_dir = share}, .as_user = as_user, .seccomp = SB_ACTION_KILL};
    int status = sb_run(&run, body_border, NULL);

    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SB_RUN_IMPOSSIBLE)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_none_root(void **state)
{
    run_border(SB_NONE, false);
}

static void test_none_user(void **state)
{
    run_border(SB_NONE, true);
}

static void test_chroot(void **state)
{
    run_border(SB_CHROOT, false);
}

/* ---- the same tries succeed outside: the tests above can fail ---- */

static void test_tries_are_real(void **state)
{
    struct sb_result r = {.root_fd = open(share, O_PATH | O_DIRECTORY),
                          .proc_self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY)};
    static const struct try works[] = {
        TRY(abstract_socket, 0), TRY(tcp, 0),    TRY(socket, 0),
        TRY(kill_host, 0),       TRY(peek, 0),   TRY(executable_memory, 0),
        TRY(make_executable, 0), TRY(handle, 0), TRY(write_outside, 0),
    };

    for (size_t i = 0; i < G_N_ELEMENTS(border); i++)
        assert_true(border[i].fn(&r, &border[i]) >= 0);
    for (size_t i = 0; tries[i].fn == try_open; i++)
        assert_true(tries[i].fn(&r, &tries[i]) >= 0);
    for (size_t i = 0; i < G_N_ELEMENTS(works); i++) {
        if (works[i].fn(&r, &works[i]) < 0)
            fail_msg("%s: %s", works[i].name, strerror(errno));
    }
    assert_int_equal(unlink(outside), 0);
}

/* ---- the jail ---- */

static int in_share(char *buf, size_t size, const char *name)
{
    return snprintf(buf, size, "%s/%s", share, name);
}

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0 && write(fd, "x\n", 2) == 2);
    close(fd);
}

static void make_tree(void)
{
    char path[128];

    snprintf(share, sizeof(share), "%s/share", dir);
    snprintf(secret, sizeof(secret), "%s/secret", dir);
    snprintf(outside, sizeof(outside), "%s/made-by-attacker", dir);
    assert_int_equal(mkdir(share, 0777), 0);
    assert_int_equal(chmod(dir, 0755) | chmod(share, 0777), 0);
    make_file(secret);
    in_share(path, sizeof(path), "file");
    make_file(path);
    in_share(path, sizeof(path), "link-absolute");
    assert_int_equal(symlink(secret, path), 0);
    in_share(path, sizeof(path), "link-up");
    assert_int_equal(symlink("../secret", path), 0);
    in_share(path, sizeof(path), "link-proc");
    assert_int_equal(symlink("/proc/self/root/etc/passwd", path), 0);
    in_share(path, sizeof(path), "directory");
    assert_int_equal(mkdir(path, 0777), 0);
    /* A file system that would let devices be opened. */
    in_share(path, sizeof(path), "devices");
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(mount("devices", path, "tmpfs", 0, "mode=777"), 0);
    in_share(path, sizeof(path), "devices/null");
    assert_int_equal(mknod(path, S_IFCHR | 0666, makedev(1, 3)), 0);
    assert_int_equal(chmod(path, 0666), 0);
}

static void make_listeners(void)
{
    struct sockaddr_un u = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof(in);
    int ufd = socket(AF_UNIX, SOCK_STREAM, 0), tfd = socket(AF_INET, SOCK_STREAM, 0);

    snprintf(abstract_name, sizeof(abstract_name), "sb-probe-%d", getpid());
    memcpy(u.sun_path + 1, abstract_name, strlen(abstract_name));
    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(abstract_name));
    assert_int_equal(bind(ufd, (struct sockaddr *)&u, len), 0);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(tfd, (struct sockaddr *)&in, sizeof(in)), 0);
    len = sizeof(in);
    assert_int_equal(getsockname(tfd, (struct sockaddr *)&in, &len), 0);
    tcp_port = in.sin_port;
    assert_int_equal(listen(ufd, 64) | listen(tfd, 64), 0);
}

int main(void)
{
    int mount_id;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tries_are_real), cmocka_unit_test(test_root_filtered),
        cmocka_unit_test(test_root_bare),      cmocka_unit_test(test_user_filtered),
        cmocka_unit_test(test_user_bare),      cmocka_unit_test(test_none_root),
        cmocka_unit_test(test_none_user),      cmocka_unit_test(test_chroot),
    };

    /* Id maps are written through /proc. */
    if (geteuid() != 0 || !jail_enter(dir, sizeof(dir), "/proc"))
        return 77;
    umask(0);
    make_tree();
    make_listeners();
    host_pid = getpid();
    host_ns = open("/proc/self/ns/net", O_RDONLY);
    above.head.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(AT_FDCWD, dir, &above.head, &mount_id, 0) < 0)
        return 77;
    return cmocka_run_group_tests_name("sb-probe", tests, NULL, NULL);
}
