/* SPDX-License-Identifier: BSD-3-Clause
 * Symbolic links: a guest keeps what they say for as long as it knows the inode (under auto, too),
 * and is never asked to look again. So what may say something else must be another inode. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define ROOT FUSE_ROOT_ID

static const char *const ways[] = {"--inode-file-handles=prefer", "--inode-file-handles=never",
                                   "--inode-file-handles=fenced"};

static void begin(struct wire *w, const char *way, const char *cache)
{
    wire_spawn(w, (const char *const[]){way, cache, NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    if (geteuid() != 0)
        print_message("no handles without root: descriptors\n");
}

static void says(struct wire *w, uint64_t node, const char *target)
{
    char text[256] = "";
    size_t len = 0;
    assert_int_equal(fe_call(&w->f, FUSE_READLINK, node, NULL, 0, text, sizeof(text) - 1, &len), 0);
    text[len] = '\0';
    assert_string_equal(text, target);
}

static void put_link(struct wire *w, const char *name, const char *target)
{
    unlink(wire_path(w, name));
    assert_int_equal(symlink(target, wire_path(w, name)), 0);
}

static void touch(struct wire *w, const char *name)
{
    const struct timespec t[2] = {{.tv_sec = 1}, {.tv_nsec = UTIME_OMIT}};
    assert_int_equal(utimensat(AT_FDCWD, wire_path(w, name), t, AT_SYMLINK_NOFOLLOW), 0);
}

/* The kernel's clock for stamps has moved on. */
static void a_tick(void)
{
    usleep(20000);
}

static void unchanged(struct wire *w)
{
    put_link(w, "l", "file");
    uint64_t node = wire_node(w, "l");
    says(w, node, "file");
    assert_int_equal(wire_node(w, "l"), node);
    a_tick();
    assert_int_equal(wire_node(w, "l"), node);
}

/* Its own guest changes it: that does not say anything else, but shows in the same way. The inode
 * that the guest has stays good. */
static void changed(struct wire *w)
{
    put_link(w, "l", "file");
    uint64_t node = wire_node(w, "l");
    a_tick();
    touch(w, "l");
    uint64_t after = wire_node(w, "l");
    assert_int_not_equal(after, node);
    assert_int_equal(wire_node(w, "l"), after);
    says(w, after, "file");
    says(w, node, "file");
    fe_forget(&w->f, node, 2);
    says(w, after, "file");
}

/* All names of a link are one inode, before and after. */
static void hard_links(struct wire *w)
{
    put_link(w, "l", "file");
    unlink(wire_path(w, "l2"));
    uint64_t node = wire_node(w, "l");
    a_tick();
    assert_int_equal(linkat(AT_FDCWD, wire_path(w, "l"), AT_FDCWD, wire_path(w, "l2"), 0), 0);
    uint64_t second = wire_node(w, "l2");
    assert_int_not_equal(second, node);
    assert_int_equal(wire_node(w, "l"), second);
    unlink(wire_path(w, "l2"));
}

/* The host writes a new link in the old one's place, whose number it may get. */
static void replaced(struct wire *w)
{
    char target[32];
    uint64_t before = 0;
    for (unsigned i = 0; i < 100; i++) {
        snprintf(target, sizeof(target), "target-%02u", i); /* of one length */
        put_link(w, "l", target);
        uint64_t node = wire_node(w, "l");
        assert_int_not_equal(node, before);
        says(w, node, target);
        before = node;
    }
}

