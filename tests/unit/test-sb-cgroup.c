/* SPDX-License-Identifier: BSD-3-Clause
 * Which control groups a process is moved to: in a double of /proc and /sys. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sandbox/sb-priv.h"

#define PID 4711

static char root[] = "/tmp/sb-cgroup.XXXXXX";
static int root_fd;

/* @path with its directories. */
static void put(const char *path, const char *text)
{
    g_autofree char *full = g_build_filename(root, path, NULL);
    g_autofree char *dir = g_path_get_dirname(full);
    assert_int_equal(g_mkdir_with_parents(dir, 0755), 0);
    assert_true(g_file_set_contents(full, text, -1, NULL));
}

static void expect(const char *path, const char *text)
{
    g_autofree char *full = g_build_filename(root, path, NULL);
    g_autofree char *is = NULL;
    assert_true(g_file_get_contents(full, &is, NULL, NULL));
    assert_string_equal(is, text);
}

static int setup(void **state)
{
    strcpy(root, "/tmp/sb-cgroup.XXXXXX");
    if (!mkdtemp(root))
        return -1;
    root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return 0;
}

static int teardown(void **state)
{
    g_autofree char *command = g_strdup_printf("rm -r %s", root);
    close(root_fd);
    return g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL) ? 0 : -1;
}

static void test_unified(void **state)
{
    put("proc/self/cgroup", "0::/machine/qemu-1\n");
    put("proc/4711/cgroup", "0::/system/libvirtd\n");
    put("sys/fs/cgroup/machine/qemu-1/cgroup.procs", "");
    put("sys/fs/cgroup/cgroup.procs", "");
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 1);
    expect("sys/fs/cgroup/machine/qemu-1/cgroup.procs", "4711\n");
    expect("sys/fs/cgroup/cgroup.procs", "");
}

/* What it is in already is left alone. */
static void test_many(void **state)
{
    put("proc/self/cgroup", "12:name=systemd:/m/q\n4:memory:/m/q\n3:cpu,cpuacct:/m/q\n2:pids:/\n"
                            "1:cpuset:/a\n0::/m/q\n");
    put("proc/4711/cgroup", "12:name=systemd:/s\n4:memory:/m/q2\n3:cpu,cpuacct:/m\n2:pids:/s\n"
                            "1:cpuset:/a\n0::/s\n");
    static const char *const written[] = {"systemd/m/q", "memory/m/q", "cpu,cpuacct/m/q", "pids",
                                          "unified/m/q"};
    for (unsigned i = 0; i < G_N_ELEMENTS(written); i++) {
        g_autofree char *path = g_strdup_printf("sys/fs/cgroup/%s/cgroup.procs", written[i]);
        put(path, "");
    }
    put("sys/fs/cgroup/cpuset/a/cgroup.procs", "");
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 5);
    for (unsigned i = 0; i < G_N_ELEMENTS(written); i++) {
        g_autofree char *path = g_strdup_printf("sys/fs/cgroup/%s/cgroup.procs", written[i]);
        expect(path, "4711\n");
    }
    expect("sys/fs/cgroup/cpuset/a/cgroup.procs", "");
}

static void test_children(void **state)
{
    put("proc/self/cgroup", "2:pids:/b\n0::/m\n");
    put("proc/4711/cgroup", "2:pids:/b\n0::/m\n"); /* it was moved, its children were not */
    put("proc/4711/task/4711/children", "4712 4713 ");
    put("proc/4712/cgroup", "2:pids:/a\n0::/m\n");
    put("proc/4713/cgroup", "2:pids:/b\n0::/s\n");
    put("sys/fs/cgroup/pids/b/cgroup.procs", "");
    put("sys/fs/cgroup/m/cgroup.procs", "");
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 2);
    expect("sys/fs/cgroup/pids/b/cgroup.procs", "4712\n");
    expect("sys/fs/cgroup/m/cgroup.procs", "4713\n");
}

/* A list longer than any buffer: none is left out, and no number is cut to that of another. */
static void test_many_children(void **state)
{
    enum { FIRST = 30000000, CHILDREN = 3000 };
    g_autoptr(GString) list = g_string_new(NULL);

    put("proc/self/cgroup", "0::/m\n");
    put("proc/4711/cgroup", "0::/m\n");
    put("sys/fs/cgroup/m/cgroup.procs", "");
    for (int i = 0; i < CHILDREN; i++)
        g_string_append_printf(list, "%d ", FIRST + i);
    put("proc/4711/task/4711/children", list->str);
    /* The last, the one at the end of 8,191 bytes, and those that its number may be cut to. */
    static const char *const moved[] = {"30002999", "30000910"};
    static const char *const others[] = {"3", "30", "300", "3000", "30000", "300009", "3000091"};
    for (unsigned i = 0; i < G_N_ELEMENTS(moved); i++) {
        g_autofree char *path = g_strdup_printf("proc/%s/cgroup", moved[i]);
        put(path, "0::/s\n");
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autofree char *path = g_strdup_printf("proc/%s/cgroup", others[i]);
        put(path, "0::/s\n");
    }
    assert_int_equal(sb_cgroup_follow(root_fd, PID), G_N_ELEMENTS(moved));
    expect("sys/fs/cgroup/m/cgroup.procs",
           "30002999\n"); /* the file of the double is written over */
    /* What is no list ends it. */
    put("proc/4711/task/4711/children", "x30002999 30002999 ");
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 0);
    put("proc/4711/task/4711/children", "99999999999999999999 -3 0 30002999");
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 0);
}

static void test_nowhere(void **state)
{
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 0);
    put("proc/self/cgroup", "0::/m\n");
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 0);
    put("proc/4711/cgroup", "0::/s\n");
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 0); /* not mounted */
    /* Outside of our namespace of control groups. */
    put("proc/self/cgroup", "0::/../m\n");
    put("sys/fs/m/cgroup.procs", "");
    put("sys/fs/cgroup/x", "");
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 0);
    expect("sys/fs/m/cgroup.procs", "");
    /* No table at all, and one that is too long. */
    put("proc/self/cgroup", "0\n:\nx:y\n0::m\n\n");
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 0);
    g_autofree char *longer = g_strnfill(20000, 'x');
    put("proc/self/cgroup", longer);
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 0);
    g_autofree char *path = g_strdup_printf("0::/%s\n", longer);
    put("proc/self/cgroup", path);
    assert_int_equal(sb_cgroup_follow(root_fd, PID), 0);
}

#define unit(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {unit(test_unified), unit(test_many), unit(test_children),
                                       unit(test_many_children), unit(test_nowhere)};
    return cmocka_run_group_tests_name("sb-cgroup", tests, NULL, NULL);
}
