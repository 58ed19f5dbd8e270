/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/wire/wire.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/jail.h"
#include "tests/lib/old-kernel.h"
#include "tests/lib/remove.h"

#define MEM_SIZE0 (4u << 20)
#define MEM_BUFS  (32u << 20) /* slots of fe-fuse below 20 MiB; free above */

#define MAX_ARGS 32

const char *wire_path(struct wire *w, const char *name)
{
    static char buf[4][512];
    static unsigned turn;
    char *p = buf[turn++ % 4];
    snprintf(p, sizeof(buf[0]), "%s/%s", w->share, name);
    return p;
}

void wire_put(struct wire *w, const char *name, const char *text)
{
    FILE *f = fopen(wire_path(w, name), "we");
    assert_non_null(f);
    if (text)
        fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

void wire_mount_proc(struct wire *w)
{
    mkdir(wire_path(w, "proc"), 0755);
    if (geteuid() != 0 || mount("proc", wire_path(w, "proc"), "proc", MS_RDONLY, NULL) != 0)
        skip();
}

/* A process that removes @dir when we are gone, however that comes. It stays outside of the jail,
 * in which the directory is a mount point. */
static pid_t start_janitor(const char *dir, int *fd)
{
    int p[2];
    char c;
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(p[1]);
        (void)!read(p[0], &c, 1);
        _exit(remove_tree(dir) ? 0 : 1);
    }
    close(p[0]);
    *fd = p[1];
    return pid;
}

int wire_make(void **state)
{
    struct wire *w = calloc(1, sizeof(*w));
    w->d.pid = -1;
    w->d.log_fd = -1;
    w->v.sock = -1;
    umask(022);
    old_kernel_if_asked();
    snprintf(w->dir, sizeof(w->dir), "%s", "/tmp/wire.XXXXXX");
    if (!mkdtemp(w->dir))
        return -1;
    w->janitor = start_janitor(w->dir, &w->janitor_fd);
    /* Hostile names must find nothing to damage, should the daemon ever fall for one. */
    if (geteuid() == 0 && !jail_in(w->dir)) {
        print_message("no private mount namespace to be had: skipped\n");
        exit(77);
    }
    snprintf(w->share, sizeof(w->share), "%s/share", w->dir);
    snprintf(w->socket, sizeof(w->socket), "%s/sock", w->dir);
    mkdir(w->share, 0755);
    mkdir(wire_path(w, "dir"), 0755);
    mkdir(wire_path(w, "dir/sub"), 0755);
    wire_put(w, "dir/file", "0123456789");
    wire_put(w, "file", "hello\n");
    FILE *f = fopen(wire_path(w, "big"), "we");
    for (unsigned i = 0; i < 1u << 20; i++)
        fputc(wire_pattern(i), f);
    fclose(f);
    *state = w;
    return symlink("file", wire_path(w, "link")) || mkfifo(wire_path(w, "fifo"), 0644);
}

int wire_make_locks(void **state)
{
    static const char *const options[] = {"--posix-lock", "--flock", NULL};
    int rc = wire_make(state);
    if (rc == 0)
        ((struct wire *)*state)->options = options;
    return rc;
}

int wire_teardown(void **state)
{
    struct wire *w = *state;
    close(w->janitor_fd);
    waitpid(w->janitor, NULL, 0);
    free(w);
    return 0;
}

/* In a cross build meson names the emulator that runs the daemon as it runs us. Puts its words into
 * @argv from @n on; returns how many there are then. */
static unsigned wrapper(char **argv, unsigned n, char *buf, size_t size)
{
    const char *words = getenv("MESON_EXE_WRAPPER");
    if (!words)
        return n;
    snprintf(buf, size, "%s", words);
    for (char *at, *word = strtok_r(buf, " ", &at); word && n < MAX_ARGS / 2;
         word = strtok_r(NULL, " ", &at))
        argv[n++] = word;
    return n;
}

void wire_exec(struct wire *w, const char *const *options, int keep_fd)
{
    const char *exe = getenv("VIRTIOFSD");
    const char *box = w->mode == WIRE_BARE ? NULL : getenv("WIRE_SANDBOX");
    char sandbox[64], emulator[512];
    char *argv[MAX_ARGS + 1] = {0};
    unsigned n = 0, own;
    if (!exe)
        fail_msg("VIRTIOFSD (path of the daemon) is not set");
    for (const char *const *b = w->before; b && *b; b++)
        argv[n++] = (char *)*b;
    own = n;
    n = wrapper(argv, n, emulator, sizeof(emulator));
    bool emulated = n > own;
    argv[n++] = (char *)exe;
    snprintf(sandbox, sizeof(sandbox), "--sandbox=%s", box ? box : "none");
    if (w->mode != WIRE_SANDBOX)
        argv[n++] = sandbox;
    if (emulated || w->mode == WIRE_BARE || WIRE_THREADS) /* an emulator has no seccomp */
        argv[n++] = (char *)"--seccomp=none";
    for (; *options; options++) {
        assert_true(n < MAX_ARGS);
        argv[n++] = (char *)*options;
    }
    assert_int_equal(fe_daemon_spawn(&w->d, argv, keep_fd), 0);
}

