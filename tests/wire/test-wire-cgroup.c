/* SPDX-License-Identifier: BSD-3-Clause
 * The daemon in the control groups of its keeper, which is the process that managers know: libvirt
 * moves it after it has started the daemon and before QEMU connects, Kata when the guest runs. With
 * real control groups, where we may make some. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire.h"

static const struct hierarchy {
    const char *type, *data, *mounts[3];
} hierarchies[] = {
    {"cgroup2", NULL, {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"}},
    {"cgroup", "pids", {"/sys/fs/cgroup/pids"}},
};

static char group[2][128];

static int make_groups(const struct hierarchy *h)
{
    for (unsigned i = 0; h->mounts[i]; i++) {
        /* What the test sees of the machine's is read-only; it has a mount namespace of its own. */
        if (mount("groups", h->mounts[i], h->type, 0, h->data) < 0 &&
            (errno != EBUSY || mount(NULL, h->mounts[i], NULL, MS_REMOUNT | MS_BIND, NULL) < 0))
            continue;
        for (unsigned g = 0; g < 2; g++) {
            snprintf(group[g], sizeof(group[g]), "%s/virtiofsd-test.%d.%u", h->mounts[i],
                     (int)getpid(), g);
            if (mkdir(group[g], 0755) < 0)
                return -errno;
        }
        return 0;
    }
    return -ENOENT;
}

static void remove_groups(void)
{
    for (unsigned g = 0; g < 2; g++)
        rmdir(group[g]);
}

static void move(pid_t pid, const char *to)
{
    char path[160], text[16];
    snprintf(path, sizeof(path), "%s/cgroup.procs", to);
    int fd = open(path, O_WRONLY | O_CLOEXEC), n = snprintf(text, sizeof(text), "%d", (int)pid);
    assert_int_equal(write(fd, text, (size_t)n), n);
    close(fd);
}

static pid_t child_of(pid_t pid)
{
    char path[64];
    int child = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%d", &child) != 1)
        child = 0;
    if (f)
        fclose(f);
    return child;
}

static void read_groups(pid_t pid, char text[4096])
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, 4095);
    assert_true(n > 0);
    text[n] = '\0';
    close(fd);
}

/* The daemon, and its broker where that is a process of its own. */
static bool together(struct wire *w)
{
    char ours[4096], theirs[4096];
    read_groups(w->d.pid, ours);
    for (pid_t pid = child_of(w->d.pid); pid > 0; pid = child_of(pid)) {
        read_groups(pid, theirs);
        if (strcmp(ours, theirs) != 0)
            return false;
    }
    return true;
}

static void wait_together(struct wire *w, const char *when)
{
    int64_t end = fe_now_ms() + FE_TIMEOUT_MS;
    while (!together(w)) {
        if (fe_now_ms() > end)
            fail_msg("%s: the daemon stayed behind", when);
        usleep(1000);
    }
}

static void follow(struct wire *w)
{
    static const char *const extra[] = {"--relisten", "--inode-file-handles=fenced", NULL};

    for (unsigned session = 0; session < 2; session++) {
        uint64_t v;
        if (session == 0) {
            wire_spawn(w, extra);
            while (!fe_daemon_log_count(&w->d, "Waiting for vhost-user"))
                usleep(1000);
        }
        assert_true(child_of(child_of(w->d.pid)) > 0 && together(w));
        move(w->d.pid, group[0]);
        assert_false(together(w));
        wire_rings(w); /* libvirt */
        wait_together(w, "after the front-end's arrival");
        move(w->d.pid, group[1]);
        assert_false(together(w));
        assert_int_equal(fe_init(&w->f, fe_init_linux), 0); /* Kata */
        wait_together(w, "after the mount");
        move(w->d.pid, group[0]); /* whoever comes later still */
        wait_together(w, "some seconds later");
        wire_alive(w);
        assert_int_equal(fe_vhost_get_u64(&w->v, VU_GET_FEATURES, &v), 0);
        wire_hangup(w);
        move(w->d.pid, group[1]);
        for (pid_t pid = child_of(w->d.pid); pid > 0; pid = child_of(pid))
            move(pid, group[1]);
    }
    fe_daemon_stop(&w->d);
}

static void in_each_hierarchy(void **state)
{
    struct wire *w = *state;
    unsigned done = 0;

    if (w->mode != WIRE_SANDBOX)
        skip(); /* there is no keeper */
    for (unsigned i = 0; i < sizeof(hierarchies) / sizeof(hierarchies[0]); i++) {
        const struct hierarchy *h = &hierarchies[i];
        int rc = make_groups(h);
        if (rc == 0) {
            print_message("%s\n", group[0]);
            follow(w);
            done++;
        } else {
            print_message("no control groups of type %s to be had: %s\n", h->type, strerror(-rc));
        }
        remove_groups();
    }
    if (!done)
        skip();
}

static int clean(void **state)
{
    int rc = wire_cleanup(state);
    remove_groups();
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(in_each_hierarchy, wire_mode_sandbox, clean),
    };
    return cmocka_run_group_tests_name("wire-cgroup", tests, wire_make, wire_teardown);
}
