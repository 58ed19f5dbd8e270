/* SPDX-License-Identifier: BSD-3-Clause
 * The libraries of the daemon open files by absolute names of their own. Here the share has, at
 * every absolute name that stands in one of them, what a guest could put there: a FIFO that is
 * never written to, or a device node. Nothing hangs, and none of them is opened. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT FUSE_ROOT_ID

enum { LEAST_NAMES = 40, END_MS = 5000 };

/* Names that libraries put together from parts. */
static const char *const parts[] = {
    "/proc/sys/vm/overcommit_memory",
    "/proc/self/maps",
    "/proc/self/exe",
    "/sys/devices/system/cpu/online",
    "/proc/stat",
    "/dev/null",
    "/dev/urandom",
    "/dev/log",
    "/dev/console",
    "/dev/tty",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/usr/lib/gconv/gconv-modules",
    "/usr/lib/locale/locale-archive",
    "/usr/lib/charset.alias",
    "/usr/share/locale/locale.alias",
    "/usr/share/zoneinfo/UTC",
#ifdef __x86_64__
    "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules",
    "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
    "/usr/lib/x86_64-linux-gnu/charset.alias",
    "/lib/x86_64-linux-gnu/libgcc_s.so.1",
    "/usr/lib/x86_64-linux-gnu/libgcc_s.so.1",
#endif
};

static int watch; /* inotify: whatever is opened of what we planted */
static unsigned planted;
static mode_t kind; /* S_IFIFO or S_IFCHR */

/* ---- what stands at the names ---- */

static void plant(struct wire *w, const char *name)
{
    char path[512];
    int n = snprintf(path, sizeof(path), "%s%s", w->share, name);

    if (n < 0 || (size_t)n >= sizeof(path) || path[n - 1] == '/')
        return;
    /* A name that others have as a directory is one. */
    for (char *p = path + strlen(w->share) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        if (mkdir(path, 0777) != 0 && errno == EEXIST && unlink(path) == 0)
            mkdir(path, 0777);
        *p = '/';
    }
    /* The null device: opening it does no harm should it happen. */
    if (mknod(path, kind | 0666, kind == S_IFCHR ? makedev(1, 3) : 0) != 0)
        return;
    assert_true(inotify_add_watch(watch, path, IN_OPEN) >= 0);
    planted++;
}

static bool is_name_char(unsigned char c)
{
    return isalnum(c) || strchr("/._+-@", c);
}

/* Every string of @bytes that is an absolute name. */
static void plant_strings(struct wire *w, const char *bytes, size_t size)
{
    for (size_t i = 0; i + 3 < size; i++) {
        if (bytes[i] != '/' || (i > 0 && bytes[i - 1] != '\0') ||
            !isalpha((unsigned char)bytes[i + 1]))
            continue;
        char name[256];
        size_t n = 0;
        while (i + n < size && n < sizeof(name) - 1 && bytes[i + n] &&
               is_name_char((unsigned char)bytes[i + n])) {
            name[n] = bytes[i + n];
            n++;
        }
        name[n] = '\0';
        if (n > 2 && i + n < size && bytes[i + n] == '\0' && !strstr(name, "/../"))
            plant(w, name);
    }
}

static void plant_file(struct wire *w, const char *file)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return;
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return;
    plant_strings(w, map, (size_t)st.st_size);
    munmap(map, (size_t)st.st_size);
}

/* The daemon, and all that is linked to it: what it has mapped while it waits for a front-end. */
static void plant_all(struct wire *w)
{
    char path[64], *line = NULL, last[256] = "";
    size_t room = 0;

    wire_spawn(w, NULL);
    int sock = fe_daemon_connect(&w->d, w->socket, FE_TIMEOUT_MS);
    assert_true(sock >= 0);
    snprintf(path, sizeof(path), "/proc/%d/maps", (int)w->d.pid);
    FILE *maps = fopen(path, "re");
    assert_non_null(maps);
    while (getline(&line, &room, maps) > 0) {
        char *file = strchr(line, '/');
        if (!file)
            continue;
        file[strcspn(file, "\n")] = '\0';
        if (strcmp(file, last) != 0)
            plant_file(w, file);
        snprintf(last, sizeof(last), "%s", file);
    }
    free(line);
    fclose(maps);
    close(sock);
    fe_daemon_stop(&w->d);
    unlink(w->socket);
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        plant(w, parts[i]);
    print_message("%u names\n", planted);
    assert_true(planted >= LEAST_NAMES);
}

static void set_up(struct wire *w, mode_t what)
{
    kind = what;
    planted = 0;
    watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    assert_true(watch >= 0);
    assert_int_equal(mount("planted", w->share, "tmpfs", 0, "size=16m"), 0);
    plant_all(w);
    wire_put(w, "file", "some text");
    char name[32];
    for (unsigned i = 0; i < 80; i++) { /* a list that needs a large buffer */
        snprintf(name, sizeof(name), "user.attribute-number-%u", i);
        assert_int_equal(setxattr(wire_path(w, "file"), name, "v", 1, 0), 0);
    }
}