void wire_spawn(struct wire *w, const char *const *extra)
{
    char socket[128], source[128];
    const char *options[MAX_ARGS] = {socket, source, "--xattr"};
    unsigned n = 3;
    snprintf(socket, sizeof(socket), "--socket-path=%s", w->socket);
    snprintf(source, sizeof(source), "--shared-dir=%s", w->share);
    for (; extra && *extra; extra++) {
        assert_true(n < MAX_ARGS - 1);
        options[n++] = *extra;
    }
    wire_exec(w, options, -1);
}

static void print_log(struct wire *w)
{
    char *log = w->d.log_fd >= 0 ? fe_daemon_log(&w->d) : NULL;
    if (log && *log) { /* whole: cmocka prints 1,023 bytes at most */
        print_message("the daemon said:\n");
        fprintf(stderr, "%s\n", log);
    }
    free(log);
}

void wire_connect(struct wire *w)
{
    int sock = fe_daemon_connect(&w->d, w->socket, FE_TIMEOUT_MS);
    if (sock < 0) {
        print_log(w);
        fail_msg("cannot connect to the daemon: %d", sock);
    }
    fe_vhost_init(&w->v, sock);
}

void wire_rings(struct wire *w)
{
    wire_rings_n(w, 2);
}

void wire_rings_n(struct wire *w, unsigned nrings)
{
    wire_connect(w);
    assert_int_equal(fe_mem_init(&w->mem, MEM_SIZE0, MEM_BUFS, MEM_BUFS), 0);
    assert_int_equal(fe_vhost_start(&w->v, &w->mem, nrings, WIRE_QUEUE), 0);
    fe_fuse_init(&w->f, &w->v);
}

void wire_rings_shmem(struct wire *w, int channel)
{
    uint64_t window = 0;
    wire_connect(w);
    assert_int_equal(fe_mem_init(&w->mem, MEM_SIZE0, MEM_BUFS, MEM_BUFS), 0);
    assert_int_equal(
        fe_vhost_start_shmem(&w->v, &w->mem, 2, WIRE_QUEUE, channel, VU_PF_SHMEM, &window, true),
        0);
    fe_fuse_init(&w->f, &w->v);
}

void wire_hangup(struct wire *w)
{
    fe_vhost_close(&w->v);
    fe_mem_free(&w->mem);
}

static bool sanitizer_spoke(struct wire *w)
{
    return fe_daemon_log_count(&w->d, "Sanitizer") || fe_daemon_log_count(&w->d, "runtime error");
}

void wire_finish(struct wire *w, int code)
{
    int status = -1;
    wire_hangup(w);
    int e = fe_daemon_wait(&w->d, &status, FE_TIMEOUT_MS);
    bool ok = e == 0 && WIFEXITED(status) && WEXITSTATUS(status) == code && !sanitizer_spoke(w);
    if (!ok) {
        print_log(w);
        print_message("the daemon's end: wait %d, status %#x, wanted exit code %d\n", e, status,
                      code);
    }
    fe_daemon_stop(&w->d);
    unlink(w->socket);
    assert_true(ok);
}

int wire_mount(void **state)
{
    struct wire *w = *state;
    wire_spawn(w, w->options);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    return 0;
}

int wire_mode_sandbox(void **state)
{
    struct wire *w = *state;
    /* An emulator knows too few of the calls that build it, the filters too few of those that the
     * sanitizers make. */
    w->mode = getenv("MESON_EXE_WRAPPER") || WIRE_SANITIZED ? WIRE_PLAIN : WIRE_SANDBOX;
    return 0;
}

int wire_mode_bare(void **state)
{
    struct wire *w = *state;
    w->mode = WIRE_BARE;
    return 0;
}

int wire_mount_sandbox(void **state)
{
    wire_mode_sandbox(state);
    return wire_mount(state);
}

int wire_mount_bare(void **state)
{
    wire_mode_bare(state);
    return wire_mount(state);
}

int wire_umount(void **state)
{
    wire_finish(*state, 0);
    return 0;
}

int wire_cleanup(void **state)
{
    struct wire *w = *state;
    bool bad = w->d.pid > 0 && sanitizer_spoke(w);
    if (bad)
        print_log(w);
    wire_hangup(w);
    if (w->d.pid > 0)
        fe_daemon_stop(&w->d);
    unlink(w->socket);
    return bad ? -1 : 0;
}

uint64_t wire_node(struct wire *w, const char *path)
{
    char copy[512], *save = NULL;
    uint64_t id = FUSE_ROOT_ID;
    snprintf(copy, sizeof(copy), "%s", path);
    for (char *p = strtok_r(copy, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
        struct fuse_entry_out e;
        assert_int_equal(fe_lookup(&w->f, id, p, &e), 0);
        id = e.nodeid;
    }
    return id;
}

void wire_alive(struct wire *w)
{
    if (!fe_daemon_alive(&w->d)) {
        print_log(w);
        fail_msg("the daemon has ended");
    }
    int e = fe_getattr(&w->f, FUSE_ROOT_ID, NULL);
    if (e)
        print_log(w);
    assert_int_equal(e, 0);
}
