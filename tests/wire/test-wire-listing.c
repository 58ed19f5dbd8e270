/* SPDX-License-Identifier: BSD-3-Clause
 * Which lists of names a guest may keep (FOPEN_CACHE_DIR and FOPEN_KEEP_CACHE in the answers to
 * OPENDIR). */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/wire.h"

#define FILL FOPEN_CACHE_DIR
#define KEEP (FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE)

static void begin(struct wire *w, const char *cache, const char *timeout)
{
    wire_spawn(w, (const char *const[]){cache, timeout, NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

/* A directory of three names whose last change is long ago. */
static void make_dir(struct wire *w, const char *name)
{
    char file[64];
    mkdir(wire_path(w, name), 0755);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(file, sizeof(file), "%s/f%u", name, i);
        wire_put(w, file, "x");
    }
    usleep(50000); /* ctime cannot be set */
}

/* The flags of OPENDIR; then all is read by @op, 0: nothing is. */
static uint32_t list(struct wire *w, uint64_t dir, uint32_t op)
{
    static char out[8192];
    struct fuse_open_in in = {0};
    struct fuse_open_out o;
    size_t len = 1;
    assert_int_equal(fe_call(&w->f, FUSE_OPENDIR, dir, &in, sizeof(in), &o, sizeof(o), NULL), 0);
    struct fuse_read_in rd = {.fh = o.fh, .size = sizeof(out)};
    while (op && len > 0) {
        assert_int_equal(fe_call(&w->f, op, dir, &rd, sizeof(rd), out, sizeof(out), &len), 0);
        size_t at = 0, head = op == FUSE_READDIRPLUS ? sizeof(struct fuse_entry_out) : 0;
        while (at < len) {
            const struct fuse_dirent *d = (const void *)(out + at + head);
            rd.offset = d->off;
            at += head + FUSE_DIRENT_SIZE(d);
            op = rd.offset && op == FUSE_READDIRPLUS ? op : FUSE_READDIR;
        }
    }
    assert_int_equal(fe_releasedir(&w->f, dir, o.fh), 0);
    return o.open_flags;
}

static void unchanged(void **state)
{
    struct wire *w = *state;
    make_dir(w, "d");
    begin(w, "--cache=auto", "--timeout=60");
    uint64_t d = wire_node(w, "d");
    assert_int_equal(list(w, d, FUSE_READDIRPLUS), FILL);
    assert_int_equal(list(w, d, 0), KEEP);
    assert_int_equal(list(w, d, 0), KEEP);
    wire_finish(w, 0);
}

static void changed(void **state)
{
    struct wire *w = *state;
    make_dir(w, "d");
    begin(w, "--cache=auto", "--timeout=60");
    uint64_t d = wire_node(w, "d");
    list(w, d, FUSE_READDIRPLUS);
    assert_int_equal(list(w, d, 0), KEEP);
    wire_put(w, "d/new", "x");
    /* So young that one more change might not show: not even what is read now may be kept. */
    assert_false(list(w, d, FUSE_READDIRPLUS) & FOPEN_KEEP_CACHE);
    usleep(50000);
    assert_int_equal(list(w, d, FUSE_READDIRPLUS), FILL);
    assert_int_equal(list(w, d, FUSE_READDIRPLUS), KEEP);
    assert_int_equal(unlink(wire_path(w, "d/new")), 0);
    usleep(50000);
    assert_int_equal(list(w, d, 0), FILL);
    wire_finish(w, 0);
}

static void young(void **state)
{
    struct wire *w = *state;
    make_dir(w, "d");
    begin(w, "--cache=auto", "--timeout=60");
    uint64_t d = wire_node(w, "d");
    list(w, d, FUSE_READDIRPLUS);
    /* The clock of stamps goes by ticks of 1 to 10 ms; a slow machine may be late once, not always.
     */
    bool seen = false;
    for (unsigned i = 0; i < 50 && !seen; i++) {
        char name[32];
        snprintf(name, sizeof(name), "d/young%u", i);
        wire_put(w, name, NULL);
        seen = list(w, d, FUSE_READDIRPLUS) == 0;
    }
    assert_true(seen);
    wire_finish(w, 0);
}

/* Of a list of mere names the guest knows nothing else. */
static void only_names(void **state)
{
    struct wire *w = *state;
    make_dir(w, "d");
    begin(w, "--cache=auto", "--timeout=60");
    uint64_t d = wire_node(w, "d");
    list(w, d, FUSE_READDIR);
    assert_int_equal(list(w, d, FUSE_READDIRPLUS), FILL);
    assert_int_equal(list(w, d, FUSE_READDIR), KEEP);
    assert_int_equal(list(w, d, 0), FILL);
    wire_finish(w, 0);
}

/* What it knows of the entries expires before the list does any harm. */
static void old(void **state)
{
    struct wire *w = *state;
    make_dir(w, "d");
    begin(w, "--cache=auto", "--timeout=0.2");
    uint64_t d = wire_node(w, "d");
    list(w, d, FUSE_READDIRPLUS);
    usleep(150000);
    assert_int_equal(list(w, d, FUSE_READDIRPLUS), FILL);
    wire_finish(w, 0);
}

/* Linux asks for the attributes of each file that it has read: a list again brings all at once. */
static void opened(void **state)
{
    struct wire *w = *state;
    uint64_t fh;
    make_dir(w, "d");
    begin(w, "--cache=auto", "--timeout=60");
    uint64_t d = wire_node(w, "d"), f[2] = {wire_node(w, "d/f0"), wire_node(w, "d/f1")};
    list(w, d, FUSE_READDIRPLUS);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(list(w, d, 0), KEEP);
        assert_int_equal(fe_open(&w->f, f[i], O_RDONLY, &fh), 0);
        assert_int_equal(fe_release(&w->f, f[i], fh), 0);
    }
    assert_int_equal(list(w, d, FUSE_READDIRPLUS), FILL);
    assert_int_equal(list(w, d, 0), KEEP);
    wire_finish(w, 0);
}

static void policies(void **state)
{
    struct wire *w = *state;
    static const struct {
        const char *cache;
        uint32_t flags;
    } rows[] = {{"--cache=never", 0}, {"--cache=metadata", 0}, {"--cache=always", KEEP}};
    make_dir(w, "d");
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(w, rows[i].cache, "--timeout=60");
        uint64_t d = wire_node(w, "d");
        assert_int_equal(list(w, d, FUSE_READDIRPLUS), rows[i].flags);
        assert_int_equal(list(w, d, 0), rows[i].flags);
        wire_finish(w, 0);
    }
}

/* The list of /proc changes, and no stamp tells. */
static void made_up(void **state)
{
    struct wire *w = *state;
    wire_mount_proc(w);
    begin(w, "--cache=auto", "--timeout=60");
    uint64_t d;
    struct fuse_entry_out e;
    if (fe_lookup(&w->f, wire_node(w, "proc"), "self", &e) == 0) {
        d = wire_node(w, "proc");
        usleep(50000);
        assert_int_equal(list(w, d, 0), 0);
        assert_int_equal(list(w, d, 0), 0);
    }
    wire_finish(w, 0);
    assert_int_equal(umount2(wire_path(w, "proc"), MNT_DETACH), 0);
}

#define OWN(t)                          \
    {                                   \
#t, t, NULL, wire_cleanup, NULL \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWN(unchanged), OWN(changed), OWN(young),    OWN(only_names),
        OWN(old),       OWN(opened),  OWN(policies), OWN(made_up),
    };
    return cmocka_run_group_tests_name("listing", tests, wire_make, wire_teardown);
}