static void tear_down(struct wire *w)
{
    close(watch);
    umount2(w->share, MNT_DETACH);
}

/* Whether anything planted was opened. */
static bool touched(void)
{
    _Alignas(struct inotify_event) char buf[4096];
    bool opened = false;
    ssize_t n;

    while ((n = read(watch, buf, sizeof(buf))) > 0) {
        for (ssize_t i = 0; i < n;) {
            const struct inotify_event *ev = (const struct inotify_event *)(buf + i);
            opened |= (ev->mask & IN_OPEN) != 0;
            i += (ssize_t)(sizeof(*ev) + ev->len);
        }
    }
    return opened;
}

/* ---- a life of the daemon ---- */

/* Errors with their texts, attributes and lists in large buffers. */
static void work(struct wire *w)
{
    struct fuse_entry_out e;
    struct fuse_getxattr_in in = {.size = 65536};
    static char list[65536];
    uint64_t fh;

    assert_int_equal(fe_lookup(&w->f, ROOT, "file", &e), 0);
    uint64_t file = e.nodeid;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(
            fe_call(&w->f, FUSE_LISTXATTR, file, &in, sizeof(in), list, sizeof(list), NULL), 0);
        assert_true(fe_lookup(&w->f, file, "x", &e) < 0);
        assert_true(fe_call(&w->f, 4000, ROOT, NULL, 0, NULL, 0, NULL) < 0);
        assert_int_equal(fe_opendir(&w->f, ROOT, &fh), 0);
        struct fuse_read_in rd = {.fh = fh, .size = 65536};
        assert_int_equal(
            fe_call(&w->f, FUSE_READDIRPLUS, ROOT, &rd, sizeof(rd), list, sizeof(list), NULL), 0);
        assert_int_equal(fe_releasedir(&w->f, ROOT, fh), 0);
    }
    /* The guest's own openings of what it made are refused. */
    assert_int_equal(fe_lookup(&w->f, ROOT, "dev", &e), 0);
    assert_int_equal(fe_lookup(&w->f, e.nodeid, "null", &e), 0);
    assert_true(fe_open(&w->f, e.nodeid, O_RDWR, &fh) < 0);
}

/* Two front-ends one after the other, each of which mounts twice, then SIGTERM with a third. */
static void live(struct wire *w, const char *const *options)
{
    int status = -1;

    wire_spawn(w, options);
    for (unsigned i = 0; i < 3; i++) {
        wire_rings(w);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        work(w);
        assert_int_equal(fe_call(&w->f, FUSE_DESTROY, ROOT, NULL, 0, NULL, 0, NULL), 0);
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
        work(w);
        if (i < 2)
            wire_hangup(w);
    }
    assert_int_equal(kill(w->d.pid, SIGTERM), 0);
    int e = fe_daemon_wait(&w->d, &status, END_MS);
    wire_hangup(w);
    if (e != 0)
        fail_msg("the daemon does not end");
    fe_daemon_stop(&w->d);
    unlink(w->socket);
    assert_false(touched());
}

static const struct {
    const char *sandbox, *seccomp;
} modes[] = {
    {"--sandbox=namespace", "--seccomp=kill"}, {"--sandbox=namespace", "--seccomp=none"},
    {"--sandbox=chroot", "--seccomp=kill"},    {"--sandbox=chroot", "--seccomp=log"},
    {"--sandbox=none", "--seccomp=kill"},
};

static void run_modes(struct wire *w, mode_t what)
{
    if (geteuid() != 0 || getenv("MESON_EXE_WRAPPER") || WIRE_SANITIZED) {
        print_message("no sandbox to be had here: skipped\n");
        skip();
    }
    set_up(w, what);
    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        const char *const options[] = {modes[i].sandbox, modes[i].seccomp, "--relisten",
                                       "--log-level=debug", NULL};
        print_message("%s %s\n", modes[i].sandbox, modes[i].seccomp);
        live(w, options);
    }
    tear_down(w);
}

static void test_fifos(void **state)
{
    run_modes(*state, S_IFIFO);
}

static void test_devices(void **state)
{
    run_modes(*state, S_IFCHR);
}

/* The names are real: a daemon whose root is the share, and which nothing holds back, opens one. */
static void test_is_noticed(void **state)
{
    struct wire *w = *state;
    const char *const options[] = {"--sandbox=chroot", "--seccomp=none", NULL};

    if (geteuid() != 0 || getenv("MESON_EXE_WRAPPER") || WIRE_SANITIZED)
        skip();
    set_up(w, S_IFCHR);
    wire_spawn(w, options);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0); /* libfuse: /dev/null */
    wire_finish(w, 0);
    assert_true(touched());
    tear_down(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"fifos", test_fifos, wire_mode_sandbox, wire_cleanup, NULL},
        {"devices", test_devices, wire_mode_sandbox, wire_cleanup, NULL},
        {"is_noticed", test_is_noticed, wire_mode_sandbox, wire_cleanup, NULL},
    };
    return cmocka_run_group_tests_name("wire-absolute", tests, wire_make, wire_teardown);
}
