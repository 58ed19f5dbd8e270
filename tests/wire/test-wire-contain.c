/* SPDX-License-Identifier: BSD-3-Clause
 * What the guest reaches is the share and nothing else, also while a host process turns the tree
 * inside out at full speed, mounts come and go, and magic links lie about. WIRE_STRESS_S makes the
 * race last longer than its seconds. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/fs.h>

#include "tests/lib/remove.h"
#include "tests/wire/outside.h"

#define ROOT     FUSE_ROOT_ID
#define STRESS_S 3

static struct outside outside;

/* ---- the race ---- */

static void swap(const char *a, const char *b)
{
    (void)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

/* The host's process: names change their meaning between a file or directory of the share and a
 * link, a FIFO, or nothing; a directory leaves the share and comes back. */
static void turn_tree(const char *share, const char *park, volatile uint64_t *turns)
{
    char moved[128];
    snprintf(moved, sizeof(moved), "%s/held", park);
    if (chdir(share) != 0)
        _exit(1);
    for (;; (*turns)++) {
        swap("race-dir", "race-dirlink");
        swap("race-file", "race-filelink");
        swap("race-file", "race-fifo");
        (void)!rename("held", moved);
        swap("race-dir", "race-absdirlink");
        (void)!rename(moved, "held");
        swap("race-file", "race-filelink");
        swap("race-dir", "race-dirlink");
    }
}

static void race_tree(struct wire *w, char *park, size_t size)
{
    char target[128];
    outside_make(&outside, w);
    snprintf(park, size, "%s/park", w->dir);
    assert_int_equal(mkdir(park, 0777), 0);
    assert_int_equal(mkdir(wire_path(w, "race-dir"), 0777), 0);
    assert_int_equal(mkdir(wire_path(w, "held"), 0777), 0);
    assert_int_equal(mkdir(wire_path(w, "held/in"), 0777), 0);
    wire_put(w, "race-file", "ours");
    wire_put(w, "race-dir/secret", "ours");
    wire_put(w, "race-dir/deep", "ours");
    assert_int_equal(symlink("../outside", wire_path(w, "race-dirlink")), 0);
    snprintf(target, sizeof(target), "%s/sub", outside.dir);
    assert_int_equal(symlink(target, wire_path(w, "race-absdirlink")), 0);
    assert_int_equal(symlink("../outside/secret", wire_path(w, "race-filelink")), 0);
    assert_int_equal(mkfifo(wire_path(w, "race-fifo"), 0666), 0);
}

static void race_clean(struct wire *w, const char *park)
{
    glob_t found;
    outside_teardown(&outside);
    assert_int_equal(glob(wire_path(w, "race-*"), 0, NULL, &found), 0);
    glob(wire_path(w, "held"), GLOB_APPEND, NULL, &found); /* else it is in the park */
    for (size_t i = 0; i < found.gl_pathc; i++)
        assert_true(remove_tree(found.gl_pathv[i]));
    globfree(&found);
    assert_true(remove_tree(park));
}

struct tally {
    unsigned links, dirs, files, reads, writes, listings, climbs;
};

static uint64_t look(struct wire *w, uint64_t dir, const char *name, mode_t *type)
{
    struct fuse_entry_out e = {0};
    int rc = fe_lookup(&w->f, dir, name, &e);
    assert_true(rc <= 0 && rc > -1000);
    *type = rc == 0 && e.nodeid ? e.attr.mode & S_IFMT : 0;
    return rc == 0 ? e.nodeid : 0;
}

static void use_file(struct wire *w, uint64_t node, struct tally *t)
{
    char buf[128];
    uint64_t fh;
    if (fe_open(&w->f, node, O_RDWR, &fh) != 0)
        return;
    t->reads += fe_read(&w->f, node, fh, 0, buf, sizeof(buf)) >= 0;
    t->writes += fe_write(&w->f, node, fh, 0, "ours", 4) == 4;
    assert_int_equal(fe_release(&w->f, node, fh), 0);
    struct fuse_setattr_in in = {.valid = FATTR_SIZE | FATTR_MODE, .size = 4, .mode = 0666};
    fe_setattr(&w->f, node, &in, NULL);
}

static void use_dir(struct wire *w, uint64_t dir, struct tally *t)
{
    static const char *const names[] = {"secret", "deep", "sub", ".."};
    struct fuse_read_in rd = {.size = 4096};
    uint64_t fh;
    mode_t type;
    char buf[4096];
    for (unsigned i = 0; i < 4; i++) {
        uint64_t node = look(w, dir, names[i], &type);
        if (type == S_IFREG)
            use_file(w, node, t);
        if (node > ROOT)
            fe_forget(&w->f, node, 1);
    }
    if (fe_create(&w->f, dir, "planted", O_CREAT | O_RDWR, 0666, &(struct fuse_entry_out){0},
                  &fh) == 0)
        fe_call_name(&w->f, FUSE_UNLINK, dir, NULL, 0, "planted", NULL, NULL, 0);
    fe_mkdir(&w->f, dir, "planted-dir", 0777, NULL);
    fe_call_name(&w->f, FUSE_RMDIR, dir, NULL, 0, "planted-dir", NULL, NULL, 0);
    fe_call_name(&w->f, FUSE_UNLINK, dir, NULL, 0, "sub", NULL, NULL, 0);
    if (fe_opendir(&w->f, dir, &fh) != 0)
        return;
    rd.fh = fh;
    t->listings +=
        fe_call(&w->f, FUSE_READDIRPLUS, dir, &rd, sizeof(rd), buf, sizeof(buf), NULL) == 0;
    assert_int_equal(fe_releasedir(&w->f, dir, fh), 0);
}

/* Up from a directory that may be in the share or not: what can be seen there is not the park. */
static void climb(struct wire *w, uint64_t node, uint64_t held, struct tally *t)
{
    for (unsigned i = 0; i < 4; i++) {
        mode_t type;
        uint64_t up = look(w, node, "..", &type);
        if (!up)
            return;
        t->climbs++;
        if (up != held && up != ROOT)
            fail_msg("\"..\" leads to a directory that is not of the share");
        node = up;
    }
}

static void one_round(struct wire *w, unsigned i, uint64_t held, uint64_t in, struct tally *t)
{
    static const char *const names[] = {"race-dir",        "race-file",     "race-dirlink",
                                        "race-absdirlink", "race-filelink", "race-fifo"};
    const char *name = names[i % 6];
    struct fuse_entry_out e;
    mode_t type;
    uint64_t fh, node = look(w, ROOT, name, &type);
    if (node) {
        t->links += type == S_IFLNK;
        t->dirs += type == S_IFDIR;
        t->files += type == S_IFREG;
        use_dir(w, node, t); /* whatever it is, or has become */
        use_file(w, node, t);
        fe_forget(&w->f, node, 1);
    }
    if (fe_create(&w->f, ROOT, name, O_CREAT | O_RDWR, 0666, &e, &fh) == 0) {
        fe_write(&w->f, e.nodeid, fh, 0, "ours", 4);
        fe_release(&w->f, e.nodeid, fh);
        fe_forget(&w->f, e.nodeid, 1);
    }
    climb(w, held, held, t);
    climb(w, in, held, t);
}

static void test_rename_races(void **state)
{
    struct wire *w = *state;
    const char *text = getenv("WIRE_STRESS_S");
    int64_t end = fe_now_ms() + 1000LL * (text ? atoi(text) : STRESS_S);
    struct tally t = {0};
    char park[96];
    race_tree(w, park, sizeof(park));
    outside_listen(w);
    uint64_t held = wire_node(w, "held"), in = wire_node(w, "held/in");
    volatile uint64_t *turns =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t host = fork();
    if (host == 0)
        turn_tree(w->share, park, turns);
    unsigned rounds = 0;
    for (; fe_now_ms() < end; rounds++)
        one_round(w, rounds, held, in, &t);
    kill(host, SIGKILL);
    waitpid(host, NULL, 0);
    print_message("%llu turns, %u rounds: %u links, %u directories, %u files; %u reads, %u writes, "
                  "%u listings, %u times up\n",
                  (unsigned long long)*turns, rounds, t.links, t.dirs, t.files, t.reads, t.writes,
                  t.listings, t.climbs);
    assert_true(*turns > 100 && t.links && t.dirs && t.files && t.reads && t.writes && t.listings &&
                t.climbs);
    munmap((void *)turns, 4096);
    outside_check(&outside);
    race_clean(w, park);
    wire_alive(w);
}

/* ---- mounts ---- */

/* Mounts need root, and a share whose mounts are passed on. */
static bool can_mount(struct wire *w)
{
    if (geteuid() == 0 && mount(NULL, w->dir, NULL, MS_SHARED, NULL) == 0)
        return true;
    print_message("no mounts: skipped\n");
    return false;
}

static void mount_daemon(struct wire *w)
{
    wire_spawn(w, NULL);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

static void put_inside(struct wire *w, const char *dir, const char *text)
{
    char name[96];
    snprintf(name, sizeof(name), "%s/inside", dir);
    wire_put(w, name, text);
}

static void test_mounts_come_and_go(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    uint64_t fh, inside_fh;
    char buf[64];
    if (!can_mount(w))
        return;
    assert_int_equal(mkdir(wire_path(w, "point"), 0755), 0);
    put_inside(w, "point", "below");
    mount_daemon(w);
    uint64_t below = wire_node(w, "point");
    assert_int_equal(fe_opendir(&w->f, below, &fh), 0);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(mount("t", wire_path(w, "point"), "tmpfs", 0, "size=1m"), 0);
        put_inside(w, "point", "above");
        /* By name the mount; by what is held the directory below. */
        assert_int_equal(fe_lookup(&w->f, ROOT, "point", &e), 0);
        assert_true(e.nodeid != below);
        assert_true(e.attr.flags & FUSE_ATTR_SUBMOUNT);
        uint64_t above = e.nodeid;
        assert_int_equal(fe_lookup(&w->f, above, "inside", &e), 0);
        assert_int_equal(fe_open(&w->f, e.nodeid, O_RDONLY, &inside_fh), 0);
        assert_int_equal(fe_read(&w->f, e.nodeid, inside_fh, 0, buf, 5), 5);
        assert_memory_equal(buf, "above", 5);
        assert_int_equal(fe_lookup(&w->f, above, "..", &(struct fuse_entry_out){0}), 0);
        assert_int_equal(umount2(wire_path(w, "point"), MNT_DETACH), 0);
        /* What was open stays so; the name is the directory again; nothing above is reached. */
        assert_int_equal(fe_read(&w->f, e.nodeid, inside_fh, 0, buf, 5), 5);
        struct fuse_entry_out up = {0};
        if (fe_lookup(&w->f, above, "..", &up) == 0 && up.nodeid)
            assert_int_equal(up.nodeid, ROOT);
        assert_int_equal(fe_release(&w->f, e.nodeid, inside_fh), 0);
        fe_forget(&w->f, e.nodeid, 1);
        fe_forget(&w->f, above, 1);
        assert_int_equal(fe_lookup(&w->f, ROOT, "point", &e), 0);
        assert_int_equal(e.nodeid, below);
        assert_int_equal(fe_lookup(&w->f, below, "inside", &e), 0);
        assert_int_equal(e.attr.size, 5);
    }
    assert_int_equal(fe_releasedir(&w->f, below, fh), 0);
    wire_finish(w, 0);
    unlink(wire_path(w, "point/inside"));
    rmdir(wire_path(w, "point"));
}

/* Something is mounted over the share itself after the start: the share is what it was. */
static void test_root_mounted_over(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;
    if (!can_mount(w))
        return;
    mount_daemon(w);
    outside_listen(w);
    assert_int_equal(fe_lookup(&w->f, ROOT, "file", &e), 0);
    uint64_t dir = wire_node(w, "dir"), ino = e.attr.ino;
    assert_int_equal(mount("t", w->share, "tmpfs", 0, "size=1m"), 0);
    wire_put(w, "file", OUTSIDE_MARK);
    wire_put(w, "new", OUTSIDE_MARK);
    int file = fe_lookup(&w->f, ROOT, "file", &e);
    uint64_t seen = e.attr.ino;
    int added = fe_lookup(&w->f, ROOT, "new", &e);
    bool absent = added == -ENOENT || (added == 0 && e.nodeid == 0);
    int up = fe_lookup(&w->f, dir, "..", &e);
    uint64_t up_node = e.nodeid;
    assert_int_equal(umount2(w->share, MNT_DETACH), 0);
    assert_int_equal(file, 0);
    assert_int_equal(seen, ino);
    assert_true(absent);
    assert_true(up < 0 || up_node == 0 || up_node == ROOT);
    wire_finish(w, 0);
}

/* ---- magic links ---- */

/* A share that has a proc in it (its owner should not do that): its links are links. */
static void test_magic_links(void **state)
{
    struct wire *w = *state;
    static const char *const links[] = {"root", "cwd", "exe", "fd/0", "ns/mnt"};
    struct fuse_entry_out e;
    uint64_t fh;
    if (!can_mount(w))
        return;
    assert_int_equal(mkdir(wire_path(w, "p"), 0755), 0);
    assert_int_equal(mount("p", wire_path(w, "p"), "proc", MS_RDONLY, NULL), 0);
    mount_daemon(w);
    for (unsigned i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        char path[64];
        snprintf(path, sizeof(path), "p/%d/%s", (int)getpid(), links[i]);
        uint64_t node = wire_node(w, path);
        struct fuse_attr a;
        assert_int_equal(fe_getattr(&w->f, node, &a), 0);
        assert_int_equal(a.mode & S_IFMT, S_IFLNK);
        assert_int_equal(fe_open(&w->f, node, O_RDONLY, &fh), -ELOOP);
        assert_true(fe_opendir(&w->f, node, &fh) < 0);
        assert_int_equal(fe_lookup(&w->f, node, "etc", &e), -ENOTDIR);
        assert_int_equal(fe_lookup(&w->f, node, "..", &e), -ENOTDIR);
        assert_int_equal(fe_mkdir(&w->f, node, "planted", 0755, NULL), -ENOTDIR);
        struct fuse_setattr_in in = {.valid = FATTR_SIZE};
        assert_true(fe_setattr(&w->f, node, &in, NULL) < 0);
    }
    wire_finish(w, 0);
    assert_int_equal(umount2(wire_path(w, "p"), MNT_DETACH), 0);
    rmdir(wire_path(w, "p"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WIRE_BOTH(test_rename_races),
        WIRE_BOTH_OWN(test_mounts_come_and_go),
        WIRE_BOTH_OWN(test_root_mounted_over),
        WIRE_BOTH_OWN(test_magic_links),
    };
    return cmocka_run_group_tests_name("wire-contain", tests, wire_make, wire_teardown);
}