/* What a listing shows is what a lookup finds. */
static void listed(struct wire *w)
{
    static char out[16384];
    uint64_t fh, dir = wire_node(w, "links");
    struct fuse_read_in in = {.size = sizeof(out)};
    size_t len;
    put_link(w, "links/l", "../file");
    uint64_t node = wire_node(w, "links/l");
    a_tick();
    touch(w, "links/l");
    assert_int_equal(fe_opendir(&w->f, dir, &fh), 0);
    in.fh = fh;
    assert_int_equal(fe_call(&w->f, FUSE_READDIRPLUS, dir, &in, sizeof(in), out, sizeof(out), &len),
                     0);
    uint64_t shown = 0;
    for (size_t at = 0; at < len;) {
        const struct fuse_direntplus *e = (const void *)(out + at);
        if (e->dirent.namelen == 1 && e->dirent.name[0] == 'l')
            shown = e->entry_out.nodeid;
        at += FUSE_DIRENTPLUS_SIZE(e);
    }
    assert_int_not_equal(shown, 0);
    assert_int_not_equal(shown, node);
    assert_int_equal(wire_node(w, "links/l"), shown);
    assert_int_equal(fe_releasedir(&w->f, dir, fh), 0);
}

/* Another file system over the directory, with a link of the same name. */
static void covered(struct wire *w)
{
    const char *dir = wire_path(w, "links");
    put_link(w, "links/l", "../file");
    uint64_t node = wire_node(w, "links/l");
    if (geteuid() != 0 || mount("over", dir, "tmpfs", 0, "size=1m") != 0) {
        print_message("no mounts: skipped\n");
        return;
    }
    put_link(w, "links/l", "elsewhere");
    uint64_t over = wire_node(w, "links/l");
    bool seen = over != node; /* not where the daemon's mounts are its own */
    says(w, over, seen ? "elsewhere" : "../file");
    if (seen)
        says(w, node, "../file");
    assert_int_equal(umount2(wire_path(w, "links"), MNT_DETACH), 0);
    says(w, wire_node(w, "links/l"), "../file");
}

static void all_ways(void **state)
{
    struct wire *w = *state;
    mkdir(wire_path(w, "links"), 0755);
    for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        begin(w, ways[i], "--cache=auto");
        assert_true(fe_init_granted(&w->f) & FUSE_CACHE_SYMLINKS);
        unchanged(w);
        changed(w);
        hard_links(w);
        replaced(w);
        listed(w);
        covered(w);
        wire_finish(w, 0);
    }
}

/* A link of /proc says another thing from one moment to the next, and nothing tells. */
static void made_up(void **state)
{
    struct wire *w = *state;
    wire_mount_proc(w);
    begin(w, "--inode-file-handles=prefer", "--cache=auto");
    struct fuse_entry_out e;
    if (fe_lookup(&w->f, wire_node(w, "proc"), "self", &e) == 0) {
        uint64_t again = wire_node(w, "proc/self");
        assert_int_not_equal(again, e.nodeid);
        assert_int_not_equal(wire_node(w, "proc/self"), again);
    } else {
        print_message("not seen in the sandbox\n");
    }
    wire_finish(w, 0);
    assert_int_equal(umount2(wire_path(w, "proc"), MNT_DETACH), 0);
}

/* Where nothing is kept nothing has to change; a guest that does not keep links is not told to. */
static void not_kept(void **state)
{
    struct wire *w = *state;
    begin(w, "--inode-file-handles=prefer", "--cache=never");
    assert_false(fe_init_granted(&w->f) & FUSE_CACHE_SYMLINKS);
    put_link(w, "l", "file");
    uint64_t node = wire_node(w, "l");
    a_tick();
    touch(w, "l");
    assert_int_equal(wire_node(w, "l"), node);
    wire_finish(w, 0);

    wire_spawn(w, NULL);
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux & ~(uint64_t)FUSE_CACHE_SYMLINKS), 0);
    node = wire_node(w, "l");
    a_tick();
    touch(w, "l");
    assert_int_equal(wire_node(w, "l"), node);
    wire_finish(w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"all_ways", all_ways, NULL, wire_cleanup, NULL},
        {"made_up", made_up, NULL, wire_cleanup, NULL},
        {"not_kept", not_kept, NULL, wire_cleanup, NULL},
    };
    return cmocka_run_group_tests_name("link", tests, wire_make, wire_teardown);
}
